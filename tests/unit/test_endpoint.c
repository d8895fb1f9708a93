/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "millrace.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A fixed seed, so that a failure comes again. */
static uint64_t random_state;

static uint64_t random64(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static struct mr_endpoint parsed(const char *text)
{
	struct mr_endpoint e;

	if (mr_endpoint_parse(&e, text) != 0)
		fail_msg("does not parse: %s", text);
	return e;
}

static void test_parse_ip4(void **state)
{
	struct mr_endpoint e = parsed("192.0.2.1:53"), zero = { 0 };

	(void)state;
	assert_int_equal(e.family, AF_INET);
	assert_int_equal(e.port_be, htons(53));
	assert_int_equal(e.remote.v4.s_addr, htonl(0xc0000201));
	assert_memory_equal(e.remote.bytes + 4, zero.remote.bytes, 12);
	assert_memory_equal(&e.local, &zero.local, sizeof(zero.local));
	assert_int_equal(e.scope | e.ifindex | e.flowinfo_be, 0);
	assert_int_equal(parsed("0.0.0.0:0").port_be, 0);
	assert_int_equal(parsed("1.2.3.4:65535").port_be, 0xffff);
}

static void test_parse_ip6(void **state)
{
	struct mr_endpoint e = parsed("[2001:db8::1]:4660");
	struct in6_addr a;

	(void)state;
	inet_pton(AF_INET6, "2001:db8::1", &a);
	assert_int_equal(e.family, AF_INET6);
	assert_int_equal(e.port_be, htons(0x1234));
	assert_memory_equal(&e.remote, &a, sizeof(a));
	assert_int_equal(e.scope, 0);
	assert_int_equal(parsed("[fe80::1]:1").scope, 0);
	assert_int_equal(parsed("[fe80::1%2]:1").scope, 2);
	assert_int_equal(parsed("[fe80::1%4294967295]:1").scope, UINT32_MAX);
	assert_int_equal(parsed("[fe80::1%lo]:1").scope, if_nametoindex("lo"));
	assert_int_equal(parsed("[ff02::fb%lo]:5353").scope, if_nametoindex("lo"));
}

static void test_parse_mapped(void **state)
{
	struct mr_endpoint a = parsed("[::ffff:192.0.2.1]:53"), b = parsed("192.0.2.1:53");

	(void)state;
	assert_memory_equal(&a, &b, sizeof(a));
}

static void test_parse_refuses(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		":53",
		"53",
		"192.0.2.1",
		"192.0.2.1:",
		"192.0.2.1: 53",
		"192.0.2.1:53 ",
		" 192.0.2.1:53",
		"192.0.2.1:+53",
		"192.0.2.1:-1",
		"192.0.2.1:65536",
		"192.0.2.1:4294967349",
		"192.0.2.1:18446744073709551669",
		"192.0.2.1:0x35",
		"192.0.2.1:53x",
		"192.0.2.1:5 3",
		"192.0.2:53",
		"192.0.2.1.:53",
		"192.0.2.256:53",
		"192.0.2.1 :53",
		"[192.0.2.1]:53",
		"192.0.2.1%lo:53",
		"2001:db8::1:53",
		"[2001:db8::1]",
		"[2001:db8::1]:",
		"[2001:db8::1]53",
		"[2001:db8::1] :53",
		"[2001:db8::1:53",
		"2001:db8::1]:53",
		"[]:53",
		"[[::1]]:53",
		"[::1]]:53",
		"[2001:db8::1%lo]:53",
		"[::1%lo]:53",
		"[::ffff:1.2.3.4%lo]:53",
		"[fe80::1%]:53",
		"[fe80::1%0]:53",
		"[fe80::1%4294967296]:53",
		"[fe80::1%18446744073709551617]:53",
		"[%lo]:53",
		"[fe80::g]:53",
		"[ ::1]:53",
		"[::1 ]:53",
		"localhost:53",
		"-",
		"[ff0e::1%lo]:1",
		"[fe80::1%nosuchinterfacenosuchinterfacenosuchinterfacenosuchinterface]:53",
	};
	struct mr_endpoint e, before;
	size_t i;

	(void)state;
	memset(&before, 0x5a, sizeof(before));
	for (i = 0; i < COUNT(bad); i++) {
		e = before;
		if (mr_endpoint_parse(&e, bad[i]) != -EINVAL)
			fail_msg("not refused: \"%s\"", bad[i]);
		assert_memory_equal(&e, &before, sizeof(e));
	}
	assert_int_equal(mr_endpoint_parse(&e, "[fe80::1%nosuch0]:53"), -ENODEV);
	assert_int_equal(mr_endpoint_parse(&e, "[fe80::1%+2]:53"), -ENODEV);
	assert_int_equal(mr_endpoint_parse(&e, "[fe80::1%lo ]:53"), -ENODEV);
	assert_int_equal(mr_endpoint_parse(&e, "[fe80::1%2%lo]:53"), -ENODEV);
	assert_int_equal(mr_endpoint_parse(&e, "[fe80::1%averylongifacename]:53"), -ENODEV);
}

/* Every beginning of a good text, and every text with one byte changed: no crash, and what
 * parses formats to something that parses the same. */
static void test_parse_mutations(void **state)
{
	static const char *const good[] = { "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%lo]:53",
					    "[::ffff:1.2.3.4]:65535", "[fe80::1%2]:1" };
	char buf[MR_ENDPOINT_TEXT], out[MR_ENDPOINT_TEXT];
	struct mr_endpoint e, again;
	size_t k, i;
	char *exact;

	(void)state;
	for (k = 0; k < COUNT(good); k++) {
		for (i = 0; i <= strlen(good[k]); i++) {
			/* On the heap and of exact size: for AddressSanitizer. */
			exact = strndup(good[k], i);
			mr_endpoint_parse(&e, exact);
			free(exact);
		}
	}
	random_state = 1;
	for (i = 0; i < 200000; i++) {
		strcpy(buf, good[random64() % COUNT(good)]);
		buf[random64() % strlen(buf)] = "0123456789abcf:.[]% +lo\x80"[random64() % 24];
		if (mr_endpoint_parse(&e, buf) != 0)
			continue;
		again = parsed(mr_endpoint_format(&e, out));
		assert_memory_equal(&e, &again, sizeof(e));
	}
}

static void test_format(void **state)
{
	static const char *const same[] = {
		"192.0.2.1:53",
		"0.0.0.0:0",
		"255.255.255.255:65535",
		"[2001:db8::1]:53",
		"[::]:0",
		"[fe80::1]:9",
		"[fe80::1%lo]:9",
		"[fe80::1%4000000000]:9",
		"[ff02::1%lo]:9",
		"[::1.2.3.4]:1",
		"[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
	};
	char buf[MR_ENDPOINT_TEXT];
	struct mr_endpoint e;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(same); i++) {
		e = parsed(same[i]);
		assert_ptr_equal(mr_endpoint_format(&e, buf), buf);
		assert_string_equal(buf, same[i]);
	}
	e = parsed("[fe80::1%1]:9");
	assert_string_equal(mr_endpoint_format(&e, buf), "[fe80::1%lo]:9");
	memset(&e, 0, sizeof(e));
	assert_string_equal(mr_endpoint_format(&e, buf), "-");
	e.family = AF_UNIX;
	assert_string_equal(mr_endpoint_format(&e, buf), "-");
}

static void test_format_longest(void **state)
{
	char buf[MR_ENDPOINT_TEXT + 8];
	struct mr_endpoint e = { .family = AF_INET6, .port_be = 0xffff, .scope = UINT32_MAX };

	(void)state;
	memset(buf, 'x', sizeof(buf));
	memset(&e.remote, 0xee, sizeof(e.remote));
	e.remote.bytes[0] = 0xfe;
	e.remote.bytes[1] = 0xbe;
	mr_endpoint_format(&e, buf);
	assert_string_equal(buf, "[febe:eeee:eeee:eeee:eeee:eeee:eeee:eeee%4294967295]:65535");
	assert_int_equal(buf[MR_ENDPOINT_TEXT], 'x');
}

static void test_format_local(void **state)
{
	char buf[MR_ENDPOINT_TEXT];
	struct mr_endpoint e = parsed("192.0.2.1:53");

	(void)state;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "-");
	e.local.v4.s_addr = htonl(0x0a000001);
	e.ifindex = 1;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "10.0.0.1");
	/* Garbage behind an IPv4 address is no source. */
	e.local.v4.s_addr = 0;
	e.local.bytes[9] = 7;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "-");

	e = parsed("[2001:db8::1]:53");
	assert_string_equal(mr_endpoint_format_local(&e, buf), "-");
	inet_pton(AF_INET6, "2001:db8::2", &e.local);
	e.ifindex = 1;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "2001:db8::2");
	inet_pton(AF_INET6, "fe80::2", &e.local);
	assert_string_equal(mr_endpoint_format_local(&e, buf), "fe80::2%lo");
	e.ifindex = 4000000000u;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "fe80::2%4000000000");
	e.ifindex = 0;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "fe80::2");
	e.family = 0;
	assert_string_equal(mr_endpoint_format_local(&e, buf), "-");
}

static void test_sockaddr(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(7) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	struct sockaddr_storage sa;
	struct mr_endpoint e, want;
	socklen_t len;

	(void)state;
	in.sin_addr.s_addr = htonl(0x01020304);
	memset(&e, 0xff, sizeof(e));
	assert_int_equal(mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&in, sizeof(in)), 0);
	want = parsed("1.2.3.4:7");
	assert_memory_equal(&e, &want, sizeof(e));
	assert_int_equal(mr_endpoint_to_sockaddr(&e, &sa), sizeof(in));
	assert_memory_equal(&sa, &in, sizeof(in));

	inet_pton(AF_INET6, "fe80::1", &in6.sin6_addr);
	in6.sin6_scope_id = 3;
	in6.sin6_flowinfo = htonl(0x12345);
	memset(&e, 0xff, sizeof(e));
	assert_int_equal(mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&in6, sizeof(in6)), 0);
	want = parsed("[fe80::1%3]:9");
	want.flowinfo_be = htonl(0x12345);
	assert_memory_equal(&e, &want, sizeof(e));
	len = mr_endpoint_to_sockaddr(&e, &sa);
	assert_int_equal(len, sizeof(in6));
	assert_memory_equal(&sa, &in6, sizeof(in6));

	/* A scope means nothing with a global address, nor a flow label with a mapped one. */
	inet_pton(AF_INET6, "2001:db8::1", &in6.sin6_addr);
	assert_int_equal(mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&in6, sizeof(in6)), 0);
	assert_int_equal(e.scope, 0);
	inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr);
	assert_int_equal(mr_endpoint_from_sockaddr(&e, (struct sockaddr *)&in6, sizeof(in6)), 0);
	want = parsed("1.2.3.4:9");
	assert_memory_equal(&e, &want, sizeof(e));

	e.family = 0;
	assert_int_equal(mr_endpoint_to_sockaddr(&e, &sa), 0);
}

static void test_sockaddr_refuses(void **state)
{
	sa_family_t families[] = { AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC };
	socklen_t need[] = { sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6), 0, 0 };
	struct mr_endpoint e;
	char *exact;
	socklen_t len;
	int want;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(families); i++) {
		for (len = 0; len <= 40; len++) {
			exact = calloc(1, len + 1u);
			memcpy(exact, &families[i], len < 2 ? len : 2);
			want = !need[i] ? -EAFNOSUPPORT : len < need[i] ? -EINVAL : 0;
			if (len < 2)
				want = -EINVAL;
			exact = realloc(exact, len ? len : 1);
			assert_int_equal(
				mr_endpoint_from_sockaddr(&e, (struct sockaddr *)exact, len), want);
			free(exact);
		}
	}
}

static void same(const struct mr_endpoint *a, const struct mr_endpoint *b)
{
	assert_true(mr_endpoint_equal(a, b));
	assert_true(mr_endpoint_equal(b, a));
	assert_true(mr_endpoint_hash(a, 42) == mr_endpoint_hash(b, 42));
}

static void differ(const struct mr_endpoint *a, const struct mr_endpoint *b)
{
	assert_false(mr_endpoint_equal(a, b));
	assert_false(mr_endpoint_equal(b, a));
	assert_false(mr_endpoint_hash(a, 42) == mr_endpoint_hash(b, 42));
}

static void test_equal(void **state)
{
	static const char *const text[] = { "192.0.2.1:53", "[fe80::1%3]:53" };
	struct mr_endpoint a, b;
	unsigned bit, size;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(text); i++) {
		a = b = parsed(text[i]);
		same(&a, &b);
		b.ifindex = 9;
		b.flowinfo_be = 9;
		same(&a, &b);
		b.port_be ^= 0x8000;
		differ(&a, &b);
		size = i == 0 ? 32 : 128;
		for (bit = 0; bit < 128; bit++) {
			b = a;
			b.remote.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			(bit < size ? differ : same)(&a, &b);
			b = a;
			b.local.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			(bit < size ? differ : same)(&a, &b);
		}
		b = a;
		b.scope ^= 1;
		(i == 0 ? same : differ)(&a, &b);
	}
	/* The same bytes in another family, or on the other side, are another conversation. */
	a = b = (struct mr_endpoint){ .family = AF_INET, .port_be = 1 };
	b.family = AF_INET6;
	differ(&a, &b);
	a = b = parsed("192.0.2.1:53");
	b.local = a.remote;
	b.remote = a.local;
	differ(&a, &b);
	/* Empty is empty. */
	memset(&a, 0, sizeof(a));
	memset(&b, 0x55, sizeof(b));
	same(&a, &b);
	b = parsed("0.0.0.0:0");
	differ(&a, &b);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What a table of conversations gets to see: few bits that vary, and in every part of the hash
 * all of it must have an effect. */
static void test_hash_spreads(void **state)
{
	enum { N = 65536, BUCKETS = 4096 };
	static uint64_t hash[N];
	static unsigned low[BUCKETS], high[BUCKETS];
	struct mr_endpoint e[2] = { parsed("10.0.0.0:1"), parsed("[2001:db8::]:1") };
	unsigned i, k, worst;

	(void)state;
	for (k = 0; k < 2; k++) {
		memset(low, 0, sizeof(low));
		memset(high, 0, sizeof(high));
		for (i = 0; i < N; i++) {
			e[k].remote.bytes[k ? 15 : 3] = (uint8_t)i;
			e[k].port_be = (uint16_t)(i >> 8);
			hash[i] = mr_endpoint_hash(&e[k], 7);
			low[hash[i] % BUCKETS]++;
			high[hash[i] >> 52]++;
		}
		qsort(hash, N, sizeof(hash[0]), by_value);
		for (i = 1; i < N; i++)
			assert_true(hash[i] != hash[i - 1]);
		/* 16 on average; above 48 is one in 10^8 for a random function. */
		for (i = 0, worst = 0; i < BUCKETS; i++) {
			worst = low[i] > worst ? low[i] : worst;
			worst = high[i] > worst ? high[i] : worst;
		}
		assert_in_range(worst, 20, 48);
	}
}

/* One flipped bit of input or seed flips each bit of the hash half of the time. */
static void test_hash_avalanche(void **state)
{
	unsigned bit, k, round, flips[64];
	struct mr_endpoint a, b;
	uint64_t seed, diff;

	(void)state;
	random_state = 2;
	for (bit = 0; bit < 128 + 128 + 64; bit++) {
		memset(flips, 0, sizeof(flips));
		for (round = 0; round < 512; round++) {
			a = (struct mr_endpoint){ .family = AF_INET6 };
			for (k = 0; k < 16; k++) {
				a.remote.bytes[k] = (uint8_t)random64();
				a.local.bytes[k] = (uint8_t)random64();
			}
			b = a;
			seed = random64();
			if (bit < 128)
				b.remote.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			else if (bit < 256)
				b.local.bytes[(bit - 128) / 8] ^= (uint8_t)(1u << bit % 8);
			diff = mr_endpoint_hash(&a, seed) ^
			       mr_endpoint_hash(&b, bit < 256 ? seed : seed ^ 1ull << (bit - 256));
			for (k = 0; k < 64; k++)
				flips[k] += (unsigned)(diff >> k & 1);
		}
		/* 256 on average, deviation 11.3. */
		for (k = 0; k < 64; k++)
			assert_in_range(flips[k], 180, 332);
	}
}

static void test_clear_source(void **state)
{
	struct mr_endpoint e = parsed("[fe80::1%3]:53"), want = e;

	(void)state;
	e.local = e.remote;
	e.ifindex = 3;
	mr_endpoint_clear_source(&e);
	assert_memory_equal(&e, &want, sizeof(e));
}

static void test_path_name(void **state)
{
	(void)state;
	assert_string_equal(mr_path_name(MR_PATH_SOCKET), "socket");
	assert_string_equal(mr_path_name(MR_PATH_XDP), "xdp");
	assert_string_equal(mr_path_name((enum mr_path)99), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_ip4),	cmocka_unit_test(test_parse_ip6),
		cmocka_unit_test(test_parse_mapped),	cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_parse_mutations), cmocka_unit_test(test_format),
		cmocka_unit_test(test_format_longest),	cmocka_unit_test(test_format_local),
		cmocka_unit_test(test_sockaddr),	cmocka_unit_test(test_sockaddr_refuses),
		cmocka_unit_test(test_equal),		cmocka_unit_test(test_hash_spreads),
		cmocka_unit_test(test_hash_avalanche),	cmocka_unit_test(test_clear_source),
		cmocka_unit_test(test_path_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
