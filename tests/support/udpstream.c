// SPDX-License-Identifier: MIT
/*
 * Sends datagrams to many addresses in turn, at a steady rate, and expects nothing back. Each tells
 * what it is, so that what `recv --json --hex` shows of it can be told apart. Its first bytes are
 * decimal digits, two in a byte:
 *
 *	16  microseconds since the epoch when it was sent (0 with --no-stamp)
 *	 8  number of the round, from 0
 *	 4  number of the address, from 0, in the order given
 *
 * and then bytes that follow from the round. Ended by --seconds, --rounds or SIGTERM, it prints
 *
 *	sent=12 failed=0
 */
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { SIZE_MAX_UDP = 65507, HEAD = 14, NS_PER_S = 1000000000 };

struct target {
	struct sockaddr_storage sa;
	socklen_t len;
};

static struct {
	unsigned long rounds;
	double seconds;
	long rate;
	unsigned size, segments;
	int from;
	bool no_stamp;
} opt = { .size = 18, .segments = 1 };

static volatile sig_atomic_t done;
static uint8_t buf[SIZE_MAX_UDP];

static void stop(int signal)
{
	(void)signal;
	done = 1;
}

static void usage(void)
{
	fputs("usage: udpstream [OPTION]… PORT ADDRESS…\n"
	      "  --rate N       messages a second, over all addresses (default: no limit)\n"
	      "  --rounds N     messages to each address (default: no limit)\n"
	      "  --seconds S    stop then\n"
	      "  --from PORT    send from this port\n"
	      "  --size N       payload bytes of each datagram, 14 or more (default 18)\n"
	      "  --segments N   that many datagrams in one message, by UDP_SEGMENT\n"
	      "  --no-stamp     without the time, so that two runs send the same\n",
	      stderr);
	exit(2);
}

static void die(const char *what)
{
	fprintf(stderr, "udpstream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct target resolve(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_DGRAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct target t = { 0 };
	struct addrinfo *found;

	if (getaddrinfo(host, port, &hints, &found)) {
		fprintf(stderr, "udpstream: '%s' port '%s'?\n", host, port);
		exit(2);
	}
	memcpy(&t.sa, found->ai_addr, found->ai_addrlen);
	t.len = found->ai_addrlen;
	freeaddrinfo(found);
	return t;
}

static int open_socket(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, size = 1 << 22;
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6,
				     .sin6_port = htons((uint16_t)opt.from) };
	struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.from) };
	int rc;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		rc = bind(fd, (struct sockaddr *)&any6, sizeof(any6));
	} else {
		rc = bind(fd, (struct sockaddr *)&any4, sizeof(any4));
	}
	if (rc)
		die("bind");
	return fd;
}

static void put_digits(uint8_t *at, unsigned bytes, uint64_t value)
{
	while (bytes--) {
		at[bytes] = (uint8_t)(value % 10 | value / 10 % 10 << 4);
		value /= 100;
	}
}

static void fill(unsigned long round, unsigned target)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned s = 0; s < opt.segments; s++) {
		uint8_t *p = buf + (size_t)s * opt.size;

		put_digits(p, 8,
			   opt.no_stamp
				   ? 0
				   : (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
		put_digits(p + 8, 4, round * opt.segments + s);
		put_digits(p + 12, 2, target);
		for (unsigned i = HEAD; i < opt.size; i++)
			p[i] = (uint8_t)(i * 7 + round + s * 31);
	}
}

static bool send_message(int fd, const struct target *to)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint16_t))] = { 0 };
	struct iovec iov = { .iov_base = buf, .iov_len = (size_t)opt.size * opt.segments };
	struct msghdr msg = { .msg_name = (void *)(uintptr_t)&to->sa,
			      .msg_namelen = to->len,
			      .msg_iov = &iov,
			      .msg_iovlen = 1 };
	uint16_t size = (uint16_t)opt.size;
	struct cmsghdr *cmsg;

	if (opt.segments > 1) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = IPPROTO_UDP;
		cmsg->cmsg_type = UDP_SEGMENT;
		cmsg->cmsg_len = CMSG_LEN(sizeof(size));
		memcpy(CMSG_DATA(cmsg), &size, sizeof(size));
	}
	return sendmsg(fd, &msg, 0) >= 0;
}

/* Sleeps until the nth message is due. */
static void pace(const struct timespec *start, unsigned long nth)
{
	uint64_t ns = (uint64_t)nth * NS_PER_S / (uint64_t)opt.rate + (uint64_t)start->tv_nsec;
	struct timespec due = { .tv_sec = start->tv_sec + (time_t)(ns / NS_PER_S),
				.tv_nsec = (long)(ns % NS_PER_S) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "rate", 1, 0, 'r' },	   { "rounds", 1, 0, 'n' },
		{ "seconds", 1, 0, 's' },  { "size", 1, 0, 'z' },
		{ "from", 1, 0, 'f' },	   { "segments", 1, 0, 'g' },
		{ "no-stamp", 0, 0, 'N' }, { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			opt.rate = atol(optarg);
			break;
		case 'n':
			opt.rounds = strtoul(optarg, NULL, 10);
			break;
		case 's':
			opt.seconds = atof(optarg);
			break;
		case 'z':
			opt.size = (unsigned)atoi(optarg);
			break;
		case 'f':
			opt.from = atoi(optarg);
			break;
		case 'g':
			opt.segments = (unsigned)atoi(optarg);
			break;
		case 'N':
			opt.no_stamp = true;
			break;
		default:
			usage();
		}
	}
	if (argc - optind < 2 || opt.size < HEAD || !opt.segments || opt.segments > 128 ||
	    opt.size * opt.segments > SIZE_MAX_UDP || (!opt.rounds && opt.seconds <= 0))
		usage();
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };
	unsigned long sent = 0, failed = 0;
	struct timespec start, now;
	struct target *targets;
	unsigned count;
	int fd4, fd6;

	parse(argc, argv);
	count = (unsigned)(argc - optind - 1);
	targets = calloc(count, sizeof(*targets));
	if (!targets)
		die("memory");
	for (unsigned i = 0; i < count; i++)
		targets[i] = resolve(argv[optind + 1 + (int)i], argv[optind]);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	fd4 = open_socket(AF_INET);
	fd6 = open_socket(AF_INET6);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned long round = 0; !done && (!opt.rounds || round < opt.rounds); round++) {
		for (unsigned i = 0; i < count && !done; i++) {
			if (opt.rate)
				pace(&start, sent + failed);
			fill(round, i);
			/* What is not there cannot always be written to; that is no end. */
			if (send_message(targets[i].sa.ss_family == AF_INET6 ? fd6 : fd4,
					 &targets[i]))
				sent++;
			else
				failed++;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (opt.seconds > 0 &&
		    (double)(now.tv_sec - start.tv_sec) +
				    (double)(now.tv_nsec - start.tv_nsec) / NS_PER_S >=
			    opt.seconds)
			done = 1;
	}
	free(targets);
	printf("sent=%lu failed=%lu\n", sent, failed);
	return failed != 0;
}
