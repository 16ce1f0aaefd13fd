#!/usr/bin/env bash
# N ranks of B images train as one rank with N B images in N micro-batches does, and evaluate as one does, bit for bit, with
# the optimiser in shards too; a run goes on with another number of ranks. `more` has the slow ones.
# usage: ranks.sh PROGRAM [more]
set -euo pipefail
program=$1
. "$(dirname "$(realpath "$0")")/ranks_lib.sh"
last=checkpoints/step-00000003
compared=0

# equal NAME RANKS [OPTION ...]: weights, optimiser and every number of every step
equal() {
  local name=$1 n=$2
  shift 2
  done_by 1 "$name-one" train.batch_size=$((2 * n)) train.accumulate="$n" "$@"
  done_by "$n" "$name-$n" train.batch_size=2 "$@"
  same "$name" "$name-one" "$name-$n" student.safetensors heads.safetensors $last/optimizer.safetensors
  [ "$(numbers "$name-one")" = "$(numbers "$name-$n")" ] || fail "$name: metrics differ"
  [ "$(numbers "$name-$n" | wc -l)" = 3 ] || fail "$name: not three steps"
  compared=$((compared + 1))
}

# A BatchNorm's running statistics are of what each rank saw, averaged; what is trained is equal.
equal_but_for_statistics() {
  local name=$1 n=$2
  shift 2
  done_by 1 "$name-one" train.batch_size=$((2 * n)) train.accumulate="$n" "$@"
  done_by "$n" "$name-$n" train.batch_size=2 "$@"
  same "$name" "$name-one" "$name-$n" $last/optimizer.safetensors
  [ "$(numbers "$name-one")" = "$(numbers "$name-$n")" ] || fail "$name: metrics differ"
  compared=$((compared + 1))
}

measured() { # NAME 2: planned is measured, on both ranks
  grep -q '"planned_peak_bytes":' "runs/$1/summary.json" || fail "$1: no summary"
  [ "$(sed -n 's/.*"planned_peak_bytes":[^0-9]*\([0-9]*\).*/\1/p' "runs/$1/summary.json")" = \
    "$(sed -n 's/.*"measured_peak_bytes":[^0-9]*\([0-9]*\).*/\1/p' "runs/$1/summary.json" | head -n 1)" ] ||
    fail "$1: planned is not measured"
  local arena=$(sed -n 's/.*"planned_peak_bytes":[^0-9]*\([0-9]*\).*/\1/p' "runs/$1/summary.json")
  tr -d ' \t\n' <"runs/$1/summary.json" | grep -q "\"arena_bytes\":\[$arena,$arena\]" ||
    fail "$1: a rank has taken another arena than was planned: $(cat "runs/$1/summary.json")"
  grep -q '"ranks":2,"comm_seconds":[0-9.e-]*,"wait_seconds":[0-9.e-]*,"last_rank":[01]}$' "runs/$1/metrics.jsonl" ||
    fail "$1: no seconds in collectives: $(tail -n 1 "runs/$1/metrics.jsonl")"
  tr -d ' \t\n' <"runs/$1/summary.json" | grep -q '"launcher":"OpenMPI",.*"channels":null,"environment":{},"comm_planned_bytes":null,"comm_measured_bytes":null,"comm_seconds":[0-9.e-]*,"wait_seconds":[0-9.e-]*,"failed_rank":null,"failed_text":null' ||
    fail "$1: the job is not summed up: $(cat "runs/$1/summary.json")"
  for r in $(seq 1 $(($2 - 1))); do
    [ -s "runs/$1/memory.rank-000$r.jsonl" ] || fail "$1: rank $r has kept no log of its memory"
  done
}

# evaluated NAME RANKS [OPTION ...]: what a run exported, as one rank and as several
evaluated() {
  local name=$1 n=$2 form
  shift 2
  # From here on the data has been looked at.
  "$program" eval t.yaml --weights "runs/$name/student.safetensors" "$@" >one.txt 2>one.log || fail "eval: $(cat one.log)"
  for form in "" --json; do
    "$program" eval t.yaml --weights "runs/$name/student.safetensors" $form "$@" >one.txt 2>one.log ||
      fail "eval: $(cat one.log)"
    "$here/../comm/mpirun.sh" "$n" "$program" eval t.yaml --weights "runs/$name/student.safetensors" $form "$@" \
      >some.txt 2>some.log || fail "eval with $n ranks: $(cat some.log)"
    grep -q 'mIoU\|miou' one.txt || fail "eval: nothing was printed"
    cmp -s one.txt some.txt || fail "eval with $n ranks prints another result: $(diff one.txt some.txt)"
    compared=$((compared + 1))
  done
}

# near A B: the losses of each step, within rounding
near() {
  paste -d ' ' <(numbers "$1" | sed 's/.*"loss":\([^,]*\),.*/\1/') <(numbers "$2" | sed 's/.*"loss":\([^,]*\),.*/\1/') |
    awk 'NF != 2 || ($1 - $2) ^ 2 > 1e-10 * $1 ^ 2 { bad = 1; print } END { exit bad || NR == 0 }' || fail "$1 and $2 differ"
  compared=$((compared + 1))
}

one_bad_image() {
  cp -r scenes bad
  echo none >bad/images/00003.jpg
}
bad=(data.train.images=bad/images data.train.labels=bad/labels)
bad_val=(data.val.images=bad/images data.val.labels=bad/labels)

one_bad_image
if [ "${2:-}" != more ]; then
  equal half 2 data.train.label_fraction=0.5 optim.clip_norm=0.5 sam_distill.distill_interval=2 sam_distill.between=reuse \
    run.save_every=2 run.eval_every=2 optim.shard=gradients "${bad[@]}"
  measured half-2 2
  same half half-one half-2 evaluations.jsonl
  evaluated half-2 3 train.batch_size=2 "${bad_val[@]}"
  equal_but_for_statistics regnet 3 student.arch=regnety_002 optim.shard=state optim.state=int8
  # another number of ranks: the same updates
  done_by 1 half-2 data.train.label_fraction=0.5 optim.clip_norm=0.5 sam_distill.distill_interval=2 \
    sam_distill.between=reuse optim.shard=gradients --resume=step-2 "${bad[@]}"
  near half-one half-2
  grep -q 'updates stay of 4 images: train.batch_size 4 on each of 1 ranks (2 before), train.accumulate 2' half-2.log ||
    fail "it is not said what batch the run goes on with: $(cat half-2.log)"
  train 3 half-2 train.steps=4 --resume && fail "3 ranks share 4 images"
  grep -q 'updates are of 4 images, which 3 ranks cannot share: go on with one of 1, 2, 4 ranks' half-2.log ||
    fail "no word of the numbers of ranks that would do: $(cat half-2.log)"
  # statistics over the images of all ranks: as one rank with all of them
  done_by 2 sync-2 distributed.batch_norm=sync student.arch=regnety_002 optim.type=sgd sam_distill.teacher.placement=shard
  done_by 1 sync-one student.arch=regnety_002 optim.type=sgd train.batch_size=6
  near sync-one sync-2
  echo "$compared comparisons"
  exit
fi

for n in 2 3 4; do
  for precision in fp32 bf16 fp16; do equal $precision-$n $n train.precision=$precision; done
  equal_but_for_statistics regnet-$n $n student.arch=regnety_002
  equal reuse-$n $n sam_distill.distill_interval=2 sam_distill.between=reuse
  evaluated fp32-2-2 $n train.batch_size=3 "${bad_val[@]}"
done
equal cached 2 sam_distill.cache="$work/cache" data.augment.crop=false data.augment.color_jitter=0
equal mixed 3 data.train.label_fraction=0.5 data.train.labelled_share=0.4 "${bad[@]}"
equal clip 4 optim.clip_norm=0.1 train.precision=bf16
for n in 2 3 4; do
  for shard in state gradients; do
    for precision in fp32 bf16 fp16; do
      equal $shard-$precision-$n $n train.precision=$precision optim.shard=$shard sam_distill.teacher.placement=shard
    done
    equal $shard-int8-$n $n optim.clip_norm=0.1 optim.shard=$shard optim.state=int8 distributed.bucket=64KiB
    equal_but_for_statistics $shard-regnet-$n $n student.arch=regnety_002 optim.shard=$shard optim.type=sgd
  done
done
measured gradients-bf16-2-2 2
# Without clipping, and with micro-batches on each rank, as without shards: each tensor of the optimiser is the same.
for set in "optim.clip_norm=0" "train.batch_size=4 train.accumulate=2 optim.state=int8"; do
  done_by 3 "whole-${set%%=*}" $set
  done_by 3 "state-${set%%=*}" $set optim.shard=state
  same "$set" "whole-${set%%=*}" "state-${set%%=*}" student.safetensors $last/optimizer.safetensors
  [ "$(numbers "whole-${set%%=*}")" = "$(numbers "state-${set%%=*}")" ] || fail "$set: metrics differ"
  compared=$((compared + 1))
done
done_by 3 pieces train.batch_size=4 train.accumulate=2 optim.state=int8 optim.shard=gradients
near whole-train.batch_size pieces
# What is saved in shards is whole: it goes on without them, and with them where it was saved without.
done_by 2 cut-1 run.save_every=1 optim.state=int8 optim.shard=gradients
done_by 2 cut-2 run.save_every=1 optim.state=int8
same "cut or not" cut-1 cut-2 checkpoints/step-00000001/optimizer.safetensors student.safetensors
done_by 2 cut-2 run.save_every=1 optim.state=int8 optim.shard=gradients --resume=step-1
done_by 2 cut-1 run.save_every=1 optim.state=int8 --resume=step-1
same "gone on, cut or not" cut-1 cut-2 student.safetensors $last/optimizer.safetensors
done_by 1 one run.save_every=1 optim.state=int8 train.batch_size=6 train.accumulate=2
same "one rank" one cut-1 student.safetensors $last/optimizer.safetensors
# Two runs are equal, and so are an unbroken run and one that goes on.
done_by 2 again-1 run.save_every=1
done_by 2 again-2 run.save_every=1
same again again-1 again-2 student.safetensors $last/optimizer.safetensors
done_by 2 again-2 run.save_every=1 --resume=step-1
same "gone on" again-1 again-2 student.safetensors $last/optimizer.safetensors
# 12 images an update, on 4, 2, 3 and 1 ranks.
done_by 1 whole train.batch_size=12 train.accumulate=4 train.steps=8
done_by 4 chain train.steps=8 run.save_every=2
done_by 2 chain train.steps=8 run.save_every=2 optim.shard=gradients --resume=step-2
done_by 3 chain train.steps=8 run.save_every=2 optim.shard=state --resume=step-4
done_by 1 chain train.steps=8 run.save_every=2 --resume=step-6
near whole chain
grep -q '"position":[^0-9]*96,' runs/chain/checkpoints/step-00000008/state.json || fail "the samples have shifted"
echo "$compared comparisons"
