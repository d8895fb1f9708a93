/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * ABI of the steering maps: what user space and the steering program agree upon. The protocol
 * between processes that share a program is told in bpf/README.md.
 *
 * A program is ours when it has the maps below; the number in their names is the ABI version, so
 * that a program which nobody has configured yet (all maps zero) tells it too. A map like
 * "mr3_config" is a millrace of another version: named, and left alone.
 */
#ifndef MILLRACE_SHARED_STEER_H
#define MILLRACE_SHARED_STEER_H

#include <linux/types.h>

#define STEER_MAGIC	  0x6d696c6cu /* "mill" */
#define STEER_ABI_VERSION 2u

/* Map names: at most 15 characters, as the kernel keeps no more. */
#define STEER_MAP_CONFIG   "mr2_config"	  /* ARRAY[1] of struct steer_config */
#define STEER_MAP_CLAIMS   "mr2_claims"	  /* ARRAY[65536] of struct steer_claim, by port */
#define STEER_MAP_LOCAL4   "mr2_local4"	  /* HASH __be32 -> __u32: 1 ours, 0 not */
#define STEER_MAP_LOCAL6   "mr2_local6"	  /* HASH struct steer_addr6 -> __u32 */
#define STEER_MAP_PREFIX4  "mr2_prefix4"  /* LPM_TRIE struct steer_prefix4 -> __u32 */
#define STEER_MAP_PREFIX6  "mr2_prefix6"  /* LPM_TRIE struct steer_prefix6 -> __u32 */
#define STEER_MAP_NEAR	   "mr2_near"	  /* ARRAY[STEER_NEAR_SLOTS] of struct steer_near */
#define STEER_MAP_SOURCES  "mr2_sources"  /* ARRAY[STEER_SOURCES] of __u64, see below */
#define STEER_MAP_XSKS	   "mr2_xsks"	  /* XSKMAP[STEER_QUEUES], by receive queue */
#define STEER_MAP_OWNERS   "mr2_owners"	  /* HASH __u32 steer_owner_key -> struct steer_owner */
#define STEER_MAP_COUNTERS "mr2_counters" /* PERCPU_ARRAY[STEER_REASON_COUNT] of __u64 */
#define STEER_MAP_FATES	   "mr2_fates"	  /* ARRAY[STEER_QUEUES] of struct steer_fates, mmapable */

#define STEER_PORTS	 65536u
#define STEER_QUEUES	 256u
#define STEER_LOCAL_MAX	 65536u
#define STEER_NEAR_SLOTS 4096u
#define STEER_PREFIX_MAX 65536u
#define STEER_SOURCES	 65536u

#define STEER_IP4 (1u << 0)
#define STEER_IP6 (1u << 1)

/* steer_config.flags: families that may be steered (STEER_IP4, STEER_IP6), and */
#define STEER_PREFIXES4	   (1u << 2) /* there are AnyIP prefixes: look there too */
#define STEER_PREFIXES6	   (1u << 3)
#define STEER_ASK_SOURCES4 (1u << 4) /* rp_filter: only sources that the kernel has accepted */

struct steer_config {
	__u32 magic;	  /* STEER_MAGIC once a transport has written the rest, 0 before */
	__u32 ifindex;	  /* the interface these maps serve; a program may be on several */
	__u8 mac[6];	  /* its own address */
	__u16 max_frame;  /* longest frame to steer, Ethernet header included */
	__u32 flags;	  /* STEER_… */
	__u32 generation; /* of mr2_sources: what was learnt under another one counts no more */
};

struct steer_addr6 {
	__be32 words[4];
};

/*
 * In front of the local hashes: what they say of most addresses, and of most others that they say
 * nothing, without a call. A slot is found by its address and goes from empty over one row to
 * "ask the hash" and never back, so that its address is only written while nobody looks at it.
 */
enum steer_near_state {
	STEER_NEAR_EMPTY, /* no row of this slot: a stranger */
	STEER_NEAR_ASK,	  /* its row has gone, and others may be there: the hash knows */
	STEER_NEAR_IP4 = 4,
	STEER_NEAR_IP6 = 6,
};

struct steer_near {
	__u32 state;
	__u32 row;		    /* as in the hash */
	struct steer_addr6 address; /* IPv4: the first word */
};

#define STEER_NEAR_SLOT4(w) ((__u32)((w)[0] * 0x9e3779b1u) >> 20)
#define STEER_NEAR_SLOT6(w) ((__u32)(((w)[0] ^ (w)[1] ^ (w)[2] ^ (w)[3]) * 0x9e3779b1u) >> 20)

/* Keys of the tries; `bits` in host order. */
struct steer_prefix4 {
	__u32 bits;
	__be32 address;
};

struct steer_prefix6 {
	__u32 bits;
	struct steer_addr6 address;
};

/*
 * An accepted source, in one word so that it is written and read whole: what the kernel judges it
 * by (fib_validate_source; routes may differ by TOS, without ECN) and in which generation it did.
 * Each has one slot; who shares it drives the other out, whose next datagram passes then.
 */
#define STEER_TOS_MASK 0xfcu
#define STEER_SOURCE(address, tos, generation) \
	((__u64)(address) << 32 | (__u64)((tos)&STEER_TOS_MASK) << 24 | ((generation)&0x3ffffffu))
#define STEER_SOURCE_SLOT(address, tos) \
	((__u32)(((address) ^ ((tos)&STEER_TOS_MASK)) * 0x9e3779b1u) >> 16)

/* A zero claim is no claim. */
struct steer_claim {
	__u16 families;		  /* STEER_IP4, STEER_IP6 */
	__u16 one;		  /* 1: `bound` is the one address claimed */
	struct steer_addr6 bound; /* IPv4: the first word */
};

/*
 * What became of the frames steered to a queue, since the program was loaded; written by the
 * queue's owner, so that at rest steered == the sum of all of these over all queues.
 */
struct steer_fates {
	__u64 delivered;
	__u64 bad_sum;
	__u64 malformed;
	__u64 ring_full; /* the kernel's counts: brought up to date each second, and at the end */
	__u64 no_frame;
	__u64 no_buffer; /* jumbo frames for which the caller left no buffer */
	__u64 left;	 /* in the ring when the transport was closed */
	__u64 unused;	 /* one cache line a queue */
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
