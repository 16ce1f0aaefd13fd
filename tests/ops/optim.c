/* Tolerances: a few roundings of numbers up to about 8; sums of squares are in fp64. The learning rate is large, so
 * that the weight's error shows all of the update's. */
#include <math.h>

#include <string.h>

#include "base/ranks.h"
#include "optest.h"

static void sumsq_ref(const optest_case *c, const double *const in[], double *const out[])
{
    out[0][0] = in[1] ? in[1][0] : 0;
    if (c->in[0].dtype == DRAM_U8) out[0][0] += 7; /* as `squares` has it */
    if (c->in[0].dtype == DRAM_U8) return;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][0] += in[0][i] * in[0][i];
}

/* Squares as rank_shard leaves them: a double each, of whole numbers, and zeros where a device has no piece. */
static void squares(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    const double sums[2] = {7, 0};
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] = ((const unsigned char *)sums)[i];
}

static const optest_case sumsq_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(7, 11)}}, .tol = OPTEST_EPSILONS(2)},
    {.name = "one", .in = {{OPTEST_SHAPE(1)}}, .tol = OPTEST_EPSILONS(2)},
    {.name = "added", .in = {{OPTEST_SHAPE(5)}, {OPTEST_SHAPE(1), .low = 1, .high = 9}}, .tol = OPTEST_EPSILONS(2)},
    {.name = "several pieces, added",
     .in = {{OPTEST_SHAPE(3, 40009)}, {OPTEST_SHAPE(1), .low = 1, .high = 9}},
     .tol = OPTEST_EPSILONS(2)},
    {.name = "squares of a shard, added",
     .in = {{OPTEST_SHAPE(16), .dtype = DRAM_U8}, {OPTEST_SHAPE(1), .low = 1, .high = 9}},
     .fill = squares,
     .tol = OPTEST_EPSILONS(2)},
    {.name = "squares, cut off", .in = {{OPTEST_SHAPE(15), .dtype = DRAM_U8}}, .refused = true},
    {.name = "no scalar", .in = {{OPTEST_SHAPE(5)}, {OPTEST_SHAPE(2)}}, .refused = true},
};
OPTEST(sumsq, sumsq_ref, sumsq_cases);

static void clip_factor_ref(const optest_case *c, const double *const in[], double *const out[])
{
    double unscale = in[1] ? in[1][0] : 1, norm = sqrt(in[0][0]) * unscale, clip = (double)c->attr.clip;
    out[0][0] = norm;
    out[0][1] = unscale * (clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1);
}

static const optest_case clip_factor_cases[] = {
    {.name = "above", .attr = {.clip = 1}, .in = {{OPTEST_SHAPE(1), .low = 4, .high = 50}}, .tol = OPTEST_EPSILONS(4)},
    {.name = "below", .attr = {.clip = 8}, .in = {{OPTEST_SHAPE(1), .low = 4, .high = 50}}, .tol = OPTEST_EPSILONS(4)},
    {.name = "off", .in = {{OPTEST_SHAPE(1), .low = 4, .high = 50}}, .tol = OPTEST_EPSILONS(4)},
    {.name = "unscaled, above",
     .attr = {.clip = 1},
     .in = {{OPTEST_SHAPE(1), .low = 4e8, .high = 5e9}, {OPTEST_SHAPE(1), .low = 1e-4, .high = 9e-4}},
     .tol = {0, 4 * (double)FLT_EPSILON}},
    {.name = "unscaled, below",
     .attr = {.clip = 100},
     .in = {{OPTEST_SHAPE(1), .low = 4e8, .high = 5e9}, {OPTEST_SHAPE(1), .low = 1e-5, .high = 9e-5}},
     .tol = {0, 4 * (double)FLT_EPSILON}},
    {.name = "unscaled, off",
     .in = {{OPTEST_SHAPE(1), .low = 4e8, .high = 5e9}, {OPTEST_SHAPE(1), .low = 1e-5, .high = 9e-5}},
     .tol = {0, 4 * (double)FLT_EPSILON}},
    {.name = "no scalar", .in = {{OPTEST_SHAPE(2)}}, .refused = true},
    {.name = "unscale is no scalar", .in = {{OPTEST_SHAPE(1)}, {OPTEST_SHAPE(2)}}, .refused = true},
};
OPTEST(clip_factor, clip_factor_ref, clip_factor_cases);

/* hyper [4]: lr, then the bias corrections of step 3. */
static void set_hyper(const optest_case *c, double *hyper)
{
    hyper[0] = 0.5;
    hyper[1] = 1 / (1 - pow((double)c->attr.beta1, 3));
    hyper[2] = 1 / (1 - pow((double)c->attr.beta2, 3));
    hyper[3] = 0;
}

static void clipped(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    bool adamw = c->in[5].shape.rank > 0;
    set_hyper(c, in[adamw ? 4 : 3]);
    in[adamw ? 5 : 4][0] = 2;
    in[adamw ? 5 : 4][1] = 0.5;
}

/* A gradient that is not finite has a factor of 0 and must change nothing. */
static void not_finite(const optest_case *c, dram_rng *rng, double *const in[])
{
    bool adamw = c->in[5].shape.rank > 0;
    clipped(c, rng, in);
    in[adamw ? 5 : 4][1] = 0;
    for (int64_t i = 0; i < dram_elements(&c->in[1].shape); i++) in[1][i] = i % 2 ? NAN : INFINITY;
}

/* What rank 0 moves; a shard of the moments is as long as one, but what lies beyond the weight stays. */
static int64_t moved(const optest_case *c, const double *const in[], double *const out[], int moment)
{
    const int64_t n = dram_elements(&c->in[0].shape), kept = dram_elements(&c->in[moment].shape);
    for (int64_t i = 0; i < n; i++) out[0][i] = in[0][i];
    for (int64_t i = 0; i < kept; i++) out[1][i] = in[moment][i];
    return kept < n ? kept : n;
}

static void adamw_ref(const optest_case *c, const double *const in[], double *const out[])
{
    double beta1 = (double)c->attr.beta1, beta2 = (double)c->attr.beta2;
    const int64_t n = moved(c, in, out, 2);
    for (int64_t i = n; i < dram_elements(&c->in[3].shape); i++) out[2][i] = in[3][i];
    for (int64_t i = 0; i < n; i++) {
        double w = in[0][i], g = in[1][i] * in[5][1], m = in[2][i], v = in[3][i];
        if (in[5][1] != 0) {
            w *= 1 - in[4][0] * (double)c->attr.decay;
            m = beta1 * m + (1 - beta1) * g;
            v = beta2 * v + (1 - beta2) * g * g;
            w -= in[4][0] * (m * in[4][1]) / (sqrt(v * in[4][2]) + (double)c->attr.eps);
        }
        out[0][i] = w;
        out[1][i] = m;
        out[2][i] = v;
    }
}

#define ADAMW .beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f
#define ADAMW_IN(...)                                                                                                  \
    {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(__VA_ARGS__), .low = -2, .high = 2}, {OPTEST_SHAPE(__VA_ARGS__)},       \
        {OPTEST_SHAPE(__VA_ARGS__), .low = 0.1, .high = 2}, {OPTEST_SHAPE(4)},                                         \
    {                                                                                                                  \
        OPTEST_SHAPE(2)                                                                                                \
    }

/* With moments, and perhaps a gradient, of a shard. */
#define ADAMW_SHARD(ROWS, COLUMNS, GRADIENT, SHARD)                                                                    \
    {OPTEST_SHAPE(ROWS, COLUMNS)}, {GRADIENT, .low = -2, .high = 2}, {OPTEST_SHAPE(SHARD)},                            \
        {OPTEST_SHAPE(SHARD), .low = 0.1, .high = 2}, {OPTEST_SHAPE(4)},                                               \
    {                                                                                                                  \
        OPTEST_SHAPE(2)                                                                                                \
    }

static const optest_case adamw_cases[] = {
    {.name = "decay",
     .attr = {ADAMW, .decay = 0.05f},
     .in = {ADAMW_IN(5, 7)},
     .fill = clipped,
     .tol = OPTEST_EPSILONS(8)},
    {.name = "no decay, several pieces",
     .attr = {ADAMW},
     .in = {ADAMW_IN(3, 11003)},
     .fill = clipped,
     .tol = OPTEST_EPSILONS(8)},
    {.name = "large eps", .attr = {.beta1 = 0.9f, .beta2 = 0.95f, .eps = 0.1f}, .in = {ADAMW_IN(13)}, .fill = clipped},
    {.name = "not finite", .attr = {ADAMW, .decay = 0.05f}, .in = {ADAMW_IN(5, 7)}, .fill = not_finite},
    {.name = "other shape",
     .attr = {ADAMW},
     .in = {{OPTEST_SHAPE(3)},
            {OPTEST_SHAPE(3)},
            {OPTEST_SHAPE(3)},
            {OPTEST_SHAPE(2)},
            {OPTEST_SHAPE(4)},
            {OPTEST_SHAPE(2)}},
     .refused = true},
    {.name = "a shard of the state",
     .attr = {ADAMW, .decay = 0.05f, .ranks = 3},
     .in = {ADAMW_SHARD(3, 347, OPTEST_SHAPE(3, 347), 512)},
     .fill = clipped,
     .tol = OPTEST_EPSILONS(8)},
    {.name = "a shard of state and gradient",
     .attr = {ADAMW, .ranks = 3},
     .in = {ADAMW_SHARD(1500, 1, OPTEST_SHAPE(512), 512)},
     .fill = clipped,
     .tol = OPTEST_EPSILONS(8)},
    {.name = "a shard, longer than the weight",
     .attr = {ADAMW, .ranks = 2},
     .in = {ADAMW_SHARD(5, 7, OPTEST_SHAPE(5, 7), 256)},
     .fill = clipped,
     .tol = OPTEST_EPSILONS(8)},
    {.name = "a shard of other ranks",
     .attr = {ADAMW, .ranks = 2},
     .in = {ADAMW_SHARD(3, 347, OPTEST_SHAPE(3, 347), 512)},
     .refused = true},
    {.name = "8 bits, one byte short", /* 12 codes and a maximum would be 16 bytes */
     .attr = {ADAMW},
     .in = {{OPTEST_SHAPE(11)},
            {OPTEST_SHAPE(11)},
            {OPTEST_SHAPE(15), .dtype = DRAM_U8},
            {OPTEST_SHAPE(15), .dtype = DRAM_U8},
            {OPTEST_SHAPE(4)},
            {OPTEST_SHAPE(2)}},
     .refused = true},
    {.name = "one moment of 8 bits",
     .attr = {ADAMW},
     .in = {{OPTEST_SHAPE(11)},
            {OPTEST_SHAPE(11)},
            {OPTEST_SHAPE(16), .dtype = DRAM_U8},
            {OPTEST_SHAPE(11)},
            {OPTEST_SHAPE(4)},
            {OPTEST_SHAPE(2)}},
     .refused = true},
};
OPTEST(adamw, adamw_ref, adamw_cases); /* its 8-bit moments: tests/train/test_state8.c */

static void sgd_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t n = moved(c, in, out, 2);
    for (int64_t i = 0; i < n; i++) {
        double w = in[0][i], m = in[2][i];
        if (in[4][1] != 0) {
            m = (double)c->attr.momentum * m + in[1][i] * in[4][1] + (double)c->attr.decay * w;
            w -= in[3][0] * m;
        }
        out[0][i] = w;
        out[1][i] = m;
    }
}

#define SGD_IN(...)                                                                                                    \
    {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(4)},          \
    {                                                                                                                  \
        OPTEST_SHAPE(2)                                                                                                \
    }

static const optest_case sgd_cases[] = {
    {.name = "decay", .attr = {.momentum = 0.9f, .decay = 1e-2f}, .in = {SGD_IN(5, 7)}, .fill = clipped},
    {.name = "no momentum, several pieces", .attr = {.decay = 0}, .in = {SGD_IN(40009)}, .fill = clipped},
    {.name = "not finite", .attr = {.momentum = 0.9f}, .in = {SGD_IN(5, 7)}, .fill = not_finite},
    {.name = "other shape",
     .in = {{OPTEST_SHAPE(3)}, {OPTEST_SHAPE(2)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(4)}, {OPTEST_SHAPE(2)}},
     .refused = true},
    {.name = "a shard",
     .attr = {.momentum = 0.9f, .decay = 1e-2f, .ranks = 2},
     .in = {{OPTEST_SHAPE(3, 347)}, {OPTEST_SHAPE(768)}, {OPTEST_SHAPE(768)}, {OPTEST_SHAPE(4)}, {OPTEST_SHAPE(2)}},
     .fill = clipped},
};
OPTEST(sgd, sgd_ref, sgd_cases);

static void accumulate_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = in[0][i] + in[1][i];
}

static const optest_case accumulate_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(5, 7)}}, .tol = OPTEST_EPSILONS(1)},
    {.name = "several pieces", .in = {{OPTEST_SHAPE(3, 11003)}, {OPTEST_SHAPE(3, 11003)}}, .tol = OPTEST_EPSILONS(1)},
    {.name = "other shape", .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(7, 5)}}, .refused = true},
};
OPTEST(accumulate, accumulate_ref, accumulate_cases);

/* m, w, hyper, clip. */
static void weight_mean_ref(const optest_case *c, const double *const in[], double *const out[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++)
        out[0][i] = in[3][1] == 0 ? in[0][i] : in[0][i] + in[2][3] * (in[1][i] - in[0][i]);
}

static void a_quarter(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)c;
    (void)rng;
    for (int i = 0; i < 3; i++) in[2][i] = 7;
    in[2][3] = 0.25;
    in[3][0] = 2;
    in[3][1] = 0.5;
}

/* Of very different sizes, so that m + (w - m) is not w. */
static void all_of_it(const optest_case *c, dram_rng *rng, double *const in[])
{
    a_quarter(c, rng, in);
    in[2][3] = 1;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] = i % 2 ? 3e7 : -1e-7 * (double)i;
}

static void a_skipped_one(const optest_case *c, dram_rng *rng, double *const in[])
{
    a_quarter(c, rng, in);
    in[3][1] = 0;
}

#define MEAN_IN(...)                                                                                                   \
    {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(__VA_ARGS__)}, {OPTEST_SHAPE(4)},                                       \
    {                                                                                                                  \
        OPTEST_SHAPE(2)                                                                                                \
    }

static const optest_case weight_mean_cases[] = {
    {.name = "odd", .in = {MEAN_IN(5, 7)}, .fill = a_quarter, .tol = OPTEST_EPSILONS(2)},
    {.name = "several pieces", .in = {MEAN_IN(3, 11003)}, .fill = a_quarter, .tol = OPTEST_EPSILONS(2)},
    {.name = "all of it", .in = {MEAN_IN(5, 7)}, .fill = all_of_it},
    {.name = "a skipped step", .in = {MEAN_IN(5, 7)}, .fill = a_skipped_one},
    {.name = "other shape",
     .in = {{OPTEST_SHAPE(5, 7)}, {OPTEST_SHAPE(7, 5)}, {OPTEST_SHAPE(4)}, {OPTEST_SHAPE(2)}},
     .refused = true},
    {.name = "short hyper",
     .in = {{OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(2)}},
     .refused = true},
    {.name = "no clip factor",
     .in = {{OPTEST_SHAPE(3)}, {OPTEST_SHAPE(3)}, {OPTEST_SHAPE(4)}, {OPTEST_SHAPE(1)}},
     .refused = true},
};
OPTEST(weight_mean, weight_mean_ref, weight_mean_cases);

static void clear_ref(const optest_case *c, const double *const in[], double *const out[])
{
    (void)in;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) out[0][i] = 0;
}

/* What is not finite goes too. */
static void nothing_finite(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] = i % 2 ? NAN : INFINITY;
}

static const optest_case clear_cases[] = {
    {.name = "odd", .in = {{OPTEST_SHAPE(5, 7)}}},
    {.name = "several pieces", .in = {{OPTEST_SHAPE(3, 11003)}}},
    {.name = "not finite", .in = {{OPTEST_SHAPE(13)}}, .fill = nothing_finite},
    {.name = "not floats", .in = {{OPTEST_SHAPE(13), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST(clear, clear_ref, clear_cases);

/* Of rank 0; whole numbers, whose squares add up to the same bits in any order. */
static void whole_numbers(const optest_case *c, dram_rng *rng, double *const in[])
{
    for (int64_t i = 0; i < dram_elements(&c->in[0].shape); i++) in[0][i] = (double)dram_rng_below(rng, 200) - 100;
}

static void rank_shard_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t n = dram_elements(&c->in[0].shape), kept = dram_rank_shard(n, c->attr.ranks);
    double sum = 0;
    unsigned char bytes[sizeof sum];
    for (int64_t i = 0; i < n; i++) sum += in[0][i] * in[0][i];
    for (int64_t i = 0; i < kept; i++) out[0][i] = i < n ? in[0][i] : 0;
    memcpy(bytes, &sum, sizeof sum);
    for (size_t i = 0; i < sizeof sum; i++) out[1][i] = bytes[i];
}

static const optest_case rank_shard_cases[] = {
    {.name = "of three",
     .attr = {.ranks = 3},
     .in = {{OPTEST_SHAPE(5, 611)}},
     .fill = whole_numbers,
     .out_dtype = {DRAM_F32, DRAM_U8}},
    {.name = "longer than all",
     .attr = {.ranks = 2},
     .in = {{OPTEST_SHAPE(13)}},
     .fill = whole_numbers,
     .out_dtype = {DRAM_F32, DRAM_U8}},
    {.name = "of one", .attr = {.ranks = 1}, .in = {{OPTEST_SHAPE(13)}}, .refused = true},
    {.name = "not floats", .attr = {.ranks = 2}, .in = {{OPTEST_SHAPE(13), .dtype = DRAM_I32}}, .refused = true},
};
OPTEST(rank_shard, rank_shard_ref,
       rank_shard_cases); /* of other ranks, and of several pieces: tests/train/test_shards.c */
