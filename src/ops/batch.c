/* Rules of batch_slice, batch_put, crop and copy: bytes are moved, nothing is computed. */
#include <stddef.h>

#include "ops/rules.h"

static int64_t no_flops(const dram_graph *g, const dram_node *node)
{
    (void)g;
    (void)node;
    return 0;
}

static dram_status batch_slice_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    const dram_attr *a = &node->attr;
    if (x->rank < 1) return dram_bad_input(g, node, 0, "[N,...]");
    if (a->first < 0 || a->count < 1 || a->first > x->dim[0] - a->count)
        return dram_graph_fail(g, "%s: the batch of %lld has not %d images from %d on", node->name,
                               (long long)x->dim[0], a->count, a->first);
    dram_like_input(g, node, 0, out[0]);
    out[0]->shape.dim[0] = a->count;
    return DRAM_OK;
}

const dram_rules dram_rules_batch_slice = {.shape = batch_slice_shape, .flops = no_flops};

static dram_status batch_put_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *a = &node->attr;
    const dram_value *x = dram_value_at(g, node->in[0]);
    if (x->shape.rank < 1 || x->shape.dim[0] < 1) return dram_bad_input(g, node, 0, "[n,...]");
    if (a->first < 0 || a->first > a->count - x->shape.dim[0])
        return dram_graph_fail(g, "%s: %lld images from %d on do not go into a batch of %d", node->name,
                               (long long)x->shape.dim[0], a->first, a->count);
    dram_like_input(g, node, 0, out[0]);
    out[0]->shape.dim[0] = a->count;
    if (!dram_given(node, 1)) return DRAM_OK;
    if (dram_value_at(g, node->in[1])->dtype != x->dtype ||
        !dram_shape_equal(dram_in_shape(g, node, 1), &out[0]->shape))
        return dram_bad_input(g, node, 1, "like input 0, with attr.count images");
    return DRAM_OK;
}

const dram_rules dram_rules_batch_put = {.shape = batch_put_shape, .flops = no_flops};

static dram_status crop_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    const dram_attr *a = &node->attr;
    if (x->rank != 4) return dram_bad_input(g, node, 0, "[N,H,W,C]");
    if (a->out_h < 1 || a->out_w < 1 || a->out_h > x->dim[1] || a->out_w > x->dim[2])
        return dram_graph_fail(g, "%s: %d x %d is no part of %lld x %lld", node->name, a->out_h, a->out_w,
                               (long long)x->dim[1], (long long)x->dim[2]);
    dram_like_input(g, node, 0, out[0]);
    out[0]->shape.dim[1] = a->out_h;
    out[0]->shape.dim[2] = a->out_w;
    return DRAM_OK;
}

const dram_rules dram_rules_crop = {.shape = crop_shape, .flops = no_flops};

static dram_status copy_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    dram_like_input(g, node, 0, out[0]);
    out[0]->space = DRAM_SPACE_DEVICE;
    return DRAM_OK;
}

const dram_rules dram_rules_copy = {.shape = copy_shape, .flops = no_flops};
