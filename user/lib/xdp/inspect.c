/* SPDX-License-Identifier: MIT */
/* Looking at an interface's program from outside: what `millrace status` shows. Reads only. */
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/log.h"
#include "shared/reason.h"
#include "xdp/program.h"

bool mr_has_xdp(void)
{
	return true;
}

/* Grows by one element of `size` bytes, zeroed; NULL without memory. */
static void *grow(void *array, unsigned *count, size_t size)
{
	void **a = array;
	char *more = realloc(*a, (*count + 1) * size);

	if (!more)
		return NULL;
	*a = more;
	more += *count * size;
	++*count;
	return memset(more, 0, size);
}

static int note_claim(struct mr_inspection *in, const struct maps *maps, uint16_t port,
		      uint32_t pid)
{
	struct mr_claim_info *info = grow(&in->claims, &in->claim_count, sizeof(*info));
	struct steer_claim claim = { 0 };
	uint32_t key = port;

	if (!info)
		return -ENOMEM;
	bpf_map_lookup_elem(maps->claims, &key, &claim);
	info->port = port;
	info->pid = pid;
	info->families = (uint8_t)claim.families; /* the same bits, see maps.c */
	info->one_address = claim.one != 0;
	return 0;
}

static int note_queue(struct mr_inspection *in, uint32_t queue, uint32_t pid)
{
	struct mr_queue_info *info = grow(&in->queues, &in->queue_count, sizeof(*info));

	if (!info)
		return -ENOMEM;
	info->queue = queue;
	info->pid = pid;
	return 0;
}

static int read_owners(struct mr_inspection *in, const struct maps *maps)
{
	uint32_t key = 0, *previous = NULL;
	struct steer_owner owner;
	int err = 0;

	/* Bounded: a walk over a map that changes may start over. */
	for (unsigned n = 0; n < STEER_PORTS + STEER_QUEUES && !err; n++, previous = &key) {
		if (bpf_map_get_next_key(maps->owners, previous, &key))
			break;
		if (bpf_map_lookup_elem(maps->owners, &key, &owner))
			continue;
		if (key >> 16 == STEER_OWNER_PORT)
			err = note_claim(in, maps, (uint16_t)key, owner.pid);
		else if (key >> 16 == STEER_OWNER_QUEUE)
			err = note_queue(in, key & 0xffff, owner.pid);
	}
	return err;
}

/* The program's counts, and what the owners of the queues have written of the steered ones. */
static int read_counters(struct mr_inspection *in, const struct maps *maps)
{
	struct steer_fates f;
	uint64_t known;
	int err;

	in->counts = calloc(REASON_COUNT, sizeof(*in->counts));
	if (!in->counts)
		return -ENOMEM;
	/* The fates first: a frame is counted as steered before it has one. */
	err = maps_fates(maps, &f);
	if (!err)
		err = maps_counters(maps, in->counts);
	for (unsigned i = 0; i < STEER_REASON_COUNT; i++)
		in->seen += in->counts[i];
	in->counts[REASON_XDP_DELIVERED] = f.delivered;
	in->counts[REASON_XDP_BAD_SUM] = f.bad_sum;
	in->counts[REASON_XDP_MALFORMED] = f.malformed;
	in->counts[REASON_XDP_RING_FULL] = f.ring_full;
	in->counts[REASON_XDP_NO_FRAME] = f.no_frame + f.no_buffer;
	in->counts[REASON_XDP_LEFT] = f.left;
	known = f.left + f.delivered + f.bad_sum + f.malformed + f.ring_full + f.no_frame +
		f.no_buffer;
	in->unread = in->counts[REASON_STEERED] - known;
	return err;
}

int mr_inspect(const char *device, struct mr_inspection *in, struct mr_diag *diag)
{
	struct program_view view;
	struct maps maps;
	int err;

	memset(in, 0, sizeof(*in));
	in->ifindex = if_nametoindex(device);
	if (!in->ifindex)
		return diag_set(diag, -ENODEV, "find the interface", device, "see `ip link`");
	snprintf(in->device, sizeof(in->device), "%s", device);
	err = program_look(in->ifindex, &view, &maps);
	if (err)
		return diag_set(diag, err, "look at the XDP program", device, "%s", "");
	in->program_id = view.id;
	in->kind = (uint8_t)view.kind;
	in->mode = (uint8_t)view.mode;
	in->abi = view.abi;
	memcpy(in->program_name, view.name, sizeof(in->program_name));
	if (view.kind != MR_PROGRAM_OURS)
		return 0;
	err = read_owners(in, &maps);
	if (!err)
		err = read_counters(in, &maps);
	maps_close(&maps);
	if (err) {
		mr_inspection_free(in);
		return diag_set(diag, err, "read the steering maps", device, "%s", "");
	}
	return 0;
}

void mr_inspection_free(struct mr_inspection *in)
{
	free(in->claims);
	free(in->queues);
	free(in->counts);
	memset(in, 0, sizeof(*in));
}
