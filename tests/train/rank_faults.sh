#!/usr/bin/env bash
# Runs of two ranks that go wrong at random moments: killed, stopped, asked to end, a disk that is full, images that are
# gone, numbers that are not finite. Each is over within its limit and 10 s, with the right exit code and a line that says
# why; no process is left, and what was saved goes on to the weights of an unbroken run.
# usage: rank_faults.sh MOMENTS PROGRAM
set -euo pipefail
moments=$1 program=$2
. "$(dirname "$(realpath "$0")")/ranks_lib.sh"
steps=24 limit=10
common=(train.steps=$steps run.save_every=4 distributed.timeout=$limit optim.shard=gradients)

# rank N of the run NAME: its process
rank_of() {
  local process
  for process in $(pgrep -f "name=$1 "); do
    [ "$(readlink "/proc/$process/exe")" = "$program" ] || continue
    if tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null | grep -qx "OMPI_COMM_WORLD_RANK=$2"; then echo "$process"; fi
  done
}

# The run NAME is over; none of its processes is left.
none_left() {
  local process tries
  for tries in 1 2 3 4 5 6 7 8 9 10; do
    process=$(pgrep -f "name=$1 " || true)
    [ -z "$process" ] && return
    sleep 0.5
  done
  fail "$1: processes are left: $process"
}

goes_on() {
  done_by 2 "$1" "${common[@]}" --continue
  same "$1" whole "$1" student.safetensors checkpoints/step-000000$steps/optimizer.safetensors
}

# ended NAME EXIT TEXT CODE
ended() {
  none_left "$1"
  [ "$4" = "$2" ] || fail "$1: exit code $4, not $2: $(cat "$1.log")"
  grep -q "$3" "$1.log" || fail "$1: no line says \"$3\": $(cat "$1.log")"
}

# signalled NAME SIGNAL RANK STEP: the exit code is in $code
signalled() {
  local name=$1 job begin process tries
  train 2 "$name" "${common[@]}" & job=$!
  for tries in $(seq 600); do
    [ "$(cat "runs/$name/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$4" ] && break
    sleep 0.05
  done
  process=$(rank_of "$name" "$3")
  [ -n "$process" ] || fail "$name: rank $3 is not there: $(cat "$name.log")"
  kill -s "$2" "$process"
  begin=$SECONDS
  code=0
  wait $job || code=$?
  [ $((SECONDS - begin)) -le $((limit + 10)) ] || fail "$name: over after $((SECONDS - begin)) s"
}

done_by 2 whole "${common[@]}"
for moment in $(seq "$moments"); do
  rank=$((RANDOM % 2)) step=$((RANDOM % (steps - 8) + 1))
  name=kill-$moment
  signalled $name KILL $rank $step
  ended $name 137 'signal 9' "$code"
  goes_on $name
  name=stop-$moment
  signalled $name STOP $rank $step
  ended $name 4 "rank $((1 - rank)) on .* waited .* for rank $rank on" "$code"
  goes_on $name
  name=term-$moment
  signalled $name TERM $rank $step
  ended $name 130 'interrupted: [0-9]* steps are saved' "$code"
  goes_on $name
done

# The disk of the first rank is full: files end at a limit, and the first that reaches it ends the job.
cat >full.sh <<'SH'
#!/usr/bin/env bash
[ "$OMPI_COMM_WORLD_RANK" != 0 ] || ulimit -f "$LIMIT"
exec "$@"
SH
# The second has a config of its own.
cat >other.sh <<'SH'
#!/usr/bin/env bash
[ "$OMPI_COMM_WORLD_RANK" = 0 ] || set -- "$@" data.train.images=nowhere
exec "$@"
SH
chmod +x full.sh other.sh
run_through() { # SCRIPT NAME [OPTION ...]
  local script=$1 name=$2
  shift 2
  code=0
  timeout -s KILL 100 "$here/../comm/mpirun.sh" 2 ./"$script" "$program" train t.yaml name="$name" "$@" >"$name.out" \
    2>"$name.log" || code=$?
}
run_through other.sh other "${common[@]}"
ended other 2 'different configs.*nowhere" on rank 1' "$code"

cp -r scenes gone
gone=(data.train.images=gone/images data.train.labels=gone/labels data.check=none data.prefetch=3 data.val.images=none data.val.labels=none)
for moment in $(seq "$moments"); do
  name=full-$moment
  export LIMIT=$((RANDOM % 4500 + 5500)) # of 1024 bytes; MPI itself needs 4 MiB, a checkpoint has more
  run_through full.sh $name "${common[@]}"
  ended $name 1 '^dram: rank 0 on .*cannot write: File too large' "$code"
  goes_on $name

  # An image is gone once the first batches were read: who meets it stops the others, all is saved, and its rank is named.
  name=gone-$moment step=$((RANDOM % (steps - 12) + 1)) image=gone/images/000$(printf %02d $((RANDOM % 14))).jpg
  (
    for tries in $(seq 600); do
      [ "$(cat "runs/$name/metrics.jsonl" 2>/dev/null | wc -l)" -ge $step ] && break
      sleep 0.05
    done
    mv "$image" away
  ) & mover=$!
  code=0
  train 2 $name "${common[@]}" "${gone[@]}" || code=$?
  wait $mover
  ended $name 1 "^dram: rank [01] on .*$(basename "$image"): cannot open: .*steps are saved, go on with --resume once that is mended" "$code"
  mv away "$image"
  tr -d '\t\n' <runs/$name/summary.json | grep -q "\"failed_rank\":[01],.*\"failed_text\":\"[^\"]*$(basename "$image"): cannot open" ||
    fail "summary.json does not say who failed: $(cat runs/$name/summary.json)"
  done_by 2 $name "${common[@]}" "${gone[@]}" --continue
  same $name whole $name student.safetensors checkpoints/step-000000$steps/optimizer.safetensors

  name=nan-$moment
  code=0
  train 2 $name "${common[@]}" optim.lr=1000 optim.warmup_steps=$((RANDOM % 15 + 1)) || code=$?
  ended $name 1 'is not finite' "$code"
done
echo "$((6 * moments + 1)) jobs ended as they must"
