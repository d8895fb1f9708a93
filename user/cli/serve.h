/* SPDX-License-Identifier: MIT */
/*
 * What relay, echo and recv share: a transport made from options, a thread for every reader, the
 * ready and path lines, signals, the time and count that end a run, the statistics.
 *
 *	main thread                                  reader threads
 *	   bind, block signals, start threads ------> service->work(worker)
 *	   wait for signals, time, events              counts in its worker
 *	   mr_shutdown -----------------------------> mr_read fails, work returns
 *	   join, summary, mr_close
 */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include <json.h>
#include <pthread.h>

#include <millrace.h>

#include "options.h"

/* Datagrams per mr_read. */
#define BATCH 64

/* Counters have one writer, a reader's thread; the main thread looks on. */
static inline void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static inline uint64_t counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

struct tally {
	uint64_t datagrams;
	uint64_t bytes;
	uint64_t by_path[2]; /* by enum mr_path */
};

void tally_add(struct tally *t, const struct mr_datagram *d);
void tally_sum(struct tally *sum, const struct tally *t);
void json_add_tally(struct json_object *o, const struct tally *t);

struct serve;

struct worker {
	struct serve *serve;
	struct mr_reader *reader;
	unsigned index;
	pthread_t thread;
	int result; /* what work returned */
	struct tally received;
	uint64_t sent;
	uint64_t sent_short; /* not sent: the send buffer was full */
} __attribute__((aligned(64)));

struct service {
	/* Runs in a thread for each reader, until mr_read fails; returns what mr_read did. */
	int (*work)(struct worker *w);
	/* After the bind, before the threads: 0 or an exit code, said why. May be NULL. */
	int (*prepare)(struct serve *s);
	/* Adds what the service has to say to the statistics. May be NULL. */
	void (*report)(const struct serve *s, struct json_object *o);
	bool sends;
};

struct serve {
	const struct options *options;
	const struct service *service;
	void *arg; /* the service's own */
	struct mr_transport *transport;
	struct worker *workers;
	unsigned worker_count;
	int64_t remaining; /* of --count; shared by the workers */
	int event_pipe[2]; /* struct mr_event, from the library's threads to the main thread */
	int signal_fd;
	int ended_fd; /* eventfd: a worker has returned */
	bool ready;
	const char *note; /* from prepare: a line to print below the ready line, or NULL */
	double start;	  /* seconds of CLOCK_MONOTONIC */
	double start_cpu;
};

/* Runs the service from bind to summary and returns the exit code. */
int serve_run(const struct options *o, const struct service *service, void *arg);

/*
 * How many of n datagrams --count still allows; once it is used up the run ends. Only those are
 * to be counted and served.
 */
unsigned worker_allow(struct worker *w, unsigned n);

/* For services to whom all datagrams are alike: allows, counts, and returns how many. */
unsigned worker_received(struct worker *w, const struct mr_datagram *d, unsigned n);

/* Counts what became of n datagrams of which mr_write took some. */
void worker_sent(struct worker *w, const struct mr_datagram *d, unsigned n, int taken);

#endif
