/* SPDX-License-Identifier: MIT */
/*
 * nftables is asked by nfnetlink, iptables-nft with it. Of the older iptables only the names of
 * its tables are read: to ask for their rules would load its modules, and with them hooks.
 */
#include "net/nat.h"

#include "net/ask.h"
#include "net/attr.h"
#include "net/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Chains called by the kernel; a ruleset with more than these is not looked at to its end. */
#define MAX_HOOKED 256u

/* What is asked, and what is known of it so far. */
struct look {
	struct nat_view found;
	uint32_t generation;
	struct nft_chain *hooked; /* those in which addresses may be translated */
	unsigned hooked_count;
};

static const char *family_name(uint8_t family)
{
	switch (family) {
	case NFPROTO_IPV4:
		return "ip";
	case NFPROTO_IPV6:
		return "ip6";
	default:
		return "inet";
	}
}

/* ---------------------------------------------------------------- answers */

static int take_generation(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	const char *msg = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *attr;

	(void)room;
	attr = attr_at(msg + sizeof(struct nfgenmsg), message_end(nlh));
	for (; attr; attr = attr_after(attr, message_end(nlh))) {
		if (mnl_attr_get_type(attr) == NFTA_GEN_ID)
			*(uint32_t *)arg = ntohl(attr_u32(attr));
	}
	return 0;
}

static int take_chain(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	struct look *look = arg;
	struct nft_chain chain;

	if (!nft_chain_decode(&chain, nlh, room) || !chain.has_hook)
		return 0;
	/* A transparent proxy stands in a chain of any type. */
	if (!chain.is_nat && chain.hook != NF_INET_PRE_ROUTING)
		return 0;
	if (chain.place.family != NFPROTO_IPV4 && chain.place.family != NFPROTO_IPV6 &&
	    chain.place.family != NFPROTO_INET)
		return 0;
	if (look->hooked_count < MAX_HOOKED)
		look->hooked[look->hooked_count++] = chain;
	return 0;
}

static bool same_table(const struct nft_place *a, const struct nft_place *b)
{
	return a->family == b->family && strcmp(a->table, b->table) == 0;
}

/* Whether packets at that hook may come to the rule: any chain of a table may be jumped to. */
static bool is_reached(const struct look *look, const struct nft_place *place, uint32_t hook)
{
	const struct nft_chain *chain;
	bool reached = false;

	for (chain = look->hooked; chain < look->hooked + look->hooked_count; chain++) {
		if (!same_table(&chain->place, place))
			continue;
		if (strcmp(chain->place.chain, place->chain) == 0)
			return chain->hook == hook;
		reached |= chain->hook == hook;
	}
	return reached;
}

static const char *verb(enum nft_does does)
{
	static const char *const verbs[] = {
		[NFT_DOES_DNAT] = "dnat",	[NFT_DOES_REDIRECT] = "redirect",
		[NFT_DOES_TPROXY] = "tproxy",	[NFT_DOES_SNAT] = "snat",
		[NFT_DOES_NETMAP] = "netmap",	[NFT_DOES_MASQUERADE] = "masquerade",
		[NFT_DOES_NOTHING] = "nothing",
	};

	return verbs[does];
}

static enum nat_kind judge(const struct look *look, const struct nft_rule *rule)
{
	bool source = rule->does == NFT_DOES_SNAT || rule->does == NFT_DOES_MASQUERADE;
	uint32_t hook = source ? NF_INET_LOCAL_IN : NF_INET_PRE_ROUTING;

	if (rule->does == NFT_DOES_NOTHING || !rule->is_udp)
		return NAT_NONE;
	if (rule->is_port && is_reached(look, &rule->place, hook))
		return NAT_PORT;
	if ((source || rule->does == NFT_DOES_NETMAP) &&
	    is_reached(look, &rule->place, NF_INET_POST_ROUTING))
		return NAT_SOURCE;
	return NAT_NONE;
}

static int take_rule(void *arg, const struct nlmsghdr *nlh, size_t room)
{
	struct look *look = arg;
	struct nat_view *found = &look->found;
	const struct nft_place *place;
	enum nat_kind kind = NAT_NONE;
	struct nft_rule rule;
	char where[48];

	if (nft_rule_decode(&rule, nlh, room, found->port))
		kind = judge(look, &rule);
	if (kind == NAT_NONE || found->kind == NAT_PORT || found->kind == kind)
		return 0;
	found->kind = kind;
	place = &rule.place;
	snprintf(where, sizeof(where), "%s %.20s %.20s", family_name(place->family), place->table,
		 place->chain);
	if (kind == NAT_PORT)
		snprintf(found->text, sizeof(found->text), "nft: %s of UDP port %u in %s",
			 verb(rule.does), found->port, where);
	else
		snprintf(found->text, sizeof(found->text),
			 "nft: %s in %s: replies to flows that use port %u are taken",
			 verb(rule.does), where, found->port);
	return 0;
}

/* ---------------------------------------------------------------- questions */

static int question(struct ask *a, uint16_t type, uint16_t flags,
		    int (*take)(void *arg, const struct nlmsghdr *nlh, size_t room), void *arg)
{
	_Alignas(struct nlmsghdr) char buf[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *msg = mnl_nlmsg_put_extra_header(request, sizeof(*msg));

	request->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	msg->nfgen_family = NFPROTO_UNSPEC;
	msg->version = NFNETLINK_V0;
	return ask_kernel(a, request, flags, take, arg, NULL);
}

static bool means_absent(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -EPROTONOSUPPORT ||
	       err == -EAFNOSUPPORT || err == -ENOENT;
}

/*
 * The generation comes first: when the rules change while they are read, the next look sees it.
 * With the generation that is known already, nothing else is asked.
 */
static int look_at_rules(struct look *look, struct ask *a, uint32_t known)
{
	int err = question(a, NFT_MSG_GETGEN, NLM_F_ACK, take_generation, &look->generation);

	if (err || (known && look->generation == known))
		return err;
	look->hooked = calloc(MAX_HOOKED, sizeof(*look->hooked));
	if (!look->hooked)
		return -ENOMEM;
	err = question(a, NFT_MSG_GETCHAIN, NLM_F_DUMP, take_chain, look);
	if (!err && look->hooked_count)
		err = question(a, NFT_MSG_GETRULE, NLM_F_DUMP, take_rule, look);
	free(look->hooked);
	return err;
}

static int look_at_nft(struct look *look, uint32_t known)
{
	struct ask *a;
	int err = ask_open(&a, NETLINK_NETFILTER);

	if (!err) {
		err = look_at_rules(look, a, known);
		ask_close(a);
	}
	return means_absent(err) ? 0 : err;
}

/* Whether the file, of a table's name a line, has that of address translation. */
static bool names_nat(const char *path)
{
	char names[512];
	ssize_t len = -1;
	char *line, *rest;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, names, sizeof(names) - 1);
		close(fd);
	}
	if (len < 0)
		return false;
	names[len] = '\0';
	for (line = strtok_r(names, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (strcmp(line, "nat") == 0)
			return true;
	}
	return false;
}

static void set_unseen(struct nat_view *view, const char *text)
{
	view->kind = NAT_UNSEEN;
	snprintf(view->text, sizeof(view->text), "%s", text);
}

int nat_look(uint16_t port, struct nat_view *view)
{
	uint32_t known = view->port == port ? view->generation : 0;
	struct look look = { .found = { .port = port } };
	int err = look_at_nft(&look, known);

	if (err && err != -EPERM && err != -EACCES)
		return err;
	/* Kept is what nftables said; what iptables has may come and go beside it. */
	if (!err && known && look.generation == known && view->kind != NAT_UNSEEN)
		look.found = *view;
	look.found.generation = look.generation;
	if (err)
		set_unseen(&look.found, "nft: no right to look for address translation");
	else if (look.found.kind == NAT_NONE && names_nat("/proc/thread-self/net/ip_tables_names"))
		set_unseen(&look.found, "iptables: its table nat may translate addresses");
	else if (look.found.kind == NAT_NONE && names_nat("/proc/thread-self/net/ip6_tables_names"))
		set_unseen(&look.found, "ip6tables: its table nat may translate addresses");
	*view = look.found;
	return 0;
}
