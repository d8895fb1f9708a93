/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/nic.h"
#include "shared/wire.h"
#include "xdp/program.h"
#include "xdp/xdp.h"

struct xdp_device {
	char name[16];
	struct frame_origin origin;
	struct xdp_settings settings;
	struct program program;
	uint16_t port;
	uint32_t queues;
};

static bool is_kind(const struct net_link *link, const char *kinds)
{
	const char *at;
	size_t len = strlen(link->kind);

	if (!len)
		return false;
	at = strstr(kinds, link->kind);
	return at && (at == kinds || at[-1] == ' ') && (at[len] == ' ' || !at[len]);
}

/*
 * On a virtual device generic mode can hand over several datagrams as one frame (GSO, GRO), which
 * no length check can tell apart: there it is never chosen by itself.
 */
static bool is_hardware(const struct net_link *link)
{
	return link->kind[0] == '\0';
}

/* Virtual devices with a native mode that AF_XDP works with. (On a bond it receives nothing.) */
static bool has_native(const struct net_link *link)
{
	return is_hardware(link) || is_kind(link, "veth tun");
}

/* Devices whose senders may be on this host and leave checksums to hardware that is not there. */
static bool has_local_senders(const struct net_link *link)
{
	char driver[32];

	return !is_hardware(link) || !strcmp(nic_driver(link->name, driver), "virtio_net");
}

static int refuse(char *reason, size_t room, const char *why)
{
	snprintf(reason, room, "%s", why);
	return false;
}

bool xdp_device_suits(const struct net_link *link, const struct xdp_settings *settings,
		      char *reason, size_t room)
{
	if (link->flags & IFF_LOOPBACK)
		return refuse(reason, room, "loopback: no AF_XDP for senders on this host");
	if (link->type != ARPHRD_ETHER || !link->has_mac)
		return refuse(reason, room, "not an Ethernet interface");
	if (link->master)
		return refuse(reason, room,
			      "port of a bridge, bond or VRF: the kernel delivers as the upper "
			      "device");
	if (settings->mode != MR_XDP_MODE_GENERIC && !has_native(link))
		return refuse(reason, room, "this kind of device has no native XDP");
	return true;
}

static uint16_t max_frame(const struct net_link *link)
{
	uint32_t longest = link->mtu + WIRE_ETH_LEN, room = FRAME_SIZE - FRAME_HEADROOM_KERNEL;

	return (uint16_t)(longest < room ? longest : room);
}

int xdp_device_update(struct xdp_device *d, const struct net_link *link)
{
	return maps_configure(&d->program.maps, link->ifindex, link->mac, max_frame(link));
}

/*
 * A program that we found may have served others: their claims go if they are dead, and the
 * addresses are told anew. One that serves another interface as well has maps for just that one.
 */
static int take_over(struct xdp_device *d, char *reason, size_t room)
{
	uint32_t ifindex = maps_interface(&d->program.maps);
	struct program_view view;

	if (!d->program.adopted)
		return 0;
	if (ifindex && ifindex != d->origin.ifindex && !program_look(ifindex, &view, NULL) &&
	    view.id == d->program.id) {
		snprintf(reason, room, "the program is attached to interface %u too and serves it",
			 ifindex);
		return -EBUSY;
	}
	maps_reap(&d->program.maps);
	maps_forget_locals(&d->program.maps);
	return 0;
}

int xdp_device_claim(struct xdp_device *d, const struct xdp_claim *claim, char *reason, size_t room)
{
	uint32_t pid;
	int err = maps_own(&d->program.maps, STEER_OWNER_PORT, claim->port, &pid);

	if (err == -EBUSY)
		snprintf(reason, room, "port %u is claimed by process %u", claim->port, pid);
	else if (err)
		snprintf(reason, room, "claim port %u: %s", claim->port, strerror(-err));
	if (err)
		return err;
	d->port = claim->port;
	err = maps_claim(&d->program.maps, claim->port, claim->families, claim->bound);
	if (err)
		snprintf(reason, room, "claim port %u: %s", claim->port, strerror(-err));
	return err;
}

int xdp_device_open(struct xdp_device **out, const struct net_link *link,
		    const struct xdp_settings *settings, char *reason, size_t room)
{
	struct xdp_device *d = calloc(1, sizeof(*d));
	int err;

	if (!d) {
		snprintf(reason, room, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	snprintf(d->name, sizeof(d->name), "%s", link->name);
	d->settings = *settings;
	d->origin.ifindex = link->ifindex;
	d->origin.local_senders = has_local_senders(link);
	err = program_attach(&d->program, link->ifindex, settings->mode, is_hardware(link), reason,
			     room);
	if (err) {
		free(d);
		return err;
	}
	/* Counted after attaching: virtio_net gives itself more queues for XDP. */
	d->queues = nic_rx_queues(link->name);
	if (!d->queues)
		d->queues = link->rx_queues ? link->rx_queues : 1;
	if (d->queues > STEER_QUEUES)
		d->queues = STEER_QUEUES;
	err = take_over(d, reason, room);
	if (!err && (err = xdp_device_update(d, link)))
		snprintf(reason, room, "configure the program: %s", strerror(-err));
	if (err) {
		xdp_device_close(d);
		return err;
	}
	*out = d;
	return 0;
}

void xdp_device_close(struct xdp_device *d)
{
	if (d->port) {
		maps_unclaim(&d->program.maps, d->port);
		maps_disown(&d->program.maps, STEER_OWNER_PORT, d->port);
	}
	program_detach(&d->program);
	free(d);
}

int xdp_device_local(struct xdp_device *d, const struct net_local *local, bool gone)
{
	if (local->family == AF_INET) {
		if (local->prefix_len != 32 || ntohl(local->address.v4.s_addr) >> 24 == 127)
			return 0;
	} else if (local->prefix_len != 128 || IN6_IS_ADDR_LOOPBACK(&local->address.v6)) {
		return 0;
	} else if (IN6_IS_ADDR_LINKLOCAL(&local->address.v6) &&
		   local->ifindex != d->origin.ifindex) {
		return 0; /* local on its own link only */
	}
	return maps_local(&d->program.maps, local->family, &local->address, gone);
}

uint32_t xdp_device_queues(const struct xdp_device *d)
{
	return d->queues;
}

int xdp_device_queue_open(struct xdp_device *d, uint32_t id, struct umem *umem, uint8_t slot,
			  uint32_t depth, struct queue **out, char *reason, size_t room)
{
	struct queue_options options = {
		.device = d->name,
		.origin = d->origin,
		.queue_id = id,
		.depth = depth,
		.slot = slot,
		.xsks_fd = d->program.maps.xsks,
		.zero_copy = d->settings.zero_copy,
		.busy_poll_us = d->settings.busy_poll_us,
	};
	uint32_t pid;
	int err = maps_own(&d->program.maps, STEER_OWNER_QUEUE, id, &pid);

	if (err == -EBUSY)
		snprintf(reason, room, "queue %u is held by process %u", id, pid);
	else if (err)
		snprintf(reason, room, "queue %u: %s", id, strerror(-err));
	if (err)
		return err;
	err = queue_open(out, umem, &options, reason, room);
	if (err)
		maps_disown(&d->program.maps, STEER_OWNER_QUEUE, id);
	return err;
}

void xdp_device_queue_close(struct xdp_device *d, uint32_t id, struct queue *q)
{
	queue_close(q);
	maps_disown(&d->program.maps, STEER_OWNER_QUEUE, id);
}

enum mr_xdp_mode xdp_device_mode(const struct xdp_device *d)
{
	return d->program.mode;
}

bool xdp_device_adopted(const struct xdp_device *d)
{
	return d->program.adopted;
}

bool xdp_device_attached(const struct xdp_device *d)
{
	struct program_view view;

	return !program_look(d->origin.ifindex, &view, NULL) && view.id == d->program.id;
}
