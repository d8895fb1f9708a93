/* SPDX-License-Identifier: MIT */
/*
 * The steering program on one interface: found there and adopted, or loaded and attached by a
 * bpf_link that dies with the process. Control side only.
 */
#ifndef XDP_PROGRAM_H
#define XDP_PROGRAM_H

#include <stddef.h>

#include "xdp/maps.h"

struct program {
	uint32_t id;
	enum mr_xdp_mode mode; /* in force: native or generic */
	bool adopted;
	bool tells_tags; /* passes what has a VLAN tag beside the frame */
	int link;	 /* fd; -1 when adopted */
	struct maps maps;
};

/* What is attached to an interface. */
struct program_view {
	enum mr_program_kind kind;
	enum mr_xdp_mode mode;
	uint32_t id;
	uint32_t abi;
	char name[16];
};

/* Looks without touching; when ours, opens the maps if `maps` is given. 0 or -errno. */
int program_look(uint32_t ifindex, struct program_view *view, struct maps *maps);

/* Is it still the one attached? */
bool program_is_attached(const struct program *p, uint32_t ifindex);

/*
 * Adopts our program if it is there, else attaches one: native, and generic only when the mode
 * says so or it is MR_XDP_MODE_AUTO, the driver has no native mode and generic_ok. 0, or -errno
 * and a reason in words, with nothing changed: -EBUSY for a foreign program, -EPERM, …
 */
int program_attach(struct program *p, uint32_t ifindex, enum mr_xdp_mode mode, bool generic_ok,
		   char *reason, size_t room);
void program_detach(struct program *p);

#endif
