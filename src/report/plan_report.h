/* report: a plan as JSON, as a page of text and as a picture. Nothing here changes a plan.
 *
 * JSON trees are the caller's (cJSON_Delete); NULL means that memory is out, with the error's text set. Text and SVG
 * are added to `out`, which the caller frees. Byte numbers are those of the plan, rounded up to the profile's
 * alignment.
 */
#ifndef DRAM_REPORT_PLAN_REPORT_H
#define DRAM_REPORT_PLAN_REPORT_H

#include <cjson/cJSON.h>

#include "plan/plan.h"
#include "session/search.h"

/* What a report says besides the plan itself. */
typedef struct {
    int64_t budget_bytes;           /* 0: none */
    int64_t floor_bytes;            /* fewest bytes that exact levers can reach */
    double recompute_ratio;         /* FLOPs spent again / FLOPs of the step without recompute */
    double recompute_student_ratio; /* the same without the teacher's FLOPs */
    int64_t update_flops;           /* of an update, the mean over an interval */
    int64_t teacher_flops;          /* of a step in which the teacher runs */
    const char *heading;            /* what is planned, lines for a person; NULL: not said */
    const char *recompute;          /* "12 of 28 blocks in part", for a person; NULL: none is */
    const char *pulled;             /* levers the planner pulled by itself; NULL: none */
    const dram_lever *levers;
    int n_levers;
} dram_plan_facts;

/* What `dram plan --json` prints. */
cJSON *dram_plan_report(const dram_plan *plan, const dram_plan_facts *facts);

/* What `dram plan --dump` writes: {"programs": [{"name", "values": [{"name", "space", "offset", "size", "first",
 * "last", "alias"}]}]}. An offset is one in the arena of its space ("device", "pinned", "host"). Every slot is in every
 * program, read by it or not, for its bytes are held. Workspaces are values named "NODE.workspace". */
cJSON *dram_plan_dump(const dram_plan *plan);

/* The same for a person: plain ASCII, lines of 100 columns at most. */
dram_status dram_plan_text(const dram_plan *plan, const dram_plan_facts *facts, dram_str *out);

/* The arena while a program runs: nodes from left to right, offsets from bottom to top, a rectangle for every value.
 * One self-contained SVG document. */
dram_status dram_plan_svg(const dram_plan *plan, int program, dram_str *out);

#endif
