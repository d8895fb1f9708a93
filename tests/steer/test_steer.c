/* SPDX-License-Identifier: MIT */
/*
 * The steering program by BPF_PROG_TEST_RUN: every port, ethertype, protocol and header length,
 * the corpus, and random frames; its verdict must be wire.h's own, compiled for the host.
 *
 * Without an AF_XDP socket a steered frame ends as pass_no_socket: that counter says "would have
 * been redirected".
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "../support/frames.h"
#include "shared/steer.h"
#include "shared/wire.h"
#include "steer.skel.h"
#include "xdp/maps.h"

#define PORT 7000

static struct steer *skel;
static struct maps maps;

static void counters(uint64_t counts[STEER_REASON_COUNT])
{
	assert_int_equal(maps_counters(&maps, counts), 0);
}

/* Runs one frame; returns the reason whose counter went up, and checks that only one did. */
static enum reason steer(const void *frame, uint32_t len)
{
	uint64_t before[STEER_REASON_COUNT], after[STEER_REASON_COUNT];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = len);
	enum reason verdict = REASON_COUNT;

	counters(before);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.mr_steer), &run), 0);
	assert_int_equal(run.retval, 2 /* XDP_PASS */);
	counters(after);
	for (unsigned i = 0; i < STEER_REASON_COUNT; i++) {
		if (after[i] == before[i])
			continue;
		assert_int_equal(after[i], before[i] + 1);
		assert_int_equal(verdict, REASON_COUNT);
		verdict = i;
	}
	assert_int_not_equal(verdict, REASON_COUNT);
	return verdict == REASON_PASS_NO_SOCKET ? REASON_STEERED : verdict;
}

static void set_local(uint8_t family, const char *text, bool gone)
{
	union mr_address a = { 0 };

	assert_int_equal(inet_pton(family, text, &a), 1);
	assert_int_equal(maps_local(&maps, family, &a, gone), 0);
}

static int setup(void **state)
{
	uint32_t pid;

	(void)state;
	if (geteuid()) {
		printf("needs root to load a BPF program\n");
		exit(77);
	}
	skel = steer__open_and_load();
	if (!skel || maps_take(&maps, skel->obj))
		return -1;
	if (maps_own(&maps, STEER_OWNER_PORT, PORT, &pid))
		return -1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	maps_close(&maps);
	steer__destroy(skel);
	return 0;
}

/* Before any transport has configured it, everything passes. */
static void test_alone(void **state)
{
	struct frame f;

	(void)state;
	frame_ip4(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_DETACHED);
	frame_ip6(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_DETACHED);
}

static void configure(void)
{
	assert_int_equal(maps_configure(&maps, 1, frame_mac, 1514), 0);
	assert_int_equal(maps_claim(&maps, PORT, MR_FAMILY_IP4 | MR_FAMILY_IP6, NULL), 0);
	set_local(AF_INET, FRAME_TO4, false);
	set_local(AF_INET6, FRAME_TO6, false);
}

static void test_all_ports(void **state)
{
	(void)state;
	configure();
	for (unsigned version = 4; version <= 6; version += 2) {
		for (uint32_t port = 0; port < 65536; port++) {
			struct frame f;

			if (version == 4)
				frame_ip4(&f, 18);
			else
				frame_ip6(&f, 18);
			frame_set_port(&f, (uint16_t)port);
			assert_int_equal(steer(f.bytes, f.len),
					 port == PORT ? REASON_STEERED : REASON_PASS_PORT);
		}
	}
}

static void test_all_ethertypes(void **state)
{
	struct frame f;

	(void)state;
	for (uint32_t type = 0; type < 65536; type++) {
		frame_ip4(&f, 18);
		f.bytes[12] = (uint8_t)(type >> 8);
		f.bytes[13] = (uint8_t)type;
		assert_int_equal(steer(f.bytes, f.len), type == 0x0800	 ? REASON_STEERED
							: type == 0x86dd ? REASON_PASS_VERSION
									 : REASON_PASS_ETHERTYPE);
	}
}

static void test_all_protocols_and_header_lengths(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		frame_ip4(&f, 18);
		f.bytes[14 + 9] = (uint8_t)protocol;
		frame_finish(&f);
		assert_int_equal(steer(f.bytes, f.len),
				 protocol == 17 ? REASON_STEERED : REASON_PASS_PROTOCOL);
		frame_ip6(&f, 18);
		f.bytes[14 + 6] = (uint8_t)protocol;
		assert_int_equal(steer(f.bytes, f.len),
				 protocol == 17 ? REASON_STEERED : REASON_PASS_PROTOCOL);
	}
	for (unsigned byte = 0; byte < 256; byte++) {
		frame_ip4(&f, 40);
		f.bytes[14] = (uint8_t)byte;
		frame_finish(&f);
		assert_int_equal(steer(f.bytes, f.len), byte == 0x45	 ? REASON_STEERED
							: byte >> 4 == 4 ? REASON_PASS_OPTIONS
									 : REASON_PASS_VERSION);
	}
}

/* Each rule that is not the parser's, one frame that breaks just it. */
static void test_not_ours(void **state)
{
	struct mr_endpoint bound = { .family = AF_INET };
	struct frame f;

	(void)state;
	frame_ip4(&f, 18);
	f.bytes[0] ^= 2;
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_MAC);
	memset(f.bytes, 0xff, 6);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_MAC);

	frame_ip4(&f, 1472);
	assert_int_equal(steer(f.bytes, f.len), REASON_STEERED);
	frame_ip4(&f, 1473);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_TOO_LONG);

	frame_ip4(&f, 18);
	f.bytes[14 + 19] ^= 1; /* the last byte of the destination */
	frame_finish(&f);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_ADDRESS);
	frame_ip6(&f, 18);
	f.bytes[14 + 39] ^= 1;
	frame_finish(&f);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_ADDRESS);

	set_local(AF_INET, FRAME_FROM4, false);
	set_local(AF_INET6, FRAME_FROM6, false);
	frame_ip4(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_OWN_SOURCE);
	frame_ip6(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_OWN_SOURCE);
	set_local(AF_INET, FRAME_FROM4, true);
	set_local(AF_INET6, FRAME_FROM6, true);

	/* Claimed for one address: another local one passes. */
	inet_pton(AF_INET, FRAME_TO4, &bound.remote);
	assert_int_equal(maps_claim(&maps, PORT, MR_FAMILY_IP4, &bound), 0);
	frame_ip4(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_STEERED);
	inet_pton(AF_INET, "10.9.0.77", &bound.remote);
	assert_int_equal(maps_claim(&maps, PORT, MR_FAMILY_IP4, &bound), 0);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_ADDRESS);
	/* … and for IPv4 only. */
	frame_ip6(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_PORT);
	maps_unclaim(&maps, PORT);
	frame_ip4(&f, 18);
	assert_int_equal(steer(f.bytes, f.len), REASON_PASS_PORT);
	configure();
	assert_int_equal(steer(f.bytes, f.len), REASON_STEERED);
}

/*
 * The parser compiled for BPF and for the host must not differ in a single verdict. Returns the
 * steering program's, which may also be one of the reasons that come after parsing.
 */
static enum reason same_verdict(const struct frame *f)
{
	/* An exact copy, so that ASan sees a byte too many. */
	uint8_t *copy = malloc(f->len);
	enum reason native, verdict;
	struct wire_packet p;

	memcpy(copy, f->bytes, f->len);
	native = wire_parse(copy, copy + f->len, f->len, &p);
	free(copy);
	if (f->len < 14) { /* BPF_PROG_TEST_RUN wants a whole Ethernet header */
		assert_int_equal(native, REASON_PASS_SHORT);
		return native;
	}
	verdict = steer(f->bytes, f->len);
	if (native == REASON_STEERED)
		assert_true(verdict == REASON_STEERED || verdict >= REASON_PASS_DETACHED);
	else
		assert_int_equal(verdict, native);
	return verdict;
}

static void test_truncation(void **state)
{
	(void)state;
	for (uint32_t len = 0; len <= 80; len++) {
		struct frame f;

		frame_ip4(&f, 18);
		f.len = len < f.len ? len : f.len;
		same_verdict(&f);
		frame_ip6(&f, 18);
		f.len = len < f.len ? len : f.len;
		same_verdict(&f);
	}
}

static void test_random(void **state)
{
	uint64_t seed = 0x6d696c6cu;
	unsigned steered = 0;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		struct frame f;

		frame_mutate(&f, &seed);
		steered += same_verdict(&f) == REASON_STEERED;
	}
	/* Mutations that never, or always, hurt would prove nothing. */
	assert_in_range(steered, 1000, 90000);
}

/* Every steering reason has come up in this run: none is dead. */
static void test_every_reason(void **state)
{
	uint64_t counts[STEER_REASON_COUNT];

	(void)state;
	counters(counts);
	for (unsigned i = 0; i < STEER_REASON_COUNT; i++) {
		if (i == REASON_STEERED) /* needs an AF_XDP socket: the netns tests have one */
			continue;
		if (!counts[i])
			fail_msg("%s never happened", mr_reason_name(i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_all_ports),
		cmocka_unit_test(test_all_ethertypes),
		cmocka_unit_test(test_all_protocols_and_header_lengths),
		cmocka_unit_test(test_not_ours),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_every_reason),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
