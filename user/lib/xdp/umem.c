/* SPDX-License-Identifier: MIT */
#include "xdp/umem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define JUMBO_AREA ((size_t)JUMBO_BUFFERS * JUMBO_SIZE)

_Static_assert(JUMBO_BUFFERS <= UINT8_MAX + 1, "their numbers are bytes");

static void *map_area(size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return area == MAP_FAILED ? NULL : area;
}

int umem_init(struct umem *u, uint32_t frames)
{
	memset(u, 0, sizeof(*u));
	u->free = malloc(frames * sizeof(*u->free));
	u->state = calloc(frames, 1);
	u->area = map_area((size_t)frames * FRAME_SIZE);
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
	if (u->jumbo)
		munmap(u->jumbo, JUMBO_AREA);
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

static void give_jumbo(struct umem *u, uint32_t k)
{
	assert(k < JUMBO_BUFFERS && u->jumbo_held[k]);
	u->jumbo_held[k] = false;
	u->jumbo_free[u->jumbo_free_count++] = (uint8_t)k;
}

void umem_give(struct umem *u, uint32_t frame)
{
	if (frame >= u->frames) {
		give_jumbo(u, frame - u->frames);
		return;
	}
	assert(u->state[frame] != FRAME_FREE);
	u->state[frame] = FRAME_FREE;
	u->free[u->free_count++] = frame;
}

uint32_t umem_take_jumbo(struct umem *u)
{
	uint32_t k;

	if (!u->jumbo) {
		u->jumbo = map_area(JUMBO_AREA);
		if (!u->jumbo)
			return UMEM_NONE;
		for (k = 0; k < JUMBO_BUFFERS; k++)
			u->jumbo_free[k] = (uint8_t)(JUMBO_BUFFERS - 1 - k);
		u->jumbo_free_count = JUMBO_BUFFERS;
	}
	if (!u->jumbo_free_count)
		return UMEM_NONE;
	k = u->jumbo_free[--u->jumbo_free_count];
	u->jumbo_held[k] = true;
	return u->frames + k;
}

uint8_t *umem_jumbo(const struct umem *u, uint32_t number)
{
	return u->jumbo + (size_t)(number - u->frames) * JUMBO_SIZE;
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
