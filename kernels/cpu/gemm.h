/* gemm: matrix products of fp32, row-major: C [M,N] = alpha op(A) op(B) + (beta C, bias or acc).
 *
 * OpenBLAS must be set to one thread (openblas_set_num_threads(1)): products are cut into tasks here, because its
 * threads and ours would fight for the cores. C overlaps neither A nor B. Sizes are 1 or more.
 */
#ifndef DRAM_KERNELS_CPU_GEMM_H
#define DRAM_KERNELS_CPU_GEMM_H

#include "kernels/cpu/cpu.h"

typedef struct {
    bool trans_a, trans_b; /* A is stored [M,K], or [K,M] when trans_a; B [K,N], or [N,K] when trans_b */
    int64_t m, n, k;
    float alpha, beta; /* with beta = 0 C is not read */
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc; /* elements from one stored row to the next */
    const float *bias;     /* [N], added to every row, or NULL. With it or acc, beta is 0. */
    const float *acc;      /* added; laid out like C, may be C; or NULL */
} dram_gemm;

/* On the calling thread: for use inside a task. */
void DRAM_CPU(gemm_one)(const dram_gemm *g);

/* On all workers of the pool. workspace may be NULL: it holds partial sums when K is long and C is small, as many as
 * fit (added in order). The result depends on the shape, workspace_bytes and the number of workers. */
void DRAM_CPU(gemm)(dram_pool *pool, const dram_gemm *g, void *workspace, int64_t workspace_bytes);

#endif
