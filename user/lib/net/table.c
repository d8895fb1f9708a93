/* SPDX-License-Identifier: MIT */
/*
 * Two sorted arrays. Local rows are kept one per route, that is with the device, and sorted such
 * that the routes of one address are neighbours: outside, an address appears with its first route
 * and disappears with its last.
 */
#include "net/table.h"

#include <errno.h>
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

/* ---------------------------------------------------------------- links */

/* Where the link is, or where it would have to go. */
static size_t link_position(const struct net_table *t, uint32_t ifindex)
{
	size_t low = 0, high = t->link_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->links[mid].ifindex < ifindex)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Member by member, for nobody promises what is in the padding. */
static bool link_equal(const struct net_link *a, const struct net_link *b)
{
	return a->ifindex == b->ifindex && a->master == b->master && a->lower == b->lower &&
	       a->flags == b->flags && a->mtu == b->mtu && a->rx_queues == b->rx_queues &&
	       a->xdp_program == b->xdp_program && a->type == b->type &&
	       a->xdp_attached == b->xdp_attached && a->has_mac == b->has_mac &&
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

const struct net_link *net_table_link_by_name(const struct net_table *t, const char *name)
{
	size_t i;

	for (i = 0; i < t->link_count; i++) {
		if (strcmp(t->links[i].name, name) == 0)
			return &t->links[i];
	}
	return NULL;
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
		.ifindex = in->ifindex,
	};
	memcpy(out->address.bytes, in->address.bytes, whole);
	if (in->prefix_len % 8)
		out->address.bytes[whole] =
			in->address.bytes[whole] & (uint8_t) ~(0xff >> in->prefix_len % 8);
	return true;
}

/* Order of addresses, whatever their device. */
static int compare_address(const struct net_local *a, const struct net_local *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->prefix_len != b->prefix_len)
		return a->prefix_len < b->prefix_len ? -1 : 1;
	return memcmp(a->address.bytes, b->address.bytes, sizeof(a->address.bytes));
}

static int compare_route(const struct net_local *a, const struct net_local *b)
{
	int order = compare_address(a, b);

	if (order)
		return order;
	return a->ifindex < b->ifindex ? -1 : a->ifindex > b->ifindex;
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

bool net_table_is_local(const struct net_table *t, uint8_t family, const union mr_address *a)
{
	struct net_local key = { .family = family, .address = *a }, masked;
	int len;

	/* One search per length of prefix; most answers come with the first, the whole address. */
	for (len = (int)family_bits(family); len >= 0; len--) {
		key.prefix_len = (uint8_t)len;
		if (!normalise(&masked, &key))
			return false;
		if (has_address_at(t, &masked, local_position(t, &masked)))
			return true;
	}
	return false;
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
	case NET_EVENT_NONE:
		break;
	}
	return false;
}

/* Addresses of `a` that `b` does not have, once each. */
static void visit_locals(const struct net_table *a, const struct net_table *b,
			 enum net_event_type type,
			 void (*visit)(void *arg, const struct net_event *event), void *arg)
{
	struct net_event event = { .type = type };
	size_t i, k = 0;

	for (i = 0; i < a->local_count; i++) {
		const struct net_local *row = &a->locals[i];

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

void net_table_compare(const struct net_table *from, const struct net_table *to,
		       void (*visit)(void *arg, const struct net_event *event), void *arg)
{
	const struct net_link *other;
	struct net_event event;
	size_t i;

	visit_locals(from, to, NET_EVENT_LOCAL_GONE, visit, arg);
	event = (struct net_event){ .type = NET_EVENT_LINK_GONE };
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
	visit_locals(to, from, NET_EVENT_LOCAL, visit, arg);
}
