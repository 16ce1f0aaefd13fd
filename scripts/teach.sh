#!/usr/bin/env bash
# Does it teach? Three questions, each a group of runs: on scenes with few labels (scenes), with the embedding as a start
# (start), on a drive that is new (drives); and what was tried before them, which no held-out set takes part in (choose).
# CAMVID, which `drives` alone reads, is a folder with train/images, train/labels, val/images, val/labels; `none` without it.
# Groups are made in the order given; by default scenes, start and drives. `dram sweep` makes the runs of a group, JOBS at
# once (2), each on one thread, and goes on where it was stopped. Every evaluation is a line of docs/results/teach.csv with
# its date: of what a run was chosen by as soon as the run is done, of held-out sets when all runs of the group are. What
# has its line is not made again: after a change of a config or of the teacher, remove the lines of its groups first. `--page` writes the tables of docs/results.md from these lines, and nothing else.
# usage: teach.sh CAMVID [GROUP ...] | --page
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 any "$@"
camvid=$(realpath -m -- "$1")
cd "$(dirname "$0")/.."
kept=docs/results/teach.csv
runs=runs
drives=(0001TP 0006R0 0016E5)
head=date,group,run,seed,set,size,miou,pixel_accuracy,embedding_cosine,steps,planned_bytes

# A set of scenes: NAME COUNT SEED STYLE. The teacher's are below; no two have the same seed.
scene_sets() {
  scenes learn 2040 100 plain
  scenes choose 200 101 plain
  scenes held-out 500 102 plain
  scenes other-look 500 103 dusk
}

# both NAME COUNT SEED COUNT SEED: scenes/NAME, of plain ones and varied ones
both() {
  local part=scenes/$1.part style
  [ -d "scenes/$1" ] && return
  rm -rf "$part"
  scenes "$1-plain" "$2" "$3" plain
  scenes "$1-varied" "$4" "$5" varied
  mkdir -p "$part/images" "$part/labels"
  for style in plain varied; do
    mv "scenes/$1-$style/images" "$part/images/$style"
    mv "scenes/$1-$style/labels" "$part/labels/$style"
    rm -rf "scenes/$1-$style"
  done
  mv "$part" "scenes/$1"
}

# ---- lines that are kept ----

# has GROUP RUN SEED SET
has() { [ -f "$kept" ] && awk -F, -v g="$1" -v r="$2" -v s="$3" -v set="$4" '$2 == g && $3 == r && $4 == s && $5 == set { f = 1 } END { exit !f }' "$kept"; }

# keep DATE GROUP RUN SEED SET STEPS PLANNED <JSON: of an evaluation, or {"sizes": [...]}
keep() {
  [ -s "$kept" ] || echo "$head" >"$kept"
  jq -r --arg before "$1,$2,$3,$4,$5" --arg after "$6,$7" '(.sizes // [.])[]
    | [$before, .data_size, .miou, .pixel_accuracy, (.embedding_cosine // ""), $after] | map(tostring) | join(",")' >"$kept.new"
  [ -s "$kept.new" ] || { echo "teach.sh: an evaluation of $2 $3 on $5 has no numbers" >&2; exit 1; }
  cat "$kept.new" >>"$kept"
  rm "$kept.new"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

# evaluate GROUP RUN SEED SET SIDES FOLDER DATA...: the student of a run's folder, once, at some sides
evaluate() {
  local group=$1 run=$2 seed=$3 set=$4 sides=$5 folder=$6
  shift 6
  has "$group" "$run" "$seed" "$set" && return
  echo "$group: $run, seed $seed on $set" >&2
  "$dram" eval "$folder/config.yaml" --weights "$folder/student.safetensors" memory.budget=none threads=1 "$@" --sizes "$sides" --json \
    >"$runs/teach.json" 2>"$runs/teach.log" || { tail -n 3 "$runs/teach.log" >&2; exit 1; }
  keep "$(now)" "$group" "$run" "$seed" "$set" "$(value "$folder/summary.json" steps)" \
    "$(value "$folder/summary.json" planned_peak_bytes)" <"$runs/teach.json"
}

on_scenes() { echo "data.val.images=scenes/$1/images data.val.labels=scenes/$1/labels"; }

# ---- runs ----

# train NAME CONFIG KEY=VALUE...: one run, or what is left of it
train() {
  local name=$1 config=$2 resume=()
  shift 2
  [ -f "$runs/$name/summary.json" ] && return
  [ -d "$runs/$name" ] && resume=(--resume)
  echo "$name" >&2
  "$dram" train "$config" name="$name" run.dir="$runs" "$@" "${resume[@]}" >"$runs/$name.log" 2>&1 ||
    { tail -n 3 "$runs/$name.log" >&2; exit 1; }
}

# sweep FILE NAME KEY=VALUE...: all runs of a sweep
sweep() {
  local file=$1 name=$2
  shift 2
  "$dram" sweep "$file" name="$name" run.dir="$runs" "$@" --jobs "${JOBS:-2}" --failed >&2
}

# of_sweep NAME: a line "RUN|SEED|FOLDER" for each of its runs, RUN being the settings of its point
of_sweep() {
  local folder index seed
  for folder in "$runs/$1"/[0-9]*-s[0-9]*/; do
    folder=${folder%/}
    index=$(basename "$folder")
    seed=${index##*-s}
    index=$((10#${index%%-*}))
    echo "$(jq -r --argjson i "$index" '.points[] | select(.index == $i) | .differs' "$runs/$1/plan.json")|$seed|$folder"
  done
}

# each_run NAME COMMAND...: COMMAND RUN SEED FOLDER, for each run of a sweep
each_run() {
  local line run seed folder lines
  mapfile -t lines < <(of_sweep "$1")
  shift
  for line in "${lines[@]}"; do
    IFS='|' read -r run seed folder <<<"$line"
    "$@" "$run" "$seed" "$folder"
  done
}

# chosen_by GROUP SET SIDE RUN SEED FOLDER: what the run itself was evaluated on at its end, at the time it ended
chosen_by() {
  local summary=$6/summary.json
  has "$1" "$4" "$5" "$2" && return
  jq --argjson side "$3" '.eval + {data_size: $side}' "$summary" | keep "$(date -u -r "$summary" +%Y-%m-%dT%H:%M:%SZ)" "$1" "$4" "$5" "$2" \
    "$(value "$summary" steps)" "$(value "$summary" planned_peak_bytes)"
}

# held_out GROUP RUN SEED FOLDER: the two sets of scenes that nothing was chosen by; the first at half the side too
held_out() {
  local data
  read -ra data <<<"$(on_scenes held-out)"
  evaluate "$1" "$2" "$3" held-out 128,64 "$4" "${data[@]}"
  read -ra data <<<"$(on_scenes other-look)"
  evaluate "$1" "$2" "$3" other-look 128,64 "$4" "${data[@]}"
}

# The teacher of scenes, trained where it is not there
need_teacher() {
  [ -f "$runs/teach-teacher/summary.json" ] && return
  both learned 8000 200 14000 201
  both learned-val 100 202 100 203
  train teach-teacher configs/teach/teacher.yaml
}

# The teacher of scenes, with the head that it was trained with: at the side at which it teaches
teacher() {
  local set data
  need_teacher
  for set in "$@"; do
    read -ra data <<<"$(on_scenes "$set")"
    evaluate scenes teacher 1 "$set" 256 "$runs/teach-teacher" "${data[@]}"
  done
}

group_choose() {
  teacher choose
  sweep configs/teach/choose-sweep.yaml teach-choose
  each_run teach-choose chosen_by choose choose 128
}

group_scenes() {
  teacher choose
  sweep configs/teach/scenes-sweep.yaml teach-scenes
  each_run teach-scenes chosen_by scenes choose 128
  teacher held-out other-look
  each_run teach-scenes held_out scenes
}

group_start() {
  teacher choose
  train teach-distilled configs/teach/distilled.yaml
  sweep configs/teach/start-sweep.yaml teach-start
  each_run teach-start chosen_by start choose 128
  each_run teach-start held_out start
}

# ---- drives ----

# Links to all photographs of CamVid in one folder, and lists of them for each fold: those of the drive that is held out
# (NAME.txt), the last fifth of each other drive's frames, to choose by (not-NAME-choose.txt), and what is before, to learn
# from (not-NAME-learn.txt).
photographs() {
  local part=scenes/camvid.part drive
  [ -d scenes/camvid ] && return
  [ -d "$camvid/train/images" ] || { echo "teach.sh: $camvid/train/images is no folder" >&2; exit 2; }
  rm -rf "$part"
  mkdir -p "$part/images" "$part/labels"
  ln -s "$camvid"/{train,val}/images/* "$part/images"
  ln -s "$camvid"/{train,val}/labels/* "$part/labels"
  for drive in "${drives[@]}"; do
    (cd "$part/images" && printf '%s\n' "$drive"_*) >"$part/$drive.txt"
    (cd "$part/images" && printf '%s\n' *) | grep -vxFf "$part/$drive.txt" |
      awk -F_ -v list="$part/not-$drive" '{ n[$1]++; name[NR] = $0; drive[NR] = $1; at[NR] = n[$1] }
        END { for (i = 1; i <= NR; i++) print name[i] >(list (at[i] > 0.8 * n[drive[i]] ? "-choose.txt" : "-learn.txt")) }'
  done
  mv "$part" scenes/camvid
}

# fold DRIVE RUN SEED FOLDER: on the drive that was left out
fold() {
  evaluate drives "$2" "$3" "$1" "$5" "$4" data.val.images=scenes/camvid/images data.val.labels=scenes/camvid/labels \
    data.val.list="scenes/camvid/$1.txt"
}
fold_student() { fold "$1" "$2" "$3" "$4" 128; }

group_drives() {
  local drive lists folder
  photographs
  need_teacher
  for drive in "${drives[@]}"; do
    lists=(data.train.list="scenes/camvid/not-$drive-learn.txt" data.val.list="scenes/camvid/not-$drive-choose.txt")
    folder=teach-drives-teacher-$drive
    train "$folder" configs/teach/drives-teacher.yaml "${lists[@]}"
    chosen_by drives "choose-$drive" 320 teacher 1 "$runs/$folder"
    sweep configs/teach/drives-sweep.yaml "teach-drives-$drive" "${lists[@]}" \
      sam_distill.teacher.weights="$runs/$folder/student.safetensors"
    each_run "teach-drives-$drive" chosen_by drives "choose-$drive" 128
  done
  for drive in "${drives[@]}"; do
    fold "$drive" teacher 1 "$runs/teach-drives-teacher-$drive" 320
    each_run "teach-drives-$drive" fold_student "$drive"
  done
}

# ---- the page ----

# tell GROUP:RUN SET SIZE [OVER-GROUP:RUN [SIZE]]: its mIoU in points, mean and sample deviation over seeds (and folds); or what it has
# more than another, seed by seed, and that in standard errors; nothing where there is no line. SET may be `drives`: all.
tell() {
  [ -f "$kept" ] || return 0
  awk -F, -v of="$1" -v set="$2" -v size="$3" -v over="${4:-}" -v over_size="${5:-$3}" '
    function spread() { return n > 1 ? sqrt((q - s * s / n > 0 ? q - s * s / n : 0) / (n - 1)) : 0 }
    $5 != set && !(set == "drives" && $2 == "drives" && $5 !~ /^choose/) { next }
    $2 ":" $3 == of && $6 == size { mine[$4, $5] = $7 }
    $2 ":" $3 == over && $6 == over_size { other[$4, $5] = $7 }
    END {
      for (k in mine) {
        if (over != "" && !(k in other)) continue
        v = mine[k] - (over == "" ? 0 : other[k]); n++; s += v; q += v * v
      }
      if (!n) exit
      printf "%.1f", 100 * s / n
      if (n > 1) printf " ± %.1f", 100 * spread()
      if (over != "" && spread() > 0) printf " (%.1f se)", s / n / (spread() / sqrt(n))
    }' "$kept"
}

mib_of() { awk -F, -v of="$1" '$2 ":" $3 == of { print $11; exit }' "$kept" 2>/dev/null | awk '{ printf "%.1f", $1 / 1048576 }'; }
missing="*No such run is kept yet.*"

alone=scenes:sam_distill.enabled=false
embedding=scenes:sam_distill.enabled=true
resolution="scenes:sam_distill.enabled=false resolution_distill.enabled=true"
mean="$resolution resolution_distill.target=mean"
both="scenes:sam_distill.enabled=true resolution_distill.enabled=true"
all="scenes:sam_distill.enabled=false data.train.label_fraction=1.0"
students=("$alone|40 labels alone" "$embedding|and the teacher's embedding of all 2040" "$resolution|and resolution distillation on all 2040"
  "$mean|the same, its target a mean of weights" "$both|and both (target: now)" "$all|all 2040 labels")

# A student that is not there is left out.
scenes_table() {
  local line run label
  [ -n "$(tell "$alone" held-out 128)" ] || { echo "$missing"; return; }
  echo "| a student learns from | held-out scenes | gain | another look | gain | planned MiB |"
  echo "|---|---:|---:|---:|---:|---:|"
  for line in "${students[@]}"; do
    run=${line%|*} label=${line##*|}
    [ -n "$(tell "$run" held-out 128)" ] || continue
    echo "| $label | $(tell "$run" held-out 128) | $([ "$run" = "$alone" ] || tell "$run" held-out 128 "$alone") | $(tell "$run" other-look 128) |" \
      "$([ "$run" = "$alone" ] || tell "$run" other-look 128 "$alone") | $(mib_of "$run") |"
  done
  echo "| *the teacher itself, at 256* | $(tell scenes:teacher held-out 256) | | $(tell scenes:teacher other-look 256) | | |"
}

low_table() {
  local line run label
  [ -n "$(tell "$alone" held-out 64)" ] || { echo "$missing"; return; }
  echo "| a student learns from | at 128 | at 64 | gain at 64 | 64 against 128 |"
  echo "|---|---:|---:|---:|---:|"
  for line in "${students[@]}"; do
    run=${line%|*} label=${line##*|}
    [ -n "$(tell "$run" held-out 64)" ] || continue
    echo "| $label | $(tell "$run" held-out 128) | $(tell "$run" held-out 64) | $([ "$run" = "$alone" ] || tell "$run" held-out 64 "$alone") |" \
      "$(tell "$run" held-out 64 "$run" 128) |"
  done
}

start_table() {
  local line run label
  [ -n "$(tell start:student.trainable=heads held-out 128)" ] || { echo "$missing"; return; }
  echo "| 40 labels train | held-out scenes | gain | another look | gain | planned MiB |"
  echo "|---|---:|---:|---:|---:|---:|"
  for line in "$alone|all of it, from random weights" "start:student.trainable=heads|the head and the neck, on the distilled trunk as it is" \
    "start:student.trainable=all|all of it, from the distilled weights"; do
    run=${line%|*} label=${line##*|}
    echo "| $label | $(tell "$run" held-out 128) | $([ "$run" = "$alone" ] || tell "$run" held-out 128 "$alone") | $(tell "$run" other-look 128) |" \
      "$([ "$run" = "$alone" ] || tell "$run" other-look 128 "$alone") | $(mib_of "$run") |"
  done
}

drives_table() {
  local drive off=drives:sam_distill.enabled=false on=drives:sam_distill.enabled=true
  [ -n "$(tell "$off" drives 128)" ] || { echo "$missing"; return; }
  echo "| tested on drive | a tenth of the labels alone | and the embedding | gain | the teacher itself, at 320 |"
  echo "|---|---:|---:|---:|---:|"
  for drive in "${drives[@]}" drives; do
    echo "| ${drive/#drives/all three} | $(tell "$off" "$drive" 128) | $(tell "$on" "$drive" 128) | $(tell "$on" "$drive" 128 "$off") |" \
      "$(tell drives:teacher "$drive" 320) |"
  done
}

# What was tried, in the order in which it ended.
choose_table() {
  if ! grep -qs ',choose,' "$kept"; then
    echo "$missing"
    return
  fi
  echo "| ended | run | seed | mIoU on the scenes to choose by |"
  echo "|---|---|---:|---:|"
  awk -F, '$2 == "choose" || $3 == "teacher" && $5 == "choose" { printf "| %s | %s | %s | %.1f |\n", $1, $3, $4, 100 * $7 }' "$kept" | sort
}

# A dot a run, of both held-out sets
picture() {
  local line run label
  for line in "$alone|alone" "$embedding|embedding" "$resolution|resolution" "$both|both" "$all|all_labels"; do
    run=${line%|*} label=${line##*|}
    awk -F, -v of="$run" -v l="$label" '$2 ":" $3 == of && $5 == "held-out" && $6 == 128 { printf "%s %.2f\n", l, 100 * $7 }' "$kept"
  done | scripts/strip.sh "mIoU, %" >docs/results/scenes.svg
}

page() {
  local section
  for section in scenes low start drives choose; do "${section}_table" | write_section docs/results.md "teach-$section"; done
  [ -n "$(tell "$alone" held-out 128)" ] || return 0
  scenes_table | write_section README.md headline
  picture
}

if [ "$1" = --page ]; then
  [ $# = 1 ] || { usage >&2; exit 2; }
  page
  exit
fi
shift
groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(scenes start drives)
for group in "${groups[@]}"; do
  declare -F "group_$group" >/dev/null || { echo "teach.sh: no group is called $group: choose, scenes, start, drives" >&2; exit 2; }
done
find_dram
mkdir -p "$runs" "$(dirname "$kept")"
scene_sets
for group in "${groups[@]}"; do "group_$group"; done
page
