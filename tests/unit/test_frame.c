/* SPDX-License-Identifier: MIT */
/* Frame -> datagram: endpoints, checksum classes, and what must not be delivered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../support/frames.h"
#include "xdp/frame.h"

static const struct frame_origin nic = { .ifindex = 7 };
static const struct frame_origin veth = { .ifindex = 7, .local_senders = true };

static enum reason decode(struct mr_datagram *d, struct frame *f, const struct frame_origin *o)
{
	memset(d, 0xa5, sizeof(*d)); /* everything but the cookie has to be written */
	return frame_decode(d, f->bytes, f->len, o);
}

static void check_payload(const struct mr_datagram *d, const struct frame *f, uint32_t payload)
{
	assert_int_equal(d->len, payload);
	assert_ptr_equal(d->data, f->bytes + frame_udp(f) + 8);
	assert_int_equal(d->path, MR_PATH_XDP);
	assert_int_equal(d->local_port, 7000);
	assert_int_equal(d->error, 0);
	assert_int_equal(ntohs(d->endpoint.port_be), 10000);
	assert_int_equal(d->endpoint.ifindex, 7);
	assert_int_equal(d->endpoint.flowinfo_be, 0);
}

static void test_ip4(void **state)
{
	union mr_address from = { 0 }, to = { 0 };
	struct mr_datagram d;
	struct frame f;

	(void)state;
	inet_pton(AF_INET, FRAME_FROM4, &from);
	inet_pton(AF_INET, FRAME_TO4, &to);
	for (uint32_t payload = 0; payload <= 1472; payload++) {
		frame_ip4(&f, payload);
		f.bytes[15] = 0xb9; /* EF, ECT(1) */
		frame_finish(&f);
		assert_int_equal(decode(&d, &f, &nic), REASON_XDP_DELIVERED);
		check_payload(&d, &f, payload);
		assert_int_equal(d.tos, 0xb9);
		assert_int_equal(d.endpoint.family, AF_INET);
		assert_int_equal(d.endpoint.scope, 0);
		assert_memory_equal(&d.endpoint.remote, &from, 16);
		assert_memory_equal(&d.endpoint.local, &to, 16);
	}
}

static void test_ip6(void **state)
{
	union mr_address from, to;
	struct mr_datagram d;
	struct frame f;

	(void)state;
	inet_pton(AF_INET6, FRAME_FROM6, &from);
	inet_pton(AF_INET6, FRAME_TO6, &to);
	for (uint32_t payload = 0; payload <= 1452; payload++) {
		frame_ip6(&f, payload);
		f.bytes[14] = 0x6b; /* class 0xb9, flow label 0x12345 */
		f.bytes[15] = 0x91;
		f.bytes[16] = 0x23;
		f.bytes[17] = 0x45;
		assert_int_equal(decode(&d, &f, &nic), REASON_XDP_DELIVERED);
		check_payload(&d, &f, payload);
		assert_int_equal(d.tos, 0xb9);
		assert_int_equal(d.endpoint.family, AF_INET6);
		assert_int_equal(d.endpoint.scope, 0);
		assert_memory_equal(&d.endpoint.remote, &from, 16);
		assert_memory_equal(&d.endpoint.local, &to, 16);
	}
}

static void test_link_local_scope(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	frame_ip6(&f, 5);
	inet_pton(AF_INET6, "fe80::1", f.bytes + 22);
	frame_finish(&f);
	assert_int_equal(decode(&d, &f, &nic), REASON_XDP_DELIVERED);
	assert_int_equal(d.endpoint.scope, 7);
}

static void test_padding(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	frame_ip4(&f, 3);
	f.len = 60; /* the least that Ethernet carries */
	memset(f.bytes + 45, 0xee, 15);
	assert_int_equal(decode(&d, &f, &nic), REASON_XDP_DELIVERED);
	assert_int_equal(d.len, 3);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		uint32_t bits;

		frame_ip4(&f, 40);
		if (version == 6)
			frame_ip6(&f, 40);
		bits = (f.len - frame_udp(&f)) * 8;
		for (uint32_t bit = 0; bit < bits; bit++) {
			uint8_t *byte = f.bytes + frame_udp(&f) + bit / 8;

			*byte ^= (uint8_t)(1u << bit % 8);
			if (bit / 8 == 4 || bit / 8 == 5) /* the length */
				assert_int_equal(decode(&d, &f, &nic), REASON_XDP_MALFORMED);
			else
				assert_int_equal(decode(&d, &f, &nic), REASON_XDP_BAD_SUM);
			*byte ^= (uint8_t)(1u << bit % 8);
		}
	}
}

/* What a sender on this host leaves: the sum of the pseudo-header, not complemented. */
static void leave_partial(struct frame *f)
{
	frame_put16(f->bytes + frame_udp(f) + 6, frame_pseudo(f));
}

static void test_partial_sum(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	for (uint32_t payload = 0; payload < 70; payload++) {
		frame_ip4(&f, payload);
		leave_partial(&f);
		assert_int_equal(decode(&d, &f, &veth), REASON_XDP_SUM_PARTIAL);
		check_payload(&d, &f, payload);
		assert_int_equal(decode(&d, &f, &nic), REASON_XDP_BAD_SUM);
		frame_ip6(&f, payload);
		leave_partial(&f);
		assert_int_equal(decode(&d, &f, &veth), REASON_XDP_SUM_PARTIAL);
		assert_int_equal(decode(&d, &f, &nic), REASON_XDP_BAD_SUM);
		/* A finished one is fine there, and a wrong one is not. */
		frame_finish(&f);
		assert_int_equal(decode(&d, &f, &veth), REASON_XDP_DELIVERED);
		f.bytes[frame_udp(&f) + 6] ^= 1;
		assert_int_equal(decode(&d, &f, &veth), REASON_XDP_BAD_SUM);
	}
}

static void test_no_sum(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	frame_ip4(&f, 9);
	frame_put16(f.bytes + 40, 0);
	assert_int_equal(decode(&d, &f, &nic), REASON_XDP_SUM_NONE);
	check_payload(&d, &f, 9);
	frame_ip6(&f, 9);
	frame_put16(f.bytes + 60, 0);
	assert_int_equal(decode(&d, &f, &nic), REASON_XDP_MALFORMED);
}

/* A datagram whose sum comes out as zero is sent with 0xffff. */
static void test_sum_of_ffff(void **state)
{
	struct mr_datagram d;
	struct frame f;
	unsigned sum;

	(void)state;
	frame_ip4(&f, 2);
	sum = f.bytes[40] * 256u + f.bytes[41];
	/* Raising the payload by the sum brings the total to zero. */
	frame_put16(f.bytes + 42, frame_add(f.bytes + 42, 2, sum));
	frame_finish(&f);
	assert_int_equal(f.bytes[40] * 256 + f.bytes[41], 0xffff);
	assert_int_equal(decode(&d, &f, &nic), REASON_XDP_DELIVERED);
}

static void test_truncated(void **state)
{
	struct mr_datagram d;
	struct frame f;

	(void)state;
	for (int version = 4; version <= 6; version += 2) {
		frame_ip4(&f, 30);
		if (version == 6)
			frame_ip6(&f, 30);
		for (uint32_t len = 0; len < f.len; len++) {
			uint8_t *copy = malloc(len + 1); /* ASan watches its end */

			memcpy(copy, f.bytes, len);
			assert_int_equal(frame_decode(&d, copy, len, &nic), REASON_XDP_MALFORMED);
			free(copy);
		}
	}
}

/* By the definition: 16-bit words, one after the other; start is in the memory's byte order. */
static uint16_t naive_sum(const uint8_t *bytes, size_t len, uint64_t start)
{
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return htons((uint16_t)frame_add(bytes, len, ntohs((uint16_t)start)));
}

/* Every length at every alignment; the bytes end where their allocation ends, for ASan to see. */
static void check_sums(const uint8_t *bytes)
{
	static const uint64_t starts[] = {
		0, 1, 0xffff, 0x10000, 0xffffffff, 1ull << 32, 0xfffeffffffffffff, UINT64_MAX,
	};

	for (size_t len = 0; len <= 2100; len++) {
		for (size_t align = 0; align < 8; align++) {
			uint8_t *copy = malloc(align + len + !(align + len));
			uint64_t start = starts[(len + align) % 8];

			memcpy(copy + align, bytes, len);
			assert_int_equal(frame_sum(copy + align, len, start),
					 naive_sum(copy + align, len, start));
			assert_int_equal(frame_sum(copy + align, len, UINT64_MAX),
					 naive_sum(copy + align, len, UINT64_MAX));
			free(copy);
		}
	}
}

static void test_sum_equals_naive(void **state)
{
	uint8_t bytes[2100];
	uint64_t seed = 42;

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)frame_random(&seed);
	check_sums(bytes);
	memset(bytes, 0xff, sizeof(bytes)); /* every addition carries */
	check_sums(bytes);
	memset(bytes, 0, sizeof(bytes));
	check_sums(bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip4),
		cmocka_unit_test(test_ip6),
		cmocka_unit_test(test_link_local_scope),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_every_flipped_bit_is_noticed),
		cmocka_unit_test(test_partial_sum),
		cmocka_unit_test(test_no_sum),
		cmocka_unit_test(test_sum_of_ffff),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_sum_equals_naive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
