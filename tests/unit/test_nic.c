/* SPDX-License-Identifier: MIT */
/* What the driver says of an interface (net/nic.c). */
#include "watch_fixture.h"

#include <sys/utsname.h>

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

static void ethtool(const char *arguments)
{
	char command[128];

	snprintf(command, sizeof(command), "ethtool -K %s", arguments);
	shell(command);
}

static void test_features(void **state)
{
	char names[80];

	(void)state;
	assert_false(nic_feature("va", "rx-gro-list"));
	assert_string_equal(nic_coalesces("va", names, sizeof(names)), "");
	ethtool("va rx-gro-list on");
	assert_true(nic_feature("va", "rx-gro-list"));
	assert_false(nic_feature("vb", "rx-gro-list"));
	assert_false(nic_feature("va", "rx-gro"));
	assert_false(nic_feature("va", "rx-gro-list-and-more"));
	assert_false(nic_feature("va", ""));
	assert_string_equal(nic_coalesces("va", names, sizeof(names)), "rx-gro-list");
	ethtool("va rx-udp-gro-forwarding on");
	assert_string_equal(nic_coalesces("va", names, sizeof(names)),
			    "rx-udp-gro-forwarding,rx-gro-list");
	ethtool("va rx-gro-list off");
	assert_string_equal(nic_coalesces("va", names, sizeof(names)), "rx-udp-gro-forwarding");
	/* The other blocks of 32, and what nobody can switch. */
	assert_true(nic_feature("va", "tx-checksum-ip-generic"));
	assert_true(nic_feature("lo", "loopback"));
	assert_false(nic_feature("va", "loopback"));
	assert_false(nic_feature("nosuch0", "rx-gro-list"));
	assert_string_equal(nic_coalesces("nosuch0", names, sizeof(names)), "");
}

/* Cut at a whole name, and never behind the end. */
static void test_coalesces_room(void **state)
{
	char names[80];
	size_t room;

	(void)state;
	ethtool("va rx-udp-gro-forwarding on rx-gro-list on");
	for (room = 1; room < sizeof(names); room++) {
		memset(names, 'x', sizeof(names));
		nic_coalesces("va", names, room);
		if (room < 12)
			assert_string_equal(names, "");
		else if (room < 22)
			assert_string_equal(names, "rx-gro-list");
		else if (room < 34)
			assert_string_equal(names, "rx-udp-gro-forwarding");
		else
			assert_string_equal(names, "rx-udp-gro-forwarding,rx-gro-list");
		assert_int_equal(names[room], 'x');
	}
}

static void test_tells_vlan(void **state)
{
	unsigned fds = open_fds();
	struct utsname kernel;
	int major = 0, minor = 0;

	(void)state;
	assert_int_equal(uname(&kernel), 0);
	sscanf(kernel.release, "%d.%d", &major, &minor);
	if (major > 6 || (major == 6 && minor >= 8))
		assert_true(nic_tells_vlan(if_nametoindex("va")));
	assert_false(nic_tells_vlan(if_nametoindex("lo")));
	assert_false(nic_tells_vlan(0));
	assert_false(nic_tells_vlan(99999));
	assert_int_equal(open_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nic),
		TEST(test_features),
		TEST(test_coalesces_room),
		TEST(test_tells_vlan),
	};

	if (!watch_can_run())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
