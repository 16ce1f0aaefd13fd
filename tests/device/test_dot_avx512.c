/* Products of bf16 by AVX512-BF16 (kernels/cpu/gemm_dot.c): emulated, and the processor's where it has them. */
#define DRAM_DOT_AVX512 1
#define REAL_ISA "v4bf16"
#define REAL_DOT dram_cpu_v4bf16_gemm_dot
#include "device/dot_cases.h"
