#!/usr/bin/env bash
# What rounding the biases of a 16-bit teacher's linears does to its embeddings of a folder of photographs, as a GPU has
# them: the cosine to those with f32 biases, and of both to fp32. The weights are seeded random numbers. docs/cuda.md has
# the table.
# usage: bias.sh FOLDER [ARCH [SIZE [PRECISION]]]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 4 "$@"
folder=$(realpath "$1")
cd "$(dirname "$0")/.."
scripts/build.sh release bench_bias >&2
exec build/release/bench_bias "$folder" "${@:2}"
