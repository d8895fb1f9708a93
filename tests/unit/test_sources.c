/* SPDX-License-Identifier: MIT */
/* The ring of accepted sources: order, what is told again and when, what does not fit. */
#include <arpa/inet.h>
#include <pthread.h>

#include "sources.h"
#include "unit.h"

#define SECOND_NS (1ull << 30) /* sources.c counts in these */

static struct sources ring;

static bool tell(uint32_t ifindex, uint32_t address, uint32_t generation, uint64_t now_ns)
{
	struct source s = { .ifindex = ifindex,
			    .address.s_addr = htonl(address),
			    .generation = generation };

	return sources_tell(&ring, &s, now_ns);
}

static int setup(void **state)
{
	(void)state;
	memset(&ring, 0, sizeof(ring));
	return 0;
}

static void test_in_order(void **state)
{
	struct source s;

	(void)state;
	assert_false(sources_take(&ring, &s));
	assert_true(tell(2, 0x0a000001, 1, SECOND_NS));
	assert_true(tell(3, 0x0a000002, 1, SECOND_NS));
	assert_true(sources_take(&ring, &s));
	assert_int_equal(s.ifindex, 2);
	assert_int_equal(ntohl(s.address.s_addr), 0x0a000001);
	assert_true(sources_take(&ring, &s));
	assert_int_equal(s.ifindex, 3);
	assert_false(sources_take(&ring, &s));
}

static void test_told_once(void **state)
{
	struct source other = { .ifindex = 2, .address.s_addr = htonl(1), .generation = 2 };

	(void)state;
	assert_true(tell(2, 1, 1, SECOND_NS));
	assert_false(tell(2, 1, 1, SECOND_NS + 1));
	/* Another interface, a new generation, and a later second are another matter. */
	assert_true(tell(3, 1, 1, SECOND_NS));
	assert_true(tell(2, 1, 2, SECOND_NS));
	assert_false(tell(2, 1, 2, SECOND_NS));
	assert_true(tell(2, 1, 2, 2 * SECOND_NS));
	/* And so is another TOS. */
	other.tos = 0x10;
	assert_true(sources_tell(&ring, &other, 2 * SECOND_NS));
	assert_false(sources_tell(&ring, &other, 2 * SECOND_NS));
}

/* The first of all has generation and time 0 beside an empty table: it must not look told. */
static void test_empty_table(void **state)
{
	(void)state;
	assert_true(tell(2, 0, 1, 0));
	assert_true(tell(1, 0, 1u << 31, 0));
}

static void test_full(void **state)
{
	struct source s;
	unsigned n = 0;

	(void)state;
	for (uint32_t a = 1; a <= SOURCES_RING; a++)
		assert_true(tell(2, a, 1, SECOND_NS));
	assert_false(tell(2, 0xffff, 1, SECOND_NS));
	while (sources_take(&ring, &s))
		assert_int_equal(ntohl(s.address.s_addr), ++n);
	assert_int_equal(n, SOURCES_RING);
	/* What did not fit was not told, so its next datagram tells it. */
	assert_true(tell(2, 0xffff, 1, SECOND_NS));
}

/* More than there is room to remember: all are told all the same. */
static void test_many(void **state)
{
	struct source s;

	(void)state;
	for (uint32_t a = 1; a <= 100000; a++) {
		assert_true(tell(2, a, 1, SECOND_NS));
		assert_true(sources_take(&ring, &s));
		assert_int_equal(ntohl(s.address.s_addr), a);
	}
}

#define THREADED 200000u

static void *teller(void *arg)
{
	(void)arg;
	for (uint32_t a = 1; a <= THREADED;)
		a += tell(a, a, 1, SECOND_NS);
	return NULL;
}

static void test_two_threads(void **state)
{
	pthread_t thread;
	struct source s;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, teller, NULL), 0);
	for (uint32_t a = 1; a <= THREADED;) {
		if (!sources_take(&ring, &s))
			continue;
		assert_int_equal(s.ifindex, a);
		assert_int_equal(ntohl(s.address.s_addr), a);
		a++;
	}
	pthread_join(thread, NULL);
	assert_false(sources_take(&ring, &s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_in_order, setup),
		cmocka_unit_test_setup(test_told_once, setup),
		cmocka_unit_test_setup(test_empty_table, setup),
		cmocka_unit_test_setup(test_full, setup),
		cmocka_unit_test_setup(test_many, setup),
		cmocka_unit_test_setup(test_two_threads, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
