# Sourced by the tests of runs of several ranks: a folder with scenes and a config, and the ways to run it.
# Needs: program
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "${0##*/}: $1"; exit 1; }

"$here/../comm/mpirun.sh" 1 true >"$work/skip" || { cat "$work/skip"; exit 77; }
program=$(realpath "$program")
cd "$work"
"$program" synth scenes --count 14 --seed 11 >/dev/null
cat >t.yaml <<'YAML'
threads: 1
device: cpu
data:
  size: 64
  workers: 1
  prefetch: 4
  train: {images: scenes/images, labels: scenes/labels}
  val: {images: scenes/images, labels: scenes/labels}
  classes: 12
student: {arch: vit_micro}
sam_distill:
  teacher: {model_type: vit_micro, weights: random}
  sam_input_size: 64
  fidelity_images: 0
resolution_distill: {enabled: false}
task: {enabled: true}
optim: {lr: 2.0e-3, warmup_steps: 1}
train: {steps: 3, batch_size: 3}
distributed: {batch_norm: local}
run: {save_every: 0, eval_every: 0, keep: 9, dir: runs}
YAML

# train RANKS NAME [OPTION ...]: its log is NAME.log; returns its exit code
train() {
  local ranks=$1 name=$2 launcher=()
  shift 2
  [ "$ranks" = 1 ] || launcher=("$here/../comm/mpirun.sh" "$ranks")
  timeout -s KILL 300 "${launcher[@]}" "$program" train t.yaml name="$name" "$@" >"$name.out" 2>"$name.log"
}
done_by() { train "$@" || fail "$2 ended with $?: $(cat "$2.log")"; }

# same WHAT A B FILE ...: of two runs
same() {
  local what=$1 a=$2 b=$3 file
  shift 3
  for file; do
    [ -s "runs/$a/$file" ] || fail "$what: runs/$a/$file is missing or empty"
    cmp -s "runs/$a/$file" "runs/$b/$file" || fail "$what: $file of $a and $b differ"
  done
}
# The fields of metrics.jsonl that are no times and no bytes.
numbers() { sed 's/,"images_per_second.*//' "runs/$1/metrics.jsonl"; }
