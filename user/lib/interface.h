/* SPDX-License-Identifier: MIT */
/*
 * One interface, as the control thread sees it: sockets, or a device with queues in the readers'
 * slots. The life of the fast path on it:
 *
 *	interface_raise -> (readers arm) -> interface_settle: path xdp
 *	interface_lower -> (readers drain) -> interface_settle: closed, sockets
 */
#ifndef INTERFACE_H
#define INTERFACE_H

#include "net/nat.h"
#include "net/watch.h"
#include "transport.h"

/* A queue of an interface, and the slot in which a reader serves it. */
struct served {
	struct mr_reader *reader;
	uint32_t queue_id;
	uint32_t depth;
	uint8_t slot;
	bool disarmed; /* on its way from armed to retiring */
};

struct interface {
	struct net_link link;
	struct mr_path_info info;  /* read by other threads */
	struct xdp_device *device; /* NULL: sockets */
	struct served *served;
	unsigned served_count;
	bool changed; /* look at it in the next pass */
	bool gone;
	bool closing;	   /* its queues are being drained */
	bool raised;	   /* all its queues are armed */
	bool asks_sources; /* rp_filter: see sources.h */
	bool full;	   /* the program could not be told of a hole */
	int error;	   /* of the last attempt */
	uint64_t retry_ns; /* 0: no retry planned */
	unsigned retry_ms;
	uint64_t check_ns; /* when to see whether the program is still there */
	char lacking[80];  /* on the fast path: why not with every queue */
	char partly[120];  /* … and why not with both families */
};

struct control {
	struct mr_transport *transport;
	struct control_options options;
	struct watch *watch;
	struct nat_view nat;
	uint64_t nat_ns;    /* when to look at it again */
	uint64_t resync_ns; /* when to ask netlink again after a failure; 0: it has not failed */
	bool routing;	    /* routes or rules have changed: sources may be judged otherwise */
	bool rules;	    /* what interface_rules goes by has */
	uint32_t sources_generation;
	struct interface **interfaces;
	unsigned count;
	pthread_mutex_t lock; /* interfaces, their info, and queues being opened or closed */
	uint64_t closed_ring_full, closed_no_frame;
	pthread_t thread;
	bool running;
	bool passed; /* the first pass is done */
	bool ready;  /* … and decided: MR_EVENT_READY is out */
	_Atomic bool stop;
	int wake_fd;
};

/* Hands an event to the application. */
void control_emit(struct control *c, enum mr_event_type type, const struct interface *i);

/* Notes how the interface is served; tells of it when the path, or the reason for XDP, is another.
 */
void interface_set_path(struct control *c, struct interface *i, enum mr_path path,
			const char *reason);

/*
 * Attaches, opens every queue and offers them to the readers. On failure it stays on sockets, the
 * reason noted, and another attempt planned if that may help.
 */
void interface_raise(struct control *c, struct interface *i);

/* What the network's set-up says about receiving here, and in words what keeps a family off. */
struct xdp_rules interface_rules(const struct control *c, const struct interface *i, char *words,
				 size_t room);

/* Says anew how it is served on the fast path. */
void interface_say(struct control *c, struct interface *i);

/* Stops steering; nothing in the rings is lost, the readers read it first. */
void interface_lower(struct control *c, struct interface *i, const char *reason);

/* Sees how far the readers are. True: some have not yet taken what they were offered. */
bool interface_settle(struct control *c, struct interface *i);

/* Closes everything at once: no reader runs any more. */
void interface_close(struct control *c, struct interface *i);

/* The interface with this index, if we have to do with it. */
struct interface *interface_find(struct control *c, uint32_t ifindex);
/* Forgets the k-th, which has no device any more. */
void interface_drop(struct control *c, unsigned k);

/* follow.c: starts following (0 or -errno); takes in what has changed since. */
int control_open_watch(struct control *c);
void control_follow(struct control *c);

static inline struct slot *slot_of(const struct served *s)
{
	return &s->reader->slots[s->slot];
}

#endif
