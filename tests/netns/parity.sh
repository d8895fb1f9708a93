#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The kernel is the oracle, row by row: the same datagram with and without the steering program, and
# what `recv --json` says of it compared whole but for the path. What a port of a bridge or the device
# below a macvlan receives is the upper device's, so there the program is refused, with a reason.
#
#	+------- client -------+            +----------------- server -----------------+
#	|  vc  10.9.0.1/24 ----|----veth----|- vs     10.9.0.2/24 10.9.0.3/24          |
#	|      fd09::1/64      |            |         fd09::2/64  fd09::3/64  fe80::…  |
#	|                      |            |  lo     10.77.0.1/32  fd77::1/128        |
#	|                      |            |  other  10.88.0.1/24  fd88::1/64         |
#	|  mc  10.11.0.1/24 ---|----veth----|- ms below mv  10.11.0.2/24               |
#	|                      |            |           (macvlan, bridge)              |
#	|  bc  10.10.0.1/24 ---|----veth----|- bp in br0  10.10.0.2/24  fd10::2/64     |
#	|      fd10::1/64      |            |                                          |
#	|  pc  10.12.0.1/24 ---|----veth----|- ps below pt  10.12.0.2/24  fd12::2/64   |
#	|      fd12::1/64      |            |           (macvlan, passthru)            |
#	+----------------------+            +------------------------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

needs_xdp "there is one path only"

host client server
wire client vc server vs
wire client mc server ms
wire client bc server bp
wire client pc server ps
ipn server link add other type bridge
ipn server link add br0 type bridge
ipn server link set bp master br0
ipn server link add mv link ms type macvlan mode bridge
ipn server link add pt link ps type macvlan mode passthru
for dev in other br0 mv pt; do ipn server link set $dev up; done
# ARP for the macvlan's address is the macvlan's to answer.
on server sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore'
address client vc 10.9.0.1/24 fd09::1/64
address client mc 10.11.0.1/24
address client bc 10.10.0.1/24 fd10::1/64
address client pc 10.12.0.1/24 fd12::1/64
address server vs 10.9.0.2/24 10.9.0.3/24 fd09::2/64 fd09::3/64
address server lo 10.77.0.1/32 fd77::1/128
address server other 10.88.0.1/24 fd88::1/64
address server br0 10.10.0.2/24 fd10::2/64
address server mv 10.11.0.2/24
address server pt 10.12.0.2/24 fd12::2/64
for to in 10.77.0.1/32 10.88.0.0/24; do ipn client route add $to via 10.9.0.2; done
for to in fd77::1/128 fd88::/64; do ipn client route add $to via fd09::2; done
ipn client route add 255.255.255.255/32 dev vc
ipn client route add 224.0.0.0/4 dev vc
declare -A index=()
for dev in lo vs other br0 mv pt; do
	index[$dev]=$(ipn server -j link show dev $dev | jq '.[0].ifindex')
done
ll=$(link_local server vs) ll_client=$(link_local client vc)

# The table of what pktinfo says, measured on Linux 6.18. By xdp comes what can: broadcasts, what is
# written to another MAC (the macvlan's), and what never is on a wire do not.
#	name|sender|from|to|path with the program on vs|device|local address
rows=(
	"primary address|client|10.9.0.1|10.9.0.2|xdp|vs|10.9.0.2"
	"secondary address|client|10.9.0.1|10.9.0.3|xdp|vs|10.9.0.3"
	"of another interface|client|10.9.0.1|10.88.0.1|xdp|vs|10.88.0.1"
	"of lo|client|10.9.0.1|10.77.0.1|xdp|vs|10.77.0.1"
	"broadcast|client|10.9.0.1|10.9.0.255|socket|vs|10.9.0.2"
	"limited broadcast|client|10.9.0.1|255.255.255.255|socket|vs|10.9.0.2"
	"multicast|client|10.9.0.1|224.0.0.1|socket|vs|10.9.0.2"
	"IPv6|client|fd09::1|fd09::2|xdp|vs|fd09::2"
	"IPv6, second address|client|fd09::1|fd09::3|xdp|vs|fd09::3"
	"IPv6, of another interface|client|fd09::1|fd88::1|xdp|vs|fd88::1"
	"IPv6, of lo|client|fd09::1|fd77::1|xdp|vs|fd77::1"
	"IPv6, link-local|client|$ll_client%vc|$ll%vc|xdp|vs|$ll%vs"
	"IPv6, link-local, from a global one|client|fd09::1|$ll%vc|xdp|vs|$ll%vs"
	"IPv6, multicast|client|$ll_client%vc|ff02::1%vc|socket|vs|-"
	"own address|server|10.9.0.3|10.9.0.2|socket|vs|10.9.0.2"
	"own address of another interface|server|10.9.0.2|10.88.0.1|socket|other|10.88.0.1"
	"own address, IPv6|server|fd09::3|fd09::2|socket|vs|fd09::2"
	"own address, IPv6 link-local|server|$ll%vs|$ll%vs|socket|vs|$ll%vs"
	"loopback|server|127.0.0.1|127.0.0.1|socket|lo|127.0.0.1"
	"loopback, IPv6|server|::1|::1|socket|lo|::1"
	"by a port of a bridge|client|10.10.0.1|10.10.0.2|socket|br0|10.10.0.2"
	"by a port of a bridge, IPv6|client|fd10::1|fd10::2|socket|br0|fd10::2"
	"by a macvlan|client|10.11.0.1|10.11.0.2|socket|mv|10.11.0.2"
	"by a macvlan, passthru|client|10.12.0.1|10.12.0.2|socket|pt|10.12.0.2"
	"by a macvlan, passthru, IPv6|client|fd12::1|fd12::2|socket|pt|fd12::2"
)

# Source ports tell the rows apart: 10000, 10010, …
send_row() { # ROW: eight datagrams
	local sender from to tos
	IFS='|' read -r _ sender from to _ <<<"${rows[$1]}"
	for tos in 0 0xb9; do
		udp "$sender" --from "$from,$((10000 + 10 * $1))" --size 0,1,18,1400 --tos $tos \
			--no-reply --timeout 1 "$to" 4000 >/dev/null
	done
}

# Splits what was said: a line for each datagram of row, path, and the rest as it is.
split() { # NAME
	jq -r 'select(.type == "datagram") | "\((.remote | sub(".*:"; "") | tonumber) - 10000 |
		. / 10 | floor) \(.path) \(del(.path) | tojson)"' "$tmp/$1.out" >"$tmp/$1.rows"
}

said() { # NAME ROW
	grep "^$2 " "$tmp/$1.rows" | cut -d ' ' -f 3-
}

as_measured() { # NAME ROW DEV LOCAL
	local n
	n=$(said "$1" "$2" | grep -F "\"ifindex\":${index[$3]},\"dev\":\"$3\"," |
		grep -cF "\"local\":\"$4\"") || true
	[ "$n" = 8 ] && return
	echo "of 8, said with $3 (${index[$3]}) and $4: $n"
	said "$1" "$2" | cut -c -300
	return 1
}

by_path() { # NAME ROW PATH
	[ "$(grep "^$2 " "$tmp/$1.rows" | cut -d ' ' -f 2 | sort | uniq -c | xargs)" = "8 $3" ] && return
	grep "^$2 " "$tmp/$1.rows" | cut -c -300
	return 1
}

same() { # ONE OTHER ROW
	diff <(said "$1" "$3") <(said "$2" "$3") | cut -c -300
}

for mode in socket native generic; do
	case $mode in
	socket) serve $mode server recv --port 4000 --path socket --json --hex ;;
	*) serve $mode server recv --port 4000 --dev vs --dev ms --path xdp --xdp-mode $mode \
		--json --hex ;;
	esac
	for i in "${!rows[@]}"; do send_row "$i"; done
	sleep 0.2
	path=$mode
	end $mode
	split $mode
	for i in "${!rows[@]}"; do
		IFS='|' read -r name _ _ _ expected dev local <<<"${rows[i]}"
		check "$mode: $name: as measured" as_measured $mode "$i" "$dev" "$local"
		[ $mode != socket ] || continue
		check "$mode: $name: the same" same socket $mode "$i"
		check "$mode: $name: by $expected" by_path $mode "$i" "$expected"
	done
done

# ---------------------------------------------------------------- upper devices by themselves

refused() { # NAME DEV REASON
	check "$1: refused" exits 3 server "$millrace" recv --port 4000 --dev "$2" --path xdp --seconds 1
	check "$1: refused, with the reason" says "$3"
}

path=''
refused "a port of a bridge" bp 'bridge'
refused "a bridge" br0 'native'
refused "a macvlan" mv 'native'
refused "below a macvlan, passthru" ps 'macvlan|passthru|pt\b'
if ipn server link add iv link vs type ipvlan 2>/dev/null; then
	refused "below an ipvlan" vs 'ipvlan'
	ipn server link del iv
else
	skip "below an ipvlan: refused" "this kernel has none"
fi

# Forced, they are served with their own index.
for forced in br0:10.10.0.2:20 br0:fd10::2:21 mv:10.11.0.2:22; do
	dev=${forced%%:*} row=${forced##*:} to=${forced#*:} to=${to%:*}
	serve forced server recv --port 4000 --dev "$dev" --path xdp --xdp-mode generic --json --hex
	send_row "$row"
	sleep 0.1
	end forced
	split forced
	check "forced on $dev: $to: as by the socket" same socket forced "$row"
	check "forced on $dev: $to: by xdp" by_path forced "$row" xdp
done

# Taken away while it is served.
ipn server link del pt
serve taken server recv --port 4000 --dev ps --path auto --json --hex
check "without the macvlan it is served" says '^ready .*path=xdp' "$tmp/taken.err"
ipn server link add pt index "${index[pt]}" link ps type macvlan mode passthru
ipn server link set pt up
address server pt 10.12.0.2/24 fd12::2/64
check "a macvlan, passthru, comes: said" await taken '^path dev=ps path=socket' 2
for row in 23 24; do send_row $row; done
sleep 0.1
end taken
split taken
for row in 23 24; do
	check "a macvlan, passthru, comes: row $row: as before" same socket taken $row
done

# ---------------------------------------------------------------- without IPv6 on the way in

# The kernel drops there what is for an address of another interface; what comes in must be dropped too.
no_ip6() { # 1|0
	on server sh -c "echo $1 >/proc/sys/net/ipv6/conf/vs/disable_ipv6"
}

mac=$(ipn server -j link show dev vs | jq -r '.[0].address')
ipn client neigh replace fd09::2 lladdr "$mac" dev vc nud permanent
for mode in socket xdp; do
	no_ip6 1
	serve before server recv --port 4000 --dev vs --path $mode --json
	for row in 8 9 10; do send_row $row; done
	sleep 0.1
	end before
	check "$mode: IPv6 is off: nothing is delivered" summary before '.datagrams == 0'
	no_ip6 0
	address server vs fd09::2/64
	serve while server recv --port 4000 --dev vs --path $mode --json
	send_row 9
	no_ip6 1
	sleep 0.1
	for row in 8 9 10; do send_row $row; done
	sleep 0.1
	end while
	check "$mode: IPv6 goes off: nothing is delivered from then on" summary while '.datagrams == 8'
	no_ip6 0
done
finish
