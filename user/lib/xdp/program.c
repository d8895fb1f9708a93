/* SPDX-License-Identifier: MIT */
#include "xdp/program.h"

#include <errno.h>
#include <linux/if_link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "steer.skel.h"
#include "steer_bound.skel.h"
#include "xdp/compat.h"

/* The steering program in the forms that a kernel and a driver may take, the best first. */
enum form { FORM_BOUND, FORM_FRAGS, FORM_PLAIN, FORMS };
static const char *const names[FORMS] = {
	[FORM_BOUND] = "mr_steer_bound",
	[FORM_FRAGS] = "mr_steer_frags",
	[FORM_PLAIN] = "mr_steer",
};

/*
 * libbpf speaks by one print function for the whole process. It is ours only inside listen_begin
 * and listen_end, which keeps what the kernel said (extack) and lets nothing out.
 */
static pthread_mutex_t listen_lock = PTHREAD_MUTEX_INITIALIZER;
static libbpf_print_fn_t listen_before;
static char kernel_said[160];

static int listener(enum libbpf_print_level level, const char *format, va_list args)
{
	static const char mark[] = "Kernel error message: ";
	char line[256], *at;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	at = strstr(line, mark);
	if (at) {
		at[strcspn(at, "\n")] = '\0';
		snprintf(kernel_said, sizeof(kernel_said), "%s", at + strlen(mark));
	}
	return 0;
}

static void listen_begin(void)
{
	pthread_mutex_lock(&listen_lock);
	kernel_said[0] = '\0';
	listen_before = libbpf_set_print(listener);
}

static void listen_end(void)
{
	libbpf_set_print(listen_before);
	pthread_mutex_unlock(&listen_lock);
}

static void program_name(uint32_t id, char name[16])
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	name[0] = '\0';
	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &len))
		snprintf(name, 16, "%s", info.name);
	close(fd);
}

/* 0, or -errno of a look that failed. */
static int query(uint32_t ifindex, uint32_t *id, enum mr_xdp_mode *mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);
	int err = bpf_xdp_query((int)ifindex, 0, &query);

	*id = query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
	if (!*id)
		*id = query.hw_prog_id;
	*mode = query.drv_prog_id ? MR_XDP_MODE_NATIVE : MR_XDP_MODE_GENERIC;
	return err;
}

bool program_is_attached(const struct program *p, uint32_t ifindex)
{
	enum mr_xdp_mode mode;
	uint32_t id;

	return !query(ifindex, &id, &mode) && id == p->id;
}

int program_look(uint32_t ifindex, struct program_view *view, struct maps *maps)
{
	struct maps own;
	int err;

	memset(view, 0, sizeof(*view));
	err = query(ifindex, &view->id, &view->mode);
	if (err || !view->id)
		return err;
	program_name(view->id, view->name);
	err = maps_open(&own, view->id, &view->abi);
	if (err == -EPERM || err == -EACCES)
		view->kind = MR_PROGRAM_UNKNOWN;
	else if (err)
		view->kind = err == -EPROTO ? MR_PROGRAM_OTHER_ABI : MR_PROGRAM_FOREIGN;
	else
		view->kind = MR_PROGRAM_OURS;
	if (!err && maps)
		*maps = own;
	else if (!err)
		maps_close(&own);
	return 0;
}

/* Somebody's program is there. Ours is adopted, another's named. */
static int adopt(struct program *p, const struct program_view *view, enum mr_xdp_mode mode,
		 char *reason, size_t room)
{
	switch (view->kind) {
	case MR_PROGRAM_OURS:
		break;
	case MR_PROGRAM_OTHER_ABI:
		snprintf(reason, room,
			 "a millrace program of another version (ABI %u, id %u) is attached",
			 view->abi, view->id);
		return -EBUSY;
	case MR_PROGRAM_UNKNOWN:
		snprintf(reason, room,
			 "an XDP program (id %u) is attached; looking at it needs CAP_SYS_ADMIN",
			 view->id);
		return -EPERM;
	default:
		snprintf(reason, room, "a foreign XDP program is attached: %s (id %u)",
			 view->name[0] ? view->name : "unnamed", view->id);
		return -EBUSY;
	}
	if (mode != MR_XDP_MODE_AUTO && mode != view->mode) {
		maps_close(&p->maps);
		snprintf(reason, room, "the program is attached in %s mode",
			 view->mode == MR_XDP_MODE_NATIVE ? "native" : "generic");
		return -EBUSY;
	}
	p->id = view->id;
	p->mode = view->mode;
	p->adopted = true;
	p->tells_tags = !strcmp(view->name, names[FORM_BOUND]);
	return 0;
}

/* A link's failure has a number only; the same by netlink has the driver's words. */
static void ask_why(int fd, uint32_t ifindex, uint32_t flags)
{
	if (bpf_xdp_attach((int)ifindex, fd, flags | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL) == 0)
		bpf_xdp_detach((int)ifindex, flags, NULL);
}

static int link_program(int fd, uint32_t ifindex, enum mr_xdp_mode mode)
{
	uint32_t flags = mode == MR_XDP_MODE_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
	int err, link = bpf_link_create(fd, (int)ifindex, BPF_XDP, &options);

	if (link >= 0)
		return link;
	err = -errno;
	ask_why(fd, ifindex, flags);
	return err;
}

/* Loads just one form. 0 or -errno, then *out is NULL. */
static int load(struct bpf_object **out, enum form form, uint32_t ifindex)
{
	struct bpf_object *object;
	struct bpf_program *program;
	const void *elf;
	size_t size;
	int err;

	*out = NULL;
	elf = form == FORM_BOUND ? steer_bound__elf_bytes(&size) : steer__elf_bytes(&size);
	object = bpf_object__open_mem(elf, size, NULL);
	if (!object)
		return -errno;
	bpf_object__for_each_program(program, object) bpf_program__set_autoload(
		program, !strcmp(bpf_program__name(program), names[form]));
	if (form == FORM_BOUND) {
		program = bpf_object__find_program_by_name(object, names[form]);
		bpf_program__set_flags(program,
				       bpf_program__flags(program) | BPF_F_XDP_DEV_BOUND_ONLY);
		bpf_program__set_ifindex(program, ifindex);
	}
	err = bpf_object__load(object);
	if (err)
		bpf_object__close(object);
	else
		*out = object;
	return err;
}

static int attach_loaded(struct program *p, struct bpf_object *object, enum form form,
			 uint32_t ifindex, char *reason, size_t room)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, names[form])), err;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	p->id = info.id;
	p->tells_tags = form == FORM_BOUND;
	err = maps_take(&p->maps, object);
	if (err)
		return err;
	p->link = link_program(fd, ifindex, p->mode);
	if (p->link >= 0)
		return 0;
	err = p->link;
	maps_close(&p->maps);
	if (err == -EOPNOTSUPP && p->mode == MR_XDP_MODE_NATIVE)
		snprintf(reason, room, "driver has no XDP support");
	else
		snprintf(reason, room, "attach: %s", kernel_said[0] ? kernel_said : strerror(-err));
	return err;
}

static int load_and_attach(struct program *p, enum form form, uint32_t ifindex, char *reason,
			   size_t room)
{
	struct bpf_object *object;
	int err;

	listen_begin();
	err = load(&object, form, ifindex);
	if (!err)
		err = attach_loaded(p, object, form, ifindex, reason, room);
	else if (err == -EPERM || err == -EACCES)
		snprintf(reason, room, "loading the program needs CAP_BPF and CAP_NET_ADMIN");
	else
		snprintf(reason, room, "load the program: %s", strerror(-err));
	bpf_object__close(object);
	listen_end();
	return err;
}

/* Nobody's program is there: ours, in the best form that the kernel and the driver take. */
static int attach_own(struct program *p, uint32_t ifindex, enum mr_xdp_mode mode, bool generic_ok,
		      char *reason, size_t room)
{
	int err = -EOPNOTSUPP;

	p->mode = MR_XDP_MODE_NATIVE;
	for (enum form form = 0; form < FORMS && mode != MR_XDP_MODE_GENERIC; form++) {
		err = load_and_attach(p, form, ifindex, reason, room);
		/* Another form changes nothing about these. */
		if (!err || err == -EPERM || err == -EBUSY || err == -EEXIST || err == -ENODEV)
			return err;
	}
	if (mode == MR_XDP_MODE_GENERIC ||
	    (mode == MR_XDP_MODE_AUTO && err == -EOPNOTSUPP && generic_ok)) {
		p->mode = MR_XDP_MODE_GENERIC;
		err = load_and_attach(p, FORM_PLAIN, ifindex, reason, room);
	}
	return err;
}

int program_attach(struct program *p, uint32_t ifindex, enum mr_xdp_mode mode, bool generic_ok,
		   char *reason, size_t room)
{
	struct program_view view;
	int err;

	memset(p, 0, sizeof(*p));
	p->link = -1;
	snprintf(reason, room, "%s", "");
	/* Twice: another transport may attach its program between our look and our attempt. */
	for (int tries = 0; tries < 2; tries++) {
		err = program_look(ifindex, &view, &p->maps);
		if (!err && view.id)
			return adopt(p, &view, mode, reason, room);
		if (!err)
			err = attach_own(p, ifindex, mode, generic_ok, reason, room);
		if (err != -EBUSY && err != -EEXIST)
			break;
	}
	if (err && !reason[0])
		snprintf(reason, room, "%s", strerror(-err));
	return err;
}

void program_detach(struct program *p)
{
	maps_close(&p->maps);
	if (p->link >= 0)
		close(p->link);
	p->link = -1;
}
