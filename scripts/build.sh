#!/usr/bin/env bash
# Builds one preset of CMakePresets.json (release when none is named) into build/PRESET.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
cmake --preset "$preset" -G Ninja >/dev/null
cmake --build "build/$preset" ${2:+--target "$2"} | tail -n 1
