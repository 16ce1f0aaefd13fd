#!/usr/bin/env bash
# Jobs of three ranks on simulated GPUs (rank.c, simrun.sh) in which one goes wrong in NCCL, or before it: each is over
# within its limit and 10 s, with an exit code and a line that say why, and no process left. An operation of NCCL is a
# step's agreement (1), or an all_reduce in rank order (2 and a sum).
# usage: nccl_faults.sh PROGRAM
set -euo pipefail
here=$(dirname "$(realpath "$0")")
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "nccl_faults.sh: $1"; exit 1; }
export DRAM_TEST_DEVICE=cuda SIMRUN_WAIT=15
port=$((21000 + $$ % 30000))

# job NAME EXIT TEXT FAULT LIMIT [NAME=VALUE ...]: a job with this fault and limit, and what it must end with
job() {
  local name=$1 must=$2 text=$3 fault=$4 limit=$5 code=0 process
  shift 5
  env "$@" DRAM_RANK_PIDS="$work/$name.pid" CUDASIM_NCCL_FAULT="$fault" MASTER_PORT=$port \
    timeout -s KILL $((limit + 25)) "$here/simrun.sh" 3 "$program" none 0 7 "$limit" >"$work/$name.log" 2>&1 || code=$?
  [ "$code" = "$must" ] || fail "$name: exit code $code, not $must: $(cat "$work/$name.log")"
  grep -q "$text" "$work/$name.log" || fail "$name: no line says \"$text\": $(cat "$work/$name.log")"
  for process in "$work/$name".pid.*; do
    [ "$(readlink "/proc/$(cat "$process")/exe")" != "$(realpath "$program")" ] || fail "$name: a process is left"
  done
}

jobs=0
begin() { jobs=$((jobs + 1)); port=$((port + 1)); job "$@"; }
begin none 0 '^40 steps are done$' '' 60
begin die 137 'dram: NCCL: rank [02] of 3: .* failed: .*: rank 1 has closed its connection$' die:1:20 60
begin hang 4 "^dram: rank . on .* waited .* s in .* for rank . on .* (process " hang:1:20 4
begin error 4 'dram: NCCL: rank 2 of 3: .* failed: .*: an error was planted in rank 2$' error:2:20 60
begin slow 0 '^40 steps are done$' slow:0:5 60
begin late 0 '^40 steps are done$' late:1:9 20
begin late-too-much 4 '^dram: rank . on .* waited .* s in ' late:1:9 1
begin one-card 2 'NCCL: Duplicate GPU detected' '' 60 CUDASIM_DEVICES=1
begin few-cards 2 '3 ranks run on this machine, and 2 GPUs are visible' '' 60 CUDASIM_DEVICES=2
begin memory 3 "too little GPU memory is free for NCCL's buffers (Cuda failure 2 'out of memory'): lower memory.budget" '' 60 CUDASIM_NCCL_MEMORY=1 CUDASIM_MEMORY=$((60 << 20))
begin setting 134 'CUDASIM_NCCL_FAULT is "die"' die 60
ls /dev/shm | grep -q "cudasim-nccl-127.0.0.1:$port" && fail "shared memory is left"
echo "$jobs jobs ended as they must"
