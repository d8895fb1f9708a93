/* SPDX-License-Identifier: MIT */
/*
 * millrace relay: forwards a port's datagrams to an upstream; replies come back from the very
 * address the client wrote to. Here: options, start and report; the work is in forward.c.
 */
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

#include "output.h"
#include "relay.h"

#define IDLE_DEFAULT	     180.0
#define IDLE_LIMIT	     1e6 /* 32 bits of milliseconds, half of them for the past */
#define MAX_SESSIONS_DEFAULT 65536u
#define MAX_SESSIONS_LIMIT   1000000u

/* Descriptors beside the sessions': sockets, AF_XDP sockets, maps, and some to spare. */
#define FD_RESERVE	      128u
#define FD_RESERVE_PER_READER 64u

/* ---------------------------------------------------------------- start and report */

static void report(const struct serve *serve, struct json_object *o)
{
	struct json_object *upstream = json_object_new_object(), *sessions;
	const struct relay *relay = serve->arg;
	struct relay_reader sum = { 0 };

	for (unsigned i = 0; i < relay->reader_count; i++) {
		const struct relay_reader *r = &relay->readers[i];

		tally_sum(&sum.replies, &r->replies);
		sum.sent_up += counted(&r->sent_up);
		sum.opened += counted(&r->opened);
		sum.expired += counted(&r->expired);
		sum.refused += counted(&r->refused);
		sum.no_port += counted(&r->no_port);
		sum.no_fd += counted(&r->no_fd);
		sum.no_other += counted(&r->no_other);
		sum.moved += counted(&r->moved);
		sum.moved_lost += counted(&r->moved_lost);
	}
	json_add_tally(upstream, &sum.replies);
	json_add_number(upstream, "sent", sum.sent_up);
	json_object_object_add(o, "upstream", upstream);
	sessions = json_object_new_object();
	json_add_number(sessions, "active", sum.opened - sum.expired);
	json_add_number(sessions, "opened", sum.opened);
	json_add_number(sessions, "expired", sum.expired);
	json_add_number(sessions, "max", relay->max_sessions);
	json_add_number(sessions, "refused", sum.refused);
	json_add_number(sessions, "no_port", sum.no_port);
	json_add_number(sessions, "no_fd", sum.no_fd);
	json_add_number(sessions, "no_other", sum.no_other);
	json_add_number(sessions, "moved", sum.moved);
	json_add_number(sessions, "moved_lost", sum.moved_lost);
	json_object_object_add(o, "sessions", sessions);
}

/* Whether an address is this host's. (Not asked by a bind: ip_nonlocal_bind would say yes.) */
static bool is_ours(const struct mr_endpoint *e)
{
	struct ifaddrs *all, *at;
	bool ours = false;

	if (e->family == AF_INET && e->remote.bytes[0] == 127)
		return true;
	if (getifaddrs(&all))
		return false;
	for (at = all; at && !ours; at = at->ifa_next) {
		struct mr_endpoint a;
		socklen_t len = sizeof(struct sockaddr_in6);

		ours = at->ifa_addr && !mr_endpoint_from_sockaddr(&a, at->ifa_addr, len) &&
		       a.family == e->family && a.scope == e->scope &&
		       !memcmp(&a.remote, &e->remote, sizeof(a.remote));
	}
	freeifaddrs(all);
	return ours;
}

/* Serving one address only, the others are free to be somebody else's. */
static bool is_self(const struct relay *relay, uint16_t port)
{
	const struct sockaddr *bound = relay->common.bind.address;
	struct mr_endpoint e;

	if (ntohs(relay->upstream.port_be) != port)
		return false;
	if (!bound || mr_endpoint_from_sockaddr(&e, bound, sizeof(relay->common.address)))
		return is_ours(&relay->upstream);
	return e.family == relay->upstream.family &&
	       !memcmp(&e.remote, &relay->upstream.remote, sizeof(e.remote));
}

static int refuse_self(const struct relay *relay)
{
	fprintf(stderr, "%s: --to %s is the port this relay serves itself\n", relay->common.command,
		relay->to);
	return EXIT_MISUSE;
}

static int prepare(struct serve *serve)
{
	struct relay *relay = serve->arg;
	uint64_t seed;
	bool failed;

	serve->note = *relay->note ? relay->note : NULL;
	relay->port = mr_port(serve->transport);
	if (is_self(relay, relay->port))
		return refuse_self(relay);
	if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = (uint64_t)time(NULL);
	relay->reader_count = mr_reader_count(serve->transport);
	relay->readers = aligned_alloc(64, relay->reader_count * sizeof(*relay->readers));
	failed = !relay->readers || session_table_init(&relay->table, relay->max_sessions, seed);
	for (unsigned i = 0; i < relay->reader_count && !failed; i++) {
		struct relay_reader *r = &relay->readers[i];

		*r = (struct relay_reader){ .relay = relay, .own = SESSION_LIST_INIT };
		r->expire_ms = clock_ms();
		r->by_port = calloc(UINT16_MAX + 1, sizeof(*r->by_port));
		if (relay->reader_count > 1)
			r->inbox = malloc(sizeof(*r->inbox));
		failed = !r->by_port ||
			 (relay->reader_count > 1 && (!r->inbox || inbox_init(r->inbox)));
	}
	if (failed)
		fprintf(stderr, "%s: out of memory\n", relay->common.command);
	return failed ? EXIT_FAILED : 0;
}

/* A session holds a descriptor. Makes room for all of them, or says how many there can be. */
static int raise_limit(struct relay *relay)
{
	unsigned readers = relay->common.bind.readers ? relay->common.bind.readers : 1;
	rlim_t reserve = FD_RESERVE + FD_RESERVE_PER_READER * readers;
	rlim_t wanted = relay->max_sessions + reserve;
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= wanted)
		return 0;
	if (limit.rlim_max < wanted) {
		struct rlimit higher = { .rlim_cur = wanted, .rlim_max = wanted };

		if (!setrlimit(RLIMIT_NOFILE, &higher))
			return 0;
		wanted = limit.rlim_max;
	}
	limit.rlim_cur = wanted;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (wanted <= reserve) {
		fprintf(stderr, "%s: the limit of open files (ulimit -Hn) is too low\n",
			relay->common.command);
		return EXIT_FAILED;
	}
	if (wanted - reserve < relay->max_sessions) {
		unsigned fits = (unsigned)(wanted - reserve);

		snprintf(relay->note, sizeof(relay->note),
			 "--max-sessions %u: the limit of open files (ulimit -Hn) allows %u",
			 relay->max_sessions, fits);
		relay->max_sessions = fits;
	}
	return 0;
}

/* ---------------------------------------------------------------- options */

enum { OPT_TO = OPTION_KEY_OWN, OPT_IDLE, OPT_MAX_SESSIONS };

static const struct argp_option own_options[] = {
	{ NULL, 0, NULL, 0, "What to relay:", 0 },
	{ "to", OPT_TO, "ADDR:PORT", 0,
	  "the upstream: 192.0.2.1:53, [2001:db8::1]:53, [fe80::1%eth0]:53", 0 },
	{ "idle", OPT_IDLE, "S", 0, "seconds after which an idle session ends (default: 180)", 0 },
	{ "max-sessions", OPT_MAX_SESSIONS, "N", 0,
	  "when there are so many, new clients are refused, 1 to 1000000 (default: 65536)", 0 },
	{ 0 },
};

static void parse_to(struct argp_state *state, struct relay *relay, const char *arg)
{
	static const uint8_t any[16];
	struct mr_endpoint *e = &relay->upstream;
	int err = mr_endpoint_parse(e, arg);
	const uint8_t *a = e->remote.bytes;

	relay->to = arg;
	if (err == -ENODEV)
		argp_error(state, "--to: '%s': there is no such interface", arg);
	if (err)
		argp_error(state, "--to: '%s' is not ADDR:PORT or [ADDR]:PORT", arg);
	if (!e->port_be)
		argp_error(state, "--to: '%s': port 0 cannot be sent to", arg);
	if (!memcmp(a, any, sizeof(any)) || (e->family == AF_INET && a[0] >= 224) ||
	    (e->family == AF_INET6 && a[0] == 0xff))
		argp_error(state, "--to: '%s' is not the address of one host", arg);
	if (e->family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&e->remote.v6) && !e->scope)
		argp_error(state,
			   "--to: '%s': link-local, so name the interface: [fe80::1%%eth0]:53",
			   arg);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct relay *relay = state->input;
	double idle;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &relay->common;
		return 0;
	case OPT_TO:
		parse_to(state, relay, arg);
		return 0;
	case OPT_IDLE:
		idle = option_seconds(state, "--idle", arg, 0.1, IDLE_LIMIT);
		relay->idle_ms = (uint32_t)(idle * 1e3);
		return 0;
	case OPT_MAX_SESSIONS:
		relay->max_sessions = (uint32_t)option_number(state, "--max-sessions", arg, 1,
							      MAX_SESSIONS_LIMIT);
		return 0;
	case ARGP_KEY_END:
		if (!relay->to)
			argp_error(state, "--to is required");
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int command_relay(int argc, char **argv)
{
	static const struct service service = {
		.work = forward_work,
		.prepare = prepare,
		.report = report,
		.sends = true,
	};
	static const struct argp argp = {
		.options = own_options,
		.parser = parse,
		.args_doc = "--port P --to ADDR:PORT",
		.doc = "Forwards a port's datagrams to an upstream; replies come back from the "
		       "very address the client wrote to.\v"
		       "Examples:\n"
		       "  millrace relay --port 53 --to 192.0.2.53:53\n"
		       "  millrace relay --port 443 --dev eth0 --path xdp --to [2001:db8::1]:443\n",
		.children = common_children,
	};
	static struct relay relay = {
		.idle_ms = (uint32_t)(IDLE_DEFAULT * 1e3),
		.max_sessions = MAX_SESSIONS_DEFAULT,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	int rc;

	argp_parse(&argp, argc, argv, 0, NULL, &relay);
	/* Known before the bind, unless any port will do. */
	if (relay.common.bind.port && is_self(&relay, relay.common.bind.port))
		return refuse_self(&relay);
	relay.wait_ms = relay.idle_ms < 4000 ? (int)relay.idle_ms / 4 : 1000;
	rc = raise_limit(&relay);
	return rc ? rc : serve_run(&relay.common, &service, &relay);
}
