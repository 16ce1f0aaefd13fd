/* Tolerances: a sum over an image is in fp64 but for groups of four, so a few roundings of numbers of about 1, and for
 * ds of the sum's size, here below 30. */
#include "optest.h"

static void avgpool_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *x = c->in[0].shape.dim, pixels = x[1] * x[2];
    for (int64_t n = 0; n < x[0]; n++)
        for (int64_t k = 0; k < x[3]; k++) {
            double sum = 0;
            for (int64_t p = 0; p < pixels; p++) sum += in[0][(n * pixels + p) * x[3] + k];
            out[0][n * x[3] + k] = sum / (double)pixels;
        }
}

#define IMAGES(...)                                                                                                    \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .low = -1, .high = 2, .grad = true                                                  \
    }

static const optest_case avgpool_cases[] = {
    {.name = "odd", .in = {IMAGES(2, 5, 7, 11)}, .tol = OPTEST_EPSILONS(4), .grad_tol = OPTEST_EPSILONS(4)},
    {.name = "one pixel", .in = {IMAGES(1, 1, 1, 13)}},
    {.name = "one channel", .in = {IMAGES(3, 7, 2, 1)}},
    {.name = "several parts",
     .in = {IMAGES(2, 37, 41, 48)},
     .tol = OPTEST_EPSILONS(4),
     /* a gradient is about 1/1517 */
     .grad_tol = {FLT_EPSILON / 1000, 4 * FLT_EPSILON}},
    {.name = "wide", .in = {IMAGES(2, 3, 3, 1201)}, .tol = OPTEST_EPSILONS(4), .grad_tol = OPTEST_EPSILONS(4)},
    {.name = "rank", .in = {{OPTEST_SHAPE(2, 3, 4)}}, .refused = true},
};
OPTEST_STORED(avgpool, avgpool_ref, avgpool_cases, .stored = 0x1);
OPTEST_THROUGH(avgpool_grad, avgpool);

static void scale_channels_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *x = c->in[0].shape.dim, pixels = x[1] * x[2];
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        out[0][i] = in[0][i] * in[1][i / (pixels * x[3]) * x[3] + i % x[3]];
}

static const optest_case scale_channels_cases[] = {
    {.name = "odd",
     .in = {IMAGES(2, 5, 7, 11), {OPTEST_SHAPE(2, 11), .grad = true}},
     .tol = OPTEST_EPSILONS(2),
     .grad_tol = OPTEST_EPSILONS(32)},
    {.name = "one pixel", .in = {IMAGES(1, 1, 1, 13), {OPTEST_SHAPE(1, 13), .grad = true}}},
    {.name = "several parts",
     .in = {IMAGES(2, 37, 41, 48), {OPTEST_SHAPE(2, 48), .grad = true}},
     .tol = OPTEST_EPSILONS(2),
     .grad_tol = OPTEST_EPSILONS(128)},
    {.name = "wide",
     .in = {IMAGES(2, 3, 3, 1201), {OPTEST_SHAPE(2, 1201), .grad = true}},
     .tol = OPTEST_EPSILONS(2),
     .grad_tol = OPTEST_EPSILONS(32)},
    {.name = "other channels", .in = {IMAGES(2, 5, 7, 11), {OPTEST_SHAPE(2, 12)}}, .refused = true},
    {.name = "other batch", .in = {IMAGES(2, 5, 7, 11), {OPTEST_SHAPE(1, 11)}}, .refused = true},
};
OPTEST_STORED(scale_channels, scale_channels_ref, scale_channels_cases, .stored = 0x3);
OPTEST_THROUGH(scale_channels_sgrad, scale_channels);
