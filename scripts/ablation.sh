#!/usr/bin/env bash
# What each lever is worth: one recipe (bench/ablation.yaml), levers off to on one by one, every row run and measured.
# It prints the table; --write puts it into docs/tiers.md. STEPS: of each row (5).
# usage: ablation.sh [--write] [STEPS]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 2 "$@"
cd "$(dirname "$0")/.."
write=
[ "${1:-}" = --write ] && { write=1; shift; }
steps=${1:-5}
find_dram
bench_scenes

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
pulled=()
budget=none
rows=0

# row LABEL EFFECT KEY=VALUE...: the recipe with these settings and those of all rows above; the first is the base of the
# comparisons
row() {
  local label=$1 effect=$2 seconds processor same
  pulled+=("${@:3}")
  # From recompute on, a row gets three quarters of what it takes without recompute, or its floor if that is more.
  if [ "$budget" != none ]; then
    "$dram" plan bench/ablation.yaml "${pulled[@]}" --json >"$out/plan" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
    budget=$(calc '%.0f' "int($(value "$out/plan" arena_bytes) * 0.75)")
    [ "$budget" -ge "$(value "$out/plan" floor_bytes)" ] || budget=$(value "$out/plan" floor_bytes)
  fi
  local run=("$dram" train bench/ablation.yaml "${pulled[@]}" "memory.budget=$budget" "train.steps=$steps"
    "run.dir=$out" "name=row$rows" --json)
  "${run[@]}" >"$out/summary" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
  # Median of the steps after the first.
  seconds=$(column "$out/row$rows/metrics.jsonl" images_per_second | tail -n +2 | sort -g |
    awk '{ v[NR] = $1 } END { print 4 / v[int((NR + 1) / 2)] }')
  # All threads, the loader's too: what others do on the machine hardly shows in it.
  processor=$(calc %.6g "$(value "$out/summary" cpu_utilization) * $(nproc) * 4 / $(value "$out/summary" images_per_second)")
  if [ $rows = 0 ]; then
    same="-"
    first=$processor
  else
    same=no
    cmp -s "$out/row0/student.safetensors" "$out/row$rows/student.safetensors" && same=yes
  fi
  printf '| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n' "$label" "$effect" \
    "$(mib "$(value "$out/summary" planned_peak_bytes)")" "$(mib "$(value "$out/summary" measured_peak_bytes)")" \
    "$(mib "$(value "$out/summary" process_peak_rss_bytes)" %.0f)" "$(calc %.2f "$seconds")" \
    "$(calc %.2f "$processor")" "$(calc %.2f "$processor / $first")" "$(calc %.7f "$(value "$out/summary" final_loss)")" "$same"
  [ $rows = 0 ] || rm -r "$out/row$rows"
  rows=$((rows + 1))
}

table() {
  echo "| pulled, on top of all above | effect | planned MiB | measured MiB | process MiB | s a step | processor s a step | ratio | loss of step $steps | same bits |"
  echo "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"
  row "nothing: every tensor has its own bytes" - memory.in_place=false memory.eager_free=false memory.share_teacher=false \
    memory.recompute_norms=false memory.checkpoint=none optim.fused=off
  row "\`memory.eager_free\`" exact memory.eager_free=true
  row "\`memory.in_place\`" exact memory.in_place=true
  row "\`memory.share_teacher\`" exact memory.share_teacher=true
  row "\`memory.recompute_norms\`" exact memory.recompute_norms=true
  row "\`optim.fused\`" exact optim.fused=auto
  budget=wanted
  row "\`memory.checkpoint: optimal\` at 3/4" exact memory.checkpoint=optimal
  row "\`teacher.placement: stream\`" exact sam_distill.teacher.placement=stream
  row "\`teacher.group: 1\`" rounding sam_distill.teacher.group=1
  row "\`precision: bf16\`, both" quality train.precision=bf16 sam_distill.teacher.precision=bf16
  row "\`train.accumulate: 2\`" quality train.accumulate=2
  row "\`optim.state: int8\`" quality optim.state=int8
}

if [ -n "$write" ]; then
  table | write_section docs/tiers.md ablation
else
  table
fi
