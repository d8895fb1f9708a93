/* SPDX-License-Identifier: MIT */
#include "sources.h"

/* 2^30 ns: the second after which a source is told again. */
#define SECOND_SHIFT 30

static unsigned slot_in_told(struct source source)
{
	uint32_t mix = (source.address.s_addr ^ source.ifindex * 0x9e3779b9u) * 0x85ebca6bu;

	return (mix >> 16) % SOURCES_TOLD;
}

bool sources_tell(struct sources *s, struct source source, uint32_t generation, uint64_t now_ns)
{
	uint64_t when = (uint64_t)generation << 32 | (uint32_t)(now_ns >> SECOND_SHIFT);
	uint32_t head = atomic_load_explicit(&s->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&s->tail, memory_order_acquire);
	unsigned slot = slot_in_told(source);

	if (s->told[slot].when == when && s->told[slot].source.ifindex == source.ifindex &&
	    s->told[slot].source.address.s_addr == source.address.s_addr)
		return false;
	if (head - tail == SOURCES_RING)
		return false;
	s->ring[head % SOURCES_RING] = source;
	atomic_store_explicit(&s->head, head + 1, memory_order_release);
	s->told[slot].source = source;
	s->told[slot].when = when;
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
