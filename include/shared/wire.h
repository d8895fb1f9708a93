/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The parser: bytes of an Ethernet frame -> verdict and lengths. There is no second one; the
 * steering program, the fast path, the tests and the fuzzer all compile this.
 *
 * It accepts just two layouts, both of fixed size, and hands everything else to the kernel:
 *
 *	Ethernet 14 | IPv4 20 | UDP 8 | payload | padding
 *	Ethernet 14 | IPv6 40 | UDP 8 | payload | padding
 *
 * The verdict is REASON_STEERED for a well-formed datagram, else the REASON_PASS_… that says why
 * the kernel has to look at it. Whether the datagram is *ours* (port, address, MAC) is not asked
 * here. Each check follows the kernel's receive path: ip_rcv_core, ip_route_input_slow and
 * __udp4_lib_rcv; ip6_rcv_core and __udp6_lib_rcv.
 */
#ifndef MILLRACE_SHARED_WIRE_H
#define MILLRACE_SHARED_WIRE_H

#include <linux/types.h>

#include "reason.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define WIRE_16(x) ((__be16)__builtin_bswap16((__u16)(x)))
#define WIRE_32(x) ((__be32)__builtin_bswap32((__u32)(x)))
#else
#define WIRE_16(x) ((__be16)(x))
#define WIRE_32(x) ((__be32)(x))
#endif

/*
 * A frame begins at an even address, so IP headers are only 2-aligned on the host. The BPF
 * verifier accounts for NET_IP_ALIGN itself; promising 4 there keeps loads whole.
 */
#ifdef __bpf__
#define WIRE_HEADER __attribute__((packed, aligned(4)))
#else
#define WIRE_HEADER __attribute__((packed, aligned(2)))
#endif

#define WIRE_ETH_LEN	   14u
#define WIRE_IP4_LEN	   20u
#define WIRE_IP6_LEN	   40u
#define WIRE_UDP_LEN	   8u
#define WIRE_ETHERTYPE_IP4 0x0800
#define WIRE_ETHERTYPE_IP6 0x86dd
#define WIRE_PROTO_UDP	   17

struct wire_eth {
	__u8 to[6];
	__u8 from[6];
	__be16 type;
} __attribute__((packed, aligned(2)));

struct wire_ip4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_len;
	__be16 id;
	__be16 frag; /* flags and offset */
	__u8 ttl;
	__u8 protocol;
	__be16 sum;
	__be32 from;
	__be32 to;
} WIRE_HEADER;

struct wire_ip6 {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 next_header;
	__u8 hop_limit;
	__be32 from[4];
	__be32 to[4];
} WIRE_HEADER;

struct wire_udp {
	__be16 from;
	__be16 to;
	__be16 len; /* header included */
	__be16 sum;
} __attribute__((packed, aligned(2)));

/* A well-formed datagram; the headers are found with wire_ip4, wire_ip6 and wire_udp. */
struct wire_packet {
	__u32 version; /* 4 or 6 */
	__u32 udp_len; /* UDP header and payload */
};

static inline const struct wire_ip4 *wire_ip4(const void *frame)
{
	return (const void *)((const char *)frame + WIRE_ETH_LEN);
}

static inline const struct wire_ip6 *wire_ip6(const void *frame)
{
	return (const void *)((const char *)frame + WIRE_ETH_LEN);
}

static inline const struct wire_udp *wire_udp(const void *frame, __u32 version)
{
	__u32 ip_len = version == 4 ? WIRE_IP4_LEN : WIRE_IP6_LEN;

	return (const void *)((const char *)frame + WIRE_ETH_LEN + ip_len);
}

/* Ones' complement sum of the IPv4 header; 0xffff when its checksum is right. */
static inline __u32 wire_ip4_sum(const struct wire_ip4 *ip)
{
	const __be16 *half = (const void *)ip;
	__u32 sum = 0;

#pragma GCC unroll 10
	for (unsigned i = 0; i < WIRE_IP4_LEN / 2; i++)
		sum += half[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* Sources that ip_route_input_slow calls martian whatever the routes say. */
static inline int wire_ip4_source_odd(__be32 from)
{
	__u32 host = WIRE_32(from);
	__u32 net = host >> 24;

	return net == 0 || net == 127 || net >= 240 || (net & 0xf0) == 224;
}

/* Unspecified, loopback, IPv4-mapped or -compatible (::/80 and ::ffff:0:0/96), multicast. */
static inline int wire_ip6_source_odd(const struct wire_ip6 *ip)
{
	if (ip->from[0] == 0 && ip->from[1] == 0 &&
	    (ip->from[2] == 0 || ip->from[2] == WIRE_32(0xffff)))
		return 1;
	return (WIRE_32(ip->from[0]) >> 24) == 0xff;
}

static inline enum reason wire_parse_udp(const struct wire_udp *udp, const void *end, __u32 l4_len)
{
	if ((const void *)(udp + 1) > end)
		return REASON_PASS_SHORT;
	if (WIRE_16(udp->len) != l4_len)
		return REASON_PASS_UDP_LENGTH;
	return REASON_STEERED;
}

static inline enum reason wire_parse_ip4(const void *frame, const void *end, __u32 l3_len,
					 struct wire_packet *p)
{
	const struct wire_ip4 *ip = wire_ip4(frame);
	__u32 total;

	if ((const void *)(ip + 1) > end)
		return REASON_PASS_SHORT;
	if ((ip->version_ihl & 0xf0) != 0x40)
		return REASON_PASS_VERSION;
	if (ip->version_ihl != 0x45)
		return REASON_PASS_OPTIONS;
	if (ip->protocol != WIRE_PROTO_UDP)
		return REASON_PASS_PROTOCOL;
	if (ip->frag & WIRE_16(0x3fff)) /* more fragments, or an offset */
		return REASON_PASS_FRAGMENT;
	total = WIRE_16(ip->total_len);
	if (total < WIRE_IP4_LEN + WIRE_UDP_LEN || total > l3_len)
		return REASON_PASS_IP_LENGTH;
	if (wire_ip4_sum(ip) != 0xffff)
		return REASON_PASS_IP_SUM;
	if (wire_ip4_source_odd(ip->from))
		return REASON_PASS_SOURCE;
	p->version = 4;
	p->udp_len = total - WIRE_IP4_LEN;
	return wire_parse_udp(wire_udp(frame, 4), end, p->udp_len);
}

static inline enum reason wire_parse_ip6(const void *frame, const void *end, __u32 l3_len,
					 struct wire_packet *p)
{
	const struct wire_ip6 *ip = wire_ip6(frame);
	enum reason verdict;
	__u32 payload;

	if ((const void *)(ip + 1) > end)
		return REASON_PASS_SHORT;
	if ((*(const __u8 *)ip & 0xf0) != 0x60)
		return REASON_PASS_VERSION;
	if (ip->next_header != WIRE_PROTO_UDP)
		return REASON_PASS_PROTOCOL;
	payload = WIRE_16(ip->payload_len);
	if (payload < WIRE_UDP_LEN || payload > l3_len - WIRE_IP6_LEN)
		return REASON_PASS_IP_LENGTH;
	if (wire_ip6_source_odd(ip))
		return REASON_PASS_SOURCE;
	p->version = 6;
	p->udp_len = payload;
	verdict = wire_parse_udp(wire_udp(frame, 6), end, payload);
	if (verdict == REASON_STEERED && wire_udp(frame, 6)->sum == 0)
		return REASON_PASS_UDP_NO_SUM;
	return verdict;
}

/*
 * Parses a frame of `len` bytes, of which those before `end` can be read: all of them, or of a
 * frame in several buffers the first one's. *p is complete only when REASON_STEERED comes back.
 */
static inline enum reason wire_parse(const void *frame, const void *end, __u32 len,
				     struct wire_packet *p)
{
	const struct wire_eth *eth = frame;
	__u32 l3_len = len - WIRE_ETH_LEN;

	if ((const void *)(eth + 1) > end)
		return REASON_PASS_SHORT;
	if (eth->type == WIRE_16(WIRE_ETHERTYPE_IP4))
		return wire_parse_ip4(frame, end, l3_len, p);
	if (eth->type == WIRE_16(WIRE_ETHERTYPE_IP6))
		return wire_parse_ip6(frame, end, l3_len, p);
	return REASON_PASS_ETHERTYPE;
}

#endif
