/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ABI of the steering maps: what user space and the steering program agree upon. The protocol
 * between processes that share a program is told in bpf/README.md.
 *
 * A program is ours when it has the maps below; the number in their names is the ABI version, so
 * that a program which nobody has configured yet (all maps zero) tells it too. A map like
 * "mr2_config" is a millrace of another version: named, and left alone.
 */
#ifndef MILLRACE_SHARED_STEER_H
#define MILLRACE_SHARED_STEER_H

#include <linux/types.h>

#define STEER_MAGIC	  0x6d696c6cu /* "mill" */
#define STEER_ABI_VERSION 1u

/* Map names: at most 15 characters, as the kernel keeps no more. */
#define STEER_MAP_CONFIG   "mr1_config"	  /* ARRAY[1] of struct steer_config */
#define STEER_MAP_CLAIMS   "mr1_claims"	  /* ARRAY[65536] of struct steer_claim, by port */
#define STEER_MAP_LOCAL4   "mr1_local4"	  /* HASH __be32 -> __u32 address id */
#define STEER_MAP_LOCAL6   "mr1_local6"	  /* HASH struct steer_addr6 -> __u32 address id */
#define STEER_MAP_XSKS	   "mr1_xsks"	  /* XSKMAP[STEER_QUEUES], by receive queue */
#define STEER_MAP_OWNERS   "mr1_owners"	  /* HASH __u32 steer_owner_key -> struct steer_owner */
#define STEER_MAP_COUNTERS "mr1_counters" /* PERCPU_ARRAY[STEER_REASON_COUNT] of __u64 */

#define STEER_PORTS	65536u
#define STEER_QUEUES	256u
#define STEER_LOCAL_MAX 65536u

struct steer_config {
	__u32 magic;	 /* STEER_MAGIC once a transport has written the rest, 0 before */
	__u32 ifindex;	 /* the interface these maps serve; a program may be on several */
	__u8 mac[6];	 /* its own address */
	__u16 max_frame; /* longest frame to steer, Ethernet header included */
};

struct steer_addr6 {
	__be32 words[4];
};

#define STEER_CLAIM_V4 (1u << 0)
#define STEER_CLAIM_V6 (1u << 1)

/* A zero claim is no claim. */
struct steer_claim {
	__u32 flags;
	__u32 bound; /* id of the one address claimed (value in the local maps); 0: every one */
};

/* Who holds a claim or a queue; written with BPF_NOEXIST, which is the lock. */
enum steer_owner_kind { STEER_OWNER_PORT = 1, STEER_OWNER_QUEUE = 2 };
#define STEER_OWNER_KEY(kind, index) ((__u32)(kind) << 16 | (__u32)(index))

struct steer_owner {
	__u32 pid;	     /* in the pid namespace of whoever wrote it */
	__u32 pid_namespace; /* inode of that namespace */
	__u64 start_time;    /* field 22 of /proc/PID/stat: tells a pid that was used again */
};

#endif
