/* SPDX-License-Identifier: MIT */
/* Several readers over sockets: how they share what comes, and how all of them are shut down. */
#include "transport_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---------------------------------------------------------------- several readers */

#define FLOWS	 64u
#define PER_FLOW 5u

static void check_sharing(const char *address)
{
	struct mr_options o = MR_OPTIONS_INIT;
	unsigned seen[FLOWS * PER_FLOW] = { 0 }, of_reader[4] = { 0 }, total = 0, busy = 0;
	int reader_of[FLOWS];
	struct peer flow[FLOWS];
	struct mr_endpoint to;

	o.readers = 4;
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(mr_reader_count(t), 4);
	to = self(address, mr_port(t));
	for (unsigned i = 0; i < FLOWS; i++) {
		flow[i] = peer_open(address);
		reader_of[i] = -1;
	}
	for (unsigned k = 0; k < PER_FLOW; k++)
		for (unsigned i = 0; i < FLOWS; i++) {
			uint32_t number = i * PER_FLOW + k;

			peer_send(&flow[i], &to, &number, sizeof(number));
		}
	for (uint64_t end = now_ms() + PATIENCE_MS; total < COUNT(seen) && now_ms() < end;)
		for (unsigned k = 0; k < 4; k++) {
			struct mr_datagram d[32];
			int n = mr_read(mr_reader(t, k), d, 32, 0);

			assert_true(n >= 0);
			for (int i = 0; i < n; i++, total++, of_reader[k]++) {
				uint32_t number;

				assert_int_equal(d[i].len, sizeof(number));
				memcpy(&number, d[i].data, sizeof(number));
				assert_true(number < COUNT(seen));
				seen[number]++;
				/* A flow stays with its reader. */
				if (reader_of[number / PER_FLOW] < 0)
					reader_of[number / PER_FLOW] = (int)k;
				assert_int_equal(reader_of[number / PER_FLOW], k);
				/* Each reader answers from the common port. */
				assert_int_equal(
					mr_write(mr_reader_writer(mr_reader(t, k)), &d[i], 1), 1);
				assert_int_equal(d[i].error, 0);
			}
			mr_release(mr_reader(t, k), d, (unsigned)n);
		}
	for (unsigned i = 0; i < COUNT(seen); i++)
		assert_int_equal(seen[i], 1);
	for (unsigned k = 0; k < 4; k++)
		busy += of_reader[k] > 0;
	assert_true(busy > 1);
	for (unsigned i = 0; i < FLOWS; i++) {
		for (unsigned k = 0; k < PER_FLOW; k++) {
			struct mr_endpoint from;
			uint32_t number;

			assert_int_equal(peer_recv(&flow[i], &number, 4, &from, PATIENCE_MS), 4);
			assert_int_equal(number, i * PER_FLOW + k);
			assert_true(mr_endpoint_equal(&from, &to));
		}
		close(flow[i].fd);
	}
	assert_int_equal(counted(REASON_SOCK_DELIVERED), COUNT(seen));
	assert_int_equal(counted(REASON_TX_SOCKET), COUNT(seen));
	done();
}

static void test_readers_share(void **state)
{
	(void)state;
	check_sharing("127.0.0.1");
	check_sharing("::1");
}

/* With an address, readers share that one. */
static void test_readers_share_address(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint at = endpoint("127.0.0.1:0");
	struct sockaddr_storage sa;

	(void)state;
	mr_endpoint_to_sockaddr(&at, &sa);
	o.address = (struct sockaddr *)&sa;
	o.readers = READERS_MAX;
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(mr_reader_count(t), READERS_MAX);
	assert_null(mr_reader(t, READERS_MAX));
	assert_int_equal(mr_families(t), MR_FAMILY_IP4);
	done();
}

/* ---------------------------------------------------------------- shutdown */

struct blocked {
	struct mr_reader *reader;
	_Atomic bool waiting;
	uint64_t ended_ms;
	int result;
};

static void *block(void *arg)
{
	struct blocked *b = arg;
	struct mr_datagram d;

	atomic_store(&b->waiting, true);
	do {
		b->result = mr_read(b->reader, &d, 1, -1);
	} while (b->result == 0);
	b->ended_ms = now_ms();
	return NULL;
}

static void test_shutdown(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct blocked b[3];
	pthread_t thread[3];
	struct mr_datagram d;
	uint64_t start;
	char buf[4];

	(void)state;
	o.readers = 3;
	assert_int_equal(bind_with(o, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		b[i] = (struct blocked){ .reader = mr_reader(t, i) };
		assert_int_equal(pthread_create(&thread[i], NULL, block, &b[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		while (!atomic_load(&b[i].waiting))
			usleep(1000);
	usleep(50000); /* blocked by now */
	start = now_ms();
	mr_shutdown(t);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(b[i].result, -ESHUTDOWN);
		assert_true(b[i].ended_ms - start < 100);
	}
	/* For ever, whatever is there to read. */
	mr_shutdown(t);
	assert_int_equal(mr_read(mr_reader(t, 0), &d, 1, -1), -ESHUTDOWN);
	assert_int_equal(mr_read(mr_reader(t, 0), &d, 1, 0), -ESHUTDOWN);
	assert_int_equal(mr_recv(mr_reader(t, 1), buf, 4, NULL, -1), -ESHUTDOWN);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_readers_share),
		TEST(test_readers_share_address),
		TEST(test_shutdown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
