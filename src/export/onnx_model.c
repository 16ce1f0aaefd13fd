#include "export/onnx_model.h"

#include <math.h>
#include <onnx/onnx.pb-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/half.h"
#include "base/str.h"
#include "io/atomic.h"

/* What lives as long as the model. */
typedef struct block {
    struct block *next;
    max_align_t data[];
} block;

typedef struct {
    Onnx__TensorProto proto;
    dram_onnx_fill fill;
    void *context;
    int64_t elements;
} tensor;

/* A growing list of pointers. */
typedef struct {
    void **at;
    int n, room;
} list;

struct dram_onnx_model {
    dram_status status;
    block *blocks;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    list nodes, tensors, inputs, outputs, metadata;
};

/* ---- memory ---- */

static void out_of_memory(dram_onnx_model *m)
{
    m->status = dram_fail(DRAM_ERR_MEMORY, "no memory for the ONNX graph");
}

/* Zeroed. */
static void *keep(dram_onnx_model *m, size_t bytes)
{
    block *b = m->status == DRAM_OK ? dram_calloc(1, sizeof *b + bytes) : NULL;
    if (!b) {
        if (m->status == DRAM_OK) out_of_memory(m);
        return NULL;
    }
    b->next = m->blocks;
    m->blocks = b;
    return b->data;
}

static void *keep_copy(dram_onnx_model *m, const void *data, size_t bytes)
{
    void *copy = keep(m, bytes);
    if (copy && bytes) memcpy(copy, data, bytes);
    return copy;
}

static char *keep_text(dram_onnx_model *m, const char *text)
{
    return keep_copy(m, text, strlen(text) + 1);
}

static void append(dram_onnx_model *m, list *l, void *item)
{
    if (m->status != DRAM_OK) return;
    if (DRAM_GROW(l->at, l->room, l->n + 1))
        l->at[l->n++] = item;
    else
        out_of_memory(m);
}

dram_status dram_onnx_model_new(const char *name, dram_onnx_model **out)
{
    dram_onnx_model *m = dram_calloc(1, sizeof *m);
    *out = m;
    if (!m) return dram_fail(DRAM_ERR_MEMORY, "no memory for the ONNX graph");
    onnx__model_proto__init(&m->model);
    onnx__graph_proto__init(&m->graph);
    onnx__operator_set_id_proto__init(&m->opset);
    m->opset.domain = keep_text(m, "");
    m->opset.has_version = true;
    m->opset.version = 17;
    m->opsets[0] = &m->opset;
    m->model.has_ir_version = true;
    m->model.ir_version = 8;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
    m->model.producer_name = keep_text(m, "dram");
    m->model.producer_version = keep_text(m, DRAM_VERSION);
    m->graph.name = keep_text(m, name);
    return m->status;
}

void dram_onnx_model_free(dram_onnx_model *m)
{
    if (!m) return;
    for (block *b = m->blocks, *next; b; b = next) {
        next = b->next;
        dram_free(b);
    }
    dram_free(m->nodes.at);
    dram_free(m->tensors.at);
    dram_free(m->inputs.at);
    dram_free(m->outputs.at);
    dram_free(m->metadata.at);
    dram_free(m);
}

dram_status dram_onnx_model_status(const dram_onnx_model *m)
{
    return m->status;
}

dram_status dram_onnx_model_fail(dram_onnx_model *m, dram_status status)
{
    if (m->status == DRAM_OK) m->status = status;
    return m->status;
}

const char *dram_onnx_text(dram_onnx_model *m, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return keep_text(m, text);
}

/* ---- nodes ---- */

static Onnx__AttributeProto *make_attribute(dram_onnx_model *m, const dram_onnx_attr *a)
{
    Onnx__AttributeProto *proto = keep(m, sizeof *proto);
    if (!proto) return NULL;
    onnx__attribute_proto__init(proto);
    proto->name = keep_text(m, a->name);
    proto->has_type = true;
    if (a->n) {
        proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        proto->n_ints = (size_t)a->n;
        proto->ints = keep_copy(m, a->i, (size_t)a->n * sizeof a->i[0]);
    } else if (a->text) {
        proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        proto->has_s = true;
        proto->s.len = strlen(a->text);
        proto->s.data = keep_copy(m, a->text, proto->s.len + 1);
    } else if (a->whole) {
        proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        proto->has_i = true;
        proto->i = a->i[0];
    } else {
        proto->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        proto->has_f = true;
        proto->f = a->f;
    }
    return proto;
}

const char *dram_onnx_node(dram_onnx_model *m, const char *op, const char *out, const dram_onnx_attr *attrs,
                           int n_attrs, const char *const *in, int n_in)
{
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    Onnx__NodeProto *node = out ? keep(m, sizeof *node) : NULL;
    if (!node) return NULL;
    onnx__node_proto__init(node);
    node->op_type = keep_text(m, op);
    node->name = keep_text(m, out);
    node->n_input = (size_t)n_in;
    node->input = keep(m, (size_t)n_in * sizeof *node->input);
    node->n_output = 1;
    node->output = keep(m, sizeof *node->output);
    node->n_attribute = (size_t)n_attrs;
    node->attribute = keep(m, (size_t)n_attrs * sizeof *node->attribute);
    for (int i = 0; i < n_in && node->input; i++) node->input[i] = keep_text(m, in[i]);
    for (int i = 0; i < n_attrs && node->attribute; i++) node->attribute[i] = make_attribute(m, &attrs[i]);
    if (node->output) node->output[0] = keep_text(m, out);
    append(m, &m->nodes, node);
    return m->status == DRAM_OK ? node->output[0] : NULL;
}

/* ---- tensors ---- */

static int bytes_of(int32_t type)
{
    return type == DRAM_ONNX_F16 ? 2 : type == DRAM_ONNX_I64 ? 8 : 4;
}

/* Bytes of its elements as they are made: before they are rounded. */
static size_t wide(const tensor *t)
{
    return (size_t)t->elements * (t->proto.data_type == DRAM_ONNX_I64 ? 8 : 4);
}

static const char *find_tensor(const dram_onnx_model *m, const char *name)
{
    for (int i = m->tensors.n - 1; i >= 0; i--) {
        const tensor *t = m->tensors.at[i];
        if (strcmp(t->proto.name, name) == 0) return t->proto.name;
    }
    return NULL;
}

const char *dram_onnx_tensor(dram_onnx_model *m, const char *name, dram_onnx_type type, int rank, const int64_t *dim,
                             dram_onnx_fill fill, const void *context, int context_bytes)
{
    if (m->status != DRAM_OK || !name) return NULL;
    const char *there = find_tensor(m, name);
    if (there) return there;
    tensor *t = keep(m, sizeof *t);
    if (!t) return NULL;
    onnx__tensor_proto__init(&t->proto);
    t->proto.name = keep_text(m, name);
    t->proto.has_data_type = true;
    t->proto.data_type = type;
    t->proto.n_dims = (size_t)rank;
    t->proto.dims = keep_copy(m, dim, (size_t)rank * sizeof *dim);
    t->elements = 1;
    for (int k = 0; k < rank; k++) t->elements *= dim[k];
    t->proto.has_raw_data = true;
    t->proto.raw_data.len = (size_t)(t->elements * bytes_of(type));
    t->fill = fill;
    t->context = keep_copy(m, context, (size_t)context_bytes);
    append(m, &m->tensors, t);
    return m->status == DRAM_OK ? t->proto.name : NULL;
}

bool dram_onnx_has(const dram_onnx_model *m, const char *name)
{
    for (int i = 0; i < m->nodes.n; i++)
        if (strcmp(((const Onnx__NodeProto *)m->nodes.at[i])->output[0], name) == 0) return true;
    return find_tensor(m, name) != NULL;
}

typedef struct {
    int n;
    int64_t value[DRAM_ONNX_INTS];
} whole_numbers;

static dram_status fill_ints(void *context, void *out, void *scratch)
{
    (void)scratch;
    const whole_numbers *w = context;
    memcpy(out, w->value, (size_t)w->n * sizeof w->value[0]);
    return DRAM_OK;
}

const char *dram_onnx_ints(dram_onnx_model *m, int n, const int64_t *values)
{
    char name[256] = "ints";
    whole_numbers w = {.n = n};
    const int64_t dim = n;
    for (int i = 0; i < n; i++) {
        size_t at = strlen(name);
        snprintf(name + at, sizeof name - at, "_%lld", (long long)values[i]);
        w.value[i] = values[i];
    }
    return dram_onnx_tensor(m, name, DRAM_ONNX_I64, 1, &dim, fill_ints, &w, sizeof w);
}

static dram_status fill_scalar(void *context, void *out, void *scratch)
{
    (void)scratch;
    memcpy(out, context, sizeof(float));
    return DRAM_OK;
}

const char *dram_onnx_scalar(dram_onnx_model *m, dram_onnx_type type, float value)
{
    char name[64];
    snprintf(name, sizeof name, "number_%s%.9g", type == DRAM_ONNX_F16 ? "f16_" : "", (double)value);
    return dram_onnx_tensor(m, name, type, 0, NULL, fill_scalar, &value, sizeof value);
}

/* ---- ports and metadata ---- */

static Onnx__TensorShapeProto__Dimension *make_dimension(dram_onnx_model *m, int64_t size, const char *any)
{
    Onnx__TensorShapeProto__Dimension *d = keep(m, sizeof *d);
    if (!d) return NULL;
    onnx__tensor_shape_proto__dimension__init(d);
    if (any) {
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        d->dim_param = keep_text(m, any);
    } else {
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        d->dim_value = size;
    }
    return d;
}

static void add_port(dram_onnx_model *m, list *to, const dram_onnx_port *port)
{
    Onnx__ValueInfoProto *info = keep(m, sizeof *info);
    Onnx__TypeProto *type = keep(m, sizeof *type);
    Onnx__TypeProto__Tensor *of = keep(m, sizeof *of);
    Onnx__TensorShapeProto *shape = keep(m, sizeof *shape);
    if (!info || !type || !of || !shape) return;
    onnx__value_info_proto__init(info);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(of);
    onnx__tensor_shape_proto__init(shape);
    info->name = keep_text(m, port->name);
    info->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = of;
    of->has_elem_type = true;
    of->elem_type = port->type;
    of->shape = shape;
    shape->n_dim = (size_t)port->rank;
    shape->dim = keep(m, (size_t)port->rank * sizeof *shape->dim);
    for (int k = 0; k < port->rank && shape->dim; k++) shape->dim[k] = make_dimension(m, port->dim[k], port->any[k]);
    append(m, to, info);
}

void dram_onnx_input(dram_onnx_model *m, const dram_onnx_port *port)
{
    add_port(m, &m->inputs, port);
}

void dram_onnx_output(dram_onnx_model *m, const dram_onnx_port *port)
{
    add_port(m, &m->outputs, port);
}

void dram_onnx_metadata(dram_onnx_model *m, const char *key, const char *value)
{
    Onnx__StringStringEntryProto *entry = keep(m, sizeof *entry);
    if (!entry) return;
    onnx__string_string_entry_proto__init(entry);
    entry->key = keep_text(m, key);
    entry->value = keep_text(m, value);
    append(m, &m->metadata, entry);
}

/* ---- the file ---- */

/* protobuf-c hands over what it packs piece by piece. */
typedef struct {
    ProtobufCBuffer base;
    dram_atomic *file;
    dram_status status;
    size_t held;
    unsigned char piece[1 << 16];
} sink;

static void flush(sink *s)
{
    if (s->status == DRAM_OK) s->status = dram_atomic_write(s->file, s->piece, s->held);
    s->held = 0;
}

static void take(ProtobufCBuffer *base, size_t bytes, const uint8_t *data)
{
    sink *s = (sink *)base;
    if (s->held + bytes > sizeof s->piece) flush(s);
    if (bytes > sizeof s->piece) {
        if (s->status == DRAM_OK) s->status = dram_atomic_write(s->file, data, bytes);
        return;
    }
    memcpy(s->piece + s->held, data, bytes);
    s->held += bytes;
}

/* Tag of a field that holds bytes, and their number. */
static size_t head_of(int field, uint64_t bytes, uint8_t out[16])
{
    size_t n = 0;
    out[n++] = (uint8_t)(field << 3 | 2);
    for (; bytes > 0x7f; bytes >>= 7) out[n++] = (uint8_t)(bytes | 0x80);
    out[n++] = (uint8_t)bytes;
    return n;
}

/* Fields of ModelProto and GraphProto. */
enum { MODEL_GRAPH = 7, GRAPH_INITIALIZER = 5 };

/* Room behind the floats is taken for what is rounded. */
static dram_status round_to_half(const tensor *t, const float *data, uint16_t *half)
{
    int64_t at = dram_floats_to_f16(data, t->elements, half);
    if (at == t->elements) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s has the number %g, which is too large for fp16: leave --half out",
                     t->proto.name, (double)data[at]);
}

/* data: room for its elements, twice. */
static dram_status write_tensor(tensor *t, void *data, sink *s)
{
    uint8_t head[16];
    void *scratch = (char *)data + wide(t);
    TRY(t->fill(t->context, data, scratch));
    if (t->proto.data_type == DRAM_ONNX_F16) {
        TRY(round_to_half(t, data, scratch));
        data = scratch;
    }
    take(&s->base, head_of(GRAPH_INITIALIZER, onnx__tensor_proto__get_packed_size(&t->proto), head), head);
    t->proto.raw_data.data = data;
    onnx__tensor_proto__pack_to_buffer(&t->proto, &s->base);
    t->proto.raw_data.data = NULL;
    return s->status;
}

/* In one buffer for all: its pages are taken from the system once. */
static dram_status write_tensors(const dram_onnx_model *m, sink *s)
{
    size_t most = 1;
    dram_status status = DRAM_OK;
    for (int i = 0; i < m->tensors.n; i++)
        if (wide(m->tensors.at[i]) > most) most = wide(m->tensors.at[i]);
    void *data = dram_alloc(2 * most);
    if (!data) return dram_fail(DRAM_ERR_MEMORY, "no memory to write %s", m->graph.name);
    for (int i = 0; i < m->tensors.n && status == DRAM_OK; i++) status = write_tensor(m->tensors.at[i], data, s);
    dram_free(data);
    return status;
}

static void link_lists(dram_onnx_model *m)
{
    m->graph.node = (Onnx__NodeProto **)m->nodes.at;
    m->graph.n_node = (size_t)m->nodes.n;
    m->graph.input = (Onnx__ValueInfoProto **)m->inputs.at;
    m->graph.n_input = (size_t)m->inputs.n;
    m->graph.output = (Onnx__ValueInfoProto **)m->outputs.at;
    m->graph.n_output = (size_t)m->outputs.n;
    m->model.metadata_props = (Onnx__StringStringEntryProto **)m->metadata.at;
    m->model.n_metadata_props = (size_t)m->metadata.n;
}

/* The model without its graph, then the graph's head, nodes and ports, then tensor after tensor. */
static dram_status write_all(dram_onnx_model *m, const char *path, sink *s)
{
    uint8_t head[16];
    const uint64_t most = (uint64_t)1 << 31;
    uint64_t graph = onnx__graph_proto__get_packed_size(&m->graph);
    for (int i = 0; i < m->tensors.n; i++) {
        uint64_t bytes = onnx__tensor_proto__get_packed_size(&((tensor *)m->tensors.at[i])->proto);
        graph += head_of(GRAPH_INITIALIZER, bytes, head) + bytes;
    }
    if (graph + onnx__model_proto__get_packed_size(&m->model) + sizeof head >= most) {
        char text[32];
        return dram_fail(DRAM_ERR_CONFIG, "%s would be of %s, and a file of ONNX holds less than 2 GiB: take --half",
                         path, dram_format_bytes((int64_t)graph, text, sizeof text));
    }
    onnx__model_proto__pack_to_buffer(&m->model, &s->base);
    take(&s->base, head_of(MODEL_GRAPH, graph, head), head);
    onnx__graph_proto__pack_to_buffer(&m->graph, &s->base);
    TRY(write_tensors(m, s));
    flush(s);
    return s->status;
}

dram_status dram_onnx_model_write(dram_onnx_model *m, const char *path)
{
    dram_atomic file;
    TRY(m->status);
    link_lists(m);
    sink *s = dram_calloc(1, sizeof *s);
    if (!s) return dram_fail(DRAM_ERR_MEMORY, "no memory to write %s", path);
    dram_status status = dram_atomic_open(&file, path);
    if (status == DRAM_OK) {
        *s = (sink){.base = {.append = take}, .file = &file};
        status = write_all(m, path, s);
        if (status == DRAM_OK)
            status = dram_atomic_commit(&file);
        else
            dram_atomic_abort(&file);
    }
    dram_free(s);
    return status;
}
