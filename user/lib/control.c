/* SPDX-License-Identifier: MIT */
/*
 * Control: follows links and local addresses, lays the fast path over the interfaces that can have
 * it, and takes it away again. One thread; it never stands in the data path. What it shares with
 * readers is the state of their slots (transport.h), with other threads what `lock` guards.
 */
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "interface.h"

#define NS_PER_MS 1000000u

/* The end of a bpf_link is told by no netlink event: a program that we use is looked after. */
#define CHECK_MS 1000u

void control_emit(struct control *c, enum mr_event_type type, const struct interface *i)
{
	struct mr_event event = { .type = type };

	if (i)
		event.info = i->info;
	if (c->transport->on_event)
		c->transport->on_event(c->transport->arg, &event);
}

void control_wake(struct control *c)
{
	uint64_t one = 1;

	if (write(c->wake_fd, &one, sizeof(one)) < 0)
		return; /* only when it is readable already */
}

/* Sees how far the readers are, everywhere. */
static void settle(struct control *c)
{
	bool waiting = false;

	for (unsigned k = 0; k < c->count; k++)
		waiting |= interface_settle(c, c->interfaces[k]);
	if (c->passed && !c->ready && !waiting) {
		c->ready = true;
		control_emit(c, MR_EVENT_READY, NULL);
	}
}

/* ---------------------------------------------------------------- following */

static bool is_wanted(const struct control *c, const struct net_link *link)
{
	if (!c->options.devices)
		return true;
	for (unsigned k = 0; k < c->options.device_count; k++)
		if (!strcmp(c->options.devices[k], link->name))
			return true;
	return false;
}

static struct interface *find(struct control *c, uint32_t ifindex)
{
	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->link.ifindex == ifindex)
			return c->interfaces[k];
	return NULL;
}

static struct interface *add(struct control *c, const struct net_link *link)
{
	struct interface *i = calloc(1, sizeof(*i)), **more;

	if (!i)
		return NULL;
	i->link = *link;
	pthread_mutex_lock(&c->lock);
	more = realloc(c->interfaces, (c->count + 1) * sizeof(*more));
	if (more) {
		c->interfaces = more;
		c->interfaces[c->count++] = i;
	}
	pthread_mutex_unlock(&c->lock);
	if (!more) {
		free(i);
		return NULL;
	}
	return i;
}

static void drop(struct control *c, unsigned k)
{
	pthread_mutex_lock(&c->lock);
	free(c->interfaces[k]);
	c->interfaces[k] = c->interfaces[--c->count];
	pthread_mutex_unlock(&c->lock);
}

/* Only notes: the work is done in the next pass. */
static void on_link(void *arg, const struct net_link *link, bool gone)
{
	struct control *c = arg;
	struct interface *i = find(c, link->ifindex);

	if (!i && (gone || !is_wanted(c, link)))
		return;
	if (!i)
		i = add(c, link);
	if (!i) {
		log_say(&c->transport->log, MR_LOG_ERROR, "no memory to follow %s", link->name);
		return;
	}
	i->link = *link;
	i->gone = gone;
	i->changed = true;
}

/* One address may have several routes: it is gone when the last of them is. */
static bool has_other_route(const struct net_table *table, const struct net_local *local)
{
	for (size_t k = 0; k < table->local_count; k++) {
		const struct net_local *l = &table->locals[k];

		/* A link-local address is one on each link. */
		if (local->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&local->address.v6) &&
		    l->ifindex != local->ifindex)
			continue;
		if (l->family == local->family && l->prefix_len == local->prefix_len &&
		    !memcmp(&l->address, &local->address, sizeof(l->address)))
			return true;
	}
	return false;
}

/* Done at once: an address that went must not be steered a moment longer. */
static void on_local(void *arg, const struct net_local *local, bool gone)
{
	struct control *c = arg;

	if (gone && c->watch && has_other_route(watch_table(c->watch), local))
		return;
	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->device)
			xdp_device_local(c->interfaces[k]->device, local, gone);
}

/* An interface that is served has changed. */
static void reconsider(struct control *c, struct interface *i)
{
	char reason[XDP_REASON_ROOM];

	if (!xdp_device_attached(i->device))
		interface_lower(c, i, "the program was detached or replaced");
	else if (!xdp_device_suits(&i->link, &c->options.settings, reason, sizeof(reason)))
		interface_lower(c, i, reason);
	else if (!(i->link.flags & IFF_UP))
		interface_lower(c, i, "the interface is down");
	else
		xdp_device_update(i->device, &i->link);
}

static void consider(struct control *c, struct interface *i)
{
	char reason[XDP_REASON_ROOM];

	if (i->gone) {
		interface_lower(c, i, "the interface is gone");
	} else if (i->device) {
		if (!i->closing)
			reconsider(c, i);
	} else if (i->retry_ns && clock_now_ns() < i->retry_ns) {
		return;
	} else if (!xdp_device_suits(&i->link, &c->options.settings, reason, sizeof(reason))) {
		i->error = -EOPNOTSUPP;
		interface_set_path(c, i, MR_PATH_SOCKET, reason);
	} else if (!(i->link.flags & IFF_UP)) {
		i->error = -ENETDOWN;
		interface_set_path(c, i, MR_PATH_SOCKET, "the interface is down");
	} else {
		interface_raise(c, i);
	}
}

/* Looks at what has changed or is due. */
static void pass(struct control *c)
{
	uint64_t now = clock_now_ns();

	for (unsigned k = 0; c->watch && k < c->count;) {
		struct interface *i = c->interfaces[k];

		if (i->changed || (i->retry_ns && now >= i->retry_ns) ||
		    (i->device && now >= i->check_ns)) {
			i->changed = false;
			i->check_ns = now + CHECK_MS * (uint64_t)NS_PER_MS;
			consider(c, i);
		}
		if (i->gone && !i->device)
			drop(c, k);
		else
			k++;
	}
	c->passed = true;
}

/* Milliseconds until the next retry or check; -1: none planned. */
static int next_timeout_ms(const struct control *c)
{
	uint64_t next = 0, now = clock_now_ns();

	for (unsigned k = 0; k < c->count; k++) {
		const struct interface *i = c->interfaces[k];
		uint64_t at = i->device ? i->check_ns : i->retry_ns;

		if (at && (!next || at < next))
			next = at;
	}
	if (!next)
		return -1;
	return next <= now ? 0 : (int)((next - now) / NS_PER_MS + 1);
}

static int open_watch(struct control *c)
{
	struct watch_handler handler = { .link = on_link, .local = on_local, .arg = c };

	return watch_open(&c->watch, &handler, &c->transport->log);
}

static void *run(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[2];
	uint64_t count;
	int err;

	if (!c->watch && (err = open_watch(c))) {
		log_say(&c->transport->log, MR_LOG_ERROR, "netlink: %s: serving on sockets only",
			strerror(-err));
		c->watch = NULL;
	}
	fds[0] = (struct pollfd){ .fd = c->wake_fd, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = c->watch ? watch_fd(c->watch) : -1, .events = POLLIN };
	while (!atomic_load(&c->stop)) {
		pass(c);
		settle(c);
		if (poll(fds, 2, next_timeout_ms(c)) < 0)
			continue;
		if (fds[0].revents && read(c->wake_fd, &count, sizeof(count)) < 0)
			continue;
		if (fds[1].revents && (err = watch_process(c->watch)))
			log_say(&c->transport->log, MR_LOG_WARN, "netlink: %s", strerror(-err));
	}
	return NULL;
}

/* ---------------------------------------------------------------- start and stop */

static int refuse(struct mr_diag *diag, const struct interface *i)
{
	int err = i->error ? i->error : -EOPNOTSUPP;

	return diag_set(diag, err, "fast path", i->link.name, "%s", i->info.reason);
}

/* Of several interfaces without the fast path, the one whose reason is worth telling. */
static unsigned telling(const struct interface *i)
{
	if (i->link.flags & IFF_LOOPBACK)
		return 1;
	return i->error == -ENETDOWN ? 2 : i->error == -EOPNOTSUPP ? 3 : 4;
}

/* With MR_POLICY_XDP: has every interface that was named, or at least one, the fast path? */
static int check_raised(const struct control *c, struct mr_diag *diag)
{
	const struct interface *worst = NULL;
	unsigned raised = 0;

	for (unsigned k = 0; k < c->count; k++) {
		const struct interface *i = c->interfaces[k];

		if (i->device && !i->closing)
			raised++;
		else if (!worst || telling(i) > telling(worst))
			worst = i;
	}
	if (worst && (c->options.devices || !raised))
		return refuse(diag, worst);
	if (!raised)
		return diag_set(diag, -ENODEV, "fast path", "any interface", "none is there");
	return 0;
}

/* Signals are the application's: none is to be taken by our thread. */
static int start_thread(struct control *c)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->running = !err;
	return -err;
}

int control_start(struct mr_transport *t, const struct control_options *options,
		  struct mr_diag *diag)
{
	struct control *c = calloc(1, sizeof(*c));
	int err;

	if (!c) {
		free(options->devices);
		return diag_set(diag, -ENOMEM, "start control", "", "%s", "");
	}
	c->transport = t;
	c->options = *options;
	pthread_mutex_init(&c->lock, NULL);
	t->control = c; /* mr_close takes it down from here on */
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return diag_set(diag, -errno, "make an eventfd", "", "see `ulimit -n`");
	if (options->policy == MR_POLICY_XDP) {
		err = open_watch(c);
		if (err)
			return diag_set(diag, err, "follow the network", "netlink", "%s", "");
		pass(c);
		err = check_raised(c, diag);
		if (err)
			return err;
	}
	err = start_thread(c);
	return err ? diag_set(diag, err, "start control", "thread", "%s", "") : 0;
}

void control_stop(struct control *c)
{
	if (c->running) {
		atomic_store(&c->stop, true);
		control_wake(c);
		pthread_join(c->thread, NULL);
	}
	while (c->count) {
		if (c->interfaces[0]->device)
			interface_close(c, c->interfaces[0]);
		drop(c, 0);
	}
	free(c->interfaces);
	if (c->watch)
		watch_close(c->watch);
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	free(c->options.devices);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

unsigned control_paths(struct control *c, struct mr_path_info *out, unsigned max)
{
	unsigned n = 0;

	pthread_mutex_lock(&c->lock);
	for (unsigned k = 0; k < c->count; k++) {
		if (!c->interfaces[k]->info.ifindex)
			continue; /* not looked at yet */
		if (n < max)
			out[n] = c->interfaces[k]->info;
		n++;
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

void control_losses(struct control *c, uint64_t *ring_full, uint64_t *no_frame)
{
	struct queue_losses losses;

	pthread_mutex_lock(&c->lock);
	*ring_full = c->closed_ring_full;
	*no_frame = c->closed_no_frame;
	for (unsigned k = 0; k < c->count; k++)
		for (unsigned s = 0; s < c->interfaces[k]->served_count; s++) {
			const struct queue *q = slot_of(&c->interfaces[k]->served[s])->queue;

			if (!q)
				continue;
			queue_losses(q, &losses);
			*ring_full += losses.ring_full;
			*no_frame += losses.no_frame;
		}
	pthread_mutex_unlock(&c->lock);
}
