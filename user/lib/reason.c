/* SPDX-License-Identifier: MIT */
/* The reasons' names and sentences. */
#include "shared/reason.h"

#include "millrace.h"

static const struct {
	const char *name, *text;
} reasons[] = {
#define REASON_ROW(symbol, name, stage, text) { name, text },
	STEER_REASONS(REASON_ROW) USER_REASONS(REASON_ROW)
#undef REASON_ROW
};
MR_STATIC_ASSERT(sizeof(reasons) / sizeof(reasons[0]) == REASON_COUNT, "one row a reason");

unsigned mr_reason_count(void)
{
	return REASON_COUNT;
}

const char *mr_reason_name(unsigned reason)
{
	return reason < REASON_COUNT ? reasons[reason].name : NULL;
}

const char *mr_reason_text(unsigned reason)
{
	return reason < REASON_COUNT ? reasons[reason].text : NULL;
}
