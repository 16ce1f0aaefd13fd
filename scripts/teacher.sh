#!/usr/bin/env bash
# Makes the shipped teacher again: configs/teacher/vit_micro.safetensors, from 2000 synthetic scenes. Resumes if stopped.
# usage: teacher.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."

find_dram
scenes teacher 2000 11
scenes val 64 2
resume=()
[ -d runs/vit_micro ] && resume=(--resume)
"$dram" train configs/teacher/vit_micro.yaml "${resume[@]}"
cp runs/vit_micro/student.safetensors configs/teacher/vit_micro.safetensors
