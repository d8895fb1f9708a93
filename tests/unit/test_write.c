/* SPDX-License-Identifier: MIT */
/* mr_write and mr_send over sockets: what is refused, both families at once, several threads. */
#include "transport_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static void test_write_errors(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_writer *writers[] = { mr_writer(t), mr_reader_writer(r) };
	char text[16];

	(void)state;
	for (unsigned w = 0; w < 2; w++) {
		struct mr_datagram d[12];
		static const int errors[12] = { 0,
						-EAFNOSUPPORT,
						0,
						-EDESTADDRREQ,
						-EDESTADDRREQ,
						0,
						-EDESTADDRREQ,
						-ENOTCONN,
						-EAFNOSUPPORT,
						0,
						-EDESTADDRREQ,
						0 };
		uint64_t invalid = counted(REASON_TX_INVALID);

		for (unsigned i = 0; i < 12; i++)
			d[i] = (struct mr_datagram){
				.endpoint = p4.at, .data = "0123456789ab", .len = i + 1, .error = 77
			};
		memset(&d[1].endpoint, 0, sizeof(d[1].endpoint));
		d[3].endpoint.port_be = 0;
		d[4].endpoint = endpoint("[fe80::1]:9"); /* which link? */
		d[6].endpoint.remote.v4.s_addr = 0;
		d[7].local_port = (uint16_t)(mr_port(t) + 1);
		d[8].endpoint.family = AF_UNIX;
		d[9].local_port = mr_port(t); /* its own is fine */
		d[10].endpoint = endpoint("[::]:9");
		assert_int_equal(mr_write(writers[w], d, 12), 12);
		for (unsigned i = 0; i < 12; i++) {
			assert_int_equal(d[i].error, errors[i]);
			if (!errors[i])
				assert_int_equal(
					peer_recv(&p4, text, sizeof(text), NULL, PATIENCE_MS),
					i + 1);
		}
		assert_int_equal(counted(REASON_TX_INVALID) - invalid, 7);
	}
	assert_false(readable(p4.fd, 20));
	done();
}

static void test_write_both_families(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[40];
	uint32_t numbers[40];

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		numbers[i] = i;
		d[i] = (struct mr_datagram){ .endpoint = i / 3 % 2 ? p6.at : p4.at,
					     .data = &numbers[i],
					     .len = sizeof(numbers[i]) };
	}
	assert_int_equal(mr_write(mr_reader_writer(r), d, 40), 40);
	for (unsigned i = 0; i < 40; i++) {
		uint32_t number = 99;

		assert_int_equal(d[i].error, 0);
		assert_int_equal(peer_recv(i / 3 % 2 ? &p6 : &p4, &number, 4, NULL, PATIENCE_MS),
				 4);
		assert_int_equal(number, i);
	}
	assert_int_equal(mr_write(mr_reader_writer(r), d, 0), 0);
	done();
}

static void test_send_errors(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint e = endpoint("[fe80::1]:9");
	static char large[70000];

	(void)state;
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), -EDESTADDRREQ);
	e = p4.at;
	assert_int_equal(mr_send(mr_writer(t), large, sizeof(large), &e), -EMSGSIZE);
	assert_int_equal(mr_send(mr_writer(t), large, 65508, &e), -EMSGSIZE);
	assert_int_equal(mr_send(mr_writer(t), large, (size_t)UINT32_MAX + 2, &e), -EMSGSIZE);
	e.port_be = 0;
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), -EDESTADDRREQ);
	/* The forgotten source is shown to the caller. */
	e = from_source(p4.at, "203.0.113.7");
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
	assert_true(mr_endpoint_equal(&e, &p4.at));
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 1);
	assert_int_equal(peer_recv(&p4, large, 8, NULL, PATIENCE_MS), 1);
	expect_served(r, &p4, mr_port(t));
	done();
}

#define WRITERS	    4u
#define BATCHES	    200u
#define BATCH	    16u
#define OUTSTANDING 96u

static struct {
	_Atomic unsigned sent, received;
	_Atomic unsigned failed;
} flow;

static void *write_batches(void *arg)
{
	const uint32_t me = (uint32_t)(uintptr_t)arg;
	const struct mr_endpoint to = self(me & 1 ? "::1" : "127.0.0.1", mr_port(t));
	uint32_t numbers[BATCH];

	for (unsigned b = 0; b < BATCHES; b++) {
		struct mr_datagram d[BATCH];

		for (unsigned i = 0; i < BATCH; i++) {
			numbers[i] = (me * BATCHES + b) * BATCH + i;
			d[i] = (struct mr_datagram){ .endpoint = to,
						     .data = &numbers[i],
						     .len = sizeof(uint32_t) };
		}
		/* Not more than a receive buffer takes: what is lost there says nothing of us. */
		while (atomic_load(&flow.sent) - atomic_load(&flow.received) > OUTSTANDING &&
		       !atomic_load(&flow.failed))
			sched_yield();
		atomic_fetch_add(&flow.sent, BATCH);
		if (mr_write(mr_writer(t), d, BATCH) != (int)BATCH)
			atomic_store(&flow.failed, 1);
		for (unsigned i = 0; i < BATCH; i++)
			if (d[i].error)
				atomic_store(&flow.failed, 2);
	}
	return NULL;
}

static void test_writers_at_once(void **state)
{
	static uint8_t seen[WRITERS * BATCHES * BATCH];
	struct mr_reader *r = bind_any();
	pthread_t thread[WRITERS];
	unsigned total = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	memset(&flow, 0, sizeof(flow));
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_batches, (void *)i), 0);
	while (total < COUNT(seen)) {
		struct mr_datagram d[64];
		int n = mr_read(r, d, 64, PATIENCE_MS);

		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			uint32_t number;

			memcpy(&number, d[i].data, sizeof(number));
			if (number < COUNT(seen))
				seen[number]++;
		}
		mr_release(r, d, (unsigned)n);
		total += (unsigned)n;
		atomic_store(&flow.received, total);
	}
	if (total < COUNT(seen))
		atomic_store(&flow.failed, 3);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(flow.failed, 0);
	for (unsigned i = 0; i < COUNT(seen); i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(counted(REASON_TX_SOCKET), COUNT(seen));
	assert_int_equal(counted(REASON_SOCK_DELIVERED), COUNT(seen));
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_write_errors),
		TEST(test_write_both_families),
		TEST(test_send_errors),
		TEST(test_writers_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
