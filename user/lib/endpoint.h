/* SPDX-License-Identifier: MIT */
/* Inside questions about an endpoint; the public ones are in millrace.h. Pure. */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <errno.h>
#include <string.h>

#include "millrace.h"

static inline bool address_is_zero(const union mr_address *a)
{
	uint64_t w[2];

	memcpy(w, a, sizeof(w));
	return (w[0] | w[1]) == 0;
}

static inline bool endpoint_has_source(const struct mr_endpoint *e)
{
	return e->family == AF_INET ? e->local.v4.s_addr != 0 : !address_is_zero(&e->local);
}

/*
 * 0, or why nothing can be sent to it: -EAFNOSUPPORT without a family, -EDESTADDRREQ without an
 * address or port, or link-local without a scope (the kernel would guess the interface).
 */
static inline int endpoint_check(const struct mr_endpoint *e)
{
	if (e->family != AF_INET && e->family != AF_INET6)
		return -EAFNOSUPPORT;
	if (e->port_be == 0)
		return -EDESTADDRREQ;
	if (e->family == AF_INET)
		return e->remote.v4.s_addr ? 0 : -EDESTADDRREQ;
	if (address_is_zero(&e->remote))
		return -EDESTADDRREQ;
	if (IN6_IS_ADDR_LINKLOCAL(&e->remote.v6) && e->scope == 0)
		return -EDESTADDRREQ;
	return 0;
}

#endif
