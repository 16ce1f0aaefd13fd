#!/usr/bin/env bash
# Do timm, transformers, segment-anything and onnxruntime read what `dram export` writes, and compute the numbers that dram does?
# For a student of every family, at two sizes, two images each: timm's taps against dram's; SAM's decoder, of both sources,
# on the exported encoder's embedding against dram's own; ONNX by onnxruntime (check_export_onnx.py); the Python of
# docs/export.md. With --large also how long an export of the largest network takes, and how much memory.
#
# What it needs of PyPI goes into the environment DRAM_EXPORT_VENV names, outside the checkout (several GB); one that is
# there is taken as it is, if it has all of it.
# usage: check_export.sh [--large]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."
venv=${DRAM_EXPORT_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/dram/venv-export}
find_dram
scripts/build.sh release export_numbers >&2
numbers=$PWD/build/release/tests/export_numbers

if [ ! -x "$venv/bin/python" ]; then
  command -v python3 >/dev/null || { echo "check_export.sh: python3 and python3-venv are needed" >&2; exit 1; }
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet torch torchvision timm transformers safetensors pillow onnx onnxruntime
  "$venv/bin/pip" install --quiet --no-deps samexporter segment-anything opencv-python-headless # it pins old versions
fi
"$venv/bin/python" -c 'import timm, transformers, segment_anything, onnx, onnxruntime, samexporter' ||
  { echo "check_export.sh: $venv lacks one of these; remove it, and it is made again" >&2; exit 1; }
"$venv/bin/pip" list --format=freeze 2>/dev/null | grep -E '^(torch|timm|transformers|onnx|onnxruntime|samexporter)==' | paste -sd' '

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=2
check() { "$venv/bin/python" -W ignore scripts/check_export.py "$@"; }

"$dram" synth "$work/scenes" --count 8 --seed 3 >/dev/null
cat >"$work/base.yaml" <<EOF
data: {size: 256, workers: 1, train: {images: scenes/images, labels: scenes/labels}, val: {images: scenes/images, labels: scenes/labels}, classes: 12}
sam_distill: {teacher: {model_type: vit_micro, weights: random}, sam_input_size: 256, fidelity_images: 0}
task: {enabled: true}
optim: {lr: 2.0e-3, warmup_steps: 1}
train: {steps: 3, batch_size: 4}
run: {save_every: 0, eval_every: 0}
EOF
check sam "$work"
for arch in regnetx_002 regnety_002 regnetx_004_tv vit_micro; do
  run=$work/runs/$arch
  echo "$arch"
  "$dram" train "$work/base.yaml" "name=$arch" "student.arch=$arch" "run.dir=$work/runs" device=cpu >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  check redraw "$run"
  "$dram" export "$run" --timm "$run/timm" --sam "$run/hf" --sam-decoder "$work/hf.safetensors" >/dev/null
  "$dram" export "$run" --sam "$run/meta" --sam-decoder "$work/meta.pth" >/dev/null
  for size in 256 320; do "$numbers" "$run" - $size 2 5 "$run/numbers.$size"; done
  check student "$run" "$run"/numbers.*
done

mkdir "$work/onnx"
"$venv/bin/python" -W ignore scripts/check_export_onnx.py build/release "$work/onnx"

# The Python of the page, in a folder where what it names is there.
mkdir "$work/page"
cp -r "$work/runs/regnety_002/timm" "$work/page/student"
cp "$work/runs/regnety_002/hf" "$work/page/sam.safetensors"
"$dram" export "$work/runs/regnety_002" --onnx "$work/page/encoder.onnx" --size 1024 >/dev/null
cp "$(find "$work/scenes/images" -name '*.jpg' | sort | head -n 1)" "$work/page/photo.jpg"
awk '/^```python$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/export.md >"$work/page/page.py"
(cd "$work/page" && "$venv/bin/python" -W ignore page.py && [ -s mask.png ])
echo "docs/export.md: its Python runs"

if [ "${1:-}" = --large ]; then
  for arch in regnety_320:regnety_320: vit_h:samvit_huge_patch16:--half; do # a file of ONNX holds less than 2 GiB
    IFS=: read -r _ name half <<<"$arch"
    check large "$name" "$work/large.safetensors"
    rm -rf "$work/large" "$work/large.onnx"
    for target in "--timm $work/large" "--onnx $work/large.onnx --output features $half"; do
      # shellcheck disable=SC2086
      check limits "$work/large.safetensors" "$dram" export "$work/large.safetensors" $target
    done
  done
fi
echo "check_export: all agree"
