/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Every fate a packet can meet, from the steering program to the caller: one reason, one counter,
 * one printed name. Compiled for the host and for BPF.
 *
 *	X(SYMBOL, "printed_name", STAGE, "what it means, in words")
 *
 * STAGE says who counts it:
 *	STEER   the steering program. Exactly one for each packet seen, so these add up to the
 *	        packets of the interface.
 *	XDP     user space, for a frame taken from an AF_XDP ring. Exactly one of FATE kind each;
 *	        CLASS kinds are counted beside it.
 *	SOCK    user space, the socket path's receive side.
 *	TX      user space, sending.
 *
 * New reasons go to the end of their stage; steering counters are part of the map ABI
 * (steer.h), so their order only changes together with STEER_ABI_VERSION.
 */
#ifndef MILLRACE_SHARED_REASON_H
#define MILLRACE_SHARED_REASON_H

#define STEER_REASONS(X)                                                                           \
	X(STEERED, "steered", STEER, "redirected to the AF_XDP socket of its queue")               \
	X(PASS_SHORT, "pass_short", STEER, "frame too short for the headers it announces")         \
	X(PASS_ETHERTYPE, "pass_ethertype", STEER, "neither IPv4 nor IPv6 (VLAN tags included)")   \
	X(PASS_VERSION, "pass_version", STEER, "IP version does not fit the ethertype")            \
	X(PASS_OPTIONS, "pass_options", STEER, "IPv4 header length is not 20 bytes")               \
	X(PASS_PROTOCOL, "pass_protocol", STEER, "not UDP, or behind an IPv6 extension header")    \
	X(PASS_FRAGMENT, "pass_fragment", STEER, "IPv4 fragment")                                  \
	X(PASS_IP_LENGTH, "pass_ip_length", STEER, "IP length does not fit the frame")             \
	X(PASS_UDP_LENGTH, "pass_udp_length", STEER, "UDP length is not the IP payload's")         \
	X(PASS_UDP_NO_SUM, "pass_udp_no_sum", STEER, "IPv6 without a UDP checksum")                \
	X(PASS_IP_SUM, "pass_ip_sum", STEER, "IPv4 header checksum is wrong")                      \
	X(PASS_SOURCE, "pass_source", STEER, "source address that no host may send from")       \
	X(PASS_DETACHED, "pass_detached", STEER, "no transport has configured the program")        \
	X(PASS_PORT, "pass_port", STEER, "port not claimed")                                       \
	X(PASS_MAC, "pass_mac", STEER, "destination MAC is not the interface's")                   \
	X(PASS_TOO_LONG, "pass_too_long", STEER, "longer than the interface's MTU or a buffer")    \
	X(PASS_FAMILY, "pass_family", STEER, "IP version that is left to the kernel on this host") \
	X(PASS_ADDRESS, "pass_address", STEER, "destination address is not claimed on this host")  \
	X(PASS_OWN_SOURCE, "pass_own_source", STEER, "source is this host's own, or a broadcast")  \
	X(PASS_NEW_SOURCE, "pass_new_source", STEER, "rp_filter: source not yet seen accepted")    \
	X(PASS_VLAN, "pass_vlan", STEER, "VLAN tag beside the frame")                              \
	X(PASS_NO_SOCKET, "pass_no_socket", STEER, "no AF_XDP socket serves the receive queue")

#define USER_REASONS(X)                                                                            \
	X(XDP_DELIVERED, "xdp_delivered", XDP, "datagrams delivered from an AF_XDP ring")          \
	X(XDP_SUM_PARTIAL, "xdp_sum_partial", XDP,                                                 \
	  "of these: from a local sender, checksum left unfinished (software device)")             \
	X(XDP_SUM_NONE, "xdp_sum_none", XDP, "of these: IPv4 without a UDP checksum")              \
	X(XDP_BAD_SUM, "xdp_bad_sum", XDP, "dropped: UDP checksum is wrong")                       \
	X(XDP_MALFORMED, "xdp_malformed", XDP, "dropped: not a frame that steering hands over")    \
	X(XDP_RING_FULL, "xdp_ring_full", XDP, "lost: AF_XDP receive ring full")                   \
	X(XDP_NO_FRAME, "xdp_no_frame", XDP, "lost: no free frame in the fill ring")               \
	X(XDP_LEFT, "xdp_left", XDP, "lost: unread when the transport was closed")                 \
	X(SOCK_DELIVERED, "sock_delivered", SOCK, "datagrams delivered from a socket")             \
	X(SOCK_GRO, "sock_gro", SOCK, "of these: arrived in a coalesced batch (UDP_GRO)")          \
	X(SOCK_TRUNCATED, "sock_truncated", SOCK, "dropped: larger than a receive buffer")         \
	X(SOCK_STRANGER, "sock_stranger", SOCK, "dropped: not from the port's one peer")           \
	X(SOCK_NO_PKTINFO, "sock_no_pktinfo", SOCK, "delivered without a local address")           \
	X(SOCK_CTRUNC, "sock_ctrunc", SOCK, "control data truncated by the kernel")                \
	X(SOCK_OVERFLOW, "sock_overflow", SOCK, "lost: receive buffer full, or a wrong checksum")  \
	X(SOCK_ERROR, "sock_error", SOCK, "pending socket errors read (ICMP and the like)")        \
	X(TX_SOCKET, "tx_socket", TX, "datagrams sent by a socket")                                \
	X(TX_GSO, "tx_gso", TX, "of these: in segmented batches (UDP_SEGMENT)")                    \
	X(TX_GSO_REFUSED, "tx_gso_refused", TX, "segmented batches the kernel refused, resent")    \
	X(TX_SOURCE_STALE, "tx_source_stale", TX, "sources forgotten: gone from this host")        \
	X(TX_INVALID, "tx_invalid", TX, "refused: endpoint incomplete or not sendable")            \
	X(TX_UNREACHABLE, "tx_unreachable", TX, "refused: no route to the endpoint")               \
	X(TX_DENIED, "tx_denied", TX, "refused: firewall or policy (EPERM, EACCES)")               \
	X(TX_TOO_BIG, "tx_too_big", TX, "refused: larger than can be sent (EMSGSIZE)")             \
	X(TX_NO_BUFFER, "tx_no_buffer", TX, "lost: kernel out of buffers (ENOBUFS, ENOMEM)")       \
	X(TX_FULL, "tx_full", TX, "send buffer full: rest left with the caller")                   \
	X(TX_ERROR, "tx_error", TX, "refused: any other error")

enum reason {
#define REASON_ENUM(symbol, name, stage, text) REASON_##symbol,
	STEER_REASONS(REASON_ENUM)
	STEER_REASON_COUNT,
	REASON_USER_BASE = STEER_REASON_COUNT - 1, /* so that the next one is STEER_REASON_COUNT */
	USER_REASONS(REASON_ENUM)
	REASON_COUNT,
#undef REASON_ENUM
};

#endif
