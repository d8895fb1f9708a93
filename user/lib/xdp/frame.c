/* SPDX-License-Identifier: MIT */
#include "xdp/frame.h"

#include <string.h>

#include "shared/wire.h"

/* Two words at a time, where the machine can; elsewhere the compiler takes one after the other. */
typedef uint64_t lanes __attribute__((vector_size(16)));

uint16_t frame_sum(const void *bytes, size_t len, uint64_t start)
{
	uint64_t sum = (start & 0xffffffff) + (start >> 32);
	lanes all = { 0 }, high = { 0 };
	const uint8_t *p = bytes;
	uint16_t pair;

	/* No carry to chase: `all` may wrap, as the upper halves, summed apart, cannot. */
	for (; len >= 32; len -= 32, p += 32) {
		lanes w[2];

		memcpy(w, p, sizeof(w));
		all += w[0] + w[1];
		high += (w[0] >> 32) + (w[1] >> 32);
	}
	all += high - (high << 32); /* the sum of the lower halves is all - (high << 32), exactly */
	sum += all[0] + all[1];
	for (; len >= 4; len -= 4, p += 4) {
		uint32_t w;

		memcpy(&w, p, sizeof(w));
		sum += w;
	}
	/* Not memcpy of `len` bytes: that is a call, dearer than all the rest of a small sum. */
	if (len > 1) {
		memcpy(&pair, p, sizeof(pair));
		sum += pair;
	}
	if (len & 1) {
		memcpy(&pair, (const uint8_t[2]){ p[len - 1] }, sizeof(pair));
		sum += pair; /* padded with zero, its place the same in either byte order */
	}
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
