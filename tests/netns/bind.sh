#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# --bind serves one address, --bind-dev one interface, and leave the port free on the others.
#
#	+------- client -------+            +----------- server -----------+
#	|  vc  10.9.0.1/24  ---|----veth----|--- vs  10.9.0.2/24  fd09::2  |
#	|      fd09::1/64      |            |        10.9.0.3/24  fd09::3  |
#	|  wc  10.7.0.1/24  ---|----veth----|--- ws  10.7.0.2/24           |
#	+----------------------+            +------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
wire client wc server ws
address client vc 10.9.0.1/24 fd09::1/64
address client wc 10.7.0.1/24
address server vs 10.9.0.2/24 10.9.0.3/24 fd09::2/64 fd09::3/64
address server ws 10.7.0.2/24

served() { # NAME ADDRESS: all sizes come back
	check "$path: $1: $2 is served" udp client --flows 10 --size 0,18,1400,4000 "$2" 4000
}

not_served() { # NAME ADDRESS
	check "$path: $1: $2 is not" udp client --no-reply --timeout 150 --flows 2 "$2" 4000
}

for path in "${paths[@]}"; do
	serve one server echo --port 4000 --bind 10.9.0.2 --dev vs --path "$path" --json
	served "one address" 10.9.0.2
	not_served "one address" 10.9.0.3
	not_served "one address" fd09::2
	serve another server echo --port 4000 --bind 10.9.0.3 --path socket
	served "an address each" 10.9.0.3
	served "an address each" 10.9.0.2
	end another
	end one
	check "$path: one address: each its own" summary one '.datagrams == 80'
	[ "$path" = socket ] || check "xdp: one address: fast" summary one '.by_path.xdp == 60'

	serve one server echo --port 4000 --bind fd09::3 --dev vs --path "$path" --json
	served "one IPv6 address" fd09::3
	not_served "one IPv6 address" fd09::2
	not_served "one IPv6 address" 10.9.0.2
	end one
	[ "$path" = socket ] || check "xdp: one IPv6 address: fast" summary one '.by_path.xdp == 30'

	serve one server echo --port 4000 --bind-dev vs --dev vs --path "$path" --json
	served "one interface" 10.9.0.2
	served "one interface" fd09::3
	not_served "one interface" 10.7.0.2
	end one
done
path=''
check "an address of somebody else" exits 1 server "$millrace" echo --port 4000 --bind 10.9.0.9 \
	--path socket --seconds 1
check "an address of somebody else: says so" says 'address is not one of this host'
check "not an address" exits 2 server "$millrace" echo --port 4000 --bind 10.9.0
check "not an address: names it" says '--bind'
check "not an interface" exits 2 server "$millrace" echo --port 4000 --bind-dev nosuch0
check "not an interface: names it" says 'nosuch0'
finish
