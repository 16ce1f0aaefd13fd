#!/usr/bin/env bash
# What a finished run learned, what it took, and where its files are: summary.sh RUN_DIRECTORY
set -euo pipefail
run=$1

# number FILE KEY: the value of a top-level or nested key that is a number
number() { sed -n "s/.*\"$2\":[[:space:]]*\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

echo
echo "learned: mIoU $(number "$run/summary.json" miou), embedding cosine $(number "$run/summary.json" embedding_cosine)" \
  "on $(number "$run/summary.json" images) held-out scenes, $(number "$run/summary.json" steps) steps"
echo "memory:  planned $(mib "$(number "$run/summary.json" planned_peak_bytes)")," \
  "measured $(mib "$(number "$run/summary.json" measured_peak_bytes)")," \
  "process $(mib "$(number "$run/summary.json" process_peak_rss_bytes)")"
echo "files:   $run/student.safetensors (timm names), $run/heads.safetensors, $run/metrics.jsonl, $run/summary.json"
