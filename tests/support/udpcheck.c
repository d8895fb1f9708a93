// SPDX-License-Identifier: MIT
/*
 * A UDP client that checks its replies, on plain sockets only.
 *
 * Sends datagrams to ADDRESS and expects each one back: the same bytes, from exactly the address
 * and port it was sent to. Exit 0 when all was as expected, 1 when not, 2 for usage.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE_MAX_UDP = 65507, SIZES_MAX = 64, FLOWS_MAX = 4096, SHOWN_MAX = 5 };

struct address {
	struct sockaddr_storage sa;
	socklen_t len;
};

static struct {
	const char *from, *reply_from, *text;
	size_t sizes[SIZES_MAX];
	unsigned size_count, count, flows, window;
	int tos, timeout_ms, interval_ms;
	bool no_reply, any_source, show;
} opt = { .count = 1, .flows = 1, .window = 32, .tos = -1, .timeout_ms = 1000 };

static unsigned sent, answered, wrong;
static uint8_t buf[SIZE_MAX_UDP + 1], want[SIZE_MAX_UDP + 1];

static void usage(void)
{
	fputs("usage: udpcheck [OPTION]… ADDRESS PORT\n"
	      "  --from ADDRESS[,PORT]  send from here (with --flows: the first of the ports)\n"
	      "  --size N[,N]…          payload bytes (default 18)\n"
	      "  --text TEXT            send this instead\n"
	      "  --count N              datagrams of each size from each flow\n"
	      "  --flows N              that many sockets, each with its own port\n"
	      "  --window N             flows with a datagram under way at a time\n"
	      "  --interval MS          pause between the counts\n"
	      "  --tos N                TOS or traffic class to send with\n"
	      "  --timeout MS           how long to wait for a reply\n"
	      "  --no-reply             expect that nothing comes back\n"
	      "  --any-source           a reply from another address is fine\n"
	      "  --reply-from ADDRESS   replies have to come from there\n"
	      "  --show                 print where replies come from\n",
	      stderr);
	exit(2);
}

static void die(const char *what)
{
	fprintf(stderr, "udpcheck: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct address resolve(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct address a = { 0 };
	struct addrinfo *found;
	int rc = getaddrinfo(host, port, &hints, &found);

	if (rc) {
		fprintf(stderr, "udpcheck: %s port %s: %s\n", host, port, gai_strerror(rc));
		exit(2);
	}
	memcpy(&a.sa, found->ai_addr, found->ai_addrlen);
	a.len = found->ai_addrlen;
	freeaddrinfo(found);
	return a;
}

static const char *text_of(const struct address *a)
{
	static char out[2][NI_MAXHOST + NI_MAXSERV + 4];
	static int turn;
	char host[NI_MAXHOST], port[NI_MAXSERV];

	turn = !turn;
	if (getnameinfo((const struct sockaddr *)&a->sa, a->len, host, sizeof(host), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		return "?";
	snprintf(out[turn], sizeof(out[turn]), "[%s]:%s", host, port);
	return out[turn];
}

static void set_port(struct address *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET6)
		((struct sockaddr_in6 *)&a->sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)&a->sa)->sin_port = htons(port);
}

static bool same(const struct address *a, const struct address *b)
{
	if (a->sa.ss_family != b->sa.ss_family)
		return false;
	if (a->sa.ss_family == AF_INET6) {
		const struct sockaddr_in6 *x = (const void *)&a->sa, *y = (const void *)&b->sa;

		return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
		       !memcmp(&x->sin6_addr, &y->sin6_addr, 16);
	}
	const struct sockaddr_in *x = (const void *)&a->sa, *y = (const void *)&b->sa;

	return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
}

/* Every datagram has bytes of its own, so that a reply meant for another one is noticed. */
static void fill(uint8_t *p, size_t size, unsigned flow, unsigned nth)
{
	uint32_t x = 2463534242u ^ (flow * 2654435761u) ^ (nth * 40503u) ^ ((uint32_t)size << 11);

	if (opt.text) {
		memcpy(p, opt.text, size);
		return;
	}
	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		p[i] = (uint8_t)x;
	}
}

static __attribute__((format(printf, 1, 2))) void complain(const char *format, ...)
{
	va_list args;

	if (wrong++ >= SHOWN_MAX)
		return;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
}

static int open_flow(int family, unsigned nth)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int size = 1 << 21, on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (opt.tos >= 0 &&
	    setsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP,
		       family == AF_INET6 ? IPV6_TCLASS : IP_TOS, &opt.tos, sizeof(opt.tos)))
		die("set TOS");
	if (opt.from) {
		char *host = strdup(opt.from), *port = strchr(host, ',');
		struct address from;

		if (port)
			*port++ = 0;
		from = resolve(host, "0");
		if (port)
			set_port(&from, (uint16_t)(atoi(port) + (int)nth));
		if (bind(fd, (struct sockaddr *)&from.sa, from.len))
			die(opt.from);
		free(host);
	}
	return fd;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Takes one datagram and says whether it is the expected one. */
static bool take(int fd, unsigned flow, unsigned nth, size_t size, const struct address *expect)
{
	struct address from = { .len = sizeof(from.sa) };
	ssize_t got = recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from.sa,
			       &from.len);

	if (got < 0) {
		if (errno != EAGAIN && errno != EINTR)
			complain("flow %u: receive: %s\n", flow, strerror(errno));
		return false;
	}
	if (opt.show)
		printf("reply of %zd bytes from %s\n", got, text_of(&from));
	fill(want, size, flow, nth);
	if ((size_t)got != size || memcmp(buf, want, size)) {
		complain("flow %u: reply of %zd bytes, not the %zu bytes sent\n", flow, got, size);
		return false;
	}
	if (!opt.any_source && !same(&from, expect)) {
		complain("flow %u: reply from %s, expected from %s\n", flow, text_of(&from),
			 text_of(expect));
		return false;
	}
	return true;
}

/* One datagram from each of the flows [first, first + n), and their replies. */
static void round_trip(const int *fds, unsigned first, unsigned n, unsigned nth, size_t size,
		       const struct address *to, const struct address *expect)
{
	struct pollfd *wait = calloc(n, sizeof(*wait));
	int64_t end = now_ms() + opt.timeout_ms;
	unsigned left = 0;

	for (unsigned i = 0; i < n; i++) {
		fill(buf, size, first + i, nth);
		wait[i] = (struct pollfd){ .fd = fds[first + i], .events = POLLIN };
		sent++;
		left++;
		if (sendto(wait[i].fd, buf, size, 0, (const struct sockaddr *)&to->sa, to->len) <
		    0) {
			complain("flow %u: send %zu bytes to %s: %s\n", first + i, size,
				 text_of(to), strerror(errno));
			wait[i].fd = -1;
			left--;
		}
	}
	while (left) {
		int64_t ms = end - now_ms();

		if (ms <= 0 || poll(wait, n, (int)ms) <= 0)
			break;
		for (unsigned i = 0; i < n; i++) {
			if (!wait[i].revents || wait[i].fd < 0)
				continue;
			if (take(wait[i].fd, first + i, nth, size, expect)) {
				answered++;
				left--;
				wait[i].fd = -1;
			}
		}
	}
	for (unsigned i = 0; i < n && !opt.no_reply; i++)
		if (wait[i].fd >= 0)
			complain("flow %u: no reply to %zu bytes sent to %s\n", first + i, size,
				 text_of(to));
	free(wait);
}

static void parse_sizes(char *list)
{
	for (char *s = strtok(list, ","); s; s = strtok(NULL, ",")) {
		char *end;
		unsigned long n = strtoul(s, &end, 10);

		if (*end || n > SIZE_MAX_UDP || opt.size_count == SIZES_MAX)
			usage();
		opt.sizes[opt.size_count++] = n;
	}
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "from", 1, 0, 'f' },	     { "size", 1, 0, 's' },
		{ "text", 1, 0, 'x' },	     { "count", 1, 0, 'c' },
		{ "flows", 1, 0, 'n' },	     { "window", 1, 0, 'w' },
		{ "interval", 1, 0, 'i' },   { "tos", 1, 0, 't' },
		{ "timeout", 1, 0, 'm' },    { "no-reply", 0, 0, 'N' },
		{ "any-source", 0, 0, 'a' }, { "reply-from", 1, 0, 'r' },
		{ "show", 0, 0, 'v' },	     { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f':
			opt.from = optarg;
			break;
		case 's':
			parse_sizes(optarg);
			break;
		case 'x':
			opt.text = optarg;
			break;
		case 'c':
			opt.count = (unsigned)atoi(optarg);
			break;
		case 'n':
			opt.flows = (unsigned)atoi(optarg);
			break;
		case 'w':
			opt.window = (unsigned)atoi(optarg);
			break;
		case 'i':
			opt.interval_ms = atoi(optarg);
			break;
		case 't':
			opt.tos = (int)strtol(optarg, NULL, 0);
			break;
		case 'm':
			opt.timeout_ms = atoi(optarg);
			break;
		case 'N':
			opt.no_reply = true;
			break;
		case 'a':
			opt.any_source = true;
			break;
		case 'r':
			opt.reply_from = optarg;
			break;
		case 'v':
			opt.show = true;
			break;
		default:
			usage();
		}
	}
	if (argc - optind != 2 || !opt.flows || opt.flows > FLOWS_MAX || !opt.window)
		usage();
	if (opt.text)
		opt.sizes[opt.size_count++] = strlen(opt.text);
	if (!opt.size_count)
		opt.sizes[opt.size_count++] = 18;
}

int main(int argc, char **argv)
{
	struct address to, expect;
	int fds[FLOWS_MAX];

	parse(argc, argv);
	to = resolve(argv[optind], argv[optind + 1]);
	expect = opt.reply_from ? resolve(opt.reply_from, argv[optind + 1]) : to;
	for (unsigned i = 0; i < opt.flows; i++)
		fds[i] = open_flow(to.sa.ss_family, i);

	for (unsigned nth = 0; nth < opt.count; nth++) {
		if (nth && opt.interval_ms)
			poll(NULL, 0, opt.interval_ms);
		for (unsigned s = 0; s < opt.size_count; s++) {
			/* Fragments of many datagrams at a time would overflow any buffer. */
			unsigned step = opt.sizes[s] > 1500 ? 1 : opt.window;

			for (unsigned i = 0; i < opt.flows; i += step)
				round_trip(fds, i, step < opt.flows - i ? step : opt.flows - i, nth,
					   opt.sizes[s], &to, &expect);
		}
	}
	for (unsigned i = 0; i < opt.flows; i++)
		close(fds[i]);

	if (opt.no_reply && answered) {
		fprintf(stderr, "udpcheck: %u replies where none was expected\n", answered);
		return 1;
	}
	printf("sent=%u answered=%u wrong=%u\n", sent, answered, wrong);
	return wrong || (!opt.no_reply && answered != sent);
}
