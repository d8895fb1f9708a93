/* SPDX-License-Identifier: MIT */
/* mr_stats: what is counted, into arrays larger and smaller than the library's. */
#include "transport_fixture.h"

static void test_stats(void **state)
{
	struct mr_reader *r = bind_any();
	uint64_t counts[REASON_COUNT + 5];
	struct mr_endpoint e = p4.at;
	char buf[8];

	(void)state;
	memset(counts, 0xa5, sizeof(counts));
	expect_served(r, &p4, mr_port(t));
	assert_int_equal(mr_send(mr_writer(t), "x", 1, &e), 0);
	assert_int_equal(peer_recv(&p4, buf, 8, NULL, PATIENCE_MS), 1);
	e.port_be = 0;
	mr_send(mr_writer(t), "x", 1, &e);
	/* Larger arrays are cleared, smaller ones not overrun. */
	mr_stats(t, counts, REASON_COUNT + 4);
	assert_int_equal(counts[REASON_COUNT], 0);
	assert_int_equal(counts[REASON_COUNT + 3], 0);
	assert_true(counts[REASON_COUNT + 4] == 0xa5a5a5a5a5a5a5a5u);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		uint64_t expected = i == REASON_SOCK_DELIVERED ? 1
				    : i == REASON_TX_SOCKET    ? 2
				    : i == REASON_TX_INVALID   ? 1
							       : 0;

		assert_int_equal(counts[i], expected);
	}
	counts[3] = 99;
	mr_stats(t, counts, 3);
	assert_int_equal(counts[3], 99);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
