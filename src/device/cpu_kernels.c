#include "device/cpu_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "ir/op_list.h"

/* The sets, least first. */
#ifdef DRAM_CPU_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#ifdef DRAM_CPU_WIDE
#define SETS(X) X(base) X(v3) X(v4) X(v4bf16) X(amx)
#else
#define SETS(X) X(base) X(v3)
#endif
#else
#define SETS(X) X(base)
#endif

#define KERNEL_base(NAME, ...) dram_status dram_cpu_base_##NAME(const dram_kernel_args *args);
#define KERNEL_v3(NAME, ...) dram_status dram_cpu_v3_##NAME(const dram_kernel_args *args);
#define KERNEL_v4(NAME, ...) dram_status dram_cpu_v4_##NAME(const dram_kernel_args *args);
#define KERNEL_v4bf16(NAME, ...) dram_status dram_cpu_v4bf16_##NAME(const dram_kernel_args *args);
#define KERNEL_amx(NAME, ...) dram_status dram_cpu_amx_##NAME(const dram_kernel_args *args);
#define ENTRY_base(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_base_##NAME,
#define ENTRY_v3(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_v3_##NAME,
#define ENTRY_v4(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_v4_##NAME,
#define ENTRY_v4bf16(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_v4bf16_##NAME,
#define ENTRY_amx(NAME, ...) [DRAM_OP_##NAME] = dram_cpu_amx_##NAME,

#define X(SET)                                                                                                         \
    DRAM_OP_LIST(KERNEL_##SET)                                                                                         \
    static const dram_kernel SET##_kernels[DRAM_OP_COUNT] = {DRAM_OP_LIST(ENTRY_##SET)};
SETS(X)
#undef X

static const struct {
    const char *name;
    const dram_kernel *kernels;
} sets[] = {
#define X(SET) {#SET, SET##_kernels},
    SETS(X)
#undef X
};
enum { N_SETS = sizeof sets / sizeof sets[0] };

#ifdef DRAM_CPU_X86
enum { AVX512_BF16 = 1 << 5, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 }; /* CPUID 7.1 EAX; 7.0 EDX, twice */

/* The tiles' 8 KiB of state are given to a process that asks for them (Linux 5.16). Asking again changes nothing. */
static bool may_use_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* The best set of the processor that is no higher than `most`. */
static int best_set(int most)
{
    unsigned eax, ebx, ecx, edx, features;
    __builtin_cpu_init();
    if (most < 1 || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi2"))
        return 0;
    if (most < 2 || !__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512cd"))
        return 1;
    if (most < 3 || !__get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) || !(eax & AVX512_BF16)) return 2;
    if (most < 4 || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &features)) return 3;
    return features & AMX_BF16 && features & AMX_TILE && may_use_tiles() ? 4 : 3;
}
#else
static int best_set(int most)
{
    (void)most;
    return 0;
}
#endif

static int chosen_set(void)
{
    const char *asked = getenv("DRAM_CPU_ISA");
    int most = N_SETS - 1;
    for (int i = 0; asked && i < N_SETS; i++)
        if (strcmp(asked, sets[i].name) == 0) most = i;
    return best_set(most);
}

const char *dram_cpu_isa(void)
{
    return sets[chosen_set()].name;
}

const dram_kernel *dram_cpu_kernels(void)
{
    return sets[chosen_set()].kernels;
}
