#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the command line refuses: exit status 2, and a message that names the argument. Nothing is
# opened, so one host without wires will do:
#
#	+-- server --+
#	|     lo     |
#	+------------+
# shellcheck source=tests/netns/lib.sh
. "$(dirname "$0")/lib.sh"

host server

refuse() { # REGEX MILLRACE-ARGUMENT…
	check "refused: ${*:2}" exits 2 server "$millrace" "${@:2}"
	check "refused: ${*:2}: names it" says "$1"
	check "refused: ${*:2}: prints no results" [ -z "$(grep -E '^(ready|\{)' "$tmp/said")" ]
}

refuse 'usage' # no command at all
refuse 'frobnicate' frobnicate
for command in echo recv relay; do
	refuse '--port' $command
	to=()
	[ $command != relay ] || to=(--to 127.0.0.1:5000)
	for port in 65536 -1 x '' 1x 99999999999999999999 ' 1' +1; do
		refuse '--port' $command --port "$port" "${to[@]}"
	done
	refuse 'surplus' $command --port 4000 "${to[@]}" surplus
	refuse 'frob' $command --port 4000 "${to[@]}" --frob
done
refuse 'nosuch0' echo --port 4000 --dev nosuch0
refuse '--path' echo --port 4000 --path fast
refuse '--xdp-mode' echo --port 4000 --xdp-mode turbo
refuse '--zero-copy' echo --port 4000 --zero-copy maybe
refuse '--readers' echo --port 4000 --readers 0
refuse '--readers' echo --port 4000 --readers x
refuse '--readers' echo --port 4000 --readers 100000
refuse '--fwmark' echo --port 4000 --fwmark 4294967296
refuse '--fwmark' echo --port 4000 --fwmark 0x
refuse '--busy-poll' echo --port 4000 --busy-poll -5
refuse '--seconds' echo --port 4000 --seconds soon
refuse '--seconds' echo --port 4000 --seconds -1
refuse '--seconds' echo --port 4000 --seconds nan
refuse '--count' recv --port 4000 --count -1
refuse '--stats-interval' echo --port 4000 --stats-interval x
refuse '--to' relay --port 4000
for to in 127.0.0.1 127.0.0.1:0 127.0.0.1:65536 300.1.1.1:53 example.org:53 '[::1]' '::1:53x' \
	'[fe80::1]:53' '[fe80::1%nosuch0]:53' 0.0.0.0:53 '[::]:53' 224.0.0.1:53 255.255.255.255:53 ''; do
	refuse '--to' relay --port 4000 --to "$to"
done
refuse '--idle' relay --port 4000 --to 127.0.0.1:5000 --idle x
refuse '--max-sessions' relay --port 4000 --to 127.0.0.1:5000 --max-sessions x
refuse 'nosuch0' status nosuch0

for arguments in --help --version help 'help relay' 'echo --help' 'recv --help' 'relay --help' \
	'status --help'; do
	# shellcheck disable=SC2086
	check "millrace $arguments" exits 0 server "$millrace" $arguments
done
finish
