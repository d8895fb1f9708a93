/* SPDX-License-Identifier: MIT */
/* nftables messages made by hand (net/nft.c): iptables' own expressions, and hostile ones. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/nft.h"

#define PORT 4000

static _Alignas(8) char buf[2048];
static struct nlattr *list, *element, *data;

static struct nlmsghdr *begin(uint16_t type)
{
	struct nlmsghdr *nlh;
	struct nfgenmsg *msg;

	memset(buf, 0, sizeof(buf));
	nlh = mnl_nlmsg_put_header(buf);
	nlh->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	msg = mnl_nlmsg_put_extra_header(nlh, sizeof(*msg));
	msg->nfgen_family = NFPROTO_IPV4;
	return nlh;
}

static struct nlmsghdr *begin_rule(void)
{
	struct nlmsghdr *nlh = begin(NFT_MSG_NEWRULE);

	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, "nat");
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, "PREROUTING");
	list = mnl_attr_nest_start(nlh, NFTA_RULE_EXPRESSIONS);
	return nlh;
}

static void open_expression(struct nlmsghdr *nlh, const char *name)
{
	element = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	mnl_attr_put_strz(nlh, NFTA_EXPR_NAME, name);
	data = mnl_attr_nest_start(nlh, NFTA_EXPR_DATA);
}

static void close_expression(struct nlmsghdr *nlh)
{
	mnl_attr_nest_end(nlh, data);
	mnl_attr_nest_end(nlh, element);
}

static void put_number(struct nlmsghdr *nlh, uint16_t type, uint32_t value)
{
	mnl_attr_put_u32(nlh, type, htonl(value));
}

static void put_match(struct nlmsghdr *nlh, const char *name, uint16_t from, uint16_t to,
		      bool invert)
{
	struct xt_udp udp = { .spts = { 0, 65535 }, .dpts = { from, to } };

	udp.invflags = invert ? XT_UDP_INV_DSTPT : 0;
	open_expression(nlh, "match");
	mnl_attr_put_strz(nlh, NFTA_MATCH_NAME, name);
	put_number(nlh, NFTA_MATCH_REV, 0);
	mnl_attr_put(nlh, NFTA_MATCH_INFO, sizeof(udp), &udp);
	close_expression(nlh);
}

static void put_target(struct nlmsghdr *nlh, const char *name)
{
	open_expression(nlh, "target");
	mnl_attr_put_strz(nlh, NFTA_TARGET_NAME, name);
	mnl_attr_put(nlh, NFTA_TARGET_INFO, 8, "01234567");
	close_expression(nlh);
}

static void put_payload(struct nlmsghdr *nlh, uint32_t base, uint32_t offset, uint32_t len,
			uint32_t reg)
{
	open_expression(nlh, "payload");
	put_number(nlh, NFTA_PAYLOAD_DREG, reg);
	put_number(nlh, NFTA_PAYLOAD_BASE, base);
	put_number(nlh, NFTA_PAYLOAD_OFFSET, offset);
	put_number(nlh, NFTA_PAYLOAD_LEN, len);
	close_expression(nlh);
}

static void put_compare(struct nlmsghdr *nlh, uint32_t reg, uint32_t op, const void *value,
			size_t len)
{
	struct nlattr *nest;

	open_expression(nlh, "cmp");
	put_number(nlh, NFTA_CMP_SREG, reg);
	put_number(nlh, NFTA_CMP_OP, op);
	nest = mnl_attr_nest_start(nlh, NFTA_CMP_DATA);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, len, value);
	mnl_attr_nest_end(nlh, nest);
	close_expression(nlh);
}

static struct nft_rule end_rule(struct nlmsghdr *nlh)
{
	struct nft_rule rule;

	mnl_attr_nest_end(nlh, list);
	memset(&rule, 0xee, sizeof(rule));
	assert_true(nft_rule_decode(&rule, nlh, nlh->nlmsg_len, PORT));
	return rule;
}

/* -p udp --dport from:to -j DNAT, as iptables-nft has it. */
static struct nlmsghdr *xtables_rule(const char *match, uint16_t from, uint16_t to, bool invert)
{
	struct nlmsghdr *nlh = begin_rule();
	uint8_t protocol = IPPROTO_UDP;

	put_payload(nlh, NFT_PAYLOAD_NETWORK_HEADER, 9, 1, NFT_REG_1);
	put_compare(nlh, NFT_REG_1, NFT_CMP_EQ, &protocol, 1);
	put_match(nlh, match, from, to, invert);
	put_target(nlh, "DNAT");
	return nlh;
}

static void test_chain(void **state)
{
	struct nlmsghdr *nlh = begin(NFT_MSG_NEWCHAIN);
	struct nft_chain chain;
	struct nlattr *nest;

	(void)state;
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, "nat");
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, "POSTROUTING");
	assert_true(nft_chain_decode(&chain, nlh, nlh->nlmsg_len));
	assert_false(chain.has_hook);
	nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	put_number(nlh, NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING);
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, "nat");
	assert_true(nft_chain_decode(&chain, nlh, nlh->nlmsg_len));
	assert_true(chain.has_hook && chain.is_nat);
	assert_int_equal(chain.hook, NF_INET_POST_ROUTING);
	assert_int_equal(chain.place.family, NFPROTO_IPV4);
	assert_string_equal(chain.place.table, "nat");
	assert_string_equal(chain.place.chain, "POSTROUTING");
	nlh->nlmsg_type++;
	assert_false(nft_chain_decode(&chain, nlh, nlh->nlmsg_len));
}

static void test_xtables(void **state)
{
	static const struct {
		const char *match;
		uint16_t from, to;
		bool invert, is_port;
	} matches[] = {
		{ "udp", 4000, 4000, false, true },   { "udp", 4000, 4000, true, false },
		{ "udp", 4001, 65535, false, false }, { "udp", 0, 3999, false, false },
		{ "udp", 0, 3999, true, true },	      { "udp", 3999, 4001, false, true },
		{ "other", 1, 1, false, true },
	};
	static const struct {
		const char *name;
		enum nft_does does;
	} targets[] = {
		{ "DNAT", NFT_DOES_DNAT },     { "REDIRECT", NFT_DOES_REDIRECT },
		{ "TPROXY", NFT_DOES_TPROXY }, { "SNAT", NFT_DOES_SNAT },
		{ "NETMAP", NFT_DOES_NETMAP }, { "MASQUERADE", NFT_DOES_MASQUERADE },
		{ "LOG", NFT_DOES_NOTHING },   { "DNATX", NFT_DOES_NOTHING },
	};
	struct nlmsghdr *nlh;
	struct nft_rule rule;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
		rule = end_rule(xtables_rule(matches[i].match, matches[i].from, matches[i].to,
					     matches[i].invert));
		assert_true(rule.is_udp);
		assert_int_equal(rule.is_port, matches[i].is_port);
		assert_int_equal(rule.does, NFT_DOES_DNAT);
	}
	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		nlh = begin_rule();
		put_target(nlh, targets[i].name);
		assert_int_equal(end_rule(nlh).does, targets[i].does);
	}
}

/* A comparison counts only while the register holds what was loaded. */
static void test_registers(void **state)
{
	static const uint32_t overlays[][2] = {
		{ NFT_REG_1, NFT_REG32_00 },
		{ NFT_REG_2, NFT_REG32_04 },
		{ NFT_REG_4, NFT_REG32_12 },
	};
	uint16_t other = htons(4001);
	struct nlmsghdr *nlh;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		nlh = begin_rule();
		put_payload(nlh, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, overlays[i][0]);
		put_compare(nlh, overlays[i][1], NFT_CMP_EQ, &other, 2);
		assert_false(end_rule(nlh).is_port);
	}
	/* Another register; another value in it; a comparison of another size; no register. */
	nlh = begin_rule();
	put_payload(nlh, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
	put_compare(nlh, NFT_REG_2, NFT_CMP_EQ, &other, 2);
	put_compare(nlh, NFT_REG_1, NFT_CMP_EQ, "1234", 4);
	put_compare(nlh, NFT_REG_VERDICT, NFT_CMP_EQ, &other, 2);
	put_compare(nlh, 77, NFT_CMP_EQ, &other, 2);
	put_payload(nlh, NFT_PAYLOAD_NETWORK_HEADER, 12, 2, NFT_REG_1);
	put_compare(nlh, NFT_REG_1, NFT_CMP_EQ, &other, 2);
	put_payload(nlh, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG_1);
	open_expression(nlh, "bitwise");
	put_number(nlh, NFTA_BITWISE_SREG, NFT_REG_1);
	put_number(nlh, NFTA_BITWISE_DREG, NFT_REG_1);
	close_expression(nlh);
	put_compare(nlh, NFT_REG_1, NFT_CMP_EQ, &other, 2);
	assert_true(end_rule(nlh).is_port);
}

/* What stands behind the list is none of it. */
static void test_stops_at_list(void **state)
{
	struct nlmsghdr *nlh = begin_rule();
	struct nft_rule rule;

	(void)state;
	put_match(nlh, "udp", 4000, 4000, false);
	mnl_attr_nest_end(nlh, list);
	put_target(nlh, "DNAT");
	assert_true(nft_rule_decode(&rule, nlh, nlh->nlmsg_len, PORT));
	assert_int_equal(rule.does, NFT_DOES_NOTHING);
}

/* ---------------------------------------------------------------- hostile messages */

static uint64_t random_state = 5;

static uint32_t random32(void)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(random_state >> 33);
}

/* Of a copy on the heap, of exact size, that AddressSanitizer watches the end of. */
static void decode_exact(const void *message, size_t room)
{
	struct nlmsghdr *copy = malloc(room ? room : 1);
	struct nft_chain chain;
	struct nft_rule rule;

	memcpy(copy, message, room);
	if (nft_rule_decode(&rule, copy, room, PORT)) {
		assert_non_null(memchr(rule.place.table, 0, NFT_NAME_MAXLEN));
		assert_non_null(memchr(rule.place.chain, 0, NFT_NAME_MAXLEN));
		assert_in_range(rule.does, NFT_DOES_NOTHING, NFT_DOES_NETMAP);
	}
	if (nft_chain_decode(&chain, copy, room))
		assert_non_null(memchr(chain.place.chain, 0, NFT_NAME_MAXLEN));
	free(copy);
}

static void test_hostile(void **state)
{
	struct nlmsghdr *nlh = xtables_rule("udp", 4000, 4000, false);
	char original[sizeof(buf)];
	uint32_t len, round, n;

	(void)state;
	end_rule(nlh);
	len = nlh->nlmsg_len;
	memcpy(original, buf, sizeof(buf));
	for (n = 0; n < len; n++) {
		decode_exact(buf, n);
		nlh->nlmsg_len = n;
		decode_exact(buf, n);
		nlh->nlmsg_len = len;
	}
	for (round = 0; round < 100000; round++) {
		memcpy(buf, original, sizeof(buf));
		for (n = 1 + random32() % 6; n > 0; n--)
			buf[random32() % len] = (char)random32();
		if (random32() % 2)
			nlh->nlmsg_type =
				(uint16_t)(NFNL_SUBSYS_NFTABLES << 8 |
					   (random32() % 2 ? NFT_MSG_NEWRULE : NFT_MSG_NEWCHAIN));
		decode_exact(buf, random32() % 4 ? len : random32() % len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chain),	  cmocka_unit_test(test_xtables),
		cmocka_unit_test(test_registers), cmocka_unit_test(test_stops_at_list),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
