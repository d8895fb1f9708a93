/* SPDX-License-Identifier: MIT */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int session_table_init(struct session_table *t, uint32_t max, uint64_t seed)
{
	uint32_t buckets = 1;

	while (buckets < max)
		buckets *= 2;
	*t = (struct session_table){ .mask = buckets - 1, .max = max, .seed = seed };
	t->free = SESSION_NONE;
	/* Sessions from calloc: pages that were never touched take no memory. */
	t->all = calloc(max, sizeof(*t->all));
	t->buckets = malloc(buckets * sizeof(*t->buckets));
	if (!t->all || !t->buckets) {
		session_table_fini(t);
		return -ENOMEM;
	}
	memset(t->buckets, 0xff, buckets * sizeof(*t->buckets));
	return 0;
}

void session_table_fini(struct session_table *t)
{
	free(t->all);
	free(t->buckets);
	t->all = NULL;
	t->buckets = NULL;
}

static uint32_t *bucket(const struct session_table *t, const struct mr_endpoint *client)
{
	return &t->buckets[mr_endpoint_hash(client, t->seed) & t->mask];
}

struct session *session_find(const struct session_table *t, const struct mr_endpoint *client)
{
	uint32_t at = *bucket(t, client);

	while (at != SESSION_NONE && !mr_endpoint_equal(&t->all[at].client, client))
		at = t->all[at].chain;
	return at == SESSION_NONE ? NULL : &t->all[at];
}

/* ---------------------------------------------------------------- the list */

static void list_append(struct session_table *t, struct session_list *list, struct session *s)
{
	s->older = list->newest;
	s->newer = SESSION_NONE;
	if (list->newest == SESSION_NONE)
		list->oldest = session_number(t, s);
	else
		t->all[list->newest].newer = session_number(t, s);
	list->newest = session_number(t, s);
}

static void list_remove(struct session_table *t, struct session_list *list, const struct session *s)
{
	if (s->older == SESSION_NONE)
		list->oldest = s->newer;
	else
		t->all[s->older].newer = s->newer;
	if (s->newer == SESSION_NONE)
		list->newest = s->older;
	else
		t->all[s->newer].older = s->older;
}

void session_touch(struct session_table *t, struct session_list *list, struct session *s,
		   uint32_t now_ms)
{
	/* Unsigned differences survive the wrap-around of a 32-bit clock every 49 days. */
	if (now_ms - s->active_ms < SESSION_TICK_MS)
		return;
	s->active_ms = now_ms;
	list_remove(t, list, s);
	list_append(t, list, s);
}

struct session *session_expired(const struct session_table *t, const struct session_list *list,
				uint32_t now_ms, uint32_t idle_ms)
{
	struct session *s;

	if (list->oldest == SESSION_NONE)
		return NULL;
	s = &t->all[list->oldest];
	/* The tick: active_ms may lag behind by one, and no session is to end early. */
	return now_ms - s->active_ms >= idle_ms + SESSION_TICK_MS ? s : NULL;
}

/* ---------------------------------------------------------------- come and go */

struct session *session_add(struct session_table *t, struct session_list *list,
			    const struct mr_endpoint *client, uint32_t now_ms)
{
	uint32_t *head = bucket(t, client);
	struct session *s;

	if (t->free != SESSION_NONE) {
		s = &t->all[t->free];
		t->free = s->chain;
	} else if (t->used < t->max) {
		s = &t->all[t->used++];
	} else {
		return NULL;
	}
	*s = (struct session){ .client = *client, .chain = *head, .active_ms = now_ms };
	*head = session_number(t, s);
	list_append(t, list, s);
	if (++t->count > t->peak)
		t->peak = t->count;
	return s;
}

void session_remove(struct session_table *t, struct session_list *list, struct session *s)
{
	uint32_t *link = bucket(t, &s->client);

	while (*link != session_number(t, s))
		link = &t->all[*link].chain;
	*link = s->chain;
	list_remove(t, list, s);
	s->chain = t->free;
	t->free = session_number(t, s);
	t->count--;
}
