#!/usr/bin/env bash
# The tables of docs/claims.md: rules of thumb about memory, checked. Plans, but for two short runs where time is the claim.
# It prints them; --write puts them into the page.
# usage: claims.sh [--write] [SECTION ...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 any "$@"
write=
[ "${1:-}" = --write ] && { write=1; shift; }
sections=(half_side canvas model_type interval sr_scale precision patches prefetch)
for word; do [[ " ${sections[*]} " == *" $word "* ]] || { usage >&2; exit 2; }; done
[ $# = 0 ] || sections=("$@")
cd "$(dirname "$0")/.."
find_dram
bench_scenes

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# plan NAME KEY=VALUE...: the recipe of bench/recipe.yaml with these settings, planned into $out/NAME
plan() {
  "$dram" plan bench/recipe.yaml threads=2 "${@:2}" --json >"$out/$1" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
}
# teacher NAME KEY=VALUE...: the same with next to no student, so that the teacher is what there is to plan
teacher() {
  plan "$1" data.size=32 student.arch=regnety_002 task.enabled=false resolution_distill.enabled=false "${@:2}"
}
weights() { value "$out/$1" categories.teacher_weights; }
activations() { value "$out/$1" categories.teacher_activations; }
both() { calc %.0f "$(weights "$1") + $(activations "$1")"; }
peak() { value "$out/$1" planned_peak_bytes; }
least() { value "$out/$1" floor_bytes; }
flops() { value "$out/$1" "programs.${2:-distil_step}.flops"; }
# FLOPs of a step, the mean over an interval of two.
mean_flops() { calc %.0f "($(flops "$1") + $(flops "$1" plain_step)) / 2"; }

# compare LABEL FORMATTER NUMBER NUMBER...: a row of numbers, the last ones with what they save of the first
compare() {
  local first=$3 n
  printf '| %s | %s |' "$1" "$($2 "$first")"
  for n in "${@:4}"; do
    printf ' %s | %s |' "$($2 "$n")" "$(calc '%.1f %%' "100 * ($first - $n) / $first" | sed 's/^-0\.0 /0.0 /')"
  done
  echo
}
m() { mib "$1"; }
t() { calc %.2f "$1 / 1e12"; }
head2() { printf '| | %s | %s | saved |\n|---|---:|---:|---:|\n' "$@"; }

half_side() {
  teacher b512 sam_distill.teacher.model_type=vit_b sam_distill.sam_input_size=512
  head2 1024 512
  compare "\`vit_b\` alone: weights, MiB" m "$(weights b1024)" "$(weights b512)"
  compare "\`vit_b\` alone: activations, MiB" m "$(activations b1024)" "$(activations b512)"
  compare "\`vit_b\` alone: both, MiB" m "$(both b1024)" "$(both b512)"
  compare "\`vit_h\` alone: weights, MiB" m "$(weights h1024)" "$(weights h512)"
  compare "\`vit_h\` alone: activations, MiB" m "$(activations h1024)" "$(activations h512)"
  compare "\`vit_h\` alone: both, MiB" m "$(both h1024)" "$(both h512)"
  compare "the recipe's step: planned peak, MiB" m "$(peak full)" "$(peak half)"
  compare "the recipe's step: floor, MiB" m "$(least full)" "$(least half)"
  compare "the recipe's step: TFLOP" t "$(flops full)" "$(flops half)"
}

# The teacher sees the canvas, whatever part of it is image.
canvas() {
  local settings=(sam_distill.sam_input_size=512 sam_distill.pad_to=1024)
  teacher padded_alone "${settings[@]}"
  plan padded "${settings[@]}"
  echo "| | 1024 | 512 padded to 1024 | saved | 512 | saved |"
  echo "|---|---:|---:|---:|---:|---:|"
  compare "\`vit_h\` alone: activations, MiB" m "$(activations h1024)" "$(activations padded_alone)" "$(activations h512)"
  compare "\`vit_h\` alone: both, MiB" m "$(both h1024)" "$(both padded_alone)" "$(both h512)"
  compare "the recipe's step: planned peak, MiB" m "$(peak full)" "$(peak padded)" "$(peak half)"
  compare "the recipe's step: TFLOP" t "$(flops full)" "$(flops padded)" "$(flops half)"
}

model_type() {
  teacher l1024 sam_distill.teacher.model_type=vit_l
  plan large sam_distill.teacher.model_type=vit_l
  plan base sam_distill.teacher.model_type=vit_b
  needs() {
    local n
    printf '| %s | %s |' "$1" "$($2 "$3")"
    for n in "${@:4}"; do printf ' %s | %s |' "$($2 "$n")" "$(calc '%.0f %%' "100 * $n / $3")"; done
    echo
  }
  echo "| | \`vit_h\` | \`vit_l\` | of \`vit_h\` | \`vit_b\` | of \`vit_h\` |"
  echo "|---|---:|---:|---:|---:|---:|"
  needs "alone: weights, MiB" m "$(weights h1024)" "$(weights l1024)" "$(weights b1024)"
  needs "alone: activations, MiB" m "$(activations h1024)" "$(activations l1024)" "$(activations b1024)"
  needs "alone: both, MiB" m "$(both h1024)" "$(both l1024)" "$(both b1024)"
  needs "the recipe's step: planned peak, MiB" m "$(peak full)" "$(peak large)" "$(peak base)"
  needs "the recipe's step: floor, MiB" m "$(least full)" "$(least large)" "$(least base)"
  needs "the recipe's step: TFLOP" t "$(flops full)" "$(flops large)" "$(flops base)"
}

# seconds RUN BATCH: of a step, the mean of two medians, that of the even steps and that of the odd ones, from the third on
seconds() {
  local odd
  for odd in 0 1; do
    column "$out/$1/metrics.jsonl" images_per_second |
      awk -v odd="$odd" 'NR > 2 && NR % 2 == odd' | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
  done | awk -v batch="$2" '{ s += batch / $1 } END { print s / NR }'
}
# train NAME COMMAND...: a run of bench/step.yaml, small
train() {
  local name=$1
  shift
  "$@" train bench/step.yaml student.arch=regnety_002 data.size=256 sam_distill.sam_input_size=256 run.dir="$out" \
    name="$name" "${settings[@]}" --json >"$out/$name.json" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
}

interval() {
  plan every_second sam_distill.distill_interval=2
  local settings=(threads=2 train.batch_size=4 train.steps=12 resolution_distill.enabled=true)
  train one "$dram"
  settings+=(sam_distill.distill_interval=2)
  train two "$dram"
  head2 "every step" "every 2nd step"
  compare "planned peak, MiB" m "$(peak full)" "$(peak every_second)"
  compare "floor, MiB" m "$(least full)" "$(least every_second)"
  compare "TFLOP a step, the mean" t "$(flops full)" "$(mean_flops every_second)"
  s() { calc %.2f "$1"; }
  compare "measured on a small run: peak, MiB" m "$(value "$out/one.json" measured_peak_bytes)" \
    "$(value "$out/two.json" measured_peak_bytes)"
  compare "measured on a small run: seconds a step, the mean" s "$(seconds one 4)" "$(seconds two 4)"
}

sr_scale() {
  plan less resolution_distill.sr_target_scale=1.5
  plan none resolution_distill.enabled=false
  head2 2.0 1.5
  # The grid of the target: the low grid, 32 cells, times the scale.
  c() { calc %.0f "$1"; }
  compare "cells of the target grid" c 4096 2304
  compare "planned peak, MiB" m "$(peak full)" "$(peak less)"
  compare "what the whole term adds to the peak, MiB" m "$(calc %.0f "$(peak full) - $(peak none)")" \
    "$(calc %.0f "$(peak less) - $(peak none)")"
  compare "TFLOP a step" t "$(flops full)" "$(flops less)"
}

precision() {
  plan f32 train.precision=fp32 sam_distill.teacher.precision=fp32
  plan f16 train.precision=fp16 sam_distill.teacher.precision=fp16
  echo "| MiB | fp32 | fp16 | saved | bf16 | saved |"
  echo "|---|---:|---:|---:|---:|---:|"
  category() { compare "$1" m "$(value "$out/f32" "$2")" "$(value "$out/f16" "$2")" "$(value "$out/full" "$2")"; }
  category "planned peak" planned_peak_bytes
  category "of it activations" categories.activations
  category "teacher weights" categories.teacher_weights
  category "student weights" categories.student_weights
  category "optimiser" categories.optimizer
  category "floor" floor_bytes
}

patches() {
  local side n
  echo "| side | patches | \`vit_b\` activations, MiB | KiB a patch | one attention matrix if it were kept, MiB |"
  echo "|---:|---:|---:|---:|---:|"
  for side in 256 512 768 1024 1536 2048; do
    teacher p sam_distill.teacher.model_type=vit_b "sam_distill.sam_input_size=$side"
    n=$((side / 16 * (side / 16)))
    # 8 images, 12 heads, 2 bytes.
    printf '| %d | %d | %s | %s | %s |\n' "$side" "$n" "$(m "$(activations p)")" \
      "$(calc %.1f "$(activations p) / 1024 / 8 / $n")" "$(m $((8 * 12 * n * n * 2)))"
  done
}

# One thread computes and one prepares samples of 6 megapixels. On one core they take turns, which is a loop without
# prefetching; on two they overlap.
prefetch() {
  local base settings label
  if [ ! -d scenes/large ]; then
    scripts/build.sh release bench_scenes >&2
    build/release/bench_scenes scenes/large 8 2048 3072
  fi
  images() { calc %.2f "4 / $(seconds "$1" 4)"; }
  gain() { calc '%+.0f %%' "100 * ($(seconds "$1" 4) / $(seconds "$2" 4) - 1)"; }
  echo "| images/s | taking turns | batch ahead: 1 | gain | batches ahead: 4 | gain |"
  echo "|---|---:|---:|---:|---:|---:|"
  base=(threads=1 data.workers=1 train.batch_size=4 train.steps=8 data.train.images=scenes/large/images
    data.augment.crop=true data.augment.color_jitter=0.2)
  for label in "student alone" "with \`vit_b\`"; do
    settings=("${base[@]}")
    [ "$label" = "student alone" ] && settings+=(sam_distill.enabled=false resolution_distill.enabled=true train.steps=40)
    settings+=(data.prefetch=4)
    train turns taskset -c 0 "$dram"
    train ahead1 taskset -c 0,1 "$dram"
    settings+=(data.prefetch=16)
    train ahead4 taskset -c 0,1 "$dram"
    printf '| %s | %s | %s | %s | %s | %s |\n' "$label" "$(images turns)" "$(images ahead1)" "$(gain turns ahead1)" \
      "$(images ahead4)" "$(gain turns ahead4)"
    rm -r "$out/turns" "$out/ahead1" "$out/ahead4"
  done
}

# What several sections compare with.
plan full
plan half sam_distill.sam_input_size=512
teacher h1024
teacher h512 sam_distill.sam_input_size=512
teacher b1024 sam_distill.teacher.model_type=vit_b
for s in "${sections[@]}"; do
  if [ "$write" ]; then
    "$s" >"$out/section.md"
    write_section docs/claims.md "$s" <"$out/section.md"
  else
    printf '\n## %s\n\n' "$s"
    "$s"
  fi
done
