#!/usr/bin/env bash
# A strip plot as SVG of lines "group value" on standard input. A dot a value, a bar at the mean;
# groups stand in the order in which they first come. An underscore in a group's name is a space.
# usage: strip.sh Y_TITLE <VALUES
set -euo pipefail
. "$(dirname "$0")/lib.sh"
arguments 1 1 "$@"
awk -v y_title="$1" '
  function py(y) { return top + high - (y - y0) / (y1 - y0) * high }
  { if (!($1 in n)) { order[++groups] = $1 }
    value[$1, ++n[$1]] = $2; sum[$1] += $2
    if (NR == 1 || $2 < low) low = $2; if (NR == 1 || $2 > most) most = $2 }
  END {
    left = 60; top = 20; wide = 640; high = 240
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"300\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"720\" height=\"300\" fill=\"white\"/>"
    s = most - low > 12 ? 4 : most - low > 5 ? 2 : most - low > 2 ? 1 : 0.5
    y0 = int(low / s) * s; y1 = (int(most / s) + 1) * s
    for (v = y0; v <= y1 + s / 2; v += s)
      printf "<path d=\"M%d %.1f h%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", left, py(v), wide, left - 6, py(v) + 4, v
    for (g = 1; g <= groups; g++) {
      name = order[g]; x = left + (g - 0.5) * wide / groups; mean = sum[name] / n[name]
      printf "<path d=\"M%.1f %.1f h56\" stroke=\"#b03a2a\" stroke-width=\"2\"/>", x - 28, py(mean)
      printf "<text x=\"%.1f\" y=\"%.1f\">%.1f</text>\n", x + 33, py(mean) + 4, mean
      for (i = 1; i <= n[name]; i++)
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"#2a6fb0\"/>\n", x + (i - (n[name] + 1) / 2) * 14, py(value[name, i])
      label = name; gsub("_", " ", label)
      printf "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x, top + high + 20, label
    }
    printf "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 14 %d)\">%s</text>\n", top + high / 2, top + high / 2, y_title
    print "</svg>"
  }'
