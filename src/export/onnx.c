/* The walk over the evaluation program, node after node, as far as the outputs need it. */
#include "export/onnx.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "export/onnx_rules.h"

typedef dram_status (*rule)(dram_onnx *o, const dram_node *node);

static const rule rules[DRAM_OP_COUNT] = {
#define X(NAME) [DRAM_OP_##NAME] = dram_onnx_rule_##NAME,
    DRAM_ONNX_RULES(X)
#undef X
};

/* ---- outputs ---- */

typedef struct {
    int n;
    dram_val v[DRAM_TAPS];
    char name[DRAM_TAPS][32];
} outputs;

static void add_output(outputs *out, dram_val v, const char *name)
{
    out->v[out->n] = v;
    snprintf(out->name[out->n++], sizeof out->name[0], "%s", name);
}

static void add_features(const dram_export *e, outputs *out)
{
    for (int i = 0; i < DRAM_TAPS && e->io->tap[i] != DRAM_NONE; i++) {
        char name[32];
        int64_t h = dram_shape_of(e->io->graph, e->io->tap[i])->dim[1];
        snprintf(name, sizeof name, "features_%d", (int)((e->size + h - 1) / h));
        add_output(out, e->io->tap[i], name);
    }
}

static dram_status find_outputs(const dram_export *e, dram_onnx_what what, outputs *out)
{
    *out = (outputs){0};
    switch (what) {
    case DRAM_ONNX_FEATURES:
        add_features(e, out);
        return DRAM_OK;
    case DRAM_ONNX_EMBEDDING:
        if (!e->neck)
            return dram_fail(DRAM_ERR_CONFIG,
                             "%s: there are no weights of a neck beside it (heads.safetensors), so there is no "
                             "embedding to export; --output features exports the trunk alone",
                             e->weights);
        add_output(out, e->io->student_embedding, "image_embeddings");
        return DRAM_OK;
    case DRAM_ONNX_LOGITS:
        break;
    }
    if (!e->head)
        return dram_fail(DRAM_ERR_CONFIG,
                         "%s: there are no weights of a task head beside it (heads.safetensors), so there are no "
                         "logits to export; it was trained without a task",
                         e->weights);
    add_output(out, e->io->logits, "logits");
    return DRAM_OK;
}

/* ---- what is exported ---- */

/* Weights, and what is made of them alone. */
static void mark_constants(dram_onnx *o)
{
    for (dram_val v = 0; v < o->g->n_values; v++)
        o->value[v].constant = o->g->values[v]->kind == DRAM_VALUE_SLOT && o->g->values[v]->producer == DRAM_NONE;
    for (int i = 0; i < o->g->n_nodes; i++) {
        const dram_node *node = o->g->nodes[i];
        bool constant = node->n_in > 0;
        for (int k = 0; k < node->n_in; k++) constant &= node->in[k] == DRAM_NONE || o->value[node->in[k]].constant;
        for (int k = 0; k < node->n_out; k++) o->value[node->out[k]].constant = constant;
    }
}

/* Whether the output of the node is the input of the exported graph. */
static bool is_input(const dram_onnx *o, const dram_node *node)
{
    return node->op == DRAM_OP_image_norm && !o->options->preprocess;
}

static bool is_needed(const dram_onnx *o, const dram_node *node)
{
    for (int k = 0; k < node->n_out; k++)
        if (o->value[node->out[k]].readers) return !o->value[node->out[k]].constant;
    return false;
}

/* From the outputs back: who reads each value, and which are best kept as tokens. */
static void find_readers(dram_onnx *o, const outputs *out)
{
    for (int i = 0; i < out->n; i++) {
        o->value[out->v[i]].output = out->name[i];
        o->value[out->v[i]].readers++;
    }
    for (int32_t i = o->g->n_nodes - 1; i >= 0; i--) {
        const dram_node *node = o->g->nodes[i];
        if (!is_needed(o, node) || is_input(o, node)) continue;
        bool tokens = node->op == DRAM_OP_attention;
        if (node->op != DRAM_OP_conv2d && node->op != DRAM_OP_resize) tokens |= o->value[node->out[0]].tokens;
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] == DRAM_NONE) continue;
            dram_onnx_value *value = &o->value[node->in[k]];
            if (!value->readers++) value->reader = i; /* the first found is the last */
            value->tokens |= tokens;
        }
    }
}

/* ---- ports ---- */

static const char *cast(dram_onnx *o, const char *x, dram_onnx_type type, const char *out)
{
    return dram_onnx_node(o->m, "Cast", out, DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("to", type)), DRAM_ONNX_IN(x));
}

static void add_input(dram_onnx *o, const dram_node *norm)
{
    const char *name = dram_onnx_text(o->m, "%s", o->options->input ? o->options->input : "image");
    const int64_t size = o->e->size;
    if (o->options->preprocess) {
        dram_onnx_input(
            o->m,
            &(dram_onnx_port){
                .name = name, .type = DRAM_ONNX_U8, .rank = 3, .dim = {0, 0, 3}, .any = {"height", "width", NULL}});
        dram_onnx_set(o, norm->in[0], DRAM_ONNX_NHWC, name);
        return;
    }
    dram_onnx_input(o->m, &(dram_onnx_port){.name = name,
                                            .type = DRAM_ONNX_F32,
                                            .rank = 4,
                                            .dim = {1, 3, size, size},
                                            .any = {o->options->dynamic_batch ? "batch" : NULL}});
    if (o->type == DRAM_ONNX_F16) name = cast(o, name, DRAM_ONNX_F16, "image.half");
    dram_onnx_set(o, norm->out[0], DRAM_ONNX_NCHW, name);
}

static void give_output(dram_onnx *o, dram_val v, const char *name)
{
    const dram_shape *s = dram_shape_of(o->g, v);
    const char *x = dram_onnx_get(o, v, DRAM_ONNX_NCHW);
    if (o->type == DRAM_ONNX_F16) cast(o, x, DRAM_ONNX_F32, name);
    dram_onnx_output(o->m, &(dram_onnx_port){.name = name,
                                             .type = DRAM_ONNX_F32,
                                             .rank = 4,
                                             .dim = {1, s->dim[3], s->dim[1], s->dim[2]},
                                             .any = {o->options->dynamic_batch ? "batch" : NULL}});
}

/* ---- the walk ---- */

static dram_status write_node(dram_onnx *o, const dram_node *node)
{
    if (node->op == DRAM_OP_image_norm) add_input(o, node);
    if (is_input(o, node)) return dram_onnx_model_status(o->m);
    if (rules[node->op]) return rules[node->op](o, node);
    return dram_fail(DRAM_ERR_CONFIG, "%s: the op %s has no ONNX form, so this student cannot be exported", node->name,
                     dram_op_rows[node->op].name);
}

static dram_status check_input_name(const dram_onnx *o, const outputs *out)
{
    const char *name = o->options->input;
    bool taken = name && dram_onnx_has(o->m, name);
    for (int i = 0; name && i < out->n; i++) taken |= strcmp(name, out->name[i]) == 0;
    if (taken) return dram_fail(DRAM_ERR_CONFIG, "--input-name %s: another value of the graph has this name", name);
    return DRAM_OK;
}

static void add_metadata(const dram_onnx *o)
{
    const dram_export *e = o->e;
    char text[160];
    dram_onnx_metadata(o->m, "arch", e->arch->name);
    snprintf(text, sizeof text, "%d", e->size);
    dram_onnx_metadata(o->m, "size", text);
    snprintf(text, sizeof text, "%g,%g,%g", (double)e->mean[0], (double)e->mean[1], (double)e->mean[2]);
    dram_onnx_metadata(o->m, "mean", text); /* of 0..255, RGB */
    snprintf(text, sizeof text, "%g,%g,%g", (double)e->std[0], (double)e->std[1], (double)e->std[2]);
    dram_onnx_metadata(o->m, "std", text);
    dram_onnx_metadata(o->m, "weights_xxh3", e->weights_hash);
    if (e->heads_hash[0] && o->options->what != DRAM_ONNX_FEATURES)
        dram_onnx_metadata(o->m, "heads_xxh3", e->heads_hash);
    dram_onnx_metadata(o->m, "dram_version", DRAM_VERSION);
}

static dram_status walk(dram_onnx *o, const outputs *out)
{
    mark_constants(o);
    find_readers(o, out);
    for (int i = 0; i < o->g->n_nodes; i++)
        if (is_needed(o, o->g->nodes[i])) TRY(write_node(o, o->g->nodes[i]));
    for (int i = 0; i < out->n; i++) give_output(o, out->v[i], out->name[i]);
    TRY(dram_onnx_model_status(o->m));
    add_metadata(o);
    return check_input_name(o, out);
}

dram_status dram_onnx_check(const dram_onnx_options *options)
{
    if (options->preprocess && options->dynamic_batch)
        return dram_fail(DRAM_ERR_CONFIG, "--with-preprocess takes one image [H,W,3], which has no batch: leave it or "
                                          "--dynamic-batch out");
    if (options->input && !options->input[0]) return dram_fail(DRAM_ERR_CONFIG, "--input-name is empty");
    return DRAM_OK;
}

dram_status dram_onnx_write(const dram_export *e, const dram_onnx_options *options, const char *path)
{
    outputs out;
    dram_onnx o = {
        .e = e, .options = options, .g = e->io->graph, .type = options->half ? DRAM_ONNX_F16 : DRAM_ONNX_F32};
    dram_status status;
    TRY(dram_onnx_check(options));
    TRY(find_outputs(e, options->what, &out));
    TRY_GOTO(dram_onnx_model_new(e->arch->name, &o.m), done);
    o.value = dram_calloc((size_t)o.g->n_values + 1, sizeof *o.value);
    if (!o.value) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to export %s", e->weights);
        goto done;
    }
    TRY_GOTO(walk(&o, &out), done);
    status = dram_onnx_model_write(o.m, path);
done:
    dram_onnx_model_free(o.m);
    dram_free(o.value);
    return status;
}
