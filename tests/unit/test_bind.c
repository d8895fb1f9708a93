/* SPDX-License-Identifier: MIT */
/*
 * mr_bind over sockets: the port and its number by both families, addresses, devices, options that
 * are refused, and each system call failing once.
 */
#include "transport_fixture.h"

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

static const char *const call_names[] = { "nothing",
#define CALL_NAME(symbol, name) #name,
					  CALLS(CALL_NAME)
#undef CALL_NAME
};

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

int main(void)
{
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
