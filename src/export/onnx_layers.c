/* What stands between the products: norms, activations, sums, pooling, resampling, and the image itself. */
#include "export/onnx_rules.h"

/* One op of one input, which takes either layout. */
static dram_status one(dram_onnx *o, const dram_node *node, const char *op)
{
    dram_onnx_layout layout = dram_onnx_choose(o, node->in[0], node->out[0]);
    const char *out = dram_onnx_name(o, node->out[0], layout);
    dram_onnx_set(o, node->out[0], layout,
                  dram_onnx_node(o->m, op, out, NULL, 0, DRAM_ONNX_IN(dram_onnx_get(o, node->in[0], layout))));
    return dram_onnx_model_status(o->m);
}

dram_status dram_onnx_rule_relu(dram_onnx *o, const dram_node *node)
{
    return one(o, node, "Relu");
}

dram_status dram_onnx_rule_sigmoid(dram_onnx *o, const dram_node *node)
{
    return one(o, node, "Sigmoid");
}

/* The layout of two inputs: that of the first which is no weight. */
static dram_status two(dram_onnx *o, const dram_node *node, const char *op)
{
    dram_val first = o->value[node->in[0]].constant ? node->in[1] : node->in[0];
    dram_onnx_layout layout = dram_onnx_choose(o, first, node->out[0]);
    const char *a = dram_onnx_get(o, node->in[0], layout), *b = dram_onnx_get(o, node->in[1], layout);
    const char *out = dram_onnx_name(o, node->out[0], layout);
    dram_onnx_set(o, node->out[0], layout, dram_onnx_node(o->m, op, out, NULL, 0, DRAM_ONNX_IN(a, b)));
    return dram_onnx_model_status(o->m);
}

dram_status dram_onnx_rule_add(dram_onnx *o, const dram_node *node)
{
    return two(o, node, "Add");
}

/* The gate is [N,C,1,1]. */
dram_status dram_onnx_rule_scale_channels(dram_onnx *o, const dram_node *node)
{
    const char *x = dram_onnx_get(o, node->in[0], DRAM_ONNX_NCHW), *s = dram_onnx_get(o, node->in[1], DRAM_ONNX_NCHW);
    const char *out = dram_onnx_name(o, node->out[0], DRAM_ONNX_NCHW);
    dram_onnx_set(o, node->out[0], DRAM_ONNX_NCHW, dram_onnx_node(o->m, "Mul", out, NULL, 0, DRAM_ONNX_IN(x, s)));
    return dram_onnx_model_status(o->m);
}

dram_status dram_onnx_rule_avgpool(dram_onnx *o, const dram_node *node)
{
    const char *x = dram_onnx_get(o, node->in[0], DRAM_ONNX_NCHW);
    const char *out = dram_onnx_name(o, node->out[0], DRAM_ONNX_NCHW);
    dram_onnx_set(o, node->out[0], DRAM_ONNX_NCHW,
                  dram_onnx_node(o->m, "GlobalAveragePool", out, NULL, 0, DRAM_ONNX_IN(x)));
    return dram_onnx_model_status(o->m);
}

/* ---- layer norm ---- */

static const char *cast(dram_onnx *o, const char *x, dram_onnx_type type, const char *out)
{
    return dram_onnx_node(o->m, "Cast", out, DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("to", type)), DRAM_ONNX_IN(x));
}

/* Over the channels of an image, in fp32 whatever the rest is: squares leave the range of fp16. */
static const char *norm_of_image(dram_onnx *o, const dram_node *node, const char *x, const char *out)
{
    dram_onnx_model *m = o->m;
    bool half = o->type == DRAM_ONNX_F16;
    const dram_onnx_weights gamma = {
        .weight = node->in[1], .bias = node->in[2], .order = DRAM_ONNX_FIRST, .type = DRAM_ONNX_F32};
    const dram_onnx_attr over[] = {DRAM_ONNX_LIST_OF("axes", 1), DRAM_ONNX_WHOLE("keepdims", 1)};
    if (half) x = cast(o, x, DRAM_ONNX_F32, dram_onnx_text(m, "%s.f32", out));
    const char *mean = dram_onnx_node(m, "ReduceMean", dram_onnx_text(m, "%s.mean", out), over, 2, DRAM_ONNX_IN(x));
    const char *d = dram_onnx_node(m, "Sub", dram_onnx_text(m, "%s.centred", out), NULL, 0, DRAM_ONNX_IN(x, mean));
    const char *v = dram_onnx_node(m, "Mul", dram_onnx_text(m, "%s.squared", out), NULL, 0, DRAM_ONNX_IN(d, d));
    v = dram_onnx_node(m, "ReduceMean", dram_onnx_text(m, "%s.var", out), over, 2, DRAM_ONNX_IN(v));
    v = dram_onnx_node(m, "Add", dram_onnx_text(m, "%s.var_eps", out), NULL, 0,
                       DRAM_ONNX_IN(v, dram_onnx_scalar(m, DRAM_ONNX_F32, node->attr.eps)));
    v = dram_onnx_node(m, "Sqrt", dram_onnx_text(m, "%s.std", out), NULL, 0, DRAM_ONNX_IN(v));
    const char *y = dram_onnx_node(m, "Div", dram_onnx_text(m, "%s.normal", out), NULL, 0, DRAM_ONNX_IN(d, v));
    y = dram_onnx_node(m, "Mul", dram_onnx_text(m, "%s.scaled", out), NULL, 0,
                       DRAM_ONNX_IN(y, dram_onnx_weight(o, &gamma)));
    y = dram_onnx_node(m, "Add", half ? dram_onnx_text(m, "%s.shifted", out) : out, NULL, 0,
                       DRAM_ONNX_IN(y, dram_onnx_bias(o, &gamma)));
    return half ? cast(o, y, DRAM_ONNX_F16, out) : y;
}

dram_status dram_onnx_rule_layernorm(dram_onnx *o, const dram_node *node)
{
    dram_onnx_layout layout = dram_onnx_choose(o, node->in[0], node->out[0]);
    const char *x = dram_onnx_get(o, node->in[0], layout), *out = dram_onnx_name(o, node->out[0], layout), *y;
    const dram_onnx_weights gamma = {
        .weight = node->in[1], .bias = node->in[2], .order = DRAM_ONNX_AS_IT_IS, .type = o->type};
    if (layout == DRAM_ONNX_NCHW)
        y = norm_of_image(o, node, x, out);
    else
        y = dram_onnx_node(o->m, "LayerNormalization", out,
                           DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("axis", -1), DRAM_ONNX_NUMBER("epsilon", node->attr.eps)),
                           DRAM_ONNX_IN(x, dram_onnx_weight(o, &gamma), dram_onnx_bias(o, &gamma)));
    dram_onnx_set(o, node->out[0], layout, y);
    return dram_onnx_model_status(o->m);
}

/* ---- resampling ---- */

typedef struct {
    float value[4];
} four;

static dram_status fill_four(void *context, void *out, void *scratch)
{
    (void)scratch;
    *(four *)out = *(const four *)context;
    return DRAM_OK;
}

/* By whole factors, so that the size is exact whatever the batch. */
dram_status dram_onnx_rule_resize(dram_onnx *o, const dram_node *node)
{
    const dram_shape *in = dram_shape_of(o->g, node->in[0]), *to = dram_shape_of(o->g, node->out[0]);
    const int64_t four_long = 4;
    if (node->attr.mode != DRAM_RESIZE_BILINEAR || in->rank != 4 || to->dim[1] % in->dim[1] || to->dim[2] % in->dim[2])
        return dram_onnx_model_fail(
            o->m, dram_fail(DRAM_ERR_CONFIG,
                            "%s: a resize that is not bilinear and by whole factors has no ONNX form of opset 17",
                            node->name));
    const four factors = {{1, 1, (float)(to->dim[1] / in->dim[1]), (float)(to->dim[2] / in->dim[2])}};
    const char *name = dram_onnx_text(o->m, "factors_%d_%d", (int)factors.value[2], (int)factors.value[3]);
    const char *scales =
        dram_onnx_tensor(o->m, name, DRAM_ONNX_F32, 1, &four_long, fill_four, &factors, sizeof factors);
    const char *x = dram_onnx_get(o, node->in[0], DRAM_ONNX_NCHW);
    const char *out = dram_onnx_name(o, node->out[0], DRAM_ONNX_NCHW);
    const char *y = dram_onnx_node(o->m, "Resize", out,
                                   DRAM_ONNX_ATTRS(DRAM_ONNX_TEXT("mode", "linear"),
                                                   DRAM_ONNX_TEXT("coordinate_transformation_mode", "half_pixel")),
                                   DRAM_ONNX_IN(x, "", scales));
    dram_onnx_set(o, node->out[0], DRAM_ONNX_NCHW, y);
    return dram_onnx_model_status(o->m);
}

/* ---- the image ---- */

static dram_status fill_three(void *context, void *out, void *scratch)
{
    (void)scratch;
    float *to = out;
    for (int c = 0; c < 3; c++) to[c] = ((const float *)context)[c];
    return DRAM_OK;
}

/* What is added below and to the right of [3,H,W]. It is never below 0: a larger image fails where [1,3,S,S] is made of it,
 * rather than lose a part. */
static const char *pads(dram_onnx *o, const char *x, int64_t size)
{
    dram_onnx_model *m = o->m;
    const char *sides =
        dram_onnx_node(m, "Shape", "preprocess.sides", DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("start", 1)), DRAM_ONNX_IN(x));
    const char *rest =
        dram_onnx_node(m, "Sub", "preprocess.rest", NULL, 0, DRAM_ONNX_IN(DRAM_ONNX_SHAPE(m, size, size), sides));
    rest = dram_onnx_node(m, "Max", "preprocess.room", NULL, 0, DRAM_ONNX_IN(rest, DRAM_ONNX_SHAPE(m, 0, 0)));
    return dram_onnx_node(m, "Concat", "preprocess.pads", DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("axis", 0)),
                          DRAM_ONNX_IN(DRAM_ONNX_SHAPE(m, 0, 0, 0, 0), rest));
}

/* u8 [H,W,3] -> [1,3,S,S], normalised and 0 beside the image. */
dram_status dram_onnx_rule_image_norm(dram_onnx *o, const dram_node *node)
{
    dram_onnx_model *m = o->m;
    const int64_t size = o->e->size, three = 3;
    const char *mean = dram_onnx_tensor(m, "preprocess.mean", DRAM_ONNX_F32, 1, &three, fill_three, node->attr.mean,
                                        sizeof node->attr.mean);
    const char *std = dram_onnx_tensor(m, "preprocess.std", DRAM_ONNX_F32, 1, &three, fill_three, node->attr.std,
                                       sizeof node->attr.std);
    const char *x = o->value[node->in[0]].name[DRAM_ONNX_NHWC];
    x = cast(o, x, DRAM_ONNX_F32, "preprocess.pixels");
    x = dram_onnx_node(m, "Sub", "preprocess.centred", NULL, 0, DRAM_ONNX_IN(x, mean));
    x = dram_onnx_node(m, "Div", "preprocess.normal", NULL, 0, DRAM_ONNX_IN(x, std));
    x = dram_onnx_node(m, "Transpose", "preprocess.planes", DRAM_ONNX_ATTRS(DRAM_ONNX_LIST_OF("perm", 2, 0, 1)),
                       DRAM_ONNX_IN(x));
    x = dram_onnx_node(m, "Pad", "preprocess.padded", NULL, 0, DRAM_ONNX_IN(x, pads(o, x, size)));
    if (o->type == DRAM_ONNX_F16) x = cast(o, x, DRAM_ONNX_F16, "preprocess.half");
    const char *out = dram_onnx_name(o, node->out[0], DRAM_ONNX_NCHW);
    x = dram_onnx_node(m, "Reshape", out, NULL, 0, DRAM_ONNX_IN(x, DRAM_ONNX_SHAPE(m, 1, 3, size, size)));
    dram_onnx_set(o, node->out[0], DRAM_ONNX_NCHW, x);
    return dram_onnx_model_status(m);
}
