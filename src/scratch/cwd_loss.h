/* cwd_loss: sums of each channel of each image, s [N,cells,C]. */
#ifndef DRAM_SCRATCH_CWD_LOSS_H
#define DRAM_SCRATCH_CWD_LOSS_H

#include "scratch/pieces.h"

enum {
    DRAM_CWD_STRIP = 32,           /* channels of a task on the CPU: two lines of the first cache a cell */
    DRAM_CWD_SUMS_BYTES = 32,      /* on a GPU, of a channel in a part of the cells */
    DRAM_CWD_DIVERGENCE_BYTES = 8, /* of a channel, forward */
    DRAM_CWD_SHARES_BYTES = 16     /* of a channel, backward */
};

static inline int64_t dram_cwd_strips(int64_t channels)
{
    return dram_ceil_div(channels, DRAM_CWD_STRIP);
}

static inline int64_t dram_cwd_parts_gpu(int64_t cells)
{
    return dram_parts_of(cells, 128, 64);
}

#endif
