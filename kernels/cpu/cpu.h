/* cpu: what the CPU kernels share.
 *
 * Every kernel file is compiled once per instruction set (DRAM_CPU_VARIANT: base, v3 = AVX2 and FMA, v4 = AVX-512,
 * v4bf16 = and AVX512-BF16, amx = and AMX) and src/device/cpu_kernels.c picks one set at run time. So a function that
 * is not static must be named with DRAM_CPU(name).
 *
 * Vectorisation: plain loops over contiguous channels, `#pragma omp simd` (with reduction where needed, since without
 * -ffast-math a sum is not vectorised by itself).
 */
#ifndef DRAM_KERNELS_CPU_H
#define DRAM_KERNELS_CPU_H

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/kernel.h"
#include "scratch/pieces.h"

#define DRAM_CPU_JOIN_(a, b) dram_cpu_##a##_##b
#define DRAM_CPU_JOIN(a, b) DRAM_CPU_JOIN_(a, b)
#define DRAM_CPU(name) DRAM_CPU_JOIN(DRAM_CPU_VARIANT, name)

/* DRAM_CPU_KERNEL(relu) { ... args->in[0] ... } */
#define DRAM_CPU_KERNEL(name)                                                                                          \
    dram_status DRAM_CPU(name)(const dram_kernel_args *args);                                                          \
    dram_status DRAM_CPU(name)(const dram_kernel_args *args)

/* a b + c in one rounding where the processor has it. */
#ifdef __FMA__
#define DRAM_FMA(a, b, c) __builtin_fmaf(a, b, c)
#else
#define DRAM_FMA(a, b, c) ((a) * (b) + (c))
#endif

#endif
