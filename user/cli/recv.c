/* SPDX-License-Identifier: MIT */
/* millrace recv: shows what arrives. */
#include <errno.h>
#include <stdlib.h>

#include "options.h"
#include "output.h"
#include "serve.h"

struct recv_options {
	struct options common;
	bool hex;
};

static int count_only(struct worker *w)
{
	struct mr_datagram batch[BATCH];
	int n;

	while ((n = mr_read(w->reader, batch, BATCH, -1)) >= 0) {
		worker_received(w, batch, (unsigned)n);
		mr_release(w->reader, batch, (unsigned)n);
	}
	return n;
}

static int show(struct worker *w)
{
	const struct recv_options *o = w->serve->arg;
	struct datagram_printer printer = { .json = o->common.json };
	struct mr_datagram batch[BATCH];
	int n, err = 0;

	if (o->hex) {
		printer.hex = malloc(2 * DATAGRAM_BYTES_MAX + 1);
		if (!printer.hex)
			return -ENOMEM;
	}
	while (!err && (n = mr_read(w->reader, batch, BATCH, -1)) >= 0) {
		unsigned shown = worker_received(w, batch, (unsigned)n);

		for (unsigned i = 0; i < shown; i++)
			output_datagram(&printer, &batch[i]);
		mr_release(w->reader, batch, (unsigned)n);
		err = output_flush();
	}
	free(printer.hex);
	return err ? err : n;
}

static const struct argp_option own_options[] = {
	{ NULL, 0, NULL, 0, "What to show:", 0 },
	{ "hex", OPTION_KEY_OWN, NULL, 0, "show the payload too, in hexadecimal", 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct recv_options *o = state->input;

	(void)arg;
	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &o->common;
		return 0;
	case OPTION_KEY_OWN:
		o->hex = true;
		return 0;
	}
	return ARGP_ERR_UNKNOWN;
}

int command_recv(int argc, char **argv)
{
	static const struct service showing = { .work = show }, counting = { .work = count_only };
	static const struct argp argp = {
		.options = own_options,
		.parser = parse,
		.args_doc = "--port P",
		.doc = "Shows what arrives: endpoint, path, TOS, length.\v"
		       "Examples:\n"
		       "  millrace recv --port 5000 --json --hex --count 1\n"
		       "  millrace recv --port 5000 --quiet --stats-interval 1\n",
		.children = common_children,
	};
	static struct recv_options options;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	return serve_run(&options.common, options.common.quiet ? &counting : &showing, &options);
}
