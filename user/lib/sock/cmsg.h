/* SPDX-License-Identifier: MIT */
/*
 * Control messages: the codec between msghdr and what we want to know or say. Pure.
 */
#ifndef SOCK_CMSG_H
#define SOCK_CMSG_H

#include "millrace.h"

/* What recvmsg said beside the bytes. Zero where the kernel said nothing. */
struct cmsg_in {
	union mr_address local;
	uint32_t ifindex;
	uint32_t drops;	   /* SO_RXQ_OVFL: datagrams this socket has lost since it was opened */
	uint32_t gro_size; /* UDP_GRO: size of each segment but the last; 0: a single datagram */
	uint8_t tos;
	bool has_local;
};

/* Room for everything above, both families and a foreign message or two. */
#define CMSG_IN_ROOM 256
/* Room for pktinfo, TOS and segment size. */
#define CMSG_OUT_ROOM 96

/*
 * Reads the control messages of a received msghdr. Unknown, short or foreign ones are skipped.
 * The local address of a broadcast or multicast datagram is the primary address of the interface
 * (ipi_spec_dst), which unlike the header's destination can be a source.
 */
void cmsg_read(struct cmsg_in *in, const struct msghdr *msg);

/*
 * Writes pktinfo (when the endpoint has a source), TOS (when not 0) and UDP_SEGMENT (when
 * gso_size is not 0) into buf of CMSG_OUT_ROOM bytes, aligned like a cmsghdr; returns the length,
 * 0 when there is nothing to say. Only the source is pinned; the interface too where a
 * link-local or multicast address means nothing without it.
 */
size_t cmsg_write(void *buf, const struct mr_endpoint *e, uint8_t tos, uint16_t gso_size);

#endif
