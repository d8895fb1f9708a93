/* SPDX-License-Identifier: MIT */
/* The codec of control messages (sock/cmsg.c), against memory and against the kernel. */
#include "unit.h"

#include "sock/cmsg.h"

/* ---------------------------------------------------------------- building control data */

struct control {
	_Alignas(8) uint8_t bytes[1024];
	size_t len;
};

static void add(struct control *c, int level, int type, const void *data, size_t size)
{
	struct cmsghdr h = { .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };

	assert_true(c->len + CMSG_SPACE(size) <= sizeof(c->bytes));
	memset(c->bytes + c->len, 0, CMSG_SPACE(size));
	memcpy(c->bytes + c->len, &h, sizeof(h));
	if (size)
		memcpy(c->bytes + c->len + CMSG_LEN(0), data, size);
	c->len += CMSG_SPACE(size);
}

/* From a heap block of exactly this length, so that the sanitizer sees a byte too many. */
static struct cmsg_in read_bytes(const void *bytes, size_t len)
{
	void *copy = malloc(len ? len : 1);
	struct msghdr h = { .msg_control = copy, .msg_controllen = len };
	struct cmsg_in in;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(&in, 0xa5, sizeof(in));
	cmsg_read(&in, &h);
	free(copy);
	return in;
}

static struct cmsg_in read_control(const struct control *c)
{
	return read_bytes(c->bytes, c->len);
}

static void assert_nothing(const struct cmsg_in *in)
{
	static const union mr_address none;

	assert_memory_equal(&in->local, &none, sizeof(none));
	assert_int_equal(in->ifindex, 0);
	assert_int_equal(in->drops, 0);
	assert_int_equal(in->gro_size, 0);
	assert_int_equal(in->tos, 0);
	assert_false(in->has_local);
}

static void add_pktinfo4(struct control *c, const char *spec_dst, const char *addr, int ifindex)
{
	struct in_pktinfo info = { .ipi_ifindex = ifindex };

	inet_pton(AF_INET, spec_dst, &info.ipi_spec_dst);
	inet_pton(AF_INET, addr, &info.ipi_addr);
	add(c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static void add_pktinfo6(struct control *c, const char *addr, unsigned ifindex)
{
	struct in6_pktinfo info = { .ipi6_ifindex = ifindex };

	inet_pton(AF_INET6, addr, &info.ipi6_addr);
	add(c, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

static void add_int(struct control *c, int level, int type, int value)
{
	add(c, level, type, &value, sizeof(value));
}

/* ---------------------------------------------------------------- reading */

static void test_read_nothing(void **state)
{
	struct control c = { .len = 0 };
	struct msghdr h = { .msg_control = NULL };
	struct cmsg_in in = read_control(&c);

	(void)state;
	assert_nothing(&in);
	memset(&in, 0xa5, sizeof(in));
	cmsg_read(&in, &h);
	assert_nothing(&in);
}

static void test_read_ip4(void **state)
{
	struct control c = { .len = 0 };
	uint8_t tos = 0xb9;
	struct cmsg_in in;

	(void)state;
	add_pktinfo4(&c, "192.0.2.1", "192.0.2.255", 7);
	in = read_control(&c);
	/* Never the header's destination: a broadcast address cannot be a source. */
	assert_address(&in.local, AF_INET, "192.0.2.1");
	assert_int_equal(in.ifindex, 7);
	assert_true(in.has_local);
	assert_int_equal(in.tos, 0);
	add(&c, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	in = read_control(&c);
	assert_int_equal(in.tos, 0xb9);
	assert_address(&in.local, AF_INET, "192.0.2.1");
}

static void test_read_ip6(void **state)
{
	struct control c = { .len = 0 };
	struct cmsg_in in;

	(void)state;
	add_int(&c, IPPROTO_IPV6, IPV6_TCLASS, 0xfe);
	add_pktinfo6(&c, "2001:db8::7", 0x12345);
	in = read_control(&c);
	assert_address(&in.local, AF_INET6, "2001:db8::7");
	assert_int_equal(in.ifindex, 0x12345);
	assert_true(in.has_local);
	assert_int_equal(in.tos, 0xfe);
}

/* A group cannot be the source of a reply: known to have come, but not from where to answer. */
static void test_read_ip6_group(void **state)
{
	static const char *const groups[] = { "ff02::1", "ff05::1:3", "ff0e::1", "ff01::1" };

	(void)state;
	for (unsigned i = 0; i < COUNT(groups); i++) {
		struct control c = { .len = 0 };
		struct cmsg_in in;

		add_pktinfo6(&c, groups[i], 3);
		in = read_control(&c);
		assert_address(&in.local, AF_INET6, "::");
		assert_int_equal(in.ifindex, 3);
		assert_true(in.has_local);
	}
}

static void test_read_numbers(void **state)
{
	static const struct {
		int given;
		uint32_t gro, drops;
	} rows[] = {
		{ 1, 1, 1 }, { 1472, 1472, 1472 },  { 65535, 65535, 65535 },
		{ 0, 0, 0 }, { -1, 0, UINT32_MAX }, { INT32_MIN, 0, 0x80000000u },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		struct control c = { .len = 0 };
		struct cmsg_in in;

		add_int(&c, SOL_UDP, UDP_GRO, rows[i].given);
		add_int(&c, SOL_SOCKET, SO_RXQ_OVFL, rows[i].given);
		in = read_control(&c);
		assert_int_equal(in.gro_size, rows[i].gro);
		assert_int_equal(in.drops, rows[i].drops);
	}
}

/* The same type number means another thing at another level. */
static void test_read_foreign(void **state)
{
	static const int levels[] = { IPPROTO_IP, IPPROTO_IPV6, SOL_UDP,
				      SOL_SOCKET, IPPROTO_TCP,	4711 };
	static const int types[] = { IP_PKTINFO,  IP_TOS,	IPV6_PKTINFO, IPV6_TCLASS, UDP_GRO,
				     SO_RXQ_OVFL, SO_TIMESTAMP, IP_TTL,	      -1,	   0 };
	static const struct {
		int level, type;
	} known[] = {
		{ IPPROTO_IP, IP_PKTINFO },	{ IPPROTO_IP, IP_TOS },
		{ IPPROTO_IPV6, IPV6_PKTINFO }, { IPPROTO_IPV6, IPV6_TCLASS },
		{ SOL_UDP, UDP_GRO },		{ SOL_SOCKET, SO_RXQ_OVFL },
	};
	uint8_t ones[40];
	unsigned tried = 0;

	(void)state;
	memset(ones, 0x11, sizeof(ones));
	for (unsigned l = 0; l < COUNT(levels); l++)
		for (unsigned t = 0; t < COUNT(types); t++) {
			struct control c = { .len = 0 };
			struct cmsg_in in;
			bool is_known = false;

			for (unsigned k = 0; k < COUNT(known); k++)
				is_known |=
					known[k].level == levels[l] && known[k].type == types[t];
			if (is_known)
				continue;
			tried++;
			add(&c, levels[l], types[t], ones, sizeof(ones));
			in = read_control(&c);
			assert_nothing(&in);
			/* And what follows it is still seen. */
			add_int(&c, SOL_UDP, UDP_GRO, 99);
			in = read_control(&c);
			assert_int_equal(in.gro_size, 99);
			assert_false(in.has_local);
		}
	assert_int_equal(tried, COUNT(levels) * COUNT(types) - COUNT(known));
}

static const struct {
	int level, type;
	size_t size;
} kinds[] = {
	{ IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo) },
	{ IPPROTO_IP, IP_TOS, 1 },
	{ IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo) },
	{ IPPROTO_IPV6, IPV6_TCLASS, sizeof(int) },
	{ SOL_UDP, UDP_GRO, sizeof(int) },
	{ SOL_SOCKET, SO_RXQ_OVFL, sizeof(uint32_t) },
};

static void test_read_short_and_long(void **state)
{
	uint8_t ones[64];

	(void)state;
	memset(ones, 0x11, sizeof(ones));
	for (unsigned k = 0; k < COUNT(kinds); k++)
		for (size_t size = 0; size <= sizeof(ones); size++) {
			struct control c = { .len = 0 };
			struct cmsg_in in, zero;
			bool last = kinds[k].type == SO_RXQ_OVFL && kinds[k].level == SOL_SOCKET;

			memset(&zero, 0, sizeof(zero));
			add(&c, kinds[k].level, kinds[k].type, ones, size);
			in = read_control(&c);
			if (size < kinds[k].size)
				assert_nothing(&in);
			else
				assert_int_not_equal(in.tos | in.drops | in.gro_size | in.ifindex,
						     0);
			/* The next one is read whatever this one was. */
			add_int(&c, last ? SOL_UDP : SOL_SOCKET, last ? UDP_GRO : SO_RXQ_OVFL, 5);
			in = read_control(&c);
			assert_int_equal(last ? in.gro_size : in.drops, 5);
		}
}

/* A control buffer cut off anywhere: what is there in full counts, and no byte behind is read. */
static void test_read_cut(void **state)
{
	struct control c = { .len = 0 };
	uint8_t tos = 0x55;
	size_t end[5];

	(void)state;
	add(&c, IPPROTO_IP, IP_TOS, &tos, 1);
	end[0] = CMSG_LEN(1);
	add_int(&c, SOL_UDP, UDP_GRO, 77);
	end[1] = CMSG_SPACE(1) + CMSG_LEN(4);
	add_int(&c, SOL_SOCKET, SO_RXQ_OVFL, 88);
	end[2] = CMSG_SPACE(1) + CMSG_SPACE(4) + CMSG_LEN(4);
	for (size_t len = 0; len <= c.len; len++) {
		struct cmsg_in in = read_bytes(c.bytes, len);

		/* glibc wants a message's padding too before it goes on: both are right. */
		if (len < end[0])
			assert_int_equal(in.tos, 0);
		if (len < end[1])
			assert_int_equal(in.gro_size, 0);
		if (len < end[2])
			assert_int_equal(in.drops, 0);
		if (len == c.len) {
			assert_int_equal(in.tos, 0x55);
			assert_int_equal(in.gro_size, 77);
			assert_int_equal(in.drops, 88);
		}
	}
}

/* A header that claims more than there is must not make us read what lies behind. */
static void test_read_beyond(void **state)
{
	static const size_t claims[] = { CMSG_LEN(sizeof(struct in_pktinfo)),
					 64,
					 4096,
					 SIZE_MAX,
					 SIZE_MAX - 7,
					 SIZE_MAX - 15,
					 SIZE_MAX - 31,
					 (size_t)1 << 63 };

	(void)state;
	for (unsigned i = 0; i < COUNT(claims); i++)
		for (size_t len = sizeof(struct cmsghdr); len < 28; len++) {
			struct control c = { .len = 0 };
			struct msghdr h = { .msg_control = c.bytes, .msg_controllen = len };
			struct cmsghdr head = { .cmsg_len = claims[i],
						.cmsg_level = IPPROTO_IP,
						.cmsg_type = IP_PKTINFO };
			struct cmsg_in in;

			memset(c.bytes, 0x11, sizeof(c.bytes));
			memcpy(c.bytes, &head, sizeof(head));
			cmsg_read(&in, &h);
			assert_false(in.has_local);
			assert_int_equal(in.ifindex, 0);
		}
}

/* Lengths a header may claim: every edge, and now and then anything. */
static size_t odd_length(void)
{
	static const size_t odd[] = { 0,
				      1,
				      8,
				      15,
				      16,
				      17,
				      18,
				      20,
				      24,
				      28,
				      32,
				      36,
				      40,
				      64,
				      200,
				      255,
				      256,
				      257,
				      4096,
				      SIZE_MAX,
				      SIZE_MAX - 6,
				      SIZE_MAX - 7,
				      SIZE_MAX - 8,
				      SIZE_MAX - 15,
				      SIZE_MAX - 16,
				      SIZE_MAX - 39,
				      SIZE_MAX / 2,
				      SIZE_MAX / 2 + 1 };

	return random_below(8) ? odd[random_below(COUNT(odd))] : (size_t)random64();
}

/* Headers with odd lengths, one after the other, in otherwise random bytes. */
static void scatter_headers(uint8_t *bytes, size_t len)
{
	for (size_t at = 0; at + sizeof(struct cmsghdr) <= len;) {
		unsigned k = random_below(COUNT(kinds));
		struct cmsghdr h = { .cmsg_len = random_below(3) ? CMSG_LEN(kinds[k].size)
								 : odd_length(),
				     .cmsg_level = kinds[k].level,
				     .cmsg_type = kinds[k].type };

		memcpy(bytes + at, &h, sizeof(h));
		at += random_below(3) ? CMSG_SPACE(kinds[k].size) : 8 * (1 + random_below(8));
	}
}

static void test_read_random(void **state)
{
	uint8_t bytes[CMSG_IN_ROOM + 64];

	(void)state;
	random_state = 20260101;
	alarm(60); /* a length that leads backwards would be read for ever */
	for (unsigned round = 0; round < 200000; round++) {
		size_t len = random_below(sizeof(bytes) + 1);

		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)random64();
		if (round & 1)
			scatter_headers(bytes, len);
		read_bytes(bytes, len);
	}
	alarm(0);
}

/* ---------------------------------------------------------------- writing */

/* What was written, as the kernel would read it. */
struct written {
	struct in_pktinfo info4;
	struct in6_pktinfo info6;
	int tos, class;
	uint16_t segment;
	unsigned count;
	size_t len;
};

static struct written write_control(const struct mr_endpoint *e, uint8_t tos, uint16_t segment)
{
	struct {
		_Alignas(8) uint8_t bytes[CMSG_OUT_ROOM];
		uint8_t guard[64];
	} out;
	struct written w = { .tos = -1, .class = -1 };
	struct msghdr h = { .msg_control = out.bytes };

	memset(&out, 0xa5, sizeof(out));
	w.len = cmsg_write(out.bytes, e, tos, segment);
	assert_true(w.len <= CMSG_OUT_ROOM);
	for (unsigned i = 0; i < sizeof(out.guard); i++)
		assert_int_equal(out.guard[i], 0xa5);
	h.msg_controllen = w.len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c), w.count++) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(w.info4)));
			memcpy(&w.info4, CMSG_DATA(c), sizeof(w.info4));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(w.info6)));
			memcpy(&w.info6, CMSG_DATA(c), sizeof(w.info6));
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
			memcpy(&w.tos, CMSG_DATA(c), sizeof(int));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(int)));
			memcpy(&w.class, CMSG_DATA(c), sizeof(int));
		} else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_SEGMENT) {
			assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(uint16_t)));
			memcpy(&w.segment, CMSG_DATA(c), sizeof(uint16_t));
		} else {
			fail_msg("level %d type %d", c->cmsg_level, c->cmsg_type);
		}
	}
	return w;
}

static void test_write_nothing(void **state)
{
	struct mr_endpoint e4 = endpoint("192.0.2.1:53"), e6 = endpoint("[2001:db8::1]:53");

	(void)state;
	e4.ifindex = e6.ifindex = 9; /* an interface alone pins nothing */
	assert_int_equal(write_control(&e4, 0, 0).len, 0);
	assert_int_equal(write_control(&e6, 0, 0).len, 0);
}

/* IPv4 wants IP_TOS, IPv6 IPV6_TCLASS; the other one is silently ignored or EINVAL. */
static void test_write_fields(void **state)
{
	struct mr_endpoint e4 = from_source(endpoint("192.0.2.1:53"), "198.51.100.7");
	struct mr_endpoint e6 = from_source(endpoint("[2001:db8::1]:53"), "2001:db8::7");
	struct written w;

	(void)state;
	w = write_control(&e4, 0xff, 0xffff);
	assert_int_equal(w.count, 3);
	assert_int_equal(w.info4.ipi_spec_dst.s_addr, e4.local.v4.s_addr);
	assert_int_equal(w.info4.ipi_addr.s_addr, 0);
	assert_int_equal(w.tos, 0xff);
	assert_int_equal(w.class, -1);
	assert_int_equal(w.segment, 0xffff);

	w = write_control(&e6, 1, 1472);
	assert_int_equal(w.count, 3);
	assert_memory_equal(&w.info6.ipi6_addr, &e6.local.v6, 16);
	assert_int_equal(w.tos, -1);
	assert_int_equal(w.class, 1);
	assert_int_equal(w.segment, 1472);

	mr_endpoint_clear_source(&e4);
	w = write_control(&e4, 3, 0);
	assert_int_equal(w.count, 1);
	assert_int_equal(w.tos, 3);
	w = write_control(&e4, 0, 9);
	assert_int_equal(w.count, 1);
	assert_int_equal(w.segment, 9);
}

/* Only the source is pinned: an interface would lose the reply on asymmetric hosts (note 38). */
static void test_write_interface(void **state)
{
	static const struct {
		const char *remote, *local;
		unsigned ifindex, pinned;
	} rows[] = {
		{ "192.0.2.1:53", "198.51.100.7", 5, 0 },
		{ "255.255.255.255:53", "198.51.100.7", 5, 0 },
		{ "224.0.0.251:53", "198.51.100.7", 5, 5 },
		{ "239.1.2.3:53", "198.51.100.7", 5, 5 },
		{ "224.0.0.251:53", "198.51.100.7", 0, 0 },
		{ "[2001:db8::1]:53", "2001:db8::7", 5, 0 },
		{ "[fd00::1]:53", "fd00::7", 5, 0 },
		/* The scope of the remote rules: both at odds would be EINVAL. */
		{ "[fe80::1%3]:53", "fe80::7", 5, 3 },
		{ "[fe80::1%3]:53", "2001:db8::7", 5, 3 },
		{ "[2001:db8::1]:53", "fe80::7", 5, 5 },
		{ "[ff02::fb%4]:53", "2001:db8::7", 4, 4 },
		{ "[ff05::1:3]:53", "2001:db8::7", 5, 5 },
	};

	(void)state;
	for (unsigned i = 0; i < COUNT(rows); i++) {
		struct mr_endpoint e = from_source(endpoint(rows[i].remote), rows[i].local);
		struct written w;

		e.ifindex = rows[i].ifindex;
		w = write_control(&e, 0, 0);
		assert_int_equal(w.count, 1);
		if (e.family == AF_INET) {
			assert_int_equal(w.info4.ipi_ifindex, rows[i].pinned);
			assert_int_equal(w.info4.ipi_spec_dst.s_addr, e.local.v4.s_addr);
		} else {
			assert_int_equal(w.info6.ipi6_ifindex, rows[i].pinned);
			assert_memory_equal(&w.info6.ipi6_addr, &e.local.v6, 16);
		}
	}
}

/* IPv4 uses four bytes of an address; what lies behind is neither a source nor sent. */
static void test_write_ip4_rest(void **state)
{
	struct mr_endpoint e = endpoint("192.0.2.1:53");

	(void)state;
	memset(e.local.bytes + 4, 0xee, 12);
	assert_int_equal(write_control(&e, 0, 0).len, 0);
}

static void test_memory_round_trip(void **state)
{
	(void)state;
	random_state = 4;
	for (unsigned round = 0; round < 20000; round++) {
		_Alignas(8) uint8_t buf[CMSG_OUT_ROOM];
		struct mr_endpoint e = { .family = round & 1 ? AF_INET : AF_INET6 };
		struct msghdr h = { .msg_control = buf };
		struct cmsg_in in;

		for (unsigned i = 0; i < (e.family == AF_INET ? 4u : 16u); i++) {
			e.local.bytes[i] = (uint8_t)random64();
			e.remote.bytes[i] = (uint8_t)random64();
		}
		e.local.bytes[0] = 0x20; /* neither nothing nor a group */
		e.remote.bytes[0] = 0x21;
		e.ifindex = (uint32_t)random64();
		h.msg_controllen = cmsg_write(buf, &e, (uint8_t)random64(), (uint16_t)random64());
		cmsg_read(&in, &h);
		assert_true(in.has_local);
		assert_memory_equal(&in.local, &e.local, sizeof(e.local));
		assert_int_equal(in.ifindex, 0);
	}
}

/* ---------------------------------------------------------------- against the kernel */

/* A plain socket that asks the kernel for everything there is. */
static int asking(int family, struct mr_endpoint *at)
{
	struct mr_endpoint any = { .family = (uint16_t)family };
	struct sockaddr_storage sa;
	socklen_t len = mr_endpoint_to_sockaddr(&any, &sa);
	int one = 1, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_true(fd >= 0);
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one));
	} else {
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
	}
	setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof(one)); /* a foreign one between */
	setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof(sa);
	getsockname(fd, (struct sockaddr *)&sa, &len);
	mr_endpoint_from_sockaddr(at, (struct sockaddr *)&sa, len);
	return fd;
}

/* Sends with what cmsg_write says; 0, or the errno. */
static int send_as(int fd, const struct mr_endpoint *e, uint8_t tos, uint16_t segment, size_t len)
{
	static uint8_t bytes[4096];
	_Alignas(8) uint8_t control[CMSG_OUT_ROOM];
	struct sockaddr_storage sa;
	struct iovec iov = { .iov_base = bytes, .iov_len = len };
	struct msghdr h = {
		.msg_name = &sa,
		.msg_namelen = mr_endpoint_to_sockaddr(e, &sa),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = cmsg_write(control, e, tos, segment),
	};

	return sendmsg(fd, &h, 0) < 0 ? errno : 0;
}

/* Receives one, and says how it looked. */
static ssize_t receive(int fd, struct cmsg_in *in, struct mr_endpoint *from)
{
	static uint8_t bytes[65536];
	_Alignas(8) uint8_t control[CMSG_IN_ROOM];
	struct sockaddr_storage sa;
	struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
	struct msghdr h = {
		.msg_name = &sa,
		.msg_namelen = sizeof(sa),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	assert_true(readable(fd, PATIENCE_MS));
	n = recvmsg(fd, &h, 0);
	assert_true(n >= 0);
	assert_int_equal(h.msg_flags & (MSG_CTRUNC | MSG_TRUNC), 0);
	cmsg_read(in, &h);
	mr_endpoint_from_sockaddr(from, (struct sockaddr *)&sa, h.msg_namelen);
	return n;
}

static void round_trip(const char *to, const char *source)
{
	struct mr_endpoint at, e, from;
	struct cmsg_in in;
	int rx, tx;

	e = endpoint(strchr(to, ':') ? "[::1]:1" : "127.0.0.1:1");
	inet_pton(e.family, to, &e.remote);
	e = from_source(e, source);
	rx = asking(e.family, &at);
	tx = asking(e.family, &from);
	e.port_be = at.port_be;
	e.ifindex = 4711; /* not there: would be ENODEV if it were pinned */
	assert_int_equal(send_as(tx, &e, 0x2e, 0, 33), 0);
	assert_int_equal(receive(rx, &in, &from), 33);
	assert_address(&from.remote, e.family, source);
	assert_address(&in.local, e.family, to);
	assert_int_equal(in.ifindex, if_nametoindex("lo"));
	assert_int_equal(in.tos, 0x2e);
	assert_int_equal(in.gro_size, 0);
	assert_true(in.has_local);

	/* The reply leaves from where the first one came to. */
	e = from;
	e.local = in.local;
	e.ifindex = in.ifindex;
	assert_int_equal(send_as(rx, &e, 0, 100, 350), 0);
	assert_int_equal(receive(tx, &in, &from), 350);
	assert_int_equal(in.gro_size, 100);
	assert_address(&from.remote, e.family, to);
	assert_address(&in.local, e.family, source);
	close(rx);
	close(tx);
}

static void test_kernel_ip4(void **state)
{
	(void)state;
	round_trip("127.0.0.1", "127.0.0.1");
	round_trip("127.0.0.2", "127.0.0.3");
	round_trip("127.9.8.7", "127.0.0.1");
}

static void test_kernel_ip6(void **state)
{
	(void)state;
	round_trip("::1", "::1");
}

static void test_kernel_ip6_two_addresses(void **state)
{
	(void)state;
	if (!netns_enter())
		SKIP("needs CAP_SYS_ADMIN for a network namespace");
	shell("ip addr add fd00:1::1/128 dev lo nodad");
	shell("ip addr add fd00:1::2/128 dev lo nodad");
	round_trip("fd00:1::1", "fd00:1::2");
	round_trip("::1", "fd00:1::2");
}

/* Of what was written to a broadcast address only spec_dst can be the source of a reply. */
static void test_kernel_broadcast(void **state)
{
	struct mr_endpoint at, e = endpoint("127.255.255.255:1"), from;
	int rx = asking(AF_INET, &at), tx = asking(AF_INET, &from), one = 1;
	struct cmsg_in in;

	(void)state;
	e.port_be = at.port_be;
	assert_int_equal(send_as(tx, &e, 0, 0, 9), EACCES);
	setsockopt(tx, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	assert_int_equal(send_as(tx, &e, 0, 0, 9), 0);
	assert_int_equal(receive(rx, &in, &from), 9);
	assert_address(&in.local, AF_INET, "127.0.0.1");
	assert_int_equal(in.ifindex, if_nametoindex("lo"));
	e = from;
	e.local = in.local;
	assert_int_equal(send_as(rx, &e, 0, 0, 9), 0);
	assert_int_equal(receive(tx, &in, &from), 9);
	close(rx);
	close(tx);
}

static void test_kernel_multicast4(void **state)
{
	struct mr_endpoint at, e = endpoint("239.77.1.1:1"), from;
	int rx = asking(AF_INET, &at), tx = asking(AF_INET, &from);
	struct ip_mreqn group = { .imr_ifindex = (int)if_nametoindex("lo") };
	struct cmsg_in in;

	(void)state;
	group.imr_multiaddr = e.remote.v4;
	assert_int_equal(setsockopt(rx, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)), 0);
	e.port_be = at.port_be;
	e = from_source(e, "127.0.0.1");
	/* Pinned: there is no other way to say that it is to stay on lo. */
	e.ifindex = if_nametoindex("lo");
	assert_int_equal(send_as(tx, &e, 0, 0, 9), 0);
	assert_int_equal(receive(rx, &in, &from), 9);
	assert_address(&in.local, AF_INET, "127.0.0.1");
	assert_address(&from.remote, AF_INET, "127.0.0.1");
	assert_int_equal(in.ifindex, if_nametoindex("lo"));
	close(rx);
	close(tx);
}

/* lo has no IPv6 groups: a veth in a namespace of one's own has, and hears itself. */
static void test_kernel_multicast6(void **state)
{
	struct mr_endpoint at, e, from;
	struct ipv6_mreq group;
	struct cmsg_in in;
	int rx, tx;

	(void)state;
	if (!netns_enter())
		SKIP("needs CAP_SYS_ADMIN for a network namespace");
	shell("ip link add va type veth peer name vb");
	shell("ip link set va up && ip link set vb up");
	shell("ip addr add fd00:2::1/64 dev va nodad");
	e = from_source(endpoint("[ff02::7777%va]:1"), "fd00:2::1");
	rx = asking(AF_INET6, &at);
	tx = asking(AF_INET6, &from);
	group.ipv6mr_interface = e.ifindex = if_nametoindex("va");
	group.ipv6mr_multiaddr = e.remote.v6;
	assert_int_equal(setsockopt(rx, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof(group)), 0);
	e.port_be = at.port_be;
	assert_int_equal(send_as(tx, &e, 0, 0, 9), 0);
	assert_int_equal(receive(rx, &in, &from), 9);
	assert_true(in.has_local);
	assert_address(&in.local, AF_INET6, "::");
	assert_int_equal(in.ifindex, e.ifindex);
	/* Nothing to pin: the kernel chooses, and the reply gets through. */
	e = from;
	e.local = in.local;
	e.ifindex = in.ifindex;
	assert_int_equal(send_as(rx, &e, 0, 0, 9), 0);
	assert_int_equal(receive(tx, &in, &from), 9);
	assert_address(&from.remote, AF_INET6, "fd00:2::1");
	close(rx);
	close(tx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_nothing),
		cmocka_unit_test(test_read_ip4),
		cmocka_unit_test(test_read_ip6),
		cmocka_unit_test(test_read_ip6_group),
		cmocka_unit_test(test_read_numbers),
		cmocka_unit_test(test_read_foreign),
		cmocka_unit_test(test_read_short_and_long),
		cmocka_unit_test(test_read_cut),
		cmocka_unit_test(test_read_beyond),
		cmocka_unit_test(test_read_random),
		cmocka_unit_test(test_write_nothing),
		cmocka_unit_test(test_write_fields),
		cmocka_unit_test(test_write_interface),
		cmocka_unit_test(test_write_ip4_rest),
		cmocka_unit_test(test_memory_round_trip),
		cmocka_unit_test(test_kernel_ip4),
		cmocka_unit_test(test_kernel_ip6),
		cmocka_unit_test_teardown(test_kernel_ip6_two_addresses, netns_leave),
		cmocka_unit_test(test_kernel_broadcast),
		cmocka_unit_test(test_kernel_multicast4),
		cmocka_unit_test_teardown(test_kernel_multicast6, netns_leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
