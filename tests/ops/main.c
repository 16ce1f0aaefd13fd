/* test_ops_all [-v] [--cuda | --both] [OP ...]: tests all ops, or those named, on the CPU, where DRAM_CPU_ISA picks the
 * kernels, on a GPU, or on both against the same references, most of the time being theirs.
 * test_ops_all --list OP ...: whether all ops are named, which is how ctest knows that it has a test for each.
 * test_ops_all --names: all ops, a line each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>
#include <cmocka.h>

#include "device/cpu_kernels.h"
#include "ir/op.h"
#include "ops/call.h"
#include "optest.h"

static const optest_suite *const table[DRAM_KERNEL_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = &optest_##NAME,
    DRAM_OP_LIST(X)
#undef X
};

static bool verbose;

static void comparison_rejects(void **state)
{
    (void)state;
    double worst;
    const optest_tol tol = {1e-6, 1e-6};
    const double want[4] = {1, -2, 3, 0}, some[2] = {1, 3};
    const float same[4] = {1, -2, 3, 0}, far[4] = {1, -2, 3.001f, 0}, nan[4] = {1, NAN, 3, 0},
                inf[4] = {1, -2, 3, INFINITY};
    assert_int_equal(optest_compare(same, want, NULL, 4, tol, &worst), 0);
    assert_int_equal(optest_compare(far, want, NULL, 4, tol, &worst), 1);
    assert_int_equal(optest_compare(nan, want, NULL, 4, tol, &worst), 1);
    assert_int_equal(optest_compare(inf, want, NULL, 4, tol, &worst), 1);
    assert_int_not_equal(optest_compare(same, want, NULL, 0, tol, &worst), 0);
    assert_int_equal(optest_compare(same, some, (const int64_t[]){0, 2}, 2, tol, &worst), 0);
    assert_int_equal(optest_compare(far, some, (const int64_t[]){0, 2}, 2, tol, &worst), 1);
}

static void test_op(void **state)
{
    dram_op op = (dram_op)(uintptr_t)*state;
    int failures = table[op]->n_cases > 0 ? optest_run(op, table[op], verbose) : optest_run_through(op, table, verbose);
    assert_int_equal(failures, 0);
}

/* Returns how many are not among the names, printed. */
static int missing(char **names, int n)
{
    int failures = 0;
    for (int op = 0; op < DRAM_KERNEL_COUNT; op++) {
        bool named = false;
        for (int i = 0; i < n; i++) named |= strcmp(dram_op_rows[op].name, names[i]) == 0;
        if (!named) printf("%s has no test of its own\n", dram_op_rows[op].name);
        failures += !named;
    }
    return failures;
}

static int find_op(const char *name)
{
    for (int op = 0; op < DRAM_KERNEL_COUNT; op++)
        if (strcmp(dram_op_rows[op].name, name) == 0) return op;
    return -1;
}

/* The instruction set asked for must be another than the one that is taken by itself, which has its own run, unless
 * ops were named. */
static const char *nothing_new(bool all)
{
    const char *asked = getenv("DRAM_CPU_ISA");
    if (!asked) return NULL;
    char set[16];
    snprintf(set, sizeof set, "%s", asked);
    bool there = strcmp(dram_cpu_isa(), set) == 0;
    unsetenv("DRAM_CPU_ISA");
    bool best = strcmp(dram_cpu_isa(), set) == 0;
    setenv("DRAM_CPU_ISA", set, 1);
    return !there ? "this processor does not have it" : best && all ? "it is the best, which has its own run" : NULL;
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[DRAM_KERNEL_COUNT + 1] = {{.name = "comparison_rejects", .test_func = comparison_rejects}};
    size_t n = 1;
    bool cuda = false, both = false;
    dram_device *device = NULL;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) return missing(argv + 2, argc - 2) > 0;
    if (argc == 2 && strcmp(argv[1], "--names") == 0) {
        for (int op = 0; op < DRAM_KERNEL_COUNT; op++) puts(dram_op_rows[op].name);
        return 0;
    }
    for (int i = 1; i < argc; i++) {
        int op = find_op(argv[i]);
        if (strcmp(argv[i], "-v") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--cuda") == 0) {
            cuda = true;
        } else if (strcmp(argv[i], "--both") == 0) {
            cuda = both = true;
        } else if (op < 0 || n > DRAM_KERNEL_COUNT) {
            fprintf(stderr, "%s is no op\n", argv[i]);
            return 2;
        } else {
            tests[n++] =
                (struct CMUnitTest){.name = argv[i], .test_func = test_op, .initial_state = (void *)(uintptr_t)op};
        }
    }
    if (cuda && dram_device_open_cuda(0, 1, &device) != DRAM_OK) {
        printf("skipped: %s\n", dram_error_text());
        return 77;
    }
    bool all = n == 1;
    const char *why = nothing_new(all);
    if (why) {
        printf("skipped: instruction set %s: %s\n", getenv("DRAM_CPU_ISA"), why);
        return 77;
    }
    for (int op = 0; all && op < DRAM_KERNEL_COUNT; op++)
        tests[n++] = (struct CMUnitTest){
            .name = dram_op_rows[op].name, .test_func = test_op, .initial_state = (void *)(uintptr_t)op};
    openblas_set_num_threads(1); /* the kernels cut products into tasks themselves */
    dram_ops_init();
    if (optest_open(!cuda || both, device) != DRAM_OK) return 1;
    if (!cuda || both) printf("instruction set %s\n", dram_cpu_isa());
    if (device) printf("GPU %s\n", device->name);
    int failed = _cmocka_run_group_tests("ops", tests, n, NULL, NULL);
    optest_close();
    dram_device_close(device);
    return failed;
}
