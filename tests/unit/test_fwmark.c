/* SPDX-License-Identifier: MIT */
/* Marks on every socket of a transport, all or none; and what an ordinary user may not do. */
#include "transport_fixture.h"

#include <sys/wait.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mark),
		TEST(test_mark_fails),
		TEST(test_unprivileged),
		TEST(test_mark_for_real),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
