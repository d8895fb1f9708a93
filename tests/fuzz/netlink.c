/* SPDX-License-Identifier: MIT */
/*
 * Netlink messages, one behind the other, whose lengths may lie: each is decoded and applied to a
 * table, and the table has to stay one.
 */
#include "fuzz.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include "net/table.h"

static struct net_event decode(const void *bytes, size_t room, int fill)
{
	uint8_t *copy = fuzz_copy(bytes, room);
	struct net_event event;

	memset(&event, fill, sizeof(event));
	net_event_decode(&event, (const struct nlmsghdr *)copy, room);
	free(copy);
	return event;
}

/* With something telling behind it, for ASan does not look into libmnl. */
static struct net_event decode_before(const void *bytes, size_t room, int behind)
{
	enum { TAIL = 32 };
	uint8_t *copy = malloc(room + TAIL);
	struct net_event event;

	REQUIRE(copy);
	memcpy(copy, bytes, room);
	memset(copy + room, behind, TAIL);
	net_event_decode(&event, (const struct nlmsghdr *)copy, room);
	free(copy);
	return event;
}

/* ---------------------------------------------------------------- read once more, by bytes */

struct span {
	const uint8_t *at;
	size_t len;
};

/* The payload of the last attribute of this type; *count is how many there are. */
static struct span find(struct span in, unsigned type, unsigned *count)
{
	struct span found = { NULL, 0 };

	*count = 0;
	while (in.len >= 4) {
		size_t len = in.at[0] + in.at[1] * 256u, step = (len + 3) & ~(size_t)3;

		if (len < 4 || len > in.len)
			break;
		if ((in.at[2] + in.at[3] * 256u) % 0x4000 == type) {
			found = (struct span){ in.at + 4, len - 4 };
			++*count;
		}
		if (step > in.len)
			break;
		in = (struct span){ in.at + step, in.len - step };
	}
	return found;
}

static uint32_t number(struct span in, unsigned type)
{
	unsigned count;
	struct span found = find(in, type, &count);
	uint32_t value = 0;

	if (found.len == sizeof(value))
		memcpy(&value, found.at, sizeof(value));
	return value;
}

/* Of a whole RTM_NEWLINK or RTM_DELLINK: nothing is read of where it does not belong. */
static void check_link_values(const uint8_t *data, uint32_t len, const struct net_link *link)
{
	size_t before = sizeof(struct nlmsghdr) + sizeof(struct ifinfomsg);
	struct span all = { data + before, len - before }, nest;
	unsigned nests;

	REQUIRE(link->mtu == number(all, IFLA_MTU));
	REQUIRE(link->master == number(all, IFLA_MASTER));
	REQUIRE(link->rx_queues == number(all, IFLA_NUM_RX_QUEUES));
	nest = find(all, IFLA_XDP, &nests);
	if (nests <= 1)
		REQUIRE(link->xdp_program == number(nest, IFLA_XDP_PROG_ID));
}

/* ---------------------------------------------------------------- what may come out */

static void check_text(const char text[16])
{
	size_t len = strnlen(text, 16);

	REQUIRE(len < 16);
	for (; len < 16; len++)
		REQUIRE(!text[len]);
}

static void check_link(const struct net_link *link, bool gone)
{
	REQUIRE(link->ifindex && link->ifindex <= INT32_MAX);
	REQUIRE(link->lower != link->ifindex);
	check_text(link->name);
	check_text(link->kind);
	REQUIRE(gone || link->name[0]);
}

static void check_local(const struct net_local *local)
{
	unsigned bits = local->family == AF_INET ? 32 : 128;

	REQUIRE(local->family == AF_INET || local->family == AF_INET6);
	REQUIRE(local->prefix_len <= bits);
	/* Nothing behind the prefix, nor in the bytes that the family does not use. */
	for (unsigned bit = local->prefix_len; bit < 128; bit++)
		REQUIRE(!(local->address.bytes[bit / 8] & 0x80 >> bit % 8));
}

static void check_event(const struct net_event *e)
{
	switch (e->type) {
	case NET_EVENT_LINK:
	case NET_EVENT_LINK_GONE:
		check_link(&e->link, e->type == NET_EVENT_LINK_GONE);
		break;
	case NET_EVENT_LOCAL:
	case NET_EVENT_LOCAL_GONE:
		check_local(&e->local);
		break;
	case NET_EVENT_RULE:
		REQUIRE(e->rule.family == AF_INET || e->rule.family == AF_INET6);
		break;
	case NET_EVENT_CONF:
	case NET_EVENT_CONF_GONE:
		REQUIRE(e->conf.ifindex);
		break;
	case NET_EVENT_NONE:
		break;
	default:
		REQUIRE(e->type <= NET_EVENT_CONF_GONE);
	}
}

/* What comes out depends on the message alone: not on what was in *event, or stands behind. */
static struct net_event check_decode(const uint8_t *data, size_t size, uint32_t len)
{
	static const struct net_event none;
	struct net_event event = decode(data, size, 0), other = decode(data, size, 0xff);

	REQUIRE(!memcmp(&event, &other, sizeof(event)));
	if (len < sizeof(struct nlmsghdr) || len > size) {
		REQUIRE(!memcmp(&event, &none, sizeof(event)));
		return event;
	}
	other = decode_before(data, len, 0x11);
	REQUIRE(!memcmp(&event, &other, sizeof(event)));
	other = decode(data, len - 1, 0xff);
	REQUIRE(!memcmp(&other, &none, sizeof(other)));
	check_event(&event);
	if (event.type == NET_EVENT_LINK || event.type == NET_EVENT_LINK_GONE)
		check_link_values(data, len, &event.link);
	return event;
}

/* ---------------------------------------------------------------- the table */

static bool has_local(const struct net_table *t, const struct net_local *local)
{
	for (size_t i = 0; i < t->local_count; i++) {
		const struct net_local *row = &t->locals[i];

		if (row->family == local->family && row->prefix_len == local->prefix_len &&
		    row->excluded == local->excluded && row->ifindex == local->ifindex &&
		    !memcmp(&row->address, &local->address, sizeof(row->address)))
			return true;
	}
	return false;
}

static bool has_conf(const struct net_table *t, uint32_t ifindex)
{
	for (size_t i = 0; i < t->conf_count; i++)
		if (t->confs[i].ifindex == ifindex)
			return true;
	return false;
}

static void apply(struct net_table *t, const struct net_event *e)
{
	const struct net_link *link;
	int error = 1;

	net_table_apply(t, e, &error);
	REQUIRE(error == 0);
	switch (e->type) {
	case NET_EVENT_LINK:
		link = net_table_link(t, e->link.ifindex);
		REQUIRE(link && !strcmp(link->name, e->link.name) && link->mtu == e->link.mtu);
		break;
	case NET_EVENT_LINK_GONE:
		REQUIRE(!net_table_link(t, e->link.ifindex));
		break;
	case NET_EVENT_LOCAL:
		REQUIRE(has_local(t, &e->local));
		break;
	case NET_EVENT_LOCAL_GONE:
		REQUIRE(!has_local(t, &e->local));
		break;
	case NET_EVENT_CONF:
		REQUIRE(net_table_rp_filter(t, e->conf.ifindex) >= e->conf.rp_filter);
		break;
	case NET_EVENT_CONF_GONE:
		REQUIRE(!has_conf(t, e->conf.ifindex));
		break;
	default:
		break;
	}
	if (e->type != NET_EVENT_RULE) /* rules are counted, all others stand for themselves */
		REQUIRE(!net_table_apply(t, e, &error) && error == 0);
}

static void check_table(const struct net_table *t)
{
	REQUIRE(t->link_count <= t->link_room && t->local_count <= t->local_room);
	REQUIRE(t->conf_count <= t->conf_room);
	for (size_t i = 1; i < t->link_count; i++)
		REQUIRE(t->links[i - 1].ifindex < t->links[i].ifindex);
	for (size_t i = 1; i < t->conf_count; i++)
		REQUIRE(t->confs[i - 1].ifindex < t->confs[i].ifindex);
	for (size_t i = 0; i < t->local_count; i++) {
		struct net_table rest = { .locals = t->locals + i + 1,
					  .local_count = t->local_count - i - 1 };

		check_local(&t->locals[i]);
		REQUIRE(!has_local(&rest, &t->locals[i]));
	}
}

static void apply_change(void *arg, const struct net_event *e)
{
	check_event(e);
	apply(arg, e);
}

/* Rules and settings are no events here: a difference in them is told by an empty one. */
static void no_change(void *arg, const struct net_event *e)
{
	(void)arg;
	REQUIRE(e->type == NET_EVENT_NONE && e->routing);
}

static void count_changes(void *arg, const struct net_event *e)
{
	(void)e;
	++*(unsigned *)arg;
}

/* What compare says leads from one to the other. */
static void check_compare(const struct net_table *t)
{
	struct net_table other, nothing;
	unsigned changes = 0;

	net_table_init(&other);
	net_table_init(&nothing);
	net_table_compare(t, t, count_changes, &changes);
	REQUIRE(!changes);
	net_table_compare(&other, t, apply_change, &other);
	check_table(&other);
	net_table_compare(&other, t, no_change, NULL);
	net_table_compare(t, &nothing, apply_change, &other);
	REQUIRE(!other.link_count && !other.local_count);
	net_table_fini(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_table t;
	uint32_t len;

	net_table_init(&t);
	while (size >= sizeof(struct nlmsghdr)) {
		struct net_event event;

		memcpy(&len, data, sizeof(len));
		event = check_decode(data, size, len);
		apply(&t, &event);
		if (len < sizeof(struct nlmsghdr) || len > size || NLMSG_ALIGN(len) > size)
			break;
		data += NLMSG_ALIGN(len);
		size -= NLMSG_ALIGN(len);
	}
	decode(data, size, 0xff); /* less than a header is left, or a length that lies */
	check_table(&t);
	check_compare(&t);
	net_table_fini(&t);
	return 0;
}
