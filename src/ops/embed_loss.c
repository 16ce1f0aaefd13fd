/* Rules of embed_loss and embed_loss_grad. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/embed_loss.h"

static bool is_f32(const dram_graph *g, const dram_node *node, int i)
{
    return dram_given(node, i) && dram_value_at(g, node->in[i])->dtype == DRAM_F32;
}

static bool like_s(const dram_graph *g, const dram_node *node, int i)
{
    return is_f32(g, node, i) && dram_shape_equal(dram_in_shape(g, node, i), dram_in_shape(g, node, 0));
}

static dram_status need_s_t_mask(dram_graph *g, const dram_node *node)
{
    const dram_shape *s = dram_in_shape(g, node, 0), *mask = dram_in_shape(g, node, 2);
    if (!is_f32(g, node, 0) || s->rank != 4) return dram_bad_input(g, node, 0, "f32 [N,H,W,C]");
    if (!like_s(g, node, 1)) return dram_bad_input(g, node, 1, "f32 of input 0's shape");
    if (!is_f32(g, node, 2) || !dram_shape_equal(mask, &DRAM_SHAPE(s->dim[0], s->dim[1], s->dim[2])))
        return dram_bad_input(g, node, 2, "f32 [N,H,W]");
    if (node->attr.mode < DRAM_EMBED_MSE || node->attr.mode > DRAM_EMBED_HUBER)
        return dram_graph_fail(g, "%s: attr.mode %d is no dram_embed_mode", node->name, node->attr.mode);
    return DRAM_OK;
}

static dram_status embed_loss_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_s_t_mask(g, node));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

static dram_status embed_loss_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    const dram_val *in = node->in, dloss = dram_grad_out(b, node, 0);
    for (int i = 0; i < 2; i++) {
        if (!dram_grad_wanted(b, node, i)) continue;
        dram_val sum = dram_grad_take(b, node, i);
        dram_grad_give(b, node, i,
                       DRAM_CALL(g, embed_loss_grad, "grad", &node->attr, in[i], in[1 - i], in[2], dloss, sum));
    }
    return g->status;
}

static int64_t embed_loss_flops(const dram_graph *g, const dram_node *node)
{
    return (node->attr.mode == DRAM_EMBED_COSINE ? 6 : 3) * dram_elements(dram_in_shape(g, node, 0));
}

/* A sum for each row of cells. */
static int64_t embed_loss_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *s = dram_in_shape(g, node, 0);
    (void)profile;
    return s->dim[0] * s->dim[1] * (int64_t)sizeof(dram_embed_sum);
}

static int64_t embed_loss_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const dram_shape *s = dram_in_shape(g, node, 0);
    return s->dim[0] * dram_embed_parts_gpu(s->dim[1] * s->dim[2]) * (int64_t)sizeof(dram_embed_sum);
}

const dram_rules dram_rules_embed_loss = {.shape = embed_loss_shape,
                                          .grad = embed_loss_grad,
                                          .flops = embed_loss_flops,
                                          .workspace = embed_loss_workspace,
                                          .workspace_gpu = embed_loss_workspace_gpu};

static dram_status embed_loss_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_s_t_mask(g, node));
    if (!is_f32(g, node, 3) || dram_elements(dram_in_shape(g, node, 3)) != 1)
        return dram_bad_input(g, node, 3, "an f32 scalar");
    if (dram_given(node, 4) && !like_s(g, node, 4)) return dram_bad_input(g, node, 4, "f32 of input 0's shape");
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static int64_t embed_loss_grad_flops(const dram_graph *g, const dram_node *node)
{
    return (node->attr.mode == DRAM_EMBED_COSINE ? 10 : 4) * dram_elements(dram_in_shape(g, node, 0));
}

/* A factor for each image. */
static int64_t embed_loss_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return dram_in_shape(g, node, 0)->dim[0] * (int64_t)sizeof(float);
}

const dram_rules dram_rules_embed_loss_grad = {
    .shape = embed_loss_grad_shape, .flops = embed_loss_grad_flops, .workspace_gpu = embed_loss_grad_workspace_gpu};
