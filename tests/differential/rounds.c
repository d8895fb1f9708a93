/* SPDX-License-Identifier: MIT */
/*
 * A round: some frames to both sides, then markers. What comes of frames is in the sockets and
 * rings before their markers are, so when all of these are there, the two sides are compared.
 */
#include "differential.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROUND_FRAMES 60u
#define MARKERS_MAX  16u

/* A round that is not complete by then never will be. */
#define ROUND_LIMIT_MS 3000u
/* What does not compare at once may have been held back: a coalesced batch, a busy CPU. */
#define SETTLE_MS 50u

static struct receiver kernel, fast;
static uint64_t round_number;

/* Some for each queue; which of them a flow gets is not ours to say. */
static unsigned marker_count(unsigned device)
{
	return device == 2 ? MARKERS_MAX : 2;
}

static void marker_text(uint8_t text[16])
{
	memcpy(text, "a marker", 8);
	memcpy(text + 8, &round_number, 8);
}

static void put_markers(struct run *run, unsigned device, struct shot *at)
{
	struct marker m = { .version = run->version };

	round_number++;
	marker_text(m.text);
	for (unsigned i = 0; i < marker_count(device); i++) {
		m.pass = i % 2;
		m.from = (uint16_t)(40000 + i);
		gen_marker(&run->gen, &at[i], &m);
	}
}

static unsigned markers_in(const struct receiver *r)
{
	unsigned n = 0;
	uint8_t text[16];

	marker_text(text);
	for (unsigned i = 0; i < r->count; i++)
		n += r->records[i].len == sizeof(text) && !memcmp(r->records[i].head, text, 16);
	return n;
}

static bool same(void)
{
	receive_sort(&kernel);
	receive_sort(&fast);
	if (kernel.count != fast.count)
		return false;
	for (unsigned i = 0; i < kernel.count; i++)
		if (record_compare(&kernel.records[i], &fast.records[i]))
			return false;
	return true;
}

/* Reads both sides until they have the markers. */
static bool collect(struct run *run, unsigned device, unsigned limit_ms)
{
	unsigned want = marker_count(device), idle_ms = 0;

	kernel.count = fast.count = 0;
	for (;;) {
		unsigned k = markers_in(&kernel), f = markers_in(&fast), got = 0;

		if (k >= want && f >= want)
			return true;
		if (idle_ms > limit_ms)
			return false;
		if (k < want)
			got += receive_kernel(&kernel, idle_ms ? 1 : 0);
		if (f < want)
			got += receive_fast(&fast, run->transport, idle_ms ? 1 : 0);
		idle_ms = got ? 0 : idle_ms + 1;
	}
}

enum outcome { EQUAL, UNEQUAL, LOST };

/* `lot` has room for the markers behind its n frames. */
static enum outcome round_of(struct run *run, unsigned device, struct shot *lot, unsigned n,
			     unsigned limit_ms, unsigned settle_ms)
{
	bool refused_k[ROUND_FRAMES + MARKERS_MAX], refused_f[ROUND_FRAMES + MARKERS_MAX];
	unsigned all = n + marker_count(device);
	bool complete;

	put_markers(run, device, &lot[n]);
	world_send(KERNEL, device, lot, all, refused_k);
	world_send(FAST, device, lot, all, refused_f);
	for (unsigned i = 0; i < all; i++) {
		run->injected[device] += refused_f[i] ? 0 : shot_frames(&lot[i]);
		run->refused += refused_f[i];
		if (refused_f[i] != refused_k[i])
			fatal("a frame of %u bytes was let in on one side only", lot[i].len);
	}
	complete = collect(run, device, limit_ms);
	/* The sockets of the families have an order each: something may be there still. */
	while (receive_kernel(&kernel, 0) || receive_fast(&fast, run->transport, 0))
		;
	for (unsigned ms = 0; complete && !same() && ms < settle_ms; ms++) {
		receive_kernel(&kernel, 0);
		receive_fast(&fast, run->transport, 1);
	}
	run->datagrams += fast.count;
	for (unsigned i = 0; i < fast.count; i++)
		run->by_xdp += fast.records[i].path == MR_PATH_XDP;
	if (!complete)
		return LOST;
	return same() ? EQUAL : UNEQUAL;
}

void run_warm_up(struct run *run, unsigned device)
{
	static struct shot lot[MARKERS_MAX];

	for (unsigned i = 0; i < 100; i++)
		if (round_of(run, device, lot, 0, 50, 0) == EQUAL)
			return;
	fatal("%s: the receivers do not both receive on d%u: kernel %u, fast %u", run->name, device,
	      kernel.count, fast.count);
}

/* ---------------------------------------------------------------- what differs */

static void print_shot(const struct shot *s)
{
	printf("#   %u bytes%s%s: ", s->len, s->partial ? ", sum unfinished" : "",
	       s->tag ? ", VLAN tag beside" : "");
	for (uint32_t i = 0; i < s->len && i < 192; i++)
		printf("%s%02x", i == s->l3 || i == s->l4 || i == s->l4 + 8 ? " " : "",
		       s->bytes[i]);
	printf("%s\n", s->len > 192 ? "…" : "");
}

/* Walks both, in order, and prints what only one has. */
static void print_records(void)
{
	unsigned k = 0, f = 0;

	while (k < kernel.count || f < fast.count) {
		int order = k == kernel.count ? 1
			    : f == fast.count
				    ? -1
				    : record_compare(&kernel.records[k], &fast.records[f]);

		if (order < 0)
			record_print("only kernel", &kernel.records[k]);
		if (order > 0)
			record_print("only fast", &fast.records[f]);
		k += order <= 0;
		f += order >= 0;
	}
}

static void report(struct run *run, unsigned device, unsigned index, const char *kind)
{
	run->differences++;
	printf("# difference: %s, seed %" PRIu64 ", frame %" PRIu64 ", d%u: %s\n", run->name,
	       run->seed, run->frames + index, device, kind);
}

/* Each by itself; the batch as it was if that tells nothing (fragments, for example). */
static void blame(struct run *run, unsigned device, const struct shot *lot, unsigned n)
{
	static struct receiver kernel_then, fast_then;
	static struct shot one[1 + MARKERS_MAX];
	uint64_t before = run->differences;

	kernel_then = kernel;
	fast_then = fast;
	for (unsigned i = 0; i < n && run->differences < DIFFERENCES_MAX; i++) {
		enum outcome outcome;

		one[0] = lot[i];
		outcome = round_of(run, device, one, 1, ROUND_LIMIT_MS, SETTLE_MS);
		if (outcome == EQUAL)
			continue;
		report(run, device, i, lot[i].kind);
		print_shot(&lot[i]);
		if (outcome == LOST)
			printf("#   markers were lost\n");
		print_records();
	}
	if (run->differences > before)
		return;
	kernel = kernel_then;
	fast = fast_then;
	report(run, device, 0, "not of one frame alone");
	print_records();
}

/* Has the fast side one datagram, taken off a ring, that the kernel does not deliver? */
static bool one_more(void)
{
	unsigned k = 0, extra = 0;

	for (unsigned f = 0; f < fast.count; f++) {
		if (k < kernel.count && !record_compare(&kernel.records[k], &fast.records[f]))
			k++;
		else
			extra += fast.records[f].path == MR_PATH_XDP ? 1 : 2;
	}
	return k == kernel.count && extra == 1;
}

/* One for which the documents promise less than equality; it is injected by itself. */
static bool may_deviate(const struct run *run, const struct shot *s)
{
	return (run->tags_unseen && s->tag & 0xfff) || (!s->partial && shot_looks_partial(s));
}

static void deviate(struct run *run, unsigned device, const struct shot *s)
{
	static struct shot one[1 + MARKERS_MAX];
	enum outcome outcome;

	one[0] = *s;
	outcome = round_of(run, device, one, 1, ROUND_LIMIT_MS, 0);
	if (outcome == UNEQUAL && one_more())
		run->deviations[s->tag & 0xfff ? TAG_UNSEEN : LOOKS_PARTIAL]++;
	else if (outcome != EQUAL)
		blame(run, device, s, 1);
}

/* ---------------------------------------------------------------- many */

bool run_frames(struct run *run, unsigned device, uint64_t frames, bool walk)
{
	static struct shot lot[ROUND_FRAMES + MARKERS_MAX];
	uint64_t end = run->frames + frames;

	run->gen.device = device;
	while (run->frames < end) {
		unsigned n = 0;

		while (n + SHOTS_PER_CALL <= ROUND_FRAMES && run->frames + n < end) {
			unsigned more = 1;

			if (walk)
				walk = gen_walk(&run->gen, &lot[n]);
			if (!walk)
				more = gen_random(&run->gen, &lot[n]);
			if (more == 1 && may_deviate(run, &lot[n])) {
				deviate(run, device, &lot[n]);
				run->frames++;
			} else {
				n += more;
			}
		}
		if (round_of(run, device, lot, n, ROUND_LIMIT_MS, SETTLE_MS) != EQUAL)
			blame(run, device, lot, n);
		run->frames += n;
		if (run->differences >= DIFFERENCES_MAX)
			return false;
	}
	return true;
}
