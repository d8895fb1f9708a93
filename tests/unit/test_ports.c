/* SPDX-License-Identifier: MIT */
/* Further ports of a reader (mr_port_open, mr_port_close): numbers, peers, reuse, failures. */
#include "transport_fixture.h"

static void test_ports(void **state)
{
	struct mr_reader *r = bind_any();
	struct peer stranger = peer_open("127.0.0.1");
	const uint16_t a = open_port(r, &p4.at), b = open_port(r, &p6.at);
	struct mr_endpoint to_a = self("127.0.0.1", a), to_b = self("::1", b), from;
	struct mr_datagram d[4];
	char buf[8];

	(void)state;
	assert_int_not_equal(a, mr_port(t));
	assert_int_not_equal(b, mr_port(t));
	/* Only its peer gets in. */
	peer_send(&stranger, &to_a, "no", 2);
	peer_send(&p4, &to_a, "yes", 3);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 1);
	assert_int_equal(d[0].len, 3);
	assert_int_equal(d[0].local_port, a);
	assert_true(d[0].endpoint.port_be == p4.at.port_be);
	assert_int_equal(counted(REASON_SOCK_STRANGER), 1);
	/* Sent back as it is, it leaves from where it came to. */
	assert_int_equal(mr_write(mr_reader_writer(r), d, 1), 1);
	assert_int_equal(d[0].error, 0);
	assert_int_equal(peer_recv(&p4, buf, 8, &from, PATIENCE_MS), 3);
	assert_true(mr_endpoint_equal(&from, &to_a));
	mr_release(r, d, 1);

	peer_send(&p6, &to_b, "six", 3);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 1);
	assert_int_equal(d[0].local_port, b);
	assert_int_equal(mr_write(mr_reader_writer(r), d, 1), 1);
	assert_int_equal(peer_recv(&p6, buf, 8, &from, PATIENCE_MS), 3);
	assert_true(mr_endpoint_equal(&from, &to_b));

	/* Written with another local port it leaves from that one; 0 and the own one are the same.
	 */
	d[1] = d[2] = d[3] = (struct mr_datagram){ .endpoint = p4.at, .data = "x", .len = 1 };
	d[1].local_port = a;
	d[3].local_port = mr_port(t);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer_recv(&p4, buf, 8, &from, PATIENCE_MS), 1);
		assert_int_equal(from.port_be, htons(i == 0 ? a : mr_port(t)));
	}
	/* The other family, another port, another thread's writer. */
	d[1].local_port = b;
	d[2].local_port = (uint16_t)(a ^ 1) == b ? (uint16_t)(a ^ 2) : (uint16_t)(a ^ 1);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 2), 2);
	assert_int_equal(d[1].error, -EAFNOSUPPORT);
	assert_int_equal(d[2].error, -ENOTCONN);
	d[1].local_port = a;
	assert_int_equal(mr_write(mr_writer(t), &d[1], 1), 1);
	assert_int_equal(d[1].error, -ENOTCONN);
	assert_false(readable(p4.fd, 20));
	mr_release(r, d, 1);

	mr_port_close(r, a);
	mr_port_close(r, b);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 1), 1);
	assert_int_equal(d[1].error, -ENOTCONN);
	expect_served(r, &p4, mr_port(t));
	close(stranger.fd);
	done();
}

#define PORTS 300u

static void test_many_ports(void **state)
{
	static uint16_t ports[PORTS];
	struct mr_reader *r = bind_any();
	unsigned seen = 0;

	(void)state;
	for (unsigned i = 0; i < PORTS; i++) {
		ports[i] = open_port(r, &p4.at);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(ports[i], ports[k]);
	}
	/* More of them ready at once than one look at epoll brings. */
	for (unsigned i = 0; i < PORTS; i++) {
		struct mr_endpoint to = self("127.0.0.1", ports[i]);

		peer_send(&p4, &to, &ports[i], sizeof(ports[i]));
	}
	while (seen < PORTS) {
		struct mr_datagram d[32];
		int n = mr_read(r, d, 32, PATIENCE_MS);

		assert_true(n > 0);
		for (int i = 0; i < n; i++, seen++) {
			uint16_t port;

			memcpy(&port, d[i].data, sizeof(port));
			assert_int_equal(port, d[i].local_port);
		}
		mr_release(r, d, (unsigned)n);
	}
	/* Half of them closed by hand, with data on the way; the rest by mr_close. */
	for (unsigned i = 0; i < PORTS; i += 2) {
		struct mr_endpoint to = self("127.0.0.1", ports[i]);

		peer_send(&p4, &to, "late", 4);
		if (i % 4)
			mr_read(r, &(struct mr_datagram){ 0 }, 1, 0);
		mr_port_close(r, ports[i]);
	}
	done();
}

/*
 * Ports of the two families are numbered apart: the kernel may give an IPv6 port a number that an
 * IPv4 one has. As local_port is all that tells them apart, it must not be given twice.
 */
static void test_port_numbers_differ(void **state)
{
	struct mr_reader *r = bind_any();
	uint16_t a = open_port(r, &p4.at), b;
	struct mr_datagram d;
	struct mr_endpoint to;

	(void)state;
	fake.next_port = a;
	b = open_port(r, &p6.at);
	assert_int_not_equal(a, b);
	for (unsigned i = 0; i < 2; i++) {
		to = i ? self("::1", b) : self("127.0.0.1", a);
		peer_send(i ? &p6 : &p4, &to, "x", 1);
		assert_int_equal(mr_read(r, &d, 1, PATIENCE_MS), 1);
		assert_int_equal(d.local_port, i ? b : a);
		mr_release(r, &d, 1);
	}
	mr_port_close(r, a);
	mr_port_close(r, b);
	done();
}

/* Nor may it be the transport's own number, when that serves the other family only. */
static void test_port_is_not_the_own(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint at = endpoint("127.0.0.1:0");
	struct sockaddr_storage sa;
	uint16_t port;

	(void)state;
	mr_endpoint_to_sockaddr(&at, &sa);
	o.address = (struct sockaddr *)&sa;
	assert_int_equal(bind_with(o, NULL), 0);
	fake.next_port = mr_port(t);
	port = open_port(mr_reader(t, 0), &p6.at);
	assert_int_not_equal(port, mr_port(t));
	done();
}

static void test_port_reuse(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[8];
	uint16_t port = open_port(r, &p4.at);

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct mr_endpoint to = self("127.0.0.1", port);
		uint16_t again;

		peer_send(&p4, &to, "old", 3);
		if (round % 3 == 1) {
			/* Known to be readable, not read. */
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
			peer_send(&p4, &to, "old", 3);
			to = self("127.0.0.1", mr_port(t));
			peer_send(&p4, &to, "own", 3);
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
		}
		mr_port_close(r, port);
		fake.next_port = port;
		again = open_port(r, &p4.at);
		assert_int_equal(again, port); /* free at once */
		/* What came to the old one is gone with it. */
		to = self("127.0.0.1", port);
		peer_send(&p4, &to, "newer", 5);
		do {
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
		} while (d[0].local_port == mr_port(t));
		assert_int_equal(d[0].local_port, port);
		assert_int_equal(d[0].len, 5);
	}
	done();
}

/* Closing with a coalesced batch half handed out: the rest goes, what is held stays. */
static void test_port_close_half_taken(void **state)
{
	struct mr_reader *r = bind_any();
	uint16_t port = open_port(r, &p4.at);
	struct mr_endpoint to = self("127.0.0.1", port);
	struct mr_datagram d[8];
	uint8_t bytes[1000];

	(void)state;
	payload_fill(bytes, sizeof(bytes), 3);
	assert_int_equal(peer_send_segments(&p4, &to, bytes, sizeof(bytes), 100), 0);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 4);
	mr_port_close(r, port);
	assert_int_equal(mr_read(r, &d[4], 4, 30), 0);
	expect_served(r, &p4, mr_port(t));
	for (unsigned i = 0; i < 4; i++)
		assert_memory_equal(d[i].data, bytes + 100 * i, 100);
	mr_release(r, d, 4);
	done();
}

static void test_port_open_fails(void **state)
{
	static const struct {
		enum call call;
		int error;
	} rows[] = { { CALL_SOCKET, EMFILE },
		     { CALL_SETSOCKOPT, ENOMEM },
		     { CALL_BIND, EADDRINUSE },
		     { CALL_GETSOCKNAME, ENOBUFS },
		     { CALL_EPOLL_CTL, ENOSPC } };
	struct mr_reader *r = bind_any();
	struct mr_endpoint nobody = { .family = 0 };
	unsigned fds = open_fds();

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		memset(fake.counts, 0, sizeof(fake.counts));
		fake.call = rows[i].call;
		fake.nth = 1;
		fake.error = rows[i].error;
		assert_int_equal(mr_port_open(r, &p4.at), -rows[i].error);
		fake.call = CALL_NONE;
		assert_int_equal(open_fds(), fds);
	}
	assert_true(mr_port_open(r, &nobody) < 0);
	assert_int_equal(open_fds(), fds);
	mr_port_close(r, open_port(r, &p4.at));
	assert_int_equal(open_fds(), fds);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ports),
		TEST(test_many_ports),
		TEST(test_port_numbers_differ),
		TEST(test_port_is_not_the_own),
		TEST(test_port_reuse),
		TEST(test_port_close_half_taken),
		TEST(test_port_open_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
