#!/usr/bin/env bash
# Runs nvcc as it is told and keeps its report of registers and spills beside the object, as OBJECT.ptxas.
# usage: nvcc.sh NVCC OPTION ...
set -uo pipefail
case ${1:---} in
  --help) sed -n 's/^# usage: /usage: /p' "$0"; exit 0 ;;
  -*) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2 ;;
esac
object=nvcc
for ((i = 1; i < $#; i++)); do
  next=$((i + 1))
  [ "${!i}" = -o ] && object=${!next}
done
"$@" 2>&1 | tee "$object.ptxas" >&2
exit "${PIPESTATUS[0]}"
