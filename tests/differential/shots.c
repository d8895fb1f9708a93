/* SPDX-License-Identifier: MIT */
/* Frames from a seed: well-formed ones, and the orderly part of the ill-formed. */
#include "differential.h"

#include <assert.h>
#include <stddef.h>

#include "../support/frames.h"

#define ETH 14u

/*
 * Addresses with how often they are taken; the first ones are the ordinary ones. Those of 10.77/16
 * and fd0c::/16 fall into one slot of the steering program's table of near addresses with another.
 */
struct place_name {
	const char *text;
	unsigned weight;
};

static const struct place_name from4[] = {
	{ "10.9.0.1", 60 },	  { "10.9.0.77", 10 },	    { "198.18.0.5", 8 },
	{ "10.9.1.1", 8 },	  { "192.0.2.9", 4 },	    { "198.51.100.7", 2 },
	{ "198.51.101.7", 1 },	  { "100.64.0.1", 4 },	    { "8.8.8.8", 2 },
	{ "10.9.0.2", 2 },	  { "10.9.0.3", 1 },	    { "10.9.1.2", 1 },
	{ "10.99.0.1", 1 },	  { "203.0.113.5", 1 },	    { "0.0.0.0", 1 },
	{ "0.1.2.3", 1 },	  { "127.0.0.1", 1 },	    { "127.9.9.9", 1 },
	{ "224.0.0.1", 1 },	  { "239.255.255.255", 1 }, { "255.255.255.255", 1 },
	{ "240.0.0.1", 1 },	  { "10.9.0.255", 1 },	    { "10.9.0.0", 1 },
	{ "10.9.1.255", 1 },	  { "10.9.2.1", 4 },	    { "169.254.1.1", 1 },
	{ "223.255.255.255", 1 }, { "128.0.0.1", 1 },	    { "203.0.113.66", 1 },
	{ "203.0.113.255", 1 },	  { "203.0.113.200", 1 },   { "10.77.14.94", 2 },
	{ "10.77.42.218", 2 },	  { "10.77.13.115", 1 },
};
static const struct place_name to4[] = {
	{ "10.9.0.2", 60 },	{ "10.9.0.3", 8 },	{ "10.9.1.2", 6 },
	{ "10.99.0.1", 4 },	{ "203.0.113.77", 2 },	{ "10.9.2.2", 4 },
	{ "10.9.0.255", 1 },	{ "10.9.0.0", 1 },	{ "255.255.255.255", 1 },
	{ "224.0.0.1", 1 },	{ "239.1.2.3", 1 },	{ "10.9.0.50", 1 },
	{ "127.0.0.1", 1 },	{ "127.1.1.1", 1 },	{ "0.0.0.0", 1 },
	{ "8.8.8.8", 1 },	{ "10.9.1.255", 1 },	{ "240.0.0.1", 1 },
	{ "203.0.113.66", 1 },	{ "203.0.113.255", 1 }, { "203.0.113.130", 1 },
	{ "203.0.113.200", 1 }, { "10.77.1.236", 2 },	{ "10.77.0.1", 2 },
	{ "10.77.13.115", 2 },	{ "10.77.42.218", 1 },
};
static const struct place_name from6[] = {
	{ "fd09::1", 60 },
	{ "fd09::77", 10 },
	{ "fe80::1", 12 },
	{ "fd0a::1", 8 },
	{ "2001:db8::9", 6 },
	{ "::", 1 },
	{ "::1", 1 },
	{ "::ffff:10.9.0.1", 1 },
	{ "::10.9.0.1", 1 },
	{ "::ffff:0:0", 1 },
	{ "::2", 1 },
	{ "::1:0:0", 1 },
	{ "ff02::1", 1 },
	{ "ff0e::5", 1 },
	{ "fd09::2", 1 },
	{ "fd09::3", 1 },
	{ "fd0a::2", 1 },
	{ "fe80::2", 1 },
	{ "fe80::3", 1 },
	{ "fd99::1", 1 },
	{ "2001:db8:aa::5", 1 },
	{ "fec0::1", 1 },
	{ "64:ff9b::1", 1 },
	{ "febf::1", 1 },
	{ "2002:a09:1::1", 1 },
	{ "fd0b::1", 4 },
	{ "::ffff:127.0.0.1", 1 },
	{ "0:0:0:1::1", 1 },
	{ "100::1", 1 },
	{ "2001:db8:aa::66", 1 },
	{ "2001:db8:aa::67", 1 },
	{ "fd0c:0:0:3:0:4::", 2 },
	{ "fd0c::7:0:0", 1 },
};
static const struct place_name to6[] = {
	{ "fd09::2", 60 },
	{ "fd09::3", 8 },
	{ "fe80::2", 10 },
	{ "fe80::3", 4 },
	{ "fd0a::2", 6 },
	{ "fd99::1", 4 },
	{ "fd0b::2", 4 },
	{ "2001:db8:aa::77", 2 },
	{ "ff02::1", 1 },
	{ "ff01::1", 1 },
	{ "ff0e::5", 1 },
	{ "ff02::2", 1 },
	{ "fd09::50", 1 },
	{ "::", 1 },
	{ "::1", 1 },
	{ "::ffff:10.9.0.2", 1 },
	{ "::10.9.0.2", 1 },
	{ "fd09::", 1 },
	{ "ff00::1", 1 },
	{ "2001:db8:aa::66", 1 },
	{ "2001:db8:aa::67", 1 },
	{ "2001:db8:aa:1::5", 1 },
	{ "fd0c::7", 2 },
	{ "fd0c::7:0:0", 2 },
	{ "fd0c:0:0:7::", 2 },
	{ "fd0c:0:0:3:0:4::", 1 },
};

/* What is most likely to be at a border of something. */
static const uint8_t telling[] = { 0,	 1,    0x05, 0x0f, 0x11, 0x1f, 0x20, 0x3f, 0x40, 0x44,
				   0x45, 0x46, 0x60, 0x6f, 0x7f, 0x80, 0x86, 0xdf, 0xfe, 0xff };

uint32_t gen_below(struct gen *g, uint32_t limit)
{
	return (uint32_t)((frame_random(&g->seed) >> 32) * limit >> 32);
}

bool gen_one_in(struct gen *g, uint32_t n)
{
	return gen_below(g, n) == 0;
}

unsigned shot_version(const struct shot *s)
{
	return s->bytes[s->l3 - 2] == 0x86 ? 6 : 4;
}

static unsigned get16(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

/* ---------------------------------------------------------------- sums */

void shot_sum_ip(struct shot *s)
{
	uint8_t *ip = s->bytes + s->l3;
	uint32_t len = (ip[0] & 0xfu) * 4;

	if (shot_version(s) == 6)
		return;
	if (len < 20 || s->l3 + len > s->len)
		len = 20;
	frame_put16(ip + 10, 0);
	frame_put16(ip + 10, ~frame_add(ip, len, 0) & 0xffff);
}

/* Of addresses, protocol and the length that the UDP header says. */
static uint32_t pseudo(const struct shot *s, uint32_t udp_len)
{
	const uint8_t *ip = s->bytes + s->l3;

	return shot_version(s) == 6 ? frame_add(ip + 8, 32, 17 + udp_len)
				    : frame_add(ip + 12, 8, 17 + udp_len);
}

void shot_sum_udp(struct shot *s)
{
	uint8_t *udp = s->bytes + s->l4;
	uint32_t there = s->len - s->l4, len, sum;

	if (s->len < s->l4 + 8)
		return;
	len = get16(udp + 4);
	if (len < 8 || len > there)
		len = there;
	frame_put16(udp + 6, 0);
	sum = ~frame_add(udp, len, pseudo(s, len)) & 0xffff;
	frame_put16(udp + 6, sum ? sum : 0xffff);
}

void shot_lengths(struct shot *s)
{
	uint8_t *ip = s->bytes + s->l3;

	if (shot_version(s) == 6)
		frame_put16(ip + 4, s->len - s->l3 - 40);
	else
		frame_put16(ip + 2, s->len - s->l3);
	shot_sum_ip(s);
	shot_sum_udp(s);
}

bool shot_looks_partial(const struct shot *s)
{
	bool six = s->bytes[12] == 0x86;
	uint32_t l4 = six ? 54 : 34, udp_len, sum;
	const uint8_t *ip = s->bytes + ETH;

	if (s->len < l4 + 8)
		return false;
	udp_len = get16(s->bytes + l4 + 4);
	sum = six ? frame_add(ip + 8, 32, 17 + udp_len) : frame_add(ip + 12, 8, 17 + udp_len);
	return get16(s->bytes + l4 + 6) == sum;
}

/* ---------------------------------------------------------------- well-formed frames */

static void pick(struct gen *g, int family, const struct place_name *names, unsigned n,
		 bool ordinary, uint8_t *out)
{
	unsigned total = 0, at, i;

	for (i = 0; i < n; i++)
		total += names[i].weight;
	at = ordinary ? 0 : gen_below(g, total);
	for (i = 0; at >= names[i].weight; i++)
		at -= names[i].weight;
	if (inet_pton(family, names[i].text, out) != 1)
		fatal("not an address: %s", names[i].text);
}

#define PICK(g, family, names, ordinary, out) \
	pick(g, family, names, sizeof(names) / sizeof(names[0]), ordinary, out)

/* Makes room in the middle, as long as the frame is not at its longest. */
uint32_t shot_insert(struct shot *s, uint32_t at, uint32_t n)
{
	if (s->len + n > SHOT_ROOM)
		n = SHOT_ROOM - s->len;
	memmove(s->bytes + at + n, s->bytes + at, s->len - at);
	memset(s->bytes + at, 0, n);
	s->len += n;
	return n;
}

static void start4(struct gen *g, uint8_t *ip, bool ordinary)
{
	static const uint8_t start[] = { 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17 };

	memcpy(ip, start, sizeof(start));
	frame_put16(ip + 4, g->serial & 0xffff);
	PICK(g, AF_INET, from4, ordinary, ip + 12);
	PICK(g, AF_INET, to4, ordinary, ip + 16);
}

static void start6(struct gen *g, uint8_t *ip, bool ordinary)
{
	static const uint8_t start[] = { 0x60, 0, 0, 0, 0, 0, 17, 64 };

	memcpy(ip, start, sizeof(start));
	PICK(g, AF_INET6, from6, ordinary, ip + 8);
	PICK(g, AF_INET6, to6, ordinary, ip + 24);
}

/* Payload that says which frame it came in, as far as it is long enough. */
static void fill(struct gen *g, uint8_t *payload, uint32_t len)
{
	uint64_t state = g->serial * 0x9e3779b97f4a7c15u + 1;
	uint8_t *end = payload + len;

	if (len >= 4) {
		memcpy(payload, &g->serial, 4);
		payload += 4;
	}
	for (; payload < end; payload += 8) {
		uint64_t word = frame_random(&state);
		size_t n = (size_t)(end - payload);

		memcpy(payload, &word, n < 8 ? n : 8);
	}
}

static void shot_start(struct gen *g, struct shot *s, unsigned version, uint32_t payload,
		       bool ordinary)
{
	uint32_t ip_len = version == 6 ? 40 : 20;
	uint8_t *udp;

	g->serial++;
	s->l3 = ETH;
	s->l4 = ETH + ip_len;
	s->len = s->l4 + 8 + payload;
	s->tag = 0;
	s->partial = false;
	s->segment = 0;
	s->kind = "plain";
	assert(s->len <= SHOT_ROOM);
	memset(s->bytes, 0, s->l4 + 8);
	memcpy(s->bytes, world_mac(g->device), 6);
	s->bytes[6] = 2;
	s->bytes[11] = 1;
	frame_put16(s->bytes + 12, version == 6 ? 0x86dd : 0x0800);
	if (version == 6)
		start6(g, s->bytes + ETH, ordinary);
	else
		start4(g, s->bytes + ETH, ordinary);
	udp = s->bytes + s->l4;
	frame_put16(udp, 10000 + (g->serial & 0x3fff));
	frame_put16(udp + 2, PORT);
	frame_put16(udp + 4, 8 + payload);
	fill(g, udp + 8, payload);
	shot_lengths(s);
}

static uint32_t payload_max(const struct gen *g, unsigned version)
{
	return g->mtu - (version == 6 ? 48 : 28);
}

static uint32_t some_payload(struct gen *g, unsigned version)
{
	uint32_t max = payload_max(g, version);

	switch (gen_below(g, 16)) {
	case 0:
		return 0;
	case 1:
		return gen_below(g, 4);
	case 2:
		return gen_below(g, max + 1);
	case 3:
		return max - gen_below(g, 4);
	default:
		return gen_below(g, 80);
	}
}

/* Well-formed, with everything that may vary varied. */
void shot_base(struct gen *g, struct shot *s, unsigned version, uint32_t payload)
{
	static const uint8_t ttls[] = { 0, 1, 2, 63, 128, 255 };
	uint8_t *ip = s->bytes + ETH;

	shot_start(g, s, version, payload, false);
	if (gen_one_in(g, 2)) { /* TOS or traffic class; of IPv6 the flow label too */
		uint32_t bits =
			gen_below(g, 256) << 20 | (gen_one_in(g, 2) ? gen_below(g, 1u << 20) : 0);

		if (version == 6) {
			ip[0] = (uint8_t)(0x60 | bits >> 24);
			ip[1] = (uint8_t)(bits >> 16);
			frame_put16(ip + 2, bits & 0xffff);
		} else {
			ip[1] = (uint8_t)(bits >> 20);
		}
	}
	if (gen_one_in(g, 4))
		ip[version == 6 ? 7 : 8] = ttls[gen_below(g, sizeof(ttls))];
	if (version == 4 && gen_one_in(g, 4))
		ip[6] = (uint8_t)(gen_below(g, 4) << 6 & 0xc0); /* reserved bit, DF */
	if (gen_one_in(g, 4)) /* one flow, so that there is something to coalesce */
		frame_put16(s->bytes + s->l4, 10000);
	else if (gen_one_in(g, 32))
		frame_put16(s->bytes + s->l4, gen_one_in(g, 2) ? 0 : 0xffff);
	shot_lengths(s);
}

/* ---------------------------------------------------------------- anything */

static void mutate(struct gen *g, struct shot *s)
{
	uint32_t reach = s->l4 + 8 < s->len ? s->l4 + 8 : s->len;

	for (unsigned n = 1 + gen_below(g, 3); n; n--) {
		uint32_t at = gen_below(g, reach);

		switch (gen_below(g, 3)) {
		case 0:
			s->bytes[at] ^= (uint8_t)(1u << gen_below(g, 8));
			break;
		case 1:
			s->bytes[at] = telling[gen_below(g, sizeof(telling))];
			break;
		default:
			s->bytes[at] = (uint8_t)gen_below(g, 256);
		}
	}
	s->partial = false;
	/* Often with good sums, so that later checks are reached. */
	if (!gen_one_in(g, 3))
		shot_sum_ip(s);
	if (!gen_one_in(g, 3))
		shot_sum_udp(s);
	s->kind = "mutated";
}

static void pad(struct gen *g, struct shot *s, uint32_t n)
{
	n = shot_insert(s, s->len, n);
	for (uint32_t i = s->len - n; i < s->len && gen_one_in(g, 2); i++)
		s->bytes[i] = (uint8_t)gen_below(g, 256);
}

/* What the wire takes: an Ethernet header, and a VLAN tag's length more than the MTU. */
static void limit(const struct gen *g, struct shot *s)
{
	if (s->len > g->mtu + 24 && !s->segment)
		s->len = g->mtu + 24;
	if (s->partial && s->len < s->l4 + 8)
		s->partial = false;
}

unsigned gen_random(struct gen *g, struct shot *out)
{
	unsigned version = gen_one_in(g, 2) ? 6 : 4;

	if (gen_one_in(g, 40))
		return shot_fragment(g, out);
	if (g->segments && gen_one_in(g, 60)) {
		shot_segments(g, out);
		return 1;
	}
	shot_base(g, out, version, some_payload(g, version));
	if (gen_one_in(g, 2))
		shot_twist(g, out);
	if (gen_one_in(g, 5))
		mutate(g, out);
	if (gen_one_in(g, 8))
		pad(g, out, gen_one_in(g, 8) ? gen_below(g, g->mtu) : gen_below(g, 61));
	else if (gen_one_in(g, 16) && !out->partial)
		out->len = ETH + gen_below(g, out->len - ETH + 1);
	if (g->tags && gen_one_in(g, 4))
		out->tag = TAG_BESIDE | (gen_one_in(g, 2) ? 0 : gen_below(g, 0x10000));
	limit(g, out);
	return 1;
}

/* Each has `rest` choices of its own; the number of those before it is taken off. */
static bool among(uint64_t *index, uint64_t choices)
{
	if (*index < choices)
		return true;
	*index -= choices;
	return false;
}

#define WALK_PAYLOAD 18u

bool gen_walk(struct gen *g, struct shot *s)
{
	uint64_t index = g->walked++;
	unsigned version = index & 1 ? 6 : 4;
	uint32_t head = (version == 6 ? 62 : 42), at;

	index /= 2;
	shot_start(g, s, version, WALK_PAYLOAD, true);
	s->kind = "walk";
	if (among(&index, 62 * sizeof(telling) * 2)) { /* each byte of the headers */
		at = (uint32_t)(index / sizeof(telling) / 2) % head;
		s->bytes[at] = telling[index / 2 % sizeof(telling)];
		if (index % 2) {
			shot_sum_ip(s);
			shot_sum_udp(s);
		}
	} else if (among(&index, 62 + WALK_PAYLOAD - ETH)) { /* each length of a cut frame */
		s->len = ETH + (uint32_t)index < s->len ? ETH + (uint32_t)index : s->len;
	} else if (among(&index, 256)) { /* each TOS and traffic class */
		frame_put16(s->bytes + ETH, version == 6 ? 0x6000u | (unsigned)index << 4
							 : 0x4500u | (unsigned)index);
		shot_sum_ip(s);
	} else if (among(&index, 64)) { /* each length of padding, zero and not */
		at = s->len;
		shot_insert(s, at, (uint32_t)index);
		memset(s->bytes + at, version == 6 ? 0x5a : 0, index);
	} else if (among(&index, 96)) { /* short payloads and long ones */
		at = payload_max(g, version);
		shot_start(g, s, version, index < 64 ? (uint32_t)index : at - 96 + (uint32_t)index,
			   true);
	} else if (among(&index, 64)) { /* ports on both sides of ours */
		frame_put16(s->bytes + s->l4 + 2, PORT - 32 + (unsigned)index);
		shot_sum_udp(s);
	} else {
		return false;
	}
	limit(g, s);
	return true;
}

void gen_marker(struct gen *g, struct shot *s, const struct marker *m)
{
	uint32_t extra = m->version == 6 ? 8 : 4;

	shot_start(g, s, m->version, sizeof(m->text), true);
	s->kind = "marker";
	memcpy(s->bytes + s->l4 + 8, m->text, sizeof(m->text));
	frame_put16(s->bytes + s->l4, m->from);
	if (m->pass) {
		uint8_t *ip = s->bytes + ETH, *at = s->bytes + s->l4;

		shot_insert(s, s->l4, extra);
		s->l4 += extra;
		if (m->version == 6) { /* destination options: PadN */
			at[0] = ip[6];
			ip[6] = 60;
			at[2] = 1;
			at[3] = 4;
		} else {
			memset(at, 1, extra); /* no operation */
			ip[0]++;
		}
	}
	shot_lengths(s);
}
