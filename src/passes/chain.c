#include "passes/chain.h"

#include <math.h>

#include "base/alloc.h"

void dram_chain_schedule_free(dram_chain_schedule *schedule)
{
    dram_free(schedule->op);
    *schedule = (dram_chain_schedule){0};
}

dram_status dram_chain_add(dram_chain_schedule *schedule, dram_chain_kind kind, int stage, int option)
{
    if (!DRAM_GROW(schedule->op, schedule->room, schedule->n + 1))
        return dram_fail(DRAM_ERR_MEMORY, "out of memory for a recompute schedule");
    schedule->op[schedule->n++] = (dram_chain_op){kind, stage, option};
    return DRAM_OK;
}

static bool is_size(int64_t bytes)
{
    return bytes >= 0 && bytes <= DRAM_CHAIN_MAX_BYTES;
}

static bool is_time(double time)
{
    return time >= 0 && isfinite(time);
}

static dram_status bad(int stage, const char *what)
{
    return dram_fail(DRAM_ERR_INTERNAL, "recompute chain, stage %d: %s", stage, what);
}

static dram_status check_option(const dram_chain_stage *stage, int s, const dram_chain_option *o)
{
    if (!is_size(o->kept) || !is_size(o->forward_peak) || !is_size(o->backward_peak))
        return bad(s, "a size of an option is negative or beyond 2^50");
    if (!is_time(o->forward) || !is_time(o->backward)) return bad(s, "a time of an option is negative or not finite");
    if (o->kept < stage->x) return bad(s, "an option keeps less than its output");
    if (o->forward_peak < o->kept) return bad(s, "an option's forward peak is less than it keeps");
    if (o->backward_peak < o->kept + stage->d)
        return bad(s, "an option's backward peak is less than it keeps and the gradient");
    return DRAM_OK;
}

dram_status dram_chain_check(const dram_chain *chain)
{
    if (chain->length < 0 || chain->length > DRAM_CHAIN_MAX_LENGTH)
        return dram_fail(DRAM_ERR_INTERNAL, "a recompute chain of %d stages: 0 to %d are possible", chain->length,
                         DRAM_CHAIN_MAX_LENGTH);
    if (!is_size(chain->input) || !is_size(chain->loss_peak))
        return dram_fail(DRAM_ERR_INTERNAL, "recompute chain: its input or loss is negative or beyond 2^50 bytes");
    for (int s = 1; s <= chain->length; s++) {
        const dram_chain_stage *stage = &chain->stage[s];
        if (!is_size(stage->x) || !is_size(stage->d) || !is_size(stage->held) || !is_size(stage->plain_peak))
            return bad(s, "a size is negative or beyond 2^50");
        if (!is_time(stage->forward)) return bad(s, "the forward time is negative or not finite");
        if (stage->plain_peak < stage->x) return bad(s, "the plain forward's peak is less than its output");
        if (stage->pinned && stage->x) return bad(s, "a pinned output has bytes");
        if (stage->n_options < 1 || stage->n_options > DRAM_CHAIN_OPTIONS) return bad(s, "number of options");
        for (int k = 0; k < stage->n_options; k++) TRY(check_option(stage, s, &stage->option[k]));
    }
    return DRAM_OK;
}

/* SAVE of all stages first..last. */
static dram_status save_all(dram_chain_schedule *schedule, int first, int last)
{
    for (int s = first; s <= last; s++) TRY(dram_chain_add(schedule, DRAM_CHAIN_SAVE, s, 0));
    return DRAM_OK;
}

static dram_status backward_all(dram_chain_schedule *schedule, int first, int last)
{
    for (int s = last; s >= first; s--) TRY(dram_chain_add(schedule, DRAM_CHAIN_BACKWARD, s, 0));
    return DRAM_OK;
}

/* The chain cut into `segments` of nearly equal length: each keeps its input and is made again when the backward comes
 * to it; the last one is saved at once, since nothing comes between. */
static dram_status segmented(const dram_chain *chain, int segments, dram_chain_schedule *schedule)
{
    dram_status status = DRAM_OK;
    int length = chain->length;
    *schedule = (dram_chain_schedule){0};
    int last =
        segments ? (int)((int64_t)length * (segments - 1) / segments) + 1 : 1; /* first stage of the last segment */
    for (int i = 0; i < segments - 1; i++) {
        int first = (int)((int64_t)length * i / segments) + 1, end = (int)((int64_t)length * (i + 1) / segments);
        for (int s = first; s <= end; s++)
            TRY_GOTO(dram_chain_add(schedule, s == first ? DRAM_CHAIN_KEEP : DRAM_CHAIN_EMPTY, s, 0), failed);
    }
    TRY_GOTO(save_all(schedule, last, length), failed);
    TRY_GOTO(dram_chain_add(schedule, DRAM_CHAIN_LOSS, 0, 0), failed);
    TRY_GOTO(backward_all(schedule, last, length), failed);
    for (int i = segments - 2; i >= 0; i--) {
        int first = (int)((int64_t)length * i / segments) + 1, end = (int)((int64_t)length * (i + 1) / segments);
        TRY_GOTO(save_all(schedule, first, end), failed);
        TRY_GOTO(backward_all(schedule, first, end), failed);
    }
    return DRAM_OK;
failed:
    dram_chain_schedule_free(schedule);
    return status;
}

dram_status dram_chain_stored(const dram_chain *chain, dram_chain_schedule *schedule)
{
    return segmented(chain, chain->length > 0 ? 1 : 0, schedule);
}

dram_status dram_chain_blocks(const dram_chain *chain, dram_chain_schedule *schedule)
{
    return segmented(chain, chain->length, schedule);
}

dram_status dram_chain_sqrt(const dram_chain *chain, dram_chain_schedule *schedule)
{
    return segmented(chain, (int)lround(sqrt(chain->length)), schedule);
}

/* What is in memory while a schedule runs. */
typedef struct {
    const dram_chain *chain;
    bool *alone;  /* x[s] is stored by itself (a pinned one: was made) */
    int *saved;   /* option + 1 under which s is saved; 0: it is not */
    int gradient; /* d[gradient] is there; length + 1 before the loss */
    int64_t live, peak;
    double time;
} machine;

static int64_t output_bytes(const machine *m, int s)
{
    return s == 0 ? m->chain->input : m->chain->stage[s].x;
}

static bool is_present(const machine *m, int s)
{
    return m->alone[s] || m->saved[s];
}

static void forget(machine *m, int s)
{
    if (!m->alone[s] || (s > 0 && m->chain->stage[s].pinned)) return;
    m->alone[s] = false;
    m->live -= output_bytes(m, s);
}

static void reach(machine *m, int64_t bytes)
{
    if (bytes > m->peak) m->peak = bytes;
}

static const char *run_forward(machine *m, const dram_chain_op *op)
{
    const dram_chain_stage *stage = &m->chain->stage[op->stage];
    int s = op->stage;
    if (!is_present(m, s - 1)) return "its input is not there";
    if (m->saved[s] || (m->alone[s] && !stage->pinned)) return "its output is still there";
    if (op->kind == DRAM_CHAIN_SAVE) {
        const dram_chain_option *o = &stage->option[op->option];
        reach(m, m->live + o->forward_peak);
        m->time += o->forward;
        m->saved[s] = op->option + 1;
        m->live += o->kept;
        if (stage->pinned) m->alone[s] = true;
        return NULL;
    }
    reach(m, m->live + stage->plain_peak);
    m->time += stage->forward;
    m->alone[s] = true;
    m->live += stage->x;
    if (op->kind == DRAM_CHAIN_EMPTY) forget(m, s - 1);
    return NULL;
}

static const char *run_backward(machine *m, const dram_chain_op *op)
{
    const dram_chain_stage *stage = &m->chain->stage[op->stage];
    const dram_chain_option *o = &stage->option[op->option];
    int s = op->stage;
    if (!is_present(m, s - 1)) return "its input is not there";
    if (m->saved[s] != op->option + 1) return "it was not saved under this option";
    if (m->gradient != s) return "its gradient is not there";
    reach(m, m->live - o->kept - stage->d + o->backward_peak);
    m->time += o->backward;
    m->saved[s] = 0;
    m->gradient = s - 1;
    m->live -= o->kept + stage->d + stage->held;
    if (s > 1) m->live += m->chain->stage[s - 1].d + m->chain->stage[s - 1].held;
    forget(m, s - 1);
    return NULL;
}

static const char *run_loss(machine *m)
{
    int last = m->chain->length;
    if (!is_present(m, last)) return "its input is not there";
    if (m->gradient != last + 1) return "it was there before";
    reach(m, m->live + m->chain->loss_peak);
    m->gradient = last;
    if (last > 0) m->live += m->chain->stage[last].d + m->chain->stage[last].held;
    forget(m, last);
    return NULL;
}

static const char *run_op(machine *m, const dram_chain_op *op)
{
    if (op->kind == DRAM_CHAIN_LOSS) return run_loss(m);
    if (op->kind < DRAM_CHAIN_EMPTY || op->kind > DRAM_CHAIN_BACKWARD) return "there is no such operation";
    if (op->stage < 1 || op->stage > m->chain->length) return "there is no such stage";
    if (op->kind != DRAM_CHAIN_BACKWARD && op->kind != DRAM_CHAIN_SAVE) return run_forward(m, op);
    if (op->option < 0 || op->option >= m->chain->stage[op->stage].n_options) return "there is no such option";
    return op->kind == DRAM_CHAIN_SAVE ? run_forward(m, op) : run_backward(m, op);
}

dram_status dram_chain_simulate(const dram_chain *chain, const dram_chain_schedule *schedule, int64_t *peak,
                                double *time)
{
    dram_status status = DRAM_OK;
    TRY(dram_chain_check(chain));
    size_t n = (size_t)chain->length + 1;
    machine m = {.chain = chain, .gradient = chain->length + 1, .live = chain->input, .peak = chain->input};
    m.alone = dram_calloc(n, sizeof *m.alone);
    m.saved = dram_calloc(n, sizeof *m.saved);
    if (!m.alone || !m.saved) {
        status = dram_fail(DRAM_ERR_MEMORY, "out of memory for a chain of %d stages", chain->length);
        goto done;
    }
    m.alone[0] = true;
    for (int i = 0; i < schedule->n; i++) {
        const dram_chain_op *op = &schedule->op[i];
        const char *why = run_op(&m, op);
        if (why) {
            status = dram_fail(DRAM_ERR_INTERNAL, "recompute schedule, operation %d (kind %d, stage %d): %s", i,
                               (int)op->kind, op->stage, why);
            goto done;
        }
        reach(&m, m.live);
    }
    if (m.gradient != 0) {
        status = dram_fail(DRAM_ERR_INTERNAL, "recompute schedule: it ends at the gradient of stage %d", m.gradient);
        goto done;
    }
    *peak = m.peak;
    *time = m.time;
done:
    dram_free(m.alone);
    dram_free(m.saved);
    return status;
}
