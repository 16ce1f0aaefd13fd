#!/usr/bin/env bash
# What scripts/test.sh leaves out: the whole suite under ASan and UBSan, TSan over the threaded parts, clang, 10,000 steps on end, the lower instruction sets.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/test.sh
ctest --test-dir build/asan --output-on-failure -j "$(nproc)" -E 'ops/all-base'
scripts/build.sh tsan
ctest --test-dir build/tsan --output-on-failure -R 'base/|data/loader|device/|train/'
if command -v clang >/dev/null; then
  scripts/build.sh clang
  ctest --test-dir build/clang --output-on-failure -j "$(nproc)"
else
  echo "check_all: skipped clang, it is not installed"
fi
DRAM_SOAK_STEPS=10000 ctest --test-dir build/release --output-on-failure -R '^train/soak$'
DRAM_CPU_ISA=base ctest --test-dir build/release --output-on-failure -R 'ops/|model/'
