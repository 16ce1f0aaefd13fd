#!/usr/bin/env bash
# Jobs of three ranks in which one goes wrong (rank.c): each is over within its limit and 10 s, with the right exit code, a
# line that says why, and no process left.
# usage: faults.sh PROGRAM
set -euo pipefail
here=$(dirname "$(realpath "$0")")
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "faults.sh: $1"; exit 1; }
limit=8 # seconds that a rank waits for another

# job NAME EXIT TEXT FAULT RANK [STEP [LIMIT]]: a job, and what it must end with
job() {
  local name=$1 code=0 must=$2 text=$3 process
  shift 3
  DRAM_RANK_PIDS=$work/$name.pid timeout -s KILL $((${4:-limit} + 10)) "$here/mpirun.sh" 3 "$program" "$@" \
    >"$work/$name.log" 2>&1 || code=$?
  [ "$code" != 77 ] || exit 77
  [ "$code" = "$must" ] || fail "$name: exit code $code, not $must: $(cat "$work/$name.log")"
  grep -q "$text" "$work/$name.log" || fail "$name: no line says \"$text\": $(cat "$work/$name.log")"
  for rank in 0 1 2; do
    process=$(cat "$work/$name.pid.$rank")
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      [ "$(readlink "/proc/$process/exe")" = "$(realpath "$program")" ] || continue 2
      sleep 0.3
    done
    fail "$name: process $process of rank $rank is left"
  done
}

"$here/mpirun.sh" 1 true >"$work/skip" || { cat "$work/skip"; exit 77; }
host=$(hostname)
jobs=()
begin() { job "$@" & jobs+=($!); }
begin kill 137 'process rank 1 .* signal 9' kill 1 7 $limit
begin kill-0 137 'process rank 0 .* signal 9' kill 0 7 $limit
begin stop 4 "^dram: rank [02] on $host waited .* s in the agreement of a step (7) for rank 1 on $host (process" stop 1 7 $limit
begin stop-0 4 "^dram: rank [12] on $host waited .* s in the agreement of a step (9) for rank 0 on $host (process" stop 0 9 $limit
begin late 4 "^dram: rank [02] on $host waited .* s in all_reduce, collective 7 for .*rank 1 on $host (process .* stopped)" late 1 7 $limit
begin sleep 4 "waited .* in the agreement of a step (7) for rank 2 on $host" sleep 2 7 $limit
for process in "${jobs[@]:0:3}"; do wait "$process" || exit; done # not all at once
begin fail 1 "^dram: rank 1 on $host: images/7.png: cannot read: Input/output error$" fail 1 7 60
begin fail-0 1 "^dram: rank 0 on $host: images/7.png: cannot read: Input/output error$" fail 0 0 60
begin inside 1 "^dram: rank 2 on $host: the loss is not finite$" inside 2 7 60
begin ahead 1 'rank 1 is in the agreement of a step (8), rank 0 in that of 7' ahead 1 7 60
begin alone 1 'rank 1 .* exiting improperly\|rank 1 with PID' alone 1 7 60
begin config 2 '"train.batch_size: 4" on rank 0 (.*), "train.batch_size: 8" on rank 2 (' config 2 7 60
begin program 2 'dram 0.2.0 on rank 0 (.*), dram 0.1.0 on rank 1 (' program 0 7 60
begin none 0 '^40 steps are done$' none 1 7 60
code=0
for process in "${jobs[@]}"; do
  wait "$process" || code=$?
done
[ "$code" = 0 ] && echo "${#jobs[@]} jobs ended as they must"
exit "$code"
