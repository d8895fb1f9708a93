/* SPDX-License-Identifier: MIT */
/* The two receivers, made to speak of datagrams in the same words. */
#include "differential.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH  64u
#define BUFFER 65536u

static int kernel_fd = -1;

static void set(int level, int name, int value)
{
	if (setsockopt(kernel_fd, level, name, &value, sizeof(value)))
		fatal("socket option %d, %d: %s", level, name, strerror(errno));
}

void receive_open_kernel(const struct sockaddr *address)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };

	if (address && address->sa_family == AF_INET6) {
		sa.sin6_addr = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	} else if (address) {
		sa.sin6_addr.s6_addr[10] = sa.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&sa.sin6_addr.s6_addr[12],
		       &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
	}
	world_enter(KERNEL);
	kernel_fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (kernel_fd < 0)
		fatal("socket: %s", strerror(errno));
	set(IPPROTO_IPV6, IPV6_V6ONLY, 0);
	set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	set(IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	set(IPPROTO_IP, IP_PKTINFO, 1);
	set(IPPROTO_IP, IP_RECVTOS, 1);
	set(IPPROTO_IP, IP_MULTICAST_ALL, 1); /* the default of AF_INET, not of AF_INET6 */
	set(SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20);
	if (bind(kernel_fd, (struct sockaddr *)&sa, sizeof(sa)))
		fatal("bind: %s", strerror(errno));
}

void receive_close_kernel(void)
{
	close(kernel_fd);
	kernel_fd = -1;
}

/* ---------------------------------------------------------------- records */

static void payload(struct record *r, const void *data, uint32_t len)
{
	const uint8_t *p = data;
	uint64_t hash = len;

	r->len = len;
	memcpy(r->head, p, len < sizeof(r->head) ? len : sizeof(r->head));
	while (len) {
		uint64_t word = 0;
		uint32_t n = len < 8 ? len : 8;

		memcpy(&word, p, n);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
		hash ^= hash >> 29;
		p += n;
		len -= n;
	}
	r->hash = hash;
}

static struct record *next(struct receiver *r)
{
	if (r->count == RECORDS_MAX)
		fatal("more datagrams than could have been sent");
	return memset(&r->records[r->count++], 0, sizeof(r->records[0]));
}

/*
 * As millrace.h describes an endpoint: IPv4 is IPv4, and a group is nobody's source. IP_PKTINFO
 * comes with packets that were IPv4; an IPv6 packet can have an IPv4-mapped source too.
 */
static void describe(struct record *r, const struct sockaddr_in6 *from, struct msghdr *m)
{
	r->family = AF_INET6;
	r->port = ntohs(from->sin6_port);
	r->local_port = PORT;
	r->scope = from->sin6_scope_id;
	memcpy(r->remote, &from->sin6_addr, 16);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct in_pktinfo info4;
		struct in6_pktinfo info6;
		int value = 0;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info4, CMSG_DATA(c), sizeof(info4));
			r->family = AF_INET;
			memset(r->remote, 0, 16);
			memcpy(r->remote, &from->sin6_addr.s6_addr[12], 4);
			memset(r->local, 0, 16);
			memcpy(r->local, &info4.ipi_spec_dst, 4);
			r->ifindex = (uint32_t)info4.ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO &&
			   r->family == AF_INET6) {
			memcpy(&info6, CMSG_DATA(c), sizeof(info6));
			if (!IN6_IS_ADDR_MULTICAST(&info6.ipi6_addr))
				memcpy(r->local, &info6.ipi6_addr, 16);
			r->ifindex = info6.ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			r->tos = *CMSG_DATA(c);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
			memcpy(&value, CMSG_DATA(c), sizeof(value));
			r->tos = (uint8_t)value;
		}
	}
}

unsigned receive_kernel(struct receiver *r, int timeout_ms)
{
	static uint8_t buffers[BATCH][BUFFER];
	struct sockaddr_in6 from[BATCH];
	struct mmsghdr messages[BATCH];
	_Alignas(struct cmsghdr) char control[BATCH][256];
	struct iovec iov[BATCH];
	int n;

	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ buffers[i], BUFFER };
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &from[i],
			.msg_namelen = sizeof(from[i]),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = sizeof(control[i]),
		};
	}
	if (timeout_ms) {
		struct pollfd fd = { .fd = kernel_fd, .events = POLLIN };

		poll(&fd, 1, timeout_ms);
	}
	n = recvmmsg(kernel_fd, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct record *one = next(r);

		if (messages[i].msg_hdr.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
			fatal("the kernel's socket has truncated");
		describe(one, &from[i], &messages[i].msg_hdr);
		payload(one, buffers[i], messages[i].msg_len);
	}
	return n > 0 ? (unsigned)n : 0;
}

unsigned receive_fast(struct receiver *r, struct mr_transport *t, int timeout_ms)
{
	struct mr_reader *reader = mr_reader(t, 0);
	struct mr_datagram d[BATCH];
	int n = mr_read(reader, d, BATCH, timeout_ms);

	if (n < 0)
		fatal("mr_read: %s", strerror(-n));
	for (int i = 0; i < n; i++) {
		const struct mr_endpoint *e = &d[i].endpoint;
		struct record *one = next(r);

		one->family = (uint8_t)e->family;
		one->port = ntohs(e->port_be);
		one->local_port = d[i].local_port;
		one->scope = e->scope;
		one->ifindex = e->ifindex;
		one->tos = d[i].tos;
		memcpy(one->remote, &e->remote, 16);
		memcpy(one->local, &e->local, 16);
		one->path = d[i].path;
		payload(one, d[i].data, d[i].len);
	}
	mr_release(reader, d, (unsigned)n);
	return (unsigned)n;
}

int record_compare(const void *a, const void *b)
{
	return memcmp(a, b, RECORD_COMPARED);
}

void receive_sort(struct receiver *r)
{
	qsort(r->records, r->count, sizeof(r->records[0]), record_compare);
}

void record_print(const char *who, const struct record *r)
{
	char remote[INET6_ADDRSTRLEN], local[INET6_ADDRSTRLEN];

	printf("#   %s: ", who);
	if (!r) {
		printf("nothing\n");
		return;
	}
	inet_ntop(r->family, r->remote, remote, sizeof(remote));
	inet_ntop(r->family, r->local, local, sizeof(local));
	printf("[%s]:%u scope %u -> [%s]:%u if %u tos 0x%02x len %u payload %016jx, path %s\n",
	       remote, r->port, r->scope, local, r->local_port, r->ifindex, r->tos, r->len,
	       (uintmax_t)r->hash, mr_path_name(r->path));
}
