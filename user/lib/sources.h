/* SPDX-License-Identifier: MIT */
/*
 * IPv4 sources that the kernel has been seen to accept: from a reader, who sees their datagrams
 * come by a socket, to the control thread, who tells the steering program (where rp_filter is on).
 * A ring with one writer and one taker; what does not fit is told again with a later datagram.
 */
#ifndef SOURCES_H
#define SOURCES_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SOURCES_RING 256u  /* a power of two */
#define SOURCES_TOLD 1024u /* likewise */

struct source {
	uint32_t ifindex;
	struct in_addr address;
};

struct sources {
	_Atomic uint32_t head, tail; /* written by the reader, by control */
	struct source ring[SOURCES_RING];
	/* The reader's: what was told lately need not be told again. */
	struct {
		struct source source;
		uint64_t when;
	} told[SOURCES_TOLD];
};

/*
 * Reader: a datagram from `source` was accepted. `generation` changes when everything is to be
 * told anew; so is what was told more than about a second ago. True: wake control.
 */
bool sources_tell(struct sources *s, struct source source, uint32_t generation, uint64_t now_ns);

/* Control: the next one; false when there is none. */
bool sources_take(struct sources *s, struct source *source);

#endif
