/* batchnorm: the sums over rows of bn_stats and bn_reduce, x [R,C]: two doubles a channel of each part. */
#ifndef DRAM_SCRATCH_BATCHNORM_H
#define DRAM_SCRATCH_BATCHNORM_H

#include "scratch/columns.h"

static inline int64_t dram_batchnorm_part_bytes(int64_t channels)
{
    return 2 * channels * (int64_t)sizeof(double);
}

/* On the CPU a part is a task. */
static inline int64_t dram_batchnorm_parts(int64_t rows, int64_t channels)
{
    return dram_min(dram_parts_of(rows * channels, DRAM_PIECE, 32), rows);
}

/* A factor for each channel lies behind the parts. */
static inline int64_t dram_batchnorm_bytes(int64_t rows, int64_t channels)
{
    return dram_batchnorm_parts(rows, channels) * dram_batchnorm_part_bytes(channels) +
           channels * (int64_t)sizeof(float);
}

/* On a GPU a part is a row of blocks, whose threads take 32 rows each of vectors of v channels; fewer, down to 8, where
 * that would leave fewer than 256 blocks. */
static inline int64_t dram_batchnorm_parts_gpu(int64_t rows, int64_t channels, int v)
{
    const dram_columns of = dram_columns_of(rows, channels, v);
    int64_t each = 32;
    while (each > 8 && rows / (of.high * each) * of.chunks < 256) each /= 2;
    return dram_parts_of(rows, of.high * each, 1024);
}

#endif
