#!/usr/bin/env bash
# First contact with a GPU: what a failure on an unknown machine is diagnosed from, within a minute, before anything long
# runs. BUILD's programs are taken, FOLDER gets a log of each op; what is printed is for a person.
#
# The machine; CUDA's libraries, which are there and which are missing; dram doctor; then ops, each in a process of its own,
# so that none hides another, several at a time. One that fails is run once more with CUDA_LAUNCH_BLOCKING=1, which has
# the failing kernel named, and with the libraries' own logs, and under memcheck where compute-sanitizer is. --all: the ops
# alone, all that FOLDER has no log of.
#
# DRAM_LIBRARY_PATH is where dram, and nothing else, looks for libraries first. FIRST_SECONDS (60) is the time for it;
# FIRST_OPS names the ops. The exit status is 0, 1 when an op failed, 77 without a GPU.
# usage: gpu_first.sh [--all] BUILD FOLDER
set -uo pipefail
. "$(dirname "$0")/lib.sh"
arguments 2 3 "$@"
all=
[ "$1" = --all ] && { all=1; shift; }
build=$1 out=$2
deadline=$((SECONDS + ${FIRST_SECONDS:-60}))
mkdir -p "$out" || exit 1
with=(env "LD_LIBRARY_PATH=${DRAM_LIBRARY_PATH-${LD_LIBRARY_PATH-}}")
say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }
left() { local l=$((deadline - SECONDS)); echo $((l > 1 ? l : 1)); }
has() { command -v "$1" >/dev/null; }

machine() {
  say machine
  uname -srm
  # shellcheck disable=SC1091
  (. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}")
  ldd --version | head -1
  echo "$(nproc) cores, $(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo), $(df -h . | awk 'END { print $4 }') free here"
  if has nvidia-smi; then
    timeout --foreground 20 nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,compute_mode,mig.mode.current,clocks.max.sm,power.limit,ecc.mode.current --format=csv
    timeout --foreground 20 nvidia-smi | grep -m1 'CUDA Version'
    timeout --foreground 20 nvidia-smi -L
  else
    echo "no nvidia-smi"
  fi
  ls -d /usr/local/cuda* 2>/dev/null
  env | grep -E '^(LD_LIBRARY_PATH|DRAM_|CUDA_|CUDASIM_|NVIDIA_|CUBLAS|CUDNN|NCCL_)'
}

libraries() {
  local python
  say libraries
  for program in "$build"/dram "$build"/bench_gpu; do
    "${with[@]}" ldd "$program" | grep -E 'not found' | sed "s|^|${program##*/}:|"
  done
  echo "dram looks in ${DRAM_LIBRARY_PATH-${LD_LIBRARY_PATH-}}"
  tr ':' '\n' <<<"${DRAM_LIBRARY_PATH-${LD_LIBRARY_PATH-}}" | while read -r folder; do
    ls "$folder"/lib{cublasLt,cudnn,nccl,nvrtc}.so.* 2>/dev/null
  done
  ldconfig -p 2>/dev/null | grep -E 'lib(cublasLt|cudnn|nvidia-ml|cuda|nvrtc|nccl)\.so'
  if has python3 && python=$(timeout --foreground 10 python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2>/dev/null); then
    ls "$python"/nvidia/*/lib/lib{cublasLt,cudnn,nvrtc,nccl}.so.* 2>/dev/null
  else
    echo "no python3"
  fi
  for tool in compute-sanitizer ncu cuobjdump xz python3; do has "$tool" || echo "no $tool"; done
}

# Opens the GPU; if that fails, who looked where.
device() {
  local code=0 begin=$SECONDS
  say device
  timeout --foreground -k 5 "$(left)" "${with[@]}" "$build/bench_gpu" device 2>&1 || code=$?
  echo "opened within $((SECONDS - begin)) s, exit status $code"
  [ $code = 0 ] && { timeout --foreground -k 5 "$(left)" "${with[@]}" "$build/dram" doctor --cuda 2>&1; return 0; }
  timeout --foreground 20 "${with[@]}" LD_DEBUG=libs "$build/bench_gpu" device 2>&1 | grep -E 'cublasLt|cudnn|libcuda|nvidia-ml|error|cannot' | tail -40
  return 77
}

# op NAME: a line of what came of it
op() {
  local name=$1 code=0 begin log=$out/op-$1.log test=("$build/tests/test_ops_all" --cuda "$1") seconds
  seconds=$(left)
  if [ "$seconds" -lt 3 ]; then echo "$name no time"; return; fi
  begin=$(date +%s%N)
  timeout --foreground -k 5 "$seconds" "${with[@]}" "${test[@]}" >"$log" 2>&1 || code=$?
  local ms=$((($(date +%s%N) - begin) / 1000000))
  if [ $code = 0 ]; then printf '%-22s ok       %6d ms\n' "$name" $ms; return; fi
  if [ $code = 124 ] || [ $code = 137 ]; then printf '%-22s no end   %6d ms\n' "$name" $ms; return; fi
  printf '%-22s FAILED   %6d ms  exit status %d: %s\n' "$name" $ms $code "$(grep -m1 -iE 'wrong|differs|error|says|cannot|fault|not be' "$log" | cut -c1-300)"
  seconds=$(left)
  timeout --foreground -k 5 "$((seconds < 30 ? seconds : 30))" "${with[@]}" CUDA_LAUNCH_BLOCKING=1 CUBLASLT_LOG_LEVEL=2 CUDNN_LOGLEVEL_DBG=2 \
    CUDNN_LOGDEST_DBG=stderr "${test[@]}" >"$out/op-$name.blocking.log" 2>&1
  grep -iE 'says|CUDA|cudnn|cublas' "$out/op-$name.blocking.log" | sort -u | tail -3 | cut -c1-300 | sed "s|^|  $name, blocking: |"
  has compute-sanitizer || return
  seconds=$(left)
  timeout --foreground -k 5 "$((seconds < 40 ? seconds : 40))" "${with[@]}" compute-sanitizer --tool memcheck --print-limit 3 "${test[@]}" >"$out/op-$name.memcheck.log" 2>&1
  grep -A6 -m1 -E '=+ +(Invalid|Program hit|Error|Misaligned|Out)' "$out/op-$name.memcheck.log" | cut -c1-200 | sed "s|^|  $name, memcheck: |"
}

if [ -z "$all" ]; then
  machine
  libraries
  device || exit $?
  say "ops, a process each"
  ops=${FIRST_OPS-add cast linear conv2d layernorm attention relu gelu bn_stats bn_apply resize image_norm cross_entropy adamw embed_loss cwd_loss avgpool}
else
  ops=
  for name in ${FIRST_OPS-$("$build/tests/test_ops_all" --names)}; do [ -e "$out/op-$name.log" ] || ops+=" $name"; done
fi
jobs=$(($(nproc) / 2))
jobs=$((jobs < 1 ? 1 : jobs > 6 ? 6 : jobs))
trap 'exit 143' TERM # who sends it sends it to the ops too
: >"$out/ops.part"
for name in $ops; do
  while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
  op "$name" | tee -a "$out/ops.part" &
done
wait
cat "$out/ops.part" >>"$out/ops.txt"
failed=$(grep -cE '^[a-z0-9_]+ +(FAILED|no end)' "$out/ops.part")
echo "$(grep -c '^[a-z0-9_]* *ok' "$out/ops.part") ops are right, $failed are not, $(grep -c ' no time$' "$out/ops.part") were not reached"
rm -f "$out/ops.part"
[ "$failed" = 0 ]
