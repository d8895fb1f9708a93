/* SPDX-License-Identifier: MIT */
/* Configurations in a fixed order, each with a fresh pair of receivers, and the counters. */
#include "differential.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "xdp/maps.h"

#define FRAMES_DEFAULT 200000u
#define SEED_DEFAULT   1u

struct configuration {
	const char *name;
	unsigned share; /* of all frames, in per cent */
	enum mr_policy policy;
	enum mr_xdp_mode mode;
	unsigned devices;    /* 1u << n */
	const char *address; /* bound to this one */
	unsigned markers;    /* their IP version: 6 if not said, which rp_filter does not know */
	const char *rp_filter;
	uint32_t mtu;
	bool walk, tags;
	void (*before)(void); /* a step of the operator */
	void (*midway)(void);
	void (*after)(void);
};

static char build[256];
static uint64_t frames_wanted = FRAMES_DEFAULT, seed = SEED_DEFAULT;
static uint64_t totals[REASON_COUNT], deviations[DEVIATIONS];
static unsigned checks, failures;

void fatal(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fflush(stdout);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

__attribute__((format(printf, 2, 3))) static void check(bool ok, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("%sok %u - ", ok ? "" : "not ", ++checks);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	failures += !ok;
}

/* ---------------------------------------------------------------- steps of the operator */

static bool attach_object(const char *object)
{
	char command[400];

	snprintf(command, sizeof(command), "link set d0 xdpdrv obj %s/%s sec xdp\n", build, object);
	return world_ip(FAST, command);
}

static void attach_ours(void)
{
	if (!attach_object("bpf/steer.bpf.o"))
		fatal("the operator cannot attach the steering program");
}

static void detach_ours(void)
{
	if (!world_ip(FAST, "link set d0 xdp off\n"))
		fatal("the operator cannot detach the steering program");
}

/* The same to both. */
static void operate(const char *commands)
{
	if (!world_ip(KERNEL, commands) || !world_ip(FAST, commands))
		fatal("cannot do: %s", commands);
}

/* Prefixes that are local as a whole, with holes; the kernel now validates sources in full. */
static void any_ip(void)
{
	operate("route add local 203.0.113.0/24 dev lo\n"
		"route add table local blackhole 203.0.113.66\n"
		"route add table local broadcast 203.0.113.255 dev d0\n"
		"route add local 203.0.113.128/25 dev d1\n"
		"route add 203.0.113.200 via 10.9.0.1 dev d0\n"
		"route add local 2001:db8:aa::/48 dev lo\n"
		"route add table local unreachable 2001:db8:aa::66\n"
		"route add table local anycast 2001:db8:aa::67 dev lo\n"
		"route add 2001:db8:aa:1::/64 via fd09::1 dev d0\n");
}

/* One behind the table `local`, which it leaves the first. */
static void add_rules(void)
{
	operate("route add blackhole default table 77\n"
		"rule add pref 100 from 10.9.0.77 lookup 77\n"
		"route add blackhole default table 78\n"
		"rule add pref 101 from 198.18.0.5 lookup 78\n");
}

/* IPv4: a rule before the table `local`. IPv6: none on d1. Neither is to be steered there. */
static void lose_families(void)
{
	operate("rule add pref 10 lookup local\n"
		"rule add pref 5 from 10.9.0.77 lookup 77\n"
		"rule del pref 0\n");
	world_sysctl(KERNEL, "ipv6/conf/d1/disable_ipv6", "1");
	world_sysctl(FAST, "ipv6/conf/d1/disable_ipv6", "1");
}

/*
 * Turns coalescing on; and waits until the kernel has given up the fragments that it took without
 * rp_filter: the rest of a datagram would make it one of a source that it has accepted.
 */
static void begin_strict(void)
{
	world_coalesce();
	usleep(1200000);
}

static void push_tags(void)
{
	char object[400];

	snprintf(object, sizeof(object), "%s/tests/differential/tag.bpf.o", build);
	world_tags(object);
}

/* Takes the AF_XDP sockets away under a transport that serves. */
static void empty_slots(void)
{
	for (unsigned d = 0; d < DEVICES; d++) {
		struct mr_inspection in;
		struct maps maps;
		uint32_t abi;
		char name[8];

		snprintf(name, sizeof(name), "d%u", d);
		world_enter(FAST);
		if (mr_inspect(name, &in, NULL) || in.kind != MR_PROGRAM_OURS)
			continue;
		if (maps_open(&maps, in.program_id, &abi))
			fatal("open the maps of %s", name);
		for (uint32_t queue = 0; queue < STEER_QUEUES; queue++)
			bpf_map_delete_elem(maps.xsks, &queue);
		maps_close(&maps);
		mr_inspection_free(&in);
	}
}

#define D0    (1u << 0)
#define D1    (1u << 1)
#define D2    (1u << 2)
#define XDP   .policy = MR_POLICY_XDP
#define PLAIN .devices = D0 | D1, .mtu = 1500, .rp_filter = "0"

/*
 * What an operator's step changes stays for those that follow; so generic mode, in which there is
 * no GRO, comes before it is turned on.
 */
static const struct configuration configurations[] = {
	{ "program alone", 1, .policy = MR_POLICY_SOCKET, .devices = D0, .mtu = 1500,
	  .rp_filter = "0", .before = attach_ours },
	{ "adopted", 4, XDP, .devices = D0, .mtu = 1500, .rp_filter = "0", .after = detach_ours },
	{ "native", 30, XDP, PLAIN, .walk = true },
	{ "one IPv4 address", 5, XDP, PLAIN, .address = "10.9.0.2", .markers = 4 },
	{ "one IPv6 address", 5, XDP, PLAIN, .address = "fd09::2" },
	{ "tags beside", 1, XDP, PLAIN, .tags = true, .before = push_tags },
	{ "generic", 9, XDP, PLAIN, .mode = MR_XDP_MODE_GENERIC, .walk = true, .tags = true },
	{ "local prefixes", 11, XDP, PLAIN, .before = any_ip },
	{ "rp_filter strict", 9, XDP, .devices = D0 | D1, .mtu = 1500, .rp_filter = "1",
	  .before = begin_strict },
	{ "rp_filter loose", 6, XDP, .devices = D0 | D1, .mtu = 1500, .rp_filter = "2" },
	{ "jumbo", 6, XDP, .devices = D0 | D1, .mtu = MTU_JUMBO, .rp_filter = "0" },
	{ "two queues", 7, XDP, .devices = D2, .mtu = 1500, .rp_filter = "0" },
	{ "no AF_XDP socket", 1, XDP, PLAIN, .midway = empty_slots },
	{ "policy rules", 3, XDP, PLAIN, .before = add_rules },
	{ "families left", 2, XDP, PLAIN, .before = lose_families, .markers = 4 },
};

/* ---------------------------------------------------------------- a transport */

static const char *const names[DEVICES] = { "d0", "d1", "d2" };

static void say(void *arg, enum mr_log_level level, const char *line)
{
	(void)arg;
	if (level <= MR_LOG_WARN)
		printf("# %s\n", line);
}

static bool all_raised(struct mr_transport *t, unsigned devices)
{
	struct mr_path_info info[8];
	unsigned n = mr_paths(t, info, 8), raised = 0;

	for (unsigned i = 0; i < n && i < 8; i++)
		raised += info[i].path == MR_PATH_XDP;
	return raised == (unsigned)__builtin_popcount(devices);
}

static struct sockaddr *parse_address(const char *text, struct sockaddr_storage *sa)
{
	struct mr_endpoint e;
	char with_port[64];

	if (!text)
		return NULL;
	snprintf(with_port, sizeof(with_port), strchr(text, ':') ? "[%s]:0" : "%s:0", text);
	if (mr_endpoint_parse(&e, with_port))
		fatal("not an address: %s", text);
	mr_endpoint_to_sockaddr(&e, sa);
	return (struct sockaddr *)sa;
}

static struct mr_transport *open_transport(const struct configuration *c,
					   const struct sockaddr *address)
{
	struct mr_options options = MR_OPTIONS_INIT;
	const char *devices[DEVICES];
	struct mr_transport *t;
	struct mr_diag diag;

	for (unsigned d = 0; d < DEVICES; d++)
		if (c->devices & 1u << d)
			devices[options.device_count++] = names[d];
	options.devices = devices;
	options.port = PORT;
	options.policy = c->policy;
	options.xdp_mode = c->mode;
	options.address = address;
	options.on_log = say;
	world_enter(FAST);
	if (mr_bind(&options, &t, &diag))
		fatal("%s: %s %s: %s; %s", c->name, diag.step, diag.object, strerror(-diag.error),
		      diag.remedy);
	for (unsigned ms = 0; c->policy == MR_POLICY_XDP && !all_raised(t, c->devices); ms++) {
		struct mr_datagram d;

		if (ms == 5000)
			fatal("%s: no fast path within 5 s", c->name);
		if (mr_read(mr_reader(t, 0), &d, 1, 1) > 0)
			fatal("%s: a datagram before any was sent", c->name);
	}
	return t;
}

/* ---------------------------------------------------------------- counters */

/* What an interface's program, and who takes from its rings, have counted; zeroes without one. */
static void read_counts(unsigned device, uint64_t counts[REASON_COUNT])
{
	struct mr_inspection in;

	world_enter(FAST);
	if (mr_inspect(names[device], &in, NULL))
		fatal("inspect %s", names[device]);
	for (unsigned i = 0; i < REASON_COUNT; i++)
		counts[i] = in.counts ? in.counts[i] : 0;
	mr_inspection_free(&in);
}

/* The ends that a frame can come to that was steered: exactly one each. */
static uint64_t ends(const uint64_t counts[REASON_COUNT])
{
	return counts[REASON_XDP_DELIVERED] + counts[REASON_XDP_BAD_SUM] +
	       counts[REASON_XDP_MALFORMED] + counts[REASON_XDP_RING_FULL] +
	       counts[REASON_XDP_NO_FRAME];
}

/* Adds to sum[] what was counted on the device since before[]. */
static void check_device(const struct configuration *c, const struct run *run, unsigned device,
			 const uint64_t before[REASON_COUNT], uint64_t sum[REASON_COUNT])
{
	uint64_t now[REASON_COUNT], seen = 0;
	bool ok;

	read_counts(device, now);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		now[i] -= before[i];
		sum[i] += now[i];
		seen += i < STEER_REASON_COUNT ? now[i] : 0;
	}
	ok = seen == run->injected[device] && now[REASON_STEERED] == ends(now);
	check(ok, "%s: the counters of %s add up", c->name, names[device]);
	if (!ok)
		printf("# injected %" PRIu64 ", counted %" PRIu64 ", steered %" PRIu64
		       ", with an end %" PRIu64 "\n",
		       run->injected[device], seen, now[REASON_STEERED], ends(now));
}

/* Every packet seen is counted once, and of each one steered the end is known. */
static void check_counters(const struct configuration *c, const struct run *run,
			   uint64_t before[DEVICES][REASON_COUNT])
{
	uint64_t sum[REASON_COUNT] = { 0 }, user[REASON_COUNT], steered;

	for (unsigned d = 0; d < DEVICES; d++)
		if (c->devices & 1u << d)
			check_device(c, run, d, before[d], sum);
	steered = sum[REASON_STEERED];
	mr_stats(run->transport, user, REASON_COUNT);
	check(steered == ends(user) && run->by_xdp == user[REASON_XDP_DELIVERED] &&
		      run->datagrams - run->by_xdp == user[REASON_SOCK_DELIVERED] &&
		      !user[REASON_XDP_MALFORMED],
	      "%s: the transport's own counters do too", c->name);
	check(c->policy == MR_POLICY_SOCKET || steered > run->frames / 10,
	      "%s: the fast path took part", c->name);
	printf("#  ");
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		uint64_t n = i < STEER_REASON_COUNT ? sum[i] : user[i];

		totals[i] += n;
		if (n)
			printf(" %s=%" PRIu64, mr_reason_name(i), n);
	}
	putchar('\n');
}

/* ---------------------------------------------------------------- running */

static void prepare(const struct configuration *c)
{
	for (enum place p = KERNEL; p <= FAST; p++) {
		world_sysctl(p, "ipv4/conf/all/rp_filter", c->rp_filter);
		world_sysctl(p, "ipv4/conf/default/rp_filter", c->rp_filter);
	}
	world_mtu(c->mtu);
	if (c->before)
		c->before();
}

/* Three quarters to the first of the devices, where most of the addresses are. */
static void inject(const struct configuration *c, struct run *run, uint64_t frames)
{
	bool more = true;

	for (unsigned d = 0; d < DEVICES && more; d++) {
		uint64_t part = !(c->devices & ~(1u << d)) ? frames
				: d == 0		   ? frames - frames / 4
							   : frames / 4;

		if (c->devices & 1u << d)
			more = run_frames(run, d, part, c->walk && d != 1);
	}
}

static void open_receivers(const struct configuration *c, struct run *run)
{
	struct sockaddr_storage sa;
	struct sockaddr *address = parse_address(c->address, &sa);

	receive_open_kernel(address);
	run->transport = open_transport(c, address);
	for (unsigned d = 0; d < DEVICES; d++) {
		run->gen.device = d;
		if (c->devices & 1u << d)
			run_warm_up(run, d);
	}
}

static void run_configuration(const struct configuration *c)
{
	uint64_t frames = frames_wanted * c->share / 100;
	struct run run = { .name = c->name,
			   .seed = seed,
			   .version = c->markers ? c->markers : 6,
			   .tags_unseen = c->mode == MR_XDP_MODE_GENERIC,
			   .gen = { .mtu = c->mtu, .tags = c->tags } };
	uint64_t before[DEVICES][REASON_COUNT];
	double start;

	run.gen.seed = (seed + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)(c - configurations + 1) << 32;
	/* Generic mode takes those for one datagram, which is why it is only had by force. */
	run.gen.segments = c->mode != MR_XDP_MODE_GENERIC;
	prepare(c);
	for (unsigned d = 0; d < DEVICES; d++)
		read_counts(d, before[d]);
	open_receivers(c, &run);
	start = seconds();
	inject(c, &run, c->midway ? frames / 2 : frames);
	if (c->midway) {
		c->midway();
		inject(c, &run, frames - frames / 2);
	}
	check(!run.differences, "%s: %" PRIu64 " frames, nothing differs", c->name, run.frames);
	printf("#   %" PRIu64 " datagrams, %" PRIu64 " of them by xdp; %" PRIu64
	       " frames not let in; %.1f s\n",
	       run.datagrams, run.by_xdp, run.refused, seconds() - start);
	check_counters(c, &run, before);
	for (unsigned i = 0; i < DEVIATIONS; i++)
		deviations[i] += run.deviations[i];
	mr_close(run.transport);
	receive_close_kernel();
	if (c->after)
		c->after();
}

static void check_reasons(void)
{
	static const unsigned classes[] = { REASON_XDP_DELIVERED, REASON_XDP_SUM_PARTIAL,
					    REASON_XDP_SUM_NONE, REASON_XDP_BAD_SUM,
					    REASON_SOCK_GRO };
	unsigned missing = 0;

	for (unsigned i = 0; i < STEER_REASON_COUNT; i++) {
		if (totals[i])
			continue;
		printf("# %s never happened\n", mr_reason_name(i));
		missing++;
	}
	for (unsigned i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
		if (totals[classes[i]])
			continue;
		printf("# %s never happened\n", mr_reason_name(classes[i]));
		missing++;
	}
	check(!missing, "every reason happened");
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = optind; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return optind == argc;
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 0);

	if (*end || end == text)
		fatal("not a number: %s", text);
	return value;
}

int main(int argc, char **argv)
{
	char path[sizeof(build)];
	int opt;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n')
			frames_wanted = number(optarg);
		else if (opt == 's')
			seed = number(optarg);
		else
			fatal("usage: %s [-n FRAMES] [-s SEED] [CONFIGURATION…]", argv[0]);
	}
	snprintf(path, sizeof(path), "%s", argv[0]);
	snprintf(build, sizeof(build) - 8, "%s/../..", dirname(path));
	if (!world_make())
		return 77;
	/* Asked with a program that is not ours, so that no fault of ours looks like a no. */
	if (!attach_object("tests/support/pass.bpf.o")) {
		printf("no native XDP on veth here\n");
		return 77;
	}
	detach_ours();
	for (unsigned i = 0; i < sizeof(configurations) / sizeof(configurations[0]); i++)
		if (wanted(configurations[i].name, argc, argv))
			run_configuration(&configurations[i]);
	if (optind == argc)
		check_reasons();
	printf("# seed %" PRIu64 ", %" PRIu64 " frames; documented deviations: %" PRIu64
	       " sums that look unfinished, %" PRIu64 " tags beside the frame\n",
	       seed, frames_wanted, deviations[LOOKS_PARTIAL], deviations[TAG_UNSEEN]);
	printf("1..%u\n", checks);
	return failures ? 1 : 0;
}
