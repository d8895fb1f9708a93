/* SPDX-License-Identifier: MIT */
#include "net/nft.h"

#include "net/attr.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <netinet/in.h>
#include <string.h>

/* Attributes of the nested kind, up to NFT_ATTRS - 1; those that are not there are NULL. */
#define NFT_ATTRS 16

struct attrs {
	const struct nlattr *of[NFT_ATTRS];
};

static struct attrs collect(const struct nlattr *attr, const void *end)
{
	struct attrs all = { 0 };

	for (; attr; attr = attr_after(attr, end)) {
		if (mnl_attr_get_type(attr) < NFT_ATTRS)
			all.of[mnl_attr_get_type(attr)] = attr;
	}
	return all;
}

static struct attrs collect_nested(const struct nlattr *nest)
{
	return nest ? collect(attr_first(nest), attr_end(nest)) : (struct attrs){ 0 };
}

/* Numbers are in network order; UINT32_MAX when there is none. */
static uint32_t number(const struct nlattr *attr)
{
	if (!attr || mnl_attr_get_payload_len(attr) != sizeof(uint32_t))
		return UINT32_MAX;
	return ntohl(mnl_attr_get_u32(attr));
}

static bool text_is(const struct nlattr *attr, const char *text)
{
	size_t len = strlen(text);

	return attr && mnl_attr_get_payload_len(attr) > len &&
	       memcmp(mnl_attr_get_payload(attr), text, len + 1) == 0;
}

static bool get_name(char out[NFT_NAME_MAXLEN], const struct nlattr *attr)
{
	size_t room = attr ? mnl_attr_get_payload_len(attr) : 0;
	size_t len = room ? strnlen(mnl_attr_get_payload(attr), room) : 0;

	memset(out, 0, NFT_NAME_MAXLEN);
	if (!len || len >= NFT_NAME_MAXLEN)
		return false;
	memcpy(out, mnl_attr_get_payload(attr), len);
	return true;
}

/* The attributes of a whole message of that kind; false when it is another. */
static bool open_message(struct attrs *all, uint8_t *family, const struct nlmsghdr *nlh,
			 size_t room, uint16_t type)
{
	const struct nfgenmsg *msg;

	if (room < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) + sizeof(*msg) ||
	    nlh->nlmsg_len > room)
		return false;
	if (nlh->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | type))
		return false;
	msg = mnl_nlmsg_get_payload(nlh);
	*family = msg->nfgen_family;
	*all = collect(attr_at(msg + 1, message_end(nlh)), message_end(nlh));
	return true;
}

bool nft_chain_decode(struct nft_chain *chain, const struct nlmsghdr *nlh, size_t room)
{
	struct attrs all, hook;

	memset(chain, 0, sizeof(*chain));
	if (!open_message(&all, &chain->place.family, nlh, room, NFT_MSG_NEWCHAIN))
		return false;
	hook = collect_nested(all.of[NFTA_CHAIN_HOOK]);
	chain->has_hook = hook.of[NFTA_HOOK_HOOKNUM];
	chain->hook = number(hook.of[NFTA_HOOK_HOOKNUM]);
	chain->is_nat = text_is(all.of[NFTA_CHAIN_TYPE], "nat");
	return get_name(chain->place.table, all.of[NFTA_CHAIN_TABLE]) &&
	       get_name(chain->place.chain, all.of[NFTA_CHAIN_NAME]);
}

/* ---------------------------------------------------------------- what a rule compares */

enum held { HELD_UNKNOWN, HELD_PROTOCOL, HELD_PORT };

/* A rule as it is worked through: what the registers hold, and what is known by then. */
struct work {
	struct nft_rule *rule;
	uint16_t port;
	enum held held[NFT_REG32_15 - NFT_REG32_00 + 1];
};

/* Registers of 16 bytes overlay those of four; NULL for that of the verdict, and for none. */
static enum held *slot(struct work *w, uint32_t reg)
{
	if (reg >= NFT_REG_1 && reg <= NFT_REG_4)
		return &w->held[(reg - NFT_REG_1) * (NFT_REG_SIZE / NFT_REG32_SIZE)];
	if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15)
		return &w->held[reg - NFT_REG32_00];
	return NULL;
}

/* What else is loaded may cover several registers: nothing is known of any after it. */
static void load(struct work *w, uint32_t reg, enum held what)
{
	enum held *to = slot(w, reg);

	if (what == HELD_UNKNOWN)
		memset(w->held, 0, sizeof(w->held));
	else if (to)
		*to = what;
}

static void load_meta(struct work *w, const struct attrs *a)
{
	bool protocol = number(a->of[NFTA_META_KEY]) == NFT_META_L4PROTO;

	load(w, number(a->of[NFTA_META_DREG]), protocol ? HELD_PROTOCOL : HELD_UNKNOWN);
}

static void load_payload(struct work *w, const struct attrs *a)
{
	uint32_t base = number(a->of[NFTA_PAYLOAD_BASE]);
	uint32_t offset = number(a->of[NFTA_PAYLOAD_OFFSET]), len = number(a->of[NFTA_PAYLOAD_LEN]);
	uint8_t family = w->rule->place.family;
	enum held what = HELD_UNKNOWN;

	/* The destination port; the protocol of IPv4, the next header of IPv6. */
	if (base == NFT_PAYLOAD_TRANSPORT_HEADER && offset == 2 && len == 2)
		what = HELD_PORT;
	if (base == NFT_PAYLOAD_NETWORK_HEADER && len == 1 &&
	    ((family == NFPROTO_IPV4 && offset == 9) || (family == NFPROTO_IPV6 && offset == 6)))
		what = HELD_PROTOCOL;
	load(w, number(a->of[NFTA_PAYLOAD_DREG]), what);
}

/* The value in a nest of data; false when it is not of that size. */
static bool get_value(const struct nlattr *nest, void *value, size_t size)
{
	const struct nlattr *attr = collect_nested(nest).of[NFTA_DATA_VALUE];

	if (!attr || mnl_attr_get_payload_len(attr) != size)
		return false;
	memcpy(value, mnl_attr_get_payload(attr), size);
	return true;
}

/* What the register would hold for a datagram to the port; its size, or 0 when nobody knows. */
static size_t expected(struct work *w, uint32_t reg, uint8_t value[2])
{
	const enum held *held = slot(w, reg);

	if (!held || *held == HELD_UNKNOWN)
		return 0;
	value[0] = *held == HELD_PORT ? (uint8_t)(w->port >> 8) : IPPROTO_UDP;
	value[1] = (uint8_t)w->port;
	return *held == HELD_PORT ? 2 : 1;
}

static bool holds(uint32_t op, int order)
{
	switch (op) {
	case NFT_CMP_EQ:
		return order == 0;
	case NFT_CMP_NEQ:
		return order != 0;
	case NFT_CMP_LT:
		return order < 0;
	case NFT_CMP_LTE:
		return order <= 0;
	case NFT_CMP_GT:
		return order > 0;
	case NFT_CMP_GTE:
		return order >= 0;
	default:
		return true;
	}
}

/* A condition on the protocol or, with size 2, on the port does not hold. */
static void fails(struct work *w, size_t size)
{
	w->rule->is_port = false;
	if (size == 1)
		w->rule->is_udp = false;
}

static void compare(struct work *w, const struct attrs *a)
{
	uint8_t mine[2], theirs[2];
	size_t size = expected(w, number(a->of[NFTA_CMP_SREG]), mine);

	if (!size || !get_value(a->of[NFTA_CMP_DATA], theirs, size))
		return;
	if (!holds(number(a->of[NFTA_CMP_OP]), memcmp(mine, theirs, size)))
		fails(w, size);
}

static void compare_range(struct work *w, const struct attrs *a)
{
	uint32_t op = number(a->of[NFTA_RANGE_OP]);
	uint8_t mine[2], from[2], to[2];
	size_t size = expected(w, number(a->of[NFTA_RANGE_SREG]), mine);
	bool within;

	if (!size || !get_value(a->of[NFTA_RANGE_FROM_DATA], from, size) ||
	    !get_value(a->of[NFTA_RANGE_TO_DATA], to, size))
		return;
	within = memcmp(mine, from, size) >= 0 && memcmp(mine, to, size) <= 0;
	if ((op == NFT_RANGE_EQ && !within) || (op == NFT_RANGE_NEQ && within))
		fails(w, size);
}

/* `-m udp` of iptables. */
static void match(struct work *w, const struct attrs *a)
{
	const struct nlattr *info = a->of[NFTA_MATCH_INFO];
	struct xt_udp udp;
	bool within;

	if (!text_is(a->of[NFTA_MATCH_NAME], "udp") || !info ||
	    mnl_attr_get_payload_len(info) < sizeof(udp))
		return;
	memcpy(&udp, mnl_attr_get_payload(info), sizeof(udp));
	within = w->port >= udp.dpts[0] && w->port <= udp.dpts[1];
	if (within == !!(udp.invflags & XT_UDP_INV_DSTPT))
		fails(w, 2);
}

/* ---------------------------------------------------------------- what a rule does */

static enum nft_does target(const struct attrs *a)
{
	static const struct {
		const char *name;
		enum nft_does does;
	} targets[] = {
		{ "DNAT", NFT_DOES_DNAT },     { "REDIRECT", NFT_DOES_REDIRECT },
		{ "TPROXY", NFT_DOES_TPROXY }, { "SNAT", NFT_DOES_SNAT },
		{ "NETMAP", NFT_DOES_NETMAP }, { "MASQUERADE", NFT_DOES_MASQUERADE },
	};
	size_t i;

	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		if (text_is(a->of[NFTA_TARGET_NAME], targets[i].name))
			return targets[i].does;
	}
	return NFT_DOES_NOTHING;
}

static enum nft_does translation(const struct attrs *a)
{
	return number(a->of[NFTA_NAT_TYPE]) == NFT_NAT_SNAT ? NFT_DOES_SNAT : NFT_DOES_DNAT;
}

static void work(struct work *w, const struct nlattr *name, const struct attrs *a)
{
	struct nft_rule *rule = w->rule;

	if (text_is(name, "meta"))
		load_meta(w, a);
	else if (text_is(name, "payload"))
		load_payload(w, a);
	else if (text_is(name, "cmp"))
		compare(w, a);
	else if (text_is(name, "range"))
		compare_range(w, a);
	else if (text_is(name, "match"))
		match(w, a);
	else if (text_is(name, "target"))
		rule->does = target(a);
	else if (text_is(name, "nat"))
		rule->does = translation(a);
	else if (text_is(name, "redir"))
		rule->does = NFT_DOES_REDIRECT;
	else if (text_is(name, "tproxy"))
		rule->does = NFT_DOES_TPROXY;
	else if (text_is(name, "masq"))
		rule->does = NFT_DOES_MASQUERADE;
	else /* It may load registers. */
		load(w, 0, HELD_UNKNOWN);
}

bool nft_rule_decode(struct nft_rule *rule, const struct nlmsghdr *nlh, size_t room, uint16_t port)
{
	struct work w = { .rule = rule, .port = port };
	const struct nlattr *list, *expression;
	struct attrs all, one, data;

	memset(rule, 0, sizeof(*rule));
	rule->is_udp = rule->is_port = true;
	if (!open_message(&all, &rule->place.family, nlh, room, NFT_MSG_NEWRULE))
		return false;
	list = all.of[NFTA_RULE_EXPRESSIONS];
	expression = list ? attr_first(list) : NULL;
	for (; expression; expression = attr_after(expression, attr_end(list))) {
		one = collect_nested(expression);
		data = collect_nested(one.of[NFTA_EXPR_DATA]);
		if (one.of[NFTA_EXPR_NAME])
			work(&w, one.of[NFTA_EXPR_NAME], &data);
	}
	return get_name(rule->place.table, all.of[NFTA_RULE_TABLE]) &&
	       get_name(rule->place.chain, all.of[NFTA_RULE_CHAIN]);
}
