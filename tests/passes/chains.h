/* chains: random chains, and what their solutions are held against: the recurrence written down as it stands, and an
 * exhaustive search over all schedules. */
#ifndef TESTS_PASSES_CHAINS_H
#define TESTS_PASSES_CHAINS_H

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "passes/chain.h"

enum { MAX_LENGTH = 9, MAX_SLOTS = 4096 };

/* What a random chain has. Without WILD the gradients are as large as the outputs, a plain forward has no inside, and a
 * backward has its kept bytes and both gradients alive. */
enum { OPTIONS = 1, HELD = 2, PINS = 4, LOSS = 8, WILD = 16 };

typedef struct {
    dram_chain chain;
    dram_chain_stage stage[MAX_LENGTH + 1];
} numbers;

static inline int below(dram_rng *r, int n)
{
    return (int)dram_rng_below(r, (uint64_t)n);
}

static inline int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Times are small whole numbers, so that their sums are exact and equal times are ties. */
static inline void random_chain(numbers *c, dram_rng *r, int length, int flags, int spread)
{
    bool wild = flags & WILD;
    memset(c, 0, sizeof *c);
    c->chain = (dram_chain){.input = below(r, spread), .length = length, .stage = c->stage};
    if (flags & LOSS) c->chain.loss_peak = below(r, 3 * spread);
    for (int s = 1; s <= length; s++) {
        dram_chain_stage *stage = &c->stage[s];
        stage->pinned = (flags & PINS) && below(r, 3) == 0;
        stage->d = wild ? below(r, spread) : 1 + below(r, spread);
        stage->x = stage->pinned ? 0 : wild ? below(r, spread) : stage->d;
        stage->plain_peak = stage->x + (wild ? below(r, 2 * spread) : 0);
        stage->forward = wild ? below(r, 6) : 1 + below(r, 5);
        if (flags & HELD) stage->held = below(r, below(r, 4) ? spread : 3 * spread);
        stage->n_options = flags & OPTIONS ? 1 + below(r, 3) : 1;
        for (int k = 0; k < stage->n_options; k++) {
            dram_chain_option *o = &stage->option[k];
            o->kept = stage->x + below(r, 2 * spread);
            o->forward = stage->forward;
            o->backward = below(r, 10);
            o->forward_peak = larger(o->kept, stage->plain_peak) + (wild ? below(r, spread) : 0);
            o->backward_peak = o->kept + stage->d + (s > 1 ? stage[-1].d : c->chain.input);
            if (wild) o->backward_peak = o->kept + stage->d + below(r, 2 * spread);
        }
    }
}

/* All sizes 1 and a block kept in 2, as in the golden cases. stage: [length + 1] */
static inline dram_chain uniform(dram_chain_stage *stage, int length)
{
    for (int s = 1; s <= length; s++)
        stage[s] = (dram_chain_stage){
            .x = 1, .d = 1, .forward = 1, .plain_peak = 1, .n_options = 1, .option = {{2, 1, 2, 2, 4}}};
    return (dram_chain){.input = 1, .length = length, .stage = stage};
}

/* C(s, t, m) of the recurrence for all m below `slots`, with no unit, no window and no pruning. */
static double naive[MAX_LENGTH + 2][MAX_LENGTH + 2][MAX_SLOTS];

static inline double naive_split(const dram_chain *c, int s, int t, int split, int64_t m, int64_t gradient)
{
    int from = s; /* the stage that runs first */
    double time = 0;
    if (t <= c->length)
        for (int q = s; q < split; q++)
            if (c->stage[q].pinned) from = q + 1;
    for (int j = from; j < split; j++) {
        int64_t input = j == s ? 0 : c->stage[j - 1].x;
        if (gradient + input + c->stage[j].plain_peak > m) return INFINITY;
        time += c->stage[j].forward;
    }
    int64_t stored = c->stage[split - 1].x;
    return stored > m ? INFINITY : time + naive[split][t][m - stored] + naive[s][split - 1][m];
}

static inline double naive_least(const dram_chain *c, int s, int t, int64_t m)
{
    double least = INFINITY;
    int64_t gradient = t > c->length ? 0 : c->stage[t].d + c->stage[t].held;
    for (int k = 0; k < c->stage[s].n_options; k++) {
        const dram_chain_option *o = &c->stage[s].option[k];
        if (m < o->forward_peak + gradient || m < o->backward_peak + c->stage[s].held || m < o->kept) continue;
        least = fmin(least, o->forward + o->backward + (s < t ? naive[s + 1][t][m - o->kept] : 0));
    }
    for (int split = s + 1; split <= t; split++) least = fmin(least, naive_split(c, s, t, split, m, gradient));
    return least;
}

static inline void solve_naively(const dram_chain *c, int slots)
{
    int n = c->length + 1;
    assert_in_range(slots, 1, MAX_SLOTS);
    for (int m = 0; m < slots; m++) naive[n][n][m] = m < c->loss_peak ? INFINITY : 0;
    for (int span = 0; span < n; span++)
        for (int s = 1; s + span <= n && s < n; s++)
            for (int m = 0; m < slots; m++) naive[s][s + span][m] = naive_least(c, s, s + span, m);
}

static inline double naive_time(const dram_chain *c, int64_t bytes)
{
    return bytes < c->input ? INFINITY : naive[1][c->length + 1][bytes - c->input];
}

/* The search: Dijkstra's over all states (what is stored of every stage, which gradient was reached). Any value may be
 * dropped at any time, so nothing binds it to a schedule that keeps what it has stored. */
enum { ORACLE_LENGTH = 5, ORACLE_STATES = 5 * 5 * 5 * 5 * 5 * 7, ORACLE_HEAP = 1 << 20 };
enum { NONE, OUTPUT, SAVED }; /* SAVED + k: under option k */

typedef struct {
    int8_t held[ORACLE_LENGTH + 1]; /* of stage 1..length: NONE, OUTPUT, SAVED + k */
    int gradient;                   /* length + 1: before the loss */
} oracle_state;

typedef struct {
    double key;
    int state;
} oracle_entry;

typedef struct {
    const dram_chain *chain;
    int64_t limit; /* below 0: none, and the key is the peak */
    int entries;
    oracle_entry heap[ORACLE_HEAP];
    double key[ORACLE_STATES];
} oracle;

static oracle the_oracle;

static inline int oracle_code(const oracle *o, const oracle_state *state)
{
    int code = state->gradient;
    for (int s = 1; s <= o->chain->length; s++) code = code * 5 + state->held[s];
    return code;
}

static inline oracle_state oracle_decode(const oracle *o, int code)
{
    oracle_state state = {0};
    for (int s = o->chain->length; s >= 1; s--, code /= 5) state.held[s] = (int8_t)(code % 5);
    state.gradient = code;
    return state;
}

static inline int64_t oracle_live(const oracle *o, const oracle_state *state)
{
    const dram_chain *c = o->chain;
    int64_t live = c->input;
    for (int s = 1; s <= c->length; s++) {
        if (state->held[s] == OUTPUT) live += c->stage[s].x;
        if (state->held[s] >= SAVED) live += c->stage[s].option[state->held[s] - SAVED].kept;
    }
    int g = state->gradient;
    return g >= 1 && g <= c->length ? live + c->stage[g].d + c->stage[g].held : live;
}

static inline void oracle_push(oracle *o, double key, int state)
{
    assert_true(o->entries < ORACLE_HEAP);
    int at = o->entries++;
    for (; at > 0 && o->heap[(at - 1) / 2].key > key; at = (at - 1) / 2) o->heap[at] = o->heap[(at - 1) / 2];
    o->heap[at] = (oracle_entry){key, state};
}

static inline oracle_entry oracle_pop(oracle *o)
{
    oracle_entry top = o->heap[0], last = o->heap[--o->entries];
    int at = 0;
    for (int child = 1; child < o->entries; child = 2 * at + 1) {
        if (child + 1 < o->entries && o->heap[child + 1].key < o->heap[child].key) child++;
        if (o->heap[child].key >= last.key) break;
        o->heap[at] = o->heap[child];
        at = child;
    }
    o->heap[at] = last;
    return top;
}

/* A move to `next` that takes `time` and during which `peak` bytes are alive. */
static inline void oracle_move(oracle *o, double key, const oracle_state *next, int64_t peak, double time)
{
    peak = larger(peak, oracle_live(o, next));
    if (o->limit >= 0 && peak > o->limit) return;
    double reached = o->limit >= 0 ? key + time : fmax(key, (double)peak);
    int code = oracle_code(o, next);
    if (reached >= o->key[code]) return;
    o->key[code] = reached;
    oracle_push(o, reached, code);
}

static inline void oracle_moves(oracle *o, double key, const oracle_state *at, int s, int64_t live)
{
    const dram_chain_stage *stage = &o->chain->stage[s];
    oracle_state next = *at;
    bool has_input = s == 1 || at->held[s - 1] != NONE;
    if (at->held[s] == NONE && has_input) {
        next.held[s] = OUTPUT;
        oracle_move(o, key, &next, live + stage->plain_peak, stage->forward);
    }
    if ((at->held[s] == NONE || (at->held[s] == OUTPUT && stage->pinned)) && has_input)
        for (int k = 0; k < stage->n_options; k++) {
            next.held[s] = (int8_t)(SAVED + k);
            oracle_move(o, key, &next, live + stage->option[k].forward_peak, stage->option[k].forward);
        }
    if (at->held[s] != NONE) { /* a saved one becomes its output; an output goes, unless it is pinned */
        next.held[s] = at->held[s] == OUTPUT ? NONE : OUTPUT;
        if (next.held[s] == OUTPUT || !stage->pinned) oracle_move(o, key, &next, 0, 0);
    }
    if (at->gradient == s && at->held[s] >= SAVED && has_input) {
        const dram_chain_option *option = &stage->option[at->held[s] - SAVED];
        next.held[s] = stage->pinned ? OUTPUT : NONE;
        next.gradient = s - 1;
        oracle_move(o, key, &next, live - option->kept - stage->d + option->backward_peak, option->backward);
    }
}

/* Least time of any schedule within `limit` bytes; with limit < 0 the least peak of any. INFINITY: there is none. */
static inline double oracle_solve(const dram_chain *c, int64_t limit)
{
    oracle *o = &the_oracle;
    oracle_state start = {.gradient = c->length + 1};
    assert_in_range(c->length, 1, ORACLE_LENGTH);
    o->chain = c;
    o->limit = limit;
    o->entries = 0;
    for (int i = 0; i < ORACLE_STATES; i++) o->key[i] = INFINITY;
    oracle_move(o, 0, &start, 0, 0);
    while (o->entries) {
        oracle_entry top = oracle_pop(o);
        if (top.key > o->key[top.state]) continue;
        oracle_state at = oracle_decode(o, top.state), next = at;
        if (at.gradient == 0) return top.key;
        int64_t live = oracle_live(o, &at);
        for (int s = 1; s <= c->length; s++) oracle_moves(o, top.key, &at, s, live);
        if (at.gradient == c->length + 1 && at.held[c->length] != NONE) {
            next.gradient = c->length;
            oracle_move(o, top.key, &next, live + c->loss_peak, 0);
        }
    }
    return INFINITY;
}

/* Peak of the schedule that keeps nothing but what it needs next: an upper bound of the floor for all chains, and equal
 * to it for those without WILD, HELD, PINS and LOSS. */
static inline int64_t closed_floor(const dram_chain *c)
{
    int64_t most = 0;
    for (int s = 1; s <= c->length; s++) {
        const dram_chain_stage *stage = &c->stage[s];
        int64_t input = s > 1 ? stage[-1].x : 0, gradient = s < c->length ? stage->d + stage->held : 0;
        int64_t least = INT64_MAX;
        for (int k = 0; k < stage->n_options; k++) {
            int64_t need =
                larger(stage->option[k].backward_peak + stage->held, stage->option[k].forward_peak + gradient);
            if (s == c->length) need = larger(need, stage->option[k].kept + c->loss_peak);
            if (need < least) least = need;
        }
        most = larger(most, larger(input + least, input + stage->plain_peak));
        for (int j = s - 1; s < c->length && j >= 1 && !c->stage[j].pinned; j--)
            most = larger(most, (j > 1 ? c->stage[j - 1].x : 0) + c->stage[j].plain_peak + gradient);
    }
    return c->input + most;
}

/* Schedules as text: K1 keep, E2 empty, S3.1 save under option 1 (S3 under 0), L loss, B3.1 backward. */
static inline void print_schedule(const dram_chain_schedule *schedule, char *text, size_t room)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < schedule->n && used < room; i++) {
        const dram_chain_op *op = &schedule->op[i];
        int k = op->kind == DRAM_CHAIN_SAVE || op->kind == DRAM_CHAIN_BACKWARD ? op->option : 0;
        const char *space = i ? " " : "";
        if (op->kind == DRAM_CHAIN_LOSS)
            used += (size_t)snprintf(text + used, room - used, "%sL", space);
        else if (k)
            used += (size_t)snprintf(text + used, room - used, "%s%c%d.%d", space, "EKSLB"[op->kind], op -> stage, k);
        else
            used += (size_t)snprintf(text + used, room - used, "%s%c%d", space, "EKSLB"[op->kind], op -> stage);
    }
}

static inline void parse_schedule(const char *text, dram_chain_schedule *schedule)
{
    *schedule = (dram_chain_schedule){0};
    while (*text) {
        const char *kinds = "EKSLB", *kind = strchr(kinds, *text++);
        int stage = 0, option = 0, used = 0;
        assert_non_null(kind);
        if (sscanf(text, "%d%n", &stage, &used) == 1) text += used;
        if (*text == '.' && sscanf(text, ".%d%n", &option, &used) == 1) text += used;
        while (*text == ' ') text++;
        assert_int_equal(dram_chain_add(schedule, (dram_chain_kind)(kind - kinds), stage, option), DRAM_OK);
    }
}

/* Time without making anything again. */
static inline double ideal_time(const dram_chain *chain)
{
    double time = 0;
    for (int s = 1; s <= chain->length; s++) {
        const dram_chain_stage *stage = &chain->stage[s];
        double least = INFINITY;
        for (int k = 0; k < stage->n_options; k++)
            least = fmin(least, stage->option[k].forward + stage->option[k].backward);
        time += least;
    }
    return time;
}

#endif
