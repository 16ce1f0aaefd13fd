/* ranks: how n elements are cut over the ranks of a job. */
#ifndef DRAM_BASE_RANKS_H
#define DRAM_BASE_RANKS_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DRAM_SHARD_BLOCK = 256,      /* a shard is whole blocks of 8-bit state (base/state8.h) */
    DRAM_SHARDED_LEAST = 4096,   /* elements: state and gradients of smaller tensors are whole on every rank */
    DRAM_GATHERED_MOST = 1 << 14 /* elements of which a sum in rank order gathers all instead of a piece of each rank */
};

/* Rank r sums elements r p .. (r+1) p - 1 of those there are, p being this: the last pieces may be smaller or empty. */
static inline int64_t dram_rank_piece(int64_t n, int ranks)
{
    return (n + ranks - 1) / ranks;
}

/* The elements of a shard. All ranks' are as long, so the last ones reach beyond n. */
static inline int64_t dram_rank_shard(int64_t n, int ranks)
{
    return (dram_rank_piece(n, ranks) + DRAM_SHARD_BLOCK - 1) / DRAM_SHARD_BLOCK * DRAM_SHARD_BLOCK;
}

/* The first element of a rank's shard; of `ranks`, which there is not, the end. It is n where the shard lies beyond it. */
static inline int64_t dram_rank_first(int64_t n, int ranks, int rank)
{
    const int64_t at = rank * dram_rank_shard(n, ranks);
    return at < n ? at : n;
}

/* How many elements of a rank's shard there are. */
static inline int64_t dram_rank_count(int64_t n, int ranks, int rank)
{
    return dram_rank_first(n, ranks, rank + 1) - dram_rank_first(n, ranks, rank);
}

/* Whether a sum of n elements in rank order gathers all of them, [N,n], and adds: one latency instead of two. Else
 * pieces are exchanged, [N,p], added, and gathered. */
static inline bool dram_rank_gathers(int64_t n)
{
    return n <= DRAM_GATHERED_MOST;
}

/* Elements of the workspace of a sum in rank order: what it gathers or exchanges. */
static inline int64_t dram_rank_workspace(int64_t n, int ranks)
{
    return ranks * (dram_rank_gathers(n) ? n : dram_rank_piece(n, ranks));
}

#endif
