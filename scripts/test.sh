#!/usr/bin/env bash
# Dependencies, build, every test: the whole suite as a release build, and the suite on small shapes under ASan, UBSan
# and LeakSanitizer. Under 15 minutes on two cores. scripts/check_all.sh runs what takes longer.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/deps.sh
scripts/build.sh asan
ctest --test-dir build/asan --output-on-failure -j "$(nproc)" -E 'ops/all-base' # one instruction set is enough here
scripts/build.sh release
ctest --test-dir build/release --output-on-failure -j "$(nproc)"
