/* Rules of avgpool and scale_channels (the two halves of squeeze-and-excitation) and of their gradients. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/pool.h"

static dram_status need_images(dram_graph *g, const dram_node *node)
{
    if (dram_is_float(g, node, 0) && dram_in_shape(g, node, 0)->rank == 4) return DRAM_OK;
    return dram_bad_input(g, node, 0, "[N,H,W,C] of f32, bf16 or f16");
}

/* Input i is [N,C] for the images of input 0. */
static dram_status need_channels(dram_graph *g, const dram_node *node, int i)
{
    const dram_shape *x = dram_in_shape(g, node, 0), *s = dram_in_shape(g, node, i);
    TRY(dram_need_type_of(g, node, i, 0));
    if (s->rank == 2 && s->dim[0] == x->dim[0] && s->dim[1] == x->dim[3]) return DRAM_OK;
    return dram_bad_input(g, node, i, "[N,C], N and C of input 0");
}

static void give_channels(const dram_graph *g, const dram_node *node, dram_value *out)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    dram_like_input(g, node, 0, out);
    out->shape = DRAM_SHAPE(x->dim[0], x->dim[3]);
}

/* Sums of C doubles for each part of each image. The kernels cut the image by the workspace that they get. */
static int64_t parts_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    (void)profile;
    return x->dim[0] * dram_pixel_parts(x->dim[1] * x->dim[2], x->dim[3]) * x->dim[3] * (int64_t)sizeof(double);
}

static int64_t parts_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    const int64_t parts = dram_pixel_parts_gpu(x->dim[1] * x->dim[2], x->dim[3], 32);
    return parts > 1 ? x->dim[0] * parts * x->dim[3] * (int64_t)sizeof(double) : 0;
}

/* ---- avgpool ---- */

static dram_status avgpool_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_images(g, node));
    give_channels(g, node, out[0]);
    return DRAM_OK;
}

static dram_status avgpool_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    const dram_shape *x = dram_in_shape(g, node, 0);
    const dram_attr *attr = DRAM_ATTR(.out_h = (int)x->dim[1], .out_w = (int)x->dim[2]);
    dram_val dy = dram_grad_out(b, node, 0), sum = dram_grad_take(b, node, 0);
    dram_grad_give(b, node, 0, DRAM_CALL(g, avgpool_grad, "dgrad", attr, dy, sum));
    return g->status;
}

const dram_rules dram_rules_avgpool = {.shape = avgpool_shape,
                                       .grad = avgpool_grad,
                                       .flops_each = 2,
                                       .workspace = parts_workspace,
                                       .workspace_gpu = parts_workspace_gpu};

static dram_status avgpool_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_float(g, node, 0) || dram_in_shape(g, node, 0)->rank != 2)
        return dram_bad_input(g, node, 0, "[N,C] of f32, bf16 or f16");
    const dram_shape *dy = dram_in_shape(g, node, 0);
    dram_like_input(g, node, 0, out[0]);
    out[0]->shape = DRAM_SHAPE(dy->dim[0], node->attr.out_h, node->attr.out_w, dy->dim[1]);
    if (!dram_given(node, 1)) return DRAM_OK;
    TRY(dram_need_type_of(g, node, 1, 0));
    if (!dram_shape_equal(dram_in_shape(g, node, 1), &out[0]->shape))
        return dram_bad_input(g, node, 1, "[N,out_h,out_w,C]");
    return DRAM_OK;
}

const dram_rules dram_rules_avgpool_grad = {.shape = avgpool_grad_shape};

/* ---- scale_channels ---- */

static dram_status scale_channels_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_images(g, node));
    TRY(need_channels(g, node, 1));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static dram_status scale_channels_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    if (dram_grad_wanted(b, node, 0))
        dram_grad_give(b, node, 0, DRAM_CALL(g, scale_channels, "dgrad", NULL, dy, node->in[1]));
    if (dram_grad_wanted(b, node, 1))
        dram_grad_give(b, node, 1, DRAM_CALL(g, scale_channels_sgrad, "sgrad", NULL, node->in[0], dy));
    return g->status;
}

const dram_rules dram_rules_scale_channels = {.shape = scale_channels_shape, .grad = scale_channels_grad};

static dram_status scale_channels_sgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_images(g, node));
    TRY(dram_need_like(g, node, 1, 0));
    give_channels(g, node, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_scale_channels_sgrad = {.shape = scale_channels_sgrad_shape,
                                                    .flops_each = 2,
                                                    .workspace = parts_workspace,
                                                    .workspace_gpu = parts_workspace_gpu};
