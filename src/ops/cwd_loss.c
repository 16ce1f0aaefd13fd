/* Rules of cwd_loss and cwd_loss_grad. */
#include <math.h>
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/cwd_loss.h"

static dram_status need_s_t_mask(dram_graph *g, const dram_node *node)
{
    const dram_shape *s = dram_in_shape(g, node, 0);
    if (!dram_is_f32(g, node, 0) || s->rank != 4) return dram_bad_input(g, node, 0, "f32 [N,H,W,C]");
    TRY(dram_need_like(g, node, 1, 0));
    if (!dram_is_f32(g, node, 2) ||
        !dram_shape_equal(dram_in_shape(g, node, 2), &DRAM_SHAPE(s->dim[0], s->dim[1], s->dim[2])))
        return dram_bad_input(g, node, 2, "f32 [N,H,W]");
    if (!(node->attr.scale > 0) || !isfinite(node->attr.scale))
        return dram_graph_fail(g, "%s: attr.scale %g is no temperature", node->name, (double)node->attr.scale);
    return DRAM_OK;
}

static dram_status cwd_loss_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_s_t_mask(g, node));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

static dram_status cwd_loss_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    const dram_val *in = node->in;
    if (dram_grad_wanted(b, node, 1))
        return dram_graph_fail(g, "%s: there is no gradient for the target: detach it", node->name);
    dram_val sum = dram_grad_take(b, node, 0);
    dram_grad_give(
        b, node, 0,
        DRAM_CALL(g, cwd_loss_grad, "grad", &node->attr, in[0], in[1], in[2], dram_grad_out(b, node, 0), sum));
    return g->status;
}

/* A double for each image and strip of channels. */
static int64_t cwd_loss_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *s = dram_in_shape(g, node, 0);
    (void)profile;
    return s->dim[0] * dram_cwd_strips(s->dim[3]) * (int64_t)sizeof(double);
}

/* On a GPU sums of each channel for each part of an image; and `each` bytes. */
static int64_t sums_workspace_gpu(const dram_graph *g, const dram_node *node, int64_t each)
{
    const dram_shape *s = dram_in_shape(g, node, 0);
    return s->dim[0] * s->dim[3] * (dram_cwd_parts_gpu(s->dim[1] * s->dim[2]) * DRAM_CWD_SUMS_BYTES + each);
}

static int64_t cwd_loss_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return sums_workspace_gpu(g, node, DRAM_CWD_DIVERGENCE_BYTES);
}

/* FLOPs: two exponentials of about 15, and 10 for maxima and sums. */
const dram_rules dram_rules_cwd_loss = {.shape = cwd_loss_shape,
                                        .grad = cwd_loss_grad,
                                        .flops_each = 40,
                                        .workspace = cwd_loss_workspace,
                                        .workspace_gpu = cwd_loss_workspace_gpu};

static dram_status cwd_loss_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_s_t_mask(g, node));
    if (!dram_is_f32(g, node, 3) || dram_elements(dram_in_shape(g, node, 3)) != 1)
        return dram_bad_input(g, node, 3, "an f32 scalar");
    if (dram_given(node, 4)) TRY(dram_need_like(g, node, 4, 0));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static int64_t cwd_loss_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return sums_workspace_gpu(g, node, DRAM_CWD_SHARES_BYTES);
}

/* FLOPs: what the forward does, the exponentials once more, and the difference. */
const dram_rules dram_rules_cwd_loss_grad = {
    .shape = cwd_loss_grad_shape, .flops_each = 75, .workspace_gpu = cwd_loss_grad_workspace_gpu};
