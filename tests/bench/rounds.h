/* SPDX-License-Identifier: MIT */
/*
 * Times of things measured in turns (A B C A B C …), so that whatever else the machine does hits
 * all of them: least, median and most.
 */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 11

/* CPU time of this thread: what others run in between does not count. */
static inline double rounds_clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int rounds_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median of a / b, each of one round: what hit both of a round cancels out. */
static inline double rounds_ratio(const double a[ROUNDS], const double b[ROUNDS])
{
	double ratio[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++)
		ratio[i] = a[i] / b[i];
	qsort(ratio, ROUNDS, sizeof(*ratio), rounds_order);
	return ratio[ROUNDS / 2];
}

/* Prints a table's row. */
static inline void rounds_print(const char *name, const double ns[ROUNDS])
{
	double sorted[ROUNDS];

	memcpy(sorted, ns, sizeof(sorted));
	qsort(sorted, ROUNDS, sizeof(*sorted), rounds_order);
	printf("  %-36s%10.1f%10.1f%10.1f\n", name, sorted[0], sorted[ROUNDS / 2],
	       sorted[ROUNDS - 1]);
}

static inline void rounds_title(const char *title)
{
	printf("%-38s%10s%10s%10s\n", title, "min", "median", "max");
}

#endif
