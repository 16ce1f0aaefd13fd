#!/usr/bin/env bash
# How much code there is: lines of src and kernels that are neither blank nor comment alone, of the working tree; with
# COMMIT of that commit too, and the growth.
# usage: lines.sh [COMMIT]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 1 "$@"
cd "$(dirname "$0")/.."

# Counts what stdin has once comments are gone. Strings are kept, so that a // in one is no comment.
count() {
    perl -0777 -ne '
        s{("(?:\\.|[^"\\\n])*"|'"'"'(?:\\.|[^'"'"'\\\n])+'"'"')|/\*.*?\*/|//[^\n]*}{
            my $kept = $1; my $lines = defined $kept ? $kept : $& =~ s/[^\n]+/ /gr; $lines}gse;
        print scalar grep { /[^\s\\]/ } split /\n/;'
}

endings='\.(c|h|def|cu|cuh)$'
now=$(git ls-files --cached --others --exclude-standard src kernels | grep -E "$endings" |
    while read -r file; do if [ -f "$file" ]; then cat "$file"; fi; done | count)
if [ $# -eq 0 ]; then
    echo "$now lines of code in src and kernels"
    exit
fi
git rev-parse --verify --quiet "$1^{commit}" >/dev/null || { echo "lines.sh: $1 is no commit" >&2; exit 2; }
then=$(git ls-tree -r --name-only "$1" src kernels | grep -E "$endings" |
    while read -r file; do git show "$1:$file"; done | count)
awk -v now="$now" -v then="$then" -v commit="$1" 'BEGIN {
    printf "%d lines of code in src and kernels, %d at %s: %+.2f %%\n", now, then, commit, 100 * (now - then) / then }'
