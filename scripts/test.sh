#!/usr/bin/env bash
# Dependencies, build, every test: the suite under ASan, UBSan and LeakSanitizer, what threads share under TSan, a build
# with clang where there is one, and everything as a release build. Under 20 minutes on two cores. scripts/check_all.sh
# runs what takes longer.
# usage: test.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."

scripts/deps.sh --tests
scripts/build.sh asan
# tests/CMakeLists.txt says which tests have which label. One instruction set is enough here, and whole runs take minutes
# under a sanitizer: scripts/check_all.sh does those too.
# ops/cuda/NAME is an op on the CPU and on the simulated GPU, where train/cuda_graph and cli/cuda run too.
ctest --test-dir build/asan --no-tests=error --output-on-failure -j "$(nproc)" -LE '^slow$'
scripts/build.sh tsan tests_threads
ctest --test-dir build/tsan --no-tests=error --output-on-failure -L '^threads$'
if command -v clang >/dev/null; then # the program, and what would show another order of evaluation
  scripts/build.sh clang dram tests_clang
  ctest --test-dir build/clang --no-tests=error --output-on-failure -L '^clang$'
else
  echo "test.sh: skipped clang, it is not installed"
fi
scripts/build.sh release
ctest --test-dir build/release --no-tests=error --output-on-failure -j "$(nproc)"
