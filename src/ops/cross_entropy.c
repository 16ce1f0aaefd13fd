/* Rules of cross_entropy and cross_entropy_grad. */
#include <stddef.h>

#include "ops/rules.h"
#include "scratch/cross_entropy.h"

static bool is_scalar(const dram_graph *g, const dram_node *node, int i)
{
    return dram_given(node, i) && dram_value_at(g, node->in[i])->dtype == DRAM_F32 &&
           dram_elements(dram_in_shape(g, node, i)) == 1;
}

static dram_status need_logits_labels(dram_graph *g, const dram_node *node)
{
    const dram_value *logits = dram_value_at(g, node->in[0]), *labels = dram_value_at(g, node->in[1]);
    if (logits->dtype != DRAM_F32 || logits->shape.rank != 4) return dram_bad_input(g, node, 0, "f32 [N,h,w,K]");
    if (labels->dtype != DRAM_U8 || labels->shape.rank != 3 || labels->shape.dim[0] != logits->shape.dim[0])
        return dram_bad_input(g, node, 1, "u8 [N,H,W], N of input 0");
    if (!is_scalar(g, node, 2)) return dram_bad_input(g, node, 2, "an f32 scalar");
    return DRAM_OK;
}

static dram_status cross_entropy_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_logits_labels(g, node));
    out[0]->dtype = DRAM_F32;
    out[0]->shape = DRAM_SHAPE(1);
    return DRAM_OK;
}

static dram_status cross_entropy_grad(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    if (dram_grad_wanted(b, node, 0))
        dram_grad_give(b, node, 0,
                       DRAM_CALL(g, cross_entropy_grad, "grad", &node->attr, node->in[0], node->in[1], node->in[2],
                                 dram_grad_out(b, node, 0)));
    return g->status;
}

/* A pixel and class: 7 to interpolate, about 15 for the exponential, 3 for the sums. */
static int64_t cross_entropy_flops(const dram_graph *g, const dram_node *node)
{
    return 25 * dram_elements(dram_in_shape(g, node, 1)) * dram_last(dram_in_shape(g, node, 0), 0);
}

static int64_t chunks_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_shape *logits = dram_in_shape(g, node, 0), *labels = dram_in_shape(g, node, 1);
    const int64_t w = logits->dim[2], width = labels->dim[2], classes = logits->dim[3], size = (int64_t)sizeof(float);
    const int64_t pixels = dram_cross_entropy_pixels(w, width, classes, profile->scratch_per_worker / size);
    return profile->workers * dram_cross_entropy_floats(w, width, classes, pixels) * size;
}

/* Parts of `rows` rows of labels. */
static int64_t parts_of(const dram_graph *g, const dram_node *node, int64_t rows)
{
    const dram_shape *labels = dram_in_shape(g, node, 1);
    return labels->dim[0] * dram_ceil_div(labels->dim[1], rows);
}

/* Before the chunks, what each part found. */
static int64_t cross_entropy_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    return parts_of(g, node, DRAM_CROSS_ENTROPY_ROWS) * DRAM_CROSS_ENTROPY_PART_BYTES +
           chunks_workspace(g, node, profile);
}

static int64_t cross_entropy_workspace_gpu(const dram_graph *g, const dram_node *node)
{
    return parts_of(g, node, DRAM_CROSS_ENTROPY_ROWS_GPU) * (int64_t)sizeof(double);
}

const dram_rules dram_rules_cross_entropy = {.shape = cross_entropy_shape,
                                             .grad = cross_entropy_grad,
                                             .flops = cross_entropy_flops,
                                             .workspace = cross_entropy_workspace,
                                             .workspace_gpu = cross_entropy_workspace_gpu};

static dram_status cross_entropy_grad_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(need_logits_labels(g, node));
    if (!is_scalar(g, node, 3)) return dram_bad_input(g, node, 3, "an f32 scalar");
    dram_like_input(g, node, 0, out[0]);
    return DRAM_OK;
}

static int64_t cross_entropy_grad_flops(const dram_graph *g, const dram_node *node)
{
    return 35 * dram_elements(dram_in_shape(g, node, 1)) * dram_last(dram_in_shape(g, node, 0), 0);
}

const dram_rules dram_rules_cross_entropy_grad = {
    .shape = cross_entropy_grad_shape, .flops = cross_entropy_grad_flops, .workspace = chunks_workspace};
