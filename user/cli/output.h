/* SPDX-License-Identifier: MIT */
/*
 * What is printed on standard output: JSON, one object a line, or text of the same content.
 * A line is written whole, whichever thread writes it.
 */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include <json.h>
#include <stdio.h>

#include <millrace.h>

struct json_object *json_new(const char *type);
void json_add_text(struct json_object *o, const char *key, const char *text);
void json_add_number(struct json_object *o, const char *key, uint64_t number);
void json_add_seconds(struct json_object *o, const char *key, double seconds);
/* Those that are not zero, by name. */
void json_add_reasons(struct json_object *o, const uint64_t *counts);

/* One line, buffered: see output_flush. */
void output_json(struct json_object *o);

/* The same for people: on one line, or a line for each member. */
void output_text(FILE *f, struct json_object *o, bool one_line);

/* Names of interfaces, remembered for a second: a name costs three system calls. */
struct device_names {
	struct {
		uint32_t ifindex;
		int64_t until_ms;
		char name[16];
	} entry[16];
};

/* One received datagram as a line of text or JSON; hex, when wanted, has room for its payload. */
struct datagram_printer {
	bool json;
	char *hex; /* 2 * DATAGRAM_BYTES_MAX + 1, or NULL */
	struct device_names names;
};
#define DATAGRAM_BYTES_MAX 65535u

void output_datagram(struct datagram_printer *p, const struct mr_datagram *d);

/* Writes out what is buffered. Returns 0, or the -errno of the first write that failed. */
int output_flush(void);

#endif
