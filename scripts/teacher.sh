#!/usr/bin/env bash
# Makes the shipped teacher again: configs/teacher/vit_micro.safetensors, from 22,000 synthetic scenes. Resumes if stopped.
# usage: teacher.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."

# both NAME COUNT SEED COUNT SEED: scenes/NAME, of plain ones and varied ones
both() {
  local part=scenes/$1.part style
  [ -d "scenes/$1" ] && return
  rm -rf "$part"
  scenes "$1-plain" "$2" "$3" plain
  scenes "$1-varied" "$4" "$5" varied
  mkdir -p "$part/images" "$part/labels"
  for style in plain varied; do
    mv "scenes/$1-$style/images" "$part/images/$style"
    mv "scenes/$1-$style/labels" "$part/labels/$style"
    rm -rf "scenes/$1-$style"
  done
  mv "$part" "scenes/$1"
}

find_dram
both teacher 8000 200 14000 201
both teacher-val 100 202 100 203
resume=()
[ -d runs/vit_micro ] && resume=(--resume)
"$dram" train configs/teacher/vit_micro.yaml "${resume[@]}"
cp runs/vit_micro/student.safetensors configs/teacher/vit_micro.safetensors
