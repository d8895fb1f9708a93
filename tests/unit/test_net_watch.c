/* SPDX-License-Identifier: MIT */
/* The watch against the real kernel: changes that are told, and those that go without a word. */
#include "watch_fixture.h"

#include <sys/prctl.h>
#include <sys/wait.h>

/* ---------------------------------------------------------------- what is told */

static void test_open(void **state)
{
	const struct net_link *link = net_table_link_by_name(watch_table(w), "va");

	(void)state;
	assert_non_null(link);
	assert_int_equal(link->ifindex, if_nametoindex("va"));
	assert_int_equal(link->lower, if_nametoindex("vb"));
	assert_int_equal(link->mtu, 1500);
	assert_int_equal(link->type, 1);
	assert_int_not_equal(link->rx_queues, 0);
	assert_true(link->flags & IFF_UP);
	assert_true(link->has_mac);
	assert_string_equal(link->kind, "veth");
	assert_string_equal(net_table_link(watch_table(w), 1)->name, "lo");
	assert_true(known("127.0.0.0/8"));
	assert_true(known("127.0.0.1/32"));
	assert_true(known("::1/128"));
	assert_int_equal(told.local_count, 3);
	assert_int_equal(watch_table(w)->local_count, count_by_ip());
	assert_false(readable(watch_fd(w), 0));
}

static void test_addresses(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 2001:db8::1/64 dev va nodad");
	ip("addr add fe80::1/64 dev va nodad");
	process_until(ROUTES + 3);
	assert_true(known("10.0.0.1/32"));
	assert_true(known("2001:db8::1/128"));
	assert_true(known("fe80::1/128"));
	assert_int_equal(told.news, 3);
	/* Neither broadcast and anycast addresses nor the rest of the subnet. */
	assert_false(is_local("10.0.0.255"));
	assert_false(is_local("10.0.0.2"));
	assert_false(is_local("2001:db8::"));
	assert_int_equal(watch_table(w)->local_count, count_by_ip());
	ip("addr del 10.0.0.1/24 dev va");
	ip("addr del 2001:db8::1/64 dev va");
	/* Once is enough. */
	assert_true(readable(watch_fd(w), 0));
	assert_int_equal(watch_process(w), 0);
	assert_false(known("10.0.0.1/32"));
	assert_false(known("2001:db8::1/128"));
	assert_int_equal(told.gone, 2);
	process();
	assert_int_equal(told.news, 3);
	assert_int_equal(told.gone, 2);
}

static void test_same_address_on_two_devices(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 10.0.0.1/24 dev vb");
	ip("addr add 2001:db8::1/64 dev va nodad");
	ip("addr add 2001:db8::1/64 dev vb nodad");
	process_until(ROUTES + 4);
	assert_int_equal(told.news, 2);
	ip("addr del 10.0.0.1/24 dev va");
	ip("addr del 2001:db8::1/64 dev va");
	process();
	assert_int_equal(told.gone, 0);
	assert_true(is_local("10.0.0.1"));
	assert_true(is_local("2001:db8::1"));
	ip("addr del 10.0.0.1/24 dev vb");
	ip("addr del 2001:db8::1/64 dev vb");
	process();
	assert_int_equal(told.gone, 2);
	assert_int_equal(told.news, 2);
}

static void test_secondaries(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 10.0.0.2/24 dev va");
	process();
	ip("addr del 10.0.0.1/24 dev va");
	process();
	assert_false(is_local("10.0.0.1"));
	assert_false(is_local("10.0.0.2"));
	sysctl("/proc/sys/net/ipv4/conf/va/promote_secondaries", "1");
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 10.0.0.2/24 dev va");
	process();
	ip("addr del 10.0.0.1/24 dev va");
	process();
	assert_false(is_local("10.0.0.1"));
	assert_true(is_local("10.0.0.2"));
}

static void test_anyip(void **state)
{
	(void)state;
	ip("route add local 203.0.113.0/24 dev lo");
	ip("route add local 2001:db8:5::/64 dev lo");
	/* The same in another table is for policy routing, and says nothing. */
	ip("route add local 198.51.100.0/24 dev lo table 100");
	ip("route add local 198.51.100.0/24 dev lo table 1000");
	process();
	assert_int_equal(told.news, 2);
	assert_true(is_local("203.0.113.77"));
	assert_true(is_local("2001:db8:5::77"));
	assert_false(is_local("198.51.100.1"));
	ip("route del local 203.0.113.0/24 dev lo");
	ip("route del local 2001:db8:5::/64 dev lo");
	ip("route del local 198.51.100.0/24 dev lo table 100");
	process();
	assert_false(is_local("203.0.113.77"));
	assert_false(is_local("2001:db8:5::77"));
}

static void test_down_and_up(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("route add local 198.51.100.0/24 dev va");
	ip("addr add 2001:db8::1/64 dev va nodad");
	ip("route add local 2001:db8:6::/64 dev va");
	process_until(ROUTES + 4);
	ip("link set va down");
	process();
	assert_true(is_local("10.0.0.1"));
	assert_true(is_local("198.51.100.1"));
	assert_false(is_local("2001:db8::1"));
	assert_false(is_local("2001:db8:6::1"));
	assert_false(net_table_link_by_name(watch_table(w), "va")->flags & IFF_UP);
	ip("link set va up");
	process();
	assert_true(is_local("10.0.0.1"));
	assert_int_equal(told.gone, 2);
	ip("link set lo down");
	process();
	ip("link set lo up");
	process_until(ROUTES + 2);
	assert_true(is_local("127.0.0.1"));
	assert_true(is_local("::1"));
}

static void test_links(void **state)
{
	uint32_t va = if_nametoindex("va"), bridge;

	(void)state;
	ip("link set va mtu 1400");
	ip("link set va address 02:00:00:00:00:77");
	process();
	assert_int_equal(net_table_link(watch_table(w), va)->mtu, 1400);
	assert_int_equal(net_table_link(watch_table(w), va)->mac[5], 0x77);
	ip("link set va down name wan0");
	process();
	assert_string_equal(net_table_link(watch_table(w), va)->name, "wan0");
	assert_null(net_table_link_by_name(watch_table(w), "va"));

	/* A port that leaves its bridge does so by RTM_DELLINK, family AF_BRIDGE. */
	ip("link add br0 type bridge");
	ip("link set wan0 master br0");
	process();
	bridge = if_nametoindex("br0");
	assert_int_equal(net_table_link(watch_table(w), va)->master, bridge);
	assert_string_equal(net_table_link(watch_table(w), bridge)->kind, "bridge");
	assert_int_equal(told.link_gone, 0);
	ip("link set wan0 nomaster");
	assert_int_equal(watch_process(w), 0);
	assert_int_equal(told.link_gone, 0);
	process();
	assert_int_equal(net_table_link(watch_table(w), va)->master, 0);

	ip("link del br0");
	ip("link del wan0");
	process();
	assert_int_equal(told.link_gone, 3);
	assert_int_equal(watch_table(w)->link_count, told.links.link_count);
	assert_null(net_table_link(watch_table(w), va));
}

/* ---------------------------------------------------------------- what is not told */

static void test_last_address_takes_anyip_along(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("route add local 198.51.100.0/24 dev va");
	process();
	assert_true(is_local("198.51.100.1"));
	ip("addr del 10.0.0.1/24 dev va");
	assert_int_equal(watch_process(w), 0);
	assert_false(is_local("198.51.100.1"));
	assert_int_equal(told.gone, 2);
	process();
}

static void fill_va(void)
{
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 10.0.0.2/24 dev va");
	ip("route add local 198.51.100.0/24 dev va");
	ip("addr add 2001:db8::1/64 dev va nodad");
	ip("route add local 2001:db8:6::/64 dev va");
	process_until(ROUTES + 5);
	assert_int_equal(told.news, 5);
	assert_int_equal(told.gone, 0);
}

static void test_link_deleted(void **state)
{
	(void)state;
	fill_va();
	ip("link del va");
	process();
	assert_int_equal(told.gone, 5);
	assert_int_equal(told.link_gone, 2);
}

/* A process in a network namespace of its own, which dies with us. */
static pid_t other_netns(void)
{
	int ready[2];
	pid_t child;
	char c;

	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0 && write(ready[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return child;
}

static void leave_netns(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void nsenter(pid_t other, const char *what)
{
	char command[128];

	snprintf(command, sizeof(command), "nsenter -t %d -n %s", other, what);
	assert_int_equal(system(command), 0);
}

static void test_link_moved_away(void **state)
{
	pid_t other = other_netns();

	(void)state;
	fill_va();
	ip("link set va netns %d", other);
	process();
	assert_int_equal(told.gone, 5);
	assert_int_equal(told.link_gone, 1);
	/* Its peer is still here, but what it points to is not. */
	assert_int_equal(net_table_link_by_name(watch_table(w), "vb")->lower, 0);
	leave_netns(other);
}

/* No address goes along that would be told, nor is the link up. */
static void test_bare_link_deleted(void **state)
{
	(void)state;
	ip("route add local 198.51.100.0/24 dev va");
	ip("link set va down");
	process();
	assert_true(is_local("198.51.100.1"));
	ip("link set vb down");
	process();
	ip("link del va");
	process();
	assert_false(is_local("198.51.100.1"));
}

static void test_replaced(void **state)
{
	(void)state;
	ip("route add local 203.0.113.0/24 dev lo");
	ip("route replace local 203.0.113.0/24 dev va");
	ip("route add local 2001:db8:5::/64 dev lo");
	ip("route replace local 2001:db8:5::/64 dev va");
	process();
	assert_int_equal(watch_table(w)->local_count, count_by_ip());
	ip("route del local 203.0.113.0/24 dev va");
	ip("route del local 2001:db8:5::/64 dev va");
	process();
	assert_int_equal(told.gone, 2);

	ip("route add local 203.0.113.0/24 dev lo");
	ip("route add local 2001:db8:5::/64 dev lo metric 6");
	process();
	ip("route replace blackhole 203.0.113.0/24 table local");
	process();
	assert_false(is_local("203.0.113.1"));
	ip("-6 route replace blackhole 2001:db8:5::/64 table local metric 6");
	process();
	assert_false(is_local("2001:db8:5::1"));
}

static void test_two_metrics(void **state)
{
	(void)state;
	ip("route add local 203.0.113.0/24 dev lo metric 5");
	ip("route add local 203.0.113.0/24 dev lo metric 6");
	ip("route add local 2001:db8:5::/64 dev lo metric 5");
	ip("route add local 2001:db8:5::/64 dev lo metric 6");
	process();
	ip("route del local 203.0.113.0/24 dev lo metric 5");
	ip("route del local 2001:db8:5::/64 dev lo metric 5");
	process();
	assert_true(is_local("203.0.113.1"));
	assert_true(is_local("2001:db8:5::1"));
	ip("route del local 203.0.113.0/24 dev lo metric 6");
	ip("route del local 2001:db8:5::/64 dev lo metric 6");
	process();
	assert_false(is_local("203.0.113.1"));
	assert_false(is_local("2001:db8:5::1"));
}

static void test_nexthop_objects(void **state)
{
	(void)state;
	ip("nexthop add id 5 dev va");
	ip("route add local 192.0.2.0/24 nhid 5 table local scope host");
	process();
	assert_true(is_local("192.0.2.1"));
	ip("nexthop del id 5");
	process();
	assert_false(is_local("192.0.2.1"));
}

/* It goes with the carrier too, without a word. */
static void test_nexthop_without_carrier(void **state)
{
	pid_t other = other_netns();

	(void)state;
	ip("link set vb netns %d", other);
	nsenter(other, "ip link set vb up");
	ip("nexthop add id 5 dev va");
	ip("route add local 192.0.2.0/24 nhid 5 table local scope host");
	process();
	assert_true(is_local("192.0.2.1"));
	nsenter(other, "ip link set vb down");
	process();
	assert_false(is_local("192.0.2.1"));
	leave_netns(other);
}

static void test_down_without_notice(void **state)
{
	(void)state;
	sysctl("/proc/sys/net/ipv6/route/skip_notify_on_dev_down", "1");
	fill_va();
	ip("link set va down");
	process();
	assert_false(is_local("2001:db8::1"));
	assert_false(is_local("2001:db8:6::1"));
	assert_int_equal(told.gone, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open),
		TEST(test_addresses),
		TEST(test_same_address_on_two_devices),
		TEST(test_secondaries),
		TEST(test_anyip),
		TEST(test_down_and_up),
		TEST(test_links),
		TEST(test_last_address_takes_anyip_along),
		TEST(test_link_deleted),
		TEST(test_link_moved_away),
		TEST(test_bare_link_deleted),
		TEST(test_replaced),
		TEST(test_two_metrics),
		TEST(test_nexthop_objects),
		TEST(test_nexthop_without_carrier),
		TEST(test_down_without_notice),
	};

	if (!watch_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
