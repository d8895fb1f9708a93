/* SPDX-License-Identifier: MIT */
/*
 * The watch against the real kernel. Needs root: each test runs in a network namespace of its
 * own, which goes when the next test leaves it, so the machine's interfaces are never touched.
 *
 *	+------- this namespace -------+
 *	|  lo     va ------------- vb  |     va -- vb: a veth pair, made by `setup`
 *	+------------------------------+
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/nic.h"
#include "net/watch.h"

/* What the handler was told, and a table made of nothing else. */
struct told {
	struct net_table links;
	char locals[8192][INET6_ADDRSTRLEN + 4];
	unsigned local_count;
	unsigned news, gone, link_news, link_gone, lost;
	bool new_before_gone;
};

static struct told told;
static struct watch *w;

/* ---------------------------------------------------------------- tools */

static void ip(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void ip(const char *format, ...)
{
	char command[512] = "ip ";
	va_list args;

	va_start(args, format);
	vsnprintf(command + 3, sizeof(command) - 3, format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static void sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

static void on_link(void *arg, const struct net_link *link, bool gone)
{
	struct net_event event = { .type = gone ? NET_EVENT_LINK_GONE : NET_EVENT_LINK,
				   .link = *link };
	struct told *t = arg;
	int error;

	/* Nothing is told that is not news. */
	assert_true(net_table_apply(&t->links, &event, &error));
	if (w)
		assert_int_equal(!net_table_link(watch_table(w), link->ifindex), gone);
	*(gone ? &t->link_gone : &t->link_news) += 1;
}

static unsigned find(const struct told *t, const char *text)
{
	unsigned i;

	for (i = 0; i < t->local_count; i++) {
		if (strcmp(t->locals[i], text) == 0)
			break;
	}
	return i;
}

static void on_local(void *arg, const struct net_local *local, bool gone)
{
	char text[INET6_ADDRSTRLEN + 4];
	struct told *t = arg;
	unsigned i;

	inet_ntop(local->family, &local->address, text, INET6_ADDRSTRLEN);
	snprintf(text + strlen(text), 5, "/%u", local->prefix_len);
	i = find(t, text);
	if (gone) {
		if (i == t->local_count)
			fail_msg("gone, but was never there: %s", text);
		memmove(t->locals[i], t->locals[--t->local_count], sizeof(t->locals[i]));
		t->gone++;
		t->new_before_gone |= t->news > 0;
	} else {
		if (i < t->local_count)
			fail_msg("new, but was there: %s", text);
		memcpy(t->locals[t->local_count++], text, sizeof(text));
		t->news++;
	}
}

static void on_log(void *arg, enum mr_log_level level, const char *line)
{
	struct told *t = arg;

	(void)level;
	t->lost += strstr(line, "lost") != NULL;
}

static void forget_counts(void)
{
	told.news = told.gone = told.link_news = told.link_gone = told.lost = 0;
	told.new_before_gone = false;
}

static bool known(const char *text)
{
	return find(&told, text) < told.local_count;
}

static bool is_local(const char *text)
{
	uint8_t family = strchr(text, ':') ? AF_INET6 : AF_INET;
	union mr_address a = { 0 };

	inet_pton(family, text, &a);
	return net_table_is_local(watch_table(w), family, &a);
}

static bool readable(int timeout_ms)
{
	struct pollfd p = { .fd = watch_fd(w), .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

struct differences {
	unsigned count;
	char last[128];
};

static void differs(void *arg, const struct net_event *event)
{
	struct differences *d = arg;
	char text[INET6_ADDRSTRLEN] = "";
	bool link = event->type == NET_EVENT_LINK || event->type == NET_EVENT_LINK_GONE;

	if (!link)
		inet_ntop(event->local.family, &event->local.address, text, sizeof(text));
	snprintf(d->last, sizeof(d->last), "event %d, %s", event->type,
		 link ? event->link.name : text);
	d->count++;
}

/* How many local routes `ip` shows: an oracle that shares no code with us. */
static size_t count_by_ip(void)
{
	FILE *f = popen("ip -4 -o route show table local type local;"
			"ip -6 -o route show table local type local",
			"r");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	pclose(f);
	return n;
}

/* Compares with a watch that is opened now. */
static struct differences compare_with_kernel(void)
{
	struct watch_handler none = { 0 };
	struct differences d = { 0 };
	struct watch *now;

	assert_int_equal(watch_open(&now, &none, NULL), 0);
	net_table_compare(watch_table(w), watch_table(now), differs, &d);
	watch_close(now);
	return d;
}

/* The addresses in the table, each once. */
static unsigned count_addresses(const struct net_table *t)
{
	const struct net_local *row;
	unsigned n = 0;

	for (row = t->locals; row < t->locals + t->local_count; row++)
		n += row == t->locals || row->prefix_len != row[-1].prefix_len ||
		     memcmp(&row->address, &row[-1].address, sizeof(row->address)) != 0;
	return n;
}

/* Takes in what there is, and compares the table with the kernel and with what was told. */
static void process(void)
{
	struct net_table links = { 0 };
	struct differences d;

	do {
		assert_int_equal(watch_process(w), 0);
		d = compare_with_kernel();
		/* A carrier comes when it comes, perhaps since we looked; but then it is told. */
	} while (readable(d.count ? 100 : 0));
	if (d.count)
		fail_msg("not what the kernel has: %s", d.last);
	assert_int_equal(count_addresses(watch_table(w)), told.local_count);
	links.links = watch_table(w)->links;
	links.link_count = watch_table(w)->link_count;
	net_table_compare(&told.links, &links, differs, &d);
	assert_int_equal(d.count, 0);
}

/* IPv6 addresses get their route from a kernel worker, a moment after `ip` is done. */
static void process_until(size_t routes)
{
	int tries;

	process();
	for (tries = 0; tries < 40 && watch_table(w)->local_count != routes; tries++) {
		readable(50);
		process();
	}
	assert_int_equal(watch_table(w)->local_count, routes);
}

/* Those of lo. */
#define ROUTES 3

static int setup(void **state)
{
	struct watch_handler handler = { .link = on_link, .local = on_local, .arg = &told };
	struct log log = { .fn = on_log, .arg = &told };

	(void)state;
	if (unshare(CLONE_NEWNET) != 0)
		return -1;
	/* No link-local addresses that come when they please. */
	sysctl("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "1");
	sysctl("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
	ip("link set lo up");
	ip("link add va type veth peer name vb");
	ip("link set va up");
	ip("link set vb up");
	memset(&told, 0, sizeof(told));
	w = NULL;
	if (watch_open(&w, &handler, &log) != 0)
		return -1;
	process_until(ROUTES);
	forget_counts();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	watch_close(w);
	net_table_fini(&told.links);
	return 0;
}

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
	assert_false(readable(0));
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
	assert_true(readable(0));
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

/* ---------------------------------------------------------------- overruns and races */

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
	assert_int_equal(watch_table(w)->local_count, count_by_ip());
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
	assert_int_equal(net_table_link_by_name(watch_table(w), "vb")->mtu, 1300);
	assert_non_null(net_table_link_by_name(watch_table(w), "vd"));
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
	assert_int_equal(net_table_link_by_name(watch_table(w), "va")->ifindex,
			 if_nametoindex("va"));
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
			assert_int_equal(watch_process(w), 0);
		assert_int_equal(status, 0);
		assert_int_equal(watch_process(w), 0);
		if (is_local("198.51.100.1") || is_local("10.9.0.1") || is_local("2001:db8:9::1"))
			fail_msg("stale after round %d", round);
	}
	process();
	assert_int_equal(told.local_count, 3);
}

static void test_nic(void **state)
{
	char buf[32];

	(void)state;
	assert_int_not_equal(nic_rx_queues("va"), 0);
	ip("link add vq numrxqueues 4 numtxqueues 4 type veth peer name vr");
	/* Allocated are four; what is in use is for the driver to say. */
	assert_in_range(nic_rx_queues("vq"), 1, 4);
	assert_int_equal(nic_rx_queues("lo"), 0);
	assert_int_equal(nic_rx_queues("nosuch0"), 0);
	assert_int_equal(nic_rx_queues(""), 0);
	assert_int_equal(nic_rx_queues("a-name-longer-than-any-interface"), 0);
	assert_string_equal(nic_driver("va", buf), "veth");
	assert_string_equal(nic_driver("nosuch0", buf), "");
}

#define IN_NETNS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_NETNS(test_open),
		IN_NETNS(test_addresses),
		IN_NETNS(test_same_address_on_two_devices),
		IN_NETNS(test_secondaries),
		IN_NETNS(test_anyip),
		IN_NETNS(test_down_and_up),
		IN_NETNS(test_links),
		IN_NETNS(test_last_address_takes_anyip_along),
		IN_NETNS(test_link_deleted),
		IN_NETNS(test_link_moved_away),
		IN_NETNS(test_bare_link_deleted),
		IN_NETNS(test_replaced),
		IN_NETNS(test_two_metrics),
		IN_NETNS(test_nexthop_objects),
		IN_NETNS(test_nexthop_without_carrier),
		IN_NETNS(test_down_without_notice),
		IN_NETNS(test_flood),
		IN_NETNS(test_overrun),
		IN_NETNS(test_overrun_of_links),
		IN_NETNS(test_race),
		IN_NETNS(test_nic),
	};

	signal(SIGPIPE, SIG_IGN); /* an `ip` that fails should fail a test */
	if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
		printf("skipped: making a network namespace needs root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
