/* SPDX-License-Identifier: MIT */
/*
 * Counters by reason. One set has one writing thread (counters_add) or many (counters_share);
 * any thread may read. 64-bit and relaxed: a reader of them may be a moment late, never torn.
 */
#ifndef BASE_COUNTERS_H
#define BASE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/limits.h"
#include "shared/reason.h"

struct counters {
	_Alignas(CACHE_LINE) _Atomic uint64_t by_reason[REASON_COUNT];
};

static inline void counters_add(struct counters *c, enum reason reason, uint64_t n)
{
	uint64_t old = atomic_load_explicit(&c->by_reason[reason], memory_order_relaxed);

	atomic_store_explicit(&c->by_reason[reason], old + n, memory_order_relaxed);
}

static inline void counters_share(struct counters *c, enum reason reason, uint64_t n)
{
	atomic_fetch_add_explicit(&c->by_reason[reason], n, memory_order_relaxed);
}

static inline uint64_t counters_get(const struct counters *c, enum reason reason)
{
	return atomic_load_explicit(&((struct counters *)c)->by_reason[reason],
				    memory_order_relaxed);
}

#endif
