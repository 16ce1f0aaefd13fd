#include <math.h>

#include "optest.h"

/* ---- channel_stats: sums in fp64, so the two results are rounded once ---- */

static void channel_stats_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *x = c->in[0].shape.dim, cells = x[0] * x[1] * x[2], channels = x[3];
    for (int64_t k = 0; k < channels; k++) {
        double n = 0, mean = 0, var = 0;
        for (int64_t i = 0; i < cells; i++)
            if (in[1][i] != 0) {
                mean += in[0][i * channels + k];
                n++;
            }
        mean = n > 0 ? mean / n : 0;
        for (int64_t i = 0; i < cells; i++)
            if (in[1][i] != 0) var += (in[0][i * channels + k] - mean) * (in[0][i * channels + k] - mean);
        out[0][k] = mean;
        out[1][k] = n > 0 ? var / n : 1;
    }
}

/* A valid rectangle, another for each image; what is outside must not be read. */
static void padded(const optest_case *c, dram_rng *rng, double *const in[])
{
    const int64_t *s = c->in[0].shape.dim;
    (void)rng;
    for (int64_t i = 0; i < s[0] * s[1] * s[2]; i++) {
        int64_t n = i / s[2] / s[1], y = i / s[2] % s[1], x = i % s[2];
        in[1][i] = y <= s[1] * (n + 1) / (s[0] + 1) && x <= s[2] * (s[0] - n) / (s[0] + 1);
        for (int64_t k = 0; in[1][i] == 0 && k < s[3]; k++) in[0][i * s[3] + k] = NAN;
    }
}

static void empty(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[1].shape); i++) in[1][i] = 0;
}

static void single(const optest_case *c, dram_rng *rng, double *const in[])
{
    empty(c, rng, in);
    in[1][1] = 1;
}

#define ONE_ROUNDING                                                                                                   \
    {                                                                                                                  \
        1e-12, FLT_EPSILON / 2 * 1.001                                                                                 \
    }

static const optest_case channel_stats_cases[] = {
    {.name = "padded",
     .in = {{OPTEST_SHAPE(3, 5, 7, 11)}, {OPTEST_SHAPE(3, 5, 7)}},
     .fill = padded,
     .tol = ONE_ROUNDING},
    {.name = "256 channels",
     .in = {{OPTEST_SHAPE(2, 6, 7, 256)}, {OPTEST_SHAPE(2, 6, 7)}},
     .fill = padded,
     .tol = ONE_ROUNDING},
    /* the squares' cancellation: 2^-53 of 10^4 over the variance of 1/3 */
    {.name = "far from zero",
     .in = {{OPTEST_SHAPE(2, 9, 8, 33), .low = 99, .high = 101}, {OPTEST_SHAPE(2, 9, 8)}},
     .fill = padded,
     .tol = {1e-11, FLT_EPSILON / 2 * 1.001}},
    {.name = "no cells", .in = {{OPTEST_SHAPE(2, 3, 3, 5)}, {OPTEST_SHAPE(2, 3, 3)}}, .fill = empty, .tol = {1e-30, 0}},
    {.name = "one cell",
     .in = {{OPTEST_SHAPE(2, 3, 3, 5)}, {OPTEST_SHAPE(2, 3, 3)}},
     .fill = single,
     .tol = ONE_ROUNDING},
    {.name = "other mask", .in = {{OPTEST_SHAPE(2, 3, 4, 5)}, {OPTEST_SHAPE(2, 4, 3)}}, .refused = true},
    {.name = "tokens", .in = {{OPTEST_SHAPE(2, 3, 5)}, {OPTEST_SHAPE(2, 3)}}, .refused = true},
};
OPTEST(channel_stats, channel_stats_ref, channel_stats_cases);

/* ---- standardize: a difference, a sum, a root and a quotient, each rounded once ---- */

static void standardize_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t channels = c->in[1].shape.dim[0];
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) {
        int64_t k = i % channels;
        out[0][i] = (in[0][i] - in[1][k]) / sqrt(in[2][k] + (double)c->attr.eps);
    }
}

/* A channel that does not vary: eps alone divides. */
static void constant_channel(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)c;
    (void)rng;
    in[2][1] = 0;
}

#define IN(...)                                                                                                        \
    {                                                                                                                  \
        OPTEST_SHAPE(__VA_ARGS__), .grad = true                                                                        \
    }
#define STATS(C)                                                                                                       \
    {OPTEST_SHAPE(C)},                                                                                                 \
    {                                                                                                                  \
        OPTEST_SHAPE(C), .low = 0.1, .high = 3                                                                         \
    }
#define EPS .attr = {.eps = 1e-5F}
#define TOLERANCES .tol = OPTEST_EPSILONS(4), .grad_tol = {2e-7, 4 * FLT_EPSILON}

static const optest_case standardize_cases[] = {
    {.name = "image", EPS, .in = {IN(2, 5, 3, 7), STATS(7)}, TOLERANCES},
    {.name = "tokens", EPS, .in = {IN(9, 33), STATS(33)}, TOLERANCES},
    {.name = "256 channels, several pieces", EPS, .in = {IN(2, 9, 8, 256), STATS(256)}, TOLERANCES},
    {.name = "constant channel",
     EPS,
     .in = {IN(2, 3, 3, 4), STATS(4)},
     .fill = constant_channel,
     .tol = OPTEST_EPSILONS(4),
     .grad_tol = {1e-4, 4 * FLT_EPSILON}}, /* differences over 2e-5 of numbers of 316 */
    {.name = "other channels", EPS, .in = {IN(2, 3, 3, 4), STATS(3)}, .refused = true},
    {.name = "no channels", EPS, .in = {IN(4), STATS(4)}, .refused = true},
    {.name = "integers", EPS, .in = {{OPTEST_SHAPE(2, 4), .dtype = DRAM_I32}, STATS(4)}, .refused = true},
};
OPTEST(standardize, standardize_ref, standardize_cases);
OPTEST_THROUGH(standardize_grad, standardize);
