/* Convolutions and linear layers, with the batch norm behind them. */
#include "export/onnx_rules.h"

/* Whether the batch norm that reads v is written with the product that makes it. */
static bool is_folded(const dram_onnx *o, dram_val v)
{
    const dram_node *node = dram_onnx_producer(o, v);
    return node && (node->op == DRAM_OP_conv2d || node->op == DRAM_OP_linear) && node->attr.act == DRAM_ACT_NONE &&
           dram_onnx_sole_reader(o, v, DRAM_OP_bn_apply);
}

/* Whether the node that reads v writes it. Attention adds the bias of q, k and v behind its padding. */
static bool is_deferred(const dram_onnx *o, dram_val v)
{
    const dram_node *attention = dram_onnx_sole_reader(o, v, DRAM_OP_attention);
    return is_folded(o, v) || (attention && dram_onnx_is_qkv(o, attention));
}

bool dram_onnx_is_qkv(const dram_onnx *o, const dram_node *attention)
{
    const dram_node *linear = dram_onnx_producer(o, attention->in[0]);
    return linear && linear->op == DRAM_OP_linear && linear->attr.act == DRAM_ACT_NONE &&
           linear->in[2] == attention->in[3] && dram_onnx_sole_reader(o, attention->in[0], DRAM_OP_attention);
}

static dram_onnx_weights weights_of(const dram_onnx *o, const dram_node *node, const dram_node *bn,
                                    dram_onnx_order order)
{
    return (dram_onnx_weights){.weight = node->in[1], .bias = node->in[2], .bn = bn, .order = order, .type = o->type};
}

/* conv2d, or a linear layer as a convolution of 1x1: NCHW. */
static const char *conv(dram_onnx *o, const dram_node *node, const dram_node *bn, const char *out)
{
    const dram_attr *a = &node->attr;
    const dram_shape *w = dram_shape_of(o->g, node->in[1]);
    bool points = node->op == DRAM_OP_linear;
    int64_t kh = points ? 1 : w->dim[1], kw = points ? 1 : w->dim[2], stride = points ? 1 : a->stride;
    const dram_onnx_weights weights = weights_of(o, node, bn, DRAM_ONNX_OIHW);
    const char *x = dram_onnx_get(o, node->in[0], DRAM_ONNX_NCHW), *weight = dram_onnx_weight(o, &weights);
    bool biased = bn || node->in[2] != DRAM_NONE;
    const char *const in[3] = {x, weight, biased ? dram_onnx_bias(o, &weights) : NULL};
    const dram_onnx_attr attrs[] = {
        DRAM_ONNX_WHOLE("group", points ? 1 : a->groups), DRAM_ONNX_LIST_OF("kernel_shape", kh, kw),
        DRAM_ONNX_LIST_OF("pads", a->pad, a->pad, a->pad, a->pad), DRAM_ONNX_LIST_OF("strides", stride, stride)};
    return dram_onnx_node(o->m, "Conv", out, attrs, sizeof attrs / sizeof attrs[0], in, biased ? 3 : 2);
}

static const char *product(dram_onnx *o, const dram_node *node, const dram_node *bn, const char *out)
{
    const dram_onnx_weights weights = weights_of(o, node, bn, DRAM_ONNX_TRANSPOSED);
    return dram_onnx_node(o->m, "MatMul", out, NULL, 0,
                          DRAM_ONNX_IN(dram_onnx_get(o, node->in[0], DRAM_ONNX_NHWC), dram_onnx_weight(o, &weights)));
}

const char *dram_onnx_qkv_product(dram_onnx *o, const dram_node *attention, const char *out)
{
    return product(o, dram_onnx_producer(o, attention->in[0]), NULL, out);
}

/* linear of tokens. */
static const char *matmul(dram_onnx *o, const dram_node *node, const dram_node *bn, const char *out)
{
    dram_onnx_weights weights = weights_of(o, node, bn, DRAM_ONNX_AS_IT_IS);
    bool biased = bn || node->in[2] != DRAM_NONE;
    const char *y = product(o, node, bn, biased ? dram_onnx_text(o->m, "%s.product", out) : out);
    return biased ? dram_onnx_node(o->m, "Add", out, NULL, 0, DRAM_ONNX_IN(y, dram_onnx_bias(o, &weights))) : y;
}

dram_status dram_onnx_rule_conv2d(dram_onnx *o, const dram_node *node)
{
    dram_val y = node->out[0];
    if (is_deferred(o, y)) return dram_onnx_model_status(o->m);
    dram_onnx_set(o, y, DRAM_ONNX_NCHW, conv(o, node, NULL, dram_onnx_name(o, y, DRAM_ONNX_NCHW)));
    return dram_onnx_model_status(o->m);
}

/* x Phi(x) = x (1 + erf(x / sqrt 2)) / 2 */
static const char *gelu(dram_onnx *o, const char *x, const char *out)
{
    const char *y = dram_onnx_node(o->m, "Div", dram_onnx_text(o->m, "%s.scaled", out), NULL, 0,
                                   DRAM_ONNX_IN(x, dram_onnx_scalar(o->m, o->type, 1.41421356237f)));
    y = dram_onnx_node(o->m, "Erf", dram_onnx_text(o->m, "%s.erf", out), NULL, 0, DRAM_ONNX_IN(y));
    y = dram_onnx_node(o->m, "Add", dram_onnx_text(o->m, "%s.gate", out), NULL, 0,
                       DRAM_ONNX_IN(y, dram_onnx_scalar(o->m, o->type, 1)));
    y = dram_onnx_node(o->m, "Mul", dram_onnx_text(o->m, "%s.gated", out), NULL, 0, DRAM_ONNX_IN(x, y));
    return dram_onnx_node(o->m, "Mul", out, NULL, 0, DRAM_ONNX_IN(y, dram_onnx_scalar(o->m, o->type, 0.5f)));
}

/* Either kind of product, in the layout chosen. */
static const char *either(dram_onnx *o, const dram_node *node, const dram_node *bn, dram_onnx_layout layout,
                          const char *out)
{
    return layout == DRAM_ONNX_NHWC ? matmul(o, node, bn, out) : conv(o, node, bn, out);
}

dram_status dram_onnx_rule_linear(dram_onnx *o, const dram_node *node)
{
    dram_val y = node->out[0];
    if (is_deferred(o, y)) return dram_onnx_model_status(o->m);
    dram_onnx_layout layout = dram_onnx_choose(o, node->in[0], y);
    const char *out = dram_onnx_name(o, y, layout);
    bool active = node->attr.act == DRAM_ACT_GELU;
    const char *made = either(o, node, NULL, layout, active ? dram_onnx_text(o->m, "%s.linear", out) : out);
    dram_onnx_set(o, y, layout, active ? gelu(o, made, out) : made);
    return dram_onnx_model_status(o->m);
}

dram_status dram_onnx_rule_gelu(dram_onnx *o, const dram_node *node)
{
    dram_onnx_layout layout = dram_onnx_choose(o, node->in[0], node->out[0]);
    const char *out = dram_onnx_name(o, node->out[0], layout);
    dram_onnx_set(o, node->out[0], layout, gelu(o, dram_onnx_get(o, node->in[0], layout), out));
    return dram_onnx_model_status(o->m);
}

/* ---- batch norm ---- */

dram_status dram_onnx_rule_bn_apply(dram_onnx *o, const dram_node *node)
{
    const dram_node *before = dram_onnx_producer(o, node->in[0]);
    bool summed = node->n_in > 5 && node->in[5] != DRAM_NONE, active = node->attr.act == DRAM_ACT_RELU;
    if (!is_folded(o, node->in[0]) || node->attr.batch_stats)
        return dram_onnx_model_fail(
            o->m,
            dram_fail(DRAM_ERR_CONFIG,
                      "%s: a batch norm that follows no convolution, or has a batch's statistics, is not exported",
                      node->name));
    dram_onnx_layout layout = DRAM_ONNX_NCHW;
    if (before->op == DRAM_OP_linear) layout = dram_onnx_choose(o, before->in[0], node->out[0]);
    const char *out = dram_onnx_name(o, node->out[0], layout);
    const char *name = summed || active ? dram_onnx_text(o->m, "%s.norm", out) : out;
    const char *y = either(o, before, node, layout, name);
    if (summed)
        y = dram_onnx_node(o->m, "Add", active ? dram_onnx_text(o->m, "%s.sum", out) : out, NULL, 0,
                           DRAM_ONNX_IN(y, dram_onnx_get(o, node->in[5], layout)));
    if (active) y = dram_onnx_node(o->m, "Relu", out, NULL, 0, DRAM_ONNX_IN(y));
    dram_onnx_set(o, node->out[0], layout, y);
    return dram_onnx_model_status(o->m);
}
