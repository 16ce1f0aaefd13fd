#!/usr/bin/env bash
# All that is to be seen on a GPU, in one call: ops and gradients, whole runs against the CPU's, NCCL, planned against
# measured memory, the tiers on a GPU made as small as they are for, the benchmark.
#
# A short table is printed last; FOLDER (build/gpu-check of this tree) keeps everything that was said; that of an earlier
# check is replaced, another one refused. GPU_CHECK_SECONDS (470) is the time for it all: what does not fit is left out and
# named. Exits with 0 when all that was done is well, 1 when something failed or nothing could be done, 77 where there is no
# GPU. It takes the programs of scripts/gpu_programs.txt from DRAM_BUILD (build/release; scripts/gpu_bundle.sh packs one for a
# machine that has no compiler). --small: tiny shapes, for the simulated GPU.
#
# Of the memory, the arena must agree with its plan to the byte; the process, where its overhead was measured and the driver
# counts this process by itself, may take 2 % more than its plan.
# usage: gpu_check.sh [--small] [FOLDER]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 2 "$@"
small=
[ "${1:-}" = --small ] && { small=1; shift; }
out=${1:+$(realpath -m -- "$1")}
cd "$(dirname "$0")/.." || exit 1
trap '' USR1 # a value that is not there is a row that failed
out=${out:-$PWD/build/gpu-check}
build=${DRAM_BUILD:-build/release}
dram=$build/dram
bench=$build/bench_gpu
deadline=$((SECONDS + ${GPU_CHECK_SECONDS:-470}))
patience=1 # every part's own limit, times this: a simulated GPU is slow

for program in $(cat scripts/gpu_programs.txt); do
  file=$build/$program
  [ "${program#test_}" = "$program" ] || file=$build/tests/$program
  [ -x "$file" ] && continue
  echo "gpu_check: $file is missing: scripts/build.sh release \$(cat scripts/gpu_programs.txt), or name a build in DRAM_BUILD"
  exit 1
done

export DRAM_CUDA_SAY=1       # which kernel or library took each product and convolution, in every part's log
export PATH="$PATH:$PWD/bin" # a bundle's own jq
command -v jq >/dev/null || { echo "gpu_check: jq is not installed"; exit 1; }
# CUDA's libraries: the system's; where those do not do, the ones of python3's PyTorch, if it is for the same CUDA. A
# bundle's own stand behind. PyTorch has libraries of its own and is run without these (bench/gpu.sh).
export DRAM_BENCH_LIBRARY_PATH=${LD_LIBRARY_PATH-}
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64:$PWD/lib"
if ! card=$("$bench" device 2>&1); then
  torch=$(LD_LIBRARY_PATH=$DRAM_BENCH_LIBRARY_PATH python3 -c 'import glob, os, sysconfig
files = glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/*.so.*")
if any(f.endswith("/libcublasLt.so.13") for f in files): print(":".join(sorted(set(map(os.path.dirname, files)))))' 2>/dev/null)
  LD_LIBRARY_PATH="$LD_LIBRARY_PATH${torch:+:$torch}"
  if ! card=$("$bench" device 2>&1); then
    echo "gpu_check: nothing is checked: ${card#bench_gpu: }"
    exit 77
  fi
fi
if [ "${card#simulated}" != "$card" ]; then
  patience=20
  [ -n "$small" ] || { echo "gpu_check: $build simulates its GPU, which takes hours for this: add --small"; exit 1; }
  # What its process takes, so that there is something to measure; the tests have set their own sizes.
  export CUDASIM_CLOSE=0 CUDASIM_CONTEXT=$((300 << 20)) CUDASIM_LIBRARY=$((20 << 20)) CUDASIM_KERNEL=$((1 << 20))
fi
if [ -e "$out" ] && [ ! -f "$out/machine.txt" ]; then
  echo "gpu_check: $out is there and holds no earlier check (machine.txt): name another folder"
  exit 1
fi
rm -rf "$out"
mkdir -p "$out" || exit 1
{ echo "$card"; date -u; nvidia-smi 2>/dev/null; uname -sr; } >"$out/machine.txt"
"$dram" doctor >"$out/doctor.txt" 2>&1

last() { tail -n 1 "$1" | cut -c 1-100; }

table=()
failures=0
successes=0
# row PART RESULT SECONDS DETAIL
row() {
  table+=("$(printf '%-26s %-8s %5s s  %s' "$1" "$2" "$3" "$4")")
  echo "$1: $2: $4"
  case $2 in
    ok) successes=$((successes + 1)) ;;
    FAILED) failures=$((failures + 1)) ;;
  esac
}

# within MOST LOG COMMAND...: runs it for MOST seconds at most, and for no longer than there is time. no_time: the latter
# was too short, and says nothing of the command; 124: MOST was, as for one that hangs.
no_time=75
within() {
  local left=$((deadline - SECONDS)) most=$(($1 * patience)) log=$2 begin=$SECONDS over=124 code=0
  [ "$left" -gt "$most" ] || { most=$left; over=$no_time; }
  [ "$most" -ge 5 ] || { echo "no time was left" >"$log"; return $no_time; }
  timeout -k 5 "$most" "${@:3}" >"$log" 2>&1 || code=$?
  [ $code = 137 ] && [ $((SECONDS - begin)) -ge "$most" ] && code=124
  [ $code != 124 ] || code=$over
  return $code
}

# unwell NAME CODE BEGIN LOG: the row of what within could not bring to its end
unwell() {
  local seconds=$((SECONDS - $3))
  case $2 in
    "$no_time") row "$1" "no time" $seconds "what was left of GPU_CHECK_SECONDS did not suffice" ;;
    124) row "$1" FAILED $seconds "it did not end within its own limit; see $4" ;;
    *) row "$1" FAILED $seconds "exit status $2: $(last "$4"); see $4" ;;
  esac
}

# part NAME MOST COMMAND...: a program whose exit status is the result
part() {
  local name=$1 begin=$SECONDS code=0 log
  log=$out/$(tr 'A-Z' 'a-z' <<<"$1" | tr -c 'a-z0-9\n' _).log
  within "$2" "$log" "${@:3}" || code=$?
  case $code in
    0) row "$name" ok $((SECONDS - begin)) "$(grep -h 'PASSED\|share of the allowed\|the process took' "$log" | tail -n 1 | tr -d '[]' | xargs)" ;;
    77) row "$name" skipped $((SECONDS - begin)) "$(last "$log")" ;;
    *) unwell "$name" $code "$begin" "$log" ;;
  esac
}

# ---- results ----

if [ -n "$small" ]; then
  part "ops and gradients" 90 "$build/tests/test_ops_all" --cuda linear conv2d layernorm attention
else
  part "ops and gradients" 120 "$build/tests/test_ops_all" --cuda
fi
part "queues, recorded programs" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_exec"
part "updates together" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_many"
part "products with their GELU" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_gelu"
part "run as on the CPU" 90 "$build/tests/test_train_cuda"
if [ -z "$small" ]; then
  part "streamed and recorded" 60 "$build/tests/test_train_cuda_graph"
  part "resume, bit for bit" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_resume"
  part "teacher's placements" 60 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_teacher"
fi

# ---- NCCL: one rank, and as many as there are GPUs ----

part "NCCL, one rank" 60 "$build/tests/test_comm_nccl"
gpus=$(visible_gpus)
[ -z "$small" ] || gpus=2 # simulated
if [ "$gpus" -gt 1 ]; then
  part "NCCL, $gpus ranks" 60 tests/comm/simrun.sh "$gpus" "$build/tests/test_comm_nccl"
  part "collectives, $gpus ranks" 60 env DRAM_TEST_DEVICE=cuda tests/comm/simrun.sh "$gpus" "$build/tests/test_comm_collective"
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

# compare_memory NAME SUMMARY BEGIN: a run's planned against its measured bytes
compare_memory() {
  local name=$1 file=$2 begin=$3 planned measured process driver result=FAILED
  planned=$(value "$file" planned_peak_bytes)
  measured=$(value "$file" measured_peak_bytes)
  process=$(value "$file" gpu_process.planned_bytes)
  driver=$(value "$file" gpu_process.measured_bytes)
  local says
  says="arena $(mib "${planned:-0}") MiB, measured $(mib "${measured:-0}") MiB; process $(mib "${process:-0}") MiB, by the driver "
  if [ -n "$driver" ]; then says+="$(mib "$driver") MiB"; else says+="not counted"; fi
  [ -n "$planned" ] && [ "$planned" = "$measured" ] && result=ok
  if [ "$(value "$file" gpu_process.overhead_measured)" != true ]; then
    says+=", assumed"
  elif [ "$(value "$file" gpu_process.counted)" = process ] && awk "BEGIN { exit !($driver > 1.02 * $process) }"; then
    result=FAILED
  fi
  row "$name" $result $((SECONDS - begin)) "$says"
}

begin=$SECONDS
profile=$out/profile.json
recipe=(bench/gpu.yaml "${common[@]}" task.enabled=true train.steps=4 "${tiny[@]}" "memory.profile=$profile")
code=0
log=$out/calibrate.log
within 90 "$log" "$dram" plan "${recipe[@]}" --calibrate || code=$?
if [ $code = 0 ]; then
  log=$out/memory.log
  within 60 "$log" "$dram" train "${recipe[@]}" name=memory || code=$?
fi
case $code in
  0) compare_memory "planned and measured" "$out/runs/memory/summary.json" "$begin" ;;
  3) row "planned and measured" skipped $((SECONDS - begin)) "bench/gpu.yaml does not fit: $(last "$log")" ;;
  *) unwell "planned and measured" $code "$begin" "$log" ;;
esac

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
    *) unwell "tier $1" $code "$begin" "$out/tier-$1.log" ;;
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
timed=$(grep -c '^| [^|]* | [0-9]' "$out/bench/table.md" 2>/dev/null) # lines with a number of dram's
if [ "$code" != 0 ]; then
  unwell "benchmark" "$code" "$begin" "$out/bench.log"
elif [ "$timed" -gt 0 ]; then
  row "benchmark" ok $((SECONDS - begin)) "dram was timed in $timed lines of $out/bench/table.md"
elif grep -q 'dram: left out: no time' "$out/bench/notes.txt"; then
  unwell "benchmark" "$no_time" "$begin" "$out/bench.log"
else
  row "benchmark" skipped $((SECONDS - begin)) "$(head -n 2 "$out/bench/notes.txt" | tail -n 1)"
fi

# ---- the record ----

{
  cat "$out"/bench/*.log 2>/dev/null | grep -o 'cuda: .*' | sort -u >"$out/choices.txt"
  for file in machine.txt doctor.txt choices.txt bench/table.md bench/notes.txt bench/kernels.txt; do
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
[ "$failures" -eq 0 ] && [ "$successes" -gt 0 ]
