/* gemm: matrix products with fp32 sums, row-major: C [M,N] = alpha op(A) op(B) + (beta C, bias or acc).
 *
 * Operands are stored in f32, bf16 or f16; C is rounded once, at the store. A product of fp32 goes to OpenBLAS. Others
 * are done in blocks within `scratch`: bf16 by bf16 with the processor's own products (kernels/cpu/gemm_dot.c) where
 * this set of kernels has them, the rest widened to fp32 and multiplied by OpenBLAS (kernels/cpu/gemm_low.c).
 *
 * OpenBLAS must be set to one thread (openblas_set_num_threads(1)): products are cut into tasks here, because its
 * threads and ours would fight for the cores. C overlaps neither A nor B. Sizes are 1 or more.
 *
 * For a kernel that makes its own tiles (convolution): gather the tile in the type it is stored in, not in fp32, and
 * call gemm_one with a_type = b_type = that type and a scratch of its own. If K is passed in several calls, let C be an
 * fp32 tile (c_type DRAM_F32, beta 1 from the second call on) and round it at the end: a low C would be rounded by
 * each.
 */
#ifndef DRAM_KERNELS_CPU_GEMM_H
#define DRAM_KERNELS_CPU_GEMM_H

#include "kernels/cpu/cpu.h"
#include "scratch/linear.h"

typedef struct {
    bool trans_a, trans_b; /* A is stored [M,K], or [K,M] when trans_a; B [K,N], or [N,K] when trans_b */
    int64_t m, n, k;
    float alpha, beta; /* with beta = 0 C is not read */
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc; /* elements from one stored row to the next */
    const float *bias;     /* [N], added to every row, or NULL. With it or acc, beta is 0. */
    const void *acc;       /* added; laid out and typed like C, may be C; or NULL */
    dram_act act;          /* of gemm alone: NONE, or GELU of C as it is stored; K is then in one part */
    dram_dtype a_type, b_type, c_type;
    void *scratch; /* of gemm_one, aligned to 64, at least DRAM_GEMM_SCRATCH; not read when all three types are f32 */
    int64_t scratch_bytes;
} dram_gemm;

/* What is worth giving a product that is not all fp32: more is not used. The least is scratch/linear.h's. */
enum { DRAM_GEMM_SCRATCH_BEST = 1 << 20 };

/* On the calling thread: for use inside a task. The result depends on the shape, the types and scratch_bytes. */
void DRAM_CPU(gemm_one)(const dram_gemm *g);

/* On all workers of the pool. `workspace` is, if a type is not f32, first of all the scratch of each worker (workers
 * times DRAM_GEMM_SCRATCH at least; g->scratch is not read), and what is left, or NULL, holds partial sums when K is
 * long and C is small and of fp32, as many as fit (added in order). The result depends on the shape, the types,
 * workspace_bytes and the number of workers. */
void DRAM_CPU(gemm)(dram_pool *pool, const dram_gemm *g, void *workspace, int64_t workspace_bytes);

#endif
