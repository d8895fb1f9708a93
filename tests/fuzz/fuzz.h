/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput: libFuzzer calls
 * it (`make fuzz T=wire`), and so does replay.c with the files of tests/corpus (`make check`).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Unlike assert it is there in every build, and it says where in the build without symbols too. */
#define REQUIRE(condition)                                                                      \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

/* A heap block of just this size, so that ASan sees a byte too many; the caller frees it. */
static inline void *fuzz_copy(const void *bytes, size_t size)
{
	void *copy = malloc(size);

	REQUIRE(copy || !size);
	if (size)
		memcpy(copy, bytes, size);
	return copy;
}

#endif
