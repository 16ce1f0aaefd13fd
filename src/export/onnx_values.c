#include "export/onnx_values.h"

#include <string.h>

static bool is_image(const dram_onnx *o, dram_val v)
{
    return dram_shape_of(o->g, v)->rank == 4;
}

const char *dram_onnx_name(dram_onnx *o, dram_val v, dram_onnx_layout layout)
{
    const dram_onnx_value *value = &o->value[v];
    const char *name = o->g->values[v]->name;
    if (layout == DRAM_ONNX_NHWC) return dram_onnx_text(o->m, "%s.nhwc", name);
    bool last = value->output && o->type == DRAM_ONNX_F32; /* in half a cast comes behind it */
    return last ? value->output : dram_onnx_text(o->m, "%s", name);
}

void dram_onnx_set(dram_onnx *o, dram_val v, dram_onnx_layout layout, const char *name)
{
    dram_onnx_value *value = &o->value[v];
    if (!value->name[DRAM_ONNX_NCHW] && !value->name[DRAM_ONNX_NHWC]) value->made = layout;
    value->name[layout] = name;
}

/* A weight that is read as an image: [1,h,w,C]. */
static const char *get_constant(dram_onnx *o, dram_val v, dram_onnx_layout layout)
{
    return dram_onnx_weight(
        o, &(dram_onnx_weights){.weight = v,
                                .bias = DRAM_NONE,
                                .order = layout == DRAM_ONNX_NCHW ? DRAM_ONNX_FIRST : DRAM_ONNX_AS_IT_IS,
                                .type = o->type});
}

const char *dram_onnx_get(dram_onnx *o, dram_val v, dram_onnx_layout layout)
{
    dram_onnx_value *value = &o->value[v];
    if (value->constant) return get_constant(o, v, layout);
    if (value->name[layout]) return value->name[layout];
    const char *from = value->name[!layout], *to = dram_onnx_name(o, v, layout);
    if (!from || !is_image(o, v)) {
        dram_onnx_model_fail(o->m, dram_fail(DRAM_ERR_INTERNAL, "%s has no ONNX value", o->g->values[v]->name));
        return NULL;
    }
    const dram_onnx_attr first = DRAM_ONNX_LIST_OF("perm", 0, 3, 1, 2), last = DRAM_ONNX_LIST_OF("perm", 0, 2, 3, 1);
    dram_onnx_set(
        o, v, layout,
        dram_onnx_node(o->m, "Transpose", to, layout == DRAM_ONNX_NCHW ? &first : &last, 1, DRAM_ONNX_IN(from)));
    return value->name[layout];
}

dram_onnx_layout dram_onnx_choose(const dram_onnx *o, dram_val x, dram_val v)
{
    if (!is_image(o, v)) return DRAM_ONNX_NCHW;
    return o->value[v].tokens ? DRAM_ONNX_NHWC : o->value[x].made;
}

const dram_node *dram_onnx_producer(const dram_onnx *o, dram_val v)
{
    int32_t producer = o->g->values[v]->producer;
    return producer == DRAM_NONE ? NULL : o->g->nodes[producer];
}

const dram_node *dram_onnx_sole_reader(const dram_onnx *o, dram_val v, dram_op op)
{
    const dram_onnx_value *value = &o->value[v];
    if (value->readers != 1 || value->output) return NULL;
    const dram_node *reader = o->g->nodes[value->reader];
    return reader->op == op && reader->in[0] == v ? reader : NULL;
}
