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
 *				which are one row in our table; a new veth pair, of which one is
 *				told of before it has its peer
 *
 * What is not told comes with something that is: a deleted local route, a link that goes down or
 * away, a nexthop object deleted or replaced, a policy rule (only the order says what it means),
 * the default of rp_filter (which interfaces may take over), the second of a veth pair. These
 * raise `doubt`, and doubt means to dump anew and to report what differs, the same as after an
 * overrun. Before that the message itself is applied, so a deleted address is reported at once.
 *
 * Routes that go in silence go after the message, within the same hold of the RTNL lock. Dumps of
 * routes do not take it (RTNL_FLAG_DUMP_UNLOCKED), those of links do: asking for links first makes
 * sure that the routes are looked at when all is done.
 */
#include "net/watch.h"

#include "net/ask.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* IFF_LOWER_UP of <linux/if.h>, which does not go with <net/if.h>. */
#define LOWER_UP (1u << 16)

/* A burst of some ten thousand changes; each message takes about 1 KiB of it. */
#define NEWS_RCVBUF (8 * 1024 * 1024)
/* Messages in one go: a flood must not keep the control thread here for ever. */
#define NEWS_MAX 65536u
/* Dumps until one is not interrupted by changes, and rounds until one leaves no doubt. */
#define DUMP_TRIES 4
#define ROUNDS	   4

struct watch {
	struct watch_handler handler;
	struct log log;
	struct mnl_socket *news;
	struct ask *dump;
	struct net_table table;
	bool doubt, routing;
	_Alignas(struct nlmsghdr) char buf[ASK_ROOM];
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
	case NET_EVENT_MAIN:
	case NET_EVENT_MAIN_GONE:
	case NET_EVENT_RULE:
	case NET_EVENT_CONF:
	case NET_EVENT_CONF_GONE:
	case NET_EVENT_NONE:
		break;
	}
}

/* Decodes; a route in the main table becomes a hole of the local one, or nothing. */
static void decode(struct net_event *event, const struct net_table *t, const struct nlmsghdr *nlh,
		   size_t room)
{
	bool gone;

	net_event_decode(event, nlh, room);
	gone = event->type == NET_EVENT_MAIN_GONE;
	if (!gone && event->type != NET_EVENT_MAIN)
		return;
	event->type = gone ? NET_EVENT_LOCAL_GONE : NET_EVENT_LOCAL;
	if (!net_table_is_inside(t, &event->local)) {
		event->type = NET_EVENT_NONE;
		event->doubt = false;
	}
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

/* The peer of a new veth was told of before it had one. */
static bool is_half_told(const struct net_table *t, const struct net_event *event)
{
	const struct net_link *peer;

	if (event->type != NET_EVENT_LINK || strcmp(event->link.kind, "veth") != 0)
		return false;
	peer = net_table_link(t, event->link.lower);
	return peer && peer->lower != event->link.ifindex;
}

/* A link that comes or goes: IPv4 routes by it come and go, some in silence. */
static bool turns(const struct net_table *t, const struct net_event *event)
{
	const struct net_link *old;

	if (event->type == NET_EVENT_LINK_GONE)
		return true;
	old = event->type == NET_EVENT_LINK ? net_table_link(t, event->link.ifindex) : NULL;
	return old && (old->flags ^ event->link.flags) & (IFF_UP | IFF_RUNNING | LOWER_UP);
}

static bool is_local6(const struct net_event *event)
{
	return (event->type == NET_EVENT_LOCAL || event->type == NET_EVENT_LOCAL_GONE) &&
	       event->local.family == AF_INET6;
}

/* Applies the messages in w->buf to t, and tells of them when t is the table in force. */
static int take_news(struct watch *w, struct net_table *t, int len)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)w->buf;
	struct net_event event;
	bool changed;
	int err;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		decode(&event, t, nlh, (size_t)len);
		if (event.doubt || goes_down(t, &event) || is_half_told(t, &event))
			w->doubt = true;
		w->routing |= event.routing || turns(t, &event);
		/* Its place among the others is not told. */
		if (event.type == NET_EVENT_RULE)
			continue;
		/* A new prefix comes with the dump that it calls for, after the holes in it. */
		if (event.type == NET_EVENT_LOCAL && event.doubt && !event.local.excluded)
			continue;
		changed = net_table_apply(t, &event, &err);
		if (err) {
			w->doubt = true;
			return err;
		}
		w->routing |= changed && event.type != NET_EVENT_LINK && !is_local6(&event);
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
		n = ask_receive(w->news, w->buf);
		if (n == -EAGAIN)
			return 0;
		if (n == -ENOBUFS || n == -EMSGSIZE) {
			log_say(&w->log, MR_LOG_DEBUG, "netlink messages lost, dumping anew");
			w->doubt = w->routing = true;
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

static int take_row(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	struct net_event event;
	int err;

	decode(&event, arg, nlh, room);
	net_table_apply(arg, &event, &err);
	return err;
}

static int ask(struct watch *w, struct net_table *t, struct nlmsghdr *request, bool *interrupted)
{
	return ask_kernel(w->dump, request, NLM_F_DUMP, take_row, t, interrupted);
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

/* Kernels before 4.20 do not look at the table, and send all routes; decoding does. */
static int ask_routes(struct watch *w, struct net_table *t, uint8_t family, uint8_t table,
		      bool *interrupted)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct rtmsg *rtm;
	int err;

	request->nlmsg_type = RTM_GETROUTE;
	rtm = mnl_nlmsg_put_extra_header(request, sizeof(*rtm));
	rtm->rtm_family = family;
	rtm->rtm_table = table;
	err = ask(w, t, request, interrupted);
	return means_empty(err) ? 0 : err;
}

/* Where there is no policy routing, it is as if there was but the first of the usual rules. */
static int ask_rules(struct watch *w, struct net_table *t, uint8_t family, bool *interrupted)
{
	struct net_event event = {
		.type = NET_EVENT_RULE,
		.rule = { .family = family, .plain = true, .table = RT_TABLE_LOCAL },
	};
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *hdr;
	int err;

	request->nlmsg_type = RTM_GETRULE;
	hdr = mnl_nlmsg_put_extra_header(request, sizeof(*hdr));
	hdr->family = family;
	err = ask(w, t, request, interrupted);
	if (!means_empty(err))
		return err;
	net_table_apply(t, &event, &err);
	return err;
}

static int ask_confs(struct watch *w, struct net_table *t, bool *interrupted)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct netconfmsg *msg;
	int err;

	request->nlmsg_type = RTM_GETNETCONF;
	msg = mnl_nlmsg_put_extra_header(request, sizeof(*msg));
	msg->ncm_family = AF_INET;
	err = ask(w, t, request, interrupted);
	return means_empty(err) ? 0 : err;
}

/* Fills an empty table; links first, see above. */
static int dump_all(struct watch *w, struct net_table *t, bool *interrupted)
{
	int err = w->dump ? 0 : ask_open(&w->dump, NETLINK_ROUTE);

	*interrupted = false;
	if (!err)
		err = ask_links(w, t, interrupted);
	if (!err)
		err = ask_routes(w, t, AF_INET, RT_TABLE_LOCAL, interrupted);
	/* Perhaps a million of routes, but only where there is a prefix for holes. */
	if (!err && net_table_has_anyip(t))
		err = ask_routes(w, t, AF_INET, RT_TABLE_MAIN, interrupted);
	if (!err)
		err = ask_routes(w, t, AF_INET6, RT_TABLE_LOCAL, interrupted);
	if (!err)
		err = ask_rules(w, t, AF_INET, interrupted);
	if (!err)
		err = ask_rules(w, t, AF_INET6, interrupted);
	if (!err)
		err = ask_confs(w, t, interrupted);
	if (err) {
		ask_close(w->dump);
		w->dump = NULL;
	}
	return err;
}

static void say_difference(void *arg, const struct net_event *event)
{
	struct watch *w = arg;

	w->routing = true;
	say(w, event);
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

static int follow(struct watch *w)
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

int watch_process(struct watch *w)
{
	int err = follow(w);

	/* After an error, too: what was taken in before it holds. */
	if (w->routing && w->handler.routing)
		w->handler.routing(w->handler.arg);
	w->routing = false;
	return err;
}

static int open_news(struct watch *w)
{
	static const unsigned groups[] = {
		RTNLGRP_LINK,	   RTNLGRP_IPV4_ROUTE,	 RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,
		RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_NETCONF, RTNLGRP_NEXTHOP,
	};
	int size = NEWS_RCVBUF;
	unsigned i, group;
	int fd;

	w->news = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!w->news)
		return -errno;
	fd = mnl_socket_get_fd(w->news);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (mnl_socket_bind(w->news, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		group = groups[i];
		/* Kernels before 5.3 have no nexthop objects. */
		if (mnl_socket_setsockopt(w->news, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) <
			    0 &&
		    group != RTNLGRP_NEXTHOP)
			return -errno;
	}
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
	*out = w;
	err = open_news(w);
	if (!err)
		err = watch_process(w);
	if (err) {
		watch_close(w);
		*out = NULL;
	}
	return err;
}

void watch_close(struct watch *w)
{
	if (!w)
		return;
	ask_close(w->dump);
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
