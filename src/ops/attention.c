/* Rules of attention and attention_grad: the attention of SAM's image encoder (Kirillov et al., "Segment Anything",
 * 2023; decomposed relative position after Li et al., "MViTv2", 2022).
 *
 * For head c, query q at (y, x) and key k at (y', x') of the same window (or of the image):
 *     logit = (q d^-1/2) . k + q . rel_h[y - y' + S_h - 1] + q . rel_w[x - x' + S_w - 1],   d = D / heads
 */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/attention.h"

static bool is_f32(const dram_graph *g, const dram_node *node, int i, dram_shape want)
{
    return dram_is_f32(g, node, i) && dram_shape_equal(dram_in_shape(g, node, i), &want);
}

/* What both ops read: the sizes, once the inputs have been checked. */
typedef struct {
    bool low;                /* bf16 or f16 */
    int64_t n, h, w, d, dim; /* dim = D */
    int64_t sh, sw;          /* grid of the keys: the window, or the image */
    int64_t heads, window;
} sizes;

static sizes sizes_of(const dram_graph *g, const dram_node *node)
{
    const dram_shape *x = dram_in_shape(g, node, 0);
    sizes s = {.n = x->dim[0], .h = x->dim[1], .w = x->dim[2], .dim = x->dim[3] / 3};
    s.low = dram_value_at(g, node->in[0])->dtype != DRAM_F32;
    s.heads = node->attr.heads;
    s.window = node->attr.window;
    s.d = s.dim / s.heads;
    s.sh = s.window ? s.window : s.h;
    s.sw = s.window ? s.window : s.w;
    return s;
}

static dram_status check_inputs(dram_graph *g, const dram_node *node)
{
    const dram_value *x = dram_value_at(g, node->in[0]);
    if (node->attr.heads < 1 || node->attr.window < 0)
        return dram_graph_fail(g, "%s: heads must be 1 or more and window 0 (global) or more", node->name);
    if (!dram_is_float(g, node, 0) || x->shape.rank != 4 || dram_elements(&x->shape) == 0 ||
        x->shape.dim[3] % (3 * (int64_t)node->attr.heads) != 0)
        return dram_bad_input(g, node, 0, "f32, bf16 or f16 [N,H,W,3D], D a multiple of the heads");
    sizes s = sizes_of(g, node);
    if (!is_f32(g, node, 1, DRAM_SHAPE(2 * s.sh - 1, s.d)))
        return dram_bad_input(g, node, 1, "f32 [2S-1,d], S the window or the height, d = D / heads");
    if (!is_f32(g, node, 2, DRAM_SHAPE(2 * s.sw - 1, s.d)))
        return dram_bad_input(g, node, 2, "f32 [2S-1,d], S the window or the width, d = D / heads");
    if (!is_f32(g, node, 3, DRAM_SHAPE(3 * s.dim))) return dram_bad_input(g, node, 3, "f32 [3D]");
    return DRAM_OK;
}

static dram_shape out_shape(const sizes *s)
{
    return DRAM_SHAPE(s->n, s->h, s->w, s->dim);
}

static dram_shape lse_shape(const sizes *s)
{
    return DRAM_SHAPE(s->n, s->heads, s->h, s->w);
}

/* Pairs of a query and a key, padding keys too. */
static int64_t pairs(const sizes *s)
{
    return s->n * s->heads * s->h * s->w * s->sh * s->sw;
}

/* Products of queries with the relative positions that they need. */
static int64_t rel_products(const sizes *s)
{
    return s->n * s->heads * s->h * s->w * (s->sh + s->sw);
}

/* ---- scratch ---- */

static dram_attention_sizes tiled(const sizes *s)
{
    return (dram_attention_sizes){.low = s->low, .sh = s->sh, .sw = s->sw, .d = s->d};
}

static int64_t partial_floats(const sizes *s)
{
    return dram_attention_partial(s->sh, s->sw, s->d, s->dim, s->window);
}

/* Floats to hold the gradients of so many keys and values in fp32, where dqkv itself cannot. */
static int64_t held_floats(const sizes *s, int64_t keys)
{
    return s->low ? dram_attention_held(s->d, dram_min(keys, s->sh * s->sw)) : 0;
}

static int64_t scratch(const dram_graph *g, const dram_node *node, const dram_profile *profile, bool backward)
{
    sizes s = sizes_of(g, node);
    const dram_attention_sizes t = tiled(&s);
    int64_t wanted = dram_attention_floats(&t, DRAM_ATTENTION_QUERIES, DRAM_ATTENTION_KEYS, backward);
    int64_t smallest = dram_attention_floats(&t, DRAM_ATTENTION_LEAST_TILE, DRAM_ATTENTION_LEAST_TILE, backward);
    if (backward) {
        wanted += DRAM_ATTENTION_PARTIALS * partial_floats(&s) + held_floats(&s, s.sh * s.sw);
        smallest += partial_floats(&s) + held_floats(&s, DRAM_ATTENTION_LEAST_TILE);
    }
    int64_t each = dram_min(wanted, profile->scratch_per_worker / (int64_t)sizeof(float));
    if (each < smallest) each = smallest;
    return profile->workers * ((each + 15) / 16 * 16) * (int64_t)sizeof(float);
}

/* ---- attention ---- */

static dram_status attention_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(check_inputs(g, node));
    sizes s = sizes_of(g, node);
    out[0]->dtype = dram_value_at(g, node->in[0])->dtype;
    out[0]->shape = out_shape(&s);
    out[1]->dtype = DRAM_F32;
    out[1]->shape = lse_shape(&s);
    return DRAM_OK;
}

static dram_status attention_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_val dout = dram_grad_out(b, node, 0), out[DRAM_MAX_OUT];
    if (dram_grad_out(b, node, 1) != DRAM_NONE)
        return dram_graph_fail(g, "%s: there is no gradient through lse", node->name);
    const dram_val in[] = {node->in[0], node->in[1], node->in[2], node->in[3], node->out[0], node->out[1], dout};
    dram_graph_add(g, DRAM_OP_attention_grad, "grad", &node->attr, in, 7, out);
    TRY(g->status);
    for (int i = 0; i < 4; i++)
        if (dram_grad_wanted(b, node, i)) dram_grad_give(b, node, i, out[i]);
    return g->status;
}

static int64_t attention_flops(const dram_graph *g, const dram_node *node)
{
    sizes s = sizes_of(g, node);
    return 4 * s.d * pairs(&s) + 2 * s.d * rel_products(&s);
}

static int64_t attention_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    return scratch(g, node, profile, false);
}

const dram_rules dram_rules_attention = {
    .shape = attention_shape, .grad = attention_grad_rule, .flops = attention_flops, .workspace = attention_workspace};

/* ---- attention_grad ---- */

static dram_status attention_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(check_inputs(g, node));
    sizes s = sizes_of(g, node);
    if (!is_f32(g, node, 5, lse_shape(&s))) return dram_bad_input(g, node, 5, "f32 [N,heads,H,W]");
    const dram_shape want = out_shape(&s);
    for (int i = 4; i <= 6; i += 2) {
        if (!dram_shape_equal(dram_in_shape(g, node, i), &want)) return dram_bad_input(g, node, i, "[N,H,W,D]");
        TRY(dram_need_type_of(g, node, i, 0));
    }
    for (int i = 0; i < 4; i++) dram_like_input(g, node, i, out[i]);
    return DRAM_OK;
}

/* Five products of the pairs instead of two, and three of the relative positions instead of one. */
static int64_t attention_grad_flops(const dram_graph *g, const dram_node *node)
{
    sizes s = sizes_of(g, node);
    return 10 * s.d * pairs(&s) + 6 * s.d * rel_products(&s);
}

static int64_t attention_grad_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    return scratch(g, node, profile, true);
}

/* On a GPU: delta, as large as lse, and partial gradients of the tables and of the bias, one for each block of the
 * kernel that makes them. kernels/cuda/attention_grad.cu divides it. */
static int64_t attention_grad_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    enum { PARTIAL_BYTES = 8 << 20, MOST_PARTIALS = 256, LEAST_PARTIALS = 32, LEAST_QUERIES = 16 };
    sizes s = sizes_of(g, node);
    const dram_shape lse = lse_shape(&s);
    int64_t partial = partial_floats(&s) * (int64_t)sizeof(float), down = (s.h + s.sh - 1) / s.sh;
    int64_t across = (s.w + s.sw - 1) / s.sw;
    int64_t tiles = s.n * s.heads * down * across *
                    ((dram_min(s.sh, s.h) * dram_min(s.sw, s.w) + LEAST_QUERIES - 1) / LEAST_QUERIES);
    int64_t partials = PARTIAL_BYTES / partial;
    if (partials > MOST_PARTIALS) partials = MOST_PARTIALS;
    if (partials < LEAST_PARTIALS) partials = LEAST_PARTIALS;
    return dram_elements(&lse) * (int64_t)sizeof(float) + dram_min(partials, tiles) * partial;
}

const dram_rules dram_rules_attention_grad = {.shape = attention_grad_shape,
                                              .flops = attention_grad_flops,
                                              .workspace = attention_grad_workspace,
                                              .workspace_gpu = attention_grad_workspace_gpu};
