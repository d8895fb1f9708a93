#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What `status` says of an interface: program, claims, queues, and why each packet went where.
#
#	+------- client -------+            +-------- server --------+
#	|  vc  10.9.0.1/24  ---|----veth----|--- vs  10.9.0.2/24     |
#	|      fd09::1/64      |            |        fd09::2/64      |
#	+----------------------+            +------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 fd09::2/64

status() { # JQ-FILTER: true for what --json says of vs
	exits 0 server "$millrace" status --json vs
	jq -e "select(.device == \"vs\") | $1" "$tmp/said" || { cat "$tmp/said" && return 1; }
}

if [ "$XDP" = 0 ]; then
	check "built without XDP: nothing to show" exits 1 server "$millrace" status
	check "built without XDP: says so" says 'without XDP'
	finish
	exit
fi

check "no program" status '.type == "status" and .program.kind == "none" and .claims == [] and
	.queues == []'
check "every interface, when none is named" exits 0 server "$millrace" status
for device in lo vs; do
	check "every interface, when none is named: $device" says "^$device +none"
done
if ! with_xdp; then
	finish
	exit
fi

serve echo server echo --port 4000 --dev vs --path xdp
udp client --flows 10 --size 0,18 10.9.0.2 4000 >/dev/null
udp client --flows 10 --size 0,4000 fd09::2 4000 >/dev/null
udp client --no-reply --timeout 1 --count 5 10.9.0.2 4001 >/dev/null
me=${pid[echo]}
check "our program" status ".program.kind == \"millrace\" and (.program.name | startswith(\"mr_steer\")) and
	.program.id == $(xdp_program server vs) and .mode == \"native\""
check "the claim" status ".claims | length == 1 and .[0].port == 4000 and .[0].families == [4, 6] and
	.[0].pid == $me and (.[0].one_address | not)"
check "the queue" status ".queues == [{ \"queue\": 0, \"pid\": $me }]"
check "what was steered" status '.reasons.steered == 30'
check "the counters add up" status '
	(.reasons | with_entries(select(.key == "steered" or (.key | startswith("pass_")))) | add) == .seen
	and .unread == 0 and .reasons.steered == .reasons.xdp_delivered'
check "what was passed" status '.reasons.pass_protocol >= 30 and .reasons.pass_port == 5'
check "text" exits 0 server "$millrace" status vs
check "text: program" says '^vs +millrace'
check "text: claim" says '4000'
check "text: process" says "$me"

serve other server echo --port 4001 --dev vs
check "two transports, one claim" status '.claims | map(.port) | index(4000)'
check "the second says who holds the queue" says "path=socket .*(queue|pid|held|process).*" \
	"$tmp/other.err"
end other
check "the first one's claim stays" status '.claims | map(.port) == [4000]'

end echo
check "afterwards: no program" status '.program.kind == "none"'

ipn server link set vs xdpdrv obj "$support/pass.bpf.o" sec xdp
check "a foreign program is called that" status '.program.kind == "foreign" and
	.program.name == "foreign_pass"'
ipn server link set vs xdpdrv off

ipn server link set vs xdpdrv obj "$B/bpf/steer.bpf.o" sec xdp
check "our program without a transport" status '.program.kind == "millrace" and .claims == []'
upstream alone server 4000
check "our program, alone, passes everything" udp client --flows 10 --size 0,18,4000 10.9.0.2 4000
stop alone
id=$(xdp_program server vs)
serve adopts server echo --port 4000 --dev vs --path xdp
check "an operator's program is adopted" [ "$(xdp_program server vs)" = "$id" ]
check "an operator's program serves" udp client --flows 10 --size 0,18,4000 10.9.0.2 4000
end adopts
check "an operator's program stays" [ "$(xdp_program server vs)" = "$id" ]
check "an operator's program stays, without claims" status '.claims == [] and .queues == []'
finish
