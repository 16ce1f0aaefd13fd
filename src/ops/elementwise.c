/* Rules of add, sum_batch, scale, scale_by, fill and weighted_sum. */
#include <stddef.h>

#include "ops/rules.h"

static bool is_scalar(const dram_graph *g, const dram_node *node, int i)
{
    return dram_is_f32(g, node, i) && dram_elements(dram_in_shape(g, node, i)) == 1;
}

/* ---- add ---- */

/* Whether b is [1,...] and goes to each image of a [N,...]. */
static bool broadcasts(const dram_shape *a, const dram_shape *b)
{
    dram_shape one = *a;
    if (a->rank == 0 || a->dim[0] == 1) return false;
    one.dim[0] = 1;
    return dram_shape_equal(&one, b);
}

static dram_status add_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_float(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16");
    TRY(dram_need_type_of(g, node, 1, 0));
    const dram_shape *a = dram_in_shape(g, node, 0), *b = dram_in_shape(g, node, 1);
    if (!dram_shape_equal(a, b) && !broadcasts(a, b))
        return dram_bad_input(g, node, 1, "of input 0's shape, or of batch 1");
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static dram_status add_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    if (dram_grad_wanted(b, node, 0)) dram_grad_give(b, node, 0, dy);
    if (dram_grad_wanted(b, node, 1)) {
        bool sums = broadcasts(dram_in_shape(g, node, 0), dram_in_shape(g, node, 1));
        dram_grad_give(b, node, 1, sums ? DRAM_CALL(g, sum_batch, "grad", NULL, dy) : dy);
    }
    return g->status;
}

const dram_rules dram_rules_add = {.shape = add_shape, .grad = add_grad};

/* ---- sum_batch ---- */

static dram_status sum_batch_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_float(g, node, 0) || dram_in_shape(g, node, 0)->rank < 1)
        return dram_bad_input(g, node, 0, "[N,...] of f32, bf16 or f16");
    dram_like_input(g, node, 0, out[0]);
    out[0]->dtype = DRAM_F32;
    out[0]->shape.dim[0] = 1;
    return DRAM_OK;
}

const dram_rules dram_rules_sum_batch = {.shape = sum_batch_shape, .flops_each = 1};

/* ---- scale ---- */

static dram_status scale_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_float(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16");
    return dram_shape_as_first(g, node, out);
}

static dram_status scale_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_grad_give(b, node, 0, DRAM_CALL(g, scale, "grad", &node->attr, dram_grad_out(b, node, 0)));
    return g->status;
}

const dram_rules dram_rules_scale = {.shape = scale_shape, .grad = scale_grad};

/* ---- scale_by ---- */

static dram_status scale_by_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_scalar(g, node, 1)) return dram_bad_input(g, node, 1, "an f32 scalar");
    return scale_shape(g, node, out);
}

static dram_status scale_by_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_grad_give(b, node, 0, DRAM_CALL(g, scale_by, "grad", NULL, dram_grad_out(b, node, 0), node->in[1]));
    return g->status;
}

const dram_rules dram_rules_scale_by = {.shape = scale_by_shape, .grad = scale_by_grad};

/* ---- fill ---- */

static dram_status fill_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    (void)g;
    (void)node;
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

const dram_rules dram_rules_fill = {.shape = fill_shape};

/* ---- weighted_sum ---- */

static dram_status weighted_sum_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    for (int i = 0; i < node->n_in; i++)
        if ((i == 0 || dram_given(node, i)) && !is_scalar(g, node, i))
            return dram_bad_input(g, node, i, "an f32 scalar");
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

static dram_status weighted_sum_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    for (int i = 0; i < node->n_in; i++)
        if (dram_grad_wanted(b, node, i))
            dram_grad_give(b, node, i, DRAM_CALL(g, scale, "grad", DRAM_ATTR(.scale = node->attr.weight[i]), dy));
    return g->status;
}

static int64_t weighted_sum_flops(const dram_graph *g, const dram_node *node)
{
    (void)g;
    return 2 * (int64_t)node->n_in;
}

const dram_rules dram_rules_weighted_sum = {
    .shape = weighted_sum_shape, .grad = weighted_sum_grad, .flops = weighted_sum_flops};
