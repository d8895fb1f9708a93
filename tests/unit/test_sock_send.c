/* SPDX-License-Identifier: MIT */
/*
 * Sending through sockets (sock/send.c): over loopback, with sendmmsg stood in for so that it can
 * fail as kernels and devices do that are not here. A rule below says which messages are refused;
 * the stand-in then does what the kernel does: sends those before the first refused one, and
 * reports the error only when that is the first of all.
 */
#include "unit.h"

#include <limits.h>

#include "base/clock.h"
#include "sock/send.h"

#define FOREIGN4 "203.0.113.7" /* no address of this host */
#define FOREIGN6 "2001:db8::1"

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

static const struct cmsghdr *find(const struct msghdr *h, int level, int type)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)h;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == level && c->cmsg_type == type)
			return c;
	return NULL;
}

static uint16_t gso_size(const struct msghdr *h)
{
	const struct cmsghdr *c = find(h, SOL_UDP, UDP_SEGMENT);
	uint16_t size = 0;

	if (c)
		memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size;
}

static bool is_pinned(const struct msghdr *h)
{
	return find(h, IPPROTO_IP, IP_PKTINFO) || find(h, IPPROTO_IPV6, IPV6_PKTINFO);
}

static size_t length(const struct msghdr *h)
{
	size_t len = 0;

	for (size_t i = 0; i < h->msg_iovlen; i++)
		len += h->msg_iov[i].iov_len;
	return len;
}

static struct attempt *record(const struct msghdr *h)
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

static bool is_anything(const struct msghdr *h)
{
	(void)h;
	return true;
}

static bool is_segmented(const struct msghdr *h)
{
	return gso_size(h) != 0;
}

static bool is_segmented_1000(const struct msghdr *h)
{
	return gso_size(h) >= 1000;
}

static uint8_t victim; /* number of the datagram that a rule is after */

static bool is_victim(const struct msghdr *h)
{
	return h->msg_iov[0].iov_len && *(const uint8_t *)h->msg_iov[0].iov_base == victim;
}

static void refuse(bool (*refuses)(const struct msghdr *), int error, unsigned times)
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

static int setup(void **state)
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

static int teardown(void **state)
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
static void enter_netns(void **state)
{
	teardown(state);
	if (!netns_enter()) {
		setup(state);
		SKIP("needs CAP_SYS_ADMIN for a network namespace");
	}
	assert_int_equal(setup(state), 0);
}

static uint64_t counted(enum reason reason)
{
	return counters_get(&f.counters, reason);
}

/* Datagram i, numbered i, to e. */
static void make(unsigned i, const struct mr_endpoint *e, size_t len)
{
	assert_true(i < MANY && len <= sizeof(f.bytes[i]));
	payload_fill(f.bytes[i], len, i);
	f.d[i] = (struct mr_datagram){
		.endpoint = *e, .data = f.bytes[i], .len = (uint32_t)len, .error = 0
	};
}

static void make_all(const struct mr_endpoint *e, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++)
		make(i, e, len);
}

static unsigned send_all(unsigned n)
{
	return sock_send(f.d[0].endpoint.family == AF_INET6 ? &f.s6 : &f.s4, f.d, n, &f.gso,
			 &f.counters);
}

/* Datagram number i comes next to p; from tells where it came from. */
static void expect_from(const struct peer *p, unsigned i, size_t len, struct mr_endpoint *from)
{
	static uint8_t buf[65536];
	ssize_t n = peer_recv(p, buf, sizeof(buf), from, PATIENCE_MS);

	if (n != (ssize_t)len || !payload_is(buf, len, i))
		fail_msg("expected number %u of %zu bytes, got %zd bytes", i, len, n);
}

static void expect(const struct peer *p, unsigned i, size_t len)
{
	expect_from(p, i, len, NULL);
}

static void expect_silence(const struct peer *p)
{
	assert_false(readable(p->fd, 20));
}

static void expect_no_errors(unsigned from, unsigned n)
{
	for (unsigned i = from; i < n; i++)
		assert_int_equal(f.d[i].error, 0);
}

/* ---------------------------------------------------------------- order and packing */

static void test_order(void **state)
{
	(void)state;
	random_state = 5;
	for (unsigned round = 0; round < 20; round++) {
		unsigned sizes[MANY], sent4 = 0, sent = 0;

		fake.count = 0;
		for (unsigned i = 0; i < 150; i++) {
			/* Sizes and endpoints that now make runs and now break them. */
			sizes[i] = i && random_below(3) ? sizes[i - 1] : random_below(300);
			make(i, random_below(8) ? &f.p4.at : &f.q4.at, sizes[i]);
		}
		assert_int_equal(send_all(150), 150);
		expect_no_errors(0, 150);
		for (unsigned i = 0; i < 150; i++) {
			bool first = mr_endpoint_equal(&f.d[i].endpoint, &f.p4.at);

			expect(first ? &f.p4 : &f.q4, i, sizes[i]);
			sent4 += first;
			sent++;
		}
		assert_true(sent4 < sent);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 20 * 150);
	assert_true(counted(REASON_TX_GSO) > 0);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(counted(REASON_TX_ERROR), 0);
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(sock_send(&f.s4, f.d, 0, &f.gso, &f.counters), 0);
	assert_int_equal(fake.calls, 0);
}

static void test_run(void **state)
{
	(void)state;
	make_all(&f.p4.at, 8, 100);
	f.d[7].len = 31;
	assert_int_equal(send_all(8), 8);
	assert_int_equal(fake.count, 1);
	assert_int_equal(fake.log[0].segments, 8);
	assert_int_equal(fake.log[0].gso_size, 100);
	for (unsigned i = 0; i < 8; i++)
		expect(&f.p4, i, i < 7 ? 100 : 31);
	assert_int_equal(counted(REASON_TX_GSO), 8);
	assert_int_equal(counted(REASON_TX_SOCKET), 8);
	assert_int_equal(f.gso.limit, 0);
}

static void test_run_ip6(void **state)
{
	struct mr_endpoint from;

	(void)state;
	make_all(&f.p6.at, 40, 1200);
	assert_int_equal(send_all(40), 40);
	assert_int_equal(fake.count, 1);
	for (unsigned i = 0; i < 40; i++)
		expect_from(&f.p6, i, 1200, &from);
	assert_int_equal(from.port_be, htons(f.s6.port));
	assert_int_equal(counted(REASON_TX_GSO), 40);
}

/* Segments of each attempted message, as "8 1 3". */
static const char *shape(void)
{
	static char text[LOG_MAX * 4];
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < fake.count; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%u", i ? " " : "",
				       fake.log[i].segments);
	return text;
}

static void check_shape(unsigned n, const char *expected)
{
	fake.count = 0;
	assert_int_equal(send_all(n), n);
	assert_string_equal(shape(), expected);
	for (unsigned i = 0; i < n; i++)
		expect(mr_endpoint_equal(&f.d[i].endpoint, &f.q4.at) ? &f.q4 : &f.p4, i,
		       f.d[i].len);
	expect_silence(&f.p4);
}

static void test_shape_sizes(void **state)
{
	(void)state;
	make_all(&f.p4.at, 6, 100);
	f.d[2].len = 50;
	check_shape(6, "3 3");
	/* 101 begins another run, which the shorter one behind it ends. */
	make_all(&f.p4.at, 6, 100);
	make(2, &f.p4.at, 101);
	check_shape(6, "2 2 2");
	/* Zero length: UDP_SEGMENT would lose it. */
	make_all(&f.p4.at, 5, 100);
	f.d[2].len = 0;
	check_shape(5, "2 1 2");
	make_all(&f.p4.at, 4, 0);
	check_shape(4, "1 1 1 1");
	make_all(&f.p4.at, 3, 100);
	f.d[2].len = 0;
	check_shape(3, "2 1");
	make_all(&f.p4.at, 3, 100);
	f.d[0].len = 0;
	check_shape(3, "1 2");
}

static void test_shape_endpoints(void **state)
{
	struct mr_endpoint pinned = from_source(f.p4.at, "127.0.0.3"), from;

	(void)state;
	make_all(&f.p4.at, 5, 100);
	f.d[2].endpoint = f.q4.at;
	check_shape(5, "2 1 2");
	make_all(&f.p4.at, 4, 100);
	f.d[1].tos = 0x20;
	f.d[2].tos = 0x20;
	check_shape(4, "1 2 1");

	make_all(&f.p4.at, 4, 100);
	f.d[1].endpoint = f.d[2].endpoint = pinned;
	fake.count = 0;
	assert_int_equal(send_all(4), 4);
	assert_string_equal(shape(), "1 2 1");
	for (unsigned i = 0; i < 4; i++) {
		expect_from(&f.p4, i, 100, &from);
		assert_address(&from.remote, AF_INET, i == 1 || i == 2 ? "127.0.0.3" : "127.0.0.1");
	}
	assert_address(&f.d[1].endpoint.local, AF_INET, "127.0.0.3");
}

static void test_shape_limits(void **state)
{
	(void)state;
	/* At most 64 segments (older kernels' UDP_MAX_SEGMENTS), and no more than fit a datagram.
	 */
	make_all(&f.p4.at, 64, 10);
	check_shape(64, "64");
	make_all(&f.p4.at, 129, 10);
	check_shape(129, "64 64 1");
	make_all(&f.p4.at, 64, 1500);
	check_shape(64, "43 21"); /* 43 * 1500 = 64500 */
	for (unsigned i = 0; i < fake.count; i++)
		assert_true(fake.log[i].len <= GSO_BYTES_MAX);
	make_all(&f.p4.at, 50, 1300);
	check_shape(50, "50"); /* exactly 65000 */
	assert_int_equal(fake.log[0].len, GSO_BYTES_MAX);
	make_all(&f.p4.at, 51, 1300);
	check_shape(51, "50 1");
}

/* Two that are large enough to be too large together. */
static void test_shape_large(void **state)
{
	static uint8_t large[65507];

	(void)state;
	payload_fill(large, sizeof(large), 0);
	make_all(&f.p4.at, 3, 1);
	f.d[0].data = f.d[1].data = large;
	f.d[0].len = f.d[1].len = 40000;
	assert_int_equal(send_all(3), 3);
	assert_string_equal(shape(), "1 2"); /* 40000 + 1 does fit */
	expect(&f.p4, 0, 40000);
	expect(&f.p4, 0, 40000);
	expect(&f.p4, 2, 1);
	fake.count = 0;
	f.d[0].len = f.d[1].len = 65507; /* alone above GSO_BYTES_MAX, and legal */
	assert_int_equal(send_all(2), 2);
	assert_string_equal(shape(), "1 1");
	expect(&f.p4, 0, 65507);
	expect(&f.p4, 0, 65507);
	expect_no_errors(0, 3);
}

static void test_tos_arrives(void **state)
{
	uint8_t control[64] __attribute__((aligned(8))), byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	int one = 1;

	(void)state;
	setsockopt(f.p4.fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
	setsockopt(f.p6.fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one));
	for (unsigned six = 0; six < 2; six++) {
		const struct peer *p = six ? &f.p6 : &f.p4;

		make_all(&p->at, 3, 20);
		f.d[0].tos = 0x03;
		f.d[1].tos = 0xb8;
		assert_int_equal(send_all(3), 3);
		for (unsigned i = 0; i < 3; i++) {
			struct msghdr h = { .msg_iov = &iov,
					    .msg_iovlen = 1,
					    .msg_control = control,
					    .msg_controllen = sizeof(control) };
			const struct cmsghdr *c;

			assert_true(readable(p->fd, PATIENCE_MS));
			assert_int_equal(recvmsg(p->fd, &h, 0), 1);
			c = find(&h, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_TCLASS : IP_TOS);
			assert_non_null(c);
			assert_int_equal(*CMSG_DATA(c), f.d[i].tos);
		}
	}
}

/* ---------------------------------------------------------------- segmentation refused */

/* The device cannot: quinn#1128 and others lost the first batch by it. */
static void check_gso_refused(int error)
{
	make_all(&f.p4.at, 40, 500);
	refuse(is_segmented, error, 1);
	assert_int_equal(send_all(40), 40);
	expect_no_errors(0, 40);
	for (unsigned i = 0; i < 40; i++)
		expect(&f.p4, i, 500);
	expect_silence(&f.p4);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	assert_int_equal(counted(REASON_TX_SOCKET), 40);
	assert_int_equal(counted(REASON_TX_GSO), 0);
	assert_int_equal(fake.calls, 2);
}

static void test_gso_eio(void **state)
{
	(void)state;
	check_gso_refused(EIO);
	assert_int_equal(f.gso.limit, 1);

	/* Off for a while: nothing of any size is tried. */
	fake.count = 0;
	make_all(&f.p4.at, 10, 1);
	assert_int_equal(send_all(10), 10);
	assert_string_equal(shape(), "1 1 1 1 1 1 1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	for (unsigned i = 0; i < 10; i++)
		expect(&f.p4, i, 1);

	/* And tried again when the time is up: then it may work. */
	assert_true(f.gso.until_ns > clock_now_ns() + 1000000000u);
	f.gso.until_ns = clock_now_ns();
	check_shape(10, "10");
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_GSO), 10);
}

static void test_gso_other_refusals(void **state)
{
	(void)state;
	check_gso_refused(EOPNOTSUPP);
	assert_int_equal(f.gso.limit, 1);
	teardown(state);
	setup(state);
	check_gso_refused(ENOPROTOOPT);
	assert_int_equal(f.gso.limit, 1);
}

/* Too large for the path: only such sizes are avoided afterwards (tailscale#21113). */
static void check_gso_too_big(int error)
{
	make_all(&f.p4.at, 20, 1200);
	refuse(is_segmented_1000, error, UINT_MAX);
	assert_int_equal(send_all(20), 20);
	expect_no_errors(0, 20);
	for (unsigned i = 0; i < 20; i++)
		expect(&f.p4, i, 1200);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	assert_int_equal(f.gso.limit, 1200);

	/* Smaller ones still go in runs; 1100 teaches a smaller limit; then 1000 too. */
	make_all(&f.p4.at, 20, 900);
	check_shape(20, "20");
	make_all(&f.p4.at, 4, 1200);
	check_shape(4, "1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	make_all(&f.p4.at, 4, 1100);
	fake.count = 0;
	assert_int_equal(send_all(4), 4);
	assert_string_equal(shape(), "4 1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 2);
	assert_int_equal(f.gso.limit, 1100);
	for (unsigned i = 0; i < 4; i++)
		expect(&f.p4, i, 1100);
}

static void test_gso_emsgsize(void **state)
{
	(void)state;
	check_gso_too_big(EMSGSIZE);
}

static void test_gso_einval(void **state)
{
	(void)state;
	check_gso_too_big(EINVAL);
}

/* Refused in the middle: what went before is not sent twice, the order stays. */
static void test_gso_refused_in_the_middle(void **state)
{
	(void)state;
	make_all(&f.p4.at, 60, 100);
	for (unsigned i = 20; i < 40; i++)
		make(i, &f.p4.at, 1400);
	refuse(is_segmented_1000, EMSGSIZE, UINT_MAX);
	assert_int_equal(send_all(60), 60);
	expect_no_errors(0, 60);
	for (unsigned i = 0; i < 60; i++)
		expect(&f.p4, i, i >= 20 && i < 40 ? 1400 : 100);
	expect_silence(&f.p4);
	assert_int_equal(counted(REASON_TX_SOCKET), 60);
	assert_int_equal(counted(REASON_TX_GSO), 40 - 1); /* number 40 ends nobody's run */
}

/* The run would do, were one of its datagrams not hopeless: all the others arrive. */
static void test_oversized(void **state)
{
	static uint8_t large[70000];

	(void)state;
	for (unsigned where = 0; where < 40; where += 13) {
		make_all(&f.p4.at, 40, 1000);
		f.d[where].data = large;
		f.d[where].len = where == 13 ? 70000 : 65508;
		assert_int_equal(send_all(40), 40);
		for (unsigned i = 0; i < 40; i++) {
			assert_int_equal(f.d[i].error, i == where ? -EMSGSIZE : 0);
			if (i != where)
				expect(&f.p4, i, 1000);
		}
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_TOO_BIG), 4);
	assert_int_equal(counted(REASON_TX_SOCKET), 4 * 39);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(f.gso.limit, 0);
	/* And by IPv6, whose limit is 20 bytes further. */
	make_all(&f.p6.at, 3, 10);
	f.d[1].data = large;
	f.d[1].len = 65528;
	assert_int_equal(send_all(3), 3);
	assert_int_equal(f.d[1].error, -EMSGSIZE);
	expect(&f.p6, 0, 10);
	expect(&f.p6, 2, 10);
}

/* The kernel's own refusal: segments that are larger than the link takes. */
static void test_gso_real_mtu(void **state)
{
	enter_netns(state);
	shell("ip link set lo mtu 1500");
	for (unsigned six = 0; six < 2; six++) {
		const struct peer *p = six ? &f.p6 : &f.p4;

		f.gso.limit = 0;
		make_all(&p->at, 40, 1400);
		for (unsigned i = 10; i < 20; i++)
			make(i, &p->at, 1900); /* must go in fragments */
		assert_int_equal(send_all(40), 40);
		expect_no_errors(0, 40);
		for (unsigned i = 0; i < 40; i++)
			expect(p, i, i >= 10 && i < 20 ? 1900 : 1400);
		expect_silence(p);
		assert_int_equal(f.gso.limit, 1900);
	}
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 2);
}

/* ---------------------------------------------------------------- other refusals */

/* One is refused; its neighbours are not touched, and nobody waits for anything. */
static void check_one_refused(int error, enum reason reason)
{
	const uint64_t before = counted(reason), sent = counted(REASON_TX_SOCKET);

	for (victim = 0; victim < 9; victim = (uint8_t)(victim + 4)) {
		fake.calls = 0;
		for (unsigned i = 0; i < 9; i++)
			make(i, &f.p4.at, 10 + i); /* no runs */
		refuse(is_victim, error, 1);
		assert_int_equal(send_all(9), 9);
		for (unsigned i = 0; i < 9; i++) {
			assert_int_equal(f.d[i].error, i == victim ? -error : 0);
			if (i != victim)
				expect(&f.p4, i, 10 + i);
		}
		assert_true(fake.calls <= 3);
	}
	expect_silence(&f.p4);
	assert_int_equal(counted(reason) - before, 3);
	assert_int_equal(counted(REASON_TX_SOCKET) - sent, 3 * 8);
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
	assert_int_equal(counted(REASON_TX_FULL), 0);
	assert_int_equal(fake.binds, 0); /* no source, so none is asked after */
}

static void test_one_refused(void **state)
{
	(void)state;
	check_one_refused(EPERM, REASON_TX_DENIED);
	check_one_refused(EACCES, REASON_TX_DENIED);
	check_one_refused(ENOBUFS, REASON_TX_NO_BUFFER);
	check_one_refused(ENOMEM, REASON_TX_NO_BUFFER);
	check_one_refused(ENETUNREACH, REASON_TX_UNREACHABLE);
	check_one_refused(EHOSTUNREACH, REASON_TX_UNREACHABLE);
	check_one_refused(ENETDOWN, REASON_TX_UNREACHABLE);
	check_one_refused(EINVAL, REASON_TX_UNREACHABLE);
	check_one_refused(EMSGSIZE, REASON_TX_TOO_BIG);
	check_one_refused(EIO, REASON_TX_ERROR);
	check_one_refused(ENODEV, REASON_TX_ERROR);
}

/* A run to one endpoint shares its fate, and nobody else's. */
static void test_run_refused(void **state)
{
	(void)state;
	make_all(&f.p4.at, 30, 50);
	for (unsigned i = 10; i < 20; i++)
		f.d[i].endpoint = f.q4.at;
	victim = 10;
	refuse(is_victim, EPERM, 1);
	assert_int_equal(send_all(30), 30);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(f.d[i].error, i >= 10 && i < 20 ? -EPERM : 0);
		if (!f.d[i].error)
			expect(&f.p4, i, 50);
	}
	expect_silence(&f.q4);
	assert_int_equal(counted(REASON_TX_DENIED), 10);
	assert_int_equal(f.gso.limit, 0);
}

static void test_full(void **state)
{
	static const unsigned sent_first[] = { 0, 1, 7, 64, 65 };

	(void)state;
	for (unsigned k = 0; k < COUNT(sent_first); k++) {
		const uint64_t full = counted(REASON_TX_FULL);
		unsigned first = sent_first[k];

		for (unsigned i = 0; i < 100; i++)
			make(i, &f.p4.at, 10 + i);
		victim = (uint8_t)first;
		refuse(is_victim, EAGAIN, 1);
		assert_int_equal(send_all(100), first);
		/* What is left is the caller's, unmarked. */
		expect_no_errors(0, 100);
		for (unsigned i = 0; i < first; i++)
			expect(&f.p4, i, 10 + i);
		expect_silence(&f.p4);
		assert_int_equal(counted(REASON_TX_FULL) - full, 100 - first);
		/* And goes later. */
		assert_int_equal(sock_send(&f.s4, &f.d[first], 100 - first, &f.gso, &f.counters),
				 100 - first);
		for (unsigned i = first; i < 100; i++)
			expect(&f.p4, i, 10 + i);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 100 * COUNT(sent_first));
}

/* The real thing: a send buffer that nobody empties. */
static void test_full_for_real(void **state)
{
	unsigned taken = 0, n = 0;
	int tiny = 4608;

	enter_netns(state);
	/* A neighbour that never answers keeps what is sent in the socket's account. */
	shell("ip link add va type veth peer name vb && ip link set va up && ip link set vb up");
	shell("ip addr add 10.66.0.1/24 dev va");
	setsockopt(f.s4.fd, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny));
	f.p4.at = endpoint("10.66.0.2:9");
	make_all(&f.p4.at, 200, 1000);
	f.gso.limit = 1; /* one by one */
	f.gso.until_ns = UINT64_MAX;
	taken = send_all(200);
	n = fake.calls;
	assert_true(taken > 0 && taken < 200);
	assert_int_equal(counted(REASON_TX_FULL), 200 - taken);
	assert_true(n < 10);
	expect_no_errors(0, 200);
}

static void test_interrupted(void **state)
{
	(void)state;
	for (victim = 0; victim < 9; victim = (uint8_t)(victim + 4)) {
		for (unsigned i = 0; i < 9; i++)
			make(i, &f.p4.at, 10 + i);
		refuse(is_victim, EINTR, 3);
		assert_int_equal(send_all(9), 9);
		expect_no_errors(0, 9);
		for (unsigned i = 0; i < 9; i++)
			expect(&f.p4, i, 10 + i);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 27);
}

/* The kernel may take any prefix. */
static void test_short_counts(void **state)
{
	(void)state;
	for (fake.at_most = 1; fake.at_most <= 5; fake.at_most++) {
		fake.count = 0;
		for (unsigned i = 0; i < 90; i++)
			make(i, i % 7 ? &f.p4.at : &f.q4.at, i % 5 ? 30 : 20);
		assert_int_equal(send_all(90), 90);
		expect_no_errors(0, 90);
		for (unsigned i = 0; i < 90; i++)
			expect(i % 7 ? &f.p4 : &f.q4, i, i % 5 ? 30 : 20);
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 5 * 90);
}

/* An ICMP error of an earlier datagram says nothing of this one. */
static void test_connection_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 5; i++)
		make(i, &f.p4.at, 10 + i);
	refuse(is_anything, ECONNREFUSED, 1);
	assert_int_equal(send_all(5), 5);
	expect_no_errors(0, 5);
	for (unsigned i = 0; i < 5; i++)
		expect(&f.p4, i, 10 + i);
	assert_int_equal(counted(REASON_TX_SOCKET), 5);
	/* But if it goes on, it is not waited for. */
	fake.calls = 0;
	refuse(is_anything, ECONNREFUSED, UINT_MAX);
	assert_int_equal(send_all(5), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(f.d[i].error, -ECONNREFUSED);
	assert_true(fake.calls < 10);
}

static void test_connection_refused_for_real(void **state)
{
	struct peer gone = peer_open("127.0.0.1");
	int one = 1;

	(void)state;
	setsockopt(f.s4.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	close(gone.fd);
	for (unsigned i = 0; i < 20; i++) {
		make(0, &gone.at, 5);
		make(1, &f.p4.at, 6);
		assert_int_equal(send_all(2), 2);
		expect_no_errors(0, 2);
		expect(&f.p4, 1, 6);
	}
	assert_int_equal(counted(REASON_TX_SOCKET), 40);
}

/* ---------------------------------------------------------------- stale sources */

static bool has_no_source(const struct mr_endpoint *e)
{
	static const union mr_address none;

	return !memcmp(&e->local, &none, sizeof(none));
}

static bool is_pinned_to_foreign(const struct msghdr *h)
{
	const struct cmsghdr *c4 = find(h, IPPROTO_IP, IP_PKTINFO);
	const struct cmsghdr *c6 = find(h, IPPROTO_IPV6, IPV6_PKTINFO);
	union mr_address a;

	memset(&a, 0, sizeof(a));
	if (c4) {
		memcpy(&a.v4, CMSG_DATA(c4) + offsetof(struct in_pktinfo, ipi_spec_dst), 4);
		return same_address(&a, AF_INET, FOREIGN4);
	}
	if (c6) {
		memcpy(&a.v6, CMSG_DATA(c6), 16);
		return same_address(&a, AF_INET6, FOREIGN6);
	}
	return false;
}

/* Datagram 2 of 5 has a dead source; sizes differ, or all are runs of `run`. */
static void check_stale(const struct peer *p, const char *foreign, unsigned run)
{
	struct mr_endpoint stale = from_source(p->at, foreign);
	struct mr_endpoint good = from_source(p->at, p->at.family == AF_INET ? "127.0.0.1" : "::1");
	const uint64_t count = counted(REASON_TX_SOURCE_STALE), sent = counted(REASON_TX_SOCKET);
	struct mr_endpoint from;

	stale.ifindex = 4711;
	for (unsigned i = 0; i < 5 * run; i++)
		make(i, i / run == 2 ? &stale : i / run == 3 ? &p->at : &good, 100 + i / run);
	assert_int_equal(send_all(5 * run), 5 * run);
	expect_no_errors(0, 5 * run);
	for (unsigned i = 0; i < 5 * run; i++) {
		expect_from(p, i, 100 + i / run, &from);
		/* Its neighbours keep what they had; its own source is gone and seen to be. */
		if (i / run == 2) {
			assert_true(has_no_source(&f.d[i].endpoint));
			assert_int_equal(f.d[i].endpoint.ifindex, 0);
			assert_true(mr_endpoint_equal(&f.d[i].endpoint, &p->at));
		} else {
			assert_memory_equal(&f.d[i].endpoint, i / run == 3 ? &p->at : &good,
					    sizeof(good));
		}
		assert_memory_equal(&from.remote, &p->at.remote, sizeof(from.remote));
	}
	expect_silence(p);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE) - count, run);
	assert_int_equal(counted(REASON_TX_SOCKET) - sent, 5 * run);
	/* Not the fault of segmentation. */
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(counted(REASON_TX_UNREACHABLE), 0);
}

/* As this kernel says it: ENETUNREACH or, older ones, EINVAL (notes §0). */
static void test_stale_for_real(void **state)
{
	unsigned fds = open_fds();

	(void)state;
	check_stale(&f.p4, FOREIGN4, 1);
	check_stale(&f.p4, FOREIGN4, 9);
	check_stale(&f.p6, FOREIGN6, 1);
	check_stale(&f.p6, FOREIGN6, 9);
	assert_int_equal(open_fds(), fds);
}

/* As any kernel may say it, by both families. */
static void test_stale_every_errno(void **state)
{
	static const int errors[] = { EINVAL,	    ENETUNREACH, EADDRNOTAVAIL,
				      EHOSTUNREACH, ENODEV,	 ENXIO };

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		refuse(is_pinned_to_foreign, errors[i], UINT_MAX);
		check_stale(&f.p4, FOREIGN4, 1);
		check_stale(&f.p4, FOREIGN4, 7);
		check_stale(&f.p6, FOREIGN6, 1);
		check_stale(&f.p6, FOREIGN6, 7);
	}
}

/* A link-local source whose interface has gone has gone with it. */
static void test_stale_with_interface(void **state)
{
	struct mr_endpoint e = from_source(f.p6.at, "fe80::7");

	(void)state;
	e.ifindex = 4711;
	make(0, &e, 10);
	assert_int_equal(send_all(1), 1);
	assert_int_equal(f.d[0].error, 0);
	expect(&f.p6, 0, 10);
	assert_true(has_no_source(&f.d[0].endpoint));
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 1);
}

/* Not an address of lo, though the interface is there. */
static void test_stale_link_local(void **state)
{
	struct mr_endpoint e = from_source(f.p6.at, "fe80::7");

	(void)state;
	e.ifindex = if_nametoindex("lo");
	make(0, &e, 10);
	assert_int_equal(send_all(1), 1);
	assert_int_equal(f.d[0].error, 0);
	expect(&f.p6, 0, 10);
	assert_true(has_no_source(&f.d[0].endpoint));
}

/* A source that is this host's is kept, whatever goes wrong. */
static void check_not_stale(const struct peer *p, const char *own, int error, unsigned run)
{
	struct mr_endpoint good = from_source(p->at, own);
	unsigned sent = 0;

	f.gso.limit = 0;
	good.ifindex = if_nametoindex("lo");
	for (unsigned i = 0; i < 3 * run; i++)
		make(i, &good, 100 + i / run);
	victim = (uint8_t)run;
	refuse(is_victim, error, UINT_MAX);
	assert_int_equal(send_all(3 * run), 3 * run);
	for (unsigned i = 0; i < 3 * run; i++) {
		assert_memory_equal(&f.d[i].endpoint, &good, sizeof(good));
		if (f.d[i].error) {
			assert_int_equal(f.d[i].error, -error);
			assert_int_equal(i / run, 1);
		} else {
			expect(p, i, 100 + i / run);
			sent++;
		}
	}
	assert_true(sent >= 2 * run && sent < 3 * run);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
}

static void test_not_stale(void **state)
{
	static const int errors[] = { EINVAL,	    ENETUNREACH, EADDRNOTAVAIL,
				      EHOSTUNREACH, ENODEV,	 ENXIO };

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		check_not_stale(&f.p4, "127.0.0.1", errors[i], 1);
		check_not_stale(&f.p4, "127.0.0.1", errors[i], 6);
		check_not_stale(&f.p6, "::1", errors[i], 1);
		check_not_stale(&f.p6, "::1", errors[i], 6);
	}
}

/* Local, though a route to it would not choose it: secondary addresses and the rest of 127/8. */
static void test_not_stale_though_not_preferred(void **state)
{
	(void)state;
	check_not_stale(&f.p4, "127.0.0.5", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "127.255.0.9", EINVAL, 3);
}

static void test_not_stale_secondary(void **state)
{
	enter_netns(state);
	shell("ip addr add 10.55.0.1/24 dev lo && ip addr add 10.55.0.2/24 dev lo");
	shell("ip addr add fd00:55::1/64 dev lo nodad && ip addr add fd00:55::2/64 dev lo nodad");
	shell("ip route add local 10.56.0.0/16 dev lo");
	check_not_stale(&f.p4, "10.55.0.1", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "10.55.0.2", EHOSTUNREACH, 1);
	check_not_stale(&f.p4, "10.55.0.2", EINVAL, 3);
	check_not_stale(&f.p4, "10.56.7.8", ENETUNREACH, 1);
	check_not_stale(&f.p6, "fd00:55::1", EHOSTUNREACH, 1);
	check_not_stale(&f.p6, "fd00:55::2", EINVAL, 1);
}

/* Errors that never mean the source are not looked into. */
static void test_not_even_asked(void **state)
{
	static const int errors[] = { EPERM, EACCES, ENOBUFS, EMSGSIZE, ENETDOWN };
	struct mr_endpoint e = from_source(f.p4.at, FOREIGN4);

	(void)state;
	for (unsigned i = 0; i < COUNT(errors); i++) {
		make(0, &e, 10);
		refuse(is_anything, errors[i], 1);
		assert_int_equal(send_all(1), 1);
		assert_int_equal(f.d[0].error, -errors[i]);
		assert_address(&f.d[0].endpoint.local, AF_INET, FOREIGN4);
	}
	assert_int_equal(fake.sockets, 0);
	assert_int_equal(fake.binds, 0);
}

/* No descriptor to ask with: in doubt the source is kept and the error told. */
static void test_cannot_ask(void **state)
{
	struct mr_endpoint e = from_source(f.p4.at, FOREIGN4);

	(void)state;
	make(0, &e, 10);
	make(1, &f.p4.at, 11);
	fake.socket_error = EMFILE;
	assert_int_equal(send_all(2), 2);
	assert_true(f.d[0].error == -ENETUNREACH || f.d[0].error == -EINVAL);
	assert_address(&f.d[0].endpoint.local, AF_INET, FOREIGN4);
	expect(&f.p4, 1, 11);
	expect_silence(&f.p4);
	fake.socket_error = 0;
}

/* An address is taken away while the conversation goes on. */
static void check_removed(const struct peer *p, const char *address, const char *del)
{
	struct mr_endpoint e = from_source(p->at, address), from;

	e.ifindex = if_nametoindex("lo");
	make_all(&e, 10, 100);
	assert_int_equal(send_all(10), 10);
	for (unsigned i = 0; i < 10; i++) {
		expect_from(p, i, 100, &from);
		assert_address(&from.remote, p->at.family, address);
		assert_false(has_no_source(&f.d[i].endpoint));
	}
	shell(del);
	fake.count = 0;
	assert_int_equal(send_all(10), 10);
	expect_no_errors(0, 10);
	for (unsigned i = 0; i < 10; i++) {
		expect_from(p, i, 100, &from);
		assert_memory_equal(&from.remote, &p->at.remote, sizeof(from.remote));
		assert_true(has_no_source(&f.d[i].endpoint));
	}
	expect_silence(p);
	/* The run stays a run. */
	assert_string_equal(shape(), "10 10");
	assert_int_equal(f.gso.limit, 0);
}

static void test_address_removed(void **state)
{
	enter_netns(state);
	shell("ip addr add 10.55.0.1/32 dev lo");
	shell("ip addr add fd00:55::1/128 dev lo nodad");
	check_removed(&f.p4, "10.55.0.1", "ip addr del 10.55.0.1/32 dev lo");
	check_removed(&f.p6, "fd00:55::1", "ip addr del fd00:55::1/128 dev lo");
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 20);
}

/* Hosts that fail addresses over allow binding to those they have not: bind() proves nothing there.
 */
static void test_address_removed_nonlocal_bind(void **state)
{
	enter_netns(state);
	shell("sysctl -qw net.ipv4.ip_nonlocal_bind=1 || "
	      "echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind");
	shell("ip addr add 10.55.0.1/32 dev lo");
	check_removed(&f.p4, "10.55.0.1", "ip addr del 10.55.0.1/32 dev lo");
}

/* ---------------------------------------------------------------- what this kernel says */

static int send_one(const struct mr_endpoint *e)
{
	make(0, e, 10);
	assert_int_equal(send_all(1), 1);
	return f.d[0].error;
}

/* Rows of FIELD-NOTES §0 that loopback has, without privilege. */
static void test_errno_table(void **state)
{
	struct mr_endpoint e;

	(void)state;
	/* Broadcast without SO_BROADCAST. */
	e = endpoint("127.255.255.255:9");
	assert_int_equal(send_one(&e), -EACCES);
	assert_int_equal(counted(REASON_TX_DENIED), 1);
	/* A link-local remote on an interface that does not exist. */
	e = endpoint("[fe80::1%4711]:9");
	assert_true(send_one(&e) == -ENODEV || f.d[0].error == -EINVAL ||
		    f.d[0].error == -ENETUNREACH);
	e = from_source(e, "::1");
	assert_int_equal(send_one(&e), -ENODEV);
	assert_false(has_no_source(&f.d[0].endpoint));
	/* Scope and interface at odds: EINVAL if both were said. */
	e = f.p6.at;
	e = from_source(e, "::1");
	e.ifindex = 4711;
	assert_int_equal(send_one(&e), 0);
	expect(&f.p6, 0, 10);
	/* A wrong interface beside an IPv4 source must not matter. */
	e = from_source(f.p4.at, "127.0.0.5");
	e.ifindex = 4711;
	assert_int_equal(send_one(&e), 0);
	expect_from(&f.p4, 0, 10, &e);
	assert_address(&e.remote, AF_INET, "127.0.0.5");
}

static void check_route(const char *command, const char *to, int error, enum reason reason)
{
	struct mr_endpoint e = endpoint(to);
	uint64_t before = counted(reason);

	if (command)
		shell(command);
	assert_int_equal(send_one(&e), -error);
	assert_int_equal(counted(reason) - before, 1);
	/* The same with a source of ours, which is not to blame. */
	e = from_source(e, e.family == AF_INET ? "127.0.0.1" : "::1");
	assert_int_equal(send_one(&e), -error);
	assert_false(has_no_source(&f.d[0].endpoint));
	assert_int_equal(counted(reason) - before, 2);
}

static void test_errno_table_routes(void **state)
{
	enter_netns(state);
	check_route(NULL, "198.51.100.1:9", ENETUNREACH, REASON_TX_UNREACHABLE);
	check_route(NULL, "[2001:db8:9::1]:9", ENETUNREACH, REASON_TX_UNREACHABLE);
	check_route("ip route add unreachable 198.51.100.2/32", "198.51.100.2:9", EHOSTUNREACH,
		    REASON_TX_UNREACHABLE);
	check_route("ip route add prohibit 198.51.100.3/32", "198.51.100.3:9", EACCES,
		    REASON_TX_DENIED);
	check_route("ip route add blackhole 198.51.100.4/32", "198.51.100.4:9", EINVAL,
		    REASON_TX_UNREACHABLE);
	check_route("ip -6 route add unreachable 2001:db8:9::2/128", "[2001:db8:9::2]:9",
		    EHOSTUNREACH, REASON_TX_UNREACHABLE);
	check_route("ip -6 route add prohibit 2001:db8:9::3/128", "[2001:db8:9::3]:9", EACCES,
		    REASON_TX_DENIED);
	check_route("ip -6 route add blackhole 2001:db8:9::4/128", "[2001:db8:9::4]:9", EINVAL,
		    REASON_TX_UNREACHABLE);
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 0);
	assert_int_equal(f.gso.limit, 0);
}

/* A run down a blackhole says EINVAL, as a run that is refused does: told, and delivered nowhere.
 */
static void test_run_into_blackhole(void **state)
{
	struct mr_endpoint hole = endpoint("198.51.100.4:9");

	enter_netns(state);
	shell("ip route add blackhole 198.51.100.4/32");
	for (unsigned i = 0; i < 30; i++)
		make(i, i / 10 == 1 ? &hole : &f.p4.at, 1000);
	assert_int_equal(send_all(30), 30);
	for (unsigned i = 0; i < 30; i++) {
		assert_int_equal(f.d[i].error, i / 10 == 1 ? -EINVAL : 0);
		if (i / 10 != 1)
			expect(&f.p4, i, 1000);
	}
	assert_int_equal(counted(REASON_TX_UNREACHABLE), 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_order),
		TEST(test_nothing),
		TEST(test_run),
		TEST(test_run_ip6),
		TEST(test_shape_sizes),
		TEST(test_shape_endpoints),
		TEST(test_shape_limits),
		TEST(test_shape_large),
		TEST(test_tos_arrives),
		TEST(test_gso_eio),
		TEST(test_gso_other_refusals),
		TEST(test_gso_emsgsize),
		TEST(test_gso_einval),
		TEST(test_gso_refused_in_the_middle),
		TEST(test_oversized),
		TEST(test_gso_real_mtu),
		TEST(test_one_refused),
		TEST(test_run_refused),
		TEST(test_full),
		TEST(test_full_for_real),
		TEST(test_interrupted),
		TEST(test_short_counts),
		TEST(test_connection_refused),
		TEST(test_connection_refused_for_real),
		TEST(test_stale_for_real),
		TEST(test_stale_every_errno),
		TEST(test_stale_with_interface),
		TEST(test_stale_link_local),
		TEST(test_not_stale),
		TEST(test_not_stale_though_not_preferred),
		TEST(test_not_stale_secondary),
		TEST(test_not_even_asked),
		TEST(test_cannot_ask),
		TEST(test_address_removed),
		TEST(test_address_removed_nonlocal_bind),
		TEST(test_errno_table),
		TEST(test_errno_table_routes),
		TEST(test_run_into_blackhole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
