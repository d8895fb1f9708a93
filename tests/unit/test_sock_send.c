/* SPDX-License-Identifier: MIT */
/* Sending through sockets (sock/send.c): order, what goes as one run, and the type of service. */
#include "send_fixture.h"

static void test_order(void **state)
{
	(void)state;
	random_state = 5;
	for (unsigned round = 0; round < 20; round++) {
		unsigned sizes[MANY], sent4 = 0, sent = 0;

		fake.count = 0;
		for (unsigned i = 0; i < 150; i++) {
			/* Sizes and endpoints that now make runs and now break them. */
			sizes[i] = i && random_below(3) ? sizes[i - 1] : random_below(300);
			make(i, random_below(8) ? &f.p4.at : &f.q4.at, sizes[i]);
		}
		assert_int_equal(send_all(150), 150);
		expect_no_errors(0, 150);
		for (unsigned i = 0; i < 150; i++) {
			bool first = mr_endpoint_equal(&f.d[i].endpoint, &f.p4.at);

			expect(first ? &f.p4 : &f.q4, i, sizes[i]);
			sent4 += first;
			sent++;
		}
		assert_true(sent4 < sent);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 20 * 150);
	assert_true(counted(REASON_TX_GSO) > 0);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(counted(REASON_TX_ERROR), 0);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(sock_send(&f.s4, f.d, 0, &f.gso, &f.counters), 0);
	assert_int_equal(fake.calls, 0);
}

static void test_run(void **state)
{
	(void)state;
	make_all(&f.p4.at, 8, 100);
	f.d[7].len = 31;
	assert_int_equal(send_all(8), 8);
	assert_int_equal(fake.count, 1);
	assert_int_equal(fake.log[0].segments, 8);
	assert_int_equal(fake.log[0].gso_size, 100);
	for (unsigned i = 0; i < 8; i++)
		expect(&f.p4, i, i < 7 ? 100 : 31);
	assert_int_equal(counted(REASON_TX_GSO), 8);
	assert_int_equal(counted(REASON_TX_SOCKET), 8);
	assert_int_equal(f.gso.limit, 0);
}

static void test_run_ip6(void **state)
{
	struct mr_endpoint from;

	(void)state;
	make_all(&f.p6.at, 40, 1200);
	assert_int_equal(send_all(40), 40);
	assert_int_equal(fake.count, 1);
	for (unsigned i = 0; i < 40; i++)
		expect_from(&f.p6, i, 1200, &from);
	assert_int_equal(from.port_be, htons(f.s6.port));
	assert_int_equal(counted(REASON_TX_GSO), 40);
}

static void test_shape_sizes(void **state)
{
	(void)state;
	make_all(&f.p4.at, 6, 100);
	f.d[2].len = 50;
	check_shape(6, "3 3");
	/* 101 begins another run, which the shorter one behind it ends. */
	make_all(&f.p4.at, 6, 100);
	make(2, &f.p4.at, 101);
	check_shape(6, "2 2 2");
	/* Zero length: UDP_SEGMENT would lose it. */
	make_all(&f.p4.at, 5, 100);
	f.d[2].len = 0;
	check_shape(5, "2 1 2");
	make_all(&f.p4.at, 4, 0);
	check_shape(4, "1 1 1 1");
	make_all(&f.p4.at, 3, 100);
	f.d[2].len = 0;
	check_shape(3, "2 1");
	make_all(&f.p4.at, 3, 100);
	f.d[0].len = 0;
	check_shape(3, "1 2");
}

static void test_shape_endpoints(void **state)
{
	struct mr_endpoint pinned = from_source(f.p4.at, "127.0.0.3"), from;

	(void)state;
	make_all(&f.p4.at, 5, 100);
	f.d[2].endpoint = f.q4.at;
	check_shape(5, "2 1 2");
	make_all(&f.p4.at, 4, 100);
	f.d[1].tos = 0x20;
	f.d[2].tos = 0x20;
	check_shape(4, "1 2 1");

	make_all(&f.p4.at, 4, 100);
	f.d[1].endpoint = f.d[2].endpoint = pinned;
	fake.count = 0;
	assert_int_equal(send_all(4), 4);
	assert_string_equal(shape(), "1 2 1");
	for (unsigned i = 0; i < 4; i++) {
		expect_from(&f.p4, i, 100, &from);
		assert_address(&from.remote, AF_INET, i == 1 || i == 2 ? "127.0.0.3" : "127.0.0.1");
	}
	assert_address(&f.d[1].endpoint.local, AF_INET, "127.0.0.3");
}

static void test_shape_limits(void **state)
{
	(void)state;
	/* At most 64 segments (older kernels' UDP_MAX_SEGMENTS), and no more than fit a datagram.
	 */
	make_all(&f.p4.at, 64, 10);
	check_shape(64, "64");
	make_all(&f.p4.at, 129, 10);
	check_shape(129, "64 64 1");
	make_all(&f.p4.at, 64, 1500);
	check_shape(64, "43 21"); /* 43 * 1500 = 64500 */
	for (unsigned i = 0; i < fake.count; i++)
		assert_true(fake.log[i].len <= GSO_BYTES_MAX);
	make_all(&f.p4.at, 50, 1300);
	check_shape(50, "50"); /* exactly 65000 */
	assert_int_equal(fake.log[0].len, GSO_BYTES_MAX);
	make_all(&f.p4.at, 51, 1300);
	check_shape(51, "50 1");
}

/* Two that are large enough to be too large together. */
static void test_shape_large(void **state)
{
	static uint8_t large[65507];

	(void)state;
	payload_fill(large, sizeof(large), 0);
	make_all(&f.p4.at, 3, 1);
	f.d[0].data = f.d[1].data = large;
	f.d[0].len = f.d[1].len = 40000;
	assert_int_equal(send_all(3), 3);
	assert_string_equal(shape(), "1 2"); /* 40000 + 1 does fit */
	expect(&f.p4, 0, 40000);
	expect(&f.p4, 0, 40000);
	expect(&f.p4, 2, 1);
	fake.count = 0;
	f.d[0].len = f.d[1].len = 65507; /* alone above GSO_BYTES_MAX, and legal */
	assert_int_equal(send_all(2), 2);
	assert_string_equal(shape(), "1 1");
	expect(&f.p4, 0, 65507);
	expect(&f.p4, 0, 65507);
	expect_no_errors(0, 3);
}

static void test_tos_arrives(void **state)
{
	uint8_t control[64] __attribute__((aligned(8))), byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	int one = 1;

	(void)state;
	setsockopt(f.p4.fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
	setsockopt(f.p6.fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one));
	for (unsigned six = 0; six < 2; six++) {
		const struct peer *p = six ? &f.p6 : &f.p4;

		make_all(&p->at, 3, 20);
		f.d[0].tos = 0x03;
		f.d[1].tos = 0xb8;
		assert_int_equal(send_all(3), 3);
		for (unsigned i = 0; i < 3; i++) {
			struct msghdr h = { .msg_iov = &iov,
					    .msg_iovlen = 1,
					    .msg_control = control,
					    .msg_controllen = sizeof(control) };
			const struct cmsghdr *c;

			assert_true(readable(p->fd, PATIENCE_MS));
			assert_int_equal(recvmsg(p->fd, &h, 0), 1);
			c = find(&h, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TCLASS : IP_TOS);
			assert_non_null(c);
			assert_int_equal(*CMSG_DATA(c), f.d[i].tos);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),	 TEST(test_nothing),	 TEST(test_run),
		TEST(test_run_ip6),	 TEST(test_shape_sizes), TEST(test_shape_endpoints),
		TEST(test_shape_limits), TEST(test_shape_large), TEST(test_tos_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
