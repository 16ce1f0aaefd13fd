#include "session/update.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
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
    int32_t made; /* node that completes the gradient */
    int place;
} trained;

static dram_val state_slot(builder *b, const dram_slot *of, const char *which)
{
    char name[256];
    int64_t n = dram_elements(&of->shape);
    bool state8 = b->cfg->optim.state == DRAM_OPTIM_STATE_INT8 && n >= DRAM_STATE8_MIN_ELEMENTS;
    snprintf(name, sizeof name, "%s.%s.%s", which, of->group, of->name);
    return dram_graph_slot(b->g, &(dram_slot){.name = name,
                                              .dtype = state8 ? DRAM_U8 : DRAM_F32,
                                              .shape = state8 ? DRAM_SHAPE(dram_state8_bytes(n)) : of->shape,
                                              .category = DRAM_CATEGORY_OPTIMIZER,
                                              .layout = state8 ? DRAM_LAYOUT_SAME : of->layout,
                                              .group = "optimizer"});
}

static void name_gradient(const dram_slot *of, char name[256])
{
    snprintf(name, 256, "%s.%s", of->group, of->name);
}

static dram_val gradient_slot(builder *b, const dram_slot *of)
{
    char name[256];
    name_gradient(of, name);
    return dram_graph_slot(b->g, &(dram_slot){.name = name,
                                              .dtype = DRAM_F32,
                                              .shape = of->shape,
                                              .category = DRAM_CATEGORY_GRADIENTS,
                                              .group = "gradient"});
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
    dram_val m = state_slot(b, slot, "m");
    if (optim->type == DRAM_OPTIM_SGD) {
        DRAM_CALL(b->g, sgd, "sgd", DRAM_ATTR(.momentum = (float)optim->momentum, .decay = decay), weight, gradient, m,
                  b->io->hyper, clip);
        return;
    }
    dram_val v = state_slot(b, slot, "v");
    DRAM_CALL(
        b->g, adamw, "adamw",
        DRAM_ATTR(.beta1 = (float)optim->beta1, .beta2 = (float)optim->beta2, .eps = (float)optim->eps, .decay = decay),
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

/* The gradient's sum over ranks; of a slot in its place. */
static dram_val over_ranks(const builder *b, dram_val gradient)
{
    dram_graph *g = b->g;
    if (b->p->ranks == 1 || g->status != DRAM_OK) return gradient;
    bool slot = dram_value_at(g, gradient)->slot != DRAM_NONE;
    dram_category category = g->category;
    g->category = DRAM_CATEGORY_GRADIENTS;
    dram_val sum = dram_call(g, slot ? DRAM_OP_all_reduce_into : DRAM_OP_all_reduce, "sum",
                             DRAM_ATTR(.ranks = b->p->ranks, .mode = b->p->reduce, .bucket = 1), &gradient, 1);
    g->category = category;
    return sum;
}

/* The norm over all gradients, then one update a weight; fused, a weight's update follows the norm of the gradients so
 * far. Without clipping the squares are added in the order in which the gradients come, so that a fused update need not
 * wait, and has the norm's bits. With clipping they are added in the order of first use. */
static void update_all(builder *b, trained *t, int n)
{
    dram_val squares = DRAM_NONE, clip = DRAM_NONE;
    if (n == 0) dram_graph_fail(b->g, "nothing is trained");
    if (b->cfg->optim.clip_norm == 0) qsort(t, (size_t)n, sizeof *t, by_time);
    for (int i = 0; i < n; i++) t[i].gradient = over_ranks(b, t[i].gradient);
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++) {
        squares = DRAM_CALL(b->g, sumsq, "squares", NULL, t[i].gradient, squares);
        if (!b->p->fused && i + 1 < n) continue;
        clip = DRAM_CALL(b->g, clip_factor, "clip", DRAM_ATTR(.clip = (float)b->cfg->optim.clip_norm), squares,
                         b->io->unscale);
        for (int k = b->p->fused ? i : 0; k <= i && b->g->status == DRAM_OK; k++)
            update_weight(b, t[k].weight, t[k].gradient, clip);
    }
    b->io->clip = clip;
    dram_graph_output(b->g, clip); /* which looks at the status first */
}

static void accumulate_all(builder *b, const trained *t, int n)
{
    for (int i = 0; i < n && b->g->status == DRAM_OK; i++)
        DRAM_CALL(b->g, accumulate, "accumulate", NULL, gradient_slot(b, slot_of(b, t[i].weight)), t[i].gradient);
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
