/* SPDX-License-Identifier: MIT */
#include "sock/send.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "endpoint.h"
#include "sock/cmsg.h"

/* How long a refusal is believed: routes and devices change. */
#define GSO_REFUSED_NS (10ull * 1000000000u)

/* One call of sendmmsg: messages, and which datagrams each of them carries. */
struct batch {
	struct mmsghdr headers[BATCH_MAX];
	struct sockaddr_storage to[BATCH_MAX];
	struct iovec iov[BATCH_MAX];
	unsigned first[BATCH_MAX + 1]; /* first[k] .. first[k + 1] - 1 are in message k */
	_Alignas(8) uint8_t control[BATCH_MAX][CMSG_OUT_ROOM];
};

/* What happened, added to the shared counters once per call. */
struct tally {
	unsigned sent, segmented, refused, stale;
	uint32_t doubt; /* segment size just refused, not yet believed; 0: none */
};

static bool gso_may(struct sock_gso *gso, uint32_t size)
{
	uint32_t limit = atomic_load_explicit(&gso->limit, memory_order_relaxed);

	if (limit == 0 || size < limit)
		return true;
	if (clock_now_ns() < atomic_load_explicit(&gso->until_ns, memory_order_relaxed))
		return false;
	atomic_store_explicit(&gso->limit, 0, memory_order_relaxed);
	return true;
}

static void gso_refuse(struct sock_gso *gso, uint32_t limit)
{
	uint32_t old = atomic_load_explicit(&gso->limit, memory_order_relaxed);

	atomic_store_explicit(&gso->until_ns, clock_now_ns() + GSO_REFUSED_NS,
			      memory_order_relaxed);
	if (old == 0 || limit < old)
		atomic_store_explicit(&gso->limit, limit, memory_order_relaxed);
}

/*
 * Length of the run at d that may leave as one segmented message: same endpoint and TOS, all of
 * one size but for a shorter last one. 1: no run.
 */
static unsigned run_length(const struct mr_datagram *d, unsigned n)
{
	uint32_t size = d->len, total = d->len;
	unsigned k = 1;

	if (size == 0)
		return 1;
	while (k < n && k < GSO_SEGMENTS_MAX && d[k].len <= size && d[k].len > 0 &&
	       total + d[k].len <= GSO_BYTES_MAX && d[k].tos == d->tos &&
	       !memcmp(&d[k].endpoint, &d->endpoint, sizeof(d->endpoint))) {
		total += d[k].len;
		if (d[k++].len < size)
			break;
	}
	return k;
}

/* Message m out of d[first .. first + count). */
static void build_message(struct batch *b, unsigned m, const struct mr_datagram *d, unsigned first,
			  unsigned count)
{
	const struct mr_datagram *at = &d[first];
	struct msghdr *h = &b->headers[m].msg_hdr;

	for (unsigned i = 0; i < count; i++)
		b->iov[first + i] = (struct iovec){ .iov_base = at[i].data, .iov_len = at[i].len };
	*h = (struct msghdr){
		.msg_name = &b->to[m],
		.msg_namelen = mr_endpoint_to_sockaddr(&at->endpoint, &b->to[m]),
		.msg_iov = &b->iov[first],
		.msg_iovlen = count,
		.msg_control = b->control[m],
		.msg_controllen = cmsg_write(b->control[m], &at->endpoint, at->tos,
					     count > 1 ? (uint16_t)at->len : 0),
	};
	if (!h->msg_controllen)
		h->msg_control = NULL;
}

/* Packs d[from..n) into messages, those before `singly` without segmentation. */
static unsigned build(struct batch *b, const struct mr_datagram *d, unsigned from, unsigned n,
		      unsigned singly, struct sock_gso *gso)
{
	unsigned m = 0;

	for (unsigned i = from, count; i < n; i += count, m++) {
		count = i < singly ? 1 : run_length(&d[i], n - i);
		if (count > 1 && !gso_may(gso, d[i].len))
			count = 1;
		build_message(b, m, d, i, count);
		b->first[m] = i;
	}
	b->first[m] = n;
	return m;
}

/* Errors by which a kernel may mean "that source is not mine": FIELD-NOTES §0, by family and age.
 */
static bool may_mean_stale(int err)
{
	return err == EINVAL || err == ENETUNREACH || err == EADDRNOTAVAIL || err == ENODEV ||
	       err == ENXIO || err == EHOSTUNREACH;
}

/*
 * Is the source still this host's? Asked of the kernel itself: whoever writes to an address of his
 * own host is given that very address as source. Exact in any namespace, and where binding to
 * foreign addresses is allowed (ip_nonlocal_bind); paid for only after an error.
 */
static bool source_is_local(const struct mr_endpoint *e)
{
	struct mr_endpoint source = { .family = e->family,
				      .port_be = htons(9),
				      .remote = e->local };
	struct sockaddr_storage from, to;
	socklen_t len;
	bool local;
	int fd;

	source.scope = IN6_IS_ADDR_LINKLOCAL(&e->remote.v6) ? e->scope : e->ifindex;
	len = mr_endpoint_to_sockaddr(&source, &to);
	source.port_be = 0;
	mr_endpoint_to_sockaddr(&source, &from);
	fd = socket(e->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true; /* in doubt nothing is forgotten */
	/*
	 * With ip_nonlocal_bind one can bind to anything; connecting from there asks what sending
	 * asks. (What an unbound socket would choose proves nothing: for a secondary address and
	 * for 127.0.0.2 that is the primary one.)
	 */
	if (bind(fd, (struct sockaddr *)&from, len) == 0)
		local = connect(fd, (struct sockaddr *)&to, len) == 0 ||
			(errno != ENETUNREACH && errno != EINVAL);
	else
		local = errno != EADDRNOTAVAIL && errno != ENODEV && errno != EINVAL;
	close(fd);
	return local;
}

static bool forget_stale_source(struct mr_datagram *d, unsigned count, int err)
{
	if (!may_mean_stale(err) || !endpoint_has_source(&d->endpoint) ||
	    source_is_local(&d->endpoint))
		return false;
	for (unsigned i = 0; i < count; i++)
		mr_endpoint_clear_source(&d[i].endpoint);
	return true;
}

static enum reason reason_of(int err)
{
	switch (err) {
	case EPERM:
	case EACCES:
		return REASON_TX_DENIED;
	case EMSGSIZE:
		return REASON_TX_TOO_BIG;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case ENETDOWN:
	case EINVAL: /* what a blackhole route says */
		return REASON_TX_UNREACHABLE;
	case ENOBUFS:
	case ENOMEM:
		return REASON_TX_NO_BUFFER;
	default:
		return REASON_TX_ERROR;
	}
}

/* Errors that can come from segmentation itself rather than from where the datagram goes. */
static bool may_mean_gso(int err)
{
	return err == EIO || err == EINVAL || err == EMSGSIZE || err == EOPNOTSUPP ||
	       err == ENOPROTOOPT;
}

/*
 * Message m (count datagrams at d) was refused with err. Returns how many datagrams are settled:
 * 0 when it has been changed and is to be sent again, with *singly raised past a run that must go
 * one by one.
 */
static unsigned settle(struct mr_datagram *d, unsigned first, unsigned count, int err,
		       unsigned *singly, struct counters *counters, struct tally *tally)
{
	/* The source first: whatever goes away without it was never the fault of GSO. */
	if (forget_stale_source(&d[first], count, err)) {
		tally->stale += count;
		return 0;
	}
	if (count > 1 && may_mean_gso(err)) {
		/*
		 * Believed once a single one has gone: a blackhole says EINVAL too. A path MTU is
		 * one peer's affair, and no reason to spare the others.
		 */
		tally->doubt = err == EMSGSIZE ? 0 : err == EINVAL ? d[first].len : 1;
		tally->refused++;
		*singly = first + count;
		return 0;
	}
	tally->doubt = 0;
	for (unsigned i = first; i < first + count; i++)
		d[i].error = -err;
	counters_share(counters, reason_of(err), count);
	return count;
}

static void tally_sent(const struct batch *b, unsigned messages, struct tally *tally)
{
	for (unsigned m = 0; m < messages; m++) {
		unsigned count = b->first[m + 1] - b->first[m];

		tally->sent += count;
		if (count > 1)
			tally->segmented += count;
	}
}

/* At most BATCH_MAX datagrams. */
static unsigned send_batch(const struct sock *s, struct mr_datagram *d, unsigned n,
			   struct sock_gso *gso, struct counters *counters, struct tally *tally)
{
	unsigned done = 0, singly = 0, reported = 0;
	struct batch b;

	while (done < n) {
		unsigned messages = build(&b, d, done, n, singly, gso);
		int sent = sendmmsg(s->fd, b.headers, messages, MSG_DONTWAIT);

		if (sent > 0) {
			tally_sent(&b, (unsigned)sent, tally);
			if (tally->doubt)
				gso_refuse(gso, tally->doubt);
			tally->doubt = 0;
			done = b.first[sent];
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == EWOULDBLOCK)
			break;
		/* An ICMP error of an earlier datagram: reported once, says nothing of this one. */
		if (errno == ECONNREFUSED && reported++ < 2)
			continue;
		done += settle(d, done, b.first[1] - done, errno, &singly, counters, tally);
	}
	return done;
}

unsigned sock_send(const struct sock *s, struct mr_datagram *d, unsigned n, struct sock_gso *gso,
		   struct counters *counters)
{
	struct tally tally = { 0 };
	unsigned done = 0;

	while (done < n) {
		unsigned part = n - done < BATCH_MAX ? n - done : BATCH_MAX;
		unsigned taken = send_batch(s, &d[done], part, gso, counters, &tally);

		done += taken;
		if (taken < part) {
			counters_share(counters, REASON_TX_FULL, n - done);
			break;
		}
	}
	if (tally.sent)
		counters_share(counters, REASON_TX_SOCKET, tally.sent);
	if (tally.segmented)
		counters_share(counters, REASON_TX_GSO, tally.segmented);
	if (tally.refused)
		counters_share(counters, REASON_TX_GSO_REFUSED, tally.refused);
	if (tally.stale)
		counters_share(counters, REASON_TX_SOURCE_STALE, tally.stale);
	return done;
}
