/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The load generator's inner loop: gives each frame the next source port, completes the UDP
 * checksum and sends it out by an interface. Frames come back to be used again, as they were left:
 * so everything that varies is written anew each time, and nothing is computed from what is there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

volatile const __u32 ifindex; /* where to */
volatile const __u32 flows;   /* a power of two: source ports from first_port on */
volatile const __u32 first_port;
volatile const __u32 udp_offset; /* of the UDP header in the frame */
volatile const __u32 base_sum;	 /* folded sum, not complemented, over all but the source port */

__u32 next;
__u64 frames;

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 port = first_port + (next++ & (flows - 1));
	__u32 sum = base_sum + port;
	__u16 *udp;

	if (udp_offset > 64)
		return XDP_ABORTED;
	udp = data + udp_offset;
	if ((void *)(udp + 4) > end)
		return XDP_ABORTED;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	udp[0] = bpf_htons(port);
	udp[3] = bpf_htons(sum ? sum : 0xffff);
	frames++;
	return bpf_redirect(ifindex, 0);
}

char _license[] SEC("license") = "Dual MIT/GPL";
