/* SPDX-License-Identifier: MIT */
/* What the tests share: plain sockets as the far side, seeded chance, a namespace. */
#ifndef UNIT_H
#define UNIT_H

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/counters.h"
#include "millrace.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Long enough for a busy machine; reached only when something is wrong. */
#define PATIENCE_MS 2000

#define SKIP(why)                                      \
	do {                                           \
		print_message("# skipped: %s\n", why); \
		skip();                                \
	} while (0)

/* ---------------------------------------------------------------- chance */

static uint64_t random_state;

/* splitmix64: the same numbers on every machine, so that a failure comes again. */
static inline uint64_t random64(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static inline unsigned random_below(unsigned n)
{
	return (unsigned)(random64() % n);
}

/* ---------------------------------------------------------------- endpoints */

static inline struct mr_endpoint endpoint(const char *text)
{
	struct mr_endpoint e;

	if (mr_endpoint_parse(&e, text) != 0)
		fail_msg("does not parse: %s", text);
	return e;
}

/* The same with a pinned source. */
static inline struct mr_endpoint from_source(struct mr_endpoint e, const char *local)
{
	memset(&e.local, 0, sizeof(e.local));
	if (inet_pton(e.family, local, &e.local) != 1)
		fail_msg("does not parse: %s", local);
	return e;
}

static inline bool same_address(const union mr_address *a, int family, const char *text)
{
	union mr_address b;

	memset(&b, 0, sizeof(b));
	if (inet_pton(family, text, &b) != 1)
		fail_msg("does not parse: %s", text);
	return !memcmp(a, &b, sizeof(b));
}

#define assert_address(a, family, text) assert_true(same_address(a, family, text))

/* ---------------------------------------------------------------- payloads */

/* Bytes that tell which datagram they belong to, at any length. */
static inline uint8_t payload_byte(uint32_t number, size_t i)
{
	return (uint8_t)(i < 4 ? number >> (8 * i) : number * 31 + i * 7);
}

static inline void payload_fill(void *buf, size_t len, uint32_t number)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = payload_byte(number, i);
}

static inline bool payload_is(const void *buf, size_t len, uint32_t number)
{
	for (size_t i = 0; i < len; i++)
		if (((const uint8_t *)buf)[i] != payload_byte(number, i))
			return false;
	return true;
}

/* ---------------------------------------------------------------- the far side */

/* An ordinary UDP socket without anything of the library. */
struct peer {
	int fd;
	struct mr_endpoint at;
};

static inline struct peer peer_open(const char *address)
{
	struct peer p = { .at = { .family = strchr(address, ':') ? AF_INET6 : AF_INET } };
	struct sockaddr_storage sa;
	int bytes = 4 << 20;
	socklen_t len;

	inet_pton(p.at.family, address, &p.at.remote);
	len = mr_endpoint_to_sockaddr(&p.at, &sa);
	p.fd = socket(p.at.family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(p.fd >= 0);
	if (setsockopt(p.fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
		setsockopt(p.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	assert_int_equal(bind(p.fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(p.fd, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(mr_endpoint_from_sockaddr(&p.at, (struct sockaddr *)&sa, len), 0);
	return p;
}

static inline bool readable(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) > 0;
}

/* One datagram and who sent it; -1 when none comes in time. */
static inline ssize_t peer_recv(const struct peer *p, void *buf, size_t len,
				struct mr_endpoint *from, int timeout_ms)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = sizeof(sa);
	ssize_t n;

	if (!readable(p->fd, timeout_ms))
		return -1;
	n = recvfrom(p->fd, buf, len, MSG_TRUNC, (struct sockaddr *)&sa, &sa_len);
	if (n >= 0 && from)
		mr_endpoint_from_sockaddr(from, (struct sockaddr *)&sa, sa_len);
	return n;
}

static inline void peer_send(const struct peer *p, const struct mr_endpoint *to, const void *buf,
			     size_t len)
{
	struct sockaddr_storage sa;
	socklen_t sa_len = mr_endpoint_to_sockaddr(to, &sa);

	assert_int_equal(sendto(p->fd, buf, len, 0, (struct sockaddr *)&sa, sa_len), len);
}

/* Several datagrams as one segmented message; 0, or the errno. */
static inline int peer_send_segments(const struct peer *p, const struct mr_endpoint *to,
				     const void *buf, size_t len, uint16_t size)
{
	_Alignas(8) uint8_t control[CMSG_SPACE(sizeof(size))] = { 0 };
	struct sockaddr_storage sa;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr h = {
		.msg_name = &sa,
		.msg_namelen = mr_endpoint_to_sockaddr(to, &sa),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	return sendmsg(p->fd, &h, 0) < 0 ? errno : 0;
}

/* ---------------------------------------------------------------- the process */

static inline unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---------------------------------------------------------------- a namespace of one's own */

static int home_netns = -1;

/* For cmocka's teardown: back home, however the test ended. */
static inline int netns_leave(void **state)
{
	(void)state;
	if (home_netns >= 0) {
		if (setns(home_netns, CLONE_NEWNET) < 0)
			return -1;
		close(home_netns);
	}
	home_netns = -1;
	return 0;
}

/* Into an empty namespace with lo up. False when that takes rights we have not. */
static inline bool netns_enter(void)
{
	home_netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home_netns < 0)
		return false;
	if (unshare(CLONE_NEWNET) < 0) {
		close(home_netns);
		home_netns = -1;
		return false;
	}
	return system("ip link set lo up") == 0;
}

static inline void shell(const char *command)
{
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

#endif
