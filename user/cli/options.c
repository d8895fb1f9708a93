/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ranges the library has no words for; wider ones would be slips of the finger. */
#define READERS_LIMIT	64
#define BUSY_POLL_LIMIT 1000000
#define SECONDS_LIMIT	1e9

enum {
	OPT_PORT = 256,
	OPT_DEV,
	OPT_BIND,
	OPT_BIND_DEV,
	OPT_PATH,
	OPT_XDP_MODE,
	OPT_ZERO_COPY,
	OPT_READERS,
	OPT_FWMARK,
	OPT_BUSY_POLL,
	OPT_SECONDS,
	OPT_COUNT,
	OPT_JSON,
	OPT_QUIET,
	OPT_STATS_INTERVAL,
};

static const struct argp_option common_options[] = {
	{ NULL, 0, NULL, 0, "What to serve:", 1 },
	{ "port", OPT_PORT, "P", 0, "UDP port, 0 to 65535; 0: any free one, printed when ready",
	  0 },
	{ "bind", OPT_BIND, "ADDR", 0,
	  "one address of this host only (default: all, IPv4 and IPv6)", 0 },
	{ "bind-dev", OPT_BIND_DEV, "IF", 0, "what comes in by one interface only (default: all)",
	  0 },
	{ "fwmark", OPT_FWMARK, "N", 0,
	  "firewall mark of everything sent, decimal or 0x hex (default: 0, none)", 0 },
	{ NULL, 0, NULL, 0, "By which path:", 2 },
	{ "path", OPT_PATH, "PATH", 0,
	  "auto: AF_XDP where it can be had, sockets elsewhere; socket: sockets only; xdp: exit "
	  "with 3 when AF_XDP cannot be had (default: auto)",
	  0 },
	{ "dev", OPT_DEV, "IF", 0, "interface for AF_XDP, repeatable (default: every one that can)",
	  0 },
	{ "xdp-mode", OPT_XDP_MODE, "MODE", 0, "auto, native or generic (default: auto)", 0 },
	{ "zero-copy", OPT_ZERO_COPY, "WHEN", 0,
	  "auto, on or off; on: exit with 3 when it cannot be had (default: auto)", 0 },
	{ "readers", OPT_READERS, "N", 0, "threads that receive, 1 to 64 (default: 1)", 0 },
	{ "busy-poll", OPT_BUSY_POLL, "US", 0,
	  "microseconds the kernel polls the device for a waiting reader (default: 0, off)", 0 },
	{ NULL, 0, NULL, 0, "How long, and what to say:", 3 },
	{ "seconds", OPT_SECONDS, "S", 0, "stop after S seconds, fractions allowed", 0 },
	{ "count", OPT_COUNT, "N", 0, "stop after N datagrams from clients", 0 },
	{ "json", OPT_JSON, NULL, 0, "JSON on standard output, one object a line", 0 },
	{ "quiet", OPT_QUIET, NULL, 0, "nothing for single datagrams, the summary only", 0 },
	{ "stats-interval", OPT_STATS_INTERVAL, "S", 0, "say every S seconds what was counted", 0 },
	{ "verbose", 'v', NULL, 0, "the library's log on standard error; twice: debugging too", 0 },
	{ NULL, 0, NULL, 0, "Help:", -1 },
	{ 0 },
};

uint64_t option_number(struct argp_state *state, const char *name, const char *arg, uint64_t min,
		       uint64_t max)
{
	bool hex = !strncasecmp(arg, "0x", 2);
	const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
	const char *first = hex ? arg + 2 : arg;
	unsigned long long value;

	/* strtoull alone would take spaces, signs and nothing at all. */
	errno = 0;
	value = strtoull(first, NULL, hex ? 16 : 10);
	if (!*first || first[strspn(first, digits)] || errno || value < min || value > max)
		argp_error(state, "%s: '%s' is not a number from %llu to %llu", name, arg,
			   (unsigned long long)min, (unsigned long long)max);
	return value;
}

double option_seconds(struct argp_state *state, const char *name, const char *arg, double min,
		      double max)
{
	double value;
	char *end;

	value = strtod(arg, &end);
	if (!*arg || *end || arg[strspn(arg, "0123456789.")] || value < min || value > max)
		argp_error(state, "%s: '%s' is not a number of seconds from %g to %.0f", name, arg,
			   min, max);
	return value;
}

/* The kernel knows interfaces by alternative names too; the library is given the proper one. */
void option_device(struct argp_state *state, const char *name, const char *arg,
		   char device[IF_NAMESIZE])
{
	unsigned ifindex = if_nametoindex(arg);

	if (!ifindex || !if_indextoname(ifindex, device))
		argp_error(state, "%s: there is no interface '%s'", name, arg);
}

/* Names stand in the order of the enum they choose from. */
static unsigned choice(struct argp_state *state, const char *name, const char *arg,
		       const char *const names[3])
{
	for (unsigned i = 0; i < 3; i++) {
		if (!strcmp(arg, names[i]))
			return i;
	}
	argp_error(state, "%s: '%s' is none of %s, %s, %s", name, arg, names[0], names[1],
		   names[2]);
	return 0;
}

static void add_device(struct argp_state *state, struct options *o, const char *arg)
{
	char *name = o->device_names[o->bind.device_count];

	if (o->bind.device_count == DEVICES_MAX) {
		argp_error(state, "--dev: more than %d interfaces", DEVICES_MAX);
		return;
	}
	option_device(state, "--dev", arg, name);
	for (unsigned i = 0; i < o->bind.device_count; i++) {
		if (!strcmp(o->devices[i], name))
			return;
	}
	o->devices[o->bind.device_count++] = name;
	o->bind.devices = o->devices;
}

/* An address is an endpoint without its port: the library's parser is the only one. */
static void set_address(struct argp_state *state, struct options *o, const char *arg)
{
	bool bare_ip6 = strchr(arg, ':') && *arg != '[';
	char text[MR_ENDPOINT_TEXT];
	struct mr_endpoint e;
	int n = snprintf(text, sizeof(text), bare_ip6 ? "[%s]:1" : "%s:1", arg);

	if (n < 0 || (size_t)n >= sizeof(text) || mr_endpoint_parse(&e, text))
		argp_error(state, "--bind: '%s' is not an address", arg);
	mr_endpoint_to_sockaddr(&e, &o->address);
	o->bind.address = (const struct sockaddr *)&o->address;
}

static void check(struct argp_state *state, struct options *o)
{
	o->command = state->name; /* not known any earlier */
	if (!o->have_port)
		argp_error(state, "--port is required");
	if (o->bind.zero_copy != MR_ZERO_COPY_ON)
		return;
	if (o->bind.policy == MR_POLICY_SOCKET)
		argp_error(state, "--zero-copy on: sockets always copy, so not with --path socket");
	o->bind.policy = MR_POLICY_XDP;
}

static const char *const path_names[] = { "auto", "socket", "xdp" };
static const char *const mode_names[] = { "auto", "native", "generic" };
static const char *const zero_copy_names[] = { "auto", "on", "off" };

_Static_assert(MR_POLICY_AUTO == 0 && MR_POLICY_SOCKET == 1 && MR_POLICY_XDP == 2, "path_names");
_Static_assert(MR_XDP_MODE_NATIVE == 1 && MR_XDP_MODE_GENERIC == 2, "mode_names");
_Static_assert(MR_ZERO_COPY_ON == 1 && MR_ZERO_COPY_OFF == 2, "zero_copy_names");

static error_t parse_bind(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case OPT_PORT:
		o->bind.port = (uint16_t)option_number(state, "--port", arg, 0, UINT16_MAX);
		o->have_port = true;
		return 0;
	case OPT_DEV:
		add_device(state, o, arg);
		return 0;
	case OPT_BIND:
		set_address(state, o, arg);
		return 0;
	case OPT_BIND_DEV:
		option_device(state, "--bind-dev", arg, o->bind_device);
		o->bind.bind_device = o->bind_device;
		return 0;
	case OPT_PATH:
		o->bind.policy = (enum mr_policy)choice(state, "--path", arg, path_names);
		return 0;
	case OPT_XDP_MODE:
		o->bind.xdp_mode = (enum mr_xdp_mode)choice(state, "--xdp-mode", arg, mode_names);
		return 0;
	case OPT_ZERO_COPY:
		o->bind.zero_copy =
			(enum mr_zero_copy)choice(state, "--zero-copy", arg, zero_copy_names);
		return 0;
	case OPT_READERS:
		o->bind.readers =
			(unsigned)option_number(state, "--readers", arg, 1, READERS_LIMIT);
		return 0;
	case OPT_FWMARK:
		o->bind.fwmark = (uint32_t)option_number(state, "--fwmark", arg, 0, UINT32_MAX);
		return 0;
	case OPT_BUSY_POLL:
		o->bind.busy_poll_us =
			(unsigned)option_number(state, "--busy-poll", arg, 0, BUSY_POLL_LIMIT);
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
	struct options *o = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		o->bind = (struct mr_options)MR_OPTIONS_INIT;
		return 0;
	case OPT_SECONDS:
		o->seconds = option_seconds(state, "--seconds", arg, 0.001, SECONDS_LIMIT);
		return 0;
	case OPT_COUNT:
		o->count = option_number(state, "--count", arg, 1, INT64_MAX);
		return 0;
	case OPT_JSON:
		o->json = true;
		return 0;
	case OPT_QUIET:
		o->quiet = true;
		return 0;
	case OPT_STATS_INTERVAL:
		o->stats_interval =
			option_seconds(state, "--stats-interval", arg, 0.01, SECONDS_LIMIT);
		return 0;
	case 'v':
		o->verbose++;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s': not an option, and no other arguments are taken", arg);
		return 0;
	case ARGP_KEY_END:
		check(state, o);
		return 0;
	}
	return parse_bind(key, arg, state);
}

static const struct argp common_argp = { .options = common_options, .parser = parse_common };

const struct argp_child common_children[] = {
	{ &common_argp, 0, NULL, 1 },
	{ 0 },
};
