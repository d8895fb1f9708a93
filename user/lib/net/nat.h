/* SPDX-License-Identifier: MIT */
/*
 * Address translation on this host that an XDP program would go around: it sees packets before
 * netfilter does. Cold path; one thread a view.
 */
#ifndef NET_NAT_H
#define NET_NAT_H

#include <stdint.h>

enum nat_kind {
	NAT_NONE,
	NAT_PORT,   /* datagrams to the port go, or may go, elsewhere */
	NAT_SOURCE, /* sources are translated: replies to such flows may come to the port */
	NAT_UNSEEN, /* there may be some, but this process cannot look */
};

struct nat_view {
	uint32_t generation; /* of the ruleset that was looked at; 0: of none */
	uint16_t port;	     /* that it was looked at for */
	enum nat_kind kind;
	char text[120]; /* what was found, in words; "" for NAT_NONE */
};

/*
 * Looks which holds of UDP datagrams to `port`, in this thread's network namespace; the first of
 * the kinds counts that is found. The view begins as zeroes; given again, it is returned unchanged
 * as long as the ruleset is. 0 or -errno, which leaves the view as it was.
 */
int nat_look(uint16_t port, struct nat_view *view);

#endif
