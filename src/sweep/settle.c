/* Points settled as a run settles its config, planned side by side, and held against each other. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pool.h"
#include "feed/targets.h"
#include "io/hash.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "session/levers.h"
#include "session/machine.h"
#include "session/search.h"
#include "sweep/plan_file.h"

/* Of the config as it is run: all of it with the plan, and what alone decides over the results' bits. */
typedef struct {
    dram_hash128 all, bits;
    bool there;
} likeness;

typedef struct {
    dram_sweep *sweep;
    likeness *like;      /* [points] */
    dram_status *status; /* [points]: failures that are not the point's own */
    char (*text)[600];   /* [points]: their texts */
    int64_t total[2];    /* bytes of the host and of a GPU; 0: not known */
    bool inputs;
    const volatile sig_atomic_t *stop;
    atomic_int done; /* points */
    double told;     /* when it was said how many, by dram_clock; of worker 0 */
} planning;

static const double TELL_SECONDS = 10;

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a sweep");
}

/* Takes over the thread's error as what is wrong with the point. */
static dram_status is_wrong(dram_sweep_point *p, dram_status status)
{
    if (status != DRAM_ERR_CONFIG && status != DRAM_ERR_FORMAT && status != DRAM_ERR_FIT) return status;
    p->status = status == DRAM_ERR_FIT ? DRAM_POINT_TOO_BIG : DRAM_POINT_WRONG;
    p->text = dram_strdup(dram_error_text());
    dram_error_clear();
    return p->text ? DRAM_OK : no_memory();
}

/* ---- what a run needs ---- */

/* Without labels there is no mIoU, without a teacher no embedding to be near to. */
static dram_status check_quality(const dram_sweep *sweep, const dram_config *cfg)
{
    bool of_task = sweep->quality == DRAM_QUALITY_MIOU || sweep->quality == DRAM_QUALITY_PIXEL_ACCURACY;
    const char *name = dram_quality_name(sweep->quality);
    if (of_task && !cfg->task.enabled)
        return dram_config_fail(cfg, "task.enabled", "the sweep's quality is %s, which needs the task", name);
    if (!of_task && !cfg->sam_distill.enabled)
        return dram_config_fail(cfg, "sam_distill.enabled", "the sweep's quality is %s, which needs the teacher", name);
    return DRAM_OK;
}

static dram_status check_run(const planning *all, const dram_config *cfg)
{
    if (cfg->distributed.ranks > 1 && cfg->memory.budget == DRAM_BYTES_AUTO)
        return dram_config_fail(cfg, "memory.budget", "auto is of one process, and a run has %d: give a number",
                                cfg->distributed.ranks);
    TRY(check_quality(all->sweep, cfg));
    if (!all->inputs) return DRAM_OK;
    if (!cfg->data.val.images)
        return dram_config_fail(cfg, "data.val.images",
                                "the sweep's quality is %s, and there is nothing to evaluate on",
                                dram_quality_name(all->sweep->quality));
    return dram_config_check_inputs(cfg, true);
}

/* ---- bytes ---- */

/* The larger of two plans of the host's and the device's bytes: that of the step, and that of filling a cache. */
static dram_status find_largest(const dram_session *s, int64_t *arena, int64_t *host)
{
    dram_session fill;
    *arena = s->plan->arena_bytes;
    *host = s->plan->host_bytes;
    if (!s->graphs.cached) return DRAM_OK;
    dram_config cfg = dram_targets_fill_config(&s->cfg);
    cfg.memory.budget = s->budget ? s->budget : DRAM_BYTES_NONE;
    TRY(dram_budget_plan(&cfg, DRAM_SET_CACHE_FILL, 0, &fill));
    if (fill.plan->arena_bytes > *arena) *arena = fill.plan->arena_bytes;
    if (fill.plan->host_bytes > *host) *host = fill.plan->host_bytes;
    dram_session_close(&fill);
    return DRAM_OK;
}

/* With the 15 digits that plan.json keeps: what is written of a sweep is the same before and after it is read back. */
static double kept(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.15g", value);
    return strtod(text, NULL);
}

static dram_status take_bytes(const dram_session *s, dram_sweep_point *p)
{
    const dram_profile *profile = &s->plan->profile;
    int64_t arena, host;
    TRY(find_largest(s, &arena, &host));
    p->gpu = profile->gpu;
    p->planned_bytes = s->plan->arena_bytes;
    p->host_bytes = s->plan->host_bytes;
    p->reserve_bytes = dram_headroom_reserve(&s->cfg);
    p->process_bytes =
        p->gpu ? dram_plan_process(s->plan) - s->plan->arena_bytes + arena : arena + host + p->reserve_bytes;
    p->flops = kept((double)dram_session_flops(s) * s->cfg.train.steps);
    p->cores = (p->gpu ? 1 : profile->workers) + s->cfg.data.workers;
    if (!s->pulled.length) return DRAM_OK;
    p->pulled = dram_strdup(s->pulled.text);
    return p->pulled ? DRAM_OK : no_memory();
}

/* Whether it is above its budget, or above all that the machine has. */
static dram_status check_size(const planning *all, const dram_session *s, dram_sweep_point *p)
{
    char need[32], have[32];
    dram_str text = {0}, advice = {0};
    int64_t total = all->total[p->gpu], target = s->budget;
    if (s->budget && p->planned_bytes > s->budget)
        dram_str_add(&text, "the plan needs %s, the budget is %s",
                     dram_format_bytes(p->planned_bytes, need, sizeof need),
                     dram_format_bytes(s->budget, have, sizeof have));
    else if (total && p->process_bytes > total) {
        dram_str_add(&text, "a run takes %s, this %s has %s", dram_format_bytes(p->process_bytes, need, sizeof need),
                     p->gpu ? "GPU" : "machine", dram_format_bytes(total, have, sizeof have));
        target = total - (p->process_bytes - p->planned_bytes);
    } else
        return DRAM_OK;
    p->status = DRAM_POINT_TOO_BIG;
    dram_status status = dram_levers_floor(&s->cfg, s->set, &p->floor_bytes);
    if (status == DRAM_OK) status = dram_levers_advice(s, target > 1 ? target : 1, &advice);
    p->text = text.text;
    p->advice = advice.text;
    return status == DRAM_OK && (text.failed || advice.failed) ? no_memory() : status;
}

/* ---- the config as it is run ---- */

static dram_status hash_used(const dram_config *cfg, bool all, uint64_t plan, dram_hash128 *hash)
{
    dram_str text = {0};
    dram_str_add(&text, "%016llx\n", (unsigned long long)plan);
    dram_status status = dram_config_write_used(cfg, all, &text);
    if (status == DRAM_OK && text.failed) status = no_memory();
    if (status == DRAM_OK) *hash = dram_hash_128(text.text, text.length);
    dram_str_free(&text);
    return status;
}

/* What a budget asks for shows in the plan and in the levers that were pulled; exact levers change no bit. */
static dram_status find_likeness(const dram_session *s, const dram_config *settled, likeness *like)
{
    dram_config cfg = *settled;
    cfg.memory.budget = DRAM_BYTES_NONE;
    cfg.memory.may_change = 0;
    cfg.memory.profile = NULL;
    cfg.memory.checkpoint = DRAM_CHECKPOINT_OPTIMAL;
    TRY(hash_used(&cfg, true, dram_plan_hash(s->plan), &like->all));
    for (int i = 0; i < DRAM_LEVERS; i++)
        if (strcmp(dram_lever_effect(i, &s->cfg), "exact") == 0) dram_lever_release(i, &cfg);
    cfg.optim.fused = DRAM_FUSED_AUTO;
    cfg.cuda.graph = true;
    like->there = true;
    return hash_used(&cfg, false, 0, &like->bits);
}

/* Every key as each run has it: nothing is left to the machine or to a search that another machine might end otherwise. */
static dram_status settle(const planning *all, const dram_session *s, dram_sweep_point *p, likeness *like)
{
    dram_config cfg = s->cfg;
    dram_str yaml = {0};
    bool larger = s->budget > p->planned_bytes && s->budget <= all->total[p->gpu];
    cfg.memory.budget = larger ? s->budget : p->planned_bytes;
    cfg.memory.may_change = 0;
    cfg.threads = s->plan->profile.workers;
    cfg.device = p->gpu ? DRAM_RUN_DEVICE_CUDA : DRAM_RUN_DEVICE_CPU;
    dram_status status = find_likeness(s, &cfg, like);
    if (p->pulled) dram_str_add(&yaml, "# pulled by the planner to fit the budget: %s\n", p->pulled);
    if (status == DRAM_OK) status = dram_config_write_yaml(&cfg, &yaml);
    p->settled = yaml.text;
    return status;
}

static dram_status plan_session(const planning *all, dram_session *s, dram_sweep_point *p, likeness *like)
{
    TRY(take_bytes(s, p));
    TRY(check_size(all, s, p));
    return p->status == DRAM_POINT_PLANNED ? settle(all, s, p, like) : DRAM_OK;
}

static dram_status plan_point(const planning *all, dram_sweep_point *p, likeness *like)
{
    dram_chosen chosen;
    dram_session session;
    dram_status status = check_run(all, p->cfg);
    if (status != DRAM_OK) return is_wrong(p, status);
    status = dram_choose(p->cfg, NULL, NULL, &chosen);
    if (status == DRAM_OK) status = dram_headroom_plan(&chosen.cfg, DRAM_SET_TRAIN, NULL, &session);
    if (status == DRAM_OK) {
        status = plan_session(all, &session, p, like);
        dram_session_close(&session);
    }
    dram_chosen_free(&chosen);
    return is_wrong(p, status);
}

/* Thousands of points take minutes. */
static void tell_progress(planning *all, int worker)
{
    int done = atomic_fetch_add(&all->done, 1) + 1;
    if (worker || dram_clock() - all->told < TELL_SECONDS) return;
    all->told = dram_clock();
    dram_info("%d of %d points are planned", done, all->sweep->n_points);
}

static void run_task(void *context, int64_t task, int worker)
{
    planning *all = context;
    dram_sweep_point *p = &all->sweep->points[task];
    if (p->status != DRAM_POINT_PLANNED) return;
    if (all->stop && *all->stop) {
        all->status[task] = DRAM_INTERRUPTED;
        return;
    }
    dram_log_hush(true);
    all->status[task] = plan_point(all, p, &all->like[task]);
    dram_log_hush(false);
    tell_progress(all, worker);
    if (all->status[task] == DRAM_OK) return;
    snprintf(all->text[task], sizeof all->text[task], "%s", dram_error_text());
    dram_error_clear();
}

/* ---- points with the same results ---- */

typedef struct {
    likeness like;
    int point;
} sortable;

static int compare_hashes(dram_hash128 a, dram_hash128 b)
{
    if (a.high != b.high) return a.high < b.high ? -1 : 1;
    return (a.low > b.low) - (a.low < b.low);
}

/* By bits, then by all, then by point. */
static int compare(const void *a, const void *b)
{
    const sortable *x = a, *y = b;
    int c = compare_hashes(x->like.bits, y->like.bits);
    if (c == 0) c = compare_hashes(x->like.all, y->like.all);
    return c ? c : x->point - y->point;
}

/* Of those with the same results the one of the fewest FLOPs is trained, the first of equals. */
static void mark_group(dram_sweep_point *points, const sortable *group, int n)
{
    int best = group[0].point;
    for (int i = 1; i < n; i++) {
        const dram_sweep_point *p = &points[group[i].point], *b = &points[best];
        if (p->flops < b->flops || (p->flops == b->flops && p->index < b->index)) best = group[i].point;
    }
    for (int i = 0; i < n; i++) {
        dram_sweep_point *p = &points[group[i].point];
        if (i && compare_hashes(group[i - 1].like.all, group[i].like.all) == 0) {
            const dram_sweep_point *before = &points[group[i - 1].point];
            p->equal_to = before->equal_to ? before->equal_to : before->index;
        } else if (group[i].point != best) {
            p->timed_with = points[best].index;
        }
    }
}

static dram_status find_equals(const planning *all)
{
    int n = 0, first = 0;
    sortable *sorted = dram_calloc((size_t)all->sweep->n_points, sizeof *sorted);
    if (!sorted) return no_memory();
    for (int i = 0; i < all->sweep->n_points; i++)
        if (all->like[i].there) sorted[n++] = (sortable){.like = all->like[i], .point = i};
    qsort(sorted, (size_t)n, sizeof *sorted, compare);
    for (int i = 1; i <= n; i++) {
        if (i < n && compare_hashes(sorted[i].like.bits, sorted[first].like.bits) == 0) continue;
        mark_group(all->sweep->points, &sorted[first], i - first);
        first = i;
    }
    dram_free(sorted);
    return DRAM_OK;
}

/* ---- all of them ---- */

/* What the machine has. A GPU that is not here is no reason against a plan. It is asked before threads are: the answer
 * whether there is a GPU is kept by the one who asks first. */
static void find_totals(planning *all)
{
    for (int i = 0; i < all->sweep->n_points; i++) {
        const dram_config *cfg = all->sweep->points[i].cfg;
        dram_machine_memory memory;
        dram_profile profile = {0};
        if (!cfg) continue;
        bool gpu = dram_machine_gpu(cfg, NULL, 0);
        if (all->total[gpu]) continue;
        profile.gpu = gpu;
        if (dram_machine_read_memory(&profile, &memory) == DRAM_OK)
            all->total[gpu] = memory.device_total;
        else
            dram_error_clear();
    }
}

static dram_status first_failure(const planning *all)
{
    for (int i = 0; i < all->sweep->n_points; i++) {
        if (all->status[i] == DRAM_INTERRUPTED)
            return dram_fail(DRAM_INTERRUPTED, "interrupted before a run was begun");
        if (all->status[i] != DRAM_OK)
            return dram_fail(all->status[i], "point %d: %s", all->sweep->points[i].index, all->text[i]);
    }
    return DRAM_OK;
}

dram_status dram_sweep_plan(dram_sweep *sweep, int threads, bool inputs, const volatile sig_atomic_t *stop)
{
    size_t n = (size_t)sweep->n_points;
    planning all = {.sweep = sweep, .inputs = inputs, .stop = stop, .told = dram_clock()};
    dram_pool *pool = NULL;
    dram_status status = DRAM_OK;
    all.like = dram_calloc(n, sizeof *all.like);
    all.status = dram_calloc(n, sizeof *all.status);
    all.text = dram_calloc(n, sizeof *all.text);
    if (!all.like || !all.status || !all.text) status = no_memory();
    if (status == DRAM_OK) find_totals(&all);
    if (status == DRAM_OK) status = dram_pool_open(threads < sweep->n_points ? threads : sweep->n_points, &pool);
    if (status == DRAM_OK) {
        dram_pool_run(pool, sweep->n_points, run_task, &all);
        dram_pool_close(pool);
        status = first_failure(&all);
    }
    if (status == DRAM_OK) {
        status = find_equals(&all);
        if (status == DRAM_OK) status = dram_sweep_list_runs(sweep);
    }
    for (int i = 0; i < sweep->n_points; i++) {
        dram_config_free(sweep->points[i].cfg);
        sweep->points[i].cfg = NULL;
    }
    dram_free(all.like);
    dram_free(all.status);
    dram_free(all.text);
    return status;
}
