#!/usr/bin/env bash
# Images a second on configs/quickstart.yaml with an effective batch of 8: one process with 2 threads, and 2 ranks of one
# thread each with 4 images, in turn. Medians of STEPS steps (40) behind the first 10, of each of ROUNDS rounds (3), and
# the ratio of the ranks to the one, as a Markdown table.
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
one() {
  "$dram" train "${settings[@]}" name="one$1" threads=2 train.batch_size=8 >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
}
two() {
  tests/comm/mpirun.sh 2 "$dram" train "${settings[@]}" name="two$1" threads=1 train.batch_size=4 >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
}

echo "| round | 1 process, 2 threads | 2 ranks, 1 thread each | ratio |"
echo "|---|---:|---:|---:|"
for ((round = 1; round <= rounds; round++)); do
  one "$round"
  two "$round"
  a=$(speed "one$round") b=$(speed "two$round")
  echo "| $round | $a | $b | $(calc %.3f "$b / $a") |"
done
