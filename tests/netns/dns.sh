#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A real DNS server behind the relay, asked by real clients: dig takes no answer from an address
# other than the one it asked.
#
#	+----- client -----+          +------------- gateway -------------+          +---- upstream ----+
#	|  vc              |          |  gc                           gu  |          |  vu              |
#	|  10.9.0.1/24 ----|---veth---|--  10.9.0.2  10.9.0.3   10.8.0.2 -|---veth---|-- 10.8.0.1/24    |
#	|  fd09::1/64      |          |    fd09::2   fd09::3    fd08::2   |          |   fd08::1/64     |
#	|  dig             |          |    millrace relay --port 53       |          |   nsd            |
#	+------------------+          +-----------------------------------+          +------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

for tool in nsd dig; do
	command -v $tool >/dev/null || { echo "no $tool here, scripts/deps installs it" && exit 77; }
done

gateway_between

# An answer of some 3,000 bytes too: it comes back in fragments.
{
	echo '@ 300 SOA ns hostmaster 1 3600 600 86400 300'
	echo '@ 300 NS ns'
	echo 'ns 300 A 10.8.0.1'
	echo 'www 300 A 192.0.2.80'
	echo 'www 300 AAAA 2001:db8::80'
	for i in {1..15}; do
		printf 'big 300 TXT "%02d%0198d"\n' "$i" 0
	done
} >"$tmp/zone"
cat >"$tmp/nsd.conf" <<END
server:
	username: ""
	chroot: ""
	zonesdir: "$tmp"
	database: ""
	pidfile: "$tmp/nsd.pid"
	xfrdfile: ""
	zonelistfile: "$tmp/nsd.zones"
	xfrdir: "$tmp"
	cookie-secret-file: ""
	ip-address: 10.8.0.1
	ip-address: fd08::1
	ipv4-edns-size: 4096
	ipv6-edns-size: 4096
	server-count: 1
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: mill.test
	zonefile: zone
END
start nsd upstream nsd -d -c "$tmp/nsd.conf"

ask() { # ADDRESS NAME TYPE [OPTION…]
	on client dig +short +tries=1 +time=2 +notcp +ignore "@$1" "$2.mill.test" "$3" "${@:4}"
}

answer() { # EXPECTED ADDRESS NAME TYPE
	local got
	got=$(ask "${@:2}")
	[ "$got" = "$1" ] || { echo "got: $got" && return 1; }
}

big_answer() { # ADDRESS
	[ "$(ask "$1" big TXT +bufsize=4096 | grep -c '^"[01][0-9]0*"$')" = 15 ]
}

for _ in {1..50}; do
	on upstream dig +short +tries=1 +time=1 @10.8.0.1 www.mill.test A | grep -q 192 && break
	sleep 0.1
done

for path in "${paths[@]}"; do
	for to in 10.8.0.1:53 '[fd08::1]:53'; do
		serve relay gateway relay --port 53 --to "$to" --dev gc --path "$path" --json
		for at in 10.9.0.2 10.9.0.3 fd09::2 fd09::3; do
			check "$path: $at by $to, A" answer 192.0.2.80 $at www A
			check "$path: $at by $to, AAAA" answer 2001:db8::80 $at www AAAA
			check "$path: $at by $to, no such name" answer "" $at nix A
			check "$path: $at by $to, 3,000 bytes of TXT" big_answer $at
		done
		end relay
		check "$path: by $to, counts all" summary relay '.datagrams == 16'
		check "$path: by $to, all by $path" summary relay ".by_path[\"$path\"] == 16"
	done
done
finish
