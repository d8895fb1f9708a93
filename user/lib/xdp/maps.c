/* SPDX-License-Identifier: MIT */
#include "xdp/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "shared/reason.h"

/* More maps than any program of ours has; a foreign one may have more, which we need not see. */
#define MAPS_LOOKED_AT 64

static const struct {
	const char *name;
	size_t offset; /* of the fd in struct maps */
	uint32_t value_size, entries;
} known[] = {
	{ STEER_MAP_CONFIG, offsetof(struct maps, config), sizeof(struct steer_config), 1 },
	{ STEER_MAP_CLAIMS, offsetof(struct maps, claims), sizeof(struct steer_claim),
	  STEER_PORTS },
	{ STEER_MAP_LOCAL4, offsetof(struct maps, local4), 4, STEER_LOCAL_MAX },
	{ STEER_MAP_LOCAL6, offsetof(struct maps, local6), 4, STEER_LOCAL_MAX },
	{ STEER_MAP_XSKS, offsetof(struct maps, xsks), 4, STEER_QUEUES },
	{ STEER_MAP_OWNERS, offsetof(struct maps, owners), sizeof(struct steer_owner),
	  STEER_PORTS + STEER_QUEUES },
	{ STEER_MAP_COUNTERS, offsetof(struct maps, counters), 8, STEER_REASON_COUNT },
};
#define KNOWN (sizeof(known) / sizeof(known[0]))

static int *fd_of(struct maps *m, unsigned i)
{
	return (int *)((char *)m + known[i].offset);
}

static void forget(struct maps *m)
{
	memset(m, -1, sizeof(*m));
}

void maps_close(struct maps *m)
{
	for (unsigned i = 0; i < KNOWN; i++)
		if (*fd_of(m, i) >= 0)
			close(*fd_of(m, i));
	forget(m);
}

/* Keeps fd if the map is one of ours of this ABI; else closes it. Notes any version it names. */
static void sort_in(struct maps *m, int fd, uint32_t *abi)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	unsigned version;
	int end = 0;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		info.name[0] = '\0';
	if (sscanf(info.name, "mr%u_config%n", &version, &end) == 1 && end && !info.name[end])
		*abi = version;
	for (unsigned i = 0; i < KNOWN; i++)
		if (!strcmp(info.name, known[i].name) && *fd_of(m, i) < 0 &&
		    info.value_size == known[i].value_size &&
		    info.max_entries == known[i].entries) {
			*fd_of(m, i) = fd;
			return;
		}
	close(fd);
}

int maps_open(struct maps *m, uint32_t program_id, uint32_t *abi)
{
	uint32_t ids[MAPS_LOOKED_AT], len = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .map_ids = (uintptr_t)ids, .nr_map_ids = MAPS_LOOKED_AT };
	int err, fd = bpf_prog_get_fd_by_id(program_id);

	*abi = 0;
	forget(m);
	if (fd < 0)
		return -errno;
	err = bpf_obj_get_info_by_fd(fd, &info, &len) ? -errno : 0;
	close(fd);
	if (err)
		return err;
	for (uint32_t i = 0; i < info.nr_map_ids && i < MAPS_LOOKED_AT; i++) {
		fd = bpf_map_get_fd_by_id(ids[i]);
		if (fd >= 0)
			sort_in(m, fd, abi);
	}
	for (unsigned i = 0; i < KNOWN; i++)
		if (*fd_of(m, i) < 0) {
			maps_close(m);
			return *abi && *abi != STEER_ABI_VERSION ? -EPROTO : -ENOENT;
		}
	return 0;
}

int maps_take(struct maps *m, const struct bpf_object *object)
{
	forget(m);
	for (unsigned i = 0; i < KNOWN; i++) {
		int fd = bpf_object__find_map_fd_by_name(object, known[i].name);

		*fd_of(m, i) = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (*fd_of(m, i) < 0) {
			maps_close(m);
			return -ENOENT;
		}
	}
	return 0;
}

uint32_t maps_interface(const struct maps *m)
{
	struct steer_config config;
	uint32_t key = 0;

	if (bpf_map_lookup_elem(m->config, &key, &config) || config.magic != STEER_MAGIC)
		return 0;
	return config.ifindex;
}

int maps_configure(const struct maps *m, uint32_t ifindex, const uint8_t mac[6], uint16_t max_frame)
{
	struct steer_config config = { .magic = STEER_MAGIC,
				       .ifindex = ifindex,
				       .max_frame = max_frame };
	uint32_t key = 0;

	memcpy(config.mac, mac, sizeof(config.mac));
	return bpf_map_update_elem(m->config, &key, &config, BPF_ANY) ? -errno : 0;
}

/* Field 22 of /proc/PID/stat, counted from behind the name, which may hold anything; 0: none. */
static uint64_t start_time(uint32_t pid)
{
	char path[32], line[1024], *p;
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	line[n] = '\0';
	p = strrchr(line, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

static uint32_t pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) ? 0 : (uint32_t)st.st_ino;
}

static struct steer_owner myself(void)
{
	uint32_t pid = (uint32_t)getpid();

	return (struct steer_owner){ .pid = pid,
				     .pid_namespace = pid_namespace(),
				     .start_time = start_time(pid) };
}

/*
 * Surely dead: a process of our own pid namespace that is no longer there, or is another one. Of
 * other namespaces, and where /proc hides processes from us, nothing is known, so it lives.
 */
static bool is_dead(const struct steer_owner *owner)
{
	if (owner->pid_namespace != pid_namespace() || !owner->start_time || !start_time(1))
		return false;
	return start_time(owner->pid) != owner->start_time;
}

int maps_own(const struct maps *m, enum steer_owner_kind kind, uint32_t index, uint32_t *pid)
{
	struct steer_owner me = myself(), other;
	uint32_t key = STEER_OWNER_KEY(kind, index);

	*pid = 0;
	for (int tries = 0; tries < 4; tries++) {
		if (!bpf_map_update_elem(m->owners, &key, &me, BPF_NOEXIST))
			return 0;
		if (errno != EEXIST)
			return -errno;
		if (bpf_map_lookup_elem(m->owners, &key, &other))
			continue; /* let go just now */
		*pid = other.pid;
		if (!is_dead(&other))
			return -EBUSY;
		bpf_map_delete_elem(m->owners, &key);
	}
	return -EBUSY;
}

void maps_disown(const struct maps *m, enum steer_owner_kind kind, uint32_t index)
{
	uint32_t key = STEER_OWNER_KEY(kind, index);
	struct steer_owner me = myself(), now;

	if (!bpf_map_lookup_elem(m->owners, &key, &now) && !memcmp(&now, &me, sizeof(me)))
		bpf_map_delete_elem(m->owners, &key);
}

void maps_reap(const struct maps *m)
{
	uint32_t key = 0, *previous = NULL;
	struct steer_owner owner;

	for (unsigned n = 0; n < STEER_PORTS + STEER_QUEUES; n++) {
		if (bpf_map_get_next_key(m->owners, previous, &key))
			break;
		previous = &key;
		if (bpf_map_lookup_elem(m->owners, &key, &owner) || !is_dead(&owner))
			continue;
		if (key >> 16 == STEER_OWNER_PORT)
			maps_unclaim(m, (uint16_t)key);
		bpf_map_delete_elem(m->owners, &key);
		previous = NULL; /* the key we stood on is gone: from the start */
	}
}

void maps_forget_locals(const struct maps *m)
{
	const int fds[] = { m->local4, m->local6 };

	for (unsigned i = 0; i < 2; i++) {
		struct steer_addr6 key;

		for (unsigned n = 0; n < STEER_LOCAL_MAX; n++)
			if (bpf_map_get_next_key(fds[i], NULL, &key) ||
			    bpf_map_delete_elem(fds[i], &key))
				break;
	}
}

/*
 * The id of an address, the same for every process that shares the maps. Never 0. IPv4: itself.
 * Two IPv6 addresses of one host may, once in four thousand million, have the same: then
 * a claim for one of them takes the other's datagrams too.
 */
static uint32_t address_id(uint8_t family, const union mr_address *a)
{
	uint64_t w[2], mix;

	if (family == AF_INET)
		return a->v4.s_addr;
	memcpy(w, a, sizeof(w));
	mix = (w[0] ^ (w[1] * 0x9e3779b97f4a7c15u)) * 0xff51afd7ed558ccdu;
	mix ^= mix >> 32;
	return (uint32_t)mix ? (uint32_t)mix : 1;
}

int maps_claim(const struct maps *m, uint16_t port, unsigned families,
	       const struct mr_endpoint *bound)
{
	struct steer_claim claim = { 0 };
	uint32_t key = port;

	if (families & MR_FAMILY_IP4)
		claim.flags |= STEER_CLAIM_V4;
	if (families & MR_FAMILY_IP6)
		claim.flags |= STEER_CLAIM_V6;
	if (bound)
		claim.bound = address_id((uint8_t)bound->family, &bound->remote);
	return bpf_map_update_elem(m->claims, &key, &claim, BPF_ANY) ? -errno : 0;
}

void maps_unclaim(const struct maps *m, uint16_t port)
{
	struct steer_claim none = { 0 };
	uint32_t key = port;

	bpf_map_update_elem(m->claims, &key, &none, BPF_ANY);
}

int maps_local(const struct maps *m, uint8_t family, const union mr_address *address, bool gone)
{
	int fd = family == AF_INET ? m->local4 : m->local6;
	uint32_t id = address_id(family, address);

	if (gone)
		return bpf_map_delete_elem(fd, address) && errno != ENOENT ? -errno : 0;
	return bpf_map_update_elem(fd, address, &id, BPF_ANY) ? -errno : 0;
}

int maps_counters(const struct maps *m, uint64_t *counts)
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *each;

	if (cpus < 0)
		return cpus;
	each = calloc((size_t)cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	for (uint32_t i = 0; i < STEER_REASON_COUNT; i++) {
		counts[i] = 0;
		if (bpf_map_lookup_elem(m->counters, &i, each))
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			counts[i] += each[cpu];
	}
	free(each);
	return 0;
}
