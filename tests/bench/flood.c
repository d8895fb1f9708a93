// SPDX-License-Identifier: MIT
/*
 * A UDP load generator for a veth: BPF_PROG_TEST_RUN with live frames, about two million small
 * datagrams a second from one core, with valid checksums and many flows.
 *
 *	flood --dev va --to-mac 02:…:02 --src 10.0.0.1 --dst 10.0.0.2 --port 4000 --seconds 2
 *
 * Frames leave by DEV as if DEV had sent them. The other end of the veth must have NAPI, that is
 * an XDP program or GRO (ethtool -K PEER gro on), else the kernel refuses them.
 * Prints one JSON object: frames made, seconds, frames per second. Some may be lost on the way:
 * count at the receiver.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <linux/if_ether.h>
#include <linux/udp.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion" /* bpftool's output */
#include "bench/flood.skel.h"
#pragma GCC diagnostic pop

enum { FRAME_MAX = 3000, BATCH = 64, REPEAT = 1 << 16, FIRST_PORT = 10000 };

static struct {
	const char *dev, *to_mac, *from_mac, *src, *dst;
	unsigned port, flows, size;
	double seconds;
} opt = { .flows = 1024, .size = 18, .seconds = 2 };

static uint8_t frame[FRAME_MAX];

static __attribute__((noreturn)) void die(const char *what, int error)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(error));
	exit(1);
}

static __attribute__((noreturn)) void usage(void)
{
	fputs("usage: flood --dev IF --to-mac MAC --src ADDRESS --dst ADDRESS --port P\n"
	      "             [--from-mac MAC] [--flows N (power of two)] [--size BYTES] "
	      "[--seconds S]\n",
	      stderr);
	exit(2);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void parse_mac(const char *text, uint8_t mac[6])
{
	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		usage();
}

static void own_mac(uint8_t mac[6])
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", opt.dev);
	if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request))
		die(opt.dev, errno);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
	close(fd);
}

/* One's complement sum of big-endian words, not folded. */
static uint32_t sum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t total = 0;

	for (; len > 1; p += 2, len -= 2)
		total += (uint32_t)p[0] << 8 | p[1];
	return len ? total + ((uint32_t)p[0] << 8) : total;
}

static uint32_t fold(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return total;
}

/* Builds the frame, source port and UDP checksum zero; returns the offset of the UDP header. */
static size_t build(uint32_t *base_sum, size_t *len)
{
	uint16_t udp_len = (uint16_t)(sizeof(struct udphdr) + opt.size);
	bool v6 = strchr(opt.dst, ':');
	size_t offset = ETH_HLEN + (v6 ? sizeof(struct ip6_hdr) : sizeof(struct iphdr));
	struct ethhdr *eth = (void *)frame;
	struct udphdr *udp = (void *)(frame + offset);

	if (opt.to_mac)
		parse_mac(opt.to_mac, eth->h_dest);
	if (opt.from_mac)
		parse_mac(opt.from_mac, eth->h_source);
	else
		own_mac(eth->h_source);
	eth->h_proto = htons(v6 ? ETH_P_IPV6 : ETH_P_IP);
	*udp = (struct udphdr){ .dest = htons((uint16_t)opt.port), .len = htons(udp_len) };
	memset(udp + 1, 'x', opt.size);
	*base_sum = sum(udp, udp_len) + udp_len + IPPROTO_UDP;
	if (v6) {
		struct ip6_hdr *ip = (void *)(frame + ETH_HLEN);

		ip->ip6_vfc = 6 << 4;
		ip->ip6_plen = htons(udp_len);
		ip->ip6_nxt = IPPROTO_UDP;
		ip->ip6_hlim = 64;
		if (inet_pton(AF_INET6, opt.src, &ip->ip6_src) != 1 ||
		    inet_pton(AF_INET6, opt.dst, &ip->ip6_dst) != 1)
			usage();
		*base_sum += sum(&ip->ip6_src, 32);
	} else {
		struct iphdr *ip = (void *)(frame + ETH_HLEN);

		*ip = (struct iphdr){ .version = 4,
				      .ihl = 5,
				      .ttl = 64,
				      .protocol = IPPROTO_UDP,
				      .tot_len = htons((uint16_t)(sizeof(*ip) + udp_len)) };
		if (inet_pton(AF_INET, opt.src, &ip->saddr) != 1 ||
		    inet_pton(AF_INET, opt.dst, &ip->daddr) != 1)
			usage();
		ip->check = htons((uint16_t)~fold(sum(ip, sizeof(*ip))));
		*base_sum += sum(&ip->saddr, 8);
	}
	*base_sum = fold(*base_sum);
	*len = offset + udp_len;
	return offset;
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dev", 1, 0, 'd' },	   { "to-mac", 1, 0, 't' },
		{ "from-mac", 1, 0, 'f' }, { "src", 1, 0, 's' },
		{ "dst", 1, 0, 'D' },	   { "port", 1, 0, 'p' },
		{ "flows", 1, 0, 'n' },	   { "size", 1, 0, 'z' },
		{ "seconds", 1, 0, 'S' },  { 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd':
			opt.dev = optarg;
			break;
		case 't':
			opt.to_mac = optarg;
			break;
		case 'f':
			opt.from_mac = optarg;
			break;
		case 's':
			opt.src = optarg;
			break;
		case 'D':
			opt.dst = optarg;
			break;
		case 'p':
			opt.port = (unsigned)atoi(optarg);
			break;
		case 'n':
			opt.flows = (unsigned)atoi(optarg);
			break;
		case 'z':
			opt.size = (unsigned)atoi(optarg);
			break;
		case 'S':
			opt.seconds = atof(optarg);
			break;
		default:
			usage();
		}
	}
	if (argc != optind || !opt.dev || !opt.src || !opt.dst || !opt.port || opt.port > 65535 ||
	    !opt.to_mac || !opt.flows || (opt.flows & (opt.flows - 1)) || opt.flows > 32768 ||
	    opt.size > 1472)
		usage();
}

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .repeat = REPEAT, .batch_size = BATCH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	struct flood *skel;
	uint32_t base_sum;
	double start, took;
	size_t offset, len;

	parse(argc, argv);
	offset = build(&base_sum, &len);
	run.data_size_in = (uint32_t)len;

	skel = flood__open();
	if (!skel)
		die("open the program", errno);
	skel->rodata->ifindex = if_nametoindex(opt.dev);
	skel->rodata->flows = opt.flows;
	skel->rodata->first_port = FIRST_PORT;
	skel->rodata->udp_offset = (uint32_t)offset;
	skel->rodata->base_sum = base_sum;
	if (!skel->rodata->ifindex)
		die(opt.dev, ENODEV);
	if (flood__load(skel))
		die("load the program", errno);

	start = now();
	do {
		int rc = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.flood), &run);

		if (rc)
			die("run the program", -rc);
		took = now() - start;
	} while (took < opt.seconds);
	printf("{\"frames\":%llu,\"seconds\":%.3f,\"rate\":%.0f}\n",
	       (unsigned long long)skel->bss->frames, took, (double)skel->bss->frames / took);
	flood__destroy(skel);
	return 0;
}
