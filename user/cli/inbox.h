/* SPDX-License-Identifier: MIT */
/*
 * Datagrams that reached one reader and belong to another one's session. A session's port can only
 * be used by the reader that opened it, and a client may change readers: its flow is hashed by the
 * sockets and by the interface, and by each in its own way.
 *
 * Bounded, copying, and rarely used. Any thread puts; the owner looks, serves and drops. fd polls
 * readable as long as there is anything in it.
 */
#ifndef CLI_INBOX_H
#define CLI_INBOX_H

#include <pthread.h>

#include <millrace.h>

#define INBOX_SLOTS 256u
#define INBOX_BYTES 65536u /* of a slot: any datagram fits */

struct inbox {
	int fd;
	pthread_mutex_t lock;
	unsigned head, count;
	struct mr_datagram slots[INBOX_SLOTS];
	uint8_t *bytes; /* INBOX_SLOTS * INBOX_BYTES, costing only what is touched */
};

/* Returns 0 or -errno. */
int inbox_init(struct inbox *b);
void inbox_fini(struct inbox *b);

/* Copies the datagram; false when there is no room. */
bool inbox_put(struct inbox *b, const struct mr_datagram *d);

/* Shows up to max of the oldest; their data stays valid until they are dropped. */
unsigned inbox_look(struct inbox *b, struct mr_datagram *d, unsigned max);
void inbox_drop(struct inbox *b, unsigned n);

#endif
