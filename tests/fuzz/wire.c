/* SPDX-License-Identifier: MIT */
/*
 * A frame: the parser, with the readable part ending anywhere, and the decoder behind it. Both are
 * compared with the rules written down once more, byte by byte.
 */
#include "fuzz.h"

#include "../support/frames.h"
#include "shared/wire.h"
#include "xdp/frame.h"

#define READ_BY_PARSER 62u /* Ethernet, IPv6 and UDP header: nothing behind matters to it */

static unsigned get16(const uint8_t *at)
{
	return at[0] * 256u + at[1];
}

static bool good_ip4(const uint8_t *f, size_t len)
{
	static const uint8_t odd_source[] = { 0,   127, 224, 225, 226, 227, 228, 229, 230,
					      231, 232, 233, 234, 235, 236, 237, 238, 239 };
	unsigned total = get16(f + 16);

	if (f[14] != 0x45 || f[23] != 17 || get16(f + 20) % 0x4000 != 0)
		return false;
	if (total < 28 || total > len - 14 || frame_add(f + 14, 20, 0) != 0xffff)
		return false;
	if (f[26] >= 240 || memchr(odd_source, f[26], sizeof(odd_source)))
		return false;
	return get16(f + 38) == total - 20;
}

static bool good_ip6(const uint8_t *f, size_t len)
{
	static const uint8_t zeros[10], ones[2] = { 0xff, 0xff };
	unsigned payload = get16(f + 18);

	if (f[14] >> 4 != 6 || f[20] != 17 || payload < 8 || payload > len - 54)
		return false;
	if (f[22] == 0xff)
		return false;
	if (!memcmp(f + 22, zeros, 10) && (!memcmp(f + 32, zeros, 2) || !memcmp(f + 32, ones, 2)))
		return false;
	return get16(f + 58) == payload && get16(f + 60) != 0;
}

/* Is it a frame that steering may take, whoever it is for? */
static bool good(const uint8_t *f, size_t readable, size_t len)
{
	if (readable >= 42 && get16(f + 12) == 0x0800)
		return good_ip4(f, len);
	if (readable >= 62 && get16(f + 12) == 0x86dd)
		return good_ip6(f, len);
	return false;
}

static enum reason parse(const uint8_t *data, size_t readable, size_t len, struct wire_packet *p)
{
	uint8_t *frame = fuzz_copy(data, readable);
	enum reason verdict = wire_parse(frame, frame + readable, (__u32)len, p);

	free(frame);
	return verdict;
}

static enum reason check_parse(const uint8_t *data, size_t size)
{
	struct wire_packet p = { 0 };
	enum reason whole = parse(data, size, size, &p);

	REQUIRE(whole <= REASON_PASS_SOURCE);
	REQUIRE((whole == REASON_STEERED) == good(data, size, size));
	if (whole == REASON_STEERED) {
		REQUIRE(p.version == (data[12] == 8 ? 4 : 6));
		REQUIRE(p.udp_len == get16(data + (p.version == 4 ? 38 : 58)));
		REQUIRE(p.udp_len >= 8 && (p.version == 4 ? 34 : 54) + p.udp_len <= size);
	}
	/* Less to read can only mean that it is too short to tell. */
	for (size_t end = 0; end < size && end <= READ_BY_PARSER; end++) {
		struct wire_packet part = { 0 };
		enum reason verdict = parse(data, end, size, &part);

		REQUIRE(verdict == whole || verdict == REASON_PASS_SHORT);
		REQUIRE((verdict == REASON_STEERED) == good(data, end, size));
		if (verdict == REASON_STEERED)
			REQUIRE(part.version == p.version && part.udp_len == p.udp_len);
	}
	return whole;
}

/* The UDP sum over pseudo-header and datagram: 0xffff when it is right. */
static uint32_t udp_sum(const uint8_t *f, const struct wire_packet *p, bool pseudo_only)
{
	uint32_t udp = p->version == 4 ? 34 : 54;
	uint32_t sum = frame_add(f + (p->version == 4 ? 26 : 22), p->version == 4 ? 8 : 32,
				 17 + p->udp_len);

	return pseudo_only ? sum : frame_add(f + udp, p->udp_len, sum);
}

static enum reason expected_class(const uint8_t *f, const struct wire_packet *p, bool local_senders)
{
	unsigned sum = get16(f + (p->version == 4 ? 40 : 60));

	if (!sum)
		return REASON_XDP_SUM_NONE;
	if (local_senders && sum == udp_sum(f, p, true))
		return REASON_XDP_SUM_PARTIAL;
	return udp_sum(f, p, false) == 0xffff ? REASON_XDP_DELIVERED : REASON_XDP_BAD_SUM;
}

static void check_endpoint(const struct mr_endpoint *e, const uint8_t *f, uint32_t version)
{
	static const uint8_t none[16];
	bool link_local = version == 6 && f[22] == 0xfe && (f[23] & 0xc0) == 0x80;

	REQUIRE(e->family == (version == 4 ? AF_INET : AF_INET6));
	REQUIRE(!memcmp(&e->port_be, f + (version == 4 ? 34 : 54), 2));
	REQUIRE(e->ifindex == 7 && e->flowinfo_be == 0);
	REQUIRE(e->scope == (link_local ? 7 : 0));
	if (version == 4) {
		REQUIRE(!memcmp(e->remote.bytes, f + 26, 4) && !memcmp(e->local.bytes, f + 30, 4));
		REQUIRE(!memcmp(e->remote.bytes + 4, none, 12));
		REQUIRE(!memcmp(e->local.bytes + 4, none, 12));
	} else {
		REQUIRE(!memcmp(e->remote.bytes, f + 22, 16) &&
			!memcmp(e->local.bytes, f + 38, 16));
	}
}

static void check_decode(const uint8_t *data, size_t size, bool local_senders)
{
	const struct frame_origin origin = { .ifindex = 7, .local_senders = local_senders };
	uint8_t *frame = fuzz_copy(data, size);
	struct mr_datagram d = { .cookie = 0x1234 };
	struct wire_packet p;
	enum reason fate = frame_decode(&d, frame, (uint32_t)size, &origin);
	uint32_t header;

	REQUIRE(!size || !memcmp(frame, data, size)); /* it only reads */
	REQUIRE(d.cookie == 0x1234);
	REQUIRE((fate == REASON_XDP_MALFORMED) == !good(data, size, size));
	if (fate != REASON_XDP_MALFORMED) {
		REQUIRE(parse(data, size, size, &p) == REASON_STEERED);
		REQUIRE(fate == expected_class(data, &p, local_senders));
		header = p.version == 4 ? 42 : 62;
		REQUIRE(d.data == frame + header && d.len == p.udp_len - 8);
		REQUIRE(header + d.len <= size);
		REQUIRE(d.local_port == get16(data + header - 6));
		REQUIRE(d.tos == (p.version == 4 ? data[15] : get16(data + 14) >> 4 & 0xff));
		REQUIRE(d.path == MR_PATH_XDP && d.error == 0 && d.reserved == 0);
		check_endpoint(&d.endpoint, data, p.version);
	}
	free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_parse(data, size);
	check_decode(data, size, false);
	check_decode(data, size, true);
	return 0;
}
