/* SPDX-License-Identifier: MIT */
/* Following the network: what netlink tells becomes notes for the next pass of control. */
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "interface.h"

#define NS_PER_MS 1000000u

/* After a failure our view is stale: how long until it is tried again. */
#define RESYNC_MS 1000u

static bool is_wanted(const struct control *c, const struct net_link *link)
{
	if (!c->options.devices)
		return true;
	for (unsigned k = 0; k < c->options.device_count; k++)
		if (!strcmp(c->options.devices[k], link->name))
			return true;
	return false;
}

struct interface *interface_find(struct control *c, uint32_t ifindex)
{
	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->link.ifindex == ifindex)
			return c->interfaces[k];
	return NULL;
}

static struct interface *add(struct control *c, const struct net_link *link)
{
	struct interface *i = calloc(1, sizeof(*i)), **more;

	if (!i)
		return NULL;
	i->link = *link;
	pthread_mutex_lock(&c->lock);
	more = realloc(c->interfaces, (c->count + 1) * sizeof(*more));
	if (more) {
		c->interfaces = more;
		c->interfaces[c->count++] = i;
	}
	pthread_mutex_unlock(&c->lock);
	if (!more) {
		free(i);
		return NULL;
	}
	return i;
}

void interface_drop(struct control *c, unsigned k)
{
	pthread_mutex_lock(&c->lock);
	free(c->interfaces[k]);
	c->interfaces[k] = c->interfaces[--c->count];
	pthread_mutex_unlock(&c->lock);
}

/*
 * What may have been the cause of a failure is another now: no need to wait any longer. Our own
 * attempts do not show in these, but in the program's id.
 */
static bool is_new_chance(const struct interface *i, const struct net_link *link)
{
	return link->master != i->link.master || link->mtu != i->link.mtu ||
	       (link->flags ^ i->link.flags) & IFF_UP ||
	       memcmp(link->mac, i->link.mac, sizeof(link->mac)) != 0 ||
	       (i->error == -EBUSY && !link->xdp_program);
}

/* Only notes: the work is done in the next pass. */
static void on_link(void *arg, const struct net_link *link, bool gone)
{
	struct control *c = arg;
	struct interface *i = interface_find(c, link->ifindex), *below;

	/* What stands on top of an interface matters to it. */
	if (link->lower && (below = interface_find(c, link->lower))) {
		below->changed = true;
		/* A veth's peer is no device on top; and each other's attempts are news to both. */
		if (strcmp(link->kind, "veth") != 0)
			below->retry_ns = below->retry_ms = 0;
	}
	if (!i && (gone || !is_wanted(c, link)))
		return;
	if (!i)
		i = add(c, link);
	if (!i) {
		log_say(&c->transport->log, MR_LOG_ERROR, "no memory to follow %s", link->name);
		return;
	}
	if (is_new_chance(i, link))
		i->retry_ns = i->retry_ms = 0;
	i->link = *link;
	i->gone = gone;
	i->changed = true;
}

/* Done at once: an address that went must not be steered a moment longer. */
static void on_local(void *arg, const struct net_local *local, bool gone)
{
	enum maps_whose whose = local->excluded ? MAPS_HOLE : MAPS_OURS;
	struct net_local other = *local;
	struct control *c = arg;

	if (!c->watch) /* the first dump: there are no devices yet */
		return;
	/* An address that is both, the one and the other kind of row, is left to the kernel. */
	other.excluded = !local->excluded;
	if (net_table_has_local(watch_table(c->watch), &other))
		whose = gone ? (local->excluded ? MAPS_OURS : MAPS_HOLE) : MAPS_HOLE;
	else if (gone)
		whose = MAPS_NOBODYS;
	/* An interface without an IPv6 address has no IPv6. */
	c->rules |= local->family == AF_INET6;
	for (unsigned k = 0; k < c->count; k++) {
		struct interface *i = c->interfaces[k];

		/* Not to know of an address is safe, not to know of its end or of a hole is not. */
		if (i->device && xdp_device_local(i->device, local, whose) && whose != MAPS_OURS)
			i->full = i->changed = true;
	}
}

static void on_routing(void *arg)
{
	((struct control *)arg)->routing = true;
}

int control_open_watch(struct control *c)
{
	struct watch_handler handler = {
		.link = on_link, .local = on_local, .routing = on_routing, .arg = c
	};

	return watch_open(&c->watch, &handler, &c->transport->log);
}

/* Takes in what netlink has; a failure leaves our view stale, so it is tried again. */
void control_follow(struct control *c)
{
	int err = watch_process(c->watch);

	c->resync_ns = err ? clock_now_ns() + RESYNC_MS * (uint64_t)NS_PER_MS : 0;
	if (err)
		log_say(&c->transport->log, MR_LOG_WARN, "netlink: %s", strerror(-err));
}
