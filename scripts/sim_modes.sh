#!/usr/bin/env bash
# All ops, whole runs against the CPU's, resume and placements on the simulated GPU in each of its unkind modes
# (tests/cudasim/README.md): libraries that offer nothing, nothing that will do, or do not support what they offered; sums
# in fp32; captures that fail; other orders of threads and of queues. BUILD is a build of the preset asan (the default) or
# sim; modes are named as VARIABLE=VALUE, all if none is. FOLDER (build/sim-modes) keeps what was said, and results.txt a
# line of each test in each mode: what has one that is ok is not run again.
# usage: sim_modes.sh [BUILD [VARIABLE=VALUE ...]]
set -uo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 any "$@"
cd "$(dirname "$0")/.." || exit 1
preset=${1:-asan}
modes=("${@:2}")
for word in "$preset=" "${modes[@]}"; do
  case $word in asan= | sim= | CUDASIM_*=*) ;; *) usage >&2; exit 2 ;; esac
done
[ ${#modes[@]} -gt 0 ] || modes=(CUDASIM_LIBRARIES=none CUDASIM_LIBRARIES=poor CUDASIM_LIBRARIES=refuse CUDASIM_SUMS=fp32
  CUDASIM_CAPTURE=forbid CUDASIM_CAPTURE=memory CUDASIM_SCHEDULE=late CUDASIM_ORDER=forward CUDASIM_ORDER=reverse)
out=build/sim-modes/$preset
mkdir -p "$out"
scripts/build.sh "$preset" test_ops_all test_train_cuda test_train_cuda_graph test_train_resume test_train_teacher || exit 1
tests=build/$preset/tests
# Results are of the programs that are there now.
for program in "$tests"/test_{ops_all,train_cuda,train_cuda_graph,train_resume,train_teacher}; do
  [ ! "$program" -nt "$out/results.txt" ] || rm -f "$out/results.txt"
done
failures=0
# try MODE NAME COMMAND...
try() {
  local begin=$SECONDS code=0 line="$1 $2 ok"
  if grep -q "^$line " "$out/results.txt" 2>/dev/null; then return; fi
  env "$1" CUDASIM_CLOSE=0 DRAM_TEST_DEVICE=cuda "${@:3}" >"$out/$1-$2.log" 2>&1 || code=$?
  [ $code = 0 ] || { line="$1 $2 FAILED"; failures=$((failures + 1)); }
  echo "$line $((SECONDS - begin)) s${code:+, exit status $code}" | tee -a "$out/results.txt"
}
for mode in "${modes[@]}"; do
  for op in $("$tests/test_ops_all" --names); do
    case $mode in CUDASIM_CAPTURE=* | CUDASIM_SCHEDULE=*) continue ;; esac # nothing is recorded, and there is one queue
    try "$mode" "$op" "$tests/test_ops_all" --cuda "$op"
  done
  for name in cuda_graph resume teacher cuda; do try "$mode" "train_$name" "$tests/test_train_$name"; done
done
echo "$(grep -c ' ok ' "$out/results.txt") are right, $failures are not: $out/results.txt"
[ "$failures" = 0 ]
