/* SPDX-License-Identifier: MIT */
/*
 * tests/corpus/wire: each file's first line is the reason that its frame has to end with, in the
 * configuration of steer_fixture.h. Reasons of the parser must be the parser's on this machine
 * too; those of user space are asked of the decoder, for a frame that the program steers.
 */
#include <libgen.h>

#include "../fuzz/corpus.h"
#include "steer_fixture.h"
#include "xdp/frame.h"

static unsigned wrong;

static enum reason reason_by_name(const char *name)
{
	for (unsigned i = 0; i < REASON_COUNT; i++)
		if (!strcmp(mr_reason_name(i), name))
			return i;
	return REASON_COUNT;
}

static void complain(const struct corpus_input *in, const char *who, enum reason verdict)
{
	print_error("%s: %s says %s\n", in->path, who, mr_reason_name(verdict));
	wrong++;
}

/* What user space makes of it, behind a card or behind a device with senders on this host. */
static enum reason decode(const struct corpus_input *in, bool local_senders)
{
	const struct frame_origin origin = { .ifindex = 1, .local_senders = local_senders };
	void *copy = malloc(in->len);
	struct mr_datagram d;
	enum reason fate;

	if (in->len)
		memcpy(copy, in->bytes, in->len);
	fate = frame_decode(&d, copy, (uint32_t)in->len, &origin);
	free(copy);
	return fate;
}

static void check_user(const struct corpus_input *in, enum reason expected, enum reason native)
{
	enum reason fate = decode(in, true);

	if (fate != expected)
		complain(in, "the decoder", fate);
	/* Only software devices have senders that leave the checksum to others. */
	if (expected == REASON_XDP_SUM_PARTIAL)
		expected = REASON_XDP_BAD_SUM;
	fate = decode(in, false);
	if (fate != expected)
		complain(in, "the decoder behind a card", fate);
	if ((expected == REASON_XDP_MALFORMED) == (native == REASON_STEERED))
		complain(in, "the parser", native);
}

static void check(void *arg, const struct corpus_input *in)
{
	enum reason expected = reason_by_name(in->label), verdict, native;

	(void)arg;
	if (expected == REASON_COUNT) {
		print_error("%s: no reason: %s\n", in->path, in->label);
		wrong++;
		return;
	}
	native = native_parse(in->bytes, in->len, (uint32_t)in->len);
	if (expected >= STEER_REASON_COUNT)
		check_user(in, expected, native);
	else if (expected == REASON_STEERED)
		check_user(in, REASON_XDP_DELIVERED, native);
	if (expected == REASON_XDP_MALFORMED)
		expected = native;
	else if (expected >= STEER_REASON_COUNT)
		expected = REASON_STEERED;
	if (native != expected && (native != REASON_STEERED || expected < REASON_PASS_DETACHED))
		complain(in, "the parser", native);
	if (in->len < 14)
		return; /* BPF_PROG_TEST_RUN wants a whole Ethernet header */
	verdict = run_program(skel->progs.mr_steer, in->bytes, (uint32_t)in->len);
	if (verdict != expected)
		complain(in, "the program", verdict);
	verdict = run_program(skel->progs.mr_steer_frags, in->bytes, (uint32_t)in->len);
	if (verdict != expected)
		complain(in, "the program for several buffers", verdict);
}

static void test_corpus(void **state)
{
	(void)state;
	assert_true(corpus_each("tests/corpus/wire", check, NULL) > 0);
	assert_int_equal(wrong, 0);
}

/* The frame stays as it is, byte by byte. */
static void check_unchanged(void *arg, const struct corpus_input *in)
{
	uint8_t after[CORPUS_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->bytes, .data_size_in = (uint32_t)in->len,
		    .data_out = after, .data_size_out = sizeof(after));

	(void)arg;
	if (in->len < 14)
		return;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(skel->progs.mr_steer), &run), 0);
	assert_int_equal(run.data_size_out, in->len);
	assert_memory_equal(after, in->bytes, in->len);
}

static void test_nothing_is_written(void **state)
{
	(void)state;
	assert_true(corpus_each("tests/corpus/wire", check_unchanged, NULL) > 0);
	read_counters(counted);
}

/* Cut at every byte; of long frames where it begins to repeat itself is not tried. */
static void check_cuts(void *arg, const struct corpus_input *in)
{
	struct frame f = { .len = 0 };
	size_t all = in->len < sizeof(f.bytes) ? in->len : sizeof(f.bytes);

	(void)arg;
	memcpy(f.bytes, in->bytes, all);
	for (; f.len <= all && f.len <= 128; f.len++)
		same_verdict(&f);
}

static void test_cut_anywhere(void **state)
{
	(void)state;
	assert_true(corpus_each("tests/corpus/wire", check_cuts, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_corpus),
		cmocka_unit_test(test_nothing_is_written),
		cmocka_unit_test(test_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, load_standard, unload);
}
