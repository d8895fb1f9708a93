/* SPDX-License-Identifier: MIT */
/*
 * The relay's readers: datagrams and sessions.
 *
 *	client --> port P  [session: client endpoint <-> own port]  own port --> upstream
 *
 * One transport does both sides. What comes to P is from a client and leaves by its session's
 * port; what comes to any other port is from the upstream, and the port says whose it is.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "relay.h"

/* Sessions ended in one go: closing a port is a system call, and datagrams are waiting. */
#define EXPIRE_MAX 64

/* After a port could not be opened it is not tried again for so long: a failure is expensive. */
#define RETRY_MS 100

/* RFC 6040: the ECN bits belong to the flow; the DSCP belongs to each network. */
#define ECN_MASK 3

uint32_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint32_t)((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

static void lock(struct relay *relay)
{
	if (relay->reader_count > 1)
		pthread_mutex_lock(&relay->lock);
}

static void unlock(struct relay *relay)
{
	if (relay->reader_count > 1)
		pthread_mutex_unlock(&relay->lock);
}

/* ---------------------------------------------------------------- sessions */

static struct session *refuse(struct relay_reader *r, int err)
{
	if (err == -EADDRINUSE || err == -EADDRNOTAVAIL || err == -EAGAIN)
		r->failing_as = &r->no_port;
	else if (err == -EMFILE || err == -ENFILE)
		r->failing_as = &r->no_fd;
	else
		r->failing_as = &r->no_other;
	r->retry_ms = r->now_ms + RETRY_MS;
	count(r->failing_as, 1);
	return NULL;
}

/* Under the lock. */
static struct session *open_session(struct relay_reader *r, const struct mr_endpoint *client)
{
	struct relay *relay = r->relay;
	struct session *s;
	int port;

	if (relay->table.count == relay->table.max) {
		count(&r->refused, 1);
		return NULL;
	}
	if (r->failing_as && (int32_t)(r->now_ms - r->retry_ms) < 0) {
		count(r->failing_as, 1);
		return NULL;
	}
	port = mr_port_open(r->worker->reader, &relay->upstream);
	if (port < 0)
		return refuse(r, port);
	r->failing_as = NULL;
	s = session_add(&relay->table, &r->own, client, r->now_ms);
	s->port = (uint16_t)port;
	s->reader = (uint8_t)r->worker->index;
	r->by_port[port] = session_number(&relay->table, s) + 1;
	count(&r->opened, 1);
	return s;
}

static void close_session(struct relay_reader *r, struct session *s)
{
	uint16_t port = s->port;

	lock(r->relay);
	session_remove(&r->relay->table, &r->own, s);
	unlock(r->relay);
	r->by_port[port] = 0;
	mr_port_close(r->worker->reader, port);
	count(&r->expired, 1);
}

static void expire(struct relay_reader *r)
{
	struct session *s;

	if ((int32_t)(r->now_ms - r->expire_ms) < 0)
		return;
	for (unsigned i = 0; i < EXPIRE_MAX; i++) {
		s = session_expired(&r->relay->table, &r->own, r->now_ms, r->relay->idle_ms);
		if (!s) {
			r->expire_ms = r->now_ms + SESSION_TICK_MS;
			return;
		}
		close_session(r, s);
	}
}

/* ---------------------------------------------------------------- datagrams */

/* Addresses a client's datagram to the upstream; NULL: not to be sent by this reader, or at all. */
static struct session *from_client(struct relay_reader *r, struct mr_datagram *d)
{
	struct relay *relay = r->relay;
	struct session *s = session_find(&relay->table, &d->endpoint);

	if (s && s->reader != r->worker->index) {
		bool put = inbox_put(relay->readers[s->reader].inbox, d);

		count(put ? &r->moved : &r->moved_lost, 1);
		return NULL;
	}
	if (!s)
		s = open_session(r, &d->endpoint);
	if (!s)
		return NULL;
	/* It reached the address it wrote to, so that is one of ours (again). */
	s->source_gone = false;
	s->client.ifindex = d->endpoint.ifindex;
	d->endpoint = relay->upstream;
	d->local_port = s->port;
	return s;
}

/* Addresses a reply to its client; NULL: its session has ended. Touches nothing that is shared. */
static struct session *from_upstream(struct relay_reader *r, struct mr_datagram *d)
{
	uint32_t number = r->by_port[d->local_port];
	struct session *s;

	if (!number)
		return NULL;
	s = &r->relay->table.all[number - 1];
	d->endpoint = s->client;
	if (s->source_gone)
		mr_endpoint_clear_source(&d->endpoint);
	d->local_port = 0;
	return s;
}

/* Addresses those that can be sent, moves them to the front in order, returns how many. */
static unsigned address(struct relay_reader *r, struct mr_datagram *d, unsigned n,
			struct session **sessions)
{
	unsigned out = 0;

	for (unsigned i = 0; i < n; i++) {
		bool client = d[i].local_port == r->relay->port;
		struct session *s = client ? from_client(r, &d[i]) : from_upstream(r, &d[i]);

		if (!s)
			continue;
		d[i].tos &= ECN_MASK;
		session_touch(&r->relay->table, &r->own, s, r->now_ms);
		if (i != out) {
			struct mr_datagram not_sent = d[out];

			d[out] = d[i];
			d[i] = not_sent;
		}
		sessions[out++] = s;
	}
	return out;
}

/* What a full send buffer does not take is dropped, and counted: nobody waits here. */
static void forward(struct relay_reader *r, struct mr_datagram *d, unsigned n, unsigned clients)
{
	static const union mr_address none;
	struct session *sessions[BATCH];
	unsigned out;
	int taken;

	if (clients)
		lock(r->relay);
	out = address(r, d, n, sessions);
	if (clients)
		unlock(r->relay);
	if (!out)
		return;
	taken = mr_write(mr_reader_writer(r->worker->reader), d, out);
	worker_sent(r->worker, d, out, taken);
	for (int i = 0; i < taken; i++) {
		if (d[i].local_port)
			count(&r->sent_up, !d[i].error);
		else if (!memcmp(&d[i].endpoint.local, &none, sizeof(none)))
			sessions[i]->source_gone = true;
	}
}

/* Counts a batch; returns how much of it is served, --count being for clients' datagrams. */
static unsigned received(struct relay_reader *r, const struct mr_datagram *d, unsigned n,
			 unsigned *clients)
{
	unsigned allowed, i, all = 0;

	for (i = 0; i < n; i++)
		all += d[i].local_port == r->relay->port;
	allowed = worker_allow(r->worker, all);
	for (i = 0, *clients = 0; i < n; i++) {
		if (d[i].local_port != r->relay->port) {
			tally_add(&r->replies, &d[i]);
		} else if (*clients < allowed) {
			tally_add(&r->worker->received, &d[i]);
			++*clients;
		} else {
			break;
		}
	}
	return i;
}

static void serve_inbox(struct relay_reader *r)
{
	struct mr_datagram d[BATCH];
	unsigned n = inbox_look(r->inbox, d, BATCH);

	if (!n)
		return;
	forward(r, d, n, n);
	inbox_drop(r->inbox, n);
}

/* Waits for the library alone, or, with an inbox, for both. */
static int receive(struct relay_reader *r, struct mr_datagram *d)
{
	struct mr_reader *reader = r->worker->reader;
	struct pollfd fds[2];
	int n;

	if (!r->inbox)
		return mr_read(reader, d, BATCH, r->relay->wait_ms);
	n = mr_read(reader, d, BATCH, 0);
	if (n)
		return n;
	fds[0] = (struct pollfd){ .fd = mr_reader_fd(reader), .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = r->inbox->fd, .events = POLLIN };
	poll(fds, 2, r->relay->wait_ms);
	return mr_read(reader, d, BATCH, 0);
}

int forward_work(struct worker *w)
{
	struct relay *relay = w->serve->arg;
	struct relay_reader *r = &relay->readers[w->index];
	struct mr_datagram d[BATCH];
	int n;

	r->worker = w;
	while ((n = receive(r, d)) >= 0) {
		unsigned clients, served;

		r->now_ms = clock_ms();
		if (n) {
			served = received(r, d, (unsigned)n, &clients);
			forward(r, d, served, clients);
			mr_release(w->reader, d, (unsigned)n);
		}
		if (r->inbox)
			serve_inbox(r);
		expire(r);
	}
	return n;
}
