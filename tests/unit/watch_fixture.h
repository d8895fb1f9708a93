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

static inline void on_local(void *arg, const struct net_local *local, bool gone)
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

static inline void on_log(void *arg, enum mr_log_level level, const char *line)
{
	struct told *t = arg;

	(void)level;
	t->lost += strstr(line, "lost") != NULL;
}

static inline void forget_counts(void)
{
	told.news = told.gone = told.link_news = told.link_gone = told.lost = 0;
	told.new_before_gone = false;
}

static inline bool known(const char *text)
{
	return find(&told, text) < told.local_count;
}

static inline bool is_local(const char *text)
{
	uint8_t family = strchr(text, ':') ? AF_INET6 : AF_INET;
	union mr_address a = { 0 };

	inet_pton(family, text, &a);
	return net_table_is_local(watch_table(w), family, &a);
}

struct differences {
	unsigned count;
	char last[128];
};

static inline void differs(void *arg, const struct net_event *event)
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
static inline size_t count_by_ip(void)
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

/* The addresses in the table, each once. */
static inline unsigned count_addresses(const struct net_table *t)
{
	const struct net_local *row;
	unsigned n = 0;

	for (row = t->locals; row < t->locals + t->local_count; row++)
		n += row == t->locals || row->prefix_len != row[-1].prefix_len ||
		     memcmp(&row->address, &row[-1].address, sizeof(row->address)) != 0;
	return n;
}

/* Takes in what there is, and compares the table with the kernel and with what was told. */
static inline void process(void)
{
	struct net_table links = { 0 };
	struct differences d;

	do {
		assert_int_equal(watch_process(w), 0);
		d = compare_with_kernel();
		/* A carrier comes when it comes, perhaps since we looked; but then it is told. */
	} while (readable(watch_fd(w), d.count ? 100 : 0));
	if (d.count)
		fail_msg("not what the kernel has: %s", d.last);
	assert_int_equal(count_addresses(watch_table(w)), told.local_count);
	links.links = watch_table(w)->links;
	links.link_count = watch_table(w)->link_count;
	net_table_compare(&told.links, &links, differs, &d);
	assert_int_equal(d.count, 0);
}

/* IPv6 addresses get their route from a kernel worker, a moment after `ip` is done. */
static inline void process_until(size_t routes)
{
	int tries;

	process();
	for (tries = 0; tries < 40 && watch_table(w)->local_count != routes; tries++) {
		readable(watch_fd(w), 50);
		process();
	}
	assert_int_equal(watch_table(w)->local_count, routes);
}

/* Those of lo. */
#define ROUTES 3

static inline int setup(void **state)
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
