/* recompute: passes that let a backward make a forward value again instead of keeping it.
 *
 * The saved set this chooses, convolution and GEMM outputs kept and norm, activation and gate outputs made again, is
 * the recompute variant of InPlace-ABN (Rota Bulo, Porzi, Kontschieder 2018) and the "op variants" of MONeT (2021).
 */
#ifndef DRAM_PLAN_RECOMPUTE_H
#define DRAM_PLAN_RECOMPUTE_H

#include "ir/op.h"

/* For every output of a cheap element-wise op (batch norm without a residual, layer norm, GELU, the SE gate, image
 * normalisation) that the backward reads: the node is repeated right before its first reader in the backward, which
 * then reads the copy. Their inputs are alive there anyway. Batch statistics are read, not made again, and the kernel
 * and its inputs are the same: every result keeps its bits. Run it on a whole graph, before planning.
 * *added_flops: of the repeated nodes. */
dram_status dram_recompute_norms(dram_graph *g, int64_t *added_flops);

#endif
