/* SPDX-License-Identifier: MIT */
/* The log sink: the library's only way to say anything. Cold paths only. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "millrace.h"

struct log {
	void (*fn)(void *arg, enum mr_log_level level, const char *line);
	void *arg;
};

/* Formats one line (no newline) and hands it over; nothing without a callback. */
void log_say(const struct log *log, enum mr_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Fills diag when there is one and returns error (a -errno) for `return diag_set(…)`. The remedy
 * is a printf format.
 */
int diag_set(struct mr_diag *diag, int error, const char *step, const char *object,
	     const char *remedy, ...) __attribute__((format(printf, 5, 6)));

#endif
