#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Where the fast path cannot be had, the transport serves on sockets and says why in one line, and
# --path xdp exits with 3. Programs of others are named and left alone.
#
#	+------- client -------+            +---------- server ----------+
#	|  vc  10.9.0.1/24  ---|----veth----|--- vs  10.9.0.2/24         |
#	|      fd09::1/64      |            |        fd09::2/64          |
#	|                      |            |  br0 (bridge) 10.88.0.1/24 |
#	+----------------------+            +----------------------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host client server
wire client vc server vs
ipn server link add br0 type bridge
ipn server link set br0 up
address client vc 10.9.0.1/24 fd09::1/64
address server vs 10.9.0.2/24 fd09::2/64
address server br0 10.88.0.1/24

# Auto: sockets, the reason in the ready line, and working; xdp: exit status 3, and one line.
no_fast_path() { # NAME INTERFACE REASON [COMMAND-PREFIX…]
	start auto server "${@:4}" "$millrace" echo --port 4000 --dev "$2"
	await auto '^ready ' || true
	check "$1: serves on sockets" says '^ready port=4000 path=socket ' "$tmp/auto.err"
	check "$1: says why" says "$3" "$tmp/auto.err"
	check "$1: IPv4" udp client --size 0,18,4000 10.9.0.2 4000
	check "$1: IPv6" udp client --size 0,18,4000 fd09::2 4000
	end auto
	check "$1: --path xdp exits with 3" exits 3 server "${@:4}" "$millrace" echo --port 4000 \
		--dev "$2" --path xdp --seconds 1
	check "$1: --path xdp says why" says "$3"
	check "$1: --path xdp says it in one line" [ "$(wc -l <"$tmp/said")" = 1 ]
}

if [ "$XDP" = 0 ]; then
	no_fast_path "built without XDP" vs 'without'
	check "version says so" exits 0 server "$millrace" --version
	check "version says so: text" says 'without XDP'
	finish
	exit
fi

# Root's id without its powers, and somebody who never had them.
bare="setpriv --inh-caps=-all --ambient-caps=-all --bounding-set=-all"
# shellcheck disable=SC2086
no_fast_path "no capability" vs 'CAP_|privilege|capabilit' $bare
chmod 755 "$tmp"
cp "$millrace" "$tmp/millrace" # the build may be in a place closed to others
millrace=$tmp/millrace
no_fast_path "another user" vs 'CAP_|privilege|capabilit' \
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all --no-new-privs
# shellcheck disable=SC2086
check "no capability: --fwmark fails" exits 1 server $bare "$millrace" echo --port 4000 \
	--fwmark 7 --path socket --seconds 1
check "no capability: --fwmark says why" says 'CAP_NET_ADMIN|CAP_NET_RAW|mark'

no_fast_path "loopback" lo 'lo\b|loopback'
no_fast_path "bridge" br0 'bridge|native|driver|support'

if with_xdp; then
	for mode in xdpdrv xdpgeneric; do
		ipn server link set vs $mode obj "$support/pass.bpf.o" sec xdp
		id=$(xdp_program server vs)
		no_fast_path "foreign program ($mode)" vs 'foreign_pass'
		check "foreign program ($mode): still there" [ "$(xdp_program server vs)" = "$id" ]
		ipn server link set vs $mode off
	done

	# veth takes a program only with a receive queue for each that its peer sends by.
	ipn server link add many numtxqueues 4 numrxqueues 1 type veth \
		peer name few numtxqueues 1 numrxqueues 1
	ipn server link set few up
	ipn server link set many up
	no_fast_path "too few queues" few 'veth: XDP expects number of rx queues'
	ipn server link del few

	check "zero copy is not for veth" exits 3 server "$millrace" echo --port 4000 --dev vs \
		--zero-copy on --seconds 1
	check "zero copy is not for veth: says so" says 'zero.copy'

	serve generic server echo --port 4000 --dev vs --path xdp --xdp-mode generic
	check "generic mode when asked for" says 'mode=generic' "$tmp/generic.err"
	check "generic mode: works" udp client --flows 10 --size 0,18,1400,4000 10.9.0.2 4000
	end generic

	# After all that it works again.
	serve good server echo --port 4000 --dev vs --path xdp
	check "nothing of it stays" udp client --flows 10 10.9.0.2 4000
	end good
fi
finish
