/* Which points are better: the t test against values of scipy 1.17, and what dominates what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sweep/frontier.h"

static void beta_is_scipys(void **state)
{
    (void)state;
    static const double v[][4] = {{0.5, 0.5, 0.3, 0.3690101195655454},
                                  {1, 0.5, 0.9, 0.6837722339831621},
                                  {2, 3, 0.4, 0.5248},
                                  {10, 0.5, 0.95, 0.317151575465545},
                                  {0.5, 50, 0.01, 0.6826956021258024},
                                  {200, 300, 0.41, 0.677628164772179},
                                  {1.25, 0.5, 0.999, 0.9638221433484179},
                                  {5, 5, 0.5, 0.5},
                                  {1000, 0.5, 0.999, 0.1572472742667238}};
    for (int i = 0; i < 9; i++) {
        double x = dram_beta(v[i][0], v[i][1], v[i][2]);
        if (!(fabs(x - v[i][3]) < 1e-12)) fail_msg("row %d: %.16g instead of %.16g", i, x, v[i][3]);
    }
    assert_true(dram_beta(2, 3, 0) == 0 && dram_beta(2, 3, 1) == 1);
}

/* scipy.stats.ttest_ind_from_stats(..., equal_var=False, alternative="greater") */
static void welch_is_scipys(void **state)
{
    (void)state;
    static const struct {
        dram_quality_sample a, b;
        double p;
    } v[] = {
        {{0.71, 0.01, 3}, {0.69, 0.02, 3}, 0.1104404202470478},
        {{0.71, 0.001, 3}, {0.69, 0.002, 5}, 7.855202487487011e-07},
        {{0.5, 0.1, 2}, {0.6, 0.1, 2}, 0.7886751345948129},
        {{1, 0.5, 10}, {0.9, 0.05, 4}, 0.2734875431384793},
        {{10, 1, 3}, {10, 2, 4}, 0.5},
        {{3, 0.2, 4}, {1, 0.3, 3}, 0.0006914279995900019},
        {{0.75, NAN, 1}, {0.7, 0.01, 3}, 0.02470681210664152}, /* t.sf(t, n - 1) of the prediction interval */
        {{0.71, 0.01, 5}, {0.7, NAN, 1}, 0.2064771832755739},
        {{0.71, 0, 2}, {0.7, 0, 3}, 0},
        {{0.7, 0, 2}, {0.7, 0, 3}, 0.5},
    };
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        double p = dram_welch(v[i].a, v[i].b);
        if (!(fabs(p - v[i].p) <= 1e-12 + 1e-9 * v[i].p)) fail_msg("row %zu: %.16g instead of %.16g", i, p, v[i].p);
    }
}

static void better_is_by_a_test_where_there_are_seeds(void **state)
{
    (void)state;
    const dram_quality_sample high = {0.71, 0.01, 3}, low = {0.69, 0.02, 3}, lowest = {0.5, 0.02, 3},
                              one = {0.71, NAN, 1}, other = {0.7099, NAN, 1};
    assert_false(dram_is_better(high, low, false)); /* they overlap */
    assert_true(dram_is_better(high, lowest, false));
    assert_false(dram_is_better(lowest, high, false));
    assert_true(dram_is_better(lowest, high, true));
    assert_true(dram_is_better(one, other, false));
    assert_false(dram_is_better(one, one, false));
    assert_false(dram_is_better(other, one, false));
}

/* bytes, seconds, mean, sd, n of six points, and who dominates whom. */
static void a_point_is_kept_unless_another_is_as_cheap_and_better(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        double seconds, mean, sd;
        int n;
        const char *by;
    } v[] = {
        {100, 1.0, 0.70, 0.01, 3, ""},       /* 1 */
        {100, 1.0, 0.60, 0.01, 3, "1 3 6 "}, /* 2: as cheap, and worse */
        {100, 1.0, 0.695, 0.01, 3, ""},      /* 3: overlaps with 1: both are kept */
        {90, 1.0, 0.60, 0.01, 3, "6 "},      /* 4: fewer bytes than 1 */
        {100, 0.5, 0.60, 0.01, 3, ""},       /* 5: half the time */
        {80, 1.04, 0.69, 0.01, 3, ""},       /* 6: 4 % more time is the same time */
        {70, 1.0, NAN, NAN, 0, ""},          /* 7: not known */
    };
    dram_sweep_point points[7] = {0};
    dram_sweep_outcome o[7] = {0};
    const dram_sweep sweep = {.points = points, .n_points = 7, .quality = DRAM_QUALITY_MIOU};
    for (int i = 0; i < 7; i++) {
        points[i] = (dram_sweep_point){.index = i + 1, .planned_bytes = v[i].bytes};
        o[i] = (dram_sweep_outcome){.n = v[i].n, .mean = v[i].mean, .sd = v[i].sd, .seconds_per_image = v[i].seconds};
    }
    dram_sweep_frontier(&sweep, o);
    for (int i = 0; i < 7; i++) {
        char by[64] = "";
        for (int k = 0; k < o[i].n_dominated_by; k++) sprintf(by + strlen(by), "%d ", o[i].dominated_by[k]);
        if (strcmp(by, v[i].by) != 0) fail_msg("point %d: dominated by \"%s\" instead of \"%s\"", i + 1, by, v[i].by);
        assert_int_equal(o[i].known, i != 6);
        assert_int_equal(o[i].pareto, i != 6 && !*v[i].by);
        assert_false(o[i].single);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beta_is_scipys),
        cmocka_unit_test(welch_is_scipys),
        cmocka_unit_test(better_is_by_a_test_where_there_are_seeds),
        cmocka_unit_test(a_point_is_kept_unless_another_is_as_cheap_and_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
