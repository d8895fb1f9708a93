// SPDX-License-Identifier: MIT
/*
 * A UDP echo server on one dual-stack socket, the upstream of the relay tests. Replies leave from
 * the address that was written to. Ended by SIGTERM, SIGINT or --seconds, it prints what it saw:
 *
 *	datagrams=12 peers=3
 *
 * where a peer is an address and port that sent something. --show prints each datagram's sender.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 16384 };

static volatile sig_atomic_t done;

static void stop(int signal)
{
	(void)signal;
	done = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "udpserver: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool is_new(const struct sockaddr_in6 *from)
{
	static struct sockaddr_in6 peers[PEERS_MAX];
	static unsigned count;

	for (unsigned i = 0; i < count; i++)
		if (peers[i].sin6_port == from->sin6_port &&
		    !memcmp(&peers[i].sin6_addr, &from->sin6_addr, 16))
			return false;
	if (count < PEERS_MAX)
		peers[count++] = *from;
	return true;
}

static int open_server(int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int off = 0, on = 1, size = 1 << 22;

	if (fd < 0)
		die("socket");
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)))
		die("setsockopt");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)))
		die("bind");
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "port", 1, 0, 'p' },
						 { "seconds", 1, 0, 's' },
						 { "mute", 0, 0, 'm' },
						 { "show", 0, 0, 'v' },
						 { "burst", 1, 0, 'b' },
						 { "delay", 1, 0, 'd' },
						 { 0 } };
	struct sigaction action = { .sa_handler = stop };
	int c, fd, port = 0, burst = 1, delay_ms = 0;
	unsigned long datagrams = 0, peers = 0;
	bool mute = false, show = false;
	static char buf[65536];

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			port = atoi(optarg);
			break;
		case 's':
			alarm((unsigned)atoi(optarg));
			break;
		case 'm':
			mute = true;
			break;
		case 'v':
			show = true;
			break;
		case 'b':
			burst = atoi(optarg);
			break;
		case 'd':
			delay_ms = atoi(optarg);
			break;
		default:
			fputs("usage: udpserver --port P [--seconds S] [--mute] [--burst REPLIES] "
			      "[--delay MS] [--show]\n",
			      stderr);
			return 2;
		}
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	fd = open_server(port);
	fputs("ready\n", stderr);

	while (!done) {
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo)) + 64];
		struct sockaddr_in6 from;
		struct iovec iov = { .iov_base = buf, .iov_len = sizeof(buf) };
		struct msghdr msg = { .msg_name = &from,
				      .msg_namelen = sizeof(from),
				      .msg_iov = &iov,
				      .msg_iovlen = 1,
				      .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t got = recvmsg(fd, &msg, 0);
		struct cmsghdr *cmsg;

		if (got < 0)
			continue;
		datagrams++;
		peers += is_new(&from);
		if (show) {
			char text[INET6_ADDRSTRLEN];

			printf("%s %d %zd\n",
			       inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof(text)),
			       ntohs(from.sin6_port), got);
			fflush(stdout);
		}
		if (mute)
			continue;
		/* The same cmsg, less the interface, is the source of the reply. */
		cmsg = CMSG_FIRSTHDR(&msg);
		if (cmsg && cmsg->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(cmsg), sizeof(info));
			if (!IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
				info.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(cmsg), &info, sizeof(info));
		}
		iov.iov_len = (size_t)got;
		poll(NULL, 0, delay_ms);
		for (int i = 0; i < burst; i++)
			if (sendmsg(fd, &msg, 0) < 0)
				fprintf(stderr, "udpserver: reply: %s\n", strerror(errno));
	}
	printf("datagrams=%lu peers=%lu\n", datagrams, peers);
	return 0;
}
