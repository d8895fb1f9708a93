#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Echo over both paths, to every kind of address a host can have. The client checks that each reply
# carries its own bytes and comes from the very address it wrote to.
#
#	+------- client -------+            +------------ server ------------+
#	|     vc               |            |  vs  10.9.0.2/24  fd09::2/64   |
#	|  10.9.0.1/24  -------|----veth----|      10.9.0.3/24  fd09::3/64   |
#	|  fd09::1/64          |            |      fe80::…                   |
#	|                      |            |  lo  10.77.0.1/32 fd77::1/128  |
#	|  routes to all by vs |            |  other (bridge) 10.88.0.1/24   |
#	+----------------------+            |                 fd88::1/64     |
#	                                    +--------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
ipn server link add other type bridge
ipn server link set other up
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 10.9.0.3/24 fd09::2/64 fd09::3/64
address server lo 10.77.0.1/32 fd77::1/128
address server other 10.88.0.1/24 fd88::1/64
ipn client route add 10.77.0.1/32 via 10.9.0.2
ipn client route add 10.88.0.0/24 via 10.9.0.2
ipn client route add fd77::1/128 via fd09::2
ipn client route add fd88::/64 via fd09::2
ll=$(link_local server vs)%vc

# Payloads up to the MTU, and what leaves as fragments.
small4=0,1,2,17,18,63,64,511,1471,1472 large4=1473,2000,9000,65507
small6=0,1,2,17,18,63,64,511,1451,1452 large6=1453,2000,9000,65507

for path in "${paths[@]}"; do
	serve echo server echo --port 4000 --dev vs --path "$path" --json

	for to in 10.9.0.2 10.9.0.3 10.77.0.1 10.88.0.1; do
		check "$path: $to, any size" udp client --size $small4 "$to" 4000
		check "$path: $to, fragments" udp client --size $large4 "$to" 4000
	done
	for to in fd09::2 fd09::3 fd77::1 fd88::1 "$ll"; do
		check "$path: ${to/fe80*/link-local}, any size" udp client --size $small6 "$to" 4000
		check "$path: ${to/fe80*/link-local}, fragments" udp client --size $large6 "$to" 4000
	done
	check "$path: 200 clients, IPv4" udp client --flows 200 --count 5 10.9.0.3 4000
	check "$path: 200 clients, IPv6" udp client --flows 200 --count 5 fd09::3 4000
	check "$path: the server's own clients" udp server --size 0,18,3000 10.9.0.2 4000
	check "$path: the server's own clients, IPv6" udp server --size 0,18,3000 fd09::2 4000
	check "$path: on loopback" udp server --size 0,18,65507 127.0.0.1 4000
	check "$path: on loopback, IPv6" udp server --size 0,18,65507 ::1 4000
	end echo

	# 9 addresses x 14 sizes, 400 clients x 5, 4 x 3 of the server's own; fragments and what
	# comes by lo never go fast, everything else has to.
	fast=$((9 * 10 + 2000)) all=$((9 * 14 + 2000 + 12))
	check "$path: counts all" summary echo ".datagrams == $all"
	if [ "$path" = xdp ]; then
		check "xdp: all but fragments and loopback went fast" \
			summary echo ".by_path.xdp == $fast and .by_path.socket == $((all - fast))"
		check "xdp: nothing stays on the interface" [ -z "$(xdp_program server vs)" ]
	else
		check "socket: nothing went fast" summary echo ".by_path.xdp == 0"
	fi

	serve readers server echo --port 4001 --dev vs --path "$path" --readers 2 --json
	check "$path: two readers, IPv4" udp client --flows 200 --count 5 10.9.0.2 4001
	check "$path: two readers, IPv6" udp client --flows 200 --count 5 fd09::2 4001
	check "$path: two readers, large" udp client --flows 8 --size 65507 fd09::3 4001
	end readers
	check "$path: two readers, counts all" summary readers ".datagrams == 2008"
done
finish
