/* SPDX-License-Identifier: MIT */
/*
 * What verifying a datagram's checksum costs, beside reading the same bytes and copying them: in
 * the nearest cache, and in the frames of a ring, taken in order as they are received.
 *
 *	sum [--check]
 *
 * --check: exit 1 if the sum of 1,400 bytes costs more than reading them word by word.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rounds.h"
#include "xdp/frame.h"

enum { AREA = 16 << 20, FRAME = 2048, HEADROOM = 256, UDP_AT = HEADROOM + 34 };

static uint8_t *area;
static uint8_t copy[FRAME];

static uint16_t read_words(const void *bytes, size_t len, uint64_t start)
{
	const uint8_t *p = bytes;

	for (; len >= 8; len -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, sizeof(w));
		start ^= w;
	}
	for (; len; len--, p++)
		start ^= *p;
	return (uint16_t)start;
}

static uint16_t copy_bytes(const void *bytes, size_t len, uint64_t start)
{
	memcpy(copy, bytes, len);
	__asm__ volatile("" : : "r"(copy) : "memory"); /* nor may it be left out */
	return (uint16_t)start;
}

static const struct {
	const char *name;
	uint16_t (*run)(const void *bytes, size_t len, uint64_t start);
} ways[] = {
	{ "read, 8 bytes at a time", read_words },
	{ "memcpy to a hot buffer", copy_bytes },
	{ "frame_sum", frame_sum },
};
enum { READ, COPY, SUM, WAYS };

static const struct {
	const char *name;
	size_t len, stride;
	unsigned count;
} cases[] = {
	{ "1,400 bytes, hot, ns", 1400, 0, 1 << 17 },
	{ "1,400 bytes, a ring of 16 MiB, ns", 1400, FRAME, 1 << 15 },
	{ "26 bytes (60-byte frame), hot, ns", 26, 0, 1 << 20 },
	{ "26 bytes, a ring of 16 MiB, ns", 26, FRAME, 1 << 18 },
};

/* One turn of one way: ns for each datagram. */
static double turn(unsigned way, unsigned c)
{
	uint16_t (*volatile run)(const void *, size_t, uint64_t) = ways[way].run;
	double start = rounds_clock_ns();
	volatile uint16_t sink;
	uint16_t total = 0;

	for (unsigned i = 0; i < cases[c].count; i++) {
		const uint8_t *frame = area + i * cases[c].stride % AREA;

		total = (uint16_t)(total + run(frame + UDP_AT, cases[c].len, i));
	}
	sink = total;
	(void)sink;
	return (rounds_clock_ns() - start) / cases[c].count;
}

/* Prints one case; returns the cost of the sum, that of reading being 1. */
static double measure(unsigned c)
{
	double ns[WAYS][ROUNDS], ratio;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned way = 0; way < WAYS; way++)
			ns[way][round] = turn(way, c);
	rounds_title(cases[c].name);
	for (unsigned way = 0; way < WAYS; way++)
		rounds_print(ways[way].name, ns[way]);
	ratio = rounds_ratio(ns[SUM], ns[READ]);
	printf("  %-36s%20.2f\n", "frame_sum / read", ratio);
	return ratio;
}

int main(int argc, char **argv)
{
	bool check = argc == 2 && !strcmp(argv[1], "--check"), good = true;

	if (argc > 1 && !check) {
		fputs("usage: sum [--check]\n", stderr);
		return 2;
	}
	area = aligned_alloc(4096, AREA);
	if (!area)
		return 1;
	for (size_t i = 0; i < AREA; i++)
		area[i] = (uint8_t)(i * 7 + i / 2048);
	for (unsigned c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		double ratio = measure(c);

		if (cases[c].len == 1400 && ratio > 1)
			good = false;
	}
	printf("frame_sum / read of 1,400 bytes wanted: <= 1: %s\n", good ? "yes" : "NO");
	free(area);
	return check && !good;
}
