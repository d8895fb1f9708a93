/* SPDX-License-Identifier: MIT */
/* Every limit and size the library has, with its reason. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

/* Datagrams per system call and per look at a ring: past 64 nothing is gained. */
#define BATCH_MAX 64u

/* Cache lines are assumed for padding only, never for correctness. */
#define CACHE_LINE 64

/* An IPv4 datagram has at most 65,507 bytes of payload, an IPv6 one 65,527; GRO hands over 65,535.
 */
#define DATAGRAM_MAX 65535u

/*
 * Socket receive buffers of a reader, each big enough for a coalesced batch. They are virtual
 * until touched. The odd stride keeps their first lines from falling into the same cache set.
 */
#define SOCK_BUFFERS	   256u
#define SOCK_BUFFER_STRIDE (65536u + 320u)

/* Kernel limit of segments per UDP_SEGMENT message (UDP_MAX_SEGMENTS was 64 before Linux 6.9). */
#define GSO_SEGMENTS_MAX 64u
#define GSO_BYTES_MAX	 65000u

/* Asked for with SO_RCVBUFFORCE, else as much as rmem_max allows. */
#define SOCK_RCVBUF (8 * 1024 * 1024)
#define SOCK_SNDBUF (4 * 1024 * 1024)

/* How often port 0 is tried until both families agree on a number. */
#define BIND_TRIES 100

/* How often a further port is tried until it has a number that the reader does not use yet. */
#define PORT_TRIES 16

#define READERS_MAX 64u

/* AF_XDP: 2 KiB frames hold an MTU of 1,500 behind the kernel's 256 bytes of headroom. */
#define FRAME_SIZE	      2048u
#define FRAME_HEADROOM_KERNEL 256u
#define FRAMES_PER_READER     8192u /* 16 MiB of memory for frames, whatever the number of queues */
#define FRAMES_MIN	      512u  /* below this a memory lock limit means sockets */
#define RING_SIZE	      2048u

/*
 * A datagram that does not fit into a frame comes in several; they are put together in a buffer of
 * this size, of which a reader makes so many when the first comes. Longer ones are left to sockets.
 */
#define JUMBO_SIZE	  16384u
#define JUMBO_BUFFERS	  128u
#define JUMBO_FRAMES_MAX  32u
#define QUEUES_PER_READER 64u

/* What a NAPI poll under way is given to end where RCU cannot be asked. */
#define GRACE_MS 50

/* A queue that was just given up is released by a kernel worker: EBUSY until then. */
#define XSK_BUSY_STEP_MS  5
#define XSK_BUSY_LIMIT_MS 200

#endif
