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
	int fd;
	int xsks_fd;
	/* cold */
	struct xsk_ring_cons completion;
	struct xsk_umem *xsk_umem;
	struct xsk_socket *xsk;
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

static uint16_t bind_flags(enum mr_zero_copy zero_copy)
{
	/* Zero copy by itself has crashed hosts on some drivers: it is asked for, not guessed. */
	uint16_t mode = zero_copy == MR_ZERO_COPY_ON ? XDP_ZEROCOPY : XDP_COPY;

	return (uint16_t)(mode | XDP_USE_NEED_WAKEUP);
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
		.bind_flags = bind_flags(o->zero_copy),
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

void queue_close(struct queue *q)
{
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

/* One descriptor into *d; false: the frame went back. */
static bool take_one(struct queue *q, const struct xdp_desc *desc, struct mr_datagram *d,
		     struct counters *c)
{
	uint32_t frame = (uint32_t)(desc->addr / FRAME_SIZE);
	enum reason fate;

	/* The kernel is trusted to give back what it was given, but not blindly. */
	if (frame >= q->umem->frames || desc->addr % FRAME_SIZE + desc->len > FRAME_SIZE ||
	    q->umem->state[frame] != FRAME_FILL + q->slot) {
		counters_add(c, REASON_XDP_MALFORMED, 1);
		return false;
	}
	fate = frame_decode(d, q->umem->area + desc->addr, desc->len, &q->origin);
	if (fate == REASON_XDP_BAD_SUM || fate == REASON_XDP_MALFORMED) {
		counters_add(c, fate, 1);
		umem_give(q->umem, frame);
		return false;
	}
	if (fate != REASON_XDP_DELIVERED)
		counters_add(c, fate, 1);
	q->umem->state[frame] = FRAME_CALLER;
	d->cookie = frame_cookie(frame);
	return true;
}

unsigned queue_take(struct queue *q, struct mr_datagram *d, unsigned max, struct counters *c)
{
	uint32_t index, n = xsk_ring_cons__peek(&q->rx, max, &index);
	unsigned taken = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct xdp_desc *desc = xsk_ring_cons__rx_desc(&q->rx, index + i);

		if (i + 1 < n) {
			const struct xdp_desc *next = xsk_ring_cons__rx_desc(&q->rx, index + i + 1);

			__builtin_prefetch(q->umem->area + next->addr);
		}
		taken += take_one(q, desc, &d[taken], c);
	}
	if (n) {
		xsk_ring_cons__release(&q->rx, n);
		q->stocked -= n;
		counters_add(c, REASON_XDP_DELIVERED, taken);
	}
	if (q->stocked < q->depth)
		stock(q);
	return taken;
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

int queue_error(const struct queue *q)
{
	socklen_t len = sizeof(int);
	int err = 0;

	getsockopt(q->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return -err;
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
