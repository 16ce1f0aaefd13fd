#!/usr/bin/env bash
# A scatter plot as SVG of lines "x y label" on standard input.
# usage: plot.sh X_TITLE Y_TITLE <POINTS
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 2 2 "$@"
awk -v x_title="$1" -v y_title="$2" '
  # A round step for about n marks over a range.
  function step(range, n, s) {
    s = 10 ^ int(log(range / n) / log(10) - (range < n))
    return s * (range / n / s > 5 ? 10 : range / n / s > 2 ? 5 : range / n / s > 1 ? 2 : 1)
  }
  function px(x) { return left + (x - x0) / (x1 - x0) * wide }
  function py(y) { return top + high - (y - y0) / (y1 - y0) * high }
  { x[NR] = $1; y[NR] = $2; label[NR] = $3
    if (NR == 1 || $1 < x0) x0 = $1; if (NR == 1 || $1 > x1) x1 = $1
    if (NR == 1 || $2 < y0) y0 = $2; if (NR == 1 || $2 > y1) y1 = $2 }
  END {
    left = 60; top = 20; wide = 620; high = 320
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"400\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"720\" height=\"400\" fill=\"white\"/>"
    if (NR) {
      xs = step(x1 - x0 + 1e-9, 6); ys = step(y1 - y0 + 1e-9, 6)
      x0 = int(x0 / xs) * xs; x1 = (int(x1 / xs) + 1) * xs; y0 = int(y0 / ys) * ys; y1 = (int(y1 / ys) + 1) * ys
      for (v = x0; v <= x1 + xs / 2; v += xs) printf "<path d=\"M%.1f %d v%d\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", px(v), top, high, px(v), top + high + 16, v
      for (v = y0; v <= y1 + ys / 2; v += ys) printf "<path d=\"M%d %.1f h%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left, py(v), wide, left - 6, py(v) + 4, v
      for (i = 1; i <= NR; i++) {
        # Beside the point, on its other side near the right edge; lower where a label is there already.
        near = (px(x[i]) > left + wide - 80); tx = px(x[i]) + (near ? -7 : 7); ty = py(y[i]) + 4
        for (j = 1; j < i; j++) if (seen_y[j] - ty < 12 && ty - seen_y[j] < 12 && seen_x[j] - tx < 80 && tx - seen_x[j] < 80) { ty = seen_y[j] + 12; j = 0 }
        seen_x[i] = tx; seen_y[i] = ty
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#2a6fb0\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", px(x[i]), py(y[i]), tx, ty, (near ? "end" : "start"), label[i]
      }
    }
    printf "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", left + wide / 2, top + high + 40, x_title
    printf "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 14 %d)\">%s</text>\n", top + high / 2, top + high / 2, y_title
    print "</svg>"
  }'
