/* SPDX-License-Identifier: MIT */
/* What the driver says of an interface (net/nic.c). */
#include "watch_fixture.h"

#include "net/nic.h"

static void test_nic(void **state)
{
	char buf[32];

	(void)state;
	assert_int_not_equal(nic_rx_queues("va"), 0);
	ip("link add vq numrxqueues 4 numtxqueues 4 type veth peer name vr");
	/* Allocated are four; what is in use is for the driver to say. */
	assert_in_range(nic_rx_queues("vq"), 1, 4);
	assert_int_equal(nic_rx_queues("lo"), 0);
	assert_int_equal(nic_rx_queues("nosuch0"), 0);
	assert_int_equal(nic_rx_queues(""), 0);
	assert_int_equal(nic_rx_queues("a-name-longer-than-any-interface"), 0);
	assert_string_equal(nic_driver("va", buf), "veth");
	assert_string_equal(nic_driver("nosuch0", buf), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nic),
	};

	if (!watch_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
