/* onnx_rules: how each op is written. An op that is no row has no ONNX form, and a graph with it is not exported. */
#ifndef DRAM_EXPORT_ONNX_RULES_H
#define DRAM_EXPORT_ONNX_RULES_H

#include "export/onnx_values.h"

/* A rule writes its node's output 0 (dram_onnx_set), or nothing where the node behind it does that for both, and returns
 * dram_onnx_model_status. */
#define DRAM_ONNX_RULES(X)                                                                                             \
    X(image_norm)                                                                                                      \
    X(conv2d)                                                                                                          \
    X(linear)                                                                                                          \
    X(bn_apply)                                                                                                        \
    X(relu)                                                                                                            \
    X(gelu)                                                                                                            \
    X(sigmoid)                                                                                                         \
    X(add)                                                                                                             \
    X(avgpool)                                                                                                         \
    X(scale_channels)                                                                                                  \
    X(layernorm)                                                                                                       \
    X(attention)                                                                                                       \
    X(resize)

#define X(NAME) dram_status dram_onnx_rule_##NAME(dram_onnx *o, const dram_node *node);
DRAM_ONNX_RULES(X)
#undef X

/* Of the linear layer that makes q, k and v of an attention, which is written with that: whether there is one, whose bias is the
 * padding's; and its product, NHWC, without the bias. */
bool dram_onnx_is_qkv(const dram_onnx *o, const dram_node *attention);
const char *dram_onnx_qkv_product(dram_onnx *o, const dram_node *attention, const char *out);

#endif
