/* Rules of cast, from any float type to any. */
#include <stddef.h>

#include "ops/rules.h"

static dram_status cast_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_dtype dtype = (dram_dtype)node->attr.dtype;
    if (!dram_is_float(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16");
    if (!dram_dtype_is_float(dtype)) return dram_graph_fail(g, "%s: attr.dtype must be f32, bf16 or f16", node->name);
    dram_like_input(g, node, 0, out[0]);
    out[0]->dtype = dtype;
    return DRAM_OK;
}

/* The gradient of a weight's copy in a low type is f32 already, as the weight is. */
static dram_status cast_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    dram_dtype x = dram_value_at(g, node->in[0])->dtype;
    bool same = dram_value_at(g, dy)->dtype == x;
    dram_grad_give(b, node, 0, same ? dy : DRAM_CALL(g, cast, "grad", DRAM_ATTR(.dtype = (int)x), dy));
    return g->status;
}

const dram_rules dram_rules_cast = {.shape = cast_shape, .grad = cast_grad};
