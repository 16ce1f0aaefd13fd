#include "session/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/ranks.h"
#include "base/state8.h"
#include "ops/autodiff.h"
#include "ops/call.h"

typedef struct {
    const dram_config *cfg;
    const dram_graph_set *p;
    dram_io *io;
    dram_graph *g;
} builder;

typedef struct {
    dram_val weight, gradient;
    dram_val norm; /* what the norm adds the squares of */
    int32_t made;  /* node that completes the gradient */
    int place;
} trained;

/* Whether each rank has a piece of the state that updates this weight. */
static bool is_sharded(const builder *b, const dram_slot *of)
{
    return b->p->shard != DRAM_OPTIM_SHARD_NONE && dram_elements(&of->shape) >= DRAM_SHARDED_LEAST;
}

/* And of its gradient. */
static bool is_cut(const builder *b, const dram_slot *of)
{
    return b->p->shard == DRAM_OPTIM_SHARD_GRADIENTS && is_sharded(b, of);
}

/* A slot of one number for each of the weight's, or for each of a piece of them. */
static dram_slot slot_like(const dram_slot *of, int ranks, bool shard)
{
    if (!shard) return (dram_slot){.dtype = DRAM_F32, .shape = of->shape};
    const int64_t piece = dram_rank_shard(dram_elements(&of->shape), ranks);
    return (dram_slot){.dtype = DRAM_F32, .shape = DRAM_SHAPE(piece), .whole = of->shape};
}

static dram_val state_slot(builder *b, const dram_slot *of, const char *which)
{
    char name[256];
    dram_slot slot = slot_like(of, b->p->ranks, is_sharded(b, of));
    snprintf(name, sizeof name, "%s.%s.%s", which, of->group, of->name);
    slot.name = name;
    slot.category = DRAM_CATEGORY_OPTIMIZER;
    slot.layout = of->layout;
    slot.group = "optimizer";
    if (b->cfg->optim.state == DRAM_OPTIM_STATE_INT8 && dram_elements(&of->shape) >= DRAM_STATE8_MIN_ELEMENTS) {
        slot.dtype = DRAM_U8;
        slot.layout = DRAM_LAYOUT_SAME;
        if (slot.whole.rank) slot.whole = DRAM_SHAPE(dram_state8_bytes(dram_elements(&of->shape)));
        slot.shape = DRAM_SHAPE(dram_state8_bytes(dram_elements(&slot.shape)));
    }
    return dram_graph_slot(b->g, &slot);
}

static void name_gradient(const dram_slot *of, char name[256])
{
    snprintf(name, 256, "%s.%s", of->group, of->name);
}

static dram_val gradient_slot(builder *b, const dram_slot *of)
{
    char name[256];
    dram_slot slot = slot_like(of, b->p->ranks, is_cut(b, of));
    name_gradient(of, name);
    slot.name = name;
    slot.category = DRAM_CATEGORY_GRADIENTS;
    slot.group = "gradient";
    return dram_graph_slot(b->g, &slot);
}

static const dram_slot *slot_of(const builder *b, dram_val weight)
{
    return b->p->slots.at[dram_value_at(b->g, weight)->slot];
}

static void update_weight(builder *b, dram_val weight, dram_val gradient, dram_val clip)
{
    const struct dram_config_optim *optim = &b->cfg->optim;
    const dram_slot *slot = slot_of(b, weight);
    float decay = slot->decays ? (float)optim->weight_decay : 0.0f;
    int ranks = is_sharded(b, slot) ? b->p->ranks : 0;
    dram_val m = state_slot(b, slot, "m");
    if (optim->type == DRAM_OPTIM_SGD) {
        DRAM_CALL(b->g, sgd, "sgd", DRAM_ATTR(.ranks = ranks, .momentum = (float)optim->momentum, .decay = decay),
                  weight, gradient, m, b->io->hyper, clip);
        return;
    }
    dram_val v = state_slot(b, slot, "v");
    DRAM_CALL(b->g, adamw, "adamw",
              DRAM_ATTR(.ranks = ranks, .beta1 = (float)optim->beta1, .beta2 = (float)optim->beta2,
                        .eps = (float)optim->eps, .decay = decay),
              weight, gradient, m, v, b->io->hyper, clip);
}

static void add_inputs(builder *b)
{
    b->io->hyper = dram_graph_input(b->g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    if (b->p->scaled) b->io->unscale = dram_graph_input(b->g, "unscale", DRAM_F32, DRAM_SHAPE(1));
}

static int by_time(const void *left, const void *right)
{
    const trained *a = left, *b = right;
    return a->made != b->made ? (a->made < b->made ? -1 : 1) : a->place - b->place;
}

/* A node of a gradient: its value is one too. */
static void add_to_gradient(const builder *b, dram_op op, const char *name, const dram_attr *attr, dram_val gradient,
                            dram_val out[DRAM_MAX_OUT])
{
    dram_category category = b->g->category;
    b->g->category = DRAM_CATEGORY_GRADIENTS;
    dram_graph_add(b->g, op, name, attr, &gradient, 1, out);
    b->g->category = category;
}

static dram_val over_ranks(const builder *b, dram_op op, const char *name, dram_val gradient)
{
    dram_val out[DRAM_MAX_OUT];
    add_to_gradient(b, op, name, DRAM_ATTR(.ranks = b->p->ranks, .mode = b->p->reduce, .bucket = 1), gradient, out);
    return out[0];
}

/* The gradient's sum over ranks; of a slot in its place. Where the update has to wait, a rank that is to have a piece
 * of the sum keeps that alone, and what the norm adds up. */
static void sum_gradient(const builder *b, trained *t)
{
    dram_val out[DRAM_MAX_OUT];
    t->norm = t->gradient;
    if (b->p->ranks == 1 || b->g->status != DRAM_OK) return;
    const dram_value *value = dram_value_at(b->g, t->gradient);
    if (value->slot != DRAM_NONE) {
        if (is_cut(b, slot_of(b, t->weight))) return; /* a sum already */
        t->norm = t->gradient = over_ranks(b, DRAM_OP_all_reduce_into, "sum", t->gradient);
        return;
    }
    t->norm = t->gradient = over_ranks(b, DRAM_OP_all_reduce, "sum", t->gradient);
    if (b->p->fused || !is_cut(b, slot_of(b, t->weight))) return;
    add_to_gradient(b, DRAM_OP_rank_shard, "shard", DRAM_ATTR(.ranks = b->p->ranks), t->gradient, out);
    t->gradient = out[0];
    t->norm = out[1];
}

/* The norm's bits are those of whole sums, in which squares are added by pieces of their own. So sums of which ranks
 * have shards come together for it: from t[0] on, as many as a bucket holds; returns how many. */
static int gather_for_norm(const builder *b, trained *t, int n, int bucket)
{
    dram_val out[DRAM_MAX_OUT];
    int64_t bytes = 0;
    int i = 0;
    for (; i < n && bytes < b->cfg->distributed.bucket && b->g->status == DRAM_OK; i++) {
        const dram_slot *slot = slot_of(b, t[i].weight);
        if (t[i].norm != t[i].gradient || !is_cut(b, slot)) continue;
        int64_t whole = dram_elements(&slot->shape);
        add_to_gradient(b, DRAM_OP_all_gather, "whole",
                        DRAM_ATTR(.ranks = b->p->ranks, .count = (int)whole, .bucket = bucket), t[i].gradient, out);
        t[i].norm = out[0];
        bytes += whole * (int64_t)sizeof(float);
    }
    return i;
}

/* Each rank has updated its piece of a weight. */
static void gather_weights(builder *b, const trained *t, int n)
{
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++) {
        if (!is_sharded(b, slot_of(b, t[i].weight))) continue;
        dram_val weight = b->g->slot_value[dram_value_at(b->g, t[i].weight)->slot];
        DRAM_CALL(b->g, all_gather_into, "gather", DRAM_ATTR(.ranks = b->p->ranks), weight);
    }
}

/* The mean of weights follows those that are its own, as they now are: on each rank all of it. */
static void update_means(builder *b, const trained *t, int n, dram_val clip)
{
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++) {
        const int slot = dram_value_at(b->g, t[i].weight)->slot;
        const dram_slot *of = b->p->slots.at[slot];
        int mean = strcmp(of->group, "student") == 0 ? dram_slots_find(&b->p->slots, "mean", of->name) : DRAM_NONE;
        if (mean == DRAM_NONE) continue;
        DRAM_CALL(b->g, weight_mean, "mean", NULL, dram_graph_slot(b->g, b->p->slots.at[mean]), b->g->slot_value[slot],
                  b->io->hyper, clip);
    }
}

/* The norm over all gradients, then one update a weight; fused, a weight's update follows the norm of the gradients so
 * far. Without clipping the squares are added in the order in which the gradients come, so that a fused update need not
 * wait, and has the norm's bits. With clipping they are added in the order of first use. */
static void update_all(builder *b, trained *t, int n)
{
    dram_val squares = DRAM_NONE, clip = DRAM_NONE;
    if (n == 0) dram_graph_fail(b->g, "nothing is trained");
    if (b->cfg->optim.clip_norm == 0) qsort(t, (size_t)n, sizeof *t, by_time);
    int gathered = b->p->accumulate > 1 ? 0 : n, bucket = 0;
    for (int i = 0; i < n; i++) sum_gradient(b, &t[i]);
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++) {
        if (i == gathered) gathered += gather_for_norm(b, t + i, n - i, ++bucket);
        squares = DRAM_CALL(b->g, sumsq, "squares", NULL, t[i].norm, squares);
        if (!b->p->fused && i + 1 < n) continue;
        clip = DRAM_CALL(b->g, clip_factor, "clip", DRAM_ATTR(.clip = (float)b->cfg->optim.clip_norm), squares,
                         b->io->unscale);
        for (int k = b->p->fused ? i : 0; k <= i && b->g->status == DRAM_OK; k++)
            update_weight(b, t[k].weight, t[k].gradient, clip);
    }
    gather_weights(b, t, n);
    update_means(b, t, n, clip);
    b->io->clip = clip;
    dram_graph_output(b->g, clip); /* which looks at the status first */
}

static void accumulate_all(builder *b, const trained *t, int n)
{
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++) {
        const dram_slot *slot = slot_of(b, t[i].weight);
        dram_val gradient = t[i].gradient;
        if (is_cut(b, slot)) gradient = over_ranks(b, DRAM_OP_reduce_scatter, "sum", gradient);
        DRAM_CALL(b->g, accumulate, "accumulate", NULL, gradient_slot(b, slot), gradient);
    }
}

dram_status dram_backward_append(const dram_config *cfg, dram_graph_set *p, dram_io *io)
{
    builder b = {.cfg = cfg, .p = p, .io = io, .g = io->graph};
    dram_graph *g = b.g;
    dram_backward *back = NULL;
    int n = 0, n_values;
    if (p->scaled) io->seed = dram_graph_input(g, "seed", DRAM_F32, DRAM_SHAPE(1));
    float share = 1.0f / (float)(p->accumulate * p->ranks); /* of a micro-batch in the effective batch */
    dram_val seed = p->scaled ? io->seed : dram_call(g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = share), NULL, 0);
    if (p->accumulate == 1) add_inputs(&b);
    n_values = g->n_values;
    trained *t = dram_alloc((size_t)n_values * sizeof *t);
    if (!t) return g->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the update of %s", g->name);
    if (dram_backward_build(g, &io->loss, &seed, 1, &back) != DRAM_OK) goto done;
    for (dram_val v = 0; v < n_values; v++) {
        dram_val gradient = dram_gradient_of(back, v);
        if (g->values[v]->kind != DRAM_VALUE_SLOT || gradient == DRAM_NONE) continue;
        t[n] = (trained){.weight = v, .gradient = gradient, .made = g->values[gradient]->producer, .place = n};
        n++;
    }
    if (p->accumulate == 1)
        update_all(&b, t, n);
    else
        accumulate_all(&b, t, n);
done:
    dram_backward_free(back);
    dram_free(t);
    return g->status;
}

/* The slot that sums the gradient of slot s, if the step gives it one; DRAM_NONE. */
static int summed(const dram_graph_set *p, const dram_graph *step, int s)
{
    char name[256];
    if (!p->slots.at[s]->trainable) return DRAM_NONE;
    name_gradient(p->slots.at[s], name);
    int at = dram_slots_find(&p->slots, "gradient", name);
    return at != DRAM_NONE && at < step->slot_values && step->slot_value[at] != DRAM_NONE ? at : DRAM_NONE;
}

bool dram_update_same(const dram_graph_set *p, const dram_graph *x, const dram_graph *y)
{
    for (int s = 0; s < p->slots.n; s++)
        if (summed(p, x, s) != summed(p, y, s)) return false;
    return true;
}

dram_status dram_update_build(const dram_config *cfg, dram_graph_set *p, const dram_graph *step, dram_io *io)
{
    builder b = {.cfg = cfg, .p = p, .io = io, .g = io->graph};
    int n = 0, n_slots = p->slots.n;
    trained *t = dram_alloc((size_t)n_slots * sizeof *t);
    if (!t) return b.g->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the update");
    add_inputs(&b);
    for (int s = 0; s < n_slots; s++) {
        int sum = summed(p, step, s);
        if (sum == DRAM_NONE) continue;
        t[n] = (trained){.weight = dram_graph_slot(b.g, p->slots.at[s]),
                         .gradient = dram_graph_slot(b.g, p->slots.at[sum]),
                         .place = n};
        n++;
    }
    if (b.g->status == DRAM_OK) update_all(&b, t, n);
    for (int i = 0; i < n && b.g->status == DRAM_OK; i++) DRAM_CALL(b.g, clear, "clear", NULL, t[i].gradient);
    dram_free(t);
    return b.g->status;
}

bool dram_update_may_fuse(const dram_config *cfg)
{
    return cfg->train.accumulate == 1 && cfg->optim.clip_norm == 0 && cfg->train.precision != DRAM_PRECISION_FP16;
}

dram_program_kind dram_update_of(const dram_graph_set *p, dram_program_kind step)
{
    if (p->accumulate == 1) return step;
    bool plain = step == DRAM_PROGRAM_PLAIN_STEP && p->io[DRAM_PROGRAM_PLAIN_UPDATE].graph;
    return plain ? DRAM_PROGRAM_PLAIN_UPDATE : DRAM_PROGRAM_UPDATE;
}
