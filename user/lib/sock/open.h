/* SPDX-License-Identifier: MIT */
/* Opening UDP sockets: the pair that shares a port number, and single ports beside it. */
#ifndef SOCK_OPEN_H
#define SOCK_OPEN_H

#include "base/log.h"

/* One UDP socket. */
struct sock {
	int fd; /* -1: this family is not served */
	uint16_t port;
	uint8_t family;
	uint32_t drops_seen;	 /* last SO_RXQ_OVFL */
	struct mr_endpoint peer; /* family 0: anybody; else only this remote is let in */
	/* The reader's: how many messages may still come that arrived before a generation. */
	uint32_t generation, older;
};

struct sock_options {
	uint16_t port; /* 0: any */
	bool share;    /* further sockets will join the port (SO_REUSEPORT) */
	uint32_t mark;
	unsigned busy_poll_us;
	const struct sockaddr *address; /* NULL: every address */
	const char *device;		/* NULL: every interface */
};

/*
 * Opens one socket per family on the same port, IPv6 first. A family the system lacks is left at
 * fd -1 and said; with an address only its family is opened. The port is bound exclusively before
 * it is opened to joiners, so a port in use is -EADDRINUSE even where the other one shares it.
 * 0 or -errno with nothing left open.
 */
int sock_pair_open(struct sock *s4, struct sock *s6, const struct sock_options *options,
		   const struct log *log, struct mr_diag *diag);

/* Opens the sockets of one more reader on the port and families of a pair opened with `share`. */
int sock_pair_join(struct sock *s4, struct sock *s6, const struct sock *first4,
		   const struct sock *first6, const struct sock_options *options,
		   struct mr_diag *diag);

/* Opens a port of its own, any free number, for the peer's family. 0 or -errno. */
int sock_port_open(struct sock *s, const struct mr_endpoint *peer, uint32_t mark);

void sock_close(struct sock *s);

/* SO_MARK; 0 or -errno. */
int sock_set_mark(const struct sock *s, uint32_t mark);

#endif
