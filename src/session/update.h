/* update: the part of a step behind the losses: gradients, their norm, the weights. Graph builders. */
#ifndef DRAM_SESSION_UPDATE_H
#define DRAM_SESSION_UPDATE_H

#include "session/programs.h"

/* Appends the backward of io->loss, and the update of every trained weight or, with accumulation, the sum of its
 * gradient into the slot of group "gradient". Sets seed, hyper, unscale and clip of io.
 *
 * With graphs->fused each weight has a norm and a factor of its own: that of all gradients so far. So once a gradient
 * is not finite, neither its weight nor a later one changes. The nodes stand at the end, and dram_fuse_updates
 * (passes/fuse.h) brings them to where they may be first; the same for the sums of an accumulation. */
dram_status dram_backward_append(const dram_config *cfg, dram_graph_set *graphs, dram_io *io);

/* With accumulation: fills the graph of io with the update of the weights that `step` trains, from their summed
 * gradients, which it clears. Sets hyper, unscale and clip. */
dram_status dram_update_build(const dram_config *cfg, dram_graph_set *graphs, const dram_graph *step, dram_io *io);

/* Whether two steps train the same weights (with accumulation). */
bool dram_update_same(const dram_graph_set *graphs, const dram_graph *a, const dram_graph *b);

/* Whether each weight may be updated as soon as its gradient is there: nothing has to wait for all gradients. */
bool dram_update_may_fuse(const dram_config *cfg);

/* The program in which the weights of a step of that kind are updated: the step itself without accumulation. */
dram_program_kind dram_update_of(const dram_graph_set *graphs, dram_program_kind step);

#endif
