#include "ops/rules.h"

#include <stdio.h>

void dram_like_input(const dram_graph *g, const dram_node *node, int i, dram_value *out)
{
    const dram_value *in = dram_value_at(g, node->in[i]);
    out->dtype = in->dtype;
    out->shape = in->shape;
}

dram_status dram_bad_input(dram_graph *g, const dram_node *node, int i, const char *want)
{
    char shape[96] = "";
    if (!dram_given(node, i)) return dram_graph_fail(g, "%s: input %d is missing, it must be %s", node->name, i, want);
    const dram_value *in = dram_value_at(g, node->in[i]);
    dram_format_shape(&in->shape, shape, sizeof shape);
    return dram_graph_fail(g, "%s: input %d (%s) is %s %s, but must be %s", node->name, i, in->name,
                           dram_dtype_name(in->dtype), shape, want);
}

bool dram_is_f32(const dram_graph *g, const dram_node *node, int i)
{
    return dram_given(node, i) && dram_value_at(g, node->in[i])->dtype == DRAM_F32;
}

bool dram_is_float(const dram_graph *g, const dram_node *node, int i)
{
    return dram_given(node, i) && dram_dtype_is_float(dram_value_at(g, node->in[i])->dtype);
}

dram_status dram_need_type_of(dram_graph *g, const dram_node *node, int i, int j)
{
    char want[64];
    dram_dtype dtype = dram_value_at(g, node->in[j])->dtype;
    if (dram_given(node, i) && dram_value_at(g, node->in[i])->dtype == dtype) return DRAM_OK;
    snprintf(want, sizeof want, "%s as input %d is", dram_dtype_name(dtype), j);
    return dram_bad_input(g, node, i, want);
}

dram_status dram_need_like(dram_graph *g, const dram_node *node, int i, int j)
{
    char shape[96], want[160];
    TRY(dram_need_type_of(g, node, i, j));
    if (dram_shape_equal(dram_in_shape(g, node, i), dram_in_shape(g, node, j))) return DRAM_OK;
    dram_format_shape(dram_in_shape(g, node, j), shape, sizeof shape);
    snprintf(want, sizeof want, "%s as input %d is", shape, j);
    return dram_bad_input(g, node, i, want);
}

int64_t dram_rows(const dram_shape *shape)
{
    return shape->rank == 0 ? 1 : dram_elements(shape) / dram_last(shape, 0);
}

dram_status dram_shape_as_first(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}
