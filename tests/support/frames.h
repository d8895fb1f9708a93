/* SPDX-License-Identifier: MIT */
/*
 * Ethernet frames for tests: a good one of each family, and ways to spoil it. Written without the
 * product's parser and checksum, so that the two can be compared.
 */
#ifndef TESTS_FRAMES_H
#define TESTS_FRAMES_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_FROM4 "10.9.0.1"
#define FRAME_TO4   "10.9.0.2"
#define FRAME_FROM6 "fd09::1"
#define FRAME_TO6   "fd09::2"

struct frame {
	uint8_t bytes[2048];
	uint32_t len;
};

static const uint8_t frame_mac[6] = { 0x02, 0, 0, 0, 0, 0x02 };

static inline void frame_put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static inline uint32_t frame_add(const uint8_t *bytes, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline unsigned frame_is6(const struct frame *f)
{
	return f->bytes[12] == 0x86;
}

/* Offset of the UDP header. */
static inline uint32_t frame_udp(const struct frame *f)
{
	return frame_is6(f) ? 54 : 34;
}

static inline uint32_t frame_pseudo(const struct frame *f)
{
	uint32_t udp = frame_udp(f), len = f->len - udp;

	return frame_add(f->bytes + (frame_is6(f) ? 22 : 26), frame_is6(f) ? 32 : 8, 17 + len);
}

/* Makes both checksums right for what the frame holds. */
static inline void frame_finish(struct frame *f)
{
	uint32_t udp = frame_udp(f), sum;

	if (!frame_is6(f)) {
		frame_put16(f->bytes + 24, 0);
		frame_put16(f->bytes + 24, ~frame_add(f->bytes + 14, 20, 0) & 0xffff);
	}
	frame_put16(f->bytes + udp + 6, 0);
	sum = ~frame_add(f->bytes + udp, f->len - udp, frame_pseudo(f)) & 0xffff;
	frame_put16(f->bytes + udp + 6, sum ? sum : 0xffff);
}

static inline void frame_udp_part(struct frame *f, uint32_t udp, uint32_t payload)
{
	f->len = udp + 8 + payload;
	frame_put16(f->bytes + udp, 10000);
	frame_put16(f->bytes + udp + 2, 7000);
	frame_put16(f->bytes + udp + 4, 8 + payload);
	for (uint32_t i = 0; i < payload; i++)
		f->bytes[udp + 8 + i] = (uint8_t)(i * 7 + 1);
	frame_finish(f);
}

static inline void frame_ip4(struct frame *f, uint32_t payload)
{
	static const uint8_t start[] = { 0x02, 0, 0,	0, 0, 2, 0x02, 0, 0, 0, 0,  1,
					 0x08, 0, 0x45, 0, 0, 0, 0,    1, 0, 0, 64, 17 };

	memset(f, 0, sizeof(*f));
	memcpy(f->bytes, start, sizeof(start));
	inet_pton(AF_INET, FRAME_FROM4, f->bytes + 26);
	inet_pton(AF_INET, FRAME_TO4, f->bytes + 30);
	frame_put16(f->bytes + 16, 28 + payload);
	frame_udp_part(f, 34, payload);
}

static inline void frame_ip6(struct frame *f, uint32_t payload)
{
	static const uint8_t start[] = { 0x02, 0,    0,	   0,	 0, 2, 0x02, 0, 0, 0,  0,
					 1,    0x86, 0xdd, 0x60, 0, 0, 0,    0, 0, 17, 64 };

	memset(f, 0, sizeof(*f));
	memcpy(f->bytes, start, sizeof(start));
	inet_pton(AF_INET6, FRAME_FROM6, f->bytes + 22);
	inet_pton(AF_INET6, FRAME_TO6, f->bytes + 38);
	frame_put16(f->bytes + 18, 8 + payload);
	frame_udp_part(f, 54, payload);
}

static inline void frame_set_port(struct frame *f, uint16_t port)
{
	frame_put16(f->bytes + frame_udp(f) + 2, port);
	frame_finish(f);
}

/* xorshift64*: reproducible, the same everywhere. */
static inline uint64_t frame_random(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1du;
}

/* Spoils the headers in so many places, and sometimes cuts the frame or pads it. */
static inline void frame_spoil(struct frame *f, unsigned changes, uint64_t *seed)
{
	static const uint8_t telling[] = { 0, 1, 0x3f, 0x40, 0x45, 0x46, 0x60, 0x7f, 0x80, 0xff };

	for (unsigned i = 0; i < changes; i++) {
		uint32_t at = (uint32_t)(frame_random(seed) % (frame_udp(f) + 8));
		uint64_t how = frame_random(seed);

		if (how & 1)
			f->bytes[at] ^= (uint8_t)(1u << (how >> 8) % 8);
		else
			f->bytes[at] = telling[(how >> 8) % sizeof(telling)];
	}
	/* Half of the spoilt ones with good sums, so that the other checks are reached. */
	if (changes && frame_random(seed) & 1 && f->len > frame_udp(f) + 8)
		frame_finish(f);
	if (frame_random(seed) % 8 == 0)
		f->len = (uint32_t)(frame_random(seed) % (f->len + 1));
	else if (frame_random(seed) % 8 == 0)
		f->len += (uint32_t)(frame_random(seed) % 20); /* padding */
}

/* A good frame of either family with none, one or a few things wrong in its headers. */
static inline void frame_mutate(struct frame *f, uint64_t *seed)
{
	uint32_t payload = (uint32_t)(frame_random(seed) % 64);
	unsigned changes = (unsigned)(frame_random(seed) % 4);

	if (frame_random(seed) & 1)
		frame_ip4(f, payload);
	else
		frame_ip6(f, payload);
	frame_spoil(f, changes, seed);
}

#endif
