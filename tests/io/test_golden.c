/* tests/support/golden.h and hashweights.h: the tools of the tests that compare with recorded numbers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/golden.h"
#include "support/ok.h"
#include "support/tempdir.h"

enum { N = 3, C = 5, H = 4, W = 7, ELEMENTS = N * C * H * W, KEPT = 40 };

static const int64_t SHAPE[4] = {N, C, H, W};

static void make_tensor(float *file, float *nhwc)
{
    hash_weight("x", 4, SHAPE, 0, ELEMENTS, file);
    if (nhwc) hash_weight_nhwc("x", SHAPE, nhwc);
}

/* A golden file with x in full, x in part, and damaged entries. */
static dram_st *make_golden(void **state)
{
    const char *path = in_dir(state, "made.safetensors");
    float x[ELEMENTS], part[KEPT];
    double sum = 0, sumsq = 0;
    char text[128];
    make_tensor(x, NULL);
    for (int i = 0; i < ELEMENTS; i++) sum += x[i], sumsq += (double)x[i] * x[i];
    for (int j = 0; j < KEPT; j++) part[j] = x[hash_index("part", j, ELEMENTS)];
    snprintf(text, sizeof text, "[3,5,4,7] sum %.17g sumsq %.17g", sum, sumsq);
    const dram_st_out out[] = {
        {.name = "full", .dtype = DRAM_ST_F32, .rank = 1, .dim = {ELEMENTS}, .data = x},
        {.name = "part", .dtype = DRAM_ST_F32, .rank = 1, .dim = {KEPT}, .data = part},
        {.name = "none", .dtype = DRAM_ST_F32, .rank = 1, .dim = {0}},
        {.name = "untold", .dtype = DRAM_ST_F32, .rank = 1, .dim = {1}, .data = x},
        {.name = "scalar", .dtype = DRAM_ST_F32, .rank = 1, .dim = {1}, .data = x},
        {.name = "nan", .dtype = DRAM_ST_F32, .rank = 1, .dim = {1}, .data = (float[]){NAN}},
        {.name = "cut", .dtype = DRAM_ST_F32, .rank = 1, .dim = {ELEMENTS}, .data = x},
    };
    const dram_st_pair pairs[] = {{"full", text},
                                  {"part", text},
                                  {"none", text},
                                  {"scalar", "[] sum 1 sumsq 1"},
                                  {"nan", "[] sum nan sumsq nan"},
                                  {"cut", "[3,5,4,7] sum 1"}};
    ok(dram_st_write(path, out, 7, pairs, 6));
    dram_st *st;
    ok(dram_st_open(path, &st));
    return st;
}

static double compare(const dram_st *st, const char *name, const float *got, golden_layout layout)
{
    char why[512];
    double used = golden_compare(st, name, got, 4, SHAPE, layout, 1e-4, 1e-4, why, sizeof why);
    if (used > 0) assert_string_not_equal(why, "");
    return used;
}

static void equal_tensors_agree_in_both_layouts(void **state)
{
    float file[ELEMENTS], nhwc[ELEMENTS];
    dram_st *st = make_golden(state);
    make_tensor(file, nhwc);
    /* the sums here add up in another order than in the file */
    assert_true(compare(st, "full", file, GOLDEN_FILE) < 1e-6);
    assert_true(compare(st, "part", file, GOLDEN_FILE) < 1e-6);
    assert_true(compare(st, "full", nhwc, GOLDEN_NHWC) < 1e-6);
    assert_true(compare(st, "part", nhwc, GOLDEN_NHWC) < 1e-6);
    assert_true(compare(st, "full", nhwc, GOLDEN_FILE) > 100);
    assert_true(compare(st, "part", nhwc, GOLDEN_FILE) > 100);
    assert_true(compare(st, "full", file, GOLDEN_NHWC) > 100);
    assert_true(nhwc[1] == file[H * W] && nhwc[C] == file[1]); /* [0,0,0,1] and [0,0,1,0] */
    golden_assert(st, "full", file, 4, SHAPE, GOLDEN_FILE, 1e-6, 0);
    dram_st_close(st);
}

static void the_allowance_is_what_it_says(void **state)
{
    float x[ELEMENTS];
    dram_st *st = make_golden(state);
    golden_entry e;
    char why[512];
    assert_int_equal(golden_read(st, "full", &e, why, sizeof why), 0);
    for (int i = 0; i < ELEMENTS; i += 17) {
        make_tensor(x, NULL);
        double allowed = 1e-4 * e.rms + 1e-4 * fabs((double)x[i]);
        float was = x[i];
        x[i] = (float)(was + 0.9 * allowed);
        assert_true(fabs(compare(st, "full", x, GOLDEN_FILE) - 0.9) < 0.01);
        x[i] = (float)(was - 1.1 * allowed);
        assert_true(fabs(compare(st, "full", x, GOLDEN_FILE) - 1.1) < 0.01);
    }
    free(e.values);
    dram_st_close(st);
}

/* A wrong element that is not among the kept ones shows in a sum. */
static void the_sums_watch_what_is_not_kept(void **state)
{
    float x[ELEMENTS];
    bool kept[ELEMENTS] = {0};
    dram_st *st = make_golden(state);
    int tried = 0;
    for (int j = 0; j < KEPT; j++) kept[hash_index("part", j, ELEMENTS)] = true;
    for (int i = 0; i < ELEMENTS; i++) {
        if (kept[i]) continue;
        make_tensor(x, NULL);
        x[i] += 1.0f;
        assert_true(compare(st, "part", x, GOLDEN_FILE) > 1);
        x[i] = NAN;
        assert_true(isinf(compare(st, "part", x, GOLDEN_FILE)));
        make_tensor(x, NULL);
        x[i] = x[(i + 1) % ELEMENTS] + 0.5f, x[(i + 1) % ELEMENTS] += 0.5f;
        assert_true(compare(st, "part", x, GOLDEN_FILE) > 1);
        tried++;
    }
    assert_true(tried > ELEMENTS / 2);
    make_tensor(x, NULL);
    for (int i = 0; i < ELEMENTS; i++) { /* the sum stays, the sum of squares does not */
        if (kept[i]) continue;
        x[i] *= (i & 1) ? 1.01f : 0.99f;
    }
    assert_true(compare(st, "part", x, GOLDEN_FILE) > 1);
    dram_st_close(st);
}

static void what_is_wrong_fails(void **state)
{
    float x[ELEMENTS];
    char why[512];
    dram_st *st = make_golden(state);
    make_tensor(x, NULL);
    assert_true(isinf(compare(st, "none", x, GOLDEN_FILE)));
    assert_true(isinf(compare(st, "untold", x, GOLDEN_FILE)));
    assert_true(isinf(compare(st, "absent", x, GOLDEN_FILE)));
    assert_true(isinf(compare(st, "cut", x, GOLDEN_FILE)));
    assert_true(isinf(golden_compare(st, "full", x, 3, SHAPE, GOLDEN_FILE, 1, 1, why, sizeof why)));
    assert_true(isinf(golden_compare(st, "full", x, 4, (int64_t[]){N, C, W, H}, GOLDEN_FILE, 1, 1, why, sizeof why)));
    assert_true(isinf(golden_compare(st, "nan", x, 0, NULL, GOLDEN_FILE, 1, 1, why, sizeof why)));
    assert_true(isinf(golden_compare(st, "scalar", x, 0, NULL, GOLDEN_NHWC, 1, 1, why, sizeof why)));
    for (int i = 0; i < ELEMENTS; i++) {
        make_tensor(x, NULL);
        x[i] = NAN;
        assert_true(isinf(compare(st, "full", x, GOLDEN_FILE)));
        x[i] = INFINITY;
        assert_true(isinf(compare(st, "full", x, GOLDEN_FILE)));
    }
    for (int i = 0; i < ELEMENTS; i++) x[i] = 0;
    assert_true(compare(st, "full", x, GOLDEN_FILE) > 100);
    make_tensor(x, NULL);
    for (int i = 0; i < ELEMENTS; i++) x[i] *= 1.001f;
    assert_true(compare(st, "full", x, GOLDEN_FILE) > 1);
    for (int i = 0; i < ELEMENTS; i++) x[i] = -x[i];
    assert_true(compare(st, "full", x, GOLDEN_FILE) > 100);
    dram_st_close(st);
}

/* The generator makes, to the bit, what scripts/golden.py makes. */
static void the_hash_is_that_of_the_recorder(void **state)
{
    (void)state;
    dram_st *st;
    int compared = 0;
    ok(golden_open(DRAM_SOURCE_DIR, "ops", &st));
    for (int i = 0; i < dram_st_count(st); i++) {
        const char *name = dram_st_at(st, i)->name;
        golden_entry e;
        char why[512];
        if (strncmp(name, "hash:", 5) != 0) continue;
        if (golden_read(st, name, &e, why, sizeof why) != 0) fail_msg("%s", why);
        assert_int_equal(e.kept, e.elements);
        float *x = malloc((size_t)e.elements * sizeof *x);
        assert_non_null(x);
        hash_weight(name + 5, e.rank, e.dim, 0, e.elements, x);
        for (int64_t k = 0; k < e.elements; k++) {
            if (x[k] != e.values[k])
                fail_msg("%s at %d: %.9g here, %.9g there", name, (int)k, (double)x[k], (double)e.values[k]);
            assert_true(x[k] != 0);
        }
        hash_weight(name + 5, e.rank, e.dim, 3, 5, x); /* a range is a part of the whole */
        for (int k = 0; k < 5; k++) assert_true(x[k] == e.values[3 + k]);
        free(x);
        free(e.values);
        compared++;
    }
    assert_true(compared >= 11);
    dram_st_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tensors_agree_in_both_layouts), cmocka_unit_test(the_allowance_is_what_it_says),
        cmocka_unit_test(the_sums_watch_what_is_not_kept),     cmocka_unit_test(what_is_wrong_fails),
        cmocka_unit_test(the_hash_is_that_of_the_recorder),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
