#!/usr/bin/env bash
# How far runs part by rounding alone: one recipe (bench/rounding.yaml), 50 steps of it in bf16 with each of the CPU's
# instruction sets that processor and build have; with --cuda on the GPU too (DRAM=build/sim/dram: the simulated one).
# It prints a table; with --write that goes into docs/cuda.md.
# usage: rounding.sh [--cuda] [--write]
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
arguments 0 2 "$@"
cd "$(dirname "$0")/.."
write= cuda=
for word; do
  case $word in
    --write) write=1 ;;
    --cuda) cuda=1 ;;
    *) usage >&2; exit 2 ;;
  esac
done
find_dram
bench_scenes

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# run NAME KEY=VALUE...: its metrics are $out/NAME/metrics.jsonl
run() {
  "$dram" train bench/rounding.yaml name="$1" run.dir="$out" train.steps=50 "${@:2}" >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
}
bf16=(train.precision=bf16 sam_distill.teacher.precision=bf16)

run fp32 device=cpu sam_distill.teacher.precision=fp32
ways=()
for isa in base v3 v4 v4bf16 amx; do
  [ "$(DRAM_CPU_ISA=$isa "$dram" doctor | sed -n 's/^kernels *//p')" = "$isa" ] || continue # the processor has no such set
  DRAM_CPU_ISA=$isa run "$isa" device=cpu "${bf16[@]}"
  ways+=("$isa")
done
if [ "$cuda" ]; then
  run GPU device=cuda "${bf16[@]}"
  ways+=(GPU)
fi

losses() { jq -r '[.loss, .loss_task, .loss_sam, .loss_resolution] | @tsv' "$out/$1/metrics.jsonl"; }

# compare A B: for each loss, the largest difference of a step in epsilons of bf16 (2^-7, relative), and the root of the mean square
compare() {
  paste <(losses "$1") <(losses "$2") | awk '
    {
      n = NF / 2
      for (k = 1; k <= n; k++) {
        d = ($k - $(n + k)) / $k
        if (d < 0) d = -d
        if (d > most[k]) most[k] = d
        sum[k] += d * d
      }
    }
    END { for (k = 1; k <= n; k++) printf "%.2f %.3e\n", most[k] * 128, sqrt(sum[k] / NR) }'
}

# row A B: the worst loss of each column of compare, the second over what is between A and fp32
row() {
  compare "$1" fp32 >"$out/types"
  compare "$1" "$2" | paste -d ' ' - "$out/types" | awk -v a="$1" -v b="$2" '
    { if ($1 > most) most = $1; if ($2 / $4 > ratio) ratio = $2 / $4 }
    END { printf "| %s, %s | %.2f | %.2f |\n", a, b, most, ratio }'
}

{
  echo "| two ways to sum in bf16 | largest difference of a step, epsilons | root mean square, over that from fp32 |"
  echo "|---|---:|---:|"
  for ((i = 0; i < ${#ways[@]}; i++)); do
    for ((j = i + 1; j < ${#ways[@]}; j++)); do row "${ways[i]}" "${ways[j]}"; done
  done
} >"$out/table"
if [ "$write" ]; then write_section docs/cuda.md rounding <"$out/table"; else cat "$out/table"; fi
