#include "session/build.h"

#include "base/alloc.h"
#include "passes/passes.h"
#include "session/machine.h"
#include "session/schedule.h"
#include "session/times.h"

/* Brings a schedule that was made for another chain to this one. An option that is not there becomes the plain one.
 * Where the blocks differ in number, the schedule stays empty. */
static dram_status borrow(const dram_recompute *r, const dram_chain_schedule *from, dram_chain_schedule *to)
{
    const dram_chain *chain = dram_recompute_chain(r);
    int longest = 0;
    for (int i = 0; i < from->n; i++)
        if (from->op[i].stage > longest && from->op[i].kind != DRAM_CHAIN_LOSS) longest = from->op[i].stage;
    if (longest != chain->length) return DRAM_OK;
    for (int i = 0; i < from->n; i++) {
        dram_chain_op op = from->op[i];
        if (op.kind == DRAM_CHAIN_SAVE && op.option >= chain->stage[op.stage].n_options)
            op.option = dram_recompute_plain_option(r);
        TRY(dram_chain_add(to, op.kind, op.stage, op.option));
    }
    return DRAM_OK;
}

/* The fixed schedules choose no options: a block that is saved keeps what is kept without recompute too. */
static void plain_options(const dram_recompute *r, dram_chain_schedule *schedule)
{
    for (int i = 0; i < schedule->n; i++)
        if (schedule->op[i].kind == DRAM_CHAIN_SAVE) schedule->op[i].option = dram_recompute_plain_option(r);
}

/* The session's schedule for a step, or for its other step where it has none of this kind. */
static const dram_chain_schedule *schedule_of(const dram_session *s, dram_program_kind kind)
{
    dram_program_kind other = kind == DRAM_PROGRAM_DISTIL_STEP ? DRAM_PROGRAM_PLAIN_STEP : DRAM_PROGRAM_DISTIL_STEP;
    return s->graphs.io[kind].graph ? &s->schedule[kind] : &s->schedule[other];
}

static int64_t device_slots(const dram_slots *slots, const dram_profile *profile)
{
    int64_t bytes = 0;
    for (int i = 0; i < slots->n; i++)
        if (slots->at[i]->space == DRAM_SPACE_DEVICE) bytes += dram_slot_bytes(slots->at[i], profile);
    return bytes;
}

/* What a pass asks while it runs on a program of the session. */
typedef struct {
    dram_session *s;
    const dram_profile *profile;
    const dram_plan_request *request;
    dram_program_kind kind;
} asked;

static dram_status choose_schedule(void *context, dram_recompute *r, dram_chain_schedule *schedule)
{
    const asked *a = context;
    const dram_plan_request *request = a->request;
    const dram_chain *chain = dram_recompute_chain(r);
    int64_t live, flops, slots_bytes = device_slots(&a->s->graphs.slots, a->profile);
    *schedule = (dram_chain_schedule){0};
    if (chain->length == 0) return DRAM_OK;
    if (request->like) return borrow(r, schedule_of(request->like, a->kind), schedule);
    switch (a->s->cfg.memory.checkpoint) {
    case DRAM_CHECKPOINT_NONE:
        return DRAM_OK;
    case DRAM_CHECKPOINT_BLOCKS:
        TRY(dram_chain_blocks(chain, schedule));
        plain_options(r, schedule);
        return DRAM_OK;
    case DRAM_CHECKPOINT_SQRT:
        TRY(dram_chain_sqrt(chain, schedule));
        plain_options(r, schedule);
        return DRAM_OK;
    case DRAM_CHECKPOINT_OPTIMAL:
        break;
    }
    if (!request->target && !request->least) return DRAM_OK;
    TRY(dram_recompute_measure(r, NULL, &live, &flops));
    if (!request->least && live + slots_bytes <= request->target) return DRAM_OK;
    return dram_recompute_search(r, request->least ? 0 : request->target - slots_bytes, schedule);
}

/* By the file that memory.profile names; none without one. */
static dram_status read_seconds(void *context, const dram_graph *g, double **seconds)
{
    const asked *a = context;
    dram_times *times;
    dram_status status;
    TRY(dram_machine_times(&a->s->cfg, a->profile, &times));
    if (!times) return DRAM_OK;
    *seconds = dram_alloc(((size_t)g->n_nodes + 1) * sizeof **seconds);
    status =
        *seconds ? dram_times_of(times, g, *seconds) : dram_fail(DRAM_ERR_MEMORY, "no memory for the times of nodes");
    dram_times_close(times);
    return status;
}

static dram_status run_passes(dram_session *s, const dram_profile *profile, const dram_plan_request *request,
                              dram_program_kind kind)
{
    const dram_config *cfg = &s->cfg;
    asked context = {.s = s, .profile = profile, .request = request, .kind = kind};
    if (!s->graphs.io[kind].graph->backward_begin)
        return dram_passes_update(s->graphs.io[kind].graph, cfg->distributed.bucket);
    const dram_passes passes = {.bucket = cfg->distributed.bucket,
                                .fuse = s->graphs.fused || cfg->train.accumulate > 1 ||
                                        s->graphs.shard == DRAM_OPTIM_SHARD_GRADIENTS,
                                .recompute = {.norms = cfg->memory.recompute_norms,
                                              .more = cfg->memory.checkpoint == DRAM_CHECKPOINT_OPTIMAL,
                                              .in_place = cfg->memory.in_place},
                                .seconds = read_seconds,
                                .schedule = choose_schedule,
                                .context = &context};
    return dram_passes_run(&passes, s->graphs.io[kind].graph, profile, &s->schedule[kind], &s->recomputed_flops[kind]);
}

static dram_status build_once(const dram_config *cfg, const dram_plan_request *request, dram_session *s)
{
    const dram_graph *graphs[DRAM_PROGRAM_COUNT];
    dram_status status;
    int n = 0;
    *s = (dram_session){.cfg = *cfg, .set = request->set};
    dram_profile profile;
    TRY(dram_machine_profile(cfg, &profile));
    TRY(dram_graph_set_build(&s->cfg, request->set, &s->graphs));
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        if (!s->graphs.io[k].graph) continue;
        graphs[n++] = s->graphs.io[k].graph;
        bool update = k == DRAM_PROGRAM_UPDATE || k == DRAM_PROGRAM_PLAIN_UPDATE;
        if (s->graphs.io[k].graph->backward_begin || (update && s->graphs.ranks > 1))
            TRY_GOTO(run_passes(s, &profile, request, (dram_program_kind)k), failed);
    }
    const dram_plan_options options = {.eager_free = cfg->memory.eager_free,
                                       .in_place = cfg->memory.in_place,
                                       .share_teacher = cfg->memory.share_teacher};
    TRY_GOTO(dram_plan_make(graphs, n, &s->graphs.slots, &profile, options, &s->plan), failed);
    return DRAM_OK;
failed:
    dram_session_close(s);
    return status;
}

dram_status dram_session_build(const dram_config *cfg, dram_plan_request request, dram_session *s)
{
    enum { TRIES = 6 };
    int64_t target = request.target;
    for (int i = 0;; i++) {
        TRY(build_once(cfg, &request, s));
        /* Placement may lose a little between buffers: ask for as much less and try again. */
        int64_t over = s->plan->arena_bytes - target, lost = s->plan->arena_bytes - s->plan->max_live_bytes;
        if (!target || over <= 0 || over > lost || i == TRIES || request.like) return DRAM_OK;
        request.target -= over + target / 1024 * i; /* the next schedule may lose as much again */
        dram_session_close(s);
    }
}

/* Of what each program takes, what an update takes in the mean over an interval: a step for each micro-batch. */
static double per_update(const dram_session *s, const double of[DRAM_PROGRAM_COUNT], double *step)
{
    double share = s->graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph ? dram_teacher_share(&s->cfg) : 0.0;
    *step = share * of[DRAM_PROGRAM_DISTIL_STEP] + (1.0 - share) * of[DRAM_PROGRAM_PLAIN_STEP];
    return *step * s->cfg.train.accumulate + of[DRAM_PROGRAM_UPDATE];
}

int64_t dram_session_flops(const dram_session *s)
{
    double flops[DRAM_PROGRAM_COUNT] = {0}, step;
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (s->graphs.io[k].graph) flops[k] = (double)s->plan->programs[s->graphs.io[k].index].flops;
    per_update(s, flops, &step);
    return (int64_t)step * s->cfg.train.accumulate + (int64_t)flops[DRAM_PROGRAM_UPDATE];
}

void dram_session_traffic(const dram_session *s, dram_traffic *traffic)
{
    dram_traffic of[DRAM_PROGRAM_COUNT] = {0};
    double bytes[DRAM_PROGRAM_COUNT], calls[DRAM_PROGRAM_COUNT], step;
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (s->graphs.io[k].graph) dram_program_traffic(&s->plan->programs[s->graphs.io[k].index], &of[k]);
    for (int op = 0; op < DRAM_OP_COUNT; op++) {
        for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
            bytes[k] = of[k].bytes[op];
            calls[k] = of[k].calls[op];
        }
        traffic->bytes[op] = per_update(s, bytes, &step);
        traffic->calls[op] = per_update(s, calls, &step);
    }
}

void dram_session_estimate(const dram_session *s, const dram_card *card, dram_estimate *estimate)
{
    *estimate = (dram_estimate){0};
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        double one[DRAM_PROGRAM_COUNT] = {0}, step;
        one[k] = 1;
        double runs = per_update(s, one, &step);
        if (s->graphs.io[k].graph && runs > 0) dram_estimate_add(estimate, s->plan, s->graphs.io[k].index, runs, card);
    }
}

bool dram_session_joins(const dram_session *s, dram_program_kind kind)
{
    return dram_program_joins(&s->plan->programs[s->graphs.io[kind].index]);
}

dram_status dram_session_time(const dram_session *s, dram_update_time *time)
{
    double seconds[DRAM_PROGRAM_COUNT] = {0}, flops[DRAM_PROGRAM_COUNT] = {0}, step;
    dram_times *times;
    *time = (dram_update_time){0};
    TRY(dram_machine_times(&s->cfg, &s->plan->profile, &times));
    if (!times) return DRAM_OK;
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (s->graphs.io[k].graph) dram_times_known(times, s->graphs.io[k].graph, &seconds[k], &flops[k]);
    dram_times_close(times);
    double known = per_update(s, flops, &step), all = (double)dram_session_flops(s);
    if (!(known > 0) || !(all > 0)) return DRAM_OK;
    time->timed = known < all ? known / all : 1.0;
    time->seconds = per_update(s, seconds, &step) / time->timed;
    return DRAM_OK;
}
