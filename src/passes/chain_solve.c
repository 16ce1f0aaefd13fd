/* The dynamic program. C(s, t, m) is the least time from "x[s-1] is stored outside of m, d[t] has just been reached
 * (with t = n = length + 1: nothing has been run yet)" to "d[s-1] is reached", in m units of memory. As a function of m
 * it is infinite below `low`, falls, and is flat from `high` on, where the fastest option of every stage can be kept; a
 * row holds what lies between. Which candidate was best is not kept: emitting asks again at the few (s, t, m) on its
 * way.
 */
#include "passes/chain.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"

enum { CHUNK = 512, CANDIDATES = DRAM_CHAIN_OPTIONS + DRAM_CHAIN_MAX_LENGTH };

/* A stage in units and in scaled times. */
typedef struct {
    int64_t x;
    int64_t gradient;      /* d and held */
    int64_t plain, beyond; /* peak of the plain forward beyond x[s-1], and with it */
    double forward;
    bool pinned;
    int n_options;
    struct {
        int64_t kept, forward, backward; /* peaks; held is in backward */
        double time;
    } option[DRAM_CHAIN_OPTIONS];
} level;

typedef struct {
    int64_t low, high;
    size_t at; /* of low, in cell[] */
} row;

struct dram_chain_solution {
    int64_t unit, bytes; /* bytes: solved for */
    int64_t input, loss; /* in units */
    int n;               /* length + 1 */
    double scale;        /* time = scaled time * scale; a power of two */
    level *level;        /* [n + 1] */
    row *rows;           /* [s * (n + 1) + t] */
    float *cell;         /* scaled times; sums of them are right to about 1e-5 */
};

typedef dram_chain_solution solution;

/* One way to begin at (s, t): an option saved first (split 0), or x[split - 1] stored and stages first..split-1 run to
 * it. */
typedef struct {
    float time;       /* of what it adds */
    int64_t from;     /* possible from this m on */
    int64_t stored;   /* the range above has that much less */
    int above, below; /* rows whose times are added; -1: none. `below` has all of m */
    int option, split, first;
} candidate;

static int row_index(const solution *c, int s, int t)
{
    return s * (c->n + 1) + t;
}

static int64_t max2(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* All ways to begin at (s, t), options first, then splits in rising order. The rows within s..t must have their
 * bounds. */
static int list_candidates(const solution *c, int s, int t, candidate *list)
{
    int n = 0;
    const level *stage = &c->level[s];
    int64_t gradient = c->level[t].gradient; /* of the loss: 0 */
    for (int k = 0; k < stage->n_options; k++) {
        candidate *to = &list[n++];
        *to = (candidate){
            .time = (float)stage->option[k].time, .stored = stage->option[k].kept, .above = -1, .below = -1};
        to->from = max2(stage->option[k].forward + gradient, stage->option[k].backward);
        to->option = k;
        if (s == t) continue;
        to->above = row_index(c, s + 1, t);
        to->from = max2(to->from, to->stored + c->rows[to->above].low);
    }
    int64_t need = 0;
    double time = 0;
    int first = s;
    for (int split = s + 1; split <= t; split++) {
        const level *last = &c->level[split - 1];
        need = max2(need, gradient + (split - 1 == s ? last->plain : last->beyond));
        time += last->forward;
        if (t < c->n && last->pinned) { /* made in the first forward, and there ever since */
            need = 0;
            time = 0;
            first = split;
        }
        candidate *to = &list[n++];
        *to = (candidate){.time = (float)time, .stored = last->x, .split = split, .first = first};
        to->above = row_index(c, split, t);
        to->below = row_index(c, s, split - 1);
        to->from = max2(need, max2(to->stored + c->rows[to->above].low, c->rows[to->below].low));
    }
    return n;
}

/* From where on the fastest option of every stage can be kept, and no time is less. */
static int64_t flat_from(const solution *c, int s, int t)
{
    const level *stage = &c->level[s];
    double least = INFINITY;
    for (int k = 0; k < stage->n_options; k++) least = fmin(least, stage->option[k].time);
    int64_t high = INT64_MAX;
    for (int k = 0; k < stage->n_options; k++) {
        if (stage->option[k].time != least) continue;
        int64_t need = max2(stage->option[k].forward + c->level[t].gradient, stage->option[k].backward);
        if (s < t) need = max2(need, stage->option[k].kept + c->rows[row_index(c, s + 1, t)].high);
        if (need < high) high = need;
    }
    return high;
}

/* low and high of every row. */
static void set_bounds(solution *c, candidate *list)
{
    int n = c->n;
    c->rows[row_index(c, n, n)] = (row){.low = c->loss, .high = c->loss};
    for (int span = 0; span < n; span++)
        for (int s = 1; s + span <= n && s < n; s++) {
            row *r = &c->rows[row_index(c, s, s + span)];
            int count = list_candidates(c, s, s + span, list);
            r->low = INT64_MAX;
            for (int i = 0; i < count; i++)
                if (list[i].from < r->low) r->low = list[i].from;
            r->high = flat_from(c, s, s + span);
        }
}

static int64_t in_units(int64_t bytes, int64_t unit)
{
    return (bytes + unit - 1) / unit;
}

static void set_levels(solution *c, const dram_chain *chain, int64_t unit)
{
    c->unit = unit;
    c->input = in_units(chain->input, unit);
    c->loss = in_units(chain->loss_peak, unit);
    for (int s = 1; s < c->n; s++) {
        const dram_chain_stage *from = &chain->stage[s];
        level *to = &c->level[s];
        to->x = in_units(from->x, unit);
        to->gradient = in_units(from->d + from->held, unit);
        to->plain = in_units(from->plain_peak, unit);
        to->beyond = in_units(from->plain_peak + (s > 1 ? from[-1].x : 0), unit);
        to->forward = from->forward / c->scale;
        to->pinned = from->pinned;
        to->n_options = from->n_options;
        for (int k = 0; k < from->n_options; k++) {
            const dram_chain_option *o = &from->option[k];
            to->option[k].kept = in_units(o->kept, unit);
            to->option[k].forward = in_units(o->forward_peak, unit);
            to->option[k].backward = in_units(o->backward_peak + from->held, unit);
            to->option[k].time = o->forward / c->scale + o->backward / c->scale;
        }
    }
}

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static int64_t common_unit(const dram_chain *chain)
{
    int64_t unit = gcd(chain->input, chain->loss_peak);
    for (int s = 1; s <= chain->length; s++) {
        const dram_chain_stage *stage = &chain->stage[s];
        unit = gcd(gcd(gcd(gcd(unit, stage->x), stage->d), stage->held), stage->plain_peak);
        for (int k = 0; k < stage->n_options; k++)
            unit = gcd(gcd(gcd(unit, stage->option[k].kept), stage->option[k].forward_peak),
                       stage->option[k].backward_peak);
    }
    return unit ? unit : 1;
}

/* A power of two that brings the largest time to about 1, so that a float holds every sum of them. */
static double time_scale(const dram_chain *chain)
{
    double largest = 0;
    for (int s = 1; s <= chain->length; s++) {
        const dram_chain_stage *stage = &chain->stage[s];
        largest = fmax(largest, stage->forward);
        for (int k = 0; k < stage->n_options; k++)
            largest = fmax(largest, fmax(stage->option[k].forward, stage->option[k].backward));
    }
    return largest > 0 ? ldexp(1, ilogb(largest)) : 1;
}

static dram_status solution_new(const dram_chain *chain, solution **made)
{
    solution *c = dram_calloc(1, sizeof *c);
    *made = c;
    if (c) {
        c->n = chain->length + 1;
        c->scale = time_scale(chain);
        c->level = dram_calloc((size_t)c->n + 1, sizeof *c->level);
        c->rows = dram_calloc(((size_t)c->n + 1) * ((size_t)c->n + 1), sizeof *c->rows);
        if (c->level && c->rows) return DRAM_OK;
    }
    dram_chain_solution_free(c);
    *made = NULL;
    return dram_fail(DRAM_ERR_MEMORY, "out of memory for a chain of %d stages", chain->length);
}

void dram_chain_solution_free(dram_chain_solution *c)
{
    if (!c) return;
    dram_free(c->level);
    dram_free(c->rows);
    dram_free(c->cell);
    dram_free(c);
}

/* The bounds of the dynamic program, without its times. Where early stages need much beside later gradients
 * (plain_peak, held), that is less than the peak of the schedule that keeps nothing. */
dram_status dram_chain_floor(const dram_chain *chain, int64_t *bytes)
{
    solution *c = NULL;
    candidate list[CANDIDATES];
    TRY(dram_chain_check(chain));
    TRY(solution_new(chain, &c));
    set_levels(c, chain, 1);
    set_bounds(c, list);
    *bytes = c->input + c->rows[row_index(c, 1, c->n)].low;
    dram_chain_solution_free(c);
    return DRAM_OK;
}

/* Time of a row in m units, m at least its low. */
static float row_time(const solution *c, int index, int64_t m)
{
    const row *r = &c->rows[index];
    return c->cell[r->at + (size_t)((m < r->high ? m : r->high) - r->low)];
}

static float candidate_time(const solution *c, const candidate *way, int64_t m)
{
    float time = way->time;
    if (way->above >= 0) time += row_time(c, way->above, m - way->stored);
    if (way->below >= 0) time += row_time(c, way->below, m);
    return time;
}

static void least_of_sum(float *best, size_t n, float time, const float *above, const float *below)
{
    for (size_t i = 0; i < n; i++) {
        float sum = time + above[i] + below[i];
        best[i] = sum < best[i] ? sum : best[i];
    }
}

static void least_of_one(float *best, size_t n, float time, const float *row_cells, float constant)
{
    for (size_t i = 0; i < n; i++) {
        float sum = time + row_cells[i] + constant;
        best[i] = sum < best[i] ? sum : best[i];
    }
}

static void least_of_none(float *best, size_t n, float time)
{
    for (size_t i = 0; i < n; i++) best[i] = time < best[i] ? time : best[i];
}

/* best[i] of m = from + i, up to `to`: lowered to the candidate's time. Its rows are flat above their high. */
static void lower(const solution *c, const candidate *way, float *best, int64_t from, int64_t to)
{
    while (from <= to) {
        const row *above = way->above >= 0 ? &c->rows[way->above] : NULL;
        const row *below = way->below >= 0 ? &c->rows[way->below] : NULL;
        bool above_falls = above && from - way->stored < above->high, below_falls = below && from < below->high;
        int64_t end = to;
        if (above_falls && above->high - 1 + way->stored < end) end = above->high - 1 + way->stored;
        if (below_falls && below->high - 1 < end) end = below->high - 1;
        size_t n = (size_t)(end - from + 1);
        const float *a = above_falls ? &c->cell[above->at + (size_t)(from - way->stored - above->low)] : NULL;
        const float *b = below_falls ? &c->cell[below->at + (size_t)(from - below->low)] : NULL;
        if (a && b)
            least_of_sum(best, n, way->time, a, b);
        else if (a)
            least_of_one(best, n, way->time, a, below ? row_time(c, way->below, from) : 0);
        else if (b)
            least_of_one(best, n, way->time + row_time(c, way->above, from - way->stored), b, 0);
        else
            least_of_none(best, n, candidate_time(c, way, from));
        best += n;
        from = end + 1;
    }
}

/* A row, chunk by chunk. Times do not rise with m; so a candidate that at the end of a chunk is not better than the
 * best at its beginning is not better anywhere in it. */
static void fill_row(solution *c, int s, int t, candidate *list)
{
    const row *r = &c->rows[row_index(c, s, t)];
    if (r->high < r->low) return;
    int count = list_candidates(c, s, t, list);
    for (int64_t m = r->low; m <= r->high; m += CHUNK) {
        int64_t last = m + CHUNK - 1 < r->high ? m + CHUNK - 1 : r->high;
        float *best = &c->cell[r->at + (size_t)(m - r->low)];
        for (int64_t i = 0; i <= last - m; i++) best[i] = INFINITY;
        for (int i = 0; i < count; i++) {
            int64_t from = max2(m, list[i].from);
            if (from > last || candidate_time(c, &list[i], last) >= best[0]) continue;
            lower(c, &list[i], best + (from - m), from, last);
        }
    }
}

/* Memory is counted in units of the greatest common divisor of all sizes. Where that makes more than max_slots of them,
 * in `bytes` or in what the fastest schedule needs if that is less, the unit is about the max_slots-th part of those
 * bytes. Sizes are then rounded up to units, and budgets down. */
static void choose_unit(solution *c, const dram_chain *chain, int max_slots, candidate *list)
{
    set_levels(c, chain, 1);
    set_bounds(c, list);
    int64_t all = c->input + c->rows[row_index(c, 1, c->n)].high, unit = common_unit(chain);
    if (c->bytes < all) all = c->bytes;
    /* a multiple of the divisor: sizes that are small multiples of it stay exact */
    if (all / unit > max_slots) unit *= in_units(in_units(all, max_slots), unit);
    if (unit == 1) return;
    set_levels(c, chain, unit);
    set_bounds(c, list);
}

static size_t cut_rows(solution *c)
{
    size_t cells = 0;
    int64_t most = c->bytes / c->unit - c->input;
    for (int s = 1; s <= c->n; s++)
        for (int t = s; t <= c->n; t++) {
            row *r = &c->rows[row_index(c, s, t)];
            if (r->high > most) r->high = most;
            r->at = cells;
            if (r->high >= r->low) cells += (size_t)(r->high - r->low + 1);
        }
    return cells;
}

dram_status dram_chain_solve(const dram_chain *chain, int64_t bytes, int max_slots, dram_chain_solution **result)
{
    dram_status status = DRAM_OK;
    solution *c = NULL;
    candidate list[CANDIDATES];
    TRY(dram_chain_check(chain));
    if (max_slots < 1) return dram_fail(DRAM_ERR_INTERNAL, "a recompute chain was to be solved in %d slots", max_slots);
    TRY(solution_new(chain, &c));
    c->bytes = max2(bytes, 0);
    choose_unit(c, chain, max_slots, list);
    size_t cells = cut_rows(c);
    c->cell = dram_alloc(cells * sizeof *c->cell);
    if (!c->cell) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of memory for the recompute tables (%zu bytes): plan with fewer slots",
                           cells * sizeof *c->cell);
        goto failed;
    }
    const row *loss = &c->rows[row_index(c, c->n, c->n)];
    if (loss->high >= loss->low) c->cell[loss->at] = 0;
    for (int span = 0; span < c->n; span++)
        for (int s = 1; s + span <= c->n && s < c->n; s++) fill_row(c, s, s + span, list);
    *result = c;
    return DRAM_OK;
failed:
    dram_chain_solution_free(c);
    return status;
}

/* Units for the activations in `bytes`; below the low of (1, n) where nothing fits. */
static int64_t units_within(const solution *c, int64_t bytes)
{
    if (bytes > c->bytes) bytes = c->bytes;
    return bytes < 0 ? -1 : bytes / c->unit - c->input;
}

double dram_chain_time(const dram_chain_solution *c, int64_t bytes)
{
    int64_t m = units_within(c, bytes);
    int whole = row_index(c, 1, c->n);
    return m < c->rows[whole].low ? INFINITY : row_time(c, whole, m) * c->scale;
}

typedef struct {
    const solution *solution;
    candidate *list;
    dram_chain_schedule *schedule;
} emitter;

/* The first best candidate at (s, t, m), m being at least the row's low: a SAVE before a split, the first option before
 * later ones, the smallest split before larger. */
static candidate best_candidate(const emitter *e, int s, int t, int64_t m)
{
    const solution *c = e->solution;
    int count = list_candidates(c, s, t, e->list), best = -1;
    float least = INFINITY;
    for (int i = 0; i < count; i++) {
        if (e->list[i].from > m) continue;
        float time = candidate_time(c, &e->list[i], m);
        if (time < least) {
            least = time;
            best = i;
        }
    }
    return e->list[best];
}

static dram_status emit_range(const emitter *e, int s, int t, int64_t m)
{
    const solution *c = e->solution;
    if (s == c->n) return dram_chain_add(e->schedule, DRAM_CHAIN_LOSS, 0, 0);
    int64_t high = c->rows[row_index(c, s, t)].high;
    if (m > high) m = high;
    candidate way = best_candidate(e, s, t, m);
    if (!way.split) {
        TRY(dram_chain_add(e->schedule, DRAM_CHAIN_SAVE, s, way.option));
        if (s < t) TRY(emit_range(e, s + 1, t, m - way.stored));
        return dram_chain_add(e->schedule, DRAM_CHAIN_BACKWARD, s, way.option);
    }
    for (int j = way.first; j < way.split; j++)
        TRY(dram_chain_add(e->schedule, j == s ? DRAM_CHAIN_KEEP : DRAM_CHAIN_EMPTY, j, 0));
    TRY(emit_range(e, way.split, t, m - way.stored));
    return emit_range(e, s, way.split - 1, m);
}

dram_status dram_chain_emit(const dram_chain_solution *c, int64_t bytes, dram_chain_schedule *schedule)
{
    candidate list[CANDIDATES];
    *schedule = (dram_chain_schedule){0};
    int64_t m = units_within(c, bytes), low = c->rows[row_index(c, 1, c->n)].low;
    if (m < low)
        return dram_fail(DRAM_ERR_FIT, "no recompute schedule fits %lld bytes: %lld are needed", (long long)bytes,
                         (long long)((low + c->input) * c->unit));
    emitter e = {c, list, schedule};
    dram_status status = emit_range(&e, 1, c->n, m);
    if (status != DRAM_OK) dram_chain_schedule_free(schedule);
    return status;
}
