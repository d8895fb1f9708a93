/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the public API over sockets share: one transport, a peer of each family, and
 * stand-ins for the system calls of mr_bind, so that each of them can fail. Never anything but
 * MR_POLICY_SOCKET here: no interface of the machine is touched. A program that includes this is
 * linked with the --wrap options of tests/tests.mk.
 */
#ifndef TRANSPORT_FIXTURE_H
#define TRANSPORT_FIXTURE_H

#include "unit.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "transport.h"

/* ---------------------------------------------------------------- standing in */

#define CALLS(X)                       \
	X(SOCKET, socket)              \
	X(BIND, bind)                  \
	X(SETSOCKOPT, setsockopt)      \
	X(EPOLL_CREATE, epoll_create1) \
	X(EPOLL_CTL, epoll_ctl)        \
	X(EVENTFD, eventfd)            \
	X(MMAP, mmap)                  \
	X(GETSOCKNAME, getsockname)

enum call {
	CALL_NONE,
#define CALL_ENUM(symbol, name) CALL_##symbol,
	CALLS(CALL_ENUM) CALL_COUNT,
#undef CALL_ENUM
};

#define EVERY_FAMILY -1

static struct {
	enum call call; /* this one fails … */
	unsigned nth;	/* … the so-manieth time, 1 the first */
	int error;
	bool happened;
	unsigned counts[CALL_COUNT];

	int lacking;	     /* socket() of this family: EAFNOSUPPORT */
	int no_address;	     /* bind() of this family: EADDRNOTAVAIL */
	unsigned busy4;	     /* so many bind()s by IPv4 to come: EADDRINUSE */
	uint16_t next_port;  /* the next bind() to port 0 tries this number first */
	unsigned mark_fails; /* the so-manieth SO_MARK fails with EPERM */
	unsigned marks;
	bool fake_marks; /* SO_MARK is not passed on: no privilege needed */
	uint32_t mark_of[1024];
} fake;

static inline bool fails(enum call call)
{
	fake.counts[call]++;
	if (fake.call != call || fake.counts[call] != fake.nth)
		return false;
	fake.happened = true;
	errno = fake.error;
	return true;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	if (fails(CALL_SOCKET))
		return -1;
	if (fake.lacking == family || fake.lacking == EVERY_FAMILY) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return __real_socket(family, type, protocol);
}

int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in6 copy;

	if (fails(CALL_BIND))
		return -1;
	if (fake.no_address == sa->sa_family) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	if (fake.busy4 && sa->sa_family == AF_INET) {
		fake.busy4--;
		errno = EADDRINUSE;
		return -1;
	}
	/* The port is at the same place in both families. */
	memcpy(&copy, sa, len);
	if (fake.next_port && !copy.sin6_port) {
		copy.sin6_port = htons(fake.next_port);
		fake.next_port = 0;
		if (__real_bind(fd, (struct sockaddr *)&copy, len) == 0)
			return 0;
	}
	return __real_bind(fd, sa, len);
}

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (fails(CALL_SETSOCKOPT))
		return -1;
	if (level == SOL_SOCKET && name == SO_MARK) {
		if (++fake.marks == fake.mark_fails) {
			errno = EPERM;
			return -1;
		}
		if (fake.fake_marks) {
			assert_true(fd < (int)COUNT(fake.mark_of));
			memcpy(&fake.mark_of[fd], value, sizeof(uint32_t));
			return 0;
		}
	}
	return __real_setsockopt(fd, level, name, value, len);
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
	return fails(CALL_EPOLL_CREATE) ? -1 : __real_epoll_create1(flags);
}

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return fails(CALL_EPOLL_CTL) ? -1 : __real_epoll_ctl(epfd, op, fd, event);
}

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
	return fails(CALL_EVENTFD) ? -1 : __real_eventfd(value, flags);
}

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails(CALL_MMAP) ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

int __real_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	return fails(CALL_GETSOCKNAME) ? -1 : __real_getsockname(fd, sa, len);
}

/* ---------------------------------------------------------------- fixture */

static struct mr_transport *t;
static struct peer p4, p6;
static unsigned fds_before;

static inline int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fds_before = open_fds();
	t = NULL;
	p4 = peer_open("127.0.0.1");
	p6 = peer_open("::1");
	return 0;
}

static inline int teardown(void **state)
{
	memset(&fake, 0, sizeof(fake));
	mr_close(t);
	t = NULL;
	close(p4.fd);
	close(p6.fd);
	return netns_leave(state);
}

/* As teardown, and nothing may be left open. */
static inline void done(void)
{
	teardown(NULL);
	assert_int_equal(open_fds(), fds_before);
	setup(NULL);
}

static inline int bind_with(struct mr_options o, struct mr_diag *diag)
{
	o.policy = MR_POLICY_SOCKET;
	return mr_bind(&o, &t, diag);
}

static inline struct mr_reader *bind_any(void)
{
	assert_int_equal(bind_with((struct mr_options)MR_OPTIONS_INIT, NULL), 0);
	return mr_reader(t, 0);
}

static inline struct mr_endpoint self(const char *address, uint16_t port)
{
	char text[64];

	snprintf(text, sizeof(text), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
	return endpoint(text);
}

static inline uint64_t counted(enum reason reason)
{
	uint64_t counts[REASON_COUNT];

	mr_stats(t, counts, REASON_COUNT);
	return counts[reason];
}

/* One plain socket bound to this port; -1 with errno. */
static inline int hold_port(int family, uint16_t port, bool share)
{
	struct mr_endpoint any = { .family = (uint16_t)family, .port_be = htons(port) };
	struct sockaddr_storage sa;
	socklen_t len = mr_endpoint_to_sockaddr(&any, &sa);
	int one = 1, err, fd = __real_socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (share)
		__real_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (family == AF_INET6)
		__real_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (__real_bind(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static inline uint16_t port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct mr_endpoint e;

	assert_int_equal(__real_getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&sa, len);
	return ntohs(e.port_be);
}

/* The peer's message arrives at r: it does what it says. */
static inline void expect_served(struct mr_reader *r, const struct peer *p, uint16_t port)
{
	struct mr_endpoint to = self(p->at.family == AF_INET ? "127.0.0.1" : "::1", port), from;
	char buf[8];

	peer_send(p, &to, "hello", 5);
	assert_int_equal(mr_recv(r, buf, sizeof(buf), &from, PATIENCE_MS), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(from.port_be, p->at.port_be);
	/* And back, from the very port and address. */
	assert_int_equal(mr_send(mr_reader_writer(r), "there", 5, &from), 0);
	assert_int_equal(peer_recv(p, buf, sizeof(buf), &from, PATIENCE_MS), 5);
	assert_true(mr_endpoint_equal(&from, &to));
}

static inline uint16_t open_port(struct mr_reader *r, const struct mr_endpoint *peer)
{
	int port = mr_port_open(r, peer);

	if (port <= 0)
		fail_msg("mr_port_open: %d", port);
	assert_true(port < 65536);
	return (uint16_t)port;
}

/* A test with the fixture around it. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
