/* tile: matrix products of operands that lie in a core's cache, for kernels that do many small ones (attention).
 *
 * A library packs both operands at every call, which costs as much as a third of a product of depth 64; here nothing is
 * packed: elements of A are broadcast from where they lie, in either orientation, and rows of B are read as vectors. */
#ifndef DRAM_KERNELS_CPU_TILE_H
#define DRAM_KERNELS_CPU_TILE_H

#include "kernels/cpu/cpu.h"
#include "scratch/tile.h"

/* C [m,n] = alpha A B, or += with `add`. A(i, k) is at a + i a_row + k a_column; rows of B [k,n] and C [m,n] are ldb
 * and ldc apart. n counts whole vectors: a multiple of 16, for which B and C must have room. C overlaps neither. A row
 * stride that is an odd multiple of 16 spreads the rows over the sets of the cache (dram_tile_stride). */
typedef struct {
    int64_t m, n, k;
    float alpha;
    bool add;
    const float *a;
    int64_t a_row, a_column;
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
} dram_tile;

void DRAM_CPU(tile_product)(const dram_tile *t);

#endif
