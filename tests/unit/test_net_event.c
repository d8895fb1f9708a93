/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/event.h"

#define ROOM 1024

static uint64_t random_state;

static uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33);
}

/* ---------------------------------------------------------------- messages */

static _Alignas(8) char buf[ROOM];

static struct nlmsghdr *new_link(uint16_t type, uint8_t family)
{
	struct nlmsghdr *nlh;
	struct ifinfomsg *info;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	info = mnl_nlmsg_put_extra_header(nlh, sizeof(*info));
	info->ifi_family = family;
	info->ifi_type = ARPHRD_ETHER;
	info->ifi_index = 7;
	info->ifi_flags = IFF_UP | IFF_BROADCAST;
	return nlh;
}

/* As for a veth with a program, in a bridge; with things in between that we do not read. */
static struct nlmsghdr *full_link(uint16_t type)
{
	struct nlmsghdr *nlh = new_link(type, AF_UNSPEC);
	struct nlattr *nest;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, "veth-a");
	mnl_attr_put_u32(nlh, IFLA_TXQLEN, 1000);
	mnl_attr_put_u32(nlh, IFLA_MTU, 1420);
	mnl_attr_put_u32(nlh, IFLA_MASTER, 4);
	mnl_attr_put_u32(nlh, IFLA_NUM_TX_QUEUES, 8);
	mnl_attr_put_u32(nlh, IFLA_NUM_RX_QUEUES, 2);
	mnl_attr_put_u8(nlh, IFLA_OPERSTATE, 6);
	nest = mnl_attr_nest_start(nlh, IFLA_XDP);
	mnl_attr_put_u8(nlh, IFLA_XDP_ATTACHED, XDP_ATTACHED_SKB);
	mnl_attr_put_u32(nlh, IFLA_XDP_PROG_ID, 99);
	mnl_attr_put_u32(nlh, IFLA_XDP_SKB_PROG_ID, 98);
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, "\x02\x11\x22\x33\x44\x55");
	mnl_attr_put(nlh, IFLA_BROADCAST, 6, "\xff\xff\xff\xff\xff\xff");
	nest = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	mnl_attr_put_strz(nlh, IFLA_INFO_KIND, "veth");
	mnl_attr_put_strz(nlh, IFLA_INFO_SLAVE_KIND, "bridge");
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_u32(nlh, IFLA_LINK, 8);
	return nlh;
}

static struct nlmsghdr *new_route(uint16_t type, uint8_t family, const char *dst, uint8_t len)
{
	struct nlmsghdr *nlh;
	struct rtmsg *rtm;
	struct in6_addr a;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
	rtm->rtm_family = family;
	rtm->rtm_dst_len = len;
	rtm->rtm_table = RT_TABLE_LOCAL;
	rtm->rtm_type = RTN_LOCAL;
	mnl_attr_put_u32(nlh, RTA_TABLE, RT_TABLE_LOCAL);
	if (dst) {
		assert_int_equal(inet_pton(family, dst, &a), 1);
		mnl_attr_put(nlh, RTA_DST, family == AF_INET ? 4 : 16, &a);
	}
	mnl_attr_put_u32(nlh, RTA_OIF, 3);
	return nlh;
}

static struct rtmsg *rtm_of(struct nlmsghdr *nlh)
{
	return mnl_nlmsg_get_payload(nlh);
}

static struct net_event decode(const struct nlmsghdr *nlh)
{
	struct net_event event;

	memset(&event, 0xee, sizeof(event));
	net_event_decode(&event, nlh, nlh->nlmsg_len);
	return event;
}

static void assert_none(const struct nlmsghdr *nlh)
{
	struct net_event event = decode(nlh);

	assert_int_equal(event.type, NET_EVENT_NONE);
	assert_false(event.doubt);
	assert_false(event.routing);
}

/* A route that says nothing about addresses here, but about ways. */
static void assert_routing_only(const struct nlmsghdr *nlh)
{
	struct net_event event = decode(nlh);

	assert_int_equal(event.type, NET_EVENT_NONE);
	assert_false(event.doubt);
	assert_true(event.routing);
}

/* ---------------------------------------------------------------- links */

static void test_link(void **state)
{
	struct net_event e = decode(full_link(RTM_NEWLINK));

	(void)state;
	assert_int_equal(e.type, NET_EVENT_LINK);
	assert_false(e.doubt);
	assert_int_equal(e.link.ifindex, 7);
	assert_int_equal(e.link.type, ARPHRD_ETHER);
	assert_int_equal(e.link.flags, IFF_UP | IFF_BROADCAST);
	assert_int_equal(e.link.master, 4);
	assert_int_equal(e.link.lower, 8);
	assert_int_equal(e.link.mtu, 1420);
	assert_int_equal(e.link.rx_queues, 2);
	assert_int_equal(e.link.xdp_program, 99);
	assert_int_equal(e.link.xdp_attached, XDP_ATTACHED_SKB);
	assert_true(e.link.has_mac);
	assert_memory_equal(e.link.mac, "\x02\x11\x22\x33\x44\x55", 6);
	assert_string_equal(e.link.name, "veth-a");
	assert_string_equal(e.link.kind, "veth");

	e = decode(full_link(RTM_DELLINK));
	assert_int_equal(e.type, NET_EVENT_LINK_GONE);
	assert_int_equal(e.link.ifindex, 7);
	assert_true(e.doubt);
}

static void test_link_bare(void **state)
{
	struct nlmsghdr *nlh = new_link(RTM_NEWLINK, AF_UNSPEC);
	struct net_link want = { .ifindex = 7, .flags = IFF_UP | IFF_BROADCAST };
	struct net_event e;

	(void)state;
	want.type = ARPHRD_ETHER;
	strcpy(want.name, "fifteen-letters");
	mnl_attr_put_strz(nlh, IFLA_IFNAME, want.name);
	e = decode(nlh);
	assert_int_equal(e.type, NET_EVENT_LINK);
	assert_memory_equal(&e.link, &want, sizeof(want));
	/* Without its name nothing is known of it. */
	assert_none(new_link(RTM_NEWLINK, AF_UNSPEC));
	/* To take it away the index will do. */
	assert_int_equal(decode(new_link(RTM_DELLINK, AF_UNSPEC)).type, NET_EVENT_LINK_GONE);
}

static void test_link_of_other_families(void **state)
{
	uint8_t families[] = { AF_BRIDGE, AF_INET, AF_INET6, 255 };
	struct nlmsghdr *nlh;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(families); i++) {
		nlh = new_link(RTM_NEWLINK, families[i]);
		mnl_attr_put_strz(nlh, IFLA_IFNAME, "x");
		assert_none(nlh);
		/* For AF_BRIDGE this says that a port has left; the link stays. */
		assert_none(new_link(RTM_DELLINK, families[i]));
	}
}

static void test_link_oddities(void **state)
{
	struct nlmsghdr *nlh;
	struct net_event e;

	(void)state;
	/* The device below is in another namespace: its index is not one of ours. */
	nlh = full_link(RTM_NEWLINK);
	mnl_attr_put_u32(nlh, IFLA_LINK_NETNSID, 0);
	assert_int_equal(decode(nlh).link.lower, 0);
	/* Linked to itself: nothing below. */
	nlh = full_link(RTM_NEWLINK);
	mnl_attr_put_u32(nlh, IFLA_LINK, 7);
	assert_int_equal(decode(nlh).link.lower, 0);
	/* News of wireless extensions. */
	nlh = full_link(RTM_NEWLINK);
	mnl_attr_put(nlh, IFLA_WIRELESS, 8, "12345678");
	assert_none(nlh);
	/* No zero at the end of a text that is full, and one that is too long. */
	nlh = full_link(RTM_NEWLINK);
	mnl_attr_put(nlh, IFLA_IFNAME, 15, "123456789012345");
	assert_string_equal(decode(nlh).link.name, "123456789012345");
	mnl_attr_put(nlh, IFLA_IFNAME, 16, "1234567890123456");
	assert_none(nlh);
	/* No zero, and another attribute behind it; its header is no part of the name. */
	nlh = full_link(RTM_NEWLINK);
	mnl_attr_put(nlh, IFLA_IFNAME, 8, "12345678");
	mnl_attr_put(nlh, 0x4141, 8, "AAAAAAAA");
	assert_string_equal(decode(nlh).link.name, "12345678");
	/* Other lengths of things than we know. */
	nlh = new_link(RTM_NEWLINK, AF_UNSPEC);
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "x");
	mnl_attr_put(nlh, IFLA_ADDRESS, 20, "infiniband--infiniba");
	mnl_attr_put_u16(nlh, IFLA_MTU, 1500);
	mnl_attr_put_u64(nlh, IFLA_MASTER, 1500);
	mnl_attr_put(nlh, IFLA_XDP, 0, "");
	mnl_attr_put(nlh, IFLA_LINKINFO, 3, "abc");
	e = decode(nlh);
	assert_int_equal(e.type, NET_EVENT_LINK);
	assert_false(e.link.has_mac);
	assert_int_equal(e.link.mtu | e.link.master | e.link.xdp_attached, 0);
	/* No such index. */
	nlh = full_link(RTM_NEWLINK);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_index = 0;
	assert_none(nlh);
	((struct ifinfomsg *)mnl_nlmsg_get_payload(nlh))->ifi_index = -1;
	assert_none(nlh);
}

static struct net_event decode_info(const char *kind, uint16_t type, const void *data, size_t len,
				    bool kind_last)
{
	struct nlmsghdr *nlh = new_link(RTM_NEWLINK, AF_UNSPEC);
	struct nlattr *info, *nest;

	mnl_attr_put_strz(nlh, IFLA_IFNAME, "x");
	info = mnl_attr_nest_start(nlh, IFLA_LINKINFO);
	if (!kind_last)
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	nest = mnl_attr_nest_start(nlh, IFLA_INFO_DATA);
	mnl_attr_put(nlh, 77, 4, "abc");
	mnl_attr_put(nlh, type, len, data);
	mnl_attr_nest_end(nlh, nest);
	if (kind_last)
		mnl_attr_put_strz(nlh, IFLA_INFO_KIND, kind);
	mnl_attr_nest_end(nlh, info);
	return decode(nlh);
}

/* The same number means something else to another kind. */
static void test_link_info(void **state)
{
	uint32_t mode = MACVLAN_MODE_SOURCE;
	uint8_t one = 1, zero = 0;
	int last;

	(void)state;
	for (last = 0; last < 2; last++) {
#define MODE(kind) decode_info(kind, IFLA_MACVLAN_MODE, &mode, sizeof(mode), last).link.macvlan_mode
		assert_int_equal(MODE("macvlan"), MACVLAN_MODE_SOURCE);
		assert_int_equal(MODE("macvtap"), MACVLAN_MODE_SOURCE);
		assert_int_equal(MODE("vlan"), 0);
		assert_int_equal(MODE(""), 0);
#define VNET(kind, value) decode_info(kind, IFLA_TUN_VNET_HDR, value, 1, last).link.vnet_hdr
		assert_true(VNET("tun", &one));
		assert_false(VNET("tun", &zero));
		assert_false(VNET("macvtap", &one));
	}
	assert_int_equal(decode_info("macvlan", IFLA_MACVLAN_MODE, &mode, 2, 0).link.macvlan_mode,
			 0);
}

/* ---------------------------------------------------------------- local routes */

static void test_local(void **state)
{
	struct net_event e = decode(new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32));
	union mr_address a = { 0 };

	(void)state;
	assert_int_equal(e.type, NET_EVENT_LOCAL);
	assert_false(e.doubt);
	assert_int_equal(e.local.family, AF_INET);
	assert_int_equal(e.local.prefix_len, 32);
	assert_int_equal(e.local.ifindex, 3);
	a.v4.s_addr = htonl(0xc0000201);
	assert_memory_equal(&e.local.address, &a, sizeof(a));

	e = decode(new_route(RTM_DELROUTE, AF_INET6, "2001:db8::1", 128));
	assert_int_equal(e.type, NET_EVENT_LOCAL_GONE);
	assert_true(e.doubt);
	assert_int_equal(e.local.family, AF_INET6);
	assert_int_equal(e.local.prefix_len, 128);
	inet_pton(AF_INET6, "2001:db8::1", &a);
	assert_memory_equal(&e.local.address, &a, sizeof(a));
}

static void test_local_prefix(void **state)
{
	struct net_event e = decode(new_route(RTM_NEWROUTE, AF_INET, "127.255.3.4", 9));
	union mr_address a = { 0 };

	(void)state;
	a.v4.s_addr = htonl(0x7f800000);
	assert_memory_equal(&e.local.address, &a, sizeof(a));
	assert_int_equal(e.local.prefix_len, 9);
	e = decode(new_route(RTM_NEWROUTE, AF_INET6, "2001:db8:ffff::", 33));
	inet_pton(AF_INET6, "2001:db8:8000::", &a);
	assert_memory_equal(&e.local.address, &a, sizeof(a));
	/* Everything: the kernel leaves the destination out. */
	e = decode(new_route(RTM_NEWROUTE, AF_INET, NULL, 0));
	assert_int_equal(e.type, NET_EVENT_LOCAL);
	assert_int_equal(e.local.prefix_len, 0);
	assert_routing_only(new_route(RTM_NEWROUTE, AF_INET, NULL, 1));
	assert_routing_only(new_route(RTM_NEWROUTE, AF_INET, "1.2.3.4", 33));
	assert_none(new_route(RTM_NEWROUTE, AF_INET6, "1::", 129));
}

static void test_excluded(void **state)
{
	struct nlmsghdr *nlh;
	struct net_event e;
	unsigned type;

	(void)state;
	for (type = 0; type < 16; type++) {
		nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
		rtm_of(nlh)->rtm_type = (unsigned char)type;
		e = decode(nlh);
		assert_int_equal(e.type, NET_EVENT_LOCAL);
		assert_int_equal(e.local.excluded, type != RTN_LOCAL);
		assert_true(e.routing);
	}
	/* Not for everybody. */
	nlh = new_route(RTM_NEWROUTE, AF_INET6, "2001:db8::1", 128);
	rtm_of(nlh)->rtm_src_len = 64;
	assert_true(decode(nlh).local.excluded);
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	rtm_of(nlh)->rtm_tos = 0x10;
	assert_true(decode(nlh).local.excluded);
	/* Each link's multicast, of whatever type this kernel calls it. */
	nlh = new_route(RTM_NEWROUTE, AF_INET6, "ff00::", 8);
	rtm_of(nlh)->rtm_type = RTN_MULTICAST;
	assert_none(nlh);
	rtm_of(nlh)->rtm_type = RTN_UNICAST;
	assert_none(nlh);
	nlh->nlmsg_type = RTM_DELROUTE;
	assert_none(nlh);
	nlh = new_route(RTM_NEWROUTE, AF_INET6, "fe00::", 7);
	rtm_of(nlh)->rtm_type = RTN_UNICAST;
	assert_true(decode(nlh).local.excluded);
}

static void test_local_or_not(void **state)
{
	struct nlmsghdr *nlh;

	(void)state;
	/* RTA_TABLE has the last word, in both directions. */
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	mnl_attr_put_u32(nlh, RTA_TABLE, 100);
	assert_none(nlh);
	mnl_attr_put_u32(nlh, RTA_TABLE, 0x1ff);
	assert_none(nlh);
	mnl_attr_put_u32(nlh, RTA_TABLE, RT_TABLE_LOCAL);
	rtm_of(nlh)->rtm_table = RT_TABLE_MAIN;
	assert_int_equal(decode(nlh).type, NET_EVENT_LOCAL);
	nlh = new_route(RTM_DELROUTE, AF_INET6, "2001:db8::1", 128);
	mnl_attr_put_u32(nlh, RTA_TABLE, RT_TABLE_MAIN);
	assert_none(nlh);
	/* In the main one of IPv4 it may be a hole, whatever its type. */
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	mnl_attr_put_u32(nlh, RTA_TABLE, RT_TABLE_MAIN);
	assert_int_equal(decode(nlh).type, NET_EVENT_MAIN);
	assert_true(decode(nlh).local.excluded);
	nlh->nlmsg_type = RTM_DELROUTE;
	assert_int_equal(decode(nlh).type, NET_EVENT_MAIN_GONE);

	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	rtm_of(nlh)->rtm_flags |= RTM_F_CLONED;
	assert_none(nlh);
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	rtm_of(nlh)->rtm_family = AF_UNIX;
	assert_none(nlh);
	/* A destination of the other family's size. */
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	rtm_of(nlh)->rtm_family = AF_INET6;
	assert_none(nlh);
	nlh = new_route(RTM_NEWROUTE, AF_INET6, "2001:db8::1", 32);
	rtm_of(nlh)->rtm_family = AF_INET;
	assert_routing_only(nlh);
	nlh = new_route(RTM_NEWADDR, AF_INET, "192.0.2.1", 32);
	assert_none(nlh);
}

static void test_doubt(void **state)
{
	struct nlmsghdr *nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.0", 32);

	(void)state;
	nlh->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND;
	assert_false(decode(nlh).doubt);
	nlh->nlmsg_flags = NLM_F_REPLACE;
	assert_true(decode(nlh).doubt);
	assert_int_equal(decode(nlh).type, NET_EVENT_LOCAL);
	/* Replaced by something else: what is gone may have been local. */
	rtm_of(nlh)->rtm_type = RTN_BLACKHOLE;
	assert_true(decode(nlh).doubt);
	/* A new prefix may have holes; but what is one has none. */
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.0", 31);
	assert_true(decode(nlh).doubt);
	rtm_of(nlh)->rtm_type = RTN_BLACKHOLE;
	assert_false(decode(nlh).doubt);
	/* In other tables none of our business. */
	nlh = new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	nlh->nlmsg_flags = NLM_F_REPLACE;
	mnl_attr_put_u32(nlh, RTA_TABLE, 100);
	assert_false(decode(nlh).doubt);
	/* There may have been two that differ in what a row does not tell. */
	nlh = new_route(RTM_DELROUTE, AF_INET, "192.0.2.255", 32);
	rtm_of(nlh)->rtm_type = RTN_BROADCAST;
	assert_int_equal(decode(nlh).type, NET_EVENT_LOCAL_GONE);
	assert_true(decode(nlh).doubt);

	nlh = new_route(RTM_DELNEXTHOP, AF_INET, NULL, 0);
	assert_true(decode(nlh).doubt);
	nlh->nlmsg_type = RTM_NEWNEXTHOP;
	assert_false(decode(nlh).doubt);
	assert_true(decode(nlh).routing);
	nlh->nlmsg_flags = NLM_F_REPLACE;
	assert_true(decode(nlh).doubt);
	assert_int_equal(decode(nlh).type, NET_EVENT_NONE);
}

/* ---------------------------------------------------------------- rules */

static struct nlmsghdr *new_rule(uint16_t type, uint8_t family, uint32_t table)
{
	struct fib_rule_hdr *hdr;
	struct nlmsghdr *nlh;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	hdr = mnl_nlmsg_put_extra_header(nlh, sizeof(*hdr));
	hdr->family = family;
	hdr->table = table < 256 ? (uint8_t)table : RT_TABLE_COMPAT;
	hdr->action = FR_ACT_TO_TBL;
	mnl_attr_put_u32(nlh, FRA_TABLE, table);
	mnl_attr_put_u32(nlh, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
	mnl_attr_put_u32(nlh, FRA_PRIORITY, 32766);
	mnl_attr_put_u8(nlh, FRA_PROTOCOL, RTPROT_KERNEL);
	return nlh;
}

static struct fib_rule_hdr *rule_of(struct nlmsghdr *nlh)
{
	return mnl_nlmsg_get_payload(nlh);
}

static void test_rule(void **state)
{
	struct net_event e = decode(new_rule(RTM_NEWRULE, AF_INET6, 1000));
	struct nlmsghdr *nlh;

	(void)state;
	assert_int_equal(e.type, NET_EVENT_RULE);
	assert_true(e.doubt && e.routing && e.rule.plain);
	assert_int_equal(e.rule.family, AF_INET6);
	assert_int_equal(e.rule.table, 1000);
	nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
	rule_of(nlh)->flags = FIB_RULE_PERMANENT;
	mnl_attr_put_u32(nlh, FRA_SUPPRESS_IFGROUP, UINT32_MAX);
	e = decode(nlh);
	assert_true(e.rule.plain);
	assert_int_equal(e.rule.table, RT_TABLE_LOCAL);
	e = decode(new_rule(RTM_DELRULE, AF_INET, RT_TABLE_LOCAL));
	assert_int_equal(e.type, NET_EVENT_NONE);
	assert_true(e.doubt && e.routing);
	assert_none(new_rule(RTM_NEWRULE, RTNL_FAMILY_IPMR, RT_TABLE_LOCAL));
	assert_none(new_rule(RTM_DELRULE, RTNL_FAMILY_IP6MR, RT_TABLE_LOCAL));
}

static void test_rule_not_plain(void **state)
{
	struct nlmsghdr *nlh;
	uint16_t type;
	uint8_t action;

	(void)state;
	/* Every attribute there is and will be, but those that choose nothing. */
	for (type = 1; type < 64; type++) {
		if (type == FRA_TABLE || type == FRA_PRIORITY || type == FRA_PROTOCOL ||
		    type == FRA_PAD)
			continue;
		nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
		mnl_attr_put_u32(nlh, type, 0);
		assert_int_equal(decode(nlh).type, NET_EVENT_RULE);
		assert_false(decode(nlh).rule.plain);
	}
	for (action = 0; action < FR_ACT_MAX + 1; action++) {
		nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
		rule_of(nlh)->action = action;
		assert_int_equal(decode(nlh).rule.plain, action == FR_ACT_TO_TBL);
	}
	nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
	rule_of(nlh)->flags = FIB_RULE_INVERT;
	assert_false(decode(nlh).rule.plain);
	nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
	rule_of(nlh)->tos = 0x10;
	assert_false(decode(nlh).rule.plain);
	nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
	rule_of(nlh)->src_len = 1;
	assert_false(decode(nlh).rule.plain);
	nlh = new_rule(RTM_NEWRULE, AF_INET, RT_TABLE_LOCAL);
	rule_of(nlh)->dst_len = 1;
	assert_false(decode(nlh).rule.plain);
}

/* ---------------------------------------------------------------- settings */

static struct nlmsghdr *new_conf(uint16_t type, uint8_t family, int ifindex, int filter)
{
	struct netconfmsg *msg;
	struct nlmsghdr *nlh;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = type;
	msg = mnl_nlmsg_put_extra_header(nlh, sizeof(*msg));
	msg->ncm_family = family;
	mnl_attr_put_u32(nlh, NETCONFA_IFINDEX, (uint32_t)ifindex);
	if (filter >= 0)
		mnl_attr_put_u32(nlh, NETCONFA_RP_FILTER, (uint32_t)filter);
	return nlh;
}

static void test_conf(void **state)
{
	struct net_event e = decode(new_conf(RTM_NEWNETCONF, AF_INET, 7, 2));

	(void)state;
	assert_int_equal(e.type, NET_EVENT_CONF);
	assert_int_equal(e.conf.ifindex, 7);
	assert_int_equal(e.conf.rp_filter, 2);
	assert_true(e.routing);
	assert_false(e.doubt);
	e = decode(new_conf(RTM_NEWNETCONF, AF_INET, NETCONFA_IFINDEX_ALL, 1));
	assert_int_equal(e.type, NET_EVENT_CONF);
	assert_int_equal(e.conf.ifindex, NET_CONF_ALL);
	e = decode(new_conf(RTM_DELNETCONF, AF_INET, 7, -1));
	assert_int_equal(e.type, NET_EVENT_CONF_GONE);
	assert_int_equal(e.conf.ifindex, 7);
	/* That of interfaces which nobody has set changes with it, silently. */
	e = decode(new_conf(RTM_NEWNETCONF, AF_INET, NETCONFA_IFINDEX_DEFAULT, 1));
	assert_int_equal(e.type, NET_EVENT_NONE);
	assert_true(e.doubt && e.routing);
	/* News of another setting, which may be one that the filter goes by too. */
	assert_routing_only(new_conf(RTM_NEWNETCONF, AF_INET, 7, -1));
	/* Of another family; of no interface. */
	assert_none(new_conf(RTM_NEWNETCONF, AF_INET6, 7, 1));
	assert_routing_only(new_conf(RTM_NEWNETCONF, AF_INET, 0, 1));
}

/* ---------------------------------------------------------------- hostile messages */

static struct nlmsghdr *sample(unsigned i)
{
	switch (i) {
	case 0:
		return full_link(RTM_NEWLINK);
	case 1:
		return full_link(RTM_DELLINK);
	case 2:
		return new_route(RTM_NEWROUTE, AF_INET, "192.0.2.1", 32);
	case 3:
		return new_route(RTM_DELROUTE, AF_INET6, "2001:db8::1", 128);
	case 4:
		return new_rule(RTM_NEWRULE, AF_INET, 1000);
	case 5:
		return new_conf(RTM_NEWNETCONF, AF_INET, 7, 1);
	case 6:
		return new_conf(RTM_DELNETCONF, AF_INET, 7, 1);
	default:
		return NULL;
	}
}

/* Decodes a copy on the heap, of exact size: one byte too far and AddressSanitizer, or valgrind,
 * will tell. Also looks that what comes out can be what it says. */
static struct net_event decode_exact(const void *data, size_t room)
{
	struct nlmsghdr *copy = malloc(room ? room : 1);
	struct net_event e;

	memcpy(copy, data, room);
	memset(&e, 0xee, sizeof(e));
	net_event_decode(&e, copy, room);
	free(copy);
	switch (e.type) {
	case NET_EVENT_LINK:
		assert_true(e.link.name[0]);
		/* fall through */
	case NET_EVENT_LINK_GONE:
		assert_true(e.link.ifindex > 0 && e.link.ifindex <= INT32_MAX);
		assert_non_null(memchr(e.link.name, 0, sizeof(e.link.name)));
		assert_non_null(memchr(e.link.kind, 0, sizeof(e.link.kind)));
		break;
	case NET_EVENT_MAIN:
	case NET_EVENT_MAIN_GONE:
	case NET_EVENT_LOCAL:
	case NET_EVENT_LOCAL_GONE:
		assert_true(e.local.family == AF_INET ? e.local.prefix_len <= 32
						      : e.local.prefix_len <= 128);
		break;
	case NET_EVENT_RULE:
		assert_true(e.rule.family == AF_INET || e.rule.family == AF_INET6);
		break;
	case NET_EVENT_CONF:
	case NET_EVENT_CONF_GONE:
		assert_int_not_equal(e.conf.ifindex, 0);
		break;
	case NET_EVENT_NONE:
		break;
	default:
		fail();
	}
	return e;
}

/* Cut anywhere: with the length as it was it is NONE; with the length cut too, and with the
 * attributes' lengths lying, nothing is read that is not there. */
static void test_truncation(void **state)
{
	struct nlmsghdr *nlh;
	struct net_event e;
	uint32_t len, cut;
	unsigned i;

	(void)state;
	for (i = 0; (nlh = sample(i)); i++) {
		len = nlh->nlmsg_len;
		assert_int_not_equal(decode_exact(nlh, len).type, NET_EVENT_NONE);
		assert_int_not_equal(decode_exact(nlh, len + 8).type, NET_EVENT_NONE);
		for (cut = 0; cut < len; cut++) {
			nlh->nlmsg_len = len;
			e = decode_exact(nlh, cut);
			assert_int_equal(e.type, NET_EVENT_NONE);
			nlh->nlmsg_len = cut;
			decode_exact(nlh, cut);
			/* More room than message: the rest is another message's. */
			e = decode_exact(nlh, len);
			if (cut < sizeof(*nlh))
				assert_int_equal(e.type, NET_EVENT_NONE);
		}
		nlh->nlmsg_len = UINT32_MAX;
		assert_int_equal(decode_exact(nlh, len).type, NET_EVENT_NONE);
		nlh->nlmsg_len = UINT32_MAX - 2;
		assert_int_equal(decode_exact(nlh, len).type, NET_EVENT_NONE);
	}
}

/* What stands behind nlmsg_len is not part of the message. */
static void test_stops_at_length(void **state)
{
	struct nlmsghdr *nlh = full_link(RTM_NEWLINK);
	uint32_t len = nlh->nlmsg_len;
	struct net_event e;

	(void)state;
	nlh->nlmsg_len = len - 8; /* IFLA_LINK stays in the buffer */
	memset(&e, 0xee, sizeof(e));
	net_event_decode(&e, nlh, len);
	assert_int_equal(e.type, NET_EVENT_LINK);
	assert_int_equal(e.link.lower, 0);
	nlh->nlmsg_len = len - 1; /* not all of IFLA_LINK */
	net_event_decode(&e, nlh, len);
	assert_int_equal(e.link.lower, 0);
}

/* The same for an attribute within a nest: the nest ends where it says. */
static void test_stops_at_nest(void **state)
{
	struct nlmsghdr *nlh = new_link(RTM_NEWLINK, AF_UNSPEC);
	struct nlattr *nest;

	(void)state;
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "x");
	nest = mnl_attr_nest_start(nlh, IFLA_XDP);
	mnl_attr_put_u32(nlh, IFLA_XDP_PROG_ID, 99);
	mnl_attr_nest_end(nlh, nest);
	assert_int_equal(decode(nlh).link.xdp_program, 99);
	nest->nla_len = (uint16_t)(nest->nla_len - 1);
	assert_int_equal(decode(nlh).link.xdp_program, 0);
}

static void test_lying_attributes(void **state)
{
	static const uint16_t lies[] = { 0, 1, 3, 4, 5, 7, 9, 0x7fff, 0x8000, 0xffff };
	struct nlmsghdr *nlh;
	uint32_t at;
	unsigned i, k;

	(void)state;
	for (i = 0; (nlh = sample(i)); i++) {
		for (at = sizeof(*nlh); at + 2 <= nlh->nlmsg_len; at += 2) {
			for (k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
				nlh = sample(i);
				memcpy((char *)nlh + at, &lies[k], 2);
				decode_exact(nlh, nlh->nlmsg_len);
			}
		}
	}
}

static void test_random_mutations(void **state)
{
	struct nlmsghdr *nlh;
	unsigned round, n;
	uint32_t len;

	(void)state;
	random_state = 4;
	for (round = 0; round < 100000; round++) {
		nlh = sample(random32() % 7);
		len = nlh->nlmsg_len;
		for (n = random32() % 8; n > 0; n--)
			((char *)nlh)[random32() % len] = (char)random32();
		decode_exact(nlh, random32() % 4 ? len : random32() % len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_link_bare),
		cmocka_unit_test(test_link_of_other_families),
		cmocka_unit_test(test_link_oddities),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_local_prefix),
		cmocka_unit_test(test_link_info),
		cmocka_unit_test(test_excluded),
		cmocka_unit_test(test_local_or_not),
		cmocka_unit_test(test_doubt),
		cmocka_unit_test(test_rule),
		cmocka_unit_test(test_rule_not_plain),
		cmocka_unit_test(test_conf),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_stops_at_length),
		cmocka_unit_test(test_stops_at_nest),
		cmocka_unit_test(test_lying_attributes),
		cmocka_unit_test(test_random_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
