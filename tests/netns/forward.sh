#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A gateway routes and bridges for others while a transport of its own claims a port: datagrams to
# that port, and from it, and TCP and ICMP, go where they went before. Only what is for the gateway
# itself is steered. Everything runs at once, every reply is compared, and none may be lost.
#
#	+----- client -----+          +------------- gateway -------------+          +---- upstream ----+
#	|  vc              |          |  gc        routes             gu  |          |  vu              |
#	|  10.9.0.1/24 ----|---veth---|--  10.9.0.2  10.9.0.3   10.8.0.2 -|---veth---|-- 10.8.0.1/24    |
#	|  fd09::1/64      |          |    fd09::2   fd09::3    fd08::2   |          |   fd08::1/64     |
#	+------------------+          |                                   |          +------------------+
#	                              |     millrace echo --port 4000     |
#	+------ left ------+          |                                   |          +----- right ------+
#	|  vl 10.10.0.1/24 |---veth---|- gl       br0 10.10.0.3/24    gr -|---veth---|  vr 10.10.0.2/24 |
#	|     fd10::1/64   |          |          (bridge) fd10::3/64      |          |     fd10::2/64   |
#	+------------------+          +-----------------------------------+          +------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

gateway_between
on gateway sh -c 'cd /proc/sys/net && echo 1 >ipv4/ip_forward && echo 1 >ipv6/conf/all/forwarding'
# No limit for ICMP errors: the kernel's is for the whole machine on some versions.
for at in gateway upstream; do
	on $at sh -c 'cd /proc/sys/net && echo 0 >ipv4/icmp_ratemask && echo >ipv6/icmp/ratemask'
done
ipn client route add 10.8.0.0/24 via 10.9.0.2
ipn client route add fd08::/64 via fd09::2
ipn upstream route add 10.9.0.0/24 via 10.8.0.2
ipn upstream route add fd09::/64 via fd08::2

host left right
wire left vl gateway gl
wire gateway gr right vr
ipn gateway link add br0 type bridge
ipn gateway link set br0 up
ipn gateway link set gl master br0
ipn gateway link set gr master br0
address left vl 10.10.0.1/24 fd10::1/64
address right vr 10.10.0.2/24 fd10::2/64
address gateway br0 10.10.0.3/24 fd10::3/64

# shellcheck disable=SC2016
count4() { # HOST GROUP NAME: a counter of /proc/net/snmp
	on "$1" awk -v group="$2:" -v name="$3" '
		$1 == group && at { print $at; exit }
		$1 == group { for (at = NF; at && $at != name;) at-- }' /proc/net/snmp
}

# shellcheck disable=SC2016
count6() { # HOST NAME: one of /proc/net/snmp6
	on "$1" awk -v name="$2" '$1 == name { print $2 }' /proc/net/snmp6
}

forwarded() {
	echo $(($(count4 gateway Ip ForwDatagrams) + $(count6 gateway Ip6OutForwDatagrams)))
}

# What the steering programs say of both interfaces together; 0 without one.
reason() { # NAME
	[ "$path" = xdp ] || { echo 0 && return; }
	on gateway "$millrace" status --json gc gu | jq -s "map(.reasons.$1 // 0) | add"
}

is() { # WHAT VALUE EXPECTED
	[ "$2" = "$3" ] && return
	echo "$1: $2, not $3"
	return 1
}

begin() { # NAME HOST UDPCHECK-ARGUMENT…: a client in the background
	start "$1" "$2" timeout 10 "$support/udpcheck" --timeout 3000 "${@:3}"
	clients+=("$1")
}

succeeded() { # NAME EXIT-STATUS
	cat "$tmp/$1.err" "$tmp/$1.out"
	return "$2"
}

settle() { # every client that was begun has got all its replies
	local name rc
	for name in "${clients[@]}"; do
		rc=0
		wait "${pid[$name]}" || rc=$?
		unset "pid[$name]"
		check "$path: $name" succeeded "$name" $rc
	done
	clients=()
}

# Sums counters of a host's ICMP; those of IPv6 when the address is one.
icmp() { # HOST ADDRESS NAME…
	local name sum=0
	for name in "${@:3}"; do
		if [[ $2 = *:* ]]; then
			sum=$((sum + $(count6 "$1" "Icmp6$name")))
		else
			sum=$((sum + $(count4 "$1" Icmp "$name")))
		fi
	done
	echo $sum
}

# What the upstream has to say of a closed port comes back, to the claimed port. (It may not be able
# to: the kernel's sockets for ICMP are shared by all namespaces, and their buffers may be full.)
icmp_passes() { # UPSTREAM
	local from=10.9.0.1 said heard
	[[ $1 != *:* ]] || from=fd09::1
	said=$(icmp upstream "$1" OutDestUnreachs) heard=$(icmp client "$1" InDestUnreachs)
	udp client --from $from,4000 --no-reply --timeout 1 --count 10 "$1" 5999 >/dev/null
	said=$(($(icmp upstream "$1" OutDestUnreachs) - said))
	heard=$(($(icmp client "$1" InDestUnreachs) - heard))
	if [ $said = 0 ]; then
		skip "$path: ICMP errors pass: $1" "the kernel made none"
	else
		check "$path: ICMP errors pass: $1" is heard $heard $said
	fi
}

ttl_counts() { # UPSTREAM: a datagram that has one hop to live ends here, with two it gets there
	local via=10.9.0.2 made
	[[ $1 != *:* ]] || via=fd09::2
	made=$(icmp gateway "$1" OutTimeExcds OutErrors)
	ipn client route add "$1" via $via hoplimit 1
	check "$path: one hop to live: $1" udp client --no-reply --timeout 50 --count 3 "$1" 4000
	check "$path: one hop to live, said: $1" is "time exceeded" \
		$(($(icmp gateway "$1" OutTimeExcds OutErrors) - made)) 3
	ipn client route replace "$1" via $via hoplimit 2
	check "$path: two hops to live: $1" udp client --count 3 "$1" 4000
	ipn client route del "$1" via $via
}

other_mac() { # ADDRESS of the gateway: in a frame to another station it is not for us
	local before
	before=$(reason pass_mac)
	ipn client neigh replace "$1" lladdr 02:00:00:00:00:99 dev vc nud permanent
	check "$path: a frame for another station: $1" udp client --no-reply --timeout 50 --flows 3 \
		"$1" 4000
	ipn client neigh del "$1" dev vc
	[ "$path" = socket ] ||
		check "xdp: passed for its MAC: $1" is pass_mac $(($(reason pass_mac) - before)) 3
}

upstream u4000 upstream 4000
upstream u5000 upstream 5000
upstream r4000 right 4000
for at in gateway upstream; do
	start "tcp-$at" $at "$support/tcpcheck" --listen 4000
	await "tcp-$at" '^ready'
done

for path in "${paths[@]}"; do
	# A bridge port may be named; it is refused, and stays on sockets.
	serve echo gateway echo --port 4000 --dev gc --dev gu --dev gl --json --verbose \
		--path "${path/xdp/auto}"
	if [ "$path" = xdp ]; then
		check "xdp: on both that route" says '^ready .* dev=gc .* dev=gu ' "$tmp/echo.err"
		check "xdp: not on the port of the bridge" says 'gl: socket: port of a bridge' \
			"$tmp/echo.err"
		check "xdp: nothing is attached there" [ -z "$(xdp_program gateway gl)" ]
	fi

	clients=() before=$(forwarded)
	upstream c4000 client 4000
	begin "through, IPv4" client --flows 100 --count 20 10.8.0.1 4000
	begin "through, IPv6" client --flows 100 --count 20 fd08::1 4000
	begin "back through, IPv4" upstream --flows 100 --count 20 10.9.0.1 4000
	begin "back through, IPv6" upstream --flows 100 --count 20 fd09::1 4000
	begin "to itself, IPv4" client --flows 50 --count 20 10.9.0.2 4000
	begin "to itself, IPv6" client --flows 50 --count 20 fd09::3 4000
	begin "to its other side, IPv4" client --flows 50 --count 20 10.8.0.2 4000
	begin "to its other side, IPv6" upstream --flows 50 --count 20 fd09::2 4000
	begin "across the bridge, IPv4" left --flows 100 --count 20 10.10.0.2 4000
	begin "across the bridge, IPv6" left --flows 100 --count 20 fd10::2 4000
	begin "to the bridge, IPv4" left --flows 5 --count 20 10.10.0.3 4000
	begin "to the bridge, IPv6" left --flows 5 --count 20 fd10::3 4000
	settle
	check "$path: each was routed, there and back" is forwarded $(($(forwarded) - before)) \
		$((2 * 4 * 2000))
	steered=0
	[ "$path" = socket ] || steered=4000
	check "$path: steered were those to the gateway itself" is steered "$(reason steered)" \
		$steered

	stop c4000
	begin "from the port, IPv4" client --from 10.9.0.1,4000 --count 500 10.8.0.1 5000
	begin "from the port to the port, IPv6" client --from fd09::1,4000 --count 500 fd08::1 4000
	begin "to itself beside TCP, IPv4" client --flows 50 --count 20 10.9.0.2 4000
	begin "to itself beside TCP, IPv6" client --flows 50 --count 20 fd08::2 4000
	for to in 10.9.0.2 fd09::3 10.8.0.1 fd08::1; do
		check "$path: TCP on the port: $to" on client "$support/tcpcheck" $to 4000 500000
	done
	settle
	for to in 10.8.0.1 fd08::1; do
		icmp_passes $to
		ttl_counts $to
	done
	for to in 10.9.0.3 fd09::3; do other_mac $to; done

	end echo
	check "$path: echoed were those to the gateway itself" summary echo \
		".datagrams == 6200 and (.by_path.xdp // 0) == $((steered + steered / 2)) and .sent == 6200"
done
finish
