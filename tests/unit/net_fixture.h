/* SPDX-License-Identifier: MIT */
/* What the tests of net/ share: looking into a table, without its own search. */
#ifndef NET_FIXTURE_H
#define NET_FIXTURE_H

#include <arpa/inet.h>
#include <string.h>

#include "net/table.h"

static inline const struct net_link *link_by_name(const struct net_table *t, const char *name)
{
	size_t i;

	for (i = 0; i < t->link_count; i++) {
		if (strcmp(t->links[i].name, name) == 0)
			return &t->links[i];
	}
	return NULL;
}

static inline bool covers(const struct net_local *row, uint8_t family, const uint8_t *address)
{
	unsigned i;

	for (i = 0; i < row->prefix_len; i++) {
		if ((row->address.bytes[i / 8] ^ address[i / 8]) & 0x80 >> i % 8)
			return false;
	}
	return row->family == family;
}

/* As the kernel decides: the longest prefix; of two alike the one that excludes. */
static inline bool table_is_local(const struct net_table *t, const char *text)
{
	uint8_t family = strchr(text, ':') ? AF_INET6 : AF_INET, address[16] = { 0 };
	const struct net_local *row, *best = NULL;

	inet_pton(family, text, address);
	for (row = t->locals; row < t->locals + t->local_count; row++) {
		if (!covers(row, family, address))
			continue;
		if (!best || row->prefix_len > best->prefix_len ||
		    (row->prefix_len == best->prefix_len && row->excluded))
			best = row;
	}
	return best && !best->excluded;
}

#endif
