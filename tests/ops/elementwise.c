/* Tolerances: one rounding of fp32 an element; the default, 16, where a few terms are added. */
#include "optest.h"

#define ONE_ROUNDING OPTEST_EPSILONS(2)

static void add_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t n = dram_elements(&c->in[0].shape), inner = dram_elements(&c->in[1].shape);
    for (int64_t i = 0; i < n; i++) out[0][i] = in[0][i] + in[1][i % inner];
}

static const optest_case add_cases[] = {
    {.name = "same shape",
     .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}, {OPTEST_SHAPE(2, 5, 7, 3), .grad = true}},
     .tol = ONE_ROUNDING},
    {.name = "batch 1", .in = {{OPTEST_SHAPE(1, 11), .grad = true}, {OPTEST_SHAPE(1, 11), .grad = true}}},
    {.name = "to each image",
     .in = {{OPTEST_SHAPE(3, 4, 5), .grad = true}, {OPTEST_SHAPE(1, 4, 5), .grad = true}},
     .weights = 0x2, /* sum_batch */
     .tol = ONE_ROUNDING},
    {.name = "several pieces", .in = {{OPTEST_SHAPE(5, 20011), .grad = true}, {OPTEST_SHAPE(1, 20011)}}},
    {.name = "other shape", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(3, 2)}}, .refused = true},
    {.name = "batch 1 first", .in = {{OPTEST_SHAPE(1, 3)}, {OPTEST_SHAPE(2, 3)}}, .refused = true},
    {.name = "integers",
     .in = {{OPTEST_SHAPE(2), .dtype = DRAM_I32}, {OPTEST_SHAPE(2), .dtype = DRAM_I32}},
     .refused = true},
};
OPTEST_STORED(add, add_ref, add_cases, .stored = 0x3);

static void sum_batch_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t n = dram_elements(&c->in[0].shape), inner = dram_elements(&c->out[0]);
    for (int64_t i = 0; i < inner; i++) out[0][i] = 0;
    for (int64_t i = 0; i < n; i++) out[0][i % inner] += in[0][i];
}

static const optest_case sum_batch_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7, 3)}}},
    {.name = "one image", .in = {{OPTEST_SHAPE(1, 13)}}},
    {.name = "several strips", .in = {{OPTEST_SHAPE(3, 100, 101)}}},
    {.name = "vector", .in = {{OPTEST_SHAPE(9)}}},
    {.name = "integers", .in = {{OPTEST_SHAPE(2), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(sum_batch, sum_batch_ref, sum_batch_cases, .stored = 0x1, .f32_out = 0x1);

static void scale_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = (double)c->attr.scale * in[0][i];
}

static const optest_case scale_cases[] = {
    {.name = "odd", .attr = {.scale = -1.7f}, .in = {{OPTEST_SHAPE(3, 7), .grad = true}}, .tol = ONE_ROUNDING},
    {.name = "scalar", .attr = {.scale = 0.3f}, .in = {{OPTEST_SHAPE(1), .grad = true}}},
    {.name = "several pieces", .attr = {.scale = 2.5f}, .in = {{OPTEST_SHAPE(70001), .grad = true}}},
    {.name = "integers", .in = {{OPTEST_SHAPE(2), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(scale, scale_ref, scale_cases, .stored = 0x1);

static void scale_by_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = in[1][0] * in[0][i];
}

static const optest_case scale_by_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(3, 7), .grad = true}, {OPTEST_SHAPE(1)}}, .tol = ONE_ROUNDING},
    {.name = "scalar", .in = {{OPTEST_SHAPE(1), .grad = true}, {OPTEST_SHAPE(1)}}},
    {.name = "several pieces", .in = {{OPTEST_SHAPE(70001), .grad = true}, {OPTEST_SHAPE(1)}}},
    {.name = "no scalar", .in = {{OPTEST_SHAPE(2)}, {OPTEST_SHAPE(2)}}, .refused = true},
    {.name = "integers", .in = {{OPTEST_SHAPE(2), .dtype = DRAM_I32}, {OPTEST_SHAPE(1)}}, .refused = true},
};
OPTEST_STORED(scale_by, scale_by_ref, scale_by_cases, .stored = 0x1);

static void fill_ref(const optest_case *c, const double *const in[], double *const out[])
{
    (void)in;
    out[0][0] = (double)c->attr.scale;
}

static const optest_case fill_cases[] = {
    {.name = "zero", .attr = {.scale = 0}},
    {.name = "number", .attr = {.scale = -3.25f}},
};
OPTEST(fill, fill_ref, fill_cases);

static void weighted_sum_ref(const optest_case *c, const double *const in[], double *const out[])
{
    out[0][0] = 0;
    for (int i = 0; i < DRAM_MAX_IN; i++)
        if (in[i]) out[0][0] += (double)c->attr.weight[i] * in[i][0];
}

#define SCALAR                                                                                                         \
    {                                                                                                                  \
        OPTEST_SHAPE(1), .grad = true                                                                                  \
    }

static const optest_case weighted_sum_cases[] = {
    {.name = "one", .attr = {.weight = {0.7f}}, .in = {SCALAR}},
    {.name = "three", .attr = {.weight = {0.7f, -2, 0.25f}}, .in = {SCALAR, SCALAR, SCALAR}},
    {.name = "absent", .attr = {.weight = {0.7f, 5, 0.25f}}, .in = {SCALAR, {.grad = false}, SCALAR}},
    {.name = "all eight",
     .attr = {.weight = {1, 2, 3, 4, 5, 6, 7, 8}},
     .in = {SCALAR, SCALAR, SCALAR, SCALAR, SCALAR, SCALAR, SCALAR, SCALAR},
     .tol = OPTEST_EPSILONS(32)},
    {.name = "no scalar", .attr = {.weight = {1}}, .in = {{OPTEST_SHAPE(2)}}, .refused = true},
};
OPTEST(weighted_sum, weighted_sum_ref, weighted_sum_cases);
