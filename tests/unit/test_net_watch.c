/* SPDX-License-Identifier: MIT */
/* The watch against the real kernel: changes that are told, and those that go without a word. */
#include "watch_fixture.h"

#include <linux/if_link.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "net/stack.h"

/* ---------------------------------------------------------------- what is told */

static void test_open(void **state)
{
	const struct net_link *link = link_by_name(watch_table(w), "va");

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
	assert_true(known("! 127.255.255.255/32"));
	assert_int_equal(told.local_count, 4);
	assert_int_equal(local_rows(), count_by_ip());
	assert_false(readable(watch_fd(w), 0));
}

static void test_addresses(void **state)
{
	char scoped[64];

	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("addr add 2001:db8::1/64 dev va nodad");
	ip("addr add fe80::1/64 dev va nodad");
	process_until(ROUTES + 3);
	assert_true(known("10.0.0.1/32"));
	assert_true(known("2001:db8::1/128"));
	snprintf(scoped, sizeof(scoped), "fe80::1/128%%%u", if_nametoindex("va"));
	assert_true(known(scoped));
	assert_int_equal(told.news, 3);
	/* Neither broadcast and anycast addresses nor the rest of the subnet. */
	assert_false(is_local("10.0.0.255"));
	assert_false(is_local("10.0.0.2"));
	assert_false(is_local("2001:db8::"));
	assert_int_equal(local_rows(), count_by_ip());
	ip("addr del 10.0.0.1/24 dev va");
	ip("addr del 2001:db8::1/64 dev va");
	/* Once is enough. */
	assert_true(readable(watch_fd(w), 0));
	follow();
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
	assert_false(link_by_name(watch_table(w), "va")->flags & IFF_UP);
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
	assert_null(link_by_name(watch_table(w), "va"));

	/* A port that leaves its bridge does so by RTM_DELLINK, family AF_BRIDGE. */
	ip("link add br0 type bridge");
	ip("link set wan0 master br0");
	process();
	bridge = if_nametoindex("br0");
	assert_int_equal(net_table_link(watch_table(w), va)->master, bridge);
	assert_string_equal(net_table_link(watch_table(w), bridge)->kind, "bridge");
	assert_int_equal(told.link_gone, 0);
	ip("link set wan0 nomaster");
	follow();
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

/* What stack.c has to know of links, from a kernel that has them. */
static void test_link_kinds(void **state)
{
	const struct net_link *link;
	char why[80];

	(void)state;
	ip("link add mv0 link va type macvlan mode bridge");
	process();
	link = link_by_name(watch_table(w), "mv0");
	assert_int_equal(link->macvlan_mode, MACVLAN_MODE_BRIDGE);
	assert_int_equal(link->lower, if_nametoindex("va"));
	assert_false(net_stack_takes(watch_table(w), if_nametoindex("va"), why, sizeof(why)));
	ip("link del mv0");
	ip("link add mv1 link va type macvtap mode passthru");
	process();
	assert_true(net_stack_takes(watch_table(w), if_nametoindex("va"), why, sizeof(why)));
	assert_string_equal(why,
			    "mv1 (macvtap) on top is in mode passthru and takes all its packets");
	ip("link add mv2 link vb type macvlan mode source");
	ip("link set mv2 up"); /* of changes while it is down the kernel tells then */
	process();
	assert_true(net_stack_takes(watch_table(w), if_nametoindex("vb"), why, sizeof(why)));
	ip("link set mv2 type macvlan mode bridge");
	process();
	assert_false(net_stack_takes(watch_table(w), if_nametoindex("vb"), why, sizeof(why)));
	ip("tuntap add tap0 mode tap vnet_hdr");
	ip("tuntap add tap1 mode tap");
	process();
	assert_true(link_by_name(watch_table(w), "tap0")->vnet_hdr);
	assert_false(link_by_name(watch_table(w), "tap1")->vnet_hdr);
}

/* The same link-local address on two links is two addresses, each told by itself. */
static void test_link_local(void **state)
{
	char text[64];

	(void)state;
	ip("addr add fe80::1/64 dev va nodad");
	ip("addr add fe80::1/64 dev vb nodad");
	process_until(ROUTES + 2);
	assert_int_equal(told.news, 2);
	ip("addr del fe80::1/64 dev va");
	process();
	assert_int_equal(told.gone, 1);
	snprintf(text, sizeof(text), "fe80::1/128%%%u", if_nametoindex("vb"));
	assert_true(known(text));
	ip("addr del fe80::1/64 dev vb");
	process();
	assert_int_equal(told.gone, 2);
}

/* A hole in an AnyIP prefix, before and after it, and with the kernel's word on it. */
static void test_anyip_with_holes(void **state)
{
	(void)state;
	ip("route add local 203.0.113.0/24 dev lo");
	ip("route add blackhole 203.0.113.5 table local");
	ip("route add broadcast 203.0.113.255 dev va table local");
	ip("route add unreachable 2001:db8:5::5 table local");
	ip("route add local 2001:db8:5::/64 dev lo");
	process();
	assert_int_equal(told.news, 2);
	assert_int_equal(told.excluded_news, 3);
	assert_true(known("! 203.0.113.5/32"));
	assert_true(known("! 203.0.113.255/32"));
	assert_true(known("! 2001:db8:5::5/128"));
	assert_true(is_local("203.0.113.4"));
	assert_false(is_local("203.0.113.5"));
	assert_false(is_local("203.0.113.255"));
	assert_true(is_local("2001:db8:5::4"));
	assert_false(is_local("2001:db8:5::5"));
	assert_int_equal(watch_table(w)->local_count, count_all_by_ip());
	ip("route del blackhole 203.0.113.5 table local");
	ip("route del unreachable 2001:db8:5::5 table local");
	process();
	assert_int_equal(told.excluded_gone, 2);
	assert_true(is_local("203.0.113.5"));
	assert_true(is_local("2001:db8:5::5"));
	/* Only for some TOS: as well as not. */
	ip("route add local 203.0.113.9 tos 0x10 dev lo");
	process();
	assert_true(known("! 203.0.113.9/32"));
	/* An address and a hole at the same place. */
	ip("addr add 203.0.113.7/32 dev va");
	ip("route add blackhole 203.0.113.7 table local metric 9");
	process();
	assert_true(known("203.0.113.7/32"));
	assert_true(known("! 203.0.113.7/32"));
	ip("addr del 203.0.113.7/32 dev va");
	process();
	assert_false(known("203.0.113.7/32"));
	assert_true(known("! 203.0.113.7/32"));
	assert_int_equal(watch_table(w)->local_count, count_all_by_ip());
}

/* How the kernel would deliver, from here. */
static bool kernel_delivers(const char *address)
{
	char command[128];

	snprintf(command, sizeof(command), "ip route get %s | grep -q ^local", address);
	return system(command) == 0;
}

/* Until there are rules, the kernel has both tables in one: the longest prefix of either counts. */
static void test_anyip_and_main(void **state)
{
	(void)state;
	ip("addr add 10.0.0.1/24 dev va");
	ip("route add 203.0.113.5 via 10.0.0.2 dev va");
	ip("route add 203.0.112.0/20 via 10.0.0.2 dev va");
	process();
	assert_false(is_local("203.0.113.5"));
	assert_int_equal(told.excluded_news, 1); /* 10.0.0.255 */
	ip("route add local 203.0.113.0/24 dev lo");
	process();
	assert_true(known("! 203.0.113.5/32"));
	assert_int_equal(told.excluded_news, 2);
	assert_false(kernel_delivers("203.0.113.5"));
	assert_false(is_local("203.0.113.5"));
	assert_true(kernel_delivers("203.0.113.6") && is_local("203.0.113.6"));
	ip("route add 203.0.113.128/25 via 10.0.0.2 dev va");
	ip("route add 203.0.113.0/24 via 10.0.0.2 dev va");
	process();
	assert_false(kernel_delivers("203.0.113.200") || is_local("203.0.113.200"));
	assert_true(kernel_delivers("203.0.113.6") && is_local("203.0.113.6"));
	ip("route replace 203.0.113.5 dev vb");
	process();
	ip("route del 203.0.113.5");
	ip("route del 203.0.113.128/25");
	process();
	assert_true(kernel_delivers("203.0.113.5") && is_local("203.0.113.5"));
	assert_true(kernel_delivers("203.0.113.200") && is_local("203.0.113.200"));
	/* Without the prefix the holes are of no interest. */
	ip("route add 203.0.113.9 via 10.0.0.2 dev va");
	process();
	assert_false(is_local("203.0.113.9"));
	ip("route del local 203.0.113.0/24 dev lo");
	process();
	assert_false(known("! 203.0.113.9/32"));
}

static void assert_policy(uint8_t family, bool local_first, bool custom)
{
	assert_int_equal(net_table_policy(watch_table(w), family)->local_first, local_first);
	assert_int_equal(net_table_policy(watch_table(w), family)->custom_rules, custom);
}

static void test_rules(void **state)
{
	(void)state;
	assert_policy(AF_INET, true, false);
	assert_policy(AF_INET6, true, false);
	ip("rule add from 10.0.0.0/8 lookup 100 pref 500");
	process();
	assert_int_equal(told.routing, 1);
	assert_policy(AF_INET, true, true);
	assert_policy(AF_INET6, true, false);
	ip("rule del pref 500");
	process();
	assert_policy(AF_INET, true, false);
	/* `local` second, as those do it who let rules decide about their own addresses. */
	ip("-6 rule add pref 200 lookup local");
	ip("-6 rule del pref 0");
	process();
	assert_policy(AF_INET6, true, false);
	ip("-6 rule add pref 100 fwmark 1 lookup 100");
	process();
	assert_policy(AF_INET6, false, true);
	assert_policy(AF_INET, true, false);
	ip("rule add pref 10 not from 10.0.0.1 lookup local");
	ip("rule add pref 11 lookup local suppress_prefixlength 0");
	ip("rule del pref 0");
	process();
	assert_policy(AF_INET, false, true);
	ip("rule del pref 10");
	process();
	assert_policy(AF_INET, false, true);
	ip("rule add pref 5 lookup local");
	ip("rule del pref 11");
	process();
	assert_policy(AF_INET, true, false);
	ip("rule flush"); /* all but that of preference 0 */
	process();
	assert_policy(AF_INET, false, false);
	ip("rule add pref 5 lookup main");
	process();
	assert_policy(AF_INET, false, false);
}

static unsigned rp_filter(const char *device)
{
	return net_table_rp_filter(watch_table(w), if_nametoindex(device));
}

static void test_rp_filter(void **state)
{
	uint32_t va = if_nametoindex("va");

	(void)state;
	sysctl("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
	sysctl("/proc/sys/net/ipv4/conf/va/rp_filter", "0");
	sysctl("/proc/sys/net/ipv4/conf/vb/rp_filter", "0");
	process();
	forget_counts();
	assert_int_equal(rp_filter("va"), 0);
	sysctl("/proc/sys/net/ipv4/conf/va/rp_filter", "1");
	process();
	assert_int_equal(told.routing, 1);
	assert_int_equal(rp_filter("va"), 1);
	assert_int_equal(rp_filter("vb"), 0);
	sysctl("/proc/sys/net/ipv4/conf/all/rp_filter", "2");
	process();
	assert_int_equal(rp_filter("va"), 2);
	assert_int_equal(rp_filter("vb"), 2);
	sysctl("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
	process();
	assert_int_equal(rp_filter("va"), 1);
	/* Devices to come take over the default, and so do those that nobody has set. */
	ip("link add vq type veth peer name vr");
	process();
	sysctl("/proc/sys/net/ipv4/conf/default/rp_filter", "1");
	process();
	assert_int_equal(rp_filter("vq"), 1);
	assert_int_equal(rp_filter("vb"), 0);
	ip("link add vs type veth peer name vt");
	process();
	assert_int_equal(rp_filter("vs"), 1);
	ip("link del va");
	process();
	assert_int_equal(net_table_rp_filter(watch_table(w), va), 0);
}

/* Anything by which an IPv4 source may be judged otherwise is told once; anything else is not. */
static void test_routing(void **state)
{
	static const char *const changes[] = {
		"route add 198.51.100.0/24 dev va",
		"route replace 198.51.100.0/24 dev vb",
		"route del 198.51.100.0/24 dev vb",
		"route add 198.51.100.0/24 dev va table default",
		"nexthop add id 5 dev va",
		"nexthop del id 5",
		"rule add pref 500 lookup 100",
		"link set va down",
		"link set va up",
	};
	static const char *const others[] = {
		"route add 198.51.100.0/24 dev va table 100",
		"route add 2001:db8:7::/64 dev va table 1000",
		"route replace 2001:db8:7::/64 dev vb table 1000",
		"link set va mtu 1400",
		"-6 addr add fd00:9::1/64 dev va nodad",
	};
	size_t i;

	(void)state;
	assert_int_equal(told.routing, 0);
	ip("link set va up");
	ip("addr add 10.0.0.1/24 dev va");
	process();
	for (i = 0; i < COUNT(changes); i++) {
		forget_counts();
		ip("%s", changes[i]);
		assert_true(readable(watch_fd(w), 0));
		follow();
		if (told.routing != 1)
			fail_msg("told %u times: ip %s", told.routing, changes[i]);
		process();
	}
	for (i = 0; i < COUNT(others); i++) {
		forget_counts();
		ip("%s", others[i]);
		follow();
		if (told.routing)
			fail_msg("told %u times: ip %s", told.routing, others[i]);
		process();
	}
	forget_counts();
	ip("neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev va");
	follow();
	assert_int_equal(told.routing, 0);
	/* Any IPv4 setting: ignore_routes_with_linkdown counts as rp_filter does. */
	sysctl("/proc/sys/net/ipv4/conf/va/ignore_routes_with_linkdown", "1");
	follow();
	assert_int_equal(told.routing, 1);
}

/* Those that watch_open tells, with the table in place and the watch to ask for it. */
static struct watch *opened;

static void on_first_routing(void *arg)
{
	assert_non_null(opened);
	assert_true(net_table_policy(watch_table(opened), AF_INET)->local_first);
	assert_non_null(link_by_name(watch_table(opened), "va"));
	++*(int *)arg;
}

static void test_routing_at_first(void **state)
{
	int calls = 0;
	struct watch_handler handler = { .routing = on_first_routing, .arg = &calls };

	(void)state;
	assert_int_equal(watch_open(&opened, &handler, NULL), 0);
	assert_int_equal(calls, 1);
	assert_int_equal(watch_process(opened), 0);
	assert_int_equal(calls, 1);
	watch_close(opened);
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
	follow();
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
	assert_int_equal(link_by_name(watch_table(w), "vb")->lower, 0);
	leave_netns(other);
}

/* Of a new pair the one is told of before it has its peer, and not again then. */
static void test_new_pair(void **state)
{
	(void)state;
	ip("link add vq type veth peer name vr");
	process();
	assert_int_equal(link_by_name(watch_table(w), "vq")->lower, if_nametoindex("vr"));
	assert_int_equal(link_by_name(watch_table(w), "vr")->lower, if_nametoindex("vq"));
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
	assert_int_equal(local_rows(), count_by_ip());
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
		TEST(test_link_kinds),
		TEST(test_link_local),
		TEST(test_anyip_with_holes),
		TEST(test_anyip_and_main),
		TEST(test_rules),
		TEST(test_rp_filter),
		TEST(test_routing),
		TEST(test_routing_at_first),
		TEST(test_last_address_takes_anyip_along),
		TEST(test_link_deleted),
		TEST(test_link_moved_away),
		TEST(test_new_pair),
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
