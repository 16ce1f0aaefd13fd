/* Tolerances: z = (x - mean) / std is of order 1 and carries a few roundings of x / std and of the mean of C <= 1280
 * values summed in lanes; 16 epsilon forward (the default) covers a std of 0.3 and above. The gradient of x adds two
 * more means; those of gamma and beta are sums of R products, their errors grow with sqrt(R). */
#include <math.h>

#include "optest.h"

static void layernorm_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t channels = dram_elements(&c->in[1].shape), rows = dram_elements(&c->in[0].shape) / channels;
    for (int64_t r = 0; r < rows; r++) {
        const double *x = in[0] + r * channels;
        double mean = 0, var = 0;
        for (int64_t i = 0; i < channels; i++) mean += x[i] / (double)channels;
        for (int64_t i = 0; i < channels; i++) var += (x[i] - mean) * (x[i] - mean) / (double)channels;
        for (int64_t i = 0; i < channels; i++)
            out[0][r * channels + i] = (x[i] - mean) / sqrt(var + (double)c->attr.eps) * in[1][i] + in[2][i];
    }
}

/* A mean far from 0: the variance must not be a difference of large squares. */
static void far_from_zero(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] += 64;
}

static const optest_case layernorm_cases[] = {
    {.name = "tokens",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(2, 5, 7, 13), .grad = true},
            {OPTEST_SHAPE(13), .grad = true},
            {OPTEST_SHAPE(13), .grad = true}}},
    {.name = "one row",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(67), .grad = true}, {OPTEST_SHAPE(67), .grad = true}, {OPTEST_SHAPE(67), .grad = true}}},
    {.name = "many rows",
     .attr = {.eps = 1e-5f},
     .in = {{OPTEST_SHAPE(1, 53, 41, 32), .grad = true},
            {OPTEST_SHAPE(32), .grad = true},
            {OPTEST_SHAPE(32), .grad = true}},
     .grad_tol = {1024 * FLT_EPSILON, 64 * FLT_EPSILON}},
    {.name = "wide",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(3, 1280), .grad = true},
            {OPTEST_SHAPE(1280), .grad = true},
            {OPTEST_SHAPE(1280), .grad = true}}},
    /* where the compiler makes no lanes, 5000 values are summed one by one: four times the error */
    {.name = "wider than the little scratch",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(40, 5000)}, {OPTEST_SHAPE(5000), .grad = true}, {OPTEST_SHAPE(5000), .grad = true}},
     .tol = OPTEST_EPSILONS(64),
     .grad_tol = OPTEST_EPSILONS(256)},
    /* x has 64 / 0.58 = 110 times the spread: its rounding is 110 times that of z */
    {.name = "far from zero",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(4, 96), .grad = true}, {OPTEST_SHAPE(96), .grad = true}, {OPTEST_SHAPE(96), .grad = true}},
     .fill = far_from_zero,
     .tol = {256 * FLT_EPSILON, 0},
     .grad_tol = {1024 * FLT_EPSILON, 0}},
    /* all the same: the variance is 0 and eps alone divides */
    {.name = "flat",
     .attr = {.eps = 1},
     .in = {{OPTEST_SHAPE(1, 8), .low = 0.5, .high = 0.5}, {OPTEST_SHAPE(8)}, {OPTEST_SHAPE(8)}}},
    {.name = "gamma of another size",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(2, 8)}, {OPTEST_SHAPE(7)}, {OPTEST_SHAPE(8)}},
     .refused = true},
    {.name = "beta of another size",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(2, 8)}, {OPTEST_SHAPE(8)}, {OPTEST_SHAPE(9)}},
     .refused = true},
    {.name = "no eps", .in = {{OPTEST_SHAPE(2, 8)}, {OPTEST_SHAPE(8)}, {OPTEST_SHAPE(8)}}, .refused = true},
    {.name = "integers",
     .attr = {.eps = 1e-6f},
     .in = {{OPTEST_SHAPE(2, 8), .dtype = DRAM_I32}, {OPTEST_SHAPE(8)}, {OPTEST_SHAPE(8)}},
     .refused = true},
};
OPTEST_STORED(layernorm, layernorm_ref, layernorm_cases, .stored = 0x1);
OPTEST_THROUGH(layernorm_grad, layernorm);
