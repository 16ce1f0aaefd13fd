#include "launch/halve.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"

static int by_bytes(const void *a, const void *b, void *context)
{
    const dram_sweep_point *points = context;
    int i = *(const int *)a, j = *(const int *)b;
    int64_t x = points[i].planned_bytes, y = points[j].planned_bytes;
    return x != y ? (x > y) - (x < y) : i - j;
}

static void make_tiers(dram_halve *h)
{
    const dram_sweep *s = h->sweep;
    int n = 0;
    for (int i = 0; i < s->n_points; i++) {
        h->tier[i] = -1;
        if (dram_sweep_is_trained(&s->points[i])) h->order[n++] = i;
    }
    qsort_r(h->order, (size_t)n, sizeof *h->order, by_bytes, s->points);
    for (int i = 0; i < n; i++) {
        int p = h->order[i], before = i ? h->order[i - 1] : p;
        bool same = i && s->points[p].planned_bytes == s->points[before].planned_bytes;
        h->tier[p] = same ? h->tier[before] : i * DRAM_HALVE_TIERS / n;
    }
}

dram_status dram_halve_open(const dram_sweep *sweep, dram_halve *h)
{
    size_t n = (size_t)sweep->n_points;
    *h = (dram_halve){.sweep = sweep,
                      .tier = dram_calloc(n, sizeof *h->tier),
                      .allowed = dram_calloc(n, sizeof *h->allowed),
                      .mean = dram_calloc(n, sizeof *h->mean),
                      .order = dram_calloc(n, sizeof *h->order),
                      .first = dram_calloc(n, sizeof *h->first)};
    if (h->tier && h->allowed && h->mean && h->order && h->first) {
        make_tiers(h);
        for (int r = sweep->n_runs - 1; r >= 0; r--) h->first[sweep->runs[r].point] = r;
        return DRAM_OK;
    }
    dram_halve_close(h);
    return dram_fail(DRAM_ERR_MEMORY, "no memory for the tiers of a sweep");
}

void dram_halve_close(dram_halve *h)
{
    dram_free(h->tier);
    dram_free(h->allowed);
    dram_free(h->mean);
    dram_free(h->order);
    dram_free(h->first);
    *h = (dram_halve){0};
}

int dram_halve_level(const dram_sweep *sweep, int64_t steps)
{
    int level = 0;
    while (level < sweep->n_rungs && sweep->rungs[level] <= steps) level++;
    return level;
}

/* The better first, NAN last. */
static int by_mean(const void *a, const void *b, void *context)
{
    const dram_halve *h = context;
    int i = *(const int *)a, j = *(const int *)b;
    double x = h->mean[i], y = h->mean[j];
    if (isnan(x) || isnan(y)) return isnan(x) == isnan(y) ? i - j : isnan(x) ? 1 : -1;
    int order = (x < y) - (x > y);
    if (dram_quality_less_is_better(h->sweep->quality)) order = -order;
    return order ? order : i - j;
}

/* Whether any run of it is still on its way to the rung; its mean quality there over those that came. */
static bool is_awaited(dram_halve *h, const dram_sweep_event_state *of, int point, int rung, bool *present,
                       bool *passed)
{
    const dram_sweep *s = h->sweep;
    double sum = 0;
    int n = 0;
    bool awaited = false;
    *passed = false;
    for (int r = h->first[point]; r < s->n_runs && s->runs[r].point == point; r++) {
        if (s->runs[r].timed) continue;
        bool came = !isnan(of[r].rung[rung]);
        *passed = *passed || of[r].promoted > rung;
        if (came) sum += of[r].rung[rung];
        n += came;
        awaited = awaited || (!came && of[r].last != DRAM_SWEEP_EVENT_FAILED);
    }
    h->mean[point] = n ? sum / n : NAN;
    *present = n && !awaited;
    return awaited;
}

/* A rung of a tier. `whole`: nobody comes to it any more; of the rung before, and then of this one. */
static void judge_rung(dram_halve *h, const dram_sweep_event_state *of, int tier, int rung, bool *whole)
{
    const dram_sweep *s = h->sweep;
    int n = 0;
    for (int p = 0; p < s->n_points; p++) {
        bool present, passed;
        if (h->tier[p] != tier || h->allowed[p] < rung) continue;
        if (is_awaited(h, of, p, rung, &present, &passed)) *whole = false;
        if (passed) h->allowed[p] = rung + 1;
        if (present) h->order[n++] = p;
    }
    qsort_r(h->order, (size_t)n, sizeof *h->order, by_mean, h);
    int best = (int)floor(s->keep * n + 1e-9);
    if (*whole && n && best < 1) best = 1;
    for (int i = 0; i < best; i++) h->allowed[h->order[i]] = rung + 1;
}

void dram_halve_update(dram_halve *h, const dram_sweep_event_state *of)
{
    for (int p = 0; p < h->sweep->n_points; p++) h->allowed[p] = 0;
    for (int tier = 0; tier < DRAM_HALVE_TIERS; tier++) {
        bool whole = true;
        for (int rung = 0; rung < h->sweep->n_rungs; rung++) judge_rung(h, of, tier, rung, &whole);
    }
}
