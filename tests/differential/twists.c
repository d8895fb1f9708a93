/* SPDX-License-Identifier: MIT */
/* The ways in which a frame can be out of the ordinary, each by itself. */
#include "differential.h"

#include <stddef.h>

#include "../support/frames.h"

static uint8_t *ip_of(struct shot *s)
{
	return s->bytes + s->l3;
}

static uint8_t *udp_of(struct shot *s)
{
	return s->bytes + s->l4;
}

static uint8_t some_byte(struct gen *g)
{
	return (uint8_t)gen_below(g, 256);
}

/* ---------------------------------------------------------------- Ethernet */

static void other_mac(struct gen *g, struct shot *s)
{
	static const uint8_t macs[][6] = {
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff },
		{ 0x01, 0, 0x5e, 0, 0, 1 },
		{ 0x33, 0x33, 0, 0, 0, 1 },
		{ 0x03, 0, 0, 0, 0, 0x10 },
		{ 0, 0, 0, 0, 0, 0 },
	};
	uint32_t choice = gen_below(g, 8);

	if (choice < 5)
		memcpy(s->bytes, macs[choice], 6);
	else if (choice == 5)
		memcpy(s->bytes, world_mac((g->device + 1) % DEVICES), 6);
	else
		s->bytes[gen_below(g, 6)] ^= (uint8_t)(1u << gen_below(g, 8));
}

static void other_ethertype(struct gen *g, struct shot *s)
{
	static const uint16_t types[] = { 0x0806, 0x0800, 0x86dd, 0x8864, 0x0004, 0x0200,
					  0x05ff, 0x0600, 0x88e5, 0x8847, 0xffff };

	frame_put16(s->bytes + 12, types[gen_below(g, sizeof(types) / sizeof(types[0]))]);
}

/* One or two tags in the frame, often the kind that has a priority only. */
static void vlan(struct gen *g, struct shot *s)
{
	for (unsigned n = gen_one_in(g, 4) ? 2 : 1; n; n--) {
		unsigned id = gen_one_in(g, 2) ? 0 : gen_one_in(g, 2) ? 5 : gen_below(g, 4096);

		if (shot_insert(s, 12, 4) < 4)
			return;
		frame_put16(s->bytes + 12, gen_one_in(g, 3) ? 0x88a8 : 0x8100);
		frame_put16(s->bytes + 14, gen_below(g, 16) << 12 | id);
		s->l3 += 4;
		s->l4 += 4;
	}
}

/* ---------------------------------------------------------------- IPv4 */

static void options4(struct gen *g, struct shot *s)
{
	static const uint8_t kinds[] = { 0, 1, 7, 68, 82, 86, 130, 131, 136, 137, 148 };
	uint32_t len = 4 * (1 + gen_below(g, 10)), at = s->l4;
	uint8_t *o = s->bytes + at;

	if (shot_insert(s, at, len) < len)
		return;
	s->l4 += len;
	ip_of(s)[0] = (uint8_t)(ip_of(s)[0] + len / 4);
	memset(o, gen_one_in(g, 4), len);
	if (gen_one_in(g, 2)) {
		o[0] = kinds[gen_below(g, sizeof(kinds))];
		o[1] = (uint8_t)(gen_one_in(g, 4) ? some_byte(g) : len);
		o[2] = gen_one_in(g, 4) ? some_byte(g) : 4;
	}
	shot_lengths(s);
}

/* Options that are a UDP header to whoever does not look, in a header whose sum is right either
 * way. */
static void disguise4(struct gen *g, struct shot *s)
{
	(void)g;
	frame_put16(udp_of(s), 0xffff - PORT);
	ip_of(s)[0] = 0x46;
	frame_put16(ip_of(s) + 10, 0);
	frame_put16(ip_of(s) + 10, ~frame_add(ip_of(s), 20, 0) & 0xffff);
	shot_sum_udp(s);
}

static void header_length4(struct gen *g, struct shot *s)
{
	ip_of(s)[0] = (uint8_t)(0x40 | gen_below(g, 16));
	shot_sum_ip(s);
}

static void total_length4(struct gen *g, struct shot *s)
{
	static const uint16_t lengths[] = { 0, 1, 19, 20, 21, 27, 28, 29, 0x7fff, 0xffff };
	uint32_t right = s->len - s->l3, choice = gen_below(g, 16), len;

	len = choice < 10   ? lengths[choice]
	      : choice < 13 ? right - 1 - gen_below(g, 8)
			    : right + 1 + gen_below(g, 8);
	frame_put16(ip_of(s) + 2, len & 0xffff);
	shot_sum_ip(s);
}

/* By itself: what the others would have been never comes. */
static void fragment4(struct gen *g, struct shot *s)
{
	frame_put16(ip_of(s) + 6,
		    gen_below(g, 8) << 13 | (gen_one_in(g, 2)	? 0
					     : gen_one_in(g, 2) ? 1
								: gen_below(g, 0x2000)));
	shot_sum_ip(s);
}

static void sum4(struct gen *g, struct shot *s)
{
	static const uint16_t sums[] = { 0, 0xffff, 1, 0x8000 };
	uint32_t choice = gen_below(g, 5);

	if (choice < 4) {
		frame_put16(ip_of(s) + 10, sums[choice]);
	} else { /* one whose sum is zero, written in its other form */
		frame_put16(ip_of(s) + 4, 0);
		shot_sum_ip(s);
		memcpy(ip_of(s) + 4, ip_of(s) + 10, 2);
		memset(ip_of(s) + 10, gen_one_in(g, 2) ? 0xff : 0, 2);
	}
}

static void version(struct gen *g, struct shot *s)
{
	ip_of(s)[0] = (uint8_t)((ip_of(s)[0] & 0xf) | gen_below(g, 16) << 4);
	shot_sum_ip(s);
}

/* ---------------------------------------------------------------- IPv6 */

static void payload_length6(struct gen *g, struct shot *s)
{
	static const uint16_t lengths[] = { 0, 1, 7, 8, 9, 0x7fff, 0xffff };
	uint32_t right = s->len - s->l3 - 40, choice = gen_below(g, 12), len;

	len = choice < 7    ? lengths[choice]
	      : choice < 10 ? right - 1 - gen_below(g, 8)
			    : right + 1 + gen_below(g, 8);
	frame_put16(ip_of(s) + 4, len & 0xffff);
}

/* Hop-by-hop, destination options, routing, fragment, … in a chain, in any order. */
static void extensions6(struct gen *g, struct shot *s)
{
	static const uint8_t kinds[] = { 0, 60, 43, 44, 51, 135, 59, 139, 140, 253 };
	uint8_t *previous = ip_of(s) + 6;

	for (unsigned n = 1 + gen_below(g, 3); n; n--) {
		uint8_t kind =
			kinds[gen_one_in(g, 3) ? gen_below(g, sizeof(kinds)) : gen_below(g, 4)];
		uint32_t len = kind == 44 ? 8 : 8 * (1 + gen_below(g, 3)), at = s->l4;
		uint8_t *header = s->bytes + at;

		if (shot_insert(s, at, len) < len)
			return;
		header[0] = *previous;
		*previous = kind;
		previous = header;
		s->l4 += len;
		if (kind == 44) { /* an atomic one, or a first fragment without others */
			header[3] = gen_one_in(g, 4);
			frame_put16(header + 6, g->serial & 0xffff);
			continue;
		}
		header[1] = (uint8_t)(len / 8 - 1);
		if (kind == 43) {
			header[2] = gen_one_in(g, 2) ? 0 : (uint8_t)gen_below(g, 5);
			header[3] = gen_one_in(g, 4);
		} else if (gen_one_in(g, 4)) {
			header[2] = some_byte(g); /* an option of any kind */
			header[3] = (uint8_t)(len - 4);
		} else {
			header[2] = 1; /* PadN */
			header[3] = (uint8_t)(len - 4);
		}
	}
	shot_lengths(s);
}

static void jumbo6(struct gen *g, struct shot *s)
{
	static const uint8_t option[] = { 17, 0, 0xc2, 4, 0, 0 };
	uint8_t *header = s->bytes + s->l3 + 40;

	if (shot_insert(s, s->l3 + 40, 8) < 8)
		return;
	s->l4 += 8;
	ip_of(s)[6] = 0;
	memcpy(header, option, sizeof(option));
	frame_put16(header + 6, gen_one_in(g, 2) ? s->len - s->l3 - 40 : gen_below(g, 65536));
	shot_lengths(s);
	frame_put16(ip_of(s) + 4, 0);
}

/* ---------------------------------------------------------------- either, and UDP */

static void protocol(struct gen *g, struct shot *s)
{
	static const uint8_t kinds[] = { 0, 1, 2, 4, 6, 41, 47, 50, 58, 132, 136, 255 };

	ip_of(s)[shot_version(s) == 6 ? 6 : 9] =
		gen_one_in(g, 4) ? some_byte(g) : kinds[gen_below(g, sizeof(kinds))];
	shot_sum_ip(s);
}

/* Often one that is only shorter than the packet, with a sum that fits it. */
static void udp_length(struct gen *g, struct shot *s)
{
	static const uint16_t lengths[] = { 0, 1, 7, 8, 9, 0x7fff, 0xffff };
	uint32_t right = s->len - s->l4, choice = gen_below(g, 14), len;

	len = choice < 7    ? lengths[choice]
	      : choice < 11 ? right - (right > 8 ? 1 + gen_below(g, right - 8) : 0)
			    : right + 1 + gen_below(g, 8);
	frame_put16(udp_of(s) + 4, len & 0xffff);
	if (!gen_one_in(g, 4))
		shot_sum_udp(s);
}

static void udp_sum(struct gen *g, struct shot *s)
{
	static const uint16_t sums[] = { 0, 0xffff, 1, 0x8000 };

	if (gen_one_in(g, 2))
		udp_of(s)[6 + gen_below(g, 2)] ^= (uint8_t)(1u << gen_below(g, 8));
	else
		frame_put16(udp_of(s) + 6, sums[gen_below(g, 4)]);
}

/* Spoils what the sum is over, not the sum. */
static void udp_payload(struct gen *g, struct shot *s)
{
	s->bytes[s->len - 1 - gen_below(g, s->len - s->l4)] ^= (uint8_t)(1u << gen_below(g, 8));
}

static void no_udp_sum(struct gen *g, struct shot *s)
{
	(void)g;
	frame_put16(udp_of(s) + 6, 0);
}

/* A payload whose sum comes out as zero, which is sent as 0xffff. */
static void udp_sum_ffff(struct gen *g, struct shot *s)
{
	uint8_t *payload = udp_of(s) + 8;

	if (s->len < s->l4 + 10)
		return;
	frame_put16(payload, 0);
	shot_sum_udp(s);
	memcpy(payload, udp_of(s) + 6, 2);
	if (gen_one_in(g, 4))
		frame_put16(udp_of(s) + 6, 0); /* the form that is not allowed: no sum */
	else
		shot_sum_udp(s);
}

/* As a local sender leaves it: of the pseudo-header only, the rest left to hardware. */
static void local_sender(struct gen *g, struct shot *s)
{
	uint32_t len = s->len - s->l4;
	const uint8_t *ip = ip_of(s);
	uint32_t sum = shot_version(s) == 6 ? frame_add(ip + 8, 32, 17 + len)
					    : frame_add(ip + 12, 8, 17 + len);

	frame_put16(udp_of(s) + 6, sum);
	s->partial = !gen_one_in(g, 16); /* else just one that looks so */
}

static void ports(struct gen *g, struct shot *s)
{
	static const uint16_t to[] = { 0,	 1,	 PORT - 1,
				       PORT + 1, 0xffff, PORT >> 8 | (PORT & 0xff) << 8 };

	frame_put16(udp_of(s) + 2, to[gen_below(g, sizeof(to) / sizeof(to[0]))]);
	shot_sum_udp(s);
}

/* Longer than the MTU, by what an interface lets in: the kernel delivers it. */
static void too_long(struct gen *g, struct shot *s)
{
	uint32_t len = g->mtu + 14 - 3 + gen_below(g, 10);

	if (s->len >= len || len > SHOT_ROOM)
		return;
	shot_insert(s, s->len, len - s->len);
	frame_put16(udp_of(s) + 4, s->len - s->l4);
	shot_lengths(s);
}

enum { ONLY4 = 1, ONLY6 = 2, BOTH = 3 };

struct twist {
	const char *name;
	unsigned families;
	void (*apply)(struct gen *g, struct shot *s);
};

static const struct twist twists[] = {
	{ "other MAC", BOTH, other_mac },
	{ "other ethertype", BOTH, other_ethertype },
	{ "VLAN tag", BOTH, vlan },
	{ "IPv4 options", ONLY4, options4 },
	{ "IPv4 options like UDP", ONLY4, disguise4 },
	{ "IPv4 header length", ONLY4, header_length4 },
	{ "IPv4 total length", ONLY4, total_length4 },
	{ "IPv4 fragment", ONLY4, fragment4 },
	{ "IPv4 sum", ONLY4, sum4 },
	{ "IP version", BOTH, version },
	{ "IPv6 payload length", ONLY6, payload_length6 },
	{ "IPv6 extension headers", ONLY6, extensions6 },
	{ "IPv6 jumbo payload", ONLY6, jumbo6 },
	{ "protocol", BOTH, protocol },
	{ "UDP length", BOTH, udp_length },
	{ "UDP sum", BOTH, udp_sum },
	{ "spoilt payload", BOTH, udp_payload },
	{ "no UDP sum", BOTH, no_udp_sum },
	{ "UDP sum 0xffff", BOTH, udp_sum_ffff },
	{ "local sender", BOTH, local_sender },
	{ "ports", BOTH, ports },
	{ "longer than the MTU", BOTH, too_long },
};

void shot_twist(struct gen *g, struct shot *s)
{
	const struct twist *t;

	do {
		t = &twists[gen_below(g, sizeof(twists) / sizeof(twists[0]))];
	} while (!(t->families & (shot_version(s) == 6 ? ONLY6 : ONLY4)));
	t->apply(g, s);
	s->kind = t->name;
}

/* Several datagrams of a local sender in one packet, for the device to cut up (UDP_SEGMENT). */
void shot_segments(struct gen *g, struct shot *s)
{
	uint32_t count = 2 + gen_below(g, 7), size = 1 + gen_below(g, 1000);

	shot_base(g, s, gen_one_in(g, 2) ? 6 : 4, size * (count - 1) + 1 + gen_below(g, size));
	/* To a plain address: of those to a group the kernel treats the first and the rest unlike.
	 */
	if (shot_version(s) == 6)
		inet_pton(AF_INET6, "fd09::3", ip_of(s) + 24);
	else
		inet_pton(AF_INET, "10.9.0.3", ip_of(s) + 16);
	shot_sum_ip(s);
	local_sender(g, s);
	s->partial = true;
	s->segment = size;
	s->kind = "segments";
}

uint32_t shot_frames(const struct shot *s)
{
	return s->segment ? (s->len - s->l4 - 8 + s->segment - 1) / s->segment : 1;
}

/* ---------------------------------------------------------------- fragments that belong together
 */

/* Cuts a datagram's transport part [from, to) out into a frame of its own. */
static void cut(const struct shot *whole, struct shot *s, uint32_t from, uint32_t to)
{
	bool six = shot_version(whole) == 6, more = to < whole->len;
	uint32_t offset = from - whole->l4;
	uint8_t *header = s->bytes + whole->l4;

	memcpy(s, whole, offsetof(struct shot, bytes));
	memcpy(s->bytes, whole->bytes, whole->l4);
	s->len = whole->l4 + (six ? 8 : 0);
	if (six) {
		memset(header, 0, 8);
		header[0] = s->bytes[s->l3 + 6];
		s->bytes[s->l3 + 6] = 44;
		frame_put16(header + 2, offset | more);
		memcpy(header + 4, whole->bytes + whole->l4, 4);
	} else {
		frame_put16(s->bytes + s->l3 + 6, offset / 8 | (more ? 0x2000u : 0));
	}
	memcpy(s->bytes + s->len, whole->bytes + from, to - from);
	s->len += to - from;
	frame_put16(s->bytes + s->l3 + (six ? 4 : 2), s->len - s->l3 - (six ? 40 : 0));
	shot_sum_ip(s);
	s->kind = "fragments";
}

unsigned shot_fragment(struct gen *g, struct shot *out)
{
	unsigned pieces = 2 + gen_below(g, SHOTS_PER_CALL - 1);
	uint32_t part = 8 * (1 + gen_below(g, 20)), first = gen_below(g, pieces);
	static struct shot whole;

	shot_base(g, &whole, gen_one_in(g, 2) ? 6 : 4, part * (pieces - 1) + 1 + gen_below(g, 80));
	for (unsigned i = 0; i < pieces; i++) {
		unsigned piece = (first + i) % pieces;
		uint32_t from = whole.l4 + piece * part;

		cut(&whole, &out[i], from, piece + 1 == pieces ? whole.len : from + part);
	}
	return pieces;
}
