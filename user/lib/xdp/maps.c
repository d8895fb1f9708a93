/* SPDX-License-Identifier: MIT */
#include "xdp/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "shared/reason.h"

/* More maps than any program of ours has; a foreign one may have more, which we need not see. */
#define MAPS_LOOKED_AT 64

#define KNOWN_MAP(name, field, value, entries)                             \
	{                                                                  \
		name, offsetof(struct maps, field), sizeof(value), entries \
	}
static const struct {
	const char *name;
	size_t offset; /* of the fd in struct maps */
	uint32_t value_size, entries;
} known[] = {
	KNOWN_MAP(STEER_MAP_CONFIG, config, struct steer_config, 1),
	KNOWN_MAP(STEER_MAP_CLAIMS, claims, struct steer_claim, STEER_PORTS),
	KNOWN_MAP(STEER_MAP_LOCAL4, local4, uint32_t, STEER_LOCAL_MAX),
	KNOWN_MAP(STEER_MAP_LOCAL6, local6, uint32_t, STEER_LOCAL_MAX),
	KNOWN_MAP(STEER_MAP_PREFIX4, prefix4, uint32_t, STEER_PREFIX_MAX),
	KNOWN_MAP(STEER_MAP_PREFIX6, prefix6, uint32_t, STEER_PREFIX_MAX),
	KNOWN_MAP(STEER_MAP_NEAR, near, struct steer_near, STEER_NEAR_SLOTS),
	KNOWN_MAP(STEER_MAP_SOURCES, sources, uint64_t, STEER_SOURCES),
	KNOWN_MAP(STEER_MAP_XSKS, xsks, uint32_t, STEER_QUEUES),
	KNOWN_MAP(STEER_MAP_OWNERS, owners, struct steer_owner, STEER_PORTS + STEER_QUEUES),
	KNOWN_MAP(STEER_MAP_COUNTERS, counters, uint64_t, STEER_REASON_COUNT),
	KNOWN_MAP(STEER_MAP_FATES, fates, struct steer_fates, STEER_QUEUES),
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

int maps_config(const struct maps *m, struct steer_config *config)
{
	uint32_t key = 0;

	if (bpf_map_lookup_elem(m->config, &key, config))
		return -errno;
	if (config->magic != STEER_MAGIC)
		memset(config, 0, sizeof(*config));
	return 0;
}

int maps_configure(const struct maps *m, const struct steer_config *config)
{
	struct steer_config c = *config;
	uint32_t key = 0;

	c.magic = STEER_MAGIC;
	return bpf_map_update_elem(m->config, &key, &c, BPF_ANY) ? -errno : 0;
}

/*
 * Field 22 of /proc/PID/stat, counted from behind the name, which may hold anything. 0: none, or
 * one that has ended and only waits for its parent.
 */
static uint64_t start_time(uint32_t pid)
{
	char path[32], line[1024], *p;
	bool ended;
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
	ended = p && (!strncmp(p, ") Z", 3) || !strncmp(p, ") X", 3));
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p + 1, ' ');
		/* With other threads left only the first one has ended. */
		if (p && field == 19)
			ended &= strtoul(p + 1, NULL, 10) <= 1;
	}
	return p && !ended ? strtoull(p + 1, NULL, 10) : 0;
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

bool maps_owned(const struct maps *m, enum steer_owner_kind kind, uint32_t index, uint32_t *pid)
{
	uint32_t key = STEER_OWNER_KEY(kind, index);
	struct steer_owner owner;

	if (bpf_map_lookup_elem(m->owners, &key, &owner))
		return false;
	*pid = owner.pid;
	return true;
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

static void empty(int fd, unsigned max)
{
	struct steer_prefix6 key; /* the longest of all */

	for (unsigned n = 0; n < max; n++)
		if (bpf_map_get_next_key(fd, NULL, &key) || bpf_map_delete_elem(fd, &key))
			break;
}

void maps_forget_locals(const struct maps *m)
{
	static const struct steer_near none;

	empty(m->local4, STEER_LOCAL_MAX);
	empty(m->local6, STEER_LOCAL_MAX);
	for (uint32_t slot = 0; slot < STEER_NEAR_SLOTS; slot++)
		bpf_map_update_elem(m->near, &slot, &none, BPF_ANY);
	empty(m->prefix4, STEER_PREFIX_MAX);
	empty(m->prefix6, STEER_PREFIX_MAX);
}

/* The same bits in both. */
_Static_assert(STEER_IP4 == MR_FAMILY_IP4 && STEER_IP6 == MR_FAMILY_IP6, "families");

int maps_claim(const struct maps *m, uint16_t port, unsigned families,
	       const struct mr_endpoint *bound)
{
	struct steer_claim claim = { .families = (uint16_t)families, .one = bound != NULL };
	uint32_t key = port;

	if (bound)
		memcpy(&claim.bound, &bound->remote, sizeof(claim.bound));
	return bpf_map_update_elem(m->claims, &key, &claim, BPF_ANY) ? -errno : 0;
}

void maps_unclaim(const struct maps *m, uint16_t port)
{
	struct steer_claim none = { 0 };
	uint32_t key = port;

	bpf_map_update_elem(m->claims, &key, &none, BPF_ANY);
}

static int set_local(int fd, const void *key, enum maps_whose whose)
{
	uint32_t value = whose == MAPS_OURS;

	if (whose == MAPS_NOBODYS)
		return bpf_map_delete_elem(fd, key) && errno != ENOENT ? -errno : 0;
	return bpf_map_update_elem(fd, key, &value, BPF_ANY) ? -errno : 0;
}

/* What the hash will say of an address, into its slot; a row that goes is told here first. */
static int set_near(const struct maps *m, uint8_t family, const union mr_address *address,
		    enum maps_whose whose)
{
	uint32_t state = family == AF_INET ? STEER_NEAR_IP4 : STEER_NEAR_IP6;
	struct steer_near now, new = { 0 };
	uint32_t slot;

	memcpy(&new.address, address, family == AF_INET ? 4 : 16);
	slot = family == AF_INET ? STEER_NEAR_SLOT4(new.address.words)
				 : STEER_NEAR_SLOT6(new.address.words);
	if (bpf_map_lookup_elem(m->near, &slot, &now))
		return -errno;
	new.row = whose == MAPS_OURS;
	if (now.state == STEER_NEAR_EMPTY && whose != MAPS_NOBODYS) {
		/* The address before the state that makes it count. */
		if (bpf_map_update_elem(m->near, &slot, &new, BPF_ANY))
			return -errno;
		now = new;
		now.state = state;
	} else if (now.state != state || memcmp(&now.address, &new.address, sizeof(new.address))) {
		return 0; /* not in this slot: the hash is asked */
	} else if (whose == MAPS_NOBODYS) {
		now.state = STEER_NEAR_ASK;
	} else {
		now.row = new.row;
	}
	return bpf_map_update_elem(m->near, &slot, &now, BPF_ANY) ? -errno : 0;
}

/* A whole address: a new row first in the hash, a row that goes first out of the slot. */
static int set_whole(const struct maps *m, uint8_t family, const union mr_address *address,
		     enum maps_whose whose)
{
	int fd = family == AF_INET ? m->local4 : m->local6;
	int err = whose == MAPS_OURS ? 0 : set_near(m, family, address, whose);

	if (!err)
		err = set_local(fd, address, whose);
	return !err && whose == MAPS_OURS ? set_near(m, family, address, whose) : err;
}

int maps_local(const struct maps *m, uint8_t family, const union mr_address *address,
	       unsigned prefix_len, enum maps_whose whose)
{
	struct steer_prefix4 key4 = { .bits = prefix_len, .address = address->v4.s_addr };
	struct steer_prefix6 key6 = { .bits = prefix_len };

	if (family == AF_INET)
		return prefix_len == 32 ? set_whole(m, family, address, whose)
					: set_local(m->prefix4, &key4, whose);
	memcpy(&key6.address, address, sizeof(key6.address));
	return prefix_len == 128 ? set_whole(m, family, address, whose)
				 : set_local(m->prefix6, &key6, whose);
}

bool maps_has_prefixes(const struct maps *m, uint8_t family)
{
	struct steer_prefix6 key;

	return !bpf_map_get_next_key(family == AF_INET ? m->prefix4 : m->prefix6, NULL, &key);
}

int maps_accept(const struct maps *m, struct in_addr source, uint32_t tos, uint32_t generation)
{
	uint64_t word = STEER_SOURCE(source.s_addr, tos, generation);
	uint32_t slot = STEER_SOURCE_SLOT(source.s_addr, tos);

	return bpf_map_update_elem(m->sources, &slot, &word, BPF_ANY) ? -errno : 0;
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

#define FATES_SIZE (STEER_QUEUES * sizeof(struct steer_fates))

struct steer_fates *maps_fates_open(const struct maps *m)
{
	void *area = mmap(NULL, FATES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, m->fates, 0);

	return area == MAP_FAILED ? NULL : area;
}

void maps_fates_close(struct steer_fates *fates)
{
	if (fates)
		munmap(fates, FATES_SIZE);
}

int maps_fates(const struct maps *m, struct steer_fates *sum)
{
	struct steer_fates *fates = maps_fates_open(m);

	memset(sum, 0, sizeof(*sum));
	if (!fates)
		return -errno;
	for (unsigned q = 0; q < STEER_QUEUES; q++) {
		sum->delivered += __atomic_load_n(&fates[q].delivered, __ATOMIC_RELAXED);
		sum->bad_sum += __atomic_load_n(&fates[q].bad_sum, __ATOMIC_RELAXED);
		sum->malformed += __atomic_load_n(&fates[q].malformed, __ATOMIC_RELAXED);
		sum->ring_full += __atomic_load_n(&fates[q].ring_full, __ATOMIC_RELAXED);
		sum->no_frame += __atomic_load_n(&fates[q].no_frame, __ATOMIC_RELAXED);
		sum->no_buffer += __atomic_load_n(&fates[q].no_buffer, __ATOMIC_RELAXED);
		sum->left += __atomic_load_n(&fates[q].left, __ATOMIC_RELAXED);
	}
	maps_fates_close(fates);
	return 0;
}
