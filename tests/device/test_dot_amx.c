/* Products of bf16 by AMX tiles (kernels/cpu/gemm_dot.c): emulated, and the processor's where it has them. */
#define DRAM_DOT_AMX 1
#define REAL_ISA "amx"
#define REAL_DOT dram_cpu_amx_gemm_dot
#include "device/dot_cases.h"
