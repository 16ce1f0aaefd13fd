/* report: a plan as JSON, as a page of text and as a picture. Nothing here changes a plan.
 *
 * JSON trees are the caller's (cJSON_Delete); NULL means that memory is out, with the error's text set. Text and SVG
 * are added to `out`, which the caller frees. Byte numbers are those of the plan, rounded up to the profile's
 * alignment.
 */
#ifndef DRAM_PLAN_REPORT_H
#define DRAM_PLAN_REPORT_H

#include <cjson/cJSON.h>

#include "plan/plan.h"

/* A way to spend fewer bytes, and its price. The texts are static. */
typedef struct {
    const char *name;    /* "in_place" */
    const char *setting; /* "on" */
    bool pulled;
    int64_t saved_bytes; /* of the arena, against the same plan without it: saved if pulled, else to be saved */
    int64_t added_flops; /* of all programs */
    const char *effect;  /* on results: "exact", "rounding" or "quality" */
} dram_lever;

enum { DRAM_PLAN_LEVERS = 2 };

/* What in-place and eager freeing are worth: plans the graphs again with each of them the other way round. rows has
 * room for DRAM_PLAN_LEVERS; *n_rows is how many were set. `graphs` are those of the plan. */
dram_status dram_plan_levers(const dram_graph *const *graphs, int n, const dram_plan *plan, dram_lever *rows,
                             int *n_rows);

/* What `dram plan --json` prints. budget_bytes: 0 = none. recompute_ratio: FLOPs spent again / FLOPs without recompute.
 */
cJSON *dram_plan_report(const dram_plan *plan, int64_t budget_bytes, double recompute_ratio, const dram_lever *levers,
                        int n_levers);

/* What `dram plan --dump` writes: {"programs": [{"name", "values": [{"name", "space", "offset", "size", "first",
 * "last", "alias"}]}]}. Every slot is in every program, read by it or not, for its bytes are held. Workspaces are
 * values named "NODE.workspace". */
cJSON *dram_plan_dump(const dram_plan *plan);

/* The same for a person: plain ASCII, lines of 100 columns at most. */
dram_status dram_plan_text(const dram_plan *plan, int64_t budget_bytes, double recompute_ratio,
                           const dram_lever *levers, int n_levers, dram_str *out);

/* The arena while a program runs: nodes from left to right, offsets from bottom to top, a rectangle for every value.
 * One self-contained SVG document. */
dram_status dram_plan_svg(const dram_plan *plan, int program, dram_str *out);

#endif
