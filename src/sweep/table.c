/* The table of points before the first run. */
#include <stdio.h>
#include <string.h>

#include "sweep/sweep.h"

/* What becomes of it, in a word or two. */
static void describe(const dram_sweep_point *p, char *out, size_t size)
{
    if (p->equal_to)
        snprintf(out, size, "as %d", p->equal_to);
    else if (p->timed_with)
        snprintf(out, size, "timed, as %d", p->timed_with);
    else
        snprintf(out, size, "%s",
                 p->status == DRAM_POINT_PLANNED ? "trained"
                 : p->status == DRAM_POINT_WRONG ? "wrong"
                                                 : "does not fit");
}

static void add_row(const dram_sweep *sweep, const dram_sweep_point *p, dram_str *out)
{
    char arena[32] = "-", process[32] = "-", what[40];
    describe(p, what, sizeof what);
    if (p->planned_bytes) dram_format_bytes(p->planned_bytes, arena, sizeof arena);
    if (p->process_bytes) dram_format_bytes(p->process_bytes, process, sizeof process);
    dram_str_add(out, "%5d  %-12s  %11s  %11s  %9.3g  %s\n", p->index, what, arena, process, p->flops / 1e12,
                 dram_sweep_shown(sweep, p));
    if (p->asked > 1) dram_str_add(out, "       asked for %d times\n", p->asked);
    if (p->text) dram_str_add(out, "       %s\n", p->text);
    if (p->floor_bytes)
        dram_str_add(out, "       exact levers alone reach %s%s%s\n",
                     dram_format_bytes(p->floor_bytes, arena, sizeof arena), p->advice ? "; " : "",
                     p->advice ? p->advice : "");
    if (p->pulled) dram_str_add(out, "       pulled by the planner: %s\n", p->pulled);
}

/* "12 points asked for, 9 different: 7 are trained, 1 is timed, ..." */
static void add_heading(const dram_sweep *sweep, dram_str *out)
{
    int trained = 0, timed = 0, equal = 0, wrong = dram_sweep_count(sweep, DRAM_POINT_WRONG),
        big = dram_sweep_count(sweep, DRAM_POINT_TOO_BIG);
    for (int i = 0; i < sweep->n_points; i++) {
        const dram_sweep_point *p = &sweep->points[i];
        trained += dram_sweep_is_trained(p);
        timed += p->timed_with != 0;
        equal += p->equal_to != 0;
    }
    dram_str_add(out, "sweep    %s, in %s; quality %s, %s is better\n", sweep->name, sweep->directory,
                 dram_quality_name(sweep->quality), dram_quality_less_is_better(sweep->quality) ? "less" : "more");
    dram_str_add(out, "points   %d asked for, %d different: %d trained", sweep->asked, sweep->n_points, trained);
    if (timed) dram_str_add(out, ", %d timed (the same results bit for bit, another plan)", timed);
    if (equal) dram_str_add(out, ", %d with the plan of another", equal);
    if (wrong) dram_str_add(out, ", %d wrong", wrong);
    if (big) dram_str_add(out, ", %d too big", big);
    dram_str_add(out, "\nruns     %d: %d seed%s a trained point%s\n", sweep->n_runs, sweep->n_seeds,
                 sweep->n_seeds == 1 ? "" : "s", timed ? ", and a short one for each timed" : "");
    if (!sweep->n_rungs) return;
    dram_str_add(out, "halving  %g go on at", sweep->keep);
    for (int i = 0; i < sweep->n_rungs; i++) dram_str_add(out, "%s %lld", i ? "," : "", (long long)sweep->rungs[i]);
    dram_str_add(out, " updates\n");
}

dram_status dram_sweep_table(const dram_sweep *sweep, dram_str *out)
{
    add_heading(sweep, out);
    dram_str_add(out, "\n%5s  %-12s  %11s  %11s  %9s\n", "point", "", "arena", "process", "TFLOP");
    for (int i = 0; i < sweep->n_points; i++) add_row(sweep, &sweep->points[i], out);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the table of a sweep") : DRAM_OK;
}
