#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What offloads do to frames before the steering program sees them: datagrams that travel as one
# superpacket, and VLAN tags that are kept beside the frame. What arrives is compared with what the
# socket path makes of the same.
#
#	+------- client -------+            +---------- server ----------+
#	|  vc  10.9.0.1/24     |            |  vs  10.9.0.2/24           |
#	|      fd09::1/64   ---|----veth----|      fd09::2/64            |
#	|  wc  10.7.0.1/24     |            |  ws  10.7.0.2/24           |
#	|  (four tx queues) ---|----veth----|  (one rx queue)            |
#	|  bc  10.10.0.1/24 ---|----veth----|- bp in br0  10.10.0.2/24   |
#	+----------------------+            +----------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

needs_xdp "there is one path only"

host client server
wire client vc server vs
wire client bc server bp
ipn client link add wc numtxqueues 4 numrxqueues 1 type veth \
	peer name ws netns "mr-$$-server" numtxqueues 1 numrxqueues 1
ipn client link set wc up
ipn server link set ws up
ipn server link add br0 type bridge
ipn server link set br0 up
ipn server link set bp master br0
address client vc 10.9.0.1/24 fd09::1/64
address client wc 10.7.0.1/24
address client bc 10.10.0.1/24
address server vs 10.9.0.2/24 fd09::2/64
address server ws 10.7.0.2/24
address server br0 10.10.0.2/24

# One superpacket of each shape to each address, twenty times.
shapes=("7 1000" "2 600" "43 1400")
rounds=20 datagrams=$((rounds * (7 + 2 + 43)))

send() { # ADDRESS… (each shape has a source port of its own)
	local i segments size
	for i in "${!shapes[@]}"; do
		read -r segments size <<<"${shapes[i]}"
		on client "$support/udpstream" --from $((7000 + i)) --segments "$segments" \
			--size "$size" --rounds $rounds --rate 2000 --no-stamp 4000 "$@"
	done
	sleep 0.2
}

# Serves, is sent all shapes, and ends.
receive() { # NAME ADDRESS RECV-OPTION…
	serve "$1" server recv --port 4000 --json --hex "${@:3}"
	check "$1: sent" send "$2"
	end "$1"
}

# Every datagram is the one that was sent, in order; given another port range, only those.
same() { # ONE OTHER [PORTS-REGEX]
	local name
	for name in "$1" "$2"; do
		jq -c "select(.type == \"datagram\" and (.remote | test(\":${3:-7...}\$\"))) | del(.path)" \
			"$tmp/$name.out" >"$tmp/$name.said"
	done
	cmp "$tmp/$1.said" "$tmp/$2.said" && [ -s "$tmp/$1.said" ]
}

path=''
for to in 10.9.0.2 fd09::2; do
	[[ $to = *:* ]] && v=IPv6 || v=IPv4
	receive "socket, $v" $to --path socket
	check "socket, $v: all arrive" summary "socket, $v" ".datagrams == $datagrams"
	receive "native, $v" $to --dev vs --path xdp --xdp-mode native
	check "native, $v: all arrive, by xdp" summary "native, $v" ".by_path.xdp == $datagrams"
	check "native, $v: each as it was sent" same "socket, $v" "native, $v"

	# Longer than a frame: left to the kernel, which takes them apart.
	receive "generic, $v" $to --dev vs --path xdp --xdp-mode generic
	check "generic, $v: what cannot be one datagram is taken apart" same "socket, $v" \
		"generic, $v" '700[02]'
	check "generic, $v: warns" says 'several datagrams' "$tmp/generic, $v.err"
done

# ---------------------------------------------------------------- generic mode is never a guess

check "no native mode: exit status 3" exits 3 server "$millrace" recv --port 4000 --dev ws \
	--path xdp --seconds 1
check "no native mode: the kernel's reason" says 'queues'
receive "auto" 10.7.0.2 --dev ws --path auto --xdp-mode auto
check "auto: on sockets" says '^ready .*path=socket .*reason=".*queues' "$tmp/auto.err"
check "auto: all arrive" summary auto ".by_path.socket == $datagrams"
check "auto: nothing is attached" [ -z "$(xdp_program server ws)" ]

receive "forced" 10.7.0.2 --dev ws --path xdp --xdp-mode generic
check "forced: on xdp" says '^ready .*path=xdp .*mode=generic' "$tmp/forced.err"
check "forced: warns" says 'several datagrams' "$tmp/forced.err"
serve single server recv --port 4000 --dev ws --path xdp --xdp-mode generic --json
on client "$support/udpstream" --rounds 50 --size 1400 --rate 5000 4000 10.7.0.2 >/dev/null
sleep 0.1
end single
check "forced: single datagrams arrive by xdp" summary single '.by_path.xdp == 50'

# What is joined below it comes as one, whoever sent it.
on server ethtool -K bp rx-udp-gro-forwarding on
serve bridge server recv --port 4000 --dev br0 --path xdp --xdp-mode generic --json
check "a bridge over forwarding GRO: the feature is named" says 'rx-udp-gro-forwarding' \
	"$tmp/bridge.err"
check "a bridge over forwarding GRO: the port is named" says '\bbp\b' "$tmp/bridge.err"
end bridge
on server ethtool -K bp rx-udp-gro-forwarding off
serve bridge server recv --port 4000 --dev br0 --path xdp --xdp-mode generic --json
check "a bridge without: not named" [ "$(grep -c rx-udp-gro-forwarding "$tmp/bridge.err")" = 0 ]
end bridge

# ---------------------------------------------------------------- VLAN tags, and no VLAN device

if ! on client tc qdisc add dev vc clsact 2>"$tmp/tc"; then
	skip "VLAN tags" "no clsact here: $(tail -n 1 "$tmp/tc")"
	finish
	exit
fi

tag() { # vid0|vid5: what the client sends to port 4000 has it from now on
	on client tc filter replace dev vc egress prio 1 handle 1 bpf direct-action \
		obj "$support/vlantag.bpf.o" sec "$1"
}

# The kernel takes a tag of VID 0 for a priority, and drops what is of a VLAN that it does not know.
for path in socket xdp; do
	for place in beside in; do
		[ $place = beside ] && keep=on || keep=off
		on client ethtool -K vc txvlan "$keep" >/dev/null
		for tag in "vid0 20" "vid5 0"; do
			read -r vid expected <<<"$tag"
			serve tagged server recv --port 4000 --dev vs --path $path --json
			udp client --no-reply --timeout 1 10.9.0.2 4001 >/dev/null # ARP goes untagged
			tag "$vid"
			on client "$support/udpstream" --rounds 10 --rate 2000 4000 10.9.0.2 fd09::2 \
				>/dev/null
			sleep 0.1
			on client tc filter del dev vc egress
			end tagged
			check "$path: $vid $place the frame: $expected arrive" summary tagged \
				".datagrams == $expected"
			# Else the tag was not where it was meant to be.
			[ $place = beside ] || check "$path: $vid in the frame: not steered" \
				summary tagged ".by_path.socket == $expected"
		done
	done
done
finish
