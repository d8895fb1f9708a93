/* SPDX-License-Identifier: MIT */
/*
 * A queue over fake rings: the test stands in for the kernel, takes frames from the fill ring and
 * puts them on the receive ring. After every step each frame is in exactly one place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Its inside, where the rings can be put. */
#include "../../user/lib/xdp/queue.c"

#include "../support/frames.h"

#define FRAMES 256u
#define DEPTH  64u
#define SLOT   3u

struct fake {
	struct umem umem;
	struct queue q;
	struct counters counters;
	uint32_t fill_producer, fill_consumer, rx_producer, rx_consumer, no_flags;
	uint64_t fill_ring[RING_SIZE];
	struct xdp_desc rx_ring[RING_SIZE];
	struct mr_datagram held[FRAMES];
	unsigned held_count;
};

static struct fake *fake_new(void)
{
	struct fake *k = calloc(1, sizeof(*k));

	assert_int_equal(umem_init(&k->umem, FRAMES), 0);
	k->q = (struct queue){ .umem = &k->umem, .depth = DEPTH, .slot = SLOT };
	k->q.fill = (struct xsk_ring_prod){ .mask = RING_SIZE - 1,
					    .size = RING_SIZE,
					    .producer = &k->fill_producer,
					    .consumer = &k->fill_consumer,
					    .ring = k->fill_ring,
					    .flags = &k->no_flags,
					    .cached_cons = RING_SIZE };
	k->q.rx = (struct xsk_ring_cons){ .mask = RING_SIZE - 1,
					  .size = RING_SIZE,
					  .producer = &k->rx_producer,
					  .consumer = &k->rx_consumer,
					  .ring = k->rx_ring };
	stock(&k->q);
	return k;
}

static void fake_free(struct fake *k)
{
	umem_fini(&k->umem);
	free(k);
}

/* The kernel: one frame from the fill ring to the receive ring, holding f. False: none there. */
static bool fake_receive(struct fake *k, const struct frame *f)
{
	uint64_t addr;

	if (k->fill_consumer == k->fill_producer)
		return false;
	addr = k->fill_ring[k->fill_consumer++ & (RING_SIZE - 1)] + FRAME_HEADROOM_KERNEL;
	memcpy(k->umem.area + addr, f->bytes, f->len);
	k->rx_ring[k->rx_producer++ & (RING_SIZE - 1)] =
		(struct xdp_desc){ .addr = addr, .len = f->len };
	return true;
}

static void check_ledger(const struct fake *k)
{
	uint32_t rings = (k->fill_producer - k->fill_consumer) + (k->rx_producer - k->rx_consumer);

	assert_int_equal(umem_count(&k->umem, FRAME_FREE), k->umem.free_count);
	assert_int_equal(umem_count(&k->umem, FRAME_CALLER), k->held_count);
	assert_int_equal(umem_count(&k->umem, FRAME_FILL + SLOT), rings);
	assert_int_equal(k->umem.free_count + k->held_count + rings, FRAMES);
	assert_int_equal(k->q.stocked, rings);
	assert_true(rings <= DEPTH);
}

static void take(struct fake *k, unsigned max)
{
	unsigned n = queue_take(&k->q, &k->held[k->held_count], max, &k->counters);

	assert_true(n <= max);
	k->held_count += n;
}

static void give(struct fake *k, unsigned i)
{
	umem_give(&k->umem, cookie_frame(k->held[i].cookie));
	k->held[i] = k->held[--k->held_count];
}

static void test_ledger(void **state)
{
	uint64_t seed = 0x6d696c6cu, delivered = 0, bad = 0, starved = 0;
	struct fake *k = fake_new();

	(void)state;
	for (unsigned step = 0; step < 200000; step++) {
		uint64_t dice = frame_random(&seed);
		struct frame f;

		/* Longer and shorter spells of a caller that gives nothing back. */
		bool hoarding = step / 2000 % 3 == 1;

		switch (dice % 4) {
		case 0:
		case 1:
			frame_ip4(&f, (uint32_t)(dice >> 8) % 64);
			if (dice >> 16 & 1)
				frame_ip6(&f, (uint32_t)(dice >> 8) % 64);
			if (dice >> 32 & 1) {
				f.bytes[frame_udp(&f) + 6] ^= 0x55;
			}
			if (!fake_receive(k, &f))
				starved++;
			else if (dice >> 32 & 1)
				bad++;
			else
				delivered++;
			break;
		case 2:
			take(k, 1 + (unsigned)(dice >> 8) % 16);
			break;
		default:
			for (unsigned n = (unsigned)(dice >> 8) % 24; n && k->held_count; n--)
				if (!hoarding)
					give(k, (unsigned)(frame_random(&seed) % k->held_count));
		}
		check_ledger(k);
	}
	for (unsigned i = 0; i < 100; i++) {
		while (k->held_count)
			give(k, 0);
		take(k, 16);
	}
	check_ledger(k);
	/* Every frame the kernel was given a packet for was delivered or counted as bad. */
	assert_int_equal(counters_get(&k->counters, REASON_XDP_DELIVERED), delivered);
	assert_int_equal(counters_get(&k->counters, REASON_XDP_BAD_SUM), bad);
	/* Both plenty and famine must have come up. */
	assert_true(starved > 100 && delivered > 1000 && bad > 1000);
	fake_free(k);
}

/* A caller that holds everything starves the ring; giving back revives it. */
static void test_starvation(void **state)
{
	struct fake *k = fake_new();
	struct frame f;

	(void)state;
	frame_ip4(&f, 18);
	for (;;) {
		if (!fake_receive(k, &f))
			break;
		take(k, 64);
	}
	assert_int_equal(k->held_count, FRAMES);
	assert_int_equal(k->umem.free_count, 0);
	give(k, 17);
	take(k, 64);
	assert_true(fake_receive(k, &f));
	take(k, 64);
	assert_int_equal(k->held_count, FRAMES);
	check_ledger(k);
	fake_free(k);
}

/* What closing leaves in the rings comes back by reclaim, what the caller holds does not. */
static void test_reclaim(void **state)
{
	struct fake *k = fake_new();
	struct frame f;

	(void)state;
	frame_ip4(&f, 18);
	for (int i = 0; i < 10; i++)
		assert_true(fake_receive(k, &f));
	take(k, 6);
	assert_int_equal(umem_reclaim(&k->umem, FRAME_FILL + SLOT), DEPTH);
	assert_int_equal(k->umem.free_count, FRAMES - 6);
	while (k->held_count)
		give(k, 0);
	assert_int_equal(k->umem.free_count, FRAMES);
	fake_free(k);
}

/* Descriptors the kernel should never write: counted, and the frame is not touched. */
static void test_odd_descriptors(void **state)
{
	static const struct xdp_desc odd[] = {
		{ .addr = (uint64_t)FRAMES * FRAME_SIZE, .len = 60 },
		{ .addr = UINT64_MAX, .len = 60 },
		{ .addr = 0, .len = FRAME_SIZE + 1 },
		{ .addr = 2000, .len = 60 },
		{ .addr = (uint64_t)FRAME_SIZE * (DEPTH + 5), .len = 60 }, /* one that is free */
	};
	struct fake *k = fake_new();

	(void)state;
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		k->rx_ring[k->rx_producer++ & (RING_SIZE - 1)] = odd[i];
		k->q.stocked++; /* as if it had been given */
		assert_int_equal(queue_take(&k->q, k->held, 8, &k->counters), 0);
		assert_int_equal(counters_get(&k->counters, REASON_XDP_MALFORMED), i + 1);
	}
	assert_int_equal(k->umem.free_count, FRAMES - DEPTH);
	fake_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ledger),
		cmocka_unit_test(test_starvation),
		cmocka_unit_test(test_reclaim),
		cmocka_unit_test(test_odd_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
