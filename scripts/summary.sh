#!/usr/bin/env bash
# What a finished run learned, what it took, and where its files are.
# usage: summary.sh RUN_DIRECTORY
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 1 "$@"
run=$1

# at FIRST_OR_LAST KEY: a number of that evaluation, with at most four digits behind the point
at() { "$1" -n 1 "$run/evaluations.jsonl" | value - "$2" | awk '{ print $1 == int($1) ? $1 : sprintf("%.4f", $1) }'; }
took() { echo "$(mib "$(value "$run/summary.json" "$1")") MiB"; }

echo
echo "learned: held-out embedding MSE $(at head embedding_mse) at step $(at head step), $(at tail embedding_mse) at step $(at tail step);" \
  "mIoU $(at tail miou), embedding cosine $(at tail embedding_cosine) on $(at tail images) scenes"
echo "memory:  planned $(took planned_peak_bytes), measured $(took measured_peak_bytes), process $(took process_peak_rss_bytes)"
echo "files:   $run/student.safetensors (timm names), $run/heads.safetensors, $run/metrics.jsonl, $run/summary.json"
