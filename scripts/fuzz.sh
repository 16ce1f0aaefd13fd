#!/usr/bin/env bash
# Gives a fuzzing target (tests/fuzz/LAYER/NAME.c) COUNT inputs under libFuzzer, ASan and UBSan, on all cores. It goes on
# from the corpus that it has found so far, build/fuzz/corpus/NAME. The first one is tests/fuzz/corpus/NAME and what
# tests/fuzz/corpus/NAME.txt lists. Needs clang. An input that fails stays as build/fuzz/NAME-*.
# usage: fuzz.sh NAME COUNT
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 2 2 "$@"
cd "$(dirname "$0")/.."

name=$1 count=$2
source=$(echo tests/fuzz/*/"$name".c)
[ -f "$source" ] || { echo "fuzz.sh: there is no tests/fuzz/*/$name.c" >&2; exit 2; }
[[ $count =~ ^[0-9]+$ ]] || { usage >&2; exit 2; }
command -v clang >/dev/null || { echo "fuzz.sh: clang is not installed" >&2; exit 1; }

scripts/build.sh fuzz "fuzz_$name"
corpus=build/fuzz/corpus/$name seeds=tests/fuzz/corpus/$name
mkdir -p "$corpus"
cp -n "$seeds"/* "$corpus"
[ ! -f "$seeds.txt" ] || while read -r file; do cp -n "$file" "$corpus/seed-$(basename "$file")"; done <"$seeds.txt"

# Each core takes a part; all share the corpus.
jobs=$(nproc) share=$(((count + $(nproc) - 1) / $(nproc)))
pids=()
rm -f "build/fuzz/$name".*.log
for ((job = 0; job < jobs; job++)); do
  "build/fuzz/tests/fuzz_$name" -runs="$share" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -reload=1 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "$corpus" >"build/fuzz/$name.$job.log" 2>&1 &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
[ "$failed" = 0 ] || { tail -n 40 "build/fuzz/$name".*.log >&2; exit 1; }
runs=$(cat "build/fuzz/$name".*.log | awk '/^stat::number_of_executed_units/ { n += $2 } END { print n }')
echo "fuzz.sh: $name: $runs inputs, none failed; $(find "$corpus" -type f | wc -l) in its corpus"
