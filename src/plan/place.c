#include "plan/place.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"

/* Which gap between placed buffers a buffer takes: the lowest that is large enough, or the smallest. */
typedef enum { LOWEST_GAP, SMALLEST_GAP } gap_rule;

/* Placed buffers whose life touches a window of nodes, by offset: window w is the nodes [w, w + 2) * stride. A buffer
 * that lives no longer than a stride lies in one window whole, and only what touches that window can be in its way:
 * most buffers of a large step are held against a few hundred others, not against thousands. */
typedef struct {
    int64_t offset, end;
    int32_t first, last;
} neighbour;

typedef struct {
    int n; /* 1: it is all there is, and placed[] is not kept */
    int32_t stride;
    int *begin, *count; /* of each window, in neighbours[] */
    neighbour *neighbours;
} windows;

typedef struct {
    dram_buffer *buffers;
    int n;
    windows windows;
    int64_t *pressure; /* of each buffer: most bytes alive at a node of its life */
    int *order;        /* the order tried now */
    int *best_order;
    int *placed;     /* placed buffers by offset */
    int64_t *offset; /* of the present try */
    int64_t *kept;   /* of the last try that was no worse */
    int64_t *best_offset;
    int64_t best_top;
} search;

/* Bytes alive at each node, by differences: live[t] for t in [0, nodes). */
static void live_bytes(const dram_buffer *buffers, int n, int64_t *live, int nodes)
{
    memset(live, 0, ((size_t)nodes + 1) * sizeof *live);
    for (int i = 0; i < n; i++) {
        live[buffers[i].first] += buffers[i].bytes;
        live[buffers[i].last + 1] -= buffers[i].bytes;
    }
    for (int t = 1; t < nodes; t++) live[t] += live[t - 1];
}

static int first_window(const windows *w, const dram_buffer *x)
{
    int at = x->first / w->stride - 1;
    return at < 0 ? 0 : at;
}

static int last_window(const windows *w, const dram_buffer *x)
{
    return x->last / w->stride;
}

/* Each window should be touched by many buffers, or most of them would lie in none whole. */
enum { TOUCHING = 150, MOST_WINDOWS = 32 };

static bool open_windows(windows *w, const dram_buffer *buffers, int n)
{
    int nodes = 1, touches = 0, wanted = n / TOUCHING;
    if (wanted < 1) wanted = 1;
    if (wanted > MOST_WINDOWS) wanted = MOST_WINDOWS;
    for (int i = 0; i < n; i++)
        if (buffers[i].last >= nodes) nodes = buffers[i].last + 1;
    w->stride = (nodes + wanted - 1) / wanted;
    w->n = (nodes - 1) / w->stride + 1;
    w->begin = dram_calloc((size_t)w->n + 1, sizeof *w->begin);
    w->count = dram_calloc((size_t)w->n + 1, sizeof *w->count);
    if (!w->begin || !w->count) return false;
    for (int i = 0; i < n; i++)
        for (int k = first_window(w, &buffers[i]); k <= last_window(w, &buffers[i]); k++) w->count[k]++;
    for (int k = 0; k < w->n; k++) {
        w->begin[k] = touches;
        touches += w->count[k];
    }
    w->neighbours = dram_alloc((size_t)touches * sizeof *w->neighbours);
    return w->neighbours != NULL;
}

static void close_windows(windows *w)
{
    dram_free(w->begin);
    dram_free(w->count);
    dram_free(w->neighbours);
}

/* Behind those of the same offset. */
static void add_to_windows(windows *w, const dram_buffer *x, int64_t offset)
{
    for (int k = first_window(w, x); k <= last_window(w, x); k++) {
        neighbour *list = w->neighbours + w->begin[k];
        int at = 0, end = w->count[k]++;
        for (int to = end; at < to;) {
            int middle = (at + to) / 2;
            if (list[middle].offset > offset)
                to = middle;
            else
                at = middle + 1;
        }
        memmove(&list[at + 1], &list[at], (size_t)(end - at) * sizeof *list);
        list[at] = (neighbour){offset, offset + x->bytes, x->first, x->last};
    }
}

/* The gaps between what is in the way of a buffer, from the bottom up. */
typedef struct {
    int64_t bytes; /* wanted */
    int64_t cursor, best, best_gap;
    gap_rule rule;
} gaps;

/* The next thing in the way; true when no further one matters. */
static inline bool pass(gaps *g, int64_t offset, int64_t end)
{
    int64_t gap = offset - g->cursor;
    if (gap >= g->bytes && gap < g->best_gap) {
        g->best = g->cursor;
        g->best_gap = gap;
        if (g->rule == LOWEST_GAP) return true;
    }
    if (end > g->cursor) g->cursor = end;
    return false;
}

static int64_t lowest_place(const search *s, const dram_buffer *x, int placed, gap_rule rule)
{
    gaps g = {.bytes = x->bytes, .best = -1, .best_gap = INT64_MAX, .rule = rule};
    const windows *w = &s->windows;
    int at = x->first / w->stride;
    if (x->last / w->stride <= at + 1) {
        const neighbour *y = w->neighbours + w->begin[at];
        for (int p = 0; p < w->count[at]; p++, y++)
            if (y->first <= x->last && x->first <= y->last && pass(&g, y->offset, y->end)) break;
    } else {
        for (int p = 0; p < placed; p++) {
            const dram_buffer *y = &s->buffers[s->placed[p]];
            int64_t offset = s->offset[s->placed[p]];
            if (y->first <= x->last && x->first <= y->last && pass(&g, offset, offset + y->bytes)) break;
        }
    }
    return g.best >= 0 ? g.best : g.cursor;
}

/* How many of placed[] are not above the offset. */
static int place_above(const search *s, int placed, int64_t offset)
{
    int from = 0, to = placed;
    while (from < to) {
        int middle = (from + to) / 2;
        if (s->offset[s->placed[middle]] > offset)
            to = middle;
        else
            from = middle + 1;
    }
    return from;
}

/* Places the buffers order[from .. to) besides those before them; gives the top of these, or `limit` at once when it
 * would be at or above it. */
static int64_t place_more(search *s, const int *order, int from, int to, gap_rule rule, int64_t limit)
{
    int64_t top = 0;
    int placed = from;
    if (from == 0) memset(s->windows.count, 0, (size_t)s->windows.n * sizeof *s->windows.count);
    for (int k = from; k < to; k++) {
        const dram_buffer *x = &s->buffers[order[k]];
        int64_t offset = lowest_place(s, x, placed, rule);
        s->offset[order[k]] = offset;
        if (offset + x->bytes > top) top = offset + x->bytes;
        if (top >= limit) return limit;
        add_to_windows(&s->windows, x, offset);
        if (s->windows.n == 1) continue;
        int at = place_above(s, placed, offset);
        memmove(&s->placed[at + 1], &s->placed[at], (size_t)(placed++ - at) * sizeof *s->placed);
        s->placed[at] = order[k];
    }
    return top;
}

static int64_t try_order(search *s, const int *order, gap_rule rule, int64_t limit)
{
    return place_more(s, order, 0, s->n, rule, limit);
}

static void keep_if_better(search *s, int64_t top)
{
    if (top >= s->best_top) return;
    s->best_top = top;
    memcpy(s->best_order, s->order, (size_t)s->n * sizeof *s->order);
    memcpy(s->best_offset, s->offset, (size_t)s->n * sizeof *s->offset);
}

typedef enum { BY_DURATION, BY_AREA, BY_PRESSURE, BY_SIZE, BY_BIRTH, ORDERS } order_key;

typedef struct {
    double key;
    int index;
} keyed;

static int compare_keyed(const void *left, const void *right)
{
    const keyed *a = left, *b = right;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return a->index - b->index;
}

static double key_of(const search *s, int i, order_key by)
{
    const dram_buffer *x = &s->buffers[i];
    double duration = (double)x->last - x->first + 1;
    switch (by) {
    case BY_DURATION:
        return duration;
    case BY_AREA:
        return duration * (double)x->bytes;
    case BY_PRESSURE:
        return (double)s->pressure[i];
    case BY_SIZE:
        return (double)x->bytes;
    default:
        return -(double)x->first;
    }
}

/* Of the most bytes alive. */
static const double AROUND_PEAK = 0.95;

/* Work without a better top before it is left at that. The last few bytes are worth less of it. */
enum { MOST_WORK = 150000000, PATIENCE = MOST_WORK / 4, LITTLE_PATIENCE = MOST_WORK / 10 };

/* Puts those in front that live where `least` bytes or more are alive. Gives their number. */
static int critical_first(search *s, double least)
{
    int n = 0, rest = 0;
    for (int k = 0; k < s->n; k++) {
        int i = s->best_order[k];
        if ((double)s->pressure[i] >= least)
            s->order[n++] = i;
        else
            s->placed[rest++] = i;
    }
    memcpy(s->order + n, s->placed, (size_t)rest * sizeof *s->order);
    return n;
}

/* About what placing n buffers takes; a small case is at its best long before 300000 tries. */
static int64_t steps_of(int n)
{
    int64_t steps = (int64_t)n * n / 4;
    return steps < 500 ? 500 : steps;
}

/* Whether the order, whose first n buffers were changed, is no worse than `top`; then the offsets are its. */
static bool is_no_worse(search *s, int n, int64_t *top, int64_t *work)
{
    int64_t limit = *top + 1, front = place_more(s, s->order, 0, n, LOWEST_GAP, limit);
    *work += steps_of(n);
    if (front >= limit) return false;
    *work += steps_of(s->n);
    int64_t back = place_more(s, s->order, n, s->n, LOWEST_GAP, limit);
    if (back >= limit) return false;
    *top = front > back ? front : back;
    return true;
}

/* Random moves of one buffer, of those that live where `least` bytes are alive, to an earlier place of the order, while
 * the top is above the bound. The work is bounded in steps of placing, not in time, so that a plan is the same
 * everywhere. */
static void local_search(search *s, int64_t bound, double least)
{
    dram_rng rng = dram_rng_make(1, DRAM_RNG_ORDER, (uint64_t)s->n);
    int n = critical_first(s, least);
    int64_t work = 0, found = 0, top = INT64_MAX - 1;
    if (n < 2 || s->best_top <= bound || !is_no_worse(s, n, &top, &work)) return;
    keep_if_better(s, top);
    memcpy(s->kept, s->offset, (size_t)s->n * sizeof *s->offset);
    while (s->best_top > bound && work < MOST_WORK &&
           work - found < (s->best_top - bound <= bound / 4096 ? LITTLE_PATIENCE : PATIENCE)) {
        int from = 1 + (int)dram_rng_below(&rng, (uint64_t)n - 1);
        for (int tries = 0; tries < 20; tries++) { /* rather one of those that make the top */
            int i = s->order[from];
            if (s->kept[i] + s->buffers[i].bytes >= top) break;
            from = 1 + (int)dram_rng_below(&rng, (uint64_t)n - 1);
        }
        int to = (int)dram_rng_below(&rng, (uint64_t)from);
        int moved = s->order[from];
        memmove(&s->order[to + 1], &s->order[to], (size_t)(from - to) * sizeof *s->order);
        s->order[to] = moved;
        if (is_no_worse(s, n, &top, &work)) { /* equal counts as better, to drift along plateaus */
            if (top < s->best_top) found = work;
            keep_if_better(s, top);
            memcpy(s->kept, s->offset, (size_t)s->n * sizeof *s->offset);
        } else {
            memmove(&s->order[to], &s->order[to + 1], (size_t)(from - to) * sizeof *s->order);
            s->order[from] = moved;
        }
    }
}

static dram_status open_search(search *s, dram_buffer *buffers, int n, keyed **keys)
{
    *s = (search){.buffers = buffers, .n = n, .best_top = INT64_MAX};
    size_t count = (size_t)n + 1;
    s->pressure = dram_calloc(count, sizeof *s->pressure);
    s->order = dram_calloc(count, sizeof *s->order);
    s->best_order = dram_calloc(count, sizeof *s->best_order);
    s->placed = dram_calloc(count, sizeof *s->placed);
    s->offset = dram_calloc(count, sizeof *s->offset);
    s->kept = dram_calloc(count, sizeof *s->kept);
    s->best_offset = dram_calloc(count, sizeof *s->best_offset);
    *keys = dram_calloc(count, sizeof **keys);
    bool good = open_windows(&s->windows, buffers, n);
    if (good && s->pressure && s->order && s->best_order && s->placed && s->offset && s->kept && s->best_offset &&
        *keys)
        return DRAM_OK;
    return dram_fail(DRAM_ERR_MEMORY, "no memory to place %d buffers", n);
}

static void close_search(search *s, keyed *keys)
{
    close_windows(&s->windows);
    dram_free(s->pressure);
    dram_free(s->order);
    dram_free(s->best_order);
    dram_free(s->placed);
    dram_free(s->offset);
    dram_free(s->kept);
    dram_free(s->best_offset);
    dram_free(keys);
}

enum { RUN = 64 };

/* The most of live[first .. last]; most[] has it for whole runs. */
static int64_t most_of(const int64_t *live, const int64_t *most, int32_t first, int32_t last)
{
    int64_t found = 0;
    for (int32_t t = first; t <= last;) {
        bool whole = t % RUN == 0 && t + RUN - 1 <= last;
        int64_t here = whole ? most[t / RUN] : live[t];
        if (here > found) found = here;
        t += whole ? RUN : 1;
    }
    return found;
}

static dram_status measure_live(search *s, dram_placement *result)
{
    int nodes = 0;
    for (int i = 0; i < s->n; i++)
        if (s->buffers[i].last >= nodes) nodes = s->buffers[i].last + 1;
    int64_t *live = dram_alloc(((size_t)nodes + 1) * 2 * sizeof *live);
    if (!live) return dram_fail(DRAM_ERR_MEMORY, "no memory to place %d buffers", s->n);
    live_bytes(s->buffers, s->n, live, nodes);
    int64_t *most = live + nodes + 1; /* of each run of RUN nodes */
    for (int t = 0; t < nodes; t++)
        if (t % RUN == 0 || live[t] > most[t / RUN]) most[t / RUN] = live[t];
    for (int t = 0; t < nodes; t++)
        if (live[t] > result->max_live) {
            result->max_live = live[t];
            result->max_live_at = t;
        }
    for (int i = 0; i < s->n; i++) s->pressure[i] = most_of(live, most, s->buffers[i].first, s->buffers[i].last);
    dram_free(live);
    return DRAM_OK;
}

dram_status dram_place(dram_buffer *buffers, int n, dram_placement *result)
{
    search s;
    keyed *keys = NULL;
    *result = (dram_placement){0};
    dram_status status;
    TRY_GOTO(open_search(&s, buffers, n, &keys), done);
    TRY_GOTO(measure_live(&s, result), done);
    for (int by = 0; by < ORDERS; by++) {
        for (int i = 0; i < n; i++) keys[i] = (keyed){key_of(&s, i, (order_key)by), i};
        qsort(keys, (size_t)n, sizeof *keys, compare_keyed);
        for (int i = 0; i < n; i++) s.order[i] = keys[i].index;
        keep_if_better(&s, try_order(&s, s.order, LOWEST_GAP, s.best_top));
        keep_if_better(&s, try_order(&s, s.order, SMALLEST_GAP, s.best_top));
        if (s.best_top <= result->max_live) break;
    }
    /* Where the buffers around the peak lie decides the top, and the others mostly fit around them. */
    local_search(&s, result->max_live, AROUND_PEAK * (double)result->max_live);
    local_search(&s, result->max_live, 0);
    for (int i = 0; i < n; i++) buffers[i].offset = s.best_offset[i];
    result->top = n ? s.best_top : 0;
done:
    close_search(&s, keys);
    return status;
}

typedef struct {
    int32_t time;
    int index;
} event;

static int compare_events(const void *left, const void *right)
{
    const event *a = left, *b = right;
    return a->time != b->time ? (a->time < b->time ? -1 : 1) : a->index - b->index;
}

static bool overlap(const dram_buffer *a, const dram_buffer *b)
{
    return a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

int dram_place_overlap(const dram_buffer *buffers, int n, int *a, int *b)
{
    event *births = dram_alloc(((size_t)n + 1) * sizeof *births);
    int *alive = dram_alloc(((size_t)n + 1) * sizeof *alive);
    int found = 0, n_alive = 0;
    if (!births || !alive) {
        found = -1;
        goto done;
    }
    for (int i = 0; i < n; i++) births[i] = (event){buffers[i].first, i};
    qsort(births, (size_t)n, sizeof *births, compare_events);
    for (int k = 0; k < n && !found; k++) {
        const dram_buffer *x = &buffers[births[k].index];
        int kept = 0;
        for (int j = 0; j < n_alive; j++) {
            const dram_buffer *y = &buffers[alive[j]];
            if (y->last < x->first) continue;
            alive[kept++] = alive[j];
            if (!found && x->bytes && y->bytes && overlap(x, y)) {
                found = 1;
                *a = alive[j];
                *b = births[k].index;
            }
        }
        n_alive = kept;
        alive[n_alive++] = births[k].index;
    }
done:
    dram_free(births);
    dram_free(alive);
    return found;
}
