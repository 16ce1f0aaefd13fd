/* Sums of L products of numbers in [-1, 1): the partial sums are about sqrt(L) / 3 large, and L roundings of half an
 * epsilon of that each, adding up like a random walk, stay well below L epsilon. */
#include <math.h>

#include "optest.h"

#define SUM_OF(L)                                                                                                      \
    {                                                                                                                  \
        (L) * FLT_EPSILON, 4 * FLT_EPSILON                                                                             \
    }

/* c [M,N] = (beginning) + sum over k of a[m sam + k sak] b[n sbn + k sbk] */
typedef struct {
    int64_t m, n, k, am, ak, bn, bk;
} product;

static void multiply(const product *p, const double *a, const double *b, double *c)
{
    for (int64_t m = 0; m < p->m; m++)
        for (int64_t n = 0; n < p->n; n++)
            for (int64_t k = 0; k < p->k; k++) c[m * p->n + n] += a[m * p->am + k * p->ak] * b[n * p->bn + k * p->bk];
}

static int64_t rows_of(const dram_shape *s)
{
    return dram_elements(s) / dram_last(s, 0);
}

static void linear_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t i = dram_last(&c->in[1].shape, 0), o = c->in[1].shape.dim[0], rows = rows_of(&c->in[0].shape);
    for (int64_t k = 0; k < rows * o; k++) out[0][k] = in[2] ? in[2][k % o] : 0;
    multiply(&(product){rows, o, i, i, 1, i, 1}, in[0], in[1], out[0]);
    for (int64_t k = 0; k < rows * o && c->attr.act == DRAM_ACT_GELU; k++)
        out[0][k] *= 0.5 * (1 + erf(out[0][k] * sqrt(0.5)));
}

#define LOW_BIAS(NAME, TYPE, ACT, ROWS, I, O)                                                                          \
    {                                                                                                                  \
        .name = NAME, .attr = {.act = ACT}, .out_dtype = {TYPE}, .tol = SUM_OF(2 * (I)), .roundings = (ACT) ? 26 : 1,  \
        .in = {                                                                                                        \
            {OPTEST_SHAPE(ROWS, I), .dtype = TYPE},                                                                    \
            {OPTEST_SHAPE(O, I), .dtype = TYPE},                                                                       \
            {OPTEST_SHAPE(O), .dtype = TYPE}                                                                           \
        }                                                                                                              \
    }

static const optest_case linear_cases[] = {
    {.name = "vector",
     .in = {{OPTEST_SHAPE(7), .grad = true}, {OPTEST_SHAPE(5, 7), .grad = true}, {OPTEST_SHAPE(5), .grad = true}},
     .tol = SUM_OF(7),
     .grad_tol = SUM_OF(7)},
    {.name = "no bias",
     .in = {{OPTEST_SHAPE(2, 3, 11, 13), .grad = true}, {OPTEST_SHAPE(7, 13), .grad = true}},
     .tol = SUM_OF(13),
     .grad_tol = SUM_OF(66)},
    {.name = "weight of a 1x1 convolution",
     .in = {{OPTEST_SHAPE(2, 3, 5, 13), .grad = true},
            {OPTEST_SHAPE(7, 1, 1, 13), .grad = true},
            {OPTEST_SHAPE(7), .grad = true}},
     .tol = SUM_OF(13),
     .grad_tol = SUM_OF(30)},
    {.name = "multiples of 8",
     .in = {{OPTEST_SHAPE(3, 13, 5, 24), .grad = true},
            {OPTEST_SHAPE(48, 24), .grad = true},
            {OPTEST_SHAPE(48), .grad = true}},
     .tol = SUM_OF(24),
     .grad_tol = SUM_OF(195)},
    {.name = "one by one",
     .in = {{OPTEST_SHAPE(1, 1), .grad = true}, {OPTEST_SHAPE(1, 1), .grad = true}, {OPTEST_SHAPE(1), .grad = true}},
     .tol = SUM_OF(2),
     .grad_tol = SUM_OF(2)},
    /* Large ones, of which the gradients are tested with the gradient ops below. */
    {.name = "many rows: several tasks",
     .in = {{OPTEST_SHAPE(2, 1301, 24)}, {OPTEST_SHAPE(40, 24)}, {OPTEST_SHAPE(40)}},
     .tol = SUM_OF(24)},
    {.name = "many rows, odd widths",
     .in = {{OPTEST_SHAPE(5203, 21)}, {OPTEST_SHAPE(45, 21)}, {OPTEST_SHAPE(45)}},
     .tol = SUM_OF(21)},
    {.name = "many rows, large weight",
     .in = {{OPTEST_SHAPE(1031, 160)}, {OPTEST_SHAPE(171, 160)}, {OPTEST_SHAPE(171)}},
     .tol = SUM_OF(160)},
    {.name = "wide: cut along the outputs",
     .in = {{OPTEST_SHAPE(3, 700)}, {OPTEST_SHAPE(1500, 700)}, {OPTEST_SHAPE(1500)}},
     .tol = SUM_OF(700)},
    {.name = "cut both ways",
     .in = {{OPTEST_SHAPE(300, 137)}, {OPTEST_SHAPE(261, 137)}, {OPTEST_SHAPE(261)}},
     .tol = SUM_OF(137)},
    /* GELU' is 1.13 at most. What is rounded to 16 bits before it counts x^2 times where x is negative, down to -5. */
    {.name = "GELU",
     .attr = {.act = DRAM_ACT_GELU},
     .in = {{OPTEST_SHAPE(3, 13, 24)}, {OPTEST_SHAPE(40, 24)}, {OPTEST_SHAPE(40)}},
     .tol = SUM_OF(2 * 24),
     .roundings = 26},
    {.name = "GELU, odd, no bias",
     .attr = {.act = DRAM_ACT_GELU},
     .in = {{OPTEST_SHAPE(300, 37)}, {OPTEST_SHAPE(261, 37)}},
     .tol = SUM_OF(2 * 37),
     .roundings = 26},
    {.name = "GELU, many rows",
     .attr = {.act = DRAM_ACT_GELU},
     .in = {{OPTEST_SHAPE(2603, 24)}, {OPTEST_SHAPE(40, 24)}, {OPTEST_SHAPE(40)}},
     .tol = SUM_OF(2 * 24),
     .roundings = 26},
    /* Frozen biases of 16 bits: in a product that is narrow, in tiles, and with a GELU behind it. */
    LOW_BIAS("bf16 bias", DRAM_BF16, DRAM_ACT_NONE, 5, 24, 40),
    LOW_BIAS("fp16 bias", DRAM_F16, DRAM_ACT_NONE, 5, 24, 40),
    LOW_BIAS("bf16 bias, many rows, odd", DRAM_BF16, DRAM_ACT_NONE, 1303, 21, 45),
    LOW_BIAS("fp16 bias, many rows", DRAM_F16, DRAM_ACT_NONE, 1303, 24, 40),
    LOW_BIAS("bf16 bias, cut both ways", DRAM_BF16, DRAM_ACT_NONE, 300, 136, 261),
    LOW_BIAS("bf16 bias, GELU", DRAM_BF16, DRAM_ACT_GELU, 39, 24, 40),
    LOW_BIAS("fp16 bias, GELU, odd", DRAM_F16, DRAM_ACT_GELU, 300, 37, 261),
    {.name = "bf16 bias of f32",
     .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 3)}, {OPTEST_SHAPE(4), .dtype = DRAM_BF16}},
     .refused = true},
    {.name = "fp16 bias of bf16",
     .in = {{OPTEST_SHAPE(2, 3), .dtype = DRAM_BF16},
            {OPTEST_SHAPE(4, 3), .dtype = DRAM_BF16},
            {OPTEST_SHAPE(4), .dtype = DRAM_F16}},
     .refused = true},
    {.name = "bf16 bias with a gradient",
     .in = {{OPTEST_SHAPE(2, 3), .dtype = DRAM_BF16},
            {OPTEST_SHAPE(4, 3), .dtype = DRAM_BF16},
            {OPTEST_SHAPE(4), .grad = true, .dtype = DRAM_BF16}},
     .refused = true},
    {.name = "GELU with a gradient",
     .attr = {.act = DRAM_ACT_GELU},
     .in = {{OPTEST_SHAPE(2, 3), .grad = true}, {OPTEST_SHAPE(4, 3)}},
     .refused = true},
    {.name = "ReLU",
     .attr = {.act = DRAM_ACT_RELU},
     .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 3)}},
     .refused = true},
    {.name = "other I", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(3, 2)}}, .refused = true},
    {.name = "other O", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 3)}, {OPTEST_SHAPE(3)}}, .refused = true},
    {.name = "weight of a 1x2 convolution", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 1, 2, 3)}}, .refused = true},
    {.name = "rank of w", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 1, 3)}}, .refused = true},
    {.name = "rank of b", .in = {{OPTEST_SHAPE(2, 3)}, {OPTEST_SHAPE(4, 3)}, {OPTEST_SHAPE(1, 4)}}, .refused = true},
    {.name = "no rows", .in = {{OPTEST_SHAPE(0, 3)}, {OPTEST_SHAPE(4, 3)}}, .refused = true},
    {.name = "bytes", .in = {{OPTEST_SHAPE(2, 3), .dtype = DRAM_U8}, {OPTEST_SHAPE(4, 3)}}, .refused = true},
};
OPTEST_STORED(linear, linear_ref, linear_cases, .stored = 0x3, .weights = 0x2);

static void linear_dgrad_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t i = c->in[1].shape.dim[1], o = c->in[1].shape.dim[0], rows = rows_of(&c->in[0].shape);
    for (int64_t k = 0; k < rows * i; k++) out[0][k] = in[2] ? in[2][k] : 0;
    multiply(&(product){rows, i, o, o, 1, 1, i}, in[0], in[1], out[0]);
}

static const optest_case linear_dgrad_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7, 11)}, {OPTEST_SHAPE(11, 13)}}, .tol = SUM_OF(11)},
    {.name = "added",
     .in = {{OPTEST_SHAPE(5, 7, 11)}, {OPTEST_SHAPE(11, 13)}, {OPTEST_SHAPE(5, 7, 13)}},
     .tol = SUM_OF(11)},
    {.name = "several tasks, added",
     .in = {{OPTEST_SHAPE(2500, 48)}, {OPTEST_SHAPE(48, 40)}, {OPTEST_SHAPE(2500, 40)}},
     .tol = SUM_OF(48)},
    {.name = "many rows, odd widths, added",
     .in = {{OPTEST_SHAPE(5203, 21)}, {OPTEST_SHAPE(21, 45)}, {OPTEST_SHAPE(5203, 45)}},
     .tol = SUM_OF(21)},
    {.name = "many rows, large weight",
     .in = {{OPTEST_SHAPE(1031, 160)}, {OPTEST_SHAPE(160, 171)}, {OPTEST_SHAPE(1031, 171)}},
     .tol = SUM_OF(160)},
    {.name = "cut both ways, added",
     .in = {{OPTEST_SHAPE(300, 137)}, {OPTEST_SHAPE(137, 261)}, {OPTEST_SHAPE(300, 261)}},
     .tol = SUM_OF(137)},
    {.name = "other O", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(6, 7)}}, .refused = true},
    {.name = "other acc", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(7, 3)}, {OPTEST_SHAPE(5, 7)}}, .refused = true},
    {.name = "integers", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(7, 3), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST_STORED(linear_dgrad, linear_dgrad_ref, linear_dgrad_cases, .stored = 0x7);

static void linear_wgrad_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t i = dram_last(&c->in[0].shape, 0), o = dram_last(&c->in[1].shape, 0), rows = rows_of(&c->in[0].shape);
    for (int64_t k = 0; k < o * i; k++) out[0][k] = 0;
    multiply(&(product){o, i, rows, 1, o, 1, i}, in[1], in[0], out[0]);
}

static const optest_case linear_wgrad_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7, 11)}, {OPTEST_SHAPE(5, 7, 13)}}, .tol = SUM_OF(35)},
    {.name = "partial sums", .in = {{OPTEST_SHAPE(9001, 40)}, {OPTEST_SHAPE(9001, 24)}}, .tol = SUM_OF(9001)},
    {.name = "partial sums of tiles",
     .in = {{OPTEST_SHAPE(2100, 150)}, {OPTEST_SHAPE(2100, 140)}},
     .tol = SUM_OF(2100)},
    {.name = "partial sums, odd", .in = {{OPTEST_SHAPE(9001, 23)}, {OPTEST_SHAPE(9001, 9)}}, .tol = SUM_OF(9001)},
    {.name = "other rows", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(6, 7)}}, .refused = true},
    {.name = "other rank", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(1, 5, 7)}}, .refused = true},
    {.name = "bytes", .in = {{OPTEST_SHAPE(5, 7), .dtype = DRAM_U8}, {OPTEST_SHAPE(5, 7)}}, .refused = true},
};
OPTEST_STORED(linear_wgrad, linear_wgrad_ref, linear_wgrad_cases, .stored = 0x3, .f32_out = 0x1);

static void bias_grad_ref(const optest_case *c, const double *const in[], double *const out[])
{
    int64_t n = dram_elements(&c->in[0].shape), channels = dram_last(&c->in[0].shape, 0);
    for (int64_t i = 0; i < channels; i++) out[0][i] = in[1] ? in[1][i] : 0;
    for (int64_t i = 0; i < n; i++) out[0][i % channels] += in[0][i];
}

static const optest_case bias_grad_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(3, 5, 7, 11)}}, .tol = SUM_OF(32)},
    {.name = "added", .in = {{OPTEST_SHAPE(3, 5, 7, 11)}, {OPTEST_SHAPE(11)}}, .tol = SUM_OF(32)},
    {.name = "vector", .in = {{OPTEST_SHAPE(5)}}, .tol = SUM_OF(1)},
    /* fp32 over 32 rows only, the rest in fp64 */
    {.name = "many rows", .in = {{OPTEST_SHAPE(20000, 13), .low = 0.5, .high = 1.5}}, .tol = {0, 16 * FLT_EPSILON}},
    {.name = "many channels", .in = {{OPTEST_SHAPE(601, 1100)}, {OPTEST_SHAPE(1100)}}, .tol = SUM_OF(601)},
    {.name = "other acc", .in = {{OPTEST_SHAPE(3, 5)}, {OPTEST_SHAPE(3)}}, .refused = true},
    {.name = "bytes", .in = {{OPTEST_SHAPE(3, 5), .dtype = DRAM_U8}}, .refused = true},
};
OPTEST_STORED(bias_grad, bias_grad_ref, bias_grad_cases, .stored = 0x1, .f32_out = 0x1);
