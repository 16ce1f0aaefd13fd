/* gemm_low: the products behind gemm_one of which an operand is not f32. */
#ifndef DRAM_KERNELS_CPU_GEMM_LOW_H
#define DRAM_KERNELS_CPU_GEMM_LOW_H

#include "kernels/cpu/gemm.h"

/* Any types: blocks of A and B are widened to fp32 and multiplied by OpenBLAS, a block of C is narrowed. Exact in what
 * it widens, and in a product of two bf16; sums are fp32. */
void DRAM_CPU(gemm_widened)(const dram_gemm *g);

/* bf16 A and B: with the processor's products of bf16 pairs, which add in fp32 and take numbers below 2^-126 as zeros.
 * Returns false, having done nothing, for other types and in a set of kernels that has no such products.
 *
 * Both ways are within rounding of the exact result and so of each other: for f32 C, with K products a b,
 * |difference| <= 2 (K + 2) (2^-24 sum |a b| + 2^-126); for a C of fewer bits one more unit in the last place. */
bool DRAM_CPU(gemm_dot)(const dram_gemm *g);

/* Whether gemm_dot takes this product. */
static inline bool dram_gemm_is_dot(const dram_gemm *g)
{
#if defined(DRAM_DOT_AMX) || defined(DRAM_DOT_AVX512)
    return g->a_type == DRAM_BF16 && g->b_type == DRAM_BF16;
#else
    (void)g;
    return false;
#endif
}

/* Element `at` of an operand. */
static inline const void *dram_gemm_at(const void *base, dram_dtype dtype, int64_t at)
{
    return (const char *)base + at * (dtype == DRAM_F32 ? 4 : 2);
}

#endif
