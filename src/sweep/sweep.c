#include "sweep/sweep.h"

#include <stdio.h>

#include "base/alloc.h"
#include "sweep/plan_file.h"

const char *dram_quality_name(dram_quality quality)
{
    static const char *const names[] = {
#define X(ID, NAME, LESS) #NAME,
        DRAM_QUALITY_LIST(X)
#undef X
    };
    return names[quality];
}

bool dram_quality_less_is_better(dram_quality quality)
{
    static const bool less[] = {
#define X(ID, NAME, LESS) LESS,
        DRAM_QUALITY_LIST(X)
#undef X
    };
    return less[quality];
}

const char *dram_point_status_word(dram_point_status status)
{
    static const char *const words[] = {
        [DRAM_POINT_PLANNED] = "planned", [DRAM_POINT_WRONG] = "wrong", [DRAM_POINT_TOO_BIG] = "too_big"};
    return words[status];
}

const char *dram_sweep_state_word(dram_sweep_state state)
{
    static const char *const words[] = {
        [DRAM_SWEEP_WAITING] = "waiting", [DRAM_SWEEP_BEGUN] = "begun",   [DRAM_SWEEP_PAUSED] = "paused",
        [DRAM_SWEEP_DONE] = "done",       [DRAM_SWEEP_FAILED] = "failed", [DRAM_SWEEP_GONE] = "gone"};
    return words[state];
}

const char *dram_sweep_shown(const dram_sweep *sweep, const dram_sweep_point *point)
{
    if (*point->differs) return point->differs;
    return sweep->n_points == 1 && *point->overrides ? point->overrides : "the base";
}

bool dram_sweep_is_trained(const dram_sweep_point *point)
{
    return point->status == DRAM_POINT_PLANNED && !point->equal_to && !point->timed_with;
}

int dram_sweep_count(const dram_sweep *sweep, dram_point_status status)
{
    int n = 0;
    for (int i = 0; i < sweep->n_points; i++) n += sweep->points[i].status == status;
    return n;
}

static void name_run(dram_sweep *sweep, int point, int64_t seed, bool timed)
{
    dram_sweep_run *run = &sweep->runs[sweep->n_runs++];
    const dram_sweep_point *p = &sweep->points[point];
    *run = (dram_sweep_run){.point = point, .seed = seed, .timed = timed};
    if (timed)
        snprintf(run->name, sizeof run->name, "%04d-%s-time", p->index, p->hash);
    else
        snprintf(run->name, sizeof run->name, "%04d-%s-s%lld", p->index, p->hash, (long long)seed);
}

dram_status dram_sweep_list_runs(dram_sweep *sweep)
{
    sweep->runs = dram_calloc((size_t)sweep->n_points * (size_t)sweep->n_seeds, sizeof *sweep->runs);
    if (!sweep->runs) return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
    for (int i = 0; i < sweep->n_points; i++) {
        const dram_sweep_point *p = &sweep->points[i];
        if (p->status == DRAM_POINT_PLANNED && p->timed_with) name_run(sweep, i, sweep->seeds[0], true);
        for (int k = 0; k < sweep->n_seeds && dram_sweep_is_trained(p); k++) name_run(sweep, i, sweep->seeds[k], false);
    }
    return DRAM_OK;
}

static void free_point(dram_sweep_point *p)
{
    dram_free(p->overrides);
    dram_free(p->differs);
    dram_free(p->text);
    dram_free(p->advice);
    dram_free(p->pulled);
    dram_free(p->settled);
    dram_config_free(p->cfg);
}

void dram_sweep_free(dram_sweep *sweep)
{
    for (int i = 0; i < sweep->n_points; i++) free_point(&sweep->points[i]);
    dram_free(sweep->points);
    dram_free(sweep->runs);
    dram_free(sweep->seeds);
    dram_free(sweep->name);
    dram_free(sweep->directory);
    dram_free(sweep->source);
    dram_free(sweep->yaml);
    dram_free(sweep->base);
    *sweep = (dram_sweep){0};
}
