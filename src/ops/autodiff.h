/* autodiff: appends the backward of a graph to it, as ordinary nodes.
 *
 * Nodes are walked from the last to the first. For each one that is on the way from a value that requires a gradient to
 * a loss, the op's `grad` rule is called once all gradients of its outputs are known. Where a value has several
 * readers, the gradients meet in the order of the walk; that order is written in the graph (as an `add`, or as the
 * `acc` input of the later gradient op) and no pass changes it.
 */
#ifndef DRAM_OPS_AUTODIFF_H
#define DRAM_OPS_AUTODIFF_H

#include "ir/op.h"

/* Appends the gradients of sum_i <seed_i, of_i> to the graph. of[i] and seed[i] have the same shape; a loss scalar is
 * seeded with a `fill`. After it dram_gradient_of gives the gradients of slots. Returns the graph's status. */
dram_status dram_backward_build(dram_graph *g, const dram_val *of, const dram_val *seed, int n, dram_backward **b);
void dram_backward_free(dram_backward *b);

/* The gradient of a value (a weight, or an input that was marked requires_grad); DRAM_NONE if nothing reaches it. */
dram_val dram_gradient_of(const dram_backward *b, dram_val v);

/* ---- for the rules in src/ops ---- */

dram_graph *dram_backward_graph(dram_backward *b);

/* The gradient of output o; DRAM_NONE when nothing read that output on the way to a loss. */
dram_val dram_grad_out(const dram_backward *b, const dram_node *node, int o);

/* Whether input i needs a gradient: false for absent inputs, staged data, detached values and frozen weights. A rule
 * appends no node for a gradient that is not wanted. */
bool dram_grad_wanted(const dram_backward *b, const dram_node *node, int i);

/* Takes away the partial sum that input i has so far, for a gradient op with an `acc` input: what that op gives is the
 * new sum. DRAM_NONE when this is the first. Follow it with dram_grad_give. */
dram_val dram_grad_take(dram_backward *b, const dram_node *node, int i);

/* Adds v to the gradient of input i (an `add` node when there is a sum already). */
void dram_grad_give(dram_backward *b, const dram_node *node, int i, dram_val v);

#endif
