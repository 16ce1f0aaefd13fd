/* Rules of image_norm. */
#include <stddef.h>

#include "ops/rules.h"

static dram_status image_norm_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_value *image = dram_value_at(g, node->in[0]), *valid = dram_value_at(g, node->in[1]);
    if (image->dtype != DRAM_U8 || image->shape.rank != 4 || image->shape.dim[3] != 3)
        return dram_bad_input(g, node, 0, "u8 [N,H,W,3]");
    if (valid->dtype != DRAM_I32 || valid->shape.rank != 2 || valid->shape.dim[0] != image->shape.dim[0] ||
        valid->shape.dim[1] != 2)
        return dram_bad_input(g, node, 1, "i32 [N,2]");
    for (int c = 0; c < 3; c++)
        if (!(node->attr.std[c] > 0)) return dram_graph_fail(g, "%s: attr.std must be above 0", node->name);
    if (!dram_dtype_is_float((dram_dtype)node->attr.dtype))
        return dram_graph_fail(g, "%s: attr.dtype must be f32, bf16 or f16", node->name);
    out[0]->dtype = (dram_dtype)node->attr.dtype;
    out[0]->shape = image->shape;
    return DRAM_OK;
}

const dram_rules dram_rules_image_norm = {.shape = image_norm_shape, .flops_each = 2};
