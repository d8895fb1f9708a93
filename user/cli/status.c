/* SPDX-License-Identifier: MIT */
/* millrace status: what is on each interface, like ss. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "output.h"

struct status_options {
	bool json;
	char (*devices)[IF_NAMESIZE];
	unsigned device_count;
};

static const char *kind_name(uint8_t kind)
{
	static const char *const names[] = {
		[MR_PROGRAM_NONE] = "none",
		[MR_PROGRAM_OURS] = "millrace",
		[MR_PROGRAM_OTHER_ABI] = "millrace-other-version",
		[MR_PROGRAM_FOREIGN] = "foreign",
		[MR_PROGRAM_UNKNOWN] = "unknown",
	};

	return names[kind <= MR_PROGRAM_UNKNOWN ? kind : MR_PROGRAM_UNKNOWN];
}

static const char *mode_name(const struct mr_inspection *i)
{
	if (i->kind == MR_PROGRAM_NONE)
		return "-";
	return i->mode == MR_XDP_MODE_GENERIC ? "generic" : "native";
}

/* ---------------------------------------------------------------- JSON */

static struct json_object *claim_json(const struct mr_claim_info *c)
{
	struct json_object *o = json_object_new_object(), *families = json_object_new_array();

	json_add_number(o, "port", c->port);
	if (c->families & MR_FAMILY_IP4)
		json_object_array_add(families, json_object_new_int(4));
	if (c->families & MR_FAMILY_IP6)
		json_object_array_add(families, json_object_new_int(6));
	json_object_object_add(o, "families", families);
	json_object_object_add(o, "one_address", json_object_new_boolean(c->one_address));
	if (c->pid)
		json_add_number(o, "pid", c->pid);
	return o;
}

static struct json_object *queue_json(const struct mr_queue_info *q)
{
	struct json_object *o = json_object_new_object();

	json_add_number(o, "queue", q->queue);
	if (q->pid)
		json_add_number(o, "pid", q->pid);
	return o;
}

static void print_json(const struct mr_inspection *i)
{
	struct json_object *program = json_object_new_object();
	struct json_object *claims = json_object_new_array(), *queues = json_object_new_array();
	struct json_object *o = json_new("status");

	json_add_text(o, "device", i->device);
	json_add_number(o, "ifindex", i->ifindex);
	json_add_text(program, "kind", kind_name(i->kind));
	if (i->kind != MR_PROGRAM_NONE) {
		json_add_number(program, "id", i->program_id);
		json_add_text(program, "name", i->program_name);
		json_add_number(program, "abi", i->abi);
	}
	json_object_object_add(o, "program", program);
	if (i->kind != MR_PROGRAM_NONE)
		json_add_text(o, "mode", mode_name(i));
	for (unsigned n = 0; n < i->claim_count; n++)
		json_object_array_add(claims, claim_json(&i->claims[n]));
	json_object_object_add(o, "claims", claims);
	for (unsigned n = 0; n < i->queue_count; n++)
		json_object_array_add(queues, queue_json(&i->queues[n]));
	json_object_object_add(o, "queues", queues);
	if (i->counts) {
		json_add_number(o, "seen", i->seen);
		json_add_number(o, "unread", i->unread);
		json_add_reasons(o, i->counts);
	}
	if (!i->counts)
		json_object_object_add(o, "reasons", json_object_new_object());
	output_json(o);
	json_object_put(o);
}

/* ---------------------------------------------------------------- text */

#define ROW "%-15s %-31s %-8s %-24s %s\n"

static void program_text(const struct mr_inspection *i, char *out, size_t room)
{
	if (i->kind == MR_PROGRAM_NONE)
		snprintf(out, room, "none");
	else if (i->kind == MR_PROGRAM_FOREIGN)
		snprintf(out, room, "foreign %s (id %u)", i->program_name, i->program_id);
	else if (i->kind == MR_PROGRAM_OTHER_ABI)
		snprintf(out, room, "millrace abi %u (id %u)", i->abi, i->program_id);
	else
		snprintf(out, room, "%s (id %u)", kind_name(i->kind), i->program_id);
}

static void list_begin(FILE *f, unsigned n)
{
	if (n)
		putc(',', f);
}

/* "53(pid 812),5353": ports, and who has claimed them where that is known. */
static void claims_text(const struct mr_inspection *i, FILE *f)
{
	for (unsigned n = 0; n < i->claim_count; n++) {
		list_begin(f, n);
		fprintf(f, "%u", i->claims[n].port);
		if (i->claims[n].pid)
			fprintf(f, "(pid %u)", i->claims[n].pid);
	}
}

/* "0(pid 812),1(pid 812)": receive queues with an AF_XDP socket, and whose. */
static void queues_text(const struct mr_inspection *i, FILE *f)
{
	for (unsigned n = 0; n < i->queue_count; n++) {
		list_begin(f, n);
		fprintf(f, "%u", i->queues[n].queue);
		if (i->queues[n].pid)
			fprintf(f, "(pid %u)", i->queues[n].pid);
	}
}

static char *text_of(const struct mr_inspection *i,
		     void (*write)(const struct mr_inspection *i, FILE *f))
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	write(i, f);
	fclose(f);
	return text;
}

static void print_text(const struct mr_inspection *i)
{
	char *claims = text_of(i, claims_text), *queues = text_of(i, queues_text);
	char program[64];

	program_text(i, program, sizeof(program));
	printf(ROW, i->device, program, mode_name(i), claims && *claims ? claims : "-",
	       queues && *queues ? queues : "-");
	free(claims);
	free(queues);
	if (!i->counts)
		return;
	for (unsigned r = 0; r < mr_reason_count(); r++) {
		if (i->counts[r])
			printf("    %-18s %14llu  %s\n", mr_reason_name(r),
			       (unsigned long long)i->counts[r], mr_reason_text(r));
	}
	if (i->unread)
		printf("    %-18s %14llu  steered and not read yet, or never\n", "unread",
		       (unsigned long long)i->unread);
	printf("    %-18s %14llu  packets in all\n", "seen", (unsigned long long)i->seen);
}

/* ---------------------------------------------------------------- the command */

static int show(const struct status_options *o, const char *device)
{
	struct mr_diag diag = { 0 };
	struct mr_inspection i;
	int err = mr_inspect(device, &i, &diag);

	/* Gone between the listing and the look: not there, so not to be shown. */
	if (err == -ENODEV)
		return 0;
	if (err) {
		fprintf(stderr, "millrace status: %s: %s%s%s%s%s\n", device, diag.step,
			*diag.step ? ": " : "", strerror(-err), *diag.remedy ? ". " : "",
			diag.remedy);
		return EXIT_FAILED;
	}
	if (o->json)
		print_json(&i);
	else
		print_text(&i);
	mr_inspection_free(&i);
	return 0;
}

static int add_device(struct status_options *o, const char *name)
{
	void *grown = realloc(o->devices, (o->device_count + 1) * sizeof(*o->devices));

	if (!grown)
		return -ENOMEM;
	o->devices = grown;
	snprintf(o->devices[o->device_count++], IF_NAMESIZE, "%s", name);
	return 0;
}

static int add_all_devices(struct status_options *o)
{
	struct if_nameindex *all = if_nameindex();
	int err = all ? 0 : -errno;

	for (struct if_nameindex *at = all; !err && at->if_index; at++)
		err = add_device(o, at->if_name);
	if (all)
		if_freenameindex(all);
	return err;
}

static const struct argp_option own_options[] = {
	{ "json", OPTION_KEY_OWN, NULL, 0, "JSON, one object an interface and line", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct status_options *o = state->input;
	char name[IF_NAMESIZE] = "";

	switch (key) {
	case OPTION_KEY_OWN:
		o->json = true;
		return 0;
	case ARGP_KEY_ARG:
		option_device(state, "DEV", arg, name);
		return add_device(o, name) ? ENOMEM : 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int command_status(int argc, char **argv)
{
	static const struct argp argp = {
		.options = own_options,
		.parser = parse,
		.args_doc = "[DEV...]",
		.doc = "Shows interfaces (default: all): the XDP program, the ports claimed on it, "
		       "the receive queues with an AF_XDP socket, and what became of the packets "
		       "that millrace's program saw.\v"
		       "Examples:\n"
		       "  millrace status\n"
		       "  millrace status --json eth0 eth1\n",
	};
	struct status_options o = { 0 };
	int rc = 0;

	argp_parse(&argp, argc, argv, 0, NULL, &o);
	if (!mr_has_xdp()) {
		fputs("millrace status: built without XDP (make XDP=0): nothing to show\n", stderr);
		return EXIT_FAILED;
	}
	if (!o.device_count && add_all_devices(&o)) {
		fprintf(stderr, "millrace status: cannot list interfaces: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	if (!o.json)
		printf(ROW, "DEV", "PROGRAM", "MODE", "CLAIMS", "QUEUES");
	for (unsigned n = 0; n < o.device_count; n++)
		rc |= show(&o, o.devices[n]);
	free(o.devices);
	return output_flush() ? EXIT_FAILED : rc;
}
