/* SPDX-License-Identifier: MIT */
/* Which links stand on top of another, and what that means for its packets. Pure, over net_table.
 */
#ifndef NET_STACK_H
#define NET_STACK_H

#include "net/table.h"

/*
 * Whether some link on top of the interface takes packets that an XDP program on it could not tell
 * from the interface's own: that link has the same MAC address, or takes frames whatever theirs
 * is. If so, `why` says which one, in words.
 */
bool net_stack_takes(const struct net_table *t, uint32_t ifindex, char *why, size_t room);

/* A VLAN device directly on top of the interface, NULL if there is none. */
const struct net_link *net_stack_vlan(const struct net_table *t, uint32_t ifindex);

#endif
