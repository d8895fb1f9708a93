/* SPDX-License-Identifier: MIT */
/*
 * What the tests of sock/send.c share: a pair of sockets with peers over loopback, and sendmmsg
 * stood in for so that it can fail as kernels and devices do that are not here. A rule says which
 * messages are refused; the stand-in then does what the kernel does: sends those before the first
 * refused one, and reports the error only when that is the first of all. A program that includes
 * this is linked with the --wrap options of tests/tests.mk.
 */
#ifndef SEND_FIXTURE_H
#define SEND_FIXTURE_H

#include "unit.h"

#include "sock/send.h"

/* ---------------------------------------------------------------- standing in */

int __real_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags);
int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);

#define LOG_MAX 512u

/* A message that the library tried to send. */
struct attempt {
	unsigned call, segments;
	size_t len;
	uint16_t gso_size;
	bool pinned, sent;
	int error;
};

static struct {
	bool (*refuses)(const struct msghdr *h); /* NULL: nobody */
	int error;
	unsigned times; /* how often, at most */
	unsigned calls;
	unsigned at_most; /* messages sent per call; 0: all */
	struct attempt log[LOG_MAX];
	unsigned count;
	unsigned sockets, binds;
	int socket_error;
} fake;

static inline const struct cmsghdr *find(const struct msghdr *h, int level, int type)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)h;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == level && c->cmsg_type == type)
			return c;
	return NULL;
}

static inline uint16_t gso_size(const struct msghdr *h)
{
	const struct cmsghdr *c = find(h, SOL_UDP, UDP_SEGMENT);
	uint16_t size = 0;

	if (c)
		memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size;
}

static inline bool is_pinned(const struct msghdr *h)
{
	return find(h, IPPROTO_IP, IP_PKTINFO) || find(h, IPPROTO_IPV6, IPV6_PKTINFO);
}

static inline size_t length(const struct msghdr *h)
{
	size_t len = 0;

	for (size_t i = 0; i < h->msg_iovlen; i++)
		len += h->msg_iov[i].iov_len;
	return len;
}

static inline struct attempt *record(const struct msghdr *h)
{
	struct attempt *a = &fake.log[fake.count];

	assert_true(fake.count < LOG_MAX);
	fake.count++;
	*a = (struct attempt){
		.call = fake.calls,
		.segments = (unsigned)h->msg_iovlen,
		.len = length(h),
		.gso_size = gso_size(h),
		.pinned = is_pinned(h),
	};
	/* One datagram is never segmented; several always are. */
	assert_int_equal(a->gso_size != 0, h->msg_iovlen > 1);
	return a;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
	struct attempt *a = NULL;
	unsigned good = 0;
	int sent;

	assert_true(n > 0 && n <= BATCH_MAX);
	assert_true(flags & MSG_DONTWAIT);
	fake.calls++;
	for (; good < n; good++) {
		if (fake.at_most && good == fake.at_most)
			break;
		if (fake.refuses && fake.times && fake.refuses(&v[good].msg_hdr))
			break;
	}
	if (good == 0) {
		fake.times--;
		record(&v[0].msg_hdr)->error = fake.error;
		errno = fake.error;
		return -1;
	}
	sent = __real_sendmmsg(fd, v, good, flags);
	for (int i = 0; i < (sent > 0 ? sent : 1); i++) {
		int err = errno;

		a = record(&v[i].msg_hdr);
		a->sent = sent > 0;
		a->error = sent > 0 ? 0 : err;
		errno = err;
	}
	return sent;
}

int __wrap_socket(int family, int type, int protocol)
{
	fake.sockets++;
	if (fake.socket_error) {
		errno = fake.socket_error;
		return -1;
	}
	return __real_socket(family, type, protocol);
}

int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	fake.binds++;
	return __real_bind(fd, sa, len);
}

/* ---------------------------------------------------------------- rules */

static inline bool is_anything(const struct msghdr *h)
{
	(void)h;
	return true;
}

static uint8_t victim; /* number of the datagram that a rule is after */

static inline bool is_victim(const struct msghdr *h)
{
	return h->msg_iov[0].iov_len && *(const uint8_t *)h->msg_iov[0].iov_base == victim;
}

static inline void refuse(bool (*refuses)(const struct msghdr *), int error, unsigned times)
{
	fake.refuses = refuses;
	fake.error = error;
	fake.times = times;
}

/* ---------------------------------------------------------------- fixture */

#define MANY 400u

static struct {
	struct sock s4, s6;
	struct sock_gso gso;
	struct counters counters;
	struct peer p4, p6, q4; /* q4: another one */
	struct mr_datagram d[MANY];
	uint8_t bytes[MANY][2048];
} f;

static inline int setup(void **state)
{
	const struct sock_options o = { .port = 0 };
	const struct log log = { .fn = NULL };

	(void)state;
	memset(&fake, 0, sizeof(fake));
	memset(&f, 0, sizeof(f));
	if (sock_pair_open(&f.s4, &f.s6, &o, &log, NULL) || f.s6.fd < 0 || f.s4.fd < 0)
		return -1;
	f.p4 = peer_open("127.0.0.1");
	f.q4 = peer_open("127.0.0.2");
	f.p6 = peer_open("::1");
	memset(&fake, 0, sizeof(fake));
	return 0;
}

static inline int teardown(void **state)
{
	memset(&fake, 0, sizeof(fake));
	sock_close(&f.s4);
	sock_close(&f.s6);
	close(f.p4.fd);
	close(f.q4.fd);
	close(f.p6.fd);
	return netns_leave(state);
}

/* The sockets again, in a namespace of their own. */
static inline void enter_netns(void **state)
{
	teardown(state);
	if (!netns_enter()) {
		setup(state);
		SKIP("needs CAP_SYS_ADMIN for a network namespace");
	}
	assert_int_equal(setup(state), 0);
}

static inline uint64_t counted(enum reason reason)
{
	return counters_get(&f.counters, reason);
}

/* Datagram i, numbered i, to e. */
static inline void make(unsigned i, const struct mr_endpoint *e, size_t len)
{
	assert_true(i < MANY && len <= sizeof(f.bytes[i]));
	payload_fill(f.bytes[i], len, i);
	f.d[i] = (struct mr_datagram){
		.endpoint = *e, .data = f.bytes[i], .len = (uint32_t)len, .error = 0
	};
}

static inline void make_all(const struct mr_endpoint *e, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++)
		make(i, e, len);
}

static inline unsigned send_all(unsigned n)
{
	return sock_send(f.d[0].endpoint.family == AF_INET6 ? &f.s6 : &f.s4, f.d, n, &f.gso,
			 &f.counters);
}

/* Datagram number i comes next to p; from tells where it came from. */
static inline void expect_from(const struct peer *p, unsigned i, size_t len,
			       struct mr_endpoint *from)
{
	static uint8_t buf[65536];
	ssize_t n = peer_recv(p, buf, sizeof(buf), from, PATIENCE_MS);

	if (n != (ssize_t)len || !payload_is(buf, len, i))
		fail_msg("expected number %u of %zu bytes, got %zd bytes", i, len, n);
}

static inline void expect(const struct peer *p, unsigned i, size_t len)
{
	expect_from(p, i, len, NULL);
}

static inline void expect_silence(const struct peer *p)
{
	assert_false(readable(p->fd, 20));
}

static inline void expect_no_errors(unsigned from, unsigned n)
{
	for (unsigned i = from; i < n; i++)
		assert_int_equal(f.d[i].error, 0);
}

/* Segments of each attempted message, as "8 1 3". */
static inline const char *shape(void)
{
	static char text[LOG_MAX * 4];
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < fake.count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? " " : "",
				       fake.log[i].segments);
	return text;
}

static inline void check_shape(unsigned n, const char *expected)
{
	fake.count = 0;
	assert_int_equal(send_all(n), n);
	assert_string_equal(shape(), expected);
	for (unsigned i = 0; i < n; i++)
		expect(mr_endpoint_equal(&f.d[i].endpoint, &f.q4.at) ? &f.q4 : &f.p4, i,
		       f.d[i].len);
	expect_silence(&f.p4);
}

static inline bool has_no_source(const struct mr_endpoint *e)
{
	static const union mr_address none;

	return !memcmp(&e->local, &none, sizeof(none));
}

/* A test with the fixture around it. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
