/* Forward: the approximations are good to a few roundings of fp32, so 8 epsilon of a result of up to 8. Backward: the
 * same of factors up to 1.2. */
#include <math.h>

#include "optest.h"

/* Away from 0, where relu has no derivative. */
static void keep_off_zero(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        if (fabs(in[0][i]) < 1e-3) in[0][i] = in[0][i] < 0 ? -1e-3 : 1e-3;
}

/* The whole range, its ends and both zeros. */
static void fill_extremes(const optest_case *c, dram_rng *rng, double *const in[])
{
    static const double special[] = {0,    -0.0,  1e-30, -1e-30, 3.9, -3.9, 5.6, -5.6,
                                     13.2, -13.2, 40,    -40,    87,  -87,  120, -120};
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        in[0][i] = i < 16 ? special[i] : -20 + 40.0 * (double)i / (double)dram_elements(&c->in[0].shape);
}

static void relu_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = in[0][i] > 0 ? in[0][i] : 0;
}

static const optest_case relu_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(2, 5, 7, 3), .grad = true}}, .fill = keep_off_zero},
    {.name = "one", .in = {{OPTEST_SHAPE(1), .low = 0.25, .high = 1, .grad = true}}},
    {.name = "pieces", .in = {{OPTEST_SHAPE(70001), .grad = true}}, .fill = keep_off_zero},
    {.name = "integers", .in = {{OPTEST_SHAPE(3), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(relu, relu_ref, relu_cases, .stored = 0x1);
OPTEST_THROUGH(relu_grad, relu);

static void gelu_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        out[0][i] = 0.5 * in[0][i] * (1 + erf(in[0][i] * sqrt(0.5)));
}

/* The issue at hand is agreement with other exact GELUs to 1e-6: 8 FLT_EPSILON is 9.5e-7. Of a large x the last place
 * counts. */
#define GELU_TOL                                                                                                       \
    {                                                                                                                  \
        8 * FLT_EPSILON, 2 * FLT_EPSILON                                                                               \
    }

static const optest_case gelu_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(2, 5, 7, 3), .low = -6, .high = 6, .grad = true}}, .tol = GELU_TOL},
    {.name = "small", .in = {{OPTEST_SHAPE(1, 13), .low = -0.1, .high = 0.1, .grad = true}}, .tol = GELU_TOL},
    {.name = "extremes",
     .in = {{OPTEST_SHAPE(599), .low = -1, .high = 1, .grad = true}},
     .fill = fill_extremes,
     .tol = GELU_TOL},
    {.name = "pieces", .in = {{OPTEST_SHAPE(3, 30011), .low = -3, .high = 3, .grad = true}}, .tol = GELU_TOL},
    {.name = "integers", .in = {{OPTEST_SHAPE(3), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(gelu, gelu_ref, gelu_cases, .stored = 0x1);
OPTEST_THROUGH(gelu_grad, gelu);

static void sigmoid_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = 1 / (1 + exp(-in[0][i]));
}

static const optest_case sigmoid_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(3, 11), .low = -8, .high = 8, .grad = true}}, .tol = {4 * FLT_EPSILON, 0}},
    {.name = "extremes",
     .in = {{OPTEST_SHAPE(599), .low = -1, .high = 1, .grad = true}},
     .fill = fill_extremes,
     .tol = {4 * FLT_EPSILON, 0}},
    {.name = "pieces", .in = {{OPTEST_SHAPE(40009), .low = -4, .high = 4, .grad = true}}, .tol = {4 * FLT_EPSILON, 0}},
    {.name = "integers", .in = {{OPTEST_SHAPE(3), .dtype = DRAM_I32}}, .refused = true},
};
/* The gradient is dy y (1 - y) of the stored y: its rounding by u y moves that by u y |1 - 2 y| at most, below u. */
OPTEST_STORED(sigmoid, sigmoid_ref, sigmoid_cases, .stored = 0x1, .grad_roundings = 1);
OPTEST_THROUGH(sigmoid_grad, sigmoid);
