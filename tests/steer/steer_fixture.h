/* SPDX-License-Identifier: MIT */
/*
 * The steering program by BPF_PROG_TEST_RUN, in the configuration that tests/corpus/wire is written
 * for, and a model of what it has to say then.
 *
 * The interface is lo, as BPF_PROG_TEST_RUN has it. An AF_XDP socket that is bound to nothing fills
 * the slot of its queue: steered frames are counted as such, and nobody redirects them.
 */
#ifndef STEER_FIXTURE_H
#define STEER_FIXTURE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "../support/frames.h"
#include "shared/wire.h"
#include "steer.skel.h"
#include "xdp/maps.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define PORT	   7000 /* claimed at every address, over both */
#define PORT_ONE4  7001 /* at ONE4 alone */
#define PORT_ONE6  7002
#define PORT_IP4   7003 /* over IPv4 only */
#define ONE4	   "198.51.100.7"
#define ONE6	   "2001:db8:100::7"
#define MAX_FRAME  1514
#define GENERATION 5

static const struct local {
	uint8_t family;
	const char *text;
	unsigned bits;
	enum maps_whose whose;
} locals[] = {
	{ AF_INET, FRAME_TO4, 32, MAPS_OURS },
	{ AF_INET, "198.51.100.0", 24, MAPS_OURS },
	{ AF_INET, "198.51.100.128", 28, MAPS_HOLE },
	{ AF_INET, "198.51.100.132", 30, MAPS_OURS },
	{ AF_INET, "198.51.100.255", 32, MAPS_HOLE },
	{ AF_INET6, FRAME_TO6, 128, MAPS_OURS },
	{ AF_INET6, "2001:db8:100::", 64, MAPS_OURS },
	{ AF_INET6, "2001:db8:100:0:dead::", 80, MAPS_HOLE },
	{ AF_INET6, "2001:db8:100:0:dead:beef::", 128, MAPS_OURS },
	/* Of the address of PORT_ONE6 they differ in one word. */
	{ AF_INET6, "2001:db9:100::7", 128, MAPS_OURS },
	{ AF_INET6, "2001:db8:101::7", 128, MAPS_OURS },
};

static struct steer *skel;
static struct maps maps;
static int xsk = -1;
static uint64_t counted[STEER_REASON_COUNT]; /* before the next frame */
static uint64_t frame_seed;		     /* of the random frame at hand; 0: it is none */

static inline union mr_address address_of(uint8_t family, const char *text)
{
	union mr_address a = { 0 };

	assert_int_equal(inet_pton(family, text, &a), 1);
	return a;
}

/* ---------------------------------------------------------------- one frame */

/* All counters in one system call: there is one look for each frame. */
static inline void read_counters(uint64_t counts[STEER_REASON_COUNT])
{
	static uint64_t values[STEER_REASON_COUNT * 1024]; /* per possible CPU */
	uint32_t keys[STEER_REASON_COUNT], next, n = STEER_REASON_COUNT;
	int cpus = libbpf_num_possible_cpus();

	assert_in_range(cpus, 1, 1024);
	if (bpf_map_lookup_batch(maps.counters, NULL, &next, keys, values, &n, NULL) &&
	    errno != ENOENT) /* which says that there are no more */
		fail_msg("bpf_map_lookup_batch: %s", strerror(errno));
	assert_int_equal(n, STEER_REASON_COUNT);
	memset(counts, 0, sizeof(counted));
	for (uint32_t i = 0; i < n; i++)
		for (int cpu = 0; cpu < cpus; cpu++)
			counts[keys[i]] += values[i * (uint32_t)cpus + (uint32_t)cpu];
}

/* The reason whose counter went up by one; no other may have changed. */
static inline enum reason what_counted(void)
{
	uint64_t now[STEER_REASON_COUNT];
	enum reason verdict = REASON_COUNT;

	read_counters(now);
	for (unsigned i = 0; i < STEER_REASON_COUNT; i++) {
		if (now[i] == counted[i])
			continue;
		if (now[i] != counted[i] + 1 || verdict != REASON_COUNT)
			fail_msg("%s went from %lu to %lu; another: %s", mr_reason_name(i),
				 counted[i], now[i],
				 verdict == REASON_COUNT ? "no" : mr_reason_name(verdict));
		verdict = i;
	}
	if (verdict == REASON_COUNT)
		fail_msg("nothing was counted");
	memcpy(counted, now, sizeof(now));
	return verdict;
}

/* Runs one frame through a program: its verdict, which has to fit what it says to the driver. */
static inline enum reason run_program(struct bpf_program *program, const void *frame, uint32_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = len);
	int err = bpf_prog_test_run_opts(bpf_program__fd(program), &run);
	enum reason verdict;

	if (err)
		fail_msg("BPF_PROG_TEST_RUN of %u bytes: %s", len, strerror(-err));
	verdict = what_counted();
	assert_int_equal(run.retval, verdict == REASON_STEERED ? 4 /* XDP_REDIRECT */
							       : 2 /* XDP_PASS */);
	return verdict;
}

static inline enum reason steer(const struct frame *f)
{
	return run_program(skel->progs.mr_steer, f->bytes, f->len);
}

/* ---------------------------------------------------------------- the configuration */

static inline void configure(uint32_t flags)
{
	struct steer_config config = {
		.ifindex = 1, .max_frame = MAX_FRAME, .flags = flags, .generation = GENERATION
	};

	memcpy(config.mac, frame_mac, sizeof(config.mac));
	assert_int_equal(maps_configure(&maps, &config), 0);
}

static inline void set_local(uint8_t family, const char *text, unsigned bits, enum maps_whose whose)
{
	union mr_address a = address_of(family, text);

	assert_int_equal(maps_local(&maps, family, &a, bits, whose), 0);
}

static inline void claim_one(uint16_t port, uint8_t family, const char *text)
{
	struct mr_endpoint one = { .family = family, .remote = address_of(family, text) };

	assert_int_equal(maps_claim(&maps, port, family == AF_INET ? STEER_IP4 : STEER_IP6, &one),
			 0);
}

#define STANDARD (STEER_IP4 | STEER_IP6 | STEER_PREFIXES4 | STEER_PREFIXES6)

static inline void configure_standard(void)
{
	configure(STANDARD);
	for (size_t i = 0; i < COUNT(locals); i++)
		set_local(locals[i].family, locals[i].text, locals[i].bits, locals[i].whose);
	assert_int_equal(maps_claim(&maps, PORT, STEER_IP4 | STEER_IP6, NULL), 0);
	assert_int_equal(maps_claim(&maps, PORT_IP4, STEER_IP4, NULL), 0);
	claim_one(PORT_ONE4, AF_INET, ONE4);
	claim_one(PORT_ONE6, AF_INET6, ONE6);
}

static inline void set_socket(bool there)
{
	uint32_t queue = 0;

	if (there)
		assert_int_equal(bpf_map_update_elem(maps.xsks, &queue, &xsk, BPF_ANY), 0);
	else
		assert_int_equal(bpf_map_delete_elem(maps.xsks, &queue), 0);
}

/* Loaded and nothing more. */
static inline int load(void **state)
{
	(void)state;
	if (geteuid()) {
		printf("needs root to load a BPF program\n");
		exit(77);
	}
	skel = steer__open_and_load();
	if (!skel || maps_take(&maps, skel->obj))
		return -1;
	xsk = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (xsk < 0)
		return -1;
	read_counters(counted);
	return 0;
}

static inline int load_standard(void **state)
{
	if (load(state))
		return -1;
	configure_standard();
	set_socket(true);
	return 0;
}

static inline int unload(void **state)
{
	(void)state;
	close(xsk);
	maps_close(&maps);
	steer__destroy(skel);
	return 0;
}

/* ---------------------------------------------------------------- the model */

static inline bool within(const uint8_t *address, const union mr_address *prefix, unsigned bits)
{
	for (unsigned bit = 0; bit < bits; bit++)
		if ((address[bit / 8] ^ prefix->bytes[bit / 8]) & 0x80 >> bit % 8)
			return false;
	return true;
}

/* The longest row that covers it; NULL: none. */
static inline const struct local *model_row(uint8_t family, const uint8_t *address)
{
	static union mr_address parsed[COUNT(locals)];
	const struct local *best = NULL;

	for (size_t i = 0; i < COUNT(locals); i++) {
		if (!parsed[i].bytes[0])
			parsed[i] = address_of(locals[i].family, locals[i].text);
		if (locals[i].family == family && within(address, &parsed[i], locals[i].bits) &&
		    (!best || best->bits < locals[i].bits))
			best = &locals[i];
	}
	return best;
}

/* What is to be said, in the standard configuration, of a frame that is well-formed. */
static inline enum reason model_ours(const struct frame *f)
{
	bool ip6 = frame_is6(f);
	uint8_t family = ip6 ? AF_INET6 : AF_INET;
	const uint8_t *from = f->bytes + (ip6 ? 22 : 26), *to = f->bytes + (ip6 ? 38 : 30);
	const uint8_t *udp = f->bytes + frame_udp(f);
	unsigned port = udp[2] * 256u + udp[3];
	union mr_address one = address_of(family, ip6 ? ONE6 : ONE4);
	const struct local *row = model_row(family, to);

	if (port != PORT && port != (ip6 ? PORT_ONE6 : PORT_ONE4) && (ip6 || port != PORT_IP4))
		return REASON_PASS_PORT;
	if (memcmp(f->bytes, frame_mac, 6) != 0)
		return REASON_PASS_MAC;
	if (f->len > MAX_FRAME)
		return REASON_PASS_TOO_LONG;
	if ((port == PORT_ONE4 || port == PORT_ONE6) && !within(to, &one, ip6 ? 128 : 32))
		return REASON_PASS_ADDRESS;
	if (!row || row->whose != MAPS_OURS)
		return REASON_PASS_ADDRESS;
	return model_row(family, from) ? REASON_PASS_OWN_SOURCE : REASON_STEERED;
}

/* The parser, compiled for this machine, over an exact copy, so that ASan sees a byte too many. */
static inline enum reason native_parse(const void *bytes, size_t readable, uint32_t len)
{
	uint8_t *copy = malloc(readable);
	struct wire_packet p;
	enum reason verdict;

	if (readable)
		memcpy(copy, bytes, readable);
	verdict = wire_parse(copy, copy + readable, len, &p);
	free(copy);
	return verdict;
}

/* As a file of tests/corpus/wire. */
static inline void print_frame(const char *expected, const void *bytes, size_t len)
{
	if (frame_seed)
		print_error("SEED=0x%lx begins with this frame:\n", frame_seed);
	print_error("%s\n# SPDX-License-Identifier: MIT", expected);
	for (size_t i = 0; i < len; i++)
		print_error("%s%02x", i % 16 ? " " : "\n", ((const uint8_t *)bytes)[i]);
	print_error("\n");
}

/*
 * The program must say of a frame what the parser compiled for this machine and the model say.
 * Returns it. BPF_PROG_TEST_RUN wants a whole Ethernet header: shorter ones only the parser sees.
 */
static inline enum reason same_verdict(const struct frame *f)
{
	enum reason native = native_parse(f->bytes, f->len, f->len), verdict = native;

	if (native == REASON_STEERED)
		native = model_ours(f);
	if (f->len >= 14)
		verdict = steer(f);
	if (f->len < 14 && native != REASON_PASS_SHORT)
		fail_msg("%s of %u bytes", mr_reason_name(native), f->len);
	if (verdict != native) {
		print_frame(mr_reason_name(native), f->bytes, f->len);
		fail_msg("the program says %s", mr_reason_name(verdict));
	}
	return verdict;
}

#endif
