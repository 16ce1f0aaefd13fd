/* onnx_file: an ONNX file as protobuf-c reads it. Include after cmocka.h; link dram_export. */
#ifndef DRAM_TESTS_EXPORT_ONNX_FILE_H
#define DRAM_TESTS_EXPORT_ONNX_FILE_H

#include <onnx/onnx.pb-c.h>

#include "base/half.h"
#include "base/str.h"
#include "export/onnx.h"
#include "support/tempdir.h"

static inline Onnx__ModelProto *read_model(const char *path)
{
    size_t bytes;
    char *data = get_file(path, &bytes);
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, bytes, (const uint8_t *)data);
    free(data);
    assert_non_null(model);
    assert_non_null(model->graph);
    return model;
}

static inline const Onnx__TensorProto *tensor_of(const Onnx__ModelProto *m, const char *name)
{
    for (size_t i = 0; i < m->graph->n_initializer; i++)
        if (strcmp(m->graph->initializer[i]->name, name) == 0) return m->graph->initializer[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

static inline int count_op(const Onnx__ModelProto *m, const char *op)
{
    int n = 0;
    for (size_t i = 0; i < m->graph->n_node; i++) n += strcmp(m->graph->node[i]->op_type, op) == 0;
    return n;
}

/* Element i of a tensor of floats. */
static inline double number_in(const Onnx__TensorProto *t, int64_t i)
{
    float f;
    uint16_t h;
    if (t->data_type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16) {
        memcpy(&h, t->raw_data.data + 2 * i, sizeof h);
        return dram_f16_to_f32(h);
    }
    assert_int_equal(t->data_type, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
    memcpy(&f, t->raw_data.data + 4 * i, sizeof f);
    return f;
}

static inline int64_t elements_in(const Onnx__TensorProto *t)
{
    int64_t n = 1;
    for (size_t k = 0; k < t->n_dims; k++) n *= t->dims[k];
    return n;
}

/* "image u8 [height,width,3]" */
static inline void add_port(dram_str *out, const Onnx__ValueInfoProto *port)
{
    const Onnx__TypeProto__Tensor *t = port->type->tensor_type;
    dram_str_add(out, "%s type %d [", port->name, t->elem_type);
    for (size_t k = 0; k < t->shape->n_dim; k++) {
        const Onnx__TensorShapeProto__Dimension *d = t->shape->dim[k];
        if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM)
            dram_str_add(out, "%s%s", k ? "," : "", d->dim_param);
        else
            dram_str_add(out, "%s%lld", k ? "," : "", (long long)d->dim_value);
    }
    dram_str_add(out, "]\n");
}

static inline void add_node(dram_str *out, const Onnx__NodeProto *node)
{
    dram_str_add(out, "%s = %s(", node->output[0], node->op_type);
    for (size_t k = 0; k < node->n_input; k++) dram_str_add(out, "%s%s", k ? ", " : "", node->input[k]);
    dram_str_add(out, ")");
    for (size_t k = 0; k < node->n_attribute; k++) {
        const Onnx__AttributeProto *a = node->attribute[k];
        dram_str_add(out, " %s=", a->name);
        if (a->has_i) dram_str_add(out, "%lld", (long long)a->i);
        if (a->has_f) dram_str_add(out, "%g", (double)a->f);
        if (a->has_s) dram_str_add(out, "%.*s", (int)a->s.len, (const char *)a->s.data);
        for (size_t i = 0; i < a->n_ints; i++) dram_str_add(out, "%s%lld", i ? "," : "", (long long)a->ints[i]);
    }
    dram_str_add(out, "\n");
}

/* The graph as text, a line a port, node and tensor. dram_str_free it. */
static inline dram_str text_of(const Onnx__ModelProto *m)
{
    dram_str out = {0};
    dram_str_add(&out, "IR %lld opset %lld\n", (long long)m->ir_version, (long long)m->opset_import[0]->version);
    for (size_t i = 0; i < m->graph->n_input; i++) add_port(&out, m->graph->input[i]);
    for (size_t i = 0; i < m->graph->n_output; i++) add_port(&out, m->graph->output[i]);
    for (size_t i = 0; i < m->graph->n_node; i++) add_node(&out, m->graph->node[i]);
    for (size_t i = 0; i < m->graph->n_initializer; i++) {
        const Onnx__TensorProto *t = m->graph->initializer[i];
        dram_str_add(&out, "%s type %d [", t->name, t->data_type);
        for (size_t k = 0; k < t->n_dims; k++) dram_str_add(&out, "%s%lld", k ? "," : "", (long long)t->dims[k]);
        dram_str_add(&out, "] %zu bytes\n", t->raw_data.len);
    }
    assert_false(out.failed);
    return out;
}

/* Every value that a node reads was made before it, once: an input, a tensor, or a node above. */
static inline void assert_sound(const Onnx__ModelProto *m)
{
    const Onnx__GraphProto *g = m->graph;
    int read = 0;
    for (size_t i = 0; i < g->n_node; i++) {
        const Onnx__NodeProto *node = g->node[i];
        for (size_t j = 0; j < i; j++) assert_string_not_equal(g->node[j]->output[0], node->output[0]);
        for (size_t k = 0; k < node->n_input; k++) {
            bool there = !*node->input[k];
            for (size_t j = 0; j < i; j++) there |= strcmp(g->node[j]->output[0], node->input[k]) == 0;
            for (size_t j = 0; j < g->n_input; j++) there |= strcmp(g->input[j]->name, node->input[k]) == 0;
            for (size_t j = 0; j < g->n_initializer; j++) there |= strcmp(g->initializer[j]->name, node->input[k]) == 0;
            if (!there) fail_msg("%s reads %s, which nothing makes", node->output[0], node->input[k]);
            read++;
        }
    }
    assert_true(read > 0);
}

#endif
