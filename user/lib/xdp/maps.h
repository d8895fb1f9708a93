/* SPDX-License-Identifier: MIT */
/*
 * The steering program's maps, whoever loaded it: found by program id, claimed and read here and
 * nowhere else. The protocol is told in bpf/README.md. Control side only.
 */
#ifndef XDP_MAPS_H
#define XDP_MAPS_H

#include "millrace.h"
#include "shared/steer.h"

struct maps {
	int config, claims, local4, local6, prefix4, prefix6, near, sources, xsks, owners, counters,
		fates; /* fds */
};

/*
 * Opens the maps of the program. 0, or -ENOENT: not a millrace program; -EPROTO: one of another
 * ABI version, then *abi says which; -EPERM: no right to look. *abi is set on success too.
 */
int maps_open(struct maps *m, uint32_t program_id, uint32_t *abi);
/* The maps of a program just loaded, which needs no right to look around. 0 or -errno. */
struct bpf_object;
int maps_take(struct maps *m, const struct bpf_object *object);

void maps_close(struct maps *m);

/* What the maps are configured for; all zero: nothing yet. 0 or -errno. */
int maps_config(const struct maps *m, struct steer_config *config);
/* Writes it, with the magic. 0 or -errno. */
int maps_configure(const struct maps *m, const struct steer_config *config);

/*
 * The lock on a port or queue: 0 when it is ours now, -EBUSY when another living process has it
 * (*pid says which). One left by a process that died is taken over.
 */
int maps_own(const struct maps *m, enum steer_owner_kind kind, uint32_t index, uint32_t *pid);
/* Does somebody have it, and who? */
bool maps_owned(const struct maps *m, enum steer_owner_kind kind, uint32_t index, uint32_t *pid);
void maps_disown(const struct maps *m, enum steer_owner_kind kind, uint32_t index);

/* Clears the claims and locks of processes that died. */
void maps_reap(const struct maps *m);

/* Empties the local addresses: what a program that we found knows may be long out of date. */
void maps_forget_locals(const struct maps *m);

/* `bound`: the one address claimed, NULL for all. 0 or -errno. */
int maps_claim(const struct maps *m, uint16_t port, unsigned families,
	       const struct mr_endpoint *bound);
void maps_unclaim(const struct maps *m, uint16_t port);

/*
 * Says whose an address or prefix is: this host's, a hole in one that is (MAPS_HOLE), or that
 * nothing is known of it. 0 or -errno.
 */
enum maps_whose { MAPS_HOLE, MAPS_OURS, MAPS_NOBODYS };
int maps_local(const struct maps *m, uint8_t family, const union mr_address *address,
	       unsigned prefix_len, enum maps_whose whose);

bool maps_has_prefixes(const struct maps *m, uint8_t family);

/* The kernel has accepted a datagram from this IPv4 source. 0 or -errno. */
int maps_accept(const struct maps *m, struct in_addr source, uint32_t tos, uint32_t generation);

/* Sums the per-CPU counters into counts[STEER_REASON_COUNT]. 0 or -errno. */
int maps_counters(const struct maps *m, uint64_t *counts);

/* The fates of every queue, STEER_QUEUES of them, for the queues' owners to write. NULL: errno. */
struct steer_fates *maps_fates_open(const struct maps *m);
void maps_fates_close(struct steer_fates *fates);
/* The sum over all queues, to look at. 0 or -errno. */
int maps_fates(const struct maps *m, struct steer_fates *sum);

#endif
