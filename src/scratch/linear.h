/* linear: products of rows [M,K] and a weight [N,K] on the CPU, and bias_grad's sums of columns. */
#ifndef DRAM_SCRATCH_LINEAR_H
#define DRAM_SCRATCH_LINEAR_H

#include "scratch/pieces.h"

/* The least scratch of a worker for a product that is not all fp32. */
enum { DRAM_GEMM_SCRATCH = 16 << 10 };

/* Many rows by a small weight, one that stays in a second-level cache: the rows are not packed, each worker packs the
 * weight. */
static inline bool dram_linear_is_narrow(int64_t m, int64_t n, int64_t k)
{
    return n * k <= 24 << 10 && m >= 1024;
}

/* Floats of a packed B [K,N]: whole vectors of 8 columns. */
static inline int64_t dram_panel_floats(int64_t n, int64_t k)
{
    return dram_ceil_div(n, 8) * 8 * k;
}

/* bias_grad: a row of doubles for each task, dy [R,C]; all of them lie in the workers' shares. */
static inline int64_t dram_bias_grad_bytes(int64_t rows, int64_t columns, int64_t shares)
{
    const int64_t row = columns * (int64_t)sizeof(double);
    const int64_t tasks = dram_min(dram_parts_of(rows, 256, 64), shares / row);
    return (tasks > 1 ? tasks : 1) * row;
}

/* The same for each part of the rows, as many as make 1024 blocks of 128 columns or so. */
static inline int64_t dram_bias_grad_bytes_gpu(int64_t rows, int64_t columns)
{
    const int64_t most = dram_min(1024 / dram_ceil_div(columns, 128), 256), parts = dram_parts_of(rows, 128, most);
    return (parts > 1 ? parts : 1) * columns * (int64_t)sizeof(double);
}

#endif
