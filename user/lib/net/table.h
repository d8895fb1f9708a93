/* SPDX-License-Identifier: MIT */
/*
 * What we know of this network namespace: links by index, local addresses, whether policy rules
 * stand before them, and the reverse path filter. Pure but for memory; one thread at a time.
 */
#ifndef NET_TABLE_H
#define NET_TABLE_H

#include "net/event.h"

struct net_policy {
	/* The first rule of all is `lookup local` for every packet: no rule decides before it. */
	bool local_first;
	/* There are other rules than `lookup` of local, main and default for every packet. */
	bool custom_rules;
};

struct net_table {
	struct net_link *links; /* sorted by ifindex */
	size_t link_count, link_room;
	struct net_local *locals; /* sorted; one per route, so an address can be there twice */
	size_t local_count, local_room;
	struct net_conf *confs; /* sorted by ifindex */
	size_t conf_count, conf_room;
	struct net_policy policy[2]; /* IPv4, IPv6 */
	bool has_rule[2];
};

void net_table_init(struct net_table *t);
void net_table_fini(struct net_table *t);

/*
 * Applies one event. Returns true when it changed something (the same link again, or a route that
 * is there already, changes nothing). A local row is identified by family, prefix, address,
 * `excluded` and device. An address that is on two devices has two rows, appears with the first
 * and is gone with the last of them; but an IPv6 link-local address is another one on each device.
 * Rows that are local and rows that are excluded do not know of each other. NET_EVENT_MAIN(_GONE)
 * changes nothing: whether it counts is for the caller to find out.
 * False and *error = -ENOMEM when there is no memory, else *error = 0; error may not be NULL.
 */
bool net_table_apply(struct net_table *t, const struct net_event *event, int *error);

const struct net_link *net_table_link(const struct net_table *t, uint32_t ifindex);

/* Is there a row, on any device, for this very prefix, and as local or excluded as this? */
bool net_table_has_local(const struct net_table *t, const struct net_local *local);

/* Whether there are local prefixes of IPv4 in which there could be holes; and is this row in one?
 */
bool net_table_has_anyip(const struct net_table *t);
bool net_table_is_inside(const struct net_table *t, const struct net_local *local);

/* Never NULL; all false as long as no rule is known. */
const struct net_policy *net_table_policy(const struct net_table *t, uint8_t family);

/*
 * The IPv4 reverse path filter that holds for an interface, 0: none, 1: strict, 2: loose; the
 * greater of its own and that of `all` (IN_DEV_RPFILTER). What is not known is 0.
 */
unsigned net_table_rp_filter(const struct net_table *t, uint32_t ifindex);

/*
 * Calls back for what it takes to get from one table to the other: first for what is gone, then
 * for what is new or has changed; at last, when policy or reverse path filters differ, once for
 * an event that is nothing but `routing`. The events hold until `visit` returns.
 */
void net_table_compare(const struct net_table *from, const struct net_table *to,
		       void (*visit)(void *arg, const struct net_event *event), void *arg);

#endif
