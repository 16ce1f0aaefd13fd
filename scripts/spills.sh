#!/usr/bin/env bash
# Collects nvcc's reports of a build into BUILD/cuda_resources.txt, a line a kernel, and fails when a kernel of attention
# spills registers.
# usage: spills.sh BUILD
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 1 "$@"
build=$1
out=$build/cuda_resources.txt
find "$build" -name '*.ptxas' -print0 | sort -z | xargs -0 -r cat | c++filt | awk '
  /Compiling entry function/ { architecture = $0; sub(/.* for /, "", architecture); gsub(/\x27/, "", architecture) }
  /Function properties for/ { name = $0; sub(/.*Function properties for /, "", name) }
  /bytes stack frame/ { spills = $0; sub(/^ */, "", spills) }
  /Used [0-9]+ registers/ { used = $0; sub(/.*: /, "", used); print architecture ": " name ": " used "; " spills }' >"$out"
[ -s "$out" ] || { echo "spills.sh: $build holds no report of nvcc" >&2; exit 1; }
if grep attention "$out" | grep -v ' 0 bytes spill stores, 0 bytes spill loads'; then
  echo "spills.sh: these kernels of attention spill" >&2
  exit 1
fi
echo "$(wc -l <"$out") kernels in $out, none of attention spills"
