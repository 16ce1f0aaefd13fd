#!/usr/bin/env bash
# What every command does with little memory to map: under `ulimit -v` of FROM MiB to TO in steps of STEP (128 to 1024, 16)
# it is done, or ends with exit status 3 or 1 and one line that says why, within ten seconds.
# Where the system's own loader cannot map the libraries, that is its line and exit status 127.
# With --group the limit is that of a control group's memory (FOLDER is made, say /sys/fs/cgroup/dram, or
# /sys/fs/cgroup/memory/dram where groups are of version 1; needs the right to). No command may be killed by the system.
# Prints a line for each limit: what each command did. Exits with 1 when anything hangs, dies or says nothing, and when a
# command is done under none of the limits. LIMITS_SECONDS (10) is for machines with other work.
# usage: limits.sh [--group FOLDER] [FROM TO STEP]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 5 "$@"
group=
[ "${1:-}" != --group ] || { group=${2:?$(usage)}; shift 2; }
[ $# = 0 ] || [ $# = 3 ] || { usage >&2; exit 2; }
cd "$(dirname "$0")/.."
find_dram
dram=$(realpath "$dram")
if nm "$dram" 2>/dev/null | grep '__[at]san_init$' >/dev/null; then
  echo "limits.sh: skipped, a sanitizer maps terabytes before the program begins"
  exit 77
fi
seconds=${LIMITS_SECONDS:-10}
mapfile -t limits < <(seq "${1:-128}" "${3:-16}" "${2:-1024}")

work=$(mktemp -d)
leave() {
  rm -rf "$work"
  [ -z "$group" ] || rmdir "$group"
}
[ -z "$group" ] || mkdir "$group" || { rm -rf "$work"; exit 1; }
trap leave EXIT

# limited LIMIT COMMAND ...: runs it under so many MiB
limited() {
  local bytes=$(($1 * 1048576))
  shift
  if [ -z "$group" ]; then
    ulimit -v $((bytes / 1024))
  else
    [ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
    [ ! -e "$group/memory.force_empty" ] || echo 0 >"$group/memory.force_empty"
    echo "$bytes" >"$group/$([ -e "$group/memory.max" ] && echo memory.max || echo memory.limit_in_bytes)"
    echo "$BASHPID" >"$group/cgroup.procs"
  fi
  exec "$@"
}

"$dram" synth "$work/scenes" --count 8 --seed 4 >/dev/null
tiny=("$PWD/configs/quickstart.yaml" data.train.images="$work/scenes/images" data.train.labels="$work/scenes/labels"
  data.val.images="$work/scenes/images" data.val.labels="$work/scenes/labels" data.size=64 sam_distill.sam_input_size=64
  train.batch_size=4 train.steps=2 optim.warmup_steps=1 threads=2 data.workers=2 device=cpu
  student.arch=vit_micro sam_distill.fidelity_images=0)
whole=(data.augment.crop=false data.augment.color_jitter=0 data.augment.scale_min=1 data.augment.scale_max=1)
"$dram" train "${tiny[@]}" run.dir="$work" name=trained >/dev/null 2>&1
weights=$work/trained/student.safetensors
image=$(find "$work/scenes/images" -name '*.jpg' | sort | head -n 1)

# arguments_of COMMAND: those of a short run of it, in `call`
arguments_of() {
  case $1 in
    help) call=(--help) ;;
    doctor) call=(doctor) ;;
    synth) call=(synth "$work/new/scenes" --count 2 --seed 1) ;;
    config) call=(config "${tiny[@]}") ;;
    plan) call=(plan "${tiny[@]}") ;;
    times) call=(plan "${tiny[@]}" --calibrate memory.profile="$work/new/times.json") ;;
    check) call=(check "${tiny[@]}") ;;
    train) call=(train "${tiny[@]}" run.dir="$work/new" name=run) ;;
    auto) call=(train "${tiny[@]}" run.dir="$work/new" name=run memory.budget=auto data.max_decode_bytes=8MiB) ;;
    cache) call=(train "${tiny[@]}" "${whole[@]}" run.dir="$work/new" name=run sam_distill.cache="$work/new/cache") ;;
    eval) call=(eval "${tiny[@]}" --weights "$weights") ;;
    features) call=(features "${tiny[@]}" --weights "$weights" --out "$work/new/features" "$image") ;;
  esac
}
commands=(help doctor synth config plan times check train auto cache eval features)

failures=0
declare -A done_once
# bad COMMAND LIMIT WHAT: what went wrong, with what the command said
bad() {
  echo "wrong: dram $1 under $2 MiB $3"
  { head -n 3 "$work/err" | cut -c 1-400 | sed 's/^/  /'; } || true
  failures=$((failures + 1))
}

# try COMMAND LIMIT: its exit status in `code`
try() {
  rm -rf "$work/new"
  mkdir "$work/new"
  arguments_of "$1"
  code=0
  (limited "$2" timeout -s KILL "$seconds" "$dram" "${call[@]}") >"$work/out" 2>"$work/err" || code=$?
  case $code in
    0) done_once[$1]=1 ;;
    1 | 3) [ "$(grep -c '^dram: ' "$work/err")" = 1 ] || bad "$1" "$2" "ends with $code and has not one line that says why" ;;
    127) grep -q 'loading shared libraries' "$work/err" || bad "$1" "$2" "ends with 127" ;;
    137) bad "$1" "$2" "takes more than $seconds seconds, or is killed by the system" ;;
    *) bad "$1" "$2" "ends with $code" ;;
  esac
}

for limit in "${limits[@]}"; do
  line=$(printf '%5d MiB' "$limit")
  for name in "${commands[@]}"; do
    try "$name" "$limit" 2>/dev/null
    line+=" $name:$code"
  done
  echo "$line"
done
for name in "${commands[@]}"; do
  [ -n "${done_once[$name]:-}" ] || bad "$name" "${limits[*]}" "is never done"
done
[ "$failures" = 0 ] || { echo "limits.sh: $failures are wrong"; exit 1; }
echo "limits.sh: ${#commands[@]} commands under ${#limits[@]} limits, all done or refused with a line"
