#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Plants bugs, one at a time, in a copy of the tree, and shows that the tests turn red for each. A
# bug that stays green, or cannot be planted any more, fails. The same tests are green without any.
#
#	tests/planted.sh [NAME]…	(all of them take about ten minutes)
set -euo pipefail
cd "$(dirname "$0")/.."

# name ~ file ~ what is changed (sed) ~ the tests that have to see it, every one
bugs() {
	cat <<-'E'
		bound-dropped~include/shared/wire.h~s/if ((const void \*)(ip + 1) > end)/if (0)/~asan/fuzz/wire asan/steer/test_corpus
		fields-swapped~user/lib/xdp/frame.c~s/e->remote.v4.s_addr = ip->from;/e->remote.v4.s_addr = ip->to;/~differential netns/parity
		fragments-taken~include/shared/wire.h~s/WIRE_16(0x3fff)/WIRE_16(0x0000)/~steer/test_corpus differential
		sum-skipped~user/lib/xdp/frame.c~s/== 0xffff ? REASON_XDP_DELIVERED/!= 0x10000 ? REASON_XDP_DELIVERED/~differential fuzz/wire
		frame-leaked~user/lib/xdp/queue.c~/fate == REASON_XDP_BAD_SUM ?/,/umem_give/s/umem_give(q->umem, number);//~unit/test_xdp_ledger
		ifindex-wrong~user/lib/xdp/frame.c~s/e->ifindex = origin->ifindex;/e->ifindex = origin->ifindex + 1;/~netns/parity differential
		padding-kept~user/lib/xdp/frame.c~s/d->len = p.udp_len - WIRE_UDP_LEN;/d->len = len - (uint32_t)((uint8_t *)(udp + 1) - (uint8_t *)frame);/~differential
		any-mac~bpf/steer.bpf.c~s/mac_differs(data, config->mac)/mac_differs(data, data)/~steer/test_corpus netns/forward
		any-address~bpf/steer.bpf.c~s/if (!row || !\*row || (claim->one/if (row \&\& (claim->one/~steer/test_corpus netns/forward differential
		address-kept~user/lib/follow.c~s/whose = MAPS_NOBODYS;/return;/~netns/locals
		stale-source~bpf/steer.bpf.c~s/ip->tos, config->generation)/ip->tos, (__u32)*accepted)/~steer/test_steer netns/rpfilter
		hidden-tag~bpf/steer.bpf.c~s/!bpf_xdp_metadata_rx_vlan_tag(ctx, &protocol, &tci)/bpf_xdp_metadata_rx_vlan_tag(ctx, \&protocol, \&tci) == 1/~netns/offloads steer/test_live
	E
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
git ls-files -z -co --exclude-standard | xargs -0 cp --parents -t "$tmp" 2>/dev/null
cd "$tmp"
build=$tmp/build missed=0

build() { # TEST…
	make -s -k -j2 B="$build" all tests || return
	[[ " $* " != *" asan/"* ]] ||
		make -s -k -j2 B="$build-asan" SAN=1 CFLAGS="-O1 -g" all tests
}

# Runs one test as scripts/check does; its exit status.
judge() { # TEST
	case $1 in
	netns/*) B=$build XDP=1 timeout 120 "tests/$1.sh" ;;
	differential) timeout 120 "$build/tests/differential/differential" -n 50000 ;;
	asan/*) timeout 120 "$build-asan/tests/${1#asan/}" ;;
	*) timeout 120 "$build/tests/$1" ;;
	esac
}

# One line: which tests are red, and which are not.
run() { # TEST…
	local test rc red=() green=()
	if ! build "$@" >"$tmp/log" 2>&1; then
		echo "does not build: $(grep -m 1 error: "$tmp/log")"
		return
	fi
	for test; do
		rc=0
		judge "$test" >"$tmp/log" 2>&1 </dev/null || rc=$?
		case $rc in
		0) green+=("$test") ;;
		77) green+=("$test (skipped)") ;;
		*) red+=("$test") ;;
		esac
	done
	echo "${red[*]:+red: ${red[*]}}${green[*]:+ GREEN: ${green[*]}}"
}

while IFS='~' read -r name file change tests; do
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
	cp "$file" "$tmp/good"
	sed -i "$change" "$file"
	if cmp -s "$file" "$tmp/good"; then
		verdict="NOT PLANTED: the line is not there any more"
	else
		# shellcheck disable=SC2086
		verdict=$(run $tests)
	fi
	printf '%-16s %-28s %s\n' "$name" "$file" "$verdict"
	[[ $verdict = red:* && $verdict != *GREEN:* ]] || missed=$((missed + 1))
	cp "$tmp/good" "$file"
done < <(bugs)

if [ $# = 0 ]; then
	mapfile -t all < <(bugs | cut -d'~' -f4 | tr ' ' '\n' | sort -u)
	verdict=$(run "${all[@]}")
	printf '%-45s %s\n' "none" "$verdict"
	[[ $verdict != *red:* ]] || missed=$((missed + 1))
fi
[ $missed = 0 ]
