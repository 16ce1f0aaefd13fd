#!/usr/bin/env bash
# All that is to be seen on a GPU, in one call: first contact (scripts/gpu_first.sh), every op under memcheck, the benchmark
# of dram, whole runs against the CPU's, NCCL, planned against measured memory, races, the tiers on a GPU made as small as
# they are for, the benchmark of PyTorch. Nothing can eat the 120 s of the first benchmark but first contact's and memcheck's
# own limits.
#
# A short table is printed last; FOLDER (build/gpu-check of this tree) keeps everything that was said; that of an earlier
# check is replaced, another one refused. FOLDER/record.txt grows as the check goes, and whatever ends the check, but
# SIGKILL, packs all of it into FOLDER.tar.gz. GPU_CHECK_SECONDS (470) is the time for it all: what does not fit is left out
# and named. Exits with 0 when all that was done is well, 1 when something failed or nothing could be done, 77 where there is
# no GPU. It takes the programs of scripts/gpu_programs.txt from DRAM_BUILD (build/release; scripts/gpu_bundle.sh packs one
# for a machine that has no compiler). --small: tiny shapes, for the simulated GPU.
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
start=$SECONDS
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
jq -n 1 >/dev/null 2>&1 || { echo "gpu_check: jq is not installed, or does not start"; exit 1; }
# Where dram looks for CUDA's libraries: where the system does; where those do not do, in python3's PyTorch, if it is for the
# same CUDA. A bundle's own stand behind. It is told to dram alone, and to a sanitizer that runs it:
# PyTorch and the other tools have libraries of their own.
export DRAM_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64:$PWD/lib"
ours() { LD_LIBRARY_PATH=$DRAM_LIBRARY_PATH "$@"; }
no_gpu=
if ! card=$(ours timeout -k 5 30 "$bench" device 2>&1); then
  first_says=$card
  torch=$(python3 -c 'import glob, os, sysconfig
files = glob.glob(sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/*.so.*")
if any(f.endswith("/libcublasLt.so.13") for f in files): print(":".join(sorted(set(map(os.path.dirname, files)))))' 2>/dev/null)
  DRAM_LIBRARY_PATH+=${torch:+:$torch}
  if [ -z "$torch" ] || ! card=$(ours timeout -k 5 30 "$bench" device 2>&1); then
    no_gpu=${first_says#bench_gpu: }
    no_gpu=${no_gpu:-"$bench device does not end, or says nothing"}
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
rm -rf "$out" "$out.tar.gz"
mkdir -p "$out" || exit 1
record=$out/record.txt
{ echo "${no_gpu:-$card}"; date -u; uname -sr; } >"$out/machine.txt"
cat "$out/machine.txt" >"$record"

# Whatever ends the check, what it has is kept, in one file too. A part that runs is ended with it.
child=
holder=
ended=
pack() {
  [ -z "$ended" ] || return
  ended=1
  [ -z "$child" ] || kill "$child" 2>/dev/null
  [ -z "$holder" ] || kill "$holder" 2>/dev/null
  choices
  echo "after $((SECONDS - start)) s: $successes ok, $failures FAILED${1:+; ended by $1}" >>"$record"
  rm -rf "$out/scenes" "$out/runs"/*/checkpoints "$out/runs"/*/*.safetensors "$out/hold"
  tar -C "$(dirname "$out")" -czf "$out.tar.gz.part" "$(basename "$out")" 2>/dev/null && mv "$out.tar.gz.part" "$out.tar.gz"
}
trap pack EXIT
trap 'pack SIGTERM; exit 143' TERM
trap 'pack SIGINT; exit 130' INT
trap 'pack SIGHUP; exit 129' HUP
# choices: which kernel or library took what, once each
choices() {
  find "$out" -name '*.log' -exec grep -hoE 'cuda: .*' {} + 2>/dev/null | sort -u >"$out/choices.txt"
  [ ! -s "$out/choices.txt" ] || { echo; echo "choices:"; cat "$out/choices.txt"; } >>"$record"
}
# told FILE...: what a part found, into the record
told() {
  local file
  for file; do [ ! -s "$file" ] || { echo; cat "$file"; echo; } >>"$record"; done
}

last() { tail -n 1 "$1" | cut -c 1-100; }

table=()
failures=0
successes=0
# row PART RESULT SECONDS DETAIL
row() {
  table+=("$(printf '%-26s %-8s %5s s  %s' "$1" "$2" "$3" "$4")")
  echo "${table[-1]}" >>"$record"
  echo "$1: $2: $3 s, $((SECONDS - start)) s of $((deadline - start)): $4"
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
  timeout -k 5 "$most" env "LD_LIBRARY_PATH=$DRAM_LIBRARY_PATH" "${@:3}" >"$log" 2>&1 &
  child=$!
  wait "$child" || code=$?
  child=
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

# outside MOST LOG COMMAND...: the same with the libraries of this shell, for a script that runs others' programs beside dram's
outside() { within "$1" "$2" env "LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}" "${@:3}"; }

# ---- first contact ----

ops=
[ -z "$small" ] || ops="linear conv2d_wgrad layernorm relu adamw"
begin=$SECONDS
code=0
FIRST_SECONDS=$((55 * patience)) outside 62 "$out/first.txt" env ${ops:+FIRST_OPS="$ops"} scripts/gpu_first.sh "$build" "$out/ops" || code=$?
told "$out/first.txt"
if [ -n "$no_gpu" ]; then
  echo "gpu_check: nothing is checked: $no_gpu"
  exit 77
fi
case $code in
  0) row "first contact" ok $((SECONDS - begin)) "$(last "$out/first.txt")" ;;
  1) row "first contact" FAILED $((SECONDS - begin)) "$(grep -m1 ' FAILED \| no end ' "$out/first.txt" | cut -c1-200); $(last "$out/first.txt")" ;;
  *) unwell "first contact" $code "$begin" "$out/first.txt" ;;
esac
if [ -z "$small" ]; then # the ops that first contact has left
  begin=$SECONDS
  code=0
  FIRST_SECONDS=40 outside 45 "$out/ops.log" scripts/gpu_first.sh --all "$build" "$out/ops" || code=$?
  told "$out/ops.log"
  case $code in
    0) row "ops and gradients" ok $((SECONDS - begin)) "$(last "$out/ops.log")" ;;
    1) row "ops and gradients" FAILED $((SECONDS - begin)) "$(grep -m1 ' FAILED \| no end ' "$out/ops.log" | cut -c1-200); $(last "$out/ops.log")" ;;
    *) unwell "ops and gradients" $code "$begin" "$out/ops.log" ;;
  esac
fi

# sanitize TOOL SECONDS OP...: the ops under a tool of compute-sanitizer, a process each
sanitize() {
  local tool=$1 end=$((SECONDS + $2 * patience)) begin=$SECONDS good=0 none='' bad='' op code log
  if ! command -v compute-sanitizer >/dev/null; then
    row "$tool" skipped 0 "compute-sanitizer is not on this machine"
    return
  fi
  for op in "${@:3}"; do
    code=0
    log=$out/$tool-$op.log
    if [ $((end - SECONDS)) -lt 5 ]; then none+=" $op"; continue; fi
    within $(((end - SECONDS + patience - 1) / patience)) "$log" compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 5 \
      "$build/tests/test_ops_all" --cuda "$op" || code=$?
    case $code in
      0) good=$((good + 1)) ;;
      124 | "$no_time") none+=" $op" ;;
      *) bad+=" $op"; grep -m3 '^=\{3,\}' "$log" | sed "s/^/$op: /" >>"$record" ;;
    esac
  done
  if [ -n "$bad" ]; then
    row "$tool" FAILED $((SECONDS - begin)) "of$bad; see $out/$tool-*.log"
  elif [ $good = 0 ]; then
    row "$tool" "no time" $((SECONDS - begin)) "no op came to its end"
  else
    row "$tool" ok $((SECONDS - begin)) "$good ops${none:+; no time for$none}"
  fi
}
seven="attention linear conv2d layernorm bn_stats cross_entropy adamw"
[ -z "$small" ] || seven="layernorm adamw"
# shellcheck disable=SC2086
sanitize memcheck 50 $seven

# ---- dram's benchmark ----

benchmark() { # NAME MOST OPTION...: a part of bench/gpu.sh
  local begin=$SECONDS left=$((deadline - SECONDS)) code=0 log=$out/bench-$3.log timed side=dram
  [ "$left" -lt $(($2 * patience)) ] || left=$(($2 * patience))
  DRAM_BENCH_SECONDS=$((left - 5)) outside "$2" "$log" bench/gpu.sh ${small:+--small} "--$3" "$out/bench" || code=$?
  told "$log"
  [ "$3" = dram ] || side=eager
  timed=$(grep -ls '"images_per_second"' "$out"/bench/[0-9]."$side" | wc -l) # cases with a number
  if [ "$code" != 0 ]; then
    unwell "$1" "$code" "$begin" "$log"
  elif [ "$timed" -gt 0 ]; then
    row "$1" ok $((SECONDS - begin)) "$timed cases of $3 were timed: $out/bench/table.md"
  elif grep -q "^[^:]*: $side: left out: no time" "$out/bench/notes.txt"; then
    unwell "$1" "$no_time" "$begin" "$log"
  else
    row "$1" skipped $((SECONDS - begin)) "$(grep -m1 "^[^:]*: $side: " "$out/bench/notes.txt")"
  fi
}
benchmark "benchmark" 120 dram

# ---- memory ----

scenes=$out/scenes
ours "$dram" synth "$scenes" --count 16 --seed 3 >"$out/synth.log" 2>&1
common=(device=cuda "data.train.images=$scenes/images" "data.train.labels=$scenes/labels" data.val.images=none
  data.val.labels=none data.classes=12 sam_distill.teacher.weights=random sam_distill.fidelity_images=0 run.save_every=0
  run.eval_every=0 "run.dir=$out/runs")
tiny=()
[ -z "$small" ] || tiny=(data.size=64 student.arch=regnety_002 sam_distill.sam_input_size=64
  sam_distill.teacher.model_type=vit_micro train.batch_size=2)

# compare_memory NAME SUMMARY BEGIN: a run's planned against its measured bytes
compare_memory() {
  local name=$1 file=$2 begin=$3 planned measured process driver launched result=FAILED
  planned=$(value "$file" planned_peak_bytes)
  measured=$(value "$file" measured_peak_bytes)
  process=$(value "$file" gpu_process.planned_bytes)
  driver=$(value "$file" gpu_process.measured_bytes)
  local says
  says="arena $(mib "${planned:-0}") MiB, measured $(mib "${measured:-0}") MiB; process $(mib "${process:-0}") MiB, by the driver "
  if [ -n "$driver" ]; then says+="$(mib "$driver") MiB"; else says+="not counted"; fi
  [ -n "$planned" ] && [ "$planned" = "$measured" ] && result=ok
  launched=$(jq -r '.gpu_process.not_recorded_why // empty' "$file")
  [ -z "$launched" ] || says+=", launched kernel by kernel ($launched)"
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
within 60 "$log" "$dram" plan "${recipe[@]}" --calibrate || code=$?
if [ $code = 0 ]; then
  log=$out/memory.log
  within 45 "$log" "$dram" train "${recipe[@]}" name=memory || code=$?
fi
case $code in
  0) compare_memory "planned and measured" "$out/runs/memory/summary.json" "$begin" ;;
  3) row "planned and measured" skipped $((SECONDS - begin)) "bench/gpu.yaml does not fit: $(last "$log")" ;;
  *) unwell "planned and measured" $code "$begin" "$log" ;;
esac

# ---- results ----

part "run as on the CPU" 60 "$build/tests/test_train_cuda"
if [ -z "$small" ]; then
  part "streamed and recorded" 30 "$build/tests/test_train_cuda_graph"
  part "resume, bit for bit" 45 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_resume"
  part "teacher's placements" 45 env DRAM_TEST_DEVICE=cuda "$build/tests/test_train_teacher"
fi
part "queues, recorded programs" 20 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_exec"
part "updates together" 20 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_many"
part "products with their GELU" 20 env DRAM_TEST_DEVICE=cuda "$build/tests/test_device_gelu"

# ---- NCCL: one rank, and as many as there are GPUs ----

part "NCCL, one rank" 20 "$build/tests/test_comm_nccl"
gpus=$(visible_gpus)
[ -z "$small" ] || gpus=2 # simulated
if [ "$gpus" -gt 1 ]; then
  part "NCCL, $gpus ranks" 40 tests/comm/simrun.sh "$gpus" "$build/tests/test_comm_nccl"
  part "collectives, $gpus ranks" 40 env DRAM_TEST_DEVICE=cuda tests/comm/simrun.sh "$gpus" "$build/tests/test_comm_collective"
fi

# ---- races ----

# shellcheck disable=SC2086
for tool in racecheck synccheck; do sanitize $tool 30 $seven; done

# ---- tiers ----

# A GPU of so many bytes: another process holds the rest. The simulated one is told.
cap() {
  if [ "${card#simulated}" != "$card" ]; then
    export CUDASIM_MEMORY=$1
    return 0
  fi
  rm -f "$out/hold"
  mkfifo "$out/hold"
  ours timeout -k 5 60 "$bench" hold "$1" <"$out/hold" >"$out/hold.txt" 2>&1 &
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
  if [ $((deadline - SECONDS)) -lt 15 ]; then
    row "tier $1" "no time" 0 "what was left of GPU_CHECK_SECONDS did not suffice"
    return
  fi
  if ! cap "$bytes"; then
    uncap
    row "tier $1" skipped $((SECONDS - begin)) "the GPU cannot be made that small: $(last "$out/hold.txt")"
    return
  fi
  within 35 "$out/tier-$1.log" "$dram" train "configs/tiers/$1.yaml" "${common[@]}" "${tiny[@]}" "${@:2}" \
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
  for t in 06gb 12gb 24gb 80gb; do tier "$t"; done
fi

# ---- PyTorch's benchmark ----

[ -n "$small" ] || benchmark "benchmark of PyTorch" 470 torch

echo
cat "$out/bench/table.md" 2>/dev/null
echo
echo "$card; everything is in $record and beside it, packed in $out.tar.gz"
printf '%s\n' "${table[@]}"
[ "$failures" -eq 0 ] && [ "$successes" -gt 0 ]
