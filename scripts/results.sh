#!/usr/bin/env bash
# Does it teach? CamVid, runs of configs/camvid, tables and plots of docs/results.md.
# CAMVID: a folder with train/images, train/labels, val/images and val/labels. Groups: main, draws, labels, interval, size,
# scale, loss, speed; all by default; a run's name (embedding-s2) is a group too. JOBS runs are made at once (2), each on
# one thread; `speed` times the configs one after the other, and wants a core for itself. A run that is kept in
# docs/results is not made again, one that was stopped goes on, and the page is written from what there is:
# `--page` does that alone.
# usage: results.sh CAMVID [GROUP ...] | --page
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 any "$@"
camvid=$(realpath -m -- "$1")
cd "$(dirname "$0")/.."
kept=docs/results
runs=runs/results

# settings NAME: what makes this run another one than configs/camvid/student.yaml. A name is WHAT-sSEED.
settings() {
  local what=${1%-s*}
  case $what in
    alone) echo "sam_distill.enabled=false" ;;
    embedding) ;;
    resolution) echo "sam_distill.enabled=false resolution_distill.enabled=true" ;;
    both) echo "resolution_distill.enabled=true" ;;
    alone-all) echo "sam_distill.enabled=false data.train.label_fraction=1.0" ;;
    embedding-all) echo "data.train.label_fraction=1.0" ;;
    resolution-all) echo "sam_distill.enabled=false resolution_distill.enabled=true data.train.label_fraction=1.0" ;;
    both-all) echo "resolution_distill.enabled=true data.train.label_fraction=1.0" ;;
    interval*) echo "sam_distill.distill_interval=${what#interval}" ;;
    size*) echo "sam_distill.sam_input_size=${what#size}" ;;
    scale*) echo "resolution_distill.enabled=true resolution_distill.sr_target_scale=${what#scale}" ;;
    cosine | cwd) echo "sam_distill.loss.type=$what" ;;
    alone-draw*) echo "sam_distill.enabled=false data.train.label_seed=${what#alone-draw}" ;;
    embedding-draw*) echo "data.train.label_seed=${what#embedding-draw}" ;;
    *) echo "results.sh: no run is called $1" >&2; return 1 ;;
  esac
}

# names GROUP: its runs. Draw 2 of the labels is that of student.yaml: main has it. embedding-s1 and both-s1 stand in the
# groups of levers too, as interval 1, size 320, mse; scale 1.5.
names() {
  case $1 in
    main) printf '%s\n' {alone,embedding,resolution,both}-s{1,2,3} ;;
    draws) printf '%s\n' {alone,embedding}-draw{1,3}-s{1,2,3} ;;
    labels) printf '%s\n' {alone,embedding,resolution,both}-all-s{1,2,3} ;;
    interval) printf '%s\n' embedding-s1 interval2-s1 interval4-s1 interval8-s1 ;;
    size) printf '%s\n' size256-s1 embedding-s1 size512-s1 ;;
    scale) printf '%s\n' scale1.2-s1 both-s1 scale2.0-s1 ;;
    loss) printf '%s\n' embedding-s1 cosine-s1 cwd-s1 ;;
    *-s[0-9]) settings "$1" >/dev/null && echo "$1" ;;
    *) echo "results.sh: no group is called $1" >&2; return 1 ;;
  esac
}

# run NAME CONFIG KEY=VALUE...: trains it, or what is left of it, and keeps its summary and every 60th line of its metrics
run() {
  local name=$1 config=$2 resume=()
  shift 2
  [ -f "$kept/$name.json" ] && return
  [ -d "$runs/$name" ] && resume=(--resume)
  echo "$name" >&2
  "$dram" train "$config" name="$name" run.dir="$runs" "${data[@]}" "$@" "${resume[@]}" --json >"$runs/$name.summary" 2>"$runs/$name.log" ||
    { tail -n 3 "$runs/$name.log" >&2; exit 1; }
  awk 'NR % 60 == 1' "$runs/$name/metrics.jsonl" >"$kept/$name.jsonl"
  mv "$runs/$name.summary" "$kept/$name.json"
  rm -rf "$runs/$name/checkpoints"
}

student() {
  local pulled
  read -ra pulled <<<"$(settings "$1")"
  run "$1" configs/camvid/student.yaml seed="${1##*-s}" "${pulled[@]}"
}

# The runs of the groups, each once.
runs_of() {
  local group
  for group in "$@"; do names "$group" || return 1; done | awk '!seen[$0]++'
}

# teach NAME: the teacher, where that run has one and it is not there. Its summary is committed, its weights are not.
teach() {
  case $(settings "$1") in *sam_distill.enabled=false*) return ;; esac
  [ -f "$runs/teacher/student.safetensors" ] || rm -f "$kept/teacher.json"
  run teacher configs/camvid/teacher.yaml
}

# All runs of the groups, JOBS at once; the first that fails is the last that is begun.
train_groups() {
  local all name running=0
  all=$(runs_of "$@") || exit 1
  for name in $all; do
    there "$name" && continue
    teach "$name"
    if [ "$running" -ge "${JOBS:-2}" ]; then
      wait -n
      running=$((running - 1))
    fi
    student "$name" &
    running=$((running + 1))
  done
  while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
  done
}

# Images a second of every run of seed 1, over 40 steps after the first 10, with nothing beside it on its core: docs/results/speed
time_runs() {
  local name pulled lines
  for name in $(runs_of main labels interval size scale loss | grep -e '-s1$'); do
    grep -qs "^$name " "$kept/speed" && continue
    read -ra pulled <<<"$(settings "$name")"
    teach "$name"
    rm -rf "$runs/speed"
    "$dram" train configs/camvid/student.yaml name=speed run.dir="$runs" "${data[@]}" seed=1 "${pulled[@]}" data.val.images=none \
      data.val.labels=none train.steps=50 run.log_every=50 --json >/dev/null 2>"$runs/speed.log" || { tail -n 3 "$runs/speed.log" >&2; exit 1; }
    # The mean of N steps' images a second is the batch over their mean time.
    lines=$(column "$runs/speed/metrics.jsonl" images_per_second | tail -n 40)
    echo "$name $(awk '{ s += 1 / $1 } END { printf "%.1f", NR / s }' <<<"$lines")" >>"$kept/speed"
  done
}

missing="*No such run is kept yet.*"
miou() { value "$kept/$1.json" eval.miou; }
speed() { awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print "-" }' "$kept/speed" 2>/dev/null || echo -; }
there() { [ -f "$kept/$1.json" ]; }

# spread NUMBER...: mean and sample deviation, in points
spread() {
  printf '%s\n' "$@" | awk '{ s += $1; v[NR] = $1 } END { m = s / NR; for (i = 1; i <= NR; i++) q += (v[i] - m) ^ 2
    printf "%.1f ± %.1f", 100 * m, (NR > 1 ? 100 * sqrt(q / (NR - 1)) : 0) }'
}

# each WHAT [KEY]: the mIoU of its runs, or another number, seed by seed
each() {
  local seed
  for seed in 1 2 3; do
    if there "$1-s$seed"; then value "$kept/$1-s$seed.json" "eval.${2:-miou}"; fi
  done
}

# seeds WHAT [KEY]: the mean and spread of its runs, in points
seeds() {
  local all
  mapfile -t all < <(each "$@")
  if [ ${#all[@]} = 0 ]; then echo "?"; else spread "${all[@]}"; fi
}

# gain WHAT OVER: mean and spread of what one has more than the other, seed by seed; nothing where they share no seed
gain() {
  local seed gains=()
  for seed in 1 2 3; do
    if there "$1-s$seed" && there "$2-s$seed"; then gains+=("$(calc %.6f "$(miou "$1-s$seed") - $(miou "$2-s$seed")")"); fi
  done
  [ ${#gains[@]} = 0 ] || spread "${gains[@]}"
}

# compare SUFFIX: the four students of the main comparison; the gain is over the student alone of the same seed
compare() {
  local what all name label
  compgen -G "$kept/*$1-s[0-9].json" >/dev/null || { echo "$missing"; return; }
  echo "| student | mIoU, 3 seeds | each | gain | embedding cosine | planned MiB | images/s |"
  echo "|---|---:|---|---:|---:|---:|---:|"
  for what in alone embedding resolution both; do
    case $what in
      alone) label="alone: labels only" ;;
      embedding) label="embedding loss on all images" ;;
      resolution) label="resolution distillation on all images" ;;
      both) label="both" ;;
    esac
    mapfile -t all < <(each "$what$1")
    [ ${#all[@]} = 0 ] && continue
    name=$what$1-s1
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$label" "$(seeds "$what$1")" \
      "$(printf '%s\n' "${all[@]}" | awk '{ printf "%s%.1f", (NR > 1 ? ", " : ""), 100 * $1 }')" \
      "$([ "$what" = alone ] || gain "$what$1" "alone$1")" \
      "$(cosine "$name")" "$(planned "$name")" "$(speed "$name")"
  done
}

# Alone and with the embedding loss, for each draw of the labels
draws() {
  local draw
  there alone-draw1-s1 || { echo "$missing"; return; }
  echo "| draw | alone, 3 seeds | embedding loss | gain | pixels right, alone | embedding loss |"
  echo "|---|---:|---:|---:|---:|---:|"
  for draw in -draw1 "" -draw3; do # the second is that of the main comparison
    echo "| $(tr -dc 0-9 <<<"${draw:-2}") | $(seeds "alone$draw") | $(seeds "embedding$draw") | $(gain "embedding$draw" "alone$draw") |" \
      "$(seeds "alone$draw" pixel_accuracy) | $(seeds "embedding$draw" pixel_accuracy) |"
  done
}

cosine() {
  local value
  value=$(value "$kept/$1.json" eval.embedding_cosine)
  if [ -n "$value" ]; then calc %.3f "$value"; else echo "-"; fi
}

# lever_table HEAD NAME=LABEL...
lever_table() {
  local entry name any=
  for entry in "${@:2}"; do
    if there "${entry%%=*}"; then any=1; fi
  done
  [ "$any" ] || { echo "$missing"; return; }
  echo "| $1 | mIoU | embedding cosine | planned MiB | images/s |"
  echo "|---|---:|---:|---:|---:|"
  shift
  for entry in "$@"; do
    name=${entry%%=*}
    there "$name" || continue
    printf '| %s | %s | %s | %s | %s |\n' "${entry#*=}" "$(calc %.1f "100 * $(miou "$name")")" "$(cosine "$name")" \
      "$(planned "$name")" "$(speed "$name")"
  done
}

teacher() {
  there teacher || { echo "$missing"; return; }
  echo "The teacher: $(calc %.1f "100 * $(miou teacher)") mIoU on the same images, at $(value "$kept/teacher.json" steps) steps."
}

interval() { lever_table "teacher runs on" embedding-s1="every step" interval2-s1="every 2nd" interval4-s1="every 4th" interval8-s1="every 8th"; }
size() { lever_table "teacher's input" size256-s1=256 embedding-s1=320 size512-s1=512; }
scale() { lever_table "\`sr_target_scale\`" scale1.2-s1=1.2 both-s1=1.5 scale2.0-s1=2.0; }
loss() { lever_table "loss" embedding-s1=mse cosine-s1=cosine cwd-s1=cwd; }

planned() { mib "$(value "$kept/$1.json" planned_peak_bytes)"; }

# points OF: "x y label" of every lever's run, x being what `OF NAME` says of it
points() {
  local name x
  for name in alone-s1 $(runs_of interval size scale loss); do
    there "$name" || continue
    x=$("$1" "$name")
    if [ "$x" != - ]; then echo "$x $(calc %.2f "100 * $(miou "$name")") ${name%-s1}"; fi
  done
}

plots() {
  [ -n "$(points planned)" ] || { echo "$missing"; return; }
  points planned | scripts/plot.sh "planned peak, MiB" "mIoU, %" >"$kept/memory.svg"
  points speed | scripts/plot.sh "images a second" "mIoU, %" >"$kept/speed.svg"
  printf '![mIoU against planned memory](results/memory.svg)\n\n![mIoU against speed](results/speed.svg)\n'
}

# The README's table, and the picture of every seed of every student
headline() {
  echo "| a RegNetY-200MF learns from | labels for 37 photographs | labels for all 367 |"
  echo "|---|---:|---:|"
  echo "| labels only | $(seeds alone) | $(seeds alone-all) |"
  echo "| and the teacher's embedding | $(seeds embedding) | $(seeds embedding-all) |"
  echo "| and itself at full resolution | $(seeds resolution) | $(seeds resolution-all) |"
  echo "| and both | $(seeds both) | $(seeds both-all) |"
  echo
  echo "Which 37 have labels matters: the embedding gains $(gain embedding alone) here, and $(gain embedding-draw1 alone-draw1) and" \
    "$(gain embedding-draw3 alone-draw3) with two other draws."
}

headline_plot() {
  local what
  for what in alone embedding resolution both alone-all embedding-all; do
    each "$what" | awk -v group="${what/-all/,_all}" '{ printf "%s %.2f\n", group, 100 * $1 }'
  done | scripts/strip.sh "mIoU, %" >"$kept/main.svg"
}

page() {
  local section
  mkdir -p "$kept"
  headline | write_section README.md headline
  headline_plot
  teacher | write_section docs/results.md teacher
  compare "" | write_section docs/results.md main
  draws | write_section docs/results.md draws
  compare -all | write_section docs/results.md labels
  for section in interval size scale loss; do "$section" | write_section docs/results.md "$section"; done
  plots | write_section docs/results.md plots
}

if [ "$1" = --page ]; then
  [ $# = 1 ] || { usage >&2; exit 2; }
  page
  exit
fi
[ -d "$camvid/train/images" ] || { echo "results.sh: $camvid/train/images is no folder" >&2; exit 2; }
shift
data=(data.train.images="$camvid/train/images" data.train.labels="$camvid/train/labels"
  data.val.images="$camvid/val/images" data.val.labels="$camvid/val/labels")
find_dram
mkdir -p "$kept" "$runs"
groups=("$@")
[ ${#groups[@]} = 0 ] && groups=(main draws interval loss scale size labels speed)
timed=
trained=()
for group in "${groups[@]}"; do
  if [ "$group" = speed ]; then timed=1; else trained+=("$group"); fi
done
train_groups "${trained[@]}"
[ "$timed" ] && time_runs
page
