/* SPDX-License-Identifier: MIT */
/* The watch against the real kernel: floods, overruns, and changes while a dump is made. */
#include "watch_fixture.h"

#include <linux/netlink.h>
#include <sys/wait.h>

static void batch(void (*write_lines)(FILE *f))
{
	FILE *f = popen("ip -batch -", "w");

	assert_non_null(f);
	write_lines(f);
	assert_int_equal(pclose(f), 0);
}

#define FLOOD 3000

static void add_many(FILE *f)
{
	int i;

	for (i = 0; i < FLOOD; i++)
		fprintf(f, "addr add 10.%d.%d.1/32 dev va\n", 1 + i / 250, i % 250);
}

static void del_most(FILE *f)
{
	int i;

	/* All but the first ten, then some new ones of the other family, then va's peer's MTU. */
	for (i = 10; i < FLOOD; i++)
		fprintf(f, "addr del 10.%d.%d.1/32 dev va\n", 1 + i / 250, i % 250);
	for (i = 0; i < 100; i++)
		fprintf(f, "addr add 2001:db8:%x::1/128 dev va nodad\n", i);
	fprintf(f, "link set vb mtu 1300\n");
	fprintf(f, "link add vc type veth peer name vd\n");
}

/* With a buffer for a handful of messages, and then with the usual one. */
static void flood(bool overrun)
{
	int small = 1;

	if (overrun)
		assert_int_equal(
			setsockopt(watch_fd(w), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	batch(add_many);
	process();
	assert_int_equal(told.news, FLOOD);
	assert_int_equal(told.gone, 0);
	assert_int_equal(local_rows(), count_by_ip());
	if (overrun)
		assert_int_not_equal(told.lost, 0);
	else
		assert_int_equal(told.lost, 0);
	forget_counts();

	batch(del_most);
	process_until(ROUTES + 10 + 100);
	assert_int_equal(told.gone, FLOOD - 10);
	assert_int_equal(told.news, 100);
	assert_int_equal(told.link_gone, 0);
	assert_false(told.new_before_gone);
	assert_int_equal(link_by_name(watch_table(w), "vb")->mtu, 1300);
	assert_non_null(link_by_name(watch_table(w), "vd"));
	if (overrun)
		assert_int_not_equal(told.lost, 0);
	else
		assert_int_equal(told.lost, 0);
}

static void test_flood(void **state)
{
	(void)state;
	flood(false);
}

static void test_overrun(void **state)
{
	(void)state;
	flood(true);
}

/* A link that was lost in an overrun while another took its name. */
static void test_overrun_of_links(void **state)
{
	uint32_t va = if_nametoindex("va");
	int small = 1, i;

	(void)state;
	assert_int_equal(setsockopt(watch_fd(w), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	for (i = 0; i < 10; i++)
		ip("link set va mtu %d", 1400 + i);
	ip("link del va");
	ip("link add va type veth peer name vb");
	process();
	assert_int_not_equal(told.lost, 0);
	assert_null(net_table_link(watch_table(w), va));
	assert_int_equal(link_by_name(watch_table(w), "va")->ifindex, if_nametoindex("va"));
	assert_int_equal(told.link_gone, 2);
}

/* Makes the last of the dumps, that of IPv6, take milliseconds, in which IPv4 goes on changing. */
static void add_ballast(FILE *f)
{
	int i;

	for (i = 0; i < 10000; i++)
		fprintf(f, "route add blackhole 2001:db8:ffff:%x::/64 table local\n", i);
}

static const char script[] = "addr add 2001:db8:9::1/64 dev va nodad\n"
			     "addr del 2001:db8:9::1/64 dev va\n"
			     "addr add 10.9.0.1/24 dev va\n"
			     "addr add 10.9.0.2/32 dev va\n"
			     "addr add 10.9.0.3/32 dev va\n"
			     "route add local 198.51.100.0/24 dev va\n"
			     "addr del 10.9.0.3/32 dev va\n"
			     "addr del 10.9.0.2/32 dev va\n"
			     "addr del 10.9.0.1/24 dev va\n";

/* `ip` doing the script, meanwhile. */
static pid_t start_script(void)
{
	int ends[2];
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], script, sizeof(script) - 1), sizeof(script) - 1);
	close(ends[1]);
	child = fork();
	if (child == 0) {
		dup2(ends[0], 0);
		execlp("ip", "ip", "-batch", "-", NULL);
		_exit(127);
	}
	close(ends[0]);
	return child;
}

/*
 * Changes that go on while dumps are made must end in the kernel's state, and be told once. (That
 * silent removals are waited for is not tested by this: they follow their message too closely.)
 */
static void test_race(void **state)
{
	int status, round;
	pid_t child;

	(void)state;
	batch(add_ballast);
	process();
	for (round = 0; round < 100; round++) {
		child = start_script();
		while (waitpid(child, &status, WNOHANG) == 0)
			follow();
		assert_int_equal(status, 0);
		follow();
		if (is_local("198.51.100.1") || is_local("10.9.0.1") || is_local("2001:db8:9::1"))
			fail_msg("stale after round %d", round);
	}
	process();
	assert_int_equal(local_rows(), ROUTES);
}

/* The socket that dumps are made by: the one opened after that of the news. */
static int dump_fd(void)
{
	struct sockaddr_nl name = { 0 };
	socklen_t len = sizeof(name);
	int fd = watch_fd(w) + 1;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &len), 0);
	assert_int_equal(name.nl_family, AF_NETLINK);
	return fd;
}

/* A dump that fails is made again when asked, without any news; until then nothing is told. */
static void test_failed_dump(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd;

	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("route add local 198.51.100.0/24 dev va");
	process();
	forget_counts();
	fd = dump_fd();
	assert_int_equal(dup2(null, fd), fd);
	close(null);
	ip("addr del 10.0.0.1/24 dev va");
	ip("rule add pref 500 lookup 100");
	told.settled = false;
	assert_int_equal(watch_process(w), -ENOTSOCK);
	/* What was told is in force, and what went in silence is not known yet. */
	assert_int_equal(told.gone, 1);
	assert_int_equal(told.routing, 1);
	assert_true(is_local("198.51.100.1"));
	assert_false(net_table_policy(watch_table(w), AF_INET)->custom_rules);
	assert_false(readable(watch_fd(w), 0));
	follow();
	assert_true(net_table_policy(watch_table(w), AF_INET)->custom_rules);
	assert_int_equal(told.gone, 2);
	assert_false(is_local("198.51.100.1"));
	process();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_flood), TEST(test_overrun),	  TEST(test_overrun_of_links),
		TEST(test_race),  TEST(test_failed_dump),
	};

	if (!watch_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
