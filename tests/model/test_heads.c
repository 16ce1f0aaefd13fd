/* Neck, segmentation head and super-resolution head, run on the CPU kernels: their gradients against differences of
 * what they compute, and what they are by definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cblas.h>
#include <cmocka.h>

#include "base/rng.h"
#include "model/model.h"
#include "ops/autodiff.h"
#include "ops/call.h"
#include "support/run_graph.h"

enum { IMAGES = 2, CLASSES = 5, MAX_SLOTS = 64 };

/* Random features in place of a trunk, and everything that stands on them. */
typedef struct {
    dram_slots slots;
    dram_graph *g;
    run_state run;
    dram_features f;
    dram_val embedding, out[3], seed[3]; /* embedding, logits, super-resolved */
    dram_val weight[MAX_SLOTS];          /* of each slot, as the forward reads it */
    dram_val gradient[MAX_SLOTS];
    run_io in[8];
    int n_in;
} heads;

static float *random_numbers(const dram_shape *shape, uint64_t index, double low, double high)
{
    dram_rng rng = dram_rng_make(7, DRAM_RNG_TEST, index);
    float *x = run_memory(dram_elements(shape) * (int64_t)sizeof *x);
    for (int64_t i = 0; i < dram_elements(shape); i++) x[i] = (float)dram_rng_range(&rng, low, high);
    return x;
}

static dram_val staged(heads *h, const char *name, dram_shape shape)
{
    dram_val v = dram_graph_input(h->g, name, DRAM_F32, shape);
    h->in[h->n_in] = (run_io){v, random_numbers(&shape, (uint64_t)h->n_in, -1, 1)};
    h->n_in++;
    return v;
}

static dram_build build(const heads *h, const char *group)
{
    return (dram_build){
        .g = h->g, .group = group, .category = DRAM_CATEGORY_STUDENT_WEIGHTS, .trainable = true, .bn = DRAM_BN_TRAIN};
}

/* The slots' first values: as their init says, but constants are varied too, so that each of them matters. */
static void fill_slots(heads *h)
{
    assert_in_range(h->slots.n, 1, MAX_SLOTS);
    for (int i = 0; i < h->slots.n; i++) {
        const dram_slot *slot = h->slots.at[i];
        dram_rng rng = dram_rng_make(7, DRAM_RNG_INIT, (uint64_t)i);
        float *w = run_slot(&h->run, i);
        for (int64_t k = 0; k < dram_elements(&slot->shape); k++) {
            double u = dram_rng_range(&rng, -1, 1);
            w[k] = (float)(slot->init == DRAM_INIT_NORMAL ? sqrt(3.0) * slot->init_std * u
                                                          : (slot->init == DRAM_INIT_ONE) + 0.2 * u);
        }
    }
}

/* Taps at three strides or an embedding alone; on a trunk with batch norms or without. */
typedef enum { REGNET, VIT, LAYER_NORM } trunk;

static void heads_open(heads *h, trunk of)
{
    bool taps = of != VIT;
    *h = (heads){0};
    assert_int_equal(dram_graph_new("heads", &h->slots, &h->g), DRAM_OK);
    if (taps) { /* odd sizes: no upsampling is by exactly 2 */
        h->f = (dram_features){.n = 3, .stride = {8, 16, 32}, .channels = {12, 20, 28}, .batch_norm = of == REGNET};
        h->f.tap[0] = staged(h, "s8", DRAM_SHAPE(IMAGES, 13, 9, 12));
        h->f.tap[1] = staged(h, "s16", DRAM_SHAPE(IMAGES, 7, 5, 20));
        h->f.tap[2] = staged(h, "s32", DRAM_SHAPE(IMAGES, 4, 3, 28));
    } else {
        h->f = (dram_features){.n = 1, .stride = {16}, .channels = {256}};
        h->f.tap[0] = staged(h, "embedding", DRAM_SHAPE(IMAGES, 7, 5, 256));
    }
    dram_build neck = build(h, "neck"), head = build(h, "head"), sr = build(h, "sr");
    h->embedding = dram_neck_build(&neck, &h->f);
    h->out[0] = dram_seg_head_build(&head, &h->f, h->embedding, CLASSES);
    h->out[1] = dram_sr_head_build(&sr, h->embedding, 11, 8);
    h->out[2] = h->embedding;
    if (h->g->status != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int o = 0; o < 3; o++) {
        char name[16];
        snprintf(name, sizeof name, "seed%d", o);
        h->seed[o] = staged(h, name, *dram_shape_of(h->g, h->out[o]));
    }
    int n_values = h->g->n_values;
    dram_backward *b = NULL;
    if (dram_backward_build(h->g, h->out, h->seed, taps ? 3 : 2, &b) != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int v = 0; v < n_values; v++) {
        const dram_value *value = dram_value_at(h->g, v);
        if (value->kind != DRAM_VALUE_SLOT) continue;
        h->weight[value->slot] = v;
        h->gradient[value->slot] = dram_gradient_of(b, v);
    }
    dram_backward_free(b);
    run_open(&h->run, &h->slots, 2);
    fill_slots(h);
}

static void heads_close(heads *h)
{
    for (int i = 0; i < h->n_in; i++) free(h->in[i].data);
    run_close(&h->run);
    dram_graph_free(h->g);
    dram_slots_free(&h->slots);
}

/* sum of <seed, out>; also the gradients where `io` asks for them. */
static double evaluate(heads *h, run_io *io, int n_io)
{
    double sum = 0;
    int n = h->embedding == h->f.tap[0] ? 2 : 3;
    for (int o = 0; o < n; o++)
        io[n_io + o] = (run_io){h->out[o], run_memory(dram_value_bytes(dram_value_at(h->g, h->out[o])))};
    run_graph(&h->run, h->g, h->in, h->n_in, io, n_io + n);
    for (int o = 0; o < n; o++) {
        const float *y = io[n_io + o].data, *r = NULL;
        for (int i = 0; i < h->n_in; i++)
            if (h->in[i].v == h->seed[o]) r = h->in[i].data;
        for (int64_t k = 0; k < dram_elements(dram_shape_of(h->g, h->out[o])); k++) sum += (double)y[k] * r[k];
        free(io[n_io + o].data);
    }
    return sum;
}

static void step_slot(heads *h, int slot, const float *direction, double step)
{
    float *w = run_slot(&h->run, slot);
    for (int64_t k = 0; k < dram_elements(&h->slots.at[slot]->shape); k++) w[k] += (float)step * direction[k];
}

/* The gradient of one slot along a random direction, against the difference quotient; the share of the error. */
static double slot_error(heads *h, int slot, const float *gradient)
{
    run_io io[3];
    const dram_shape *shape = &h->slots.at[slot]->shape;
    float *d = random_numbers(shape, 1000 + (uint64_t)slot, -1, 1);
    double want = 0, norm = 0, scale = 0;
    for (int64_t k = 0; k < dram_elements(shape); k++) {
        want += (double)gradient[k] * d[k];
        norm += (double)gradient[k] * gradient[k];
        scale += (double)d[k] * d[k];
    }
    double step = 2e-3 / sqrt(scale); /* the weights' own norm is 1 or more */
    step_slot(h, slot, d, step);
    double up = evaluate(h, io, 0);
    step_slot(h, slot, d, -2 * step);
    double down = evaluate(h, io, 0);
    step_slot(h, slot, d, step);
    free(d);
    return fabs((up - down) / (2 * step) - want) / sqrt(norm * scale / (double)dram_elements(shape));
}

static void gradients(trunk of)
{
    heads h;
    run_io io[MAX_SLOTS + 3];
    int n = 0, slot[MAX_SLOTS];
    heads_open(&h, of);
    for (int i = 0; i < h.slots.n; i++) {
        const dram_slot *s = h.slots.at[i];
        if (!s->trainable) continue;
        if (h.gradient[i] == DRAM_NONE) fail_msg("%s.%s has no gradient", s->group, s->name);
        assert_true(dram_shape_equal(dram_shape_of(h.g, h.gradient[i]), &s->shape));
        slot[n] = i;
        io[n++] = (run_io){h.gradient[i], run_memory(dram_elements(&s->shape) * (int64_t)sizeof(float))};
    }
    assert_in_range(n, 10, MAX_SLOTS);
    evaluate(&h, io, n);
    for (int i = 0; i < n; i++) {
        /* In units of the gradient along a random direction. Sums of some 10^4 terms of fp32 outputs, divided by the
         * step, are exact to a few 1e-3 of it; an input of a ReLU that changes sign within the step adds as much. */
        double error = slot_error(&h, slot[i], io[i].data);
        const dram_slot *s = h.slots.at[slot[i]];
        if (!(error <= 0.05)) fail_msg("%s.%s: the gradient is off by %.3f", s->group, s->name, error);
        free(io[i].data);
    }
    heads_close(&h);
}

static void gradients_on_regnet(void **state)
{
    (void)state;
    gradients(REGNET);
}

static void gradients_on_vit(void **state)
{
    (void)state;
    gradients(VIT);
}

/* Taps, but no batch norm: then the head has none either. */
static void gradients_on_layer_norms(void **state)
{
    (void)state;
    gradients(LAYER_NORM);
    heads h;
    heads_open(&h, LAYER_NORM);
    for (int i = 0; i < h.g->n_nodes; i++) assert_int_not_equal(h.g->nodes[i]->op, DRAM_OP_bn_apply);
    heads_close(&h);
}

/* The embedding ends in LayerNorm: with its gain 1 and bias 0 every cell has mean 0 and variance 1. */
static void neck_is_normalised(void **state)
{
    (void)state;
    heads h;
    heads_open(&h, REGNET);
    const char *const part[] = {"norm2.weight", "norm2.bias"};
    for (int p = 0; p < 2; p++) {
        int i = dram_slots_find(&h.slots, "neck", part[p]);
        float *w = run_slot(&h.run, i);
        for (int64_t k = 0; k < 256; k++) w[k] = (float)(1 - p);
    }
    int64_t cells = IMAGES * 7 * 5;
    run_io io = {h.embedding, run_memory(cells * 256 * (int64_t)sizeof(float))};
    run_graph(&h.run, h.g, h.in, h.n_in, &io, 1);
    for (int64_t c = 0; c < cells; c++) {
        const float *x = (const float *)io.data + 256 * c;
        double sum = 0, squares = 0;
        for (int k = 0; k < 256; k++) {
            sum += x[k];
            squares += (double)x[k] * x[k];
        }
        /* eps of 1e-6 beside a variance near 1, and fp32 */
        assert_true(fabs(sum / 256) <= 1e-5);
        assert_true(fabs(squares / 256 - 1) <= 1e-4);
    }
    free(io.data);
    heads_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_on_regnet),
        cmocka_unit_test(gradients_on_vit),
        cmocka_unit_test(gradients_on_layer_norms),
        cmocka_unit_test(neck_is_normalised),
    };
    openblas_set_num_threads(1); /* the kernels cut products into tasks themselves */
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
