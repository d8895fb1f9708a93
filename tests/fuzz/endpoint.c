/* SPDX-License-Identifier: MIT */
/*
 * The same bytes as text, as a sockaddr and as an endpoint: what parses is written and read again
 * unchanged, and nothing is written beyond its buffer.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>

#include "millrace.h"

static void format(char out[MR_ENDPOINT_TEXT], const struct mr_endpoint *e,
		   char *(*how)(const struct mr_endpoint *e, char buf[MR_ENDPOINT_TEXT]))
{
	char *buf = malloc(MR_ENDPOINT_TEXT); /* ASan watches its end */

	REQUIRE(buf && how(e, buf) == buf);
	REQUIRE(memchr(buf, 0, MR_ENDPOINT_TEXT));
	memcpy(out, buf, strlen(buf) + 1);
	free(buf);
}

static void check_same(const struct mr_endpoint *a, const struct mr_endpoint *b)
{
	REQUIRE(!memcmp(a, b, sizeof(*a)));
	REQUIRE(mr_endpoint_equal(a, b) && mr_endpoint_equal(b, a));
	REQUIRE(mr_endpoint_hash(a, 1) == mr_endpoint_hash(b, 1));
}

/* What the text has to say, taken apart without the product. */
static void check_text(const char *text, const struct mr_endpoint *e)
{
	const char *colon = strrchr(text, ':');
	char host[MR_ENDPOINT_TEXT];
	union mr_address a = { 0 };
	size_t len;

	REQUIRE(colon && strtoul(colon + 1, NULL, 10) == ntohs(e->port_be));
	len = strcspn(text + (*text == '['), "%]");
	if (*text != '[')
		len = (size_t)(colon - text);
	memcpy(host, text + (*text == '['), len);
	host[len] = '\0';
	REQUIRE(inet_pton(*text == '[' ? AF_INET6 : AF_INET, host, &a) == 1);
	if (*text == '[' && e->family == AF_INET)
		REQUIRE(IN6_IS_ADDR_V4MAPPED(&a.v6) && !memcmp(a.bytes + 12, &e->remote, 4));
	else
		REQUIRE(!memcmp(&a, &e->remote, sizeof(a)));
	REQUIRE((*text == '[') == (e->family == AF_INET6) || e->family == AF_INET);
}

/* Written and read again: the same endpoint, and the same text. */
static void check_round_trip(const struct mr_endpoint *e)
{
	char text[MR_ENDPOINT_TEXT], again[MR_ENDPOINT_TEXT];
	struct mr_endpoint back;

	format(text, e, mr_endpoint_format);
	check_text(text, e);
	memset(&back, 0xa5, sizeof(back));
	REQUIRE(mr_endpoint_parse(&back, text) == 0);
	back.flowinfo_be = e->flowinfo_be; /* has no place in the text */
	check_same(e, &back);
	format(again, &back, mr_endpoint_format);
	REQUIRE(!strcmp(text, again));
}

static void check_parse(const uint8_t *data, size_t size)
{
	struct mr_endpoint e;
	char *text = malloc(size + 1);
	int err;

	REQUIRE(text);
	memcpy(text, data, size);
	text[size] = '\0';
	memset(&e, 0xa5, sizeof(e));
	err = mr_endpoint_parse(&e, text);
	REQUIRE(err == 0 || err == -EINVAL || err == -ENODEV);
	if (!err) {
		REQUIRE(e.family == AF_INET || e.family == AF_INET6);
		REQUIRE(e.ifindex == 0 && e.flowinfo_be == 0);
		check_text(text, &e);
		check_round_trip(&e);
	}
	free(text);
}

static void check_sockaddr(const uint8_t *data, size_t size)
{
	struct sockaddr *sa = fuzz_copy(data, size);
	struct sockaddr_storage out;
	struct mr_endpoint e, back;
	socklen_t len;

	memset(&e, 0xa5, sizeof(e));
	if (mr_endpoint_from_sockaddr(&e, sa, (socklen_t)size) == 0) {
		len = mr_endpoint_to_sockaddr(&e, &out);
		REQUIRE(len == (e.family == AF_INET ? sizeof(struct sockaddr_in)
						    : sizeof(struct sockaddr_in6)));
		memset(&back, 0xa5, sizeof(back));
		REQUIRE(mr_endpoint_from_sockaddr(&back, (struct sockaddr *)&out, len) == 0);
		check_same(&e, &back);
		check_round_trip(&e);
	}
	free(sa);
}

/* Any bytes may stand in the struct, as a caller can leave them there. */
static void check_any(const uint8_t *data, size_t size)
{
	char text[MR_ENDPOINT_TEXT];
	struct mr_endpoint e, copy;

	if (size < sizeof(e))
		return;
	memcpy(&e, data, sizeof(e));
	if (data[size - 1] & 1)
		e.family = data[size - 1] & 2 ? AF_INET : AF_INET6;
	format(text, &e, mr_endpoint_format);
	format(text, &e, mr_endpoint_format_local);
	copy = e;
	check_same(&e, &copy);
	mr_endpoint_clear_source(&copy);
	format(text, &copy, mr_endpoint_format_local);
	REQUIRE(!strcmp(text, "-"));
	if (mr_endpoint_equal(&e, &copy))
		REQUIRE(mr_endpoint_hash(&e, 7) == mr_endpoint_hash(&copy, 7));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_parse(data, size);
	if (size) /* a sockaddr of no bytes is a NULL that the call refuses */
		check_sockaddr(data, size);
	check_any(data, size);
	return 0;
}
