/* SPDX-License-Identifier: MIT */
/*
 * The fast path of a build without it (`make XDP=0`): no interface suits, so nothing else here is
 * ever reached.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xdp/xdp.h"

static const char why[] = "built without XDP";

bool mr_has_xdp(void)
{
	return false;
}

int mr_inspect(const char *device, struct mr_inspection *in, struct mr_diag *diag)
{
	memset(in, 0, sizeof(*in));
	return diag_set(diag, -EOPNOTSUPP, "look at the XDP program", device, "%s", why);
}

void mr_inspection_free(struct mr_inspection *in)
{
	memset(in, 0, sizeof(*in));
}

bool xdp_device_suits(const struct net_table *table, const struct net_link *link,
		      const struct xdp_settings *settings, char *reason, size_t room)
{
	(void)table;
	(void)link;
	(void)settings;
	snprintf(reason, room, "%s", why);
	return false;
}

#define UNREACHABLE(type, name, ...) \
	type name(__VA_ARGS__)       \
	{                            \
		abort();             \
	}
#pragma GCC diagnostic ignored "-Wunused-parameter"
UNREACHABLE(int, xdp_device_open, struct xdp_device **d, const struct net_table *t,
	    const struct net_link *l, const struct xdp_rules *u, const struct xdp_settings *s,
	    char *r, size_t n)
UNREACHABLE(int, xdp_device_claim, struct xdp_device *d, const struct xdp_claim *c, char *r,
	    size_t n)
UNREACHABLE(void, xdp_device_close, struct xdp_device *d)
UNREACHABLE(int, xdp_device_local, struct xdp_device *d, const struct net_local *l,
	    enum maps_whose w)
UNREACHABLE(void, xdp_device_accept, struct xdp_device *d, struct in_addr a, uint32_t t)
UNREACHABLE(void, xdp_device_forget_sources, struct xdp_device *d)
UNREACHABLE(uint32_t, xdp_device_queues, const struct xdp_device *d)
UNREACHABLE(int, xdp_device_queue_open, struct xdp_device *d, uint32_t id, struct umem *u,
	    uint8_t slot, uint32_t depth, struct queue **q, char *r, size_t n)
UNREACHABLE(void, xdp_device_queue_close, struct xdp_device *d, uint32_t id, struct queue *q)
UNREACHABLE(enum mr_xdp_mode, xdp_device_mode, const struct xdp_device *d)
UNREACHABLE(bool, xdp_device_adopted, const struct xdp_device *d)
UNREACHABLE(const char *, xdp_device_warning, const struct xdp_device *d)
UNREACHABLE(int, xdp_device_update, struct xdp_device *d, const struct net_link *l,
	    const struct xdp_rules *r)
UNREACHABLE(bool, xdp_device_outgrown, const struct xdp_device *d)
UNREACHABLE(bool, xdp_device_attached, const struct xdp_device *d)
UNREACHABLE(int, queue_arm, struct queue *q)
UNREACHABLE(void, queue_disarm, struct queue *q)
UNREACHABLE(void, queue_grace, void)
UNREACHABLE(unsigned, queue_take, struct queue *q, struct mr_datagram *d, unsigned max,
	    struct counters *c)
UNREACHABLE(bool, queue_is_empty, struct queue *q)
UNREACHABLE(int, queue_fd, const struct queue *q)
UNREACHABLE(uint8_t, queue_slot, const struct queue *q)
UNREACHABLE(bool, queue_is_zero_copy, const struct queue *q)
UNREACHABLE(void, queue_losses, const struct queue *q, struct queue_losses *l)
UNREACHABLE(void, queue_publish_losses, struct queue *q)
