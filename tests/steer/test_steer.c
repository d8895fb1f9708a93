/* SPDX-License-Identifier: MIT */
/*
 * The rules that come after parsing, each with frames that differ in nothing but what the rule is
 * about, and what the owners of the maps can change.
 */
#include "steer_fixture.h"

static void assert_both(enum reason ip4, enum reason ip6)
{
	struct frame f;

	frame_ip4(&f, 18);
	assert_string_equal(mr_reason_name(steer(&f)), mr_reason_name(ip4));
	frame_ip6(&f, 18);
	assert_string_equal(mr_reason_name(steer(&f)), mr_reason_name(ip6));
}

static enum reason steer_to(const char *text, uint16_t port)
{
	bool ip6 = strchr(text, ':');
	struct frame f;

	if (ip6)
		frame_ip6(&f, 18);
	else
		frame_ip4(&f, 18);
	assert_int_equal(inet_pton(ip6 ? AF_INET6 : AF_INET, text, f.bytes + (ip6 ? 38 : 30)), 1);
	frame_set_port(&f, port);
	return steer(&f);
}

static int standard(void **state)
{
	(void)state;
	maps_forget_locals(&maps);
	configure_standard();
	set_socket(true);
	return 0;
}

/* Before any transport has configured it, everything passes, whatever else is in the maps. */
static void test_alone(void **state)
{
	(void)state;
	assert_both(REASON_PASS_DETACHED, REASON_PASS_DETACHED);
	set_local(AF_INET, FRAME_TO4, 32, MAPS_OURS);
	set_local(AF_INET6, FRAME_TO6, 128, MAPS_OURS);
	assert_int_equal(maps_claim(&maps, PORT, STEER_IP4 | STEER_IP6, NULL), 0);
	set_socket(true);
	assert_both(REASON_PASS_DETACHED, REASON_PASS_DETACHED);
}

/* A program that is on several interfaces serves the one that its maps name. */
static void test_other_interface(void **state)
{
	struct steer_config config;
	uint32_t key = 0;

	(void)state;
	assert_both(REASON_STEERED, REASON_STEERED);
	assert_int_equal(maps_config(&maps, &config), 0);
	config.ifindex = 2;
	assert_int_equal(maps_configure(&maps, &config), 0);
	assert_both(REASON_PASS_DETACHED, REASON_PASS_DETACHED);
	config.ifindex = 1;
	config.magic = STEER_MAGIC + 1;
	assert_int_equal(bpf_map_update_elem(maps.config, &key, &config, BPF_ANY), 0);
	assert_both(REASON_PASS_DETACHED, REASON_PASS_DETACHED);
}

static void test_claims(void **state)
{
	(void)state;
	assert_int_equal(maps_claim(&maps, PORT, STEER_IP4, NULL), 0);
	assert_both(REASON_STEERED, REASON_PASS_PORT);
	assert_int_equal(maps_claim(&maps, PORT, STEER_IP6, NULL), 0);
	assert_both(REASON_PASS_PORT, REASON_STEERED);
	maps_unclaim(&maps, PORT);
	assert_both(REASON_PASS_PORT, REASON_PASS_PORT);
}

/* Claimed for one address: any other passes, be it in the same prefix or different in one byte. */
static void test_one_address(void **state)
{
	struct frame f;

	(void)state;
	assert_int_equal(steer_to(ONE4, PORT_ONE4), REASON_STEERED);
	assert_int_equal(steer_to("198.51.100.8", PORT_ONE4), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to(FRAME_TO4, PORT_ONE4), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to(FRAME_TO6, PORT_ONE4), REASON_PASS_PORT);
	assert_int_equal(steer_to(ONE6, PORT_ONE6), REASON_STEERED);
	assert_int_equal(steer_to("2001:db8:100::8", PORT_ONE6), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to(FRAME_TO4, PORT_ONE6), REASON_PASS_PORT);
	/* All of them local, so that the claim alone refuses. */
	set_local(AF_INET6, "2000::", 4, MAPS_OURS);
	for (unsigned byte = 0; byte < 16; byte++) {
		frame_ip6(&f, 18);
		assert_int_equal(inet_pton(AF_INET6, ONE6, f.bytes + 38), 1);
		f.bytes[38 + byte] ^= 0x02;
		frame_set_port(&f, PORT);
		assert_int_equal(steer(&f), REASON_STEERED);
		frame_set_port(&f, PORT_ONE6);
		assert_int_equal(steer(&f), REASON_PASS_ADDRESS);
	}
	/* The address that is claimed goes from this host. */
	set_local(AF_INET, ONE4, 32, MAPS_HOLE);
	assert_int_equal(steer_to(ONE4, PORT_ONE4), REASON_PASS_ADDRESS);
}

static void test_mac(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned bit = 0; bit < 48; bit++) {
		frame_ip4(&f, 18);
		f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(steer(&f), REASON_PASS_MAC);
	}
	frame_ip6(&f, 18);
	memset(f.bytes, 0xff, 6);
	assert_int_equal(steer(&f), REASON_PASS_MAC);
}

static void test_max_frame(void **state)
{
	struct steer_config config;
	struct frame f;

	(void)state;
	assert_int_equal(maps_config(&maps, &config), 0);
	for (uint16_t max = 42; max < 1600; max = (uint16_t)(max + 31)) {
		config.max_frame = max;
		assert_int_equal(maps_configure(&maps, &config), 0);
		frame_ip4(&f, max - 42u);
		assert_int_equal(steer(&f), REASON_STEERED);
		f.len++; /* padding counts: it takes room too */
		assert_int_equal(steer(&f), REASON_PASS_TOO_LONG);
	}
}

/* A family that this host leaves to the kernel. */
static void test_family(void **state)
{
	(void)state;
	configure(STANDARD & ~STEER_IP4);
	assert_both(REASON_PASS_FAMILY, REASON_STEERED);
	configure(STANDARD & ~STEER_IP6);
	assert_both(REASON_STEERED, REASON_PASS_FAMILY);
	configure(0);
	assert_both(REASON_PASS_FAMILY, REASON_PASS_FAMILY);
}

static void test_addresses(void **state)
{
	(void)state;
	set_local(AF_INET, FRAME_TO4, 32, MAPS_NOBODYS);
	assert_both(REASON_PASS_ADDRESS, REASON_STEERED);
	set_local(AF_INET6, FRAME_TO6, 128, MAPS_HOLE);
	assert_both(REASON_PASS_ADDRESS, REASON_PASS_ADDRESS);
	set_local(AF_INET, FRAME_TO4, 32, MAPS_OURS);
	set_local(AF_INET6, FRAME_TO6, 128, MAPS_OURS);
	assert_both(REASON_STEERED, REASON_STEERED);
	set_local(AF_INET, FRAME_FROM4, 32, MAPS_OURS);
	set_local(AF_INET6, FRAME_FROM6, 128, MAPS_OURS);
	assert_both(REASON_PASS_OWN_SOURCE, REASON_PASS_OWN_SOURCE);
	maps_forget_locals(&maps);
	assert_both(REASON_PASS_ADDRESS, REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("198.51.100.1", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("2001:db8:100::1", PORT), REASON_PASS_ADDRESS);
}

/* AnyIP prefixes: the longest one decides, a whole address before all; holes are nobody's. */
static void test_prefixes(void **state)
{
	(void)state;
	for (unsigned last = 0; last < 256; last++) {
		bool hole =
			last == 255 || (last >= 128 && last < 144 && !(last >= 132 && last < 136));
		char text[16];

		snprintf(text, sizeof(text), "198.51.100.%u", last);
		assert_int_equal(steer_to(text, PORT), hole ? REASON_PASS_ADDRESS : REASON_STEERED);
	}
	assert_int_equal(steer_to("198.51.99.255", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("198.51.101.0", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("2001:db8:100::", PORT), REASON_STEERED);
	assert_int_equal(steer_to("2001:db8:100:0:deac:ffff:ffff:ffff", PORT), REASON_STEERED);
	assert_int_equal(steer_to("2001:db8:100:0:dead::", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("2001:db8:100:0:dead:beef::", PORT), REASON_STEERED);
	assert_int_equal(steer_to("2001:db8:100:0:dead:beef::1", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("2001:db8:100:1::", PORT), REASON_PASS_ADDRESS);

	/* They are looked for only where the configuration says that there are some. */
	configure(STANDARD & ~STEER_PREFIXES4);
	assert_int_equal(steer_to("198.51.100.1", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("2001:db8:100::1", PORT), REASON_STEERED);
	configure(STANDARD & ~STEER_PREFIXES6);
	assert_int_equal(steer_to("198.51.100.1", PORT), REASON_STEERED);
	assert_int_equal(steer_to("2001:db8:100::1", PORT), REASON_PASS_ADDRESS);
	configure(STANDARD);
	set_local(AF_INET, "198.51.100.0", 24, MAPS_NOBODYS);
	assert_int_equal(steer_to("198.51.100.1", PORT), REASON_PASS_ADDRESS);
	assert_int_equal(steer_to("198.51.100.133", PORT), REASON_STEERED);
}

/* The shortest prefixes. With one of no bits every address is ours, the sender's too. */
static void test_short_prefixes(void **state)
{
	(void)state;
	set_local(AF_INET, "128.0.0.0", 1, MAPS_OURS);
	assert_int_equal(steer_to("203.0.113.9", PORT), REASON_STEERED);
	assert_int_equal(steer_to("127.255.255.255", PORT), REASON_PASS_ADDRESS);
	set_local(AF_INET, "0.0.0.0", 0, MAPS_OURS);
	assert_int_equal(steer_to("127.255.255.255", PORT), REASON_PASS_OWN_SOURCE);
}

/* A broadcast address as the source: no row for it may be taken for "anybody's". */
static void test_hole_as_source(void **state)
{
	(void)state;
	set_local(AF_INET, FRAME_FROM4, 32, MAPS_HOLE);
	set_local(AF_INET6, FRAME_FROM6, 128, MAPS_HOLE);
	assert_both(REASON_PASS_OWN_SOURCE, REASON_PASS_OWN_SOURCE);
	set_local(AF_INET, FRAME_FROM4, 32, MAPS_NOBODYS);
	set_local(AF_INET6, FRAME_FROM6, 128, MAPS_NOBODYS);
	set_local(AF_INET, "10.9.0.0", 31, MAPS_HOLE);
	set_local(AF_INET6, "fd09::", 127, MAPS_HOLE);
	assert_both(REASON_PASS_OWN_SOURCE, REASON_PASS_OWN_SOURCE);
}

static void accept_source(const char *text, uint32_t generation)
{
	assert_int_equal(maps_accept(&maps, address_of(AF_INET, text).v4, 0, generation), 0);
}

/* rp_filter: IPv4 sources pass until the kernel has let one through, since the last change. */
static void test_sources(void **state)
{
	struct frame f;

	(void)state;
	configure(STANDARD | STEER_ASK_SOURCES4);
	assert_both(REASON_PASS_NEW_SOURCE, REASON_STEERED);
	accept_source("10.9.0.3", GENERATION);
	assert_both(REASON_PASS_NEW_SOURCE, REASON_STEERED);
	accept_source(FRAME_FROM4, GENERATION - 1);
	assert_both(REASON_PASS_NEW_SOURCE, REASON_STEERED);
	accept_source(FRAME_FROM4, GENERATION + 1);
	assert_both(REASON_PASS_NEW_SOURCE, REASON_STEERED);
	accept_source(FRAME_FROM4, GENERATION);
	assert_both(REASON_STEERED, REASON_STEERED);
	/* Routes may differ by TOS, but not by ECN. */
	frame_ip4(&f, 18);
	f.bytes[15] = 0x03;
	frame_finish(&f);
	assert_int_equal(steer(&f), REASON_STEERED);
	f.bytes[15] = 0x10;
	frame_finish(&f);
	assert_int_equal(steer(&f), REASON_PASS_NEW_SOURCE);
	/* It is the last question. */
	assert_int_equal(steer_to("10.9.0.99", PORT), REASON_PASS_ADDRESS);
	set_local(AF_INET, FRAME_FROM4, 32, MAPS_OURS);
	assert_both(REASON_PASS_OWN_SOURCE, REASON_STEERED);
	set_local(AF_INET, FRAME_FROM4, 32, MAPS_NOBODYS);
	/* Asked for by nobody, what was learnt does not matter. */
	accept_source(FRAME_FROM4, GENERATION - 1);
	configure(STANDARD);
	assert_both(REASON_STEERED, REASON_STEERED);
}

static void test_no_socket(void **state)
{
	(void)state;
	assert_both(REASON_STEERED, REASON_STEERED);
	set_socket(false);
	assert_both(REASON_PASS_NO_SOCKET, REASON_PASS_NO_SOCKET);
	set_socket(true);
	assert_both(REASON_STEERED, REASON_STEERED);
}

/* Which rule speaks when several are broken: the order is what the counters mean. */
static void test_order(void **state)
{
	struct frame f;

	(void)state;
	frame_ip4(&f, 1500); /* too long, */
	f.bytes[0] ^= 2;     /* to another MAC, */
	f.bytes[33] ^= 1;    /* another address, */
	frame_set_port(&f, PORT - 1);
	configure(STANDARD & ~STEER_IP4);
	assert_int_equal(steer(&f), REASON_PASS_PORT);
	frame_set_port(&f, PORT);
	assert_int_equal(steer(&f), REASON_PASS_MAC);
	f.bytes[0] ^= 2;
	assert_int_equal(steer(&f), REASON_PASS_TOO_LONG);
	frame_ip4(&f, 18);
	f.bytes[33] ^= 1;
	frame_finish(&f);
	assert_int_equal(steer(&f), REASON_PASS_FAMILY);
	configure(STANDARD);
	assert_int_equal(steer(&f), REASON_PASS_ADDRESS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alone),
		cmocka_unit_test_setup(test_other_interface, standard),
		cmocka_unit_test_setup(test_claims, standard),
		cmocka_unit_test_setup(test_one_address, standard),
		cmocka_unit_test_setup(test_mac, standard),
		cmocka_unit_test_setup(test_max_frame, standard),
		cmocka_unit_test_setup(test_family, standard),
		cmocka_unit_test_setup(test_addresses, standard),
		cmocka_unit_test_setup(test_prefixes, standard),
		cmocka_unit_test_setup(test_short_prefixes, standard),
		cmocka_unit_test_setup(test_hole_as_source, standard),
		cmocka_unit_test_setup(test_sources, standard),
		cmocka_unit_test_setup(test_no_socket, standard),
		cmocka_unit_test_setup(test_order, standard),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
