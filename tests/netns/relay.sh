#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The relay over both paths: whatever address of the gateway a client writes to, the reply comes
# from that one; sessions, limits, restarts of the upstream.
#
#	+----- client -----+          +------------- gateway -------------+          +---- upstream ----+
#	|  vc              |          |  gc                           gu  |          |  vu              |
#	|  10.9.0.1/24 ----|---veth---|--  10.9.0.2  10.9.0.3   10.8.0.2 -|---veth---|-- 10.8.0.1/24    |
#	|  fd09::1/64      |          |    fd09::2   fd09::3    fd08::2   |          |   fd08::1/64     |
#	+------------------+          +-----------------------------------+          +------------------+
#	                                 millrace relay --port 4000                     udpserver (echo)
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

gateway_between

relay() { # NAME TO [OPTION…]
	serve "$1" gateway relay --port 4000 --to "$2" --dev gc --path "$path" --json "${@:3}"
}

sockets() { # open UDP sockets of the gateway
	on gateway ss -Huan | wc -l
}

wait_for_sockets() { # N
	for _ in {1..60}; do
		[ "$(sockets)" != "$1" ] || return 0
		sleep 0.1
	done
	echo "$(sockets) sockets open, not $1:"
	on gateway ss -Huan
	return 1
}

for path in "${paths[@]}"; do
	for to in 10.8.0.1:5000 '[fd08::1]:5000'; do
		upstream upstream upstream 5000
		relay relay "$to"
		# Source ports are fixed, so that sessions can be counted.
		for at in 10.9.0.2 10.9.0.3 fd09::2 fd09::3; do
			[[ $at = *:* ]] && from=fd09::1 || from=10.9.0.1
			check "$path: $at to $to, any size" udp client --from "$from",7100 --flows 20 \
				--size 0,1,18,512,1232,1452 $at 4000
			check "$path: $at to $to, large" udp client --from "$from",7200 --flows 2 \
				--size 1473,4000,65507 $at 4000
		done
		# One client port, two addresses of the gateway: two sessions, each with its own
		# upstream port.
		check "$path: same client, first address" udp client --from 10.9.0.1,7000 10.9.0.2 4000
		check "$path: same client, second address" udp client --from 10.9.0.1,7000 10.9.0.3 4000
		check "$path: same client, first again" udp client --from 10.9.0.1,7000 10.9.0.2 4000
		check "$path: 300 clients" udp client --from 10.9.0.1,7300 --flows 300 --count 3 \
			10.9.0.3 4000
		end relay
		stop upstream
		sessions=$((4 * 22 + 2 + 300))
		datagrams=$((4 * (20 * 6 + 2 * 3) + 3 + 900))
		check "$path: one upstream port a session ($to)" \
			says "^datagrams=$datagrams peers=$sessions$" "$tmp/upstream.out"
		check "$path: counts all" summary relay ".datagrams == $datagrams and
			.upstream.datagrams == $datagrams and .sessions.opened == $sessions"
		if [ "$path" = xdp ]; then
			check "xdp: by the fast path" \
				summary relay ".by_path.xdp == $((datagrams - 4 * 2 * 3))"
		fi
	done

	# The upstream goes away and comes back; ICMP errors meanwhile do not end the session.
	upstream upstream upstream 5000
	relay restart 10.8.0.1:5000
	check "$path: before the restart" udp client --from 10.9.0.1,7001 10.9.0.2 4000
	before=$(sockets)
	stop upstream
	check "$path: upstream gone, no reply" udp client --from 10.9.0.1,7001 --no-reply \
		--timeout 100 --count 5 10.9.0.2 4000
	upstream upstream upstream 5000 --show
	check "$path: upstream back, replies" udp client --from 10.9.0.1,7001 --count 5 10.9.0.2 4000
	check "$path: still the one session" [ "$(sockets)" = "$before" ]
	end restart
	stop upstream
	check "$path: still the one upstream port" says "^datagrams=5 peers=1$" "$tmp/upstream.out"

	upstream upstream upstream 5000
	relay idle 10.8.0.1:5000 --idle 1
	before=$(sockets)
	check "$path: five sessions" udp client --flows 5 10.9.0.2 4000
	check "$path: a port for each" wait_for_sockets $((before + 5))
	check "$path: idle ones end" wait_for_sockets "$before"
	check "$path: and begin again" udp client --flows 5 10.9.0.2 4000
	end idle

	relay full 10.8.0.1:5000 --max-sessions 2
	check "$path: two sessions" udp client --from 10.9.0.1,7100 --flows 2 10.9.0.2 4000
	check "$path: the third is refused" udp client --from 10.9.0.1,7200 --no-reply --timeout 300 \
		10.9.0.2 4000
	check "$path: nobody was evicted" udp client --from 10.9.0.1,7100 --flows 2 10.9.0.2 4000
	end full
	check "$path: and counted" summary full '.sessions.refused == 1 and .sessions.opened == 2'

	relay readers 10.8.0.1:5000 --readers 2
	check "$path: two readers" udp client --flows 100 --count 3 --size 0,18,3000 fd09::3 4000
	end readers
	stop upstream

	# The client's address is gone when the reply comes back: it leaves from another one.
	for family in 4 6; do
		upstream slow upstream 5000 --delay 600
		relay stale 10.8.0.1:5000
		case $family in
		4) doomed=10.9.0.3/24 other=10.9.0.2 ;;
		6) doomed=fd09::3/64 other=fd09::2 ;;
		esac
		(
			sleep 0.3
			ipn gateway addr del "$doomed" dev gc
		) &
		remover=$!
		check "$path: IPv$family, stale source is forgotten" udp client --timeout 3000 \
			--reply-from "$other" "${doomed%/*}" 4000
		wait $remover
		end stale
		check "$path: IPv$family, and counted" summary stale '.reasons.tx_source_stale == 1'
		stop slow
		address gateway gc "$doomed"
	done
done

path=''
for self in 10.9.0.2 10.8.0.2 127.0.0.1 '[::1]' '[fd09::3]'; do
	check "relay to itself is refused: $self" exits 2 gateway "$millrace" relay --port 4000 \
		--to "$self:4000" --path socket --seconds 1
	check "relay to itself is refused: $self, and says so" says 'itself|loop'
done
finish
