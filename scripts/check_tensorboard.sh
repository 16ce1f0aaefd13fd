#!/usr/bin/env bash
# A run is killed, its event file torn, and gone on with, while a TensorBoard watches it: PyPI's tensorboard reads every tag
# back, the numbers are those of the run's own files, and no step is shown twice, by either of its two readers.
# PYTHON names a Python that has tensorboard (pip install tensorboard).
# usage: check_tensorboard.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."
here=$PWD/scripts python=${PYTHON:-python3}
find_dram
dram=$(realpath "$dram")
work=$(mktemp -d)
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "check_tensorboard.sh: $1"; exit 1; }
"$python" -c 'import tensorboard' || fail "PYTHON has no tensorboard: pip install tensorboard"
cd "$work"
"$dram" synth scenes --count 14 --seed 11 >/dev/null
cat >t.yaml <<'END'
threads: 1
device: cpu
data:
  size: 64
  train: {images: scenes/images, labels: scenes/labels}
  val: {images: scenes/images, labels: scenes/labels}
  classes: 12
student: {arch: vit_micro}
sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 64, fidelity_images: 0}
resolution_distill: {enabled: false}
task: {enabled: true}
train: {steps: 400, batch_size: 3}
run: {save_every: 50, eval_every: 40, keep: 9, dir: runs, tensorboard: true}
END
port=$((20000 + $$ % 20000)) urls=()
for fast in true false; do # the reader in Rust, and that in Python
  port=$((port + 1))
  "$python" -m tensorboard.main --logdir runs --port $port --reload_interval 1 --load_fast $fast \
    --samples_per_plugin scalars=100000 >server-$fast.log 2>&1 &
  servers+=($!)
  urls+=("http://localhost:$port")
done
train() { "$dram" train t.yaml "$@" >>run.log 2>&1; }
steps() { cat runs/run/metrics.jsonl 2>/dev/null | wc -l; }

"$dram" train t.yaml >>run.log 2>&1 & run=$!
until [ "$(steps)" -ge 130 ]; do kill -0 $run || fail "$(cat run.log)"; sleep 0.05; done
kill -9 $run
wait $run 2>/dev/null || true
sleep 4 # the servers have read what is there
file=$(ls runs/run/tb/*)
printf '\30\0\0\0\0' >>"$file" # torn
train --resume || fail "$(cat run.log)"
grep -q "tfevents.*is left out: it is torn" run.log || fail "the torn record is not spoken of: $(cat run.log)"
[ "$(steps)" = 400 ] || fail "the run has $(steps) steps"
"$python" "$here/check_tensorboard.py" runs/run "${urls[@]}"
# An attempt that comes to no checkpoint is put aside.
"$dram" train t.yaml name=early run.save_every=0 >>run.log 2>&1 & run=$!
until grep -q '"step":5,' runs/early/metrics.jsonl 2>/dev/null; do sleep 0.05; done
kill -9 $run
wait $run 2>/dev/null || true
train name=early train.steps=10 || fail "$(cat run.log)"
[ -d runs/early/tb.before ] || fail "the first attempt's event files are not kept apart"
"$python" "$here/check_tensorboard.py" runs/early
