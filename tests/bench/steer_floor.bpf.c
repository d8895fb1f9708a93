/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The least that steering can be: a port check and a redirect, one program for each family; and
 * less than that, a program that does nothing, for what calling one costs.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

volatile const __u16 port = 7000;

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

static __always_inline int floor_of(struct xdp_md *ctx, __u16 type, __u32 protocol_at, __u32 udp_at)
{
	const __u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + udp_at + 8 > end || *(const __u16 *)(data + 12) != bpf_htons(type) ||
	    data[protocol_at] != 17 || *(const __u16 *)(data + udp_at + 2) != bpf_htons(port))
		return XDP_PASS;
	return bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
}

SEC("xdp")
int floor4(struct xdp_md *ctx)
{
	return floor_of(ctx, 0x0800, 14 + 9, 14 + 20);
}

SEC("xdp")
int floor6(struct xdp_md *ctx)
{
	return floor_of(ctx, 0x86dd, 14 + 6, 14 + 40);
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual MIT/GPL";
