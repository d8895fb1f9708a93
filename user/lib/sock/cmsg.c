/* SPDX-License-Identifier: MIT */
#include "sock/cmsg.h"

#include <netinet/udp.h>
#include <string.h>

#include "endpoint.h"

/* A message's payload, if it is at least as long as expected. */
static bool take(void *to, size_t size, const struct cmsghdr *c)
{
	if (c->cmsg_len < CMSG_LEN(size))
		return false;
	memcpy(to, CMSG_DATA(c), size);
	return true;
}

static void read_ip4(struct cmsg_in *in, const struct cmsghdr *c)
{
	struct in_pktinfo info;

	if (c->cmsg_type == IP_PKTINFO && take(&info, sizeof(info), c)) {
		memset(&in->local, 0, sizeof(in->local));
		in->local.v4 = info.ipi_spec_dst;
		in->ifindex = (uint32_t)info.ipi_ifindex;
		in->has_local = true;
	} else if (c->cmsg_type == IP_TOS) {
		take(&in->tos, sizeof(in->tos), c); /* one byte, ip_cmsg_recv_tos */
	}
}

static void read_ip6(struct cmsg_in *in, const struct cmsghdr *c)
{
	struct in6_pktinfo info;
	int class;

	if (c->cmsg_type == IPV6_PKTINFO && take(&info, sizeof(info), c)) {
		in->local.v6 = info.ipi6_addr;
		in->ifindex = info.ipi6_ifindex;
		/* A group we were written to cannot be the source of a reply. */
		if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
			memset(&in->local, 0, sizeof(in->local));
		in->has_local = true;
	} else if (c->cmsg_type == IPV6_TCLASS && take(&class, sizeof(class), c)) {
		in->tos = (uint8_t) class;
	}
}

void cmsg_read(struct cmsg_in *in, const struct msghdr *msg)
{
	struct msghdr *m = (struct msghdr *)msg; /* CMSG_NXTHDR wants it so; nothing is written */
	const char *end = (const char *)m->msg_control + m->msg_controllen;
	int gro;

	memset(in, 0, sizeof(*in));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		/* The first one's length is checked by nobody else. */
		if (c->cmsg_len > (size_t)(end - (const char *)c))
			break;
		if (c->cmsg_level == IPPROTO_IP)
			read_ip4(in, c);
		else if (c->cmsg_level == IPPROTO_IPV6)
			read_ip6(in, c);
		else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO &&
			 take(&gro, sizeof(gro), c))
			in->gro_size = gro > 0 ? (uint32_t)gro : 0;
		else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
			take(&in->drops, sizeof(in->drops), c);
	}
}

static struct cmsghdr *put(struct cmsghdr *at, int level, int type, const void *data, size_t size)
{
	at->cmsg_level = level;
	at->cmsg_type = type;
	at->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(at), data, size);
	return (struct cmsghdr *)((char *)at + CMSG_SPACE(size));
}

static struct cmsghdr *put_source4(struct cmsghdr *at, const struct mr_endpoint *e)
{
	struct in_pktinfo info = { .ipi_spec_dst = e->local.v4 };

	if (IN_MULTICAST(ntohl(e->remote.v4.s_addr)))
		info.ipi_ifindex = (int)e->ifindex;
	return put(at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static struct cmsghdr *put_source6(struct cmsghdr *at, const struct mr_endpoint *e)
{
	struct in6_pktinfo info = { .ipi6_addr = e->local.v6 };

	if (IN6_IS_ADDR_LINKLOCAL(&e->remote.v6))
		info.ipi6_ifindex = e->scope;
	else if (IN6_IS_ADDR_LINKLOCAL(&e->local.v6) || IN6_IS_ADDR_MULTICAST(&e->remote.v6))
		info.ipi6_ifindex = e->ifindex;
	return put(at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

size_t cmsg_write(void *buf, const struct mr_endpoint *e, uint8_t tos, uint16_t gso_size)
{
	struct cmsghdr *at = buf;
	int value = tos;

	if (endpoint_has_source(e))
		at = e->family == AF_INET ? put_source4(at, e) : put_source6(at, e);
	if (tos && e->family == AF_INET)
		at = put(at, IPPROTO_IP, IP_TOS, &value, sizeof(value));
	else if (tos)
		at = put(at, IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
	if (gso_size)
		at = put(at, SOL_UDP, UDP_SEGMENT, &gso_size, sizeof(gso_size));
	return (size_t)((char *)at - (char *)buf);
}
