#include "session/levers.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "model/family.h"
#include "session/fit.h"
#include "session/machine.h"
#include "session/update.h"

/* A lever's row: where it stands in a config, and the config with it the other way round. */
typedef struct {
    const char *name;
    const char *key; /* what a user sets */
    /* "exact", "rounding" or "quality" */
    const char *(*effect)(const dram_config *cfg);
    /* Whether it is pulled; its setting for a person. False: it means nothing here. */
    bool (*state)(const dram_config *cfg, bool *pulled, char *setting, int size);
    /* Pulls it one step further, or lets it go. False: there is no step. */
    bool (*pull)(dram_config *cfg);
    void (*release)(dram_config *cfg);
    int may_change; /* the dram_may_change that allows the planner to pull it, or one of: */
} lever;

enum {
    AS_SET = -1,   /* stays as the config has it */
    BY_ITSELF = -2 /* the planner pulls it without leave */
};

static const char *exact(const dram_config *cfg)
{
    (void)cfg;
    return "exact";
}

static const char *rounding(const dram_config *cfg)
{
    (void)cfg;
    return "rounding";
}

static const char *quality(const dram_config *cfg)
{
    (void)cfg;
    return "quality";
}

/* Whether the teacher is in the step. With a cache the step has its embeddings alone, as the cache was made. */
static bool has_teacher(const dram_config *cfg)
{
    return cfg->sam_distill.enabled && !cfg->sam_distill.cache;
}

static bool on_off(bool on, bool *pulled, char *setting, int size)
{
    *pulled = on;
    snprintf(setting, (size_t)size, "%s", on ? "on" : "off");
    return true;
}

/* ---- exact ---- */

#define SWITCH(NAME, FIELD, WHEN)                                                                                      \
    static bool NAME##_state(const dram_config *cfg, bool *pulled, char *setting, int size)                            \
    {                                                                                                                  \
        return (WHEN) && on_off(cfg->FIELD, pulled, setting, size);                                                    \
    }                                                                                                                  \
    static bool NAME##_pull(dram_config *cfg)                                                                          \
    {                                                                                                                  \
        bool was = cfg->FIELD;                                                                                         \
        cfg->FIELD = true;                                                                                             \
        return !was;                                                                                                   \
    }                                                                                                                  \
    static void NAME##_release(dram_config *cfg)                                                                       \
    {                                                                                                                  \
        cfg->FIELD = false;                                                                                            \
    }

SWITCH(in_place, memory.in_place, true)
SWITCH(eager, memory.eager_free, true)
SWITCH(sharing, memory.share_teacher, has_teacher(cfg))
SWITCH(norms, memory.recompute_norms, true)

static bool fused_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    return dram_update_may_fuse(cfg) && on_off(cfg->optim.fused != DRAM_FUSED_OFF, pulled, setting, size);
}

static bool fused_pull(dram_config *cfg)
{
    bool was = cfg->optim.fused != DRAM_FUSED_OFF;
    cfg->optim.fused = DRAM_FUSED_AUTO;
    return !was && dram_update_may_fuse(cfg);
}

static void fused_release(dram_config *cfg)
{
    cfg->optim.fused = DRAM_FUSED_OFF;
}

static bool placement_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    *pulled = cfg->sam_distill.teacher.placement != DRAM_PLACEMENT_DEVICE;
    snprintf(setting, (size_t)size, "%s", dram_teacher_placement_word(cfg->sam_distill.teacher.placement));
    return has_teacher(cfg);
}

/* Beside a GPU the CPU's kernels sum in another order. */
static const char *placement_effect(const dram_config *cfg)
{
    bool apart = cfg->sam_distill.teacher.placement == DRAM_PLACEMENT_HOST && dram_machine_gpu(cfg, NULL, 0);
    return apart ? "rounding" : "exact";
}

static bool placement_pull(dram_config *cfg)
{
    if (!has_teacher(cfg) || cfg->sam_distill.teacher.placement != DRAM_PLACEMENT_DEVICE) return false;
    cfg->sam_distill.teacher.placement = DRAM_PLACEMENT_STREAM;
    return true;
}

static void placement_release(dram_config *cfg)
{
    cfg->sam_distill.teacher.placement = DRAM_PLACEMENT_DEVICE;
}

/* ---- rounding and quality ---- */

static int micro_batch(const dram_config *cfg)
{
    return cfg->train.batch_size / cfg->train.accumulate;
}

static bool group_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    int group = cfg->sam_distill.teacher.group, batch = micro_batch(cfg);
    *pulled = group > 0 && group < batch;
    if (*pulled)
        snprintf(setting, (size_t)size, "%d", group);
    else
        snprintf(setting, (size_t)size, "all");
    return has_teacher(cfg) && batch > 1;
}

/* The smallest groups that cut the batch into no more than MOST: a graph grows with their number. */
static bool group_pull(dram_config *cfg)
{
    enum { MOST = 32 };
    int batch = micro_batch(cfg), present = cfg->sam_distill.teacher.group, group = 1;
    while (batch % group || batch / group > MOST) group++;
    if (!has_teacher(cfg) || group >= (present > 0 && present < batch ? present : batch)) return false;
    cfg->sam_distill.teacher.group = group;
    return true;
}

static void group_release(dram_config *cfg)
{
    cfg->sam_distill.teacher.group = 0;
}

/* Statistics of a micro-batch are not those of the batch: a RegNet has batch norm, a ViT student has none; and losses
 * may be standardised by them. */
static const char *accumulate_effect(const dram_config *cfg)
{
    const dram_arch *student = dram_arch_find(cfg->student.arch);
    bool norm_free = student && !student->family->batch_norm;
    bool standardized = (cfg->sam_distill.enabled && cfg->sam_distill.loss.standardize) ||
                        (cfg->resolution_distill.enabled && cfg->resolution_distill.standardize);
    return norm_free && !standardized ? "rounding" : "quality";
}

static bool accumulate_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    *pulled = cfg->train.accumulate > 1;
    snprintf(setting, (size_t)size, "%d", cfg->train.accumulate);
    return cfg->train.batch_size > 1;
}

static bool accumulate_pull(dram_config *cfg)
{
    int batch = cfg->train.batch_size, next = cfg->train.accumulate + 1;
    while (next <= batch && batch % next) next++;
    if (next > batch) return false;
    cfg->train.accumulate = next;
    if (cfg->sam_distill.teacher.group > batch / next) cfg->sam_distill.teacher.group = 0;
    if (cfg->sam_distill.teacher.group && batch / next % cfg->sam_distill.teacher.group)
        cfg->sam_distill.teacher.group = 1;
    return true;
}

static void accumulate_release(dram_config *cfg)
{
    cfg->train.accumulate = 1;
}

static bool precision_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    *pulled = cfg->train.precision != DRAM_PRECISION_FP32;
    snprintf(setting, (size_t)size, "%s", dram_precision_word(cfg->train.precision));
    return true;
}

static bool precision_pull(dram_config *cfg)
{
    bool was = cfg->train.precision != DRAM_PRECISION_FP32 &&
               (!has_teacher(cfg) || cfg->sam_distill.teacher.precision != DRAM_PRECISION_FP32);
    if (cfg->train.precision == DRAM_PRECISION_FP32) cfg->train.precision = DRAM_PRECISION_BF16;
    if (has_teacher(cfg) && cfg->sam_distill.teacher.precision == DRAM_PRECISION_FP32)
        cfg->sam_distill.teacher.precision = DRAM_PRECISION_BF16;
    return !was;
}

static void precision_release(dram_config *cfg)
{
    cfg->train.precision = DRAM_PRECISION_FP32;
    if (has_teacher(cfg)) cfg->sam_distill.teacher.precision = DRAM_PRECISION_FP32;
}

static bool state_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    *pulled = cfg->optim.state == DRAM_OPTIM_STATE_INT8;
    snprintf(setting, (size_t)size, "%s", dram_optim_state_word(cfg->optim.state));
    return cfg->optim.type == DRAM_OPTIM_ADAMW;
}

static bool state_pull(dram_config *cfg)
{
    bool was = cfg->optim.state == DRAM_OPTIM_STATE_INT8;
    if (was || cfg->optim.type != DRAM_OPTIM_ADAMW) return false;
    cfg->optim.state = DRAM_OPTIM_STATE_INT8;
    return true;
}

static void state_release(dram_config *cfg)
{
    cfg->optim.state = DRAM_OPTIM_STATE_FP32;
}

static bool scale_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    double scale = cfg->resolution_distill.sr_target_scale;
    *pulled = scale * cfg->resolution_distill.low_scale < 1.0 - 1e-9;
    snprintf(setting, (size_t)size, "%g", scale);
    return cfg->resolution_distill.enabled;
}

static bool scale_pull(dram_config *cfg)
{
    double *scale = &cfg->resolution_distill.sr_target_scale, next = *scale > 1.5 ? 1.5 : 1.0;
    if (!cfg->resolution_distill.enabled || *scale <= 1.0) return false;
    *scale = next;
    return true;
}

static void scale_release(dram_config *cfg)
{
    cfg->resolution_distill.sr_target_scale = 1.0 / cfg->resolution_distill.low_scale;
}

enum { HALF_SIDE = 512 };

static bool side_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    *pulled = cfg->sam_distill.sam_input_size < DRAM_FULL_SIZE;
    snprintf(setting, (size_t)size, "%d", cfg->sam_distill.sam_input_size);
    return has_teacher(cfg);
}

static bool side_pull(dram_config *cfg)
{
    if (!has_teacher(cfg) || cfg->sam_distill.sam_input_size <= HALF_SIDE) return false;
    cfg->sam_distill.sam_input_size = cfg->sam_distill.sam_input_size > 768 ? 768 : HALF_SIDE;
    return true;
}

static void side_release(dram_config *cfg)
{
    cfg->sam_distill.sam_input_size = DRAM_FULL_SIZE;
}

/* The three teachers of SAM, the largest first. */
static char *const teachers[] = {"vit_h", "vit_l", "vit_b"};

static int teacher_rank(const dram_config *cfg)
{
    for (int i = 0; has_teacher(cfg) && i < 3; i++)
        if (strcmp(cfg->sam_distill.teacher.model_type, teachers[i]) == 0) return i;
    return -1;
}

static bool model_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    int rank = teacher_rank(cfg);
    *pulled = rank > 0;
    snprintf(setting, (size_t)size, "%s", cfg->sam_distill.teacher.model_type);
    return rank >= 0;
}

static bool model_pull(dram_config *cfg)
{
    int rank = teacher_rank(cfg);
    if (rank < 0 || rank == 2) return false;
    cfg->sam_distill.teacher.model_type = teachers[rank + 1];
    return true;
}

static void model_release(dram_config *cfg)
{
    cfg->sam_distill.teacher.model_type = teachers[0];
}

static bool interval_state(const dram_config *cfg, bool *pulled, char *setting, int size)
{
    const dram_steps *interval = &cfg->sam_distill.distill_interval;
    *pulled = dram_steps_most(interval) > 1;
    snprintf(setting, (size_t)size, "%s%d", interval->n > 1 ? "up to " : "", dram_steps_most(interval));
    return has_teacher(cfg) && (cfg->task.enabled || cfg->resolution_distill.enabled);
}

static bool interval_pull(dram_config *cfg)
{
    if (!has_teacher(cfg) || dram_steps_most(&cfg->sam_distill.distill_interval) > 1) return false;
    if (!cfg->task.enabled && !cfg->resolution_distill.enabled) return false;
    cfg->sam_distill.distill_interval = dram_steps_always(2);
    return true;
}

static void interval_release(dram_config *cfg)
{
    cfg->sam_distill.distill_interval = dram_steps_always(1);
}

/* In the order in which the planner pulls those it may: what changes results least comes first. Recompute is not among
 * them: the fit does it (session/fit.h). */
static const lever all_levers[] = {
    {"in_place", "memory.in_place", exact, in_place_state, in_place_pull, in_place_release, AS_SET},
    {"eager_free", "memory.eager_free", exact, eager_state, eager_pull, eager_release, AS_SET},
    {"teacher_sharing", "memory.share_teacher", exact, sharing_state, sharing_pull, sharing_release, AS_SET},
    {"fused_update", "optim.fused", exact, fused_state, fused_pull, fused_release, AS_SET},
    {"recompute_norms", "memory.recompute_norms", exact, norms_state, norms_pull, norms_release, AS_SET},
    {"teacher_placement", "sam_distill.teacher.placement", placement_effect, placement_state, placement_pull,
     placement_release, BY_ITSELF},
    {"teacher_group", "sam_distill.teacher.group", rounding, group_state, group_pull, group_release,
     DRAM_MAY_CHANGE_TEACHER_GROUP},
    {"optim_state", "optim.state", quality, state_state, state_pull, state_release, DRAM_MAY_CHANGE_OPTIM_STATE},
    {"accumulate", "train.accumulate", accumulate_effect, accumulate_state, accumulate_pull, accumulate_release,
     DRAM_MAY_CHANGE_ACCUMULATE},
    {"precision", "train.precision", quality, precision_state, precision_pull, precision_release,
     DRAM_MAY_CHANGE_PRECISION},
    {"sr_target_scale", "resolution_distill.sr_target_scale", quality, scale_state, scale_pull, scale_release,
     DRAM_MAY_CHANGE_SR_TARGET_SCALE},
    {"sam_input_size", "sam_distill.sam_input_size", quality, side_state, side_pull, side_release,
     DRAM_MAY_CHANGE_SAM_INPUT_SIZE},
    {"model_type", "sam_distill.teacher.model_type", quality, model_state, model_pull, model_release,
     DRAM_MAY_CHANGE_MODEL_TYPE},
    {"distill_interval", "sam_distill.distill_interval", quality, interval_state, interval_pull, interval_release,
     DRAM_MAY_CHANGE_DISTILL_INTERVAL},
};
enum { N_LEVERS = sizeof all_levers / sizeof all_levers[0] };

/* ---- what each is worth ---- */

/* CANNOT bytes where the lever makes a config that cannot be built: a micro-batch of one image, say, leaves batch norm
 * a single value per channel. */
static const int64_t CANNOT = INT64_MAX;

static dram_status price(const dram_config *cfg, dram_fit fit, int64_t *bytes, int64_t *flops)
{
    dram_session other;
    dram_status status = dram_fit_build(cfg, fit, &other);
    *bytes = CANNOT;
    *flops = 0;
    if (status == DRAM_ERR_CONFIG) {
        dram_error_clear();
        return DRAM_OK;
    }
    TRY(status);
    *bytes = other.plan->arena_bytes;
    *flops = dram_fit_flops(&other);
    dram_session_close(&other);
    return DRAM_OK;
}

static void fill_row(const dram_session *s, dram_lever *row, bool pulled, int64_t bytes, int64_t flops)
{
    int64_t more = bytes - s->plan->arena_bytes, work = flops - dram_fit_flops(s);
    row->pulled = pulled;
    row->saved_bytes = pulled ? more : -more;
    row->added_flops = pulled ? -work : work;
}

/* Who chose the setting of a lever. */
static const char *set_by(const dram_session *s, const char *name, const char *key)
{
    size_t n = strlen(name);
    for (const char *p = s->pulled.text; p && (p = strstr(p, name)); p += n)
        if (p[n] == '=' && (p == s->pulled.text || p[-1] == ' ')) return "planner";
    return strcmp(dram_config_where(s->cfg, key), "default") == 0 ? "default" : "config";
}

static dram_status row_of(const dram_session *s, const lever *l, dram_lever *row, bool *there)
{
    dram_config other = *s->cfg;
    bool pulled;
    int64_t bytes, flops;
    *row = (dram_lever){.name = l->name, .effect = l->effect(s->cfg), .set_by = set_by(s, l->name, l->key)};
    *there = l->state(s->cfg, &pulled, row->setting, sizeof row->setting);
    if (!*there) return DRAM_OK;
    if (pulled) {
        l->release(&other);
    } else if (!l->pull(&other)) {
        *there = false; /* it cannot be pulled here */
        return DRAM_OK;
    }
    TRY(price(&other, (dram_fit){.set = s->set, .like = s}, &bytes, &flops));
    *there = bytes < CANNOT;
    if (*there) fill_row(s, row, pulled, bytes, flops);
    return DRAM_OK;
}

static bool is_recomputed(const dram_session *s)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++)
        if (s->schedule[k].n) return true;
    return false;
}

/* Blocks made again: against storing all when it is pulled, else against the fewest bytes it can reach. */
static dram_status recompute_row(const dram_session *s, dram_lever *row)
{
    dram_config other = *s->cfg;
    bool pulled = is_recomputed(s);
    int64_t bytes, flops;
    *row = (dram_lever){.name = "recompute", .effect = "exact", .set_by = "planner"};
    if (s->cfg->memory.checkpoint != DRAM_CHECKPOINT_OPTIMAL) row->set_by = set_by(s, row->name, "memory.checkpoint");
    snprintf(row->setting, sizeof row->setting, "%s",
             dram_checkpoint_word(pulled ? s->cfg->memory.checkpoint : DRAM_CHECKPOINT_NONE));
    other.memory.checkpoint = pulled ? DRAM_CHECKPOINT_NONE : DRAM_CHECKPOINT_OPTIMAL;
    TRY(price(&other, (dram_fit){.set = s->set, .least = !pulled}, &bytes, &flops));
    fill_row(s, row, pulled, bytes, flops);
    return DRAM_OK;
}

dram_status dram_levers(const dram_session *s, dram_lever rows[DRAM_LEVERS], int *n)
{
    bool there;
    *n = 0;
    for (int i = 0; i < N_LEVERS; i++) {
        if (all_levers[i].may_change == BY_ITSELF) TRY(recompute_row(s, &rows[(*n)++]));
        TRY(row_of(s, &all_levers[i], &rows[*n], &there));
        if (there) ++*n;
    }
    return DRAM_OK;
}

/* ---- the search ---- */

static bool may_pull(const dram_config *cfg, const lever *l)
{
    if (l->may_change < 0) return l->may_change == BY_ITSELF;
    /* A file of weights is of one model. */
    const char *weights = cfg->sam_distill.teacher.weights;
    if (l->may_change == DRAM_MAY_CHANGE_MODEL_TYPE && weights && strcmp(weights, DRAM_WEIGHTS_RANDOM) != 0)
        return false;
    return cfg->memory.may_change >> l->may_change & 1u;
}

static dram_status arena_of(const dram_config *cfg, dram_fit fit, int64_t *bytes)
{
    int64_t flops;
    return price(cfg, fit, bytes, &flops);
}

static void name_pulled(const lever *l, const dram_config *cfg, dram_str *pulled)
{
    bool is_pulled;
    char setting[24];
    l->state(cfg, &is_pulled, setting, sizeof setting);
    dram_str_add(pulled, "%s%s=%s", pulled->length ? ", " : "", l->name, setting);
}

dram_status dram_levers_fit(const dram_config *cfg, dram_fit fit, int64_t arena, dram_config *settled, dram_str *pulled)
{
    int64_t best = arena, target = fit.target, bytes;
    *settled = *cfg;
    for (int i = 0; i < N_LEVERS && best > target; i++) {
        const lever *l = &all_levers[i];
        if (!may_pull(cfg, l)) continue;
        /* A step that gains nothing may lead to one that does: two micro-batches pay for their sum of gradients, four
         * gain. */
        dram_config next = *settled, taken = *settled;
        bool better = false;
        while (best > target && l->pull(&next)) {
            TRY(arena_of(&next, fit, &bytes));
            if (bytes >= best) continue;
            taken = next;
            best = bytes;
            better = true;
        }
        if (!better) continue; /* it would change results for nothing */
        *settled = taken;
        name_pulled(l, settled, pulled);
    }
    return pulled->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the names of levers") : DRAM_OK;
}

dram_status dram_levers_advice(const dram_session *s, int64_t target, dram_str *text)
{
    const lever *best = NULL;
    int64_t least = s->plan->arena_bytes;
    char room[32];
    for (int i = 0; i < N_LEVERS; i++) {
        dram_config other = *s->cfg;
        int64_t bytes;
        if (!all_levers[i].pull(&other)) continue;
        TRY(arena_of(&other, (dram_fit){.set = s->set, .target = target}, &bytes));
        if (bytes >= least) continue;
        best = &all_levers[i];
        least = bytes;
        if (bytes <= target) break; /* the first in the order, which changes results least */
    }
    if (s->cfg->memory.checkpoint != DRAM_CHECKPOINT_OPTIMAL) {
        dram_config other = *s->cfg;
        int64_t bytes;
        other.memory.checkpoint = DRAM_CHECKPOINT_OPTIMAL;
        TRY(arena_of(&other, (dram_fit){.set = s->set, .target = target}, &bytes));
        if (bytes <= target || bytes < least) {
            dram_str_add(text, "memory.checkpoint: optimal would make it %s",
                         dram_format_bytes(bytes, room, sizeof room));
            return DRAM_OK;
        }
    }
    if (!best) {
        dram_str_add(text, "no lever makes it smaller: lower train.batch_size, data.size or the student");
        return DRAM_OK;
    }
    dram_str_add(text, "pulling %s (%s, effect %s) would make it %s%s", best->name, best->key, best->effect(s->cfg),
                 dram_format_bytes(least, room, sizeof room), least <= target ? ", which fits" : "");
    return DRAM_OK;
}

dram_status dram_levers_floor(const dram_config *cfg, dram_program_set set, int64_t *bytes)
{
    dram_config other = *cfg;
    placement_pull(&other);
    return arena_of(&other, (dram_fit){.set = set, .least = true}, bytes);
}
