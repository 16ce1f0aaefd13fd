#!/usr/bin/env bash
# dram against PyTorch on a GPU, the same work: SAM's forward at 1024, a student's step, the whole distil step; then the
# share of the copy bandwidth and of the matrix rate that each op reaches. gpu.sh [--small] [FOLDER]
#
# The table is printed last, as Markdown; FOLDER (build/gpu-bench) keeps what each program said. PyTorch is whatever
# python3, or DRAM_BENCH_PYTHON, has; without it its columns say so. DRAM_BENCH_SECONDS (220) is the time for it all: what
# does not fit is left out and named. --small: tiny shapes and no PyTorch, for the simulated GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
small=
[ "${1:-}" = --small ] && { small=1; export DRAM_BENCH_SMALL=1; shift; }
out=${1:-build/gpu-bench}
bench=${DRAM_BUILD:-build/release}/bench_gpu
python=${DRAM_BENCH_PYTHON:-python3}
deadline=$((SECONDS + ${DRAM_BENCH_SECONDS:-220}))
mkdir -p "$out"
[ -x "$bench" ] || { echo "gpu.sh: $bench is missing: cmake --build ${DRAM_BUILD:-build/release} --target bench_gpu" >&2; exit 1; }

# number FILE KEY: a number out of a JSON object on one line
number() { sed -n "s/.*\"$2\": *\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1; }
cell() { awk -v x="$1" -v by="$2" -v format="$3" 'BEGIN { if (x == "") print "-"; else printf format "\n", x / by }'; }

# timed FILE COMMAND...: its output into FILE, within the time that is left; says why where there is none
timed() {
  local left=$((deadline - SECONDS)) file=$1 code=0
  if [ "$left" -lt 5 ]; then echo "left out: no time" >"$file"; return 0; fi
  timeout -k 5 "$left" "${@:2}" >"$file" 2>"$file.log" || code=$?
  [ "$code" != 124 ] || echo "left out: no time" >"$file"
  [ "$code" = 0 ] || [ "$code" = 77 ] || [ "$code" = 124 ] || echo "failed: $(tail -n 1 "$file.log")" >"$file"
}
# why FILE: what a file that holds no times says instead
why() { grep -h '^skipped\|^left out\|^failed' "$1" 2>/dev/null || true; }

notes=()
rows=()
# compare LABEL PUBLISHED WHAT BATCH STUDENT TEACHER key=value...: one row
compare() {
  local label=$1 published=$2 what=$3 batch=$4 student=$5 teacher=$6 id line file reason
  shift 6
  id=$(tr -c 'a-z0-9\n' _ <<<"$label")
  timed "$out/$id.dram" "$bench" "$what" bench/gpu.yaml "train.batch_size=$batch" ${student:+"student.arch=$student"} "$@"
  reason=$(why "$out/$id.dram")
  [ -z "$reason" ] || notes+=("$label: dram $reason")
  line="| $label | $(cell "$(number "$out/$id.dram" images_per_second)" 1 %.1f)"
  line+=" | $(cell "$(number "$out/$id.dram" measured_peak_bytes)" 1048576 %.0f)"
  line+=" | $(cell "$(number "$out/$id.dram" process_bytes)" 1048576 %.0f)"
  for mode in "" --compile; do
    file=$out/$id.torch$mode
    if [ -n "$small" ]; then
      echo "skipped: PyTorch: --small" >"$file"
    else
      timed "$file" "$python" bench/torch_gpu.py "$what" --batch "$batch" --teacher "$teacher" ${student:+--student "$student"} $mode
    fi
    reason=$(why "$file")
    [ -z "$reason" ] || notes+=("$label: ${mode:-eager} $reason")
    line+=" | $(cell "$(number "$file" images_per_second)" 1 %.1f) | $(cell "$(number "$file" peak_bytes)" 1048576 %.0f)"
    line+=" | $(cell "$(number "$file" card_bytes)" 1048576 %.0f)"
  done
  rows+=("$line | $published |")
}

tiny=()
[ -z "$small" ] || tiny=(data.size=64 sam_distill.sam_input_size=64 sam_distill.teacher.model_type=vit_micro)
batches=(1 8)
[ -z "$small" ] || batches=(1 2)
many=${batches[1]}

# Published: segment-anything-fast, on an A100, bf16 with SDPA: images a second, peak MiB.
compare "vit_b forward, batch 1" "66.5, 1104" teacher 1 "" vit_b sam_distill.teacher.model_type=vit_b "${tiny[@]}"
compare "vit_b forward, batch $many" "73.2, 4679" teacher "$many" "" vit_b sam_distill.teacher.model_type=vit_b "${tiny[@]}"
if [ -z "$small" ]; then
  compare "vit_h forward, batch 1" "20.3, 2517" teacher 1 "" vit_h sam_distill.teacher.model_type=vit_h
  compare "vit_h forward, batch 8" "21.9, 7947" teacher 8 "" vit_h sam_distill.teacher.model_type=vit_h
fi
# The student alone learns a target from a cache; no folder of that name is opened.
compare "regnety_004 step, batch $many" "-" step "$many" regnety_004 none sam_distill.cache=none-is-read "${tiny[@]}"
[ -n "$small" ] ||
  compare "regnety_016 step, batch 8" "-" step 8 regnety_016 none sam_distill.cache=none-is-read
compare "distil step, regnety_004 and vit_b, batch $many" "-" step "$many" regnety_004 vit_b "${tiny[@]}"

timed "$out/kernels.txt" "$bench" kernels bench/gpu.yaml "train.batch_size=$many" "memory.profile=$out/profile.json" "${tiny[@]}"

cat "$out/kernels.txt"
{
  echo
  echo "| at ${small:+64}${small:-1024} | dram images/s | arena MiB | process MiB | eager images/s | tensors MiB | GPU MiB | compiled images/s | tensors MiB | GPU MiB | published, A100 |"
  echo "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
  printf '%s\n' "${rows[@]}"
} | sed 's/at 641 /at 64 /' | tee "$out/table.md"
[ ${#notes[@]} -eq 0 ] || { echo; printf '%s\n' "${notes[@]}" | sort -u; } | tee "$out/notes.txt"
