#!/usr/bin/env bash
# The pages of `dram report` in a browser: headless Chromium of Debian's package chromium, which is not among the build's
# dependencies (apt-get install chromium). For each page: its numbers, read back from the DOM, are those of the run's files
# or of the sweep's CSV; nothing is loaded from elsewhere, and the browser has nothing to complain of; the pointer names a
# line's numbers; nothing is wider than a window of 400 pixels. Screenshots at 1200 and 400 pixels, by day and by night, and
# the page as PDF are left in build/release/pages for a person to look at.
# Without folders it makes its own: a run that went on, a run of 100,000 steps out of it (under 5 MiB, open in under 2 s),
# and a sweep of 4 points. Some minutes.
# usage: check_pages.sh [DIR ...]
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 0 any "$@"
folders=()
for folder; do folders+=("$(realpath "$folder")"); done
cd "$(dirname "$0")/.."
command -v chromium >/dev/null || { echo "check_pages.sh: there is no chromium: apt-get install chromium" >&2; exit 1; }
find_dram
dram=$(realpath "$dram")
out=$PWD/build/release/pages
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
failed=0
complain() { echo "FAILED: $*" >&2; failed=1; }

# browser URL OPTIONS...: a browser of its own each time, without a network
browser() {
  local url=$1
  shift
  timeout 120 chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
    --host-resolver-rules='MAP * ~NOTFOUND' "$@" "$url" 2>"$work/browser.log"
}

# dom FILE: "KEY VALUE" of each number of the page, as the browser has it
dom() {
  browser "file://$1" --dump-dom >"$work/dom.html"
  grep -o '<data [^>]*>' "$work/dom.html" | sed -n 's/^<data value="\([^"]*\)" data-key="\([^"]*\)">$/\2 \1/p' >"$work/numbers"
}

# same KEY VALUE FROM: the number under a key of the page is this one; a file that has none has none on the page
same() {
  local page
  page=$(awk -v key="$1" '$1 == key { print $2; exit }' "$work/numbers")
  [ "$2" != null ] || return 0
  compared=$((compared + 1))
  awk -v a="$page" -v b="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; m = b < 0 ? -b : b; exit !(a != "" && d <= 1e-8 * m) }' ||
    complain "$page_name: $1 is \"$page\" on the page, $2 in $3"
}

check_run() {
  local last
  [ ! -s "$1/metrics.jsonl" ] || {
    last=$(grep '}$' "$1/metrics.jsonl" | tail -n 1)
    for key in loss planned_peak_bytes measured_peak_bytes; do same $key "$(jq ".$key" <<<"$last")" metrics.jsonl; done
  }
  [ ! -s "$1/evaluations.jsonl" ] || {
    last=$(tail -n 1 "$1/evaluations.jsonl")
    for key in miou pixel_accuracy embedding_cosine; do same $key "$(jq ".$key" <<<"$last")" evaluations.jsonl; done
    for ((k = 0; k < $(jq '.class_iou // [] | length' <<<"$last"); k++)); do
      same class_iou.$k "$(jq ".class_iou[$k]" <<<"$last")" evaluations.jsonl
    done
  }
}

# column_of NAME: its place in the heading of a CSV whose fields may be quoted
csv_rows() { # FILE COLUMN...: these fields of every row
  awk -v wanted="${*:2}" '
    function split_line(line, f,   n, c, i, quoted) {
      n = 1; f[1] = ""
      for (i = 1; i <= length(line); i++) {
        c = substr(line, i, 1)
        if (c == "\"") quoted = !quoted
        else if (c == "," && !quoted) f[++n] = ""
        else f[n] = f[n] c
      }
      return n
    }
    { n = split_line($0, f) }
    NR == 1 { for (i = 1; i <= n; i++) at[f[i]] = i; m = split(wanted, want, " "); next }
    { for (i = 1; i <= m; i++) printf "%s%s", f[at[want[i]]] == "" ? "null" : f[at[want[i]]], i < m ? " " : "\n" }' "$1"
}

check_sweep() {
  while read -r index role planned measured seconds mean sd; do
    case $role in wrong | too_big) continue ;; esac
    same "point.$index.planned_bytes" "$planned" points.csv
    same "point.$index.measured_bytes" "$measured" points.csv
    same "point.$index.seconds_per_image" "$seconds" points.csv
    same "point.$index.mean" "$mean" points.csv
    same "point.$index.sd" "$sd" points.csv
  done < <(csv_rows "$1/points.csv" index role planned_bytes measured_bytes seconds_per_image mean sd)
}

# The pointer over the middle of every chart, and how wide the page is: written into the page by a script of this test.
probe='<script>
window.addEventListener("load", function () {
  var named = 0, charts = 0;
  document.querySelectorAll("svg.chart[data-axis]").forEach(function (svg) {
    var box = svg.getBoundingClientRect();
    if (!box.width) return;
    charts++;
    svg.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width * 0.6, clientY: box.top + 9, bubbles: true }));
    var tip = document.getElementById("tip");
    if (!tip.hidden && tip.textContent.split("\n").length > 1) named++;
  });
  document.getElementById("tip").hidden = true;
  document.body.setAttribute("data-probe", named + " of " + charts + " wide " + document.documentElement.scrollWidth);
});
</script>'
probe() { # FILE WIDTH
  { sed '/^<\/body>$/d; /^<\/html>$/d' "$1"; printf '%s\n</body>\n</html>\n' "$probe"; } >"$work/probe.html"
  browser "file://$work/probe.html" --window-size="$2,900" --dump-dom | grep -o 'data-probe="[^"]*"' | cut -d'"' -f2
}

check_page() { # FILE FOLDER KIND
  page_name=$(basename "$2")
  compared=0
  dom "$1"
  "check_$3" "$2"
  [ $compared -gt 0 ] || complain "$page_name: no number was compared"
  ! grep -q CONSOLE "$work/browser.log" || complain "$page_name: the browser complains: $(grep CONSOLE "$work/browser.log" | head -n 3)"
  ! sed 's/src="data:[^"]*"//g' "$1" | grep -o "https\?:[^\"'< ]*" | grep -qv '^http://www.w3.org/2000/svg$' ||
    complain "$page_name: names a server"
  local size named charts width
  for size in 1200 400; do
    read -r named _ charts _ width < <(probe "$1" $size)
    [ "$named" = "$charts" ] || complain "$page_name at $size: the pointer names numbers in $named of $charts charts"
    [ "$width" -le $((size > 500 ? size : 500)) ] || complain "$page_name at $size: $width pixels wide"
    browser "file://$1" --window-size="$size,$((size == 1200 ? 5200 : 9000))" --screenshot="$out/$page_name-$size.png" >/dev/null
  done
  browser "file://$1" --window-size=1200,2600 --blink-settings=preferredColorScheme=0 --screenshot="$out/$page_name-night.png" >/dev/null
  browser "file://$1" --print-to-pdf="$out/$page_name.pdf" --no-pdf-header-footer >/dev/null
  echo "$page_name: $compared numbers are those of its files; $(stat -c %s "$1") bytes"
}

check_folder() {
  local kind=run
  [ ! -f "$1/plan.json" ] || kind=sweep
  "$dram" report "$1" >/dev/null
  check_page "$1/report.html" "$1" $kind
}

make_run() {
  "$dram" synth scenes/train --count 24 --seed 1 >/dev/null
  "$dram" synth scenes/val --count 8 --seed 2 >/dev/null
  "$dram" train configs/quickstart.yaml name=run train.steps=30 data.size=128 device=cpu threads=1 run.eval_every=10 >/dev/null 2>&1
  "$dram" train configs/quickstart.yaml name=run train.steps=60 data.size=128 device=cpu threads=1 run.eval_every=10 \
    optim.lr=1.0e-3 --resume >/dev/null 2>&1
  "$dram" eval configs/quickstart.yaml data.size=128 device=cpu --weights runs/run/student.safetensors \
    --save-predictions runs/run/predictions >/dev/null 2>&1
  "$dram" features configs/quickstart.yaml data.size=128 device=cpu --weights runs/run/student.safetensors \
    --out runs/run/features scenes/val/images/*1.jpg >/dev/null 2>&1
}

# The same run as if it had made 100,000 steps, two of which were no numbers.
make_long_run() {
  cp -r runs/run runs/long
  rm -f runs/long/summary.json
  sed -i 's/^  steps: .*/  steps: 100000/' runs/long/config*.yaml
  awk 'BEGIN { srand(1); for (i = 0; i < 100000; i++) {
    loss = 0.4 + 3 / (1 + i / 900) + 0.3 * rand(); norm = i % 9973 == 5 ? 60 : 1 + rand()
    printf "{\"step\":%d,\"loss\":%.9g,\"loss_task\":%.9g,\"loss_sam\":%s,\"loss_resolution\":%.9g,\"lr\":%.9g,\"grad_norm\":%s,\"loss_scale\":null,\"label_pixels\":8,\"sam_images_left_out\":0,\"resolution_images_left_out\":0,\"distilled\":true,\"teacher_ran\":true,\"images_per_second\":%.9g,\"planned_peak_bytes\":94162944,\"measured_peak_bytes\":94162944}\n", i, loss, 0.6 * loss, i % 4 ? "null" : 0.1 * loss, 0.2 * loss, 3e-3 * (1 - i / 1e5), i == 777 || i == 77777 ? "null" : norm, 60 + 9 * rand() } }' >runs/long/metrics.jsonl
  awk 'BEGIN { for (i = 0; i < 3000; i++) printf "{\"seconds\":%d,\"step\":%d,\"device_bytes\":94162944,\"process_rss_bytes\":%d,\"free_bytes\":1,\"cpu_utilization\":0.9}\n", i * 60, i * 33, 120000000 + 1000 * i }' >runs/long/memory.jsonl
}

make_sweep() {
  cat >sweep.yaml <<'Y'
sweep:
  name: sweep
  base: configs/quickstart.yaml
  set: {train.steps: 12, threads: 1, device: cpu, run.eval_every: 0, run.save_every: 0}
  grid: {data.size: [64, 128], train.batch_size: [2, 4]}
  seeds: [1, 2]
Y
  "$dram" sweep sweep.yaml >/dev/null 2>&1
}

milliseconds() { # of opening a page
  local begin
  begin=$(date +%s%3N)
  browser "file://$1" --dump-dom >/dev/null
  echo $(($(date +%s%3N) - begin))
}

if [ $# = 0 ]; then
  cp -r configs "$work"
  cd "$work"
  make_run
  make_long_run
  make_sweep
  folders=("$work/runs/run" "$work/runs/long" "$work/runs/sweep")
fi
for folder in "${folders[@]}"; do check_folder "$folder"; done
if [ $# = 0 ]; then
  "$dram" report runs/run runs/long --output both.html >/dev/null
  browser "file://$work/both.html" --window-size=1200,2600 --screenshot="$out/both-1200.png" >/dev/null
  bytes=$(stat -c %s runs/long/report.html)
  [ "$bytes" -lt $((5 << 20)) ] || complain "the page of 100,000 steps has $bytes bytes"
  echo '<p>empty</p>' >empty.html
  milliseconds "$work/empty.html" >/dev/null
  empty=$(milliseconds "$work/empty.html")
  long=$(milliseconds "$work/runs/long/report.html")
  echo "100,000 steps: $bytes bytes, $((long - empty)) ms more than an empty page's $empty"
  [ $((long - empty)) -lt 2000 ] || complain "the page of 100,000 steps takes $((long - empty)) ms to open"
fi
echo "pictures are in $out"
exit $failed
