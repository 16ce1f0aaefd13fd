/* delay: a value that is large, and read once and late, is made when it is needed. */
#ifndef DRAM_PASSES_DELAY_H
#define DRAM_PASSES_DELAY_H

#include "ir/op.h"

/* Moves a node of the backward down to right before the only reader of its output, within its block, where that keeps
 * fewer bytes alive in between: the inputs that would have died at it are smaller than what it makes. So the gradient
 * through a block's shortcut is not held while the rest of the block's backward runs. No sum changes its order: every
 * result keeps its bits. Run it on a whole graph, before recompute. */
dram_status dram_delay(dram_graph *g);

#endif
