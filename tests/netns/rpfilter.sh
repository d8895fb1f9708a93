#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The reverse path filter and policy rules: what the kernel would not accept, the fast path does not
# either; what it would, comes fast once it has shown so.
#
#	+---------- client ----------+            +-------- server --------+
#	|  vc  10.9.0.1/24        ---|----veth----|--- vs   10.9.0.2/24    |
#	|      10.8.0.1, 10.7.0.1    |            |    route 10.8.0.0/24   |
#	+----------------------------+            |         via vs         |
#	                                          |    vx   (10.7.0.0/24   |
#	                                          |          via vx)       |
#	                                          +------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
ipn server link add vx type veth peer name vy
ipn server link set vx up
ipn server link set vy up
address client vc 10.9.0.1/24 10.8.0.1/32 10.7.0.1/32 10.6.0.1/32 fd09::1/64
address server vs 10.9.0.2/24 fd09::2/64
address server vx 10.5.0.1/24
ipn server route add 10.8.0.0/24 dev vs
ipn server route add 10.7.0.0/24 dev vx

rp_filter() { # 0, 1, 2
	on server sh -c "echo $1 >/proc/sys/net/ipv4/conf/vs/rp_filter"
}

# Sends ten from a source, one after the other with time for it to be learnt; how many came, and how.
send() { # SOURCE
	udp client --from "$1" --count 10 --interval 30 --no-reply --timeout 1 10.9.0.2 4000 \
		>/dev/null
}

came() { # NAME SOURCE JQ-FILTER, of an array of paths
	jq -s --arg from "$2:" "map(select(.type == \"datagram\" and (.remote | startswith(\$from))) |
		.path) | $3" -e "$tmp/$1.out" && return
	grep -F "$2:" "$tmp/$1.out"
	return 1
}

for path in "${paths[@]}"; do
	# Strict: the way back must be this interface. Loose: there must be a way back at all.
	for mode in 0 1 2; do
		rp_filter $mode
		serve $path-$mode server recv --port 4000 --dev vs --path "$path" --json
		sleep 0.2 # routes that have just changed are given time
		for source in 10.9.0.1 10.8.0.1 10.7.0.1 10.6.0.1; do send $source; done
		end $path-$mode
		accepted="length == 10"
		if [ "$path" = xdp ] && [ $mode = 0 ]; then
			accepted="length == 10 and all(. == \"xdp\")"
		elif [ "$path" = xdp ]; then
			# The first by a socket; after that no longer.
			accepted="length == 10 and .[0] == \"socket\" and .[9] == \"xdp\""
		fi
		check "$path: rp_filter=$mode: on the link" came $path-$mode 10.9.0.1 "$accepted"
		check "$path: rp_filter=$mode: routed here" came $path-$mode 10.8.0.1 "$accepted"
		none="length == 0"
		[ $mode = 1 ] || none=$accepted
		check "$path: rp_filter=$mode: routed elsewhere" came $path-$mode 10.7.0.1 "$none"
		none="length == 0"
		[ $mode != 0 ] || none=$accepted
		check "$path: rp_filter=$mode: no route" came $path-$mode 10.6.0.1 "$none"
	done
done
rp_filter 0

if with_xdp; then
	path=''
	serve turns server recv --port 4000 --dev vs --path xdp --json
	send 10.8.0.1
	check "turned on while serving: before" came turns 10.8.0.1 \
		'length == 10 and all(. == "xdp")'
	rp_filter 1
	sleep 0.2
	send 10.8.0.1
	check "turned on while serving: asked" came turns 10.8.0.1 \
		'length == 20 and .[10] == "socket" and .[19] == "xdp"'
	# The route goes to another interface: the kernel drops, and so does the fast path.
	ipn server route replace 10.8.0.0/24 dev vx
	sleep 0.05
	send 10.8.0.1
	check "route moved: not accepted any more" came turns 10.8.0.1 'length == 20'
	ipn server route replace 10.8.0.0/24 dev vs
	sleep 0.2
	send 10.8.0.1
	check "route back: learnt anew" came turns 10.8.0.1 \
		'length == 30 and .[20] == "socket" and .[29] == "xdp"'
	# With rules of one's own, one answer of the kernel says nothing about the next.
	ipn server rule add from 10.8.0.0/24 lookup main priority 100
	check "policy rules: said" await turns 'IPv4 by sockets: rp_filter with policy rules'
	send 10.8.0.1
	check "policy rules: IPv4 by sockets" came turns 10.8.0.1 \
		'length == 40 and (.[30:] | all(. == "socket"))'
	udp client --no-reply --timeout 1 --from fd09::1 fd09::2 4000
	check "policy rules: IPv6 is fast" came turns '[fd09::1]' '. == ["xdp"]'
	rp_filter 0
	sleep 0.2
	send 10.8.0.1
	check "policy rules: fast without rp_filter" came turns 10.8.0.1 \
		'length == 50 and (.[40:] | all(. == "xdp"))'
	ipn server rule del priority 100

	# A rule before the local table may send our own addresses elsewhere.
	ipn server rule add lookup local priority 200
	ipn server rule add to 10.9.0.2 ipproto udp blackhole priority 100
	ipn server rule del priority 0
	check "local table not first: said" await turns 'IPv4 by sockets: policy rules before'
	send 10.9.0.1
	check "local table not first: the kernel decides" came turns 10.9.0.1 'length == 0'
	ipn server rule add lookup local priority 0
	sleep 0.2
	send 10.9.0.1
	check "local table first again" came turns 10.9.0.1 'length == 10 and all(. == "xdp")'
	end turns
fi
finish
