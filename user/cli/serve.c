/* SPDX-License-Identifier: MIT */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "output.h"

/* A time that does not come. */
#define NEVER 1e18

/* Interfaces in the ready line. */
#define PATHS_MAX 256

static double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* ---------------------------------------------------------------- counting */

void tally_add(struct tally *t, const struct mr_datagram *d)
{
	count(&t->datagrams, 1);
	count(&t->bytes, d->len);
	count(&t->by_path[d->path == MR_PATH_XDP], 1);
}

void tally_sum(struct tally *sum, const struct tally *t)
{
	sum->datagrams += counted(&t->datagrams);
	sum->bytes += counted(&t->bytes);
	for (unsigned i = 0; i < 2; i++)
		sum->by_path[i] += counted(&t->by_path[i]);
}

void json_add_tally(struct json_object *o, const struct tally *t)
{
	struct json_object *by_path = json_object_new_object();

	json_add_number(o, "datagrams", t->datagrams);
	json_add_number(o, "bytes", t->bytes);
	json_add_number(by_path, "xdp", t->by_path[MR_PATH_XDP]);
	json_add_number(by_path, "socket", t->by_path[MR_PATH_SOCKET]);
	json_object_object_add(o, "by_path", by_path);
}

unsigned worker_allow(struct worker *w, unsigned n)
{
	struct serve *s = w->serve;
	int64_t left;

	if (!s->options->count)
		return n;
	left = __atomic_fetch_sub(&s->remaining, n, __ATOMIC_RELAXED);
	if (left <= (int64_t)n)
		mr_shutdown(s->transport);
	return left <= 0 ? 0 : left < (int64_t)n ? (unsigned)left : n;
}

unsigned worker_received(struct worker *w, const struct mr_datagram *d, unsigned n)
{
	n = worker_allow(w, n);
	for (unsigned i = 0; i < n; i++)
		tally_add(&w->received, &d[i]);
	return n;
}

void worker_sent(struct worker *w, const struct mr_datagram *d, unsigned n, int taken)
{
	unsigned sent = 0;

	for (int i = 0; i < taken; i++)
		sent += !d[i].error;
	count(&w->sent, sent);
	count(&w->sent_short, n - (unsigned)taken);
}

/* ---------------------------------------------------------------- statistics */

static struct json_object *statistics(const struct serve *s, const char *type)
{
	struct json_object *o = json_new(type);
	uint64_t sent = 0, sent_short = 0;
	unsigned n = mr_reason_count();
	struct tally received = { 0 };
	uint64_t counts[n];

	for (unsigned i = 0; i < s->worker_count; i++) {
		tally_sum(&received, &s->workers[i].received);
		sent += counted(&s->workers[i].sent);
		sent_short += counted(&s->workers[i].sent_short);
	}
	json_add_tally(o, &received);
	if (s->service->sends) {
		json_add_number(o, "sent", sent);
		json_add_number(o, "sent_short", sent_short);
	}
	if (s->service->report)
		s->service->report(s, o);
	mr_stats(s->transport, counts, n);
	json_add_reasons(o, counts);
	json_add_seconds(o, "seconds", now_seconds() - s->start);
	json_add_seconds(o, "cpu_seconds", cpu_seconds() - s->start_cpu);
	return o;
}

/* Returns 0, or -errno of standard output. */
static int print_statistics(const struct serve *s, const char *type)
{
	struct json_object *o = statistics(s, type);

	if (s->options->json)
		output_json(o);
	else
		output_text(stderr, o, !strcmp(type, "stats"));
	json_object_put(o);
	return output_flush();
}

/* ---------------------------------------------------------------- events */

/*
 * Called from the library's threads, perhaps before mr_bind has returned: printing is left to the
 * main thread. The pipe takes hundreds of events; the library is never held up by it.
 */
static void on_event(void *arg, const struct mr_event *event)
{
	const struct serve *s = arg;

	while (write(s->event_pipe[1], event, sizeof(*event)) < 0 && errno == EINTR)
		;
}

static void on_log(void *arg, enum mr_log_level level, const char *line)
{
	static const char *const names[] = { "error", "warning", "info", "debug" };
	const struct serve *s = arg;

	if (level <= MR_LOG_INFO || s->options->verbose > 1)
		fprintf(stderr, "millrace: %s: %s\n", names[level & 3], line);
}

/* Why no interface at all is on the fast path: the first one that is not the loopback says it. */
static const char *socket_reason(const struct serve *s, const struct mr_path_info *paths,
				 unsigned n)
{
	const char *reason = NULL;

	if (s->options->bind.policy == MR_POLICY_SOCKET)
		return "asked for by --path socket";
	for (unsigned i = 0; i < n; i++) {
		if (strcmp(paths[i].device, "lo"))
			return paths[i].reason;
		reason = paths[i].reason;
	}
	return reason ? reason : mr_has_xdp() ? "no interface" : "built without XDP";
}

/* "native, copy; IPv4 by sockets: …": what is behind the mode is worth a word. */
static void print_fast(const struct mr_path_info *p)
{
	const char *more = strchr(p->reason, ';');

	fprintf(stderr, " dev=%s mode=%s copy=%s queues=%u", p->device,
		p->mode == MR_XDP_MODE_GENERIC ? "generic" : "native",
		p->zero_copy ? "zero" : "copy", p->queues);
	if (more)
		fprintf(stderr, " but=\"%s\"", more + strspn(more, "; "));
}

static void print_ready(const struct serve *s)
{
	static const char *const families[] = { "none", "4", "6", "4,6" };
	struct mr_path_info paths[PATHS_MAX];
	unsigned n = mr_paths(s->transport, paths, PATHS_MAX), fast = 0;

	n = n < PATHS_MAX ? n : PATHS_MAX;
	for (unsigned i = 0; i < n; i++)
		fast += paths[i].path == MR_PATH_XDP;
	flockfile(stderr);
	fprintf(stderr, "ready port=%u path=%s families=%s", mr_port(s->transport),
		mr_path_name(fast ? MR_PATH_XDP : MR_PATH_SOCKET),
		families[mr_families(s->transport) & 3]);
	for (unsigned i = 0; i < n; i++) {
		if (paths[i].path == MR_PATH_XDP)
			print_fast(&paths[i]);
	}
	if (!fast)
		fprintf(stderr, " reason=\"%s\"", socket_reason(s, paths, n));
	putc('\n', stderr);
	funlockfile(stderr);
}

static void print_events(struct serve *s)
{
	struct mr_event e;

	while (read(s->event_pipe[0], &e, sizeof(e)) == (ssize_t)sizeof(e)) {
		if (e.type == MR_EVENT_READY) {
			print_ready(s);
			if (s->note)
				fprintf(stderr, "%s: %s\n", s->options->command, s->note);
			s->ready = true;
		} else if (s->ready) {
			fprintf(stderr, "path dev=%s path=%s reason=\"%s\"\n", e.info.device,
				mr_path_name((enum mr_path)e.info.path), e.info.reason);
		}
	}
}

/* ---------------------------------------------------------------- from bind to end */

/* "cannot STEP (OBJECT): ERROR; REMEDY" */
static void say_why(const struct serve *s, const struct mr_diag *d, bool no_xdp)
{
	fprintf(stderr, "%s: cannot %s", s->options->command,
		no_xdp ? "use the fast path" : d->step);
	if (*d->object)
		fprintf(stderr, " (%s)", d->object);
	fprintf(stderr, ": %s", strerror(-d->error));
	fprintf(stderr, *d->remedy ? "; %s\n" : "%s\n", d->remedy);
}

static int bind_transport(struct serve *s)
{
	struct mr_options options = s->options->bind;
	struct mr_diag diag = { 0 };
	bool no_xdp;
	int err;

	options.on_event = on_event;
	options.on_log = s->options->verbose ? on_log : NULL;
	options.arg = s;
	err = mr_bind(&options, &s->transport, &diag);
	if (!err)
		return 0;
	if (!*diag.step)
		strcpy(diag.step, "serve");
	diag.error = err;
	/* The library's word for everything that is not a matter of port, address or privilege. */
	no_xdp = options.policy == MR_POLICY_XDP && !strncmp(diag.step, "fast path", 9);
	say_why(s, &diag, no_xdp);
	return no_xdp ? EXIT_NO_XDP : EXIT_FAILED;
}

static void *worker_thread(void *arg)
{
	struct worker *w = arg;

	w->result = w->serve->service->work(w);
	eventfd_write(w->serve->ended_fd, 1);
	return NULL;
}

static int start_workers(struct serve *s)
{
	unsigned n = mr_reader_count(s->transport);

	s->workers = aligned_alloc(64, n * sizeof(*s->workers));
	if (!s->workers) {
		fprintf(stderr, "%s: out of memory\n", s->options->command);
		return EXIT_FAILED;
	}
	memset(s->workers, 0, n * sizeof(*s->workers));
	for (unsigned i = 0; i < n; i++) {
		struct worker *w = &s->workers[i];
		int err;

		w->serve = s;
		w->index = i;
		w->reader = mr_reader(s->transport, i);
		err = pthread_create(&w->thread, NULL, worker_thread, w);
		if (err) {
			fprintf(stderr, "%s: cannot start a thread: %s\n", s->options->command,
				strerror(err));
			return EXIT_FAILED;
		}
		s->worker_count++;
	}
	return 0;
}

/* Looks on until something ends the run; returns 0 or -errno of standard output. */
static int watch(struct serve *s)
{
	double interval = s->options->stats_interval;
	double end = s->options->seconds > 0 ? s->start + s->options->seconds : NEVER;
	double stats = interval > 0 ? s->start + interval : NEVER;
	struct pollfd fds[] = {
		{ .fd = s->signal_fd, .events = POLLIN },
		{ .fd = s->ended_fd, .events = POLLIN },
		{ .fd = s->event_pipe[0], .events = POLLIN },
	};

	for (;;) {
		double now = now_seconds(), left = (end < stats ? end : stats) - now;

		if (now >= end)
			return 0;
		if (now >= stats) {
			int err = print_statistics(s, "stats");

			if (err)
				return err;
			while (stats <= now)
				stats += interval;
			continue;
		}
		/* Rounded up: waking early would only mean waking again. */
		if (poll(fds, 3, left < 1e6 ? (int)(left * 1e3) + 1 : -1) < 0)
			continue;
		print_events(s);
		if (fds[0].revents || fds[1].revents)
			return 0;
	}
}

static int64_t stop_ms;

/* Some senders signal twice at once (timeout(1) does): only what comes later is impatience. */
static void on_second_interrupt(int sig)
{
	(void)sig;
	if ((int64_t)(now_seconds() * 1e3) - stop_ms > 250)
		_exit(128 + SIGINT);
}

static void stop_workers(struct serve *s)
{
	struct sigaction action = { .sa_handler = on_second_interrupt, .sa_flags = SA_RESTART };
	sigset_t interrupt;

	stop_ms = (int64_t)(now_seconds() * 1e3);
	sigaction(SIGINT, &action, NULL);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);

	mr_shutdown(s->transport);
	for (unsigned i = 0; i < s->worker_count; i++)
		pthread_join(s->workers[i].thread, NULL);
}

/* Standard output that nobody reads any more (EPIPE) is an ordinary end. */
static int exit_code(const struct serve *s, int output_error)
{
	for (unsigned i = 0; i < s->worker_count; i++) {
		int result = s->workers[i].result;

		if (result == -ESHUTDOWN || (output_error && result == output_error))
			continue;
		fprintf(stderr, "%s: cannot read from the transport: %s\n", s->options->command,
			strerror(-result));
		return EXIT_FAILED;
	}
	if (!output_error || output_error == -EPIPE)
		return EXIT_DONE;
	fprintf(stderr, "%s: cannot write to standard output: %s\n", s->options->command,
		strerror(-output_error));
	return EXIT_FAILED;
}

static int open_descriptors(struct serve *s)
{
	sigset_t signals;

	/* Blocked before any thread exists, the library's included: they inherit it. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);

	s->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	s->ended_fd = eventfd(0, EFD_CLOEXEC);
	if (s->signal_fd >= 0 && s->ended_fd >= 0 && !pipe2(s->event_pipe, O_CLOEXEC | O_NONBLOCK))
		return 0;
	fprintf(stderr, "%s: cannot open file descriptors: %s\n", s->options->command,
		strerror(errno));
	return EXIT_FAILED;
}

static int serve_bound(struct serve *s)
{
	int rc, err;

	s->start = now_seconds();
	s->start_cpu = cpu_seconds();
	rc = s->service->prepare ? s->service->prepare(s) : 0;
	if (rc)
		return rc;
	rc = start_workers(s);
	err = rc ? 0 : watch(s);
	stop_workers(s);
	if (rc)
		return rc;
	print_events(s);
	if (!err)
		err = print_statistics(s, "summary");
	return exit_code(s, err);
}

int serve_run(const struct options *o, const struct service *service, void *arg)
{
	struct serve s = {
		.options = o,
		.service = service,
		.arg = arg,
		.remaining = (int64_t)o->count,
	};
	int rc;

	/* The descriptors last until exit, which is next. */
	rc = open_descriptors(&s);
	if (!rc)
		rc = bind_transport(&s);
	if (rc)
		return rc;
	rc = serve_bound(&s);
	mr_close(s.transport);
	free(s.workers);
	return rc;
}
