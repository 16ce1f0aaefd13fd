/* cpu_kernels: the table of CPU kernels for the best instruction set this processor has. */
#ifndef DRAM_DEVICE_CPU_KERNELS_H
#define DRAM_DEVICE_CPU_KERNELS_H

#include "base/kernel.h"

/* Table indexed by dram_op. DRAM_CPU_ISA=base|v3|v4|v4bf16 in the environment asks for a lower set (for tests). */
const dram_kernel *dram_cpu_kernels(void);

/* What dram_cpu_kernels chose: "base", "v3" (AVX2, FMA), "v4" (AVX-512), "v4bf16" (and AVX512-BF16) or "amx" (and AMX
 * tiles of bf16, for which it asks the kernel's permission; threads started later have it too). */
const char *dram_cpu_isa(void);

#endif
