/* Batch norm. With batch_stats the cases' mean and var are derived from x, so central differences go through them.
 *
 * Tolerances: an output is a few roundings of numbers up to about 5; a gradient of gamma or beta is a sum of R terms
 * whose fp32 parts are four long, so its error is a few epsilon times the sum of the terms' sizes, here below 60. */
#include <math.h>

#include "optest.h"

static int64_t channels_of(const optest_case *c)
{
    return dram_last(&c->in[0].shape, 0);
}

static int64_t rows_of(const optest_case *c)
{
    return dram_elements(&c->in[0].shape) / channels_of(c);
}

static void statistics(const optest_case *c, const double *x, double *mean, double *var)
{
    int64_t rows = rows_of(c), channels = channels_of(c);
    for (int64_t k = 0; k < channels; k++) {
        mean[k] = var[k] = 0;
        for (int64_t r = 0; r < rows; r++) mean[k] += x[r * channels + k] / (double)rows;
        for (int64_t r = 0; r < rows; r++) var[k] += pow(x[r * channels + k] - mean[k], 2) / (double)rows;
    }
}

static void stats_ref(const optest_case *c, const double *const in[], double *const out[])
{
    statistics(c, in[0], out[0], out[1]);
}

/* Channels far from zero: the variance must not drown in the mean's square. */
static void far_from_zero(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        in[0][i] = 1000 * (double)(i % channels_of(c)) + dram_rng_range(rng, -1, 1);
}

/* All channels constant. */
static void constant(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] = 0.1 * (double)(i % channels_of(c));
}

static const optest_case stats_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(2, 5, 7, 11)}}},
    {.name = "one row", .in = {{OPTEST_SHAPE(1, 13)}}},
    {.name = "one channel", .in = {{OPTEST_SHAPE(3, 17, 1)}}},
    {.name = "104 channels", .in = {{OPTEST_SHAPE(3, 13, 11, 104)}}},
    {.name = "many rows, few channels", .in = {{OPTEST_SHAPE(2, 300, 301, 3), .low = -2, .high = 5}}},
    {.name = "far from zero", .in = {{OPTEST_SHAPE(2, 37, 41, 5)}}, .fill = far_from_zero, .tol = OPTEST_EPSILONS(2)},
    {.name = "constant", .in = {{OPTEST_SHAPE(4, 9, 6)}}, .fill = constant},
    {.name = "wide", .in = {{OPTEST_SHAPE(7, 3001)}}},
    {.name = "vector", .in = {{OPTEST_SHAPE(4)}}, .refused = true},
    {.name = "integers", .in = {{OPTEST_SHAPE(4, 4), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(bn_stats, stats_ref, stats_cases, .stored = 0x1, .f32_out = 0x3);

/* Some channels of a batch that is not finite: mean alone, var alone, both; infinite or NaN. */
static void not_finite(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)c;
    (void)rng;
    in[0][1] = in[0][6] = INFINITY;
    in[0][3] = -INFINITY;
    in[0][8] = NAN;
    in[1][2] = in[1][6] = INFINITY;
    in[1][8] = in[1][12] = NAN;
}

static void running_ref(const optest_case *c, const double *const in[], double *const out[])
{
    double take = (double)c->attr.momentum;
    for (int64_t k = 0; k < c->in[0].shape.dim[0]; k++) {
        if (!isfinite(in[0][k]) || !isfinite(in[1][k])) {
            out[0][k] = in[2][k];
            out[1][k] = in[3][k];
            continue;
        }
        out[0][k] = (1 - take) * in[2][k] + take * in[0][k];
        out[1][k] = (1 - take) * in[3][k] + take * in[1][k] * (double)c->attr.scale;
    }
}

static const optest_case running_cases[] = {
    {.name = "odd",
     .attr = {.momentum = 0.1f, .scale = 8.0f / 7.0f},
     .in = {{OPTEST_SHAPE(13)},
            {OPTEST_SHAPE(13), .low = 0.1, .high = 2},
            {OPTEST_SHAPE(13)},
            {OPTEST_SHAPE(13), .low = 0.1, .high = 2}}},
    {.name = "not finite",
     .attr = {.momentum = 0.1f, .scale = 8.0f / 7.0f},
     .in = {{OPTEST_SHAPE(13)},
            {OPTEST_SHAPE(13), .low = 0.1, .high = 2},
            {OPTEST_SHAPE(13)},
            {OPTEST_SHAPE(13), .low = 0.1, .high = 2}},
     .fill = not_finite},
    {.name = "lengths differ",
     .in = {{OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(4)}},
     .refused = true},
};
OPTEST(bn_running, running_ref, running_cases);

static void apply_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) {
        int64_t k = i % channels_of(c);
        double y = in[3][k] * (in[0][i] - in[1][k]) / sqrt(in[2][k] + (double)c->attr.eps) + in[4][k];
        if (in[5]) y += in[5][i];
        out[0][i] = c->attr.act == DRAM_ACT_RELU && y < 0 ? 0 : y;
    }
}

static void derive_statistics(const optest_case *c, double *const in[])
{
    statistics(c, in[0], in[1], in[2]);
}

#define X_OF(...)                                                                                                      \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .low = -1.5, .high = 2.5, .grad = true                                              \
    }
#define CHANNELS(C)                                                                                                    \
    {OPTEST_SHAPE(C)}, {OPTEST_SHAPE(C), .low = 0.3, .high = 2},                                                       \
        {OPTEST_SHAPE(C), .low = -2, .high = 2, .grad = true},                                                         \
    {                                                                                                                  \
        OPTEST_SHAPE(C), .grad = true                                                                                  \
    }
#define RESIDUAL(...)                                                                                                  \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .grad = true                                                                        \
    }
#define TOLERANCES .tol = OPTEST_EPSILONS(8), .grad_tol = OPTEST_EPSILONS(64)
#define BATCH .batch_stats = 1, .eps = 1e-5f
#define FIXED .eps = 1e-3f

static const optest_case apply_cases[] = {
    {.name = "fixed", .attr = {FIXED}, .in = {X_OF(2, 5, 7, 3), CHANNELS(3)}, TOLERANCES},
    {.name = "fixed, relu", .attr = {FIXED, .act = DRAM_ACT_RELU}, .in = {X_OF(2, 5, 7, 11), CHANNELS(11)}, TOLERANCES},
    {.name = "fixed, residual",
     .attr = {FIXED},
     .in = {X_OF(1, 7, 5, 3), CHANNELS(3), RESIDUAL(1, 7, 5, 3)},
     TOLERANCES},
    {.name = "fixed, residual, relu",
     .attr = {FIXED, .act = DRAM_ACT_RELU},
     .in = {X_OF(1, 7, 5, 3), CHANNELS(3), RESIDUAL(1, 7, 5, 3)},
     TOLERANCES},
    {.name = "batch", .attr = {BATCH}, .in = {X_OF(2, 5, 7, 3), CHANNELS(3)}, .derive = derive_statistics, TOLERANCES},
    {.name = "batch, relu",
     .attr = {BATCH, .act = DRAM_ACT_RELU},
     .in = {X_OF(2, 5, 7, 3), CHANNELS(3)},
     .derive = derive_statistics,
     TOLERANCES},
    {.name = "batch, residual",
     .attr = {BATCH},
     .in = {X_OF(13, 7), CHANNELS(7), RESIDUAL(13, 7)},
     .derive = derive_statistics,
     TOLERANCES},
    {.name = "batch, residual, relu",
     .attr = {BATCH, .act = DRAM_ACT_RELU},
     .in = {X_OF(2, 5, 3, 13), CHANNELS(13), RESIDUAL(2, 5, 3, 13)},
     .derive = derive_statistics,
     TOLERANCES},
    {.name = "batch, relu, several tasks",
     .attr = {BATCH, .act = DRAM_ACT_RELU},
     .in = {X_OF(2, 31, 29, 48), CHANNELS(48)},
     .derive = derive_statistics,
     .step = 1e-7, /* 86 304 outputs: a larger step would move one over the activation's edge */
     .tol = OPTEST_EPSILONS(32),
     .grad_tol = {2e-4, 1e-5}},
    /* wider than a buffer of floats, with four rows at a time and one over */
    {.name = "batch, residual, relu, wide",
     .attr = {BATCH, .act = DRAM_ACT_RELU},
     .in = {X_OF(5, 2101), CHANNELS(2101), RESIDUAL(5, 2101)},
     .derive = derive_statistics,
     .tol = OPTEST_EPSILONS(32),
     .grad_tol = OPTEST_EPSILONS(256)},
    {.name = "other channels", .in = {X_OF(2, 3), CHANNELS(4)}, .refused = true},
    {.name = "other residual", .in = {X_OF(2, 3), CHANNELS(3), RESIDUAL(3, 3)}, .refused = true},
    {.name = "GELU", .attr = {.eps = 1e-5f, .act = DRAM_ACT_GELU}, .in = {X_OF(2, 3), CHANNELS(3)}, .refused = true},
};
OPTEST_STORED(bn_apply, apply_ref, apply_cases, .stored = 0x21);
OPTEST_THROUGH(bn_reduce, bn_apply);
OPTEST_THROUGH(bn_dgrad, bn_apply);
