/* Rules of resize and resize_grad. Images are [N,H,W,C]; a table of rows [H,C] is resized along H alone. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/resize.h"

static dram_status images(dram_graph *g, const dram_node *node, int i)
{
    const dram_value *x = dram_value_at(g, node->in[i]);
    if (!dram_is_float(g, node, i) || (x->shape.rank != 4 && x->shape.rank != 2))
        return dram_bad_input(g, node, i, "[N,H,W,C] or [H,C] of f32, bf16 or f16");
    for (int k = 0; k < x->shape.rank; k++)
        if (x->shape.dim[k] < 1) return dram_bad_input(g, node, i, "not empty");
    return DRAM_OK;
}

static dram_shape resized(const dram_shape *shape, const dram_attr *attr)
{
    dram_shape out = *shape;
    out.dim[shape->rank == 4 ? 1 : 0] = attr->out_h;
    if (shape->rank == 4) out.dim[2] = attr->out_w;
    return out;
}

static dram_status resize_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_attr *attr = &node->attr;
    TRY(images(g, node, 0));
    bool rows = dram_in_shape(g, node, 0)->rank == 2;
    if (attr->out_h < 1 || (!rows && attr->out_w < 1))
        return dram_graph_fail(g, "%s: the output's size %d x %d must be at least 1 x 1", node->name, attr->out_h,
                               attr->out_w);
    if (attr->mode != DRAM_RESIZE_BILINEAR && attr->mode != DRAM_RESIZE_BICUBIC_AA)
        return dram_graph_fail(g, "%s: there is no resize mode %d", node->name, attr->mode);
    dram_like_input(g, node, 0, out[0]);
    out[0]->shape = resized(dram_in_shape(g, node, 0), attr);
    return DRAM_OK;
}

static dram_status resize_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(resize_shape(g, node, out));
    if (!dram_given(node, 1)) return DRAM_OK;
    TRY(dram_need_type_of(g, node, 1, 0));
    if (!dram_shape_equal(dram_in_shape(g, node, 1), &out[0]->shape))
        return dram_bad_input(g, node, 1, "of the output's shape");
    return DRAM_OK;
}

static dram_status resize_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    const dram_shape *x = dram_in_shape(g, node, 0);
    dram_attr attr = {.mode = node->attr.mode, .out_h = (int)x->dim[0], .out_w = 1};
    if (x->rank == 4) {
        attr.out_h = (int)x->dim[1];
        attr.out_w = (int)x->dim[2];
    }
    dram_val dy = dram_grad_out(b, node, 0), acc = dram_grad_take(b, node, 0);
    dram_grad_give(b, node, 0, DRAM_CALL(g, resize_grad, "grad", &attr, dy, acc));
    return g->status;
}

static int64_t height(const dram_shape *shape)
{
    return shape->dim[shape->rank == 4 ? 1 : 0];
}

static int64_t width(const dram_shape *shape)
{
    return shape->rank == 4 ? shape->dim[2] : 1;
}

/* Rows first, then columns: see kernels/cpu/resize.c. Of both ops: x is what the forward reads, y what it writes. */
static int64_t separable_flops(int mode, const dram_shape *x, const dram_shape *y)
{
    int64_t n = x->rank == 4 ? x->dim[0] : 1, c = dram_last(x, 0);
    int64_t rows = height(y) * width(x) * dram_resize_taps(mode, height(x), height(y));
    int64_t columns = height(y) * width(y) * dram_resize_taps(mode, width(x), width(y));
    return 2 * n * c * (rows + columns);
}

static int64_t resize_flops(const dram_graph *g, const dram_node *node)
{
    return separable_flops(node->attr.mode, dram_in_shape(g, node, 0), dram_shape_of(g, node->out[0]));
}

static int64_t resize_grad_flops(const dram_graph *g, const dram_node *node)
{
    return separable_flops(node->attr.mode, dram_shape_of(g, node->out[0]), dram_in_shape(g, node, 0));
}

/* Weights, and for each worker a row of the input of 16 channels or more. */
static int64_t resize_bytes(const dram_node *node, const dram_shape *x, const dram_shape *y, const dram_shape *read,
                            const dram_profile *profile)
{
    int64_t c = dram_last(read, 0), pixel = width(read) * (int64_t)sizeof(float);
    int64_t least = pixel * (c < 16 ? c : 16), row = pixel * c;
    if (row > profile->scratch_per_worker) row = profile->scratch_per_worker;
    if (row < least) row = least;
    return dram_resize_axis_bytes(node->attr.mode, height(x), height(y)) +
           dram_resize_axis_bytes(node->attr.mode, width(x), width(y)) +
           profile->workers * (dram_ceil_div(row, DRAM_RESIZE_ALIGN) * DRAM_RESIZE_ALIGN) + DRAM_RESIZE_ALIGN;
}

static int64_t resize_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *x = dram_in_shape(g, node, 0), *y = dram_shape_of(g, node->out[0]);
    return resize_bytes(node, x, y, x, profile);
}

static int64_t resize_grad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *dy = dram_in_shape(g, node, 0), *dx = dram_shape_of(g, node->out[0]);
    return resize_bytes(node, dx, dy, dy, profile);
}

/* On a GPU the weights alone. */
static int64_t resize_bytes_gpu(const dram_graph *g, const dram_node *node, bool transposed)
{
    const dram_shape *from = dram_in_shape(g, node, 0), *to = dram_shape_of(g, node->out[0]);
    return dram_resize_axis_bytes_gpu(node->attr.mode, height(from), height(to), transposed) +
           dram_resize_axis_bytes_gpu(node->attr.mode, width(from), width(to), transposed);
}

static int64_t resize_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return resize_bytes_gpu(g, node, false);
}

static int64_t resize_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return resize_bytes_gpu(g, node, true);
}

const dram_rules dram_rules_resize = {.shape = resize_shape,
                                      .grad = resize_grad_rule,
                                      .flops = resize_flops,
                                      .workspace = resize_workspace,
                                      .workspace_gpu = resize_workspace_gpu};
const dram_rules dram_rules_resize_grad = {.shape = resize_grad_shape,
                                           .flops = resize_grad_flops,
                                           .workspace = resize_grad_workspace,
                                           .workspace_gpu = resize_grad_workspace_gpu};
