/* SPDX-License-Identifier: MIT */
#include "net/event.h"

#include "net/attr.h"

#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* The text with its zero must fit; anything else is no name of the kernel's and left empty. */
static void get_text(char out[16], const struct nlattr *attr)
{
	size_t len = mnl_attr_get_payload_len(attr);
	const char *text = mnl_attr_get_payload(attr);

	memset(out, 0, 16);
	len = strnlen(text, len);
	if (len < 16)
		memcpy(out, text, len);
}

/* ---------------------------------------------------------------- links */

static void decode_xdp(struct net_link *link, const struct nlattr *nest)
{
	const void *end = attr_end(nest);
	const struct nlattr *attr = attr_first(nest);

	for (; attr; attr = attr_after(attr, end)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_XDP_ATTACHED:
			link->xdp_attached = attr_u8(attr);
			break;
		case IFLA_XDP_PROG_ID:
			link->xdp_program = attr_u32(attr);
			break;
		}
	}
}

/* Which attribute means what depends on the kind. */
static void decode_info_data(struct net_link *link, const struct nlattr *nest)
{
	const void *end = attr_end(nest);
	const struct nlattr *attr = attr_first(nest);
	bool macvlan = !strcmp(link->kind, "macvlan") || !strcmp(link->kind, "macvtap");
	bool tun = !strcmp(link->kind, "tun");

	for (; attr; attr = attr_after(attr, end)) {
		if (macvlan && mnl_attr_get_type(attr) == IFLA_MACVLAN_MODE)
			link->macvlan_mode = attr_u32(attr);
		if (tun && mnl_attr_get_type(attr) == IFLA_TUN_VNET_HDR)
			link->vnet_hdr = attr_u8(attr) != 0;
	}
}

static void decode_info(struct net_link *link, const struct nlattr *nest)
{
	const void *end = attr_end(nest);
	const struct nlattr *attr = attr_first(nest);
	const struct nlattr *data = NULL;

	for (; attr; attr = attr_after(attr, end)) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			get_text(link->kind, attr);
		else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (data)
		decode_info_data(link, data);
}

static void decode_link_attr(struct net_link *link, const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		get_text(link->name, attr);
		break;
	case IFLA_MASTER:
		link->master = attr_u32(attr);
		break;
	case IFLA_LINK:
		link->lower = attr_u32(attr);
		break;
	case IFLA_MTU:
		link->mtu = attr_u32(attr);
		break;
	case IFLA_NUM_RX_QUEUES:
		link->rx_queues = attr_u32(attr);
		break;
	case IFLA_ADDRESS:
		link->has_mac = mnl_attr_get_payload_len(attr) == sizeof(link->mac);
		if (link->has_mac)
			memcpy(link->mac, mnl_attr_get_payload(attr), sizeof(link->mac));
		break;
	case IFLA_XDP:
		decode_xdp(link, attr);
		break;
	case IFLA_LINKINFO:
		decode_info(link, attr);
		break;
	}
}

static void decode_link(struct net_event *event, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(nlh);
	bool gone = nlh->nlmsg_type == RTM_DELLINK;
	bool elsewhere = false, partial = false;
	struct net_link *link = &event->link;
	const void *end = message_end(nlh);
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*info))
		return;
	if (info->ifi_family != AF_UNSPEC || info->ifi_index <= 0)
		return;
	link->ifindex = (uint32_t)info->ifi_index;
	link->flags = info->ifi_flags;
	link->type = info->ifi_type;
	for (attr = attr_at(info + 1, end); attr; attr = attr_after(attr, end)) {
		decode_link_attr(link, attr);
		elsewhere |= mnl_attr_get_type(attr) == IFLA_LINK_NETNSID;
		/* Wireless extensions' own news, with hardly anything of the link in it. */
		partial |= mnl_attr_get_type(attr) == IFLA_WIRELESS;
	}
	if (elsewhere || link->lower == link->ifindex)
		link->lower = 0;
	if (gone)
		event->type = NET_EVENT_LINK_GONE;
	else if (!partial && link->name[0])
		event->type = NET_EVENT_LINK;
	event->doubt = gone;
}

/* ---------------------------------------------------------------- routes */

/* The destination, with the bits behind the prefix cleared; false when it is malformed. */
static bool decode_destination(struct net_local *local, const struct nlattr *dst)
{
	size_t size = local->family == AF_INET ? 4 : 16;
	size_t whole = local->prefix_len / 8u;

	if (local->prefix_len > size * 8)
		return false;
	if (!dst)
		return local->prefix_len == 0;
	if (mnl_attr_get_payload_len(dst) != size)
		return false;
	memcpy(local->address.bytes, mnl_attr_get_payload(dst), size);
	if (whole < size) {
		local->address.bytes[whole] &= (uint8_t) ~(0xff >> local->prefix_len % 8);
		memset(local->address.bytes + whole + 1, 0, size - whole - 1);
	}
	return true;
}

/* By address: of which type they are depends on the kernel. */
static bool is_multicast_route(const struct net_local *local)
{
	return local->excluded && local->family == AF_INET6 && local->prefix_len >= 8 &&
	       local->address.bytes[0] == 0xff;
}

/* Returns the table it is in. */
static uint32_t decode_route_attrs(struct net_local *local, const struct nlmsghdr *nlh,
				   const struct nlattr **dst)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	const void *end = message_end(nlh);
	uint32_t table = rtm->rtm_table;
	const struct nlattr *attr;

	for (attr = attr_at(rtm + 1, end); attr; attr = attr_after(attr, end)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			table = attr_u32(attr);
			break;
		case RTA_DST:
			*dst = attr;
			break;
		case RTA_OIF:
			local->ifindex = attr_u32(attr);
			break;
		}
	}
	return table;
}

static void decode_route(struct net_event *event, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	bool gone = nlh->nlmsg_type == RTM_DELROUTE;
	struct net_local *local = &event->local;
	const struct nlattr *dst = NULL;
	uint32_t table;
	bool known;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return;
	if (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6)
		return;
	if (rtm->rtm_flags & RTM_F_CLONED)
		return;
	local->family = rtm->rtm_family;
	local->prefix_len = rtm->rtm_dst_len;
	table = decode_route_attrs(local, nlh, &dst);
	/* Who has rules that lead to other tables is not judged by these. */
	event->routing =
		local->family == AF_INET &&
		(table == RT_TABLE_LOCAL || table == RT_TABLE_MAIN || table == RT_TABLE_DEFAULT);
	if (table != RT_TABLE_LOCAL && (table != RT_TABLE_MAIN || local->family != AF_INET))
		return;
	local->excluded = table == RT_TABLE_MAIN || rtm->rtm_type != RTN_LOCAL ||
			  rtm->rtm_src_len || rtm->rtm_tos;
	known = decode_destination(local, dst);
	if (known && is_multicast_route(local))
		return;
	/* A replaced route is not named, and with one that goes others may go in silence. */
	event->doubt = gone || nlh->nlmsg_flags & NLM_F_REPLACE;
	/* A new prefix: there may be holes in it that were none before. */
	if (known && local->family == AF_INET && local->prefix_len < 32 && !local->excluded)
		event->doubt = true;
	if (known && table == RT_TABLE_MAIN)
		event->type = gone ? NET_EVENT_MAIN_GONE : NET_EVENT_MAIN;
	else if (known)
		event->type = gone ? NET_EVENT_LOCAL_GONE : NET_EVENT_LOCAL;
}

/* ---------------------------------------------------------------- rules */

/* Attributes that choose no packets; all others do, or may: those not yet invented, too. */
static bool is_plain_attr(const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case FRA_TABLE:
	case FRA_PRIORITY:
	case FRA_PROTOCOL:
	case FRA_PAD:
		return true;
	case FRA_SUPPRESS_PREFIXLEN:
	case FRA_SUPPRESS_IFGROUP:
		/* -1: suppresses nothing. */
		return attr_u32(attr) == UINT32_MAX;
	default:
		return false;
	}
}

/* What a new or deleted rule means depends on its place among the others: doubt. */
static void decode_rule(struct net_event *event, const struct nlmsghdr *nlh)
{
	const struct fib_rule_hdr *hdr = mnl_nlmsg_get_payload(nlh);
	struct net_rule *rule = &event->rule;
	const void *end = message_end(nlh);
	const struct nlattr *attr;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*hdr))
		return;
	if (hdr->family != AF_INET && hdr->family != AF_INET6)
		return;
	event->doubt = event->routing = true;
	rule->family = hdr->family;
	rule->table = hdr->table;
	rule->plain = hdr->action == FR_ACT_TO_TBL &&
		      (hdr->flags | FIB_RULE_PERMANENT) == FIB_RULE_PERMANENT && !hdr->src_len &&
		      !hdr->dst_len && !hdr->tos;
	for (attr = attr_at(hdr + 1, end); attr; attr = attr_after(attr, end)) {
		if (mnl_attr_get_type(attr) == FRA_TABLE)
			rule->table = attr_u32(attr);
		rule->plain &= is_plain_attr(attr);
	}
	if (nlh->nlmsg_type == RTM_NEWRULE)
		event->type = NET_EVENT_RULE;
}

/* ---------------------------------------------------------------- settings */

static void decode_conf(struct net_event *event, const struct nlmsghdr *nlh)
{
	const struct netconfmsg *msg = mnl_nlmsg_get_payload(nlh);
	bool gone = nlh->nlmsg_type == RTM_DELNETCONF, has_filter = false;
	struct net_conf *conf = &event->conf;
	const void *end = message_end(nlh);
	const struct nlattr *attr;

	/* The header is one byte, and the attributes begin where alignment says. */
	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*msg) || msg->ncm_family != AF_INET)
		return;
	attr = attr_at((const char *)msg + MNL_ALIGNTO, end);
	for (; attr; attr = attr_after(attr, end)) {
		switch (mnl_attr_get_type(attr)) {
		case NETCONFA_IFINDEX:
			conf->ifindex = attr_u32(attr);
			break;
		case NETCONFA_RP_FILTER:
			conf->rp_filter = attr_u32(attr);
			has_filter = true;
			break;
		}
	}
	event->routing = true; /* ignore_routes_with_linkdown, and what may be yet to come */
	if (!has_filter && !gone)
		return;
	/* Interfaces that nobody has set take over the default without a word. */
	if (conf->ifindex == (uint32_t)NETCONFA_IFINDEX_DEFAULT)
		event->doubt = true;
	else if (conf->ifindex)
		event->type = gone ? NET_EVENT_CONF_GONE : NET_EVENT_CONF;
}

void net_event_decode(struct net_event *event, const struct nlmsghdr *nlh, size_t room)
{
	memset(event, 0, sizeof(*event));
	if (room < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > room)
		return;
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		decode_link(event, nlh);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		decode_route(event, nlh);
		break;
	case RTM_NEWRULE:
	case RTM_DELRULE:
		decode_rule(event, nlh);
		break;
	case RTM_NEWNETCONF:
	case RTM_DELNETCONF:
		decode_conf(event, nlh);
		break;
	case RTM_NEWNEXTHOP:
	case RTM_DELNEXTHOP:
		event->doubt =
			nlh->nlmsg_type == RTM_DELNEXTHOP || nlh->nlmsg_flags & NLM_F_REPLACE;
		event->routing = true;
		break;
	}
}
