/* SPDX-License-Identifier: MIT */
/*
 * One AF_XDP socket on one receive queue, with its rings over a reader's umem.
 *
 *	control: queue_open -------------------------------------> queue_disarm -> queue_close
 *	reader:                queue_arm -> queue_take … queue_take -> (empty)
 *
 * The control thread opens and closes, the reader's thread does all that touches frames. Between
 * disarm and the last take no frame is lost: after queue_grace the kernel can no longer be adding
 * to the ring.
 */
#ifndef XDP_QUEUE_H
#define XDP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/counters.h"
#include "base/log.h"
#include "shared/steer.h"
#include "xdp/frame.h"
#include "xdp/umem.h"

struct queue;

struct queue_options {
	const char *device;
	struct frame_origin origin;
	uint32_t queue_id;
	uint32_t depth; /* frames it may hold in its fill ring; a power of two, <= RING_SIZE */
	uint8_t slot;	/* which of the reader's queues it is, < QUEUES_PER_READER */
	int xsks_fd;	/* the steering program's XSKMAP */
	struct steer_fates *fates; /* the queue's, to keep up */
	bool jumbo; /* frames longer than one of ours are wanted, if the kernel can */
	enum mr_zero_copy zero_copy;
	unsigned busy_poll_us;
};

/*
 * Binds the socket; no traffic yet. Waits for a kernel that is still letting go of a former socket
 * (EBUSY, at most XSK_BUSY_LIMIT_MS). 0 or -errno with `reason` filled: -EBUSY somebody else has
 * the queue, -EPERM no CAP_NET_RAW, -ENOBUFS the memory lock limit, …
 */
int queue_open(struct queue **out, struct umem *umem, const struct queue_options *options,
	       char *reason, size_t room);
void queue_close(struct queue *q);

/* Stocks the fill ring and lets the steering program redirect to it. 0 or -errno. */
int queue_arm(struct queue *q);

/* Takes it out of the steering program's sight: what comes now passes to the sockets. */
void queue_disarm(struct queue *q);
/* Waits until no redirect that was under way at disarm can still be adding to a ring. */
void queue_grace(void);

/*
 * Takes up to max datagrams off the ring. Frames that must not be delivered are counted and go
 * back; so do frames to the fill ring, as many as there are.
 */
unsigned queue_take(struct queue *q, struct mr_datagram *d, unsigned max, struct counters *c);

bool queue_is_empty(struct queue *q);
int queue_fd(const struct queue *q);
uint8_t queue_slot(const struct queue *q);
bool queue_is_zero_copy(const struct queue *q);

/* The longest Ethernet frame that may be steered to it. */
uint32_t queue_frame_max(const struct queue *q);

/* Losses the kernel counts, of this socket since it was opened. Any thread while it is open. */
struct queue_losses {
	uint64_t ring_full, no_frame;
};
void queue_losses(const struct queue *q, struct queue_losses *losses);
/* Brings them up to date in the queue's fates; queue_close does it a last time. Control. */
void queue_publish_losses(struct queue *q);

/* A datagram's cookie on this path <-> its frame. */
static inline uint64_t frame_cookie(uint32_t frame)
{
	return (uint64_t)frame + 1;
}

static inline uint32_t cookie_frame(uint64_t cookie)
{
	return (uint32_t)(cookie - 1);
}

#endif
