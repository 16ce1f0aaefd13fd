#!/usr/bin/env bash
# All that is to be seen on a GPU, in one call: ops and gradients, whole runs against the CPU's, planned against measured
# memory, the tiers on a GPU made as small as they are for, the benchmark. gpu_check.sh [--small] [FOLDER]
#
# A short table is printed last; FOLDER (build/gpu-check) keeps everything that was said. GPU_CHECK_SECONDS (470) is the
# time for it all: what does not fit is left out and named. Exits with 0 when all is well, 1 when something failed, 77 where
# there is no GPU. It takes the build of DRAM_BUILD (build/release; scripts/gpu_bundle.sh packs one for a machine that has no
# compiler). --small: tiny shapes, for the simulated GPU.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
small=
[ "${1:-}" = --small ] && { small=1; shift; }
out=${1:-build/gpu-check}
build=${DRAM_BUILD:-build/release}
dram=$build/dram
bench=$build/bench_gpu
deadline=$((SECONDS + ${GPU_CHECK_SECONDS:-470}))
patience=1 # every part's own limit, times this: a simulated GPU is slow

# A bundle's own libraries behind the machine's; CUDA's where they usually are, PyTorch's among them.
cuda=$(python3 -c 'import glob, os, sysconfig; print(":".join(sorted(set(map(os.path.dirname, glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/*.so.*"))))))' 2>/dev/null)
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:-}:${cuda}:/usr/local/cuda/lib64:$PWD/lib"

for program in "$dram" "$bench" "$build/tests/test_ops_all" "$build/tests/test_device_exec" "$build/tests/test_train_cuda" \
  "$build/tests/test_train_resume" "$build/tests/test_train_teacher"; do
  [ -x "$program" ] || { echo "gpu_check: $program is missing: build it (targets dram, bench_gpu and the tests), or name a build in DRAM_BUILD"; exit 1; }
done
if ! card=$("$bench" device 2>&1); then
  echo "gpu_check: nothing is checked: ${card#bench_gpu: }"
  exit 77
fi
if [ "${card#simulated}" != "$card" ]; then
  patience=5
  [ -n "$small" ] || { echo "gpu_check: $build simulates its GPU, which takes hours for this: add --small"; exit 1; }
  # What its process takes, so that there is something to measure; the tests have set their own sizes.
  export CUDASIM_CLOSE=0 CUDASIM_CONTEXT=$((300 << 20)) CUDASIM_LIBRARY=$((20 << 20)) CUDASIM_KERNEL=$((1 << 20))
fi
rm -rf "$out"
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
"$dram" doctor >"$out/doctor.txt" 2>&1
{ echo "$card"; date -u; nvidia-smi 2>/dev/null; uname -sr; } >"$out/machine.txt"

number() { sed -n "s/.*\"$2\":[[:space:]]*\([-0-9.e+]*\).*/\1/p" "$1" | head -n 1; }
mib() { awk -v b="${1:-0}" 'BEGIN { printf "%.1f MiB", b / 1048576 }'; }
last() { tail -n 1 "$1" | cut -c 1-100; }

table=()
failures=0
# row PART RESULT SECONDS DETAIL
row() {
  table+=("$(printf '%-26s %-8s %5s s  %s' "$1" "$2" "$3" "$4")")
  echo "$1: $2: $4"
  [ "$2" != FAILED ] || failures=$((failures + 1))
}

# within MOST LOG COMMAND...: runs it for MOST seconds at most, and for no longer than there is time; 124: it had not enough
within() {
  local left=$((deadline - SECONDS)) most=$(($1 * patience)) log=$2
  [ "$left" -lt "$most" ] && most=$left
  [ "$most" -ge 5 ] || { echo "no time was left" >"$log"; return 124; }
  timeout -k 5 "$most" "${@:3}" >"$log" 2>&1
}

# part NAME MOST COMMAND...: a program whose exit status is the result
part() {
  local name=$1 begin=$SECONDS code=0 log
  log=$out/$(tr 'A-Z' 'a-z' <<<"$1" | tr -c 'a-z0-9\n' _).log
  within "$2" "$log" "${@:3}" || code=$?
  case $code in
    0) row "$name" ok $((SECONDS - begin)) "$(grep -h 'PASSED\|share of the allowed' "$log" | tail -n 1 | tr -d '[]' | xargs)" ;;
    77) row "$name" skipped $((SECONDS - begin)) "$(last "$log")" ;;
    124) row "$name" "no time" $((SECONDS - begin)) "more than $(($2 * patience)) s, or what was left" ;;
    *) row "$name" FAILED $((SECONDS - begin)) "exit status $code: $(last "$log"); see $log" ;;
  esac
}

# ---- results ----

if [ -n "$small" ]; then
  part "ops and gradients" 90 "$build/tests/test_ops_all" --cuda linear conv2d layernorm attention
else
  part "ops and gradients" 120 "$build/tests/test_ops_all" --cuda
fi
part "queues, recorded programs" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_exec"
part "run as on the CPU" 90 "$build/tests/test_train_cuda"
if [ -z "$small" ]; then
  part "resume, bit for bit" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_resume"
  part "teacher's placements" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_teacher"
fi

# ---- memory ----

scenes=$out/scenes
"$dram" synth "$scenes" --count 16 --seed 3 >"$out/synth.log" 2>&1
common=(device=cuda "data.train.images=$scenes/images" "data.train.labels=$scenes/labels" data.val.images=none
  data.val.labels=none data.classes=12 sam_distill.teacher.weights=random sam_distill.fidelity_images=0 run.save_every=0
  run.eval_every=0 "run.dir=$out/runs")
tiny=()
[ -z "$small" ] || tiny=(data.size=64 student.arch=regnety_002 sam_distill.sam_input_size=64
  sam_distill.teacher.model_type=vit_micro train.batch_size=2)

# compare_memory NAME SUMMARY BEGIN: a run's planned against its measured bytes; the arena must agree to the byte
compare_memory() {
  local name=$1 file=$2 begin=$3 planned measured process driver
  planned=$(number "$file" planned_peak_bytes)
  measured=$(number "$file" measured_peak_bytes)
  process=$(number "$file" planned_bytes)
  driver=$(number "$file" measured_bytes)
  local says
  says="arena $(mib "$planned"), measured $(mib "$measured")"
  says+="; process $(mib "$process"), by the driver $([ -n "$driver" ] && mib "$driver" || echo "not counted")"
  if [ -n "$planned" ] && [ "$planned" = "$measured" ]; then
    row "$name" ok $((SECONDS - begin)) "$says"
  else
    row "$name" FAILED $((SECONDS - begin)) "$says"
  fi
}

begin=$SECONDS
profile=$out/profile.json
recipe=(bench/gpu.yaml "${common[@]}" task.enabled=true train.steps=4 "${tiny[@]}" "memory.profile=$profile")
if within 90 "$out/calibrate.log" "$dram" plan "${recipe[@]}" --calibrate &&
  within 60 "$out/memory.log" "$dram" train "${recipe[@]}" name=memory; then
  compare_memory "planned and measured" "$out/runs/memory/summary.json" "$begin"
else
  row "planned and measured" FAILED $((SECONDS - begin)) "$(last "$out/calibrate.log"); $(last "$out/memory.log" 2>/dev/null)"
fi

# ---- tiers ----

# A GPU of so many bytes: another process holds the rest. The simulated one is told.
holder=
cap() {
  if [ "${card#simulated}" != "$card" ]; then
    export CUDASIM_MEMORY=$1
    return 0
  fi
  rm -f "$out/hold"
  mkfifo "$out/hold"
  "$bench" hold "$1" <"$out/hold" >"$out/hold.txt" 2>&1 &
  holder=$!
  exec 8>"$out/hold"
  for ((i = 0; i < 150; i++)); do
    grep -q 'are left$' "$out/hold.txt" && return 0
    kill -0 "$holder" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}
uncap() {
  unset CUDASIM_MEMORY
  [ -n "$holder" ] || return 0
  exec 8>&-
  wait "$holder"
  holder=
}

tier() {
  local begin=$SECONDS bytes=$((10#${1%gb} * 1000000000)) code=0
  [ -z "$small" ] || bytes=$((700 << 20))
  if ! cap "$bytes"; then
    uncap
    row "tier $1" skipped $((SECONDS - begin)) "the GPU cannot be made that small: $(last "$out/hold.txt")"
    return
  fi
  within 60 "$out/tier-$1.log" "$dram" train "configs/tiers/$1.yaml" "${common[@]}" "${tiny[@]}" "${@:2}" \
    train.steps=2 name="tier-$1" || code=$?
  uncap
  case $code in
    0) compare_memory "tier $1" "$out/runs/tier-$1/summary.json" "$begin" ;;
    124) row "tier $1" "no time" $((SECONDS - begin)) "more than $((60 * patience)) s, or what was left" ;;
    *) row "tier $1" FAILED $((SECONDS - begin)) "exit status $code: $(last "$out/tier-$1.log")" ;;
  esac
}

if [ -n "$small" ]; then
  tier 06gb memory.budget=auto
else
  for t in 06gb 08gb 12gb 16gb 24gb 40gb 80gb; do tier "$t"; done
fi

# ---- benchmark ----

begin=$SECONDS
left=$((deadline - SECONDS))
export DRAM_BENCH_SECONDS=$((left - 10))
code=0
within "$left" "$out/bench.log" bench/gpu.sh ${small:+--small} "$out/bench" || code=$?
if [ "$code" = 0 ]; then
  row "benchmark" ok $((SECONDS - begin)) "$(grep -c '^| .* |' "$out/bench/table.md" 2>/dev/null) lines in $out/bench/table.md"
elif [ "$code" = 124 ]; then
  row "benchmark" "no time" $((SECONDS - begin)) "$(last "$out/bench.log")"
else
  row "benchmark" FAILED $((SECONDS - begin)) "$(last "$out/bench.log")"
fi

# ---- the record ----

{
  for file in machine.txt doctor.txt bench/table.md bench/notes.txt bench/kernels.txt; do
    [ -s "$out/$file" ] && { echo; cat "$out/$file"; }
  done
  echo
  echo "$card"
  printf '%s\n' "${table[@]}"
} >"$out/record.txt"
rm -rf "$out/scenes" "$out/runs"/*/checkpoints "$out/runs"/*/*.safetensors
cat "$out/bench/table.md" 2>/dev/null
echo
echo "$card; everything is in $out/record.txt and beside it"
printf '%s\n' "${table[@]}"
[ "$failures" -eq 0 ]
