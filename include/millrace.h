/* SPDX-License-Identifier: MIT */
/*
 * millrace: a UDP transport with an AF_XDP fast path over ordinary dual-stack sockets.
 *
 *	mr_bind ----> transport (the owner: port, claim, control, lifetime)
 *	                 |-- reader 0..N-1   one thread each: mr_read, mr_release, mr_recv
 *	                 `-- writer          any thread:      mr_write, mr_send
 *
 * Rules that hold everywhere:
 *	- Operating errors are returned as -errno. Misuse (a NULL handle, releasing twice) asserts.
 *	- The library never prints, never exits and installs no signal handler.
 *	- Batches are the natural call; one datagram is a batch of one. A count returned is the
 *	  prefix that was taken; the rest stays the caller's.
 *	- A datagram may have length 0.
 *	- Numbers are in host order unless the name ends in _be.
 */
#ifndef MILLRACE_H
#define MILLRACE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#define MR_STATIC_ASSERT static_assert
#else
#define MR_STATIC_ASSERT _Static_assert
#endif

#define MR_VERSION "0.1.0"
#define MR_API	   __attribute__((visibility("default")))

struct mr_transport;
struct mr_reader;
struct mr_writer;

/* ---------------------------------------------------------------- endpoints */

/* An address of either family; IPv4 uses the first four bytes and leaves the others zero. */
union mr_address {
	struct in_addr v4;
	struct in6_addr v6;
	uint8_t bytes[16];
};

/*
 * The far side of a conversation, and the *sticky source*: the address of ours that it wrote to,
 * from which replies must leave. Plain data: copy it, compare it, keep it for as long as wanted.
 *
 * mr_read fills everything, with what recvmsg and pktinfo say of the datagram. For sending, only
 * family, port_be and remote (with scope, for a link-local remote) are needed; a zero `local`
 * leaves the choice of source to the kernel. IPv4 is AF_INET: an IPv4-mapped IPv6 address appears
 * in it only as the remote of an IPv6 datagram that bore it, which no host should send.
 */
struct mr_endpoint {
	uint16_t family;      /* AF_INET or AF_INET6; 0: empty */
	uint16_t port_be;     /* of the remote */
	uint32_t flowinfo_be; /* IPv6 flow label given by from_sockaddr; 0 after mr_read */
	uint32_t scope;	      /* interface of a link-local remote, else 0 */
	uint32_t ifindex;     /* interface the datagram came in by (pktinfo); 0: not known */
	union mr_address remote;
	union mr_address local; /* all zero: none, the kernel chooses */
};
MR_STATIC_ASSERT(sizeof(struct mr_endpoint) == 48, "struct mr_endpoint is ABI");

/* Room for "[v6%interface]:65535" and its terminating zero. */
#define MR_ENDPOINT_TEXT 72

/*
 * From and to the kernel's form, remote side only (the source is cleared, resp. left out). An
 * IPv4-mapped IPv6 address becomes IPv4. Returns 0, -EAFNOSUPPORT, or -EINVAL when len is too
 * short for the family; to_sockaddr returns the length written, 0 for an empty endpoint.
 */
MR_API int mr_endpoint_from_sockaddr(struct mr_endpoint *e, const struct sockaddr *sa,
				     socklen_t len);
MR_API socklen_t mr_endpoint_to_sockaddr(const struct mr_endpoint *e, struct sockaddr_storage *sa);

/*
 * Text: "192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%eth0]:53" or "[fe80::1%2]:53". No names are
 * looked up except the interface's. parse returns 0, -EINVAL when the text is not an endpoint, or
 * -ENODEV when the scope names no interface. format writes the remote, format_local the source
 * address ("-" when none is set) and both return buf.
 */
MR_API int mr_endpoint_parse(struct mr_endpoint *e, const char *text);
MR_API char *mr_endpoint_format(const struct mr_endpoint *e, char buf[MR_ENDPOINT_TEXT]);
MR_API char *mr_endpoint_format_local(const struct mr_endpoint *e, char buf[MR_ENDPOINT_TEXT]);

/* Forgets the sticky source: the next send asks the kernel for one. */
MR_API void mr_endpoint_clear_source(struct mr_endpoint *e);

/*
 * Same conversation: equal remote (address, port, scope) and equal local address. The interface
 * and the flow label do not count: both may change under a conversation. The hash agrees with
 * equality; seed it with something a peer cannot guess.
 */
MR_API bool mr_endpoint_equal(const struct mr_endpoint *a, const struct mr_endpoint *b);
MR_API uint64_t mr_endpoint_hash(const struct mr_endpoint *e, uint64_t seed);

/* ---------------------------------------------------------------- datagrams */

enum mr_path { MR_PATH_SOCKET, MR_PATH_XDP };
MR_API const char *mr_path_name(enum mr_path path); /* "socket", "xdp" */

/*
 * One datagram, received or to be sent.
 *
 * Received: everything is filled in. `data` is borrowed from the library until mr_release; it may
 * be written to (within len) and may be sent meanwhile.
 *
 * To send: endpoint, data, len, and if wanted tos and local_port; the rest zero. mr_write sets
 * `error`, and clears the endpoint's source when it had gone stale: keep the endpoint if the
 * conversation goes on.
 */
struct mr_datagram {
	struct mr_endpoint endpoint;
	void *data;
	uint32_t len;	     /* bytes; 0 is a datagram too */
	uint16_t local_port; /* the port it came to, resp. leaves from; 0: the transport's own */
	uint8_t tos;	     /* TOS or traffic class, ECN bits included; 0: the system's default */
	uint8_t path;	     /* enum mr_path: how it came */
	int32_t error;	     /* after mr_write: 0, or the -errno for which it was not sent */
	uint32_t reserved;
	uint64_t cookie; /* the library's: which frame is borrowed; 0: the caller's memory */
};
MR_STATIC_ASSERT(sizeof(struct mr_datagram) == 80, "struct mr_datagram is ABI");

/* ---------------------------------------------------------------- reasons */

/*
 * Every fate a datagram can meet has a number, a name ("xdp_bad_sum") and a sentence. The numbers
 * may differ between versions; names do not. Out of range gives NULL.
 */
MR_API unsigned mr_reason_count(void);
MR_API const char *mr_reason_name(unsigned reason);
MR_API const char *mr_reason_text(unsigned reason);

/* ---------------------------------------------------------------- bind */

enum mr_policy {
	MR_POLICY_AUTO,	  /* sockets at once, AF_XDP laid over them where it can be had */
	MR_POLICY_SOCKET, /* sockets only */
	MR_POLICY_XDP,	  /* mr_bind fails unless at least one interface (each of `devices`, when
			     given) is served by AF_XDP */
};
enum mr_xdp_mode { MR_XDP_MODE_AUTO, MR_XDP_MODE_NATIVE, MR_XDP_MODE_GENERIC };
enum mr_zero_copy { MR_ZERO_COPY_AUTO, MR_ZERO_COPY_ON, MR_ZERO_COPY_OFF };
enum mr_log_level { MR_LOG_ERROR, MR_LOG_WARN, MR_LOG_INFO, MR_LOG_DEBUG };

enum mr_event_type {
	MR_EVENT_READY, /* the first attempt is decided for every interface: see mr_paths */
	MR_EVENT_PATH,	/* after that: one interface changed its path, or what limits it there */
};

/* How one interface is served, and why not better. */
struct mr_path_info {
	char device[16];
	uint32_t ifindex;
	uint8_t path;	   /* enum mr_path */
	uint8_t mode;	   /* enum mr_xdp_mode in force when path is xdp: native or generic */
	uint8_t zero_copy; /* 1: zero copy, 0: copy */
	uint8_t adopted;   /* 1: the program was attached by somebody else */
	uint32_t queues;   /* receive queues served by AF_XDP */
	char reason[200];  /* why this path: "native, copy", "driver has no XDP support", … */
};

struct mr_event {
	enum mr_event_type type;
	struct mr_path_info info; /* of the interface, for MR_EVENT_PATH */
};

/*
 * What failed, on what, and what would help; filled by calls that take one (NULL: not wanted).
 * All three are sentences without a full stop; remedy may be empty.
 */
struct mr_diag {
	int error;	  /* as returned: -errno */
	char step[64];	  /* "bind the IPv6 socket" */
	char object[96];  /* "port 53" */
	char remedy[192]; /* "another process has the port; see `ss -lunp sport = :53`" */
};

/*
 * Start from MR_OPTIONS_INIT and set what differs. Strings and arrays are copied. Callbacks come
 * from the thread inside mr_bind and from the transport's control thread, never from a reader or
 * a writer; they must not call into the transport except mr_paths, mr_stats and mr_shutdown. Events
 * may come before mr_bind has returned (*out is set by then).
 */
struct mr_options {
	size_t size;   /* sizeof(struct mr_options) */
	uint16_t port; /* 0: any; both families get the same */
	enum mr_policy policy;
	const char *const *devices; /* interfaces for the fast path; NULL: every one that can */
	unsigned device_count;
	const struct sockaddr *address; /* serve this one address only (its port is ignored) */
	const char *bind_device;	/* serve this one interface only (SO_BINDTODEVICE) */
	unsigned readers; /* 1 to 64, 0 means 1; they share the port by SO_REUSEPORT */
	uint32_t fwmark;  /* SO_MARK; 0: none */
	enum mr_xdp_mode xdp_mode;
	enum mr_zero_copy zero_copy;
	unsigned busy_poll_us; /* SO_BUSY_POLL; 0: off */
	void (*on_event)(void *arg, const struct mr_event *event);
	void (*on_log)(void *arg, enum mr_log_level level, const char *line);
	void *arg;
};
#define MR_OPTIONS_INIT                           \
	{                                         \
		.size = sizeof(struct mr_options) \
	}

/*
 * Opens the transport: binds the port (IPv6 first with V6ONLY, then IPv4 on the same number; a
 * family the system lacks is left out, see mr_families) and starts serving on sockets at once.
 * With MR_POLICY_AUTO the fast path is laid over them by a control thread, per interface; with
 * MR_POLICY_XDP that is done before mr_bind returns. In either case a queue is steered to from its
 * reader's first mr_read on; until then, sockets take what comes.
 *
 * The transport belongs to the network namespace of the calling thread. Needs no privilege for
 * sockets; CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF for the fast path.
 *
 * Returns 0 and *out, or: -EADDRINUSE (port taken), -EINVAL (options), -ENODEV (no such
 * interface), -EADDRNOTAVAIL (address not on this host), -EPERM (fwmark without CAP_NET_ADMIN or
 * CAP_NET_RAW), -EOPNOTSUPP and others (MR_POLICY_XDP that cannot be had: diag->step begins with
 * "fast path"). After a failure *out is NULL and nothing is left open, attached or claimed.
 */
MR_API int mr_bind(const struct mr_options *options, struct mr_transport **out,
		   struct mr_diag *diag);

/*
 * Ends the transport: the fast path is taken down, the port is free afterwards. No thread may be
 * in a call on it or on its readers and writers; borrowed datagrams become invalid. NULL is fine.
 */
MR_API void mr_close(struct mr_transport *t);

/* Wakes every reader, now and for ever: mr_read returns -ESHUTDOWN. Async-signal-safe. */
MR_API void mr_shutdown(struct mr_transport *t);

MR_API uint16_t mr_port(const struct mr_transport *t);

#define MR_FAMILY_IP4 (1u << 0)
#define MR_FAMILY_IP6 (1u << 1)
MR_API unsigned mr_families(const struct mr_transport *t); /* the families being served */

/*
 * Sets the firewall mark of everything sent from now on, in both families or in neither; 0 clears
 * it. Kept for sockets opened later. Any thread. Returns 0, or -EPERM and the old mark stays.
 */
MR_API int mr_set_fwmark(struct mr_transport *t, uint32_t mark);
MR_API uint32_t mr_fwmark(const struct mr_transport *t);

/* Copies up to max descriptions of how each interface is served; returns how many there are. */
MR_API unsigned mr_paths(struct mr_transport *t, struct mr_path_info *out, unsigned max);

/*
 * Adds up the counters of readers and writers into counts[0..n), by reason number; those counted
 * by the steering program are zero here (see mr_inspect). Any thread.
 */
MR_API void mr_stats(struct mr_transport *t, uint64_t *counts, unsigned n);

/* ---------------------------------------------------------------- reading */

/* Reader number `index`; NULL when there are not so many. Belongs to the transport. */
MR_API struct mr_reader *mr_reader(struct mr_transport *t, unsigned index);
MR_API unsigned mr_reader_count(const struct mr_transport *t);

/*
 * A file descriptor that polls readable when mr_read has something to do: put it into any event
 * loop, do nothing else with it. Level-triggered; a wake-up may turn out to be empty.
 */
MR_API int mr_reader_fd(const struct mr_reader *r);

/*
 * Borrows up to max datagrams, from AF_XDP rings and sockets alike, waiting up to timeout_ms for
 * the first (0: do not wait; -1: for ever). Give them back with mr_release, in any order and any
 * portion, from the reader's thread; those held are not available for receiving.
 *
 * Returns how many; 0 when the time is up or a signal came; -ESHUTDOWN after mr_shutdown;
 * -ENOBUFS when the caller holds every socket buffer (if it holds every AF_XDP frame, rings lose
 * and xdp_no_frame counts). Nothing a peer sends makes it fail.
 * One thread at a time per reader. Syscalls: recvmmsg, epoll_wait; on AF_XDP none under load.
 */
MR_API int mr_read(struct mr_reader *r, struct mr_datagram *d, unsigned max, int timeout_ms);
MR_API void mr_release(struct mr_reader *r, const struct mr_datagram *d, unsigned n);

/*
 * One datagram, copied: its length, even if larger than len (the rest is cut off, as with
 * MSG_TRUNC); -EAGAIN when the time is up or a signal came; else as mr_read. Waits timeout_ms.
 */
MR_API ssize_t mr_recv(struct mr_reader *r, void *buf, size_t len, struct mr_endpoint *e,
		       int timeout_ms);

/*
 * Opens one more port for the conversation with one peer, served by this reader: the peer's
 * datagrams that come to it are read with their local_port set (anybody else's are dropped and
 * counted), and datagrams written with that local_port leave from it. The kernel chooses the
 * number; the options `address` and `bind_device` are for the transport's own port. This is how a
 * relay gets a port per session. From the reader's thread.
 *
 * Returns the port, never the transport's own, or -errno: -EADDRINUSE when ports have run out,
 * -EMFILE, -ENOMEM, … Closing discards what has arrived and is not read yet.
 */
MR_API int mr_port_open(struct mr_reader *r, const struct mr_endpoint *peer);
MR_API void mr_port_close(struct mr_reader *r, uint16_t port);

/* ---------------------------------------------------------------- writing */

/*
 * mr_writer: for any number of threads at once. mr_reader_writer: the cheapest one for the
 * reader's own thread, which is also the only one that may use the ports it opened. Both belong
 * to the transport.
 */
MR_API struct mr_writer *mr_writer(struct mr_transport *t);
MR_API struct mr_writer *mr_reader_writer(struct mr_reader *r);

/*
 * Sends d[0..n) and returns how many were taken: each of those has left or has its `error` set
 * (-EDESTADDRREQ: endpoint incomplete, e.g. link-local without scope; -EMSGSIZE; -EPERM: firewall;
 * -ENETUNREACH and the like; -EAFNOSUPPORT: family not served; -ENOTCONN: local_port not open).
 * One datagram's error does not touch its neighbours. Fewer than n: the send buffer is full,
 * counted as tx_full; try the rest later. Never waits.
 *
 * A source that is no longer an address of this host is forgotten and the same datagram sent at
 * once from the address the kernel picks (cf. WireGuard, send4 and send6 in socket.c); d->endpoint
 * shows it. Runs of equal size to one endpoint leave as one segmented message (UDP_SEGMENT) and,
 * should the kernel refuse that, one by one in the same call. Source and order are kept.
 */
MR_API int mr_write(struct mr_writer *w, struct mr_datagram *d, unsigned n);

/* One datagram from the caller's memory: 0, or -errno as above, or -EAGAIN when buffers are full.
 */
MR_API int mr_send(struct mr_writer *w, const void *buf, size_t len, struct mr_endpoint *e);

/* ---------------------------------------------------------------- looking at interfaces */

enum mr_program_kind {
	MR_PROGRAM_NONE,      /* no XDP program */
	MR_PROGRAM_OURS,      /* millrace's, of this version */
	MR_PROGRAM_OTHER_ABI, /* millrace's, of another version: left alone */
	MR_PROGRAM_FOREIGN,   /* somebody else's: left alone */
	MR_PROGRAM_UNKNOWN,   /* there is one, and no right to look at it */
};

struct mr_claim_info {
	uint16_t port;
	uint8_t families;    /* MR_FAMILY_… */
	uint8_t one_address; /* 1: claimed for one address only */
	uint32_t pid;	     /* 0: not known */
};

struct mr_queue_info {
	uint32_t queue;
	uint32_t pid;
};

struct mr_inspection {
	char device[16];
	uint32_t ifindex;
	uint32_t program_id;
	char program_name[16];
	uint8_t kind; /* enum mr_program_kind */
	uint8_t mode; /* enum mr_xdp_mode: native or generic */
	uint32_t abi;
	struct mr_claim_info *claims; /* claim_count of them */
	unsigned claim_count;
	struct mr_queue_info *queues; /* queue_count of them */
	unsigned queue_count;
	/*
	 * By reason number, mr_reason_count() of them; NULL unless OURS. Those of the program, and
	 * what became of what it steered (xdp_delivered, xdp_bad_sum, …), since it was loaded:
	 *	seen	== steered + all pass_…
	 *	steered == xdp_delivered + xdp_bad_sum + xdp_malformed + xdp_ring_full
	 *		   + xdp_no_frame + xdp_left + unread
	 */
	uint64_t *counts;
	uint64_t seen;	 /* packets the program has seen */
	uint64_t unread; /* steered, and waiting in a ring, lost not longer than a second ago, or
			    left there by a process that was killed */
};

/*
 * Looks at the XDP program of one interface and, when it is ours, at its maps. Reads only. Needs
 * CAP_SYS_ADMIN to look inside a program (else MR_PROGRAM_UNKNOWN). Returns 0 or -errno; on 0
 * give it back with mr_inspection_free.
 */
MR_API int mr_inspect(const char *device, struct mr_inspection *out, struct mr_diag *diag);
MR_API void mr_inspection_free(struct mr_inspection *i);

/* True when this library was built with the fast path (`make XDP=0` leaves it out). */
MR_API bool mr_has_xdp(void);

#ifdef __cplusplus
}
#endif
#endif
