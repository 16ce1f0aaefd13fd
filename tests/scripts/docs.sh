#!/usr/bin/env bash
# What scripts/check_docs.sh makes of pages that are true and of pages that are not, with a dram that stands in.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "docs.sh: $1"; exit 1; }
cat >"$work/dram" <<'END'
#!/bin/sh
case "$*" in
  bad*) echo "dram: it is bad" >&2; exit 2 ;;
  plan\ mine.yaml) cat mine.yaml ;;
  *) printf 'needs 181.6 MiB of 9\n\nstep 1\nstep 2\nstep 3\n  *done* [x] \\ 3\n' ;;
esac
END
chmod +x "$work/dram"

# check CODE WHAT: the page on standard input, whose check must exit with CODE and say WHAT
check() {
  local code=0
  cat >"$work/page.md"
  DRAM=$work/dram scripts/check_docs.sh "$work/page.md" >"$work/said" 2>&1 || code=$?
  [ "$code" = "$1" ] && grep -qF -- "$2" "$work/said" || fail "exit status $code, not $1, or no \"$2\": $(cat "$work/page.md" "$work/said")"
}

check 0 "6 commands were run and 3 were not, 4 samples of 6 lines were compared" <<'END'
# A page, with: a heading

[here](#a-page-with-a-heading), [there](page.md) and [away](https://nowhere.example/x)

    dram plan a.yaml          # a comment
    dram plan b.yaml \
      c=d
    dram train c.yaml
    scripts/bench.sh 3 4
    not a command

<!-- skip: it is elsewhere -->

```sh
dram bad
```

<!-- check: dram x -->

    needs 181.6 MiB of …
    ...
    step 3
      *done* [x] \ 3

<!-- check: dram x | sed -n 's/step/| step/; 3p' -->
| step 1

```yaml
# mine.yaml
steps: 9
```

<!-- says 181.6 MiB: dram x -->
It is 181.6 MiB.
<!-- check: dram plan mine.yaml | tail -n 1 -->
```
steps: 9
```
END
for case in 'says 181.7 MiB: dram x|181.7 MiB|"181.7 MiB" is not in what the command prints' \
  'says 181.6 MiB: dram x|181 MiB|"181.6 MiB" is not in the page' \
  'check: dram x|    needs 181.7 MiB of 9|the page says "needs 181.7 MiB of 9", the command "needs 181.6 MiB of 9"' \
  'check: dram x|    needs 181.6 MiB of 9|the command says more' \
  'check: true|    x|there is nothing to compare' \
  'check: dram bad|    x|exit status 2 (dram: it is bad): dram bad' \
  'check: dram x|text|no code block or table follows the marker' \
  'a comment|    dram bad|exit status 2 (dram: it is bad): dram bad' \
  'a comment|[x](nowhere.md)|there is no nowhere.md to link to' \
  'a comment|[x](page.md#y)|page.md#y: no heading has this anchor' \
  'a comment|nothing|0 commands were run'; do
  IFS='|' read -r marker text want <<<"$case"
  printf '<!-- %s -->\n\n%s\n' "$marker" "$text" | check 1 "$want"
done
echo "check_docs.sh tells true pages from others"
