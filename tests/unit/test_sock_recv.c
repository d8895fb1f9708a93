/* SPDX-License-Identifier: MIT */
/* Receiving from sockets (sock/recv.c): over loopback, with recvmmsg and mmap stood in for. */
#include "unit.h"

#include <sys/mman.h>

#include "sock/recv.h"

/* ---------------------------------------------------------------- standing in */

int __real_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout);
int __wrap_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout);
void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);

static struct {
	int error;	      /* the next call fails with this */
	unsigned mark;	      /* message of the next call whose flags are changed … */
	int flags;	      /* … by these; 0: none */
	size_t control_room;  /* less room for control data; 0: as asked */
	unsigned calls, most; /* calls, and the most messages that one of them asked for */
	bool mmap_fails;
} fake;

int __wrap_recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
	int got;

	fake.calls++;
	if (n > fake.most)
		fake.most = n;
	assert_true(flags & MSG_DONTWAIT);
	if (fake.error) {
		errno = fake.error;
		fake.error = 0;
		return -1;
	}
	for (unsigned i = 0; fake.control_room && i < n; i++)
		v[i].msg_hdr.msg_controllen = fake.control_room;
	got = __real_recvmmsg(fd, v, n, flags, timeout);
	if (fake.flags && got > (int)fake.mark) {
		v[fake.mark].msg_hdr.msg_flags |= fake.flags;
		fake.flags = 0;
	}
	return got;
}

void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	if (fake.mmap_fails) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(at, len, prot, flags, fd, offset);
}

/* ---------------------------------------------------------------- fixture */

static struct {
	struct sock s4, s6;
	struct sock_recv recv;
	struct counters counters;
	struct peer p4, p6;
	struct mr_endpoint to4, to6; /* the sockets, over loopback */
} f;

static int setup(void **state)
{
	const struct sock_options o = { .port = 0 };
	const struct log log = { .fn = NULL };

	(void)state;
	memset(&fake, 0, sizeof(fake));
	memset(&f, 0, sizeof(f));
	if (sock_pair_open(&f.s4, &f.s6, &o, &log, NULL) || f.s6.fd < 0 || f.s4.fd < 0 ||
	    sock_recv_init(&f.recv, &f.counters))
		return -1;
	f.p4 = peer_open("127.0.0.1");
	f.p6 = peer_open("::1");
	f.to4 = endpoint("127.0.0.1:1");
	f.to6 = endpoint("[::1]:1");
	f.to4.port_be = f.to6.port_be = htons(f.s4.port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	sock_recv_fini(&f.recv);
	sock_close(&f.s4);
	sock_close(&f.s6);
	close(f.p4.fd);
	close(f.p6.fd);
	return 0;
}

static uint64_t counted(enum reason reason)
{
	return counters_get(&f.counters, reason);
}

/* Every buffer is in exactly one place: free, with a slot, or with the caller alone. */
static void check_ledger(void)
{
	uint8_t places[SOCK_BUFFERS] = { 0 };

	for (unsigned i = 0; i < f.recv.free_count; i++) {
		assert_int_equal(f.recv.references[f.recv.free[i]], 0);
		places[f.recv.free[i]]++;
	}
	for (unsigned i = 0; i < f.recv.slots; i++)
		places[f.recv.messages[i].buffer]++;
	for (unsigned i = 0; i < SOCK_BUFFERS; i++) {
		if (f.recv.references[i] && !places[i])
			places[i]++;
		if (places[i] != 1)
			fail_msg("buffer %u is in %u places", i, places[i]);
	}
}

/* Fills as soon as there is something. */
static int fill(struct sock *s, unsigned max)
{
	assert_true(readable(s->fd, PATIENCE_MS));
	return sock_recv_fill(&f.recv, s, max);
}

static void give(const struct mr_datagram *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sock_recv_give(&f.recv, d[i].cookie);
	check_ledger();
}

/* Sends datagrams first, first + 1, …, all of this length. */
static void send_numbered(unsigned first, unsigned n, size_t len)
{
	uint8_t bytes[2048];

	for (unsigned i = 0; i < n; i++) {
		payload_fill(bytes, len, first + i);
		peer_send(&f.p4, &f.to4, bytes, len);
	}
}

/* Segments of `size` bytes with the last one shorter; each numbered. */
static void send_run(const struct peer *p, const struct mr_endpoint *to, unsigned first, unsigned n,
		     uint16_t size, uint16_t last)
{
	static uint8_t bytes[65536];

	for (unsigned i = 0; i < n; i++)
		payload_fill(bytes + i * size, i + 1 < n ? size : last, first + i);
	assert_int_equal(peer_send_segments(p, to, bytes, (n - 1) * (size_t)size + last, size), 0);
}

/* ---------------------------------------------------------------- what arrives */

static void test_nothing_there(void **state)
{
	struct mr_datagram d[4];

	(void)state;
	assert_int_equal(sock_recv_fill(&f.recv, &f.s4, 4), 0);
	assert_int_equal(sock_recv_take(&f.recv, d, 4), 0);
	assert_int_equal(counted(REASON_SOCK_ERROR), 0);
	assert_int_equal(counted(REASON_SOCK_DELIVERED), 0);
	check_ledger();
}

static void check_metadata(struct sock *s, const struct peer *p, const struct mr_endpoint *to)
{
	struct mr_datagram d[2], junk;
	struct mr_endpoint expected = p->at;
	int tos = 0x2e;

	assert_int_equal(setsockopt(p->fd, p->at.family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
				    p->at.family == AF_INET ? IP_TOS : IPV6_TCLASS, &tos,
				    sizeof(tos)),
			 0);
	peer_send(p, to, "abc", 3);
	assert_int_equal(fill(s, 64), 1);
	/* Whatever was there before is overwritten. */
	memset(&junk, 0xa5, sizeof(junk));
	d[0] = d[1] = junk;
	assert_int_equal(sock_recv_take(&f.recv, d, 2), 1);
	assert_memory_equal(&d[1], &junk, sizeof(junk));
	expected.local = to->remote;
	expected.ifindex = if_nametoindex("lo");
	assert_memory_equal(&d[0].endpoint, &expected, sizeof(expected));
	assert_int_equal(d[0].len, 3);
	assert_memory_equal(d[0].data, "abc", 3);
	assert_int_equal(d[0].local_port, s->port);
	assert_int_equal(d[0].tos, 0x2e);
	assert_int_equal(d[0].path, MR_PATH_SOCKET);
	assert_int_equal(d[0].error, 0);
	assert_int_equal(d[0].reserved, 0);
	assert_int_not_equal(d[0].cookie, 0);
	give(d, 1);
}

static void test_metadata(void **state)
{
	(void)state;
	check_metadata(&f.s4, &f.p4, &f.to4);
	check_metadata(&f.s6, &f.p6, &f.to6);
	assert_int_equal(counted(REASON_SOCK_DELIVERED), 2);
	assert_int_equal(counted(REASON_SOCK_NO_PKTINFO), 0);
	assert_int_equal(counted(REASON_SOCK_GRO), 0);
}

static void test_other_local_address(void **state)
{
	struct mr_datagram d;
	struct mr_endpoint to = f.to4;

	(void)state;
	inet_pton(AF_INET, "127.4.5.6", &to.remote);
	peer_send(&f.p4, &to, "x", 1);
	assert_int_equal(fill(&f.s4, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, &d, 1), 1);
	assert_address(&d.endpoint.local, AF_INET, "127.4.5.6");
	give(&d, 1);
}

static void test_batches(void **state)
{
	struct mr_datagram d[100];

	(void)state;
	send_numbered(0, 100, 40);
	assert_int_equal(fill(&f.s4, 200), BATCH_MAX); /* never more in one call */
	assert_int_equal(fake.most, BATCH_MAX);
	assert_int_equal(sock_recv_take(&f.recv, d, 100), BATCH_MAX);
	assert_int_equal(sock_recv_take(&f.recv, d + BATCH_MAX, 1), 0);
	assert_int_equal(fill(&f.s4, 30), 30);
	assert_int_equal(sock_recv_take(&f.recv, d + BATCH_MAX, 36), 30);
	assert_int_equal(fill(&f.s4, 64), 6);
	assert_int_equal(sock_recv_take(&f.recv, d + 94, 6), 6);
	assert_int_equal(sock_recv_fill(&f.recv, &f.s4, 64), 0);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(d[i].len, 40);
		assert_true(payload_is(d[i].data, 40, i));
	}
	assert_int_equal(counted(REASON_SOCK_DELIVERED), 100);
	check_ledger();
	give(d, 100);
}

/* A zero-length datagram is one: it neither ends anything nor gets lost (PEERS, defect 1). */
static void test_zero_length(void **state)
{
	static const size_t lengths[] = { 0, 1, 0, 0, 1472, 0 };
	struct mr_datagram d[COUNT(lengths)];
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < COUNT(lengths); i++)
		send_numbered(i, 1, lengths[i]);
	assert_int_equal(fill(&f.s4, 64), COUNT(lengths));
	/* One at a time: each take ends at one of them. */
	for (; taken < COUNT(lengths); taken++)
		assert_int_equal(sock_recv_take(&f.recv, &d[taken], 1), 1);
	for (unsigned i = 0; i < COUNT(lengths); i++) {
		assert_int_equal(d[i].len, lengths[i]);
		assert_non_null(d[i].data);
		assert_int_not_equal(d[i].cookie, 0);
		assert_int_equal(d[i].endpoint.port_be, f.p4.at.port_be);
	}
	assert_int_equal(sock_recv_take(&f.recv, d, 1), 0);
	give(d, COUNT(lengths));
}

/* The largest there is, by both families. */
static void test_largest(void **state)
{
	static uint8_t bytes[65527];
	struct mr_datagram d;

	(void)state;
	payload_fill(bytes, sizeof(bytes), 7);
	peer_send(&f.p4, &f.to4, bytes, 65507);
	assert_int_equal(fill(&f.s4, 1), 1);
	assert_int_equal(sock_recv_take(&f.recv, &d, 1), 1);
	assert_int_equal(d.len, 65507);
	assert_true(payload_is(d.data, d.len, 7));
	give(&d, 1);
	peer_send(&f.p6, &f.to6, bytes, 65527);
	assert_int_equal(fill(&f.s6, 1), 1);
	assert_int_equal(sock_recv_take(&f.recv, &d, 1), 1);
	assert_int_equal(d.len, 65527);
	assert_true(payload_is(d.data, d.len, 7));
	give(&d, 1);
	assert_int_equal(counted(REASON_SOCK_TRUNCATED), 0);
}

/* ---------------------------------------------------------------- coalesced ones */

static void check_split(struct sock *s, const struct peer *p, const struct mr_endpoint *to,
			unsigned n, uint16_t size, uint16_t last)
{
	struct mr_datagram d[128];
	struct mr_endpoint expected = p->at;
	uint64_t gro = counted(REASON_SOCK_GRO), delivered = counted(REASON_SOCK_DELIVERED);

	expected.local = to->remote;
	expected.ifindex = if_nametoindex("lo");
	send_run(p, to, 0, n, size, last);
	/* One message of the kernel, many datagrams of ours. */
	assert_int_equal(fill(s, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, d, COUNT(d)), n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(d[i].len, i + 1 < n ? size : last);
		assert_true(payload_is(d[i].data, d[i].len, i));
		assert_memory_equal(&d[i].endpoint, &expected, sizeof(expected));
		assert_int_equal(d[i].tos, 0xb9);
		assert_int_equal(d[i].local_port, s->port);
		assert_int_equal(d[i].path, MR_PATH_SOCKET);
		assert_int_equal(d[i].cookie, d[0].cookie);
	}
	assert_int_equal(counted(REASON_SOCK_GRO) - gro, n);
	assert_int_equal(counted(REASON_SOCK_DELIVERED) - delivered, n);
	give(d, n);
}

static void test_coalesced(void **state)
{
	int tos = 0xb9;
	struct mr_endpoint to = f.to4;

	(void)state;
	setsockopt(f.p4.fd, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	setsockopt(f.p6.fd, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
	inet_pton(AF_INET, "127.0.0.9", &to.remote);
	check_split(&f.s4, &f.p4, &to, 8, 100, 33);
	check_split(&f.s4, &f.p4, &to, 8, 100, 100);
	check_split(&f.s4, &f.p4, &to, 2, 1000, 1);
	check_split(&f.s4, &f.p4, &to, 64, 1, 1);
	check_split(&f.s4, &f.p4, &to, 64, 1000, 999);
	check_split(&f.s6, &f.p6, &f.to6, 7, 1200, 17);
	check_split(&f.s6, &f.p6, &f.to6, 43, 1400, 1400);
}

/* Singles, coalesced and empty ones mixed, taken in every portion. */
static void test_partial_takes(void **state)
{
	(void)state;
	for (unsigned portion = 1; portion <= 24; portion++) {
		struct mr_datagram d[32];
		unsigned taken = 0, n;

		send_numbered(0, 2, 50);
		send_run(&f.p4, &f.to4, 2, 10, 200, 5);
		send_numbered(12, 1, 0);
		send_run(&f.p4, &f.to4, 13, 7, 9, 9);
		assert_int_equal(fill(&f.s4, 64), 5);
		do {
			n = sock_recv_take(&f.recv, &d[taken], portion);
			/* Fewer only when there are no more. */
			assert_int_equal(n, 20 - taken < portion ? 20 - taken : portion);
			taken += n;
			check_ledger();
			if (taken < 20)
				assert_non_null(f.recv.pending_sock);
		} while (n);
		assert_int_equal(taken, 20);
		assert_null(f.recv.pending_sock);
		for (unsigned i = 0; i < 20; i++) {
			unsigned len = i < 2 ? 50 : i < 11 ? 200 : i == 11 ? 5 : i == 12 ? 0 : 9;

			assert_int_equal(d[i].len, len);
			assert_true(payload_is(d[i].data, d[i].len, i));
		}
		give(d, 20);
	}
}

/* A buffer whose datagrams have all come back is not free while more of them are to come. */
static void test_half_split_given_back(void **state)
{
	struct mr_datagram d[8], more[8];
	unsigned slots;

	(void)state;
	send_run(&f.p4, &f.to4, 0, 8, 100, 100);
	assert_int_equal(fill(&f.s4, 4), 1);
	slots = f.recv.slots;
	assert_int_equal(sock_recv_take(&f.recv, d, 3), 3);
	/* All that is out comes back, and the buffer still is not free: five are to come. */
	give(d, 3);
	assert_int_equal(f.recv.slots, slots);
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
	assert_int_equal(sock_recv_take(&f.recv, more, 8), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(payload_is(more[i].data, 100, 3 + i));
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS - 1);
	/* Free with the very last of them. */
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS - 1);
		give(&more[4 - i], 1);
	}
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
}

/* ---------------------------------------------------------------- buffers */

static void test_give_in_any_order(void **state)
{
	struct mr_datagram d[64];

	(void)state;
	random_state = 11;
	for (unsigned round = 0; round < 50; round++) {
		send_numbered(round, 50, 64);
		assert_int_equal(fill(&f.s4, 64), 50);
		assert_int_equal(sock_recv_take(&f.recv, d, 64), 50);
		for (unsigned left = 50; left; left--) {
			unsigned i = random_below(left);

			assert_int_equal(d[i].len, 64);
			give(&d[i], 1);
			d[i] = d[left - 1];
		}
		assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
	}
}

static void test_every_buffer_held(void **state)
{
	static struct mr_datagram d[SOCK_BUFFERS];
	unsigned held = 0;

	(void)state;
	while (held < SOCK_BUFFERS) {
		send_numbered(held, 32, 100);
		assert_int_equal(fill(&f.s4, 64), 32);
		assert_int_equal(sock_recv_take(&f.recv, &d[held], 64), 32);
		held += 32;
		check_ledger();
	}
	send_numbered(held, 3, 100);
	fake.calls = 0;
	assert_int_equal(fill(&f.s4, 64), -ENOBUFS);
	assert_int_equal(fill(&f.s4, 1), -ENOBUFS);
	assert_int_equal(fake.calls, 0); /* nothing was read and lost */
	assert_int_equal(sock_recv_take(&f.recv, d, 1), 0);
	for (unsigned i = 0; i < held; i++)
		assert_true(payload_is(d[i].data, 100, i));

	/* As many as came back can be received, and no more. */
	give(&d[100], 1);
	assert_int_equal(fill(&f.s4, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, &d[100], 64), 1);
	assert_true(payload_is(d[100].data, 100, SOCK_BUFFERS));
	assert_int_equal(fill(&f.s4, 64), -ENOBUFS);
	give(d, held);
	assert_int_equal(fill(&f.s4, 64), 2);
	assert_int_equal(sock_recv_take(&f.recv, d, 64), 2);
	assert_true(payload_is(d[0].data, 100, SOCK_BUFFERS + 1));
	assert_true(payload_is(d[1].data, 100, SOCK_BUFFERS + 2));
	give(d, 2);
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
}

static void test_no_memory(void **state)
{
	static struct sock_recv r;

	(void)state;
	fake.mmap_fails = true;
	assert_int_equal(sock_recv_init(&r, &f.counters), -ENOMEM);
	fake.mmap_fails = false;
	sock_recv_fini(&r);
	sock_recv_fini(&r);
}

/* What is pending is forgotten with its socket only; what the caller holds stays valid. */
static void test_forget(void **state)
{
	struct mr_datagram d[8], none;

	(void)state;
	send_run(&f.p4, &f.to4, 0, 6, 100, 100);
	send_numbered(6, 2, 100);
	assert_int_equal(fill(&f.s4, 64), 3);
	assert_int_equal(sock_recv_take(&f.recv, d, 2), 2);
	sock_recv_forget(&f.recv, &f.s6);
	assert_int_equal(sock_recv_take(&f.recv, &d[2], 1), 1);
	sock_recv_forget(&f.recv, &f.s4);
	assert_int_equal(sock_recv_take(&f.recv, &none, 1), 0);
	check_ledger();
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS - 1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(payload_is(d[i].data, 100, i));
	/* The next fill begins at the beginning of its message. */
	send_run(&f.p4, &f.to4, 20, 3, 50, 50);
	assert_int_equal(fill(&f.s4, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, &d[3], 5), 3);
	for (unsigned i = 3; i < 6; i++)
		assert_true(payload_is(d[i].data, 50, 17 + i));
	for (unsigned i = 0; i < 3; i++)
		assert_true(payload_is(d[i].data, 100, i));
	give(d, 6);
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
}

/* ---------------------------------------------------------------- errors and losses */

static void check_icmp(struct sock *s, const struct peer *p, const struct mr_endpoint *to)
{
	uint64_t errors = counted(REASON_SOCK_ERROR);
	struct peer gone = peer_open(s->family == AF_INET ? "127.0.0.1" : "::1");
	struct mr_datagram d[4];
	struct sockaddr_storage sa;
	socklen_t len = mr_endpoint_to_sockaddr(&gone.at, &sa);
	int one = 1, n = 0;

	/* Without this an unconnected socket hears of no ICMP; the error is the same one. */
	setsockopt(s->fd, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
		   s->family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &one, sizeof(one));
	close(gone.fd);
	assert_int_equal(sendto(s->fd, "x", 1, 0, (struct sockaddr *)&sa, len), 1);
	peer_send(p, to, "abc", 3);
	peer_send(p, to, "def", 3);
	for (unsigned tries = 0; n == 0 && tries < 3; tries++)
		n = fill(s, 4);
	assert_int_equal(n, 2);
	assert_int_equal(sock_recv_take(&f.recv, d, 4), 2);
	assert_memory_equal(d[0].data, "abc", 3);
	assert_int_equal(counted(REASON_SOCK_ERROR) - errors, 1);
	give(d, 2);
}

static void test_icmp_pending(void **state)
{
	(void)state;
	check_icmp(&f.s4, &f.p4, &f.to4);
	check_icmp(&f.s6, &f.p6, &f.to6);
}

static void test_errors_end_nothing(void **state)
{
	static const int errors[] = { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EMSGSIZE, EPROTO,
				      ENOMEM,	    ENETDOWN,	  ENOBUFS,     EIO };
	static const int quiet[] = { EAGAIN, EINTR };
	struct mr_datagram d;

	(void)state;
	for (unsigned i = 0; i < COUNT(errors) + COUNT(quiet); i++) {
		bool loud = i < COUNT(errors);

		peer_send(&f.p4, &f.to4, "abc", 3);
		assert_true(readable(f.s4.fd, PATIENCE_MS));
		fake.error = loud ? errors[i] : quiet[i - COUNT(errors)];
		assert_int_equal(sock_recv_fill(&f.recv, &f.s4, 4), 0);
		assert_null(f.recv.pending_sock);
		assert_int_equal(counted(REASON_SOCK_ERROR), loud ? i + 1 : COUNT(errors));
		assert_int_equal(sock_recv_fill(&f.recv, &f.s4, 4), 1);
		assert_int_equal(sock_recv_take(&f.recv, &d, 1), 1);
		give(&d, 1);
	}
	assert_int_equal(counted(REASON_SOCK_DELIVERED), COUNT(errors) + COUNT(quiet));
}

static void test_strangers(void **state)
{
	struct peer other = peer_open("127.0.0.1"), far = peer_open("127.0.0.2");
	struct mr_datagram d[16];
	struct sock s;
	struct mr_endpoint to = f.to4;

	(void)state;
	assert_int_equal(sock_port_open(&s, &f.p4.at, 0), 0);
	to.port_be = htons(s.port);
	assert_int_not_equal(s.port, f.s4.port);
	peer_send(&other, &to, "right address, wrong port", 25);
	peer_send(&f.p4, &to, "a", 1);
	peer_send(&far, &to, "", 0);
	send_run(&other, &to, 0, 4, 10, 10);
	send_run(&f.p4, &to, 0, 4, 10, 10);
	peer_send(&far, &to, "xyz", 3);
	assert_int_equal(fill(&s, 64), 6);
	assert_int_equal(sock_recv_take(&f.recv, d, 16), 5);
	assert_memory_equal(d[0].data, "a", 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(d[i].endpoint.port_be, f.p4.at.port_be);
		assert_int_equal(d[i].local_port, s.port);
	}
	assert_int_equal(counted(REASON_SOCK_STRANGER), 4);
	assert_int_equal(counted(REASON_SOCK_DELIVERED), 5);
	give(d, 5);

	/* Nothing but strangers: pending is empty again, nothing is held. */
	for (unsigned i = 0; i < 5; i++)
		peer_send(&far, &to, "xyz", 3);
	assert_int_equal(fill(&s, 64), 5);
	assert_int_equal(sock_recv_take(&f.recv, d, 16), 0);
	assert_null(f.recv.pending_sock);
	assert_int_equal(counted(REASON_SOCK_STRANGER), 9);
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
	check_ledger();

	/* A stranger with the peer's number at another address. */
	close(far.fd);
	far.at.port_be = f.p4.at.port_be;
	far.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	{
		struct sockaddr_storage sa;
		socklen_t len = mr_endpoint_to_sockaddr(&far.at, &sa);

		assert_int_equal(bind(far.fd, (struct sockaddr *)&sa, len), 0);
	}
	peer_send(&far, &to, "xyz", 3);
	assert_int_equal(fill(&s, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, d, 16), 0);
	assert_int_equal(counted(REASON_SOCK_STRANGER), 10);
	sock_close(&s);
	close(other.fd);
	close(far.fd);
}

static void test_strangers_ip6(void **state)
{
	struct peer other = peer_open("::1");
	struct mr_datagram d[4];
	struct mr_endpoint to = f.to6;
	struct sock s;

	(void)state;
	assert_int_equal(sock_port_open(&s, &f.p6.at, 0), 0);
	to.port_be = htons(s.port);
	peer_send(&other, &to, "no", 2);
	peer_send(&f.p6, &to, "yes", 3);
	assert_int_equal(fill(&s, 64), 2);
	assert_int_equal(sock_recv_take(&f.recv, d, 4), 1);
	assert_int_equal(d[0].len, 3);
	assert_int_equal(counted(REASON_SOCK_STRANGER), 1);
	give(d, 1);
	sock_close(&s);
	close(other.fd);
}

/* What the kernel threw away is known exactly, once a datagram gets through again. */
static void check_overflow(struct sock *s, const struct peer *p, const struct mr_endpoint *to)
{
	uint64_t before = counted(REASON_SOCK_OVERFLOW);
	struct mr_datagram d[64];
	unsigned sent = 0, got = 0, n;
	int tiny = 4096;

	assert_int_equal(setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof(tiny)), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 500; i++, sent++)
			peer_send(p, to, "0123456789", 10);
		while (readable(s->fd, 20)) {
			sock_recv_fill(&f.recv, s, 64);
			n = sock_recv_take(&f.recv, d, 64);
			give(d, n);
			got += n;
		}
		/* The next one brings the news. */
		peer_send(p, to, "news", 4);
		sent++;
		assert_int_equal(fill(s, 64), 1);
		assert_int_equal(sock_recv_take(&f.recv, d, 64), 1);
		give(d, 1);
		got++;
		assert_true(got < sent);
		assert_int_equal(counted(REASON_SOCK_OVERFLOW) - before, sent - got);
	}
}

static void test_overflow(void **state)
{
	(void)state;
	check_overflow(&f.s4, &f.p4, &f.to4);
	check_overflow(&f.s6, &f.p6, &f.to6);
}

static void test_truncated(void **state)
{
	struct mr_datagram d[8];

	(void)state;
	send_numbered(0, 5, 20);
	fake.flags = MSG_TRUNC;
	fake.mark = 2;
	assert_int_equal(fill(&f.s4, 64), 5);
	assert_int_equal(sock_recv_take(&f.recv, d, 8), 4);
	/* The one that is not whole is not handed over; its neighbours are. */
	for (unsigned i = 0; i < 4; i++)
		assert_true(payload_is(d[i].data, 20, i < 2 ? i : i + 1));
	assert_int_equal(counted(REASON_SOCK_TRUNCATED), 1);
	assert_int_equal(counted(REASON_SOCK_CTRUNC), 0);
	assert_int_equal(counted(REASON_SOCK_DELIVERED), 4);
	give(d, 4);
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
}

static void test_control_truncated(void **state)
{
	struct mr_datagram d[4];

	(void)state;
	send_numbered(0, 3, 20);
	fake.control_room = 16; /* the kernel really cuts it */
	assert_int_equal(fill(&f.s4, 64), 3);
	fake.control_room = 0;
	assert_int_equal(sock_recv_take(&f.recv, d, 4), 3);
	assert_int_equal(counted(REASON_SOCK_CTRUNC), 3);
	assert_int_equal(counted(REASON_SOCK_NO_PKTINFO), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_address(&d[i].endpoint.local, AF_INET, "0.0.0.0");
		assert_int_equal(d[i].endpoint.ifindex, 0);
	}
	give(d, 3);
}

static void test_no_pktinfo(void **state)
{
	struct mr_datagram d[4];
	int zero = 0;

	(void)state;
	send_numbered(0, 1, 20);
	assert_true(readable(f.s4.fd, PATIENCE_MS));
	setsockopt(f.s4.fd, IPPROTO_IP, IP_PKTINFO, &zero, sizeof(zero));
	assert_int_equal(fill(&f.s4, 64), 1);
	assert_int_equal(sock_recv_take(&f.recv, d, 4), 1);
	assert_int_equal(counted(REASON_SOCK_NO_PKTINFO), 1);
	assert_int_equal(counted(REASON_SOCK_CTRUNC), 0);
	assert_address(&d[0].endpoint.local, AF_INET, "0.0.0.0");
	assert_int_equal(d[0].endpoint.port_be, f.p4.at.port_be);
	give(d, 1);
}

/* ---------------------------------------------------------------- anything at all */

#define HELD_MAX 4096u

static struct {
	struct mr_datagram d[HELD_MAX];
	uint32_t number[HELD_MAX];
	unsigned count;
} held;

/* What was sent and is not taken yet, in order. */
static struct {
	uint32_t number[HELD_MAX];
	uint16_t len[HELD_MAX];
	unsigned head, tail;
} expected;

static uint32_t next_number;

static void expect(uint16_t len)
{
	expected.number[expected.tail % HELD_MAX] = next_number++;
	expected.len[expected.tail++ % HELD_MAX] = len;
}

static void random_send(void)
{
	unsigned n = 1 + random_below(20);
	uint16_t size = (uint16_t)(1 + random_below(1200)), last;

	if (expected.tail - expected.head > 150)
		return; /* no more than a small receive buffer takes */
	if (random_below(2)) {
		size = (uint16_t)random_below(200);
		for (unsigned i = 0; i < n; i++) {
			send_numbered(next_number, 1, size);
			expect(size);
		}
		return;
	}
	last = (uint16_t)(1 + random_below(size));
	if (n == 1)
		size = last;
	send_run(&f.p4, &f.to4, next_number, n, size, last);
	for (unsigned i = 0; i < n; i++)
		expect(i + 1 < n ? size : last);
}

static void random_take(void)
{
	unsigned max = 1 + random_below(80), n;
	struct mr_datagram *d = &held.d[held.count];

	if (held.count + max > HELD_MAX)
		return;
	n = sock_recv_take(&f.recv, d, max);
	assert_true(n <= max);
	if (n < max)
		assert_null(f.recv.pending_sock);
	for (unsigned i = 0; i < n; i++, expected.head++) {
		assert_true(expected.head < expected.tail);
		held.number[held.count + i] = expected.number[expected.head % HELD_MAX];
		assert_int_equal(d[i].len, expected.len[expected.head % HELD_MAX]);
		assert_true(payload_is(d[i].data, d[i].len, held.number[held.count + i]));
	}
	held.count += n;
}

static void random_give(void)
{
	for (unsigned n = random_below(held.count < 60 ? held.count + 1 : 60); n; n--) {
		unsigned i = random_below(held.count);

		/* Whatever came since, it is as it was. */
		assert_true(payload_is(held.d[i].data, held.d[i].len, held.number[i]));
		sock_recv_give(&f.recv, held.d[i].cookie);
		held.d[i] = held.d[--held.count];
		held.number[i] = held.number[held.count];
	}
}

static void test_random_ledger(void **state)
{
	unsigned refused = 0;

	(void)state;
	random_state = 424242;
	held.count = expected.head = expected.tail = next_number = 0;
	for (unsigned step = 0; step < 20000; step++) {
		switch (random_below(6)) {
		case 0:
			random_send();
			break;
		case 1:
			if (f.recv.pending_sock || expected.head == expected.tail)
				break;
			assert_true(readable(f.s4.fd, PATIENCE_MS));
			if (sock_recv_fill(&f.recv, &f.s4, 1 + random_below(100)) == -ENOBUFS)
				refused++;
			break;
		case 2:
		case 3:
			random_take();
			break;
		case 4:
			/* At times the caller hoards until there is nothing left. */
			if (step / 2000 % 2 == 0 || random_below(6) == 0)
				random_give();
			break;
		case 5:
			if (random_below(50) == 0)
				sock_recv_forget(&f.recv, &f.s6);
			break;
		}
		check_ledger();
	}
	assert_true(refused > 0);
	while (held.count)
		random_give();
	while (expected.head < expected.tail) {
		if (!f.recv.pending_sock)
			assert_true(fill(&f.s4, 64) > 0);
		random_take();
		while (held.count)
			random_give();
	}
	check_ledger();
	assert_int_equal(f.recv.free_count + f.recv.slots, SOCK_BUFFERS);
	assert_int_equal(counted(REASON_SOCK_DELIVERED), next_number);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_there),
		TEST(test_metadata),
		TEST(test_other_local_address),
		TEST(test_batches),
		TEST(test_zero_length),
		TEST(test_largest),
		TEST(test_coalesced),
		TEST(test_partial_takes),
		TEST(test_half_split_given_back),
		TEST(test_give_in_any_order),
		TEST(test_every_buffer_held),
		TEST(test_no_memory),
		TEST(test_forget),
		TEST(test_icmp_pending),
		TEST(test_errors_end_nothing),
		TEST(test_strangers),
		TEST(test_strangers_ip6),
		TEST(test_overflow),
		TEST(test_truncated),
		TEST(test_control_truncated),
		TEST(test_no_pktinfo),
		TEST(test_random_ledger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
