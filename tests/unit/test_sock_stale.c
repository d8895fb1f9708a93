/* SPDX-License-Identifier: MIT */
/* Sending through sockets (sock/send.c): pinned sources that are gone, or still there. */
#include "send_fixture.h"

#include <limits.h>

#define FOREIGN4 "203.0.113.7" /* no address of this host */
#define FOREIGN6 "2001:db8::1"

static bool is_pinned_to_foreign(const struct msghdr *h)
{
	const struct cmsghdr *c4 = find(h, IPPROTO_IP, IP_PKTINFO);
	const struct cmsghdr *c6 = find(h, IPPROTO_IPV6, IPV6_PKTINFO);
	union mr_address a;

	memset(&a, 0, sizeof(a));
	if (c4) {
		memcpy(&a.v4, CMSG_DATA(c4) + offsetof(struct in_pktinfo, ipi_spec_dst), 4);
		return same_address(&a, AF_INET, FOREIGN4);
	}
	if (c6) {
		memcpy(&a.v6, CMSG_DATA(c6), 16);
		return same_address(&a, AF_INET6, FOREIGN6);
	}
	return false;
}

/* Datagram 2 of 5 has a dead source; sizes differ, or all are runs of `run`. */
static void check_stale(const struct peer *p, const char *foreign, unsigned run)
{
	struct mr_endpoint stale = from_source(p->at, foreign);
	struct mr_endpoint good = from_source(p->at, p->at.family == AF_INET ? "127.0.0.1" : "::1");
	const uint64_t count = counted(REASON_TX_SOURCE_STALE), sent = counted(REASON_TX_SOCKET);
	struct mr_endpoint from;

	stale.ifindex = 4711;
	for (unsigned i = 0; i < 5 * run; i++)
		make(i, i / run == 2 ? &stale : i / run == 3 ? &p->at : &good, 100 + i / run);
	assert_int_equal(send_all(5 * run), 5 * run);
	expect_no_errors(0, 5 * run);
	for (unsigned i = 0; i < 5 * run; i++) {
		expect_from(p, i, 100 + i / run, &from);
		/* Its neighbours keep what they had; its own source is gone and seen to be. */
		if (i / run == 2) {
			assert_true(has_no_source(&f.d[i].endpoint));
			assert_int_equal(f.d[i].endpoint.ifindex, 0);
			assert_true(mr_endpoint_equal(&f.d[i].endpoint, &p->at));
		} else {
			assert_memory_equal(&f.d[i].endpoint, i / run == 3 ? &p->at : &good,
					    sizeof(good));
		}
		assert_memory_equal(&from.remote, &p->at.remote, sizeof(from.remote));
	}
	expect_silence(p);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE) - count, run);
	assert_int_equal(counted(REASON_TX_SOCKET) - sent, 5 * run);
	/* Not the fault of segmentation. */
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(counted(REASON_TX_UNREACHABLE), 0);
}

/* As this kernel says it: ENETUNREACH or, older ones, EINVAL (notes §0). */
static void test_stale_for_real(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	check_stale(&f.p4, FOREIGN4, 1);
	check_stale(&f.p4, FOREIGN4, 9);
	check_stale(&f.p6, FOREIGN6, 1);
	check_stale(&f.p6, FOREIGN6, 9);
	assert_int_equal(open_fds(), fds);
}

/* As any kernel may say it, by both families. */
static void test_stale_every_errno(void **state)
{
	static const int errors[] = { EINVAL,	    ENETUNREACH, EADDRNOTAVAIL,
				      EHOSTUNREACH, ENODEV,	 ENXIO };

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		refuse(is_pinned_to_foreign, errors[i], UINT_MAX);
		check_stale(&f.p4, FOREIGN4, 1);
		check_stale(&f.p4, FOREIGN4, 7);
		check_stale(&f.p6, FOREIGN6, 1);
		check_stale(&f.p6, FOREIGN6, 7);
	}
}

/* A link-local source whose interface has gone has gone with it. */
static void test_stale_with_interface(void **state)
{
	struct mr_endpoint e = from_source(f.p6.at, "fe80::7");

	(void)state;
	e.ifindex = 4711;
	make(0, &e, 10);
	assert_int_equal(send_all(1), 1);
	assert_int_equal(f.d[0].error, 0);
	expect(&f.p6, 0, 10);
	assert_true(has_no_source(&f.d[0].endpoint));
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 1);
}

/* Not an address of lo, though the interface is there. */
static void test_stale_link_local(void **state)
{
	struct mr_endpoint e = from_source(f.p6.at, "fe80::7");

	(void)state;
	e.ifindex = if_nametoindex("lo");
	make(0, &e, 10);
	assert_int_equal(send_all(1), 1);
	assert_int_equal(f.d[0].error, 0);
	expect(&f.p6, 0, 10);
	assert_true(has_no_source(&f.d[0].endpoint));
}

/* A source that is this host's is kept, whatever goes wrong. */
static void check_not_stale(const struct peer *p, const char *own, int error, unsigned run)
{
	struct mr_endpoint good = from_source(p->at, own);
	unsigned sent = 0;

	f.gso.limit = 0;
	good.ifindex = if_nametoindex("lo");
	for (unsigned i = 0; i < 3 * run; i++)
		make(i, &good, 100 + i / run);
	victim = (uint8_t)run;
	refuse(is_victim, error, UINT_MAX);
	assert_int_equal(send_all(3 * run), 3 * run);
	for (unsigned i = 0; i < 3 * run; i++) {
		assert_memory_equal(&f.d[i].endpoint, &good, sizeof(good));
		if (f.d[i].error) {
			assert_int_equal(f.d[i].error, -error);
			assert_int_equal(i / run, 1);
		} else {
			expect(p, i, 100 + i / run);
			sent++;
		}
	}
	assert_true(sent >= 2 * run && sent < 3 * run);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
}

static void test_not_stale(void **state)
{
	static const int errors[] = { EINVAL,	    ENETUNREACH, EADDRNOTAVAIL,
				      EHOSTUNREACH, ENODEV,	 ENXIO };

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		check_not_stale(&f.p4, "127.0.0.1", errors[i], 1);
		check_not_stale(&f.p4, "127.0.0.1", errors[i], 6);
		check_not_stale(&f.p6, "::1", errors[i], 1);
		check_not_stale(&f.p6, "::1", errors[i], 6);
	}
}

/* Local, though a route to it would not choose it: secondary addresses and the rest of 127/8. */
static void test_not_stale_though_not_preferred(void **state)
{
	(void)state;
	check_not_stale(&f.p4, "127.0.0.5", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "127.255.0.9", EINVAL, 3);
}

static void test_not_stale_secondary(void **state)
{
	enter_netns(state);
	shell("ip addr add 10.55.0.1/24 dev lo && ip addr add 10.55.0.2/24 dev lo");
	shell("ip addr add fd00:55::1/64 dev lo nodad && ip addr add fd00:55::2/64 dev lo nodad");
	shell("ip route add local 10.56.0.0/16 dev lo");
	check_not_stale(&f.p4, "10.55.0.1", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "10.55.0.2", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "10.55.0.2", EINVAL, 3);
	check_not_stale(&f.p4, "10.56.7.8", ENETUNREACH, 1);
	check_not_stale(&f.p6, "fd00:55::1", EHOSTUNREACH, 1);
	check_not_stale(&f.p6, "fd00:55::2", EINVAL, 1);
}

/* Errors that never mean the source are not looked into. */
static void test_not_even_asked(void **state)
{
	static const int errors[] = { EPERM, EACCES, ENOBUFS, EMSGSIZE, ENETDOWN };
	struct mr_endpoint e = from_source(f.p4.at, FOREIGN4);

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		make(0, &e, 10);
		refuse(is_anything, errors[i], 1);
		assert_int_equal(send_all(1), 1);
		assert_int_equal(f.d[0].error, -errors[i]);
		assert_address(&f.d[0].endpoint.local, AF_INET, FOREIGN4);
	}
	assert_int_equal(fake.sockets, 0);
	assert_int_equal(fake.binds, 0);
}

/* No descriptor to ask with: in doubt the source is kept and the error told. */
static void test_cannot_ask(void **state)
{
	struct mr_endpoint e = from_source(f.p4.at, FOREIGN4);

	(void)state;
	make(0, &e, 10);
	make(1, &f.p4.at, 11);
	fake.socket_error = EMFILE;
	assert_int_equal(send_all(2), 2);
	assert_true(f.d[0].error == -ENETUNREACH || f.d[0].error == -EINVAL);
	assert_address(&f.d[0].endpoint.local, AF_INET, FOREIGN4);
	expect(&f.p4, 1, 11);
	expect_silence(&f.p4);
	fake.socket_error = 0;
}

/* An address is taken away while the conversation goes on. */
static void check_removed(const struct peer *p, const char *address, const char *del)
{
	struct mr_endpoint e = from_source(p->at, address), from;

	e.ifindex = if_nametoindex("lo");
	make_all(&e, 10, 100);
	assert_int_equal(send_all(10), 10);
	for (unsigned i = 0; i < 10; i++) {
		expect_from(p, i, 100, &from);
		assert_address(&from.remote, p->at.family, address);
		assert_false(has_no_source(&f.d[i].endpoint));
	}
	shell(del);
	fake.count = 0;
	assert_int_equal(send_all(10), 10);
	expect_no_errors(0, 10);
	for (unsigned i = 0; i < 10; i++) {
		expect_from(p, i, 100, &from);
		assert_memory_equal(&from.remote, &p->at.remote, sizeof(from.remote));
		assert_true(has_no_source(&f.d[i].endpoint));
	}
	expect_silence(p);
	/* The run stays a run. */
	assert_string_equal(shape(), "10 10");
	assert_int_equal(f.gso.limit, 0);
}

static void test_address_removed(void **state)
{
	enter_netns(state);
	shell("ip addr add 10.55.0.1/32 dev lo");
	shell("ip addr add fd00:55::1/128 dev lo nodad");
	check_removed(&f.p4, "10.55.0.1", "ip addr del 10.55.0.1/32 dev lo");
	check_removed(&f.p6, "fd00:55::1", "ip addr del fd00:55::1/128 dev lo");
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 20);
}

/* Hosts that fail addresses over allow binding to those they have not: bind() proves nothing there.
 */
static void test_address_removed_nonlocal_bind(void **state)
{
	enter_netns(state);
	shell("sysctl -qw net.ipv4.ip_nonlocal_bind=1 || "
	      "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind");
	shell("ip addr add 10.55.0.1/32 dev lo");
	check_removed(&f.p4, "10.55.0.1", "ip addr del 10.55.0.1/32 dev lo");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stale_for_real),
		TEST(test_stale_every_errno),
		TEST(test_stale_with_interface),
		TEST(test_stale_link_local),
		TEST(test_not_stale),
		TEST(test_not_stale_though_not_preferred),
		TEST(test_not_stale_secondary),
		TEST(test_not_even_asked),
		TEST(test_cannot_ask),
		TEST(test_address_removed),
		TEST(test_address_removed_nonlocal_bind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
