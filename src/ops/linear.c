/* Rules of linear, its gradients, and bias_grad. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/linear.h"

static bool has_rank(const dram_graph *g, const dram_node *node, int i, int rank)
{
    return dram_given(node, i) && dram_in_shape(g, node, i)->rank == rank;
}

/* f32, bf16 or f16 of rank 1 or more */
static bool is_rows(const dram_graph *g, const dram_node *node, int i)
{
    return dram_is_float(g, node, i) && dram_in_shape(g, node, i)->rank >= 1 &&
           dram_elements(dram_in_shape(g, node, i)) > 0;
}

/* [O,I] or, a 1x1 convolution's as files keep it, [O,1,1,I] */
static bool is_weight(const dram_graph *g, const dram_node *node, int i)
{
    if (has_rank(g, node, i, 2)) return true;
    return has_rank(g, node, i, 4) && dram_in_shape(g, node, i)->dim[1] == 1 && dram_in_shape(g, node, i)->dim[2] == 1;
}

/* f32 [C] */
static bool is_vector(const dram_graph *g, const dram_node *node, int i, int64_t c)
{
    return dram_is_f32(g, node, i) && has_rank(g, node, i, 1) && dram_in_shape(g, node, i)->dim[0] == c;
}

/* The shape of input i with another last dimension. */
static void like_rows(const dram_graph *g, const dram_node *node, int i, int64_t last, dram_value *out)
{
    dram_like_input(g, node, i, out);
    out->shape.dim[out->shape.rank - 1] = last;
}

/* Two for each multiply-add of rows x K by K x N. */
static int64_t product_flops(const dram_graph *g, const dram_node *node)
{
    const dram_shape *a = dram_in_shape(g, node, 0), *b = dram_in_shape(g, node, 1);
    return 2 * dram_elements(a) * (dram_elements(b) / (node->op == DRAM_OP_linear_dgrad ? b->dim[0] : dram_last(b, 0)));
}

/* What a worker needs where a type is not f32: room for blocks in fp32 (kernels/cpu/gemm.h), no more than all of them,
 * DRAM_GEMM_SCRATCH at least. The same for every instruction set. */
static int64_t block_bytes(int64_t m, int64_t n, int64_t k, const dram_profile *profile)
{
    int64_t bytes = (m * k + k * n + m * n) * (int64_t)sizeof(float);
    if (bytes > profile->scratch_per_worker) bytes = profile->scratch_per_worker;
    return dram_aligned(profile, bytes < DRAM_GEMM_SCRATCH ? DRAM_GEMM_SCRATCH : bytes);
}

/* Of linear: a bias of 16 bits. */
static bool has_low_bias(const dram_graph *g, const dram_node *node)
{
    return node->op == DRAM_OP_linear && dram_given(node, 2) && !dram_is_f32(g, node, 2);
}

/* In f32 a narrow product alone needs a workspace: each worker packs the weight. */
static int64_t product_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    int64_t k = dram_last(dram_in_shape(g, node, 0), 0), n = dram_last(dram_shape_of(g, node->out[0]), 0);
    int64_t m = dram_rows(dram_in_shape(g, node, 0));
    /* The kernel widens a bias of 16 bits into the front of it. */
    int64_t bias = has_low_bias(g, node) ? dram_aligned(profile, n * (int64_t)sizeof(float)) : 0;
    if (!dram_is_f32(g, node, 0)) return bias + profile->workers * block_bytes(m, n, k, profile);
    if (!dram_linear_is_narrow(m, n, k)) return 0;
    int64_t bytes = dram_aligned(profile, dram_panel_floats(n, k) * (int64_t)sizeof(float));
    return bytes <= profile->scratch_per_worker ? profile->workers * bytes : 0;
}

static bool by_library(const dram_graph *g, const dram_node *node)
{
    (void)g;
    (void)node;
    return true;
}

/* ---- linear ---- */

/* A bias of another type than the output's keeps cuBLASLt out (kernels/cuda/linear.cu). */
static bool linear_by_library(const dram_graph *g, const dram_node *node)
{
    return !dram_given(node, 2) || dram_is_f32(g, node, 0) || has_low_bias(g, node);
}

/* f32 [O], or in the type of x; the latter is a frozen one's, since gradients of weights are f32. */
static dram_status linear_bias(dram_graph *g, const dram_node *node, int64_t o)
{
    dram_dtype x = dram_value_at(g, node->in[0])->dtype, b = dram_value_at(g, node->in[2])->dtype;
    if ((b != DRAM_F32 && b != x) || !has_rank(g, node, 2, 1) || dram_in_shape(g, node, 2)->dim[0] != o)
        return dram_bad_input(g, node, 2, "[O] with the O of input 1, f32 or of the type of input 0");
    if (b == DRAM_F32 || !dram_value_at(g, node->in[2])->requires_grad) return DRAM_OK;
    return dram_graph_fail(g, "%s: a bias of 16 bits has no gradient", node->name);
}

/* GELU's gradient would read what goes into it, which is never stored: no gradient comes to such a node. */
static dram_status linear_act(dram_graph *g, const dram_node *node, const dram_value *out)
{
    if (node->attr.act == DRAM_ACT_NONE) return DRAM_OK;
    if (node->attr.act != DRAM_ACT_GELU) return dram_graph_fail(g, "%s: linear ends in GELU or nothing", node->name);
    if (out->requires_grad) return dram_graph_fail(g, "%s: a linear that ends in GELU has no gradient", node->name);
    return DRAM_OK;
}

static dram_status linear_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_rows(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [...,I]");
    TRY(dram_need_type_of(g, node, 1, 0));
    int64_t i = dram_last(dram_in_shape(g, node, 0), 0);
    if (!is_weight(g, node, 1) || dram_last(dram_in_shape(g, node, 1), 0) != i || dram_in_shape(g, node, 1)->dim[0] < 1)
        return dram_bad_input(g, node, 1, "[O,I] or [O,1,1,I] with the I of input 0");
    int64_t o = dram_in_shape(g, node, 1)->dim[0];
    if (dram_given(node, 2)) TRY(linear_bias(g, node, o));
    like_rows(g, node, 0, o, out[0]);
    return linear_act(g, node, out[0]);
}

static int64_t linear_flops(const dram_graph *g, const dram_node *node)
{
    int64_t flops = product_flops(g, node);
    if (node->attr.act == DRAM_ACT_GELU) flops += DRAM_GELU_FLOPS * dram_elements(dram_shape_of(g, node->out[0]));
    return flops;
}

static dram_status linear_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dy = dram_grad_out(b, node, 0);
    if (dram_grad_wanted(b, node, 2)) {
        dram_val sum = dram_grad_take(b, node, 2);
        dram_grad_give(b, node, 2, DRAM_CALL(g, bias_grad, "dbias", NULL, dy, sum));
    }
    if (dram_grad_wanted(b, node, 1)) {
        int k = dram_in_shape(g, node, 1)->rank == 4; /* [O,1,1,I]: its gradient is of that shape too */
        dram_grad_give(b, node, 1,
                       DRAM_CALL(g, linear_wgrad, "dw", DRAM_ATTR(.out_h = k, .out_w = k), node->in[0], dy));
    }
    if (dram_grad_wanted(b, node, 0)) {
        dram_val sum = dram_grad_take(b, node, 0);
        dram_grad_give(b, node, 0, DRAM_CALL(g, linear_dgrad, "dx", NULL, dy, node->in[1], sum));
    }
    return g->status;
}

const dram_rules dram_rules_linear = {.shape = linear_shape,
                                      .grad = linear_grad,
                                      .flops = linear_flops,
                                      .workspace = product_workspace,
                                      .by_library = linear_by_library};

/* ---- linear_dgrad ---- */

static dram_status linear_dgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_rows(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [...,O]");
    TRY(dram_need_type_of(g, node, 1, 0));
    int64_t o = dram_last(dram_in_shape(g, node, 0), 0);
    if (!is_weight(g, node, 1) || dram_in_shape(g, node, 1)->dim[0] != o || dram_last(dram_in_shape(g, node, 1), 0) < 1)
        return dram_bad_input(g, node, 1, "[O,I] or [O,1,1,I] with the O of input 0");
    like_rows(g, node, 0, dram_last(dram_in_shape(g, node, 1), 0), out[0]);
    if (!dram_given(node, 2)) return DRAM_OK;
    TRY(dram_need_type_of(g, node, 2, 0));
    if (!dram_shape_equal(dram_in_shape(g, node, 2), &out[0]->shape))
        return dram_bad_input(g, node, 2, "[...,I], like the output");
    return DRAM_OK;
}

const dram_rules dram_rules_linear_dgrad = {
    .shape = linear_dgrad_shape, .flops = product_flops, .workspace = product_workspace, .by_library = by_library};

/* ---- linear_wgrad ---- */

static dram_status linear_wgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_rows(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [...,I]");
    TRY(dram_need_type_of(g, node, 1, 0));
    dram_shape rest = *dram_in_shape(g, node, 0);
    if (is_rows(g, node, 1)) rest.dim[rest.rank - 1] = dram_last(dram_in_shape(g, node, 1), 0);
    if (!is_rows(g, node, 1) || !dram_shape_equal(dram_in_shape(g, node, 1), &rest))
        return dram_bad_input(g, node, 1, "[...,O] with as many rows as input 0");
    out[0]->dtype = DRAM_F32;
    int64_t o = dram_last(&rest, 0), i = dram_last(dram_in_shape(g, node, 0), 0);
    out[0]->shape = node->attr.out_h ? DRAM_SHAPE(o, 1, 1, i) : DRAM_SHAPE(o, i);
    return DRAM_OK;
}

static int64_t linear_wgrad_flops(const dram_graph *g, const dram_node *node)
{
    return 2 * dram_elements(dram_in_shape(g, node, 0)) * dram_last(dram_in_shape(g, node, 1), 0);
}

/* Partial sums, at least as many as there are workers if they fit; beside them, for bf16 and f16, blocks in fp32. */
static int64_t linear_wgrad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    enum { ROWS_PER_PART = 512, PARTS = 16 };
    const dram_shape *x = dram_in_shape(g, node, 0), *dy = dram_in_shape(g, node, 1);
    int64_t bytes = dram_elements(dram_shape_of(g, node->out[0])) * (int64_t)sizeof(float);
    int64_t parts = dram_rows(x) / ROWS_PER_PART;
    int64_t room = profile->workers * profile->scratch_per_worker / bytes;
    if (parts > PARTS) parts = PARTS;
    if (parts > room) parts = room;
    int64_t partial = parts > 1 ? parts * bytes : 0;
    if (dram_is_f32(g, node, 0)) return partial;
    /* The kernel halves it between the two. */
    int64_t blocks = profile->workers * block_bytes(dram_last(dy, 0), dram_last(x, 0), dram_rows(x), profile);
    return partial > blocks ? 2 * dram_aligned(profile, partial) : partial + blocks;
}

const dram_rules dram_rules_linear_wgrad = {.shape = linear_wgrad_shape,
                                            .flops = linear_wgrad_flops,
                                            .workspace = linear_wgrad_workspace,
                                            .by_library = by_library};

/* ---- bias_grad ---- */

static dram_status bias_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_rows(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16 [...,C]");
    int64_t c = dram_last(dram_in_shape(g, node, 0), 0);
    if (dram_given(node, 1) && !is_vector(g, node, 1, c))
        return dram_bad_input(g, node, 1, "f32 [C] with the C of input 0");
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(c);
    return DRAM_OK;
}

static int64_t bias_grad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *dy = dram_in_shape(g, node, 0);
    return dram_bias_grad_bytes(dram_rows(dy), dram_last(dy, 0), profile->workers * profile->scratch_per_worker);
}

static int64_t bias_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const dram_shape *dy = dram_in_shape(g, node, 0);
    return dram_bias_grad_bytes_gpu(dram_rows(dy), dram_last(dy, 0));
}

const dram_rules dram_rules_bias_grad = {.shape = bias_grad_shape,
                                         .flops_each = 1,
                                         .workspace = bias_grad_workspace,
                                         .workspace_gpu = bias_grad_workspace_gpu};
