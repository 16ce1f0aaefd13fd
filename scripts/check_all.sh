#!/usr/bin/env bash
# What scripts/test.sh leaves out: the whole suite under ASan and UBSan, 50 steps on the simulated GPU, TSan over the
# threaded parts, clang, fuzzing, other GPUs' code, the check for a GPU on the simulated one, 10,000 steps on end, every
# command under limits on what may be mapped, the lower instruction sets, runs that are killed, stopped or meet failing
# calls.
# usage: check_all.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."

scripts/test.sh
ctest --test-dir build/asan --no-tests=error --output-on-failure -j "$(nproc)" -E '^ops/base/'
scripts/build.sh tsan
ctest --test-dir build/tsan --no-tests=error --output-on-failure -L '^(base|device|session|feed|evaluate|train|threads)$'
if command -v clang >/dev/null; then
  scripts/build.sh clang
  ctest --test-dir build/clang --no-tests=error --output-on-failure -j "$(nproc)"
  for target in tests/fuzz/*/*.c; do scripts/fuzz.sh "$(basename "$target" .c)" 60s; done
else
  echo "check_all: skipped clang, it is not installed"
fi
if command -v nvcc >/dev/null; then
  if command -v clang >/dev/null; then # the host code for CUDA, which the preset leaves out
    cmake --preset clang -G Ninja -B build/clang-cuda >/dev/null
    cmake build/clang-cuda -DDRAM_CUDA=ON >/dev/null
    cmake --build build/clang-cuda --target dram >/dev/null
  fi
  scripts/gpu_bundle.sh # builds what a release has: code for every GPU that is known
  scripts/spills.sh build/gpu
else
  echo "check_all: skipped CUDA for sm_80 to sm_120, nvcc is not installed"
fi
scripts/sim_modes.sh asan
scripts/build.sh sim $(cat scripts/gpu_programs.txt) test_cli_process
ctest --test-dir build/sim --no-tests=error --output-on-failure -L '^simulated$'
DRAM_BUILD=build/sim GPU_CHECK_SECONDS=3600 scripts/gpu_check.sh --small
LIMITS_SECONDS=60 scripts/limits.sh
tests/train/ranks.sh build/release/dram more
tests/train/rank_faults.sh 20 build/release/dram
DRAM_SOAK_STEPS=10000 ctest --test-dir build/release --no-tests=error --output-on-failure -L '^soak$'
DRAM_CPU_ISA=base ctest --test-dir build/release --no-tests=error --output-on-failure -L '^(ops|model)$'
scripts/faults.sh
scripts/sweep_faults.sh 20
