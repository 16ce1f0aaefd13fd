/* fuse: brings updates to where they may be first, so that gradients die early. */
#ifndef DRAM_PASSES_FUSE_H
#define DRAM_PASSES_FUSE_H

#include "ir/op.h"

/* Moves the nodes of the update (UPDATE in the op list) forward: each stands right behind the last node it needs. That
 * is behind whatever makes its inputs and, where it overwrites a weight, behind every reader of that weight. It joins
 * the block (recompute's unit) of that node: what recompute repeats of a block comes before its own gradient, and so
 * before its update. What needs a sum over ranks (passes/collect.h) does not stand behind it but before the next bucket
 * of sums, or where all buckets are done behind the last. All other nodes keep their order, and so do moved ones that meet at one place. No node and no
 * value changes, so every result keeps its bits. An update that waits for the norm of all gradients does not move. Run
 * it when all nodes are there, before recompute. */
dram_status dram_fuse_updates(dram_graph *g);

#endif
