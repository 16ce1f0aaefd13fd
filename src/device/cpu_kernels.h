/* cpu_kernels: the table of CPU kernels for the best instruction set this processor has. */
#ifndef DRAM_DEVICE_CPU_KERNELS_H
#define DRAM_DEVICE_CPU_KERNELS_H

#include "base/kernel.h"

/* Table indexed by dram_op. DRAM_CPU_ISA=base|v3|v4 in the environment asks for a lower set (for tests). */
const dram_kernel *dram_cpu_kernels(void);

/* "base", "v3" (AVX2, FMA) or "v4" (AVX-512): what dram_cpu_kernels chose. */
const char *dram_cpu_isa(void);

#endif
