/* SPDX-License-Identifier: MIT */
/*
 * Receiving from sockets in batches, with coalesced ones (UDP_GRO) split into datagrams again.
 *
 * Buffers are shared out by reference count: each holds one message of the kernel, which may be
 * many datagrams. What recvmmsg brought is pending until sock_recv_take has handed it all over.
 * One thread.
 */
#ifndef SOCK_RECV_H
#define SOCK_RECV_H

#include "base/counters.h"
#include "sock/cmsg.h"
#include "sock/open.h"

struct sock_message {
	_Alignas(8) uint8_t control[CMSG_IN_ROOM];
	struct sockaddr_storage from;
	struct iovec iov;
	uint16_t buffer;
};

struct sock_recv {
	uint8_t *area;			   /* SOCK_BUFFERS of SOCK_BUFFER_STRIDE */
	uint16_t references[SOCK_BUFFERS]; /* datagrams of the buffer the caller holds */
	uint16_t free[SOCK_BUFFERS];
	unsigned free_count;
	struct mmsghdr headers[BATCH_MAX];
	struct sock_message messages[BATCH_MAX];
	unsigned slots;			      /* messages that have a buffer */
	struct sock *pending_sock;	      /* NULL: nothing pending */
	unsigned pending_next, pending_count; /* of the messages */
	uint32_t pending_offset;	      /* into the next one, when it is coalesced */
	struct cmsg_in pending_control;	      /* of the next one, when offset is not 0 */
	struct counters *counters;
};

/* 0 or -ENOMEM. */
int sock_recv_init(struct sock_recv *r, struct counters *counters);
void sock_recv_fini(struct sock_recv *r);

/*
 * Reads up to `max` messages into pending, which must be empty. Returns how many; 0 when nothing
 * is there (pending errors of the socket are read away and counted); -ENOBUFS when the caller
 * holds every buffer.
 */
int sock_recv_fill(struct sock_recv *r, struct sock *s, unsigned max);

/* At most how many messages wait in the socket now, judged by the memory they take. */
uint32_t sock_recv_waiting(const struct sock *s);

/* Hands over up to max pending datagrams; fewer only when pending has been emptied. */
unsigned sock_recv_take(struct sock_recv *r, struct mr_datagram *d, unsigned max);

/* Takes a datagram's share of its buffer back. */
void sock_recv_give(struct sock_recv *r, uint64_t cookie);

/* Forgets what is pending from this socket (before it is closed). */
void sock_recv_forget(struct sock_recv *r, const struct sock *s);

#endif
