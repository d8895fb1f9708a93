/* SPDX-License-Identifier: MIT */
#include "sock/recv.h"

#include <assert.h>
#include <errno.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/mman.h>

/* A cookie of the socket path: buffer number + 1, so that it is never 0. */
static uint64_t cookie_of(uint16_t buffer)
{
	return (uint64_t)buffer + 1;
}

int sock_recv_init(struct sock_recv *r, struct counters *counters)
{
	memset(r, 0, sizeof(*r));
	r->area = mmap(NULL, (size_t)SOCK_BUFFERS * SOCK_BUFFER_STRIDE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->area == MAP_FAILED) {
		r->area = NULL;
		return -ENOMEM;
	}
	/* Buffers are used in the order of the stack, low ones first: few pages get touched. */
	for (unsigned i = 0; i < SOCK_BUFFERS; i++)
		r->free[i] = (uint16_t)(SOCK_BUFFERS - 1 - i);
	r->free_count = SOCK_BUFFERS;
	r->counters = counters;
	return 0;
}

void sock_recv_fini(struct sock_recv *r)
{
	if (r->area)
		munmap(r->area, (size_t)SOCK_BUFFERS * SOCK_BUFFER_STRIDE);
	r->area = NULL;
}

/* Gives message slots buffers until `max` have one or none is free. */
static void equip(struct sock_recv *r, unsigned max)
{
	while (r->slots < max && r->free_count) {
		struct sock_message *m = &r->messages[r->slots];

		m->buffer = r->free[--r->free_count];
		m->iov.iov_base = r->area + (size_t)m->buffer * SOCK_BUFFER_STRIDE;
		m->iov.iov_len = DATAGRAM_MAX;
		r->headers[r->slots].msg_hdr = (struct msghdr){
			.msg_name = &m->from,
			.msg_iov = &m->iov,
			.msg_iovlen = 1,
			.msg_control = m->control,
		};
		r->slots++;
	}
}

uint32_t sock_recv_waiting(const struct sock *s)
{
	uint32_t memory[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(memory);

	if (getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, memory, &len))
		return UINT32_MAX;
	/* No sk_buff is accounted for with less. */
	return memory[SK_MEMINFO_RMEM_ALLOC] / 256;
}

int sock_recv_fill(struct sock_recv *r, struct sock *s, unsigned max)
{
	int n;

	assert(!r->pending_sock);
	if (max > BATCH_MAX)
		max = BATCH_MAX;
	equip(r, max);
	if (!r->slots)
		return -ENOBUFS;
	if (max > r->slots)
		max = r->slots;
	for (unsigned i = 0; i < max; i++) {
		r->headers[i].msg_hdr.msg_namelen = sizeof(r->messages[i].from);
		r->headers[i].msg_hdr.msg_controllen = sizeof(r->messages[i].control);
	}
	n = recvmmsg(s->fd, r->headers, max, MSG_DONTWAIT, NULL);
	if (n < 0) {
		/* A pending error (ICMP) is read by reporting it; the next call goes on. */
		if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
			counters_add(r->counters, REASON_SOCK_ERROR, 1);
		return 0;
	}
	r->pending_sock = s;
	r->pending_next = 0;
	r->pending_count = (unsigned)n;
	r->pending_offset = 0;
	return n;
}

static void set_remote(struct mr_endpoint *e, const struct sockaddr_storage *sa)
{
	memset(e, 0, sizeof(*e));
	e->family = sa->ss_family;
	if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		e->port_be = in6->sin6_port;
		e->remote.v6 = in6->sin6_addr;
		e->scope = in6->sin6_scope_id;
	} else {
		const struct sockaddr_in *in4 = (const void *)sa;

		e->port_be = in4->sin_port;
		e->remote.v4 = in4->sin_addr;
	}
}

static bool is_peer(const struct sock *s, const struct sockaddr_storage *sa)
{
	struct mr_endpoint e;

	if (!s->peer.family)
		return true;
	set_remote(&e, sa);
	return e.family == s->peer.family && e.port_be == s->peer.port_be &&
	       e.scope == s->peer.scope && !memcmp(&e.remote, &s->peer.remote, sizeof(e.remote));
}

/* Losses the kernel tells of with the datagrams that got through. */
static void count_drops(struct sock_recv *r, struct sock *s, uint32_t drops)
{
	if (drops != s->drops_seen && drops) {
		counters_add(r->counters, REASON_SOCK_OVERFLOW, (uint32_t)(drops - s->drops_seen));
		s->drops_seen = drops;
	}
}

/*
 * Looks at the next message for the first time. False: it is none for the caller; its buffer
 * stays with the slot.
 */
static bool open_message(struct sock_recv *r, unsigned i)
{
	const struct msghdr *h = &r->headers[i].msg_hdr;

	cmsg_read(&r->pending_control, h);
	count_drops(r, r->pending_sock, r->pending_control.drops);
	if (h->msg_flags & MSG_CTRUNC)
		counters_add(r->counters, REASON_SOCK_CTRUNC, 1);
	if (h->msg_flags & MSG_TRUNC) {
		counters_add(r->counters, REASON_SOCK_TRUNCATED, 1);
		return false;
	}
	if (!is_peer(r->pending_sock, &r->messages[i].from)) {
		counters_add(r->counters, REASON_SOCK_STRANGER, 1);
		return false;
	}
	if (!r->pending_control.has_local)
		counters_add(r->counters, REASON_SOCK_NO_PKTINFO, 1);
	return true;
}

static void describe(const struct sock_recv *r, const struct sock_message *m, struct mr_datagram *d)
{
	const struct cmsg_in *c = &r->pending_control;

	set_remote(&d->endpoint, &m->from);
	d->endpoint.local = c->local;
	d->endpoint.ifindex = c->ifindex;
	d->local_port = r->pending_sock->port;
	d->tos = c->tos;
	d->path = MR_PATH_SOCKET;
	d->error = 0;
	d->reserved = 0;
	d->cookie = cookie_of(m->buffer);
}

/* Cuts datagrams out of message i until it is used up (true) or max is reached. */
static bool split_message(struct sock_recv *r, unsigned i, struct mr_datagram *d, unsigned max,
			  unsigned *taken)
{
	struct sock_message *m = &r->messages[i];
	uint32_t len = r->headers[i].msg_len, size = r->pending_control.gro_size;

	if (!size || size > len)
		size = len;
	do {
		uint32_t part = len - r->pending_offset;
		struct mr_datagram *at = &d[*taken];

		if (*taken == max)
			return false;
		if (part > size)
			part = size;
		describe(r, m, at);
		at->data = (uint8_t *)m->iov.iov_base + r->pending_offset;
		at->len = part;
		++*taken;
		r->references[m->buffer]++;
		r->pending_offset += part;
		if (size < len)
			counters_add(r->counters, REASON_SOCK_GRO, 1);
	} while (r->pending_offset < len);
	return true;
}

/*
 * Pending is empty: slots whose buffer the caller now holds lose it, the others are moved up to
 * stay the first ones.
 */
static void close_pending(struct sock_recv *r)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < r->slots; i++) {
		uint16_t buffer = r->messages[i].buffer;

		if (r->references[buffer])
			continue;
		r->messages[kept].buffer = buffer;
		r->messages[kept].iov.iov_base = r->area + (size_t)buffer * SOCK_BUFFER_STRIDE;
		kept++;
	}
	r->slots = kept;
	r->pending_sock = NULL;
}

unsigned sock_recv_take(struct sock_recv *r, struct mr_datagram *d, unsigned max)
{
	unsigned taken = 0;

	if (!r->pending_sock)
		return 0;
	for (; r->pending_next < r->pending_count; r->pending_next++) {
		/* Offset 0: not looked at yet (a half-split message has an offset). */
		if (r->pending_offset == 0) {
			if (taken == max)
				break;
			if (!open_message(r, r->pending_next))
				continue;
		}
		if (!split_message(r, r->pending_next, d, max, &taken))
			break;
		r->pending_offset = 0;
	}
	if (r->pending_next == r->pending_count)
		close_pending(r);
	counters_add(r->counters, REASON_SOCK_DELIVERED, taken);
	return taken;
}

void sock_recv_give(struct sock_recv *r, uint64_t cookie)
{
	uint64_t buffer = cookie - 1;

	assert(buffer < SOCK_BUFFERS && r->references[buffer]);
	if (--r->references[buffer] > 0)
		return;
	/* A buffer of a half-split message still belongs to its slot. */
	if (r->pending_sock)
		for (unsigned i = 0; i < r->slots; i++)
			if (r->messages[i].buffer == buffer)
				return;
	r->free[r->free_count++] = (uint16_t)buffer;
}

void sock_recv_forget(struct sock_recv *r, const struct sock *s)
{
	if (r->pending_sock == s)
		close_pending(r);
}
