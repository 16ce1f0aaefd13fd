/* The sum that ranks make in their order. The exact order is held against a loop in tests/device/test_collective.c. */
#include "optest.h"

static void rank_sum_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t ranks = c->in[0].shape.dim[0], n = dram_elements(&c->out[0]);
    for (int64_t i = 0; i < n; i++) out[0][i] = 0;
    for (int64_t r = 0; r < ranks; r++)
        for (int64_t i = 0; i < n; i++) out[0][i] += in[0][r * n + i];
}

static const optest_case rank_sum_cases[] = {
    {.name = "two", .in = {{OPTEST_SHAPE(2, 7)}}, .tol = OPTEST_EPSILONS(4)},
    {.name = "three, of a matrix", .in = {{OPTEST_SHAPE(3, 5, 11)}}, .tol = OPTEST_EPSILONS(6)},
    {.name = "one element", .in = {{OPTEST_SHAPE(4, 1)}}, .tol = OPTEST_EPSILONS(8)},
    {.name = "several strips", .in = {{OPTEST_SHAPE(3, 9001)}}, .tol = OPTEST_EPSILONS(6)},
    {.name = "no ranks", .in = {{OPTEST_SHAPE(7)}}, .refused = true},
};
OPTEST(rank_sum, rank_sum_ref, rank_sum_cases);

static void bn_merge_ref(const optest_case *c, const double *const in[], double *const out[])
{
    const int64_t ranks = c->in[0].shape.dim[0], channels = c->in[0].shape.dim[1];
    for (int64_t k = 0; k < channels; k++) {
        double all = 0, sum = 0, square = 0; /* E x^2 - (E x)^2, of numbers about 1 */
        for (int64_t r = 0; r < ranks; r++) {
            const double n = in[2] ? in[2][r] : 1, m = in[0][r * channels + k];
            all += n;
            sum += n * m;
            square += n * (in[1][r * channels + k] + m * m);
        }
        out[0][k] = all > 0 ? sum / all : 0;
        out[1][k] = all > 0 ? square / all - out[0][k] * out[0][k] : 1;
    }
}

/* One rank has nothing, or all have nothing: what it says of nothing does not count. */
static void no_cells(const optest_case *c, dram_rng *rng, double *const in[])
{
    (void)rng;
    for (int64_t r = 0; r < c->in[2].shape.dim[0]; r++) in[2][r] = r == 1 ? 0 : c->in[2].shape.dim[0] > 2 ? 100 + r : 0;
}

static const optest_case bn_merge_cases[] = {
    {.name = "two", .in = {{OPTEST_SHAPE(2, 7)}, {OPTEST_SHAPE(2, 7), .low = 0, .high = 3}}, .tol = OPTEST_EPSILONS(4)},
    {.name = "three, uneven",
     .in = {{OPTEST_SHAPE(3, 300)},
            {OPTEST_SHAPE(3, 300), .low = 0, .high = 3},
            {OPTEST_SHAPE(3, 1), .low = 1, .high = 50}},
     .tol = OPTEST_EPSILONS(4)},
    {.name = "one of three has none",
     .in = {{OPTEST_SHAPE(3, 5)}, {OPTEST_SHAPE(3, 5), .low = 0, .high = 3}, {OPTEST_SHAPE(3, 1)}},
     .fill = no_cells,
     .tol = OPTEST_EPSILONS(4)},
    {.name = "none has any",
     .in = {{OPTEST_SHAPE(2, 5)}, {OPTEST_SHAPE(2, 5), .low = 0, .high = 3}, {OPTEST_SHAPE(2, 1)}},
     .fill = no_cells,
     .tol = OPTEST_EPSILONS(4)},
    {.name = "other shapes", .in = {{OPTEST_SHAPE(2, 7)}, {OPTEST_SHAPE(2, 6)}}, .refused = true},
    {.name = "counts of others",
     .in = {{OPTEST_SHAPE(2, 7)}, {OPTEST_SHAPE(2, 7)}, {OPTEST_SHAPE(3, 1)}},
     .refused = true},
};
OPTEST(bn_merge, bn_merge_ref, bn_merge_cases);
