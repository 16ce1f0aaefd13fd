#include "session/levers.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "model/family.h"
#include "session/machine.h"
#include "session/programs.h"
#include "session/update.h"

/* ---- what a row holds ---- */

typedef enum { FLAG, NUMBER, REAL, INTERVAL, TEACHER } kind;

/* A field of a config that a lever moves. */
typedef struct {
    size_t at, size;
    kind kind;
    bool (*means)(const dram_config *cfg); /* whether the lever moves it in this config; NULL: always */
    bool follows; /* `pull` of the row may move it, so keeping the lever brings it along if the first field changes */
} field;

/* Its kind is that of its type: a field of another type does not compile. */
#define MEMBER(PATH) (((dram_config *)0)->PATH)
#define AT(PATH)                                                                                                       \
    .at = offsetof(dram_config, PATH), .size = sizeof MEMBER(PATH),                                                    \
    .kind = _Generic(MEMBER(PATH), bool: FLAG, int: NUMBER, unsigned: NUMBER, double: REAL, dram_steps: INTERVAL,      \
                     char *: TEACHER)

/* The numbers that a field has: released, and at each step further. A teacher's number is its place in `teachers`. */
enum { MOST_STEPS = 3, FIELDS = 2 };
#define STEPS(...) .step = {__VA_ARGS__}, .n_steps = sizeof((const double[]){__VA_ARGS__}) / sizeof(double)

typedef struct {
    int leave; /* a dram_may_change or a dram_lever_leave */
    const char *key;
    const char *name;   /* where memory.may_change has no word for it */
    const char *effect; /* where it is the same in every config; else: */
    const char *(*effect_of)(const dram_config *cfg);
    bool (*means)(const dram_config *cfg);    /* whether it means something here; NULL: always */
    bool (*leave_if)(const dram_config *cfg); /* what else the planner's leave needs; NULL: nothing */
    field field[FIELDS];                      /* the first says how the lever stands */
    double step[MOST_STEPS];
    int n_steps;
    double (*first)(const dram_config *cfg); /* instead of step[0] */
    bool descends; /* steps are sizes: from any size to the next step below it. Else only from a step to the next */
    /* Instead of what the steps say: */
    bool (*is_pulled)(const dram_config *cfg);
    bool (*pull)(dram_config *cfg);
    const char *(*word)(unsigned number); /* for a person: that of an enum; NULL: the number */
    const char *released;                 /* for a person, where it is not pulled; NULL: as else */
} lever;

static char *const teachers[] = {"vit_h", "vit_l", "vit_b"}; /* of SAM, the largest first */
enum { TEACHERS = sizeof teachers / sizeof teachers[0] };

/* ---- what rows name ---- */

/* Whether the teacher is in the step. With a cache the step has its embeddings alone, as the cache was made. */
static bool has_teacher(const dram_config *cfg)
{
    return cfg->sam_distill.enabled && !cfg->sam_distill.cache;
}

static bool has_other_losses(const dram_config *cfg)
{
    return has_teacher(cfg) && (cfg->task.enabled || cfg->resolution_distill.enabled);
}

static int teacher_rank(const char *name)
{
    for (int i = 0; i < TEACHERS; i++)
        if (strcmp(name, teachers[i]) == 0) return i;
    return -1;
}

static bool has_sam(const dram_config *cfg)
{
    return has_teacher(cfg) && teacher_rank(cfg->sam_distill.teacher.model_type) >= 0;
}

/* A file of weights is of one model. */
static bool has_drawn_weights(const dram_config *cfg)
{
    const char *weights = cfg->sam_distill.teacher.weights;
    return !weights || strcmp(weights, DRAM_WEIGHTS_RANDOM) == 0;
}

static bool has_adamw(const dram_config *cfg)
{
    return cfg->optim.type == DRAM_OPTIM_ADAMW;
}

static bool has_batch(const dram_config *cfg)
{
    return cfg->train.batch_size > 1;
}

static bool has_resolution(const dram_config *cfg)
{
    return cfg->resolution_distill.enabled;
}

static double full_scale(const dram_config *cfg)
{
    return 1.0 / cfg->resolution_distill.low_scale;
}

static double full_size(const dram_config *cfg)
{
    return dram_teacher_full(cfg);
}

/* Over several ranks first to a shard on each. */
static bool pull_placement(dram_config *cfg)
{
    dram_teacher_placement *at = &cfg->sam_distill.teacher.placement;
    if (*at != DRAM_PLACEMENT_DEVICE && *at != DRAM_PLACEMENT_SHARD) return false;
    bool shard = *at == DRAM_PLACEMENT_DEVICE && dram_machine_ranks(cfg) > 1;
    *at = shard ? DRAM_PLACEMENT_SHARD : DRAM_PLACEMENT_STREAM;
    return true;
}

static bool placement_is_pulled(const dram_config *cfg)
{
    bool alone = dram_machine_ranks(cfg) == 1 && cfg->sam_distill.teacher.placement == DRAM_PLACEMENT_SHARD;
    return cfg->sam_distill.teacher.placement != DRAM_PLACEMENT_DEVICE && !alone;
}

/* With `auto` it is on, where it means anything. */
static const char *on_or_off(dram_fused value)
{
    return value == DRAM_FUSED_OFF ? "off" : "on";
}

/* Beside a GPU the CPU's kernels sum in another order, and have the teacher's biases in f32. */
static const char *effect_of_placement(const dram_config *cfg)
{
    bool apart = cfg->sam_distill.teacher.placement == DRAM_PLACEMENT_HOST && dram_machine_gpu(cfg, NULL, 0);
    return apart ? "rounding" : "exact";
}

/* It shows what it is worth where it is set; which part is to be trained is no matter of bytes. */
static bool is_frozen(const dram_config *cfg)
{
    return cfg->student.trainable == DRAM_TRAINABLE_HEADS;
}

/* Whether anything is measured over the batch: a RegNet has batch norm, with a frozen trunk in the task's head alone, a
 * ViT student has none; and losses may be standardised. */
static bool has_statistics(const dram_config *cfg)
{
    const dram_arch *student = dram_arch_find(cfg->student.arch);
    bool norm_free = (student && !student->family->batch_norm) || (is_frozen(cfg) && !cfg->task.enabled);
    bool standardized = (cfg->sam_distill.enabled && cfg->sam_distill.loss.standardize) ||
                        (cfg->resolution_distill.enabled && cfg->resolution_distill.standardize);
    return !norm_free || standardized;
}

/* Statistics of a micro-batch are not those of the batch. */
static const char *effect_of_accumulate(const dram_config *cfg)
{
    return has_statistics(cfg) ? "quality" : "rounding";
}

static bool has_ranks(const dram_config *cfg)
{
    return dram_machine_ranks(cfg) > 1;
}

static bool has_shared_statistics(const dram_config *cfg)
{
    return has_ranks(cfg) && has_statistics(cfg);
}

/* A piece of a sum is of all ranks from the first micro-batch on; else each rank adds its own first. */
static const char *effect_of_shard(const dram_config *cfg)
{
    return cfg->optim.shard == DRAM_OPTIM_SHARD_GRADIENTS && cfg->train.accumulate > 1 ? "rounding" : "exact";
}

static int micro_batch(const dram_config *cfg)
{
    return cfg->train.batch_size / cfg->train.accumulate;
}

static bool may_group(const dram_config *cfg)
{
    return has_teacher(cfg) && micro_batch(cfg) > 1;
}

static bool has_groups(const dram_config *cfg)
{
    return cfg->sam_distill.teacher.group > 0 && cfg->sam_distill.teacher.group < micro_batch(cfg);
}

/* The smallest groups that cut the batch into no more than MOST: a graph grows with their number. */
static bool pull_group(dram_config *cfg)
{
    enum { MOST = 32 };
    int batch = micro_batch(cfg), present = has_groups(cfg) ? cfg->sam_distill.teacher.group : batch, group = 1;
    while (batch % group || batch / group > MOST) group++;
    if (group >= present) return false;
    cfg->sam_distill.teacher.group = group;
    return true;
}

/* To the next number of micro-batches. Groups that no longer divide one become as small as they can be. */
static bool pull_accumulate(dram_config *cfg)
{
    int *group = &cfg->sam_distill.teacher.group, batch = cfg->train.batch_size, next = cfg->train.accumulate + 1;
    while (next <= batch && batch % next) next++;
    if (next > batch) return false;
    cfg->train.accumulate = next;
    if (*group > batch / next) *group = 0;
    if (*group && batch / next % *group) *group = 1;
    return true;
}

#define LEVER(LEAVE, KEY, ...) {.leave = (LEAVE), .key = (KEY), __VA_ARGS__},
static const lever levers[DRAM_LEVERS] = {
#include "session/levers.def"
};
#undef LEVER

/* Four bits count the rows of each word. */
#define LEVER(LEAVE, ...) +((LEAVE) < 0 ? 0 : (uint64_t)1 << 4 * ((LEAVE)&15))
#define WORD(ID, TEXT) +((uint64_t)1 << 4 * ID)
#define COUNT(ID, TEXT) +1
_Static_assert((0
#include "session/levers.def"
                ) == (0 DRAM_MAY_CHANGE_LIST(WORD)),
               "every word of memory.may_change has one row in session/levers.def");
enum { WORDS = 0 DRAM_MAY_CHANGE_LIST(COUNT) };
#undef LEVER
#undef WORD
#undef COUNT

/* ---- fields ---- */

/* Points to what `kind` says; the caller writes to a config of its own alone. */
static void *at(const field *f, const dram_config *cfg)
{
    return (char *)(uintptr_t)cfg + f->at;
}

static double get(const field *f, const dram_config *cfg)
{
    const void *p = at(f, cfg);
    if (f->kind == FLAG) return *(const bool *)p;
    if (f->kind == NUMBER) return *(const int *)p;
    if (f->kind == REAL) return *(const double *)p;
    return f->kind == INTERVAL ? dram_steps_most(p) : teacher_rank(*(char *const *)p);
}

static void set(const field *f, dram_config *cfg, double number)
{
    void *p = at(f, cfg);
    if (f->kind == FLAG) *(bool *)p = number != 0.0;
    if (f->kind == NUMBER) *(int *)p = (int)number;
    if (f->kind == REAL) *(double *)p = number;
    if (f->kind == INTERVAL) *(dram_steps *)p = dram_steps_always((int)number);
    if (f->kind == TEACHER) *(char **)p = teachers[(int)number];
}

static bool same(const field *f, const dram_config *a, const dram_config *b)
{
    const void *p = at(f, a), *q = at(f, b);
    if (f->kind == INTERVAL) return dram_steps_equal(p, q);
    if (f->kind == TEACHER) return strcmp(*(char *const *)p, *(char *const *)q) == 0;
    return get(f, a) == get(f, b);
}

static void copy(const field *f, dram_config *to, const dram_config *from)
{
    memcpy(at(f, to), at(f, from), f->size);
}

/* Whether the lever moves the field in this config. */
static bool moves(const field *f, const dram_config *cfg)
{
    return f->size && !f->follows && (!f->means || f->means(cfg));
}

/* ---- levers ---- */

const char *dram_lever_name(int i)
{
    return levers[i].leave < 0 ? levers[i].name : dram_may_change_word((dram_may_change)levers[i].leave);
}

const char *dram_lever_key(int i)
{
    return levers[i].key;
}

const char *dram_lever_effect(int i, const dram_config *cfg)
{
    return levers[i].effect ? levers[i].effect : levers[i].effect_of(cfg);
}

bool dram_lever_is_recompute(int i)
{
    return levers[i].leave == DRAM_LEVER_IN_THE_PLAN;
}

static bool has_meaning(const lever *l, const dram_config *cfg)
{
    return l->n_steps && (!l->means || l->means(cfg));
}

static double released(const lever *l, const dram_config *cfg)
{
    return l->first ? l->first(cfg) : l->step[0];
}

static bool is_pulled(const lever *l, const dram_config *cfg)
{
    double now = get(&l->field[0], cfg), first = released(l, cfg);
    if (l->is_pulled) return l->is_pulled(cfg);
    return l->descends ? now < first * (1.0 - 1e-9) : now != first;
}

static void write_setting(const lever *l, const dram_config *cfg, char *setting)
{
    const field *f = &l->field[0];
    double now = get(f, cfg);
    if (l->word || f->kind == FLAG)
        snprintf(setting, DRAM_LEVER_SETTING, "%s", l->word ? l->word((unsigned)now) : now != 0.0 ? "on" : "off");
    else if (f->kind == TEACHER)
        snprintf(setting, DRAM_LEVER_SETTING, "%s", teachers[(int)now]);
    else if (f->kind == REAL)
        snprintf(setting, DRAM_LEVER_SETTING, "%g", now);
    else
        snprintf(setting, DRAM_LEVER_SETTING, "%s%d",
                 f->kind == INTERVAL && cfg->sam_distill.distill_interval.n > 1 ? "up to " : "", (int)now);
}

bool dram_lever_read(int i, const dram_config *cfg, bool *pulled, char setting[DRAM_LEVER_SETTING])
{
    const lever *l = &levers[i];
    if (!has_meaning(l, cfg)) return false;
    *pulled = is_pulled(l, cfg);
    if (l->released && !*pulled)
        snprintf(setting, DRAM_LEVER_SETTING, "%s", l->released);
    else
        write_setting(l, cfg, setting);
    return true;
}

bool dram_lever_may_pull(int i, const dram_config *cfg)
{
    const lever *l = &levers[i];
    if (l->leave < 0) return l->leave == DRAM_LEVER_BY_ITSELF;
    return cfg->memory.may_change >> l->leave & 1u && (!l->leave_if || l->leave_if(cfg));
}

static bool pull_field(const lever *l, const field *f, dram_config *cfg)
{
    double now = get(f, cfg);
    for (int k = 1; k < l->n_steps; k++) {
        double before = k == 1 ? released(l, cfg) : l->step[k - 1];
        if (l->descends ? now <= l->step[k] : now != before) continue;
        set(f, cfg, l->step[k]);
        return true;
    }
    return false;
}

bool dram_lever_pull(int i, dram_config *cfg)
{
    const lever *l = &levers[i];
    bool further = false;
    if (!has_meaning(l, cfg)) return false;
    if (l->pull) return l->pull(cfg);
    for (int k = 0; k < FIELDS; k++)
        if (moves(&l->field[k], cfg)) further |= pull_field(l, &l->field[k], cfg);
    return further;
}

void dram_lever_release(int i, dram_config *cfg)
{
    const lever *l = &levers[i];
    for (int k = 0; k < FIELDS; k++)
        if (moves(&l->field[k], cfg)) set(&l->field[k], cfg, released(l, cfg));
}

void dram_levers_pull_exact(dram_config *cfg)
{
    for (int i = 0; i < DRAM_LEVERS; i++)
        while (levers[i].leave == DRAM_LEVER_BY_ITSELF && dram_lever_pull(i, cfg)) continue;
}

/* Makes a lever as it was; returns whether it stood otherwise. */
static bool keep(const lever *l, dram_config *cfg, const dram_config *before)
{
    bool other = false;
    for (int k = 0; k < FIELDS; k++) {
        const field *f = &l->field[k];
        if (!f->size || (f->follows && !other)) continue;
        other |= !same(f, cfg, before);
        copy(f, cfg, before);
    }
    return other;
}

void dram_levers_keep(dram_config *cfg, const dram_config *before, unsigned mask, dram_str *names)
{
    for (int word = 0; word < WORDS; word++)
        for (int i = 0; i < DRAM_LEVERS; i++)
            if (levers[i].leave == word && mask >> word & 1u && keep(&levers[i], cfg, before))
                dram_str_add(names, "%s%s", names->length ? ", " : "", dram_lever_name(i));
}
