/* Rules of bn_stats, bn_running, bn_apply, bn_reduce and bn_dgrad.
 *
 * The statistics of a batch are a node of their own, but their gradient is inside bn_dgrad (Ioffe, Szegedy 2015), so
 * nothing flows to the bn_stats node.
 */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/batchnorm.h"

static dram_status need_x(dram_graph *g, const dram_node *node)
{
    if (!dram_is_float(g, node, 0) || dram_in_shape(g, node, 0)->rank < 2)
        return dram_bad_input(g, node, 0, "[...,C] of f32, bf16 or f16");
    return DRAM_OK;
}

/* Inputs from..to are f32 [C], C being the channels of x. */
static dram_status need_channels(dram_graph *g, const dram_node *node, int from, int to)
{
    int64_t channels = dram_last(dram_in_shape(g, node, 0), 0);
    for (int i = from; i <= to; i++)
        if (!dram_is_f32(g, node, i) || dram_in_shape(g, node, i)->rank != 1 ||
            dram_in_shape(g, node, i)->dim[0] != channels)
            return dram_bad_input(g, node, i, "f32 [C], C the channels of input 0");
    return DRAM_OK;
}

static dram_status need_act(dram_graph *g, const dram_node *node)
{
    if (node->attr.act == DRAM_ACT_NONE || node->attr.act == DRAM_ACT_RELU) return DRAM_OK;
    return dram_graph_fail(g, "%s: batch norm ends in ReLU or nothing", node->name);
}

static void give_channels(const dram_graph *g, const dram_node *node, dram_value *out)
{
    out->dtype = DRAM_F32;
    out->shape = DRAM_SHAPE(dram_last(dram_in_shape(g, node, 0), 0));
}

/* ---- bn_stats ---- */

static dram_status bn_stats_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    give_channels(g, node, out[0]);
    give_channels(g, node, out[1]);
    return DRAM_OK;
}

static int64_t partials_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    (void)profile;
    return dram_batchnorm_bytes(dram_rows(x), dram_last(x, 0));
}

/* A thread takes 16 bytes of neighbouring channels or, where they are no whole vectors, a channel. */
static int64_t partials_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    const int64_t channels = dram_last(x, 0), vector = 16 / dram_dtype_bytes(dram_value_at(g, node->in[0])->dtype);
    return dram_batchnorm_parts_gpu(dram_rows(x), channels, channels % vector ? 1 : (int)vector) *
           dram_batchnorm_part_bytes(channels);
}

const dram_rules dram_rules_bn_stats = {
    .shape = bn_stats_shape, .flops_each = 3, .workspace = partials_workspace, .workspace_gpu = partials_workspace_gpu};

/* ---- bn_running ---- */

static dram_status bn_running_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_f32(g, node, 0) || dram_in_shape(g, node, 0)->rank != 1) return dram_bad_input(g, node, 0, "f32 [C]");
    TRY(need_channels(g, node, 1, 3));
    dram_like_input(g, node, 2, out[0]);
    dram_like_input(g, node, 3, out[1]);
    return DRAM_OK;
}

const dram_rules dram_rules_bn_running = {.shape = bn_running_shape, .flops_each = 7};

/* ---- bn_apply ---- */

static dram_status bn_apply_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    TRY(need_channels(g, node, 1, 4));
    if (dram_given(node, 5)) TRY(dram_need_like(g, node, 5, 0));
    dram_like_input(g, node, 0, out[0]);
    return need_act(g, node);
}

static int64_t bn_apply_flops(const dram_graph *g, const dram_node *node)
{
    return (dram_given(node, 5) ? 4 : 3) * dram_elements(dram_in_shape(g, node, 0));
}

/* One or three numbers a channel. */
static int64_t factor_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    (void)profile;
    return (int64_t)sizeof(float) * dram_last(dram_in_shape(g, node, 0), 0);
}

static int64_t factors_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    return 3 * factor_workspace(g, node, profile);
}

/* Where the statistics are those of all ranks' batches, so are the sums that flow back through them. Each rank divides by
 * the size of its own batch, so it takes their mean. */
static void mean_over_ranks(dram_graph *g, dram_val sums[2])
{
    static const char *const name[] = {"dgamma_sum", "dbeta_sum"};
    if (g->sync < 2) return;
    for (int k = 0; k < 2; k++)
        sums[k] = DRAM_CALL(g, all_reduce, name[k], DRAM_ATTR(.ranks = g->sync, .mode = g->reduce), sums[k]);
    for (int k = 0; k < 2; k++)
        sums[k] = DRAM_CALL(g, scale, "mean", DRAM_ATTR(.scale = 1.0f / (float)g->sync), sums[k]);
}

static dram_status bn_apply_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    const dram_val *in = node->in;
    dram_val dy = dram_grad_out(b, node, 0), sums[DRAM_MAX_OUT] = {DRAM_NONE, DRAM_NONE};
    dram_attr attr = {.eps = node->attr.eps, .act = node->attr.act, .batch_stats = node->attr.batch_stats};
    bool want_x = dram_grad_wanted(b, node, 0);
    bool want_gamma = dram_grad_wanted(b, node, 3), want_beta = dram_grad_wanted(b, node, 4);
    if (dram_given(node, 5) && attr.act == DRAM_ACT_RELU) {
        dy = DRAM_CALL(g, relu_grad, "relu_grad", NULL, node->out[0], dy);
        attr.act = DRAM_ACT_NONE;
    }
    if (dram_grad_wanted(b, node, 5)) dram_grad_give(b, node, 5, dy);
    if (want_gamma || want_beta || (want_x && attr.batch_stats))
        dram_graph_add(g, DRAM_OP_bn_reduce, "reduce", &attr, (dram_val[]){in[0], in[1], in[2], in[3], in[4], dy}, 6,
                       sums);
    if (want_gamma) dram_grad_give(b, node, 3, sums[0]);
    if (want_beta) dram_grad_give(b, node, 4, sums[1]);
    if (!attr.batch_stats) sums[0] = sums[1] = DRAM_NONE;
    if (want_x && attr.batch_stats) mean_over_ranks(g, sums);
    if (want_x)
        dram_grad_give(b, node, 0,
                       DRAM_CALL(g, bn_dgrad, "dgrad", &attr, in[0], in[1], in[2], in[3], in[4], dy, sums[0], sums[1]));
    return g->status;
}

const dram_rules dram_rules_bn_apply = {
    .shape = bn_apply_shape, .grad = bn_apply_grad, .flops = bn_apply_flops, .workspace = factor_workspace};

/* ---- bn_reduce, bn_dgrad ---- */

static dram_status bn_reduce_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    TRY(need_channels(g, node, 1, 4));
    TRY(dram_need_like(g, node, 5, 0));
    give_channels(g, node, out[0]);
    give_channels(g, node, out[1]);
    return DRAM_OK;
}

static int64_t bn_backward_flops(const dram_graph *g, const dram_node *node)
{
    return (node->attr.act == DRAM_ACT_RELU ? 7 : 4) * dram_elements(dram_in_shape(g, node, 0));
}

const dram_rules dram_rules_bn_reduce = {.shape = bn_reduce_shape,
                                         .flops = bn_backward_flops,
                                         .workspace = partials_workspace,
                                         .workspace_gpu = partials_workspace_gpu};

static dram_status bn_dgrad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    TRY(need_channels(g, node, 1, 4));
    TRY(dram_need_like(g, node, 5, 0));
    if (node->attr.batch_stats) TRY(need_channels(g, node, 6, 7));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_bn_dgrad = {
    .shape = bn_dgrad_shape, .flops = bn_backward_flops, .workspace = factors_workspace};
