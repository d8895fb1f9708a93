/* SPDX-License-Identifier: MIT */
/*
 * nftables messages -> what matters of chains and rules. Pure: bytes in, struct out, no fd. Rules
 * written by iptables-nft are among them, as xtables matches and targets in nftables' clothes.
 */
#ifndef NET_NFT_H
#define NET_NFT_H

#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a chain is: names are unique within a table, those of tables within a family. */
struct nft_place {
	uint8_t family; /* NFPROTO_… */
	char table[NFT_NAME_MAXLEN];
	char chain[NFT_NAME_MAXLEN];
};

/* A chain that the kernel itself calls, or, without a hook, one that others jump to. */
struct nft_chain {
	struct nft_place place;
	bool has_hook;
	bool is_nat;   /* of type nat */
	uint32_t hook; /* NF_INET_… */
};

enum nft_does {
	NFT_DOES_NOTHING, /* as far as we care */
	NFT_DOES_DNAT,
	NFT_DOES_REDIRECT,
	NFT_DOES_TPROXY,
	NFT_DOES_SNAT,
	NFT_DOES_MASQUERADE,
	NFT_DOES_NETMAP, /* either, by the hook */
};

struct nft_rule {
	struct nft_place place;
	enum nft_does does;
	bool is_udp;  /* may match UDP */
	bool is_port; /* may match a datagram to the port; false for none if so is is_udp */
};

/* False when the message is none of its kind, or malformed. */
bool nft_chain_decode(struct nft_chain *chain, const struct nlmsghdr *nlh, size_t room);

/* Conditions that are not understood may be met: sets, addresses, interfaces, marks and so on. */
bool nft_rule_decode(struct nft_rule *rule, const struct nlmsghdr *nlh, size_t room, uint16_t port);

#endif
