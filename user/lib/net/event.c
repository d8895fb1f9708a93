/* SPDX-License-Identifier: MIT */
#include "net/event.h"

#include <libmnl/libmnl.h>
#include <limits.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <string.h>

/* The attribute at p when all of it lies before end, else NULL. */
static const struct nlattr *attr_at(const void *p, const void *end)
{
	ptrdiff_t left = (const char *)end - (const char *)p;

	return left > 0 && left <= INT_MAX && mnl_attr_ok(p, (int)left) ? p : NULL;
}

static const struct nlattr *attr_after(const struct nlattr *attr, const void *end)
{
	return attr_at(mnl_attr_next(attr), end);
}

/* Behind the last byte of what the attribute, resp. the message holds. */
static const void *attr_end(const struct nlattr *attr)
{
	return (const char *)mnl_attr_get_payload(attr) + mnl_attr_get_payload_len(attr);
}

static const void *message_end(const struct nlmsghdr *nlh)
{
	return (const char *)nlh + nlh->nlmsg_len;
}

static uint32_t get_u32(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint32_t) ? mnl_attr_get_u32(attr) : 0;
}

static uint8_t get_u8(const struct nlattr *attr)
{
	return mnl_attr_get_payload_len(attr) == sizeof(uint8_t) ? mnl_attr_get_u8(attr) : 0;
}

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

static void decode_xdp(struct net_link *link, const struct nlattr *nest)
{
	const void *end = attr_end(nest);
	const struct nlattr *attr = attr_at(mnl_attr_get_payload(nest), end);

	for (; attr; attr = attr_after(attr, end)) {
		switch (mnl_attr_get_type(attr)) {
		case IFLA_XDP_ATTACHED:
			link->xdp_attached = get_u8(attr);
			break;
		case IFLA_XDP_PROG_ID:
			link->xdp_program = get_u32(attr);
			break;
		}
	}
}

static void decode_info(struct net_link *link, const struct nlattr *nest)
{
	const void *end = attr_end(nest);
	const struct nlattr *attr = attr_at(mnl_attr_get_payload(nest), end);

	for (; attr; attr = attr_after(attr, end)) {
		if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
			get_text(link->kind, attr);
	}
}

static void decode_link_attr(struct net_link *link, const struct nlattr *attr)
{
	switch (mnl_attr_get_type(attr)) {
	case IFLA_IFNAME:
		get_text(link->name, attr);
		break;
	case IFLA_MASTER:
		link->master = get_u32(attr);
		break;
	case IFLA_LINK:
		link->lower = get_u32(attr);
		break;
	case IFLA_MTU:
		link->mtu = get_u32(attr);
		break;
	case IFLA_NUM_RX_QUEUES:
		link->rx_queues = get_u32(attr);
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

static void decode_route(struct net_event *event, const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
	bool gone = nlh->nlmsg_type == RTM_DELROUTE;
	struct net_local *local = &event->local;
	const struct nlattr *attr, *dst = NULL;
	const void *end = message_end(nlh);
	uint32_t table;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*rtm))
		return;
	if (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6)
		return;
	if (rtm->rtm_flags & RTM_F_CLONED)
		return;
	table = rtm->rtm_table;
	local->family = rtm->rtm_family;
	local->prefix_len = rtm->rtm_dst_len;
	for (attr = attr_at(rtm + 1, end); attr; attr = attr_after(attr, end)) {
		switch (mnl_attr_get_type(attr)) {
		case RTA_TABLE:
			table = get_u32(attr);
			break;
		case RTA_DST:
			dst = attr;
			break;
		case RTA_OIF:
			local->ifindex = get_u32(attr);
			break;
		}
	}
	if (table != RT_TABLE_LOCAL)
		return;
	/* A replaced route is not named, and it may be a local one whatever the new one is. */
	event->doubt = !gone && nlh->nlmsg_flags & NLM_F_REPLACE;
	if (rtm->rtm_type != RTN_LOCAL || rtm->rtm_src_len || rtm->rtm_tos)
		return;
	event->doubt |= gone;
	if (decode_destination(local, dst))
		event->type = gone ? NET_EVENT_LOCAL_GONE : NET_EVENT_LOCAL;
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
	case RTM_NEWNEXTHOP:
		event->doubt = nlh->nlmsg_flags & NLM_F_REPLACE;
		break;
	case RTM_DELNEXTHOP:
		event->doubt = true;
		break;
	}
}
