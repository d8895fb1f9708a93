/* SPDX-License-Identifier: MIT */
/*
 * One queue over a kernel that the test plays: each thing it has to bear, by itself. All of them
 * together, at random, are in test_xdp_ledger.c.
 */
#include "xdp_fixture.h"

#define FRAMES 256u
#define DEPTH  64u
#define SLOT   3u
#define ID     5u

static struct {
	struct umem umem;
	struct queue *q;
	struct xsk_socket *x;
	struct counters counters;
	struct steer_fates fates;
	struct mr_datagram held[FRAMES + JUMBO_BUFFERS];
	unsigned held_count;
	struct packet packet;
} t;

static int open_queue(void)
{
	const struct queue_options o = {
		.device = "none",
		.queue_id = ID,
		.depth = DEPTH,
		.slot = SLOT,
		.fates = &t.fates,
		.jumbo = true,
	};
	char reason[200];
	int err = queue_open(&t.q, &t.umem, &o, reason, sizeof(reason));

	if (err)
		return err;
	t.x = t.q->xsk;
	return queue_arm(t.q);
}

static int set_up(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	memset(&kernel, 0, sizeof(kernel));
	kernel.rx_size = RING_SIZE;
	return umem_init(&t.umem, FRAMES) || open_queue();
}

static int tear_down(void **state)
{
	(void)state;
	if (t.q)
		queue_close(t.q);
	umem_fini(&t.umem);
	return kernel.umems ? -1 : 0;
}

/* A packet of len bytes comes in. False: there was no room for it. */
static bool receive(uint32_t len, uint32_t number)
{
	bool room;

	packet_make(&t.packet, number % 2, len, number);
	room = kernel_write(t.x, &t.packet);
	kernel_publish(t.x);
	return room;
}

/* The same, spoilt on the way. */
static void receive_spoilt(uint32_t len)
{
	packet_make(&t.packet, false, len, 0);
	t.packet.bytes[len - 1] ^= 0x55;
	assert_true(kernel_write(t.x, &t.packet));
	kernel_publish(t.x);
}

static unsigned take(unsigned max)
{
	unsigned n = queue_take(t.q, &t.held[t.held_count], max, &t.counters);

	assert_true(n <= max);
	t.held_count += n;
	return n;
}

static void give_last(void)
{
	umem_give(&t.umem, cookie_frame(t.held[--t.held_count].cookie));
}

static uint64_t dropped(void)
{
	assert_int_equal(t.fates.malformed, counters_get(&t.counters, REASON_XDP_MALFORMED));
	assert_int_equal(t.fates.bad_sum, counters_get(&t.counters, REASON_XDP_BAD_SUM));
	assert_int_equal(t.fates.no_buffer, counters_get(&t.counters, REASON_XDP_NO_FRAME));
	return t.fates.malformed + t.fates.bad_sum + t.fates.no_buffer;
}

/* Nothing is with the caller or unread, and all that can be is with the kernel. */
static void assert_at_rest(void)
{
	assert_true(queue_is_empty(t.q));
	assert_int_equal(t.q->stocked, DEPTH);
	assert_int_equal(umem_count(&t.umem, FRAME_FILL + SLOT), DEPTH);
	assert_int_equal(t.umem.free_count, FRAMES - DEPTH);
	if (t.umem.jumbo)
		assert_int_equal(t.umem.jumbo_free_count, JUMBO_BUFFERS);
}

/* A caller that holds everything starves the ring; giving back revives it. */
static void test_starvation(void **state)
{
	(void)state;
	while (receive(100, 1))
		take(64);
	assert_int_equal(t.held_count, FRAMES);
	assert_int_equal(t.umem.free_count, 0);
	give_last();
	take(64);
	assert_true(receive(100, 2));
	assert_int_equal(take(64), 1);
	while (t.held_count)
		give_last();
	take(64);
	assert_at_rest();
}

/* What closing leaves in the rings comes back by reclaim, what the caller holds does not. */
static void test_reclaim(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		assert_true(receive(100, i));
	assert_int_equal(take(6), 6);
	queue_disarm(t.q);
	assert_false(kernel.armed[ID]);
	queue_close(t.q);
	t.q = NULL;
	assert_int_equal(umem_reclaim(&t.umem, FRAME_FILL + SLOT), DEPTH);
	assert_int_equal(t.umem.free_count, FRAMES - 6);
	while (t.held_count)
		give_last();
	assert_int_equal(t.umem.free_count, FRAMES);
	assert_int_equal(open_queue(), 0);
	assert_at_rest();
}

/* Descriptors the kernel should never write: counted, and no frame is touched. */
static void test_odd_descriptors(void **state)
{
	static const struct xdp_desc odd[] = {
		{ .addr = (uint64_t)FRAMES * FRAME_SIZE, .len = 60 },
		{ .addr = UINT64_MAX, .len = 60 },
		{ .addr = 0, .len = FRAME_SIZE + 1 },
		{ .addr = 0, .len = UINT32_MAX },
		{ .addr = 2000, .len = 60 },
		{ .addr = (uint64_t)FRAME_SIZE * (DEPTH + 5), .len = 60 }, /* one that is free */
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(odd); i++) {
		assert_true(receive(100, i));
		t.x->rx[(t.x->written - 1) % RING_SIZE] = odd[i];
		assert_int_equal(take(8), 0);
		assert_int_equal(t.fates.malformed, i + 1);
	}
	/* Each was of a frame that the kernel has not spoken of since. */
	assert_int_equal(t.umem.free_count, FRAMES - DEPTH - COUNT(odd));
	assert_int_equal(dropped(), COUNT(odd));
}

/* The frame of one part is odd: the others come back, and the packet is no more. */
static void test_odd_part(void **state)
{
	(void)state;
	for (uint32_t part = 0; part < 3; part++) {
		assert_true(receive(2 * CHUNK + 100, 1));
		t.x->rx[t.x->written - 3 + part].addr += (uint64_t)FRAMES * FRAME_SIZE;
		assert_int_equal(take(8), 0);
		assert_int_equal(t.fates.malformed, part + 1);
		assert_int_equal(t.umem.free_count, FRAMES - DEPTH - part - 1);
		assert_int_equal(t.umem.jumbo_free_count, JUMBO_BUFFERS);
	}
}

/* Of several frames: one piece for the caller, who holds no frame for it. */
static void test_jumbo(void **state)
{
	static const uint32_t lengths[] = { CHUNK, CHUNK + 1, 2 * CHUNK, 9014, JUMBO_SIZE };
	uint32_t number = 0;

	(void)state;
	assert_int_equal(queue_frame_max(t.q), JUMBO_SIZE);
	for (unsigned i = 0; i < COUNT(lengths); i++)
		for (unsigned is6 = 0; is6 < 2; is6++) {
			const struct mr_datagram *d = &t.held[t.held_count];

			assert_true(receive(lengths[i], ++number));
			assert_int_equal(take(8), 1);
			assert_int_equal(d->len, lengths[i] - (number % 2 ? 62 : 42));
			assert_true(payload_is(d->data, d->len, number));
			assert_int_equal(cookie_frame(d->cookie) >= FRAMES, i > 0);
		}
	assert_int_equal(t.fates.delivered, number);
	assert_int_equal(counters_get(&t.counters, REASON_XDP_DELIVERED), number);
	assert_int_equal(umem_count(&t.umem, FRAME_CALLER), 2);
	while (t.held_count)
		give_last();
	take(1);
	assert_at_rest();
}

static void test_jumbo_too_long(void **state)
{
	(void)state;
	assert_true(receive(JUMBO_SIZE + 1, 1));
	assert_true(receive(3 * JUMBO_SIZE, 1));
	assert_int_equal(take(8), 0);
	assert_int_equal(t.fates.malformed, 2);
	assert_int_equal(dropped(), 2);
	assert_at_rest();
}

static void test_jumbo_spoilt(void **state)
{
	(void)state;
	receive_spoilt(3 * CHUNK);
	assert_int_equal(take(8), 0);
	assert_int_equal(t.fates.bad_sum, 1);
	packet_make(&t.packet, true, 3 * CHUNK, 1);
	packet_malform(&t.packet);
	assert_true(kernel_write(t.x, &t.packet));
	kernel_publish(t.x);
	assert_int_equal(take(8), 0);
	assert_int_equal(t.fates.malformed, 1);
	assert_int_equal(dropped(), 2);
	assert_at_rest();
}

/* With every buffer held, packets of several frames are dropped, and others are not. */
static void test_jumbo_none_left(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < JUMBO_BUFFERS; i++) {
		assert_true(receive(CHUNK + 1 + i, i));
		assert_int_equal(take(1), 1);
	}
	assert_true(receive(CHUNK + 1, 1));
	assert_true(receive(JUMBO_SIZE + 1, 1));
	assert_true(receive(100, 2));
	assert_int_equal(take(8), 1);
	assert_int_equal(t.fates.no_buffer, 1);
	assert_int_equal(t.fates.malformed, 1);
	assert_int_equal(dropped(), 2);
	give_last();
	for (uint32_t i = 0; i < JUMBO_BUFFERS; i++)
		assert_true(payload_is(t.held[i].data, t.held[i].len, i));
	give_last();
	assert_true(receive(CHUNK + 1, 3));
	assert_int_equal(take(8), 1);
	assert_int_equal(t.fates.delivered, JUMBO_BUFFERS + 2);
	while (t.held_count)
		give_last();
	take(1);
	assert_at_rest();
}

/* A look that ends within a packet leaves it whole for the next one. */
static void test_cut(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < JUMBO_FRAMES_MAX - 1; i++)
		receive_spoilt(100);
	assert_true(receive(4 * CHUNK, 7));
	assert_int_equal(take(1), 0);
	assert_int_equal(t.fates.bad_sum, JUMBO_FRAMES_MAX - 1);
	assert_int_equal(t.x->written - t.x->consumer, 4);
	assert_int_equal(t.q->stocked, DEPTH);
	assert_int_equal(take(1), 1);
	assert_true(payload_is(t.held[0].data, t.held[0].len, 7));
	give_last();
	take(1);
	assert_at_rest();
}

/* A packet without end goes in pieces, and does not stop what comes behind it. */
static void test_endless(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 2 * JUMBO_FRAMES_MAX; i++) {
		assert_true(receive(CHUNK, i));
		t.x->rx[t.x->written - 1].options = XDP_PKT_CONTD;
	}
	assert_int_equal(take(8) + take(8), 0);
	assert_int_equal(t.fates.malformed, 2);
	assert_true(receive(100, 8));
	assert_int_equal(take(8), 1);
	assert_true(payload_is(t.held[0].data, t.held[0].len, 8));
	give_last();
	take(1);
	assert_at_rest();
}

/* A packet of which the kernel has shown only the beginning does not stop the queue for ever. */
static void test_half(void **state)
{
	(void)state;
	packet_make(&t.packet, false, 3 * CHUNK, 1);
	assert_true(kernel_write(t.x, &t.packet));
	t.x->producer += 2;
	assert_int_equal(take(8), 0);
	kernel_publish(t.x);
	for (uint32_t i = 0; i < 4; i++)
		assert_true(receive(100, i));
	take(8);
	take(8);
	assert_true(queue_is_empty(t.q));
	assert_true(t.held_count >= 4);
}

/* A kernel that has run out of frames is told of new ones, if it wants to be. */
/* What nobody has read when it is closed is xdp_left: packets, not frames, and all of them. */
static void test_left(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		packet_make(&t.packet, false, 100, i);
		assert_true(kernel_write(t.x, &t.packet));
	}
	kernel_publish(t.x);
	assert_int_equal(take(1), 1);
	packet_make(&t.packet, false, 3 * CHUNK, 3);
	assert_true(kernel_write(t.x, &t.packet));
	kernel_publish(t.x);
	queue_close(t.q);
	t.q = NULL;
	assert_int_equal(t.fates.delivered, 1);
	assert_int_equal(t.fates.left, 3);
}

static void test_wakeup(void **state)
{
	(void)state;
	assert_true(receive(100, 1));
	assert_int_equal(take(1), 1);
	assert_int_equal(kernel.wakeups, 0);
	t.x->umem->flags = XDP_RING_NEED_WAKEUP;
	assert_int_equal(take(1), 0);
	assert_int_equal(kernel.wakeups, 0);
	assert_true(receive(100, 2));
	assert_int_equal(take(1), 1);
	assert_int_equal(kernel.wakeups, 1);
}

/* A kernel that knows nothing of several frames: the queue opens all the same. */
static void test_one_frame_only(void **state)
{
	(void)state;
	queue_close(t.q);
	t.q = NULL;
	umem_reclaim(&t.umem, FRAME_FILL + SLOT);
	kernel.no_flags = XDP_USE_SG;
	assert_int_equal(open_queue(), 0);
	assert_int_equal(queue_frame_max(t.q), CHUNK);
	assert_true(receive(CHUNK, 1));
	assert_int_equal(take(1), 1);
	give_last();
	take(1);
	assert_at_rest();
	assert_null(t.umem.jumbo);
}

/* The kernel's losses are of one socket, the fates are of the queue since the program came. */
static void test_losses(void **state)
{
	struct queue_losses now;

	(void)state;
	t.x->lost = (struct xdp_statistics){ .rx_ring_full = 3, .rx_dropped = 5 };
	queue_losses(t.q, &now);
	assert_int_equal(now.ring_full, 3);
	assert_int_equal(now.no_frame, 5);
	assert_int_equal(t.fates.ring_full, 0);
	queue_publish_losses(t.q);
	queue_publish_losses(t.q);
	assert_int_equal(t.fates.ring_full, 3);
	t.x->lost.rx_ring_full++;
	queue_close(t.q);
	t.q = NULL;
	assert_int_equal(t.fates.ring_full, 4);
	umem_reclaim(&t.umem, FRAME_FILL + SLOT);
	assert_int_equal(open_queue(), 0);
	t.x->lost.rx_ring_full = 10;
	queue_publish_losses(t.q);
	assert_int_equal(t.fates.ring_full, 14);
	assert_int_equal(t.fates.no_frame, 5);
}

/* Refused, it leaves nothing behind, and no frame has moved. */
static void test_refused(void **state)
{
	(void)state;
	queue_close(t.q);
	t.q = NULL;
	assert_int_equal(umem_reclaim(&t.umem, FRAME_FILL + SLOT), DEPTH);
	kernel.bind_error = -ENOBUFS;
	assert_int_equal(open_queue(), -ENOBUFS);
	assert_int_equal(kernel.umems, 0);
	assert_int_equal(t.umem.free_count, FRAMES);
	/* Not armed: stocked already, and to be closed and reclaimed like any other. */
	kernel.bind_error = 0;
	kernel.arm_error = EPERM;
	assert_int_equal(open_queue(), -EPERM);
	queue_close(t.q);
	t.q = NULL;
	assert_int_equal(umem_reclaim(&t.umem, FRAME_FILL + SLOT), DEPTH);
	assert_int_equal(t.umem.free_count, FRAMES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_starvation),	 TEST(test_reclaim),	     TEST(test_odd_descriptors),
		TEST(test_odd_part),	 TEST(test_jumbo),	     TEST(test_jumbo_too_long),
		TEST(test_jumbo_spoilt), TEST(test_jumbo_none_left), TEST(test_cut),
		TEST(test_endless),	 TEST(test_one_frame_only),  TEST(test_losses),
		TEST(test_refused),	 TEST(test_wakeup),	     TEST(test_half),
		TEST(test_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
