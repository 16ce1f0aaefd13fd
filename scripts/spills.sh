#!/usr/bin/env bash
# Collects nvcc's reports of a build into BUILD/cuda_resources.txt, a line a kernel and an architecture, and fails when a
# kernel of attention spills registers. Two may spill a few bytes, on GPUs that no one has tuned them for.
# usage: spills.sh BUILD
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 1 "$@"
build=$1
out=$build/cuda_resources.txt
# ARCHITECTURE KERNEL BYTES: allowed, stored or loaded
allowed='sm_120 attention_dkv_kernel<float,80> 12
sm_120 attention_dq_kernel<float,80> 8'
find "$build" -name '*.ptxas' -print0 | sort -z | xargs -0 -r cat | c++filt | awk '
  /Compiling entry function/ { architecture = $0; sub(/.* for /, "", architecture); gsub(/\x27/, "", architecture) }
  /Function properties for/ { name = $0; sub(/.*Function properties for /, "", name) }
  /bytes stack frame/ { spills = $0; sub(/^ */, "", spills) }
  /Used [0-9]+ registers/ { used = $0; sub(/.*: /, "", used); print architecture ": " name ": " used "; " spills }' >"$out"
[ -s "$out" ] || { echo "spills.sh: $build holds no report of nvcc" >&2; exit 1; }
code=0
grep attention "$out" | awk -v allowed="$allowed" '
  BEGIN { n = split(allowed, lines, "\n"); for (i = 1; i <= n; i++) { split(lines[i], w, " "); most[w[1] " " w[2]] = w[3] } }
  {
    architecture = $1; sub(/:$/, "", architecture)
    kernel = $0; sub(/^[^:]*: (void )?/, "", kernel); sub(/\(anonymous namespace\)::/, "", kernel)
    sub(/\(.*/, "", kernel); gsub(/ /, "", kernel)
    stores = $0; sub(/ bytes spill stores.*/, "", stores); sub(/.* /, "", stores)
    loads = $0; sub(/ bytes spill loads.*/, "", loads); sub(/.* /, "", loads)
    may = architecture " " kernel
    if (stores + 0 <= most[may] + 0 && loads + 0 <= most[may] + 0) next
    print; bad = 1
  }
  END { exit bad }' || code=$?
if [ $code != 0 ]; then
  echo "spills.sh: these kernels of attention spill" >&2
  exit 1
fi
echo "$(wc -l <"$out") kernels in $out, none of attention spills more than a few bytes that are known"
