#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Addresses come and go under a steady stream of datagrams to all of them: each is steered soon
# after it is this host's, and no more soon after it is not. What is and was this host's loses
# nothing by it.
#
#	+------- client -------+            +------------ server ------------+
#	|  vc                  |            |  vs  10.9.0.2/24  fd09::2/64   |
#	|  10.9.0.1/24  -------|----veth----|      and now and then others   |
#	|  fd09::1/64          |            |  lo, other (bridge): the same  |
#	|  udpstream           |            |  millrace recv                 |
#	|  all by server       |            |                                |
#	+----------------------+            +--------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

needs_xdp "nothing to steer"

soon_us=50000

host client server
wire client vc server vs
ipn server link add other type bridge
ipn server link set other up
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 fd09::2/64
ipn client route add default via 10.9.0.2
ipn client route add default via fd09::2
# On their link too: nobody would answer for them while they are not there.
ipn client route add 10.9.0.9/32 via 10.9.0.2
ipn client route add fd09::9/128 via fd09::2

# ---------------------------------------------------------------- one by one

# What is written to, in the order of its numbers; the first two are there all the time.
targets=(10.9.0.2 fd09::2 10.9.0.9 fd09::9 10.88.0.1 fd88::1 10.77.0.1 fd77::1
	203.0.113.20 203.0.113.7 203.0.113.8 2001:db8::20 2001:db8::7)
windows=()

now() {
	echo "${EPOCHREALTIME/[.,]/}"
}

# Runs ip, and lets the stream go on for a while. What is expected of a target from then on is noted
# with the time: steered (xdp), delivered by a socket (socket), or not delivered at all (none).
change() { # NAME TARGET=EXPECTED… -- IP-ARGUMENT…
	local name=$1 expected=()
	shift
	while [ "$1" != -- ]; do
		expected+=("$1")
		shift
	done
	local begun at one
	begun=$(now)
	ipn server "${@:2}"
	at=$(now)
	sleep 0.2
	for one in "${expected[@]}"; do
		windows+=("$name|${one%=*}|${one#*=}|$begun|$at|$(now)")
	done
}

comes_and_goes() { # NAME TARGET IP-OBJECT… (the arguments behind add and del)
	local object=(addr)
	[ "$3" != route ] || object=(route)
	change "$1, added" "$2=xdp" -- "${object[@]}" add "${@:4}"
	change "$1, deleted" "$2=none" -- "${object[@]}" del "${@:4}"
}

serve one server recv --port 4000 --dev vs --path xdp --json --hex
start stream client "$support/udpstream" --rate 2600 --seconds 12 4000 "${targets[@]}"
sleep 0.1
comes_and_goes "a secondary address" 10.9.0.9 addr 10.9.0.9/24 dev vs
comes_and_goes "a secondary address, IPv6" fd09::9 addr fd09::9/64 dev vs nodad
comes_and_goes "an address of another interface" 10.88.0.1 addr 10.88.0.1/24 dev other
comes_and_goes "an address of another interface, IPv6" fd88::1 addr fd88::1/64 dev other nodad
comes_and_goes "an address on lo" 10.77.0.1 addr 10.77.0.1/32 dev lo
comes_and_goes "an address on lo, IPv6" fd77::1 addr fd77::1/128 dev lo
change "an AnyIP prefix, added" 203.0.113.20=xdp 203.0.113.7=xdp 203.0.113.8=xdp -- \
	route add local 203.0.113.0/24 dev lo
change "an unreachable hole" 203.0.113.20=xdp 203.0.113.7=none 203.0.113.8=xdp -- \
	route add unreachable 203.0.113.7 table local
change "a broadcast hole" 203.0.113.20=xdp 203.0.113.8=socket -- \
	route add broadcast 203.0.113.8 dev vs table local
change "an unreachable hole, filled" 203.0.113.20=xdp 203.0.113.7=xdp 203.0.113.8=socket -- \
	route del unreachable 203.0.113.7 table local
change "a broadcast hole, filled" 203.0.113.8=xdp -- \
	route del broadcast 203.0.113.8 dev vs table local
change "an AnyIP prefix, deleted" 203.0.113.20=none 203.0.113.7=none 203.0.113.8=none -- \
	route del local 203.0.113.0/24 dev lo
change "an AnyIP prefix, IPv6, added" 2001:db8::20=xdp 2001:db8::7=xdp -- \
	-6 route add local 2001:db8::/64 dev lo
change "an unreachable hole, IPv6" 2001:db8::20=xdp 2001:db8::7=none -- \
	-6 route add unreachable 2001:db8::7 table local
change "an unreachable hole, IPv6, filled" 2001:db8::7=xdp -- \
	-6 route del unreachable 2001:db8::7 table local
change "an AnyIP prefix, IPv6, deleted" 2001:db8::20=none 2001:db8::7=none -- \
	-6 route del local 2001:db8::/64 dev lo
stop stream
sleep 0.2
end one

# Target, time sent, round and path of each datagram that arrived.
jq -r 'select(.type == "datagram") | [(.data[24:28] | tonumber), (.data[0:16] | tonumber),
	(.data[16:24] | tonumber), .path] | @tsv' "$tmp/one.out" >"$tmp/arrived"

# Of those sent in a window: soon after the change all come as expected, none is missing and none
# comes twice. How soon that was is said.
as_expected() { # TARGET EXPECTED BEGUN DONE END
	local i
	for ((i = 0; i < ${#targets[@]}; i++)); do
		[ "${targets[i]}" != "$1" ] || break
	done
	awk -v target=$i -v expected="$2" -v begun="$3" -v at="$4" -v end="$5" -v soon=$soon_us '
		$1 != target || $2 <= begun || $2 >= end { next }
		$4 != expected { last = $2 - begun; path = $4 }
		$4 != expected && $2 > at + soon { late++ }
		$4 == expected {
			if (!n++)
				first = $3
			if ($3 in seen)
				twice++
			seen[$3]
			latest = $3
		}
		END {
			printf "done after %.1f ms; the last by another path after %.1f ms\n",
				(at - begun) / 1000, last / 1000
			missing = n ? latest - first + 1 - n : 0
			if (late || missing || twice || (expected != "none" && n < 10))
				printf "%d %s, %d late by %s, %d missing, %d twice\n", n, expected,
					late, path, missing, twice
			exit late || missing || twice || (expected != "none" && n < 10)
		}' "$tmp/arrived"
}

path=''
for window in "${windows[@]}"; do
	IFS='|' read -r name target expected begun at end <<<"$window"
	check "$name: $target: $expected" as_expected "$target" "$expected" "$begun" "$at" "$end"
	echo "# $(head -n 1 "$tmp/check")"
done
for target in 10.9.0.2 fd09::2; do
	check "meanwhile nothing else is lost: $target" as_expected $target xdp 0 0 "$(now)"
done

# ---------------------------------------------------------------- thousands in one go

# Every round of each stream, once, by xdp; a stream begins with round 0.
complete() { # NAME
	jq -r 'select(.type == "datagram" and (.local == "10.9.0.2" or .local == "fd09::2")) |
		[.local, (.data[16:24] | tonumber), .path] | @tsv' "$tmp/$1.out" >"$tmp/stream"
	awk '$3 != "xdp" || ($2 && $2 != last[$1] + 1) { bad++; print "not in order:", $0 }
		{ last[$1] = $2 }
		END { exit bad || NR < 100 }' "$tmp/stream"
}

addresses() { # add|del FIRST LAST [COMMAND-SUFFIX]: for `ip -batch`, of each family
	local i
	for ((i = $2; i <= $3; i++)); do
		echo "addr $1 10.50.$((i / 250)).$((i % 250 + 1))/32 dev other"
		echo "addr $1 fd50::$i/128 dev other${4:+ $4}"
	done
}

batch() { # FILE
	ipn server -batch "$1"
}

reason() { # NAME
	on server "$millrace" status --json vs | jq ".reasons.$1 // 0"
}

# Of one datagram to each of them so many are steered.
steered() { # FIRST LAST COUNT
	local to=() i before
	for ((i = $1; i <= $2; i++)); do
		to+=("10.50.$((i / 250)).$((i % 250 + 1))" "fd50::$i")
	done
	before=$(reason steered)
	on client "$support/udpstream" --rate 20000 --rounds 1 4000 "${to[@]}"
	[ $(($(reason steered) - before)) = "$3" ] && return
	echo "steered: $(($(reason steered) - before)), not $3"
	return 1
}

addresses add 1 1000 nodad >"$tmp/add"
addresses del 1 500 >"$tmp/del"
addresses del 501 1000 >"$tmp/rest"
serve many server recv --port 4000 --dev vs --path xdp --json --hex
start stream client "$support/udpstream" --rate 2000 --seconds 20 4000 10.9.0.2 fd09::2
sleep 0.05
check "2,000 addresses added" batch "$tmp/add"
stop stream
sleep 0.1
check "2,000 addresses added: each is steered" steered 1 1000 2000
start stream client "$support/udpstream" --rate 2000 --seconds 20 4000 10.9.0.2 fd09::2
sleep 0.05
check "1,000 of them deleted" batch "$tmp/del"
stop stream
sleep 0.1
check "1,000 of them deleted: none of these is steered" steered 1 500 0
check "1,000 of them deleted: the others are" steered 501 1000 1000
check "the others deleted" batch "$tmp/rest"
sleep 0.1
check "the others deleted: none is steered" steered 1 1000 0
end many
check "meanwhile nothing was lost" complete many

# ---------------------------------------------------------------- more than netlink can hold

# A process that is stopped does not read its messages, and the kernel drops what is too much.
ipn server addr add 10.50.0.1/32 dev other
serve overrun server recv --port 4000 --dev vs --path xdp --json --quiet -vv
check "before the overrun: steered" steered 0 0 1
kill -STOP "${pid[overrun]}"
for ((i = 0; i < 30000; i++)); do
	echo "route add 10.$((100 + i / 65536)).$((i / 256 % 256)).$((i % 256)) dev other"
done >"$tmp/routes"
check "an overrun: 30,000 routes" batch "$tmp/routes"
addresses add 1 20 nodad >"$tmp/add"
check "an overrun: 40 addresses" batch "$tmp/add"
ipn server addr del 10.50.0.1/32 dev other
kill -CONT "${pid[overrun]}"
check "an overrun: there was one" await overrun 'netlink messages lost'
sleep 0.5
check "after the overrun: those that are new are steered" steered 1 20 40
check "after the overrun: that which is gone is not" steered 0 0 0
end overrun

# ---------------------------------------------------------------- one address only

counts() { # ADDRESS STEERED PASSED: of 5 datagrams
	local steered passed
	steered=$(reason steered) passed=$(reason pass_address)
	on client "$support/udpstream" --rounds 5 4000 "$1"
	steered=$(($(reason steered) - steered)) passed=$(($(reason pass_address) - passed))
	[ $steered = "$2" ] && [ $passed = "$3" ] && return
	echo "steered $steered, passed for their address $passed; expected $2 and $3"
	return 1
}

for one in 10.9.0.3/24 fd09::3/64; do
	at=${one%/*} beside=${one/3/2} option=nodad
	[[ $one = *:* ]] || option=''
	# shellcheck disable=SC2086
	ipn server addr add $one dev vs $option
	serve bound server recv --port 4000 --bind "$at" --dev vs --path xdp --json
	serve beside server echo --port 4000 --bind "${beside%/*}" --path socket
	check "bound to $at: steered" counts "$at" 5 0
	check "bound to $at: others are not" counts "${beside%/*}" 0 5
	check "bound to $at: others are served" udp client --flows 5 "${beside%/*}" 4000
	ipn server addr del $one dev vs
	sleep 0.05
	check "bound to $at: not when it is gone" counts "$at" 0 5
	# shellcheck disable=SC2086
	ipn server addr add $one dev vs $option
	sleep 0.05
	check "bound to $at: again when it is back" counts "$at" 5 0
	end bound
	check "bound to $at: that is all" summary bound ".datagrams == 10 and .by_path.xdp == 10"
	stop beside
done
finish
