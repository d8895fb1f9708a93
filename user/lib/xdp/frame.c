/* SPDX-License-Identifier: MIT */
#include "xdp/frame.h"

#include <string.h>

#include "shared/wire.h"

uint16_t frame_sum(const void *bytes, size_t len, uint64_t start)
{
	const uint8_t *p = bytes;
	uint64_t sum = start, low = 0, high = 0;

	/* Two halves of each word into two sums: no carry to chase for 2^32 words. */
	for (; len >= 32; len -= 32, p += 32) {
		uint64_t w[4];

		memcpy(w, p, sizeof(w));
		low += (w[0] & 0xffffffff) + (w[1] & 0xffffffff) + (w[2] & 0xffffffff) +
		       (w[3] & 0xffffffff);
		high += (w[0] >> 32) + (w[1] >> 32) + (w[2] >> 32) + (w[3] >> 32);
	}
	for (; len >= 4; len -= 4, p += 4) {
		uint32_t w;

		memcpy(&w, p, sizeof(w));
		low += w;
	}
	if (len) {
		uint32_t w = 0;

		memcpy(&w, p, len); /* the rest, padded with zeros, at its place in either order */
		high += w;
	}
	/* Each of the three is below 2^48: the additions cannot overflow. */
	sum += low + high;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 768, RFC 8200 §8.1: addresses, protocol and length. */
static uint64_t pseudo_sum(const void *addresses, size_t len, uint32_t udp_len)
{
	uint64_t start = (uint64_t)WIRE_16(WIRE_PROTO_UDP) + WIRE_16(udp_len);

	return frame_sum(addresses, len, start);
}

static void describe4(struct mr_endpoint *e, const struct wire_ip4 *ip)
{
	e->family = AF_INET;
	e->scope = 0;
	memset(&e->remote, 0, sizeof(e->remote));
	memset(&e->local, 0, sizeof(e->local));
	e->remote.v4.s_addr = ip->from;
	e->local.v4.s_addr = ip->to;
}

static void describe6(struct mr_endpoint *e, const struct wire_ip6 *ip, uint32_t ifindex)
{
	e->family = AF_INET6;
	memcpy(&e->remote, ip->from, sizeof(e->remote));
	memcpy(&e->local, ip->to, sizeof(e->local));
	/* As ipv6_iface_scope_id: only a link-local remote has one. */
	e->scope = IN6_IS_ADDR_LINKLOCAL(&e->remote.v6) ? ifindex : 0;
}

static enum reason sum_class(const struct wire_udp *udp, uint32_t udp_len, uint64_t pseudo,
			     const struct frame_origin *origin)
{
	if (udp->sum == 0)
		return REASON_XDP_SUM_NONE;
	/*
	 * Asked first, as it spares reading the payload. A finished sum that happens to look like
	 * this would be accepted by either order.
	 */
	if (origin->local_senders && udp->sum == pseudo)
		return REASON_XDP_SUM_PARTIAL;
	return frame_sum(udp, udp_len, pseudo) == 0xffff ? REASON_XDP_DELIVERED
							 : REASON_XDP_BAD_SUM;
}

enum reason frame_decode(struct mr_datagram *d, void *frame, uint32_t len,
			 const struct frame_origin *origin)
{
	struct mr_endpoint *e = &d->endpoint;
	const struct wire_udp *udp;
	struct wire_packet p;
	uint64_t pseudo;

	if (wire_parse(frame, (uint8_t *)frame + len, len, &p) != REASON_STEERED)
		return REASON_XDP_MALFORMED;
	udp = wire_udp(frame, p.version);
	if (p.version == 4) {
		const struct wire_ip4 *ip = wire_ip4(frame);

		describe4(e, ip);
		d->tos = ip->tos;
		pseudo = pseudo_sum(&ip->from, 8, p.udp_len);
	} else {
		const struct wire_ip6 *ip = wire_ip6(frame);

		describe6(e, ip, origin->ifindex);
		d->tos = (uint8_t)(WIRE_32(ip->version_class_flow) >> 20);
		pseudo = pseudo_sum(ip->from, 32, p.udp_len);
	}
	e->port_be = udp->from;
	e->flowinfo_be = 0;
	e->ifindex = origin->ifindex;
	d->data = (void *)((uintptr_t)(udp + 1));
	d->len = p.udp_len - WIRE_UDP_LEN;
	d->local_port = WIRE_16(udp->to);
	d->path = MR_PATH_XDP;
	d->error = 0;
	d->reserved = 0;
	return sum_class(udp, p.udp_len, pseudo, origin);
}
