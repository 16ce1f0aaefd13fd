/* embed_loss: sums of error and mask over some cells of an image, s [N,H,W,C]. */
#ifndef DRAM_SCRATCH_EMBED_LOSS_H
#define DRAM_SCRATCH_EMBED_LOSS_H

#include "scratch/pieces.h"

/* Of a part: on the CPU a row of cells, on a GPU 32 cells or so. */
typedef struct {
    double error, mask;
} dram_embed_sum;

static inline int64_t dram_embed_parts_gpu(int64_t cells)
{
    return dram_ceil_div(cells, 32);
}

#endif
