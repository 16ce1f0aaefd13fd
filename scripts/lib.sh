# Sourced by the scripts of scripts/ and bench/, no command: their usage lines, the program, scenes to run it on, values
# out of its JSON, tables into docs/. A script sources it before it changes its folder, and has a line `# usage: NAME ...`
# at its head. DRAM names a program to take instead of build/release/dram.
# shellcheck shell=bash

script=$(realpath "$0")
usage() { sed -n 's/^# usage: /usage: /p' "$script"; }

# arguments LEAST MOST "$@": looks at the script's own arguments; MOST may be `any`. --help, a wrong number of them and an
# option that the usage line does not name end the script.
arguments() {
  local least=$1 most=$2 word
  shift 2
  for word; do
    [ "$word" != --help ] || { usage; exit 0; }
    case $word in -*) [[ "$(usage) " == *[\ \[]"$word"[]\ ]* ]] || { usage >&2; exit 2; } ;; esac
  done
  if [ $# -lt "$least" ] || { [ "$most" != any ] && [ $# -gt "$most" ]; }; then
    usage >&2
    exit 2
  fi
}

find_dram() {
  if [ -z "${DRAM:-}" ]; then
    scripts/deps.sh >&2
    scripts/build.sh release dram >&2
  fi
  dram=${DRAM:-build/release/dram}
}

# scenes NAME COUNT SEED [STYLE]: scenes/NAME, made if it is not there; always the same
scenes() {
  [ -d "scenes/$1" ] && return
  rm -rf "scenes/$1.part"
  mkdir -p scenes
  "$dram" synth "scenes/$1.part" --count "$2" --seed "$3" --style "${4:-plain}" >/dev/null
  mv "scenes/$1.part" "scenes/$1"
  echo "$2 synthetic scenes in scenes/$1" >&2
}

# What the configs of bench/ read.
bench_scenes() { scenes bench 32 3; }

# value FILE KEY: what stands at KEY in a file of JSON, nothing for null. A dot goes into an object, or to the object of that
# name in a list, as in `dram plan --json --get programs.distil_step.flops`. A key that is not there ends the script, even
# from within a $(...) whose status no one asks for.
trap 'exit 1' USR1
value() {
  jq -r --arg key "$2" 'def missing: error("there is no \($key)");
    reduce ($key / ".")[] as $part (.;
      if type == "array" then map(select(.name == $part)) | if length > 0 then .[0] else missing end
      elif type == "object" and has($part) then .[$part] else missing end) | if . == null then empty else . end' "$1" || kill -USR1 $$
}

# column FILE KEY: that number of every line of a file with one object a line
column() { jq --arg key "$2" '.[$key]' "$1"; }

# calc FORMAT EXPRESSION: a number computed and printed
calc() { awk "BEGIN { printf \"$1\", $2 }"; }

mib() { calc "${2:-%.1f}" "$1 / 1048576"; }
gib() { calc "${2:-%.2f}" "$1 / 1073741824"; }

# write_section FILE NAME: standard input takes the place of what is between <!-- NAME --> and <!-- /NAME --> in FILE
write_section() {
  local text
  text=$(mktemp)
  cat >"$text"
  grep -q "^<!-- $2 -->$" "$1" && grep -q "^<!-- /$2 -->$" "$1" || { echo "$1 has no section $2" >&2; return 1; }
  awk -v name="$2" -v text="$text" '
    $0 == "<!-- /" name " -->" { inside = 0 }
    !inside { print }
    $0 == "<!-- " name " -->" { inside = 1; while ((getline line < text) > 0) print line }' "$1" >"$1.new"
  rm "$text"
  mv "$1.new" "$1"
}

# visible_gpus: how many GPUs a program of this shell sees
visible_gpus() {
  if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | wc -l
  else
    { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU' || true
  fi
}
