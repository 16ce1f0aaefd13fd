/* exec_net: a net with most of the ops, its training step and its evaluation, as src/session would build them. */
#ifndef TESTS_DEVICE_EXEC_NET_H
#define TESTS_DEVICE_EXEC_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "device/exec.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "passes/recompute.h"
#include "support/device.h"
#include "support/ok.h"

/* N batch, S side of the image, C channels, K classes. */
enum { N = 2, S = 32, C = 8, K = 5, STEPS = 3, WORKERS = 2 };

typedef struct {
    dram_slots slots;
    dram_graph *step, *eval;
    struct {
        dram_val image, valid, labels, count, target, mask, hyper, loss, clip, logits;
    } io[2]; /* of step, of eval */
} net;

static inline dram_val slot(dram_graph *g, const char *name, dram_shape shape, bool trainable)
{
    char copy[96];
    snprintf(copy, sizeof copy, "%s", name);
    return dram_graph_slot(g, &(dram_slot){.name = copy,
                                           .dtype = DRAM_F32,
                                           .shape = shape,
                                           .category = DRAM_CATEGORY_STUDENT_WEIGHTS,
                                           .trainable = trainable,
                                           .group = trainable ? "student" : "optimizer"});
}

static inline dram_val weight(dram_graph *g, const char *layer, const char *part, dram_shape shape)
{
    char name[64];
    snprintf(name, sizeof name, "%s.%s", layer, part);
    return slot(g, name, shape, strncmp(part, "running", 7) != 0);
}

static inline dram_val conv(dram_graph *g, const char *name, dram_val x, int out, int kernel, int stride, int groups)
{
    int in = (int)dram_last(dram_shape_of(g, x), 0);
    dram_val w = weight(g, name, "weight", DRAM_SHAPE(out, kernel, kernel, in / groups));
    return DRAM_CALL(g, conv2d, name, DRAM_ATTR(.stride = stride, .pad = kernel / 2, .groups = groups), x, w);
}

static inline dram_val linear(dram_graph *g, const char *name, dram_val x, int out)
{
    dram_val w = weight(g, name, "weight", DRAM_SHAPE(out, dram_last(dram_shape_of(g, x), 0)));
    return DRAM_CALL(g, linear, name, NULL, x, w, weight(g, name, "bias", DRAM_SHAPE(out)));
}

static inline dram_val bn(dram_graph *g, const char *name, dram_val x, dram_val residual, bool train)
{
    char part[64];
    dram_shape shape = DRAM_SHAPE(dram_last(dram_shape_of(g, x), 0));
    dram_val gamma = weight(g, name, "weight", shape), beta = weight(g, name, "bias", shape);
    dram_val mean = weight(g, name, "running_mean", shape), var = weight(g, name, "running_var", shape);
    if (train) {
        dram_val stats[DRAM_MAX_OUT];
        snprintf(part, sizeof part, "%s.stats", name);
        dram_graph_add(g, DRAM_OP_bn_stats, part, NULL, &x, 1, stats);
        snprintf(part, sizeof part, "%s.running", name);
        DRAM_CALL(g, bn_running, part, DRAM_ATTR(.momentum = 0.1f, .scale = 1.01f), stats[0], stats[1], mean, var);
        mean = stats[0];
        var = stats[1];
    }
    return DRAM_CALL(g, bn_apply, name, DRAM_ATTR(.eps = 1e-5f, .act = DRAM_ACT_RELU, .batch_stats = train), x, mean,
                     var, gamma, beta, residual);
}

static inline dram_val layernorm(dram_graph *g, const char *name, dram_val x)
{
    dram_shape shape = DRAM_SHAPE(dram_last(dram_shape_of(g, x), 0));
    return DRAM_CALL(g, layernorm, name, DRAM_ATTR(.eps = 1e-6f), x, weight(g, name, "weight", shape),
                     weight(g, name, "bias", shape));
}

/* Squeeze and excitation. */
static inline dram_val gate(dram_graph *g, dram_val x)
{
    dram_val s = DRAM_CALL(g, avgpool, "se.pool", NULL, x);
    s = DRAM_CALL(g, relu, "se.relu", NULL, linear(g, "se.fc1", s, 4));
    s = DRAM_CALL(g, sigmoid, "se.sigmoid", NULL, linear(g, "se.fc2", s, C));
    return DRAM_CALL(g, scale_channels, "se.scale", NULL, x, s);
}

/* A transformer block with windows that do not divide the grid. */
static inline dram_val block(dram_graph *g, dram_val x)
{
    enum { WINDOW = 3, HEADS = 2 };
    dram_val y = layernorm(g, "norm1", x);
    dram_val w = weight(g, "qkv", "weight", DRAM_SHAPE(3 * C, C)), b = weight(g, "qkv", "bias", DRAM_SHAPE(3 * C));
    dram_val qkv = DRAM_CALL(g, linear, "qkv", NULL, y, w, b);
    dram_val rel_h = weight(g, "attn", "rel_pos_h", DRAM_SHAPE(2 * WINDOW - 1, C / HEADS));
    dram_val rel_w = weight(g, "attn", "rel_pos_w", DRAM_SHAPE(2 * WINDOW - 1, C / HEADS));
    y = DRAM_CALL(g, attention, "attn", DRAM_ATTR(.heads = HEADS, .window = WINDOW), qkv, rel_h, rel_w, b);
    x = DRAM_CALL(g, add, "sum1", NULL, x, linear(g, "proj", y, C));
    y = DRAM_CALL(g, gelu, "gelu", NULL, linear(g, "fc1", layernorm(g, "norm2", x), 2 * C));
    return DRAM_CALL(g, add, "sum2", NULL, x, linear(g, "fc2", y, C));
}

static inline void update(dram_graph *g, const dram_backward *back, int n_values, dram_val hyper, dram_val clip)
{
    for (dram_val v = 0; v < n_values && g->status == DRAM_OK; v++) {
        char m[80], u[80];
        if (g->values[v]->kind != DRAM_VALUE_SLOT || dram_gradient_of(back, v) == DRAM_NONE) continue;
        dram_val gradient = dram_gradient_of(back, v);
        const dram_shape shape = *dram_shape_of(g, v);
        snprintf(m, sizeof m, "m.%d", v);
        snprintf(u, sizeof u, "v.%d", v);
        if (v % 2) /* both optimisers */
            DRAM_CALL(g, sgd, "sgd", DRAM_ATTR(.momentum = 0.9f, .decay = 0.01f), v, gradient, slot(g, m, shape, false),
                      hyper, clip);
        else
            DRAM_CALL(g, adamw, "adamw", DRAM_ATTR(.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f, .decay = 0.05f), v,
                      gradient, slot(g, m, shape, false), slot(g, u, shape, false), hyper, clip);
    }
}

static inline void train(dram_graph *g, dram_val loss, dram_val hyper, dram_val *clip)
{
    dram_backward *back = NULL;
    dram_val squares = DRAM_NONE, seed = dram_call(g, DRAM_OP_fill, "seed", DRAM_ATTR(.scale = 1.0f), NULL, 0);
    int n = g->n_values;
    assert_int_equal(dram_backward_build(g, &loss, &seed, 1, &back), DRAM_OK);
    for (dram_val v = 0; v < n; v++)
        if (g->values[v]->kind == DRAM_VALUE_SLOT && dram_gradient_of(back, v) != DRAM_NONE)
            squares = DRAM_CALL(g, sumsq, "squares", NULL, dram_gradient_of(back, v), squares);
    *clip = DRAM_CALL(g, clip_factor, "clip", DRAM_ATTR(.clip = 1.0f), squares);
    dram_graph_output(g, *clip);
    update(g, back, n, hyper, *clip);
    dram_backward_free(back);
}

static inline void build(net *n, dram_graph *g, bool step)
{
    n->io[!step].image = dram_graph_input(g, "image", DRAM_U8, DRAM_SHAPE(N, S, S, 3));
    n->io[!step].valid = dram_graph_input(g, "valid", DRAM_I32, DRAM_SHAPE(N, 2));
    dram_val x = DRAM_CALL(g, image_norm, "norm", DRAM_ATTR(.mean = {120, 115, 104}, .std = {58, 57, 57}),
                           n->io[!step].image, n->io[!step].valid);
    x = bn(g, "stem.bn", conv(g, "stem", x, C, 3, 2, 1), DRAM_NONE, step);
    dram_val y = bn(g, "a.bn", conv(g, "a", x, C, 3, 1, 2), DRAM_NONE, step);
    y = gate(g, y);
    x = bn(g, "b.bn", conv(g, "b", y, C, 1, 1, 1), x, step);
    x = conv(g, "down", x, C, 3, 2, 1);
    x = block(g, x);
    n->io[!step].logits = linear(g, "head", x, K);
    dram_graph_output(g, n->io[!step].logits);
    if (!step) return;
    n->io[0].labels = dram_graph_input(g, "labels", DRAM_U8, DRAM_SHAPE(N, S, S));
    n->io[0].count = dram_graph_input(g, "count", DRAM_F32, DRAM_SHAPE(1));
    n->io[0].target = dram_graph_input(g, "target", DRAM_F32, DRAM_SHAPE(N, 4, 4, C));
    n->io[0].mask = dram_graph_input(g, "mask", DRAM_F32, DRAM_SHAPE(N, 4, 4));
    n->io[0].hyper = dram_graph_input(g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    dram_val small = DRAM_CALL(g, resize, "small", DRAM_ATTR(.mode = DRAM_RESIZE_BILINEAR, .out_h = 4, .out_w = 4), x);
    dram_val terms[2];
    terms[0] =
        DRAM_CALL(g, embed_loss, "embed", DRAM_ATTR(.mode = DRAM_EMBED_COSINE), small, n->io[0].target, n->io[0].mask);
    terms[1] =
        DRAM_CALL(g, cross_entropy, "task", DRAM_ATTR(.ignore = 255), n->io[0].logits, n->io[0].labels, n->io[0].count);
    n->io[0].loss = dram_call(g, DRAM_OP_weighted_sum, "loss", DRAM_ATTR(.weight = {0.5f, 1.0f}), terms, 2);
    dram_graph_output(g, n->io[0].loss);
    train(g, n->io[0].loss, n->io[0].hyper, &n->io[0].clip);
}

static inline void recompute_norms(dram_graph *g)
{
    dram_recompute *r;
    dram_profile profile = dram_profile_cpu(2);
    assert_int_equal(dram_recompute_open(g, &profile, (dram_recompute_options){.norms = true, .in_place = true}, &r),
                     DRAM_OK);
    assert_int_equal(dram_recompute_apply(r, g, NULL), DRAM_OK);
    dram_recompute_close(r);
}

static inline void net_open(net *n, bool recompute)
{
    *n = (net){0};
    assert_int_equal(dram_graph_new("step", &n->slots, &n->step), DRAM_OK);
    build(n, n->step, true);
    if (recompute) recompute_norms(n->step);
    assert_int_equal(dram_graph_new("eval", &n->slots, &n->eval), DRAM_OK);
    n->eval->detached = true;
    build(n, n->eval, false);
    if (n->step->status != DRAM_OK || n->eval->status != DRAM_OK) fail_msg("%s", dram_error_text());
}

static inline void net_close(net *n)
{
    dram_graph_free(n->step);
    dram_graph_free(n->eval);
    dram_slots_free(&n->slots);
}

static inline dram_plan *plan_of(const net *n, dram_plan_options options)
{
    dram_plan *plan;
    const dram_graph *graphs[] = {n->step, n->eval};
    dram_profile profile = test_profile(WORKERS);
    ok(dram_plan_make(graphs, 2, &n->slots, &profile, options, &plan));
    return plan;
}

#endif
