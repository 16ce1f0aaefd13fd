#!/usr/bin/env bash
# dram where things go wrong, on a release build: SIGKILL at random moments, a kind of system calls that fails in all places
# of a command, two processes at once, SIGTERM at random moments. Each time the next start must come to what a run comes to
# that nothing happened to, bit for bit. Ten minutes; with --whole hours: 200 kills, every call of every command with every
# fault, 50 pairs, 40 stops, in build/release/faults, where the same command goes on if it was stopped. FAULTS_SEED is the
# seed, which is printed and else by chance; FAULTS_FOLDER another folder, as one in memory (150 MB a mode).
# usage: faults.sh [--whole]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
[ "${1:---whole}" = --whole ] || { usage >&2; exit 2; }
cd "$(dirname "$0")/.."

scripts/build.sh release faults
seed=${FAULTS_SEED:-$((RANDOM * 32768 + RANDOM))}
folder=${FAULTS_FOLDER:-build/release/faults}
amounts=(kills 20 sweeps 10 pairs 6 stops 10)
if [ $# = 1 ]; then
  amounts=(kills 200 sweeps 220 pairs 50 stops 40)
  mkdir -p "$folder"
fi
failed=0
for ((i = 0; i < ${#amounts[@]}; i += 2)); do
  kept=()
  [ $# = 0 ] || kept=("$folder/${amounts[i]}")
  build/release/tests/faults "${amounts[i]}" "${amounts[i + 1]}" "$seed" "${kept[@]}" || failed=1
done
exit $failed
