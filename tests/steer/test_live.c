/* SPDX-License-Identifier: MIT */
/*
 * Reasons that no single frame produces: a transport on a veth, in a namespace of its own, and
 * frames written to the other end.
 *
 *	pb ---------------- va  10.9.0.2, mr_bind
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/frames.h"
#include "millrace.h"
#include "shared/reason.h"

#define PORT 7000
/* More than all rings and frames of a reader hold. */
#define FLOOD 20000u

static struct mr_transport *transport;
static struct mr_inspection before, after;
static char tagger[PATH_MAX]; /* the object that gives a VLAN tag to what leaves pb */
static unsigned full;	      /* so many losses are told of a full ring, beside the true ones */

int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int ret = __real_getsockopt(fd, level, name, value, len);

	if (!ret && level == SOL_XDP && name == XDP_STATISTICS)
		((struct xdp_statistics *)value)->rx_ring_full += full;
	return ret;
}

static void __attribute__((format(printf, 1, 2))) run(const char *format, ...)
{
	char command[PATH_MAX + 256];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

static int packet_socket(void)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_ifindex = (int)if_nametoindex("pb") };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void send_frames(unsigned count)
{
	int fd = packet_socket();
	struct frame f;

	frame_ip4(&f, 18);
	for (unsigned i = 0; i < count; i++) {
		while (send(fd, f.bytes, f.len, 0) < 0)
			assert_int_equal(errno, ENOBUFS);
	}
	close(fd);
}

static void inspect(struct mr_inspection *i)
{
	assert_int_equal(mr_inspect("va", i, NULL), 0);
	assert_int_equal(i->kind, MR_PROGRAM_OURS);
	if (full)
		return;
	/* The ledger: what was steered is somewhere. */
	assert_int_equal(i->counts[REASON_STEERED],
			 i->counts[REASON_XDP_DELIVERED] + i->counts[REASON_XDP_BAD_SUM] +
				 i->counts[REASON_XDP_MALFORMED] + i->counts[REASON_XDP_RING_FULL] +
				 i->counts[REASON_XDP_NO_FRAME] + i->unread);
}

/* A counter has to grow by just so much, soon: those of the kernel are read once a second. */
static void assert_growth(enum reason reason, uint64_t expected)
{
	uint64_t grown = 0;

	for (int tries = 0; tries < 100; tries++) {
		inspect(&after);
		grown = after.counts[reason] - before.counts[reason];
		mr_inspection_free(&after);
		if (grown == expected)
			return;
		usleep(50000);
	}
	fail_msg("%s: %lu, not %lu", mr_reason_name(reason), grown, expected);
}

static int enter(void **state)
{
	(void)state;
	if (geteuid() || unshare(CLONE_NEWNET)) {
		printf("needs root to make a network namespace\n");
		exit(77);
	}
	run("ip link add va address 02:00:00:00:00:02 type veth peer name pb");
	run("ip address add 10.9.0.2/24 dev va");
	run("ip link set lo up; ip link set va up; ip link set pb up");
	return 0;
}

static int serve(void **state)
{
	const char *const devices[] = { "va" };
	struct mr_options options = MR_OPTIONS_INIT;
	struct mr_diag diag = { 0 };

	(void)state;
	options.port = PORT;
	options.policy = MR_POLICY_XDP;
	options.devices = devices;
	options.device_count = 1;
	if (mr_bind(&options, &transport, &diag)) {
		print_error("%s: %s: %s\n", diag.step, diag.object, strerror(-diag.error));
		return -1;
	}
	/* Until its reader has filled the queue's slot, datagrams arrive by the socket. */
	for (int tries = 0; tries < 100; tries++) {
		struct mr_datagram d = { .path = MR_PATH_SOCKET };
		int n;

		send_frames(1);
		n = mr_read(mr_reader(transport, 0), &d, 1, 50);
		mr_release(mr_reader(transport, 0), &d, n > 0 ? (unsigned)n : 0);
		if (n == 1 && d.path == MR_PATH_XDP) {
			inspect(&before);
			return 0;
		}
	}
	print_error("nothing arrives by AF_XDP\n");
	return -1;
}

static int stop(void **state)
{
	(void)state;
	mr_inspection_free(&before);
	mr_close(transport);
	return 0;
}

static unsigned drain(void)
{
	struct mr_datagram d[64];
	unsigned all = 0;
	int n;

	while ((n = mr_read(mr_reader(transport, 0), d, 64, 200)) > 0) {
		all += (unsigned)n;
		mr_release(mr_reader(transport, 0), d, (unsigned)n);
	}
	return all;
}

static void test_delivered(void **state)
{
	(void)state;
	send_frames(100);
	assert_int_equal(drain(), 100);
	assert_growth(REASON_STEERED, 100);
	assert_growth(REASON_XDP_DELIVERED, 100);
}

/* A tag that is kept beside the frame: seen where the kernel tells the program of it. */
static void test_vlan(void **state)
{
	(void)state;
	if (strcmp(before.program_name, "mr_steer_bound") != 0 ||
	    system("tc qdisc add dev pb clsact 2>/dev/null") != 0) {
		print_message("# skipped: no VLAN tags to be had of this kernel\n");
		skip();
	}
	run("tc filter add dev pb egress prio 1 handle 1 bpf direct-action obj %s sec vid5",
	    tagger);
	send_frames(7);
	assert_growth(REASON_PASS_VLAN, 7);
	/* VLAN 0 is a priority only: so the kernel says, and delivers it by the socket. */
	run("tc filter replace dev pb egress prio 1 handle 1 bpf direct-action obj %s sec vid0",
	    tagger);
	send_frames(7);
	assert_int_equal(drain(), 7);
	assert_growth(REASON_PASS_VLAN, 14);
	assert_growth(REASON_XDP_DELIVERED, 0);
	run("tc qdisc del dev pb clsact");
}

/* Nobody reads: the ring holds what it can, and the rest is lost and counted. */
static void test_not_read(void **state)
{
	unsigned read;

	(void)state;
	send_frames(FLOOD);
	read = drain();
	assert_in_range(read, 1, FLOOD - 1);
	assert_growth(REASON_XDP_NO_FRAME, FLOOD - read);
	/* And it goes on. */
	send_frames(100);
	assert_int_equal(drain(), 100);
}

/*
 * The ring has an entry for each frame that the queue may hold, so the kernel never finds it full:
 * the test says so in its place.
 */
static void test_ring_full(void **state)
{
	uint64_t counts[REASON_COUNT];

	(void)state;
	full = 5;
	assert_growth(REASON_XDP_RING_FULL, 5);
	mr_stats(transport, counts, REASON_COUNT);
	assert_int_equal(counts[REASON_XDP_RING_FULL], 5);
	full = 0;
}

/* The caller keeps every frame: none is left for the kernel to fill. */
static void test_no_frame(void **state)
{
	static struct mr_datagram held[FLOOD + 64];
	unsigned count = 0;
	int n;

	(void)state;
	for (unsigned sent = 0; sent < FLOOD; sent += 500) {
		send_frames(500);
		while ((n = mr_read(mr_reader(transport, 0), held + count, 64, 20)) > 0)
			count += (unsigned)n;
	}
	assert_in_range(count, 1, FLOOD - 1);
	assert_growth(REASON_XDP_NO_FRAME, FLOOD - count);
	mr_release(mr_reader(transport, 0), held, count);
	drain();
	send_frames(100);
	assert_int_equal(drain(), 100);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_delivered, serve, stop),
		cmocka_unit_test_setup_teardown(test_vlan, serve, stop),
		cmocka_unit_test_setup_teardown(test_not_read, serve, stop),
		cmocka_unit_test_setup_teardown(test_ring_full, serve, stop),
		cmocka_unit_test_setup_teardown(test_no_frame, serve, stop),
	};

	(void)argc;
	snprintf(tagger, sizeof(tagger), "%s/../support/vlantag.bpf.o", dirname(argv[0]));
	return cmocka_run_group_tests(tests, enter, NULL);
}
