#!/usr/bin/env bash
# fp32 against bf16 on a CPU: images a second and planned peak of a ViT and of a RegNet in training, the networks of
# configs/camvid on synthetic scenes. It prints the table; --write puts it into docs/benchmarks.md.
# usage: precision.sh [--write]
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."
write=
[ "${1:-}" = --write ] && write=1
find_dram
bench_scenes
scenes=$PWD/scenes/bench

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# run CONFIG THREADS PRECISION KEY=VALUE...: images a second of the last step into $out/speed, the planned peak into $out/peak
run() {
  rm -rf "$out/run"
  "$dram" train "configs/camvid/$1.yaml" name=run run.dir="$out" threads="$2" train.precision="$3" "${@:4}" \
    data.train.images="$scenes/images" data.train.labels="$scenes/labels" data.val.images=none data.val.labels=none \
    data.classes=12 run.save_every=0 run.eval_every=0 optim.warmup_steps=5 >"$out/log" 2>&1 || { cat "$out/log" >&2; exit 1; }
  tail -n 1 "$out/run/metrics.jsonl" >"$out/last"
  value "$out/last" images_per_second >"$out/speed"
  value "$out/last" planned_peak_bytes >"$out/peak"
}

# rows NAME CONFIG KEY=VALUE...: a row for one thread and one for two
rows() {
  local name=$1 threads fp32 bf16 peaks
  for threads in 1 2; do
    run "$2" "$threads" fp32 "${@:3}"
    fp32=$(cat "$out/speed")
    peaks="$(mib "$(cat "$out/peak")") MiB"
    run "$2" "$threads" bf16 "${@:3}"
    bf16=$(cat "$out/speed")
    echo "| $name | $threads | $(calc %.1f "$fp32") | $(calc %.1f "$bf16") | $(calc %.1f "$bf16 / $fp32") | $peaks | $(mib "$(cat "$out/peak")") MiB |"
  done
}

{
  echo "| | threads | fp32 | bf16 | ratio | peak, fp32 | peak, bf16 |"
  echo "|---|---:|---:|---:|---:|---:|---:|"
  rows 'a `vit_micro` at 384, batch 8' teacher train.steps=10
  rows 'a RegNetY-200MF at 256, batch 8' student train.steps=25 data.size=256 sam_distill.enabled=false
} >"$out/table"
if [ "$write" ]; then write_section docs/benchmarks.md precision <"$out/table"; else cat "$out/table"; fi
