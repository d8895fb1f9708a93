/* SPDX-License-Identifier: MIT */
/* What stands on top of an interface, by tables made by hand (net/stack.c). */
#include <linux/if_link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/stack.h"

static struct net_table table;

static int setup(void **state)
{
	(void)state;
	net_table_init(&table);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	net_table_fini(&table);
	return 0;
}

static void put(uint32_t ifindex, const char *kind, uint32_t lower, uint32_t mode)
{
	struct net_event event = {
		.type = NET_EVENT_LINK,
		.link = { .ifindex = ifindex, .lower = lower, .macvlan_mode = mode },
	};
	int error;

	snprintf(event.link.kind, sizeof(event.link.kind), "%s", kind);
	snprintf(event.link.name, sizeof(event.link.name), "up%u", ifindex);
	net_table_apply(&table, &event, &error);
	assert_int_equal(error, 0);
}

/* One link on top of number 2, and what is said of it; NULL: nothing. */
static void assert_takes(const char *kind, uint32_t mode, const char *want)
{
	char why[80] = "untouched";
	bool takes;

	put(7, kind, 2, mode);
	takes = net_stack_takes(&table, 2, why, sizeof(why));
	assert_int_equal(takes, want != NULL);
	assert_string_equal(why, want ? want : "untouched");
	/* Of no other interface, itself included. */
	assert_false(net_stack_takes(&table, 3, why, sizeof(why)));
	assert_false(net_stack_takes(&table, 7, why, sizeof(why)));
}

static void test_takes(void **state)
{
	static const uint32_t modes[] = { 0, MACVLAN_MODE_PRIVATE, MACVLAN_MODE_VEPA,
					  MACVLAN_MODE_BRIDGE };
	static const char *const kinds[] = { "", "vlan", "veth", "vxlan", "bridge", "ipvlan2" };
	char why[80];
	size_t i;

	(void)state;
	put(2, "", 0, 0);
	put(3, "", 0, 0);
	assert_false(net_stack_takes(&table, 2, why, sizeof(why)));
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_takes("macvlan", modes[i], NULL);
		assert_takes("macvtap", modes[i], NULL);
	}
	for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		assert_takes(kinds[i], MACVLAN_MODE_PASSTHRU, NULL);
	assert_takes("macvlan", MACVLAN_MODE_PASSTHRU,
		     "up7 (macvlan) on top is in mode passthru and takes all its packets");
	assert_takes("macvtap", MACVLAN_MODE_SOURCE,
		     "up7 (macvtap) on top is in mode source and takes packets by who sent them");
	assert_takes("ipvlan", 0, "up7 (ipvlan) on top shares its MAC address");
	assert_takes("ipvtap", 0, "up7 (ipvtap) on top shares its MAC address");
	assert_takes("dsa", 0, "up7 (dsa) on top takes all its packets");
}

/* The first that takes, whoever else is there; and nothing is on top of no interface. */
static void test_many(void **state)
{
	char why[80];

	(void)state;
	put(2, "", 0, 0);
	put(4, "macvlan", 2, MACVLAN_MODE_BRIDGE);
	put(5, "vlan", 2, 0);
	put(6, "ipvlan", 2, 0);
	put(8, "ipvlan", 0, 0);
	assert_true(net_stack_takes(&table, 2, why, sizeof(why)));
	assert_string_equal(why, "up6 (ipvlan) on top shares its MAC address");
	assert_false(net_stack_takes(&table, 0, why, sizeof(why)));
	assert_true(net_stack_takes(&table, 2, why, 5));
	assert_string_equal(why, "up6 ");
}

static void test_vlan(void **state)
{
	(void)state;
	put(2, "", 0, 0);
	put(4, "macvlan", 2, 0);
	put(9, "vlan", 0, 0);
	assert_null(net_stack_vlan(&table, 2));
	assert_null(net_stack_vlan(&table, 0));
	put(5, "vlan", 2, 0);
	put(6, "vlan", 5, 0);
	assert_int_equal(net_stack_vlan(&table, 2)->ifindex, 5);
	assert_int_equal(net_stack_vlan(&table, 5)->ifindex, 6);
	assert_null(net_stack_vlan(&table, 6));
	assert_null(net_stack_vlan(&table, 3));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_takes),
		TEST(test_many),
		TEST(test_vlan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
