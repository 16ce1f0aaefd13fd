#!/usr/bin/env bash
# Every script says its usage line for --help (exit 0) and for a wrong call (exit 2), and makes nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "usage.sh: $1"; exit 1; }
mkdir "$work/tree"
cp -r scripts bench "$work/tree"
cd "$work/tree"
find . >"$work/before"

# call CODE SCRIPT ARGUMENT...
call() {
  local code=0
  "${@:2}" >"$work/out" 2>"$work/err" </dev/null || code=$?
  [ "$code" = "$1" ] || fail "${*:2}: exit status $code, not $1: $(cat "$work/out" "$work/err")"
  [ "$1" = 2 ] || mv "$work/out" "$work/err" # where the line is to be
  [ "$(wc -l <"$work/err")" = 1 ] && grep -q "^usage: $(basename "$2")\( \|$\)" "$work/err" || fail "${*:2} says: $(cat "$work/err")"
}

scripts=0
for script in scripts/*.sh bench/*.sh; do
  [ "$script" != scripts/lib.sh ] || continue
  scripts=$((scripts + 1))
  call 0 "$script" --help
  call 2 "$script" --no-such-option
  case $script in
    scripts/build.sh | scripts/results.sh | scripts/teach.sh | scripts/nvcc.sh | scripts/check_pages.sh) ;; # take any number
    *) call 2 "$script" 1 2 3 4 5 ;;
  esac
  grep -q '^# usage: .* \[\|^# usage: [a-z_]*\.sh$' "$script" || call 2 "$script" # one that cannot do without arguments
done
[ "$scripts" -ge 24 ] || fail "$scripts scripts were found"
call 2 scripts/results.sh --page main
call 2 scripts/teach.sh --page scenes
call 2 scripts/same.sh --quick
find . >"$work/after"
cmp -s "$work/before" "$work/after" || fail "they made $(diff "$work/before" "$work/after")"
echo "$scripts scripts say how they are called"
