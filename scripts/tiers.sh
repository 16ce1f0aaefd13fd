#!/usr/bin/env bash
# The tables of docs/tiers.md and docs/memory.md that are planned, nothing run: every tier, and what a budget costs.
# It prints them; --write puts them into the pages, and remakes docs/arena.svg.
# usage: tiers.sh [--write]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."
find_dram

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
tiers=(06gb 08gb 12gb 16gb 24gb 40gb 80gb)

# Two threads whatever machine this runs on: scratch memory goes by threads.
for t in "${tiers[@]}"; do
  "$dram" plan "configs/tiers/$t.yaml" threads=2 --json >"$out/$t" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
  "$dram" config "configs/tiers/$t.yaml" >"$out/$t.yaml"
done

# row LABEL COMMAND...: one cell a tier, what the command prints with the tier's name behind it
row() {
  local t
  printf '| %s |' "$1"
  for t in "${tiers[@]}"; do printf ' %s |' "$("${@:2}" "$t")"; done
  echo
}
key() { awk -v key="$1" '$1 == key ":" { print $2; exit }' "$out/$2.yaml"; }
bytes() { gib "$(value "$out/$2" "$1")"; }
# Of the card's N * 10^9 bytes.
reserve() { gib "$(calc '%.0f' "${1%gb} * 1e9 - $(value "$out/$1" budget_bytes)")"; }
megabytes() { mib "$(value "$out/$2" "categories.$1")" %.0f; }
above_live() { calc '%.2f %%' "100 * ($(value "$out/$1" arena_bytes) / $(value "$out/$1" max_live_bytes) - 1)"; }
saved() { gib "$(value "$out/$2" "levers.$1.saved_bytes")"; }
setting() { value "$out/$2" "levers.$1.setting"; }
flops() { calc '%.1f' "$(value "$out/$1" programs.distil_step.flops) / 1e12"; }
# An interval of 2 leaves out half of the teacher's FLOPs.
teacher_flops() { calc '%.1f' "-2 * $(value "$out/$1" levers.distill_interval.added_flops) / 1e12"; }
recomputed() { calc '%.2f %%' "100 * $(value "$out/$1" recompute_ratio)"; }
# The teacher has no backward, so what is spent again is the student's: its forward, backward and update.
recomputed_of_student() {
  local ratio all teacher
  ratio=$(value "$out/$1" recompute_ratio)
  all=$(value "$out/$1" programs.distil_step.flops)
  teacher=$(calc '%.0f' "-2 * $(value "$out/$1" levers.distill_interval.added_flops)")
  calc '%.1f %%' "100 * $ratio * $all / ($all - (1 + $ratio) * $teacher)"
}

table() {
  row "" echo
  printf '|---|%s\n' "$(printf -- '---:|%.0s' "${tiers[@]}")"
  row "student" key arch
  row "\`data.size\`" key size
  row "teacher" key model_type
  row "\`sam_input_size\`" key sam_input_size
  row "\`sr_target_scale\`" key sr_target_scale
  row "\`batch_size\`" key batch_size
  row "budget, GiB" bytes budget_bytes
  row "reserve, GiB" reserve
  row "**planned peak, GiB**" bytes planned_peak_bytes
  row "arena above max live" above_live
  row "*at the peak, MiB:* teacher weights" megabytes teacher_weights
  row "student weights" megabytes student_weights
  row "gradients" megabytes gradients
  row "optimiser" megabytes optimizer
  row "activations" megabytes activations
  row "teacher activations" megabytes teacher_activations
  row "workspace" megabytes workspace
  row "input" megabytes input
  row "*saved by, GiB:* \`eager_free\`" saved eager_free
  row "\`recompute_norms\`" saved recompute_norms
  row "\`share_teacher\`" saved teacher_sharing
  row "\`in_place\`" saved in_place
  row "recompute of blocks" saved recompute
  row "teacher's placement" setting teacher_placement
  row "floor of exact levers, GiB" bytes floor_bytes
  row "TFLOP a step" flops
  row "of them the teacher's" teacher_flops
  row "spent again, of the step" recomputed
  row "spent again, of the student's part" recomputed_of_student
}

# What a budget costs: the recipe of bench/recipe.yaml in ever fewer bytes.
budgets() {
  local b again pulled
  echo "| budget | planned MiB | teacher's weights | spent again, of the step's FLOPs |"
  echo "|---|---:|---|---:|"
  for b in none 4GiB 3GiB 2GiB 1GiB; do
    "$dram" plan bench/recipe.yaml threads=2 "memory.budget=$b" --json >"$out/$b" 2>"$out/log" ||
      { cat "$out/log" >&2; exit 1; }
    pulled=$(value "$out/$b" levers.teacher_placement.setting)
    again=$(calc '%.2f %%' "100 * $(value "$out/$b" recompute_ratio)")
    printf '| %s | %s | %s | %s |\n' "${b/GiB/ GiB}" "$(mib "$(value "$out/$b" planned_peak_bytes)")" "$pulled" "$again"
  done
}

# A teacher with next to no student, at 1024 in bf16, batch 8: the whole arena.
alone() {
  local model
  peak() {
    "$dram" plan bench/recipe.yaml threads=2 data.size=32 student.arch=regnety_002 task.enabled=false \
      resolution_distill.enabled=false sam_distill.teacher.model_type="$model" "$@" --json --get planned_peak_bytes \
      >"$out/alone" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
    mib "$(cat "$out/alone")"
  }
  echo "| planned MiB | all images at once | \`teacher.group: 1\` | and \`placement: stream\` |"
  echo "|---|---:|---:|---:|"
  for model in vit_b vit_l vit_h; do
    printf '| `%s` | %s | %s | %s |\n' "$model" "$(peak)" "$(peak sam_distill.teacher.group=1)" \
      "$(peak sam_distill.teacher.group=1 sam_distill.teacher.placement=stream)"
  done
}

if [ "${1:-}" = --write ]; then
  table | write_section docs/tiers.md tiers
  alone | write_section docs/memory.md alone
  budgets | write_section docs/memory.md budgets
  # The picture of docs/memory.md.
  "$dram" plan configs/quickstart.yaml threads=2 data.size=384 resolution_distill.enabled=false optim.clip_norm=0 \
    memory.budget=200MiB --svg docs/arena.svg >/dev/null
else
  table
  echo
  budgets
  echo
  alone
fi
