/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* Gives a frame a VLAN tag beside its bytes, as hardware does, when its mark says which. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define TAG_BESIDE (1u << 16)

SEC("tc")
int push_tag(struct __sk_buff *skb)
{
	if (skb->mark & TAG_BESIDE)
		bpf_skb_vlan_push(skb, 0x0081 /* 802.1Q, in wire order */, (__u16)skb->mark);
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
