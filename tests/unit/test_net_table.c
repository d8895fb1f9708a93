/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/table.h"

static uint64_t random_state;

static uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33);
}

/* "10.0.0.0/8" as a row. */
static struct net_local row(const char *text, uint32_t ifindex)
{
	struct net_local local = { .ifindex = ifindex };
	char copy[64], *slash;

	snprintf(copy, sizeof(copy), "%s", text);
	slash = strchr(copy, '/');
	*slash = '\0';
	local.prefix_len = (uint8_t)atoi(slash + 1);
	local.family = strchr(copy, ':') ? AF_INET6 : AF_INET;
	assert_int_equal(inet_pton(local.family, copy, &local.address), 1);
	return local;
}

static bool apply(struct net_table *t, enum net_event_type type, const char *text, uint32_t ifindex)
{
	struct net_event event = { .type = type, .local = row(text, ifindex) };
	int error = 1;
	bool changed = net_table_apply(t, &event, &error);

	assert_int_equal(error, 0);
	return changed;
}

static bool add(struct net_table *t, const char *text, uint32_t ifindex)
{
	return apply(t, NET_EVENT_LOCAL, text, ifindex);
}

static bool del(struct net_table *t, const char *text, uint32_t ifindex)
{
	return apply(t, NET_EVENT_LOCAL_GONE, text, ifindex);
}

static bool is_local(const struct net_table *t, const char *text)
{
	uint8_t family = strchr(text, ':') ? AF_INET6 : AF_INET;
	union mr_address a;

	/* Garbage where IPv4 has nothing must not matter. */
	memset(&a, 0xa5, sizeof(a));
	assert_int_equal(inet_pton(family, text, &a), 1);
	return net_table_is_local(t, family, &a);
}

static struct net_link a_link(uint32_t ifindex, const char *name)
{
	struct net_link link;

	memset(&link, 0xcc, sizeof(link)); /* the padding, too */
	link.ifindex = ifindex;
	link.master = link.lower = link.xdp_program = 0;
	link.flags = IFF_UP;
	link.mtu = 1500;
	link.rx_queues = 1;
	link.type = 1;
	link.xdp_attached = 0;
	link.has_mac = true;
	memset(link.mac, 2, sizeof(link.mac));
	memset(link.name, 0, sizeof(link.name));
	snprintf(link.name, sizeof(link.name), "%s", name);
	memset(link.kind, 0, sizeof(link.kind));
	return link;
}

static bool put(struct net_table *t, enum net_event_type type, const struct net_link *link)
{
	struct net_event event = { .type = type, .link = *link };
	int error = 1;
	bool changed = net_table_apply(t, &event, &error);

	assert_int_equal(error, 0);
	return changed;
}

static void test_none(void **state)
{
	struct net_event event = { .type = NET_EVENT_NONE };
	struct net_table t;
	int error = 1;

	(void)state;
	net_table_init(&t);
	assert_false(net_table_apply(&t, &event, &error));
	assert_int_equal(error, 0);
	assert_null(net_table_link(&t, 1));
	assert_null(net_table_link_by_name(&t, "lo"));
	assert_false(is_local(&t, "127.0.0.1"));
	assert_false(is_local(&t, "::1"));
	net_table_fini(&t);
	net_table_fini(&t);
}

static void test_locals(void **state)
{
	struct net_table t;

	(void)state;
	net_table_init(&t);
	assert_true(add(&t, "192.0.2.1/32", 2));
	assert_false(add(&t, "192.0.2.1/32", 2));
	assert_true(is_local(&t, "192.0.2.1"));
	assert_false(is_local(&t, "192.0.2.0"));
	assert_false(is_local(&t, "192.0.2.2"));
	/* The bytes of the IPv4 row are no IPv6 address. */
	assert_false(is_local(&t, "c000:201::"));
	assert_true(add(&t, "c000:201::/128", 2));
	assert_true(is_local(&t, "c000:201::"));
	assert_true(del(&t, "192.0.2.1/32", 2));
	assert_false(del(&t, "192.0.2.1/32", 2));
	assert_false(is_local(&t, "192.0.2.1"));
	assert_true(is_local(&t, "c000:201::"));
	net_table_fini(&t);
}

static void test_same_address_twice(void **state)
{
	uint32_t order[3] = { 5, 3, 7 };
	struct net_table t;
	int i;

	(void)state;
	net_table_init(&t);
	/* Neighbours in the order of rows, which must not be mistaken for the same. */
	add(&t, "192.0.2.0/32", 9);
	add(&t, "192.0.2.2/32", 1);
	for (i = 0; i < 3; i++)
		assert_int_equal(add(&t, "192.0.2.1/32", order[i]), i == 0);
	assert_false(del(&t, "192.0.2.1/32", 4));
	assert_false(del(&t, "192.0.2.1/32", 5));
	assert_true(is_local(&t, "192.0.2.1"));
	assert_false(del(&t, "192.0.2.1/32", 3));
	assert_true(is_local(&t, "192.0.2.1"));
	assert_true(del(&t, "192.0.2.1/32", 7));
	assert_false(is_local(&t, "192.0.2.1"));
	assert_true(is_local(&t, "192.0.2.0"));
	assert_true(is_local(&t, "192.0.2.2"));
	net_table_fini(&t);
}

static void test_prefixes(void **state)
{
	struct net_event event = { .type = NET_EVENT_LOCAL };
	struct net_table t;
	int error;

	(void)state;
	net_table_init(&t);
	add(&t, "127.0.0.0/8", 1);
	add(&t, "203.0.113.128/25", 1);
	add(&t, "198.51.100.4/30", 1);
	add(&t, "2001:db8:5::/64", 1);
	add(&t, "2001:db8:6:8000::/49", 1);
	assert_true(is_local(&t, "127.255.255.255"));
	assert_false(is_local(&t, "128.0.0.0"));
	assert_false(is_local(&t, "126.255.255.255"));
	assert_true(is_local(&t, "203.0.113.128"));
	assert_true(is_local(&t, "203.0.113.255"));
	assert_false(is_local(&t, "203.0.113.127"));
	assert_false(is_local(&t, "203.0.114.0"));
	assert_false(is_local(&t, "198.51.100.3"));
	assert_true(is_local(&t, "198.51.100.4"));
	assert_true(is_local(&t, "198.51.100.7"));
	assert_false(is_local(&t, "198.51.100.8"));
	assert_true(is_local(&t, "2001:db8:5::ffff"));
	assert_false(is_local(&t, "2001:db8:5:1::"));
	assert_true(is_local(&t, "2001:db8:6:ffff::1"));
	assert_false(is_local(&t, "2001:db8:6:7fff::1"));
	/* The same prefix, written with bits behind it. */
	assert_false(add(&t, "127.1.2.3/8", 1));
	assert_true(del(&t, "127.9.9.9/8", 1));
	assert_false(is_local(&t, "127.0.0.1"));
	/* A longer prefix within a shorter one is a row of its own. */
	assert_true(add(&t, "203.0.113.128/32", 1));
	assert_true(del(&t, "203.0.113.128/32", 1));
	assert_true(is_local(&t, "203.0.113.128"));
	/* All of a family. */
	assert_true(add(&t, "0.0.0.0/0", 1));
	assert_true(is_local(&t, "8.8.8.8"));
	assert_false(is_local(&t, "2001:db8:7::"));
	/* No such prefix, no such family. */
	event.local = row("1.2.3.4/32", 1);
	event.local.prefix_len = 33;
	assert_false(net_table_apply(&t, &event, &error));
	event.local = row("1::2/128", 1);
	event.local.prefix_len = 129;
	assert_false(net_table_apply(&t, &event, &error));
	event.local.family = AF_UNIX;
	assert_false(net_table_apply(&t, &event, &error));
	net_table_fini(&t);
}

static void test_links(void **state)
{
	struct net_link a = a_link(7, "eth7"), b = a_link(3, "eth3"), c;
	struct net_table t;

	(void)state;
	net_table_init(&t);
	assert_true(put(&t, NET_EVENT_LINK, &a));
	assert_true(put(&t, NET_EVENT_LINK, &b));
	c = a_link(7, "eth7");
	((char *)&c)[sizeof(c) - 1] ^= 1; /* padding */
	assert_false(put(&t, NET_EVENT_LINK, &c));
	assert_string_equal(net_table_link(&t, 3)->name, "eth3");
	assert_int_equal(net_table_link_by_name(&t, "eth7")->ifindex, 7);
	assert_null(net_table_link(&t, 5));
	assert_null(net_table_link_by_name(&t, "eth"));
	/* A new name. */
	snprintf(a.name, sizeof(a.name), "wan");
	assert_true(put(&t, NET_EVENT_LINK, &a));
	assert_null(net_table_link_by_name(&t, "eth7"));
	assert_int_equal(net_table_link_by_name(&t, "wan")->ifindex, 7);
	assert_int_equal(t.link_count, 2);
	assert_true(put(&t, NET_EVENT_LINK_GONE, &a));
	assert_false(put(&t, NET_EVENT_LINK_GONE, &a));
	assert_null(net_table_link(&t, 7));
	assert_non_null(net_table_link(&t, 3));
	net_table_fini(&t);
}

/* Each member counts. */
static void test_link_changes(void **state)
{
	struct net_link base = a_link(7, "eth7"), link;
	struct net_table t;
	int i;

	(void)state;
	net_table_init(&t);
	for (i = 0; i < 12; i++) {
		link = base;
		switch (i) {
		case 0:
			link.master++;
			break;
		case 1:
			link.lower++;
			break;
		case 2:
			link.flags++;
			break;
		case 3:
			link.mtu++;
			break;
		case 4:
			link.rx_queues++;
			break;
		case 5:
			link.xdp_program++;
			break;
		case 6:
			link.type++;
			break;
		case 7:
			link.xdp_attached++;
			break;
		case 8:
			link.has_mac = false;
			break;
		case 9:
			link.mac[5]++;
			break;
		case 10:
			link.name[0]++;
			break;
		case 11:
			link.kind[0]++;
			break;
		}
		put(&t, NET_EVENT_LINK, &base);
		assert_true(put(&t, NET_EVENT_LINK, &link));
		assert_false(put(&t, NET_EVENT_LINK, &link));
	}
	net_table_fini(&t);
}

/* Against a model that is too simple to be wrong: counts in plain arrays. */
static void test_random_against_model(void **state)
{
	enum { ADDRESSES = 64, DEVICES = 4 };
	static bool model[2][ADDRESSES][DEVICES];
	struct net_table t;
	int step, i, k;

	(void)state;
	memset(model, 0, sizeof(model));
	random_state = 3;
	net_table_init(&t);
	for (step = 0; step < 50000; step++) {
		int v6 = random32() % 2, a = random32() % ADDRESSES, d = random32() % DEVICES;
		bool gone = random32() % 2, before = false, after = false;
		struct net_event event = { .type = gone ? NET_EVENT_LOCAL_GONE : NET_EVENT_LOCAL };
		int error;

		event.local.family = v6 ? AF_INET6 : AF_INET;
		event.local.prefix_len = v6 ? 128 : 32;
		event.local.ifindex = (uint32_t)d + 1;
		event.local.address.bytes[3] = (uint8_t)a;
		for (k = 0; k < DEVICES; k++)
			before |= model[v6][a][k];
		model[v6][a][d] = !gone;
		for (k = 0; k < DEVICES; k++)
			after |= model[v6][a][k];
		assert_int_equal(net_table_apply(&t, &event, &error), before != after);
		assert_int_equal(net_table_is_local(&t, event.local.family, &event.local.address),
				 after);
	}
	for (i = 0, k = 0; i < 2 * ADDRESSES * DEVICES; i++)
		k += ((bool *)model)[i];
	assert_int_equal(t.local_count, k);
	net_table_fini(&t);
}

struct tally {
	struct net_table *copy;
	int calls, order; /* 0: still among those that are gone, 1: among the new */
};

/* Applies each difference to a copy of the old table; every one must change it. */
static void visit(void *arg, const struct net_event *event)
{
	bool gone = event->type == NET_EVENT_LINK_GONE || event->type == NET_EVENT_LOCAL_GONE;
	struct tally *tally = arg;
	int error;

	assert_true(gone ? tally->order == 0 : true);
	if (!gone)
		tally->order = 1;
	if (event->type == NET_EVENT_LINK || event->type == NET_EVENT_LINK_GONE)
		assert_true(net_table_apply(tally->copy, event, &error));
	tally->calls++;
}

static void test_compare(void **state)
{
	struct net_link link;
	struct net_table from, to, copy;
	struct tally tally = { .copy = &copy };
	uint32_t i;

	(void)state;
	net_table_init(&from);
	net_table_init(&to);
	net_table_init(&copy);
	for (i = 1; i <= 6; i++) {
		link = a_link(i, "eth");
		put(&from, NET_EVENT_LINK, &link);
		put(&copy, NET_EVENT_LINK, &link);
		link.mtu += i == 3; /* changed */
		if (i != 1 && i != 6)
			put(&to, NET_EVENT_LINK, &link);
	}
	link = a_link(9, "new");
	put(&to, NET_EVENT_LINK, &link);
	/* Gone: .1 (two routes, one difference) and ::1. New: .4 and the /24. Kept: .2, by another
	 * device; .3, with one route less. */
	add(&from, "10.0.0.1/32", 1);
	add(&from, "10.0.0.1/32", 2);
	add(&from, "10.0.0.2/32", 1);
	add(&from, "10.0.0.3/32", 1);
	add(&from, "10.0.0.3/32", 2);
	add(&from, "::1/128", 1);
	add(&to, "10.0.0.2/32", 5);
	add(&to, "10.0.0.3/32", 2);
	add(&to, "10.0.0.4/32", 2);
	add(&to, "10.0.0.4/32", 3);
	add(&to, "10.0.0.0/24", 3);
	net_table_compare(&from, &to, visit, &tally);
	assert_int_equal(tally.calls, 2 + 2 + 4);
	assert_int_equal(copy.link_count, to.link_count);
	for (i = 0; i < to.link_count; i++)
		assert_false(put(&copy, NET_EVENT_LINK, &to.links[i]));

	tally = (struct tally){ .copy = &copy };
	net_table_compare(&to, &to, visit, &tally);
	assert_int_equal(tally.calls, 0);
	net_table_fini(&from);
	net_table_fini(&to);
	net_table_fini(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_locals),
		cmocka_unit_test(test_same_address_twice),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_link_changes),
		cmocka_unit_test(test_random_against_model),
		cmocka_unit_test(test_compare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
