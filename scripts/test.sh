#!/usr/bin/env bash
# Dependencies, build, every test: the suite under ASan, UBSan and LeakSanitizer, what threads share under TSan, a build
# with clang where there is one, and everything as a release build. Under 15 minutes on two cores. scripts/check_all.sh
# runs what takes longer.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/deps.sh
scripts/build.sh asan
# One instruction set is enough here, and whole runs take minutes under a sanitizer: scripts/check_all.sh does those too.
# ops/both is ops/all and ops/cuda, the latter on the simulated GPU, where train/cuda_graph and cli/cuda run too.
slow='ops/all|ops/cuda|cli/(commands|look|process|runs)|distill/placement|model/(adamw|vit_b)'
slow="$slow|session/(calibrate|levers|recompute|room|update|weights)|feed/|evaluate/|train/(cuda$|failures|files|interval|losses|own_teacher|precision|resume|soak|teacher)"
ctest --test-dir build/asan --output-on-failure -j "$(nproc)" -E "$slow"
scripts/build.sh tsan test_base_pool test_data_loader test_device_exec test_train_guard
ctest --test-dir build/tsan --output-on-failure -R '^(base/pool|data/loader|device/exec|train/guard)$'
if command -v clang >/dev/null; then # the program, and what would show another order of evaluation
  scripts/build.sh clang dram test_data_synth
  ctest --test-dir build/clang --output-on-failure -R '^data/synth$'
else
  echo "test.sh: skipped clang, it is not installed"
fi
scripts/build.sh release
ctest --test-dir build/release --output-on-failure -j "$(nproc)"
