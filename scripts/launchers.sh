#!/usr/bin/env bash
# Every launcher that is here starts a training of two ranks, whose weights must be those of one process: mpirun; srun and
# sbatch, by a Slurm that answers or, for root, by one that is started for this machine alone (Debian's slurm-wlm and
# munge), which makes the runs of a sweep by an array too; torchrun, on simulated GPUs, where one is named (PyPI's torch has
# it). Prints a line for each, and what was skipped. Not part of the tests: a Slurm is a service of the machine. DRAM_SIM
# names a program for simulated GPUs.
# usage: launchers.sh [TORCHRUN]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
torchrun=${1:+$(realpath "$1")}
cd "$(dirname "$0")/.."
source=$PWD
find_dram
dram=$(realpath "$dram")
[ -z "$torchrun" ] || { simulated=${DRAM_SIM:-}; [ -n "$simulated" ] || { scripts/build.sh sim dram >&2; simulated=$PWD/build/sim/dram; }; }
work=$(mktemp -d)
services=()
finish() {
  [ ${#services[@]} = 0 ] || kill "${services[@]}" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT
failed=0
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 CUDASIM_CLOSE=0 CUDASIM_DEVICES=2

# slurm: one that answers, or one of this machine's own. Its files are in $work.
slurm() {
  command -v srun >/dev/null || { echo "srun is not installed (slurm-wlm)"; return 1; }
  timeout 10 sinfo >/dev/null 2>&1 && return
  [ "$(id -u)" = 0 ] && command -v slurmctld slurmd munged >/dev/null || { echo "no Slurm answers, and none can be started"; return 1; }
  local host
  host=$(hostname -s)
  mkdir -p "$work/slurm/state" "$work/slurm/spool" /run/munge
  chown munge /run/munge
  pgrep -x munged >/dev/null || setpriv --reuid=munge --regid=munge --clear-groups munged
  cat >"$work/slurm.conf" <<END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
StateSaveLocation=$work/slurm/state
SlurmdSpoolDir=$work/slurm/spool
SlurmctldPidFile=$work/slurm/ctld.pid
SlurmdPidFile=$work/slurm/d.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
  export SLURM_CONF=$work/slurm.conf
  slurmctld -D >"$work/slurm/ctld.log" 2>&1 & services+=($!)
  sleep 2
  slurmd -D >"$work/slurm/d.log" 2>&1 & services+=($!)
  for _ in {1..20}; do [ "$(sinfo -h -o %T 2>/dev/null)" = idle ] && return || sleep 1; done
  echo "the Slurm of this machine did not start: $(tail -n 1 "$work/slurm/ctld.log")"
  return 1
}

# launched NAME REFERENCE COMMAND ...: the run's weights are the reference's
launched() {
  local name=$1 reference=$2
  shift 2
  if timeout 300 "$@" >"$name.log" 2>&1 && cmp -s "runs/$reference/student.safetensors" "runs/$name/student.safetensors"; then
    echo "$name: the weights of one process"
  else
    failed=1
    echo "$name: FAILED"
    tail -n 5 "$name.log"
  fi
}

# An array of a sweep: a task for each of three points, all at once; each makes the runs of its own, and the folder has all.
array() {
  cat >sweep.yaml <<'END'
sweep:
  name: array
  base: t.yaml
  set: {device: cpu, data.val.images: scenes/images, data.val.labels: scenes/labels}
  grid: {optim.lr: [1.0e-3, 2.0e-3, 3.0e-3]}
END
  # shellcheck disable=SC2016
  if timeout 300 sbatch --wait --array=1-3 -o 'array-%a.txt' --wrap "exec $dram"' sweep sweep.yaml --index $SLURM_ARRAY_TASK_ID' >array.log 2>&1 &&
    [ "$(grep -c '"event":"done"' runs/array/events.jsonl)" = 3 ] && [ "$(grep -c '"event":"started"' runs/array/events.jsonl)" = 3 ] &&
    "$dram" sweep sweep.yaml --report >>array.log 2>&1 && ! grep -q 'to do' array.log; then
    echo "sbatch --array: three tasks made the runs of a sweep, each its own"
  else
    failed=1
    echo "sbatch --array: FAILED"
    tail -n 5 array.log array-*.txt
  fi
}

cd "$work"
"$dram" synth scenes --count 14 --seed 11 >/dev/null
cat >t.yaml <<'END'
threads: 1
data:
  size: 64
  classes: 12
  train: {images: scenes/images, labels: scenes/labels}
  val: {images: none, labels: none}
student: {arch: vit_micro}
sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 64, fidelity_images: 0}
task: {enabled: true}
distributed: {batch_norm: local, reduce: ordered}
train: {steps: 3, batch_size: 3}
run: {eval_every: 0}
END
one=(t.yaml device=cpu name=one train.batch_size=6 train.accumulate=2)
"$dram" train "${one[@]}" >one.log 2>&1 || { cat one.log; exit 1; }

if why=$("$source/tests/comm/mpirun.sh" 1 true); then
  launched mpirun one mpirun -n 2 --oversubscribe "$dram" train t.yaml device=cpu name=mpirun
else
  echo "mpirun: $why"
fi
if slurm >slurm.txt; then
  launched srun one srun --mpi=pmix -n 2 "$dram" train t.yaml device=cpu name=srun
  printf '#!/bin/bash\nsrun --mpi=pmix %q train t.yaml device=cpu name=sbatch\n' "$dram" >job.sh
  launched sbatch one sbatch --wait -n 2 -o job.txt job.sh
  array
else
  echo "srun, sbatch: skipped, $(cat slurm.txt)"
fi
if [ -n "$torchrun" ]; then
  "$simulated" train "${one[@]}" device=cuda name=one-gpu >one-gpu.log 2>&1 || { cat one-gpu.log; exit 1; }
  launched torchrun one-gpu "$torchrun" --no-python --nproc-per-node=2 "$simulated" train t.yaml device=cuda name=torchrun
else
  echo "torchrun: skipped, none was named"
fi
exit "$failed"
