/* SPDX-License-Identifier: MIT */
/* Sending through sockets (sock/send.c): segmentation refused, and what is learnt from it. */
#include "send_fixture.h"

#include <limits.h>

#include "base/clock.h"

static bool is_segmented(const struct msghdr *h)
{
	return gso_size(h) != 0;
}

static bool is_segmented_1000(const struct msghdr *h)
{
	return gso_size(h) >= 1000;
}

/* The device cannot: quinn#1128 and others lost the first batch by it. */
static void check_gso_refused(int error)
{
	make_all(&f.p4.at, 40, 500);
	refuse(is_segmented, error, 1);
	assert_int_equal(send_all(40), 40);
	expect_no_errors(0, 40);
	for (unsigned i = 0; i < 40; i++)
		expect(&f.p4, i, 500);
	expect_silence(&f.p4);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	assert_int_equal(counted(REASON_TX_SOCKET), 40);
	assert_int_equal(counted(REASON_TX_GSO), 0);
	assert_int_equal(fake.calls, 2);
}

static void test_gso_eio(void **state)
{
	(void)state;
	check_gso_refused(EIO);
	assert_int_equal(f.gso.limit, 1);

	/* Off for a while: nothing of any size is tried. */
	fake.count = 0;
	make_all(&f.p4.at, 10, 1);
	assert_int_equal(send_all(10), 10);
	assert_string_equal(shape(), "1 1 1 1 1 1 1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	for (unsigned i = 0; i < 10; i++)
		expect(&f.p4, i, 1);

	/* And tried again when the time is up: then it may work. */
	assert_true(f.gso.until_ns > clock_now_ns() + 1000000000u);
	f.gso.until_ns = clock_now_ns();
	check_shape(10, "10");
	assert_int_equal(f.gso.limit, 0);
	assert_int_equal(counted(REASON_TX_GSO), 10);
}

static void test_gso_other_refusals(void **state)
{
	(void)state;
	check_gso_refused(EOPNOTSUPP);
	assert_int_equal(f.gso.limit, 1);
	teardown(state);
	setup(state);
	check_gso_refused(ENOPROTOOPT);
	assert_int_equal(f.gso.limit, 1);
}

/* Too large for the path: only such sizes are avoided afterwards (tailscale#21113). */
static void check_gso_too_big(int error)
{
	make_all(&f.p4.at, 20, 1200);
	refuse(is_segmented_1000, error, UINT_MAX);
	assert_int_equal(send_all(20), 20);
	expect_no_errors(0, 20);
	for (unsigned i = 0; i < 20; i++)
		expect(&f.p4, i, 1200);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	assert_int_equal(f.gso.limit, 1200);

	/* Smaller ones still go in runs; 1100 teaches a smaller limit; then 1000 too. */
	make_all(&f.p4.at, 20, 900);
	check_shape(20, "20");
	make_all(&f.p4.at, 4, 1200);
	check_shape(4, "1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 1);
	make_all(&f.p4.at, 4, 1100);
	fake.count = 0;
	assert_int_equal(send_all(4), 4);
	assert_string_equal(shape(), "4 1 1 1 1");
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 2);
	assert_int_equal(f.gso.limit, 1100);
	for (unsigned i = 0; i < 4; i++)
		expect(&f.p4, i, 1100);
}

/* A path MTU is one peer's affair: resent singly, and nobody else is made to pay (EMSGSIZE). */
static void test_gso_emsgsize(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 2; round++) {
		make_all(&f.p4.at, 20, 1200);
		refuse(is_segmented_1000, EMSGSIZE, UINT_MAX);
		assert_int_equal(send_all(20), 20);
		expect_no_errors(0, 20);
		for (unsigned i = 0; i < 20; i++)
			expect(&f.p4, i, 1200);
		assert_int_equal(counted(REASON_TX_GSO_REFUSED), round);
		assert_int_equal(f.gso.limit, 0);
	}
}

static void test_gso_einval(void **state)
{
	(void)state;
	check_gso_too_big(EINVAL);
}

/* Refused in the middle: what went before is not sent twice, the order stays. */
static void test_gso_refused_in_the_middle(void **state)
{
	(void)state;
	make_all(&f.p4.at, 60, 100);
	for (unsigned i = 20; i < 40; i++)
		make(i, &f.p4.at, 1400);
	refuse(is_segmented_1000, EMSGSIZE, UINT_MAX);
	assert_int_equal(send_all(60), 60);
	expect_no_errors(0, 60);
	for (unsigned i = 0; i < 60; i++)
		expect(&f.p4, i, i >= 20 && i < 40 ? 1400 : 100);
	expect_silence(&f.p4);
	assert_int_equal(counted(REASON_TX_SOCKET), 60);
	assert_int_equal(counted(REASON_TX_GSO), 40 - 1); /* number 40 ends nobody's run */
}

/* The run would do, were one of its datagrams not hopeless: all the others arrive. */
static void test_oversized(void **state)
{
	static uint8_t large[70000];

	(void)state;
	for (unsigned where = 0; where < 40; where += 13) {
		make_all(&f.p4.at, 40, 1000);
		f.d[where].data = large;
		f.d[where].len = where == 13 ? 70000 : 65508;
		assert_int_equal(send_all(40), 40);
		for (unsigned i = 0; i < 40; i++) {
			assert_int_equal(f.d[i].error, i == where ? -EMSGSIZE : 0);
			if (i != where)
				expect(&f.p4, i, 1000);
		}
		expect_silence(&f.p4);
	}
	assert_int_equal(counted(REASON_TX_TOO_BIG), 4);
	assert_int_equal(counted(REASON_TX_SOCKET), 4 * 39);
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 0);
	assert_int_equal(f.gso.limit, 0);
	/* And by IPv6, whose limit is 20 bytes further. */
	make_all(&f.p6.at, 3, 10);
	f.d[1].data = large;
	f.d[1].len = 65528;
	assert_int_equal(send_all(3), 3);
	assert_int_equal(f.d[1].error, -EMSGSIZE);
	expect(&f.p6, 0, 10);
	expect(&f.p6, 2, 10);
}

/* The kernel's own refusal: segments that are larger than the link takes. */
static void test_gso_real_mtu(void **state)
{
	enter_netns(state);
	shell("ip link set lo mtu 1500");
	for (unsigned six = 0; six < 2; six++) {
		const struct peer *p = six ? &f.p6 : &f.p4;

		f.gso.limit = 0;
		make_all(&p->at, 40, 1400);
		for (unsigned i = 10; i < 20; i++)
			make(i, &p->at, 1900); /* must go in fragments */
		assert_int_equal(send_all(40), 40);
		expect_no_errors(0, 40);
		for (unsigned i = 0; i < 40; i++)
			expect(p, i, i >= 10 && i < 20 ? 1900 : 1400);
		expect_silence(p);
		assert_int_equal(f.gso.limit, 0);
	}
	assert_int_equal(counted(REASON_TX_GSO_REFUSED), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_gso_eio),
		TEST(test_gso_other_refusals),
		TEST(test_gso_emsgsize),
		TEST(test_gso_einval),
		TEST(test_gso_refused_in_the_middle),
		TEST(test_oversized),
		TEST(test_gso_real_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
