/* SPDX-License-Identifier: MIT */
#include "xdp/queue.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <xdp/xsk.h>

#include "xdp/compat.h"

struct queue {
	struct xsk_ring_cons rx;
	struct xsk_ring_prod fill;
	struct umem *umem;
	struct frame_origin origin;
	uint32_t stocked; /* frames in the fill ring or with the kernel */
	uint32_t depth;
	uint32_t queue_id;
	uint8_t slot;
	bool zero_copy;
	bool jumbo; /* a packet may have several frames (XDP_USE_SG) */
	int fd;
	int xsks_fd;
	struct steer_fates *fates;
	/* cold */
	struct xsk_ring_cons completion;
	struct xsk_umem *xsk_umem;
	struct xsk_socket *xsk;
	struct queue_losses before; /* in the fates when it was opened */
};

static void close_socket(struct queue *q)
{
	if (q->xsk)
		xsk_socket__delete(q->xsk);
	if (q->xsk_umem)
		xsk_umem__delete(q->xsk_umem);
	q->xsk = NULL;
	q->xsk_umem = NULL;
}

static uint16_t bind_flags(const struct queue *q, enum mr_zero_copy zero_copy)
{
	/* Zero copy by itself has crashed hosts on some drivers: it is asked for, not guessed. */
	unsigned mode = zero_copy == MR_ZERO_COPY_ON ? XDP_ZEROCOPY : XDP_COPY;

	return (uint16_t)(mode | XDP_USE_NEED_WAKEUP | (q->jumbo ? XDP_USE_SG : 0));
}

/* One try; a socket whose bind failed keeps its umem, so everything is made anew each time. */
static int open_socket(struct queue *q, const struct queue_options *o)
{
	struct xsk_umem_config umem_config = {
		.fill_size = RING_SIZE,
		.comp_size = RING_SIZE,
		.frame_size = FRAME_SIZE,
	};
	struct xsk_socket_config config = {
		.rx_size = RING_SIZE,
		.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
		.bind_flags = bind_flags(q, o->zero_copy),
	};
	int err;

	err = xsk_umem__create(&q->xsk_umem, q->umem->area, (uint64_t)q->umem->frames * FRAME_SIZE,
			       &q->fill, &q->completion, &umem_config);
	if (err) {
		q->xsk_umem = NULL;
		return err;
	}
	err = xsk_socket__create(&q->xsk, o->device, o->queue_id, q->xsk_umem, &q->rx, NULL,
				 &config);
	if (err) {
		q->xsk = NULL;
		close_socket(q);
	}
	return err;
}

static int open_patiently(struct queue *q, const struct queue_options *o)
{
	const struct timespec step = { .tv_nsec = XSK_BUSY_STEP_MS * 1000000L };
	int err = open_socket(q, o);

	/* Before Linux 6.6, and with drivers that have no such zero copy. */
	if (q->jumbo && (err == -EINVAL || err == -EOPNOTSUPP)) {
		q->jumbo = false;
		err = open_socket(q, o);
	}
	for (int ms = 0; err == -EBUSY && ms < XSK_BUSY_LIMIT_MS; ms += XSK_BUSY_STEP_MS) {
		nanosleep(&step, NULL);
		err = open_socket(q, o);
	}
	return err;
}

static void explain(int err, const struct queue_options *o, char *reason, size_t room)
{
	const char *why = strerror(-err);

	if (err == -EPERM || err == -EACCES)
		why = "AF_XDP sockets need CAP_NET_RAW";
	else if (err == -EAFNOSUPPORT)
		why = "AF_XDP sockets are not there: kernel without CONFIG_XDP_SOCKETS, or "
		      "RestrictAddressFamilies";
	else if (err == -EBUSY)
		why = "another socket has the queue";
	else if (err == -ENOBUFS)
		why = "memory lock limit too low (ulimit -l, LimitMEMLOCK=), or give CAP_IPC_LOCK";
	else if (err == -EOPNOTSUPP && o->zero_copy == MR_ZERO_COPY_ON)
		why = "the driver has no zero copy";
	snprintf(reason, room, "queue %u: %s", o->queue_id, why);
}

static void set_busy_poll(int fd, unsigned us)
{
	int prefer = 1, time = (int)us, budget = BATCH_MAX;

	if (!us)
		return;
	setsockopt(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, &prefer, sizeof(prefer));
	setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL, &time, sizeof(time));
	setsockopt(fd, SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget, sizeof(budget));
}

int queue_open(struct queue **out, struct umem *umem, const struct queue_options *o, char *reason,
	       size_t room)
{
	struct queue *q = calloc(1, sizeof(*q));
	struct xdp_options options = { 0 };
	socklen_t len = sizeof(options);
	int err;

	if (!q)
		return -ENOMEM;
	q->umem = umem;
	q->origin = o->origin;
	q->depth = o->depth;
	q->queue_id = o->queue_id;
	q->slot = o->slot;
	q->xsks_fd = o->xsks_fd;
	q->fates = o->fates;
	q->before = (struct queue_losses){ o->fates->ring_full, o->fates->no_frame };
	/* Not with zero copy, which until Linux 7.0 may give a packet's first frame to two. */
	q->jumbo = o->jumbo && o->zero_copy != MR_ZERO_COPY_ON;
	err = open_patiently(q, o);
	if (err) {
		explain(err, o, reason, room);
		free(q);
		return err;
	}
	q->fd = xsk_socket__fd(q->xsk);
	/* What was asked for and what is in force may differ. */
	if (!getsockopt(q->fd, SOL_XDP, XDP_OPTIONS, &options, &len))
		q->zero_copy = options.flags & XDP_OPTIONS_ZEROCOPY;
	set_busy_poll(q->fd, o->busy_poll_us);
	*out = q;
	return 0;
}

/* Only this thread writes it; others look. */
static void count_fate(__u64 *fate, uint64_t n)
{
	__atomic_store_n(fate, *fate + n, __ATOMIC_RELAXED);
}

/* Packets nobody has read: none but when the transport is closed with the fast path on. */
static void count_left(struct queue *q)
{
	uint32_t index, n, packets = 0;

	/* More than once: it looks for what is new only when it has shown all it knew of. */
	while ((n = xsk_ring_cons__peek(&q->rx, RING_SIZE, &index)))
		for (uint32_t k = 0; k < n; k++)
			packets += !(xsk_ring_cons__rx_desc(&q->rx, index + k)->options &
				     XDP_PKT_CONTD);
	count_fate(&q->fates->left, packets);
}

void queue_close(struct queue *q)
{
	count_left(q);
	queue_publish_losses(q);
	close_socket(q);
	free(q);
}

/* Brings the fill ring up to depth with free frames, as far as there are any. */
static void stock(struct queue *q)
{
	uint32_t want = q->depth - q->stocked, have = q->umem->free_count, index;

	if (want > have)
		want = have;
	/* Cannot fail: depth is no more than the ring holds. */
	if (!want || xsk_ring_prod__reserve(&q->fill, want, &index) != want)
		return;
	for (uint32_t i = 0; i < want; i++) {
		uint32_t frame = umem_take(q->umem, (uint8_t)(FRAME_FILL + q->slot));

		*xsk_ring_prod__fill_addr(&q->fill, index + i) = (uint64_t)frame * FRAME_SIZE;
	}
	xsk_ring_prod__submit(&q->fill, want);
	q->stocked += want;
	/* A zero-copy driver that ran out of frames waits to be told of new ones. */
	if (xsk_ring_prod__needs_wakeup(&q->fill))
		recvfrom(q->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

int queue_arm(struct queue *q)
{
	stock(q);
	return bpf_map_update_elem(q->xsks_fd, &q->queue_id, &q->fd, BPF_ANY) ? -errno : 0;
}

void queue_disarm(struct queue *q)
{
	bpf_map_delete_elem(q->xsks_fd, &q->queue_id);
}

void queue_grace(void)
{
	/* A NAPI poll and its redirects run under RCU; this is synchronize_rcu for user space. */
	const struct timespec long_enough = { .tv_nsec = GRACE_MS * 1000000L };

	/* Not to be had with nohz_full, nor under some seccomp filters. */
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		nanosleep(&long_enough, NULL);
}

/* The kernel is trusted to give back what it was given, but not blindly. */
static bool is_ours(const struct queue *q, const struct xdp_desc *desc)
{
	uint64_t frame = desc->addr / FRAME_SIZE;

	return frame < q->umem->frames && !(desc->addr & 1) &&
	       desc->addr % FRAME_SIZE + desc->len <= FRAME_SIZE &&
	       q->umem->state[frame] == FRAME_FILL + q->slot;
}

/* A frame or jumbo buffer into *d, whose number goes with it; false: it went back. */
static bool decode(struct queue *q, void *bytes, uint32_t len, uint32_t number,
		   struct mr_datagram *d, struct counters *c)
{
	enum reason fate = frame_decode(d, bytes, len, &q->origin);

	if (fate == REASON_XDP_BAD_SUM || fate == REASON_XDP_MALFORMED) {
		counters_add(c, fate, 1);
		count_fate(fate == REASON_XDP_BAD_SUM ? &q->fates->bad_sum : &q->fates->malformed,
			   1);
		umem_give(q->umem, number);
		return false;
	}
	if (fate != REASON_XDP_DELIVERED)
		counters_add(c, fate, 1);
	d->cookie = frame_cookie(number);
	return true;
}

static bool drop_malformed(struct queue *q, struct counters *c)
{
	counters_add(c, REASON_XDP_MALFORMED, 1);
	count_fate(&q->fates->malformed, 1);
	return false;
}

/* One descriptor into *d; false: the frame went back. */
static bool take_one(struct queue *q, const struct xdp_desc *desc, struct mr_datagram *d,
		     struct counters *c)
{
	uint32_t frame = (uint32_t)(desc->addr / FRAME_SIZE);

	if (!is_ours(q, desc))
		return drop_malformed(q, c);
	q->umem->state[frame] = FRAME_CALLER;
	return decode(q, q->umem->area + desc->addr, desc->len, frame, d, c);
}

/* How many of the n descriptors at `index` make up a packet; 0: its end is not among them. */
static uint32_t packet_frames(struct queue *q, uint32_t index, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		if (!(xsk_ring_cons__rx_desc(&q->rx, index + k)->options & XDP_PKT_CONTD))
			return k + 1;
	return 0;
}

/*
 * Puts a packet of several frames together, as a datagram is one piece for the caller. A copy, but
 * of something that costs more than that to send. The frames go back; false: that was all.
 */
static bool take_jumbo(struct queue *q, uint32_t index, uint32_t frames, struct mr_datagram *d,
		       struct counters *c)
{
	uint32_t number = umem_take_jumbo(q->umem), len = 0;
	uint8_t *to = number == UMEM_NONE ? NULL : umem_jumbo(q->umem, number);
	bool whole = true;

	for (uint32_t k = 0; k < frames; k++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&q->rx, index + k);

		whole &= is_ours(q, desc) && len + desc->len <= JUMBO_SIZE;
		if (whole && to)
			memcpy(to + len, q->umem->area + desc->addr, desc->len);
		len += desc->len;
		if (is_ours(q, desc))
			umem_give(q->umem, (uint32_t)(desc->addr / FRAME_SIZE));
	}
	if (whole && to)
		return decode(q, to, len, number, d, c);
	if (to)
		umem_give(q->umem, number);
	if (!whole)
		return drop_malformed(q, c);
	counters_add(c, REASON_XDP_NO_FRAME, 1);
	count_fate(&q->fates->no_buffer, 1);
	return false;
}

/* The packet that begins at the first of n descriptors; how many were used up, 0: not all there. */
static uint32_t take_packet(struct queue *q, uint32_t index, uint32_t n, struct mr_datagram *d,
			    bool *taken, struct counters *c)
{
	const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&q->rx, index);
	uint32_t frames;

	if (!(desc->options & XDP_PKT_CONTD)) {
		*taken = take_one(q, desc, d, c);
		return 1;
	}
	frames = packet_frames(q, index, n);
	/*
	 * The kernel shows packets whole. One without an end, which zero copy has made of a packet
	 * that met a full ring, goes piecewise: nothing behind it would ever be seen, as libxdp
	 * asks for news only when what it knows of is used up.
	 */
	if (!frames && (n >= JUMBO_FRAMES_MAX || index + n == q->rx.cached_prod))
		frames = n < JUMBO_FRAMES_MAX ? n : JUMBO_FRAMES_MAX;
	if (frames)
		*taken = take_jumbo(q, index, frames, d, c);
	return frames;
}

unsigned queue_take(struct queue *q, struct mr_datagram *d, unsigned max, struct counters *c)
{
	uint32_t index,
		n = xsk_ring_cons__peek(&q->rx, max + (q->jumbo ? JUMBO_FRAMES_MAX : 0), &index);
	uint32_t done = 0, used = 1;
	unsigned count = 0;

	while (done < n && count < max && used) {
		bool taken = false;

		if (done + 1 < n)
			__builtin_prefetch(
				(void *)((uintptr_t)q->umem->area +
					 xsk_ring_cons__rx_desc(&q->rx, index + done + 1)->addr));
		used = take_packet(q, index + done, n - done, &d[count], &taken, c);
		done += used;
		count += taken;
	}
	if (n > done)
		xsk_ring_cons__cancel(&q->rx, n - done);
	if (done) {
		xsk_ring_cons__release(&q->rx, done);
		q->stocked -= done;
		counters_add(c, REASON_XDP_DELIVERED, count);
		count_fate(&q->fates->delivered, count);
	}
	if (q->stocked < q->depth)
		stock(q);
	return count;
}

bool queue_is_empty(struct queue *q)
{
	return xsk_cons_nb_avail(&q->rx, 1) == 0;
}

int queue_fd(const struct queue *q)
{
	return q->fd;
}

uint8_t queue_slot(const struct queue *q)
{
	return q->slot;
}

bool queue_is_zero_copy(const struct queue *q)
{
	return q->zero_copy;
}

uint32_t queue_frame_max(const struct queue *q)
{
	return q->jumbo ? JUMBO_SIZE : FRAME_SIZE - FRAME_HEADROOM_KERNEL;
}

void queue_losses(const struct queue *q, struct queue_losses *losses)
{
	struct xdp_statistics s = { 0 };
	socklen_t len = sizeof(s);

	memset(losses, 0, sizeof(*losses));
	if (getsockopt(q->fd, SOL_XDP, XDP_STATISTICS, &s, &len))
		return;
	losses->ring_full = s.rx_ring_full;
	losses->no_frame = s.rx_dropped;
}

void queue_publish_losses(struct queue *q)
{
	struct queue_losses now;

	queue_losses(q, &now);
	__atomic_store_n(&q->fates->ring_full, q->before.ring_full + now.ring_full,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&q->fates->no_frame, q->before.no_frame + now.no_frame, __ATOMIC_RELAXED);
}
