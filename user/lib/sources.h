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
	uint32_t tos;	     /* without ECN: routes may differ by it */
	uint32_t generation; /* of routes and rules by which it was accepted */
};

struct sources {
	_Atomic uint32_t head, tail; /* written by the reader, by control */
	struct source ring[SOURCES_RING];
	/* The reader's: what was told lately need not be told again. */
	struct {
		struct source source;
		uint32_t second;
	} told[SOURCES_TOLD];
};

/*
 * Reader: a datagram from `source` was accepted. What was told in this generation is told again
 * only after about a second. True: wake control.
 */
bool sources_tell(struct sources *s, const struct source *source, uint64_t now_ns);

/* Control: the next one; false when there is none. */
bool sources_take(struct sources *s, struct source *source);

#endif
