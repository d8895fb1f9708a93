/* SPDX-License-Identifier: MIT */
#include "xdp/umem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int umem_init(struct umem *u, uint32_t frames)
{
	size_t size = (size_t)frames * FRAME_SIZE;

	memset(u, 0, sizeof(*u));
	u->free = malloc(frames * sizeof(*u->free));
	u->state = calloc(frames, 1);
	u->area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (u->area == MAP_FAILED)
		u->area = NULL;
	u->frames = frames;
	if (!u->free || !u->state || !u->area) {
		umem_fini(u);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < frames; i++)
		u->free[i] = frames - 1 - i;
	u->free_count = frames;
	return 0;
}

void umem_fini(struct umem *u)
{
	if (u->area)
		munmap(u->area, (size_t)u->frames * FRAME_SIZE);
	free(u->free);
	free(u->state);
	memset(u, 0, sizeof(*u));
}

uint32_t umem_take(struct umem *u, uint8_t state)
{
	uint32_t frame;

	if (!u->free_count)
		return UMEM_NONE;
	frame = u->free[--u->free_count];
	assert(u->state[frame] == FRAME_FREE);
	u->state[frame] = state;
	return frame;
}

void umem_give(struct umem *u, uint32_t frame)
{
	assert(frame < u->frames && u->state[frame] != FRAME_FREE);
	u->state[frame] = FRAME_FREE;
	u->free[u->free_count++] = frame;
}

uint32_t umem_reclaim(struct umem *u, uint8_t state)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < u->frames; i++)
		if (u->state[i] == state) {
			umem_give(u, i);
			n++;
		}
	return n;
}

uint32_t umem_count(const struct umem *u, uint8_t state)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < u->frames; i++)
		n += u->state[i] == state;
	return n;
}
