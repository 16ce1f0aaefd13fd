/* Rules of layernorm and layernorm_grad: normalisation over the last dimension, so they serve LayerNorm of tokens and
 * LayerNorm2d of NHWC images alike. Ba, Kiros, Hinton, "Layer Normalization", 2016. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/layernorm.h"

/* x in any float type; gamma (and beta) in places 1 .. last f32. */
static dram_status x_and_channels(dram_graph *g, const dram_node *node, int last)
{
    if (!dram_is_float(g, node, 0) || dram_in_shape(g, node, 0)->rank < 1)
        return dram_bad_input(g, node, 0, "[...,C] of f32, bf16 or f16");
    int64_t channels = dram_last(dram_in_shape(g, node, 0), 0);
    for (int i = 1; i <= last; i++)
        if (!dram_is_f32(g, node, i) || dram_in_shape(g, node, i)->rank != 1 ||
            dram_in_shape(g, node, i)->dim[0] != channels)
            return dram_bad_input(g, node, i, "f32 [C], C the last dimension of input 0");
    if (!(node->attr.eps > 0)) return dram_graph_fail(g, "%s: eps must be above 0", node->name);
    return DRAM_OK;
}

/* ---- layernorm ---- */

static dram_status layernorm_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(x_and_channels(g, node, 2));
    return dram_shape_as_first(g, node, out);
}

static dram_status layernorm_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    bool wants_x = dram_grad_wanted(b, node, 0);
    const dram_val in[] = {node->in[0], node->in[1], dram_grad_out(b, node, 0),
                           wants_x ? dram_grad_take(b, node, 0) : DRAM_NONE};
    dram_val out[DRAM_MAX_OUT];
    dram_graph_add(g, DRAM_OP_layernorm_grad, "grad", &node->attr, in, 4, out);
    TRY(g->status);
    for (int i = 0; i < 3; i++)
        if (dram_grad_wanted(b, node, i)) dram_grad_give(b, node, i, out[i]);
    return g->status;
}

/* Rows of floats of a worker: what is not stored in f32 is reckoned with in f32. */
static int64_t rows_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile, int rows)
{
    if (dram_value_at(g, node->in[0])->dtype == DRAM_F32) return 0;
    return rows * profile->workers * dram_last(dram_in_shape(g, node, 0), 0) * (int64_t)sizeof(float);
}

static int64_t layernorm_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    return rows_workspace(g, node, profile, DRAM_LAYERNORM_ROWS);
}

const dram_rules dram_rules_layernorm = {
    .shape = layernorm_shape, .grad = layernorm_grad_rule, .flops_each = 8, .workspace = layernorm_workspace};

/* ---- layernorm_grad ---- */

static dram_status layernorm_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(x_and_channels(g, node, 1));
    TRY(dram_need_like(g, node, 2, 0));
    if (dram_given(node, 3)) TRY(dram_need_like(g, node, 3, 0));
    dram_like_input(g, node, 0, out[0]);
    dram_like_input(g, node, 1, out[1]);
    dram_like_input(g, node, 1, out[2]);
    return DRAM_OK;
}

/* Partial sums, and behind them rows of x, dy and acc. */
static int64_t layernorm_grad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    const int64_t channels = dram_last(x, 0);
    return dram_layernorm_parts(dram_rows(x), channels, profile->scratch_per_worker) *
               dram_layernorm_part_bytes(channels) +
           rows_workspace(g, node, profile, DRAM_LAYERNORM_GRAD_ROWS);
}

static int64_t layernorm_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    return dram_layernorm_parts_gpu(dram_rows(x)) * dram_layernorm_part_bytes(dram_last(x, 0));
}

const dram_rules dram_rules_layernorm_grad = {.shape = layernorm_grad_shape,
                                              .flops_each = 17,
                                              .workspace = layernorm_grad_workspace,
                                              .workspace_gpu = layernorm_grad_workspace_gpu};
