/* attention: tiles of queries and keys, and partial gradients of the tables and of the bias. */
#ifndef DRAM_SCRATCH_ATTENTION_H
#define DRAM_SCRATCH_ATTENTION_H

#include "scratch/tile.h"

enum {
    DRAM_ATTENTION_LEAST_TILE = 16, /* queries, and keys: what always fits */
    DRAM_ATTENTION_QUERIES = 256,   /* of the largest tile */
    DRAM_ATTENTION_KEYS = 128,
    DRAM_ATTENTION_PARTIALS = 8 /* of a worker, at most */
};

/* What the bytes depend on. */
typedef struct {
    bool low;       /* bf16 or f16 */
    int64_t sh, sw; /* grid of the keys: the window, or the image */
    int64_t d;      /* of a head */
} dram_attention_sizes;

/* Floats for a tile of bq queries and bk keys. Where dqkv is not fp32 the keys' gradients are held apart from it. */
static inline int64_t dram_attention_floats(const dram_attention_sizes *s, int64_t bq, int64_t bk, bool backward)
{
    const int64_t nq = dram_min(bq, s->sh * s->sw), nk = dram_min(bk, s->sh * s->sw), ld = dram_tile_stride(nq);
    const int64_t table = 2 * (s->sh > s->sw ? s->sh : s->sw) - 1, first = nk > table ? nk : table;
    const int64_t key_rows = s->low ? 2 : 3;
    if (backward)
        return ld * (first + nk + 2 * (s->sh + s->sw + s->d + 1)) + (3 * nq + key_rows * nk) * dram_tile_stride(s->d);
    return ld * (first + s->sh + s->sw + s->d + 3) + (nq + nk) * dram_tile_stride(s->d);
}

/* Floats of a partial gradient; the bias takes part where there are windows. D = heads d. */
static inline int64_t dram_attention_partial(int64_t sh, int64_t sw, int64_t d, int64_t dim, int64_t window)
{
    return 2 * (sh + sw - 1) * d + (window ? 2 * dim : 0);
}

/* Floats to hold the gradients of so many keys and values in fp32. */
static inline int64_t dram_attention_held(int64_t d, int64_t keys)
{
    return 2 * keys * dram_tile_columns(d);
}

#endif
