/* plan_svg: the arena while a program runs, as a picture. */
#ifndef DRAM_REPORT_PLAN_SVG_H
#define DRAM_REPORT_PLAN_SVG_H

#include "base/str.h"
#include "plan/plan.h"

/* Nodes from left to right, offsets from bottom to top, a rectangle for every value: one self-contained SVG document,
 * added to `out`, which is the caller's. */
dram_status dram_plan_svg(const dram_plan *plan, int program, dram_str *out);

#endif
