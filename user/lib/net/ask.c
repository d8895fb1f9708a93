/* SPDX-License-Identifier: MIT */
#include "net/ask.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/* Answers are made by the asking thread itself: this is reached only when something is wrong. */
#define TIMEOUT_S 2

struct ask {
	struct mnl_socket *nl;
	uint32_t seq;
	_Alignas(struct nlmsghdr) char buf[ASK_ROOM];
};

int ask_open(struct ask **out, int protocol)
{
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	struct ask *a = malloc(sizeof(*a));
	int on = 1, err;

	if (!a)
		return -ENOMEM;
	a->seq = 0;
	a->nl = mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!a->nl || mnl_socket_bind(a->nl, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(a->nl), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) <
		    0) {
		err = -errno;
		ask_close(a);
		return err;
	}
	/* Makes the kernel filter routes by table; without it there is just more to read. */
	mnl_socket_setsockopt(a->nl, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	*out = a;
	return 0;
}

void ask_close(struct ask *a)
{
	if (a && a->nl)
		mnl_socket_close(a->nl);
	free(a);
}

ssize_t ask_receive(const struct mnl_socket *nl, void *buf)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = ASK_ROOM };
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

/* The errno in an NLMSG_ERROR or NLMSG_DONE. */
static int message_error(const struct nlmsghdr *nlh)
{
	int err = 0;

	if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(nlh), sizeof(err));
	return err < 0 ? err : 0;
}

/* One part of the answer: 1 when that was the last one, 0 when there is more, or -errno. */
static int take_part(struct ask *a, int len,
		     int (*take)(void *arg, const struct nlmsghdr *nlh, size_t room), void *arg,
		     bool *interrupted)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)a->buf;
	int err;

	for (; mnl_nlmsg_ok(nlh, len); nlh = mnl_nlmsg_next(nlh, &len)) {
		if (nlh->nlmsg_seq != a->seq)
			continue;
		if (nlh->nlmsg_flags & NLM_F_DUMP_INTR && interrupted)
			*interrupted = true;
		if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR) {
			err = message_error(nlh);
			return err ? err : 1;
		}
		err = take(arg, nlh, (size_t)len);
		if (err)
			return err;
	}
	return 0;
}

int ask_kernel(struct ask *a, struct nlmsghdr *request, uint16_t flags,
	       int (*take)(void *arg, const struct nlmsghdr *nlh, size_t room), void *arg,
	       bool *interrupted)
{
	ssize_t n;
	int err;

	request->nlmsg_flags = NLM_F_REQUEST | flags;
	request->nlmsg_seq = ++a->seq;
	if (mnl_socket_sendto(a->nl, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		n = ask_receive(a->nl, a->buf);
		if (n == -EAGAIN)
			return -ETIMEDOUT;
		if (n < 0)
			return (int)n;
		err = take_part(a, (int)n, take, arg, interrupted);
	} while (err == 0);
	return err < 0 ? err : 0;
}
