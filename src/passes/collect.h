/* collect: sums over ranks begin while the backward still runs, some of them together. */
#ifndef DRAM_PASSES_COLLECT_H
#define DRAM_PASSES_COLLECT_H

#include "ir/op.h"

/* Moves the sums of gradients over ranks (dram_is_sum) forward. In the order in which their inputs are
 * complete they fill buckets: one is closed when it has `bytes` of gradients, and stands right behind what completes its
 * last. A bucket's nodes are neighbours, which a device carries out in one call, and attr.bucket is its number, from 1
 * on. They join the block (recompute's unit) of the node before them, as fused updates do. Gradients of one node stay
 * in one bucket.
 *
 * What reads the sums stays behind all of them here, as it was built; fuse (passes/fuse.h) brings it to before the next
 * bucket, so that a bucket is under way while the next one fills, and two are alive. All other nodes keep their order;
 * no node and no value changes. Without such nodes nothing is done. Run it after delay, before fuse. */
dram_status dram_collect(dram_graph *g, int64_t bytes);

/* A sum of a weight's gradient over ranks: one with a bucket's number, which may be any until dram_collect. */
static inline bool dram_is_sum(const dram_node *node)
{
    bool sum =
        node->op == DRAM_OP_all_reduce || node->op == DRAM_OP_all_reduce_into || node->op == DRAM_OP_reduce_scatter;
    return sum && node->attr.bucket > 0;
}

/* Such a sum, or one of the gathers that the builder has put in a bucket: they stay where they are. */
static inline bool dram_is_in_bucket(const dram_node *node)
{
    return dram_is_sum(node) || (node->op == DRAM_OP_all_gather && node->attr.bucket > 0);
}

#endif
