#!/usr/bin/env bash
# Gives a fuzzing target (tests/fuzz/LAYER/NAME.c) COUNT inputs, or all that fit into SECONDS, under libFuzzer, ASan and
# UBSan, on all cores. It goes on from the corpus that it has found so far, build/fuzz/corpus/NAME; build/fuzz/NAME.tally has
# a line with the number of inputs of each run. The first corpus is tests/fuzz/corpus/NAME and what
# tests/fuzz/corpus/NAME.txt lists. Needs clang. An input that fails stays as build/fuzz/NAME-*.
# usage: fuzz.sh NAME COUNT|SECONDSs
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 2 2 "$@"
cd "$(dirname "$0")/.."

name=$1 amount=$2
source=$(echo tests/fuzz/*/"$name".c)
[ -f "$source" ] || { echo "fuzz.sh: there is no tests/fuzz/*/$name.c" >&2; exit 2; }
[[ $amount =~ ^[1-9][0-9]*s?$ ]] || { usage >&2; exit 2; }
command -v clang >/dev/null || { echo "fuzz.sh: clang is not installed" >&2; exit 1; }

scripts/build.sh fuzz "fuzz_$name"
corpus=build/fuzz/corpus/$name seeds=tests/fuzz/corpus/$name words=build/fuzz/$name.dict
mkdir -p "$corpus"
cp -n "$seeds"/* "$corpus"
[ ! -f "$seeds.txt" ] || while read -r file; do cp -n "$file" "$corpus/seed-$(basename "$file")"; done <"$seeds.txt"
{
  [ ! -f "$seeds.dict" ] || cat "$seeds.dict"
  if [ "$name" = yaml ]; then # the names of all keys, and the words that they take
    grep -ohE ' [a-z_]+(\.[a-z0-9_]+)*, ' src/config/keys.def | tr -d ' ,' | tr . '\n' | sort -u | sed 's/.*/"&:"/'
    grep -ohE '"[a-z_0-9]+"' src/config/enums.h | sort -u
  fi
} >"$words"

# Each core takes a part; all share the corpus.
jobs=$(nproc) limit=-max_total_time=${amount%s}
[ "$amount" != "${amount%s}" ] || limit=-runs=$(((amount + jobs - 1) / jobs))
longest=$(grep -om1 -- '-max_len=[0-9]*' "$source")
# Fresh memory is not filled, so that what is read before it is written differs from run to run.
export ASAN_OPTIONS=quarantine_size_mb=32:malloc_context_size=8:max_malloc_fill_size=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}
pids=()
rm -f "build/fuzz/$name".*.log
for ((job = 0; job < jobs; job++)); do
  "build/fuzz/tests/fuzz_$name" "$limit" "$longest" -dict="$words" -timeout=10 -rss_limit_mb=2048 -reload=1 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" "$corpus" >"build/fuzz/$name.$job.log" 2>&1 &
  pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
runs=$(cat "build/fuzz/$name".*.log | awk '/^stat::number_of_executed_units/ { n += $2 } END { print n + 0 }')
echo "$runs $(date -u +%FT%TZ)" >>"build/fuzz/$name.tally"
[ "$failed" = 0 ] || { tail -n 40 "build/fuzz/$name".*.log >&2; exit 1; }
total=$(awk '{ n += $1 } END { print n }' "build/fuzz/$name.tally")
echo "fuzz.sh: $name: $runs inputs, none failed, $total in all runs; $(find "$corpus" -type f | wc -l) in its corpus"
