/* SPDX-License-Identifier: MIT */
/*
 * What the steering program costs a packet, beside a bare port check and redirect, by
 * BPF_PROG_TEST_RUN: packets that are ours, and those that are not.
 *
 *	steer [--check]
 *
 * --check: exit 1 unless a steered packet of either family costs at most twice the bare check.
 * Packet and maps are hot: compare the figures with each other only.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "../support/frames.h"
#include "bench/steer_floor.skel.h"
#include "rounds.h"
#include "shared/reason.h"
#include "steer.skel.h"
#include "xdp/maps.h"

enum { REPEAT = 1000000, LOCALS = 200, PORT = 7000 };
#define WANTED 2.0
#define GOAL   1.6 /* for later */

static struct steer *whole;
static struct steer_floor *bare;
static struct maps maps;
static struct steer_config config = { .ifindex = 1, .max_frame = 1514 };

/* What is measured: a program on a frame. */
static struct run {
	const char *name;
	int program, action;
	enum reason reason; /* of the steering program's verdict; REASON_COUNT: another program */
	uint32_t flags;	    /* of the configuration, beside the families */
	struct frame frame;
	double ns[ROUNDS];
} runs[16];
static unsigned count;

static __attribute__((noreturn)) void die(const char *what, int error)
{
	fprintf(stderr, "steer: %s: %s\n", what, strerror(error));
	exit(1);
}

static struct run *add(const char *name, const struct bpf_program *program, int action,
		       enum reason reason, bool v6)
{
	struct run *r = &runs[count++];

	*r = (struct run){ .name = name, .program = bpf_program__fd(program) };
	r->action = action;
	r->reason = reason;
	if (v6)
		frame_ip6(&r->frame, 18);
	else
		frame_ip4(&r->frame, 18);
	return r;
}

static void add_pass(const char *name, enum reason reason, bool v6, uint32_t at, uint8_t byte)
{
	struct run *r = add(name, whole->progs.mr_steer, XDP_PASS, reason, v6);

	r->frame.bytes[at] = byte;
	if (at != 12)
		frame_finish(&r->frame);
}

enum { FLOOR4, WHOLE4, FLOOR6, WHOLE6, FRAGS4, FRAGS6, ASKED4 };

static void plan(void)
{
	struct run *asked;

	add("IPv4, bare port check", bare->progs.floor4, XDP_REDIRECT, REASON_COUNT, false);
	add("IPv4, steered", whole->progs.mr_steer, XDP_REDIRECT, REASON_STEERED, false);
	add("IPv6, bare port check", bare->progs.floor6, XDP_REDIRECT, REASON_COUNT, true);
	add("IPv6, steered", whole->progs.mr_steer, XDP_REDIRECT, REASON_STEERED, true);
	add("IPv4, steered, frags", whole->progs.mr_steer_frags, XDP_REDIRECT, REASON_STEERED,
	    false);
	add("IPv6, steered, frags", whole->progs.mr_steer_frags, XDP_REDIRECT, REASON_STEERED,
	    true);
	asked = add("IPv4, steered, rp_filter on", whole->progs.mr_steer, XDP_REDIRECT,
		    REASON_STEERED, false);
	asked->flags = STEER_ASK_SOURCES4;
	add_pass("IPv4, port not claimed", REASON_PASS_PORT, false, 36, 0);
	add_pass("IPv6, port not claimed", REASON_PASS_PORT, true, 56, 0);
	add_pass("IPv4, TCP", REASON_PASS_PROTOCOL, false, 14 + 9, 6);
	add_pass("IPv6, TCP", REASON_PASS_PROTOCOL, true, 14 + 6, 6);
	add_pass("neither (ARP, VLAN)", REASON_PASS_ETHERTYPE, false, 12, 0x09);
	add("a program that does nothing", bare->progs.nothing, XDP_PASS, REASON_COUNT, false);
}

/* As a busy gateway has it: two hundred addresses of each family, one port, a socket. */
static void configure(void)
{
	union mr_address a;
	uint32_t key = 0;
	int err, xsk;

	memcpy(config.mac, frame_mac, sizeof(config.mac));
	inet_pton(AF_INET, FRAME_FROM4, &a);
	if (maps_take(&maps, whole->obj) || maps_accept(&maps, a.v4, 0, config.generation) ||
	    maps_claim(&maps, PORT, MR_FAMILY_IP4 | MR_FAMILY_IP6, NULL))
		die("configure", EINVAL);
	for (unsigned i = 0; i < LOCALS; i++) {
		inet_pton(AF_INET, FRAME_TO4, &a);
		a.v4.s_addr = htonl(ntohl(a.v4.s_addr) + i);
		err = maps_local(&maps, AF_INET, &a, 32, MAPS_OURS);
		inet_pton(AF_INET6, FRAME_TO6, &a);
		a.v6.s6_addr[14] = (uint8_t)i;
		if (err || maps_local(&maps, AF_INET6, &a, 128, MAPS_OURS))
			die("add an address", EINVAL);
	}
	/* A redirect needs a socket in the slot; it may be one that is bound to no queue. */
	xsk = socket(AF_XDP, SOCK_RAW, 0);
	if (xsk < 0 || bpf_map_update_elem(maps.xsks, &key, &xsk, BPF_ANY) ||
	    bpf_map_update_elem(bpf_map__fd(bare->maps.xsks), &key, &xsk, BPF_ANY))
		die("AF_XDP socket", errno);
}

static void turn(struct run *r, unsigned round)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = r->frame.bytes, .repeat = REPEAT,
		    .data_size_in = r->frame.len);
	uint64_t before[STEER_REASON_COUNT], after[STEER_REASON_COUNT];
	double start;
	int err;

	config.flags = STEER_IP4 | STEER_IP6 | r->flags;
	if (maps_configure(&maps, &config) || maps_counters(&maps, before))
		die("configure", EINVAL);
	start = rounds_clock_ns();
	err = bpf_prog_test_run_opts(r->program, &opts);
	r->ns[round] = (rounds_clock_ns() - start) / REPEAT;
	if (err)
		die(r->name, -err);
	maps_counters(&maps, after);
	if ((int)opts.retval != r->action ||
	    (r->reason < STEER_REASON_COUNT && after[r->reason] - before[r->reason] != REPEAT)) {
		fprintf(stderr, "steer: %s: not what was to be measured\n", r->name);
		exit(1);
	}
}

static bool judge(const char *family, const struct run *bare_run, const struct run *whole_run)
{
	double ratio = rounds_ratio(whole_run->ns, bare_run->ns);

	printf("%s, steered / bare: %.2f   wanted: <= %.1f: %s; the goal, <= %.1f: %s\n", family,
	       ratio, WANTED, ratio <= WANTED ? "yes" : "NO", GOAL, ratio <= GOAL ? "yes" : "no");
	return ratio <= WANTED;
}

int main(int argc, char **argv)
{
	bool check = argc == 2 && !strcmp(argv[1], "--check"), good;

	if (argc > 1 && !check) {
		fputs("usage: steer [--check]\n", stderr);
		return 2;
	}
	if (geteuid()) {
		puts("needs root to load a BPF program");
		return 77;
	}
	whole = steer__open_and_load();
	bare = steer_floor__open_and_load();
	if (!whole || !bare)
		die("load the programs", errno);
	configure();
	plan();
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned i = 0; i < count; i++)
			turn(&runs[i], round);
	rounds_title("steering, ns a packet");
	for (unsigned i = 0; i < count; i++)
		rounds_print(runs[i].name, runs[i].ns);
	good = judge("IPv4", &runs[FLOOR4], &runs[WHOLE4]);
	good &= judge("IPv6", &runs[FLOOR6], &runs[WHOLE6]);
	good &= judge("IPv4, frags", &runs[FLOOR4], &runs[FRAGS4]);
	good &= judge("IPv6, frags", &runs[FLOOR6], &runs[FRAGS6]);
	good &= judge("IPv4, rp_filter", &runs[FLOOR4], &runs[ASKED4]);
	maps_close(&maps);
	steer_floor__destroy(bare);
	steer__destroy(whole);
	return check && !good;
}
