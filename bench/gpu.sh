#!/usr/bin/env bash
# dram against PyTorch on a GPU, the same work: SAM's forward at 1024, a student's step, the whole distil step; then the
# share of the copy bandwidth and of the matrix rate that each op reaches.
#
# The table is printed last, as Markdown; FOLDER (build/gpu-bench) keeps what each program said, with the times of the nodes
# by their shapes, and what nvidia-smi said of clocks and power meanwhile (clocks.txt); exit status 1 says that dram failed
# somewhere. PyTorch is whatever python3, or DRAM_BENCH_PYTHON, has; without it its columns are empty and a note says why.
# DRAM_LIBRARY_PATH, where it is set, is where dram, and not PyTorch, looks for libraries first. DRAM_BENCH_SECONDS (220) is
# the time for it all: what does not fit the time or the GPU is left out and named.
# --small: tiny shapes and no PyTorch, for the simulated GPU. --dram: dram alone. --torch: PyTorch alone, beside what FOLDER has.
# usage: gpu.sh [--small] [--dram] [--torch] [FOLDER]
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
arguments 0 4 "$@"
cd "$(dirname "$0")/.."
small='' sides='dram torch'
while :; do
  case ${1:-} in
    --small) small=1; export DRAM_BENCH_SMALL=1 ;;
    --dram) sides=dram ;;
    --torch) sides=torch ;;
    *) break ;;
  esac
  shift
done
out=${1:-build/gpu-bench}
bench=${DRAM_BUILD:-build/release}/bench_gpu
python=${DRAM_BENCH_PYTHON:-python3}
deadline=$((SECONDS + ${DRAM_BENCH_SECONDS:-220}))
with=()
[ -z "${DRAM_LIBRARY_PATH:-}" ] || with=(env "LD_LIBRARY_PATH=$DRAM_LIBRARY_PATH")
mkdir -p "$out"
[ "$sides" = torch ] || rm -f "$out/clocks.txt"
[ -x "$bench" ] || { echo "gpu.sh: $bench is missing: scripts/build.sh release bench_gpu, or name a build in DRAM_BUILD" >&2; exit 1; }

# number FILE KEY: a number of the object that a program printed; nothing where it printed words
number() { [ ! -e "$1" ] || jq -rR --arg key "$2" 'fromjson? | objects | .[$key] // empty' "$1"; }
cell() { awk -v x="$1" -v by="$2" -v format="$3" 'BEGIN { if (x == "") print "-"; else printf format "\n", x / by }'; }

# What the GPU's clocks and its power are while something runs, five times a second.
watcher=
watch() {
  command -v nvidia-smi >/dev/null || return 0
  nvidia-smi --query-gpu=clocks.sm,power.draw,temperature.gpu --format=csv,noheader,nounits -lms 200 >"$1" 2>/dev/null &
  watcher=$!
}
# unwatch FILE NAME: ends that, and says what it saw in a line
unwatch() {
  [ -n "$watcher" ] || return 0
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  watcher=
  sort -n "$1" | awk -F', *' -v name="$2" '$1 + 0 > 0 { clock[++n] = $1; if ($2 + 0 > watt) watt = $2 + 0; if ($3 + 0 > heat) heat = $3 + 0 }
    END { if (n) printf "%s: SM clock %d MHz in the middle, %d to %d; %.0f W and %d C at most; %d readings\n",
          name, clock[int((n + 1) / 2)], clock[1], clock[n], watt, heat, n }' | tee -a "$out/clocks.txt"
}
trap '[ -z "$watcher" ] || kill "$watcher" 2>/dev/null' EXIT

# timed FILE COMMAND...: its output into FILE, within the time that is left; says why where there is none
timed() {
  local left=$((deadline - SECONDS)) file=$1 code=0 begin=$SECONDS
  if [ "$left" -lt 5 ]; then echo "left out: no time" >"$file"; return 0; fi
  watch "$file.clocks"
  timeout --foreground -k 5 "$left" "${@:2}" >"$file" 2>"$file.log" || code=$?
  unwatch "$file.clocks" "${file##*/}"
  echo "${file##*/}: $((SECONDS - begin)) s, exit status $code"
  case $code in
    0 | 77) ;;
    3) echo "left out: does not fit: $(tail -n 1 "$file.log")" >>"$file" ;;
    124) grep -q '"images_per_second"' "$file" || echo "left out: no time" >"$file" ;; # its nodes alone were not told
    *) echo "failed: exit status $code: $(tail -n 1 "$file.log")" >>"$file" ;; # what it measured before stays
  esac
}
# why FILE: what a file that holds no times says instead
why() { grep -h '^skipped\|^left out\|^failed' "$1" 2>/dev/null || true; }

# A case a line: label | published, A100: images/s, MiB | what | batch | student | teacher | more keys. The student alone
# learns a target from a cache; no folder of that name is opened. Published: segment-anything-fast, bf16 with SDPA.
many=8
[ -z "$small" ] || many=2
cases=(
  "vit_b forward, batch 1|66.5, 1104|teacher|1||vit_b|"
  "vit_b forward, batch $many|73.2, 4679|teacher|$many||vit_b|"
  "vit_h forward, batch 1|20.3, 2517|teacher|1||vit_h|"
  "vit_h forward, batch $many|21.9, 7947|teacher|$many||vit_h|"
  "regnety_004 step, batch $many|-|step|$many|regnety_004|none|sam_distill.cache=none-is-read"
  "regnety_016 step, batch $many|-|step|$many|regnety_016|none|sam_distill.cache=none-is-read"
  "distil step, regnety_004 and vit_b, batch $many|-|step|$many|regnety_004|vit_b|"
)
order=(1 3 6 5 0 2 4) # of running them
tiny=()
shapes="at 1024"
if [ -n "$small" ]; then
  shapes="tiny shapes"
  tiny=(data.size=64 sam_distill.sam_input_size=64 sam_distill.teacher.model_type=vit_micro)
  cases=("${cases[0]}" "${cases[1]}" "${cases[4]}" "${cases[6]}")
  order=(1 3 0 2)
fi

notes=()
# run_case NUMBER MODE: dram, eager or compile
run_case() {
  local label published what batch student teacher more file=$out/$1.$2
  IFS='|' read -r label published what batch student teacher more <<<"${cases[$1]}"
  local keys=("train.batch_size=$batch" ${student:+"student.arch=$student"} ${more:+"$more"}) options=()
  [ "$teacher" = none ] || keys+=("sam_distill.teacher.model_type=$teacher")
  [ "$2" != compile ] || options+=(--compile)
  if [ "$2" = dram ]; then
    timed "$file" "${with[@]}" "$bench" "$what" bench/gpu.yaml "${keys[@]}" "${tiny[@]}"
  elif [ -n "$small" ]; then
    echo "skipped: PyTorch: --small" >"$file"
  else
    timed "$file" "$python" bench/torch_gpu.py "$what" --batch "$batch" --teacher "$teacher" \
      ${student:+--student "$student"} "${options[@]}"
  fi
}
# note NUMBER MODE: what run_case left instead of numbers
note() {
  local label file=$out/$1.$2 reason
  [ -e "$file" ] || return 0
  IFS='|' read -r label _ <<<"${cases[$1]}"
  reason=$(why "$file")
  [ -n "$reason" ] || [ -n "$(number "$file" images_per_second)" ] || reason="failed: it printed no numbers"
  [ -z "$reason" ] || notes+=("$label: $2: $reason")
}
# columns FILE MIB...: images a second and numbers of bytes in MiB
columns() {
  local key
  printf ' %s |' "$(cell "$(number "$1" images_per_second)" 1 %.1f)"
  for key in "${@:2}"; do printf ' %s |' "$(cell "$(number "$1" "$key")" 1048576 %.0f)"; done
}

# What matters most first, for when the time ends: compilation takes longest.
if [[ $sides = *dram* ]]; then
  rm -f "$out"/[0-9].eager "$out"/[0-9].compile
  run_case "${order[0]}" dram
  run_case "${order[1]}" dram
  timed "$out/kernels.txt" "${with[@]}" "$bench" kernels bench/gpu.yaml "train.batch_size=$many" "memory.profile=$out/profile.json" "${tiny[@]}"
  for i in "${order[@]:2}"; do run_case "$i" dram; done
fi
if [[ $sides = *torch* ]]; then
  for mode in eager compile; do
    for i in "${order[@]}"; do run_case "$i" "$mode"; done
  done
fi
for i in "${!cases[@]}"; do note "$i" dram; done
reason=$(why "$out/kernels.txt")
[ -z "$reason" ] || notes+=("kernels, batch $many: dram: $reason")
for mode in eager compile; do
  for i in "${!cases[@]}"; do note "$i" "$mode"; done
done

if [[ $sides = *dram* ]]; then # the nodes of the whole step, and of the teachers by their shapes
  cat "$out/kernels.txt"
  for i in "${order[@]:0:2}"; do grep -hv '^{' "$out/$i.dram" || true; done
fi
{
  echo
  echo "| $shapes | dram images/s | arena MiB | process MiB | eager images/s | tensors MiB | GPU MiB | compiled images/s | tensors MiB | GPU MiB | published, A100 |"
  echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|"
  for i in "${!cases[@]}"; do
    IFS='|' read -r label published _ <<<"${cases[$i]}"
    echo "| $label |$(columns "$out/$i.dram" measured_peak_bytes process_bytes)$(columns "$out/$i.eager" peak_bytes card_bytes)$(columns "$out/$i.compile" peak_bytes card_bytes) $published |"
  done
} | tee "$out/table.md"
{ [ ${#notes[@]} -eq 0 ] || { echo; printf '%s\n' "${notes[@]}"; }; } | tee "$out/notes.txt"
case ${notes[*]:-} in *': dram: failed'*) exit 1 ;; esac
