#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What `make fuzz` runs once everything is built:
#
#	tests/fuzz/run.sh TARGET BUILD FUZZ-BUILD SECONDS
#
# Starts from tests/corpus/TARGET. New inputs are kept in FUZZ-BUILD/finds/TARGET and used the next
# time too; what crashes, hangs or breaks a rule goes to FUZZ-BUILD/crashes/TARGET.
set -euo pipefail

target=$1 build=$2 fuzz=$3 seconds=$4
finds=$fuzz/finds/$target
crashes=$fuzz/crashes/$target
seeds=$fuzz/seeds/$target

rm -rf "$seeds"
mkdir -p "$finds" "$crashes" "$seeds"
"$build/tests/fuzz/$target" -d "$seeds"

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
before=$(find "$crashes" -type f | wc -l)
failed=0
"$fuzz/tests/fuzz/$target" -max_total_time="$seconds" -timeout=5 -max_len=2048 -print_final_stats=1 \
	-verbosity=1 -artifact_prefix="$crashes/" "$finds" "$seeds" >"$fuzz/$target.log" 2>&1 ||
	failed=$?

grep -E '^stat::(number_of_executed_units|average_exec_per_sec|new_units_added)' "$fuzz/$target.log" ||
	true
echo "finds:   $(find "$finds" -type f | wc -l) in $finds"
echo "crashes: $(($(find "$crashes" -type f | wc -l) - before)) new in $crashes"
[ $failed = 0 ] || {
	grep -E 'not so:|^==[0-9]+==ERROR|runtime error:|SUMMARY' "$fuzz/$target.log" | head -n 5
	find "$crashes" -type f -newer "$seeds" -printf 'crash: %p\n'
}
cat <<END
To add one to the corpus (LABEL: any word; for wire the reason that is expected):
	{ echo LABEL; echo '# SPDX-License-Identifier: MIT'; od -An -v -tx1 FILE; } \\
		>tests/corpus/$target/NAME.hex
END
exit $failed
