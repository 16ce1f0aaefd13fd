#!/usr/bin/env bash
# What a finished run learned, what it took, and where its files are.
# usage: summary.sh RUN_DIRECTORY
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 1 "$@"
run=$1

# number FILE KEY: the value of a top-level or nested key that is a number
number() { sed -n "s/.*\"$2\":[[:space:]]*\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

summary=$run/summary.json
evaluations=$run/evaluations.jsonl
# field LINE KEY: a number of one line of JSON, with at most four digits behind the point
field() { grep -o "\"$2\":[-0-9.e+]*" <<<"$1" | cut -d: -f2 | awk '{ print $1 == int($1) ? $1 : sprintf("%.4f", $1) }'; }
first=$(head -n 1 "$evaluations")
last=$(tail -n 1 "$evaluations")

echo
echo "learned: held-out embedding MSE $(field "$first" embedding_mse) at step $(field "$first" step)," \
  "$(field "$last" embedding_mse) at step $(field "$last" step);" \
  "mIoU $(field "$last" miou), embedding cosine $(field "$last" embedding_cosine) on $(field "$last" images) scenes"
echo "memory:  planned $(mib "$(number "$summary" planned_peak_bytes)")," \
  "measured $(mib "$(number "$summary" measured_peak_bytes)")," \
  "process $(mib "$(number "$summary" process_peak_rss_bytes)")"
echo "files:   $run/student.safetensors (timm names), $run/heads.safetensors, $run/metrics.jsonl, $run/summary.json"
