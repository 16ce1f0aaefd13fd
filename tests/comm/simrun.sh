#!/usr/bin/env bash
# Runs a program as N ranks of this machine, started as torchrun starts them: RANK, WORLD_SIZE, LOCAL_RANK,
# LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT. Of simulated GPUs there are as many. When a rank fails, the others get SIGTERM
# after SIMRUN_WAIT seconds (1), and SIGKILL three seconds later. The exit code is that of the first that failed.
# usage: simrun.sh N PROGRAM [ARGUMENT ...]
set -uo pipefail
[ $# -ge 2 ] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 2; }
n=$1
shift
export WORLD_SIZE=$n LOCAL_WORLD_SIZE=$n MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-$((20000 + $$ % 40000))}
export CUDASIM_DEVICES=${CUDASIM_DEVICES:-$n}
processes=()
end() { # leaves none behind, whatever ends this script
  [ ${#processes[@]} = 0 ] || kill -TERM "${processes[@]}" 2>/dev/null
  for _ in {1..30}; do
    kill -0 "${processes[@]}" 2>/dev/null || return
    sleep 0.1
  done
  kill -KILL "${processes[@]}" 2>/dev/null
}
trap 'end; exit 130' INT TERM
for ((rank = 0; rank < n; rank++)); do
  RANK=$rank LOCAL_RANK=$rank "$@" &
  processes+=($!)
done
code=0
for ((left = n; left; left--)); do
  wait -n -p ended "${processes[@]}" || code=$?
  rest=()
  for process in "${processes[@]}"; do [ "$process" = "$ended" ] || rest+=("$process"); done
  processes=(${rest[@]+"${rest[@]}"})
  [ "$code" = 0 ] || break
done
if [ "$code" != 0 ] && [ ${#processes[@]} != 0 ]; then
  for ((i = 0; i < 10 * ${SIMRUN_WAIT:-1}; i++)); do
    kill -0 "${processes[@]}" 2>/dev/null || break # all are gone
    sleep 0.1
  done
  end
fi
exit "$code"
