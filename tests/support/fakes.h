/* fakes: rules that take shapes from the attributes, so that a graph of any shape can be built without src/ops, and
 * graphs to plan. */
#ifndef TESTS_SUPPORT_FAKES_H
#define TESTS_SUPPORT_FAKES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "plan/plan.h"

/* attr.window: f32 [groups, out_h, out_w, window]; else attr.out_h: u8 [out_h] (0 with attr.mode); else as input 0. */
static inline dram_status fake_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *a = &node->attr;
    for (int o = 0; o < node->n_out; o++) {
        int from = dram_op_updates(node->op, o);
        if (a->ignore) return dram_graph_fail(g, "%s is refused", node->name);
        if (from == DRAM_NONE && a->window) {
            out[o]->dtype = DRAM_F32;
            out[o]->shape = DRAM_SHAPE(a->groups, a->out_h, a->out_w, a->window);
        } else if (from == DRAM_NONE && (a->out_h || a->mode)) {
            out[o]->dtype = DRAM_U8;
            out[o]->shape = DRAM_SHAPE(a->out_h);
        } else {
            if (from == DRAM_NONE) from = 0;
            out[o]->dtype = dram_value_at(g, node->in[from])->dtype;
            out[o]->shape = *dram_shape_of(g, node->in[from]);
        }
    }
    return DRAM_OK;
}

static inline int64_t fake_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    (void)g;
    (void)profile;
    return node->attr.stride;
}

static inline int64_t fake_flops(const dram_graph *g, const dram_node *node)
{
    return node->attr.heads ? 2 * (int64_t)node->attr.heads * dram_elements(dram_shape_of(g, node->out[0])) : 1;
}

static inline int fake_setup(void **state)
{
    static const dram_rules rules = {.shape = fake_shape, .workspace = fake_workspace, .flops = fake_flops};
    static const dram_rules *table[DRAM_OP_COUNT];
    (void)state;
    for (int i = 0; i < DRAM_OP_COUNT; i++) table[i] = &rules;
    dram_op_rules = table;
    return 0;
}

/* One call of op `op` with up to three inputs, and `bytes` of output 0 (-1: as input 0). */
static inline dram_val fake_node(dram_graph *g, dram_op op, const char *name, int bytes, int workspace, int n_in,
                                 dram_val a, dram_val b, dram_val c)
{
    dram_val in[3] = {a, b, c}, out[DRAM_MAX_OUT];
    dram_attr attr = {.stride = workspace};
    if (bytes >= 0) {
        attr.out_h = bytes;
        attr.mode = 1;
    }
    dram_graph_add(g, op, name, &attr, in, n_in, out);
    return out[0];
}

static inline dram_val fake_slot(dram_graph *g, const char *group, const char *name, int bytes, dram_category category)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%s", name);
    return dram_graph_slot(g, &(dram_slot){.name = copy,
                                           .dtype = DRAM_U8,
                                           .shape = DRAM_SHAPE(bytes),
                                           .category = category,
                                           .trainable = true,
                                           .group = group});
}

static inline dram_plan *fake_plan_with(dram_graph *const *graphs, int n, const dram_slots *slots,
                                        dram_plan_options options)
{
    const dram_graph *list[8];
    dram_profile profile = dram_profile_cpu(2);
    dram_plan *plan = NULL;
    for (int i = 0; i < n; i++) {
        assert_int_equal(graphs[i]->status, DRAM_OK);
        list[i] = graphs[i];
    }
    assert_int_equal(dram_plan_make(list, n, slots, &profile, options, &plan), DRAM_OK);
    return plan;
}

static inline dram_plan *fake_plan(dram_graph *const *graphs, int n, const dram_slots *slots, bool in_place,
                                   bool eager_free)
{
    return fake_plan_with(graphs, n, slots,
                          (dram_plan_options){.eager_free = eager_free, .in_place = in_place, .share_teacher = true});
}

#define NODE(g, op, name, bytes, n_in, ...) fake_node(g, DRAM_OP_##op, name, bytes, 0, n_in, __VA_ARGS__)
#define NO DRAM_NONE

/* A graph to build and plan by hand: setup and teardown of one test. */
typedef struct {
    dram_slots slots;
    dram_graph *g;
    dram_plan *plan;
} fake_fixture;

static inline int fake_open(void **state)
{
    static fake_fixture f;
    f = (fake_fixture){0};
    dram_error_clear();
    *state = &f;
    return dram_graph_new("step", &f.slots, &f.g) == DRAM_OK ? 0 : -1;
}

static inline int fake_close(void **state)
{
    fake_fixture *f = *state;
    dram_plan_free(f->plan);
    dram_graph_free(f->g);
    dram_slots_free(&f->slots);
    dram_error_clear();
    return 0;
}

enum { NET_MAX = 64 };

static inline dram_val net_map(dram_graph *g, dram_op op, const char *name, int side, int channels, int workspace,
                               const dram_val *in, int n_in)
{
    dram_val out[DRAM_MAX_OUT];
    dram_attr attr = {
        .groups = 4, .out_h = side, .out_w = side, .window = channels, .stride = workspace, .heads = channels};
    dram_graph_add(g, op, name, &attr, in, n_in, out);
    return out[0];
}

static inline dram_val net_weight(dram_graph *g, const char *group, const char *name, int channels,
                                  dram_category category)
{
    char full[80];
    snprintf(full, sizeof full, "%s.weight", name);
    return fake_slot(g, group, full, 4 * channels * channels * 3, category);
}

/* Forward of a frozen teacher, then forward, backward and update of a student of `blocks` blocks (conv, norm and
 * activation, shortcut), as far as bytes go. */
static inline void fake_training_step(dram_graph *g, int blocks)
{
    dram_val image = dram_graph_input(g, "image", DRAM_F32, DRAM_SHAPE(4, 128, 128, 3));
    dram_val w[NET_MAX], x[NET_MAX + 1], y[NET_MAX], m[NET_MAX], v[NET_MAX];
    int side[NET_MAX + 1], width[NET_MAX + 1];
    char name[64];
    g->detached = true;
    g->category = DRAM_CATEGORY_TEACHER_ACTIVATIONS;
    dram_val t = net_map(g, DRAM_OP_conv2d, "teacher.patch", 16, 192, 1 << 18,
                         (dram_val[]){image, net_weight(g, "teacher", "patch", 96, DRAM_CATEGORY_TEACHER_WEIGHTS)}, 2);
    for (int i = 0; i < blocks / 2; i++) {
        snprintf(name, sizeof name, "teacher.blocks.%d", i);
        dram_val tw = net_weight(g, "teacher", name + 8, 256, DRAM_CATEGORY_TEACHER_WEIGHTS);
        dram_val h = net_map(g, DRAM_OP_linear, name, 16, 768, 1 << 18, (dram_val[]){t, tw}, 2);
        h = net_map(g, DRAM_OP_gelu, name, 16, 768, 0, &h, 1);
        h = net_map(g, DRAM_OP_linear, name, 16, 192, 1 << 18, (dram_val[]){h, tw}, 2);
        t = net_map(g, DRAM_OP_add, name, 16, 192, 0, (dram_val[]){h, t}, 2);
    }
    g->detached = false;
    g->category = DRAM_CATEGORY_ACTIVATIONS;
    x[0] = image;
    side[0] = 128;
    width[0] = 3;
    for (int i = 0; i < blocks; i++) {
        side[i + 1] = i % 4 == 0 && side[i] > 8 ? side[i] / 2 : side[i];
        width[i + 1] = side[i + 1] < side[i] ? (i ? width[i] * 3 / 2 : 32) : width[i];
        snprintf(name, sizeof name, "student.s%d.b%d.conv", i / 4 + 1, i % 4 + 1);
        w[i] = net_weight(g, "student", name + 8, width[i + 1], DRAM_CATEGORY_STUDENT_WEIGHTS);
        snprintf(name, sizeof name, "student.s%d.b%d", i / 4 + 1, i % 4 + 1);
        int scope = dram_scope_push(g, name);
        y[i] = net_map(g, DRAM_OP_conv2d, "conv", side[i + 1], width[i + 1], 1 << 17, (dram_val[]){x[i], w[i]}, 2);
        x[i + 1] = net_map(g, DRAM_OP_relu, "act", side[i + 1], width[i + 1], 0, &y[i], 1);
        if (side[i + 1] == side[i])
            x[i + 1] = net_map(g, DRAM_OP_add, "shortcut", side[i], width[i], 0, (dram_val[]){x[i + 1], x[i]}, 2);
        dram_scope_pop(g, scope);
    }
    for (int i = 0; i < blocks; i++) {
        int bytes = 4 * width[i + 1] * width[i + 1] * 3;
        snprintf(name, sizeof name, "s%d.b%d.m", i / 4 + 1, i % 4 + 1);
        m[i] = fake_slot(g, "optimizer", name, bytes, DRAM_CATEGORY_OPTIMIZER);
        snprintf(name, sizeof name, "s%d.b%d.v", i / 4 + 1, i % 4 + 1);
        v[i] = fake_slot(g, "optimizer", name, bytes, DRAM_CATEGORY_OPTIMIZER);
    }
    g->category = DRAM_CATEGORY_GRADIENTS;
    dram_val mask = fake_node(g, DRAM_OP_fill, "mask", 4096, 0, 0, DRAM_NONE, DRAM_NONE, DRAM_NONE);
    dram_val neck = net_map(g, DRAM_OP_resize, "neck", 16, 192, 0, &x[blocks], 1);
    dram_val loss = fake_node(g, DRAM_OP_embed_loss, "loss", 4, 0, 3, neck, t, mask);
    dram_graph_output(g, loss);
    dram_val one = fake_node(g, DRAM_OP_fill, "one", 4, 0, 0, DRAM_NONE, DRAM_NONE, DRAM_NONE);
    dram_val d = net_map(g, DRAM_OP_embed_loss_grad, "loss.grad", 16, 192, 0, (dram_val[]){neck, t, mask, one}, 4);
    d = net_map(g, DRAM_OP_resize_grad, "neck.grad", side[blocks], width[blocks], 0, &d, 1);
    dram_val hyper = dram_graph_input(g, "hyper", DRAM_F32, DRAM_SHAPE(4)), clip = hyper;
    for (int i = blocks - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "student.s%d.b%d", i / 4 + 1, i % 4 + 1);
        int scope = dram_scope_push(g, name);
        dram_val dy = net_map(g, DRAM_OP_relu_grad, "act.grad", side[i + 1], width[i + 1], 0, (dram_val[]){y[i], d}, 2);
        dram_val dw = fake_node(g, DRAM_OP_conv2d_wgrad, "conv.wgrad", 4 * width[i + 1] * width[i + 1] * 3, 1 << 17, 2,
                                x[i], dy, DRAM_NONE);
        if (i) {
            dram_val add = side[i + 1] == side[i] ? d : DRAM_NONE;
            d = net_map(g, DRAM_OP_conv2d_dgrad, "conv.dgrad", side[i], width[i], 1 << 17, (dram_val[]){dy, w[i], add},
                        add == DRAM_NONE ? 2 : 3);
        }
        dram_val out[DRAM_MAX_OUT];
        dram_graph_add(g, DRAM_OP_adamw, "adamw", &(dram_attr){.beta1 = .9f},
                       (dram_val[]){w[i], dw, m[i], v[i], hyper, clip}, 6, out);
        dram_scope_pop(g, scope);
    }
}

/* Plans the fixture's graph anew; its program. */
static inline dram_program *fake_make(fake_fixture *f, dram_plan_options options)
{
    dram_plan_free(f->plan);
    f->plan = fake_plan_with(&f->g, 1, &f->slots, options);
    return &f->plan->programs[0];
}

static inline dram_val fake_slot_in(fake_fixture *f, const char *group, const char *name, int bytes,
                                    dram_category category, dram_space space)
{
    char copy[64];
    snprintf(copy, sizeof copy, "%s", name);
    return dram_graph_slot(f->g, &(dram_slot){.name = copy,
                                              .dtype = DRAM_U8,
                                              .shape = DRAM_SHAPE(bytes),
                                              .category = category,
                                              .space = space,
                                              .group = group});
}

/* A copy from the host's side into the device's. */
static inline dram_val fake_copy(fake_fixture *f, const char *name, dram_val v)
{
    dram_val y = NODE(f->g, copy, name, -1, 1, v, NO, NO);
    f->g->values[y]->space = DRAM_SPACE_DEVICE;
    return y;
}

#endif
