/* Finds the schedule for so many bytes: the solver proposes, the real program is measured. */
#include <math.h>
#include <stddef.h>

#include "passes/recompute_build.h"

typedef struct {
    dram_recompute *recompute;
    const dram_chain_solution *solution;
    int64_t most;             /* bytes above the slots that it may take */
    dram_chain_schedule best; /* the cheapest that fits, else the smallest */
    int64_t live;             /* its bytes */
    double time;              /* that it spends again */
    bool found;
} search;

/* Measures the schedule for `bytes`; keeps it if it is better. *live is INT64_MAX where there is none. */
static dram_status try_bytes(search *s, int64_t bytes, int64_t *live)
{
    dram_chain_schedule schedule = {0};
    int64_t flops;
    double time = 0;
    *live = INT64_MAX;
    if (!isfinite(dram_chain_time(s->solution, bytes))) return DRAM_OK;
    TRY(dram_chain_emit(s->solution, bytes, &schedule));
    dram_status status = dram_recompute_measure(s->recompute, &schedule, live, &flops);
    for (int i = 0; i < s->recompute->trace.n; i++)
        if (s->recompute->trace.step[i].copy)
            time += dram_recompute_time(s->recompute, s->recompute->trace.step[i].node);
    bool fits = *live <= s->most, best_fits = s->found && s->live <= s->most;
    bool better = !s->found || (fits && !best_fits) || (fits && time < s->time) || (!best_fits && *live < s->live);
    if (status != DRAM_OK || !better) {
        dram_chain_schedule_free(&schedule);
        return status;
    }
    dram_chain_schedule_free(&s->best);
    s->best = schedule;
    s->live = *live;
    s->time = time;
    s->found = true;
    return DRAM_OK;
}

/* What the chain's numbers leave out (the loss's own bytes, small values, the rest of the step) is not the same at
 * every moment, so the bytes handed to the solver are searched for, and the real program measured: first all over the
 * range, since its bytes need not follow the solver's everywhere, then between the cheapest that fits and the next. */
static dram_status search_bytes(search *s, int64_t floor, int64_t stored)
{
    enum { PLACES = 16, MANY = 96, HALVINGS = 10 };
    int64_t low = floor, high = stored, live;
    for (int places = PLACES; places <= MANY; places += MANY - PLACES) {
        for (int i = 0; i <= places; i++) {
            int64_t bytes = floor + (stored - floor) * i / places;
            TRY(try_bytes(s, bytes, &live));
            if (live <= s->most) low = bytes;
        }
        if (low < stored) high = low + (stored - floor) / places;
        if (s->found && s->live <= s->most) break;
    }
    for (int i = 0; i < HALVINGS && high - low > (1 << 16); i++) {
        int64_t middle = low + (high - low) / 2;
        TRY(try_bytes(s, middle, &live));
        if (live <= s->most || live == INT64_MAX)
            low = middle;
        else
            high = middle;
    }
    return DRAM_OK;
}

/* The solver's tables take 2 bytes x length^2 a slot at most; more than 64 MiB of them, which the process's peak would
 * show, is not worth a little time in a step. */
static int slots_for(int length)
{
    enum { MOST = 100000 };
    int64_t slots = ((int64_t)64 << 20) / (2ll * (length + 1) * (length + 1));
    return slots < MOST ? (int)slots : MOST;
}

dram_status dram_recompute_search(dram_recompute *r, int64_t most, dram_chain_schedule *schedule)
{
    const dram_chain *chain = dram_recompute_chain(r);
    dram_chain_schedule stored = {0};
    dram_chain_solution *solution = NULL;
    search s = {.recompute = r, .most = most};
    dram_status status;
    int64_t peak, floor;
    double time;
    *schedule = (dram_chain_schedule){0};
    if (chain->length == 0) return DRAM_OK;
    TRY(dram_chain_stored(chain, &stored));
    TRY_GOTO(dram_chain_simulate(chain, &stored, &peak, &time), done);
    TRY_GOTO(dram_chain_solve(chain, peak, slots_for(chain->length), &solution), done);
    s.solution = solution;
    TRY_GOTO(dram_chain_floor(chain, &floor), done);
    TRY_GOTO(search_bytes(&s, floor, peak), done);
    if (s.found) {
        *schedule = s.best;
        s.best = (dram_chain_schedule){0};
    }
done:
    dram_chain_schedule_free(&s.best);
    dram_chain_schedule_free(&stored);
    dram_chain_solution_free(solution);
    return status;
}
