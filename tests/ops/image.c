/* Tolerance: a subtraction and a division, of numbers up to about 3. */
#include "optest.h"

static void image_norm_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t *x = c->in[0].shape.dim;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) {
        int64_t k = i % 3, column = i / 3 % x[2], row = i / 3 / x[2] % x[1], n = i / 3 / x[2] / x[1];
        bool valid = (double)row < in[1][2 * n] && (double)column < in[1][2 * n + 1];
        out[0][i] = valid ? (in[0][i] - (double)c->attr.mean[k]) / (double)c->attr.std[k] : 0;
    }
}

/* Whole, no pixel, more than there is, one row, one column. */
static void sizes(const optest_case *c, dram_rng *rng, double *const in[])
{
    const int64_t height = c->in[0].shape.dim[1], width = c->in[0].shape.dim[2];
    const int64_t part[][2] = {{height, width}, {0, 0}, {height + 3, width + 9}, {1, width}, {height, 1}, {-1, -1}};
    (void)rng;
    for (int64_t n = 0; n < c->in[0].shape.dim[0]; n++)
        for (int k = 0; k < 2; k++) in[1][2 * n + k] = (double)part[n % 6][k];
}

#define SAM .mean = {123.675f, 116.28f, 103.53f}, .std = {58.395f, 57.12f, 57.375f}

static const optest_case image_norm_cases[] = {
    {.name = "sizes",
     .attr = {SAM},
     .in = {{OPTEST_SHAPE(6, 5, 37, 3), .dtype = DRAM_U8}, {OPTEST_SHAPE(6, 2), .dtype = DRAM_I32}},
     .fill = sizes,
     .tol = OPTEST_EPSILONS(2)},
    {.name = "parts",
     .attr = {SAM},
     .in = {{OPTEST_SHAPE(3, 11, 13, 3), .dtype = DRAM_U8},
            {OPTEST_SHAPE(3, 2), .dtype = DRAM_I32, .low = 1, .high = 11}},
     .tol = OPTEST_EPSILONS(2)},
    {.name = "wide",
     .attr = {SAM},
     .in = {{OPTEST_SHAPE(2, 3, 701, 3), .dtype = DRAM_U8},
            {OPTEST_SHAPE(2, 2), .dtype = DRAM_I32, .low = 400, .high = 700}},
     .tol = OPTEST_EPSILONS(2)},
    {.name = "to integers",
     .attr = {SAM, .dtype = DRAM_U8},
     .in = {{OPTEST_SHAPE(1, 2, 2, 3), .dtype = DRAM_U8}, {OPTEST_SHAPE(1, 2), .dtype = DRAM_I32}},
     .refused = true},
    {.name = "no deviation",
     .attr = {.mean = {1, 1, 1}},
     .in = {{OPTEST_SHAPE(1, 2, 2, 3), .dtype = DRAM_U8}, {OPTEST_SHAPE(1, 2), .dtype = DRAM_I32}},
     .refused = true},
    {.name = "four channels",
     .attr = {SAM},
     .in = {{OPTEST_SHAPE(1, 2, 2, 4), .dtype = DRAM_U8}, {OPTEST_SHAPE(1, 2), .dtype = DRAM_I32}},
     .refused = true},
    {.name = "floats",
     .attr = {SAM},
     .in = {{OPTEST_SHAPE(1, 2, 2, 3)}, {OPTEST_SHAPE(1, 2), .dtype = DRAM_I32}},
     .refused = true},
};
OPTEST_STORED(image_norm, image_norm_ref, image_norm_cases, .stored = 0);
