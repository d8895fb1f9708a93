/* SPDX-License-Identifier: MIT */
/*
 * The frames of one reader: one memory area, a stack of free frames, and for each frame who has
 * it. Every queue of the reader registers the same area with the kernel for itself, so a frame
 * may be received on one queue and sent on another, and no queue's life hangs on another's (as it
 * would with XDP_SHARED_UMEM, whose first socket must stay bound).
 *
 * The ledger: free + in fill rings + held by the caller == frames, always. One thread (the
 * reader's) once queues are handed over.
 */
#ifndef XDP_UMEM_H
#define XDP_UMEM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"

#define UMEM_NONE UINT32_MAX

enum frame_state { FRAME_FREE, FRAME_CALLER, FRAME_FILL /* + slot of the queue */ };

struct umem {
	uint8_t *area;
	uint32_t frames;
	uint32_t free_count;
	uint32_t *free; /* stack: the frame given back last is taken first, while it is warm */
	uint8_t *state; /* enum frame_state */

	/*
	 * Buffers for what came in several frames, and was put together: the kernel never sees
	 * them. Numbered on from the frames. NULL until the first is wanted.
	 */
	uint8_t *jumbo;
	uint32_t jumbo_free_count;
	uint8_t jumbo_free[JUMBO_BUFFERS];
	bool jumbo_held[JUMBO_BUFFERS];
};

/* 0 or -ENOMEM. */
int umem_init(struct umem *u, uint32_t frames);
void umem_fini(struct umem *u);

/* Takes a free frame for `state`; UMEM_NONE when there is none. */
uint32_t umem_take(struct umem *u, uint8_t state);
/* Gives back a frame or a jumbo buffer. */
void umem_give(struct umem *u, uint32_t frame);

/* Takes a jumbo buffer, for the caller; UMEM_NONE when there is none. */
uint32_t umem_take_jumbo(struct umem *u);
uint8_t *umem_jumbo(const struct umem *u, uint32_t number);

/* Gives back every frame in `state`: those a closed queue's rings still had. Returns how many. */
uint32_t umem_reclaim(struct umem *u, uint8_t state);

/* How many frames are in `state`: the ledger's check. */
uint32_t umem_count(const struct umem *u, uint8_t state);

#endif
