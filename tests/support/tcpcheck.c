// SPDX-License-Identifier: MIT
/*
 * TCP there and back, for what has to pass beside UDP.
 *
 *	tcpcheck --listen PORT		echoes, one connection after the other, until SIGTERM
 *	tcpcheck ADDRESS PORT [BYTES]	sends that many and wants them back; exit 0 when they were
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { CHUNK = 16384, TIMEOUT_S = 10 };

static uint8_t buf[CHUNK], want[CHUNK];

static void die(const char *what)
{
	fprintf(stderr, "tcpcheck: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return -1;
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

static void serve(int port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 16))
		die("listen");
	fputs("ready\n", stderr);
	for (;;) {
		int peer = accept(fd, NULL, NULL);
		ssize_t n;

		while ((n = recv(peer, buf, sizeof(buf), 0)) > 0)
			if (write_all(peer, buf, (size_t)n))
				break;
		close(peer);
	}
}

static int dial(const char *host, const char *port)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
				  .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct timeval limit = { .tv_sec = TIMEOUT_S };
	struct addrinfo *found;
	int fd;

	if (getaddrinfo(host, port, &hints, &found)) {
		fprintf(stderr, "tcpcheck: %s port %s?\n", host, port);
		exit(2);
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, found->ai_addr, found->ai_addrlen))
		die("connect");
	freeaddrinfo(found);
	return fd;
}

static void fill(uint8_t *bytes, size_t at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((at + i) * 2654435761u >> 24);
}

int main(int argc, char **argv)
{
	size_t total = 65536;
	int fd;

	if (argc == 3 && !strcmp(argv[1], "--listen"))
		serve(atoi(argv[2]));
	if (argc < 3 || argc > 4) {
		fputs("usage: tcpcheck --listen PORT | tcpcheck ADDRESS PORT [BYTES]\n", stderr);
		return 2;
	}
	if (argc == 4)
		total = strtoul(argv[3], NULL, 10);
	fd = dial(argv[1], argv[2]);
	for (size_t at = 0; at < total;) {
		size_t len = total - at < CHUNK ? total - at : CHUNK;

		fill(want, at, len);
		if (write_all(fd, want, len))
			die("send");
		if (recv(fd, buf, len, MSG_WAITALL) != (ssize_t)len)
			die("receive");
		if (memcmp(buf, want, len)) {
			fprintf(stderr, "tcpcheck: other bytes than sent, after %zu\n", at);
			return 1;
		}
		at += len;
	}
	return 0;
}
