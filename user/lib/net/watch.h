/* SPDX-License-Identifier: MIT */
/*
 * Follows the kernel's links, local addresses, policy rules and reverse path filter by rtnetlink
 * (libmnl). Lives on the owner's side; one thread. Opening it subscribes first and dumps then, so
 * nothing falls between.
 */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "base/log.h"
#include "net/table.h"

struct watch;

/*
 * Called for each change, in order, with the table already updated: for links and for local
 * addresses, `gone` when it went. During watch_open's dump too. Any may be NULL.
 */
struct watch_handler {
	void (*link)(void *arg, const struct net_link *link, bool gone);
	void (*local)(void *arg, const struct net_local *local, bool gone);
	/*
	 * Packets may be routed, or judged by their source, in another way than before: a route
	 * of any table, a rule, a nexthop, a reverse path filter or a link has changed, or may
	 * have. At most once for a watch_process, after all the others; once in watch_open.
	 */
	void (*routing)(void *arg);
	void *arg;
};

/*
 * 0 or -errno. Needs no privilege. *out is there before the handlers are called, for watch_table;
 * it is NULL again after an error.
 */
int watch_open(struct watch **out, const struct watch_handler *handler, const struct log *log);
void watch_close(struct watch *w);

/* Polls readable when there is something for watch_process. */
int watch_fd(const struct watch *w);

/*
 * Takes in everything that is waiting, without blocking. When the kernel had to drop messages
 * (ENOBUFS), or may have removed routes without saying so, dumps anew and reports the
 * differences, so that the table is right again. 0 or -errno: then the table may be stale, and
 * nothing may poll readable for it. Call again, after a while: that dumps anew.
 */
int watch_process(struct watch *w);

const struct net_table *watch_table(const struct watch *w);

#endif
