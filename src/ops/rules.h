/* rules: what the files of src/ops share.
 *
 * Each op NAME of ir/op_list.h has one `const dram_rules dram_rules_NAME` in the file of its family; its functions are
 * static there.
 */
#ifndef DRAM_OPS_RULES_H
#define DRAM_OPS_RULES_H

#include "ops/autodiff.h"
#include "ops/call.h"

#define X(NAME, ...) extern const dram_rules dram_rules_##NAME;
DRAM_OP_LIST(X)
DRAM_COLLECTIVE_LIST(X)
#undef X

/* Gives out the shape and dtype of input i. */
void dram_like_input(const dram_graph *g, const dram_node *node, int i, dram_value *out);

/* Fails with "NODE: input I is f32 [2,3], but must be WANT". */
dram_status dram_bad_input(dram_graph *g, const dram_node *node, int i, const char *want);

/* Whether input i was given and is f32; f32, bf16 or f16. */
bool dram_is_f32(const dram_graph *g, const dram_node *node, int i);
bool dram_is_float(const dram_graph *g, const dram_node *node, int i);

/* Fails unless input i was given with the type, or with type and shape, of input j ("but must be bf16 as input 0 is"):
 * x, dy, a residual and acc of an op are stored alike. */
dram_status dram_need_type_of(dram_graph *g, const dram_node *node, int i, int j);
dram_status dram_need_like(dram_graph *g, const dram_node *node, int i, int j);

enum { DRAM_GELU_FLOPS = 52 }; /* an element, the polynomial counted as it is in kernels/cpu/math.h */

/* Shape of input i, which must have been given. */
static inline const dram_shape *dram_in_shape(const dram_graph *g, const dram_node *node, int i)
{
    return dram_shape_of(g, node->in[i]);
}

static inline bool dram_given(const dram_node *node, int i)
{
    return i < node->n_in && node->in[i] != DRAM_NONE;
}

/* Product of all dimensions but the last: the rows of a matrix product. */
int64_t dram_rows(const dram_shape *shape);

/* Shape rule of ops whose only output is like input 0, which may be of any shape. */
dram_status dram_shape_as_first(dram_graph *g, const dram_node *node, dram_value *const *out);

#endif
