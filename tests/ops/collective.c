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
