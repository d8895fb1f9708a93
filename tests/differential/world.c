/* SPDX-License-Identifier: MIT */
/*
 * Three network namespaces without names, so that nothing can be left behind, and the way in for
 * frames. Both receivers are made by the same commands: names, numbers, addresses are the same.
 */
#include "differential.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

static const char *const ends[] = { [KERNEL] = "k", [FAST] = "f" };
static int spaces[3];
static int wires[2][DEVICES];
static uint32_t ifindexes[DEVICES];
static uint8_t macs[DEVICES][6];

static const char addresses[] = "link set lo up\n"
				"addr add 10.99.0.1/32 dev lo\n"
				"addr add fd99::1/128 dev lo\n"
				"addr add 10.77.1.236/32 dev lo\n"
				"addr add 10.77.0.1/32 dev lo\n"
				"addr add 10.77.13.115/32 dev lo\n"
				"addr add fd0c::7/128 dev lo\n"
				"addr add fd0c::7:0:0/128 dev lo\n"
				"addr add fd0c:0:0:7::/128 dev lo\n"
				"addr add 10.9.0.2/24 brd + dev d0\n"
				"addr add 10.9.0.3/24 brd + dev d0\n"
				"addr add fd09::2/64 dev d0 nodad\n"
				"addr add fd09::3/64 dev d0 nodad\n"
				"addr add fe80::2/64 dev d0 nodad\n"
				"addr add 10.9.1.2/24 brd + dev d1\n"
				"addr add fd0a::2/64 dev d1 nodad\n"
				"addr add fe80::3/64 dev d1 nodad\n"
				"addr add 10.9.2.2/24 brd + dev d2\n"
				"addr add fd0b::2/64 dev d2 nodad\n"
				"addr add fe80::4/64 dev d2 nodad\n"
				/* For rp_filter: by d0, by d1, and nowhere. */
				"route add 198.18.0.0/15 via 10.9.0.1 dev d0\n"
				"route add 192.0.2.0/24 via 10.9.1.1 dev d1\n"
				"route add blackhole 198.51.100.0/24\n"
				"route add unreachable 198.51.101.0/24\n"
				"route add 2001:db8::/64 via fd09::1 dev d0\n";

static const char *const receiver_sysctls[][2] = {
	{ "ipv6/conf/all/accept_dad", "0" },
	{ "ipv6/conf/default/accept_dad", "0" },
	{ "ipv6/conf/default/accept_ra", "0" },
	{ "ipv6/conf/default/router_solicitations", "0" },
	{ "ipv6/conf/default/addr_gen_mode", "1" },
	{ "ipv4/conf/all/rp_filter", "0" },
	{ "ipv4/conf/default/rp_filter", "0" },
	{ "ipv4/conf/all/log_martians", "0" },
	{ "ipv4/conf/default/log_martians", "0" },
	/* No answers: one to a broadcast address comes back and is seen by a generic program. */
	{ "ipv4/icmp_ratelimit", "1000000000" },
	{ "ipv6/icmp/ratelimit", "1000000000" },
	/* Of pieces that never become whole, none is to be given up for want of room. */
	{ "ipv4/ipfrag_high_thresh", "1000000000" },
	{ "ipv4/ipfrag_max_dist", "0" },
	{ "ipv4/ipfrag_time", "1" },
	{ "ipv6/ip6frag_high_thresh", "1000000000" },
};

void world_enter(enum place place)
{
	if (setns(spaces[place], CLONE_NEWNET))
		fatal("setns: %s", strerror(errno));
}

bool world_ip(enum place place, const char *commands)
{
	FILE *pipe;

	world_enter(place);
	fflush(stdout);
	pipe = popen("PATH=$PATH:/usr/sbin:/sbin ip -batch -", "w");
	if (!pipe)
		fatal("ip: %s", strerror(errno));
	fputs(commands, pipe);
	return pclose(pipe) == 0;
}

void world_sysctl(enum place place, const char *name, const char *value)
{
	char path[128];
	int fd;

	world_enter(place); /* /proc/sys/net is that of whoever looks */
	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		fatal("%s: %s", path, strerror(errno));
	close(fd);
}

static int open_space(void)
{
	int fd;

	if (unshare(CLONE_NEWNET))
		return -1;
	fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fatal("/proc/thread-self/ns/net: %s", strerror(errno));
	return fd;
}

static void make_receiver(enum place place)
{
	char commands[1024];
	int n = 0;

	for (size_t i = 0; i < sizeof(receiver_sysctls) / sizeof(receiver_sysctls[0]); i++)
		world_sysctl(place, receiver_sysctls[i][0], receiver_sysctls[i][1]);
	for (unsigned d = 0; d < DEVICES; d++) {
		unsigned queues = d == 2 ? 2 : 1;

		n += snprintf(commands + n, sizeof(commands) - (size_t)n,
			      "link add d%u address 02:00:00:00:00:1%u numtxqueues %u "
			      "numrxqueues %u type veth peer name %s%u numtxqueues %u "
			      "numrxqueues %u netns /proc/%d/fd/%d\n",
			      d, d, queues, queues, ends[place], d, queues, queues, getpid(),
			      spaces[WIRE]);
	}
	if (!world_ip(place, commands))
		fatal("cannot make the interfaces");
	world_enter(WIRE);
	n = 0;
	for (unsigned d = 0; d < DEVICES; d++)
		n += snprintf(commands + n, sizeof(commands) - (size_t)n,
			      "link set %s%u mtu 2000 up\n", ends[place], d);
	if (!world_ip(WIRE, commands))
		fatal("cannot set the wire up");
	if (!world_ip(place, "link set d0 up\nlink set d1 up\nlink set d2 up\n") ||
	    !world_ip(place, addresses))
		fatal("cannot give addresses");
}

/* The two receivers have to be the same in all that is compared. */
static void learn(enum place place)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned d = 0; d < DEVICES; d++) {
		struct ifreq ifr = { 0 };
		uint32_t ifindex;

		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "d%u", d);
		ifindex = if_nametoindex(ifr.ifr_name);
		if (ioctl(fd, SIOCGIFHWADDR, &ifr) || !ifindex)
			fatal("%s: %s", ifr.ifr_name, strerror(errno));
		if (place == KERNEL) {
			ifindexes[d] = ifindex;
			memcpy(macs[d], ifr.ifr_hwaddr.sa_data, 6);
		} else if (ifindexes[d] != ifindex || memcmp(macs[d], ifr.ifr_hwaddr.sa_data, 6)) {
			fatal("%s is not the same in both", ifr.ifr_name);
		}
	}
	close(fd);
}

static void open_wire(enum place place, unsigned device)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET };
	char name[IF_NAMESIZE];
	int one = 1, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	snprintf(name, sizeof(name), "%s%u", ends[place], device);
	sa.sll_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		fatal("packet socket on %s: %s", name, strerror(errno));
	wires[place][device] = fd;
}

bool world_make(void)
{
	static const enum place places[] = { KERNEL, FAST };

	for (unsigned i = 0; i < 3; i++) {
		spaces[i] = open_space();
		if (spaces[i] < 0) {
			printf("no network namespaces here: %s\n", strerror(errno));
			return false;
		}
	}
	/* Nothing is to come from the wire but what is sent on purpose. */
	world_sysctl(WIRE, "ipv6/conf/all/disable_ipv6", "1");
	world_sysctl(WIRE, "ipv6/conf/default/disable_ipv6", "1");
	for (unsigned i = 0; i < 2; i++) {
		make_receiver(places[i]);
		world_enter(places[i]);
		learn(places[i]);
		world_enter(WIRE);
		for (unsigned d = 0; d < DEVICES; d++)
			open_wire(places[i], d);
	}
	return true;
}

const uint8_t *world_mac(unsigned device)
{
	return macs[device];
}

uint32_t world_ifindex(unsigned device)
{
	return ifindexes[device];
}

void world_mtu(uint32_t mtu)
{
	char commands[256];

	for (enum place p = KERNEL; p <= FAST; p++) {
		/* The wire's end first and last larger, so that too long a frame can be sent. */
		snprintf(commands, sizeof(commands), "link set %s0 mtu %u\nlink set %s1 mtu %u\n",
			 ends[p], mtu + 100, ends[p], mtu + 100);
		if (!world_ip(WIRE, commands))
			fatal("cannot set the MTU of the wire");
		snprintf(commands, sizeof(commands), "link set d0 mtu %u\nlink set d1 mtu %u\n",
			 mtu, mtu);
		if (!world_ip(p, commands))
			fatal("cannot set the MTU of the receivers");
	}
}

static void set_feature(const char *prefix, uint32_t command, uint32_t on)
{
	struct ethtool_value value = { .cmd = command, .data = on };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (unsigned d = 0; d < DEVICES; d++) {
		struct ifreq ifr = { .ifr_data = (char *)&value };

		snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s%u", prefix, d);
		if (ioctl(fd, SIOCETHTOOL, &ifr))
			fatal("ethtool on %s: %s", ifr.ifr_name, strerror(errno));
	}
	close(fd);
}

void world_coalesce(void)
{
	for (enum place p = KERNEL; p <= FAST; p++) {
		world_enter(p);
		set_feature("d", ETHTOOL_SGRO, 1);
		/* Without XDP, veth has GRO only for a peer that cuts up by itself. */
		world_enter(WIRE);
		set_feature(ends[p], ETHTOOL_STSO, 0);
	}
}

void world_tags(const char *object)
{
	struct bpf_object *o = bpf_object__open(object);
	int prog;

	if (!o || bpf_object__load(o))
		fatal("load %s: %s", object, strerror(errno));
	prog = bpf_program__fd(bpf_object__next_program(o, NULL));
	world_enter(WIRE);
	for (unsigned i = 0; i < 2 * DEVICES; i++) {
		char name[IF_NAMESIZE];
		LIBBPF_OPTS(bpf_tc_hook, hook, .attach_point = BPF_TC_EGRESS);
		LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = prog);

		snprintf(name, sizeof(name), "%s%u", ends[i % 2], i / 2);
		hook.ifindex = (int)if_nametoindex(name);
		if (bpf_tc_hook_create(&hook) || bpf_tc_attach(&hook, &opts))
			fatal("tc on %s: %s", name, strerror(errno));
	}
	bpf_object__close(o);
}

/* ---------------------------------------------------------------- sending */

#define SEND_MAX 128u

struct parcel {
	struct virtio_net_hdr head;
	struct iovec iov[2];
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(uint32_t))];
};

static void wrap(struct parcel *p, struct msghdr *m, const struct shot *s)
{
	struct cmsghdr *c = (struct cmsghdr *)p->control;

	p->head = (struct virtio_net_hdr){ 0 };
	if (s->partial) {
		p->head.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		p->head.csum_start = (uint16_t)s->l4;
		p->head.csum_offset = 6;
	}
	if (s->segment) {
		p->head.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		p->head.gso_size = (uint16_t)s->segment;
		p->head.hdr_len = (uint16_t)(s->l4 + 8);
	}
	p->iov[0] = (struct iovec){ &p->head, sizeof(p->head) };
	p->iov[1] = (struct iovec){ (void *)(uintptr_t)s->bytes, s->len };
	*m = (struct msghdr){ .msg_iov = p->iov, .msg_iovlen = 2 };
	if (!s->tag)
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SO_MARK;
	c->cmsg_len = CMSG_LEN(sizeof(s->tag));
	memcpy(CMSG_DATA(c), &s->tag, sizeof(s->tag));
	m->msg_control = p->control;
	m->msg_controllen = sizeof(p->control);
}

void world_send(enum place to, unsigned device, const struct shot *shots, unsigned n, bool *refused)
{
	static struct parcel parcels[SEND_MAX];
	struct mmsghdr messages[SEND_MAX];
	unsigned done = 0;

	if (n > SEND_MAX)
		fatal("%u frames at once", n);
	memset(refused, 0, n);
	for (unsigned i = 0; i < n; i++)
		wrap(&parcels[i], &messages[i].msg_hdr, &shots[i]);
	while (done < n) {
		int sent = sendmmsg(wires[to][device], &messages[done], n - done, 0);

		if (sent > 0)
			done += (unsigned)sent;
		else if (errno == ENOBUFS || errno == EMSGSIZE) /* longer than is let in */
			refused[done++] = true;
		else if (errno != EINTR)
			fatal("send a frame of %u bytes (%s): %s", shots[done].len,
			      shots[done].kind, strerror(errno));
	}
}
