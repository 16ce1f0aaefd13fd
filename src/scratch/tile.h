/* tile: rows of products in a core's cache (kernels/cpu/tile.h): whole vectors of 16, an odd number of them from row to
 * row, which spreads the rows over the sets of the cache. */
#ifndef DRAM_SCRATCH_TILE_H
#define DRAM_SCRATCH_TILE_H

#include "scratch/pieces.h"

enum { DRAM_TILE_VECTOR = 16 };

static inline int64_t dram_tile_columns(int64_t n)
{
    return dram_ceil_div(n, DRAM_TILE_VECTOR) * DRAM_TILE_VECTOR;
}

static inline int64_t dram_tile_stride(int64_t n)
{
    return (dram_ceil_div(n, DRAM_TILE_VECTOR) | 1) * DRAM_TILE_VECTOR;
}

#endif
