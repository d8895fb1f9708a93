/* SPDX-License-Identifier: MIT */
/* Endpoints: from and to the kernel's form and text, compare, hash, forget. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <assert.h>
#include <net/if.h>
#include <stdio.h>

/* ---------------------------------------------------------------- kernel's form */

/* Link-local unicast, and multicast that does not leave the link: means nothing without a scope. */
static bool needs_scope(const struct in6_addr *a)
{
	return IN6_IS_ADDR_LINKLOCAL(a) || IN6_IS_ADDR_MC_LINKLOCAL(a) ||
	       IN6_IS_ADDR_MC_NODELOCAL(a);
}

static void set_ip4(struct mr_endpoint *e, uint32_t addr_be, uint16_t port_be)
{
	*e = (struct mr_endpoint){ .family = AF_INET, .port_be = port_be };
	e->remote.v4.s_addr = addr_be;
}

/* Here IPv4-mapped addresses turn into IPv4, and scopes without a meaning are dropped. */
static void set_ip6(struct mr_endpoint *e, const struct in6_addr *a, uint16_t port_be,
		    uint32_t scope, uint32_t flowinfo_be)
{
	uint32_t word[4];

	if (IN6_IS_ADDR_V4MAPPED(a)) {
		memcpy(word, a, sizeof(word));
		set_ip4(e, word[3], port_be);
		return;
	}
	*e = (struct mr_endpoint){
		.family = AF_INET6,
		.port_be = port_be,
		.flowinfo_be = flowinfo_be,
		.scope = needs_scope(a) ? scope : 0,
		.remote.v6 = *a,
	};
}

int mr_endpoint_from_sockaddr(struct mr_endpoint *e, const struct sockaddr *sa, socklen_t len)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	sa_family_t family;

	assert(e && sa);
	if (len < sizeof(family))
		return -EINVAL;
	/* Copied, for a sockaddr in somebody's byte buffer need not be aligned. */
	memcpy(&family, (const char *)sa + offsetof(struct sockaddr, sa_family), sizeof(family));
	switch (family) {
	case AF_INET:
		if (len < sizeof(in))
			return -EINVAL;
		memcpy(&in, sa, sizeof(in));
		set_ip4(e, in.sin_addr.s_addr, in.sin_port);
		return 0;
	case AF_INET6:
		if (len < sizeof(in6))
			return -EINVAL;
		memcpy(&in6, sa, sizeof(in6));
		set_ip6(e, &in6.sin6_addr, in6.sin6_port, in6.sin6_scope_id, in6.sin6_flowinfo);
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

socklen_t mr_endpoint_to_sockaddr(const struct mr_endpoint *e, struct sockaddr_storage *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	assert(e && sa);
	switch (e->family) {
	case AF_INET:
		in = (struct sockaddr_in){
			.sin_family = AF_INET,
			.sin_port = e->port_be,
			.sin_addr = e->remote.v4,
		};
		memcpy(sa, &in, sizeof(in));
		return sizeof(in);
	case AF_INET6:
		in6 = (struct sockaddr_in6){
			.sin6_family = AF_INET6,
			.sin6_port = e->port_be,
			.sin6_flowinfo = e->flowinfo_be,
			.sin6_addr = e->remote.v6,
			.sin6_scope_id = e->scope,
		};
		memcpy(sa, &in6, sizeof(in6));
		return sizeof(in6);
	default:
		return 0;
	}
}

/* ---------------------------------------------------------------- text */

/* Digits only, all of the text: strtoul would also take spaces, signs and "0x". */
static bool parse_number(const char *text, uint32_t max, uint32_t *out)
{
	uint64_t n = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return false;
	}
	*out = (uint32_t)n;
	return true;
}

static bool is_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* A number is taken for an index, whether or not there is such an interface now. */
static int parse_scope(const char *text, uint32_t *scope)
{
	if (!*text)
		return -EINVAL;
	if (is_digits(text))
		return parse_number(text, UINT32_MAX, scope) && *scope ? 0 : -EINVAL;
	*scope = if_nametoindex(text);
	return *scope ? 0 : -ENODEV;
}

/* What stands between the brackets; cut apart in place. */
static int parse_ip6(struct mr_endpoint *e, char *host, uint16_t port_be)
{
	char *percent = strchr(host, '%');
	uint32_t scope = 0;
	struct in6_addr a;
	int err;

	if (percent)
		*percent = '\0';
	if (inet_pton(AF_INET6, host, &a) != 1)
		return -EINVAL;
	if (percent) {
		if (!needs_scope(&a))
			return -EINVAL;
		err = parse_scope(percent + 1, &scope);
		if (err)
			return err;
	}
	set_ip6(e, &a, port_be, scope, 0);
	return 0;
}

int mr_endpoint_parse(struct mr_endpoint *e, const char *text)
{
	char copy[MR_ENDPOINT_TEXT];
	size_t len;
	struct in_addr a4;
	uint32_t port;
	char *colon;

	assert(e && text);
	len = strnlen(text, sizeof(copy));
	if (len == sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len + 1);
	/* The last colon: an interface may be called almost anything, but not with a colon. */
	colon = strrchr(copy, ':');
	if (!colon || !parse_number(colon + 1, UINT16_MAX, &port))
		return -EINVAL;
	*colon = '\0';
	if (copy[0] == '[') {
		if (colon[-1] != ']')
			return -EINVAL;
		colon[-1] = '\0';
		return parse_ip6(e, copy + 1, htons((uint16_t)port));
	}
	if (inet_pton(AF_INET, copy, &a4) != 1)
		return -EINVAL;
	set_ip4(e, a4.s_addr, htons((uint16_t)port));
	return 0;
}

/* Writes "%eth0" or "%2"; nothing when the address has no need of it or no scope is known. */
static void format_scope(const struct in6_addr *a, uint32_t scope, char out[IF_NAMESIZE + 1])
{
	char name[IF_NAMESIZE];

	out[0] = '\0';
	if (!scope || !needs_scope(a))
		return;
	/* An interface named "7" would be read back as index 7. */
	if (if_indextoname(scope, name) && !is_digits(name))
		snprintf(out, IF_NAMESIZE + 1, "%%%s", name);
	else
		snprintf(out, IF_NAMESIZE + 1, "%%%u", scope);
}

char *mr_endpoint_format(const struct mr_endpoint *e, char buf[MR_ENDPOINT_TEXT])
{
	char host[INET6_ADDRSTRLEN];
	char scope[IF_NAMESIZE + 1];

	assert(e && buf);
	switch (e->family) {
	case AF_INET:
		inet_ntop(AF_INET, &e->remote.v4, host, sizeof(host));
		snprintf(buf, MR_ENDPOINT_TEXT, "%s:%u", host, ntohs(e->port_be));
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &e->remote.v6, host, sizeof(host));
		format_scope(&e->remote.v6, e->scope, scope);
		snprintf(buf, MR_ENDPOINT_TEXT, "[%s%s]:%u", host, scope, ntohs(e->port_be));
		break;
	default:
		strcpy(buf, "-");
	}
	return buf;
}

char *mr_endpoint_format_local(const struct mr_endpoint *e, char buf[MR_ENDPOINT_TEXT])
{
	char host[INET6_ADDRSTRLEN];
	char scope[IF_NAMESIZE + 1] = "";

	assert(e && buf);
	if ((e->family != AF_INET && e->family != AF_INET6) || !endpoint_has_source(e)) {
		strcpy(buf, "-");
		return buf;
	}
	inet_ntop(e->family, &e->local, host, sizeof(host));
	if (e->family == AF_INET6)
		format_scope(&e->local.v6, e->ifindex, scope);
	snprintf(buf, MR_ENDPOINT_TEXT, "%s%s", host, scope);
	return buf;
}

/* ---------------------------------------------------------------- source, equality, hash */

/* The interface goes too: it was where that source was seen. */
void mr_endpoint_clear_source(struct mr_endpoint *e)
{
	assert(e);
	memset(&e->local, 0, sizeof(e->local));
	e->ifindex = 0;
}

/*
 * What makes a conversation, as words: the same for equal endpoints and for no others. Bytes
 * which a family does not use are left out, so that garbage there cannot matter. Returns how many.
 */
static unsigned identity(const struct mr_endpoint *e, uint64_t w[5])
{
	w[0] = (uint64_t)e->family << 48 | (uint64_t)e->port_be << 32;
	switch (e->family) {
	case AF_INET:
		w[1] = (uint64_t)e->remote.v4.s_addr << 32 | e->local.v4.s_addr;
		return 2;
	case AF_INET6:
		w[0] |= e->scope;
		memcpy(&w[1], &e->remote, 16);
		memcpy(&w[3], &e->local, 16);
		return 5;
	default:
		w[0] = 0;
		return 1;
	}
}

bool mr_endpoint_equal(const struct mr_endpoint *a, const struct mr_endpoint *b)
{
	uint64_t wa[5], wb[5];
	unsigned n;

	assert(a && b);
	n = identity(a, wa);
	/* Words that differ in number differ in the first, which holds the family. */
	if (identity(b, wb) != n)
		return false;
	return memcmp(wa, wb, n * sizeof(wa[0])) == 0;
}

static inline uint64_t rotate(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] = rotate(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] = rotate(v[2], 32);
}

/*
 * SipHash-1-3 over whole words (no length: identity() says it in the first). Addresses and ports
 * are the peer's to choose, and cheaper mixes have collisions that hold for every seed.
 */
uint64_t mr_endpoint_hash(const struct mr_endpoint *e, uint64_t seed)
{
	uint64_t second = rotate(seed, 32) * 0x9e3779b97f4a7c15u;
	uint64_t v[4] = { seed ^ 0x736f6d6570736575u, second ^ 0x646f72616e646f6du,
			  seed ^ 0x6c7967656e657261u, second ^ 0x7465646279746573u };
	uint64_t w[5];
	unsigned n, i;

	assert(e);
	n = identity(e, w);
	for (i = 0; i < n; i++) {
		v[3] ^= w[i];
		sip_round(v);
		v[0] ^= w[i];
	}
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---------------------------------------------------------------- names */

const char *mr_path_name(enum mr_path path)
{
	switch (path) {
	case MR_PATH_SOCKET:
		return "socket";
	case MR_PATH_XDP:
		return "xdp";
	}
	return "unknown";
}
