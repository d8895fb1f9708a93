/* SPDX-License-Identifier: MIT */
/*
 * A reader: one thread's merged stream of rings and sockets.
 *
 * Rings cost no system call, so they are looked at first; sockets when the rings left room and
 * epoll found them readable. Every SWEEP_EVERY-th call asks epoll and begins with the sockets, so
 * that neither a busy ring nor a busy socket can starve the others.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "transport.h"

#define SWEEP_EVERY 8u
#define NS_PER_MS   1000000u

/* What epoll hands back for things that are no socket. */
static char wake_mark, shut_mark, ring_mark, more_mark;

static int watch_fd_in(struct mr_reader *r, int fd, void *mark)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = mark };

	return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int reader_init(struct mr_reader *r, struct mr_transport *t)
{
	int err;

	r->transport = t;
	r->s4.fd = r->s6.fd = -1;
	r->wake_fd = r->more_fd = -1;
	r->writer = (struct mr_writer){ .transport = t, .reader = r, .own_thread = true };
	pthread_mutex_init(&r->ports_lock, NULL);
	r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (r->epoll_fd < 0)
		return -errno;
	r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->wake_fd < 0)
		return -errno;
	r->more_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->more_fd < 0)
		return -errno;
	err = watch_fd_in(r, r->wake_fd, &wake_mark);
	if (!err)
		err = watch_fd_in(r, r->more_fd, &more_mark);
	if (!err)
		err = watch_fd_in(r, t->shut_fd, &shut_mark);
	return err ? err : sock_recv_init(&r->recv, &r->counters);
}

/* Lets the reader see its main sockets; they are open by now. */
int reader_watch_sockets(struct mr_reader *r)
{
	int err = r->s6.fd >= 0 ? watch_fd_in(r, r->s6.fd, &r->s6) : 0;

	return err || r->s4.fd < 0 ? err : watch_fd_in(r, r->s4.fd, &r->s4);
}

void reader_fini(struct mr_reader *r)
{
	for (unsigned i = 0; r->ports && i < 65536; i++)
		if (r->ports[i])
			mr_port_close(r, (uint16_t)i);
	free(r->ports);
	sock_close(&r->s4);
	sock_close(&r->s6);
	if (r->epoll_fd >= 0)
		close(r->epoll_fd);
	if (r->wake_fd >= 0)
		close(r->wake_fd);
	if (r->more_fd >= 0)
		close(r->more_fd);
	sock_recv_fini(&r->recv);
	umem_fini(&r->umem);
	pthread_mutex_destroy(&r->ports_lock);
}

void reader_wake(struct mr_reader *r)
{
	uint64_t one = 1;

	atomic_store_explicit(&r->slots_changed, true, memory_order_release);
	if (write(r->wake_fd, &one, sizeof(one)) < 0)
		return; /* only when it is readable already */
}

int mr_reader_fd(const struct mr_reader *r)
{
	return r->epoll_fd;
}

/* ---------------------------------------------------------------- slots */

static void set_state(struct slot *s, enum slot_state state)
{
	atomic_store_explicit(&s->state, state, memory_order_release);
}

static void arm(struct mr_reader *r, struct slot *s)
{
	int expected = SLOT_OFFERED, err;

	/* Control may take an offer back; whoever changes the state first has the queue. */
	if (!atomic_compare_exchange_strong(&s->state, &expected, SLOT_ARMING))
		return;
	err = watch_fd_in(r, queue_fd(s->queue), &ring_mark);
	if (!err)
		err = queue_arm(s->queue);
	set_state(s, err ? SLOT_DRAINED : SLOT_ARMED);
}

/* Frames the kernel had when the socket was closed are ours again. */
static void reclaim(struct mr_reader *r, unsigned i)
{
	umem_reclaim(&r->umem, (uint8_t)(FRAME_FILL + i));
	set_state(&r->slots[i], SLOT_EMPTY);
}

/* Does what control asks for and learns anew which queues there are. */
static void mind_slots(struct mr_reader *r)
{
	uint64_t count;

	if (read(r->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
	atomic_store_explicit(&r->slots_changed, false, memory_order_seq_cst);
	r->active_count = 0;
	for (unsigned i = 0; i < QUEUES_PER_READER; i++) {
		struct slot *s = &r->slots[i];
		int state = atomic_load_explicit(&s->state, memory_order_acquire);

		if (state == SLOT_OFFERED)
			arm(r, s);
		else if (state == SLOT_CLOSED)
			reclaim(r, i);
		state = atomic_load_explicit(&s->state, memory_order_acquire);
		if (state == SLOT_ARMED || state == SLOT_RETIRING)
			r->active[r->active_count++] = s->queue;
	}
	control_wake(r->transport->control);
}

/*
 * A retiring queue gets nothing more (see queue_disarm); when it has been read empty, it is done
 * with. The order matters: first the state, then whether it is empty.
 */
static bool finish_retiring(struct mr_reader *r, struct queue *q)
{
	struct slot *s = &r->slots[queue_slot(q)];

	if (atomic_load_explicit(&s->state, memory_order_acquire) != SLOT_RETIRING ||
	    !queue_is_empty(q))
		return false;
	epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, queue_fd(q), NULL);
	for (unsigned i = 0; i < r->active_count; i++)
		if (r->active[i] == q)
			r->active[i] = r->active[--r->active_count];
	set_state(s, SLOT_DRAINED);
	control_wake(r->transport->control);
	return true;
}

static unsigned take_rings(struct mr_reader *r, struct mr_datagram *d, unsigned max)
{
	unsigned taken = 0, count = r->active_count;

	for (unsigned i = 0; i < count && taken < max; i++) {
		struct queue *q = r->active[(r->turn + i) % count];
		unsigned n = queue_take(q, &d[taken], max - taken, &r->counters);

		taken += n;
		if (n == 0 && finish_retiring(r, q))
			break; /* the list has changed: the rest next time */
	}
	r->turn++;
	return taken;
}

/* ---------------------------------------------------------------- sockets */

static void not_ready(struct mr_reader *r, const struct sock *s)
{
	for (unsigned i = 0; i < r->ready_count; i++)
		if (r->ready[i] == s) {
			r->ready[i] = r->ready[--r->ready_count];
			return;
		}
}

/*
 * Where rp_filter is on, the kernel's consent to a source is what it hands over by a socket; but it
 * tells of the routes of now only when it arrived since those are known. So of each socket as many
 * messages are left out as waited in it when the generation was seen first, or until it is empty.
 */
static int fill(struct mr_reader *r, struct sock *s, unsigned want)
{
	uint32_t wanted = atomic_load_explicit(&r->transport->sources_wanted, memory_order_acquire);
	int got;

	if (wanted && s->generation != wanted) {
		s->generation = wanted;
		s->older = sock_recv_waiting(s);
	}
	r->vouched = s->older ? 0 : wanted;
	got = sock_recv_fill(&r->recv, s, want);
	if (s->older && got >= 0) {
		s->older -= s->older < (uint32_t)got ? s->older : (uint32_t)got;
		if (got < (int)want && !sock_recv_waiting(s))
			s->older = 0;
	}
	return got;
}

static void tell_sources(struct mr_reader *r, const struct mr_datagram *d, unsigned n)
{
	bool told = false;
	uint64_t now_ns;

	if (!r->vouched || !n)
		return;
	now_ns = clock_now_ns();
	for (unsigned i = 0; i < n; i++) {
		const struct mr_endpoint *e = &d[i].endpoint;
		struct source source = { .ifindex = e->ifindex,
					 .address = e->remote.v4,
					 .tos = d[i].tos & STEER_TOS_MASK,
					 .generation = r->vouched };

		if (e->family == AF_INET)
			told |= sources_tell(&r->sources, &source, now_ns);
	}
	if (told)
		control_wake(r->transport->control);
}

/* Takes what has been read, and tells of its sources. */
static unsigned take_read(struct mr_reader *r, struct mr_datagram *d, unsigned max)
{
	unsigned n = sock_recv_take(&r->recv, d, max);

	tell_sources(r, d, n);
	return n;
}

/* Reads ready sockets in turn; *held when that failed because the caller holds every buffer. */
static unsigned take_sockets(struct mr_reader *r, struct mr_datagram *d, unsigned max, bool *held)
{
	unsigned taken = take_read(r, d, max);

	while (taken < max && r->ready_count) {
		struct sock *s = r->ready[r->ready_turn++ % r->ready_count];
		unsigned want = max - taken < BATCH_MAX ? max - taken : BATCH_MAX;
		int got = fill(r, s, want);

		if (got == -ENOBUFS) {
			*held = true;
			break;
		}
		/* Less than asked for: empty. If not, epoll says so again. */
		if (got < (int)want)
			not_ready(r, s);
		if (got > 0)
			taken += take_read(r, &d[taken], max - taken);
	}
	return taken;
}

/*
 * The kernel does not know of datagrams that we have taken from it and the caller has not yet
 * taken from us: an event loop is told by more_fd.
 */
static void tell_more(struct mr_reader *r)
{
	bool more = r->recv.pending_sock;
	uint64_t count = 1;

	if (more == r->more)
		return;
	if (more ? write(r->more_fd, &count, sizeof(count)) > 0
		 : read(r->more_fd, &count, sizeof(count)) > 0)
		r->more = more;
}

/* Learns what is readable, waiting up to timeout_ms. 0, or -EINTR. */
static int look(struct mr_reader *r, int timeout_ms)
{
	struct epoll_event events[READY_MAX];
	int n = epoll_wait(r->epoll_fd, events, READY_MAX, timeout_ms);

	if (n < 0)
		return -errno;
	r->ready_count = 0;
	for (int i = 0; i < n; i++) {
		char *mark = events[i].data.ptr;

		if (mark == &wake_mark)
			atomic_store_explicit(&r->slots_changed, true, memory_order_relaxed);
		else if (mark != &shut_mark && mark != &ring_mark && mark != &more_mark)
			r->ready[r->ready_count++] = events[i].data.ptr;
	}
	return 0;
}

/* Milliseconds until the deadline, rounded up; -1: for ever. */
static int remaining_ms(uint64_t deadline_ns)
{
	uint64_t now;

	if (deadline_ns == UINT64_MAX)
		return -1;
	now = clock_now_ns();
	return now >= deadline_ns ? 0 : (int)((deadline_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* One look at everything, without waiting: how many, 0, -ESHUTDOWN or -ENOBUFS. */
static int gather(struct mr_reader *r, struct mr_datagram *d, unsigned max, bool sockets_first)
{
	bool held = false;
	unsigned n;

	if (atomic_load_explicit(&r->transport->shut, memory_order_acquire))
		return -ESHUTDOWN;
	if (atomic_load_explicit(&r->slots_changed, memory_order_acquire))
		mind_slots(r);
	n = sockets_first ? take_sockets(r, d, max, &held) : take_rings(r, d, max);
	if (n < max)
		n += sockets_first ? take_rings(r, &d[n], max - n)
				   : take_sockets(r, &d[n], max - n, &held);
	tell_more(r);
	return n || !held ? (int)n : -ENOBUFS;
}

int mr_read(struct mr_reader *r, struct mr_datagram *d, unsigned max, int timeout_ms)
{
	bool busy = r->active_count || r->ready_count;
	bool sweep = ++r->reads % SWEEP_EVERY == 0 && busy, waited = false;
	uint64_t deadline_ns = timeout_ms < 0 ? UINT64_MAX : 0;

	assert(max > 0);
	if (sweep)
		look(r, 0);
	for (int left_ms = timeout_ms;;) {
		int n = gather(r, d, max, sweep);

		if (n || (waited && left_ms == 0))
			return n;
		if (left_ms > 0 && !deadline_ns)
			deadline_ns = clock_now_ns() + (uint64_t)left_ms * NS_PER_MS;
		if (look(r, left_ms))
			return 0; /* a signal: the caller may want to know */
		waited = true;
		if (left_ms)
			left_ms = remaining_ms(deadline_ns);
	}
}

void mr_release(struct mr_reader *r, const struct mr_datagram *d, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (!d[i].cookie)
			continue;
		if (d[i].path == MR_PATH_XDP)
			umem_give(&r->umem, cookie_frame(d[i].cookie));
		else
			sock_recv_give(&r->recv, d[i].cookie);
	}
}

ssize_t mr_recv(struct mr_reader *r, void *buf, size_t len, struct mr_endpoint *e, int timeout_ms)
{
	struct mr_datagram d;
	int n = mr_read(r, &d, 1, timeout_ms);

	if (n <= 0)
		return n ? n : -EAGAIN;
	if (d.len && len)
		memcpy(buf, d.data, d.len < len ? d.len : len);
	if (e)
		*e = d.endpoint;
	mr_release(r, &d, 1);
	return d.len;
}

/* ---------------------------------------------------------------- further ports */

struct sock *reader_port(struct mr_reader *r, uint16_t port)
{
	return r->ports ? r->ports[port] : NULL;
}

/*
 * A free number that nobody here has: the kernel numbers the families apart, but local_port is all
 * that tells our ports apart. Those in the way are kept open until another one was found.
 */
static int open_other_port(struct mr_reader *r, struct sock *s, const struct mr_endpoint *peer)
{
	struct sock refused[PORT_TRIES];
	unsigned n = 0;
	int err;

	for (;;) {
		err = sock_port_open(s, peer, atomic_load(&r->transport->mark));
		if (err || (s->port != r->transport->port && !r->ports[s->port]))
			break;
		refused[n++] = *s;
		if (n == PORT_TRIES) {
			err = -EADDRINUSE;
			break;
		}
	}
	while (n)
		sock_close(&refused[--n]);
	return err;
}

int mr_port_open(struct mr_reader *r, const struct mr_endpoint *peer)
{
	struct sock *s = malloc(sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	/* Under the lock, so that a mark being set either is seen here or sees this socket. */
	pthread_mutex_lock(&r->ports_lock);
	/* The table's pages cost nothing until they are touched. */
	if (!r->ports)
		r->ports = calloc(65536, sizeof(struct sock *));
	err = r->ports ? open_other_port(r, s, peer) : -ENOMEM;
	if (!err) {
		err = watch_fd_in(r, s->fd, s);
		if (!err)
			r->ports[s->port] = s;
		else
			sock_close(s);
	}
	pthread_mutex_unlock(&r->ports_lock);
	if (err) {
		free(s);
		return err;
	}
	return s->port;
}

void mr_port_close(struct mr_reader *r, uint16_t port)
{
	struct sock *s = reader_port(r, port);

	assert(s);
	not_ready(r, s);
	sock_recv_forget(&r->recv, s);
	pthread_mutex_lock(&r->ports_lock);
	r->ports[port] = NULL;
	pthread_mutex_unlock(&r->ports_lock);
	sock_close(s); /* epoll forgets it with the last descriptor */
	free(s);
}

int reader_set_mark(struct mr_reader *r, uint32_t mark)
{
	int err = sock_set_mark(&r->s6, mark);

	if (!err)
		err = sock_set_mark(&r->s4, mark);
	pthread_mutex_lock(&r->ports_lock);
	for (unsigned i = 0; !err && r->ports && i < 65536; i++)
		if (r->ports[i])
			err = sock_set_mark(r->ports[i], mark);
	pthread_mutex_unlock(&r->ports_lock);
	return err;
}
