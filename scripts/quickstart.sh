#!/usr/bin/env bash
# From a bare Debian machine to a trained student: dependencies, build, synthetic scenes, training, evaluation.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/deps.sh
scripts/build.sh release dram
dram=build/release/dram

# The scenes are always the same; the held-out ones are of another seed than those trained on.
mkdir -p scenes
"$dram" synth scenes/train --count 800 --seed 1
"$dram" synth scenes/val --count 64 --seed 2

rm -rf runs/quickstart
"$dram" train configs/quickstart.yaml
"$dram" eval configs/quickstart.yaml --weights runs/quickstart/student.safetensors
scripts/summary.sh runs/quickstart
