/* SPDX-License-Identifier: MIT */
/*
 * The transport from inside: what transport.c, reader.c, writer.c and control.c share. These four
 * are the only files that know both paths.
 *
 *	owner    bind, close, fwmark, statistics                      transport.c
 *	control  one thread: links, addresses -> devices, queues      control.c
 *	reader   one thread each: rings and sockets -> datagrams      reader.c
 *	writer   any thread: datagrams -> sockets                     writer.c
 */
#ifndef TRANSPORT_H
#define TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/counters.h"
#include "base/log.h"
#include "sock/recv.h"
#include "sock/send.h"
#include "sources.h"
#include "xdp/xdp.h"

struct control;

struct mr_writer {
	struct mr_transport *transport;
	struct mr_reader *reader; /* whose sockets it sends from */
	bool own_thread;	  /* the reader's own writer: may use the reader's ports */
	struct sock_gso gso;
	struct counters counters; /* shared ones: see counters_share */
};

/*
 * A place for one queue in a reader. Control and reader hand it to and fro; only the side that a
 * state belongs to may touch the queue, and change the state:
 *
 *	control			     reader
 *	SLOT_EMPTY    -> SLOT_OFFERED -> SLOT_ARMING -> SLOT_ARMED (or SLOT_DRAINED: it failed)
 *	SLOT_ARMED    -> SLOT_RETIRING  -> SLOT_DRAINED	     (after queue_disarm)
 *	SLOT_DRAINED  -> SLOT_CLOSED  -> SLOT_EMPTY	     (frames reclaimed)
 */
enum slot_state {
	SLOT_EMPTY,
	SLOT_OFFERED,
	SLOT_ARMING,
	SLOT_ARMED,
	SLOT_RETIRING,
	SLOT_DRAINED,
	SLOT_CLOSED,
};

struct slot {
	_Atomic int state;
	struct queue *queue;
};

/* Sockets found readable and not yet read empty. */
#define READY_MAX 64

struct mr_reader {
	struct mr_transport *transport;
	struct sock s4, s6;
	int epoll_fd;
	int wake_fd;		    /* eventfd: control has changed a slot */
	_Atomic bool slots_changed; /* the same, without a system call */
	int more_fd;		    /* eventfd: readable while received datagrams are left over */
	bool more;		    /* it is */

	struct umem umem;  /* set up by control before the first slot is offered */
	bool umem_offered; /* control's: from then on it stays as it is */
	struct queue *active[QUEUES_PER_READER]; /* armed or retiring */
	unsigned active_count, turn;

	struct sock_recv recv;
	struct sock *ready[READY_MAX];
	unsigned ready_count, ready_turn;
	unsigned reads; /* calls of mr_read: every so many the sockets come first */

	struct slot slots[QUEUES_PER_READER];
	pthread_mutex_t ports_lock; /* the reader opens and closes, mr_set_fwmark walks */
	struct sock **ports;	    /* by number; NULL until the first is opened */
	struct mr_writer writer;
	struct counters counters;
	struct sources sources; /* to control */
	uint32_t
		vouched; /* generation of routes that what is pending was accepted by; 0: of none */
};

struct mr_transport {
	uint16_t port;
	unsigned families;
	struct log log;
	void (*on_event)(void *arg, const struct mr_event *event);
	void *arg;
	_Atomic bool shut;
	int shut_fd; /* eventfd, readable for ever after mr_shutdown */
	_Atomic uint32_t mark;
	_Atomic uint32_t sources_wanted; /* a generation of `sources`; 0: nobody asks for any */
	pthread_mutex_t mark_lock;
	struct mr_reader *readers;
	unsigned reader_count;
	struct mr_writer writer;
	struct control *control; /* NULL: sockets only */
};

/* reader.c */
int reader_init(struct mr_reader *r, struct mr_transport *t);
int reader_watch_sockets(struct mr_reader *r); /* once they are open */
void reader_fini(struct mr_reader *r);
void reader_wake(struct mr_reader *r);			      /* from control: slots have changed */
struct sock *reader_port(struct mr_reader *r, uint16_t port); /* own thread; NULL: not open */
int reader_set_mark(struct mr_reader *r, uint32_t mark);      /* every socket; any thread */

/* control.c */
struct control_options {
	enum mr_policy policy;
	char (*devices)[16]; /* NULL: every one that can; taken over, freed by control */
	unsigned device_count;
	struct xdp_settings settings;
	bool bound_set;
	struct mr_endpoint bound; /* the one address served, in `remote` */
};
/*
 * Starts following links and laying the fast path. With MR_POLICY_XDP the first pass is done on
 * return and its failure is the error. Takes over options->devices in any case.
 */
int control_start(struct mr_transport *t, const struct control_options *options,
		  struct mr_diag *diag);
/* Stops the thread, then takes the fast path down; no reader may be running. */
void control_stop(struct control *c);
void control_wake(struct control *c); /* from readers: a slot's state has changed */
unsigned control_paths(struct control *c, struct mr_path_info *out, unsigned max);
/* Adds the losses that the kernel counts for the queues. */
void control_losses(struct control *c, uint64_t *ring_full, uint64_t *no_frame);

#endif
