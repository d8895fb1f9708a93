/* SPDX-License-Identifier: MIT */
/*
 * Frame -> datagram: from the headers, what recvmsg with pktinfo would have said. Pure.
 */
#ifndef XDP_FRAME_H
#define XDP_FRAME_H

#include "millrace.h"
#include "shared/reason.h"

/* Where a frame was received, as pktinfo has to tell it. */
struct frame_origin {
	uint32_t ifindex;
	bool local_senders; /* a software device: checksums may be unfinished */
};

/*
 * Fills *d (all but cookie) from the frame, payload left in place. Returns one of
 *	REASON_XDP_DELIVERED	the checksum is right
 *	REASON_XDP_SUM_PARTIAL	only the pseudo-header is summed: from a sender on this host
 *	REASON_XDP_SUM_NONE	IPv4 without a checksum
 * or, for a frame that must not be delivered, with *d undefined,
 *	REASON_XDP_BAD_SUM, REASON_XDP_MALFORMED.
 */
enum reason frame_decode(struct mr_datagram *d, void *frame, uint32_t len,
			 const struct frame_origin *origin);

/* Ones' complement sum of bytes, folded to 16 bits, in the byte order of the memory (RFC 1071). */
uint16_t frame_sum(const void *bytes, size_t len, uint64_t start);

#endif
