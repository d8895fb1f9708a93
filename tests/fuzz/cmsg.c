/* SPDX-License-Identifier: MIT */
/*
 * Control data as no kernel would write it, compared with a second reading by plain offsets; and
 * what is written for an endpoint, read back.
 */
#include "fuzz.h"

#include <netinet/in.h>
#include <netinet/udp.h>

#include "sock/cmsg.h"

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

/* One message with `room` bytes of payload. */
static void expect_one(struct cmsg_in *in, uint32_t level, uint32_t type, const uint8_t *payload,
		       size_t room)
{
	if (level == IPPROTO_IP && type == IP_PKTINFO && room >= 12) {
		memset(&in->local, 0, sizeof(in->local));
		memcpy(&in->local, payload + 4, 4); /* ipi_spec_dst */
		in->ifindex = get32(payload);
		in->has_local = true;
	} else if (level == IPPROTO_IP && type == IP_TOS && room >= 1) {
		in->tos = payload[0];
	} else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO && room >= 20) {
		memset(&in->local, 0, sizeof(in->local));
		if (payload[0] != 0xff)
			memcpy(&in->local, payload, 16);
		in->ifindex = get32(payload + 16);
		in->has_local = true;
	} else if (level == IPPROTO_IPV6 && type == IPV6_TCLASS && room >= 4) {
		in->tos = (uint8_t)get32(payload);
	} else if (level == SOL_UDP && type == UDP_GRO && room >= 4) {
		in->gro_size = get32(payload) >> 31 ? 0 : get32(payload);
	} else if (level == SOL_SOCKET && type == SO_RXQ_OVFL && room >= 4) {
		in->drops = get32(payload);
	}
}

/* Messages up to the first whose length is not one. */
static void expect(struct cmsg_in *in, const uint8_t *data, size_t size)
{
	size_t at = 0, len;

	memset(in, 0, sizeof(*in));
	while (size - at >= sizeof(struct cmsghdr)) {
		memcpy(&len, data + at, sizeof(len));
		if (len > size - at || len < sizeof(struct cmsghdr))
			break;
		expect_one(in, get32(data + at + 8), get32(data + at + 12), data + at + 16,
			   len - 16);
		len = (len + 7) & ~(size_t)7;
		if (len > size - at)
			break;
		at += len;
	}
}

static void check_equal(const struct cmsg_in *a, const struct cmsg_in *b)
{
	REQUIRE(!memcmp(&a->local, &b->local, sizeof(a->local)));
	REQUIRE(a->ifindex == b->ifindex);
	REQUIRE(a->drops == b->drops);
	REQUIRE(a->gro_size == b->gro_size);
	REQUIRE(a->tos == b->tos);
	REQUIRE(a->has_local == b->has_local);
}

static void check_read(const uint8_t *data, size_t size)
{
	uint8_t *control = fuzz_copy(data, size);
	struct msghdr msg = { .msg_control = control, .msg_controllen = size };
	struct cmsg_in in, wanted;

	memset(&in, 0xa5, sizeof(in));
	cmsg_read(&in, &msg);
	expect(&wanted, data, size);
	check_equal(&in, &wanted);
	REQUIRE(!size || !memcmp(control, data, size));
	free(control);
}

/* What was written says just this, in messages that the kernel would take. */
static void check_written(const uint8_t *buf, size_t len, const struct mr_endpoint *e, uint8_t tos,
			  uint16_t gso_size)
{
	struct msghdr msg = { .msg_control = (void *)(uintptr_t)buf, .msg_controllen = len };
	static const union mr_address none;
	bool ip4 = e->family == AF_INET, source;
	struct cmsg_in in;
	uint16_t segment;

	cmsg_read(&in, &msg);
	REQUIRE(in.tos == tos);
	REQUIRE(in.gro_size == 0 && in.drops == 0);
	source = memcmp(&e->local, &none, ip4 ? 4 : 16) != 0;
	REQUIRE(in.has_local == source);
	if (source && ip4)
		REQUIRE(!memcmp(&in.local, &e->local, 4));
	else if (source && e->local.bytes[0] != 0xff)
		REQUIRE(!memcmp(&in.local, &e->local, 16));
	/* Nothing is pinned to an interface but what means nothing without one. */
	if (in.ifindex && ip4)
		REQUIRE(e->remote.bytes[0] >> 4 == 0xe && in.ifindex == e->ifindex);
	else if (in.ifindex)
		REQUIRE(in.ifindex == e->ifindex || in.ifindex == e->scope);
	if (gso_size) {
		memcpy(&segment, buf + len - 8, sizeof(segment));
		REQUIRE(len >= 24 && get32(buf + len - 12) == UDP_SEGMENT && segment == gso_size);
	}
	REQUIRE((len == 0) == (!source && !tos && !gso_size));
}

static void check_write(const uint8_t *data, size_t size)
{
	uint8_t *buf = malloc(CMSG_OUT_ROOM);
	struct mr_endpoint e;
	uint16_t gso_size;
	size_t len;

	REQUIRE(buf);
	if (size >= sizeof(e) + 3) {
		memcpy(&e, data, sizeof(e));
		e.family = data[0] & 1 ? AF_INET : AF_INET6;
		memcpy(&gso_size, data + sizeof(e) + 1, sizeof(gso_size));
		len = cmsg_write(buf, &e, data[sizeof(e)], gso_size);
		REQUIRE(len <= CMSG_OUT_ROOM && len % 8 == 0);
		check_written(buf, len, &e, data[sizeof(e)], gso_size);
	}
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_read(data, size);
	check_write(data, size);
	return 0;
}
