/* SAM's attention (src/ops/attention.c has its formula), of ops that every runtime has. */
#include <math.h>

#include "export/onnx_rules.h"

typedef struct {
    dram_onnx *o;
    dram_onnx_model *m;
    const char *name; /* of the attention: what its values' names begin with */
    int64_t h, w, dim;
    int64_t heads, d;
    int64_t sh, sw;        /* a window, or the image */
    int64_t rows, columns; /* windows */
} attention;

static attention attention_of(dram_onnx *o, const dram_node *node)
{
    const dram_shape *out = dram_shape_of(o->g, node->out[0]);
    attention a = {.o = o, .m = o->m, .name = node->name, .heads = node->attr.heads};
    a.h = out->dim[1];
    a.w = out->dim[2];
    a.dim = out->dim[3];
    a.d = a.dim / a.heads;
    a.sh = node->attr.window ? node->attr.window : a.h;
    a.sw = node->attr.window ? node->attr.window : a.w;
    a.rows = dram_ceil_div(a.h, a.sh);
    a.columns = dram_ceil_div(a.w, a.sw);
    return a;
}

/* Nodes, named after the attention. */
static const char *two(const attention *a, const char *op, const char *part, const char *x, const char *y)
{
    return dram_onnx_node(a->m, op, dram_onnx_text(a->m, "%s.%s", a->name, part), NULL, 0, DRAM_ONNX_IN(x, y));
}

static const char *transpose(const attention *a, const char *part, const char *x, dram_onnx_attr perm)
{
    return dram_onnx_node(a->m, "Transpose", dram_onnx_text(a->m, "%s.%s", a->name, part), &perm, 1, DRAM_ONNX_IN(x));
}

static bool is_padded(const attention *a)
{
    return a->rows * a->sh != a->h || a->columns * a->sw != a->w;
}

/* q, k and v of every token, [N,rows sh,columns sw,3D]: those of padding are the bias. */
static const char *make_qkv(const attention *a, const dram_node *node)
{
    const dram_onnx_weights bias = {
        .weight = DRAM_NONE, .bias = node->in[3], .order = DRAM_ONNX_AS_IT_IS, .type = a->o->type};
    const char *x = dram_onnx_qkv_product(a->o, node, dram_onnx_text(a->m, "%s.product", a->name));
    if (is_padded(a))
        x = two(a, "Pad", "padded", x,
                DRAM_ONNX_SHAPE(a->m, 0, 0, 0, 0, 0, a->rows * a->sh - a->h, a->columns * a->sw - a->w, 0));
    return two(a, "Add", "qkv", x, dram_onnx_bias(a->o, &bias));
}

/* -> [3,B,heads,L,d], B the windows of all images. */
static const char *split_heads(const attention *a, const char *x)
{
    dram_onnx_model *m = a->m;
    if (a->rows * a->columns > 1) {
        x = two(a, "Reshape", "grid", x, DRAM_ONNX_SHAPE(m, -1, a->rows, a->sh, a->columns, a->sw, 3 * a->dim));
        x = transpose(a, "windows", x, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 1, 3, 2, 4, 5));
    }
    x = two(a, "Reshape", "heads", x, DRAM_ONNX_SHAPE(m, -1, a->sh * a->sw, 3, a->heads, a->d));
    return transpose(a, "parts", x, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 2, 0, 3, 1, 4));
}

/* Part i of q, k, v: [B,heads,L,d]. */
static const char *part(const attention *a, const char *x, int64_t i, const char *name)
{
    const char *y =
        dram_onnx_node(a->m, "Gather", dram_onnx_text(a->m, "%s.%s.one", a->name, name),
                       DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("axis", 0)), DRAM_ONNX_IN(x, dram_onnx_ints(a->m, 1, &i)));
    return two(a, "Reshape", name, y, DRAM_ONNX_SHAPE(a->m, -1, a->heads, a->sh * a->sw, a->d));
}

/* ---- relative positions ---- */

static dram_status fill_distances(void *context, void *out, void *scratch)
{
    (void)scratch;
    const int64_t side = *(const int64_t *)context;
    int64_t *to = out;
    for (int64_t q = 0; q < side; q++)
        for (int64_t k = 0; k < side; k++) *to++ = q - k + side - 1;
    return DRAM_OK;
}

/* table [2S-1,d] -> [S,d,S]: of a query's place and a key's. */
static const char *positions(const attention *a, dram_val table, int64_t side, const char *name)
{
    const int64_t dim[2] = {side, side};
    const dram_onnx_weights w = {.weight = table, .bias = DRAM_NONE, .order = DRAM_ONNX_AS_IT_IS, .type = a->o->type};
    const char *distances = dram_onnx_tensor(a->m, dram_onnx_text(a->m, "distances_%lld", (long long)side),
                                             DRAM_ONNX_I64, 2, dim, fill_distances, &side, sizeof side);
    const char *x = dram_onnx_node(a->m, "Gather", dram_onnx_text(a->m, "%s.%s.table", a->name, name),
                                   DRAM_ONNX_ATTRS(DRAM_ONNX_WHOLE("axis", 0)),
                                   DRAM_ONNX_IN(dram_onnx_weight(a->o, &w), distances));
    return transpose(a, dram_onnx_text(a->m, "%s.by_place", name), x,
                     (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 2, 1));
}

/* q . rel_h as [B,heads,sh,sw,sh,1] and q . rel_w as [B,heads,sh,sw,1,sw], added to the logits. */
static const char *add_positions(const attention *a, const dram_node *node, const char *q, const char *logits)
{
    dram_onnx_model *m = a->m;
    q = two(a, "Reshape", "q.places", q, DRAM_ONNX_SHAPE(m, -1, a->heads, a->sh, a->sw, a->d));
    const char *h = two(a, "MatMul", "rel_h.product", q, positions(a, node->in[1], a->sh, "rel_h"));
    h = two(a, "Reshape", "rel_h", h, DRAM_ONNX_SHAPE(m, -1, a->heads, a->sh, a->sw, a->sh, 1));
    q = transpose(a, "q.columns", q, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 1, 3, 2, 4));
    const char *w = two(a, "MatMul", "rel_w.product", q, positions(a, node->in[2], a->sw, "rel_w"));
    w = transpose(a, "rel_w.rows", w, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 1, 3, 2, 4));
    w = two(a, "Reshape", "rel_w", w, DRAM_ONNX_SHAPE(m, -1, a->heads, a->sh, a->sw, 1, a->sw));
    logits = two(a, "Reshape", "logits.places", logits, DRAM_ONNX_SHAPE(m, -1, a->heads, a->sh, a->sw, a->sh, a->sw));
    logits = two(a, "Add", "logits.rows", logits, h);
    logits = two(a, "Add", "logits.columns", logits, w);
    return two(a, "Reshape", "logits", logits, DRAM_ONNX_SHAPE(m, -1, a->heads, a->sh * a->sw, a->sh * a->sw));
}

/* ---- the whole ---- */

/* [B,heads,L,d] -> [N,H,W,D] */
static const char *join(const attention *a, const char *x, const char *out)
{
    dram_onnx_model *m = a->m;
    x = transpose(a, "tokens", x, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 2, 1, 3));
    if (a->rows * a->columns > 1) {
        x = two(a, "Reshape", "joined", x, DRAM_ONNX_SHAPE(m, -1, a->rows, a->columns, a->sh, a->sw, a->dim));
        x = transpose(a, "rows", x, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 1, 3, 2, 4, 5));
    }
    const char *whole = is_padded(a) ? dram_onnx_text(m, "%s.whole", a->name) : out;
    x = dram_onnx_node(m, "Reshape", whole, NULL, 0,
                       DRAM_ONNX_IN(x, DRAM_ONNX_SHAPE(m, -1, a->rows * a->sh, a->columns * a->sw, a->dim)));
    if (!is_padded(a)) return x;
    return dram_onnx_node(
        m, "Slice", out, NULL, 0,
        DRAM_ONNX_IN(x, DRAM_ONNX_SHAPE(m, 0, 0), DRAM_ONNX_SHAPE(m, a->h, a->w), DRAM_ONNX_SHAPE(m, 1, 2)));
}

dram_status dram_onnx_rule_attention(dram_onnx *o, const dram_node *node)
{
    const attention a = attention_of(o, node);
    const dram_onnx_attr last = DRAM_ONNX_WHOLE("axis", -1);
    if (!dram_onnx_is_qkv(o, node))
        return dram_onnx_model_fail(
            o->m,
            dram_fail(DRAM_ERR_CONFIG,
                      "%s: an attention whose padding is not the bias of its q, k and v has no ONNX form", node->name));
    const char *qkv = split_heads(&a, make_qkv(&a, node));
    const char *q = part(&a, qkv, 0, "q"), *k = part(&a, qkv, 1, "k"), *v = part(&a, qkv, 2, "v");
    const char *scale = dram_onnx_scalar(o->m, o->type, (float)(1 / sqrt((double)a.d)));
    k = transpose(&a, "k.columns", k, (dram_onnx_attr)DRAM_ONNX_LIST_OF("perm", 0, 1, 3, 2));
    const char *x = two(&a, "MatMul", "products", two(&a, "Mul", "q.scaled", q, scale), k);
    x = add_positions(&a, node, q, x);
    x = dram_onnx_node(o->m, "Softmax", dram_onnx_text(o->m, "%s.weights", a.name), &last, 1, DRAM_ONNX_IN(x));
    x = two(&a, "MatMul", "values", x, v);
    dram_onnx_set(o, node->out[0], DRAM_ONNX_NHWC, join(&a, x, dram_onnx_name(o, node->out[0], DRAM_ONNX_NHWC)));
    return dram_onnx_model_status(o->m);
}
