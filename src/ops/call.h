/* call: appending a node in one line.
 *
 *     dram_val y = DRAM_CALL(g, linear, "qkv", NULL, x, w, b);
 *     dram_val z = DRAM_CALL(g, conv2d, "conv", DRAM_ATTR(.stride = 2, .pad = 1, .groups = 1), y, k);
 *
 * Each gives output 0 (DRAM_NONE after a failure, which stays in g->status). Ops with several outputs: dram_graph_add.
 */
#ifndef DRAM_OPS_CALL_H
#define DRAM_OPS_CALL_H

#include "ir/graph.h"

#define DRAM_ATTR(...) (&(const dram_attr){__VA_ARGS__})

#define DRAM_CALL(g, op, name, attr, ...)                                                                              \
    dram_call(g, DRAM_OP_##op, name, attr, (const dram_val[]){__VA_ARGS__},                                            \
              (int)(sizeof((const dram_val[]){__VA_ARGS__}) / sizeof(dram_val)))

static inline dram_val dram_call(dram_graph *g, dram_op op, const char *name, const dram_attr *attr, const dram_val *in,
                                 int n_in)
{
    dram_val out[DRAM_MAX_OUT];
    dram_graph_add(g, op, name, attr, in, n_in, out);
    return out[0];
}

/* Where the graph is in step with other ranks (graph->sync): appends what makes the statistics of all their batches of
 * those of each; stats, mean and var f32 [C], are replaced. count f32 [1]: of how many cells they are; DRAM_NONE: of as
 * many on each rank. */
void dram_sync_stats(dram_graph *g, dram_val stats[2], dram_val count);

/* Makes the rules of src/ops known to src/ir. Call it once, before the first graph. */
void dram_ops_init(void);

#endif
