/* Rules of the update: sumsq, clip_factor, adamw, sgd, accumulate, weight_mean, clear, rank_shard. */
#include <stddef.h>

#include "base/ranks.h"
#include "base/state8.h"
#include "ops/rules.h"
#include "scratch/optim.h"

static bool is_f32(const dram_graph *g, const dram_node *node, int i)
{
    return dram_given(node, i) && dram_value_at(g, node->in[i])->dtype == DRAM_F32;
}

static dram_status need_numbers(dram_graph *g, const dram_node *node, int i, int64_t n, const char *want)
{
    if (is_f32(g, node, i) && dram_elements(dram_in_shape(g, node, i)) == n) return DRAM_OK;
    return dram_bad_input(g, node, i, want);
}

/* ---- shards ---- */

/* What of input 0 the node has a state of: all, or with attr.ranks a shard. */
static int64_t kept(const dram_graph *g, const dram_node *node)
{
    int64_t n = dram_elements(dram_in_shape(g, node, 0));
    return node->attr.ranks > 1 ? dram_rank_shard(n, node->attr.ranks) : n;
}

/* Inputs 0 and 1 are f32 alike, or 1 is a shard; those from 2 to last are what is kept, f32. */
static dram_status need_shards(dram_graph *g, const dram_node *node, int last)
{
    const dram_shape shard = DRAM_SHAPE(kept(g, node));
    for (int i = 0; i <= last; i++) {
        const dram_shape *x = dram_in_shape(g, node, i), *whole = dram_in_shape(g, node, 0);
        bool fits = dram_shape_equal(x, &shard) ? i > 0 : i < 2 && dram_shape_equal(x, whole);
        if (!is_f32(g, node, i) || !fits) return dram_bad_input(g, node, i, "f32 of input 0's shape, or a shard of it");
    }
    return DRAM_OK;
}

static dram_status rank_shard_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    int64_t n = dram_elements(dram_in_shape(g, node, 0));
    if (!is_f32(g, node, 0)) return dram_bad_input(g, node, 0, "f32");
    if (node->attr.ranks < 2) return dram_graph_fail(g, "%s: %d ranks have no shards", node->name, node->attr.ranks);
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(dram_rank_shard(n, node->attr.ranks));
    out[1]->dtype = DRAM_U8;
    out[1]->shape = DRAM_SHAPE(dram_ceil_div(n, DRAM_SQUARES_PIECE_GPU) * (int64_t)sizeof(double));
    return DRAM_OK;
}

const dram_rules dram_rules_rank_shard = {.shape = rank_shard_shape, .flops_each = 2};

/* Inputs 0..last are f32 of one shape. */
static dram_status need_alike(dram_graph *g, const dram_node *node, int last)
{
    if (!is_f32(g, node, 0)) return dram_bad_input(g, node, 0, "f32");
    for (int i = 1; i <= last; i++)
        if (!is_f32(g, node, i) || !dram_shape_equal(dram_in_shape(g, node, i), dram_in_shape(g, node, 0)))
            return dram_bad_input(g, node, i, "f32 of input 0's shape");
    return DRAM_OK;
}

/* ---- sumsq ---- */

/* It is given what rank_shard made of the squares. */
static bool sums_squares(const dram_graph *g, const dram_node *node)
{
    const dram_value *x = dram_value_at(g, node->in[0]);
    return x->dtype == DRAM_U8 && dram_elements(&x->shape) % (int64_t)sizeof(double) == 0;
}

static dram_status sumsq_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!is_f32(g, node, 0) && !sums_squares(g, node)) return dram_bad_input(g, node, 0, "f32, or squares");
    if (dram_given(node, 1)) TRY(need_numbers(g, node, 1, 1, "an f32 scalar"));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

/* A double for each piece. */
static int64_t sumsq_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    (void)profile;
    if (sums_squares(g, node)) return 0;
    return dram_ceil_div(dram_elements(dram_in_shape(g, node, 0)), DRAM_PIECE) * (int64_t)sizeof(double);
}

/* A double for each piece, where there is more than one. */
static int64_t sumsq_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    int64_t pieces = dram_ceil_div(dram_elements(dram_in_shape(g, node, 0)), DRAM_SQUARES_PIECE_GPU);
    return pieces > 1 && !sums_squares(g, node) ? pieces * (int64_t)sizeof(double) : 0;
}

const dram_rules dram_rules_sumsq = {
    .shape = sumsq_shape, .flops_each = 2, .workspace = sumsq_workspace, .workspace_gpu = sumsq_workspace_gpu};

/* ---- clip_factor ---- */

static dram_status clip_factor_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_numbers(g, node, 0, 1, "an f32 scalar"));
    if (dram_given(node, 1)) TRY(need_numbers(g, node, 1, 1, "an f32 scalar"));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(2);
    return DRAM_OK;
}

const dram_rules dram_rules_clip_factor = {.shape = clip_factor_shape};

/* ---- adamw, sgd ---- */

/* The moments in 8 bits: both as many bytes as base/state8.h says. */
static dram_status need_state8(dram_graph *g, const dram_node *node)
{
    int64_t bytes = dram_state8_bytes(kept(g, node));
    for (int i = 2; i <= 3; i++)
        if (dram_value_at(g, node->in[i])->dtype != DRAM_U8 || dram_elements(dram_in_shape(g, node, i)) != bytes)
            return dram_bad_input(g, node, i, "f32 of input 0's shape, or u8 of dram_state8_bytes, both moments alike");
    return DRAM_OK;
}

static dram_status adamw_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    bool state8 = dram_value_at(g, node->in[2])->dtype == DRAM_U8;
    TRY(node->attr.ranks > 1 ? need_shards(g, node, state8 ? 1 : 3) : need_alike(g, node, state8 ? 1 : 3));
    if (state8) TRY(need_state8(g, node));
    TRY(need_numbers(g, node, 4, 4, "f32 [4]"));
    TRY(need_numbers(g, node, 5, 2, "f32 [2]"));
    dram_like_input(g, node, 0, out[0]);
    for (int o = 1; o < 3; o++) dram_like_input(g, node, o + 1, out[o]);
    return DRAM_OK;
}

const dram_rules dram_rules_adamw = {.shape = adamw_shape, .flops_each = 15};

static dram_status sgd_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(node->attr.ranks > 1 ? need_shards(g, node, 2) : need_alike(g, node, 2));
    TRY(need_numbers(g, node, 3, 4, "f32 [4]"));
    TRY(need_numbers(g, node, 4, 2, "f32 [2]"));
    dram_like_input(g, node, 0, out[0]);
    dram_like_input(g, node, 2, out[1]);
    return DRAM_OK;
}

const dram_rules dram_rules_sgd = {.shape = sgd_shape, .flops_each = 7};

/* ---- accumulate, weight_mean, clear ---- */

static dram_status accumulate_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_alike(g, node, 1));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_accumulate = {.shape = accumulate_shape};

static dram_status weight_mean_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_alike(g, node, 1));
    TRY(need_numbers(g, node, 2, 4, "f32 [4]"));
    TRY(need_numbers(g, node, 3, 2, "f32 [2]"));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_weight_mean = {.shape = weight_mean_shape, .flops_each = 3};

static dram_status clear_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_alike(g, node, 0));
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

const dram_rules dram_rules_clear = {.shape = clear_shape};
