/* SPDX-License-Identifier: MIT */
#include "sock/open.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int sock_set_mark(const struct sock *s, uint32_t mark)
{
	return s->fd < 0 ? 0 : set(s->fd, SOL_SOCKET, SO_MARK, (int)mark);
}

void sock_close(struct sock *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* What must work for the socket to be of use. */
static int set_needed(int fd, int family)
{
	int err;

	if (family == AF_INET6) {
		err = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		return err ? err : set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	}
	return set(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

/* What helps: without it less is known, or it is slower. */
static void set_wanted(int fd, int family, unsigned busy_poll_us)
{
	if (family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	else
		set(fd, IPPROTO_IP, IP_RECVTOS, 1);
	set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	/*
	 * On for good: turned off on a live socket, what is queued coalesced would be read without
	 * its segment size, as one datagram.
	 */
	set(fd, SOL_UDP, UDP_GRO, 1);
	if (set(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCK_RCVBUF))
		set(fd, SOL_SOCKET, SO_RCVBUF, SOCK_RCVBUF);
	if (set(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCK_SNDBUF))
		set(fd, SOL_SOCKET, SO_SNDBUF, SOCK_SNDBUF);
	if (busy_poll_us)
		set(fd, SOL_SOCKET, SO_BUSY_POLL, (int)busy_poll_us);
}

static int bind_port(struct sock *s, const struct sockaddr *address)
{
	struct sockaddr_storage sa = { .ss_family = s->family };
	socklen_t len =
		s->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	if (address)
		memcpy(&sa, address, len);
	if (s->family == AF_INET6)
		((struct sockaddr_in6 *)&sa)->sin6_port = htons(s->port);
	else
		((struct sockaddr_in *)&sa)->sin_port = htons(s->port);
	if (bind(s->fd, (struct sockaddr *)&sa, len) < 0)
		return -errno;
	if (getsockname(s->fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	s->port = ntohs(s->family == AF_INET6 ? ((struct sockaddr_in6 *)&sa)->sin6_port
					      : ((struct sockaddr_in *)&sa)->sin_port);
	return 0;
}

static int fail(struct sock *s, struct mr_diag *diag, int err, const char *step,
		const struct sock_options *o)
{
	char object[sizeof(diag->object)], remedy[160] = "", address[MR_ENDPOINT_TEXT] = "";
	struct mr_endpoint e;

	if (o->address && !mr_endpoint_from_sockaddr(&e, o->address, sizeof(struct sockaddr_in6))) {
		e.local = e.remote;
		e.ifindex = e.scope;
		mr_endpoint_format_local(&e, address);
	}
	snprintf(object, sizeof(object), "%s%s%s port %u", s->family == AF_INET6 ? "IPv6" : "IPv4",
		 address[0] ? " " : "", address, s->port);
	if (err == -EADDRINUSE && s->port)
		snprintf(remedy, sizeof(remedy),
			 "another socket has the port: see `ss -lunp sport = :%u`", s->port);
	else if (err == -EADDRINUSE)
		snprintf(remedy, sizeof(remedy), "no free port: see net.ipv4.ip_local_port_range");
	else if (err == -EACCES)
		snprintf(remedy, sizeof(remedy),
			 "ports below net.ipv4.ip_unprivileged_port_start need "
			 "CAP_NET_BIND_SERVICE");
	else if (err == -EADDRNOTAVAIL)
		snprintf(remedy, sizeof(remedy), "the address is not one of this host's");
	else if (err == -EPERM && o->mark)
		snprintf(remedy, sizeof(remedy), "SO_MARK needs CAP_NET_ADMIN or CAP_NET_RAW");
	sock_close(s);
	return diag_set(diag, err, step, object, "%s", remedy);
}

/* One socket, ready to serve; joining sets SO_REUSEPORT before bind. */
static int open_one(struct sock *s, int family, uint16_t port, bool join,
		    const struct sock_options *o, struct mr_diag *diag)
{
	int err;

	memset(s, 0, sizeof(*s));
	s->family = (uint8_t)family;
	s->port = port;
	s->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return fail(s, diag, -errno, "open a UDP socket", o);
	err = set_needed(s->fd, family);
	if (err)
		return fail(s, diag, err, "set socket options", o);
	set_wanted(s->fd, family, o->busy_poll_us);
	if (o->mark && (err = sock_set_mark(s, o->mark)))
		return fail(s, diag, err, "set the firewall mark", o);
	if (o->device && setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, o->device,
				    (socklen_t)strlen(o->device) + 1) < 0)
		return fail(s, diag, -errno, "bind to the interface", o);
	if (join && (err = set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1)))
		return fail(s, diag, err, "share the port", o);
	err = bind_port(s, o->address);
	if (err)
		return fail(s, diag, err, "bind the socket", o);
	/* Only now may others join: reuseport_alloc copes with a socket that was bound before. */
	if (o->share && !join && (err = set(s->fd, SOL_SOCKET, SO_REUSEPORT, 1)))
		return fail(s, diag, err, "share the port", o);
	return 0;
}

/* The system has no such family at all, or none of its addresses (disable_ipv6). */
static bool family_lacking(int err)
{
	return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL;
}

static int open_pair_once(struct sock *s4, struct sock *s6, const struct sock_options *o,
			  const struct log *log, struct mr_diag *diag)
{
	int err;

	err = open_one(s6, AF_INET6, o->port, false, o, diag);
	if (err && !family_lacking(err))
		return err;
	if (err)
		log_say(log, MR_LOG_INFO, "IPv6 is not there (%s): serving IPv4 only",
			strerror(-err));
	err = open_one(s4, AF_INET, s6->fd >= 0 ? s6->port : o->port, false, o, diag);
	if (err && family_lacking(err) && s6->fd >= 0) {
		log_say(log, MR_LOG_INFO, "IPv4 is not there (%s): serving IPv6 only",
			strerror(-err));
		return 0;
	}
	if (err)
		sock_close(s6);
	return err;
}

int sock_pair_open(struct sock *s4, struct sock *s6, const struct sock_options *o,
		   const struct log *log, struct mr_diag *diag)
{
	int err = 0;

	s4->fd = s6->fd = -1;
	if (o->address) {
		bool six = o->address->sa_family == AF_INET6;

		return open_one(six ? s6 : s4, o->address->sa_family, o->port, false, o, diag);
	}
	/* A number that is free for IPv6 need not be for IPv4: then another one. */
	for (int i = 0; i < BIND_TRIES; i++) {
		err = open_pair_once(s4, s6, o, log, diag);
		if (err != -EADDRINUSE || o->port != 0)
			break;
	}
	return err;
}

int sock_pair_join(struct sock *s4, struct sock *s6, const struct sock *first4,
		   const struct sock *first6, const struct sock_options *o, struct mr_diag *diag)
{
	int err = 0;

	s4->fd = s6->fd = -1;
	if (first6->fd >= 0)
		err = open_one(s6, AF_INET6, first6->port, true, o, diag);
	if (!err && first4->fd >= 0)
		err = open_one(s4, AF_INET, first4->port, true, o, diag);
	if (err)
		sock_close(s6);
	return err;
}

int sock_port_open(struct sock *s, const struct mr_endpoint *peer, uint32_t mark)
{
	const struct sock_options o = { .mark = mark };
	int err = open_one(s, peer->family, 0, false, &o, NULL);

	if (!err)
		s->peer = *peer;
	return err;
}
