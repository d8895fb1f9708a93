/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

#define JSON_STYLE (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* The first failure to write; later ones are its consequences. */
static int write_error;

struct json_object *json_new(const char *type)
{
	struct json_object *o = json_object_new_object();

	json_add_text(o, "type", type);
	return o;
}

void json_add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

void json_add_number(struct json_object *o, const char *key, uint64_t number)
{
	json_object_object_add(o, key, json_object_new_uint64(number));
}

void json_add_seconds(struct json_object *o, const char *key, double seconds)
{
	char text[32];

	/* json-c's own form of a double has 17 digits. */
	snprintf(text, sizeof(text), "%.6f", seconds);
	json_object_object_add(o, key, json_object_new_double_s(seconds, text));
}

void json_add_reasons(struct json_object *o, const uint64_t *counts)
{
	struct json_object *reasons = json_object_new_object();

	for (unsigned i = 0; i < mr_reason_count(); i++) {
		if (counts[i])
			json_add_number(reasons, mr_reason_name(i), counts[i]);
	}
	json_object_object_add(o, "reasons", reasons);
}

static void put_line(const char *line, size_t len)
{
	flockfile(stdout);
	if (fwrite(line, 1, len, stdout) != len || putc('\n', stdout) == EOF)
		__atomic_store_n(&write_error, -errno, __ATOMIC_RELAXED);
	funlockfile(stdout);
}

void output_json(struct json_object *o)
{
	size_t len;
	const char *line = json_object_to_json_string_length(o, JSON_STYLE, &len);

	put_line(line, len);
}

int output_flush(void)
{
	if (fflush(stdout) && !__atomic_load_n(&write_error, __ATOMIC_RELAXED))
		__atomic_store_n(&write_error, -errno, __ATOMIC_RELAXED);
	return __atomic_load_n(&write_error, __ATOMIC_RELAXED);
}

static void put_members(FILE *f, const char *prefix, struct json_object *o)
{
	char inner[64];

	json_object_object_foreach(o, key, value)
	{
		if (json_object_is_type(value, json_type_object)) {
			snprintf(inner, sizeof(inner), "%s%s.", prefix, key);
			put_members(f, inner, value);
		} else {
			fprintf(f, " %s%s=%s", prefix, key, json_object_get_string(value));
		}
	}
}

void output_text(FILE *f, struct json_object *o, bool one_line)
{
	char prefix[64];

	flockfile(f);
	json_object_object_foreach(o, key, value)
	{
		bool nested = json_object_is_type(value, json_type_object);

		if (!strcmp(key, "type")) {
			fprintf(f, one_line ? "%s" : "%s\n", json_object_get_string(value));
		} else if (one_line && nested) {
			snprintf(prefix, sizeof(prefix), "%s.", key);
			put_members(f, prefix, value);
		} else if (one_line) {
			fprintf(f, " %s=%s", key, json_object_get_string(value));
		} else if (nested) {
			fprintf(f, "  %-12s", key);
			put_members(f, "", value);
			putc('\n', f);
		} else {
			fprintf(f, "  %-12s %s\n", key, json_object_get_string(value));
		}
	}
	if (one_line)
		putc('\n', f);
	funlockfile(f);
}

static const char *device_name(struct device_names *names, uint32_t ifindex)
{
	size_t slot = ifindex % (sizeof(names->entry) / sizeof(names->entry[0]));
	struct timespec ts;
	int64_t now_ms;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	now_ms = ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	if (names->entry[slot].ifindex != ifindex || names->entry[slot].until_ms <= now_ms) {
		names->entry[slot].ifindex = ifindex;
		names->entry[slot].until_ms = now_ms + 1000;
		if (!ifindex || !if_indextoname(ifindex, names->entry[slot].name))
			strcpy(names->entry[slot].name, "-");
	}
	return names->entry[slot].name;
}

static void print_hex(char *out, const struct mr_datagram *d)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = d->data;

	for (uint32_t i = 0; i < d->len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = 0;
}

void output_datagram(struct datagram_printer *p, const struct mr_datagram *d)
{
	const char *device = device_name(&p->names, d->endpoint.ifindex);
	char remote[MR_ENDPOINT_TEXT], local[MR_ENDPOINT_TEXT];
	const char *path = mr_path_name((enum mr_path)d->path);
	struct json_object *o;

	mr_endpoint_format(&d->endpoint, remote);
	mr_endpoint_format_local(&d->endpoint, local);
	if (p->hex)
		print_hex(p->hex, d);
	if (!p->json) {
		/* One call, so that lines of several threads do not mix. */
		if (printf("%s > %s dev=%s path=%s tos=0x%02x len=%u%s%s\n", remote, local, device,
			   path, d->tos, d->len, p->hex ? " data=" : "", p->hex ? p->hex : "") < 0)
			__atomic_store_n(&write_error, -errno, __ATOMIC_RELAXED);
		return;
	}
	o = json_new("datagram");
	json_add_text(o, "remote", remote);
	json_add_text(o, "local", local);
	json_add_number(o, "ifindex", d->endpoint.ifindex);
	json_add_text(o, "dev", device);
	json_add_number(o, "len", d->len);
	json_add_number(o, "tos", d->tos);
	json_add_text(o, "path", path);
	if (p->hex)
		json_add_text(o, "data", p->hex);
	output_json(o);
	json_object_put(o);
}
