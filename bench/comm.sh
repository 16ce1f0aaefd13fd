#!/usr/bin/env bash
# What ranks exchange in a second on this machine, as Markdown tables: on its GPUs by NCCL, 2, 4 and 8 as far as there are,
# and on its processor by MPI, 2 and 4 ranks. GB/s: what a rank sends.
#
# A table for NCCL holds for this machine, its links and its NCCL: nothing of it is asserted anywhere. What is not there,
# a second GPU or mpirun, is named. --small: few bytes, and two simulated GPUs in a build that simulates them.
# DRAM_BUILD names the build (build/release).
# usage: comm.sh [--small]
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."
small=
[ "${1:-}" = --small ] && small=1
[ $# = 0 ] || [ -n "$small" ] || { usage >&2; exit 2; }
build=${DRAM_BUILD:-build/release}
bench=$build/bench_comm
most=65536
[ -z "$small" ] || most=256
[ -x "$bench" ] || { echo "comm.sh: $bench is missing: scripts/build.sh release bench_comm, or name a build in DRAM_BUILD" >&2; exit 1; }
made=0
# table RANKS COMMAND...: a table, or why there is none
table() {
  local ranks=$1
  echo
  "${@:2}" "$most" || { echo "comm.sh: $ranks ranks: exit status $?" >&2; exit 1; }
  made=1
}

gpus=$(visible_gpus)
[ -z "$small" ] || gpus=2 # simulated
if [ "$gpus" -lt 2 ]; then
  echo "NCCL: left out: it takes two GPUs, and $gpus are here"
else
  for n in 2 4 8; do
    [ "$n" -gt "$gpus" ] || table "$n" tests/comm/simrun.sh "$n" "$bench" cuda
  done
fi
if ! command -v mpirun >/dev/null || [ ! -e "$build/dram_mpi.so" ]; then
  echo "MPI: left out: mpirun, or $build/dram_mpi.so, is not here"
else
  for n in 2 4; do
    [ "$n" -gt "$(nproc)" ] && [ -z "$small" ] || DRAM_MODULES=$build table "$n" tests/comm/mpirun.sh "$n" "$bench" cpu
  done
fi
[ "$made" = 1 ]
