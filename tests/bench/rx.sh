#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# How many small datagrams a second `millrace recv` takes, and what each costs it, by each path:
#
#	+------------ sender -----------+        +----------- receiver ----------+
#	| flood, core 0       va -------|--veth--|- vb     millrace recv, core 1 |
#	| (live frames,    10.9.0.1     |        |   10.9.0.2    --path socket   |
#	|  1024 flows)                  |        |               --path xdp      |
#	+-------------------------------+        +-------------------------------+
#
# The paths take turns (A B A B …), so that whatever else the machine does hits both. The kernel's
# receive work (NAPI, IP, UDP, or steering) runs on the sender's core; the CPU time counted is the
# receiving process's own, user and system. Both get the same frames from the same veth with GRO on
# (without it, and without an XDP program, a veth does not accept such frames).
#
#	tests/bench/rx.sh [--check] [--rounds N] [--seconds S] [--size BYTES]
#
# --check: exit 1 unless xdp takes at least 1.7 times as many a second, at no more than a quarter of
# the CPU per datagram (issue 2, "Done means").
set -euo pipefail
here=$(realpath "$(dirname "$0")")
B=$(realpath "${B:-$here/../../build}")
check='' rounds=3 seconds=2 size=18
while [ $# -gt 0 ]; do
	case $1 in
	--check) check=1 ;;
	--rounds) rounds=$2 && shift ;;
	--seconds) seconds=$2 && shift ;;
	--size) size=$2 && shift ;;
	*) sed -n '/^set/q; 3,$s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
	esac
	shift
done

tx=mr-$$-tx rx=mr-$$-rx
tmp=$(mktemp -d)
cleanup() {
	trap '' INT TERM
	# shellcheck disable=SC2046
	kill $(jobs -p) 2>/dev/null || true
	wait || true
	ip netns del $tx 2>/dev/null || true
	ip netns del $rx 2>/dev/null || true
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ "$(nproc)" -ge 2 ]; then
	core0="taskset -c 0" core1="taskset -c 1"
else
	core0='' core1=''
	echo "one core only: sender and receiver share it, the figures say little"
fi

if ! ip netns add $tx 2>"$tmp/err" || ! ip netns add $rx 2>"$tmp/err"; then
	echo "no network namespaces here: $(cat "$tmp/err")"
	exit 77
fi
ip -n $tx link add va type veth peer name vb netns $rx
ip -n $tx addr add 10.9.0.1/24 dev va
ip -n $rx addr add 10.9.0.2/24 dev vb
ip -n $tx link set lo up
ip -n $rx link set lo up
ip -n $tx link set va up
ip -n $rx link set vb up
nsenter --net=/run/netns/$rx ethtool -K vb gro on
mac=$(ip -n $rx -j link show dev vb | jq -r '.[0].address')

# One run: prints rate, CPU ns per datagram, share by the path.
measure() { # PATH
	local pid i
	rm -f "$tmp/log" # of an earlier run, which was ready
	# shellcheck disable=SC2086
	nsenter --net=/run/netns/$rx $core1 "$B/millrace" recv --port 4000 --dev vb --path "$1" \
		--quiet --json >"$tmp/out" 2>"$tmp/log" &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		! grep -qs ^ready "$tmp/log" || break
		sleep 0.05
	done
	# shellcheck disable=SC2086
	nsenter --net=/run/netns/$tx $core0 "$B/tests/bench/flood" --dev va --to-mac "$mac" \
		--src 10.9.0.1 --dst 10.9.0.2 --port 4000 --size "$size" --seconds "$seconds" \
		>"$tmp/sent"
	sleep 0.2
	kill -INT $pid
	if ! wait $pid; then
		cat "$tmp/log" >&2
		echo "millrace recv --path $1 failed" >&2
		return 1
	fi
	jq -r --slurpfile sent "$tmp/sent" --arg path "$1" '
		select(.type == "summary") |
		if .datagrams == 0 then error("nothing was received") else . end |
		"\(.datagrams / $sent[0].seconds) \(.cpu_seconds * 1e9 / .datagrams)" +
		" \(.by_path[$path] / .datagrams * 100) \($sent[0].rate)"' "$tmp/out"
}

echo "receiving $size-byte datagrams, 1024 flows, one veth; $rounds rounds of $seconds s each path"
for ((round = 1; round <= rounds; round++)); do
	for path in socket xdp; do
		measure $path >"$tmp/line"
		cat "$tmp/line" >>"$tmp/$path"
		awk -v p=$path -v r=$round '{ printf "  round %d  %-6s  %9.0f /s  %6.0f ns  " \
			"(%.1f %% by %s; sent %.0f /s)\n", r, p, $1, $2, $3, p, $4 }' "$tmp/line"
	done
done

column() { # PATH FIELD: min, median, max
	sort -g -k "$2,$2" "$tmp/$1" | awk -v f="$2" '{ v[NR] = $f }
		END { print v[1], (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2, v[NR] }'
}

{
	for path in socket xdp; do
		echo "$path $(column $path 1) $(column $path 2)"
	done
} | awk -v check="$check" '
	BEGIN { printf "\n%-8s%36s%36s\n%-8s%12s%12s%12s%12s%12s%12s\n", "", "datagrams a second",
		"CPU ns a datagram", "", "min", "median", "max", "min", "median", "max" }
	{ printf "%-8s%12.0f%12.0f%12.0f%12.0f%12.0f%12.0f\n", $1, $2, $3, $4, $5, $6, $7
	  rate[NR] = $3; cpu[NR] = $6 }
	END { r = rate[2] / rate[1]; c = cpu[2] / cpu[1]
		good = r >= 1.7 && c <= 0.25
		printf "%-8s%24.2f%36.3f   wanted: >= 1.7, <= 0.25: %s\n", "xdp/sock", r, c,
			good ? "yes" : "NO"
		exit check && !good }'
