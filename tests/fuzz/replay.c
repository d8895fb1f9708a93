/* SPDX-License-Identifier: MIT */
/*
 * In place of libFuzzer: feeds a target with the files of its corpus.
 *
 *	tests/fuzz/TARGET [FILE|DIRECTORY…]	replays them; tests/corpus/TARGET by itself
 *	tests/fuzz/TARGET -d DIRECTORY		writes that corpus there as libFuzzer reads it
 */
#include <libgen.h>

#include "corpus.h"
#include "fuzz.h"

static void replay(void *arg, const struct corpus_input *in)
{
	uint8_t *copy = fuzz_copy(in->bytes, in->len);

	(void)arg;
	printf("# %s\n", in->path); /* the last line before a crash says what did it */
	fflush(stdout);
	LLVMFuzzerTestOneInput(copy, in->len);
	free(copy);
}

static void write_bytes(void *arg, const struct corpus_input *in)
{
	const char *slash = strrchr(in->path, '/');
	char path[8192];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", (const char *)arg, slash ? slash + 1 : in->path);
	f = fopen(path, "we");
	REQUIRE(f);
	REQUIRE(fwrite(in->bytes, 1, in->len, f) == in->len);
	REQUIRE(fclose(f) == 0);
}

int main(int argc, char **argv)
{
	char own[4096], *paths[] = { own };
	int count = argc > 1 ? argc - 1 : 1, failed = 0;

	snprintf(own, sizeof(own), "tests/corpus/%s", basename(argv[0]));
	if (argc == 3 && !strcmp(argv[1], "-d"))
		return corpus_each(own, write_bytes, argv[2]) > 0 ? 0 : 1;
	printf("1..%d\n", count);
	for (int i = 0; i < count; i++) {
		const char *path = argc > 1 ? argv[i + 1] : paths[0];
		int n = corpus_each(path, replay, NULL);

		if (!n)
			fprintf(stderr, "%s: empty, so nothing was tried\n", path);
		printf("%s %d - %d inputs of %s\n", n > 0 ? "ok" : "not ok", i + 1, n, path);
		failed += n <= 0;
	}
	return failed ? 1 : 0;
}
