#!/usr/bin/env bash
# A sweep on simulated GPUs of 8 GiB each: what runs at once never takes more of a card than it has, two run beside each
# other, and none fails. The card has others on it, so that three runs do not fit.
# usage: cards.sh PROGRAM
set -euo pipefail
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() { echo "cards: $*" >&2; tail -5 runs/cards/0*/log.txt >&2 || true; exit 1; }
"$program" synth scenes --count 2 --seed 3 >/dev/null
cat >sweep.yaml <<'END'
sweep:
  name: cards
  base: base.yaml
  grid: {optim.lr: [1.0e-3, 2.0e-3, 3.0e-3]}
END
cat >base.yaml <<'END'
device: cuda
threads: 1
data: {size: 32, workers: 1, prefetch: 1, max_decode_bytes: 16777216, classes: 12, train: {images: scenes/images, labels: scenes/labels},
  val: {images: scenes/images, labels: scenes/labels}}
student: {arch: regnetx_002}
sam_distill: {enabled: false}
task: {enabled: true}
optim: {warmup_steps: 0}
train: {steps: 2, batch_size: 2}
run: {save_every: 0, eval_every: 0}
END
takes=$("$program" plan base.yaml --json 2>/dev/null | jq .process_bytes)
export CUDASIM_MEMORY=$((8 << 30)) CUDASIM_CLOSE=0
export CUDASIM_OTHERS=$((CUDASIM_MEMORY - takes * 5 / 2)) # room for two and a half
"$program" sweep sweep.yaml --jobs 3 --share always >out.txt 2>&1 || fail "$(tail -3 out.txt)"
jq -s -e --argjson takes "$takes" '
  reduce .[] as $e ({now: {}, most: 0, over: false, done: 0};
    if $e.event == "started" then
      .now[$e.run] = ($e.text | capture("; (?<bytes>[0-9]+) bytes of GPU 0, (?<used>[0-9]+) of (?<all>[0-9]+) are in use"))
      | .sum = ([.now[].bytes | tonumber] | add)
      | .over = (.over or .sum > ($takes * 5 / 2) or ($e.text | test("bytes of GPU") | not))
      | .most = ([.most, (.now | length)] | max)
    elif $e.event == "done" then .done += 1 | del(.now[$e.run])
    elif $e.event == "failed" then .over = true
    else . end)
  | .over == false and .most == 2 and .done == 3' runs/cards/events.jsonl >/dev/null || fail "$(cat runs/cards/events.jsonl)"
# Without --share a card's first run is alone: nobody knows yet how busy it keeps the card.
"$program" sweep sweep.yaml name=alone --jobs 3 >out.txt 2>&1 || fail "$(tail -3 out.txt)"
jq -s -e 'reduce .[] as $e ({now: 0, most: 0, done: 0};
    if $e.event == "started" then .now += 1 | .most = ([.most, .now] | max)
    elif $e.event == "done" then .now -= 1 | .done += 1 else . end)
  | .most == 1 and .done == 3' runs/alone/events.jsonl >/dev/null || fail "$(cat runs/alone/events.jsonl)"
if "$program" sweep sweep.yaml name=other --devices 0,7 >out.txt 2>&1; then fail "there is no GPU 7"; fi
grep -q 'devices: there is no GPU 7 that runs can be made on' out.txt || fail "$(cat out.txt)"
echo "cards: two runs beside each other in the memory of two and a half, and one without --share"
