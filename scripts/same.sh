#!/usr/bin/env bash
# Do the plans and the weights of this tree equal those of another commit, bit for bit?
#
# Both are built here as release builds without CUDA kernels, and compared:
#   plans     `dram plan --dump` of every config of configs/ and bench/, on 2 threads, on 5, and for a GPU (device=cuda).
#             One that ends in an error must end in the same one. Of what `--json` prints, every number and truth value
#             that the other commit knows.
#   scenes    the files of `dram synth`
#   training  five steps of small variants of configs/quickstart.yaml, listed below: their plans, all that they leave in
#             safetensors, the losses of every step and the evaluation at the end
# --quick leaves out the training. Exits with 1 when anything differs or nothing was compared.
#
# SAME_DIR (build/same) keeps the commit's tree and build for the next call; several trees may share one. SAME_PROGRAM is
# a program of this tree to take instead of one built into build/same-now.
# usage: same.sh [--quick] COMMIT
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 2 "$@"
quick=
[ "$1" = --quick ] && { quick=1; shift; }
[ $# = 1 ] || { usage >&2; exit 2; }
cd "$(dirname "$0")/.."
here=$PWD
commit=$(git rev-parse --verify --quiet "$1^{commit}") || { echo "same.sh: git knows no commit $1" >&2; exit 2; }
mkdir -p "${SAME_DIR:-build/same}"
there=$(realpath "${SAME_DIR:-build/same}")/$commit

# build TREE FOLDER
build() {
  cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=Release -DDRAM_CUDA=OFF >/dev/null
  cmake --build "$2" --target dram >"$2/build.log" 2>&1 || { tail -n 40 "$2/build.log" >&2; exit 1; }
}
(
  flock 9 # of several that share SAME_DIR, one builds
  if [ ! -d "$there" ]; then
    mkdir "$there.part"
    git archive "$commit" | tar -x -C "$there.part"
    mv "$there.part" "$there"
  fi
  [ -x "$there/build/release/dram" ] || build "$there" "$there/build/release"
) 9>"$there.lock"
[ -n "${SAME_PROGRAM:-}" ] || build "$here" "$here/build/same-now"
old=$there/build/release/dram
new=$(realpath "${SAME_PROGRAM:-build/same-now/dram}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/old" "$work/new"

failures=0
compared=0
differ() {
  echo "differs: $1"
  failures=$((failures + 1))
}

# same_file WHAT FILE: FILE of both sides; what is missing on both is not compared
same_file() {
  local a=$work/old/$2 b=$work/new/$2
  if [ ! -e "$a" ] && [ ! -e "$b" ]; then return; fi
  compared=$((compared + 1))
  cmp -s "$a" "$b" && return
  differ "$1"
  case $2 in
    *.safetensors | *.jpg | *.png) { cmp "$a" "$b" 2>&1 || true; } | sed 's/.* differ: /  first at /; s/^cmp: /  /' ;;
    *) { diff "$a" "$b" 2>&1 || true; } | awk 'NR <= 6 { print "  " $0 }' ;;
  esac
}

# known_keys FILE: of the lines of JSON on both sides only the keys that the other commit's first line has
known_keys() {
  local side keys
  [ -s "$work/old/$1" ] && [ -s "$work/new/$1" ] || return 0
  keys=$(head -n 1 "$work/old/$1" | jq -c keys)
  for side in old new; do
    jq -c --argjson keys "$keys" 'with_entries(select(.key | IN($keys[])))' "$work/$side/$1" >"$work/$side/known"
    mv "$work/$side/known" "$work/$side/$1"
  done
}

# both LOG ARGS...: runs both programs in their own trees; @ in an argument stands for the side's own folder. Standard
# output and error go to LOG.out and LOG.err there, the exit status to LOG.rc.
both() {
  local side tree program log=$1
  shift
  for side in old new; do
    if [ $side = old ]; then tree=$there program=$old; else tree=$here program=$new; fi
    (
      cd "$tree"
      code=0
      "$program" "${@//@/$work/$side}" >"$work/$side/$log.out" 2>"$work/$side/$log.err" || code=$?
      echo $code >"$work/$side/$log.rc"
    ) &
  done
  wait
}

# ---- plans ----

plans=0
refused=0
# same_numbers WHAT: the numbers and truth values of the old plan.out are in the new one; it may have more
same_numbers() {
  local other
  [ -s "$work/old/plan.out" ] || return 0
  compared=$((compared + 1))
  other=$(jq -nr --slurpfile old "$work/old/plan.out" --slurpfile new "$work/new/plan.out" '$old[0] | [paths(numbers, booleans)]
    | if length > 0 then .[] else error("no number") end
    | select(. as $at | ($old[0] | getpath($at)) != ($new[0] | getpath($at))) | map(tostring) | join(".")' 2>&1) || true
  [ -z "$other" ] || differ "what --json says of $1: $(head -n 3 <<<"$other" | tr '\n' ' ')"
}

# plan WHAT CONFIG KEY=VALUE...
plan() {
  local what=$1 code
  shift
  rm -f "$work"/*/plan.*
  both plan plan "$@" --json --dump @/plan.json
  sed -i '/^note: /d' "$work"/*/plan.err # they tell what this machine has free now
  plans=$((plans + 1))
  same_file "the exit status of $what" plan.rc
  same_file "what $what complains of" plan.err
  same_file "the dump of $what" plan.json
  same_numbers "$what"
  code=$(cat "$work/new/plan.rc")
  if [ ! -s "$work/new/plan.json" ]; then
    refused=$((refused + 1))
    echo "not planned, exit status $code: $what: $(head -n 1 "$work/new/plan.err")"
  fi
}

cd "$there"
mapfile -t configs < <(find configs bench -name '*.yaml' | sort)
cd "$here"
while read -r config; do
  [ -f "$there/$config" ] || echo "new, with nothing to compare it to: $config"
done < <(find configs bench -name '*.yaml' | sort)
for config in "${configs[@]}"; do
  [ -f "$config" ] || { differ "$config is gone"; continue; }
  for way in threads=2 threads=5 device=cuda; do plan "$config $way" "$config" threads=2 "$way"; done
done
echo "plans: $plans compared, ${#configs[@]} configs, each on 2 threads, on 5 and for a GPU; $refused end alike without a plan"

# ---- training ----

cases=(
  "quickstart"
  "vit student.arch=vit_micro"
  "fp16 train.precision=fp16"
  "accumulate train.accumulate=2"
  "reuse sam_distill.distill_interval=2 sam_distill.between=reuse"
  "budget train.batch_size=12 memory.budget=69MiB"
  "vit-budget train.batch_size=12 memory.budget=46MiB student.arch=vit_micro data.size=96"
  "bf16 train.precision=bf16 optim.state=int8 optim.clip_norm=0"
  "distances sam_distill.loss.type=cwd sam_distill.loss.add.cosine=0.5 sam_distill.loss.add.huber=0.5
    sam_distill.loss.standardize=true"
  "stream sam_distill.teacher.placement=stream sam_distill.teacher.group=2 sam_distill.teacher.precision=bf16"
  "host sam_distill.teacher.placement=host train.batch_size=2"
  "cache sam_distill.cache=@/cache data.augment.crop=false data.augment.color_jitter=0 data.augment.scale_min=1
    data.augment.scale_max=1"
  "sgd optim.type=sgd optim.schedule=constant task.enabled=false"
)
small=(data.train.images=@/scenes/images data.train.labels=@/scenes/labels data.val.images=@/scenes/images
  data.val.labels=@/scenes/labels data.size=64 sam_distill.sam_input_size=64 sam_distill.fidelity_images=0
  train.batch_size=4 train.steps=5 optim.warmup_steps=2 run.save_every=0 run.eval_every=0 run.log_every=1 threads=2)

# recomputes NAME: whether that case's plan runs blocks again, not norms and activations alone
recomputes() { grep -q '"recompute":.* blocks in part' "$work/new/$1.plan.out"; }

train() {
  local name=$1 file files=0
  shift
  both "$name.plan" plan configs/quickstart.yaml "${small[@]}" "$@" --json --dump "@/$name.json"
  same_file "the dump of $name" "$name.json"
  both "$name" train configs/quickstart.yaml "${small[@]}" "$@" run.dir=@/runs name="$name" --json
  if [ "$(cat "$work/old/$name.rc" "$work/new/$name.rc" | tr -d '\n')" != 00 ]; then
    differ "$name was not trained: $(tail -qn 1 "$work/old/$name.err" "$work/new/$name.err" | head -c 600)"
    return
  fi
  for file in $(cd "$work" && find old/runs/"$name" new/runs/"$name" -name '*.safetensors' | sed 's/^...\///' | sort -u); do
    same_file "$file" "$file"
    files=$((files + 1))
  done
  [ "$files" -ge 5 ] || differ "$name left $files files of tensors, not the 5 of a run and its checkpoint"
  for side in old new; do
    sed -i 's/"images_per_second":[^,}]*,//' "$work/$side/runs/$name/metrics.jsonl"
    [ "$(wc -l <"$work/$side/runs/$name/metrics.jsonl")" = 5 ] || differ "$name has not five lines of metrics"
  done
  known_keys "runs/$name/metrics.jsonl"
  known_keys "runs/$name/evaluations.jsonl"
  same_file "the metrics of $name" "runs/$name/metrics.jsonl"
  same_file "the evaluation of $name" "runs/$name/evaluations.jsonl"
  tensors=$((tensors + files))
}

tensors=0
if [ -z "$quick" ]; then
  before=$compared
  both synth synth @/scenes --count 16 --seed 4
  for file in $(cd "$work/old" && find scenes -type f); do same_file "$file" "$file"; done
  echo "scenes: $((compared - before)) files compared"
  for entry in "${cases[@]}"; do
    read -rd '' -a pulled <<<"$entry" || true
    train "${pulled[@]}"
  done
  if ! recomputes budget || ! recomputes vit-budget; then
    differ "a case with a budget runs no block again: it needs a smaller one"
  fi
  echo "training: ${#cases[@]} runs of 5 steps compared, $tensors files of tensors:$(printf ' %s' "${cases[@]%%[[:space:]]*}")"
fi

if [ "$failures" -gt 0 ] || [ "$compared" = 0 ]; then
  echo "same.sh: $failures of $compared comparisons with ${commit:0:7} differ"
  exit 1
fi
echo "same.sh: all $compared comparisons with ${commit:0:7} are equal"
