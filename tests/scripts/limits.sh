#!/usr/bin/env bash
# Every command under a few limits on what may be mapped, on threads and on the stack; scripts/check_all.sh tries many
# more: limits.sh BUILD
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DRAM=$1/dram
fail() { echo "limits.sh: $1: $(head -n 3 "$work/err")"; exit 1; }

# 128, 578 and 1028 MiB: too little, enough for most, enough for all. An hour, not seconds: the machine may be busy,
# and ctest's own limit ends what hangs.
code=0
LIMITS_SECONDS=3600 scripts/limits.sh 128 1028 450 || code=$?
[ "$code" = 0 ] || exit "$code"

# refused CODE TEXT LIMIT VALUE COMMAND...: under `ulimit LIMIT VALUE` it ends with CODE and TEXT
refused() {
  local want=$1 text=$2 limit=$3 value=$4 code=0
  shift 4
  (ulimit "$limit" "$value" && exec "$DRAM" "$@") >"$work/out" 2>"$work/err" || code=$?
  [ "$code" = "$want" ] && grep -qF -- "$text" "$work/err" || fail "dram $* under ulimit $limit $value ends with $code"
}
refused 3 "the stack, and dram may need 1.00 MiB: raise it" -s 128 doctor
refused 3 "\`ulimit -d\` lets the process map " -d 100000 plan configs/quickstart.yaml device=cpu threads=2 --calibrate \
  memory.profile="$work/times.json"
# OpenBLAS starts no thread of its own, however many it is told to: a second one would be more than there is room for.
(export OPENBLAS_NUM_THREADS=64 && ulimit -v 80000 && exec "$DRAM" doctor) >"$work/out" 2>"$work/err" || fail "dram doctor"
echo "limits.sh: done or refused with a line"
