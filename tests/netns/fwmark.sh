#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# --fwmark: policy routing sees it. Requests come by vs; marked replies go back by the other wire.
#
#	+------- client -------+            +----------- server -----------+
#	|  vc  10.9.0.1/24  ---|----veth----|--- vs  10.9.0.2/24           |
#	|      fd09::1/64      |            |        fd09::2/64            |
#	|  mc  10.7.0.1/24  ---|----veth----|--- ms  10.7.0.2/24  table 7: |
#	|      fd07::1/64      |            |        fd07::2/64   to vc    |
#	+----------------------+            +------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
wire client mc server ms
address client vc 10.9.0.1/24 fd09::1/64
address client mc 10.7.0.1/24 fd07::1/64
address server vs 10.9.0.2/24 fd09::2/64
address server ms 10.7.0.2/24 fd07::2/64
ipn server rule add fwmark 7 table 7
ipn server -6 rule add fwmark 7 table 7
ipn server route add 10.9.0.0/24 via 10.7.0.1 table 7
ipn server -6 route add fd09::/64 via fd07::1 table 7
on client sh -c 'echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter' >/dev/null

by_mc() { # packets the client got by its second wire
	ipn client -j -s link show dev mc | jq '.[0].stats64.rx.packets'
}

for path in "${paths[@]}"; do
	for mark in 0 7 0x7; do
		serve echo server echo --port 4000 --dev vs --path "$path" --fwmark $mark
		# Neighbours first, so that they are not counted.
		udp client --flows 1 10.9.0.2 4000 >/dev/null || true
		udp client --flows 1 fd09::2 4000 >/dev/null || true
		for to in 10.9.0.2 fd09::2; do
			before=$(by_mc)
			check "$path: mark $mark, $to is answered" udp client --flows 100 $to 4000
			count=$(($(by_mc) - before))
			if [ $mark = 0 ]; then
				check "$path: no mark, $to, by the first wire" [ $count -lt 50 ]
			else
				check "$path: mark $mark, $to, by the second wire" [ $count -ge 100 ]
			fi
		done
		end echo
	done
done
finish
