#include "model/layers.h"

#include <stdio.h>
#include <string.h>

#include "base/ranks.h"
#include "ops/call.h"

dram_layers dram_layers_enter(const dram_build *b)
{
    dram_layers l = {.b = b, .g = b->g};
    l.outer = dram_scope_push(b->g, b->group);
    l.base = (int)strlen(b->g->scope);
    return l;
}

void dram_layers_leave(const dram_layers *l)
{
    dram_scope_pop(l->g, l->outer);
}

int dram_dim(const dram_layers *l, dram_val x, int i)
{
    return l->g->status == DRAM_OK ? (int)dram_shape_of(l->g, x)->dim[i] : 1;
}

int dram_channels(const dram_layers *l, dram_val x)
{
    return l->g->status == DRAM_OK ? (int)dram_last(dram_shape_of(l->g, x), 0) : 1;
}

/* Fills in what the builder says of all its slots, and the full name: the scope inside the builder's own, then the
 * slot's. */
static dram_slot finish(const dram_layers *l, dram_slot slot, char *name, size_t size)
{
    const char *scope = l->g->scope + l->base;
    if (*scope == '.') scope++;
    snprintf(name, size, "%s%s%s", scope, *scope ? "." : "", slot.name);
    slot.name = name;
    slot.category = l->b->category;
    slot.group = l->b->group;
    slot.space = l->b->trainable ? DRAM_SPACE_DEVICE : l->b->space;
    return slot;
}

/* What is read of a frozen weight has more bytes than a shard is worth the latency of a gather for. */
enum { SHARDED_LEAST = 16384 };

static dram_val gather(const dram_layers *l, const dram_slot *slot, const char *name, dram_val v)
{
    int dim[4] = {0};
    for (int i = 0; i < slot->whole.rank; i++) dim[i] = (int)slot->whole.dim[i];
    return DRAM_CALL(
        l->g, all_gather, name,
        DRAM_ATTR(.ranks = l->b->ranks, .first = dim[0], .out_h = dim[1], .out_w = dim[2], .count = dim[3]), v);
}

/* What the slot holds; a slot outside the space that the graph is in comes as a copy, a shard is gathered. */
static dram_val add_slot(const dram_layers *l, dram_slot slot)
{
    char name[256], fetched[64];
    const int64_t n = dram_elements(&slot.shape);
    bool shard = !slot.trainable && l->b->ranks > 1 && n >= SHARDED_LEAST && slot.shape.rank <= 4;
    snprintf(fetched, sizeof fetched, "%s.%s", slot.name, shard ? "whole" : "copy");
    slot = finish(l, slot, name, sizeof name);
    if (shard) {
        slot.whole = slot.shape;
        slot.shape = DRAM_SHAPE(dram_rank_shard(n, l->b->ranks));
    }
    dram_val v = dram_graph_slot(l->g, &slot);
    if (!shard && slot.space == l->g->space) return v;
    dram_category category = l->g->category;
    l->g->category = slot.category;
    v = shard ? gather(l, &slot, fetched, v) : DRAM_CALL(l->g, copy, fetched, NULL, v);
    l->g->category = category;
    return v;
}

dram_val dram_layer_slot(const dram_layers *l, const char *name, dram_shape shape, dram_init init, float std)
{
    return add_slot(l, (dram_slot){.name = (char *)(uintptr_t)name,
                                   .shape = shape,
                                   .init = init,
                                   .init_std = std,
                                   .trainable = l->b->trainable});
}

dram_val dram_layer_cast(const dram_layers *l, dram_val x)
{
    if (l->g->status != DRAM_OK || dram_value_at(l->g, x)->dtype == l->b->dtype) return x;
    return DRAM_CALL(l->g, cast, "cast", DRAM_ATTR(.dtype = (int)l->b->dtype), x);
}

/* A weight that meets activations: kept in their type, or in f32 if it is trained or to be saved. */
static dram_val matrix(const dram_layers *l, dram_shape shape, dram_init init, float std)
{
    return add_slot(l, (dram_slot){.name = (char *)(uintptr_t) "weight",
                                   .dtype = l->b->trainable || l->b->keep_f32 ? DRAM_F32 : l->b->dtype,
                                   .shape = shape,
                                   .layout = shape.rank == 4 ? DRAM_LAYOUT_OIHW : DRAM_LAYOUT_SAME,
                                   .init = init,
                                   .init_std = std,
                                   .trainable = l->b->trainable,
                                   .decays = true});
}

dram_affine dram_layer_conv_weights(const dram_layers *l, const char *name, int in, dram_conv_layer c)
{
    dram_affine a = {.weight = DRAM_NONE, .bias = DRAM_NONE, .name = name};
    if (l->g->status != DRAM_OK) return a;
    int scope = dram_scope_push(l->g, name);
    a.weight = matrix(l, DRAM_SHAPE(c.out, c.kernel, c.kernel, in / c.groups), c.init, c.std);
    if (c.bias) a.bias = dram_layer_slot(l, "bias", DRAM_SHAPE(c.out), DRAM_INIT_ZERO, 0);
    dram_scope_pop(l->g, scope);
    return a;
}

dram_val dram_layer_conv_run(const dram_layers *l, const dram_affine *a, dram_val x, dram_conv_layer c)
{
    if (l->g->status != DRAM_OK) return DRAM_NONE;
    int scope = dram_scope_push(l->g, a->name);
    dram_val y, w = dram_layer_cast(l, a->weight);
    if (c.kernel == 1 && c.stride == 1 && c.groups == 1) {
        y = DRAM_CALL(l->g, linear, "", NULL, x, w, a->bias);
    } else {
        int pad = c.stride == c.kernel ? 0 : c.kernel / 2;
        y = DRAM_CALL(l->g, conv2d, "", DRAM_ATTR(.stride = c.stride, .pad = pad, .groups = c.groups), x, w, a->bias);
    }
    dram_scope_pop(l->g, scope);
    return y;
}

dram_val dram_layer_conv(const dram_layers *l, const char *name, dram_val x, dram_conv_layer c)
{
    dram_affine a = dram_layer_conv_weights(l, name, dram_channels(l, x), c);
    return dram_layer_conv_run(l, &a, x, c);
}

dram_affine dram_layer_linear_weights(const dram_layers *l, const char *name, int in, int out, float std)
{
    dram_affine a = {.weight = DRAM_NONE, .bias = DRAM_NONE, .name = name};
    if (l->g->status != DRAM_OK) return a;
    int scope = dram_scope_push(l->g, name);
    a.weight = matrix(l, DRAM_SHAPE(out, in), DRAM_INIT_TRUNC_NORMAL, std);
    a.bias = add_slot(l, (dram_slot){.name = (char *)(uintptr_t) "bias",
                                     .dtype = l->b->low_bias && !l->b->trainable ? l->b->dtype : DRAM_F32,
                                     .shape = DRAM_SHAPE(out),
                                     .init = DRAM_INIT_ZERO,
                                     .trainable = l->b->trainable});
    dram_scope_pop(l->g, scope);
    return a;
}

static dram_val run_linear(const dram_layers *l, const dram_affine *a, dram_val x, dram_act act)
{
    if (l->g->status != DRAM_OK) return DRAM_NONE;
    int scope = dram_scope_push(l->g, a->name);
    dram_val y = DRAM_CALL(l->g, linear, "", DRAM_ATTR(.act = act), x, dram_layer_cast(l, a->weight), a->bias);
    dram_scope_pop(l->g, scope);
    return y;
}

dram_val dram_layer_linear_run(const dram_layers *l, const dram_affine *a, dram_val x)
{
    return run_linear(l, a, x, DRAM_ACT_NONE);
}

bool dram_layer_detached(const dram_layers *l, const dram_val *in, int n)
{
    for (int i = 0; i < n && !l->g->detached; i++)
        if (in[i] != DRAM_NONE && dram_value_at(l->g, in[i])->requires_grad) return false;
    return true;
}

dram_val dram_layer_linear_gelu_run(const dram_layers *l, const dram_affine *a, dram_val x)
{
    const dram_val in[] = {x, a->weight, a->bias};
    if (l->g->status != DRAM_OK) return DRAM_NONE;
    if (dram_layer_detached(l, in, 3)) return run_linear(l, a, x, DRAM_ACT_GELU);
    dram_val y = run_linear(l, a, x, DRAM_ACT_NONE);
    return DRAM_CALL(l->g, gelu, "gelu", NULL, y);
}

dram_affine dram_layer_norm_weights(const dram_layers *l, const char *name, int channels)
{
    dram_affine a = {.weight = DRAM_NONE, .bias = DRAM_NONE, .name = name};
    if (l->g->status != DRAM_OK) return a;
    int scope = dram_scope_push(l->g, name);
    a.weight = dram_layer_slot(l, "weight", DRAM_SHAPE(channels), DRAM_INIT_ONE, 0);
    a.bias = dram_layer_slot(l, "bias", DRAM_SHAPE(channels), DRAM_INIT_ZERO, 0);
    dram_scope_pop(l->g, scope);
    return a;
}

dram_val dram_layer_norm_run(const dram_layers *l, const dram_affine *a, dram_val x)
{
    if (l->g->status != DRAM_OK) return DRAM_NONE;
    int scope = dram_scope_push(l->g, a->name);
    dram_val y = DRAM_CALL(l->g, layernorm, "", DRAM_ATTR(.eps = 1e-6f), x, a->weight, a->bias);
    dram_scope_pop(l->g, scope);
    return y;
}

dram_val dram_layer_norm(const dram_layers *l, const char *name, dram_val x)
{
    dram_affine a = dram_layer_norm_weights(l, name, dram_channels(l, x));
    return dram_layer_norm_run(l, &a, x);
}

/* A running statistic: kept in the table in every mode, so that all programs have the same one; its value in this graph
 * only where something reads it. A frozen network that is run with the batch's statistics has none. */
static dram_val running(const dram_layers *l, const char *name, int channels, dram_init init)
{
    dram_slot slot = {.name = (char *)(uintptr_t)name, .shape = DRAM_SHAPE(channels), .init = init};
    if (l->b->bn != DRAM_BN_BATCH) return add_slot(l, slot);
    if (!l->b->trainable) return DRAM_NONE;
    char full[256];
    int index;
    slot = finish(l, slot, full, sizeof full);
    if (l->g->status == DRAM_OK) l->g->status = dram_slots_add(l->g->slots, &slot, &index);
    return DRAM_NONE;
}

/* stats: mean and var of x; in training the running ones follow. */
static void batch_statistics(const dram_layers *l, dram_val x, dram_val running_mean, dram_val running_var,
                             dram_val stats[2])
{
    dram_val out[DRAM_MAX_OUT] = {DRAM_NONE, DRAM_NONE};
    dram_graph_add(l->g, DRAM_OP_bn_stats, "stats", NULL, &x, 1, out);
    stats[0] = out[0];
    stats[1] = out[1];
    dram_sync_stats(l->g, stats, DRAM_NONE);
    if (l->g->status != DRAM_OK || l->b->bn != DRAM_BN_TRAIN) return;
    const dram_shape *shape = dram_shape_of(l->g, x);
    double n = (double)(dram_elements(shape) / dram_last(shape, 0)) * (l->g->sync > 1 ? l->g->sync : 1);
    if (n < 2) {
        l->g->status = dram_fail(DRAM_ERR_CONFIG,
                                 "%s: batch norm has a single value per channel to learn from; take larger images or a "
                                 "larger batch",
                                 l->g->scope);
        return;
    }
    DRAM_CALL(l->g, bn_running, "running", DRAM_ATTR(.momentum = 0.1f, .scale = (float)(n / (n - 1))), stats[0],
              stats[1], running_mean, running_var);
}

dram_bn dram_layer_bn_stats(const dram_layers *l, const char *name, dram_val x, dram_init gamma)
{
    dram_bn bn = {DRAM_NONE, DRAM_NONE, DRAM_NONE, DRAM_NONE, DRAM_NONE, l->b->bn != DRAM_BN_EVAL, name};
    if (l->g->status != DRAM_OK) return bn;
    int scope = dram_scope_push(l->g, name);
    int channels = dram_channels(l, x);
    dram_val stats[2];
    bn.x = x;
    bn.gamma = dram_layer_slot(l, "weight", DRAM_SHAPE(channels), gamma, 0);
    bn.beta = dram_layer_slot(l, "bias", DRAM_SHAPE(channels), DRAM_INIT_ZERO, 0);
    bn.mean = running(l, "running_mean", channels, DRAM_INIT_ZERO);
    bn.var = running(l, "running_var", channels, DRAM_INIT_ONE);
    if (bn.batch) {
        batch_statistics(l, x, bn.mean, bn.var, stats);
        bn.mean = stats[0];
        bn.var = stats[1];
    }
    dram_scope_pop(l->g, scope);
    return bn;
}

dram_val dram_layer_bn_apply(const dram_layers *l, const dram_bn *bn, dram_val residual, dram_act act)
{
    if (l->g->status != DRAM_OK) return DRAM_NONE;
    int scope = dram_scope_push(l->g, bn->name);
    dram_val y = DRAM_CALL(l->g, bn_apply, "", DRAM_ATTR(.eps = 1e-5f, .act = (int)act, .batch_stats = bn->batch),
                           bn->x, bn->mean, bn->var, bn->gamma, bn->beta, residual);
    dram_scope_pop(l->g, scope);
    return y;
}

dram_val dram_layer_bn(const dram_layers *l, const char *name, dram_val x, dram_val residual, dram_act act,
                       dram_init gamma)
{
    dram_bn bn = dram_layer_bn_stats(l, name, x, gamma);
    return dram_layer_bn_apply(l, &bn, residual, act);
}

dram_val dram_layer_resize(const dram_layers *l, const char *name, dram_val x, int out_h, int out_w)
{
    if (l->g->status != DRAM_OK || (dram_dim(l, x, 1) == out_h && dram_dim(l, x, 2) == out_w)) return x;
    return DRAM_CALL(l->g, resize, name, DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = out_h, .out_w = out_w), x);
}
