/* SPDX-License-Identifier: MIT */
/* Netlink, one question and its whole answer, within a bounded time. */
#ifndef NET_ASK_H
#define NET_ASK_H

#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The kernel makes dump messages of up to 32 KiB when it sees that the reader has the room. */
#define ASK_ROOM 32768

struct mnl_socket;
struct ask;

/* 0 or -errno. */
int ask_open(struct ask **out, int protocol);
void ask_close(struct ask *a);

/*
 * Sends the request with `flags` (NLM_F_DUMP or NLM_F_ACK) and calls `take` for each message of
 * the answer, of which `room` bytes may be read; what it returns other than 0 ends the asking.
 * Sets *interrupted when the kernel says that a dump may have missed something; it may be NULL.
 * 0, or -errno: the kernel's, or that of the asking itself. After that an answer may be left that
 * was not read to its end, and would stand before the next one: close.
 */
int ask_kernel(struct ask *a, struct nlmsghdr *request, uint16_t flags,
	       int (*take)(void *arg, const struct nlmsghdr *nlh, size_t room), void *arg,
	       bool *interrupted);

/*
 * One read from any netlink socket into buf, of ASK_ROOM bytes: the length, 0 for a message that
 * is not from the kernel, or -errno.
 */
ssize_t ask_receive(const struct mnl_socket *nl, void *buf);

#endif
