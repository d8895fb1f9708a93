/* SPDX-License-Identifier: MIT */
/* mr_read, mr_recv and the reader's descriptor, over sockets with one reader. */
#include "transport_fixture.h"

#include <signal.h>
#include <sys/time.h>

static void test_read_timeouts(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[4];
	uint64_t start = now_ms();

	(void)state;
	assert_int_equal(mr_read(r, d, 4, 0), 0);
	assert_true(now_ms() - start < 40);
	start = now_ms();
	assert_int_equal(mr_read(r, d, 4, 50), 0);
	assert_in_range(now_ms() - start, 49, 500);
	start = now_ms();
	assert_int_equal(mr_recv(r, NULL, 0, NULL, 50), -EAGAIN);
	assert_in_range(now_ms() - start, 49, 500);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, 0), -EAGAIN);
	done();
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void alarm_in_ms(unsigned ms)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval timer = { .it_value = { .tv_usec = ms * 1000 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void test_read_signal(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d;
	uint64_t start = now_ms();
	char buf[8];

	(void)state;
	alarm_in_ms(30);
	assert_int_equal(mr_read(r, &d, 1, 5000), 0);
	assert_true(now_ms() - start < 2000);
	alarm_in_ms(30);
	assert_int_equal(mr_read(r, &d, 1, -1), 0);
	alarm_in_ms(30);
	assert_int_equal(mr_recv(r, buf, sizeof(buf), NULL, -1), -EAGAIN);
	/* It is as good as before. */
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_zero_length(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[8];
	struct mr_endpoint to4 = self("127.0.0.1", mr_port(t)), to6 = self("::1", mr_port(t)), e;
	unsigned n = 0;
	char buf[8];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		peer_send(&p4, &to4, "", 0);
		peer_send(&p6, &to6, "", 0);
	}
	while (n < 6) {
		int got = mr_read(r, &d[n], 8 - n, PATIENCE_MS);

		assert_true(got > 0);
		n += (unsigned)got;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(d[i].len, 0);
	/* They can be sent on, to where they came from. */
	assert_int_equal(mr_write(mr_reader_writer(r), d, 6), 6);
	mr_release(r, d, 6);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer_recv(&p4, buf, 8, &e, PATIENCE_MS), 0);
		assert_true(mr_endpoint_equal(&e, &to4));
		assert_int_equal(peer_recv(&p6, buf, 8, &e, PATIENCE_MS), 0);
	}
	peer_send(&p4, &to4, "", 0);
	assert_int_equal(mr_recv(r, buf, 8, &e, PATIENCE_MS), 0);
	assert_true(e.port_be == p4.at.port_be);
	peer_send(&p4, &to4, "", 0);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, PATIENCE_MS), 0);
	e = p4.at;
	assert_int_equal(mr_send(mr_writer(t), NULL, 0, &e), 0);
	assert_int_equal(peer_recv(&p4, buf, 8, &e, PATIENCE_MS), 0);
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_recv_truncates(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	char buf[16];

	(void)state;
	memset(buf, '-', sizeof(buf));
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, buf, 4, NULL, PATIENCE_MS), 10);
	assert_memory_equal(buf, "0123------------", 16);
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, buf, 16, NULL, PATIENCE_MS), 10);
	assert_memory_equal(buf, "0123456789------", 16);
	/* Throwing one away, without so much as a buffer. */
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, PATIENCE_MS), 10);
	done();
}

static void test_nothing_ends_a_reader(void **state)
{
	struct mr_reader *r = bind_any();
	struct peer gone = peer_open("127.0.0.1");
	struct mr_endpoint e = gone.at;
	int one = 1;

	(void)state;
	/* ICMP errors, which this makes the socket hear of. */
	__real_setsockopt(r->s4.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	close(gone.fd);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
		expect_served(r, &p4, mr_port(t));
	}
	done();
}

/* Every buffer held: said so, and over as soon as one is given back. */
static void test_every_buffer_held(void **state)
{
	static struct mr_datagram d[SOCK_BUFFERS];
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	unsigned n = 0;

	(void)state;
	while (n < SOCK_BUFFERS) {
		int got;

		peer_send(&p4, &to, "x", 1);
		got = mr_read(r, &d[n], SOCK_BUFFERS - n, PATIENCE_MS);
		assert_int_equal(got, 1);
		n++;
	}
	peer_send(&p4, &to, "last", 4);
	assert_true(readable(mr_reader_fd(r), PATIENCE_MS));
	assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), -ENOBUFS);
	mr_release(r, &d[17], 1);
	assert_int_equal(mr_read(r, &d[17], 1, PATIENCE_MS), 1);
	assert_int_equal(d[17].len, 4);
	mr_release(r, d, SOCK_BUFFERS);
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_reader_fd(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to4 = self("127.0.0.1", mr_port(t)), to6 = self("::1", mr_port(t));
	struct mr_datagram d[4];

	(void)state;
	assert_false(readable(mr_reader_fd(r), 0));
	for (unsigned six = 0; six < 2; six++) {
		peer_send(six ? &p6 : &p4, six ? &to6 : &to4, "a", 1);
		peer_send(six ? &p6 : &p4, six ? &to6 : &to4, "b", 1);
		assert_true(readable(mr_reader_fd(r), PATIENCE_MS));
		assert_int_equal(mr_read(r, d, 1, 0), 1);
		assert_true(readable(mr_reader_fd(r), 0)); /* level-triggered */
		assert_int_equal(mr_read(r, d + 1, 1, 0), 1);
		mr_release(r, d, 2);
	}
	mr_shutdown(t);
	assert_true(readable(mr_reader_fd(r), 0));
	done();
}

/*
 * A coalesced batch of which the caller took a part: the kernel has nothing more, mr_read has. An
 * event loop that reads once for each wake-up must be woken for the rest.
 */
static void test_reader_fd_half_taken(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	struct mr_datagram d[16];
	uint8_t bytes[40 * 100] = { 0 };
	unsigned got = 0;

	(void)state;
	assert_int_equal(peer_send_segments(&p4, &to, bytes, sizeof(bytes), 100), 0);
	while (got < 40) {
		int n;

		if (!readable(mr_reader_fd(r), 200))
			fail_msg("%u of 40 read, and no wake-up for the rest", got);
		n = mr_read(r, d, 16, 0);
		assert_true(n > 0);
		mr_release(r, d, (unsigned)n);
		got += (unsigned)n;
	}
	assert_int_equal(got, 40);
	/* And when all is taken, the fd is quiet again (but for one empty wake-up). */
	assert_int_equal(mr_read(r, d, 16, 0), 0);
	assert_false(readable(mr_reader_fd(r), 0));
	done();
}

/* One socket that never runs dry does not keep the others from being read. */
static void test_busy_family_starves_none(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to[] = { self("127.0.0.1", mr_port(t)), self("::1", mr_port(t)) };
	const struct peer *p[] = { &p4, &p6 };

	(void)state;
	for (unsigned busy = 0; busy < 2; busy++) {
		bool seen = false;

		for (unsigned i = 0; i < 16; i++)
			peer_send(p[busy], &to[busy], "flood", 5);
		for (unsigned round = 0; round < 100 && !seen; round++) {
			struct mr_datagram d[4];
			int n;

			if (round == 4)
				peer_send(p[!busy], &to[!busy], "me too", 6);
			n = mr_read(r, d, 4, PATIENCE_MS);
			assert_true(n > 0);
			for (int i = 0; i < n; i++) {
				seen |= d[i].len == 6;
				if (d[i].len == 5) /* as many as are taken come anew */
					peer_send(p[busy], &to[busy], "flood", 5);
			}
			mr_release(r, d, (unsigned)n);
		}
		if (!seen)
			fail_msg("%s was not read in 100 calls", busy ? "IPv4" : "IPv6");
		done();
		r = bind_any();
		to[0].port_be = to[1].port_be = htons(mr_port(t));
	}
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_timeouts),
		TEST(test_read_signal),
		TEST(test_zero_length),
		TEST(test_recv_truncates),
		TEST(test_nothing_ends_a_reader),
		TEST(test_every_buffer_held),
		TEST(test_reader_fd),
		TEST(test_reader_fd_half_taken),
		TEST(test_busy_family_starves_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
