/* SPDX-License-Identifier: MIT */
/*
 * Netlink message -> event. Pure: bytes in, struct out, no fd. What is not understood or malformed
 * is NET_EVENT_NONE, never an error: the kernel may say new things.
 */
#ifndef NET_EVENT_H
#define NET_EVENT_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace.h"

/* One interface as RTM_NEWLINK tells it; attributes it does not tell are zero. */
struct net_link {
	uint32_t ifindex;
	uint32_t master; /* IFLA_MASTER: bridge, bond, VRF … above it; 0: none */
	uint32_t lower;	 /* IFLA_LINK when it differs from ifindex: device below (VLAN,
			    macvlan) or the veth peer; 0: none, or in another namespace,
			    where that index would name another device */
	uint32_t flags;	 /* IFF_… */
	uint32_t mtu;
	uint32_t rx_queues;   /* IFLA_NUM_RX_QUEUES: allocated, not all need be in use */
	uint32_t xdp_program; /* IFLA_XDP_PROG_ID; 0: none */
	uint16_t type;	      /* ARPHRD_… */
	uint8_t xdp_attached; /* XDP_ATTACHED_NONE, _DRV, _SKB, _HW, _MULTI */
	bool has_mac;	      /* IFLA_ADDRESS of six bytes was there */
	uint8_t mac[6];
	char name[16];
	char kind[16];	       /* IFLA_INFO_KIND: "veth", "bridge", …; "" for hardware */
	uint32_t macvlan_mode; /* MACVLAN_MODE_… of kinds macvlan and macvtap, else 0 */
	bool vnet_hdr;	       /* of kind tun: frames come and go with a virtio header */
};

/*
 * One row of the kernel's `local` routing table: addresses that are this host's or, when
 * `excluded`, addresses within such a prefix that are not, or not for everybody: of another type
 * than RTN_LOCAL (broadcast, anycast, blackhole …), or holding only for some sources or some TOS.
 */
struct net_local {
	uint8_t family;	    /* AF_INET, AF_INET6 */
	uint8_t prefix_len; /* 32 or 128 but for AnyIP prefixes and 127.0.0.0/8 */
	bool excluded;
	uint32_t ifindex; /* the device of the route; 0: none */
	union mr_address address;
};

/* One policy rule, as far as it matters: whether it is `lookup table` for all packets alike. */
struct net_rule {
	uint8_t family;
	bool plain;
	uint32_t table;
};

#define NET_CONF_ALL UINT32_MAX /* NETCONFA_IFINDEX_ALL */

/* IPv4 settings of one interface. */
struct net_conf {
	uint32_t ifindex; /* or NET_CONF_ALL */
	uint32_t rp_filter;
};

enum net_event_type {
	NET_EVENT_NONE,
	NET_EVENT_LINK, /* new or changed */
	NET_EVENT_LINK_GONE,
	NET_EVENT_LOCAL, /* route in RT_TABLE_LOCAL, new */
	NET_EVENT_LOCAL_GONE,
	/*
	 * Route in RT_TABLE_MAIN, IPv4, as an excluded row: within a local prefix that is shorter
	 * it makes a hole, as the kernel keeps both tables in one until there are other rules
	 * (fib_unmerge). Elsewhere it says nothing, nor does its `doubt`.
	 */
	NET_EVENT_MAIN,
	NET_EVENT_MAIN_GONE,
	NET_EVENT_RULE, /* counts in dumps only, which go by preference */
	NET_EVENT_CONF,
	NET_EVENT_CONF_GONE,
};

struct net_event {
	enum net_event_type type;
	/*
	 * With this the kernel may have removed local routes of which it does not tell (see
	 * watch.c): what is known must be compared with a new dump. Of any type, even NONE.
	 */
	bool doubt;
	/* Packets may go, or be judged, another way than before this. Of any type, too. */
	bool routing;
	union {
		struct net_link link;
		struct net_local local;
		struct net_rule rule;
		struct net_conf conf;
	};
};

/*
 * Decodes the one message at nlh, of which `room` bytes may be read (so a lying nlmsg_len is
 * caught). Link messages of families other than AF_UNSPEC are NONE: AF_BRIDGE ones tell of ports
 * (a port that leaves its bridge is an RTM_DELLINK), not of links. So are the IPv6 multicast routes
 * that each link has: no prefix of addresses that are somebody's own contains them.
 */
void net_event_decode(struct net_event *event, const struct nlmsghdr *nlh, size_t room);

#endif
