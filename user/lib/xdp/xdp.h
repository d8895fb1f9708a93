/* SPDX-License-Identifier: MIT */
/*
 * The fast path, as the transport sees it: devices (an interface with a steering program) and
 * their queues. A device belongs to the control thread; what readers may do is in queue.h and
 * umem.h.
 */
#ifndef XDP_XDP_H
#define XDP_XDP_H

#include "net/table.h"
#include "xdp/maps.h"
#include "xdp/queue.h"

#define XDP_REASON_ROOM 200

struct xdp_device;

struct xdp_settings {
	enum mr_xdp_mode mode;
	enum mr_zero_copy zero_copy;
	unsigned busy_poll_us;
};

/* What a transport claims on a device. */
struct xdp_claim {
	uint16_t port;
	unsigned families;		 /* MR_FAMILY_… */
	const struct mr_endpoint *bound; /* the one address served, in `remote`; NULL: every one */
};

/* What the network's set-up says about receiving on an interface. */
struct xdp_rules {
	unsigned families;  /* MR_FAMILY_… that the local table alone decides about */
	bool ask_sources4;  /* rp_filter: IPv4 sources want the kernel's consent first */
	uint32_t max_frame; /* of its MTU, Ethernet header included */
};

/*
 * Could this interface be accelerated at all, with what stands on top of it? Asked before anything
 * is touched; when not, why. A mode that is asked for by name lets pass what is only unwise.
 */
bool xdp_device_suits(const struct net_table *table, const struct net_link *link,
		      const struct xdp_settings *settings, char *reason, size_t room);

/*
 * Attaches or adopts the steering program and configures it. Nothing is steered until addresses
 * are told, queues armed and a port claimed. 0, or -errno and a reason with nothing left behind.
 */
int xdp_device_open(struct xdp_device **out, const struct net_table *table,
		    const struct net_link *link, const struct xdp_rules *rules,
		    const struct xdp_settings *settings, char *reason, size_t room);

/*
 * Claims the port. Only for one who has every queue of the device: what is steered goes to the
 * queue's socket, whosoever that is. 0, or -errno and a reason.
 */
int xdp_device_claim(struct xdp_device *d, const struct xdp_claim *claim, char *reason,
		     size_t room);

/* Gives everything back. Its queues must be closed. */
void xdp_device_close(struct xdp_device *d);

/*
 * Tells the steering program whose an address or prefix is; those that are never steered (loopback,
 * other links' link-local ones) it leaves out. 0 or -errno.
 */
int xdp_device_local(struct xdp_device *d, const struct net_local *local, enum maps_whose whose);

/* The kernel has accepted a datagram of this source. */
void xdp_device_accept(struct xdp_device *d, struct in_addr source, uint32_t tos);
/* Routes or rules have changed: from the next update on, every source is to be accepted anew. */
void xdp_device_forget_sources(struct xdp_device *d);

/* Receive queues the device has now, after attaching (which may change it), at most STEER_QUEUES.
 */
uint32_t xdp_device_queues(const struct xdp_device *d);

/* Opens an AF_XDP socket on queue `id` over a reader's umem; see queue_open. */
int xdp_device_queue_open(struct xdp_device *d, uint32_t id, struct umem *umem, uint8_t slot,
			  uint32_t depth, struct queue **out, char *reason, size_t room);
/* Closes a queue and lets go of the lock on it. */
void xdp_device_queue_close(struct xdp_device *d, uint32_t id, struct queue *q);

enum mr_xdp_mode xdp_device_mode(const struct xdp_device *d);
bool xdp_device_adopted(const struct xdp_device *d);

/* What an operator should know of how it is served; "" when there is nothing. */
const char *xdp_device_warning(const struct xdp_device *d);

/* The interface or the rules have changed (MTU, MAC, …): configures the program anew. 0 or -errno.
 */
int xdp_device_update(struct xdp_device *d, const struct net_link *link,
		      const struct xdp_rules *rules);
/* Is the MTU now more than the queues, as they were opened, can take? */
bool xdp_device_outgrown(const struct xdp_device *d);

/*
 * Is the program that we use still the one attached? Asks the kernel: a link event may be older
 * than the attachment.
 */
bool xdp_device_attached(const struct xdp_device *d);

#endif
