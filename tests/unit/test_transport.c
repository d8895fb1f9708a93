/* SPDX-License-Identifier: MIT */
/*
 * The public API over sockets alone: bind, read, write, ports, marks, shutdown; with the system
 * calls of mr_bind stood in for, so that each of them can fail. Never anything but
 * MR_POLICY_SOCKET here: no interface of the machine is touched.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "transport.h"

/* ---------------------------------------------------------------- standing in */

#define CALLS(X)                       \
	X(SOCKET, socket)              \
	X(BIND, bind)                  \
	X(SETSOCKOPT, setsockopt)      \
	X(EPOLL_CREATE, epoll_create1) \
	X(EPOLL_CTL, epoll_ctl)        \
	X(EVENTFD, eventfd)            \
	X(MMAP, mmap)                  \
	X(GETSOCKNAME, getsockname)

enum call {
	CALL_NONE,
#define CALL_ENUM(symbol, name) CALL_##symbol,
	CALLS(CALL_ENUM) CALL_COUNT,
#undef CALL_ENUM
};

static const char *const call_names[] = { "nothing",
#define CALL_NAME(symbol, name) #name,
					  CALLS(CALL_NAME)
#undef CALL_NAME
};

#define EVERY_FAMILY -1

static struct {
	enum call call; /* this one fails … */
	unsigned nth;	/* … the so-manieth time, 1 the first */
	int error;
	bool happened;
	unsigned counts[CALL_COUNT];

	int lacking;	     /* socket() of this family: EAFNOSUPPORT */
	int no_address;	     /* bind() of this family: EADDRNOTAVAIL */
	unsigned busy4;	     /* so many bind()s by IPv4 to come: EADDRINUSE */
	uint16_t next_port;  /* the next bind() to port 0 tries this number first */
	unsigned mark_fails; /* the so-manieth SO_MARK fails with EPERM */
	unsigned marks;
	bool fake_marks; /* SO_MARK is not passed on: no privilege needed */
	uint32_t mark_of[1024];
} fake;

static bool fails(enum call call)
{
	fake.counts[call]++;
	if (fake.call != call || fake.counts[call] != fake.nth)
		return false;
	fake.happened = true;
	errno = fake.error;
	return true;
}

int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol)
{
	if (fails(CALL_SOCKET))
		return -1;
	if (fake.lacking == family || fake.lacking == EVERY_FAMILY) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return __real_socket(family, type, protocol);
}

int __real_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in6 copy;

	if (fails(CALL_BIND))
		return -1;
	if (fake.no_address == sa->sa_family) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	if (fake.busy4 && sa->sa_family == AF_INET) {
		fake.busy4--;
		errno = EADDRINUSE;
		return -1;
	}
	/* The port is at the same place in both families. */
	memcpy(&copy, sa, len);
	if (fake.next_port && !copy.sin6_port) {
		copy.sin6_port = htons(fake.next_port);
		fake.next_port = 0;
		if (__real_bind(fd, (struct sockaddr *)&copy, len) == 0)
			return 0;
	}
	return __real_bind(fd, sa, len);
}

int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (fails(CALL_SETSOCKOPT))
		return -1;
	if (level == SOL_SOCKET && name == SO_MARK) {
		if (++fake.marks == fake.mark_fails) {
			errno = EPERM;
			return -1;
		}
		if (fake.fake_marks) {
			assert_true(fd < (int)COUNT(fake.mark_of));
			memcpy(&fake.mark_of[fd], value, sizeof(uint32_t));
			return 0;
		}
	}
	return __real_setsockopt(fd, level, name, value, len);
}

int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags)
{
	return fails(CALL_EPOLL_CREATE) ? -1 : __real_epoll_create1(flags);
}

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return fails(CALL_EPOLL_CTL) ? -1 : __real_epoll_ctl(epfd, op, fd, event);
}

int __real_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd(unsigned value, int flags)
{
	return fails(CALL_EVENTFD) ? -1 : __real_eventfd(value, flags);
}

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails(CALL_MMAP) ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, offset);
}

int __real_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	return fails(CALL_GETSOCKNAME) ? -1 : __real_getsockname(fd, sa, len);
}

/* ---------------------------------------------------------------- fixture */

static struct mr_transport *t;
static struct peer p4, p6;
static unsigned fds_before;

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fds_before = open_fds();
	t = NULL;
	p4 = peer_open("127.0.0.1");
	p6 = peer_open("::1");
	return 0;
}

static int teardown(void **state)
{
	memset(&fake, 0, sizeof(fake));
	mr_close(t);
	t = NULL;
	close(p4.fd);
	close(p6.fd);
	return netns_leave(state);
}

/* As teardown, and nothing may be left open. */
static void done(void)
{
	teardown(NULL);
	assert_int_equal(open_fds(), fds_before);
	setup(NULL);
}

static int bind_with(struct mr_options o, struct mr_diag *diag)
{
	o.policy = MR_POLICY_SOCKET;
	return mr_bind(&o, &t, diag);
}

static struct mr_reader *bind_any(void)
{
	assert_int_equal(bind_with((struct mr_options)MR_OPTIONS_INIT, NULL), 0);
	return mr_reader(t, 0);
}

static struct mr_endpoint self(const char *address, uint16_t port)
{
	char text[64];

	snprintf(text, sizeof(text), strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
	return endpoint(text);
}

static uint64_t counted(enum reason reason)
{
	uint64_t counts[REASON_COUNT];

	mr_stats(t, counts, REASON_COUNT);
	return counts[reason];
}

/* One plain socket bound to this port; -1 with errno. */
static int hold_port(int family, uint16_t port, bool share)
{
	struct mr_endpoint any = { .family = (uint16_t)family, .port_be = htons(port) };
	struct sockaddr_storage sa;
	socklen_t len = mr_endpoint_to_sockaddr(&any, &sa);
	int one = 1, err, fd = __real_socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (share)
		__real_setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (family == AF_INET6)
		__real_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (__real_bind(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct mr_endpoint e;

	assert_int_equal(__real_getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&sa, len);
	return ntohs(e.port_be);
}

/* The peer's message arrives at r: it does what it says. */
static void expect_served(struct mr_reader *r, const struct peer *p, uint16_t port)
{
	struct mr_endpoint to = self(p->at.family == AF_INET ? "127.0.0.1" : "::1", port), from;
	char buf[8];

	peer_send(p, &to, "hello", 5);
	assert_int_equal(mr_recv(r, buf, sizeof(buf), &from, PATIENCE_MS), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(from.port_be, p->at.port_be);
	/* And back, from the very port and address. */
	assert_int_equal(mr_send(mr_reader_writer(r), "there", 5, &from), 0);
	assert_int_equal(peer_recv(p, buf, sizeof(buf), &from, PATIENCE_MS), 5);
	assert_true(mr_endpoint_equal(&from, &to));
}

/* ---------------------------------------------------------------- bind */

static void test_port_any(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_diag diag;

	(void)state;
	memset(&diag, 0xa5, sizeof(diag));
	assert_int_equal(bind_with(o, &diag), 0);
	assert_int_equal(diag.error, 0);
	assert_int_not_equal(mr_port(t), 0);
	assert_int_equal(mr_families(t), MR_FAMILY_IP4 | MR_FAMILY_IP6);
	assert_int_equal(mr_reader_count(t), 1);
	assert_non_null(mr_reader(t, 0));
	assert_null(mr_reader(t, 1));
	assert_non_null(mr_writer(t));
	assert_int_equal(mr_fwmark(t), 0);
	assert_int_equal(mr_paths(t, NULL, 0), 0);
	/* The same number by both families, and nobody else's. */
	expect_served(mr_reader(t, 0), &p4, mr_port(t));
	expect_served(mr_reader(t, 0), &p6, mr_port(t));
	assert_int_equal(hold_port(AF_INET, mr_port(t), false), -1);
	assert_int_equal(hold_port(AF_INET6, mr_port(t), false), -1);
	assert_int_equal(hold_port(AF_INET, mr_port(t), true), -1);
	assert_int_equal(hold_port(AF_INET6, mr_port(t), true), -1);
	done();
}

static void test_port_given(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	int fd = hold_port(AF_INET6, 0, false);

	(void)state;
	o.port = port_of(fd);
	close(fd);
	for (unsigned i = 0; i < 3; i++) { /* free again as soon as it is closed */
		assert_int_equal(bind_with(o, NULL), 0);
		assert_int_equal(mr_port(t), o.port);
		expect_served(mr_reader(t, 0), &p4, o.port);
		expect_served(mr_reader(t, 0), &p6, o.port);
		mr_close(t);
		t = NULL;
	}
	done();
}

static void expect_taken(uint16_t port, unsigned readers, const char *family)
{
	struct mr_options o = MR_OPTIONS_INIT;
	unsigned fds = open_fds();
	struct mr_diag diag;
	char number[8];

	snprintf(number, sizeof(number), "%u", port);
	o.port = port;
	o.readers = readers;
	assert_int_equal(bind_with(o, &diag), -EADDRINUSE);
	assert_null(t);
	assert_int_equal(diag.error, -EADDRINUSE);
	assert_non_null(strstr(diag.object, number));
	assert_non_null(strstr(diag.object, family));
	assert_non_null(strstr(diag.remedy, number));
	assert_int_not_equal(diag.step[0], 0);
	assert_int_equal(open_fds(), fds);
}

static void test_port_in_use(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	(void)state;
	for (unsigned f = 0; f < 2; f++)
		for (unsigned share = 0; share < 2; share++)
			for (unsigned readers = 1; readers <= 4; readers += 3) {
				int fd = hold_port(families[f], 0, share);

				/* Also when only one half is taken, and by one that would share. */
				expect_taken(port_of(fd), readers, f ? "IPv6" : "IPv4");
				close(fd);
			}
	/* By another transport, sharing among its readers or not. */
	for (unsigned readers = 1; readers <= 2; readers++) {
		struct mr_options o = MR_OPTIONS_INIT;
		struct mr_transport *other;

		o.readers = readers;
		assert_int_equal(bind_with(o, NULL), 0);
		other = t;
		expect_taken(mr_port(other), 1, "IPv6");
		expect_taken(mr_port(other), 4, "IPv6");
		mr_close(other);
	}
	done();
}

/* The number IPv6 got is taken by IPv4: another number, not one family (PEERS, defect 4). */
static void test_port_any_retries(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_diag diag;

	(void)state;
	for (unsigned busy = 1; busy <= 20; busy += 19) {
		fake.busy4 = busy;
		assert_int_equal(bind_with(o, &diag), 0);
		assert_int_equal(fake.busy4, 0);
		assert_int_equal(mr_families(t), MR_FAMILY_IP4 | MR_FAMILY_IP6);
		expect_served(mr_reader(t, 0), &p4, mr_port(t));
		expect_served(mr_reader(t, 0), &p6, mr_port(t));
		mr_close(t);
		t = NULL;
	}
	/* Not for ever. */
	fake.busy4 = 100000;
	assert_int_equal(bind_with(o, &diag), -EADDRINUSE);
	assert_int_equal(diag.error, -EADDRINUSE);
	assert_true(fake.busy4 > 90000);
	/* And a number that was asked for is not exchanged for another. */
	fake.busy4 = 1;
	o.port = port_of(p4.fd);
	assert_int_equal(bind_with(o, &diag), -EADDRINUSE);
	done();
}

/* What was said of a try that failed is no news once one has succeeded. */
static void test_success_leaves_no_diag(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_diag diag;

	(void)state;
	fake.busy4 = 1;
	assert_int_equal(bind_with(o, &diag), 0);
	assert_int_equal(diag.error, 0);
	mr_close(t);
	fake.lacking = AF_INET6;
	assert_int_equal(bind_with(o, &diag), 0);
	assert_int_equal(diag.error, 0);
	assert_string_equal(diag.step, "");
	done();
}

static char log_lines[512];

static void keep_log(void *arg, enum mr_log_level level, const char *line)
{
	size_t at = strlen(log_lines);

	assert_ptr_equal(arg, &log_lines);
	(void)level;
	snprintf(log_lines + at, sizeof(log_lines) - at, "%s\n", line);
}

static void check_lacking(int family, bool at_bind, unsigned readers)
{
	struct mr_options o = MR_OPTIONS_INIT;
	bool six = family == AF_INET6;
	struct mr_datagram d = { .endpoint = six ? p6.at : p4.at, .data = "x", .len = 1 };
	struct mr_endpoint peer = six ? p6.at : p4.at;

	*(at_bind ? &fake.no_address : &fake.lacking) = family;
	o.readers = readers;
	o.on_log = keep_log;
	o.arg = log_lines;
	log_lines[0] = '\0';
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(mr_families(t), six ? MR_FAMILY_IP4 : MR_FAMILY_IP6);
	assert_int_not_equal(mr_port(t), 0);
	assert_non_null(strstr(log_lines, six ? "IPv6 is not there" : "IPv4 is not there"));
	if (readers == 1)
		expect_served(mr_reader(t, 0), six ? &p4 : &p6, mr_port(t));
	/* What cannot be sent says so; the one after it goes. */
	assert_int_equal(mr_write(mr_writer(t), &d, 1), 1);
	assert_int_equal(d.error, -EAFNOSUPPORT);
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &peer), -EAFNOSUPPORT);
	assert_int_equal(mr_set_fwmark(t, 0), 0);
	done();
}

static void test_family_lacking(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;

	(void)state;
	fake.fake_marks = true;
	for (unsigned readers = 1; readers <= 3; readers++) {
		fake.fake_marks = true;
		check_lacking(AF_INET6, false, readers);
		fake.fake_marks = true;
		check_lacking(AF_INET6, true, readers);
		fake.fake_marks = true;
		check_lacking(AF_INET, false, readers);
		fake.fake_marks = true;
		check_lacking(AF_INET, true, readers);
	}
	/* Neither: an error, not a transport that serves nobody. */
	fake.lacking = EVERY_FAMILY;
	assert_int_equal(bind_with(o, NULL), -EAFNOSUPPORT);
	assert_null(t);
	done();
}

static void test_address(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint at[] = { endpoint("127.0.0.1:4711"), endpoint("[::1]:4711"),
				    endpoint("127.0.0.9:4711") };
	struct sockaddr_storage sa;
	struct mr_diag diag;

	(void)state;
	o.address = (struct sockaddr *)&sa;
	for (unsigned i = 0; i < COUNT(at); i++) {
		bool six = at[i].family == AF_INET6;
		struct peer *p = six ? &p6 : &p4;
		struct mr_endpoint to = at[i], other;
		char buf[8];
		int fd;

		mr_endpoint_to_sockaddr(&at[i], &sa);
		assert_int_equal(bind_with(o, &diag), 0);
		assert_int_not_equal(mr_port(t), 4711); /* its port is ignored */
		assert_int_equal(mr_families(t), six ? MR_FAMILY_IP6 : MR_FAMILY_IP4);
		to.port_be = htons(mr_port(t));
		peer_send(p, &to, "hello", 5);
		assert_int_equal(mr_recv(mr_reader(t, 0), buf, 8, &other, PATIENCE_MS), 5);
		/* Of the port, only this address is taken. */
		fd = hold_port(six ? AF_INET : AF_INET6, mr_port(t), false);
		assert_true(fd >= 0);
		close(fd);
		if (!six) {
			inet_pton(AF_INET, "127.0.0.77", &to.remote);
			peer_send(p, &to, "hello", 5);
			assert_int_equal(mr_recv(mr_reader(t, 0), buf, 8, NULL, 30), -EAGAIN);
		}
		other = six ? p4.at : p6.at;
		assert_int_equal(mr_send(mr_writer(t), "x", 1, &other), -EAFNOSUPPORT);
		mr_close(t);
	}
	/* Nobody's. */
	at[0] = endpoint("203.0.113.7:0");
	mr_endpoint_to_sockaddr(&at[0], &sa);
	assert_int_equal(bind_with(o, &diag), -EADDRNOTAVAIL);
	assert_non_null(strstr(diag.remedy, "address"));
	at[0] = endpoint("[2001:db8::1]:0");
	mr_endpoint_to_sockaddr(&at[0], &sa);
	assert_int_equal(bind_with(o, &diag), -EADDRNOTAVAIL);
	done();
}

static void test_bad_options(void **state)
{
	static const char *const nowhere[] = { "lo", "no-such-if" };
	const struct mr_options good = MR_OPTIONS_INIT;
	const struct sockaddr odd = { .sa_family = AF_UNIX };
	struct mr_diag diag;

	(void)state;
	for (unsigned i = 0;; i++) {
		struct mr_options o = good;
		const char *names = NULL;
		int expected = -EINVAL;

		o.policy = MR_POLICY_SOCKET;
		switch (i) {
		case 0:
			o.size = 0;
			names = "size";
			break;
		case 1:
			o.size = sizeof(o) + 8;
			names = "size";
			break;
		case 2:
			o.policy = (enum mr_policy)3;
			names = "policy";
			break;
		case 3:
			o.xdp_mode = (enum mr_xdp_mode)3;
			names = "xdp_mode";
			break;
		case 4:
			o.zero_copy = (enum mr_zero_copy)77;
			names = "zero_copy";
			break;
		case 5:
			o.readers = READERS_MAX + 1;
			names = "readers";
			break;
		case 6:
			o.address = &odd;
			names = "address";
			break;
		case 7:
			o.devices = nowhere;
			o.device_count = 2;
			names = "no-such-if";
			expected = -ENODEV;
			break;
		case 8:
			o.bind_device = "no-such-if";
			names = "no-such-if";
			expected = -ENODEV;
			break;
		default:
			assert_int_equal(i, 9);
			done();
			return;
		}
		t = NULL;
		assert_int_equal(mr_bind(&o, &t, &diag), expected);
		assert_null(t);
		assert_int_equal(diag.error, expected);
		assert_non_null(strstr(diag.object, names));
		assert_int_equal(mr_bind(&o, &t, NULL), expected);
		assert_int_equal(open_fds(), fds_before + 2);
	}
}

static void test_bind_device(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;

	(void)state;
	o.bind_device = "lo";
	o.readers = 2;
	assert_int_equal(bind_with(o, NULL), 0);
	mr_close(t);
	o.readers = 1;
	assert_int_equal(bind_with(o, NULL), 0);
	expect_served(mr_reader(t, 0), &p4, mr_port(t));
	expect_served(mr_reader(t, 0), &p6, mr_port(t));
	done();
}

static unsigned ready_events;

static void note_event(void *arg, const struct mr_event *event)
{
	assert_null(arg);
	assert_int_equal(event->type, MR_EVENT_READY);
	ready_events++;
}

static void test_ready_event(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;

	(void)state;
	o.on_event = note_event;
	ready_events = 0;
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(ready_events, 1);
	mr_close(NULL); /* fine */
	done();
}

/* ---------------------------------------------------------------- every call fails once */

static void check_failures(enum call call, int error, unsigned readers)
{
	struct mr_options o = MR_OPTIONS_INIT;
	unsigned n = 0, refused = 0;

	o.readers = readers;
	o.fwmark = 7;
	for (n = 1; n < 1000; n++) {
		struct mr_diag diag;
		int err;

		memset(&fake, 0, sizeof(fake));
		fake.fake_marks = true;
		fake.call = call;
		fake.nth = n;
		fake.error = error;
		t = NULL;
		err = bind_with(o, &diag);
		fake.call = CALL_NONE;
		if (err) {
			refused++;
			assert_true(fake.happened);
			assert_null(t);
			if (err != -error && !(call == CALL_MMAP && err == -ENOMEM))
				fail_msg("%s number %u: %d", call_names[call], n, err);
			assert_int_equal(diag.error, err);
			assert_int_not_equal(diag.step[0], 0);
		} else {
			assert_non_null(t);
			if (readers == 1) {
				expect_served(mr_reader(t, 0), &p4, mr_port(t));
				expect_served(mr_reader(t, 0), &p6, mr_port(t));
			}
			mr_close(t);
			t = NULL;
		}
		if (open_fds() != fds_before + 2)
			fail_msg("%s number %u: %u descriptors left", call_names[call], n,
				 open_fds() - fds_before - 2);
		if (!fake.happened)
			break;
	}
	assert_true(n < 1000);
	assert_true(refused >= readers);
}

static void test_every_call_fails(void **state)
{
	(void)state;
	for (unsigned readers = 1; readers <= 3; readers++) {
		check_failures(CALL_SOCKET, EMFILE, readers);
		check_failures(CALL_BIND, ENOMEM, readers);
		check_failures(CALL_SETSOCKOPT, ENOMEM, readers);
		check_failures(CALL_EPOLL_CREATE, EMFILE, readers);
		check_failures(CALL_EPOLL_CTL, ENOSPC, readers);
		check_failures(CALL_EVENTFD, EMFILE, readers);
		check_failures(CALL_MMAP, ENOMEM, readers);
		check_failures(CALL_GETSOCKNAME, ENOBUFS, readers);
	}
	done();
}

/* ---------------------------------------------------------------- reading */

static void test_read_timeouts(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[4];
	uint64_t start = now_ms();

	(void)state;
	assert_int_equal(mr_read(r, d, 4, 0), 0);
	assert_true(now_ms() - start < 40);
	start = now_ms();
	assert_int_equal(mr_read(r, d, 4, 50), 0);
	assert_in_range(now_ms() - start, 49, 500);
	start = now_ms();
	assert_int_equal(mr_recv(r, NULL, 0, NULL, 50), -EAGAIN);
	assert_in_range(now_ms() - start, 49, 500);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, 0), -EAGAIN);
	done();
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void alarm_in_ms(unsigned ms)
{
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval timer = { .it_value = { .tv_usec = ms * 1000 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

static void test_read_signal(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d;
	uint64_t start = now_ms();
	char buf[8];

	(void)state;
	alarm_in_ms(30);
	assert_int_equal(mr_read(r, &d, 1, 5000), 0);
	assert_true(now_ms() - start < 2000);
	alarm_in_ms(30);
	assert_int_equal(mr_read(r, &d, 1, -1), 0);
	alarm_in_ms(30);
	assert_int_equal(mr_recv(r, buf, sizeof(buf), NULL, -1), -EAGAIN);
	/* It is as good as before. */
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_zero_length(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[8];
	struct mr_endpoint to4 = self("127.0.0.1", mr_port(t)), to6 = self("::1", mr_port(t)), e;
	unsigned n = 0;
	char buf[8];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		peer_send(&p4, &to4, "", 0);
		peer_send(&p6, &to6, "", 0);
	}
	while (n < 6) {
		int got = mr_read(r, &d[n], 8 - n, PATIENCE_MS);

		assert_true(got > 0);
		n += (unsigned)got;
	}
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(d[i].len, 0);
	/* They can be sent on, to where they came from. */
	assert_int_equal(mr_write(mr_reader_writer(r), d, 6), 6);
	mr_release(r, d, 6);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer_recv(&p4, buf, 8, &e, PATIENCE_MS), 0);
		assert_true(mr_endpoint_equal(&e, &to4));
		assert_int_equal(peer_recv(&p6, buf, 8, &e, PATIENCE_MS), 0);
	}
	peer_send(&p4, &to4, "", 0);
	assert_int_equal(mr_recv(r, buf, 8, &e, PATIENCE_MS), 0);
	assert_true(e.port_be == p4.at.port_be);
	peer_send(&p4, &to4, "", 0);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, PATIENCE_MS), 0);
	e = p4.at;
	assert_int_equal(mr_send(mr_writer(t), NULL, 0, &e), 0);
	assert_int_equal(peer_recv(&p4, buf, 8, &e, PATIENCE_MS), 0);
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_recv_truncates(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	char buf[16];

	(void)state;
	memset(buf, '-', sizeof(buf));
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, buf, 4, NULL, PATIENCE_MS), 10);
	assert_memory_equal(buf, "0123------------", 16);
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, buf, 16, NULL, PATIENCE_MS), 10);
	assert_memory_equal(buf, "0123456789------", 16);
	/* Throwing one away, without so much as a buffer. */
	peer_send(&p4, &to, "0123456789", 10);
	assert_int_equal(mr_recv(r, NULL, 0, NULL, PATIENCE_MS), 10);
	done();
}

static void test_nothing_ends_a_reader(void **state)
{
	struct mr_reader *r = bind_any();
	struct peer gone = peer_open("127.0.0.1");
	struct mr_endpoint e = gone.at;
	int one = 1;

	(void)state;
	/* ICMP errors, which this makes the socket hear of. */
	__real_setsockopt(r->s4.fd, IPPROTO_IP, IP_RECVERR, &one, sizeof(one));
	close(gone.fd);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
		expect_served(r, &p4, mr_port(t));
	}
	done();
}

/* Every buffer held: said so, and over as soon as one is given back. */
static void test_every_buffer_held(void **state)
{
	static struct mr_datagram d[SOCK_BUFFERS];
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	unsigned n = 0;

	(void)state;
	while (n < SOCK_BUFFERS) {
		int got;

		peer_send(&p4, &to, "x", 1);
		got = mr_read(r, &d[n], SOCK_BUFFERS - n, PATIENCE_MS);
		assert_int_equal(got, 1);
		n++;
	}
	peer_send(&p4, &to, "last", 4);
	assert_true(readable(mr_reader_fd(r), PATIENCE_MS));
	assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), -ENOBUFS);
	mr_release(r, &d[17], 1);
	assert_int_equal(mr_read(r, &d[17], 1, PATIENCE_MS), 1);
	assert_int_equal(d[17].len, 4);
	mr_release(r, d, SOCK_BUFFERS);
	expect_served(r, &p4, mr_port(t));
	done();
}

static void test_reader_fd(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to4 = self("127.0.0.1", mr_port(t)), to6 = self("::1", mr_port(t));
	struct mr_datagram d[4];

	(void)state;
	assert_false(readable(mr_reader_fd(r), 0));
	for (unsigned six = 0; six < 2; six++) {
		peer_send(six ? &p6 : &p4, six ? &to6 : &to4, "a", 1);
		peer_send(six ? &p6 : &p4, six ? &to6 : &to4, "b", 1);
		assert_true(readable(mr_reader_fd(r), PATIENCE_MS));
		assert_int_equal(mr_read(r, d, 1, 0), 1);
		assert_true(readable(mr_reader_fd(r), 0)); /* level-triggered */
		assert_int_equal(mr_read(r, d + 1, 1, 0), 1);
		mr_release(r, d, 2);
	}
	mr_shutdown(t);
	assert_true(readable(mr_reader_fd(r), 0));
	done();
}

/*
 * A coalesced batch of which the caller took a part: the kernel has nothing more, mr_read has. An
 * event loop that reads once for each wake-up must be woken for the rest.
 */
static void test_reader_fd_half_taken(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to = self("127.0.0.1", mr_port(t));
	struct mr_datagram d[16];
	uint8_t bytes[40 * 100] = { 0 };
	unsigned got = 0;

	(void)state;
	assert_int_equal(peer_send_segments(&p4, &to, bytes, sizeof(bytes), 100), 0);
	while (got < 40) {
		int n;

		if (!readable(mr_reader_fd(r), 200))
			fail_msg("%u of 40 read, and no wake-up for the rest", got);
		n = mr_read(r, d, 16, 0);
		assert_true(n > 0);
		mr_release(r, d, (unsigned)n);
		got += (unsigned)n;
	}
	assert_int_equal(got, 40);
	/* And when all is taken, the fd is quiet again (but for one empty wake-up). */
	assert_int_equal(mr_read(r, d, 16, 0), 0);
	assert_false(readable(mr_reader_fd(r), 0));
	done();
}

/* One socket that never runs dry does not keep the others from being read. */
static void test_busy_family_starves_none(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint to[] = { self("127.0.0.1", mr_port(t)), self("::1", mr_port(t)) };
	const struct peer *p[] = { &p4, &p6 };

	(void)state;
	for (unsigned busy = 0; busy < 2; busy++) {
		bool seen = false;

		for (unsigned i = 0; i < 16; i++)
			peer_send(p[busy], &to[busy], "flood", 5);
		for (unsigned round = 0; round < 100 && !seen; round++) {
			struct mr_datagram d[4];
			int n;

			if (round == 4)
				peer_send(p[!busy], &to[!busy], "me too", 6);
			n = mr_read(r, d, 4, PATIENCE_MS);
			assert_true(n > 0);
			for (int i = 0; i < n; i++) {
				seen |= d[i].len == 6;
				if (d[i].len == 5) /* as many as are taken come anew */
					peer_send(p[busy], &to[busy], "flood", 5);
			}
			mr_release(r, d, (unsigned)n);
		}
		if (!seen)
			fail_msg("%s was not read in 100 calls", busy ? "IPv4" : "IPv6");
		done();
		r = bind_any();
		to[0].port_be = to[1].port_be = htons(mr_port(t));
	}
	done();
}

/* ---------------------------------------------------------------- several readers */

#define FLOWS	 64u
#define PER_FLOW 5u

static void check_sharing(const char *address)
{
	struct mr_options o = MR_OPTIONS_INIT;
	unsigned seen[FLOWS * PER_FLOW] = { 0 }, of_reader[4] = { 0 }, total = 0, busy = 0;
	int reader_of[FLOWS];
	struct peer flow[FLOWS];
	struct mr_endpoint to;

	o.readers = 4;
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(mr_reader_count(t), 4);
	to = self(address, mr_port(t));
	for (unsigned i = 0; i < FLOWS; i++) {
		flow[i] = peer_open(address);
		reader_of[i] = -1;
	}
	for (unsigned k = 0; k < PER_FLOW; k++)
		for (unsigned i = 0; i < FLOWS; i++) {
			uint32_t number = i * PER_FLOW + k;

			peer_send(&flow[i], &to, &number, sizeof(number));
		}
	for (uint64_t end = now_ms() + PATIENCE_MS; total < COUNT(seen) && now_ms() < end;)
		for (unsigned k = 0; k < 4; k++) {
			struct mr_datagram d[32];
			int n = mr_read(mr_reader(t, k), d, 32, 0);

			assert_true(n >= 0);
			for (int i = 0; i < n; i++, total++, of_reader[k]++) {
				uint32_t number;

				assert_int_equal(d[i].len, sizeof(number));
				memcpy(&number, d[i].data, sizeof(number));
				assert_true(number < COUNT(seen));
				seen[number]++;
				/* A flow stays with its reader. */
				if (reader_of[number / PER_FLOW] < 0)
					reader_of[number / PER_FLOW] = (int)k;
				assert_int_equal(reader_of[number / PER_FLOW], k);
				/* Each reader answers from the common port. */
				assert_int_equal(
					mr_write(mr_reader_writer(mr_reader(t, k)), &d[i], 1), 1);
				assert_int_equal(d[i].error, 0);
			}
			mr_release(mr_reader(t, k), d, (unsigned)n);
		}
	for (unsigned i = 0; i < COUNT(seen); i++)
		assert_int_equal(seen[i], 1);
	for (unsigned k = 0; k < 4; k++)
		busy += of_reader[k] > 0;
	assert_true(busy > 1);
	for (unsigned i = 0; i < FLOWS; i++) {
		for (unsigned k = 0; k < PER_FLOW; k++) {
			struct mr_endpoint from;
			uint32_t number;

			assert_int_equal(peer_recv(&flow[i], &number, 4, &from, PATIENCE_MS), 4);
			assert_int_equal(number, i * PER_FLOW + k);
			assert_true(mr_endpoint_equal(&from, &to));
		}
		close(flow[i].fd);
	}
	assert_int_equal(counted(REASON_SOCK_DELIVERED), COUNT(seen));
	assert_int_equal(counted(REASON_TX_SOCKET), COUNT(seen));
	done();
}

static void test_readers_share(void **state)
{
	(void)state;
	check_sharing("127.0.0.1");
	check_sharing("::1");
}

/* With an address, readers share that one. */
static void test_readers_share_address(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint at = endpoint("127.0.0.1:0");
	struct sockaddr_storage sa;

	(void)state;
	mr_endpoint_to_sockaddr(&at, &sa);
	o.address = (struct sockaddr *)&sa;
	o.readers = READERS_MAX;
	assert_int_equal(bind_with(o, NULL), 0);
	assert_int_equal(mr_reader_count(t), READERS_MAX);
	assert_null(mr_reader(t, READERS_MAX));
	assert_int_equal(mr_families(t), MR_FAMILY_IP4);
	done();
}

/* ---------------------------------------------------------------- shutdown */

struct blocked {
	struct mr_reader *reader;
	_Atomic bool waiting;
	uint64_t ended_ms;
	int result;
};

static void *block(void *arg)
{
	struct blocked *b = arg;
	struct mr_datagram d;

	atomic_store(&b->waiting, true);
	do {
		b->result = mr_read(b->reader, &d, 1, -1);
	} while (b->result == 0);
	b->ended_ms = now_ms();
	return NULL;
}

static void test_shutdown(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct blocked b[3];
	pthread_t thread[3];
	struct mr_datagram d;
	uint64_t start;
	char buf[4];

	(void)state;
	o.readers = 3;
	assert_int_equal(bind_with(o, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		b[i] = (struct blocked){ .reader = mr_reader(t, i) };
		assert_int_equal(pthread_create(&thread[i], NULL, block, &b[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		while (!atomic_load(&b[i].waiting))
			usleep(1000);
	usleep(50000); /* blocked by now */
	start = now_ms();
	mr_shutdown(t);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(b[i].result, -ESHUTDOWN);
		assert_true(b[i].ended_ms - start < 100);
	}
	/* For ever, whatever is there to read. */
	mr_shutdown(t);
	assert_int_equal(mr_read(mr_reader(t, 0), &d, 1, -1), -ESHUTDOWN);
	assert_int_equal(mr_read(mr_reader(t, 0), &d, 1, 0), -ESHUTDOWN);
	assert_int_equal(mr_recv(mr_reader(t, 1), buf, 4, NULL, -1), -ESHUTDOWN);
	done();
}

/* ---------------------------------------------------------------- writing */

static void test_write_errors(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_writer *writers[] = { mr_writer(t), mr_reader_writer(r) };
	char text[16];

	(void)state;
	for (unsigned w = 0; w < 2; w++) {
		struct mr_datagram d[12];
		static const int errors[12] = { 0,
						-EAFNOSUPPORT,
						0,
						-EDESTADDRREQ,
						-EDESTADDRREQ,
						0,
						-EDESTADDRREQ,
						-ENOTCONN,
						-EAFNOSUPPORT,
						0,
						-EDESTADDRREQ,
						0 };
		uint64_t invalid = counted(REASON_TX_INVALID);

		for (unsigned i = 0; i < 12; i++)
			d[i] = (struct mr_datagram){
				.endpoint = p4.at, .data = "0123456789ab", .len = i + 1, .error = 77
			};
		memset(&d[1].endpoint, 0, sizeof(d[1].endpoint));
		d[3].endpoint.port_be = 0;
		d[4].endpoint = endpoint("[fe80::1]:9"); /* which link? */
		d[6].endpoint.remote.v4.s_addr = 0;
		d[7].local_port = (uint16_t)(mr_port(t) + 1);
		d[8].endpoint.family = AF_UNIX;
		d[9].local_port = mr_port(t); /* its own is fine */
		d[10].endpoint = endpoint("[::]:9");
		assert_int_equal(mr_write(writers[w], d, 12), 12);
		for (unsigned i = 0; i < 12; i++) {
			assert_int_equal(d[i].error, errors[i]);
			if (!errors[i])
				assert_int_equal(
					peer_recv(&p4, text, sizeof(text), NULL, PATIENCE_MS),
					i + 1);
		}
		assert_int_equal(counted(REASON_TX_INVALID) - invalid, 7);
	}
	assert_false(readable(p4.fd, 20));
	done();
}

static void test_write_both_families(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[40];
	uint32_t numbers[40];

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		numbers[i] = i;
		d[i] = (struct mr_datagram){ .endpoint = i / 3 % 2 ? p6.at : p4.at,
					     .data = &numbers[i],
					     .len = sizeof(numbers[i]) };
	}
	assert_int_equal(mr_write(mr_reader_writer(r), d, 40), 40);
	for (unsigned i = 0; i < 40; i++) {
		uint32_t number = 99;

		assert_int_equal(d[i].error, 0);
		assert_int_equal(peer_recv(i / 3 % 2 ? &p6 : &p4, &number, 4, NULL, PATIENCE_MS),
				 4);
		assert_int_equal(number, i);
	}
	assert_int_equal(mr_write(mr_reader_writer(r), d, 0), 0);
	done();
}

static void test_send_errors(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_endpoint e = endpoint("[fe80::1]:9");
	static char large[70000];

	(void)state;
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), -EDESTADDRREQ);
	e = p4.at;
	assert_int_equal(mr_send(mr_writer(t), large, sizeof(large), &e), -EMSGSIZE);
	assert_int_equal(mr_send(mr_writer(t), large, 65508, &e), -EMSGSIZE);
	assert_int_equal(mr_send(mr_writer(t), large, (size_t)UINT32_MAX + 2, &e), -EMSGSIZE);
	e.port_be = 0;
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), -EDESTADDRREQ);
	/* The forgotten source is shown to the caller. */
	e = from_source(p4.at, "203.0.113.7");
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
	assert_true(mr_endpoint_equal(&e, &p4.at));
	assert_int_equal(counted(REASON_TX_SOURCE_STALE), 1);
	assert_int_equal(peer_recv(&p4, large, 8, NULL, PATIENCE_MS), 1);
	expect_served(r, &p4, mr_port(t));
	done();
}

#define WRITERS	    4u
#define BATCHES	    200u
#define BATCH	    16u
#define OUTSTANDING 96u

static struct {
	_Atomic unsigned sent, received;
	_Atomic unsigned failed;
} flow;

static void *write_batches(void *arg)
{
	const uint32_t me = (uint32_t)(uintptr_t)arg;
	const struct mr_endpoint to = self(me & 1 ? "::1" : "127.0.0.1", mr_port(t));
	uint32_t numbers[BATCH];

	for (unsigned b = 0; b < BATCHES; b++) {
		struct mr_datagram d[BATCH];

		for (unsigned i = 0; i < BATCH; i++) {
			numbers[i] = (me * BATCHES + b) * BATCH + i;
			d[i] = (struct mr_datagram){ .endpoint = to,
						     .data = &numbers[i],
						     .len = sizeof(uint32_t) };
		}
		/* Not more than a receive buffer takes: what is lost there says nothing of us. */
		while (atomic_load(&flow.sent) - atomic_load(&flow.received) > OUTSTANDING &&
		       !atomic_load(&flow.failed))
			sched_yield();
		atomic_fetch_add(&flow.sent, BATCH);
		if (mr_write(mr_writer(t), d, BATCH) != (int)BATCH)
			atomic_store(&flow.failed, 1);
		for (unsigned i = 0; i < BATCH; i++)
			if (d[i].error)
				atomic_store(&flow.failed, 2);
	}
	return NULL;
}

static void test_writers_at_once(void **state)
{
	static uint8_t seen[WRITERS * BATCHES * BATCH];
	struct mr_reader *r = bind_any();
	pthread_t thread[WRITERS];
	unsigned total = 0;

	(void)state;
	memset(seen, 0, sizeof(seen));
	memset(&flow, 0, sizeof(flow));
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, write_batches, (void *)i), 0);
	while (total < COUNT(seen)) {
		struct mr_datagram d[64];
		int n = mr_read(r, d, 64, PATIENCE_MS);

		if (n <= 0)
			break;
		for (int i = 0; i < n; i++) {
			uint32_t number;

			memcpy(&number, d[i].data, sizeof(number));
			if (number < COUNT(seen))
				seen[number]++;
		}
		mr_release(r, d, (unsigned)n);
		total += (unsigned)n;
		atomic_store(&flow.received, total);
	}
	if (total < COUNT(seen))
		atomic_store(&flow.failed, 3);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(flow.failed, 0);
	for (unsigned i = 0; i < COUNT(seen); i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(counted(REASON_TX_SOCKET), COUNT(seen));
	assert_int_equal(counted(REASON_SOCK_DELIVERED), COUNT(seen));
	done();
}

/* ---------------------------------------------------------------- further ports */

static uint16_t open_port(struct mr_reader *r, const struct mr_endpoint *peer)
{
	int port = mr_port_open(r, peer);

	if (port <= 0)
		fail_msg("mr_port_open: %d", port);
	assert_true(port < 65536);
	return (uint16_t)port;
}

static void test_ports(void **state)
{
	struct mr_reader *r = bind_any();
	struct peer stranger = peer_open("127.0.0.1");
	const uint16_t a = open_port(r, &p4.at), b = open_port(r, &p6.at);
	struct mr_endpoint to_a = self("127.0.0.1", a), to_b = self("::1", b), from;
	struct mr_datagram d[4];
	char buf[8];

	(void)state;
	assert_int_not_equal(a, mr_port(t));
	assert_int_not_equal(b, mr_port(t));
	/* Only its peer gets in. */
	peer_send(&stranger, &to_a, "no", 2);
	peer_send(&p4, &to_a, "yes", 3);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 1);
	assert_int_equal(d[0].len, 3);
	assert_int_equal(d[0].local_port, a);
	assert_true(d[0].endpoint.port_be == p4.at.port_be);
	assert_int_equal(counted(REASON_SOCK_STRANGER), 1);
	/* Sent back as it is, it leaves from where it came to. */
	assert_int_equal(mr_write(mr_reader_writer(r), d, 1), 1);
	assert_int_equal(d[0].error, 0);
	assert_int_equal(peer_recv(&p4, buf, 8, &from, PATIENCE_MS), 3);
	assert_true(mr_endpoint_equal(&from, &to_a));
	mr_release(r, d, 1);

	peer_send(&p6, &to_b, "six", 3);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 1);
	assert_int_equal(d[0].local_port, b);
	assert_int_equal(mr_write(mr_reader_writer(r), d, 1), 1);
	assert_int_equal(peer_recv(&p6, buf, 8, &from, PATIENCE_MS), 3);
	assert_true(mr_endpoint_equal(&from, &to_b));

	/* Written with another local port it leaves from that one; 0 and the own one are the same.
	 */
	d[1] = d[2] = d[3] = (struct mr_datagram){ .endpoint = p4.at, .data = "x", .len = 1 };
	d[1].local_port = a;
	d[3].local_port = mr_port(t);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(peer_recv(&p4, buf, 8, &from, PATIENCE_MS), 1);
		assert_int_equal(from.port_be, htons(i == 0 ? a : mr_port(t)));
	}
	/* The other family, another port, another thread's writer. */
	d[1].local_port = b;
	d[2].local_port = (uint16_t)(a ^ 1) == b ? (uint16_t)(a ^ 2) : (uint16_t)(a ^ 1);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 2), 2);
	assert_int_equal(d[1].error, -EAFNOSUPPORT);
	assert_int_equal(d[2].error, -ENOTCONN);
	d[1].local_port = a;
	assert_int_equal(mr_write(mr_writer(t), &d[1], 1), 1);
	assert_int_equal(d[1].error, -ENOTCONN);
	assert_false(readable(p4.fd, 20));
	mr_release(r, d, 1);

	mr_port_close(r, a);
	mr_port_close(r, b);
	assert_int_equal(mr_write(mr_reader_writer(r), &d[1], 1), 1);
	assert_int_equal(d[1].error, -ENOTCONN);
	expect_served(r, &p4, mr_port(t));
	close(stranger.fd);
	done();
}

#define PORTS 300u

static void test_many_ports(void **state)
{
	static uint16_t ports[PORTS];
	struct mr_reader *r = bind_any();
	unsigned seen = 0;

	(void)state;
	for (unsigned i = 0; i < PORTS; i++) {
		ports[i] = open_port(r, &p4.at);
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(ports[i], ports[k]);
	}
	/* More of them ready at once than one look at epoll brings. */
	for (unsigned i = 0; i < PORTS; i++) {
		struct mr_endpoint to = self("127.0.0.1", ports[i]);

		peer_send(&p4, &to, &ports[i], sizeof(ports[i]));
	}
	while (seen < PORTS) {
		struct mr_datagram d[32];
		int n = mr_read(r, d, 32, PATIENCE_MS);

		assert_true(n > 0);
		for (int i = 0; i < n; i++, seen++) {
			uint16_t port;

			memcpy(&port, d[i].data, sizeof(port));
			assert_int_equal(port, d[i].local_port);
		}
		mr_release(r, d, (unsigned)n);
	}
	/* Half of them closed by hand, with data on the way; the rest by mr_close. */
	for (unsigned i = 0; i < PORTS; i += 2) {
		struct mr_endpoint to = self("127.0.0.1", ports[i]);

		peer_send(&p4, &to, "late", 4);
		if (i % 4)
			mr_read(r, &(struct mr_datagram){ 0 }, 1, 0);
		mr_port_close(r, ports[i]);
	}
	done();
}

/*
 * Ports of the two families are numbered apart: the kernel may give an IPv6 port a number that an
 * IPv4 one has. As local_port is all that tells them apart, it must not be given twice.
 */
static void test_port_numbers_differ(void **state)
{
	struct mr_reader *r = bind_any();
	uint16_t a = open_port(r, &p4.at), b;
	struct mr_datagram d;
	struct mr_endpoint to;

	(void)state;
	fake.next_port = a;
	b = open_port(r, &p6.at);
	assert_int_not_equal(a, b);
	for (unsigned i = 0; i < 2; i++) {
		to = i ? self("::1", b) : self("127.0.0.1", a);
		peer_send(i ? &p6 : &p4, &to, "x", 1);
		assert_int_equal(mr_read(r, &d, 1, PATIENCE_MS), 1);
		assert_int_equal(d.local_port, i ? b : a);
		mr_release(r, &d, 1);
	}
	mr_port_close(r, a);
	mr_port_close(r, b);
	done();
}

/* Nor may it be the transport's own number, when that serves the other family only. */
static void test_port_is_not_the_own(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint at = endpoint("127.0.0.1:0");
	struct sockaddr_storage sa;
	uint16_t port;

	(void)state;
	mr_endpoint_to_sockaddr(&at, &sa);
	o.address = (struct sockaddr *)&sa;
	assert_int_equal(bind_with(o, NULL), 0);
	fake.next_port = mr_port(t);
	port = open_port(mr_reader(t, 0), &p6.at);
	assert_int_not_equal(port, mr_port(t));
	done();
}

static void test_port_reuse(void **state)
{
	struct mr_reader *r = bind_any();
	struct mr_datagram d[8];
	uint16_t port = open_port(r, &p4.at);

	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		struct mr_endpoint to = self("127.0.0.1", port);
		uint16_t again;

		peer_send(&p4, &to, "old", 3);
		if (round % 3 == 1) {
			/* Known to be readable, not read. */
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
			peer_send(&p4, &to, "old", 3);
			to = self("127.0.0.1", mr_port(t));
			peer_send(&p4, &to, "own", 3);
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
		}
		mr_port_close(r, port);
		fake.next_port = port;
		again = open_port(r, &p4.at);
		assert_int_equal(again, port); /* free at once */
		/* What came to the old one is gone with it. */
		to = self("127.0.0.1", port);
		peer_send(&p4, &to, "newer", 5);
		do {
			assert_int_equal(mr_read(r, d, 1, PATIENCE_MS), 1);
			mr_release(r, d, 1);
		} while (d[0].local_port == mr_port(t));
		assert_int_equal(d[0].local_port, port);
		assert_int_equal(d[0].len, 5);
	}
	done();
}

/* Closing with a coalesced batch half handed out: the rest goes, what is held stays. */
static void test_port_close_half_taken(void **state)
{
	struct mr_reader *r = bind_any();
	uint16_t port = open_port(r, &p4.at);
	struct mr_endpoint to = self("127.0.0.1", port);
	struct mr_datagram d[8];
	uint8_t bytes[1000];

	(void)state;
	payload_fill(bytes, sizeof(bytes), 3);
	assert_int_equal(peer_send_segments(&p4, &to, bytes, sizeof(bytes), 100), 0);
	assert_int_equal(mr_read(r, d, 4, PATIENCE_MS), 4);
	mr_port_close(r, port);
	assert_int_equal(mr_read(r, &d[4], 4, 30), 0);
	expect_served(r, &p4, mr_port(t));
	for (unsigned i = 0; i < 4; i++)
		assert_memory_equal(d[i].data, bytes + 100 * i, 100);
	mr_release(r, d, 4);
	done();
}

static void test_port_open_fails(void **state)
{
	static const struct {
		enum call call;
		int error;
	} rows[] = { { CALL_SOCKET, EMFILE },
		     { CALL_SETSOCKOPT, ENOMEM },
		     { CALL_BIND, EADDRINUSE },
		     { CALL_GETSOCKNAME, ENOBUFS },
		     { CALL_EPOLL_CTL, ENOSPC } };
	struct mr_reader *r = bind_any();
	struct mr_endpoint nobody = { .family = 0 };
	unsigned fds = open_fds();

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		memset(fake.counts, 0, sizeof(fake.counts));
		fake.call = rows[i].call;
		fake.nth = 1;
		fake.error = rows[i].error;
		assert_int_equal(mr_port_open(r, &p4.at), -rows[i].error);
		fake.call = CALL_NONE;
		assert_int_equal(open_fds(), fds);
	}
	assert_true(mr_port_open(r, &nobody) < 0);
	assert_int_equal(open_fds(), fds);
	mr_port_close(r, open_port(r, &p4.at));
	assert_int_equal(open_fds(), fds);
	done();
}

/* ---------------------------------------------------------------- marks */

static void expect_marks(uint32_t mark)
{
	for (unsigned i = 0; i < mr_reader_count(t); i++) {
		struct mr_reader *r = mr_reader(t, i);

		assert_int_equal(fake.mark_of[r->s4.fd], mark);
		assert_int_equal(fake.mark_of[r->s6.fd], mark);
		for (unsigned port = 0; r->ports && port < 65536; port++)
			if (r->ports[port])
				assert_int_equal(fake.mark_of[r->ports[port]->fd], mark);
	}
	assert_int_equal(mr_fwmark(t), mark);
}

static void test_mark(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;

	(void)state;
	fake.fake_marks = true;
	o.fwmark = 0x1234;
	o.readers = 3;
	assert_int_equal(bind_with(o, NULL), 0);
	expect_marks(0x1234);
	open_port(mr_reader(t, 1), &p4.at);
	open_port(mr_reader(t, 2), &p6.at);
	expect_marks(0x1234);
	assert_int_equal(mr_set_fwmark(t, 0xffffffff), 0);
	expect_marks(0xffffffff);
	/* Kept for what is opened later (PEERS, defect 3). */
	open_port(mr_reader(t, 0), &p6.at);
	expect_marks(0xffffffff);
	assert_int_equal(mr_set_fwmark(t, 0), 0);
	expect_marks(0);
	open_port(mr_reader(t, 0), &p4.at);
	expect_marks(0);
	done();
}

/* All or nothing, whichever of the sockets refuses. */
static void test_mark_fails(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	unsigned n;

	(void)state;
	fake.fake_marks = true;
	o.fwmark = 5;
	o.readers = 2;
	assert_int_equal(bind_with(o, NULL), 0);
	open_port(mr_reader(t, 0), &p4.at);
	open_port(mr_reader(t, 1), &p6.at);
	for (n = 1; n < 20; n++) {
		int err;

		fake.marks = 0;
		fake.mark_fails = n;
		err = mr_set_fwmark(t, 9);
		fake.mark_fails = 0;
		if (!err)
			break;
		assert_int_equal(err, -EPERM);
		expect_marks(5);
	}
	assert_int_equal(n, 7); /* four sockets and two ports */
	expect_marks(9);
	/* At bind: no transport. */
	mr_close(t);
	for (n = 1; n <= 4; n++) {
		struct mr_diag diag;

		fake.marks = 0;
		fake.mark_fails = n;
		assert_int_equal(bind_with(o, &diag), -EPERM);
		assert_null(t);
		assert_non_null(strstr(diag.remedy, "CAP_NET_ADMIN"));
	}
	done();
}

/* As an ordinary user, the kernel itself refuses. Runs in a child; returns a line number or 0. */
static int unprivileged(void)
{
	struct mr_options o = MR_OPTIONS_INIT;
	struct mr_endpoint e = p4.at;
	struct mr_diag diag;

#define CHECK(what)                      \
	do {                             \
		if (!(what))             \
			return __LINE__; \
	} while (0)
	o.policy = MR_POLICY_SOCKET;
	o.fwmark = 5;
	CHECK(mr_bind(&o, &t, &diag) == -EPERM && !t && strstr(diag.remedy, "CAP_NET_ADMIN"));
	o.fwmark = 0;
	CHECK(mr_bind(&o, &t, &diag) == 0);
	CHECK(mr_set_fwmark(t, 7) == -EPERM);
	CHECK(mr_fwmark(t) == 0);
	CHECK(mr_send(mr_writer(t), "x", 1, &e) == 0);
	CHECK(mr_port_open(mr_reader(t, 0), &p4.at) > 0);
	mr_close(t);
	o.bind_device = "lo"; /* allowed to anybody */
	CHECK(mr_bind(&o, &t, &diag) == 0);
	mr_close(t);
	o.bind_device = NULL;
	o.port = 1;
	CHECK(mr_bind(&o, &t, &diag) == -EACCES && strstr(diag.remedy, "CAP_NET_BIND_SERVICE"));
	return 0;
#undef CHECK
}

static void test_unprivileged(void **state)
{
	pid_t child;
	int status;

	(void)state;
	if (access("/proc/sys/net/ipv4/ip_unprivileged_port_start", R_OK) < 0)
		SKIP("needs net.ipv4.ip_unprivileged_port_start");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (geteuid() == 0 &&
		    (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0))
			_exit(77);
		status = unprivileged();
		if (status)
			print_error("line %d\n", status);
		_exit(status ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		SKIP("cannot become an ordinary user");
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* With privilege, it is really there. */
static void test_mark_for_real(void **state)
{
	struct mr_options o = MR_OPTIONS_INIT;
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);
	uint16_t port;

	(void)state;
	o.fwmark = 0xabc;
	if (bind_with(o, NULL) == -EPERM)
		SKIP("needs CAP_NET_ADMIN or CAP_NET_RAW");
	assert_non_null(t);
	port = open_port(mr_reader(t, 0), &p6.at);
	assert_int_equal(mr_set_fwmark(t, 0xdef), 0);
	getsockopt(mr_reader(t, 0)->s4.fd, SOL_SOCKET, SO_MARK, &mark, &len);
	assert_int_equal(mark, 0xdef);
	getsockopt(mr_reader(t, 0)->s6.fd, SOL_SOCKET, SO_MARK, &mark, &len);
	assert_int_equal(mark, 0xdef);
	getsockopt(reader_port(mr_reader(t, 0), port)->fd, SOL_SOCKET, SO_MARK, &mark, &len);
	assert_int_equal(mark, 0xdef);
	done();
}

/* ---------------------------------------------------------------- counts */

static void test_stats(void **state)
{
	struct mr_reader *r = bind_any();
	uint64_t counts[REASON_COUNT + 5];
	struct mr_endpoint e = p4.at;
	char buf[8];

	(void)state;
	memset(counts, 0xa5, sizeof(counts));
	expect_served(r, &p4, mr_port(t));
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
	assert_int_equal(peer_recv(&p4, buf, 8, NULL, PATIENCE_MS), 1);
	e.port_be = 0;
	mr_send(mr_writer(t), "x", 1, &e);
	/* Larger arrays are cleared, smaller ones not overrun. */
	mr_stats(t, counts, REASON_COUNT + 4);
	assert_int_equal(counts[REASON_COUNT], 0);
	assert_int_equal(counts[REASON_COUNT + 3], 0);
	assert_true(counts[REASON_COUNT + 4] == 0xa5a5a5a5a5a5a5a5u);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		uint64_t expected = i == REASON_SOCK_DELIVERED ? 1
				    : i == REASON_TX_SOCKET    ? 2
				    : i == REASON_TX_INVALID   ? 1
							       : 0;

		assert_int_equal(counts[i], expected);
	}
	counts[3] = 99;
	mr_stats(t, counts, 3);
	assert_int_equal(counts[3], 99);
	done();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_port_any),
		TEST(test_port_given),
		TEST(test_port_in_use),
		TEST(test_port_any_retries),
		TEST(test_success_leaves_no_diag),
		TEST(test_family_lacking),
		TEST(test_address),
		TEST(test_bad_options),
		TEST(test_bind_device),
		TEST(test_ready_event),
		TEST(test_every_call_fails),
		TEST(test_read_timeouts),
		TEST(test_read_signal),
		TEST(test_zero_length),
		TEST(test_recv_truncates),
		TEST(test_nothing_ends_a_reader),
		TEST(test_every_buffer_held),
		TEST(test_reader_fd),
		TEST(test_reader_fd_half_taken),
		TEST(test_busy_family_starves_none),
		TEST(test_readers_share),
		TEST(test_readers_share_address),
		TEST(test_shutdown),
		TEST(test_write_errors),
		TEST(test_write_both_families),
		TEST(test_send_errors),
		TEST(test_writers_at_once),
		TEST(test_ports),
		TEST(test_many_ports),
		TEST(test_port_numbers_differ),
		TEST(test_port_is_not_the_own),
		TEST(test_port_reuse),
		TEST(test_port_close_half_taken),
		TEST(test_port_open_fails),
		TEST(test_mark),
		TEST(test_mark_fails),
		TEST(test_unprivileged),
		TEST(test_mark_for_real),
		TEST(test_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
