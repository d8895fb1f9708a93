/* SPDX-License-Identifier: MIT */
/* The owner: opens the port, starts what serves it, ends it. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "endpoint.h"
#include "transport.h"

static int bad_option(struct mr_diag *diag, const char *object, const char *remedy)
{
	return diag_set(diag, -EINVAL, "understand the options", object, "%s", remedy);
}

static int check_options(const struct mr_options *o, struct mr_diag *diag)
{
	if (o->size != sizeof(*o))
		return bad_option(diag, "size", "start from MR_OPTIONS_INIT");
	if (o->policy < MR_POLICY_AUTO || o->policy > MR_POLICY_XDP)
		return bad_option(diag, "policy", "");
	if (o->xdp_mode < MR_XDP_MODE_AUTO || o->xdp_mode > MR_XDP_MODE_GENERIC)
		return bad_option(diag, "xdp_mode", "");
	if (o->zero_copy < MR_ZERO_COPY_AUTO || o->zero_copy > MR_ZERO_COPY_OFF)
		return bad_option(diag, "zero_copy", "");
	if (o->readers > READERS_MAX)
		return bad_option(diag, "readers", "at most 64");
	if (o->address && o->address->sa_family != AF_INET && o->address->sa_family != AF_INET6)
		return bad_option(diag, "address", "IPv4 or IPv6");
	for (unsigned i = 0; i < o->device_count; i++)
		if (!if_nametoindex(o->devices[i]))
			return diag_set(diag, -ENODEV, "find the interface", o->devices[i],
					"see `ip link`");
	if (o->bind_device && !if_nametoindex(o->bind_device))
		return diag_set(diag, -ENODEV, "find the interface", o->bind_device,
				"see `ip link`");
	for (unsigned i = 0; o->bind_device && i < o->device_count; i++)
		if (if_nametoindex(o->devices[i]) != if_nametoindex(o->bind_device))
			return bad_option(diag, o->devices[i],
					  "what is bound to one interface has no other");
	return 0;
}

static int open_sockets(struct mr_transport *t, const struct mr_options *o, struct mr_diag *diag)
{
	struct sock_options so = {
		.port = o->port,
		.share = t->reader_count > 1,
		.mark = o->fwmark,
		.busy_poll_us = o->busy_poll_us,
		.address = o->address,
		.device = o->bind_device,
	};
	struct mr_reader *first = &t->readers[0];
	int err = sock_pair_open(&first->s4, &first->s6, &so, &t->log, diag);

	if (err)
		return err;
	t->port = first->s6.fd >= 0 ? first->s6.port : first->s4.port;
	t->families =
		(first->s4.fd >= 0 ? MR_FAMILY_IP4 : 0) | (first->s6.fd >= 0 ? MR_FAMILY_IP6 : 0);
	for (unsigned i = 0; i < t->reader_count; i++) {
		struct mr_reader *r = &t->readers[i];

		if (i > 0)
			err = sock_pair_join(&r->s4, &r->s6, &first->s4, &first->s6, &so, diag);
		if (!err && (err = reader_watch_sockets(r)))
			diag_set(diag, err, "watch the sockets", "", "%s", "");
		if (err)
			return err;
	}
	return 0;
}

static int make_readers(struct mr_transport *t, unsigned count, struct mr_diag *diag)
{
	int err = 0;

	t->readers = aligned_alloc(CACHE_LINE, count * sizeof(*t->readers));
	if (!t->readers)
		return diag_set(diag, -ENOMEM, "make the readers", "", "%s", "");
	memset(t->readers, 0, count * sizeof(*t->readers));
	for (; t->reader_count < count && !err; t->reader_count++)
		err = reader_init(&t->readers[t->reader_count], t);
	return err ? diag_set(diag, err, "make the readers", "", "see `ulimit -n`") : 0;
}

static int start_control(struct mr_transport *t, const struct mr_options *o, struct mr_diag *diag)
{
	struct control_options c = {
		.policy = o->policy,
		.settings = { .mode = o->xdp_mode,
			      .zero_copy = o->zero_copy,
			      .busy_poll_us = o->busy_poll_us },
	};
	const char *const *names = o->device_count ? o->devices : &o->bind_device;

	/* A transport bound to one interface can only be accelerated there. */
	c.device_count = o->device_count ? o->device_count : o->bind_device ? 1 : 0;
	if (c.device_count) {
		c.devices = calloc(c.device_count, sizeof(*c.devices));
		if (!c.devices)
			return diag_set(diag, -ENOMEM, "start", "", "%s", "");
	}
	for (unsigned i = 0; i < c.device_count; i++)
		/* By its name proper: it may have been called by an alternative one. */
		if (!if_indextoname(if_nametoindex(names[i]), c.devices[i]))
			snprintf(c.devices[i], sizeof(c.devices[i]), "%s", names[i]);
	if (o->address) {
		c.bound_set = true;
		mr_endpoint_from_sockaddr(&c.bound, o->address,
					  o->address->sa_family == AF_INET6
						  ? sizeof(struct sockaddr_in6)
						  : sizeof(struct sockaddr_in));
		c.bound_set = !address_is_zero(&c.bound.remote);
	}
	return control_start(t, &c, diag);
}

static int bind_all(struct mr_transport *t, const struct mr_options *o, struct mr_diag *diag)
{
	struct mr_event ready = { .type = MR_EVENT_READY };
	int err;

	t->shut_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->shut_fd < 0)
		return diag_set(diag, -errno, "make an eventfd", "", "see `ulimit -n`");
	err = make_readers(t, o->readers ? o->readers : 1, diag);
	if (!err)
		err = open_sockets(t, o, diag);
	if (err)
		return err;
	t->writer = (struct mr_writer){ .transport = t, .reader = &t->readers[0] };
	if (o->policy != MR_POLICY_SOCKET)
		return start_control(t, o, diag);
	if (t->on_event)
		t->on_event(t->arg, &ready);
	return 0;
}

int mr_bind(const struct mr_options *options, struct mr_transport **out, struct mr_diag *diag)
{
	struct mr_transport *t;
	int err;

	*out = NULL;
	if (diag)
		memset(diag, 0, sizeof(*diag));
	err = check_options(options, diag);
	if (err)
		return err;
	t = aligned_alloc(CACHE_LINE, sizeof(*t));
	if (!t)
		return diag_set(diag, -ENOMEM, "make the transport", "", "%s", "");
	memset(t, 0, sizeof(*t));
	t->log = (struct log){ .fn = options->on_log, .arg = options->arg };
	t->on_event = options->on_event;
	t->arg = options->arg;
	t->shut_fd = -1;
	t->mark = options->fwmark;
	pthread_mutex_init(&t->mark_lock, NULL);
	/* Known before it is bound, as the event callback may want it. */
	*out = t;
	err = bind_all(t, options, diag);
	if (err) {
		mr_close(t);
		*out = NULL;
	} else if (diag) {
		memset(diag, 0, sizeof(*diag)); /* what was said of a try that was made up for */
	}
	return err;
}

void mr_close(struct mr_transport *t)
{
	if (!t)
		return;
	if (t->control)
		control_stop(t->control);
	for (unsigned i = 0; i < t->reader_count; i++)
		reader_fini(&t->readers[i]);
	free(t->readers);
	if (t->shut_fd >= 0)
		close(t->shut_fd);
	pthread_mutex_destroy(&t->mark_lock);
	free(t);
}

void mr_shutdown(struct mr_transport *t)
{
	uint64_t one = 1;

	atomic_store_explicit(&t->shut, true, memory_order_release);
	if (write(t->shut_fd, &one, sizeof(one)) < 0)
		return; /* only when it is readable already */
}

uint16_t mr_port(const struct mr_transport *t)
{
	return t->port;
}

unsigned mr_families(const struct mr_transport *t)
{
	return t->families;
}

int mr_set_fwmark(struct mr_transport *t, uint32_t mark)
{
	uint32_t old;
	int err = 0;

	pthread_mutex_lock(&t->mark_lock);
	old = atomic_exchange(&t->mark, mark);
	for (unsigned i = 0; i < t->reader_count && !err; i++)
		err = reader_set_mark(&t->readers[i], mark);
	if (err) {
		/* All or nothing. What could be set can be set back. */
		atomic_store(&t->mark, old);
		for (unsigned i = 0; i < t->reader_count; i++)
			reader_set_mark(&t->readers[i], old);
	}
	pthread_mutex_unlock(&t->mark_lock);
	return err;
}

uint32_t mr_fwmark(const struct mr_transport *t)
{
	return atomic_load(&((struct mr_transport *)(uintptr_t)t)->mark);
}

unsigned mr_paths(struct mr_transport *t, struct mr_path_info *out, unsigned max)
{
	return t->control ? control_paths(t->control, out, max) : 0;
}

void mr_stats(struct mr_transport *t, uint64_t *counts, unsigned n)
{
	uint64_t ring_full = 0, no_frame = 0;

	if (t->control)
		control_losses(t->control, &ring_full, &no_frame);
	for (unsigned i = 0; i < n; i++) {
		counts[i] = 0;
		if (i >= REASON_COUNT)
			continue;
		counts[i] = counters_get(&t->writer.counters, i);
		for (unsigned k = 0; k < t->reader_count; k++)
			counts[i] += counters_get(&t->readers[k].counters, i) +
				     counters_get(&t->readers[k].writer.counters, i);
		if (i == REASON_XDP_RING_FULL)
			counts[i] += ring_full;
		else if (i == REASON_XDP_NO_FRAME)
			counts[i] += no_frame;
	}
}

struct mr_reader *mr_reader(struct mr_transport *t, unsigned index)
{
	return index < t->reader_count ? &t->readers[index] : NULL;
}

unsigned mr_reader_count(const struct mr_transport *t)
{
	return t->reader_count;
}

struct mr_writer *mr_writer(struct mr_transport *t)
{
	return &t->writer;
}

struct mr_writer *mr_reader_writer(struct mr_reader *r)
{
	return &r->writer;
}
