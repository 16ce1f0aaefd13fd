/* Rules of the collectives, and of rank_sum. */
#include <stddef.h>

#include "base/ranks.h"
#include "ops/rules.h"

static dram_status need_ranks(dram_graph *g, const dram_node *node)
{
    if (node->attr.ranks >= 2) return DRAM_OK;
    return dram_graph_fail(g, "%s: %d ranks have nothing to exchange", node->name, node->attr.ranks);
}

static dram_status need_f32(dram_graph *g, const dram_node *node)
{
    TRY(need_ranks(g, node));
    return dram_is_f32(g, node, 0) ? DRAM_OK : dram_bad_input(g, node, 0, "f32");
}

static int64_t elements(const dram_graph *g, const dram_node *node)
{
    return dram_elements(dram_in_shape(g, node, 0));
}

static bool ordered(const dram_node *node)
{
    return node->attr.mode == DRAM_REDUCE_ORDERED;
}

/* They take time of the links between ranks, not of what computes. */
static int64_t no_flops(const dram_graph *g, const dram_node *node)
{
    (void)g;
    (void)node;
    return 0;
}

/* ---- sums ---- */

static dram_status all_reduce_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_f32(g, node));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static int64_t all_reduce_room(const dram_graph *g, const dram_node *node)
{
    if (!ordered(node)) return 0;
    return dram_rank_workspace(elements(g, node), node->attr.ranks) * (int64_t)sizeof(float);
}

static int64_t all_reduce_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    (void)profile;
    return all_reduce_room(g, node);
}

#define SUM                                                                                                            \
    {                                                                                                                  \
        .shape = all_reduce_shape, .flops = no_flops, .workspace = all_reduce_workspace,                               \
        .workspace_gpu = all_reduce_room                                                                               \
    }
const dram_rules dram_rules_all_reduce = SUM;
const dram_rules dram_rules_all_reduce_into = SUM;

static dram_status reduce_scatter_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_f32(g, node));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(dram_rank_shard(elements(g, node), node->attr.ranks));
    return DRAM_OK;
}

static int64_t reduce_scatter_room(const dram_graph *g, const dram_node *node)
{
    if (!ordered(node)) return 0;
    return node->attr.ranks * dram_rank_shard(elements(g, node), node->attr.ranks) * (int64_t)sizeof(float);
}

static int64_t reduce_scatter_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    (void)profile;
    return reduce_scatter_room(g, node);
}

const dram_rules dram_rules_reduce_scatter = {.shape = reduce_scatter_shape,
                                              .flops = no_flops,
                                              .workspace = reduce_scatter_workspace,
                                              .workspace_gpu = reduce_scatter_room};

static dram_status rank_sum_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    if (!dram_is_f32(g, node, 0) || x->rank < 2) return dram_bad_input(g, node, 0, "f32 [N,...]");
    out[0]->dtype = DRAM_F32;
    out[0]->shape.rank = x->rank - 1;
    for (int i = 1; i < x->rank; i++) out[0]->shape.dim[i - 1] = x->dim[i];
    return DRAM_OK;
}

const dram_rules dram_rules_rank_sum = {.shape = rank_sum_shape, .flops_each = 1};

static dram_status bn_merge_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const dram_shape *means = dram_in_shape(g, node, 0);
    if (!dram_is_f32(g, node, 0) || means->rank != 2) return dram_bad_input(g, node, 0, "f32 [N,C]");
    TRY(dram_need_like(g, node, 1, 0));
    if (dram_given(node, 2) &&
        (!dram_is_f32(g, node, 2) || !dram_shape_equal(dram_in_shape(g, node, 2), &DRAM_SHAPE(means->dim[0], 1))))
        return dram_bad_input(g, node, 2, "f32 [N,1]");
    for (int o = 0; o < 2; o++) {
        out[o]->dtype = DRAM_F32;
        out[o]->shape = DRAM_SHAPE(means->dim[1]);
    }
    return DRAM_OK;
}

const dram_rules dram_rules_bn_merge = {.shape = bn_merge_shape, .flops_each = 7};

void dram_sync_stats(dram_graph *g, dram_val stats[2], dram_val count)
{
    const dram_attr *attr = DRAM_ATTR(.ranks = g->sync);
    dram_val out[DRAM_MAX_OUT];
    if (g->status != DRAM_OK || g->sync < 2) return;
    dram_val means = DRAM_CALL(g, gather_ranks, "means", attr, stats[0]);
    dram_val vars = DRAM_CALL(g, gather_ranks, "vars", attr, stats[1]);
    dram_val counts = count == DRAM_NONE ? DRAM_NONE : DRAM_CALL(g, gather_ranks, "counts", attr, count);
    dram_graph_add(g, DRAM_OP_bn_merge, "merge", NULL, (dram_val[]){means, vars, counts}, 3, out);
    stats[0] = out[0];
    stats[1] = out[1];
}

/* ---- gathers ---- */

static dram_status all_gather_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    const int dim[4] = {node->attr.first, node->attr.out_h, node->attr.out_w, node->attr.count};
    dram_shape whole = {0};
    TRY(need_ranks(g, node));
    for (int i = 0; i < 4; i++)
        if (dim[i]) whole.dim[whole.rank++] = dim[i];
    if (whole.rank == 0 || elements(g, node) != dram_rank_shard(dram_elements(&whole), node->attr.ranks))
        return dram_bad_input(g, node, 0, "a shard of the whole");
    out[0]->dtype = dram_value_at(g, node->in[0])->dtype;
    out[0]->shape = whole;
    return DRAM_OK;
}

const dram_rules dram_rules_all_gather = {.shape = all_gather_shape, .flops = no_flops};

static dram_status all_gather_into_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_f32(g, node));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_all_gather_into = {.shape = all_gather_into_shape, .flops = no_flops};

static dram_status gather_ranks_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_f32(g, node));
    if (dram_in_shape(g, node, 0)->rank != 1) return dram_bad_input(g, node, 0, "f32 [C]");
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(node->attr.ranks, dram_in_shape(g, node, 0)->dim[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_gather_ranks = {.shape = gather_ranks_shape, .flops = no_flops};
