/* SPDX-License-Identifier: MIT */
/*
 * Sorted arrays. Local rows are kept one per route, that is with the device, and sorted such
 * that the routes of one address are neighbours: outside, an address appears with its first route
 * and disappears with its last.
 */
#include "net/table.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

void net_table_init(struct net_table *t)
{
	memset(t, 0, sizeof(*t));
}

void net_table_fini(struct net_table *t)
{
	free(t->links);
	free(t->locals);
	free(t->confs);
	net_table_init(t);
}

/* ---------------------------------------------------------------- arrays */

/* Makes room for one more element of `size` bytes at `at`. Returns false without memory. */
static bool array_open(void **array, size_t *count, size_t *room, size_t size, size_t at)
{
	size_t more = *room ? *room * 2 : 16;
	char *base = *array;

	if (*count == *room) {
		base = reallocarray(base, more, size);
		if (!base)
			return false;
		*array = base;
		*room = more;
	}
	memmove(base + (at + 1) * size, base + at * size, (*count - at) * size);
	(*count)++;
	return true;
}

static void array_close(void *array, size_t *count, size_t size, size_t at)
{
	char *base = array;

	(*count)--;
	memmove(base + at * size, base + (at + 1) * size, (*count - at) * size);
}

_Static_assert(offsetof(struct net_link, ifindex) == 0, "elements begin with their index");
_Static_assert(offsetof(struct net_conf, ifindex) == 0, "elements begin with their index");

/* Where the element is in an array sorted by ifindex, or where it would have to go. */
static size_t array_position(const void *array, size_t count, size_t size, uint32_t ifindex)
{
	const char *base = array;
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (*(const uint32_t *)(const void *)(base + mid * size) < ifindex)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ---------------------------------------------------------------- links */

static size_t link_position(const struct net_table *t, uint32_t ifindex)
{
	return array_position(t->links, t->link_count, sizeof(*t->links), ifindex);
}

/* Member by member, for nobody promises what is in the padding. */
static bool link_equal(const struct net_link *a, const struct net_link *b)
{
	return a->ifindex == b->ifindex && a->master == b->master && a->lower == b->lower &&
	       a->flags == b->flags && a->mtu == b->mtu && a->rx_queues == b->rx_queues &&
	       a->xdp_program == b->xdp_program && a->type == b->type &&
	       a->xdp_attached == b->xdp_attached && a->has_mac == b->has_mac &&
	       a->macvlan_mode == b->macvlan_mode && a->vnet_hdr == b->vnet_hdr &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->kind, b->kind) == 0;
}

static bool apply_link(struct net_table *t, const struct net_link *link, int *error)
{
	size_t at = link_position(t, link->ifindex);
	void *array = t->links;

	if (at < t->link_count && t->links[at].ifindex == link->ifindex) {
		if (link_equal(&t->links[at], link))
			return false;
		t->links[at] = *link;
		return true;
	}
	if (!array_open(&array, &t->link_count, &t->link_room, sizeof(*link), at)) {
		*error = -ENOMEM;
		return false;
	}
	t->links = array;
	t->links[at] = *link;
	return true;
}

static bool apply_link_gone(struct net_table *t, uint32_t ifindex)
{
	size_t at = link_position(t, ifindex);

	if (at == t->link_count || t->links[at].ifindex != ifindex)
		return false;
	array_close(t->links, &t->link_count, sizeof(*t->links), at);
	return true;
}

const struct net_link *net_table_link(const struct net_table *t, uint32_t ifindex)
{
	size_t at = link_position(t, ifindex);

	return at < t->link_count && t->links[at].ifindex == ifindex ? &t->links[at] : NULL;
}

/* ---------------------------------------------------------------- local addresses */

static unsigned family_bits(uint8_t family)
{
	switch (family) {
	case AF_INET:
		return 32;
	case AF_INET6:
		return 128;
	default:
		return 0;
	}
}

/*
 * The form in which rows are kept and looked up: nothing behind the prefix, and nothing in the
 * bytes that the family does not use. False when there is no such prefix.
 */
static bool normalise(struct net_local *out, const struct net_local *in)
{
	unsigned bits = family_bits(in->family), whole = in->prefix_len / 8u;

	if (!bits || in->prefix_len > bits)
		return false;
	*out = (struct net_local){
		.family = in->family,
		.prefix_len = in->prefix_len,
		.excluded = in->excluded,
		.ifindex = in->ifindex,
	};
	memcpy(out->address.bytes, in->address.bytes, whole);
	if (in->prefix_len % 8)
		out->address.bytes[whole] =
			in->address.bytes[whole] & (uint8_t) ~(0xff >> in->prefix_len % 8);
	return true;
}

/* An address of which each link has its own; a prefix of them is routed like any other. */
static bool is_per_link(const struct net_local *a)
{
	return a->family == AF_INET6 && a->prefix_len == 128 && a->address.bytes[0] == 0xfe &&
	       (a->address.bytes[1] & 0xc0) == 0x80;
}

static int compare_device(const struct net_local *a, const struct net_local *b)
{
	return a->ifindex < b->ifindex ? -1 : a->ifindex > b->ifindex;
}

/* Order of what is told outside: addresses, whatever the device unless it is part of them. */
static int compare_address(const struct net_local *a, const struct net_local *b)
{
	int order;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->prefix_len != b->prefix_len)
		return a->prefix_len < b->prefix_len ? -1 : 1;
	order = memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));
	if (order)
		return order;
	if (a->excluded != b->excluded)
		return a->excluded ? 1 : -1;
	return is_per_link(a) ? compare_device(a, b) : 0;
}

static int compare_route(const struct net_local *a, const struct net_local *b)
{
	int order = compare_address(a, b);

	return order ? order : compare_device(a, b);
}

static size_t local_position(const struct net_table *t, const struct net_local *key)
{
	size_t low = 0, high = t->local_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare_route(&t->locals[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Is there a route for the address of `key` at this place or the one before? */
static bool has_address_at(const struct net_table *t, const struct net_local *key, size_t at)
{
	if (at < t->local_count && compare_address(&t->locals[at], key) == 0)
		return true;
	return at > 0 && compare_address(&t->locals[at - 1], key) == 0;
}

static bool apply_local(struct net_table *t, const struct net_local *local, int *error)
{
	void *array = t->locals;
	struct net_local key;
	bool known;
	size_t at;

	if (!normalise(&key, local))
		return false;
	at = local_position(t, &key);
	if (at < t->local_count && compare_route(&t->locals[at], &key) == 0)
		return false;
	known = has_address_at(t, &key, at);
	if (!array_open(&array, &t->local_count, &t->local_room, sizeof(key), at)) {
		*error = -ENOMEM;
		return false;
	}
	t->locals = array;
	t->locals[at] = key;
	return !known;
}

static bool apply_local_gone(struct net_table *t, const struct net_local *local)
{
	struct net_local key;
	size_t at;

	if (!normalise(&key, local))
		return false;
	at = local_position(t, &key);
	if (at == t->local_count || compare_route(&t->locals[at], &key) != 0)
		return false;
	array_close(t->locals, &t->local_count, sizeof(key), at);
	return !has_address_at(t, &key, at);
}

/* ---------------------------------------------------------------- policy */

static unsigned policy_index(uint8_t family)
{
	return family == AF_INET6;
}

static bool policy_equal(const struct net_policy *a, const struct net_policy *b)
{
	return a->local_first == b->local_first && a->custom_rules == b->custom_rules;
}

/* Rules come in the order in which the kernel asks them. */
static bool apply_rule(struct net_table *t, const struct net_rule *rule)
{
	struct net_policy *p = &t->policy[policy_index(rule->family)];
	struct net_policy old = *p;
	bool *has_rule = &t->has_rule[policy_index(rule->family)];

	if (!*has_rule)
		p->local_first = rule->plain && rule->table == RT_TABLE_LOCAL;
	if (!rule->plain || (rule->table != RT_TABLE_LOCAL && rule->table != RT_TABLE_MAIN &&
			     rule->table != RT_TABLE_DEFAULT))
		p->custom_rules = true;
	*has_rule = true;
	return !policy_equal(p, &old);
}

const struct net_policy *net_table_policy(const struct net_table *t, uint8_t family)
{
	return &t->policy[policy_index(family)];
}

/* ---------------------------------------------------------------- settings */

static size_t conf_position(const struct net_table *t, uint32_t ifindex)
{
	return array_position(t->confs, t->conf_count, sizeof(*t->confs), ifindex);
}

static uint32_t own_rp_filter(const struct net_table *t, uint32_t ifindex)
{
	size_t at = conf_position(t, ifindex);

	return at < t->conf_count && t->confs[at].ifindex == ifindex ? t->confs[at].rp_filter : 0;
}

/* Only what filters is kept: an interface without a row does not. */
static bool apply_conf(struct net_table *t, const struct net_conf *conf, int *error)
{
	size_t at = conf_position(t, conf->ifindex);
	void *array = t->confs;

	if (own_rp_filter(t, conf->ifindex) == conf->rp_filter)
		return false;
	if (!conf->rp_filter) {
		array_close(t->confs, &t->conf_count, sizeof(*conf), at);
		return true;
	}
	if (at == t->conf_count || t->confs[at].ifindex != conf->ifindex) {
		if (!array_open(&array, &t->conf_count, &t->conf_room, sizeof(*conf), at)) {
			*error = -ENOMEM;
			return false;
		}
		t->confs = array;
	}
	t->confs[at] = *conf;
	return true;
}

static bool apply_conf_gone(struct net_table *t, uint32_t ifindex, int *error)
{
	struct net_conf none = { .ifindex = ifindex };

	return apply_conf(t, &none, error);
}

unsigned net_table_rp_filter(const struct net_table *t, uint32_t ifindex)
{
	uint32_t own = own_rp_filter(t, ifindex), all = own_rp_filter(t, NET_CONF_ALL);

	return own > all ? own : all;
}

bool net_table_has_anyip(const struct net_table *t)
{
	const struct net_local *row;

	/* Sorted: IPv4 comes first, and the shortest prefixes of it. */
	for (row = t->locals; row < t->locals + t->local_count; row++) {
		if (row->family != AF_INET || row->prefix_len == 32)
			break;
		if (!row->excluded && row->address.bytes[0] != IN_LOOPBACKNET)
			return true;
	}
	return false;
}

bool net_table_is_inside(const struct net_table *t, const struct net_local *local)
{
	struct net_local key = *local, prefix;

	key.excluded = false;
	for (key.prefix_len = 0; key.prefix_len < local->prefix_len; key.prefix_len++) {
		if (normalise(&prefix, &key) &&
		    has_address_at(t, &prefix, local_position(t, &prefix)))
			return true;
	}
	return false;
}

bool net_table_has_local(const struct net_table *t, const struct net_local *local)
{
	struct net_local key;

	return normalise(&key, local) && has_address_at(t, &key, local_position(t, &key));
}

/* ---------------------------------------------------------------- whole tables */

bool net_table_apply(struct net_table *t, const struct net_event *event, int *error)
{
	*error = 0;
	switch (event->type) {
	case NET_EVENT_LINK:
		return apply_link(t, &event->link, error);
	case NET_EVENT_LINK_GONE:
		return apply_link_gone(t, event->link.ifindex);
	case NET_EVENT_LOCAL:
		return apply_local(t, &event->local, error);
	case NET_EVENT_LOCAL_GONE:
		return apply_local_gone(t, &event->local);
	case NET_EVENT_RULE:
		return apply_rule(t, &event->rule);
	case NET_EVENT_CONF:
		return apply_conf(t, &event->conf, error);
	case NET_EVENT_CONF_GONE:
		return apply_conf_gone(t, event->conf.ifindex, error);
	case NET_EVENT_MAIN:
	case NET_EVENT_MAIN_GONE:
	case NET_EVENT_NONE:
		break;
	}
	return false;
}

/* Addresses of one kind that `a` has and `b` has not, once each. */
static void visit_locals(const struct net_table *a, const struct net_table *b, bool excluded,
			 enum net_event_type type,
			 void (*visit)(void *arg, const struct net_event *event), void *arg)
{
	struct net_event event = { .type = type };
	size_t i, k = 0;

	for (i = 0; i < a->local_count; i++) {
		const struct net_local *row = &a->locals[i];

		if (row->excluded != excluded)
			continue;
		if (i > 0 && compare_address(row, &a->locals[i - 1]) == 0)
			continue;
		while (k < b->local_count && compare_address(&b->locals[k], row) < 0)
			k++;
		if (k < b->local_count && compare_address(&b->locals[k], row) == 0)
			continue;
		event.local = *row;
		visit(arg, &event);
	}
}

static void visit_links(const struct net_table *from, const struct net_table *to,
			void (*visit)(void *arg, const struct net_event *event), void *arg)
{
	struct net_event event = { .type = NET_EVENT_LINK_GONE };
	const struct net_link *other;
	size_t i;

	for (i = 0; i < from->link_count; i++) {
		if (net_table_link(to, from->links[i].ifindex))
			continue;
		event.link = from->links[i];
		visit(arg, &event);
	}
	event = (struct net_event){ .type = NET_EVENT_LINK };
	for (i = 0; i < to->link_count; i++) {
		other = net_table_link(from, to->links[i].ifindex);
		if (other && link_equal(other, &to->links[i]))
			continue;
		event.link = to->links[i];
		visit(arg, &event);
	}
}

static bool routes_alike(const struct net_table *a, const struct net_table *b)
{
	return policy_equal(&a->policy[0], &b->policy[0]) &&
	       policy_equal(&a->policy[1], &b->policy[1]) && a->conf_count == b->conf_count &&
	       (!a->conf_count || !memcmp(a->confs, b->confs, a->conf_count * sizeof(*a->confs)));
}

void net_table_compare(const struct net_table *from, const struct net_table *to,
		       void (*visit)(void *arg, const struct net_event *event), void *arg)
{
	struct net_event event = { .type = NET_EVENT_NONE, .routing = true };

	/* A hole in a prefix is the first to come and the last to go. */
	visit_locals(from, to, false, NET_EVENT_LOCAL_GONE, visit, arg);
	visit_locals(from, to, true, NET_EVENT_LOCAL_GONE, visit, arg);
	visit_links(from, to, visit, arg);
	visit_locals(to, from, true, NET_EVENT_LOCAL, visit, arg);
	visit_locals(to, from, false, NET_EVENT_LOCAL, visit, arg);
	if (!routes_alike(from, to))
		visit(arg, &event);
}
