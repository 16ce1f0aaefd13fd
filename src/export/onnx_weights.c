/* The weights of an ONNX file, made one at a time when it is written. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "export/onnx_values.h"
#include "session/slot_floats.h"

/* What a tensor is made of. */
typedef struct {
    const dram_export *e;
    const dram_graph *g;
    dram_onnx_weights w;
} source;

static int64_t elements_of(const source *s, dram_val v)
{
    return dram_elements(dram_shape_of(s->g, v));
}

/* ---- reading ---- */

/* Sessions are read through what is not const; nothing of them changes. */
static dram_session *session_of(const source *s)
{
    return (dram_session *)(uintptr_t)&s->e->session;
}

static dram_status read_constant(const source *s, dram_val v, float **out);

/* A resampled table of positions, say: what dram's own kernel makes of the weights. */
static dram_status run_node(const source *s, const dram_node *node, dram_val v, float *out)
{
    const dram_device *device = s->e->session.device;
    int64_t scratch = dram_node_workspace(s->g, node, &s->e->session.plan->profile);
    dram_kernel_args args = {.n_in = node->n_in, .n_out = 1, .attr = &node->attr, .pool = device->pool};
    dram_status status = DRAM_OK;
    args.workspace_bytes = scratch;
    args.workspace = dram_alloc((size_t)scratch + 64);
    if (!args.workspace) status = dram_fail(DRAM_ERR_MEMORY, "no memory to export %s", node->name);
    args.out[0] = (dram_tensor){.data = out, .dtype = DRAM_F32, .shape = *dram_shape_of(s->g, v)};
    for (int k = 0; k < node->n_in && status == DRAM_OK; k++) {
        float *in = NULL;
        if (node->in[k] == DRAM_NONE) continue;
        status = read_constant(s, node->in[k], &in);
        args.in[k] = (dram_tensor){.data = in, .dtype = DRAM_F32, .shape = *dram_shape_of(s->g, node->in[k])};
    }
    if (status == DRAM_OK) status = device->kernels[node->op](&args);
    for (int k = 0; k < node->n_in; k++) dram_free(args.in[k].data);
    dram_free(args.workspace);
    return status;
}

static dram_status read_into(const source *s, dram_val v, float *out)
{
    const dram_value *value = s->g->values[v];
    if (value->producer != DRAM_NONE) return run_node(s, s->g->nodes[value->producer], v, out);
    return dram_slot_read_floats(session_of(s), value->slot, 0, elements_of(s, v), out);
}

/* *out is the caller's, also after a failure. */
static dram_status read_constant(const source *s, dram_val v, float **out)
{
    *out = dram_alloc((size_t)elements_of(s, v) * sizeof **out);
    if (!*out) return dram_fail(DRAM_ERR_MEMORY, "no memory to export %s", s->g->values[v]->name);
    return read_into(s, v, *out);
}

/* ---- batch norm ---- */

/* The factor of a channel, and what is added behind it. */
typedef struct {
    double *factor, *shift;
} folded;

static void free_folded(folded *f)
{
    dram_free(f->factor);
    dram_free(f->shift);
}

/* *f is the caller's in any case: free_folded. */
static dram_status fold(const source *s, folded *f)
{
    enum { MEAN = 1, VAR, GAMMA, BETA, INPUTS };
    const dram_node *bn = s->w.bn;
    int64_t n = elements_of(s, bn->in[GAMMA]);
    float *in[INPUTS] = {0};
    dram_status status = DRAM_OK;
    f->factor = dram_alloc((size_t)n * sizeof *f->factor);
    f->shift = dram_alloc((size_t)n * sizeof *f->shift);
    if (!f->factor || !f->shift) status = dram_fail(DRAM_ERR_MEMORY, "no memory to fold %s", bn->name);
    for (int k = MEAN; k < INPUTS && status == DRAM_OK; k++) status = read_constant(s, bn->in[k], &in[k]);
    for (int64_t c = 0; status == DRAM_OK && c < n; c++) {
        f->factor[c] = in[GAMMA][c] / sqrt((double)in[VAR][c] + (double)bn->attr.eps);
        f->shift[c] = in[BETA][c] - in[MEAN][c] * f->factor[c];
    }
    for (int k = MEAN; k < INPUTS; k++) dram_free(in[k]);
    return status;
}

/* ---- tensors ---- */

/* [rows, places, columns] with the last two exchanged; a vector has no places and one row. */
typedef struct {
    int64_t rows, places, columns;
} grid;

static grid grid_of(const dram_shape *shape, dram_onnx_order order)
{
    int64_t n = dram_elements(shape), first = shape->dim[0], last = dram_last(shape, 0);
    if (shape->rank == 1) return (grid){1, 1, n};
    if (order == DRAM_ONNX_TRANSPOSED) return (grid){1, first, n / first};
    if (order == DRAM_ONNX_AS_IT_IS) return (grid){1, 1, n};
    return (grid){first, n / first / last, last};
}

/* A matrix that is reordered, a band of places a task. */
typedef struct {
    grid g;
    const float *from;
    float *to;
} bands;

enum { PLACES = 64, COLUMNS = 16 };

/* By tiles whose columns fill a line of the cache: the rows of a large ViT lie as far apart as the cache's sets repeat. */
static void reorder_band(void *context, int64_t task, int worker)
{
    (void)worker;
    const bands *b = context;
    const grid g = b->g;
    int64_t in_row = (g.places + PLACES - 1) / PLACES, p = task % in_row * PLACES;
    int64_t row = task / in_row * g.places * g.columns, places = g.places - p < PLACES ? g.places - p : PLACES;
    const float *from = b->from + row;
    float tile[COLUMNS][PLACES], *to = b->to + row;
    for (int64_t c = 0; c < g.columns; c += COLUMNS) {
        int64_t columns = g.columns - c < COLUMNS ? g.columns - c : COLUMNS;
        for (int64_t i = 0; i < places; i++)
            for (int64_t k = 0; k < columns; k++) tile[k][i] = from[(p + i) * g.columns + c + k];
        for (int64_t k = 0; k < columns; k++)
            memcpy(to + (c + k) * g.places + p, tile[k], (size_t)places * sizeof **tile);
    }
}

static void reorder(dram_pool *pool, grid g, const float *from, float *to)
{
    bands b = {.g = g, .from = from, .to = to};
    dram_pool_run(pool, g.rows * ((g.places + PLACES - 1) / PLACES), reorder_band, &b);
}

static dram_status fill_weight(void *context, void *out, void *scratch)
{
    const source *s = context;
    const dram_shape *shape = dram_shape_of(s->g, s->w.weight);
    const grid g = grid_of(shape, s->w.order);
    int64_t n = dram_elements(shape), row = n / shape->dim[0];
    bool moves = g.places > 1 && g.columns > 1;
    float *weight = moves ? scratch : out;
    folded f = {0};
    dram_status status = read_into(s, s->w.weight, weight);
    if (status == DRAM_OK && s->w.bn) status = fold(s, &f);
    for (int64_t i = 0; status == DRAM_OK && s->w.bn && i < n; i++) weight[i] = (float)(weight[i] * f.factor[i / row]);
    if (status == DRAM_OK && moves) reorder(s->e->session.device->pool, g, weight, out);
    free_folded(&f);
    return status;
}

static dram_status fill_bias(void *context, void *out, void *scratch)
{
    const source *s = context;
    float *bias = s->w.bias == DRAM_NONE ? NULL : scratch, *to = out;
    folded f = {0};
    int64_t n = elements_of(s, s->w.bn ? s->w.bn->in[3] : s->w.bias);
    dram_status status = bias ? read_into(s, s->w.bias, bias) : DRAM_OK;
    if (status == DRAM_OK && s->w.bn) status = fold(s, &f);
    for (int64_t c = 0; status == DRAM_OK && c < n; c++) {
        double b = bias ? bias[c] : 0;
        to[c] = (float)(s->w.bn ? b * f.factor[c] + f.shift[c] : b);
    }
    free_folded(&f);
    return status;
}

static const char *add(dram_onnx *o, const dram_onnx_weights *w, const char *name, const dram_shape *shape,
                       dram_onnx_fill fill)
{
    const source s = {.e = o->e, .g = o->g, .w = *w};
    return dram_onnx_tensor(o->m, name, w->type, shape->rank, shape->dim, fill, &s, sizeof s);
}

/* A vector by channel: [C], or [C,1,1] before the places of an image. */
static dram_shape vector(int64_t channels, dram_onnx_order order)
{
    return order == DRAM_ONNX_FIRST ? DRAM_SHAPE(channels, 1, 1) : DRAM_SHAPE(channels);
}

/* The shape of a weight in that order. */
static dram_shape ordered(const dram_shape *s, dram_onnx_order order)
{
    int64_t n = dram_elements(s), first = s->dim[0], last = dram_last(s, 0);
    if (s->rank == 1) return vector(n, order);
    if (order == DRAM_ONNX_AS_IT_IS) return *s;
    if (order == DRAM_ONNX_TRANSPOSED) return DRAM_SHAPE(n / first, first);
    return s->rank == 4 ? DRAM_SHAPE(first, last, s->dim[1], s->dim[2]) : DRAM_SHAPE(first, last, 1, 1);
}

const char *dram_onnx_weight(dram_onnx *o, const dram_onnx_weights *w)
{
    dram_shape shape = ordered(dram_shape_of(o->g, w->weight), w->order);
    return add(o, w, o->g->values[w->weight]->name, &shape, fill_weight);
}

const char *dram_onnx_bias(dram_onnx *o, const dram_onnx_weights *w)
{
    dram_val of = w->bn ? w->bn->in[3] : w->bias;
    dram_shape shape = vector(dram_elements(dram_shape_of(o->g, of)), w->order);
    const char *name = w->bn ? dram_onnx_text(o->m, "%s.bias", w->bn->name) : o->g->values[of]->name;
    return add(o, w, name, &shape, fill_bias);
}
