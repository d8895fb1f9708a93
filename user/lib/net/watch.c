/* SPDX-License-Identifier: MIT */
/*
 * Two sockets: `news` is subscribed, `dump` asks. What the kernel tells, and what it does not
 * (Linux 6.18, veth):
 *
 *	told, route by route	address added or deleted, either family; secondaries deleted with
 *				their primary, or promoted (deleted, then new); IPv6 on link down,
 *				link deleted, moved away or disable_ipv6, AnyIP routes included;
 *				IPv4 addresses on link deleted or moved away
 *	nothing to tell		IPv4 on link down: its local routes stay, and so does delivery
 *	not told		IPv4 AnyIP routes of a device (`ip route add local 192.0.2.0/24
 *				dev X`) when its last IPv4 address is deleted, when it is deleted
 *				or moved away; IPv4 routes over a nexthop object when that is
 *				deleted, or goes with the carrier; all of IPv6 on link down with
 *				net.ipv6.route.skip_notify_on_dev_down=1
 *	told by half		`ip route replace`: the new route (NLM_F_REPLACE), not the old one;
 *				`ip route del` of one of two routes that differ in metric only,
 *				which are one row in our table
 *
 * What is not told comes with something that is: a deleted local route, a link that goes down or
 * away, a nexthop object deleted or replaced. These raise `doubt`, and doubt means to dump anew
 * and to report what differs, the same as after an overrun. Before that the message itself is
 * applied, so a deleted address is reported at once.
 *
 * Routes that go in silence go after the message, within the same hold of the RTNL lock. Dumps of
 * routes do not take it (RTNL_FLAG_DUMP_UNLOCKED), those of links do: asking for links first makes
 * sure that the routes are looked at when all is done.
 */
#include "net/watch.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* A burst of some ten thousand changes; each message takes about 1 KiB of it. */
#define NEWS_RCVBUF (8 * 1024 * 1024)
/* Messages in one go: a flood must not keep the control thread here for ever. */
#define NEWS_MAX 65536u
/* Dumps until one is not interrupted by changes, and rounds until one leaves no doubt. */
#define DUMP_TRIES 4
#define ROUNDS	   4
/* Dumps are made by the asking thread itself: this is only ever reached when something is wrong. */
#define DUMP_TIMEOUT_S 2
/* The kernel makes dump messages of up to 32 KiB when it sees that the reader has the room. */
#define MESSAGE_ROOM 32768

struct watch {
	struct watch_handler handler;
	struct log log;
	struct mnl_socket *news, *dump;
	struct net_table table;
	uint32_t seq;
	bool doubt;
	_Alignas(struct nlmsghdr) char buf[MESSAGE_ROOM];
};

static void say(const struct watch *w, const struct net_event *event)
{
	const struct watch_handler *h = &w->handler;

	switch (event->type) {
	case NET_EVENT_LINK:
	case NET_EVENT_LINK_GONE:
		if (h->link)
			h->link(h->arg, &event->link, event->type == NET_EVENT_LINK_GONE);
		break;
	case NET_EVENT_LOCAL:
	case NET_EVENT_LOCAL_GONE:
		if (h->local)
			h->local(h->arg, &event->local, event->type == NET_EVENT_LOCAL_GONE);
		break;
	case NET_EVENT_NONE:
		break;
	}
}

/* One read into w->buf: its length, 0 for a message that is not from the kernel, or -errno. */
static ssize_t receive(struct watch *w, const struct mnl_socket *nl)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = w->buf, .iov_len = sizeof(w->buf) };
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t n;

	do
		n = recvmsg(mnl_socket_get_fd(nl), &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid == 0 ? n : 0;
}

/* ---------------------------------------------------------------- news */

static bool goes_down(const struct net_table *t, const struct net_event *event)
{
	const struct net_link *old;

	if (event->type != NET_EVENT_LINK)
		return false;
	old = net_table_link(t, event->link.ifindex);
	/* Losing the carrier counts: nexthop objects go by it. */
	return old && old->flags & ~event->link.flags & (IFF_UP | IFF_RUNNING);
}

/* Applies the messages in w->buf to t, and tells of them when t is the table in force. */
static int take_news(struct watch *w, struct net_table *t, int len)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)w->buf;
	struct net_event event;
	bool changed;
	int err;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		net_event_decode(&event, nlh, (size_t)len);
		if (event.doubt || goes_down(t, &event))
			w->doubt = true;
		changed = net_table_apply(t, &event, &err);
		if (err) {
			w->doubt = true;
			return err;
		}
		if (changed && t == &w->table)
			say(w, &event);
	}
	return 0;
}

/* 0 when nothing is left, 1 when there may be more, or -errno. */
static int drain(struct watch *w, struct net_table *t)
{
	unsigned i;
	ssize_t n;
	int err;

	for (i = 0; i < NEWS_MAX; i++) {
		n = receive(w, w->news);
		if (n == -EAGAIN)
			return 0;
		if (n == -ENOBUFS || n == -EMSGSIZE) {
			log_say(&w->log, MR_LOG_DEBUG, "netlink messages lost, dumping anew");
			w->doubt = true;
			continue;
		}
		if (n < 0)
			return (int)n;
		err = take_news(w, t, (int)n);
		if (err)
			return err;
	}
	return 1;
}

/* ---------------------------------------------------------------- dumps */

/* A family that the kernel was built or booted without, or that has no such table yet. */
static bool means_empty(int err)
{
	return err == -ENOENT || err == -EOPNOTSUPP || err == -EAFNOSUPPORT;
}

/* The errno in an NLMSG_ERROR or NLMSG_DONE. */
static int message_error(const struct nlmsghdr *nlh)
{
	int err = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(nlh), sizeof(err));
	return err < 0 ? err : 0;
}

/*
 * Puts the part of a dump in w->buf into t. 1 when that was the last part, 0 when there is more,
 * or -errno. Sets *interrupted when the kernel says that the dump may have missed something.
 */
static int take_part(struct watch *w, struct net_table *t, int len, bool *interrupted)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)w->buf;
	struct net_event event;
	int err;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		if (nlh->nlmsg_seq != w->seq)
			continue;
		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = true;
		if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
			err = message_error(nlh);
			return err ? err : 1;
		}
		net_event_decode(&event, nlh, (size_t)len);
		net_table_apply(t, &event, &err);
		if (err)
			return err;
	}
	return 0;
}

static int ask(struct watch *w, struct net_table *t, struct nlmsghdr *request, bool *interrupted)
{
	ssize_t n;
	int err;

	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = ++w->seq;
	if (mnl_socket_sendto(w->dump, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		n = receive(w, w->dump);
		if (n == -EAGAIN)
			return -ETIMEDOUT;
		if (n < 0)
			return (int)n;
		err = take_part(w, t, (int)n, interrupted);
	} while (err == 0);
	return err < 0 ? err : 0;
}

static int ask_links(struct watch *w, struct net_table *t, bool *interrupted)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);

	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_u32(request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return ask(w, t, request, interrupted);
}

/* Kernels before 4.20 do not look at table and type, and send all routes; decoding does. */
static int ask_locals(struct watch *w, struct net_table *t, uint8_t family, bool *interrupted)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;
	int err;

	request->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(request, sizeof(*rtm));
	rtm->rtm_family = family;
	rtm->rtm_table = RT_TABLE_LOCAL;
	rtm->rtm_type = RTN_LOCAL;
	err = ask(w, t, request, interrupted);
	return means_empty(err) ? 0 : err;
}

static int open_dump(struct watch *w)
{
	struct timeval limit = { .tv_sec = DUMP_TIMEOUT_S };
	int on = 1;

	if (w->dump)
		return 0;
	w->dump = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!w->dump)
		return -errno;
	if (mnl_socket_bind(w->dump, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	if (setsockopt(mnl_socket_get_fd(w->dump), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
	    0)
		return -errno;
	/* Makes the kernel filter by table; without it there is just more to read. */
	mnl_socket_setsockopt(w->dump, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return 0;
}

/* An answer that was not read to its end would stand before the next one: away with the socket. */
static void close_dump(struct watch *w)
{
	if (w->dump)
		mnl_socket_close(w->dump);
	w->dump = NULL;
}

/* Fills an empty table; links first, see above. */
static int dump_all(struct watch *w, struct net_table *t, bool *interrupted)
{
	int err = open_dump(w);

	*interrupted = false;
	if (!err)
		err = ask_links(w, t, interrupted);
	if (!err)
		err = ask_locals(w, t, AF_INET, interrupted);
	if (!err)
		err = ask_locals(w, t, AF_INET6, interrupted);
	if (err)
		close_dump(w);
	return err;
}

static void say_difference(void *arg, const struct net_event *event)
{
	say(arg, event);
}

/*
 * Makes a second table by dumps and by the news that came meanwhile: each is younger than the
 * beginning of the dump, so to apply them all in order ends at the truth. Then swaps tables.
 */
static int resync(struct watch *w)
{
	struct net_table fresh, old;
	bool interrupted = true;
	int err = 0, i;

	net_table_init(&fresh);
	w->doubt = false;
	for (i = 0; i < DUMP_TRIES && !err && interrupted; i++) {
		net_table_fini(&fresh);
		err = dump_all(w, &fresh, &interrupted);
	}
	if (!err)
		err = drain(w, &fresh);
	if (err < 0) {
		w->doubt = true;
		net_table_fini(&fresh);
		return err;
	}
	w->doubt |= interrupted;
	old = w->table;
	w->table = fresh;
	net_table_compare(&old, &w->table, say_difference, w);
	net_table_fini(&old);
	return 0;
}

/* Asks for any answer at all on the news socket, so that it polls readable. */
static void wake_self(struct watch *w)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *info;

	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST;
	info = mnl_nlmsg_put_extra_header(request, sizeof(*info));
	info->ifi_index = 1;
	mnl_socket_sendto(w->news, request, request->nlmsg_len);
}

/* ---------------------------------------------------------------- face */

int watch_process(struct watch *w)
{
	int err, i;

	for (i = 0; i < ROUNDS; i++) {
		/* Before a dump nothing old may be left, lest it be taken for younger than it. */
		err = drain(w, &w->table);
		if (err)
			return err < 0 ? err : 0;
		if (!w->doubt)
			return 0;
		err = resync(w);
		if (err)
			return err;
	}
	/* Changes come faster than dumps are made. Let others have a turn, but do come back. */
	if (w->doubt)
		wake_self(w);
	return 0;
}

static int open_news(struct watch *w)
{
	unsigned nexthop = RTNLGRP_NEXTHOP;
	int size = NEWS_RCVBUF;
	int fd;

	w->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->news)
		return -errno;
	fd = mnl_socket_get_fd(w->news);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (mnl_socket_bind(w->news, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
			    MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Kernels before 5.3 have no nexthop objects. */
	mnl_socket_setsockopt(w->news, NETLINK_ADD_MEMBERSHIP, &nexthop, sizeof(nexthop));
	return 0;
}

int watch_open(struct watch **out, const struct watch_handler *handler, const struct log *log)
{
	struct watch *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->handler = *handler;
	if (log)
		w->log = *log;
	net_table_init(&w->table);
	w->doubt = true;
	err = open_news(w);
	if (!err)
		err = watch_process(w);
	if (err) {
		watch_close(w);
		return err;
	}
	*out = w;
	return 0;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	close_dump(w);
	if (w->news)
		mnl_socket_close(w->news);
	net_table_fini(&w->table);
	free(w);
}

int watch_fd(const struct watch *w)
{
	return mnl_socket_get_fd(w->news);
}

const struct net_table *watch_table(const struct watch *w)
{
	return &w->table;
}
