/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the watch share. Needs root: each test runs in a network namespace of its own,
 * which goes when the next test leaves it, so the machine's interfaces are never touched.
 *
 *	+------- this namespace -------+
 *	|  lo     va ------------- vb  |     va -- vb: a veth pair, made by `setup`
 *	+------------------------------+
 */
#ifndef WATCH_FIXTURE_H
#define WATCH_FIXTURE_H

#include "unit.h"

#include <signal.h>

#include "net/watch.h"
#include "net_fixture.h"

/* What the handler was told, and a table made of nothing else. */
struct told {
	struct net_table links;
	char locals[16384][INET6_ADDRSTRLEN + 24];
	unsigned local_count;
	unsigned news, gone, link_news, link_gone, lost, routing;
	unsigned excluded_news, excluded_gone, changes;
	bool new_before_gone, settled;
};

static struct told told;
static struct watch *w;

/* ---------------------------------------------------------------- tools */

static inline void ip(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline void ip(const char *format, ...)
{
	char command[512] = "ip ";
	va_list args;

	va_start(args, format);
	vsnprintf(command + 3, sizeof(command) - 3, format, args);
	va_end(args);
	shell(command);
}

static inline void sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	close(fd);
}

static inline void on_link(void *arg, const struct net_link *link, bool gone)
{
	struct net_event event = { .type = gone ? NET_EVENT_LINK_GONE : NET_EVENT_LINK,
				   .link = *link };
	struct told *t = arg;
	int error;

	t->changes++;
	assert_false(t->settled);
	/* Nothing is told that is not news. */
	assert_true(net_table_apply(&t->links, &event, &error));
	if (w)
		assert_int_equal(!net_table_link(watch_table(w), link->ifindex), gone);
	*(gone ? &t->link_gone : &t->link_news) += 1;
}

static inline unsigned find(const struct told *t, const char *text)
{
	unsigned i;

	for (i = 0; i < t->local_count; i++) {
		if (strcmp(t->locals[i], text) == 0)
			break;
	}
	return i;
}

/* "10.0.0.1/32", "! 10.0.0.255/32" for one that is excluded, "fe80::1/128%7". */
static inline void row_text(char *text, size_t room, const struct net_local *local)
{
	const uint8_t *bytes = local->address.bytes;
	char address[INET6_ADDRSTRLEN], device[16] = "";

	inet_ntop(local->family, &local->address, address, sizeof(address));
	if (local->family == AF_INET6 && local->prefix_len == 128 && bytes[0] == 0xfe &&
	    bytes[1] >> 6 == 2)
		snprintf(device, sizeof(device), "%%%u", local->ifindex);
	snprintf(text, room, "%s%s/%u%s", local->excluded ? "! " : "", address, local->prefix_len,
		 device);
}

static inline void on_local(void *arg, const struct net_local *local, bool gone)
{
	struct told *t = arg;
	char text[sizeof(t->locals[0])];
	unsigned i;

	t->changes++;
	assert_false(t->settled);
	row_text(text, sizeof(text), local);
	i = find(t, text);
	if (gone) {
		if (i == t->local_count)
			fail_msg("gone, but was never there: %s", text);
		memmove(t->locals[i], t->locals[--t->local_count], sizeof(t->locals[i]));
		*(local->excluded ? &t->excluded_gone : &t->gone) += 1;
		t->new_before_gone |= t->news > 0;
	} else {
		if (i < t->local_count)
			fail_msg("new, but was there: %s", text);
		assert_true(t->local_count < COUNT(t->locals));
		memcpy(t->locals[t->local_count++], text, sizeof(text));
		*(local->excluded ? &t->excluded_news : &t->news) += 1;
	}
}

static inline void on_routing(void *arg)
{
	struct told *t = arg;

	assert_false(t->settled);
	t->settled = true;
	t->routing++;
}

static inline void on_log(void *arg, enum mr_log_level level, const char *line)
{
	struct told *t = arg;

	(void)level;
	t->lost += strstr(line, "lost") != NULL;
}

static inline void forget_counts(void)
{
	told.news = told.gone = told.link_news = told.link_gone = told.lost = 0;
	told.routing = told.excluded_news = told.excluded_gone = 0;
	told.new_before_gone = false;
}

static inline bool known(const char *text)
{
	return find(&told, text) < told.local_count;
}

static inline bool is_local(const char *text)
{
	return table_is_local(watch_table(w), text);
}

static inline void follow(void)
{
	told.settled = false;
	assert_int_equal(watch_process(w), 0);
}

struct differences {
	unsigned count;
	char last[160];
};

static inline void differs(void *arg, const struct net_event *event)
{
	struct differences *d = arg;
	char text[sizeof(told.locals[0])] = "routing";

	if (event->type == NET_EVENT_LINK || event->type == NET_EVENT_LINK_GONE)
		snprintf(text, sizeof(text), "%s", event->link.name);
	else if (event->type == NET_EVENT_LOCAL || event->type == NET_EVENT_LOCAL_GONE)
		row_text(text, sizeof(text), &event->local);
	snprintf(d->last, sizeof(d->last), "event %d, %s", event->type, text);
	d->count++;
}

/* How many lines `ip` shows: an oracle that shares no code with us. */
static inline size_t count_lines(const char *command)
{
	FILE *f = popen(command, "r");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	pclose(f);
	return n;
}

/* The routes that make addresses local; with all others in the table but those of multicast. */
static inline size_t count_by_ip(void)
{
	return count_lines("ip -4 -o route show table local type local;"
			   "ip -6 -o route show table local type local");
}

static inline size_t count_all_by_ip(void)
{
	return count_lines("ip -4 -o route show table local;"
			   "ip -6 -o route show table local | grep -v '^multicast ff'");
}

/* Compares with a watch that is opened now. */
static inline struct differences compare_with_kernel(void)
{
	struct watch_handler none = { 0 };
	struct differences d = { 0 };
	struct watch *now;

	assert_int_equal(watch_open(&now, &none, NULL), 0);
	net_table_compare(watch_table(w), watch_table(now), differs, &d);
	watch_close(now);
	return d;
}

/* Rows that make addresses local. */
static inline size_t local_rows(void)
{
	const struct net_table *t = watch_table(w);
	size_t i, n = 0;

	for (i = 0; i < t->local_count; i++)
		n += !t->locals[i].excluded;
	return n;
}

/* What should have been told of the table: each address once. */
static inline unsigned count_addresses(const struct net_table *t)
{
	char last[sizeof(told.locals[0])] = "", text[sizeof(told.locals[0])];
	unsigned n = 0;
	size_t i;

	for (i = 0; i < t->local_count; i++) {
		row_text(text, sizeof(text), &t->locals[i]);
		n += strcmp(text, last) != 0;
		strcpy(last, text);
	}
	return n;
}

/* Takes in what there is, and compares the table with the kernel and with what was told. */
static inline void process(void)
{
	struct net_table links = { 0 };
	struct differences d;

	do {
		follow();
		d = compare_with_kernel();
		/* A carrier comes when it comes, perhaps since we looked; but then it is told. */
	} while (readable(watch_fd(w), d.count ? 100 : 0));
	if (d.count)
		fail_msg("not what the kernel has: %s", d.last);
	assert_int_equal(count_addresses(watch_table(w)), told.local_count);
	links.links = watch_table(w)->links;
	links.link_count = watch_table(w)->link_count;
	d = (struct differences){ 0 };
	net_table_compare(&told.links, &links, differs, &d);
	assert_int_equal(d.count, 0);
}

/* IPv6 addresses get their route from a kernel worker, a moment after `ip` is done. */
static inline void process_until(size_t routes)
{
	int tries;

	process();
	for (tries = 0; tries < 40 && local_rows() != routes; tries++) {
		readable(watch_fd(w), 50);
		process();
	}
	assert_int_equal(local_rows(), routes);
}

/* Those of lo. */
#define ROUTES 3

static inline int setup(void **state)
{
	struct watch_handler handler = {
		.link = on_link, .local = on_local, .routing = on_routing, .arg = &told
	};
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

static inline int teardown(void **state)
{
	(void)state;
	watch_close(w);
	net_table_fini(&told.links);
	return 0;
}

/* A test with the fixture around it. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* Whether tests can run at all; says so if not. */
static inline bool watch_can_run(void)
{
	signal(SIGPIPE, SIG_IGN); /* an `ip` that fails should fail a test */
	if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0)
		return true;
	printf("skipped: making a network namespace needs root\n");
	return false;
}

#endif
