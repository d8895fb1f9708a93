/* SPDX-License-Identifier: MIT */
/*
 * No reason without a test: each has a frame in tests/corpus/wire that ends with it, or a test
 * named here, which has to speak of it. Run from the top of the tree; needs no privilege.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fuzz/corpus.h"
#include "shared/reason.h"

#define STEER "tests/steer/test_steer.c"
#define LIVE  "tests/steer/test_live.c"
#define RECV  "tests/unit/test_sock_recv.c"
#define SEND  "tests/unit/test_sock_send.c"
#define ERR   "tests/unit/test_sock_errors.c"

/* By frames and configurations, by rings and sockets: what no frame by itself brings about. */
static const char *const scenarios[REASON_COUNT] = {
	[REASON_PASS_DETACHED] = STEER,
	[REASON_PASS_FAMILY] = STEER,
	[REASON_PASS_NEW_SOURCE] = STEER,
	[REASON_PASS_NO_SOCKET] = STEER,
	[REASON_PASS_VLAN] = LIVE,
	[REASON_XDP_RING_FULL] = LIVE,
	[REASON_XDP_NO_FRAME] = LIVE,
	[REASON_SOCK_DELIVERED] = RECV,
	[REASON_XDP_LEFT] = "tests/unit/test_xdp_queue.c",
	[REASON_SOCK_GRO] = RECV,
	[REASON_SOCK_TRUNCATED] = RECV,
	[REASON_SOCK_STRANGER] = RECV,
	[REASON_SOCK_NO_PKTINFO] = RECV,
	[REASON_SOCK_CTRUNC] = RECV,
	[REASON_SOCK_OVERFLOW] = RECV,
	[REASON_SOCK_ERROR] = RECV,
	[REASON_TX_SOCKET] = SEND,
	[REASON_TX_GSO] = SEND,
	[REASON_TX_GSO_REFUSED] = SEND,
	[REASON_TX_SOURCE_STALE] = ERR,
	[REASON_TX_INVALID] = "tests/unit/test_write.c",
	[REASON_TX_UNREACHABLE] = ERR,
	[REASON_TX_DENIED] = ERR,
	[REASON_TX_TOO_BIG] = ERR,
	[REASON_TX_NO_BUFFER] = ERR,
	[REASON_TX_FULL] = ERR,
	[REASON_TX_ERROR] = ERR,
};

static const struct {
	const char *symbol, *name;
} reasons[] = {
#define ROW(symbol, name, stage, text) { "REASON_" #symbol, name },
	STEER_REASONS(ROW) USER_REASONS(ROW)
#undef ROW
};

static unsigned frames[REASON_COUNT];

static void note_label(void *arg, const struct corpus_input *in)
{
	(void)arg;
	for (unsigned i = 0; i < REASON_COUNT; i++)
		frames[i] += !strcmp(in->label, reasons[i].name);
}

/* As a whole word: pass_mac is not named by pass_machine. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += len) {
		bool begins = at == text || (!isalnum((unsigned char)at[-1]) && at[-1] != '_');

		if (begins && !isalnum((unsigned char)at[len]) && at[len] != '_')
			return true;
	}
	return false;
}

static bool speaks_of(const char *path, unsigned reason)
{
	static char text[1 << 18];
	FILE *f = fopen(path, "re");
	size_t len;

	if (!f)
		return false;
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	return has_word(text, reasons[reason].symbol) || has_word(text, reasons[reason].name);
}

static void test_every_reason(void **state)
{
	unsigned lacking = 0;

	(void)state;
	assert_true(corpus_each("tests/corpus/wire", note_label, NULL) > 0);
	for (unsigned i = 0; i < REASON_COUNT; i++) {
		if (!frames[i] && !scenarios[i]) {
			print_error("%s: no frame in tests/corpus/wire, no test named here\n",
				    reasons[i].name);
			lacking++;
		} else if (scenarios[i] && !speaks_of(scenarios[i], i)) {
			print_error("%s: not a word of it in %s\n", reasons[i].name, scenarios[i]);
			lacking++;
		}
	}
	assert_int_equal(lacking, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
