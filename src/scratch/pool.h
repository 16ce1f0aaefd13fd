/* pool: sums over the pixels of an image [P,C] in parts of C doubles. */
#ifndef DRAM_SCRATCH_POOL_H
#define DRAM_SCRATCH_POOL_H

#include "scratch/pieces.h"

static inline int64_t dram_pixel_parts(int64_t pixels, int64_t channels)
{
    return dram_min(dram_parts_of(pixels * channels, DRAM_PIECE, 8), pixels);
}

/* On a GPU parts keep it busy: of about 16 Ki elements in up to 256 channels. A single one needs no room. */
static inline int64_t dram_pixel_parts_gpu(int64_t pixels, int64_t channels, int64_t most)
{
    return dram_min(dram_parts_of(pixels * dram_min(channels, 256), 16384, most), pixels);
}

#endif
