/* SPDX-License-Identifier: MIT */
/*
 * Follows the kernel's links and local addresses by rtnetlink (libmnl). Lives on the owner's
 * side; one thread. Opening it subscribes first and dumps then, so nothing falls between.
 */
#ifndef NET_WATCH_H
#define NET_WATCH_H

#include "base/log.h"
#include "net/table.h"

struct watch;

/*
 * Called for each change, in order, with the table already updated: for links and for local
 * addresses, `gone` when it went. During watch_open's dump too. Either may be NULL.
 */
struct watch_handler {
	void (*link)(void *arg, const struct net_link *link, bool gone);
	void (*local)(void *arg, const struct net_local *local, bool gone);
	void *arg;
};

/* 0 or -errno. Needs no privilege. */
int watch_open(struct watch **out, const struct watch_handler *handler, const struct log *log);
void watch_close(struct watch *w);

/* Polls readable when there is something for watch_process. */
int watch_fd(const struct watch *w);

/*
 * Takes in everything that is waiting, without blocking. When the kernel had to drop messages
 * (ENOBUFS), or may have removed routes without saying so, dumps anew and reports the
 * differences, so that the table is right again. 0 or -errno (then the table may be stale: call
 * again).
 */
int watch_process(struct watch *w);

const struct net_table *watch_table(const struct watch *w);

#endif
