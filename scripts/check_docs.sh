#!/usr/bin/env bash
# Do the commands of README.md and docs/*.md work, and print what the pages say? With names of pages, of those alone.
#
# Runs every command of the code blocks that takes under a minute, in a scratch copy of configs, bench, docs and scripts,
# with `dram` on the PATH (DRAM names another one than build/release/dram). A line of a code block is a command if it begins
# with dram, time, scripts/, bench/, build/, cmake, ctest, or NAME=VALUE before one of those; it must exit with 0. What is
# not run is told, with the reason. A code block that begins with `# NAME.yaml` is put into that file, for the commands after
# it. Local links and their anchors must exist. What scripts write (tiers.sh, the planned tables of claims.sh, results.sh
# --page, teach.sh --page) must stay as it is when it is written again.
# Markers, each on a line of its own, say more:
#
#   <!-- check: COMMAND -->       the code block or table that follows is what COMMAND prints. A line `...` in it stands for
#                                 any number of lines, `…` in a line for any text.
#   <!-- check FILE: COMMAND -->  the whole FILE is what COMMAND prints
#   <!-- says TEXT: COMMAND -->   TEXT, which holds no ": ", stands in what COMMAND prints and in the page
#   <!-- file: NAME -->           the code block that follows is put into NAME, for the commands after it
#   <!-- skip: REASON -->         the commands of the code block that follows are not run
# usage: check_docs.sh [PAGE ...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 any "$@"
cd "$(dirname "$0")/.."
for page; do [ -f "$page" ] || { usage >&2; exit 2; }; done
[ -n "${DRAM:-}" ] || scripts/build.sh release dram bench_recompute >&2
find_dram
tree=$PWD
pages=("$@")
[ $# -gt 0 ] || pages=(README.md docs/*.md)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
there=$work/tree
mkdir -p "$there" "$work/bin"
cp -r README.md docs configs bench scripts "$there"
[ ! -d build ] || ln -s "$PWD/build" "$there/build"
ln -s "$(realpath "$dram")" "$work/bin/dram"
export DRAM=$work/bin/dram PATH="$work/bin:$PATH" dram=dram

# What is not run: a pattern of commands, and why.
not_run=(
  '*scripts/deps.sh*' 'installs packages'
  '*scripts/@(build|nvcc|gpu_bundle).sh*|cmake *|*-B build/*' 'builds'
  'ctest *|*scripts/@(test|check_all|check_pages|same|quickstart|teacher).sh*' 'takes minutes'
  '*scripts/@(bench|ablation|claims|results|teach).sh*|*bench/*.sh*' 'measures or trains for minutes'
  '*scripts/@(gpu_check|sass|spills).sh*|*gpu-bundle*' 'needs a GPU or its compiler'
  '*scripts/tiers.sh*|*scripts/check_docs.sh*' 'is run below'
  '*build/release/bench_@(conv|attention|gelu|gpu)*|*--calibrate*' 'measures this machine'
  'build/release/tests/*' 'trains'
  'dram train *' 'trains'
  'dram @(check|eval|features|export|report) *' 'needs a folder of images, a trained student, or a run'
)
shopt -s extglob

failures=0 commands=0 skipped=0 samples=0 lines=0 files=0 links=0
fails() { echo "FAILED $1: $2"; failures=$((failures + 1)); }

# run WHERE COMMAND: its output to $work/out, standard error to $work/err
run() {
  local code=0
  commands=$((commands + 1))
  (cd "$there" && timeout 60 bash -c "$2") >"$work/out" 2>"$work/err" </dev/null || code=$?
  [ $code = 0 ] && return
  fails "$1" "exit status $code ($([ $code = 124 ] && echo "more than a minute" || tail -n 1 "$work/err")): $2"
  return 1
}

# same_lines WHERE SAMPLE: $work/out against the file SAMPLE, with its `...` and `…`
same_lines() {
  local any='' line pattern at=0 out patterns
  mapfile -t out < <(sed 's/[[:space:]]*$//' "$work/out" | sed -e '/./,$!d' | tac | sed -e '/./,$!d' | tac)
  mapfile -t patterns < <(sed -e 's/[[:space:]]*$//' -e 's/[][*?\\@!+()|]/\\&/g' -e 's/…/*/g' "$2")
  [ "${#out[@]}" -gt 0 ] && [ "${#patterns[@]}" -gt 0 ] || { fails "$1" "there is nothing to compare"; return; }
  samples=$((samples + 1))
  for pattern in "${patterns[@]}"; do
    if [ "${pattern// /}" = ... ]; then any=1; continue; fi
    lines=$((lines + 1))
    while [ $at -lt ${#out[@]} ]; do
      line=${out[at]}
      at=$((at + 1))
      # shellcheck disable=SC2053
      [[ $line == $pattern ]] && { any=; continue 2; }
      [ "$any" ] || break
    done
    fails "$1" "the page says \"$(sed 's/\\\(.\)/\1/g' <<<"$pattern")\", the command \"${line:-nothing more}\""
    return
  done
  [ "$any" ] || [ $at = ${#out[@]} ] || fails "$1" "the command says more: \"${out[at]}\""
}

# leave_out REASON WHERE COMMAND
leave_out() {
  skipped=$((skipped + 1))
  echo "not run, $1: $2: $3"
}

# is_missing COMMAND: whether it begins with a program that is not built
is_missing() { [[ $1 == build/* ]] && [ ! -x "${1%% *}" ]; }

# try WHERE COMMAND: a command of a code block
try() {
  local command=${2//'$dram '/dram } i why='' bare
  command=${command//build\/release\/dram /dram }
  bare=$(sed -E 's/^([A-Za-z_]+=[^ ]* )+//' <<<"$command") # without what it sets in the environment
  for ((i = 0; i < ${#not_run[@]}; i += 2)); do
    # shellcheck disable=SC2053
    if [ -z "$why" ] && eval "[[ \$bare == @(${not_run[i]// /\\ }) ]]"; then why=${not_run[i + 1]}; fi
  done
  if [ -z "$why" ] && [[ " $command " =~ \ (CONFIG|DIR|FILE|IMAGE\.\.\.|\.\.\.)\  ]]; then why="has words to fill in"; fi
  if [ -z "$why" ] && is_missing "$bare"; then why="is not built"; fi
  if [ "$why" ]; then
    leave_out "it $why" "$1" "$command"
  elif run "$1" "$command"; then
    echo "ran: $1: $command"
  fi
}

is_command='^([A-Za-z_]+=[^ ]* +)*(\$?dram|time|cmake|ctest|scripts/[a-z_]+\.sh|bench/[a-z_]+\.sh|build/[^ ]+) '
# block PAGE LINE LANGUAGE: $block, a code block or table, with the marker that stands before it
block() {
  local where=$1:$2 line command=
  [[ ${block[0]} =~ ^'# '([a-z_]+\.yaml)$ ]] && printf '%s\n' "${block[@]}" >"$there/${BASH_REMATCH[1]}"
  case $marker in
    "check: "*)
      printf '%s\n' "${block[@]}" >"$work/sample"
      if is_missing "${marker#check: }"; then
        leave_out "it is not built" "$where" "${marker#check: }"
      elif run "$where" "${marker#check: }"; then
        same_lines "$where" "$work/sample"
        echo "compared: $where: ${#block[@]} lines with ${marker#check: }"
      fi ;;
    "file: "*) printf '%s\n' "${block[@]}" >"$there/${marker#file: }" ;;
    *)
      [[ $3 == @(|sh|bash|shell|console) ]] || return 0
      for line in "${block[@]}"; do
        if [ -z "$command" ] && ! [[ "$line " =~ $is_command ]]; then continue; fi
        command+=$line
        if [[ $command == *\\ ]]; then command=${command%\\}; continue; fi
        command=$(sed -E 's/ +#.*//; s/ +/ /g' <<<"$command")
        if [[ $marker == "skip: "* ]]; then
          leave_out "${marker#skip: }" "$where" "$command"
        else
          try "$where" "$command"
        fi
        command=
      done ;;
  esac
}

# at_once PAGE:LINE MARKER: one that needs no block
at_once() {
  local rest=${2#* }
  local what=${rest%%: *} command=${rest#*: }
  run "$1" "$command" || return 0
  if [[ $2 == "says "* ]]; then
    samples=$((samples + 1))
    lines=$((lines + 1))
    grep -qF -- "$what" "$work/out" || fails "$1" "\"$what\" is not in what the command prints: $command"
    grep -v '^<!-- says ' "${1%%:*}" | grep -F -- "$what" >/dev/null || fails "$1" "\"$what\" is not in the page"
  else
    same_whole "$1" "$what"
  fi
  echo "compared: $1: $what with $command"
}

# same_whole WHERE FILE: $work/out against all of FILE
same_whole() {
  samples=$((samples + 1))
  lines=$((lines + $(wc -l <"$tree/$2")))
  cmp -s "$work/out" "$tree/$2" ||
    fails "$1" "$2 is otherwise:
$({ diff "$tree/$2" "$work/out" || true; } | sed -n '2p;/^>/{p;q}')"
}

page() {
  local line number=0 start=0 kind='' language='' blank=1
  block=() marker=
  finish() {
    local last=$((${#block[@]} - 1))
    while [ $last -ge 0 ] && [ -z "${block[last]}" ]; do unset "block[$last]"; last=$((last - 1)); done
    block "$1" "$start" "$language"
    block=() kind='' marker='' language=''
  }
  while IFS= read -r line || [ "$line" ]; do
    number=$((number + 1))
    if [ "$kind" = fenced ]; then
      if [[ $line == '```'* ]]; then finish "$1"; else block+=("$line"); fi
      continue
    fi
    if [ "$kind" = indented ]; then
      if [[ $line == '    '* ]] || [ -z "$line" ]; then block+=("${line#    }"); continue; fi
      finish "$1"
    elif [ "$kind" = table ]; then
      if [[ $line == '|'* ]]; then block+=("$line"); continue; fi
      finish "$1"
    fi
    start=$number
    if [[ $line == '```'* ]]; then
      kind=fenced language=${line#'```'}
    elif [[ $line == '    '* ]] && [ $blank = 1 ]; then
      kind=indented block=("${line#    }")
    elif [[ $line == '|'* ]] && [[ $marker == check* ]]; then
      kind=table block=("$line")
    elif [[ $line =~ ^'<!-- '((check|file|skip)': '.*)' -->'$ ]]; then
      marker=${BASH_REMATCH[1]}
    elif [[ $line =~ ^'<!-- '((check|says)' '[^:].*': '.*)' -->'$ ]]; then
      at_once "$1:$number" "${BASH_REMATCH[1]}"
    elif [ "$line" ] && [ "$marker" ]; then
      fails "$1:$number" "no code block or table follows the marker \"$marker\""
      marker=
    fi
    blank=$([ -n "$line" ] && [[ $line != '<!-- '* ]] && echo 0 || echo 1)
  done <"$1"
  [ -z "$kind" ] || finish "$1"
}

# anchors FILE: its headings as links name them
anchors() { sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g'; }

links_of() {
  local target file anchor
  while read -r target; do
    [[ $target == http* ]] && continue
    links=$((links + 1))
    file=${target%%#*} anchor=
    [[ $target == *'#'* ]] && anchor=${target#*#}
    file=${file:+$(dirname "$1")/$file}
    file=${file:-$1}
    [ -e "$file" ] || { fails "$1" "there is no $target to link to"; continue; }
    if [ "$anchor" ] && ! anchors "$file" | grep -qxF -- "$anchor"; then
      fails "$1" "$target: no heading has this anchor"
    fi
  done < <(awk '/^```/ { code = !code } !code' "$1" | grep -oE '\]\([^)]+\)' | sed 's/^](//; s/)$//')
}

for page in "${pages[@]}"; do
  page "$page"
  links_of "$page"
done

# ---- what scripts write ----

if [ $# = 0 ]; then
  # The other sections of claims.sh measure.
  for command in "scripts/tiers.sh --write" "scripts/results.sh --page" "scripts/teach.sh --page" \
    "scripts/claims.sh --write half_side canvas model_type sr_scale precision patches"; do
    commands=$((commands + 1))
    if (cd "$there" && bash -c "$command") >"$work/out" 2>"$work/err"; then
      echo "written again: $command"
    else
      fails "$command" "$(tail -n 1 "$work/err")"
    fi
  done
  while read -r file; do
    files=$((files + 1))
    cmp -s "$file" "$there/$file" && continue
    fails "$file" "a script writes it otherwise:
$({ diff "$file" "$there/$file" || true; } | sed -n '2p;/^>/{p;q}')"
  done < <(find README.md docs -type f)
fi

echo "check_docs.sh: $commands commands were run and $skipped were not, $samples samples of $lines lines were compared," \
  "$files files that scripts write, $links links; $failures failures"
[ $failures = 0 ] && [ $((samples + commands)) -gt 0 ]
