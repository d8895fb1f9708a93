/* SPDX-License-Identifier: MIT */
#include "sources.h"

/* 2^30 ns: the second after which a source is told again. */
#define SECOND_SHIFT 30

static unsigned slot_in_told(const struct source *s)
{
	uint32_t mix = (s->address.s_addr ^ s->ifindex * 0x9e3779b9u ^ s->tos << 8) * 0x85ebca6bu;

	return (mix >> 16) % SOURCES_TOLD;
}

static bool is_same(const struct source *a, const struct source *b)
{
	return a->address.s_addr == b->address.s_addr && a->ifindex == b->ifindex &&
	       a->tos == b->tos && a->generation == b->generation;
}

bool sources_tell(struct sources *s, const struct source *source, uint64_t now_ns)
{
	uint32_t second = (uint32_t)(now_ns >> SECOND_SHIFT);
	uint32_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&s->tail, memory_order_acquire);
	unsigned slot = slot_in_told(source);

	if (s->told[slot].second == second && is_same(&s->told[slot].source, source))
		return false;
	if (head - tail == SOURCES_RING)
		return false;
	s->ring[head % SOURCES_RING] = *source;
	atomic_store_explicit(&s->head, head + 1, memory_order_release);
	s->told[slot].source = *source;
	s->told[slot].second = second;
	return true;
}

bool sources_take(struct sources *s, struct source *source)
{
	uint32_t tail = atomic_load_explicit(&s->tail, memory_order_relaxed);

	if (tail == atomic_load_explicit(&s->head, memory_order_acquire))
		return false;
	*source = s->ring[tail % SOURCES_RING];
	atomic_store_explicit(&s->tail, tail + 1, memory_order_release);
	return true;
}
