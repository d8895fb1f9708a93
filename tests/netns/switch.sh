#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The fast path taken away and given back while a transport serves: by the link, by the operator, with
# the interface itself. It goes on by sockets, says so, and comes back by itself.
#
#	+------- client -------+            +-------- server --------+
#	|  vc  10.9.0.1/24  ---|----veth----|--- vs  10.9.0.2/24     |
#	+----------------------+            +------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

needs_xdp "nothing to switch"

host client server
wire client vc server vs
address client vc 10.9.0.1/24
address server vs 10.9.0.2/24

lines() { # NAME REGEX COUNT: so many lines are said, within 10 s
	local i n=0
	for ((i = 0; i < 200; i++)); do
		n=$(grep -cE "$2" "$tmp/$1.err") || true
		[ "$n" -lt "$3" ] || return 0
		sleep 0.05
	done
	echo "$n times /$2/, not $3, in:"
	cat "$tmp/$1.err"
	return 1
}

detached() { # soon after it was said
	local i
	for ((i = 0; i < 40; i++)); do
		[ -n "$(xdp_program server vs)" ] || return 0
		sleep 0.05
	done
	return 1
}

to_sockets='^path dev=vs path=socket reason=' to_xdp='^path dev=vs path=xdp reason='

# Each round leaves 2,048 frames with a closed socket; there are 8,192: without taking them back the
# fifth would have none.
serve link server echo --port 4000 --dev vs --json --quiet
check "link: served fast" udp client --count 10 10.9.0.2 4000
for round in 1 2 3 4 5; do
	ipn server link set vs down
	check "link: down, round $round" lines link "$to_sockets\"the interface is down" $round
	check "link: nothing attached, round $round" detached
	ipn server link set vs up
	check "link: served meanwhile, round $round" udp client --timeout 5000 10.9.0.2 4000
	check "link: up, round $round" lines link "$to_xdp" $round
	check "link: served again, round $round" udp client --flows 100 --count 10 10.9.0.2 4000
done
# Down for longer than the first retry: quiet, and back at once when it is up.
cpu() { # NAME: ticks
	awk '{ print $14 + $15 }' "/proc/${pid[$1]}/stat"
}
ipn server link set vs down
check "link: down for long" lines link "$to_sockets\"the interface is down" 6
before=$(cpu link)
sleep 2.5
check "link: and nothing is done meanwhile" [ $(($(cpu link) - before)) -lt 20 ]
ipn server link set vs up
check "link: up after long" lines link "$to_xdp" 6
end link
# 10 at first, a thousand after each round, and those by sockets between.
check "link: all were seen, most of them fast" summary link \
	'.datagrams == 5015 and .by_path.xdp >= 5010 and .sent == 5015'

# The operator's own program: used, never taken away, and done without when he takes it away.
attach() { ipn server link set dev vs xdp obj "$B/bpf/steer.bpf.o" sec xdp; }
check "operator: attaches" attach
serve adopted server echo --port 4000 --dev vs --json --quiet
check "operator: ready" says '^ready .*path=xdp' "$tmp/adopted.err"
check "operator: served fast" udp client --count 10 10.9.0.2 4000
ipn server link set dev vs xdp off
check "operator: detached, said" lines adopted "$to_sockets\"the program was detached" 1
check "operator: served by sockets" udp client --count 10 10.9.0.2 4000
check "operator: own program then" lines adopted "$to_xdp" 1
check "operator: served fast again" udp client --count 10 10.9.0.2 4000
end adopted
check "operator: nothing stays" [ -z "$(xdp_program server vs)" ]
check "operator: nothing was lost" summary adopted '.datagrams == 30 and .by_path.xdp >= 20'

check "kept: attaches" attach
serve kept server echo --port 4000 --dev vs --json --quiet
check "kept: served fast" udp client --count 10 10.9.0.2 4000
end kept
check "kept: the operator's program stays" [ -n "$(xdp_program server vs)" ]
upstream plain server 4000
check "kept: alone it lets everything pass" udp client --count 10 10.9.0.2 4000
stop plain
ipn server link set dev vs xdp off

# The interface goes and one of its name comes.
serve again server echo --port 4000 --json --quiet
check "again: served fast" udp client --count 10 10.9.0.2 4000
ipn server link del vs
check "again: gone, said" lines again "$to_sockets\"the interface is gone" 1
wire client vc server vs
address client vc 10.9.0.1/24
address server vs 10.9.0.2/24
check "again: the new one is taken up" lines again "$to_xdp" 1
check "again: served fast" udp client --count 10 10.9.0.2 4000
end again
check "again: fast on both" summary again '.datagrams == 20 and .by_path.xdp == 20'
finish
