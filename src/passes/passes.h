/* passes: what is done to the graph of a training step between its building and its plan, in this order:
 *
 *   delay      a shortcut's gradient is made when it is needed            (passes/delay.h)
 *   collect    sums over ranks stand in buckets behind their gradients    (passes/collect.h)
 *   fuse       an update stands behind the last reader of its weight      (passes/fuse.h)
 *   recompute  the backward makes forward values again, by a schedule     (passes/recompute.h)
 *
 * Fuse moves updates into the blocks that recompute then copies from, so it comes before. No pass changes a bit of any
 * result. A graph without a backward needs none of them, but for that of an update over several ranks.
 */
#ifndef DRAM_PASSES_PASSES_H
#define DRAM_PASSES_PASSES_H

#include "passes/recompute.h"

typedef struct {
    int64_t bucket;                   /* bytes of gradients that ranks sum together */
    bool fuse;                        /* nothing waits for all gradients: updates may come early */
    dram_recompute_options recompute; /* `seconds` is filled from the function below */
    /* Seconds of each node of the graph as it is then, NULL where none were measured; dram_free. */
    dram_status (*seconds)(void *context, const dram_graph *g, double **seconds);
    /* The schedule to use; an empty one: every block is stored. */
    dram_status (*schedule)(void *context, dram_recompute *recompute, dram_chain_schedule *schedule);
    void *context; /* of both */
} dram_passes;

/* Rewrites the graph. *schedule, which is the caller's whatever is returned, says what was made again, *added_flops
 * what it costs. */
dram_status dram_passes_run(const dram_passes *passes, dram_graph *g, const dram_profile *profile,
                            dram_chain_schedule *schedule, int64_t *added_flops);

/* The same of the program of an update that stands by itself and has sums over ranks: collect and fuse. */
dram_status dram_passes_update(dram_graph *g, int64_t bucket);

#endif
