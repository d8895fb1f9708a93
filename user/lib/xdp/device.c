/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/nic.h"
#include "net/stack.h"
#include "shared/wire.h"
#include "xdp/program.h"
#include "xdp/xdp.h"

struct xdp_device {
	char name[16];
	struct frame_origin origin;
	struct xdp_settings settings;
	struct program program;
	struct steer_fates *fates; /* of every queue */
	struct steer_config config;
	bool forget;		    /* the next configuration is a new generation */
	uint32_t wanted, frame_max; /* longest frame of the MTU, and that the queues can take */
	bool asked_jumbo;	    /* the queues were opened for as much as the kernel can */
	char warning[120];
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

/*
 * Does a frame's VLAN tag, or that of another's frame, matter, and can it be kept from us? Drivers
 * put it beside the frame; so does a veth's peer.
 */
static bool strips_tags(const struct net_link *link)
{
	return is_kind(link, "veth") || nic_feature(link->name, "rx-vlan-hw-parse");
}

/* `bound`: by a program, or in a mode, that can ask the driver for tags, if that tells them. */
static bool refuse_stacked(const struct net_table *table, const struct net_link *link, bool bound,
			   char *reason, size_t room)
{
	const struct net_link *vlan = net_stack_vlan(table, link->ifindex);

	if (net_stack_takes(table, link->ifindex, reason, room))
		return true;
	if (!vlan || !strips_tags(link) || (bound && nic_tells_vlan(link->ifindex)))
		return false;
	snprintf(reason, room,
		 "VLAN tags are taken off before XDP, and %s needs them (ethtool -K %s rxvlan off)",
		 vlan->name, link->name);
	return true;
}

/* A guest that offloads segmentation hands over several datagrams as one, in either mode. */
static bool has_offloading_guest(const struct net_link *link)
{
	return is_kind(link, "tun") && link->vnet_hdr;
}

bool xdp_device_suits(const struct net_table *table, const struct net_link *link,
		      const struct xdp_settings *settings, char *reason, size_t room)
{
	bool native = settings->mode != MR_XDP_MODE_GENERIC;

	if (link->flags & IFF_LOOPBACK)
		return refuse(reason, room, "loopback: no AF_XDP for senders on this host");
	if (link->type != ARPHRD_ETHER || !link->has_mac)
		return refuse(reason, room, "not an Ethernet interface");
	if (link->master)
		return refuse(reason, room,
			      "port of a bridge, bond or VRF: the kernel delivers as the upper "
			      "device");
	if (native && !has_native(link))
		return refuse(reason, room, "this kind of device has no native XDP");
	if (settings->mode == MR_XDP_MODE_AUTO && has_offloading_guest(link))
		return refuse(
			reason, room,
			"a guest behind it (vnet_hdr) may hand over several datagrams as one");
	return !refuse_stacked(table, link, native, reason, room);
}

/* ---------------------------------------------------------------- configuring */

static int configure(struct xdp_device *d)
{
	uint32_t longest = d->wanted < d->frame_max ? d->wanted : d->frame_max;
	struct steer_config now;

	d->config.max_frame = (uint16_t)longest;
	/* Never back to a former generation, whoever has made the present one. */
	if (!maps_config(&d->program.maps, &now) &&
	    (d->forget || (int32_t)(now.generation - d->config.generation) > 0))
		d->config.generation = now.generation;
	d->config.generation += d->forget;
	d->forget = false;
	d->config.flags &= ~(STEER_PREFIXES4 | STEER_PREFIXES6);
	/* The tries are asked only while there is something in them. */
	if (maps_has_prefixes(&d->program.maps, AF_INET))
		d->config.flags |= STEER_PREFIXES4;
	if (maps_has_prefixes(&d->program.maps, AF_INET6))
		d->config.flags |= STEER_PREFIXES6;
	return maps_configure(&d->program.maps, &d->config);
}

int xdp_device_update(struct xdp_device *d, const struct net_link *link,
		      const struct xdp_rules *rules)
{
	uint32_t flags = rules->families; /* the same bits, see maps.c */

	if (rules->ask_sources4)
		flags |= STEER_ASK_SOURCES4;
	memcpy(d->config.mac, link->mac, sizeof(d->config.mac));
	d->config.flags = flags;
	d->wanted = rules->max_frame;
	return configure(d);
}

bool xdp_device_outgrown(const struct xdp_device *d)
{
	return d->wanted > d->frame_max && !d->asked_jumbo;
}

void xdp_device_forget_sources(struct xdp_device *d)
{
	d->forget = true;
}

void xdp_device_accept(struct xdp_device *d, struct in_addr source, uint32_t tos)
{
	struct steer_config now;

	if (d->config.flags & STEER_ASK_SOURCES4 && !maps_config(&d->program.maps, &now))
		maps_accept(&d->program.maps, source, tos, now.generation);
}

/*
 * A program that we found may have served others: their claims go if they are dead, and the
 * addresses are told anew. One that serves another interface as well has maps for just that one.
 */
static int take_over(struct xdp_device *d, char *reason, size_t room)
{
	struct program_view view;
	struct steer_config now;
	uint32_t ifindex, pid;

	if (!d->program.adopted)
		return 0;
	if (maps_config(&d->program.maps, &now))
		return -errno;
	d->config.generation = now.generation + 1;
	ifindex = now.ifindex;
	if (ifindex && ifindex != d->origin.ifindex && !program_look(ifindex, &view, NULL) &&
	    view.id == d->program.id) {
		snprintf(reason, room, "the program is attached to interface %u too and serves it",
			 ifindex);
		return -EBUSY;
	}
	maps_reap(&d->program.maps);
	/* Whoever has a queue keeps all the rest up to date: nothing is touched. */
	for (uint32_t id = 0; id < d->queues; id++)
		if (maps_owned(&d->program.maps, STEER_OWNER_QUEUE, id, &pid)) {
			snprintf(reason, room, "queue %u is held by process %u", id, pid);
			return -EBUSY;
		}
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

/* Devices below, or ports of it: where datagrams are put together before generic mode sees them. */
static void name_coalescing(const struct net_table *table, const struct net_link *link, char *out,
			    size_t room)
{
	size_t used = 0;

	out[0] = '\0';
	for (size_t k = 0; k < table->link_count; k++) {
		const struct net_link *other = &table->links[k];
		char names[64];

		if (other->ifindex != link->ifindex && other->ifindex != link->lower &&
		    other->master != link->ifindex)
			continue;
		if (*nic_coalesces(other->name, names, sizeof(names)) && used < room)
			used += (size_t)snprintf(out + used, room - used, "; %s on %s", names,
						 other->name);
	}
}

/* What cannot be seen from inside the program, and is not reason enough to refuse. */
static void warn(struct xdp_device *d, const struct net_table *table, const struct net_link *link)
{
	char features[80];

	if (d->program.mode == MR_XDP_MODE_GENERIC || has_offloading_guest(link)) {
		name_coalescing(table, link, features, sizeof(features));
		if (!is_hardware(link) || features[0])
			snprintf(d->warning, sizeof(d->warning),
				 "several datagrams may arrive as one%s", features);
	} else if (strips_tags(link) && !nic_feature(link->name, "rx-vlan-filter") &&
		   !(d->program.tells_tags && nic_tells_vlan(link->ifindex))) {
		snprintf(d->warning, sizeof(d->warning), "VLAN tags beside the frame are not seen");
	}
}

static int set_up(struct xdp_device *d, const struct net_table *table, const struct net_link *link,
		  const struct xdp_rules *rules, char *reason, size_t room)
{
	int err;

	/* Counted after attaching: virtio_net gives itself more queues for XDP. */
	d->queues = nic_rx_queues(link->name);
	if (!d->queues)
		d->queues = link->rx_queues ? link->rx_queues : 1;
	if (d->queues > STEER_QUEUES)
		d->queues = STEER_QUEUES;
	/* Asked again: what was adopted, or could be loaded, may not tell tags. */
	if (refuse_stacked(table, link, d->program.tells_tags, reason, room))
		return -EOPNOTSUPP;
	err = take_over(d, reason, room);
	if (err)
		return err;
	d->fates = maps_fates_open(&d->program.maps);
	err = d->fates ? xdp_device_update(d, link, rules) : -errno;
	if (err)
		snprintf(reason, room, "configure the program: %s", strerror(-err));
	return err;
}

int xdp_device_open(struct xdp_device **out, const struct net_table *table,
		    const struct net_link *link, const struct xdp_rules *rules,
		    const struct xdp_settings *settings, char *reason, size_t room)
{
	struct xdp_device *d = calloc(1, sizeof(*d));
	char features[64];
	bool generic_ok;
	int err;

	if (!d) {
		snprintf(reason, room, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	snprintf(d->name, sizeof(d->name), "%s", link->name);
	d->settings = *settings;
	d->config.ifindex = d->origin.ifindex = link->ifindex;
	d->origin.local_senders = has_local_senders(link);
	d->frame_max = JUMBO_SIZE; /* until a queue says less */
	/* Generic mode gets what hardware has put together: not by our choice. */
	generic_ok = is_hardware(link) && !*nic_coalesces(link->name, features, sizeof(features));
	err = program_attach(&d->program, link->ifindex, settings->mode, generic_ok, reason, room);
	if (err) {
		free(d);
		return err;
	}
	err = set_up(d, table, link, rules, reason, room);
	if (err) {
		xdp_device_close(d);
		return err;
	}
	warn(d, table, link);
	*out = d;
	return 0;
}

void xdp_device_close(struct xdp_device *d)
{
	if (d->port) {
		maps_unclaim(&d->program.maps, d->port);
		maps_disown(&d->program.maps, STEER_OWNER_PORT, d->port);
	}
	maps_fates_close(d->fates);
	program_detach(&d->program);
	free(d);
}

/* ---------------------------------------------------------------- addresses */

/* Loopback's never come by a wire, and multicast is for the kernel to hand out. */
static bool is_steerable(const struct xdp_device *d, const struct net_local *local)
{
	const struct in6_addr *a = &local->address.v6;
	uint32_t first = ntohl(local->address.v4.s_addr) >> 24;

	if (local->family == AF_INET)
		return first != 127 && first < 224;
	if (IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_MULTICAST(a))
		return false;
	/* Link-local addresses are local on their own link only; a prefix of them is a hole. */
	return !IN6_IS_ADDR_LINKLOCAL(a) || local->prefix_len != 128 ||
	       local->ifindex == d->origin.ifindex;
}

/* A prefix in which there are addresses that none makes ours: multicast, loopback, link-local. */
static bool is_mixed(const struct net_local *local)
{
	if (local->family == AF_INET)
		return local->prefix_len < 8;
	return local->prefix_len < 10 ||
	       (local->prefix_len < 128 && IN6_IS_ADDR_LINKLOCAL(&local->address.v6));
}

int xdp_device_local(struct xdp_device *d, const struct net_local *local, enum maps_whose whose)
{
	unsigned whole = local->family == AF_INET ? 32 : 128;
	int err;

	if (!is_steerable(d, local))
		return 0;
	if (whose == MAPS_OURS && is_mixed(local))
		whose = MAPS_HOLE;
	err = maps_local(&d->program.maps, local->family, &local->address, local->prefix_len,
			 whose);
	return err || local->prefix_len == whole ? err : configure(d);
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
		.fates = &d->fates[id],
		.jumbo = d->wanted > FRAME_SIZE - FRAME_HEADROOM_KERNEL,
		.zero_copy = d->settings.zero_copy,
		.busy_poll_us = d->settings.busy_poll_us,
	};
	uint32_t pid;
	int err = maps_own(&d->program.maps, STEER_OWNER_QUEUE, id, &pid);

	d->asked_jumbo = options.jumbo;
	if (err == -EBUSY)
		snprintf(reason, room, "queue %u is held by process %u", id, pid);
	else if (err)
		snprintf(reason, room, "queue %u: %s", id, strerror(-err));
	if (err)
		return err;
	err = queue_open(out, umem, &options, reason, room);
	if (err) {
		maps_disown(&d->program.maps, STEER_OWNER_QUEUE, id);
		return err;
	}
	if (queue_frame_max(*out) < d->frame_max)
		d->frame_max = queue_frame_max(*out);
	err = configure(d);
	if (err) {
		snprintf(reason, room, "queue %u: configure the program: %s", id, strerror(-err));
		xdp_device_queue_close(d, id, *out);
	}
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

const char *xdp_device_warning(const struct xdp_device *d)
{
	return d->warning;
}

bool xdp_device_attached(const struct xdp_device *d)
{
	return program_is_attached(&d->program, d->origin.ifindex);
}
