/* SPDX-License-Identifier: MIT */
/*
 * Sending through sockets in batches, runs of equal size as one segmented message (UDP_SEGMENT).
 * Holds no state but what was learnt about segmentation: any number of threads at once.
 */
#ifndef SOCK_SEND_H
#define SOCK_SEND_H

#include "base/counters.h"
#include "sock/open.h"

/*
 * Segments of `limit` bytes or more are not worth trying before `until_ns`: the kernel refused
 * one (larger than the path MTU; or, with limit 1, a device that cannot). Shared, relaxed.
 */
struct sock_gso {
	_Atomic uint32_t limit; /* 0: none */
	_Atomic uint64_t until_ns;
};

/*
 * Sends d[0..n), all of the socket's family and with endpoints that are complete
 * (endpoint_check), as mr_write promises: returns how many were taken, fewer than n only when the
 * send buffer is full.
 */
unsigned sock_send(const struct sock *s, struct mr_datagram *d, unsigned n, struct sock_gso *gso,
		   struct counters *counters);

#endif
