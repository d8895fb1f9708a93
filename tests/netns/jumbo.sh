#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Frames larger than a buffer: an MTU of 9,000, datagrams that come in several frames, and what
# happens when the MTU changes while a transport serves.
#
#	+-------- client --------+            +-------- server --------+
#	|  vc  10.9.0.1/24    ---|----veth----|--- vs  10.9.0.2/24     |
#	|      fd09::1/64        |  MTU 9000  |        fd09::2/64      |
#	+------------------------+            +------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
ipn client link set vc mtu 9000
ipn server link set vs mtu 9000
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 fd09::2/64

# Around what fits into one frame (1,792 bytes), into two, … and into the MTU.
sizes=0,1,18,1472,1750,1751,3541,3542,3543,5334,8000,8951,8952
count=13

for path in "${paths[@]}"; do
	serve "$path" server echo --port 4000 --dev vs --path "$path" --json --quiet
	check "$path: IPv4" udp client --flows 20 --size $sizes,8971,8972 10.9.0.2 4000
	check "$path: IPv6" udp client --flows 20 --size $sizes fd09::2 4000
	# Fragments: by a socket on either path.
	check "$path: larger than the MTU" udp client --flows 5 --size 8973,20000 10.9.0.2 4000
	end "$path"
	check "$path: all of them" summary "$path" ".datagrams == $((20 * (2 * count + 2) + 10)) and
		.by_path.$path >= $((20 * (2 * count + 2)))"
done

if with_xdp; then
	path=''
	# Readers that hold many of them: 4,000 under way from 200 flows.
	serve many server recv --port 4000 --dev vs --path xdp --json --quiet
	udp client --flows 200 --size 8972,100,4000,1800 --count 5 --no-reply --timeout 1 \
		--window 200 10.9.0.2 4000 >/dev/null
	sleep 0.2
	end many
	check "many: none is lost" summary many '.datagrams == 4000 and .by_path.xdp == 4000 and
		(.reasons | (.xdp_no_frame // 0) + (.xdp_ring_full // 0) + (.xdp_malformed // 0)) == 0'

	# From an MTU that needs no such frames to one that does: queues are opened anew.
	ipn client link set vc mtu 1500
	ipn server link set vs mtu 1500
	serve grows server echo --port 4000 --dev vs --json --quiet
	check "grows: served fast" udp client --size 18,1472 10.9.0.2 4000
	ipn server link set vs mtu 9000
	ipn client link set vc mtu 9000
	check "grows: served meanwhile" udp client --size 8972 --count 5 10.9.0.2 4000
	check "grows: says so" await grows 'path=socket reason="the MTU has grown'
	check "grows: back" await grows 'path=xdp reason=' 10
	check "grows: and fast" udp client --size 8972 --count 50 10.9.0.2 4000
	end grows
	check "grows: by xdp" summary grows '.datagrams == 57 and .by_path.xdp >= 50'

	# A program without frags, in one piece up to the page: it is the MTU that is refused or not.
	ipn client link set vc mtu 3000
	ipn server link set vs mtu 3000
	ipn server link set vs xdpdrv obj "$B/bpf/steer.bpf.o" sec xdp
	serve plain server echo --port 4000 --dev vs --path xdp --json --quiet
	check "plain: linear frames" udp client --flows 20 --size 18,1472,1751,2900,2972 10.9.0.2 4000
	end plain
	check "plain: by xdp" summary plain '.by_path.xdp == 100'
	ipn server link set vs xdpdrv off
	ipn server link set vs xdpdrv obj "$B/bpf/steer.bpf.o" sec xdp.frags
	ipn client link set vc mtu 9000
	ipn server link set vs mtu 9000
	serve frags server echo --port 4000 --dev vs --path xdp --json --quiet
	check "frags: jumbo frames" udp client --flows 20 --size 18,1472,2972,8972 10.9.0.2 4000
	end frags
	check "frags: by xdp" summary frags '.by_path.xdp == 80'
	ipn server link set vs xdpdrv off
fi
finish
