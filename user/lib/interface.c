/* SPDX-License-Identifier: MIT */
#include "interface.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "shared/wire.h"

#define NS_PER_MS      1000000u
#define RETRY_FIRST_MS 1000u
#define RETRY_LAST_MS  30000u

void interface_set_path(struct control *c, struct interface *i, enum mr_path path,
			const char *reason)
{
	bool changed = i->info.path != path ||
		       (path == MR_PATH_XDP && strcmp(i->info.reason, reason) != 0);

	pthread_mutex_lock(&c->lock);
	snprintf(i->info.device, sizeof(i->info.device), "%s", i->link.name);
	i->info.ifindex = i->link.ifindex;
	i->info.path = (uint8_t)path;
	snprintf(i->info.reason, sizeof(i->info.reason), "%s", reason);
	if (path == MR_PATH_SOCKET) {
		i->info.mode = MR_XDP_MODE_AUTO;
		i->info.queues = 0;
		i->info.zero_copy = i->info.adopted = 0;
	}
	pthread_mutex_unlock(&c->lock);
	log_say(&c->transport->log, MR_LOG_INFO, "%s: %s: %s", i->link.name, mr_path_name(path),
		reason);
	if (changed && c->ready)
		control_emit(c, MR_EVENT_PATH, i);
}

/* ---------------------------------------------------------------- raising */

/* How many frames a further queue of this reader may hold; a quarter is kept for the caller. */
static uint32_t depth_for(const struct control *c, const struct mr_reader *r)
{
	uint32_t budget = r->umem.frames / 4 * 3, used = 0, depth = RING_SIZE;

	for (unsigned k = 0; k < c->count; k++)
		for (unsigned s = 0; s < c->interfaces[k]->served_count; s++)
			if (c->interfaces[k]->served[s].reader == r)
				used += c->interfaces[k]->served[s].depth;
	/* Never more than half of what is left, so that one more always fits. */
	while (depth > BATCH_MAX && depth > (budget - used) / 2)
		depth /= 2;
	return used + depth <= budget ? depth : 0;
}

static int free_slot(struct mr_reader *r)
{
	for (unsigned s = 0; s < QUEUES_PER_READER; s++)
		if (atomic_load_explicit(&r->slots[s].state, memory_order_acquire) == SLOT_EMPTY)
			return (int)s;
	return -1;
}

/* Opens one queue and offers it to the reader that its number falls to. */
static int open_queue(struct control *c, struct interface *i, uint32_t id, char *reason,
		      size_t room)
{
	struct mr_reader *r = &c->transport->readers[id % c->transport->reader_count];
	int slot = free_slot(r), err;
	uint32_t frames = r->umem.frames ? r->umem.frames : FRAMES_PER_READER, depth;
	struct queue *q = NULL;

	for (;; frames /= 2) {
		if (!r->umem.frames && umem_init(&r->umem, frames)) {
			snprintf(reason, room, "no memory for frames");
			return -ENOMEM;
		}
		depth = depth_for(c, r);
		if (slot < 0 || !depth) {
			snprintf(reason, room, "queue %u: too many queues for one reader", id);
			return -ENOSPC;
		}
		err = xdp_device_queue_open(i->device, id, &r->umem, (uint8_t)slot, depth, &q,
					    reason, room);
		/* The memory lock limit: less may be enough, while no reader has seen the area. */
		if (err != -ENOBUFS || frames / 2 < FRAMES_MIN || r->umem_offered)
			break;
		umem_fini(&r->umem);
		log_say(&c->transport->log, MR_LOG_WARN,
			"memory lock limit: trying with %u frames of %u bytes", frames / 2,
			FRAME_SIZE);
	}
	if (err)
		return err;
	r->slots[slot].queue = q;
	pthread_mutex_lock(&c->lock);
	i->served[i->served_count++] = (struct served){
		.reader = r, .queue_id = id, .depth = depth, .slot = (uint8_t)slot
	};
	pthread_mutex_unlock(&c->lock);
	/* From here on it is the reader's, and so is the umem: its caller may hold frames. */
	r->umem_offered = true;
	atomic_store_explicit(&r->slots[slot].state, SLOT_OFFERED, memory_order_release);
	return 0;
}

/*
 * Holes first, and what is both stays one: the program may be in use already. 0 or -errno: a hole
 * that it does not know of would be steered.
 */
static int tell_locals(struct control *c, struct interface *i)
{
	const struct net_table *table = watch_table(c->watch);
	int err = 0;

	for (size_t k = 0; k < table->local_count && !err; k++)
		if (table->locals[k].excluded)
			err = xdp_device_local(i->device, &table->locals[k], MAPS_HOLE);
	for (size_t k = 0; k < table->local_count && !err; k++) {
		struct net_local other = table->locals[k];

		other.excluded = true;
		if (!table->locals[k].excluded && !net_table_has_local(table, &other))
			xdp_device_local(i->device, &table->locals[k], MAPS_OURS);
	}
	return err;
}

/* The kernel drops IPv6 where it is disabled, whose address it ever is: then there is none here. */
static bool has_ip6(const struct net_table *table, uint32_t ifindex)
{
	for (size_t k = 0; k < table->local_count; k++) {
		const struct net_local *l = &table->locals[k];

		if (l->family == AF_INET6 && l->ifindex == ifindex && !l->excluded)
			return true;
	}
	return false;
}

struct xdp_rules interface_rules(const struct control *c, const struct interface *i, char *words,
				 size_t room)
{
	const struct net_table *table = watch_table(c->watch);
	const struct net_policy *v4 = net_table_policy(table, AF_INET);
	const struct net_policy *v6 = net_table_policy(table, AF_INET6);
	unsigned rp_filter = net_table_rp_filter(table, i->link.ifindex);
	const char *why4 = "", *why6 = "";
	struct xdp_rules rules = { .ask_sources4 = rp_filter != 0,
				   .max_frame = i->link.mtu + WIRE_ETH_LEN };

	/* What the kernel says of one datagram's source must hold for the next one's. */
	if (!v4->local_first)
		why4 = "IPv4 by sockets: policy rules before the local table";
	else if (rp_filter && v4->custom_rules)
		why4 = "IPv4 by sockets: rp_filter with policy rules";
	else
		rules.families |= MR_FAMILY_IP4;
	if (!v6->local_first)
		why6 = "IPv6 by sockets: policy rules before the local table";
	else if (has_ip6(table, i->link.ifindex))
		rules.families |= MR_FAMILY_IP6;
	snprintf(words, room, "%s%s%s", why4, *why4 && *why6 ? "; " : "", why6);
	return rules;
}

/* Plans another attempt after a failure that may pass. */
static void plan_retry(struct interface *i)
{
	i->retry_ms = i->retry_ms ? i->retry_ms * 2 : RETRY_FIRST_MS;
	if (i->retry_ms > RETRY_LAST_MS)
		i->retry_ms = RETRY_LAST_MS;
	i->retry_ns = clock_now_ns() + (uint64_t)i->retry_ms * NS_PER_MS;
}

static void raise_failed(struct control *c, struct interface *i, int err, const char *reason)
{
	i->error = err;
	/* Also when it can hardly pass: our own attempt may show as a change of the link. */
	if (err == -EPERM || err == -EOPNOTSUPP)
		i->retry_ms = RETRY_LAST_MS;
	plan_retry(i);
	interface_set_path(c, i, MR_PATH_SOCKET, reason);
}

static void drop_served(struct interface *i)
{
	free(i->served);
	i->served = NULL;
	i->served_count = 0;
}

/*
 * Opens every queue. One that cannot be had leaves its packets to the sockets; but one that
 * somebody else has (-EBUSY) would take ours for him, so then there is no point in the others.
 */
static int open_queues(struct control *c, struct interface *i, char *reason, size_t room)
{
	uint32_t queues = xdp_device_queues(i->device);
	int err = 0;

	i->served = calloc(queues, sizeof(*i->served));
	for (uint32_t id = 0; i->served && id < queues && err != -EBUSY; id++) {
		int one = open_queue(c, i, id, reason, room);

		if (one)
			err = one;
	}
	return err;
}

void interface_raise(struct control *c, struct interface *i)
{
	struct xdp_claim claim = { .port = c->transport->port,
				   .families = c->transport->families,
				   .bound = c->options.bound_set ? &c->options.bound : NULL };
	char reason[XDP_REASON_ROOM] = "";
	struct xdp_rules rules = interface_rules(c, i, i->partly, sizeof(i->partly));
	int err, refused;

	i->retry_ns = 0;
	i->closing = false;
	err = xdp_device_open(&i->device, watch_table(c->watch), &i->link, &rules,
			      &c->options.settings, reason, sizeof(reason));
	if (err) {
		i->device = NULL;
		raise_failed(c, i, err, reason);
		return;
	}
	i->full = false;
	err = tell_locals(c, i);
	if (err)
		snprintf(reason, sizeof(reason), "tell the program of local addresses: %s",
			 err == -E2BIG || err == -ENOSPC ? "its tables are full" : strerror(-err));
	else
		err = open_queues(c, i, reason, sizeof(reason));
	/* The claim comes last: from here on datagrams of the port may be steered. */
	if (i->served_count && err != -EBUSY)
		refused = xdp_device_claim(i->device, &claim, reason, sizeof(reason));
	else
		refused = err ? err : -ENOMEM;
	if (refused) {
		raise_failed(c, i, refused, reason[0] ? reason : "no memory");
		interface_lower(c, i, reason);
		return;
	}
	i->error = 0;
	i->raised = false;
	i->asks_sources = rules.ask_sources4;
	snprintf(i->lacking, sizeof(i->lacking), "%.79s", err ? reason : "");
	for (unsigned s = 0; s < i->served_count; s++)
		reader_wake(i->served[s].reader);
}

/* ---------------------------------------------------------------- lowering */

/*
 * Takes back what no reader has taken yet, and has the others drain what is armed. A queue that is
 * being armed just now comes in the next round: its reader wakes us.
 */
static void retire_served(struct interface *i)
{
	bool disarmed = false;

	for (unsigned k = 0; k < i->served_count; k++) {
		struct slot *slot = slot_of(&i->served[k]);
		int expected = SLOT_OFFERED;

		if (!atomic_compare_exchange_strong(&slot->state, &expected, SLOT_DRAINED) &&
		    expected == SLOT_ARMED) {
			queue_disarm(slot->queue);
			i->served[k].disarmed = disarmed = true;
		}
	}
	if (disarmed)
		queue_grace();
	for (unsigned k = 0; k < i->served_count; k++) {
		struct served *s = &i->served[k];

		if (!s->disarmed)
			continue;
		s->disarmed = false;
		atomic_store_explicit(&slot_of(s)->state, SLOT_RETIRING, memory_order_release);
		reader_wake(s->reader);
	}
}

void interface_lower(struct control *c, struct interface *i, const char *reason)
{
	if (!i->device || i->closing)
		return;
	i->closing = true;
	i->raised = i->asks_sources = false;
	retire_served(i);
	interface_set_path(c, i, MR_PATH_SOCKET, reason);
}

/* Closes one drained queue and lets the reader have its frames back. */
static void close_served(struct control *c, struct interface *i, const struct served *s)
{
	struct slot *slot = slot_of(s);
	struct queue_losses losses;

	queue_losses(slot->queue, &losses);
	pthread_mutex_lock(&c->lock);
	c->closed_ring_full += losses.ring_full;
	c->closed_no_frame += losses.no_frame;
	xdp_device_queue_close(i->device, s->queue_id, slot->queue);
	slot->queue = NULL;
	pthread_mutex_unlock(&c->lock);
	atomic_store_explicit(&slot->state, SLOT_CLOSED, memory_order_release);
	reader_wake(s->reader);
}

static void finish_closing(struct control *c, struct interface *i)
{
	retire_served(i);
	for (unsigned k = 0; k < i->served_count; k++)
		if (atomic_load_explicit(&slot_of(&i->served[k])->state, memory_order_acquire) !=
		    SLOT_DRAINED)
			return;
	for (unsigned k = 0; k < i->served_count; k++)
		close_served(c, i, &i->served[k]);
	pthread_mutex_lock(&c->lock);
	drop_served(i);
	pthread_mutex_unlock(&c->lock);
	xdp_device_close(i->device);
	i->device = NULL;
	i->closing = false;
	i->changed = true; /* look at it again: it may be served anew */
	if (!i->gone && !i->retry_ns)
		plan_retry(i);
}

/* ---------------------------------------------------------------- settling */

/* One more thing to say, if there is one and room for it. */
static void add_words(char *text, size_t room, const char *words)
{
	size_t used = strlen(text);

	if (*words && used + 2 + strlen(words) < room)
		snprintf(text + used, room - used, "%s%s", used ? "; " : "", words);
}

void interface_say(struct control *c, struct interface *i)
{
	char reason[sizeof(i->info.reason)];

	snprintf(reason, sizeof(reason), "%s, %s%s",
		 xdp_device_mode(i->device) == MR_XDP_MODE_NATIVE ? "native" : "generic",
		 i->info.zero_copy ? "zero copy" : "copy",
		 i->info.adopted ? ", adopted program" : "");
	add_words(reason, sizeof(reason), i->lacking);
	add_words(reason, sizeof(reason), i->partly);
	add_words(reason, sizeof(reason), xdp_device_warning(i->device));
	add_words(reason, sizeof(reason), c->nat.text);
	interface_set_path(c, i, MR_PATH_XDP, reason);
}

static void say_raised(struct control *c, struct interface *i, unsigned armed)
{
	const struct queue *first = slot_of(&i->served[0])->queue;

	pthread_mutex_lock(&c->lock);
	i->info.mode = (uint8_t)xdp_device_mode(i->device);
	i->info.adopted = xdp_device_adopted(i->device);
	i->info.zero_copy = queue_is_zero_copy(first);
	i->info.queues = armed;
	pthread_mutex_unlock(&c->lock);
	i->raised = true;
	i->retry_ms = 0;
	interface_say(c, i);
}

bool interface_settle(struct control *c, struct interface *i)
{
	unsigned armed = 0, offered = 0, failed = 0;

	if (!i->device)
		return false;
	for (unsigned k = 0; k < i->served_count; k++) {
		int state =
			atomic_load_explicit(&slot_of(&i->served[k])->state, memory_order_acquire);

		armed += state == SLOT_ARMED;
		offered += state == SLOT_OFFERED || state == SLOT_ARMING;
		failed += state == SLOT_DRAINED;
	}
	if (i->closing)
		finish_closing(c, i);
	else if (failed)
		interface_lower(c, i, "a queue could not be armed");
	else if (!offered && !i->raised)
		say_raised(c, i, armed);
	return offered > 0;
}

void interface_close(struct control *c, struct interface *i)
{
	for (unsigned k = 0; k < i->served_count; k++)
		queue_disarm(slot_of(&i->served[k])->queue);
	queue_grace(); /* what is steered now is steered: the counts of it add up */
	for (unsigned k = 0; k < i->served_count; k++)
		close_served(c, i, &i->served[k]);
	drop_served(i);
	xdp_device_close(i->device);
	i->device = NULL;
}
