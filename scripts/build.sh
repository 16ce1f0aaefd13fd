#!/usr/bin/env bash
# Builds one preset of CMakePresets.json (release when none is named) into build/PRESET.
# usage: build.sh [PRESET [TARGET ...]]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 any "$@"
cd "$(dirname "$0")/.."
preset=${1:-release}
cmake --preset "$preset" -G Ninja >/dev/null
targets=("${@:2}")
log=build/$preset/build.log
cmake --build "build/$preset" ${targets:+--target "${targets[@]}"} >"$log" 2>&1 || { tail -n 40 "$log" >&2; exit 1; }
tail -n 1 "$log"
