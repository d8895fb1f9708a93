/* SPDX-License-Identifier: MIT */
/*
 * millrace echo: RFC 862, and the shortest complete user of the API. Every datagram goes back to
 * where it came from, from the very address it was sent to: both are in its endpoint.
 */
#include "options.h"
#include "serve.h"

static int echo(struct worker *w)
{
	struct mr_writer *writer = mr_reader_writer(w->reader);
	struct mr_datagram batch[BATCH];
	int n;

	while ((n = mr_read(w->reader, batch, BATCH, -1)) >= 0) {
		unsigned served = worker_received(w, batch, (unsigned)n);

		/* What was read can be written as it is; a full send buffer drops the rest. */
		worker_sent(w, batch, served, mr_write(writer, batch, served));
		mr_release(w->reader, batch, (unsigned)n);
	}
	return n;
}

static const struct service service = { .work = echo, .sends = true };

static error_t parse(int key, char *arg, struct argp_state *state)
{
	(void)arg;
	if (key != ARGP_KEY_INIT)
		return ARGP_ERR_UNKNOWN;
	state->child_inputs[0] = state->input;
	return 0;
}

int command_echo(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse,
		.args_doc = "--port P",
		.doc = "Sends every datagram back to where it came from (RFC 862).\v"
		       "Examples:\n"
		       "  millrace echo --port 7\n"
		       "  millrace echo --port 0 --path socket --count 10 --json\n",
		.children = common_children,
	};
	static struct options options;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	return serve_run(&options, &service, NULL);
}
