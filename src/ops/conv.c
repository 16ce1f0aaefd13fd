/* Rules of conv2d and its gradients. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/conv.h"
#include "scratch/linear.h"

static bool is_image(const dram_graph *g, const dram_node *node, int i)
{
    return dram_is_float(g, node, i) && dram_in_shape(g, node, i)->rank == 4 &&
           dram_elements(dram_in_shape(g, node, i)) > 0;
}

static dram_status check_attr(dram_graph *g, const dram_node *node)
{
    const dram_attr *a = &node->attr;
    if (a->stride < 1 || a->pad < 0 || a->groups < 1)
        return dram_graph_fail(g,
                               "%s: stride %d, pad %d, groups %d: stride and groups must be 1 or more, pad 0 or more",
                               node->name, a->stride, a->pad, a->groups);
    return DRAM_OK;
}

/* Pixels of the output along an axis of `size` pixels under `k` taps; 0 if the kernel does not fit. */
static int64_t output_size(const dram_attr *a, int64_t size, int64_t k)
{
    int64_t reach = size + 2 * a->pad - k;
    return reach < 0 ? 0 : reach / a->stride + 1;
}

/* ---- conv2d ---- */

static dram_status conv2d_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *a = &node->attr;
    TRY(check_attr(g, node));
    if (!is_image(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [N,H,W,I]");
    const dram_shape *x = dram_in_shape(g, node, 0);
    if (!is_image(g, node, 1) || dram_in_shape(g, node, 1)->dim[3] * a->groups != x->dim[3])
        return dram_bad_input(g, node, 1, "[O,kh,kw,I/groups] with the I of input 0");
    TRY(dram_need_type_of(g, node, 1, 0));
    const dram_shape *w = dram_in_shape(g, node, 1);
    if (w->dim[0] % a->groups != 0) return dram_bad_input(g, node, 1, "of a number of outputs that groups divides");
    int64_t h = output_size(a, x->dim[1], w->dim[1]), width = output_size(a, x->dim[2], w->dim[2]);
    if (h < 1 || width < 1) return dram_bad_input(g, node, 1, "no larger than input 0 and its padding");
    if (dram_given(node, 2)) {
        const dram_shape *b = dram_in_shape(g, node, 2);
        if (!dram_is_f32(g, node, 2) || b->rank != 1 || b->dim[0] != w->dim[0])
            return dram_bad_input(g, node, 2, "f32 [O] with the O of input 1");
    }
    out[0]->dtype = dram_value_at(g, node->in[0])->dtype;
    out[0]->shape = DRAM_SHAPE(x->dim[0], h, width, w->dim[0]);
    return DRAM_OK;
}

static dram_status conv2d_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    dram_attr attr = {.stride = node->attr.stride, .pad = node->attr.pad, .groups = node->attr.groups};
    if (dram_grad_wanted(b, node, 2)) {
        dram_val sum = dram_grad_take(b, node, 2);
        dram_grad_give(b, node, 2, DRAM_CALL(g, bias_grad, "dbias", NULL, dy, sum));
    }
    if (dram_grad_wanted(b, node, 1)) {
        attr.out_h = (int)dram_in_shape(g, node, 1)->dim[1];
        attr.out_w = (int)dram_in_shape(g, node, 1)->dim[2];
        dram_grad_give(b, node, 1, DRAM_CALL(g, conv2d_wgrad, "dw", &attr, node->in[0], dy));
    }
    if (dram_grad_wanted(b, node, 0)) {
        dram_val sum = dram_grad_take(b, node, 0);
        attr.out_h = (int)dram_in_shape(g, node, 0)->dim[1];
        attr.out_w = (int)dram_in_shape(g, node, 0)->dim[2];
        dram_grad_give(b, node, 0, DRAM_CALL(g, conv2d_dgrad, "dx", &attr, dy, node->in[1], sum));
    }
    return g->status;
}

/* Two for each element of y and element of a filter. */
static int64_t conv_flops(const dram_shape *y, const dram_shape *w)
{
    return 2 * dram_elements(y) * (dram_elements(w) / w->dim[0]);
}

static int64_t conv2d_flops(const dram_graph *g, const dram_node *node)
{
    return conv_flops(dram_shape_of(g, node->out[0]), dram_in_shape(g, node, 1));
}

/* What a worker gets: the profile's share, or, for very many channels, room for a small tile of one tap's rows. In bf16
 * and f16 half of it is for the products (kernels/cpu/gemm.h). */
static int64_t worker_bytes(const dram_graph *g, const dram_node *node, const dram_profile *profile, int64_t i,
                            int64_t o)
{
    enum { ROWS = 16 };
    int64_t least = ROWS * (i + o) * (int64_t)sizeof(float);
    if (dram_value_at(g, node->in[0])->dtype != DRAM_F32)
        least = 2 * (least > DRAM_GEMM_SCRATCH ? least : DRAM_GEMM_SCRATCH);
    int64_t bytes = profile->scratch_per_worker > least ? profile->scratch_per_worker : least;
    return dram_aligned(profile, bytes);
}

static int64_t conv2d_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    int64_t i = dram_in_shape(g, node, 0)->dim[3], o = dram_shape_of(g, node->out[0])->dim[3];
    return profile->workers * worker_bytes(g, node, profile, i, o);
}

/* On a GPU a convolution in 16 bits with groups, or with a bias, is dram's own and takes nothing; others are a
 * library's (kernels/cuda/conv.cu). */
static bool conv2d_by_library(const dram_graph *g, const dram_node *node)
{
    bool bias = node->op == DRAM_OP_conv2d && dram_given(node, 2);
    return dram_is_f32(g, node, 0) || !(bias || node->attr.groups > 1);
}

const dram_rules dram_rules_conv2d = {.shape = conv2d_shape,
                                      .grad = conv2d_grad,
                                      .flops = conv2d_flops,
                                      .workspace = conv2d_workspace,
                                      .by_library = conv2d_by_library};

/* ---- conv2d_dgrad ---- */

static dram_status conv2d_dgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *a = &node->attr;
    TRY(check_attr(g, node));
    if (!is_image(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [N,Ho,Wo,O]");
    const dram_shape *dy = dram_in_shape(g, node, 0);
    if (!is_image(g, node, 1) || dram_in_shape(g, node, 1)->dim[0] != dy->dim[3] || dy->dim[3] % a->groups != 0)
        return dram_bad_input(g, node, 1, "[O,kh,kw,I/groups] with the O of input 0");
    TRY(dram_need_type_of(g, node, 1, 0));
    const dram_shape *w = dram_in_shape(g, node, 1);
    if (a->out_h < 1 || a->out_w < 1 || output_size(a, a->out_h, w->dim[1]) != dy->dim[1] ||
        output_size(a, a->out_w, w->dim[2]) != dy->dim[2])
        return dram_bad_input(g, node, 0, "what a convolution of out_h x out_w pixels gives");
    out[0]->dtype = dram_value_at(g, node->in[0])->dtype;
    out[0]->shape = DRAM_SHAPE(dy->dim[0], a->out_h, a->out_w, w->dim[3] * a->groups);
    if (!dram_given(node, 2)) return DRAM_OK;
    if (!dram_shape_equal(dram_in_shape(g, node, 2), &out[0]->shape))
        return dram_bad_input(g, node, 2, "[N,H,W,I], like the output");
    return dram_need_type_of(g, node, 2, 0);
}

static int64_t conv2d_dgrad_flops(const dram_graph *g, const dram_node *node)
{
    return conv_flops(dram_in_shape(g, node, 0), dram_in_shape(g, node, 1));
}

const dram_rules dram_rules_conv2d_dgrad = {.shape = conv2d_dgrad_shape,
                                            .flops = conv2d_dgrad_flops,
                                            .workspace = conv2d_workspace,
                                            .by_library = conv2d_by_library};

/* ---- conv2d_wgrad ---- */

static dram_status conv2d_wgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *a = &node->attr;
    TRY(check_attr(g, node));
    if (!is_image(g, node, 0) || dram_in_shape(g, node, 0)->dim[3] % a->groups != 0)
        return dram_bad_input(g, node, 0, "f32, bf16 or f16 [N,H,W,I] with an I that groups divides");
    const dram_shape *x = dram_in_shape(g, node, 0);
    if (!is_image(g, node, 1) || a->out_h < 1 || a->out_w < 1)
        return dram_bad_input(g, node, 1, "[N,Ho,Wo,O], and out_h, out_w 1 or more");
    TRY(dram_need_type_of(g, node, 1, 0));
    const dram_shape *dy = dram_in_shape(g, node, 1);
    if (dy->dim[0] != x->dim[0] || dy->dim[1] != output_size(a, x->dim[1], a->out_h) ||
        dy->dim[2] != output_size(a, x->dim[2], a->out_w) || dy->dim[3] % a->groups != 0)
        return dram_bad_input(g, node, 1, "[N,Ho,Wo,O], what a convolution of input 0 by out_h x out_w gives");
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(dy->dim[3], a->out_h, a->out_w, x->dim[3] / a->groups);
    return DRAM_OK;
}

static int64_t conv2d_wgrad_flops(const dram_graph *g, const dram_node *node)
{
    return conv_flops(dram_in_shape(g, node, 1), dram_shape_of(g, node->out[0]));
}

/* As much again for partial sums of dw. */
static int64_t conv2d_wgrad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    int64_t i = dram_in_shape(g, node, 0)->dim[3], o = dram_in_shape(g, node, 1)->dim[3];
    return 2 * profile->workers * worker_bytes(g, node, profile, i, o);
}

/* Its own in 16 bits, but where it is a plain product. */
static bool conv2d_wgrad_by_library(const dram_graph *g, const dram_node *node)
{
    const dram_attr *a = &node->attr;
    bool product = a->out_h == 1 && a->out_w == 1 && a->stride == 1 && a->pad == 0 && a->groups == 1;
    return dram_is_f32(g, node, 0) || product;
}

static int64_t conv2d_wgrad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const int groups = node->attr.groups;
    const dram_shape *dy = dram_in_shape(g, node, 1), *dw = dram_shape_of(g, node->out[0]);
    const int64_t pixels = dram_elements(dy) / dw->dim[0];
    return dram_conv_parts_gpu(groups, dw->dim[0] / groups, dw->dim[3], dw->dim[1] * dw->dim[2], pixels) *
           dram_elements(dw) * (int64_t)sizeof(float);
}

const dram_rules dram_rules_conv2d_wgrad = {.shape = conv2d_wgrad_shape,
                                            .flops = conv2d_wgrad_flops,
                                            .workspace = conv2d_wgrad_workspace,
                                            .workspace_gpu = conv2d_wgrad_workspace_gpu,
                                            .by_library = conv2d_wgrad_by_library};
