/* SPDX-License-Identifier: MIT */
/* millrace: finds the subcommand and hands over. */
#include <stdio.h>
#include <string.h>

#include "options.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *text;
} commands[] = {
	{ "relay", command_relay, "forward a port's datagrams to an upstream and back" },
	{ "echo", command_echo, "send every datagram back (RFC 862)" },
	{ "recv", command_recv, "show what arrives: endpoint, path, TOS, length" },
	{ "status", command_status, "show interfaces: programs, claims, queues, reasons" },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void help(FILE *f)
{
	fputs("Usage: millrace COMMAND [OPTION...]\n"
	      "UDP over AF_XDP where the interface can, over sockets where it cannot.\n\n",
	      f);
	for (unsigned i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].text);
	fputs("\n`millrace help COMMAND` or `millrace COMMAND --help` shows a command's options,\n"
	      "`millrace --version` the version.\n",
	      f);
}

static int run(const char *name, int argc, char **argv)
{
	/* argp takes the name that its messages begin with from here. */
	static char full_name[32];

	for (unsigned i = 0; i < COMMANDS; i++) {
		if (strcmp(name, commands[i].name))
			continue;
		snprintf(full_name, sizeof(full_name), "millrace %s", name);
		argv[0] = full_name;
		argp_err_exit_status = EXIT_MISUSE;
		return commands[i].run(argc, argv);
	}
	fprintf(stderr, "millrace: '%s' is not a command, see `millrace --help`\n", name);
	return EXIT_MISUSE;
}

int main(int argc, char **argv)
{
	static char help_option[] = "--help";
	const char *name = argc > 1 ? argv[1] : "";

	if (!*name) {
		help(stderr);
		return EXIT_MISUSE;
	}
	if (!strcmp(name, "--version") || !strcmp(name, "-V")) {
		printf("millrace %s%s\n", MR_VERSION, mr_has_xdp() ? "" : " (built without XDP)");
		return EXIT_DONE;
	}
	if (strcmp(name, "help") && strcmp(name, "--help") && strcmp(name, "-h"))
		return run(name, argc - 1, argv + 1);
	if (argc > 2) {
		char *help_argv[] = { NULL, help_option, NULL };

		return run(argv[2], 2, help_argv);
	}
	help(stdout);
	return EXIT_DONE;
}
