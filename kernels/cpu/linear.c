/* linear and its gradients. Limits: 2 rows I O FLOPs; bytes 4 (rows (I + O) + I O), half of that in bf16 and f16. A
 * GELU at the end is done tile by tile, each as soon as its product is there. */
#include "kernels/cpu/activation.h"
#include "kernels/cpu/gemm_low.h"
#include "kernels/cpu/lowp.h"
#include "kernels/cpu/panel.h"

static int64_t last(const dram_tensor *t)
{
    return dram_last(&t->shape, 0);
}

static int64_t rows(const dram_tensor *t)
{
    return dram_elements(&t->shape) / last(t);
}

/* Narrow products, many rows by a small weight: the weight is packed by each task, the rows are read where they lie.
 * Those of bf16 and f16 pass through fp32 a chunk at a time. */
typedef struct {
    const dram_gemm *g;
    char *scratch; /* of worker 0, worker 1, ... */
    int64_t scratch_bytes;
    int64_t chunk, rows_per_task;
} narrow_job;

enum { ROWS = 64 }; /* of A at a time: they stay in the first-level cache while the panels of B pass */

static void pack_weight(const dram_gemm *g, float *b)
{
    dram_panel_source from = {.w = g->b,
                              .segments = 1,
                              .columns = 1,
                              .channels = g->k,
                              .n = g->n,
                              .chan_step = g->trans_b ? 1 : g->ldb,
                              .n_step = g->trans_b ? g->ldb : 1};
    DRAM_CPU(panel_pack)(&from, b);
}

/* Rows r .. r + rows of the product; room: for as many rows of A and of C, where they are not f32. */
static void narrow_rows(const dram_gemm *g, const float *b, int64_t r, int64_t rows, float *room)
{
    int64_t c_at = r * g->ldc;
    float *a_room = room, *c_room = room + rows * g->k;
    dram_panel p = {.m = rows,
                    .n = g->n,
                    .segments = 1,
                    .run = g->k,
                    .a = dram_lowp_load(g->a, g->a_type, r * g->lda, rows * g->k, a_room),
                    .a_step = g->lda,
                    .b = b,
                    .c = dram_lowp_out(g->c, g->c_type, c_at, c_room),
                    .ldc = g->ldc,
                    .bias = g->bias,
                    .acc = dram_lowp_load(g->acc, g->c_type, c_at, rows * g->n, c_room)};
    DRAM_CPU(panel)(&p);
    dram_lowp_store(g->c, g->c_type, c_at, p.c, rows * g->n);
    if (g->act == DRAM_ACT_GELU) DRAM_CPU(gelu_rows)(g->c, g->c_type, c_at, rows, g->n, g->ldc);
}

static void narrow_task(void *context, int64_t task, int worker)
{
    const narrow_job *j = context;
    const dram_gemm *g = j->g;
    float *b = (float *)(void *)(j->scratch + worker * j->scratch_bytes), *room = b + dram_panel_floats(g->n, g->k);
    int64_t end = dram_min((task + 1) * j->rows_per_task, g->m);
    if (g->b_type == DRAM_F32) {
        pack_weight(g, b);
    } else { /* from where the rows of A will be */
        dram_gemm wide = *g;
        wide.b = dram_lowp_load(g->b, g->b_type, 0, g->n * g->k, room);
        pack_weight(&wide, b);
    }
    for (int64_t r = task * j->rows_per_task; r < end; r += j->chunk)
        narrow_rows(g, b, r, dram_min(j->chunk, end - r), room);
}

/* Rows of a chunk, 0 where the product is not narrow or has no room for that. In f32 the rule gives a workspace to
 * narrow products alone. */
static int64_t narrow_chunk(const dram_gemm *g, int64_t scratch_bytes)
{
    enum { FEW = 8 };
    if (g->a_type == DRAM_F32) return scratch_bytes > 0 ? ROWS : 0;
    int64_t room = scratch_bytes / (int64_t)sizeof(float) - dram_panel_floats(g->n, g->k);
    if (dram_gemm_is_dot(g) || !dram_linear_is_narrow(g->m, g->n, g->k) || room < g->k * g->n) return 0;
    int64_t chunk = dram_min(ROWS, room / (g->k + g->n));
    return chunk >= FEW ? chunk : 0;
}

/* A bias of 16 bits is widened into the front of the workspace, which the rule made larger by that. */
static const float *widened(const dram_tensor *bias, void **workspace, int64_t *bytes)
{
    int64_t taken = (dram_elements(&bias->shape) * (int64_t)sizeof(float) + 63) / 64 * 64;
    if (!bias->data || bias->dtype == DRAM_F32) return bias->data;
    float *room = *workspace;
    *workspace = (char *)*workspace + taken;
    *bytes -= taken;
    return dram_lowp_load(bias->data, bias->dtype, 0, dram_elements(&bias->shape), room);
}

/* bias: NULL for none. */
static void multiply(const dram_kernel_args *args, const dram_tensor *bias, dram_gemm *g)
{
    enum { TASKS_PER_WORKER = 4, MIN_ROWS = 1024 };
    int64_t workers = dram_pool_workers(args->pool), bytes = args->workspace_bytes;
    void *workspace = args->workspace;
    if (bias) g->bias = widened(bias, &workspace, &bytes);
    narrow_job j = {.g = g, .scratch = workspace, .scratch_bytes = bytes / workers / 64 * 64};
    g->alpha = 1.0f;
    g->a_type = g->b_type = g->c_type = args->in[0].dtype;
    j.chunk = narrow_chunk(g, j.scratch_bytes);
    if (j.chunk == 0) {
        DRAM_CPU(gemm)(args->pool, g, workspace, bytes);
        return;
    }
    j.rows_per_task = dram_ceil_div(g->m, TASKS_PER_WORKER * workers);
    if (j.rows_per_task < MIN_ROWS) j.rows_per_task = MIN_ROWS;
    dram_pool_run(args->pool, dram_ceil_div(g->m, j.rows_per_task), narrow_task, &j);
}

DRAM_CPU_KERNEL(linear)
{
    const dram_tensor *x = &args->in[0], *w = &args->in[1];
    int64_t i = last(x), o = w->shape.dim[0];
    dram_gemm g = {.trans_b = true,
                   .m = rows(x),
                   .n = o,
                   .k = i,
                   .a = x->data,
                   .lda = i,
                   .b = w->data,
                   .ldb = i,
                   .c = args->out[0].data,
                   .ldc = o,
                   .act = (dram_act)args->attr->act};
    multiply(args, args->n_in > 2 ? &args->in[2] : NULL, &g);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(linear_dgrad)
{
    const dram_tensor *dy = &args->in[0], *w = &args->in[1];
    int64_t o = last(dy), i = last(w);
    dram_gemm g = {.m = rows(dy),
                   .n = i,
                   .k = o,
                   .a = dy->data,
                   .lda = o,
                   .b = w->data,
                   .ldb = i,
                   .c = args->out[0].data,
                   .ldc = i,
                   .acc = args->n_in > 2 ? args->in[2].data : NULL};
    multiply(args, NULL, &g);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(linear_wgrad)
{
    const dram_tensor *x = &args->in[0], *dy = &args->in[1];
    int64_t i = last(x), o = last(dy);
    dram_gemm g = {.trans_a = true,
                   .m = o,
                   .n = i,
                   .k = rows(x),
                   .alpha = 1.0f,
                   .a = dy->data,
                   .lda = o,
                   .b = x->data,
                   .ldb = i,
                   .c = args->out[0].data,
                   .ldc = i,
                   .a_type = dy->dtype,
                   .b_type = x->dtype};
    DRAM_CPU(gemm)(args->pool, &g, args->workspace, args->workspace_bytes);
    return DRAM_OK;
}

/* ---- bias_grad: reads each element once, one addition each ---- */

typedef struct {
    const void *dy;
    dram_dtype dtype;
    double *partial; /* [tasks, C] */
    int64_t rows, c, rows_per_task;
} column_sums;

static void sum_columns(void *context, int64_t task, int worker)
{
    enum { BLOCK = 512, SHORT = 32 }; /* fp32 over SHORT rows of BLOCK channels, fp64 over those sums */
    const column_sums *s = context;
    double *total = s->partial + task * s->c;
    int64_t begin = task * s->rows_per_task, end = dram_min(begin + s->rows_per_task, s->rows);
    float sum[BLOCK], room[BLOCK];
    (void)worker;
    for (int64_t i = 0; i < s->c; i++) total[i] = 0.0;
    for (int64_t r0 = begin; r0 < end; r0 += SHORT) {
        int64_t r1 = dram_min(r0 + SHORT, end);
        for (int64_t c0 = 0; c0 < s->c; c0 += BLOCK) {
            int64_t n = dram_min(BLOCK, s->c - c0);
            dram_lowp_widen(s->dy, s->dtype, r0 * s->c + c0, n, sum);
            for (int64_t r = r0 + 1; r < r1; r++) {
                const float *row = dram_lowp_load(s->dy, s->dtype, r * s->c + c0, n, room);
                for (int64_t i = 0; i < n; i++) sum[i] += row[i];
            }
            for (int64_t i = 0; i < n; i++) total[c0 + i] += sum[i];
        }
    }
}

DRAM_CPU_KERNEL(bias_grad)
{
    const dram_tensor *dy = &args->in[0];
    const float *acc = args->n_in > 1 ? args->in[1].data : NULL;
    float *out = args->out[0].data;
    column_sums s = {.dy = dy->data, .dtype = dy->dtype, .partial = args->workspace, .rows = rows(dy), .c = last(dy)};
    int64_t tasks = args->workspace_bytes / (s.c * (int64_t)sizeof(double));
    s.rows_per_task = dram_ceil_div(s.rows, tasks);
    tasks = dram_ceil_div(s.rows, s.rows_per_task);
    dram_pool_run(args->pool, tasks, sum_columns, &s);
    for (int64_t i = 0; i < s.c; i++) {
        double sum = 0.0;
        for (int64_t t = 0; t < tasks; t++) sum += s.partial[t * s.c + i];
        out[i] = (float)(acc ? sum + acc[i] : sum);
    }
    return DRAM_OK;
}
