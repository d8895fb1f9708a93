/* SPDX-License-Identifier: MIT */
/*
 * The differential test: the same frames to a plain kernel socket and to a transport on the fast
 * path, and everything that the two say of what they received compared.
 *
 *	+--- kernel ----+      +------ wire ------+      +----- fast -----+
 *	| socket     d0-|-veth-|-k0            f0-|-veth-|-d0   transport |
 *	|            d1-|-veth-|-k1  AF_PACKET f1-|-veth-|-d1             |
 *	|            d2-|-veth-|-k2            f2-|-veth-|-d2             |
 *	+---------------+      +------------------+      +----------------+
 *
 *	shots.c     makes frames, from a seed
 *	twists.c    the ways in which a frame can be out of the ordinary
 *	world.c     the network namespaces; the frames' way in
 *	receive.c   both receivers, and what they say
 *	rounds.c    injecting, comparing, finding the guilty
 *	main.c      configurations, counters, the report
 */
#ifndef TESTS_DIFFERENTIAL_H
#define TESTS_DIFFERENTIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "millrace.h"
#include "shared/reason.h"

#define PORT	7000
#define DEVICES 3u /* d0, d1: one queue each; d2: two */

#define MTU_JUMBO 9000u

/* ---------------------------------------------------------------- shots.c, twists.c */

#define SHOT_ROOM 9216u

struct shot {
	uint32_t len;
	uint32_t l3, l4; /* where the IP and the UDP header were put */
	uint32_t tag;	 /* VLAN tag that travels beside the frame: TAG_BESIDE | TCI; 0: none */
	uint32_t
		segment; /* payload of each datagram that it is to be cut into on its way; 0: one */
	bool partial;	 /* as of a local sender: the kernel is told that the sum is unfinished */
	const char *kind; /* for reports */
	uint8_t bytes[SHOT_ROOM];
};

#define TAG_BESIDE (1u << 16)

struct gen {
	uint64_t seed;
	uint64_t walked; /* how far the orderly part has come */
	uint32_t serial;
	uint32_t mtu;
	unsigned device;
	bool tags;     /* also VLAN tags beside the frame */
	bool segments; /* also several datagrams in one packet */
};

/* The next frames of the endless random part: up to SHOTS_PER_CALL that belong together. */
#define SHOTS_PER_CALL 4u
unsigned gen_random(struct gen *g, struct shot *out);
/* The next of the orderly part, which tries each byte, length and class once; false: it is over. */
bool gen_walk(struct gen *g, struct shot *out);

/* A plain datagram that is delivered for certain: steered, or with a header that is passed. */
struct marker {
	unsigned version;
	bool pass;
	uint16_t from;
	uint8_t text[16];
};
void gen_marker(struct gen *g, struct shot *s, const struct marker *m);

/* Is the sum that of the pseudo-header alone, as a local sender leaves it? */
bool shot_looks_partial(const struct shot *s);

/* Between the two files. */
uint32_t gen_below(struct gen *g, uint32_t limit);
bool gen_one_in(struct gen *g, uint32_t n);
void shot_base(struct gen *g, struct shot *s, unsigned version, uint32_t payload);
uint32_t shot_insert(struct shot *s, uint32_t at, uint32_t n); /* how many fitted */
unsigned shot_version(const struct shot *s);
void shot_sum_ip(struct shot *s);
void shot_sum_udp(struct shot *s);
void shot_lengths(struct shot *s); /* the IP header's length fields, and both sums */
void shot_twist(struct gen *g, struct shot *s);
unsigned shot_fragment(struct gen *g, struct shot *out);
void shot_segments(struct gen *g, struct shot *s);
uint32_t shot_frames(const struct shot *s); /* how many it is on the far side */

/* ---------------------------------------------------------------- world.c */

enum place { KERNEL, FAST, WIRE };

/* False, with a reason on stdout: no network namespaces to be had. */
bool world_make(void);
void world_enter(enum place place);
/* Runs in a namespace: `ip -batch`, and one write below /proc/sys/net. False: it was refused. */
bool world_ip(enum place place, const char *commands);
void world_sysctl(enum place place, const char *name, const char *value);
const uint8_t *world_mac(unsigned device);
uint32_t world_ifindex(unsigned device);
/* MTU of the receivers' ends of d0 and d1. */
void world_mtu(uint32_t mtu);
/*
 * Turns GRO on, which veth has to be asked for. In both, as it has its own mind about the checksums
 * of datagrams that are to be trimmed.
 */
void world_coalesce(void);
/* Has tags pushed beside the frames of which the shot says so. */
void world_tags(const char *object);

/* Sends to one receiver; refused[i] is set for each that its kernel did not take. */
void world_send(enum place to, unsigned device, const struct shot *shots, unsigned n,
		bool *refused);

/* ---------------------------------------------------------------- receive.c */

/* What a receiver says of one datagram. Compared as bytes up to `path`. */
struct record {
	uint64_t hash; /* of the payload */
	uint32_t len, ifindex, scope;
	uint16_t port, local_port;
	uint8_t family, tos;
	uint8_t pad[6];
	uint8_t remote[16], local[16];
	uint8_t head[16]; /* of the payload */
	uint8_t path;
};
#define RECORD_COMPARED offsetof(struct record, path)

#define RECORDS_MAX 1024u

struct receiver {
	struct record records[RECORDS_MAX];
	unsigned count;
};

void receive_open_kernel(const struct sockaddr *address);
void receive_close_kernel(void);
/* Takes what is there, waiting up to timeout_ms for the first. How many. */
unsigned receive_kernel(struct receiver *r, int timeout_ms);
unsigned receive_fast(struct receiver *r, struct mr_transport *t, int timeout_ms);
/* Forgets, and gives what both have in order. */
void receive_sort(struct receiver *r);
int record_compare(const void *a, const void *b);
void record_print(const char *who, const struct record *r);

/* ---------------------------------------------------------------- rounds.c */

/* Where what is delivered differs from the kernel, and is documented to. */
enum deviation { LOOKS_PARTIAL, TAG_UNSEEN, DEVIATIONS };

/* One configuration's run. */
struct run {
	const char *name;
	uint64_t seed;
	struct mr_transport *transport;
	struct gen gen;
	unsigned version; /* of markers */
	bool tags_unseen; /* generic mode: the program is not told of tags beside the frame */
	uint64_t frames;  /* generated */
	uint64_t injected[DEVICES]; /* let in, to the fast side, markers included */
	uint64_t refused, datagrams, by_xdp, differences;
	uint64_t deviations[DEVIATIONS];
};

/* Waits until both sides receive on this device. */
void run_warm_up(struct run *run, unsigned device);
/* Generates about so many frames for the device, injects and compares. False: enough differs. */
bool run_frames(struct run *run, unsigned device, uint64_t frames, bool walk);

#define DIFFERENCES_MAX 20u

/* ---------------------------------------------------------------- main.c */

__attribute__((noreturn, format(printf, 1, 2))) void fatal(const char *format, ...);

#endif
