#!/usr/bin/env bash
# A sweep that is killed (SIGKILL) at MOMENTS random moments, half of the time with its children, and started again each
# time: its points.csv must be that of a sweep that nothing happened to, but for times and what depends on them; no run
# that was done is made again, no step of a run is written twice, and no two processes make one run at a time. Two
# minutes for 20 moments. Its folder stays where something is wrong.
# usage: sweep_faults.sh MOMENTS [SEED]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 2 "$@"
cd "$(dirname "$0")/.."
find_dram
dram=$(realpath "$dram")
moments=$1 RANDOM=${2:-$RANDOM}
echo "sweep_faults: seed ${2:-by chance}"
work=$(mktemp -d)
cd "$work"
fail() { echo "sweep_faults: $* ($work)" >&2; exit 1; }

"$dram" synth scenes --count 8 --seed 3 >/dev/null
cat >base.yaml <<'END'
device: cpu
threads: 1
data: {size: 64, workers: 1, prefetch: 2, max_decode_bytes: 16777216, classes: 12, train: {images: scenes/images, labels: scenes/labels},
  val: {images: scenes/images, labels: scenes/labels}}
student: {arch: regnetx_002}
sam_distill: {enabled: false}
task: {enabled: true}
optim: {warmup_steps: 1}
run: {save_every: 3, eval_every: 0}
END
sweep() { # NAME: its file
  cat >"$1.yaml" <<END
sweep:
  name: $1
  base: base.yaml
  set: {train.steps: 12, train.batch_size: 2}
  grid: {optim.lr: [1.0e-3, 2.0e-3, 4.0e-3]}
  seeds: [1, 2]
END
}
limit=300MiB # two runs beside each other, and not three

# points.csv without times, what processes had resident, and what is dominated by the two
known() {
  python3 - "$1" <<'END'
import csv, sys
out = {"process_bytes", "seconds_per_image", "pareto", "dominated_by"}
for row in csv.DictReader(open(sys.argv[1])):
    print({k: v for k, v in row.items() if k not in out})
END
}

# Runs that two processes make now. A process between fork and exec has the words of its parent.
doubled() { ps -eo args | grep -o "^[^ ]*dram train runs/[^ ]*" | sort | uniq -d; }

# Those that claims of the sweep NAME have; a number that is another process's by now is left alone.
kill_children() {
  local child
  for child in $(cat runs/"$1"/claims/0* 2>/dev/null | jq .child); do
    if tr '\0' ' ' 2>/dev/null <"/proc/$child/cmdline" | grep -q "^$dram train runs/$1/"; then kill -9 "$child" || true; fi
  done
}

check_run() { # SWEEP RUN: every step is there once, in order
  local steps
  steps=$(column "runs/$1/$2/metrics.jsonl" step | tr '\n' ' ')
  [ "$steps" = "0 1 2 3 4 5 6 7 8 9 10 11 " ] || fail "$1/$2 has the steps $steps"
  if grep -q 'is training in this run' "runs/$1/$2/log.txt"; then fail "$1/$2: two processes met"; fi
}

check() { # SWEEP
  local run
  known "runs/$1/points.csv" | diff whole.csv - || fail "$1 came to other points"
  jq -s -e 'reduce .[] as $e ({done: {}, bad: []}; if $e.event == "done" then .done[$e.run] = 1
      elif $e.event == "started" and .done[$e.run] then .bad += [$e.run] else . end) | .bad == []' "runs/$1/events.jsonl" >/dev/null ||
    fail "$1: a run that was done was made again"
  # No more was promised at a time than there is.
  jq -s -e '[.[] | select(.event == "started") | .text | capture("(?<used>[0-9]+) of (?<all>[0-9]+) bytes are in use")
      | (.used | tonumber) <= (.all | tonumber)] | all and length >= 6' "runs/$1/events.jsonl" >/dev/null ||
    fail "$1: more was in use than there is"
  for run in runs/"$1"/0*; do check_run "$1" "${run##*/}"; done
}

sweep whole
"$dram" sweep whole.yaml --memory $limit --jobs 2 >whole.log 2>&1 || fail "$(tail -1 whole.log)"
known runs/whole/points.csv >whole.csv
[ "$(wc -l <whole.csv)" = 3 ] || fail "there are not 3 points"
check whole

killed=0 round=0
while [ $killed -lt "$moments" ]; do
  round=$((round + 1)) name=killed$round
  sweep $name
  while :; do
    "$dram" sweep $name.yaml --memory $limit --jobs 2 >>$name.log 2>&1 & process=$!
    if [ $killed -lt "$moments" ]; then
      sleep "$(calc %.3f "0.05 + $RANDOM / 32768 * 3")"
      if kill -0 $process 2>/dev/null; then
        [ -z "$(doubled)" ] || fail "two processes make $(doubled)"
        kill -9 $process 2>/dev/null && killed=$((killed + 1))
        # As where the machine goes down: its children go too.
        [ $((RANDOM % 2)) = 0 ] || kill_children $name
      fi
    fi
    code=0
    wait $process 2>/dev/null || code=$?
    [ $code = 0 ] && break
    [ $code = 137 ] || fail "$name: exit code $code: $(tail -1 $name.log)"
  done
  check $name
done
echo "sweep_faults: killed $killed times in $round sweeps of 6 runs: the same points, nothing made twice"
rm -rf "$work"
