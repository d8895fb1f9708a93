/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The steering program: parse -> claim -> redirect or pass -> count.
 *
 * It never drops and never aborts. Alone, without a transport, its configuration has no magic and
 * every packet passes, so `ip link set dev X xdp obj steer.bpf.o sec xdp` is harmless by itself.
 * No global data: old loaders (iproute2 without libbpf) must be able to load the object too.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include <stddef.h>

#include "shared/steer.h"
#include "shared/wire.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_config);
} mr2_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_PORTS);
	__type(key, __u32);
	__type(value, struct steer_claim);
} mr2_claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_LOCAL_MAX);
	__type(key, __be32);
	__type(value, __u32);
} mr2_local4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_LOCAL_MAX);
	__type(key, struct steer_addr6);
	__type(value, __u32);
} mr2_local6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_NEAR_SLOTS);
	__type(key, __u32);
	__type(value, struct steer_near);
} mr2_near SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_PREFIX_MAX);
	__type(key, struct steer_prefix4);
	__type(value, __u32);
} mr2_prefix4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_PREFIX_MAX);
	__type(key, struct steer_prefix6);
	__type(value, __u32);
} mr2_prefix6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_SOURCES);
	__type(key, __u32);
	__type(value, __u64);
} mr2_sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} mr2_xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_PORTS + STEER_QUEUES);
	__type(key, __u32);
	__type(value, struct steer_owner);
} mr2_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} mr2_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STEER_QUEUES);
	__type(key, __u32);
	__type(value, struct steer_fates);
} mr2_fates SEC(".maps");

static __always_inline int mac_differs(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const void *)a, *y = (const void *)b;

	return (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]);
}

static __always_inline int differs6(const __be32 a[4], const __be32 b[4])
{
	return a[0] != b[0] || a[1] != b[1] || a[2] != b[2] || a[3] != b[3];
}

/* The row for an address: a whole one first, then the longest prefix. NULL: none of our tables'. */
static __always_inline const __u32 *row4(const __be32 *address, __u32 flags)
{
	struct steer_prefix4 key = { .bits = 32 };
	__u32 slot = STEER_NEAR_SLOT4(address);
	const struct steer_near *near = bpf_map_lookup_elem(&mr2_near, &slot);
	const __u32 *row = NULL;

	if (near && near->state == STEER_NEAR_IP4 && near->address.words[0] == *address)
		return &near->row;
	if (!near || near->state != STEER_NEAR_EMPTY)
		row = bpf_map_lookup_elem(&mr2_local4, address);
	if (row || !(flags & STEER_PREFIXES4))
		return row;
	key.address = *address;
	return bpf_map_lookup_elem(&mr2_prefix4, &key);
}

static __always_inline const __u32 *row6(const __be32 address[4], __u32 flags)
{
	struct steer_prefix6 key = { .bits = 128 };
	__u32 slot = STEER_NEAR_SLOT6(address);
	const struct steer_near *near = bpf_map_lookup_elem(&mr2_near, &slot);
	const __u32 *row = NULL;

	if (near && near->state == STEER_NEAR_IP6 && !differs6(near->address.words, address))
		return &near->row;
	if (!near || near->state != STEER_NEAR_EMPTY)
		row = bpf_map_lookup_elem(&mr2_local6, address);
	if (row || !(flags & STEER_PREFIXES6))
		return row;
	__builtin_memcpy(&key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&mr2_prefix6, &key);
}

static __always_inline enum reason check_addresses4(const struct wire_ip4 *ip,
						    const struct steer_claim *claim,
						    const struct steer_config *config)
{
	const __u32 *row = row4(&ip->to, config->flags);
	const __u64 *accepted;
	__u32 slot;

	if (!row || !*row || (claim->one && claim->bound.words[0] != ip->to))
		return REASON_PASS_ADDRESS;
	/* Also a broadcast address, which the kernel takes or not: fib_validate_source. */
	if (row4(&ip->from, config->flags))
		return REASON_PASS_OWN_SOURCE;
	if (config->flags & STEER_ASK_SOURCES4) {
		slot = STEER_SOURCE_SLOT(ip->from, ip->tos);
		accepted = bpf_map_lookup_elem(&mr2_sources, &slot);
		if (!accepted || *accepted != STEER_SOURCE(ip->from, ip->tos, config->generation))
			return REASON_PASS_NEW_SOURCE;
	}
	return REASON_STEERED;
}

static __always_inline enum reason check_addresses6(const struct wire_ip6 *ip,
						    const struct steer_claim *claim,
						    const struct steer_config *config)
{
	const __be32 *one = claim->bound.words, *to = ip->to;
	const __u32 *row = row6(to, config->flags);

	if (claim->one &&
	    (one[0] != to[0] || one[1] != to[1] || one[2] != to[2] || one[3] != to[3]))
		return REASON_PASS_ADDRESS;
	if (!row || !*row)
		return REASON_PASS_ADDRESS;
	return row6(ip->from, config->flags) ? REASON_PASS_OWN_SOURCE : REASON_STEERED;
}

/*
 * A map that no instruction uses is not found by the program's id: these are for user space only,
 * so they are used here, where it costs nothing.
 */
static __always_inline void keep_maps(void)
{
	__u32 key = 0;

	bpf_map_lookup_elem(&mr2_owners, &key);
	bpf_map_lookup_elem(&mr2_fates, &key);
}

/* Is this frame for a claimed port on this very host and interface? */
static __always_inline enum reason classify(void *data, void *end, __u32 len, __u32 ifindex)
{
	const struct steer_config *config;
	const struct steer_claim *claim;
	enum reason verdict;
	struct wire_packet p;
	__u32 key = 0, family;

	verdict = wire_parse(data, end, len, &p);
	if (verdict != REASON_STEERED)
		return verdict;

	config = bpf_map_lookup_elem(&mr2_config, &key);
	if (!config || config->magic != STEER_MAGIC || config->ifindex != ifindex) {
		keep_maps();
		return REASON_PASS_DETACHED;
	}

	family = p.version == 4 ? STEER_IP4 : STEER_IP6;
	key = WIRE_16(wire_udp(data, p.version)->to);
	claim = bpf_map_lookup_elem(&mr2_claims, &key);
	if (!claim || !(claim->families & family))
		return REASON_PASS_PORT;
	if (mac_differs(data, config->mac))
		return REASON_PASS_MAC;
	if (len > config->max_frame)
		return REASON_PASS_TOO_LONG;
	if (!(config->flags & family))
		return REASON_PASS_FAMILY;
	return p.version == 4 ? check_addresses4(wire_ip4(data), claim, config)
			      : check_addresses6(wire_ip6(data), claim, config);
}

static __always_inline int conclude(struct xdp_md *ctx, __u32 verdict)
{
	int action = XDP_PASS;
	__u64 *counter;

	if (verdict == REASON_STEERED) {
		/* An empty slot gives the flags back: the socket beside us gets the packet. */
		action = bpf_redirect_map(&mr2_xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = REASON_PASS_NO_SOCKET;
	}
	counter = bpf_map_lookup_elem(&mr2_counters, &verdict);
	if (counter)
		(*counter)++;
	return action;
}

#define DATA(ctx) ((void *)(long)(ctx)->data)
#define END(ctx)  ((void *)(long)(ctx)->data_end)

#ifndef STEER_BOUND

/* Frames in one buffer: every loader and driver can have this one. */
SEC("xdp")
int mr_steer(struct xdp_md *ctx)
{
	return conclude(ctx,
			classify(DATA(ctx), END(ctx), END(ctx) - DATA(ctx), ctx->ingress_ifindex));
}

/* Frames in several buffers, as jumbo ones are. Linux 5.18. */
SEC("xdp.frags")
int mr_steer_frags(struct xdp_md *ctx)
{
	return conclude(ctx, classify(DATA(ctx), END(ctx), bpf_xdp_get_buff_len(ctx),
				      ctx->ingress_ifindex));
}

#else /* an object of its own: libbpf wants the kernel's BTF for it */

/* The tag that hardware, or a veth's peer, keeps beside the frame. Linux 6.8. */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *protocol,
					__u16 *tci) __ksym;

/* Also for tags beside the frame, of whatever number. For a program loaded for one device. */
SEC("xdp.frags")
int mr_steer_bound(struct xdp_md *ctx)
{
	__u32 verdict =
		classify(DATA(ctx), END(ctx), bpf_xdp_get_buff_len(ctx), ctx->ingress_ifindex);
	__be16 protocol;
	__u16 tci;

	if (verdict == REASON_STEERED && !bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci))
		verdict = REASON_PASS_VLAN;
	return conclude(ctx, verdict);
}

#endif

/* Also MIT; the kernel wants the GPL named for its helpers. */
char _license[] SEC("license") = "Dual MIT/GPL";
