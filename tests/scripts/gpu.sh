#!/usr/bin/env bash
# What bench/gpu.sh and scripts/gpu_check.sh make of programs that stand in for dram's and PyTorch's.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "gpu.sh: $1"; exit 1; }

program() { cat >"$work/$1"; chmod +x "$work/$1"; }
mkdir "$work/tests"

# ---- the benchmark's table ----

program bench_gpu <<'EOF'
#!/bin/sh
case "$*" in
  kernels*) echo "the kernels' table" ;;
  *vit_h*) echo "bench_gpu: out of memory" >&2; exit 3 ;;
  *) echo '{"device":"one","seconds":0.5,"images_per_second":16.25,"measured_peak_bytes":104857600,"process_bytes":209715200}' ;;
esac
EOF
program python <<'EOF'
#!/bin/sh
case "$*" in
  *--compile*) echo "skipped: PyTorch: no compiler"; exit 77 ;;
  *) echo '{"torch": "2", "images_per_second": 8.125, "peak_bytes": 1048576, "card_bytes": 3145728}' ;;
esac
EOF
code=0
DRAM_BUILD=$work DRAM_BENCH_PYTHON=$work/python bench/gpu.sh "$work/out" >"$work/said" || code=$?
[ "$code" = 1 ] || fail "exit status $code when vit_h fails"
grep -q "^the kernels' table$" "$work/said" || fail "no kernels"
grep -qF '| vit_b forward, batch 8 | 16.2 | 100 | 200 | 8.1 | 1 | 3 | - | - | - | 73.2, 4679 |' "$work/out/table.md" || fail "$(cat "$work/said")"
grep -qF '| vit_h forward, batch 8 | - | - | - | 8.1 | 1 | 3 | - | - | - | 21.9, 7947 |' "$work/out/table.md" || fail "$(cat "$work/said")"
[ "$(grep -c '^| .* |$' "$work/out/table.md")" = 8 ] || fail "not seven rows"
grep -q '^vit_h forward, batch 1: dram: failed: bench_gpu: out of memory$' "$work/out/notes.txt" || fail "a failure is not told"
grep -q '^regnety_004 step, batch 8: compile: skipped: PyTorch: no compiler$' "$work/out/notes.txt" || fail "a skip is not told"
DRAM_BENCH_SECONDS=1 DRAM_BUILD=$work bench/gpu.sh "$work/late" >"$work/said"
grep -q 'dram: left out: no time' "$work/said" || fail "time that ended is not told"

# ---- no GPU ----

for name in dram tests/test_ops_all tests/test_device_exec tests/test_train_cuda tests/test_train_resume tests/test_train_teacher; do
  printf '#!/bin/sh\nexit 9\n' | program "$name"
done
printf '#!/bin/sh\necho "bench_gpu: there is no GPU" >&2\nexit 1\n' | program bench_gpu
code=0
DRAM_BUILD=$work scripts/gpu_check.sh "$work/check" >"$work/said" 2>&1 || code=$?
[ "$code" = 77 ] || fail "exit status $code without a GPU"
[ "$(cat "$work/said")" = "gpu_check: nothing is checked: there is no GPU" ] || fail "$(cat "$work/said")"

# ---- a GPU on which all fails ----

printf '#!/bin/sh\n[ "$1" = device ] && echo "one GPU, 80 bytes"\n' | program bench_gpu
code=0
DRAM_BUILD=$work scripts/gpu_check.sh "$work/check" >"$work/said" 2>&1 || code=$?
[ "$code" = 1 ] || fail "exit status $code when tests fail"
grep -q '^ops and gradients *FAILED .*exit status 9' "$work/check/record.txt" || fail "$(cat "$work/said")"
grep -q '^tier 80gb *skipped .*cannot be made that small' "$work/check/record.txt" || fail "$(cat "$work/said")"
tail -n 1 "$work/said" | grep -q '^benchmark *FAILED ' || fail "the table is not last"
echo "the scripts say what happened"
