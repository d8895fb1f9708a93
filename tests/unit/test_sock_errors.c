/* SPDX-License-Identifier: MIT */
/* Sending through sockets (sock/send.c): every other refusal, stood in for and the kernel's own. */
#include "send_fixture.h"

#include <limits.h>

/* ---------------------------------------------------------------- other refusals */

/* One is refused; its neighbours are not touched, and nobody waits for anything. */
static void check_one_refused(int error, enum reason reason)
{
	const uint64_t before = counted(reason), sent = counted(REASON_TX_SOCKET);

	for (victim = 0; victim < 9; victim = (uint8_t)(victim + 4)) {
		fake.calls = 0;
		for (unsigned i = 0; i < 9; i++)
			make(i, &f.p4.at, 10 + i); /* no runs */
		refuse(is_victim, error, 1);
		assert_int_equal(send_all(9), 9);
		for (unsigned i = 0; i < 9; i++) {
			assert_int_equal(f.d[i].error, i == victim ? -error : 0);
			if (i != victim)
				expect(&f.p4, i, 10 + i);
		}
		assert_true(fake.calls <= 3);
	}
	expect_silence(&f.p4);
	assert_int_equal(counted(reason) - before, 3);
	assert_int_equal(counted(REASON_TX_SOCKET) - sent, 3 * 8);
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
	assert_int_equal(counted(REASON_TX_FULL), 0);
	assert_int_equal(fake.binds, 0); /* no source, so none is asked after */
}

static void test_one_refused(void **state)
{
	(void)state;
	check_one_refused(EPERM, REASON_TX_DENIED);
	check_one_refused(EACCES, REASON_TX_DENIED);
	check_one_refused(ENOBUFS, REASON_TX_NO_BUFFER);
	check_one_refused(ENOMEM, REASON_TX_NO_BUFFER);
	check_one_refused(ENETUNREACH, REASON_TX_UNREACHABLE);
	check_one_refused(EHOSTUNREACH, REASON_TX_UNREACHABLE);
	check_one_refused(ENETDOWN, REASON_TX_UNREACHABLE);
	check_one_refused(EINVAL, REASON_TX_UNREACHABLE);
	check_one_refused(EMSGSIZE, REASON_TX_TOO_BIG);
	check_one_refused(EIO, REASON_TX_ERROR);
	check_one_refused(ENODEV, REASON_TX_ERROR);
}

/* A run to one endpoint shares its fate, and nobody else's. */
static void test_run_refused(void **state)
{
	(void)state;
	make_all(&f.p4.at, 30, 50);
	for (unsigned i = 10; i < 20; i++)
		f.d[i].endpoint = f.q4.at;
	victim = 10;
	refuse(is_victim, EPERM, 1);
	assert_int_equal(send_all(30), 30);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(f.d[i].error, i >= 10 && i < 20 ? -EPERM : 0);
		if (!f.d[i].error)
			expect(&f.p4, i, 50);
	}
	expect_silence(&f.q4);
	assert_int_equal(counted(REASON_TX_DENIED), 10);
	assert_int_equal(f.gso.limit, 0);
}

static void test_full(void **state)
{
	static const unsigned sent_first[] = { 0, 1, 7, 64, 65 };

	(void)state;
	for (unsigned k = 0; k < COUNT(sent_first); k++) {
		const uint64_t full = counted(REASON_TX_FULL);
		unsigned first = sent_first[k];

		for (unsigned i = 0; i < 100; i++)
			make(i, &f.p4.at, 10 + i);
		victim = (uint8_t)first;
		refuse(is_victim, EAGAIN, 1);
		assert_int_equal(send_all(100), first);
		/* What is left is the caller's, unmarked. */
		expect_no_errors(0, 100);
		for (unsigned i = 0; i < first; i++)
			expect(&f.p4, i, 10 + i);
		expect_silence(&f.p4);
		assert_int_equal(counted(REASON_TX_FULL) - full, 100 - first);
		/* And goes later. */
		assert_int_equal(sock_send(&f.s4, &f.d[first], 100 - first, &f.gso, &f.counters),
				 100 - first);
		for (unsigned i = first; i < 100; i++)
			expect(&f.p4, i, 10 + i);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 100 * COUNT(sent_first));
}

/* The real thing: a send buffer that nobody empties. */
static void test_full_for_real(void **state)
{
	unsigned taken = 0, n = 0;
	int tiny = 4608;

	enter_netns(state);
	/* A neighbour that never answers keeps what is sent in the socket's account. */
	shell("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	shell("ip addr add 10.66.0.1/24 dev va");
	setsockopt(f.s4.fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny));
	f.p4.at = endpoint("10.66.0.2:9");
	make_all(&f.p4.at, 200, 1000);
	f.gso.limit = 1; /* one by one */
	f.gso.until_ns = UINT64_MAX;
	taken = send_all(200);
	n = fake.calls;
	assert_true(taken > 0 && taken < 200);
	assert_int_equal(counted(REASON_TX_FULL), 200 - taken);
	assert_true(n < 10);
	expect_no_errors(0, 200);
}

static void test_interrupted(void **state)
{
	(void)state;
	for (victim = 0; victim < 9; victim = (uint8_t)(victim + 4)) {
		for (unsigned i = 0; i < 9; i++)
			make(i, &f.p4.at, 10 + i);
		refuse(is_victim, EINTR, 3);
		assert_int_equal(send_all(9), 9);
		expect_no_errors(0, 9);
		for (unsigned i = 0; i < 9; i++)
			expect(&f.p4, i, 10 + i);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 27);
}

/* The kernel may take any prefix. */
static void test_short_counts(void **state)
{
	(void)state;
	for (fake.at_most = 1; fake.at_most <= 5; fake.at_most++) {
		fake.count = 0;
		for (unsigned i = 0; i < 90; i++)
			make(i, i % 7 ? &f.p4.at : &f.q4.at, i % 5 ? 30 : 20);
		assert_int_equal(send_all(90), 90);
		expect_no_errors(0, 90);
		for (unsigned i = 0; i < 90; i++)
			expect(i % 7 ? &f.p4 : &f.q4, i, i % 5 ? 30 : 20);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 5 * 90);
}

/* An ICMP error of an earlier datagram says nothing of this one. */
static void test_connection_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		make(i, &f.p4.at, 10 + i);
	refuse(is_anything, ECONNREFUSED, 1);
	assert_int_equal(send_all(5), 5);
	expect_no_errors(0, 5);
	for (unsigned i = 0; i < 5; i++)
		expect(&f.p4, i, 10 + i);
	assert_int_equal(counted(REASON_TX_SOCKET), 5);
	/* But if it goes on, it is not waited for. */
	fake.calls = 0;
	refuse(is_anything, ECONNREFUSED, UINT_MAX);
	assert_int_equal(send_all(5), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(f.d[i].error, -ECONNREFUSED);
	assert_true(fake.calls < 10);
}

static void test_connection_refused_for_real(void **state)
{
	struct peer gone = peer_open("127.0.0.1");
	int one = 1;

	(void)state;
	setsockopt(f.s4.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	close(gone.fd);
	for (unsigned i = 0; i < 20; i++) {
		make(0, &gone.at, 5);
		make(1, &f.p4.at, 6);
		assert_int_equal(send_all(2), 2);
		expect_no_errors(0, 2);
		expect(&f.p4, 1, 6);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 40);
}

/* ---------------------------------------------------------------- what this kernel says */

static int send_one(const struct mr_endpoint *e)
{
	make(0, e, 10);
	assert_int_equal(send_all(1), 1);
	return f.d[0].error;
}

/* Rows of FIELD-NOTES §0 that loopback has, without privilege. */
static void test_errno_table(void **state)
{
	struct mr_endpoint e;

	(void)state;
	/* Broadcast without SO_BROADCAST. */
	e = endpoint("127.255.255.255:9");
	assert_int_equal(send_one(&e), -EACCES);
	assert_int_equal(counted(REASON_TX_DENIED), 1);
	/* A link-local remote on an interface that does not exist. */
	e = endpoint("[fe80::1%4711]:9");
	assert_true(send_one(&e) == -ENODEV || f.d[0].error == -EINVAL ||
		    f.d[0].error == -ENETUNREACH);
	e = from_source(e, "::1");
	assert_int_equal(send_one(&e), -ENODEV);
	assert_false(has_no_source(&f.d[0].endpoint));
	/* Scope and interface at odds: EINVAL if both were said. */
	e = f.p6.at;
	e = from_source(e, "::1");
	e.ifindex = 4711;
	assert_int_equal(send_one(&e), 0);
	expect(&f.p6, 0, 10);
	/* A wrong interface beside an IPv4 source must not matter. */
	e = from_source(f.p4.at, "127.0.0.5");
	e.ifindex = 4711;
	assert_int_equal(send_one(&e), 0);
	expect_from(&f.p4, 0, 10, &e);
	assert_address(&e.remote, AF_INET, "127.0.0.5");
}

static void check_route(const char *command, const char *to, int error, enum reason reason)
{
	struct mr_endpoint e = endpoint(to);
	uint64_t before = counted(reason);

	if (command)
		shell(command);
	assert_int_equal(send_one(&e), -error);
	assert_int_equal(counted(reason) - before, 1);
	/* The same with a source of ours, which is not to blame. */
	e = from_source(e, e.family == AF_INET ? "127.0.0.1" : "::1");
	assert_int_equal(send_one(&e), -error);
	assert_false(has_no_source(&f.d[0].endpoint));
	assert_int_equal(counted(reason) - before, 2);
}

static void test_errno_table_routes(void **state)
{
	enter_netns(state);
	check_route(NULL, "198.51.100.1:9", ENETUNREACH, REASON_TX_UNREACHABLE);
	check_route(NULL, "[2001:db8:9::1]:9", ENETUNREACH, REASON_TX_UNREACHABLE);
	check_route("ip route add unreachable 198.51.100.2/32", "198.51.100.2:9", EHOSTUNREACH,
		    REASON_TX_UNREACHABLE);
	check_route("ip route add prohibit 198.51.100.3/32", "198.51.100.3:9", EACCES,
		    REASON_TX_DENIED);
	check_route("ip route add blackhole 198.51.100.4/32", "198.51.100.4:9", EINVAL,
		    REASON_TX_UNREACHABLE);
	check_route("ip -6 route add unreachable 2001:db8:9::2/128", "[2001:db8:9::2]:9",
		    EHOSTUNREACH, REASON_TX_UNREACHABLE);
	check_route("ip -6 route add prohibit 2001:db8:9::3/128", "[2001:db8:9::3]:9", EACCES,
		    REASON_TX_DENIED);
	check_route("ip -6 route add blackhole 2001:db8:9::4/128", "[2001:db8:9::4]:9", EINVAL,
		    REASON_TX_UNREACHABLE);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
	assert_int_equal(f.gso.limit, 0);
}

/* A run down a blackhole says EINVAL, as a run that is refused does: told, and delivered nowhere.
 */
static void test_run_into_blackhole(void **state)
{
	struct mr_endpoint hole = endpoint("198.51.100.4:9");

	enter_netns(state);
	shell("ip route add blackhole 198.51.100.4/32");
	for (unsigned i = 0; i < 30; i++)
		make(i, i / 10 == 1 ? &hole : &f.p4.at, 1000);
	assert_int_equal(send_all(30), 30);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(f.d[i].error, i / 10 == 1 ? -EINVAL : 0);
		if (i / 10 != 1)
			expect(&f.p4, i, 1000);
	}
	assert_int_equal(counted(REASON_TX_UNREACHABLE), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_one_refused),
		TEST(test_run_refused),
		TEST(test_full),
		TEST(test_full_for_real),
		TEST(test_interrupted),
		TEST(test_short_counts),
		TEST(test_connection_refused),
		TEST(test_connection_refused_for_real),
		TEST(test_errno_table),
		TEST(test_errno_table_routes),
		TEST(test_run_into_blackhole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
