/* SPDX-License-Identifier: MIT */
/*
 * Frames in several buffers: only the first one can be read, so headers must be in it, and lengths
 * are those of the whole frame. The program for one buffer must say the same of what it can have.
 */
#include "../fuzz/corpus.h"
#include "steer_fixture.h"

/* Up to here BPF_PROG_TEST_RUN keeps all in the first buffer by itself (4 KiB pages). */
#define FIRST_BUFFER 3520u
#define JUMBO	     9014u

static uint8_t jumbo[JUMBO];

/* A good frame of this length, with as much payload as there is room for. */
static void make_jumbo(unsigned version, uint32_t len)
{
	struct frame f;

	if (version == 4)
		frame_ip4(&f, 0);
	else
		frame_ip6(&f, 0);
	frame_put16(f.bytes + frame_udp(&f) + 4, len - frame_udp(&f));
	if (version == 4) {
		frame_put16(f.bytes + 16, len - 14);
		frame_put16(f.bytes + 24, 0);
		frame_put16(f.bytes + 24, ~frame_add(f.bytes + 14, 20, 0) & 0xffff);
	} else {
		frame_put16(f.bytes + 18, len - 54);
	}
	memcpy(jumbo, f.bytes, f.len);
}

static enum reason steer_frags(const void *frame, uint32_t len)
{
	return run_program(skel->progs.mr_steer_frags, frame, len);
}

static void configure_jumbo(uint16_t max_frame)
{
	struct steer_config config;

	assert_int_equal(maps_config(&maps, &config), 0);
	config.max_frame = max_frame;
	assert_int_equal(maps_configure(&maps, &config), 0);
}

static int standard(void **state)
{
	(void)state;
	configure_standard();
	return 0;
}

static void test_longer_than_a_buffer(void **state)
{
	(void)state;
	configure_jumbo(JUMBO - 1);
	for (unsigned version = 4; version <= 6; version += 2) {
		for (uint32_t len = FIRST_BUFFER - 3; len < JUMBO; len += len < 3600 ? 1 : 211) {
			make_jumbo(version, len);
			assert_int_equal(native_parse(jumbo, FIRST_BUFFER - 3, len),
					 REASON_STEERED);
			assert_int_equal(steer_frags(jumbo, len), REASON_STEERED);
			/* Lengths count to the very end of the last buffer. */
			assert_int_equal(steer_frags(jumbo, len - 1), REASON_PASS_IP_LENGTH);
			assert_int_equal(steer_frags(jumbo, len + 1),
					 len + 1 < JUMBO ? REASON_STEERED : REASON_PASS_TOO_LONG);
		}
		make_jumbo(version, JUMBO);
		assert_int_equal(steer_frags(jumbo, JUMBO), REASON_PASS_TOO_LONG);
	}
}

/* Runs a frame of which the first buffer holds `first` bytes; false: this kernel cannot. */
static bool run_split(const void *frame, uint32_t len, uint32_t first, enum reason *verdict)
{
	struct xdp_md ctx = { .data_end = first };
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.mr_steer_frags), &run);

	if (err == -EINVAL)
		return false;
	assert_int_equal(err, 0);
	*verdict = what_counted();
	return true;
}

/* The first buffer ends anywhere: as the parser says, with the same bytes to read. */
static void check_splits(void *arg, const struct corpus_input *in)
{
	uint32_t len = (uint32_t)in->len;
	struct frame f = { .len = len };
	enum reason verdict, native;

	if (len > sizeof(f.bytes))
		return;
	memcpy(f.bytes, in->bytes, len);
	for (uint32_t first = 14; first < len && first <= 70; first++) {
		native = native_parse(f.bytes, first, len);
		if (native == REASON_STEERED)
			native = model_ours(&f);
		assert_true(run_split(f.bytes, len, first, &verdict));
		if (verdict != native)
			fail_msg("%s, %u bytes in the first buffer: %s, not %s", in->path, first,
				 mr_reason_name(verdict), mr_reason_name(native));
		++*(unsigned *)arg;
	}
}

static void test_split_anywhere(void **state)
{
	unsigned splits = 0;
	enum reason verdict;
	struct frame f;

	(void)state;
	frame_ip4(&f, 100);
	if (!run_split(f.bytes, f.len, 60, &verdict)) {
		print_message("# skipped: BPF_PROG_TEST_RUN splits no short frames (Linux 6.18)\n");
		skip();
	}
	assert_int_equal(verdict, REASON_STEERED);
	assert_true(corpus_each("tests/corpus/wire", check_splits, &splits) > 0);
	assert_true(splits > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_longer_than_a_buffer, standard),
		cmocka_unit_test_setup(test_split_anywhere, standard),
	};

	return cmocka_run_group_tests(tests, load_standard, unload);
}
