/* SPDX-License-Identifier: MIT */
/*
 * What we know of this network namespace: links by index, and local addresses. Pure but for
 * memory; one thread at a time.
 */
#ifndef NET_TABLE_H
#define NET_TABLE_H

#include "net/event.h"

struct net_table {
	struct net_link *links; /* sorted by ifindex */
	size_t link_count, link_room;
	struct net_local *locals; /* sorted; one per route, so an address can be there twice */
	size_t local_count, local_room;
};

void net_table_init(struct net_table *t);
void net_table_fini(struct net_table *t);

/*
 * Applies one event. Returns true when it changed something (the same link again, or a route that
 * is there already, changes nothing). A local row is identified by family, prefix, address and
 * device: an address that is on two devices has two rows, and is gone when both are.
 * False and *error = -ENOMEM when there is no memory, else *error = 0; error may not be NULL.
 */
bool net_table_apply(struct net_table *t, const struct net_event *event, int *error);

const struct net_link *net_table_link(const struct net_table *t, uint32_t ifindex);
const struct net_link *net_table_link_by_name(const struct net_table *t, const char *name);

/* Is the address this host's (some local row's prefix covers it)? */
bool net_table_is_local(const struct net_table *t, uint8_t family, const union mr_address *a);

/*
 * Calls back for what it takes to get from one table to the other: first for what is gone, then
 * for what is new or has changed. The events point into no table and hold until `visit` returns.
 */
void net_table_compare(const struct net_table *from, const struct net_table *to,
		       void (*visit)(void *arg, const struct net_event *event), void *arg);

#endif
