/* SPDX-License-Identifier: MIT */
/*
 * Files of tests/corpus. A NAME.hex is text: the first line a label (for frames the reason that is
 * expected), then bytes as pairs of hex digits, ee*9 for nine times the same, "text" for its bytes,
 * and comments from a # to the end of the line. Any other file is the bytes themselves.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CORPUS_MAX 65536u

struct corpus_input {
	char path[4096];
	char label[64]; /* "" when the file is no .hex */
	uint8_t bytes[CORPUS_MAX];
	size_t len;
};

static inline int corpus_nibble(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

static inline bool corpus_put(struct corpus_input *in, const void *bytes, size_t len)
{
	if (len > sizeof(in->bytes) - in->len)
		return false;
	memcpy(in->bytes + in->len, bytes, len);
	in->len += len;
	return true;
}

/* A pair of digits, as often as the star behind it says. Returns what follows; NULL: malformed. */
static inline const char *corpus_pair(struct corpus_input *in, const char *text)
{
	int high = corpus_nibble(text[0]), low = high < 0 ? -1 : corpus_nibble(text[1]);
	uint8_t byte = (uint8_t)(high * 16 + low);
	unsigned long times = 1;
	char *after;

	if (low < 0)
		return NULL;
	text += 2;
	if (*text == '*') {
		times = strtoul(text + 1, &after, 10);
		text = after;
	}
	for (; times; times--)
		if (!corpus_put(in, &byte, 1))
			return NULL;
	return text;
}

/* The text behind the label into bytes; false when it is no such text. */
static inline bool corpus_decode(struct corpus_input *in, const char *text)
{
	in->len = 0;
	while (text && *text) {
		if (isspace((unsigned char)*text)) {
			text++;
		} else if (*text == '#') {
			text += strcspn(text, "\n");
		} else if (*text == '"') {
			size_t len = strcspn(text + 1, "\"\n");

			if (text[1 + len] != '"' || !corpus_put(in, text + 1, len))
				return false;
			text += len + 2;
		} else {
			text = corpus_pair(in, text);
		}
	}
	return text;
}

/* Reads one file; false when it cannot be read or is malformed. */
static inline bool corpus_read(struct corpus_input *in, const char *path)
{
	static char text[CORPUS_MAX * 4];
	const char *dot = strrchr(path, '.');
	FILE *f = fopen(path, "re");
	size_t len;

	if (!f)
		return false;
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	snprintf(in->path, sizeof(in->path), "%s", path);
	in->label[0] = '\0';
	if (dot && !strcmp(dot, ".hex")) {
		size_t line = strcspn(text, "\n");

		snprintf(in->label, sizeof(in->label), "%.*s", (int)line, text);
		return corpus_decode(in, text + line);
	}
	in->len = len;
	if (len > sizeof(in->bytes))
		return false;
	memcpy(in->bytes, text, len);
	return true;
}

static inline int corpus_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/*
 * Calls `visit` for the file, or for every file of the directory in order of their names. Returns
 * how many; -1 when one could not be read, with a word on stderr.
 */
static inline int corpus_each(const char *path,
			      void (*visit)(void *arg, const struct corpus_input *in), void *arg)
{
	static struct corpus_input in;
	struct dirent **entries;
	int n = scandir(path, &entries, corpus_visible, alphasort), good = 0;
	bool one = n < 0; /* no directory */
	char *file;

	for (int i = 0; i < (one ? 1 : n); i++) {
		if (asprintf(&file, "%s%s%s", path, one ? "" : "/", one ? "" : entries[i]->d_name) <
		    0)
			abort();
		if (corpus_read(&in, file)) {
			visit(arg, &in);
			good++;
		} else {
			fprintf(stderr, "%s: cannot be read, or is no corpus file\n", file);
		}
		free(file);
		if (!one)
			free(entries[i]);
	}
	if (!one)
		free(entries);
	return good == (one ? 1 : n) ? good : -1;
}

#endif
