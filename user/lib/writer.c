/* SPDX-License-Identifier: MIT */
/* A writer: datagrams to the sockets they leave by. */
#include <errno.h>
#include <string.h>

#include "endpoint.h"
#include "transport.h"

/* The socket for d; NULL and *err when there is none or the endpoint cannot be sent to. */
static const struct sock *route(const struct mr_writer *w, const struct mr_datagram *d, int *err)
{
	const struct sock *s;

	*err = endpoint_check(&d->endpoint);
	if (*err)
		return NULL;
	if (d->local_port && d->local_port != w->transport->port) {
		s = w->own_thread ? reader_port(w->reader, d->local_port) : NULL;
		*err = s ? (s->family == d->endpoint.family ? 0 : -EAFNOSUPPORT) : -ENOTCONN;
	} else {
		s = d->endpoint.family == AF_INET6 ? &w->reader->s6 : &w->reader->s4;
		*err = s->fd >= 0 ? 0 : -EAFNOSUPPORT;
	}
	return *err ? NULL : s;
}

int mr_write(struct mr_writer *w, struct mr_datagram *d, unsigned n)
{
	unsigned done = 0;
	int err;

	while (done < n) {
		const struct sock *s = route(w, &d[done], &err);
		unsigned count = 1, taken;

		d[done].error = err;
		if (!s) {
			counters_share(&w->counters, REASON_TX_INVALID, 1);
			done++;
			continue;
		}
		for (; done + count < n && route(w, &d[done + count], &err) == s; count++)
			d[done + count].error = 0;
		taken = sock_send(s, &d[done], count, &w->gso, &w->counters);
		done += taken;
		if (taken < count)
			break;
	}
	return (int)done;
}

int mr_send(struct mr_writer *w, const void *buf, size_t len, struct mr_endpoint *e)
{
	struct mr_datagram d = { .endpoint = *e, .data = (void *)(uintptr_t)buf };

	if (len > DATAGRAM_MAX)
		return -EMSGSIZE;
	d.len = (uint32_t)len;
	if (mr_write(w, &d, 1) == 0)
		return -EAGAIN;
	*e = d.endpoint;
	return d.error;
}
