#include "device/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "ir/op_list.h"

#define X(NAME, ...) dram_status dram_cpu_base_##NAME(const dram_kernel_args *args);
DRAM_OP_LIST(X)
#undef X
static const dram_kernel base_kernels[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_base_##NAME,
    DRAM_OP_LIST(X)
#undef X
};

#ifdef DRAM_CPU_X86
#define X(NAME, ...)                                                                                                   \
    dram_status dram_cpu_v3_##NAME(const dram_kernel_args *args);                                                      \
    dram_status dram_cpu_v4_##NAME(const dram_kernel_args *args);
DRAM_OP_LIST(X)
#undef X
static const dram_kernel v3_kernels[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_v3_##NAME,
    DRAM_OP_LIST(X)
#undef X
};
static const dram_kernel v4_kernels[DRAM_OP_COUNT] = {
#define X(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_v4_##NAME,
    DRAM_OP_LIST(X)
#undef X
};
#endif

const char *dram_cpu_isa(void)
{
#ifdef DRAM_CPU_X86
    const char *asked = getenv("DRAM_CPU_ISA");
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512cd");
    if (asked && strcmp(asked, "base") == 0) return "base";
    if (v4 && !(asked && strcmp(asked, "v3") == 0)) return "v4";
    if (v3) return "v3";
#endif
    return "base";
}

const dram_kernel *dram_cpu_kernels(void)
{
#ifdef DRAM_CPU_X86
    const char *isa = dram_cpu_isa();
    if (strcmp(isa, "v4") == 0) return v4_kernels;
    if (strcmp(isa, "v3") == 0) return v3_kernels;
#endif
    return base_kernels;
}
