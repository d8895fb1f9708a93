/* SPDX-License-Identifier: MIT */
/*
 * The command line: exit codes, the subcommands, and the options that relay, echo and recv share.
 *
 * Everything is checked here, before anything is opened. What is wrong ends the process with
 * EXIT_MISUSE and a message that names the argument.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <argp.h>
#include <net/if.h>

#include <millrace.h>

enum exit_code {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* at run time */
	EXIT_MISUSE = 2, /* the arguments */
	EXIT_NO_XDP = 3, /* --path xdp or --zero-copy on cannot be had */
};

int command_relay(int argc, char **argv);
int command_echo(int argc, char **argv);
int command_recv(int argc, char **argv);
int command_status(int argc, char **argv);

#define DEVICES_MAX 64

/* Holds pointers into itself: parse it where it stays. */
struct options {
	const char *command; /* "millrace echo": how every message begins */
	struct mr_options bind;
	bool have_port;
	double seconds;	       /* 0: until stopped */
	double stats_interval; /* 0: none */
	uint64_t count;	       /* 0: no limit */
	bool json;
	bool quiet;
	unsigned verbose;
	const char *devices[DEVICES_MAX];
	char device_names[DEVICES_MAX][IF_NAMESIZE];
	char bind_device[IF_NAMESIZE];
	struct sockaddr_storage address;
};

/*
 * A subcommand lists common_children in its own argp, and at ARGP_KEY_INIT hands its struct
 * options down in state->child_inputs[0].
 */
extern const struct argp_child common_children[];

/* Keys of the subcommands' own options begin here. */
#define OPTION_KEY_OWN 1024

/* Arguments, or the end of the process. The name is the option's ("--port"). */
uint64_t option_number(struct argp_state *state, const char *name, const char *arg, uint64_t min,
		       uint64_t max);
double option_seconds(struct argp_state *state, const char *name, const char *arg, double min,
		      double max);
void option_device(struct argp_state *state, const char *name, const char *arg,
		   char device[IF_NAMESIZE]);

#endif
