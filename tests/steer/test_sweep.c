/* SPDX-License-Identifier: MIT */
/*
 * Every port, ethertype, protocol, header length and TOS byte, and random frames: the program's
 * verdict must be that of the parser compiled for this machine, and what follows it the model's.
 *
 * SEED in the environment begins the random frames elsewhere.
 */
#include "steer_fixture.h"

#define RANDOM_FRAMES 300000u

static void good_frame(struct frame *f, unsigned version, uint32_t payload)
{
	if (version == 4)
		frame_ip4(f, payload);
	else
		frame_ip6(f, payload);
}

static void test_all_ports(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		good_frame(&f, version, 18);
		for (uint32_t port = 0; port < 65536; port++) {
			bool claimed = port == PORT || (version == 4 && port == PORT_IP4);
			bool one = port == (version == 4 ? PORT_ONE4 : PORT_ONE6);

			frame_set_port(&f, (uint16_t)port);
			assert_int_equal(same_verdict(&f), claimed ? REASON_STEERED
							   : one   ? REASON_PASS_ADDRESS
								   : REASON_PASS_PORT);
		}
	}
}

/* From which port it comes does not matter. */
static void test_source_ports(void **state)
{
	struct frame f;

	(void)state;
	for (uint32_t port = 0; port < 65536; port += 251) {
		frame_ip4(&f, 18);
		frame_put16(f.bytes + 34, port);
		frame_finish(&f);
		assert_int_equal(same_verdict(&f), REASON_STEERED);
	}
}

static void test_all_ethertypes(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		uint32_t own = version == 4 ? 0x0800 : 0x86dd,
			 other = version == 4 ? 0x86dd : 0x0800;

		good_frame(&f, version, 18);
		for (uint32_t type = 0; type < 65536; type++) {
			enum reason verdict;

			frame_put16(f.bytes + 12, type);
			verdict = same_verdict(&f);
			assert_int_equal(verdict, type == own	  ? REASON_STEERED
						  : type == other ? REASON_PASS_VERSION
								  : REASON_PASS_ETHERTYPE);
		}
	}
}

static void test_all_protocols(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned protocol = 0; protocol < 256; protocol++) {
		frame_ip4(&f, 18);
		f.bytes[14 + 9] = (uint8_t)protocol;
		frame_finish(&f);
		assert_int_equal(same_verdict(&f),
				 protocol == 17 ? REASON_STEERED : REASON_PASS_PROTOCOL);
		frame_ip6(&f, 18);
		f.bytes[14 + 6] = (uint8_t)protocol;
		assert_int_equal(same_verdict(&f),
				 protocol == 17 ? REASON_STEERED : REASON_PASS_PROTOCOL);
	}
}

static void test_all_first_and_tos_bytes(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		frame_ip4(&f, 40);
		f.bytes[14] = (uint8_t)byte;
		frame_finish(&f);
		assert_int_equal(same_verdict(&f), byte == 0x45	    ? REASON_STEERED
						   : byte >> 4 == 4 ? REASON_PASS_OPTIONS
								    : REASON_PASS_VERSION);
		frame_ip6(&f, 40);
		f.bytes[14] = (uint8_t)byte;
		assert_int_equal(same_verdict(&f),
				 byte >> 4 == 6 ? REASON_STEERED : REASON_PASS_VERSION);

		frame_ip4(&f, 18);
		f.bytes[15] = (uint8_t)byte;
		frame_finish(&f);
		assert_int_equal(same_verdict(&f), REASON_STEERED);
		frame_ip6(&f, 18);
		f.bytes[14] = (uint8_t)(0x60 | byte >> 4);
		f.bytes[15] = (uint8_t)(byte << 4);
		assert_int_equal(same_verdict(&f), REASON_STEERED);
	}
}

/* Flags and offset, of which only the reserved bit and DF are no fragment; and TTLs. */
static void test_all_fragment_fields(void **state)
{
	struct frame f;

	(void)state;
	frame_ip4(&f, 18);
	for (uint32_t field = 0; field < 65536; field++) {
		frame_put16(f.bytes + 20, field);
		f.bytes[22] = (uint8_t)field;
		frame_finish(&f);
		assert_int_equal(same_verdict(&f),
				 field & 0x3fff ? REASON_PASS_FRAGMENT : REASON_STEERED);
	}
}

static void test_lengths(void **state)
{
	struct frame f;

	(void)state;
	for (unsigned version = 4; version <= 6; version += 2) {
		uint32_t at = version == 4 ? 16 : 18, least = version == 4 ? 28 : 8;

		/* What the IP header says, in a frame of 60 bytes and one of 1,514. */
		for (uint32_t len = 0; len < 65536; len += len < 1600 ? 1 : 97) {
			for (uint32_t payload = 10; payload <= 1452; payload += 1442) {
				uint32_t whole = least + payload;

				good_frame(&f, version, payload);
				frame_put16(f.bytes + at, len);
				frame_finish(&f);
				assert_int_equal(same_verdict(&f),
						 len == whole ? REASON_STEERED
						 : len < least || len > whole
							 ? REASON_PASS_IP_LENGTH
							 : REASON_PASS_UDP_LENGTH);
			}
		}
		/* As much payload as fits, and more. */
		for (uint32_t payload = 0; payload <= 1520; payload++) {
			good_frame(&f, version, payload);
			assert_int_equal(same_verdict(&f), f.len <= MAX_FRAME
								   ? REASON_STEERED
								   : REASON_PASS_TOO_LONG);
		}
	}
}

/* ---------------------------------------------------------------- random frames */

static const char *const addresses4[] = {
	FRAME_FROM4,	  FRAME_TO4,	    "10.9.0.255",     "198.51.100.0",	ONE4,
	"198.51.100.127", "198.51.100.128", "198.51.100.131", "198.51.100.132", "198.51.100.135",
	"198.51.100.136", "198.51.100.143", "198.51.100.144", "198.51.100.255", "198.51.101.0",
	"198.51.99.255",  "224.0.0.1",	    "255.255.255.255"
};
static const char *const addresses6[] = { FRAME_FROM6,
					  FRAME_TO6,
					  ONE6,
					  "2001:db8:100::",
					  "2001:db8:100::ffff",
					  "2001:db8:100:0:dead::",
					  "2001:db8:100:0:dead:beef::",
					  "2001:db8:100:0:dead:beef::1",
					  "2001:db8:100:0:deae::",
					  "2001:db8:100:1::7",
					  "2001:db9:100::7",
					  "2001:db8:101::7",
					  "fe80::1",
					  "ff02::1",
					  "::1",
					  "::ffff:10.9.0.2" };

/* To and from addresses, and for ports, at which something changes; each in half of the frames. */
static void aim(struct frame *f, uint64_t *seed)
{
	uint64_t how = frame_random(seed);
	bool ip6 = frame_is6(f);
	size_t count = ip6 ? COUNT(addresses6) : COUNT(addresses4);
	const char *const *texts = ip6 ? addresses6 : addresses4;
	int family = ip6 ? AF_INET6 : AF_INET;

	if (how & 1)
		frame_put16(f->bytes + frame_udp(f) + 2, PORT - 1 + (unsigned)(how >> 8 & 7));
	if (how & 2)
		inet_pton(family, texts[(how >> 16) % count], f->bytes + (ip6 ? 38 : 30));
	if (how & 4)
		inet_pton(family, texts[(how >> 32) % count], f->bytes + (ip6 ? 22 : 26));
	frame_finish(f);
	if (how >> 56 < 8)
		frame_put16(f->bytes + frame_udp(f) + 6, 0); /* no checksum */
}

/* Reasons that the standard configuration has no frame for. */
static bool is_elsewhere(enum reason reason)
{
	return reason == REASON_PASS_DETACHED || reason == REASON_PASS_FAMILY ||
	       reason == REASON_PASS_TOO_LONG || reason == REASON_PASS_NEW_SOURCE ||
	       reason == REASON_PASS_VLAN || reason == REASON_PASS_NO_SOCKET;
}

static void test_random(void **state)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : 0x6d696c6cu;
	unsigned seen[STEER_REASON_COUNT] = { 0 };

	(void)state;
	for (unsigned i = 0; i < RANDOM_FRAMES; i++) {
		struct frame f;

		frame_seed = seed;
		good_frame(&f, frame_random(&seed) & 1 ? 4 : 6,
			   (uint32_t)(frame_random(&seed) % 64));
		aim(&f, &seed);
		frame_spoil(&f, (unsigned)(frame_random(&seed) % 4), &seed);
		seen[same_verdict(&f)]++;
	}
	frame_seed = 0;
	/* Frames that never, or always, come to something would prove nothing. */
	for (unsigned i = 0; i < STEER_REASON_COUNT; i++)
		if (!is_elsewhere(i) && seen[i] < RANDOM_FRAMES / 5000)
			fail_msg("only %u frames of %s", seen[i], mr_reason_name(i));
	assert_in_range(seen[REASON_STEERED], RANDOM_FRAMES / 20, RANDOM_FRAMES / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ports),
		cmocka_unit_test(test_source_ports),
		cmocka_unit_test(test_all_ethertypes),
		cmocka_unit_test(test_all_protocols),
		cmocka_unit_test(test_all_first_and_tos_bytes),
		cmocka_unit_test(test_all_fragment_fields),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, load_standard, unload);
}
