#!/usr/bin/env bash
# From a bare Debian machine to a trained student: dependencies, build, synthetic scenes, training, evaluation.
# usage: quickstart.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 0 "$@"
cd "$(dirname "$0")/.."

find_dram
scenes train 800 1
scenes val 64 2 # held out: of another seed
rm -rf runs/quickstart
"$dram" train configs/quickstart.yaml
"$dram" eval configs/quickstart.yaml --weights runs/quickstart/student.safetensors
scripts/summary.sh runs/quickstart
