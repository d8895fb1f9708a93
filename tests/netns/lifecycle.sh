#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Starting, ending, sharing: what is left behind, who gets the port, addresses that come and go.
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

echo_fails() { # STATUS OPTION…
	exits "$1" server "$millrace" echo --seconds 1 --dev vs "${@:2}"
}

gone() { # no XDP program on vs, within two seconds
	for _ in {1..40}; do
		[ -n "$(xdp_program server vs)" ] || return 0
		sleep 0.05
	done
	return 1
}

path_line() { # NAME: the path shown last of a datagram received
	jq -rs 'map(select(.type == "datagram")) | last | .path' "$tmp/$1.out"
}

for path in "${paths[@]}"; do
	serve first server echo --port 4000 --dev vs --path "$path"
	check "$path: ready line" says "^ready port=4000 path=$path" "$tmp/first.err"
	check "$path: port in use" echo_fails 1 --port 4000 --path "$path"
	check "$path: port in use, says so" says 'in use|another process'
	check "$path: port in use, and 4000 is named" says '4000'
	check "$path: port in use, two readers" echo_fails 1 --port 4000 --readers 2 --path socket
	check "$path: the first goes on" udp client 10.9.0.2 4000
	end first INT
	check "$path: summary on SIGINT" says 'datagrams +1$' "$tmp/first.err"

	serve sharing server echo --port 4000 --dev vs --path "$path" --readers 2
	check "$path: a shared port is not for others" echo_fails 1 --port 4000 --readers 2 --path socket
	end sharing

	upstream taken server 4000
	check "$path: port in use by somebody else" echo_fails 1 --port 4000 --path "$path"
	check "$path: port in use by somebody else, says so" says 'in use|another process'
	check "$path: nothing left attached" gone
	stop taken

	serve any server echo --port 0 --dev vs --path "$path"
	port=$(sed -n 's/^ready port=\([0-9]*\) .*/\1/p' "$tmp/any.err")
	check "$path: any port, IPv4" udp client 10.9.0.2 "$port"
	check "$path: any port, IPv6" udp client fd09::2 "$port"
	end any

	serve killed server echo --port 4000 --dev vs --path "$path"
	[ "$path" = socket ] || check "xdp: attached" [ -n "$(xdp_program server vs)" ]
	kill -9 "${pid[killed]}"
	wait "${pid[killed]}" 2>/dev/null || true
	unset 'pid[killed]'
	check "$path: kill -9 leaves no program" gone
	serve again server echo --port 4000 --dev vs --path "$path"
	check "$path: and the port free" udp client --flows 10 10.9.0.2 4000
	end again

	# Other traffic of the interface is nobody's business.
	serve echo server echo --port 4000 --dev vs --path "$path"
	upstream other server 4001
	check "$path: other ports are left alone" udp client --flows 20 --size 0,18,4000 fd09::2 4001
	stop other
	end echo

	serve addresses server recv --port 4000 --dev vs --path "$path" --json
	for new in 10.9.0.77/24 fd09::77/64; do
		address server vs $new
		sleep 0.2
		udp client --no-reply --timeout 200 ${new%/*} 4000 >/dev/null
		check "$path: $new, just added, is served" [ "$(path_line addresses)" = "$path" ]
		check "$path: $new, as such" says "\"local\":\"${new%/*}\"" "$tmp/addresses.out"
	done
	mac=$(ipn server -j link show dev vs | jq -r '.[0].address')
	for old in 10.9.0.77/24 fd09::77/64; do
		ipn client neigh replace ${old%/*} lladdr "$mac" dev vc
		ipn server addr del $old dev vs
		sleep 0.2
		before=$(jq -c . "$tmp/addresses.out" | wc -l)
		udp client --no-reply --timeout 200 ${old%/*} 4000 >/dev/null
		check "$path: $old, removed, is not" [ "$(jq -c . "$tmp/addresses.out" | wc -l)" = "$before" ]
	done
	udp client --no-reply --timeout 200 10.9.0.2 4000 >/dev/null
	check "$path: the others still are" [ "$(path_line addresses)" = "$path" ]
	end addresses
done
path=''

if with_xdp; then
	serve holder server echo --port 4000 --dev vs --path xdp
	serve second server echo --port 4001 --dev vs
	check "the second works" udp client --flows 10 --size 0,18,4000 10.9.0.2 4001
	check "the first works as before" udp client --flows 10 --size 0,18,4000 10.9.0.2 4000
	check "--path xdp for a queue that is held" echo_fails 3 --port 4002 --path xdp
	end second
	check "the first survives the second" udp client --flows 10 --size 0,18,4000 10.9.0.2 4000
	check "the first still has its program" [ -n "$(xdp_program server vs)" ]
	end holder
	check "and takes it away" gone
fi
finish
