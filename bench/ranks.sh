#!/usr/bin/env bash
# Images a second on configs/quickstart.yaml with an effective batch of 8: one process with 2 threads, and 2 ranks of one
# thread each with 4 images, in turn. Medians of STEPS steps (40) behind the first 10, of each of ROUNDS rounds (3), and
# the ratio of the ranks to the one, as a Markdown table. Then 1, 2 and 4 ranks of one thread, which share the 8 images of a
# step: the memory of each, planned and as the process had it, and the speed of all. More ranks than cores say nothing of speed.
# usage: ranks.sh [ROUNDS [STEPS]]
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
arguments 0 2 "$@"
rounds=${1:-3} steps=${2:-40}
[[ $rounds =~ ^[1-9][0-9]*$ && $steps =~ ^[1-9][0-9]*$ ]] || { usage >&2; exit 2; }
cd "$(dirname "$0")/.."
find_dram
scenes train 800 1
command -v mpirun >/dev/null || { echo "ranks.sh: mpirun is not here: scripts/deps.sh --tests" >&2; exit 1; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# speed NAME: the median of its last steps
speed() {
  column "$out/$1/metrics.jsonl" images_per_second | tail -n "$steps" | sort -g | awk '{ v[NR] = $1 } END { printf "%.2f", v[int((NR + 1) / 2)] }'
}
settings=(configs/quickstart.yaml "run.dir=$out" "train.steps=$((steps + 10))" data.val.images=none data.val.labels=none
  sam_distill.fidelity_images=0)
# ranks NAME N THREADS: a run of N ranks
ranks() {
  local launcher=()
  [ "$2" = 1 ] || launcher=(tests/comm/mpirun.sh "$2")
  "${launcher[@]}" "$dram" train "${settings[@]}" name="$1" threads="$3" train.batch_size=$((8 / $2)) >"$out/log" 2>&1 ||
    { cat "$out/log" >&2; exit 1; }
}

echo "| round | 1 process, 2 threads | 2 ranks, 1 thread each | ratio |"
echo "|---|---:|---:|---:|"
for ((round = 1; round <= rounds; round++)); do
  ranks "one$round" 1 2
  ranks "two$round" 2 1
  a=$(speed "one$round") b=$(speed "two$round")
  echo "| $round | $a | $b | $(calc %.3f "$b / $a") |"
done

echo
echo "| ranks | batch of each | planned, MiB | measured, MiB | process, MiB | images/s |"
echo "|---:|---:|---:|---:|---:|---:|"
for n in 1 2 4; do
  ranks "ranks$n" "$n" 1
  summary=$out/ranks$n/summary.json
  echo "| $n | $((8 / n)) | $(mib "$(value "$summary" planned_peak_bytes)") | $(mib "$(value "$summary" measured_peak_bytes)") | $(mib "$(value "$summary" process_peak_rss_bytes)") | $(speed "ranks$n") |"
done
