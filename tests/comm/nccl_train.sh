#!/usr/bin/env bash
# `dram train` by two ranks on simulated GPUs: the weights are those of one rank with two micro-batches, bit for bit, and of
# a teacher whose weights, and an optimiser whose state, are spread over them; a rank that hangs, fails, dies or computes wrongly in NCCL ends the job with an exit code and a line that say so.
# usage: nccl_train.sh DRAM
set -euo pipefail
here=$(dirname "$(realpath "$0")")
dram=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "nccl_train.sh: $1"; exit 1; }
export CUDASIM_CLOSE=0 SIMRUN_WAIT=15 MASTER_PORT=$((22000 + $$ % 30000))

"$dram" synth scenes --count 16 --seed 3 >synth.log
cat >t.yaml <<'END'
name: t
device: cuda
threads: 1
data:
  size: 32
  classes: 12
  train: {images: scenes/images, labels: scenes/labels}
  val: {images: none, labels: none}
student: {arch: vit_micro}
task: {enabled: true}
sam_distill: {enabled: false}
distributed: {reduce: ordered}
train: {batch_size: 2, steps: 4}
run: {eval_every: 0}
END

"$dram" train t.yaml name=one train.batch_size=4 train.accumulate=2 >one.log 2>&1 || fail "$(cat one.log)"
CUDASIM_NCCL_MEMORY=1 "$here/simrun.sh" 2 "$dram" train t.yaml name=two >two.log 2>&1 || fail "$(cat two.log)"
for file in student heads; do
  cmp "runs/one/$file.safetensors" "runs/two/$file.safetensors" || fail "two ranks have another $file than one"
done
jq -e '.measured_peak_bytes == .planned_peak_bytes' runs/two/summary.json >/dev/null || fail "planned is not measured"
# Four channels of a ring, one of a pair, and what ranks tell: of the 92 MiB that are planned for NCCL.
jq -e '(.gpu_process.measured_bytes - .measured_peak_bytes) / 1048576 | . >= 60 and . < 61' runs/two/summary.json >/dev/null ||
  fail "NCCL takes another part of the GPU's memory"
jq -e '.distributed | .backend == "nccl" and .channels == 4 and .comm_planned_bytes == 96468992 and .comm_seconds == null
  and .environment.NCCL_ALGO == "Ring" and .environment.NCCL_NVLS_ENABLE == "0" and .failed_rank == null' \
  runs/two/summary.json >/dev/null || fail "the job is not summed up: $(jq .distributed runs/two/summary.json)"
jq -e '.comm_seconds == null and .ranks == 2' runs/two/metrics.jsonl >/dev/null || fail "seconds in queues are none of the host"

teacher=(sam_distill.enabled=true sam_distill.fidelity_images=0 sam_distill.teacher.weights=random
  sam_distill.teacher.model_type=vit_micro sam_distill.sam_input_size=32 train.steps=2)
for placement in device shard; do
  "$here/simrun.sh" 2 "$dram" train t.yaml "name=$placement" "${teacher[@]}" "sam_distill.teacher.placement=$placement" \
    >"$placement.log" 2>&1 || fail "$(cat "$placement.log")"
done
cmp runs/device/student.safetensors runs/shard/student.safetensors || fail "a teacher over ranks gives other weights"

"$here/simrun.sh" 2 "$dram" train t.yaml name=pieces optim.shard=gradients optim.state=int8 train.precision=bf16 \
  train.steps=2 >pieces.log 2>&1 || fail "$(cat pieces.log)"
"$dram" train t.yaml name=whole train.batch_size=4 train.accumulate=2 optim.state=int8 train.precision=bf16 train.steps=2 \
  >whole.log 2>&1 || fail "$(cat whole.log)"
for file in student.safetensors checkpoints/step-00000002/optimizer.safetensors; do
  cmp "runs/whole/$file" "runs/pieces/$file" || fail "an optimiser over ranks gives another $file"
done
jq -e '.measured_peak_bytes == .planned_peak_bytes' runs/pieces/summary.json >/dev/null || fail "planned is not measured"

# ends NAME EXIT TEXT FAULT [KEY=VALUE ...]
ends() {
  local code=0
  CUDASIM_NCCL_FAULT=$4 "$here/simrun.sh" 2 "$dram" train t.yaml "name=$1" "${@:5}" >"$1.log" 2>&1 || code=$?
  [ "$code" = "$2" ] || fail "$1: exit code $code, not $2: $(tail -n 5 "$1.log")"
  grep -q "$3" "$1.log" || fail "$1: no line says \"$3\": $(tail -n 5 "$1.log")"
}
ends hang 4 "^dram: rank . on .* waited .* s in " hang:1:60 distributed.timeout=5
ends die 137 "^dram: NCCL: rank 0 of 2: .*: rank 1 has closed its connection$" die:1:60
ends error 4 "^dram: NCCL: rank 0 of 2: .*: an error was planted in rank 0$" error:0:60
ends flip 1 "^dram: the ranks have come apart: .* is not the same on rank 0 (.*) and rank 1 (" flip:1:60 distributed.check_every=1
ends backend 2 "distributed.backend is mpi, which carries host memory" '' distributed.backend=mpi
ends cpu 2 "cannot meet on CPUs, which takes MPI: start them with .mpirun -n 2 dram ...." '' device=cpu
! pgrep -f "$dram train t.yaml" || fail "processes are left"
echo "two ranks are one, and 6 jobs ended as they must"
