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

export FIRST_OPS="linear adamw" # all of them take their time

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
told '^== libraries'
told '^opened within .* exit status 1'
tar -tzf "$work/check.tar.gz" | grep -q '^check/record.txt$' || fail "nothing is packed"

# ---- a GPU on which all fails ----

program bench_gpu <<'END'
#!/bin/sh
[ "$1" = device ] && echo "one GPU, 80 bytes" && echo "$LD_LIBRARY_PATH" >"${0%/*}/path"
END
program python <<'END'
#!/bin/sh
echo "$LD_LIBRARY_PATH" >"${0%/*}/path_of_python"
exit 77
END
program tests/test_ops_all <<'END'
#!/bin/sh
[ "$1" = --names ] && { echo linear; echo scale; exit; }
case $2 in
  linear) echo "linear / one, bf16 (GPU 0): output 0: 3 of 8 elements are wrong; inputs [2,4] [2,4]" ;;
  scale) [ -z "$CUDA_LAUNCH_BLOCKING" ] || echo "the node scale failed: CUDA says: an illegal address" ;;
  *) exit 0 ;;
esac
exit 9
END
check 1 -u LD_LIBRARY_PATH -u FIRST_OPS
grep -q '^/usr/local/cuda/lib64:' "$work/path" || fail "libraries are sought in $(cat "$work/path")"
[ "$(cat "$work/path_of_python")" = "" ] || fail "PyTorch's libraries are sought in $(cat "$work/path_of_python")"
told '^first contact *FAILED .*linear .*3 of 8 elements are wrong; inputs \[2,4\]'
told '^ops and gradients *FAILED .*scale '
told '  scale, blocking: .*an illegal address'
told '^adamw *ok '
told '^memcheck *skipped '
told '^planned and measured *FAILED .*exit status 9'
told '^tier 80gb *skipped .*cannot be made that small'
told '^benchmark *FAILED '
tail -n 1 "$work/said" | grep -q '^benchmark of PyTorch *FAILED ' || fail "the table is not last"

# ---- a GPU on which nothing ends ----

mkdir "$work/bin"
printf '#!/bin/sh\ncase "$*" in *"/bench_gpu device") shift 3; exec "$@" ;; esac\nexit 124\n' | program bin/timeout # -k 5 30 ...
check 1 PATH="$work/bin:$PATH"
told '^updates together *FAILED .*within its own limit'
told '^planned and measured *FAILED .*within its own limit'
told '^benchmark *FAILED '
check 1 PATH="$work/bin:$PATH" GPU_CHECK_SECONDS=15 # shorter than any part's limit
told '^updates together *no time '
if grep '^[a-z0-9 ]* FAILED' "$work/check/record.txt" | grep -v '^first contact'; then fail "no time is a failure: $(cat "$work/said")"; fi

# ---- one on which all is well but what a process takes ----

rm "$work/bin/timeout"
program bin/nvidia-smi <<'END'
#!/bin/sh
case "$*" in
  -L) echo "GPU 0: one" ;;
  *lms*) for k in 1 2 3; do echo "$((1000 + k)), 500.$k, 40"; done; exec sleep 30 ;;
  *query*) echo "name, driver"; echo "one, 580" ;;
  *) echo "| CUDA Version: 13.0 |" ;;
esac
END
program bin/compute-sanitizer <<'END'
#!/bin/sh
tool=$2
while [ "${1#-}" != "$1" ]; do shift; done
while [ "$1" -ge 0 ] 2>/dev/null; do shift; done
case "$tool $*" in *"racecheck "*layernorm*) echo "========= Error: Race reported between Write access at hold.cu:12"; exit 9 ;; esac
END
export PATH="$work/bin:$PATH"
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
check 1
told '^racecheck *FAILED .*of layernorm; see'
told '^layernorm: .*Race reported'
told '^memcheck *ok .*7 ops'
told '^synccheck *ok .*7 ops'
told '^1.dram: SM clock 1002 MHz in the middle, 1001 to 1003; 500 W and 40 C at most; 3 readings'
told '| CUDA Version: 13.0 |'
sed -i 's/exit 9/exit 0/' "$work/bin/compute-sanitizer"
check 0
told '^streamed and recorded *ok .*PASSED'
told '^NCCL, one rank *ok .*PASSED'
told '^tier 80gb *ok '
told '^benchmark *ok .* 3 cases of dram were timed'
tail -n 1 "$work/check/record.txt" | grep -q '^after [0-9]* s: [0-9]* ok, 0 FAILED$' || fail "$(tail -n 1 "$work/check/record.txt")"
if grep -q '^NCCL, [0-9]* ranks' "$work/check/record.txt"; then fail "ranks without GPUs: $(cat "$work/said")"; fi
check 1 GREEDY=tier-24gb CUDA_VISIBLE_DEVICES=1,3
told '^NCCL, 2 ranks *ok '
told '^collectives, 2 ranks *ok '
told '^tier 12gb *ok '
told '^tier 24gb *FAILED '
check 0 SMALL_CARD=3
told '^planned and measured *skipped .*does not fit'
told '^benchmark *skipped .*does not fit'

# ---- one that is ended at any moment: what it has is there, and packed unless it is killed ----

printf '#!/bin/sh\nsleep 0.3\necho "[  PASSED  ] 1 test(s)."\n' | program tests/test_ops_all
seen=0
for signal in TERM TERM HUP KILL; do # a shell has what it starts behind it ignore INT
  rm -rf "$work/check" "$work/check.tar.gz"
  setsid env DRAM_BUILD="$work" DRAM_BENCH_PYTHON="$work/python" scripts/gpu_check.sh "$work/check" >"$work/said" 2>&1 &
  check=$!
  word=one
  [ "$seen" -gt 0 ] || word=' ok  ' # the first has done a part
  while ! grep -qs "$word" "$work/check/record.txt"; do sleep 0.05; done
  sleep "0.$((RANDOM % 10))"
  kill -$signal $check
  wait $check 2>/dev/null || true
  told '^one GPU, 80 bytes$'
  told "$word"
  seen=1
  if [ $signal = KILL ]; then continue; fi
  told "; ended by SIG$signal$"
  tar -xzOf "$work/check.tar.gz" check/record.txt | cmp - "$work/check/record.txt" || fail "what is packed is another record"
done

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
