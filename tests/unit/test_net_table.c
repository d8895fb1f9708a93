/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/table.h"
#include "net_fixture.h"

static uint64_t random_state;

static uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33);
}

/* "10.0.0.0/8" as a row; "!10.0.0.0/8" as one that excludes. */
static struct net_local row(const char *text, uint32_t ifindex)
{
	struct net_local local = { .ifindex = ifindex, .excluded = *text == '!' };
	char copy[64], *slash;

	/* Garbage where the family has nothing must not matter. */
	memset(&local.address, 0xa5, sizeof(local.address));
	snprintf(copy, sizeof(copy), "%s", text + local.excluded);
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
	return table_is_local(t, text);
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
	link.macvlan_mode = 0;
	link.vnet_hdr = false;
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
	assert_null(link_by_name(&t, "lo"));
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
	assert_int_equal(link_by_name(&t, "eth7")->ifindex, 7);
	assert_null(net_table_link(&t, 5));
	assert_null(link_by_name(&t, "eth"));
	/* A new name. */
	snprintf(a.name, sizeof(a.name), "wan");
	assert_true(put(&t, NET_EVENT_LINK, &a));
	assert_null(link_by_name(&t, "eth7"));
	assert_int_equal(link_by_name(&t, "wan")->ifindex, 7);
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
	for (i = 0; i < 14; i++) {
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
		case 12:
			link.macvlan_mode++;
			break;
		case 13:
			link.vnet_hdr = true;
			break;
		}
		put(&t, NET_EVENT_LINK, &base);
		assert_true(put(&t, NET_EVENT_LINK, &link));
		assert_false(put(&t, NET_EVENT_LINK, &link));
	}
	net_table_fini(&t);
}

/* A hole is a row of its own, beside a row for the same addresses. */
static void test_excluded(void **state)
{
	struct net_table t;

	(void)state;
	net_table_init(&t);
	assert_true(add(&t, "203.0.113.0/24", 1));
	assert_true(add(&t, "!203.0.113.7/32", 0));
	assert_true(is_local(&t, "203.0.113.6"));
	assert_false(is_local(&t, "203.0.113.7"));
	assert_true(add(&t, "203.0.113.7/32", 1));
	assert_false(is_local(&t, "203.0.113.7"));
	assert_false(add(&t, "!203.0.113.7/32", 3));
	assert_int_equal(t.local_count, 4);
	assert_false(del(&t, "!203.0.113.7/32", 1));
	assert_false(del(&t, "!203.0.113.7/32", 3));
	assert_true(del(&t, "!203.0.113.7/32", 0));
	assert_true(is_local(&t, "203.0.113.7"));
	assert_true(del(&t, "203.0.113.7/32", 1));
	net_table_fini(&t);
}

/* Questions of one row. */
static bool has(const struct net_table *t, const char *text, uint32_t ifindex)
{
	struct net_local local = row(text, ifindex);

	return net_table_has_local(t, &local);
}

static bool is_inside(const struct net_table *t, const char *text)
{
	struct net_local local = row(text, 9);

	return net_table_is_inside(t, &local);
}

static void test_questions(void **state)
{
	struct net_table t;

	(void)state;
	net_table_init(&t);
	add(&t, "127.0.0.0/8", 1);
	add(&t, "10.0.0.1/32", 2);
	add(&t, "!10.0.0.0/24", 2);
	add(&t, "2001:db8::/64", 1);
	add(&t, "fe80::1/128", 3);
	assert_false(net_table_has_anyip(&t));
	add(&t, "203.0.113.0/24", 1);
	assert_true(net_table_has_anyip(&t));

	assert_true(has(&t, "10.0.0.1/32", 7));
	assert_false(has(&t, "!10.0.0.1/32", 2));
	assert_true(has(&t, "!10.0.0.0/24", 7));
	assert_false(has(&t, "10.0.0.0/24", 2));
	assert_true(has(&t, "fe80::1/128", 3));
	assert_false(has(&t, "fe80::1/128", 4));

	assert_true(is_inside(&t, "!203.0.113.5/32"));
	assert_true(is_inside(&t, "203.0.113.128/25"));
	assert_false(is_inside(&t, "203.0.113.0/24"));
	assert_false(is_inside(&t, "203.0.112.0/23"));
	assert_false(is_inside(&t, "203.0.114.1/32"));
	assert_false(is_inside(&t, "10.0.0.1/32"));
	assert_false(is_inside(&t, "0.0.0.0/0"));
	net_table_fini(&t);
}

/* The same address on two links is two addresses, when it is of the link only. */
static void test_link_local(void **state)
{
	static const char *const addresses[] = { "fe80::1/128", "febf:ffff::1/128", "!fe80::/128" };
	static const char *const others[] = { "fe80::/64",   "fe7f:ffff::1/128", "fec0::1/128",
					      "fd80::1/128", "254.128.0.1/32",	 "fe80::/127" };
	struct net_table t;
	size_t i;

	(void)state;
	net_table_init(&t);
	for (i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		assert_true(add(&t, addresses[i], 5));
		assert_true(add(&t, addresses[i], 3));
		assert_true(add(&t, addresses[i], 7));
		assert_false(add(&t, addresses[i], 3));
		assert_true(del(&t, addresses[i], 3));
		assert_false(del(&t, addresses[i], 3));
		assert_true(del(&t, addresses[i], 7));
		assert_true(del(&t, addresses[i], 5));
	}
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_true(add(&t, others[i], 5));
		assert_false(add(&t, others[i], 3));
		assert_false(del(&t, others[i], 5));
		assert_true(del(&t, others[i], 3));
	}
	assert_int_equal(t.local_count, 0);
	net_table_fini(&t);
}

/* Against a model that is too simple to be wrong: flags in plain arrays. */
static void test_random_against_model(void **state)
{
	enum { ADDRESSES = 64, DEVICES = 4 };
	static bool model[3][2][ADDRESSES][DEVICES];
	struct net_table t;
	int step, i, k;

	(void)state;
	memset(model, 0, sizeof(model));
	random_state = 3;
	net_table_init(&t);
	for (step = 0; step < 100000; step++) {
		/* 0: IPv4, 1: IPv6, 2: IPv6 of the link, where each device counts by itself. */
		int kind = (int)(random32() % 3), a = random32() % ADDRESSES,
		    d = random32() % DEVICES;
		bool gone = random32() % 2, before = false, after = false;
		struct net_event event = { .type = gone ? NET_EVENT_LOCAL_GONE : NET_EVENT_LOCAL };
		bool(*rows)[DEVICES];
		int error;

		event.local.excluded = random32() % 2;
		event.local.family = kind ? AF_INET6 : AF_INET;
		event.local.prefix_len = kind ? 128 : 32;
		event.local.ifindex = (uint32_t)d + 1;
		if (kind == 2)
			memcpy(event.local.address.bytes, "\xfe\x80", 2);
		event.local.address.bytes[3] = (uint8_t)a;
		rows = model[kind][event.local.excluded];
		for (k = 0; k < DEVICES; k++)
			before |= rows[a][k] && (kind < 2 || k == d);
		rows[a][d] = !gone;
		for (k = 0; k < DEVICES; k++)
			after |= rows[a][k] && (kind < 2 || k == d);
		assert_int_equal(net_table_apply(&t, &event, &error), before != after);
	}
	for (i = 0, k = 0; i < 3 * 2 * ADDRESSES * DEVICES; i++)
		k += ((bool *)model)[i];
	assert_int_equal(t.local_count, k);
	net_table_fini(&t);
}

/* ---------------------------------------------------------------- policy, settings */

static bool rule(struct net_table *t, uint8_t family, bool plain, uint32_t table)
{
	struct net_event event = { .type = NET_EVENT_RULE };
	int error = 1;
	bool changed;

	event.rule = (struct net_rule){ .family = family, .plain = plain, .table = table };
	changed = net_table_apply(t, &event, &error);
	assert_int_equal(error, 0);
	return changed;
}

static void assert_policy(const struct net_table *t, uint8_t family, bool local_first, bool custom)
{
	assert_int_equal(net_table_policy(t, family)->local_first, local_first);
	assert_int_equal(net_table_policy(t, family)->custom_rules, custom);
}

static void test_policy(void **state)
{
	struct net_table t;

	(void)state;
	net_table_init(&t);
	assert_policy(&t, AF_INET, false, false);
	/* As it usually is. */
	assert_true(rule(&t, AF_INET, true, RT_TABLE_LOCAL));
	assert_false(rule(&t, AF_INET, true, RT_TABLE_MAIN));
	assert_false(rule(&t, AF_INET, true, RT_TABLE_DEFAULT));
	assert_policy(&t, AF_INET, true, false);
	assert_policy(&t, AF_INET6, false, false);
	/* One behind does not decide about local ones, but there is one. */
	assert_true(rule(&t, AF_INET, true, 100));
	assert_policy(&t, AF_INET, true, true);
	/* One before, or a local rule with a selector. */
	rule(&t, AF_INET6, true, 100);
	rule(&t, AF_INET6, true, RT_TABLE_LOCAL);
	assert_policy(&t, AF_INET6, false, true);
	net_table_fini(&t);
	rule(&t, AF_INET6, false, RT_TABLE_LOCAL);
	assert_policy(&t, AF_INET6, false, true);
	net_table_fini(&t);
	/* The main table before the local one decides, too, without being unusual. */
	rule(&t, AF_INET, true, RT_TABLE_MAIN);
	rule(&t, AF_INET, true, RT_TABLE_LOCAL);
	assert_policy(&t, AF_INET, false, false);
	net_table_fini(&t);
}

static bool conf(struct net_table *t, enum net_event_type type, uint32_t ifindex, uint32_t filter)
{
	struct net_event event = { .type = type };
	int error = 1;
	bool changed;

	event.conf = (struct net_conf){ .ifindex = ifindex, .rp_filter = filter };
	changed = net_table_apply(t, &event, &error);
	assert_int_equal(error, 0);
	return changed;
}

static void test_rp_filter(void **state)
{
	struct net_table t;
	uint32_t i;

	(void)state;
	net_table_init(&t);
	assert_int_equal(net_table_rp_filter(&t, 7), 0);
	assert_false(conf(&t, NET_EVENT_CONF, 7, 0));
	assert_true(conf(&t, NET_EVENT_CONF, 7, 1));
	assert_false(conf(&t, NET_EVENT_CONF, 7, 1));
	assert_int_equal(net_table_rp_filter(&t, 7), 1);
	assert_int_equal(net_table_rp_filter(&t, 6), 0);
	/* The greater of the two. */
	assert_true(conf(&t, NET_EVENT_CONF, NET_CONF_ALL, 2));
	assert_int_equal(net_table_rp_filter(&t, 7), 2);
	assert_int_equal(net_table_rp_filter(&t, 6), 2);
	assert_true(conf(&t, NET_EVENT_CONF, NET_CONF_ALL, 1));
	assert_true(conf(&t, NET_EVENT_CONF, 7, 2));
	assert_int_equal(net_table_rp_filter(&t, 7), 2);
	assert_int_equal(net_table_rp_filter(&t, 6), 1);
	assert_true(conf(&t, NET_EVENT_CONF, NET_CONF_ALL, 0));
	assert_true(conf(&t, NET_EVENT_CONF_GONE, 7, 0));
	assert_false(conf(&t, NET_EVENT_CONF_GONE, 7, 0));
	assert_int_equal(net_table_rp_filter(&t, 7), 0);
	assert_int_equal(t.conf_count, 0);
	for (i = 100; i > 0; i--)
		conf(&t, NET_EVENT_CONF, i, 1 + i % 2);
	for (i = 1; i <= 100; i++)
		assert_int_equal(net_table_rp_filter(&t, i), 1 + i % 2);
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
	/* A hole that is filled: one gone, one new. Link-local: on 1 gone, on 2 kept, on 3 new. */
	add(&from, "!10.0.0.9/32", 1);
	add(&to, "10.0.0.9/32", 1);
	for (i = 1; i <= 3; i++)
		add(i < 3 ? &from : &to, "fe80::1/128", i);
	add(&to, "fe80::1/128", 2);
	net_table_compare(&from, &to, visit, &tally);
	assert_int_equal(tally.calls, 2 + 2 + 4 + 2 + 2);
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

/* What there is said of a difference that is neither of links nor of addresses. */
static void visit_routing(void *arg, const struct net_event *event)
{
	assert_int_equal(event->type, NET_EVENT_NONE);
	assert_true(event->routing);
	++*(int *)arg;
}

static int differences(const struct net_table *from, const struct net_table *to)
{
	int calls = 0;

	net_table_compare(from, to, visit_routing, &calls);
	return calls;
}

static void test_compare_routing(void **state)
{
	struct net_table from, to;

	(void)state;
	net_table_init(&from);
	net_table_init(&to);
	conf(&from, NET_EVENT_CONF, 1, 1);
	assert_int_equal(differences(&from, &to), 1);
	conf(&to, NET_EVENT_CONF, 1, 2);
	assert_int_equal(differences(&from, &to), 1);
	conf(&to, NET_EVENT_CONF, 1, 1);
	assert_int_equal(differences(&from, &to), 0);
	rule(&from, AF_INET6, true, RT_TABLE_LOCAL);
	assert_int_equal(differences(&from, &to), 1);
	rule(&to, AF_INET6, true, RT_TABLE_LOCAL);
	assert_int_equal(differences(&from, &to), 0);
	rule(&to, AF_INET, true, 100);
	assert_int_equal(differences(&from, &to), 1);
	net_table_fini(&from);
	net_table_fini(&to);
}

/* A prefix is never told without the holes that are in it. */
static void visit_holes(void *arg, const struct net_event *event)
{
	char *order = arg;
	bool gone = event->type == NET_EVENT_LOCAL_GONE;

	order[strlen(order)] = event->local.excluded ? gone ? 'c' : 'H' : gone ? 'p' : 'P';
}

static void test_compare_holes(void **state)
{
	struct net_table none, some;
	char order[8] = "";

	(void)state;
	net_table_init(&none);
	net_table_init(&some);
	add(&some, "10.0.0.0/24", 1);
	add(&some, "!10.0.0.1/32", 1);
	net_table_compare(&none, &some, visit_holes, order);
	net_table_compare(&some, &none, visit_holes, order);
	assert_string_equal(order, "HPpc");
	net_table_fini(&some);
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
		cmocka_unit_test(test_excluded),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_link_local),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_rp_filter),
		cmocka_unit_test(test_random_against_model),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_compare_routing),
		cmocka_unit_test(test_compare_holes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
