/* SPDX-License-Identifier: MIT */
#include "net/stack.h"

#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

static bool is_on(const struct net_link *link, uint32_t ifindex)
{
	return ifindex && link->lower == ifindex;
}

static bool is_kind(const struct net_link *link, const char *kind)
{
	return strcmp(link->kind, kind) == 0;
}

/*
 * What the link does to frames that are addressed to the device below it, NULL: nothing. From the
 * kernel's macvlan_handle_frame and macvlan_forward_source, ipvlan_handle_frame, and eth_type_trans
 * with netdev_uses_dsa. A VLAN takes tagged frames only, and other modes of macvlan only those to
 * their own MAC address, which cannot be that of the device below.
 */
static const char *takes(const struct net_link *link)
{
	if (is_kind(link, "ipvlan") || is_kind(link, "ipvtap"))
		return "shares its MAC address";
	if (is_kind(link, "dsa"))
		return "takes all its packets";
	if (!is_kind(link, "macvlan") && !is_kind(link, "macvtap"))
		return NULL;
	if (link->macvlan_mode & MACVLAN_MODE_PASSTHRU)
		return "is in mode passthru and takes all its packets";
	if (link->macvlan_mode & MACVLAN_MODE_SOURCE)
		return "is in mode source and takes packets by who sent them";
	return NULL;
}

bool net_stack_takes(const struct net_table *t, uint32_t ifindex, char *why, size_t room)
{
	const struct net_link *link;
	const char *does;

	for (link = t->links; link < t->links + t->link_count; link++) {
		does = is_on(link, ifindex) ? takes(link) : NULL;
		if (!does)
			continue;
		snprintf(why, room, "%s (%s) on top %s", link->name, link->kind, does);
		return true;
	}
	return false;
}

const struct net_link *net_stack_vlan(const struct net_table *t, uint32_t ifindex)
{
	const struct net_link *link;

	for (link = t->links; link < t->links + t->link_count; link++) {
		if (is_on(link, ifindex) && is_kind(link, "vlan"))
			return link;
	}
	return NULL;
}
