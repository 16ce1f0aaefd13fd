#!/usr/bin/env bash
# What bench/gpu.sh, scripts/gpu_check.sh and scripts/gpu_bundle.sh make of programs that stand in for dram's and PyTorch's.
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
  *regnety_016*) echo "bench_gpu: no such kernel" >&2; exit 1 ;;
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
[ "$code" = 1 ] || fail "exit status $code when a step fails"
grep -q "^the kernels' table$" "$work/said" || fail "no kernels"
grep -qF '| vit_b forward, batch 8 | 16.2 | 100 | 200 | 8.1 | 1 | 3 | - | - | - | 73.2, 4679 |' "$work/out/table.md" || fail "$(cat "$work/said")"
grep -qF '| vit_h forward, batch 8 | - | - | - | 8.1 | 1 | 3 | - | - | - | 21.9, 7947 |' "$work/out/table.md" || fail "$(cat "$work/said")"
[ "$(grep -c '^| .* |$' "$work/out/table.md")" = 8 ] || fail "not seven rows"
grep -q '^vit_h forward, batch 1: dram: left out: does not fit: bench_gpu: out of memory$' "$work/out/notes.txt" || fail "$(cat "$work/said")"
grep -q '^regnety_016 step, batch 8: dram: failed: exit status 1: bench_gpu: no such kernel$' "$work/out/notes.txt" || fail "a failure is not told"
grep -q '^regnety_004 step, batch 8: compile: skipped: PyTorch: no compiler$' "$work/out/notes.txt" || fail "a skip is not told"
DRAM_BENCH_SECONDS=1 DRAM_BUILD=$work bench/gpu.sh "$work/late" >"$work/said"
grep -q 'dram: left out: no time' "$work/said" || fail "time that ended is not told"

program bench_gpu <<'EOF'
#!/bin/sh
[ "$1" = kernels ] && exit "$KERNELS"
echo "bench_gpu: out of memory" >&2
exit 3
EOF
code=0
KERNELS=3 DRAM_BUILD=$work DRAM_BENCH_PYTHON=$work/python bench/gpu.sh "$work/out" >"$work/said" || code=$?
[ "$code" = 0 ] || fail "exit status $code when nothing fits"
code=0
KERNELS=1 DRAM_BUILD=$work DRAM_BENCH_PYTHON=$work/python bench/gpu.sh "$work/out" >"$work/said" || code=$?
[ "$code" = 1 ] || fail "exit status $code when the kernels fail"
grep -q '^kernels, batch 8: dram: failed: exit status 1: ' "$work/out/notes.txt" || fail "the kernels' failure is not told"

# ---- no GPU ----

for name in $(cat scripts/gpu_programs.txt); do
  [ "${name#test_}" = "$name" ] || name=tests/$name
  printf '#!/bin/sh\nexit 9\n' | program "$name"
done
# check CODE [NAME=VALUE ...], or options of env: scripts/gpu_check.sh into $work/check must exit with CODE
check() {
  local code=0
  env "${@:2}" DRAM_BUILD="$work" DRAM_BENCH_PYTHON="$work/python" scripts/gpu_check.sh "$work/check" >"$work/said" 2>&1 || code=$?
  [ "$code" = "$1" ] || fail "exit status $code, not $1: $(cat "$work/said")"
}
# told PATTERN: a line of the last check's record
told() { grep -q "$1" "$work/check/record.txt" || fail "no \"$1\": $(cat "$work/said")"; }

printf '#!/bin/sh\necho "bench_gpu: there is no GPU" >&2\nexit 1\n' | program bench_gpu
check 77
[ "$(cat "$work/said")" = "gpu_check: nothing is checked: there is no GPU" ] || fail "$(cat "$work/said")"

# ---- a GPU on which all fails ----

printf '#!/bin/sh\n[ "$1" = device ] && echo "one GPU, 80 bytes" && echo "$LD_LIBRARY_PATH" >"${0%%/*}/path"\n' | program bench_gpu
check 1 -u LD_LIBRARY_PATH
grep -q '^/usr/local/cuda/lib64:' "$work/path" || fail "libraries are sought in $(cat "$work/path")"
told '^ops and gradients *FAILED .*exit status 9'
told '^planned and measured *FAILED .*exit status 9'
told '^tier 80gb *skipped .*cannot be made that small'
tail -n 1 "$work/said" | grep -q '^benchmark *FAILED ' || fail "the table is not last"

# ---- a GPU on which nothing ends ----

mkdir "$work/bin"
printf '#!/bin/sh\nexit 124\n' | program bin/timeout
check 1 PATH="$work/bin:$PATH"
told '^updates together *FAILED .*within its own limit'
told '^planned and measured *FAILED .*within its own limit'
told '^benchmark *no time '
check 1 PATH="$work/bin:$PATH" GPU_CHECK_SECONDS=30 # shorter than any part's limit
told '^updates together *no time '
if grep -q '^[a-z0-9 ]* FAILED' "$work/check/record.txt"; then fail "no time is a failure: $(cat "$work/said")"; fi

# ---- one on which all is well but what a process takes ----

for name in "$work"/tests/*; do printf '#!/bin/sh\necho "[  PASSED  ] 1 test(s)."\n' | program "tests/${name##*/}"; done
program bench_gpu <<'EOF'
#!/bin/sh
case "$*" in
  device) echo "one GPU, 80 bytes" ;;
  hold*) echo "80 bytes are left"; cat ;;
  kernels*) echo "the kernels' table" ;;
  *vit_b*) [ -z "$SMALL_CARD" ] || exit 3; echo '{"images_per_second":16.25}' ;;
  *) exit 3 ;;
esac
EOF
program dram <<'EOF'
#!/bin/sh
for word; do case $word in run.dir=*) dir=${word#*=} ;; name=*) name=${word#*=} ;; esac; done
[ "$1" = train ] || exit ${SMALL_CARD:-0}
mkdir -p "$dir/$name"
cat >"$dir/$name/summary.json" <<END
{
  "planned_peak_bytes": 1000,
  "measured_peak_bytes": 1000,
  "gpu_process": {
    "planned_bytes": 2000,
    "overhead_measured": true,
    "measured_bytes": $([ "$name" = "$GREEDY" ] && echo 2041 || echo 2040),
    "counted": "process"
  }
}
END
EOF
check 0
told '^streamed and recorded *ok .*PASSED'
told '^NCCL, one rank *ok .*PASSED'
told '^tier 80gb *ok '
told '^benchmark *ok .* dram was timed in 3 lines'
if grep -q '^NCCL, [0-9]* ranks' "$work/check/record.txt"; then fail "ranks without GPUs: $(cat "$work/said")"; fi
check 1 GREEDY=tier-24gb CUDA_VISIBLE_DEVICES=1,3
told '^NCCL, 2 ranks *ok '
told '^collectives, 2 ranks *ok '
told '^tier 16gb *ok '
told '^tier 24gb *FAILED '
check 0 SMALL_CARD=3
told '^planned and measured *skipped .*does not fit'
told '^benchmark *skipped .*does not fit'

# ---- its folder ----

mkdir "$work/mine"
touch "$work/mine/results"
code=0
(cd "$work" && DRAM_BUILD=$work "$OLDPWD/scripts/gpu_check.sh" mine) >"$work/said" 2>&1 || code=$?
[ "$code" = 1 ] && [ -f "$work/mine/results" ] || fail "exit status $code, and another's folder: $(cat "$work/said")"
grep -q "$work/mine is there and holds no earlier check" "$work/said" || fail "$(cat "$work/said")"

# ---- the bundle of a dram that does not start ----

printf '#!/bin/sh\nexit 9\n' | program dram
if DRAM_BUILD=$work scripts/gpu_bundle.sh "$work/bundle" >"$work/said" 2>&1; then fail "a bundle of nothing"; fi
grep -q 'dram does not start$' "$work/said" || fail "$(cat "$work/said")"
echo "the scripts say what happened"
