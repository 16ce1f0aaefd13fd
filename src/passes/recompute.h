/* recompute: a backward makes forward values again instead of keeping them.
 *
 * A graph's blocks (dram_block_enter) that have a gradient are a chain of stages. A schedule (passes/chain.h) says how
 * often each is run forward and what it keeps; here it becomes nodes: a repeated run is a copy of the block's nodes,
 * and the backward reads the copy. Nothing has to be freed by hand, since a value dies at its last reader.
 *
 * Every result keeps its bits: the copies are the same kernels on the same values, batch statistics are read and never
 * made again, running statistics move once, and no order of a sum changes.
 *
 * What a block may keep (its save-options): 0 everything its backward reads; 1 convolution and GEMM outputs, from which
 * norm, activation and gate outputs are made again (the recompute variant of InPlace-ABN, Rota Bulo, Porzi,
 * Kontschieder 2018); further ones make some of the GEMMs again too (op variants as in MONeT, 2021). Low-precision
 * copies of weights are never kept. Outside the blocks, norm and activation outputs are made again as in option 1.
 */
#ifndef DRAM_PASSES_RECOMPUTE_H
#define DRAM_PASSES_RECOMPUTE_H

#include "ir/op.h"
#include "passes/chain.h"

typedef struct {
    bool norms;            /* norm, activation and gate outputs may be made again */
    bool more;             /* and GEMMs: options beyond 1 */
    bool in_place;         /* as the plan will have it */
    const double *seconds; /* of each node, from a calibration; NULL: FLOPs */
} dram_recompute_options;

typedef struct dram_recompute dram_recompute;

/* Studies a graph as it was built, all of its nodes appended. The graph must outlive it and not change. */
dram_status dram_recompute_open(const dram_graph *g, const dram_profile *profile, dram_recompute_options options,
                                dram_recompute **recompute);
void dram_recompute_close(dram_recompute *recompute); /* NULL is allowed */

/* The graph's chain; length 0 when no block has a gradient. Owned by it. Values under 64 KiB are not in its numbers. */
const dram_chain *dram_recompute_chain(const dram_recompute *recompute);

/* The option that schedules without a choice use: 1 with norms, else 0. */
int dram_recompute_plain_option(const dram_recompute *recompute);

/* Most bytes alive at a node under the schedule, slots not counted, and FLOPs spent again. Exact: what dram_plan_make
 * will find, except for what a queue beside compute holds until it is joined. An empty schedule (n = 0) stands for
 * "stored" with the plain option. */
dram_status dram_recompute_measure(dram_recompute *recompute, const dram_chain_schedule *schedule, int64_t *live_bytes,
                                   int64_t *added_flops);

/* The schedule that costs the least time (FLOPs, where nodes have no seconds) among those found whose program needs at
 * most `most` bytes above the slots; if none does, the one that needs fewest (always so with 0). Empty when the
 * graph has no chain. The caller frees it. */
dram_status dram_recompute_search(dram_recompute *recompute, int64_t most, dram_chain_schedule *schedule);

/* Rewrites the graph. Call it once; the study is of no use afterwards but to be closed. */
dram_status dram_recompute_apply(dram_recompute *recompute, dram_graph *g, const dram_chain_schedule *schedule);

#endif
