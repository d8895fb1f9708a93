/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void log_say(const struct log *log, enum mr_log_level level, const char *format, ...)
{
	char line[512];
	va_list args;

	if (!log->fn)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log->fn(log->arg, level, line);
}

int diag_set(struct mr_diag *diag, int error, const char *step, const char *object,
	     const char *remedy, ...)
{
	va_list args;

	if (!diag)
		return error;
	memset(diag, 0, sizeof(*diag));
	diag->error = error;
	snprintf(diag->step, sizeof(diag->step), "%s", step);
	snprintf(diag->object, sizeof(diag->object), "%s", object);
	va_start(args, remedy);
	vsnprintf(diag->remedy, sizeof(diag->remedy), remedy, args);
	va_end(args);
	return error;
}
