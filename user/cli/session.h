/* SPDX-License-Identifier: MIT */
/*
 * The relay's sessions: one for each client endpoint (its remote and the address it wrote to).
 *
 *	table    all sessions, found by client endpoint; shared by the readers, who take turns
 *	list     one reader's own sessions, the longest idle first; only that reader touches it
 *
 * All memory is reserved at the start and costs only what is in use: 68 bytes a session and 4 to 8
 * bytes of index for each that there may be. Nothing is ever moved, so a session's number (its
 * place in the table) holds as long as it lives, and growing needs no pause. No clock, no locks.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <millrace.h>

/* Being touched more often than this does not change a session's place in the list. */
#define SESSION_TICK_MS 100u

/* No session: end of a chain or list. */
#define SESSION_NONE UINT32_MAX

struct session {
	struct mr_endpoint client; /* as first seen; its ifindex follows the client */
	uint32_t chain;		   /* next with the same hash; of a free one, next free one */
	uint32_t older, newer;	   /* neighbours in the list */
	uint32_t active_ms;	   /* last activity, to within SESSION_TICK_MS; wraps around */
	uint16_t port;		   /* its own, towards the upstream */
	uint8_t reader;		   /* whose list and port it is */
	bool source_gone;	   /* the address it wrote to has left this host */
};

struct session_table {
	struct session *all;
	uint32_t *buckets;
	uint32_t mask; /* buckets - 1 */
	uint32_t max;
	uint32_t used; /* all[used..max) were never taken */
	uint32_t free; /* chain of those given back */
	uint32_t count;
	uint32_t peak;
	uint64_t seed;
};

struct session_list {
	uint32_t oldest, newest;
};
#define SESSION_LIST_INIT                  \
	{                                  \
		SESSION_NONE, SESSION_NONE \
	}

/* The seed is one that clients cannot guess. Returns 0 or -ENOMEM. */
int session_table_init(struct session_table *t, uint32_t max, uint64_t seed);
void session_table_fini(struct session_table *t);

struct session *session_find(const struct session_table *t, const struct mr_endpoint *client);

/* Adds one that is not there yet, as the newest of the list; NULL when the table is full. */
struct session *session_add(struct session_table *t, struct session_list *list,
			    const struct mr_endpoint *client, uint32_t now_ms);
void session_remove(struct session_table *t, struct session_list *list, struct session *s);

/* Records activity. The list stays in order of active_ms. */
void session_touch(struct session_table *t, struct session_list *list, struct session *s,
		   uint32_t now_ms);

/* The longest idle session of the list if it has been so for idle_ms, else NULL. */
struct session *session_expired(const struct session_table *t, const struct session_list *list,
				uint32_t now_ms, uint32_t idle_ms);

static inline uint32_t session_number(const struct session_table *t, const struct session *s)
{
	return (uint32_t)(s - t->all);
}

#endif
