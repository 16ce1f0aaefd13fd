/* Rules of channel_stats, standardize and standardize_grad. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/pool.h"

/* ---- channel_stats ---- */

static dram_status channel_stats_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    if (!dram_is_f32(g, node, 0) || x->rank != 4) return dram_bad_input(g, node, 0, "f32 [N,H,W,C]");
    if (!dram_is_f32(g, node, 1) ||
        !dram_shape_equal(dram_in_shape(g, node, 1), &DRAM_SHAPE(x->dim[0], x->dim[1], x->dim[2])))
        return dram_bad_input(g, node, 1, "f32 [N,H,W]");
    for (int o = 0; o < 2; o++) {
        out[o]->dtype = DRAM_F32;
        out[o]->shape = DRAM_SHAPE(x->dim[3]);
    }
    return DRAM_OK;
}

/* On a GPU two sums a channel and a count for each part; the kernel cuts the cells by the workspace that it gets. */
static int64_t channel_stats_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    int64_t channels = dram_last(dram_in_shape(g, node, 0), 0), cells = dram_elements(dram_in_shape(g, node, 1));
    int64_t parts = dram_pixel_parts_gpu(cells, channels, 128);
    return (parts > 1 ? parts : 1) * (2 * channels + 1) * (int64_t)sizeof(double);
}

const dram_rules dram_rules_channel_stats = {
    .shape = channel_stats_shape, .flops_each = 3, .workspace_gpu = channel_stats_workspace_gpu};

/* ---- standardize ---- */

static dram_status need_x(dram_graph *g, const dram_node *node)
{
    if (!dram_is_f32(g, node, 0) || dram_in_shape(g, node, 0)->rank < 2)
        return dram_bad_input(g, node, 0, "f32 [...,C]");
    return DRAM_OK;
}

static dram_status need_channels(dram_graph *g, const dram_node *node, int i)
{
    int64_t channels = dram_last(dram_in_shape(g, node, 0), 0);
    if (!dram_is_f32(g, node, i) || !dram_shape_equal(dram_in_shape(g, node, i), &DRAM_SHAPE(channels)))
        return dram_bad_input(g, node, i, "f32 [C], C the channels of input 0");
    return DRAM_OK;
}

static dram_status standardize_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    TRY(need_channels(g, node, 1));
    TRY(need_channels(g, node, 2));
    return dram_shape_as_first(g, node, out);
}

static dram_status standardize_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    if (dram_grad_wanted(b, node, 1) || dram_grad_wanted(b, node, 2))
        return dram_graph_fail(g, "%s: there is no gradient for the statistics: detach them", node->name);
    dram_grad_give(b, node, 0,
                   DRAM_CALL(g, standardize_grad, "grad", &node->attr, dram_grad_out(b, node, 0), node->in[2]));
    return g->status;
}

const dram_rules dram_rules_standardize = {.shape = standardize_shape, .grad = standardize_grad, .flops_each = 4};

static dram_status standardize_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_x(g, node));
    TRY(need_channels(g, node, 1));
    return dram_shape_as_first(g, node, out);
}

const dram_rules dram_rules_standardize_grad = {.shape = standardize_grad_shape, .flops_each = 3};
