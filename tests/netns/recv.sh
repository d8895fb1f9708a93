#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What `recv --json` says of a datagram is the same by both paths, but for the path: the kernel's
# pktinfo is the oracle for what the fast path rebuilds from headers.
#
#	+------- client -------+            +------------ server ------------+
#	|  vc                  |            |  vs  10.9.0.2/24  fd09::2/64   |
#	|  10.9.0.1/24  -------|----veth----|      10.9.0.3/24  fd09::3/64   |
#	|  fd09::1/64   fe80:: |            |      fe80::…                   |
#	|                      |            |  lo  10.77.0.1/32 fd77::1/128  |
#	+----------------------+            +--------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 10.9.0.3/24 fd09::2/64 fd09::3/64
address server lo 10.77.0.1/32 fd77::1/128
ipn client route add 10.77.0.1/32 via 10.9.0.2
ipn client route add fd77::1/128 via fd09::2
ll_client=$(link_local client vc) ll=$(link_local server vs)

# Ports tell the datagrams apart: from 10000 on, two for each line of what is sent.
send() {
	local port=10000 to from tos
	for to in 10.9.0.2 10.9.0.3 10.77.0.1 10.9.0.255 fd09::2 fd09::3 fd77::1 "$ll%vc"; do
		case $to in
		fe80*) from=$ll_client%vc ;;
		*:*) from=fd09::1 ;;
		*) from=10.9.0.1 ;;
		esac
		for tos in 0 0xb8 0x03; do
			udp client --from "$from,$port" --flows 2 --tos $tos --size 0,1,18,700,1452 \
				--no-reply --timeout 1 "$to" 4000 >/dev/null
			port=$((port + 2))
		done
		udp client --from "$from,$port" --size 4000 --no-reply --timeout 1 "$to" 4000 >/dev/null
		port=$((port + 1))
	done
}
sent=$((8 * (3 * 2 * 5 + 1)))

datagrams() { # NAME JQ-FILTER
	jq -cS "select(.type == \"datagram\") | $2" "$tmp/$1.out"
}

same_but_path() {
	datagrams socket 'del(.path)' | sort >"$tmp/by-socket"
	datagrams xdp 'del(.path)' | sort >"$tmp/by-xdp"
	diff "$tmp/by-socket" "$tmp/by-xdp"
}

fields() { # NAME: as the contract has them, in this order
	grep -E '^\{"type":"datagram","remote":"10\.9\.0\.1:1[0-9]{4}","local":"10\.9\.0\.[23]",'`
		`'"ifindex":[0-9]+,"dev":"vs","len":18,"tos":0,"path":"(xdp|socket)","data":"[0-9a-f]{36}"' \
		"$tmp/$1.out"
	grep -E "\"remote\":\"\[$ll_client%vs\]:1[0-9]{4}\",\"local\":\"$ll" "$tmp/$1.out"
}

all_arrived() { # NAME
	[ "$(datagrams "$1" . | wc -l)" = $sent ] && return
	echo "sent $sent, shown $(datagrams "$1" . | wc -l)"
	return 1
}

for path in "${paths[@]}"; do
	serve "$path" server recv --port 4000 --dev vs --path "$path" --json --hex
	send
	sleep 0.3
	end "$path"
	check "$path: every datagram is shown" all_arrived "$path"
	check "$path: fields" fields "$path"
	check "$path: summary" summary "$path" ".datagrams == $sent and
		(.by_path.xdp + .by_path.socket) == $sent and .seconds > 0 and .cpu_seconds >= 0 and
		.bytes == (8 * (3 * 2 * (0 + 1 + 18 + 700 + 1452) + 4000)) and (.reasons | type) == \"object\""
done
if with_xdp; then
	check "both paths say the same" same_but_path
	# Seven addresses, fragments aside; broadcasts have no MAC of ours.
	check "xdp: each that could came fast" summary xdp ".by_path.xdp == $((7 * 30))"
	check "xdp: shown as xdp" [ "$(datagrams xdp 'select(.path == "xdp")' | wc -l)" = $((7 * 30)) ]
fi

path=''
serve quiet server recv --port 4000 --dev vs --path socket --json --quiet
udp client --no-reply --timeout 1 --count 3 10.9.0.2 4000 >/dev/null
sleep 0.2
end quiet
check "--quiet: nothing but the summary" [ "$(jq -r .type "$tmp/quiet.out")" = summary ]

serve count server recv --port 4000 --dev vs --json --count 3
udp client --no-reply --timeout 1 --count 3 10.9.0.2 4000 >/dev/null
sleep 0.3
check "--count: ends by itself" [ ! -d "/proc/${pid[count]}" ]
end count
check "--count: with that many" summary count '.datagrams == 3'

check "--seconds: ends by itself" exits 0 server "$millrace" recv --port 4000 --seconds 0.3
finish
