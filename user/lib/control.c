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
#define CHECK_MS     1000u
#define NAT_CHECK_MS 10000u

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

/* ---------------------------------------------------------------- sources */

/* What the kernel accepted by routes that have changed since says nothing. */
static void forget_sources(struct control *c)
{
	/* Never 0, which says that nobody asks. */
	c->sources_generation = (c->sources_generation + 1) | 1u << 31;
	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->device)
			xdp_device_forget_sources(c->interfaces[k]->device);
}

/* Have readers tell what they see accepted, while any interface has use for it. */
static void want_sources(struct control *c)
{
	uint32_t wanted = 0;

	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->asks_sources)
			wanted = c->sources_generation;
	atomic_store_explicit(&c->transport->sources_wanted, wanted, memory_order_release);
}

static void learn_sources(struct control *c)
{
	struct source s;

	for (unsigned r = 0; r < c->transport->reader_count; r++)
		for (unsigned n = 0; n < SOURCES_RING; n++) {
			struct interface *i;

			if (!sources_take(&c->transport->readers[r].sources, &s))
				break;
			i = interface_find(c, s.ifindex);
			if (i && i->device && s.generation == c->sources_generation)
				xdp_device_accept(i->device, s.address, s.tos);
		}
}

/* ---------------------------------------------------------------- considering */

/* What the network says about receiving here, told to the program; and said, when it is other. */
static void apply_rules(struct control *c, struct interface *i)
{
	char words[sizeof(i->partly)];
	struct xdp_rules rules = interface_rules(c, i, words, sizeof(words));
	bool same = !strcmp(words, i->partly) && !strcmp(i->info.device, i->link.name);

	snprintf(i->partly, sizeof(i->partly), "%s", words);
	i->asks_sources = rules.ask_sources4;
	xdp_device_update(i->device, &i->link, &rules);
	if (xdp_device_outgrown(i->device))
		interface_lower(c, i, "the MTU has grown: opening the queues anew");
	else if (!same && i->raised)
		interface_say(c, i);
}

/* An interface that is served has changed. */
static void reconsider(struct control *c, struct interface *i)
{
	const struct net_table *table = watch_table(c->watch);
	char reason[XDP_REASON_ROOM];

	if (i->full)
		interface_lower(c, i, "the program's tables of addresses are full");
	else if (!xdp_device_attached(i->device))
		interface_lower(c, i, "the program was detached or replaced");
	else if (!xdp_device_suits(table, &i->link, &c->options.settings, reason, sizeof(reason)))
		interface_lower(c, i, reason);
	else if (!(i->link.flags & IFF_UP))
		interface_lower(c, i, "the interface is down");
	else
		apply_rules(c, i);
}

/* Not served: could it be? */
static void attempt(struct control *c, struct interface *i)
{
	char reason[XDP_REASON_ROOM];

	if (!xdp_device_suits(watch_table(c->watch), &i->link, &c->options.settings, reason,
			      sizeof(reason))) {
		i->error = -EOPNOTSUPP;
		interface_set_path(c, i, MR_PATH_SOCKET, reason);
	} else if (!(i->link.flags & IFF_UP)) {
		i->error = -ENETDOWN;
		interface_set_path(c, i, MR_PATH_SOCKET, "the interface is down");
	} else {
		interface_raise(c, i);
	}
}

static void consider(struct control *c, struct interface *i)
{
	if (i->gone) {
		interface_lower(c, i, "the interface is gone");
	} else if (i->device) {
		if (!i->closing)
			reconsider(c, i);
	} else if (i->retry_ns && clock_now_ns() < i->retry_ns) {
		return;
	} else {
		i->retry_ns = 0; /* it was due, or there is none */
		attempt(c, i);
	}
}

/* Rules of address translation that steering would go around: said, and kept in view. */
static void look_at_nat(struct control *c, uint64_t now)
{
	char before[sizeof(c->nat.text)];
	bool any = false;
	int err;

	for (unsigned k = 0; k < c->count; k++)
		any |= c->interfaces[k]->device != NULL;
	if (!any || now < c->nat_ns)
		return;
	memcpy(before, c->nat.text, sizeof(before));
	err = nat_look(c->transport->port, &c->nat);
	/* Without a ruleset (the module may not even be there) there is less to expect. */
	c->nat_ns =
		now + (err || !c->nat.generation ? NAT_CHECK_MS : CHECK_MS) * (uint64_t)NS_PER_MS;
	if (err || !strcmp(before, c->nat.text))
		return;
	if (*c->nat.text)
		log_say(&c->transport->log, MR_LOG_WARN, "the fast path goes around NAT: %s",
			c->nat.text);
	for (unsigned k = 0; k < c->count; k++)
		if (c->interfaces[k]->raised)
			interface_say(c, c->interfaces[k]);
}

/* Once a second while it is served. */
static void publish_losses(struct interface *i)
{
	for (unsigned k = 0; k < i->served_count; k++)
		if (slot_of(&i->served[k])->queue)
			queue_publish_losses(slot_of(&i->served[k])->queue);
}

/* Looks at what has changed or is due. */
static void pass(struct control *c)
{
	uint64_t now = clock_now_ns();

	look_at_nat(c, now);
	if (c->routing || c->rules) {
		if (c->routing)
			forget_sources(c);
		c->routing = c->rules = false;
		for (unsigned k = 0; k < c->count; k++)
			if (c->interfaces[k]->device && !c->interfaces[k]->closing)
				apply_rules(c, c->interfaces[k]);
	}
	for (unsigned k = 0; c->watch && k < c->count;) {
		struct interface *i = c->interfaces[k];

		if (i->changed || (i->retry_ns && now >= i->retry_ns) ||
		    (i->device && now >= i->check_ns)) {
			i->changed = false;
			i->check_ns = now + CHECK_MS * (uint64_t)NS_PER_MS;
			publish_losses(i);
			consider(c, i);
			/* Attaching takes time, in which addresses may have gone elsewhere. */
			control_follow(c);
		}
		if (i->gone && !i->device)
			interface_drop(c, k);
		else
			k++;
	}
	want_sources(c);
	c->passed = true;
}

/* Milliseconds until the next retry or check; -1: none planned. */
static int next_timeout_ms(const struct control *c)
{
	uint64_t next = c->resync_ns, now = clock_now_ns();

	/* What the last pass learnt on its way. */
	if (c->routing || c->rules)
		return 0;
	for (unsigned k = 0; k < c->count; k++) {
		const struct interface *i = c->interfaces[k];
		uint64_t at = i->device ? i->check_ns : i->retry_ns;

		if (c->watch && i->changed)
			return 0;
		if (at && (!next || at < next))
			next = at;
	}
	if (!next)
		return -1;
	return next <= now ? 0 : (int)((next - now) / NS_PER_MS + 1);
}

static void *run(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[2];
	uint64_t count;
	int err;

	if (!c->watch && (err = control_open_watch(c))) {
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
		if (fds[1].revents || (c->resync_ns && clock_now_ns() >= c->resync_ns))
			control_follow(c);
		learn_sources(c);
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
	c->rules = c->routing = true;
	t->control = c; /* mr_close takes it down from here on */
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0)
		return diag_set(diag, -errno, "make an eventfd", "", "see `ulimit -n`");
	if (options->policy == MR_POLICY_XDP) {
		err = control_open_watch(c);
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
		interface_drop(c, 0);
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
