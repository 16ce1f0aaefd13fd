/* Which set of kernels is chosen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device/cpu_kernels.h"
#include "ir/op_list.h"

static const char *const sets[] = {"base", "v3", "v4", "v4bf16", "amx"};
enum { SETS = sizeof sets / sizeof *sets };

static int rank_of(const char *set)
{
    for (int i = 0; i < SETS; i++)
        if (strcmp(sets[i], set) == 0) return i;
    fail_msg("there is no set %s", set);
    return -1;
}

/* Asked for, a set is taken if the processor has it, else the best one. */
static void lower_sets(void **state)
{
    (void)state;
    const dram_kernel *kernels[SETS];
    unsetenv("DRAM_CPU_ISA");
    int best = rank_of(dram_cpu_isa());
    const dram_kernel *best_kernels = dram_cpu_kernels();
    for (int i = 0; i < SETS; i++) {
        setenv("DRAM_CPU_ISA", sets[i], 1);
        assert_int_equal(rank_of(dram_cpu_isa()), i < best ? i : best);
        kernels[i] = dram_cpu_kernels();
        for (int op = 0; op < DRAM_KERNEL_COUNT; op++) assert_non_null(kernels[i][op]);
        assert_true(i < best ? kernels[i] != best_kernels : kernels[i] == best_kernels);
        for (int k = 0; k < i && i <= best; k++)
            assert_ptr_not_equal(kernels[k][DRAM_OP_linear], kernels[i][DRAM_OP_linear]);
    }
    setenv("DRAM_CPU_ISA", "v9", 1);
    assert_int_equal(rank_of(dram_cpu_isa()), best);
    unsetenv("DRAM_CPU_ISA");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lower_sets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
