#!/usr/bin/env bash
# Makes the shipped teacher again: configs/teacher/vit_micro.safetensors, from 2000 synthetic scenes. Resumes if stopped.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/deps.sh
scripts/build.sh release dram
dram=build/release/dram
mkdir -p scenes
[ -d scenes/teacher ] || "$dram" synth scenes/teacher --count 2000 --seed 11
[ -d scenes/val ] || "$dram" synth scenes/val --count 64 --seed 2
resume=()
[ -d runs/vit_micro ] && resume=(--resume)
"$dram" train configs/teacher/vit_micro.yaml "${resume[@]}"
cp runs/vit_micro/student.safetensors configs/teacher/vit_micro.safetensors
