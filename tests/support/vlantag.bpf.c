/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Tags what an interface sends, without a VLAN device. veth keeps the tag beside the frame; with
 * `ethtool -K DEV txvlan off` it is put into it.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define ETHERTYPE_VLAN 0x8100

SEC("vid5")
int tag_vid5(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, bpf_htons(ETHERTYPE_VLAN), 5);
	return TC_ACT_OK;
}

/* Priority only. */
SEC("vid0")
int tag_vid0(struct __sk_buff *skb)
{
	bpf_skb_vlan_push(skb, bpf_htons(ETHERTYPE_VLAN), 3 << 13);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual MIT/GPL";
