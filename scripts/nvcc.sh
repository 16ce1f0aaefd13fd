#!/usr/bin/env bash
# Runs nvcc as it is told and keeps its report of registers and spills beside the object, as OBJECT.ptxas.
set -uo pipefail
object=nvcc
for ((i = 1; i < $#; i++)); do
  next=$((i + 1))
  [ "${!i}" = -o ] && object=${!next}
done
"$@" 2>&1 | tee "$object.ptxas" >&2
exit "${PIPESTATUS[0]}"
