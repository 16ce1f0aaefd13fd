/* Rules of relu, gelu, sigmoid and their gradients. */
#include <stddef.h>

#include "ops/rules.h"

static dram_status unary_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    if (!dram_is_float(g, node, 0)) return dram_bad_input(g, node, 0, "f32, bf16 or f16");
    return dram_shape_as_first(g, node, out);
}

static dram_status pair_shape(dram_graph *g, const dram_node *node, dram_value *const *out)
{
    TRY(unary_shape(g, node, out));
    return dram_need_like(g, node, 1, 0);
}

/* FLOPs of one element, the polynomials counted as they are in kernels/cpu/math.h. */
/* ---- relu ---- */

static dram_status relu_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_grad_give(b, node, 0, DRAM_CALL(g, relu_grad, "grad", NULL, node->out[0], dram_grad_out(b, node, 0)));
    return g->status;
}

const dram_rules dram_rules_relu = {.shape = unary_shape, .grad = relu_grad_rule};
const dram_rules dram_rules_relu_grad = {.shape = pair_shape};

/* ---- gelu ---- */

static dram_status gelu_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_grad_give(b, node, 0, DRAM_CALL(g, gelu_grad, "grad", NULL, node->in[0], dram_grad_out(b, node, 0)));
    return g->status;
}

const dram_rules dram_rules_gelu = {.shape = unary_shape, .grad = gelu_grad_rule, .flops_each = DRAM_GELU_FLOPS};
const dram_rules dram_rules_gelu_grad = {.shape = pair_shape, .flops_each = 76};

/* ---- sigmoid ---- */

static dram_status sigmoid_grad_rule(dram_backward *b, const dram_node *node)
{
    dram_graph *g = dram_backward_graph(b);
    dram_grad_give(b, node, 0, DRAM_CALL(g, sigmoid_grad, "grad", NULL, node->out[0], dram_grad_out(b, node, 0)));
    return g->status;
}

const dram_rules dram_rules_sigmoid = {.shape = unary_shape, .grad = sigmoid_grad_rule, .flops_each = 22};
const dram_rules dram_rules_sigmoid_grad = {.shape = pair_shape, .flops_each = 3};
