/* layernorm: layernorm_grad's partial sums of dgamma and dbeta, x [R,C], and rows that are reckoned with in fp32. */
#ifndef DRAM_SCRATCH_LAYERNORM_H
#define DRAM_SCRATCH_LAYERNORM_H

#include "scratch/pieces.h"

enum {
    DRAM_LAYERNORM_PART_ROWS = 16,
    DRAM_LAYERNORM_ROWS = 1,     /* of x, a worker, where it is not f32 */
    DRAM_LAYERNORM_GRAD_ROWS = 3 /* of x, dy and acc */
};

static inline int64_t dram_layernorm_part_bytes(int64_t channels)
{
    return 2 * channels * (int64_t)sizeof(float);
}

/* On the CPU all parts lie in one worker's share; there is one at least. */
static inline int64_t dram_layernorm_parts(int64_t rows, int64_t channels, int64_t share)
{
    int64_t parts =
        dram_min(dram_parts_of(rows, DRAM_LAYERNORM_PART_ROWS, 128), share / dram_layernorm_part_bytes(channels));
    return parts > 1 ? parts : 1;
}

/* On a GPU a part is a block. */
static inline int64_t dram_layernorm_parts_gpu(int64_t rows)
{
    return dram_parts_of(rows, DRAM_LAYERNORM_PART_ROWS, 256);
}

#endif
