/* SPDX-License-Identifier: MIT */
/*
 * The kernel's side of AF_XDP, for tests of a queue without one. The queue is the product's, with
 * all its calls; sockets and rings are the test's own memory, and what a kernel would do with them
 * it does with the kernel_… functions:
 *
 *	fill ring -> (hand) -> kernel_write -> RX ring, unseen -> kernel_publish -> RX ring
 *
 * A frame is in the kernel's hand when it was taken off the fill ring and has nothing in it yet.
 */
#ifndef XDP_FIXTURE_H
#define XDP_FIXTURE_H

#include <bpf/bpf.h>
#include <xdp/xsk.h>

#include "unit.h"

#include "../support/frames.h"

#define KERNEL_QUEUES 8u
#define KERNEL_FD     1000 /* + queue id: no descriptor that could be open */

static int kernel_umem_create(struct xsk_umem **umem, void *area, __u64 size,
			      struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			      const struct xsk_umem_config *config);
static int kernel_umem_delete(struct xsk_umem *umem);
static int kernel_socket_create(struct xsk_socket **out, const char *device, __u32 id,
				struct xsk_umem *umem, struct xsk_ring_cons *rx,
				struct xsk_ring_prod *tx, const struct xsk_socket_config *config);
static void kernel_socket_delete(struct xsk_socket *s);
static int kernel_socket_fd(const struct xsk_socket *s);
static int kernel_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
static ssize_t kernel_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			       socklen_t *from_len);
static int kernel_arm(int map, const void *key, const void *value, __u64 flags);
static int kernel_disarm(int map, const void *key);

/* Its inside, with the calls that need a kernel turned over to this one. */
#define xsk_umem__create    kernel_umem_create
#define xsk_umem__delete    kernel_umem_delete
#define xsk_socket__create  kernel_socket_create
#define xsk_socket__delete  kernel_socket_delete
#define xsk_socket__fd	    kernel_socket_fd
#define getsockopt	    kernel_getsockopt
#define recvfrom	    kernel_recvfrom
#define bpf_map_update_elem kernel_arm
#define bpf_map_delete_elem kernel_disarm
#include "../../user/lib/xdp/queue.c"
#undef xsk_umem__create
#undef xsk_umem__delete
#undef xsk_socket__create
#undef xsk_socket__delete
#undef xsk_socket__fd
#undef getsockopt
#undef recvfrom
#undef bpf_map_update_elem
#undef bpf_map_delete_elem

/* What the kernel puts into one frame. */
#define CHUNK (FRAME_SIZE - FRAME_HEADROOM_KERNEL)

struct xsk_umem {
	uint8_t *area;
	uint64_t size;
	uint32_t producer, consumer, flags;
	uint32_t hand; /* fill[hand … consumer) are in the kernel's hand */
	uint64_t fill[RING_SIZE];
};

struct xsk_socket {
	struct xsk_umem *umem;
	uint32_t id, size;
	uint32_t producer, consumer, flags;
	uint32_t written; /* rx[producer … written) the reader cannot see yet */
	bool several;	  /* XDP_USE_SG */
	struct xdp_desc rx[RING_SIZE];
	/* By place in rx: the frame it is in truth, and whether the descriptor lies about it. */
	uint32_t frame[RING_SIZE];
	bool lie[RING_SIZE];
	struct xdp_statistics lost;
};

/* What the kernel is to do, and what it was left with. */
static struct {
	uint32_t rx_size;  /* of sockets made from now on, a power of two */
	uint16_t no_flags; /* bind flags that it does not know */
	int bind_error, arm_error;
	struct xsk_socket *sockets[KERNEL_QUEUES];
	bool armed[KERNEL_QUEUES];
	unsigned umems, wakeups;
} kernel;

static int kernel_umem_create(struct xsk_umem **umem, void *area, __u64 size,
			      struct xsk_ring_prod *fill, struct xsk_ring_cons *completion,
			      const struct xsk_umem_config *config)
{
	struct xsk_umem *u = calloc(1, sizeof(*u));

	(void)completion;
	assert_non_null(u);
	assert_int_equal(config->fill_size, RING_SIZE);
	u->area = area;
	u->size = size;
	*fill = (struct xsk_ring_prod){ .mask = RING_SIZE - 1,
					.size = RING_SIZE,
					.producer = &u->producer,
					.consumer = &u->consumer,
					.ring = u->fill,
					.flags = &u->flags,
					.cached_cons = RING_SIZE };
	*umem = u;
	kernel.umems++;
	return 0;
}

static int kernel_umem_delete(struct xsk_umem *umem)
{
	free(umem);
	kernel.umems--;
	return 0;
}

static int kernel_socket_create(struct xsk_socket **out, const char *device, __u32 id,
				struct xsk_umem *umem, struct xsk_ring_cons *rx,
				struct xsk_ring_prod *tx, const struct xsk_socket_config *config)
{
	struct xsk_socket *s;

	(void)device;
	(void)tx;
	if (kernel.bind_error)
		return kernel.bind_error;
	if (config->bind_flags & kernel.no_flags)
		return -EINVAL;
	assert_true(id < KERNEL_QUEUES && !kernel.sockets[id]);
	s = calloc(1, sizeof(*s));
	assert_non_null(s);
	s->umem = umem;
	s->id = id;
	s->size = kernel.rx_size;
	s->several = config->bind_flags & XDP_USE_SG;
	*rx = (struct xsk_ring_cons){ .mask = s->size - 1,
				      .size = s->size,
				      .producer = &s->producer,
				      .consumer = &s->consumer,
				      .ring = s->rx,
				      .flags = &s->flags };
	kernel.sockets[id] = *out = s;
	return 0;
}

static void kernel_socket_delete(struct xsk_socket *s)
{
	kernel.sockets[s->id] = NULL;
	free(s);
}

static int kernel_socket_fd(const struct xsk_socket *s)
{
	return KERNEL_FD + (int)s->id;
}

static int kernel_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	const struct xsk_socket *s = kernel.sockets[fd - KERNEL_FD];

	(void)len;
	assert_int_equal(level, SOL_XDP);
	if (name == XDP_STATISTICS)
		memcpy(value, &s->lost, sizeof(s->lost));
	return 0;
}

/* How a queue says that the fill ring is no longer empty. */
static ssize_t kernel_recvfrom(int fd, void *buf, size_t len, int flags, struct sockaddr *from,
			       socklen_t *from_len)
{
	(void)buf;
	(void)len;
	(void)from;
	(void)from_len;
	assert_non_null(kernel.sockets[fd - KERNEL_FD]);
	assert_int_equal(flags, MSG_DONTWAIT);
	kernel.wakeups++;
	return 0;
}

static int kernel_arm(int map, const void *key, const void *value, __u64 flags)
{
	uint32_t id = *(const uint32_t *)key;

	(void)map;
	(void)flags;
	assert_int_equal(*(const int *)value, KERNEL_FD + (int)id);
	errno = kernel.arm_error;
	kernel.armed[id] = !kernel.arm_error;
	return kernel.arm_error ? -1 : 0;
}

static int kernel_disarm(int map, const void *key)
{
	(void)map;
	kernel.armed[*(const uint32_t *)key] = false;
	return 0;
}

/* ---------------------------------------------------------------- receiving */

struct packet {
	uint8_t bytes[(JUMBO_FRAMES_MAX + 8) * CHUNK];
	uint32_t len;
};

static inline uint32_t packet_udp(const struct packet *p)
{
	return p->bytes[12] == 0x86 ? 54 : 34;
}

/* Of the addresses, protocol and length: what an unfinished checksum holds. */
static inline uint32_t packet_pseudo(const struct packet *p)
{
	uint32_t udp = packet_udp(p);

	return frame_add(p->bytes + (udp == 54 ? 22 : 26), udp == 54 ? 32 : 8, 17 + p->len - udp);
}

/* A good packet of `len` bytes, whose payload tells its number. */
static inline void packet_make(struct packet *p, bool is6, uint32_t len, uint32_t number)
{
	struct frame f;
	uint32_t udp, sum;

	if (is6)
		frame_ip6(&f, 0);
	else
		frame_ip4(&f, 0);
	memcpy(p->bytes, f.bytes, f.len);
	p->len = len;
	udp = packet_udp(p);
	frame_put16(p->bytes + (is6 ? 18 : 16), len - (is6 ? 54 : 14));
	frame_put16(p->bytes + udp + 4, len - udp);
	payload_fill(p->bytes + udp + 8, len - udp - 8, number);
	if (!is6) {
		frame_put16(p->bytes + 24, 0);
		frame_put16(p->bytes + 24, ~frame_add(p->bytes + 14, 20, 0) & 0xffff);
	}
	frame_put16(p->bytes + udp + 6, 0);
	sum = ~frame_add(p->bytes + udp, len - udp, packet_pseudo(p)) & 0xffff;
	frame_put16(p->bytes + udp + 6, sum ? sum : 0xffff);
}

/* Of every size that matters, and mostly small. */
static inline uint32_t packet_length(uint32_t headers)
{
	switch (random_below(24)) {
	default:
		return headers + random_below(64);
	case 0:
	case 1:
		return headers + random_below(CHUNK - headers + 1);
	case 2:
		return CHUNK - 2 + random_below(5);
	case 3:
	case 4:
	case 5:
		return CHUNK + 1 + random_below(5 * CHUNK);
	case 6:
		if (random_below(8))
			return 2 * CHUNK - 1 + random_below(3);
		return random_below(4) ? JUMBO_SIZE - 2 + random_below(5)
				       : JUMBO_SIZE + random_below(4 * CHUNK);
	}
}

/* One thing wrong that steering would not have handed over. */
static inline void packet_malform(struct packet *p)
{
	uint32_t udp = packet_udp(p), length = udp == 54 ? 18 : 16;

	switch (random_below(5)) {
	case 0:
		p->bytes[13] ^= 0x06;
		break;
	case 1:
		frame_put16(p->bytes + udp + 4, p->len - udp + 1);
		break;
	case 2:
		frame_put16(p->bytes + length, p->len);
		break;
	case 3:
		p->len = random_below(p->len);
		break;
	default:
		if (udp == 54)
			frame_put16(p->bytes + udp + 6, 0);
		else
			p->bytes[25] ^= 0x10;
	}
}

/* n frames off the fill ring, into the kernel's hand. */
static inline void kernel_grab(struct xsk_socket *s, uint32_t n)
{
	while (n-- && s->umem->consumer != s->umem->producer)
		s->umem->consumer++;
}

static inline uint32_t kernel_frames(const struct packet *p)
{
	return p->len ? (p->len + CHUNK - 1) / CHUNK : 1;
}

/* One part of a packet into the next frame; whether there is one was asked before. */
static inline void kernel_put(struct xsk_socket *s, const void *bytes, uint32_t len, bool more)
{
	struct xsk_umem *u = s->umem;
	uint32_t at = s->written++ & (s->size - 1);
	uint64_t addr = u->fill[u->hand++ & (RING_SIZE - 1)];

	if (u->hand == u->consumer + 1)
		u->consumer++; /* nothing was in hand: straight off the ring */
	memcpy(u->area + addr + FRAME_HEADROOM_KERNEL, bytes, len);
	s->rx[at] = (struct xdp_desc){ .addr = addr + FRAME_HEADROOM_KERNEL,
				       .len = len,
				       .options = more ? XDP_PKT_CONTD : 0 };
	s->frame[at] = (uint32_t)(addr / FRAME_SIZE);
	s->lie[at] = false;
}

/*
 * A packet arrives, whole or not at all. False: there was no room, and the loss is counted as the
 * kernel counts it.
 */
static inline bool kernel_write(struct xsk_socket *s, const struct packet *p)
{
	uint32_t frames = kernel_frames(p);

	if (s->umem->producer - s->umem->hand < frames || (frames > 1 && !s->several)) {
		s->lost.rx_dropped++;
		return false;
	}
	if (s->size - (s->written - s->consumer) < frames) {
		s->lost.rx_ring_full++;
		return false;
	}
	for (uint32_t i = 0; i < frames; i++) {
		uint32_t rest = p->len - i * CHUNK;

		kernel_put(s, p->bytes + i * CHUNK, rest < CHUNK ? rest : CHUNK, i + 1 < frames);
	}
	return true;
}

static inline void kernel_publish(struct xsk_socket *s)
{
	s->producer = s->written;
}

/* ---------------------------------------------------------------- descriptors that lie */

/* A descriptor that cannot be, whatever else happens before it is read. */
static inline struct xdp_desc kernel_absurd(const struct xsk_socket *s, struct xdp_desc desc)
{
	uint64_t chunk = desc.addr - desc.addr % FRAME_SIZE;

	switch (random_below(desc.len > 1 ? 4 : 3)) {
	case 0:
		desc.addr += s->umem->size * (1 + random_below(4));
		break;
	case 1:
		desc.addr = random64() | 1ull << 32;
		break;
	case 2:
		desc.len = FRAME_SIZE - FRAME_HEADROOM_KERNEL + 1;
		if (random_below(2))
			desc.len = UINT32_MAX >> random_below(8);
		break;
	default:
		desc.addr = chunk + FRAME_SIZE + 1 - desc.len; /* out of its chunk */
	}
	return desc;
}

/* Another headroom than usual is as good. */
static inline void kernel_shift(const struct xsk_socket *s, struct xdp_desc *desc)
{
	uint64_t chunk = desc->addr - desc->addr % FRAME_SIZE;
	uint64_t to = chunk + random_below((FRAME_SIZE - desc->len) / 2 + 1) * 2;

	memmove(s->umem->area + to, s->umem->area + desc->addr, desc->len);
	desc->addr = to;
}

#endif
