#!/usr/bin/env bash
# dram against PyTorch (CPU) on the same work, in turn: step time and peak resident memory.
# PyTorch comes from PyPI into build/bench-venv (several GB), or from the environment DRAM_BENCH_VENV names.
# usage: bench.sh [ROUNDS] [STEPS]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 2 "$@"
cd "$(dirname "$0")/.."
rounds=${1:-3}
steps=${2:-5}

find_dram
bench_scenes
venv=${DRAM_BENCH_VENV:-build/bench-venv}
if [ ! -x "$venv/bin/python" ]; then
  command -v python3 >/dev/null || { echo "bench.sh: python3 and python3-venv are needed" >&2; exit 1; }
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet torch timm
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for ((i = 0; i < rounds; i++)); do
  for config in step exact lean; do
    "$dram" train "bench/$config.yaml" threads=2 train.steps=$((steps + 1)) run.dir="$out/$config$i" --json \
      >"$out/$config$i.json" 2>"$out/log" || { cat "$out/log" >&2; exit 1; }
  done
  OMP_NUM_THREADS=2 "$venv/bin/python" bench/torch_step.py --threads 2 --steps "$steps" >"$out/torch$i.json"
done
"$venv/bin/python" bench/compare.py "$out" "$rounds"
