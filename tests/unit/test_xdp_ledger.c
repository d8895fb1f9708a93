/* SPDX-License-Identifier: MIT */
/*
 * The frame ledger: queues over one umem, a kernel that is slow, full, closed in mid-air and now
 * and then lies, and a caller who gives back late and in any order. After every step each frame
 * is in exactly one place: free, with a queue's kernel (fill ring, hand or RX ring), astray until
 * the queue is closed, or with the caller, whose bytes nobody touches. A model says beforehand
 * what becomes of each packet. MILLRACE_SEED=… repeats a run.
 */
#include <inttypes.h>

#include "xdp_fixture.h"

#define FRAMES 256u
#define QUEUES 3u
#define STEPS  250000u

struct expect {
	enum reason fate; /* if it is whole, and there is a jumbo buffer when it needs one */
	enum reason sum;  /* the kind of checksum, when delivered */
	uint32_t number, frames, payload;
	bool whole; /* no descriptor lies, and it fits into a jumbo buffer */
};

struct held {
	struct mr_datagram d;
	uint32_t number;
	unsigned until; /* the step before which it is not given back */
};

enum temper { GENEROUS, KEEPS_FRAMES, KEEPS_JUMBO, KEEPS_ALL, TEMPERS };

static struct {
	uint64_t seed;
	unsigned step, spell_end;
	enum temper temper;
	struct umem umem;
	struct queue *queues[QUEUES];
	struct expect expect[QUEUES][RING_SIZE];
	uint32_t arrived[QUEUES], settled[QUEUES]; /* into `expect` */
	bool astray[QUEUES][FRAMES]; /* lied about, or left by a closed queue: back by reclaim */
	struct held held[FRAMES + JUMBO_BUFFERS];
	uint32_t held_count, jumbo_held, number;
	bool storm; /* nothing good comes: a look at the ring goes further than usual */
	struct counters counters, want;
	struct steer_fates fates[QUEUES], want_fates[QUEUES];
	struct packet packet;
	/* What must have come up for the run to mean something. */
	uint64_t delivered, delivered_jumbo, full_jumbo, too_long, cut, lies, unread, empty, failed;
	uint64_t packets;
} sim;

#define check(what)                                                                             \
	do {                                                                                    \
		if (!(what))                                                                    \
			fail_msg("MILLRACE_SEED=%#" PRIx64 ", step %u: %s", sim.seed, sim.step, \
				 #what);                                                        \
	} while (0)

/* ---------------------------------------------------------------- the ledger */

static void place(bool *seen, uint32_t frame, unsigned state)
{
	check(frame < FRAMES);
	check(!seen[frame]);
	check(sim.umem.state[frame] == state);
	seen[frame] = true;
}

static uint32_t place_queue(bool *seen, unsigned k)
{
	const struct queue *q = sim.queues[k];
	const struct xsk_socket *x = q->xsk;
	const struct xsk_umem *u = q->xsk_umem;
	uint32_t stocked = u->producer - u->hand + (x->written - x->consumer);

	for (uint32_t i = u->hand; i != u->producer; i++) {
		uint64_t addr = u->fill[i & (RING_SIZE - 1)];

		check(addr % FRAME_SIZE == 0);
		place(seen, (uint32_t)(addr / FRAME_SIZE), FRAME_FILL + k);
	}
	for (uint32_t i = x->consumer; i != x->written; i++)
		place(seen, x->frame[i & (x->size - 1)], FRAME_FILL + k);
	check(q->stocked == stocked);
	check(stocked <= q->depth);
	return stocked;
}

static void check_jumbo(const bool *held)
{
	bool free[JUMBO_BUFFERS] = { false };

	if (!sim.umem.jumbo) {
		check(sim.jumbo_held == 0);
		return;
	}
	check(sim.umem.jumbo_free_count + sim.jumbo_held == JUMBO_BUFFERS);
	for (uint32_t i = 0; i < sim.umem.jumbo_free_count; i++) {
		uint8_t k = sim.umem.jumbo_free[i];

		check(k < JUMBO_BUFFERS && !free[k] && !held[k]);
		free[k] = true;
	}
	for (uint32_t k = 0; k < JUMBO_BUFFERS; k++)
		check(sim.umem.jumbo_held[k] == held[k]);
}

static void check_ledger(void)
{
	bool seen[FRAMES] = { false }, jumbo[JUMBO_BUFFERS] = { false };
	uint32_t count = sim.umem.free_count + sim.held_count - sim.jumbo_held;

	check(sim.umem.free_count <= FRAMES);
	for (uint32_t i = 0; i < sim.umem.free_count; i++)
		place(seen, sim.umem.free[i], FRAME_FREE);
	for (uint32_t i = 0; i < sim.held_count; i++) {
		uint32_t frame = cookie_frame(sim.held[i].d.cookie);

		if (frame < FRAMES) {
			place(seen, frame, FRAME_CALLER);
			continue;
		}
		check(frame - FRAMES < JUMBO_BUFFERS && !jumbo[frame - FRAMES]);
		jumbo[frame - FRAMES] = true;
	}
	for (unsigned k = 0; k < QUEUES; k++) {
		if (sim.queues[k])
			count += place_queue(seen, k);
		for (uint32_t i = 0; i < FRAMES; i++)
			if (sim.astray[k][i]) {
				place(seen, i, FRAME_FILL + k);
				count++;
			}
	}
	check(count == FRAMES);
	check_jumbo(jumbo);
}

/* ---------------------------------------------------------------- packets */

static void put_sum(struct packet *p, struct expect *e)
{
	uint8_t *sum = p->bytes + packet_udp(p) + 6;
	uint32_t pseudo = packet_pseudo(p);

	if (e->sum == REASON_XDP_SUM_NONE)
		frame_put16(sum, 0);
	else if (e->sum == REASON_XDP_SUM_PARTIAL)
		frame_put16(sum, pseudo);
	else if (e->fate == REASON_XDP_BAD_SUM)
		do
			sum[1] = (uint8_t)(sum[1] + 0x11);
		while (frame_add(sum, 2, 0) == pseudo || frame_add(sum, 2, 0) == 0);
	else if (frame_add(sum, 2, 0) == pseudo)
		e->sum = REASON_XDP_SUM_PARTIAL; /* a finished one looks like that by chance */
}

static struct expect some_packet(struct packet *p)
{
	bool is6 = random_below(2);
	unsigned kind = sim.storm ? 3 + random_below(4) : random_below(16);
	uint32_t headers = is6 ? 62 : 42, len = packet_length(headers);
	struct expect e = { .fate = REASON_XDP_DELIVERED,
			    .sum = REASON_XDP_DELIVERED,
			    .number = sim.number++,
			    .payload = len - headers };

	packet_make(p, is6, len, e.number);
	if (kind < 2)
		e.sum = REASON_XDP_SUM_PARTIAL;
	else if (kind == 2 && !is6)
		e.sum = REASON_XDP_SUM_NONE;
	else if (kind < 5)
		e.fate = REASON_XDP_BAD_SUM;
	else if (kind < 7)
		e.fate = REASON_XDP_MALFORMED;
	put_sum(p, &e);
	if (e.fate == REASON_XDP_MALFORMED)
		packet_malform(p);
	e.frames = kernel_frames(p);
	e.whole = p->len <= JUMBO_SIZE;
	return e;
}

/* The descriptors, written and not yet published, of what arrived last. */
static void lie(unsigned k, uint32_t at, struct xdp_desc desc)
{
	struct xsk_socket *x = sim.queues[k]->xsk;
	struct expect *e = &sim.expect[k][(sim.arrived[k] - 1) % RING_SIZE];

	x->rx[at & (x->size - 1)].addr = desc.addr;
	x->rx[at & (x->size - 1)].len = desc.len;
	x->lie[at & (x->size - 1)] = true;
	e->fate = REASON_XDP_MALFORMED;
	e->whole = false;
	sim.lies++;
}

static bool arrive(unsigned k)
{
	struct xsk_socket *x = sim.queues[k]->xsk;
	struct expect e = some_packet(&sim.packet);
	uint32_t at;

	if (!kernel_write(x, &sim.packet)) {
		sim.empty += x->umem->hand == x->umem->producer;
		return false;
	}
	sim.expect[k][sim.arrived[k]++ % RING_SIZE] = e;
	sim.packets++;
	at = x->written - 1 - random_below(e.frames);
	if (random_below(64) == 0)
		lie(k, at, kernel_absurd(x, x->rx[at & (x->size - 1)]));
	else if (random_below(16) == 0)
		kernel_shift(x, &x->rx[at & (x->size - 1)]);
	return true;
}

/* ---------------------------------------------------------------- the caller */

/* What the model says becomes of a packet now that it is looked at. */
static enum reason settle(unsigned k, const struct expect *e)
{
	struct steer_fates *want = &sim.want_fates[k];
	enum reason fate = e->fate;

	if (e->frames > 1 && !e->whole)
		fate = REASON_XDP_MALFORMED;
	else if (e->frames > 1 && sim.jumbo_held == JUMBO_BUFFERS)
		fate = REASON_XDP_NO_FRAME;
	want->delivered += fate == REASON_XDP_DELIVERED;
	want->bad_sum += fate == REASON_XDP_BAD_SUM;
	want->malformed += fate == REASON_XDP_MALFORMED;
	want->no_buffer += fate == REASON_XDP_NO_FRAME;
	counters_add(&sim.want, fate, 1);
	if (fate == REASON_XDP_DELIVERED && e->sum != REASON_XDP_DELIVERED)
		counters_add(&sim.want, e->sum, 1);
	sim.full_jumbo += fate == REASON_XDP_NO_FRAME;
	sim.too_long += e->frames > JUMBO_SIZE / CHUNK && !e->whole;
	return fate;
}

/* Delivered, from place `at` of the RX ring. */
static void hold(unsigned k, const struct expect *e, uint32_t at, const struct mr_datagram *d)
{
	const struct xsk_socket *x = sim.queues[k]->xsk;
	uint32_t frame = cookie_frame(d->cookie);
	const uint8_t *from = sim.umem.area + (size_t)frame * FRAME_SIZE, *data = d->data;
	uint32_t size = FRAME_SIZE;

	if (e->frames > 1) {
		check(frame >= FRAMES && frame - FRAMES < JUMBO_BUFFERS);
		from = umem_jumbo(&sim.umem, frame);
		size = JUMBO_SIZE;
		sim.jumbo_held++;
		sim.delivered_jumbo++;
	} else {
		check(frame == x->frame[at & (x->size - 1)]);
	}
	check(d->len == e->payload);
	check(data >= from && data + d->len <= from + size);
	check(payload_is(d->data, d->len, e->number));
	check(sim.held_count < COUNT(sim.held));
	sim.held[sim.held_count++] = (struct held){
		.d = *d,
		.number = e->number,
		.until = sim.step + (random_below(16) ? 0 : random_below(5000)),
	};
	sim.delivered++;
}

static void take(unsigned k, unsigned max)
{
	struct queue *q = sim.queues[k];
	struct xsk_socket *x = q->xsk;
	uint32_t from = x->consumer, at = from, n = 0, look = max;
	uint32_t seen = q->rx.cached_prod != from ? q->rx.cached_prod : x->producer;
	struct mr_datagram d[BATCH_MAX];
	unsigned count = queue_take(q, d, max, &sim.counters);

	/* libxdp asks for news when what it knows of is used up; a queue looks no further than: */
	if (q->jumbo)
		look += JUMBO_FRAMES_MAX;
	if (seen - from > look)
		seen = from + look;
	while (at != seen && n < max) {
		const struct expect *e = &sim.expect[k][sim.settled[k] % RING_SIZE];

		if (e->frames > seen - at) {
			sim.cut++;
			break;
		}
		if (settle(k, e) == REASON_XDP_DELIVERED) {
			check(n < count);
			hold(k, e, at, &d[n++]);
		}
		for (uint32_t i = 0; i < e->frames; i++, at++)
			if (x->lie[at & (x->size - 1)])
				sim.astray[k][x->frame[at & (x->size - 1)]] = true;
		sim.settled[k]++;
	}
	check(count == n);
	check(x->consumer == at);
	check(q->stocked == q->depth || !sim.umem.free_count);
	check(!memcmp(&sim.fates[k], &sim.want_fates[k], sizeof(sim.fates[k])));
}

static void give(uint32_t i)
{
	struct held *h = &sim.held[i];
	uint32_t frame = cookie_frame(h->d.cookie);

	check(payload_is(h->d.data, h->d.len, h->number));
	sim.jumbo_held -= frame >= FRAMES;
	umem_give(&sim.umem, frame);
	*h = sim.held[--sim.held_count];
}

static void release(unsigned n)
{
	if (sim.step >= sim.spell_end) {
		sim.temper = random_below(2) ? random_below(TEMPERS) : GENEROUS;
		sim.spell_end = sim.step + 200 + random_below(6000);
	}
	while (n-- && sim.held_count) {
		uint32_t i = random_below(sim.held_count);
		bool jumbo = cookie_frame(sim.held[i].d.cookie) >= FRAMES;

		if (sim.step < sim.held[i].until || sim.temper == KEEPS_ALL ||
		    sim.temper == (jumbo ? KEEPS_JUMBO : KEEPS_FRAMES))
			continue;
		give(i);
	}
}

/* ---------------------------------------------------------------- opening and closing */

/* All its frames are astray until they are reclaimed; what was not read is lost. */
static void shut(unsigned k)
{
	struct queue *q = sim.queues[k];
	struct xsk_socket *x = q->xsk;
	const struct xsk_umem *u = q->xsk_umem;

	for (uint32_t i = u->hand; i != u->producer; i++)
		sim.astray[k][u->fill[i & (RING_SIZE - 1)] / FRAME_SIZE] = true;
	for (uint32_t i = x->consumer; i != x->written; i++)
		sim.astray[k][x->frame[i & (x->size - 1)]] = true;
	kernel_publish(x);
	sim.unread += sim.arrived[k] - sim.settled[k];
	for (uint32_t i = x->consumer; i != x->producer; i++)
		sim.want_fates[k].left += !(x->rx[i & (x->size - 1)].options & XDP_PKT_CONTD);
	sim.settled[k] = sim.arrived[k];
	sim.want_fates[k].ring_full += x->lost.rx_ring_full;
	sim.want_fates[k].no_frame += x->lost.rx_dropped;
	queue_close(q);
	sim.queues[k] = NULL;
	check(!memcmp(&sim.fates[k], &sim.want_fates[k], sizeof(sim.fates[k])));
}

/* As the reader ends a queue: out of the program's sight, grace, read until empty. */
static void retire(unsigned k)
{
	struct queue *q = sim.queues[k];

	queue_disarm(q);
	check(!kernel.armed[k]);
	kernel_publish(q->xsk);
	while (!queue_is_empty(q)) {
		uint32_t before = q->xsk->consumer;

		take(k, 1 + random_below(BATCH_MAX));
		check(q->xsk->consumer != before);
	}
	check(sim.settled[k] == sim.arrived[k]);
	shut(k);
}

static void reclaim(unsigned k)
{
	uint32_t astray = 0;

	for (uint32_t i = 0; i < FRAMES; i++)
		astray += sim.astray[k][i];
	check(umem_reclaim(&sim.umem, (uint8_t)(FRAME_FILL + k)) == astray);
	memset(sim.astray[k], 0, sizeof(sim.astray[k]));
}

static void reopen(unsigned k)
{
	char reason[100];
	struct queue_options o = {
		.device = "none",
		.origin = { .ifindex = 7, .local_senders = true },
		.queue_id = k,
		.depth = 16u << random_below(4),
		.slot = (uint8_t)k,
		.fates = &sim.fates[k],
		.jumbo = random_below(8),
	};
	int err;

	reclaim(k);
	kernel.rx_size = 32u << random_below(4);
	kernel.no_flags = random_below(8) ? 0 : XDP_USE_SG;
	kernel.bind_error = random_below(8) ? 0 : -ENOBUFS;
	kernel.arm_error = random_below(8) ? 0 : EPERM;
	err = queue_open(&sim.queues[k], &sim.umem, &o, reason, sizeof(reason));
	check(err == kernel.bind_error);
	sim.failed += err || kernel.arm_error;
	if (err)
		return;
	check(sim.queues[k]->jumbo == (o.jumbo && !kernel.no_flags));
	err = queue_arm(sim.queues[k]);
	check(err == -kernel.arm_error);
	if (err)
		shut(k);
}

/* ---------------------------------------------------------------- the run */

/*
 * Descriptors of frames that are not, or no longer, this queue's to have. All are read in one
 * look, since a frame that is back in the fill ring by then could not be told.
 */
static void lie_of_others(unsigned k)
{
	struct xsk_socket *x = sim.queues[k]->xsk;
	uint32_t start;

	kernel_publish(x);
	while (x->consumer != x->producer)
		take(k, BATCH_MAX);
	start = x->written;
	for (unsigned i = 0; i < 6; i++) {
		uint32_t before = x->written, at, frame = random_below(FRAMES);

		if (!arrive(k) || random_below(2))
			continue;
		at = before + random_below(x->written - before);
		if (at != start && random_below(2)) {
			uint32_t twice = (start + random_below(at - start)) & (x->size - 1);

			if (!x->lie[twice])
				lie(k, at, x->rx[twice]);
		} else if (sim.umem.state[frame] != FRAME_FILL + k) {
			lie(k, at,
			    (struct xdp_desc){ .addr = (uint64_t)frame * FRAME_SIZE, .len = 99 });
		}
	}
	kernel_publish(x);
	take(k, BATCH_MAX);
	check(x->consumer == x->written);
}

static void step(void)
{
	unsigned k = random_below(QUEUES), dice = random_below(16);

	if (dice < 3) {
		release(random_below(24));
	} else if (!sim.queues[k]) {
		if (random_below(4) == 0)
			reopen(k);
		else if (random_below(4) == 0)
			reclaim(k);
	} else if (dice < 8) {
		sim.storm = random_below(16) == 0;
		for (unsigned n = 1 + random_below(sim.storm ? 50 : 8); n; n--)
			arrive(k);
		sim.storm = false;
	} else if (dice < 11) {
		kernel_publish(sim.queues[k]->xsk);
	} else if (dice < 14) {
		take(k, 1 + random_below(random_below(4) ? 8 : BATCH_MAX));
	} else if (dice < 15 || random_below(32)) {
		kernel_grab(sim.queues[k]->xsk, random_below(32));
	} else {
		switch (random_below(4)) {
		case 0:
			retire(k);
			break;
		case 1:
			shut(k);
			break;
		default:
			lie_of_others(k);
		}
	}
}

static void check_totals(void)
{
	uint64_t sum = sim.unread;

	for (unsigned k = 0; k < QUEUES; k++)
		sum += sim.fates[k].delivered + sim.fates[k].bad_sum + sim.fates[k].malformed +
		       sim.fates[k].no_buffer;
	check(sum == sim.packets);
	for (unsigned i = 0; i < REASON_COUNT; i++)
		if (counters_get(&sim.counters, i) != counters_get(&sim.want, i))
			fail_msg("MILLRACE_SEED=%#" PRIx64 ": %s is %" PRIu64 ", not %" PRIu64,
				 sim.seed, mr_reason_name(i), counters_get(&sim.counters, i),
				 counters_get(&sim.want, i));
	check(sim.want_fates[0].ring_full > 100 && sim.want_fates[0].no_frame > 100);
	check(counters_get(&sim.want, REASON_XDP_BAD_SUM) > 1000);
	check(counters_get(&sim.want, REASON_XDP_SUM_PARTIAL) > 1000);
	check(counters_get(&sim.want, REASON_XDP_SUM_NONE) > 1000);
	check(sim.delivered > 10000 && sim.delivered_jumbo > 1000 && sim.full_jumbo > 100);
	check(sim.too_long > 20 && sim.cut > 20 && sim.lies > 1000 && sim.unread > 100);
	check(sim.empty > 1000 && sim.failed > 20);
}

static void test_ledger(void **state)
{
	const char *seed = getenv("MILLRACE_SEED");

	(void)state;
	sim.seed = random_state = seed ? strtoull(seed, NULL, 0) : 0x6d696c6c;
	/* In words before it begins: an assertion of the library's would say nothing of it. */
	print_message("# MILLRACE_SEED=%#" PRIx64 "\n", sim.seed);
	assert_int_equal(umem_init(&sim.umem, FRAMES), 0);
	for (; sim.step < STEPS; sim.step++) {
		step();
		check_ledger();
	}
	for (unsigned k = 0; k < QUEUES; k++) {
		if (sim.queues[k])
			retire(k);
		reclaim(k);
	}
	while (sim.held_count)
		give(0);
	check_ledger();
	check(sim.umem.free_count == FRAMES && sim.umem.jumbo_free_count == JUMBO_BUFFERS);
	check(!kernel.umems);
	check_totals();
	umem_fini(&sim.umem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
