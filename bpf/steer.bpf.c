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

#include "shared/steer.h"
#include "shared/wire.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_config);
} mr1_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, STEER_PORTS);
	__type(key, __u32);
	__type(value, struct steer_claim);
} mr1_claims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_LOCAL_MAX);
	__type(key, __be32);
	__type(value, __u32);
} mr1_local4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_LOCAL_MAX);
	__type(key, struct steer_addr6);
	__type(value, __u32);
} mr1_local6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, STEER_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} mr1_xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, STEER_PORTS + STEER_QUEUES);
	__type(key, __u32);
	__type(value, struct steer_owner);
} mr1_owners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} mr1_counters SEC(".maps");

static __always_inline int mac_differs(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const void *)a, *y = (const void *)b;

	return (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]);
}

/* Is this frame for a claimed port on this very host and interface? */
static __always_inline enum reason classify(void *data, void *end, __u32 ifindex)
{
	const struct steer_config *config;
	const struct steer_claim *claim;
	const __u32 *address, *own;
	struct wire_packet p;
	enum reason verdict;
	__u32 key = 0;

	verdict = wire_parse(data, end, end - data, &p);
	if (verdict != REASON_STEERED)
		return verdict;

	config = bpf_map_lookup_elem(&mr1_config, &key);
	if (!config || config->magic != STEER_MAGIC || config->ifindex != ifindex) {
		/* Only a map that the program uses is found by its id: nothing else uses this one.
		 */
		bpf_map_lookup_elem(&mr1_owners, &key);
		return REASON_PASS_DETACHED;
	}

	key = WIRE_16(wire_udp(data, p.version)->to);
	claim = bpf_map_lookup_elem(&mr1_claims, &key);
	if (!claim || !(claim->flags & (p.version == 4 ? STEER_CLAIM_V4 : STEER_CLAIM_V6)))
		return REASON_PASS_PORT;
	if (mac_differs(data, config->mac))
		return REASON_PASS_MAC;
	if (end - data > config->max_frame)
		return REASON_PASS_TOO_LONG;

	if (p.version == 4) {
		address = bpf_map_lookup_elem(&mr1_local4, &wire_ip4(data)->to);
		own = bpf_map_lookup_elem(&mr1_local4, &wire_ip4(data)->from);
	} else {
		address = bpf_map_lookup_elem(&mr1_local6, wire_ip6(data)->to);
		own = bpf_map_lookup_elem(&mr1_local6, wire_ip6(data)->from);
	}
	if (!address || (claim->bound && claim->bound != *address))
		return REASON_PASS_ADDRESS;
	if (own)
		return REASON_PASS_OWN_SOURCE;
	return REASON_STEERED;
}

SEC("xdp")
int mr_steer(struct xdp_md *ctx)
{
	__u32 verdict = classify((void *)(long)ctx->data, (void *)(long)ctx->data_end,
				 ctx->ingress_ifindex);
	int action = XDP_PASS;
	__u64 *counter;

	if (verdict == REASON_STEERED) {
		/* An empty slot gives the flags back: the socket beside us gets the packet. */
		action = bpf_redirect_map(&mr1_xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			verdict = REASON_PASS_NO_SOCKET;
	}
	counter = bpf_map_lookup_elem(&mr1_counters, &verdict);
	if (counter)
		(*counter)++;
	return action;
}

/* Also MIT; the kernel wants the GPL named for its helpers. */
char _license[] SEC("license") = "Dual MIT/GPL";
