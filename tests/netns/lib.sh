# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# What the scripts of this directory have in common. Sourced by each, with
#	B	build directory (default: build)
#	XDP	0 for a build without the fast path: what is about it is left out
# They speak TAP: check prints "ok - NAME" or "not ok - NAME" and what the failed command said.
# Everything made here (namespaces, processes, files) is gone when the script ends, however it does.
set -euo pipefail

B=$(realpath "${B:-$(dirname "${BASH_SOURCE[0]}")/../../build}")
XDP=${XDP:-1}
export PATH=$PATH:/usr/sbin:/sbin
millrace=$B/millrace
support=$B/tests/support
tmp=$(mktemp -d)
hosts=() failures=0
declare -A pid=()
paths=(socket xdp)

cleanup() {
	local rc=$? name
	trap '' INT TERM
	for name in "${!pid[@]}"; do kill "${pid[$name]}" 2>/dev/null || true; done
	for name in "${!pid[@]}"; do
		for _ in {1..20}; do
			kill -0 "${pid[$name]}" 2>/dev/null || break
			sleep 0.1
		done
		kill -9 "${pid[$name]}" 2>/dev/null || true
	done
	for name in "${hosts[@]}"; do ip netns del "mr-$$-$name" 2>/dev/null || true; done
	if [ $rc != 0 ] && [ $rc != 77 ]; then
		for name in "$tmp"/*.err; do
			[ ! -s "$name" ] || { echo "# ${name##*/}:" && tail -n 20 "$name"; } >&2
		done
	fi
	rm -rf "$tmp"
	exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---------------------------------------------------------------- hosts and wires

# Makes hosts (namespaces), with loopback up, that use their IPv6 addresses at once and accept
# what comes in by another interface than the answer would leave by (a machine may hand down 2).
host() { # NAME…
	local name
	for name; do
		if ! ip netns add "mr-$$-$name" 2>"$tmp/netns"; then
			echo "no network namespaces here: $(cat "$tmp/netns")"
			exit 77
		fi
		hosts+=("$name")
		on "$name" sh -c 'cd /proc/sys/net/ipv6/conf &&
			echo 0 >all/accept_dad && echo 0 >default/accept_dad &&
			echo 0 >default/router_solicitations' 2>/dev/null || true
		on "$name" sh -c 'cd /proc/sys/net/ipv4/conf &&
			echo 0 >all/rp_filter && echo 0 >default/rp_filter && echo 0 >lo/rp_filter'
		ipn "$name" link set lo up
	done
}

# Not `ip netns exec`, which hides the mounts under /sys.
on() { # HOST COMMAND…
	nsenter --net="/run/netns/mr-$$-$1" "${@:2}"
}

ipn() { # HOST IP-ARGUMENT…
	ip -n "mr-$$-$1" "${@:2}"
}

wire() { # HOST INTERFACE HOST INTERFACE
	ipn "$1" link add "$2" type veth peer name "$4" netns "mr-$$-$3"
	ipn "$1" link set "$2" up
	ipn "$3" link set "$4" up
}

address() { # HOST INTERFACE ADDRESS/LENGTH…
	local a
	for a in "${@:3}"; do ipn "$1" addr add "$a" dev "$2"; done
}

# The gateway between two networks. It forwards only when told to.
#
#	client (vc)			gateway (gc, gu)		upstream (vu)
#	10.9.0.1/24  fd09::1/64	---	10.9.0.2/24  fd09::2/64
#					10.9.0.3/24  fd09::3/64
#					10.8.0.2/24  fd08::2/64	---	10.8.0.1/24  fd08::1/64
gateway_between() {
	host client gateway upstream
	wire client vc gateway gc
	wire gateway gu upstream vu
	address client vc 10.9.0.1/24 fd09::1/64
	address gateway gc 10.9.0.2/24 10.9.0.3/24 fd09::2/64 fd09::3/64
	address gateway gu 10.8.0.2/24 fd08::2/64
	address upstream vu 10.8.0.1/24 fd08::1/64
}

link_local() { # HOST INTERFACE
	ipn "$1" -j addr show dev "$2" |
		jq -r '.[0].addr_info[] | select(.scope == "link" and .family == "inet6").local'
}

# The id of the XDP program on an interface, nothing when there is none.
xdp_program() { # HOST INTERFACE
	ipn "$1" -j link show dev "$2" | jq -r '.[0].xdp.prog.id // empty'
}

# ---------------------------------------------------------------- processes

# Runs something in the background; its output is in $tmp/NAME.out and $tmp/NAME.err.
start() { # NAME HOST COMMAND…
	rm -f "$tmp/$1.out" "$tmp/$1.err" # of an earlier one, which may say "ready"
	nsenter --net="/run/netns/mr-$$-$2" "${@:3}" >"$tmp/$1.out" 2>"$tmp/$1.err" </dev/null &
	pid[$1]=$!
}

await() { # NAME REGEX [SECONDS]: until a line of its output matches
	local i
	for ((i = 0; i < ${3:-10} * 20; i++)); do
		! grep -qsE "$2" "$tmp/$1.err" "$tmp/$1.out" || return 0
		sleep 0.05
	done
	echo "$1 did not say /$2/ in ${3:-10} s; it said:" >&2
	cat "$tmp/$1.err" >&2
	return 1
}

serve() { # NAME HOST MILLRACE-ARGUMENT…: a millrace, ready
	start "$1" "$2" "$millrace" "${@:3}"
	await "$1" '^ready '
}

upstream() { # NAME HOST PORT [OPTION…]: an echo server, ready
	start "$1" "$2" "$support/udpserver" --port "$3" "${@:4}"
	await "$1" '^ready'
}

# Ends it (SIGTERM unless told otherwise) and leaves its exit status in $status.
stop() { # NAME [SIGNAL]
	local i
	status=0
	kill "-${2:-TERM}" "${pid[$1]}" 2>/dev/null || true
	for ((i = 0; i < 100; i++)); do
		kill -0 "${pid[$1]}" 2>/dev/null || break
		sleep 0.05
	done
	if kill -9 "${pid[$1]}" 2>/dev/null; then
		echo "# $1 did not end within 5 s" >&2
	fi
	wait "${pid[$1]}" 2>/dev/null || status=$?
	unset "pid[$1]"
}

# stop, which has to be an exit with status 0.
end() { # NAME [SIGNAL]
	stop "$@"
	check "${path:+$path: }$1 ends cleanly" [ $status = 0 ]
}

udp() { # HOST UDPCHECK-ARGUMENT…
	on "$1" "$support/udpcheck" "${@:2}"
}

# The last line of a --json command, or one field of it.
summary() { # NAME [JQ-FILTER]
	jq -es 'map(select(.type == "summary")) | last | '"${2:-.}" "$tmp/$1.out"
}

# ---------------------------------------------------------------- checks

# Runs a command or function, which fails at its first failing line.
check() { # NAME COMMAND…
	local rc
	set +e
	(
		set -e
		"${@:2}"
	) >"$tmp/check" 2>&1
	rc=$?
	set -e
	if [ $rc = 0 ]; then
		echo "ok - $1"
		return
	fi
	failures=$((failures + 1))
	echo "not ok - $1"
	sed 's/^/# /' "$tmp/check"
	[ "$(type -t "$2")" = function ] || echo "# exit status $rc of: ${*:2}"
}

skip() { # NAME REASON
	echo "ok - $1 # SKIP $2"
}

# For use in checks: runs it, wants this exit status, keeps what it says in $tmp/said.
exits() { # STATUS HOST COMMAND…
	local rc=0
	on "$2" timeout --foreground 20 "${@:3}" >"$tmp/said" 2>&1 </dev/null || rc=$?
	[ $rc = "$1" ] && return
	echo "exit status $rc, not $1, of: ${*:3}"
	cat "$tmp/said"
	return 1
}

says() { # REGEX [FILE]
	grep -qiE -- "$1" "${2:-$tmp/said}" && return
	echo "nothing like /$1/ in:"
	cat "${2:-$tmp/said}"
	return 1
}

finish() {
	[ $failures = 0 ]
}

# ---------------------------------------------------------------- is there XDP to be had?

# Asked of the kernel with a program that is not ours, so that no fault of ours looks like a no.
probe_xdp() {
	if [ "$XDP" = 0 ]; then
		paths=(socket)
		return
	fi
	host probe
	ipn probe link add va type veth peer name vb
	if ! ipn probe link set va xdpdrv obj "$support/pass.bpf.o" sec xdp 2>"$tmp/xdp"; then
		paths=(socket)
		skip "the fast path" "no XDP here: $(tail -n 1 "$tmp/xdp")"
	fi
}
probe_xdp

with_xdp() {
	[ ${#paths[@]} = 2 ]
}

# Skips the whole script where there is but one path.
needs_xdp() { # WHY
	with_xdp && return
	echo "built without XDP, or the kernel has none: $1"
	exit 77
}
