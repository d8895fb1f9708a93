/* SPDX-License-Identifier: MIT */
/*
 * What the relay's two halves share: relay.c (options, start, report) and forward.c (the readers'
 * threads). With several readers:
 *
 *	relay.table       shared; its lock is taken once for a batch with clients' datagrams in it,
 *	                  and held while a port is opened: a client's second datagram, at another
 *	                  reader, must find the session that its first one made
 *	reader            a session belongs to the reader that opened it, and so does its port
 *	reader.inbox      a datagram that reached another reader goes to the owner by this
 */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include "inbox.h"
#include "options.h"
#include "serve.h"
#include "session.h"

struct relay_reader {
	struct relay *relay;
	struct worker *worker;
	struct session_list own;
	uint32_t *by_port;   /* session number + 1; 0: not a session's port */
	struct inbox *inbox; /* NULL: the only reader */
	uint32_t now_ms;
	uint32_t expire_ms;   /* when to look for idle sessions again */
	uint32_t retry_ms;    /* when to try and open a port again */
	uint64_t *failing_as; /* the counter to use until then; NULL: all is well */

	struct tally replies;
	uint64_t sent_up;
	uint64_t opened, expired;
	uint64_t refused, no_port, no_fd, no_other;
	uint64_t moved, moved_lost;
} __attribute__((aligned(64)));

struct relay {
	struct options common;
	const char *to; /* as given */
	struct mr_endpoint upstream;
	uint32_t idle_ms;
	int wait_ms;
	uint32_t max_sessions;
	char note[128]; /* when the system does not allow as many; else empty */
	uint16_t port;
	unsigned reader_count;
	struct relay_reader *readers;
	pthread_mutex_t lock; /* of the table's index, with several readers */
	struct session_table table;
};

/* Milliseconds of a clock that never goes back; they wrap around. */
uint32_t clock_ms(void);

/* A reader's thread. */
int forward_work(struct worker *w);

#endif
