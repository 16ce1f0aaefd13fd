/* columns: how a GPU's blocks lie on a matrix [R,C] (kernels/cuda/columns.cuh). */
#ifndef DRAM_SCRATCH_COLUMNS_H
#define DRAM_SCRATCH_COLUMNS_H

#include "scratch/pieces.h"

enum {
    DRAM_COLUMNS_BLOCK = 256,
    DRAM_COLUMNS_WIDE = 32 /* vectors of a block's row at most: 512 bytes */
};

/* Blocks of wide x high threads, `chunks` of them side by side. */
typedef struct {
    int64_t rows, channels;
    int vectors, wide, high, chunks; /* vectors: C / V */
} dram_columns;

/* A thread takes vectors of v channels. */
static inline dram_columns dram_columns_of(int64_t rows, int64_t channels, int v)
{
    dram_columns c;
    c.rows = rows;
    c.channels = channels;
    c.vectors = (int)(channels / v);
    c.chunks = (c.vectors + DRAM_COLUMNS_WIDE - 1) / DRAM_COLUMNS_WIDE;
    c.wide = (c.vectors + c.chunks - 1) / c.chunks;
    c.high = DRAM_COLUMNS_BLOCK / c.wide;
    if (c.high > rows) c.high = (int)rows;
    return c;
}

#endif
