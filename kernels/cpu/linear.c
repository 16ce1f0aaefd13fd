/* linear and its gradients. Limits: 2 rows I O FLOPs; bytes 4 (rows (I + O) + I O). */
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/panel.h"

static int64_t last(const dram_tensor *t)
{
    return dram_last(&t->shape, 0);
}

static int64_t rows(const dram_tensor *t)
{
    return dram_elements(&t->shape) / last(t);
}

/* Narrow products, which are those that the rules give a workspace: the weight is packed by each task. */
typedef struct {
    const dram_gemm *g;
    float *packed; /* of worker 0, worker 1, ... */
    int64_t packed_floats, rows_per_task;
} narrow_job;

static void narrow_task(void *context, int64_t task, int worker)
{
    enum { ROWS = 64 }; /* of A at a time: they stay in the first-level cache while the panels of B pass */
    const narrow_job *j = context;
    const dram_gemm *g = j->g;
    float *b = j->packed + worker * j->packed_floats;
    int64_t end = dram_min((task + 1) * j->rows_per_task, g->m);
    dram_panel_source from = {.w = g->b,
                              .segments = 1,
                              .columns = 1,
                              .channels = g->k,
                              .n = g->n,
                              .chan_step = g->trans_b ? 1 : g->ldb,
                              .n_step = g->trans_b ? g->ldb : 1};
    DRAM_CPU(panel_pack)(&from, b);
    for (int64_t r = task * j->rows_per_task; r < end; r += ROWS) {
        dram_panel p = {.m = dram_min(ROWS, end - r),
                        .n = g->n,
                        .segments = 1,
                        .run = g->k,
                        .a = g->a + r * g->lda,
                        .a_step = g->lda,
                        .b = b,
                        .c = g->c + r * g->ldc,
                        .ldc = g->ldc,
                        .bias = g->bias,
                        .acc = g->acc ? g->acc + r * g->ldc : NULL};
        DRAM_CPU(panel)(&p);
    }
}

static void multiply(const dram_kernel_args *args, const dram_gemm *g)
{
    enum { TASKS_PER_WORKER = 4, MIN_ROWS = 1024 };
    int64_t workers = dram_pool_workers(args->pool);
    if (args->workspace_bytes == 0) {
        DRAM_CPU(gemm)(args->pool, g, NULL, 0);
        return;
    }
    narrow_job j = {.g = g,
                    .packed = args->workspace,
                    .packed_floats = args->workspace_bytes / workers / (int64_t)sizeof(float),
                    .rows_per_task = dram_ceil_div(g->m, TASKS_PER_WORKER * workers)};
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
                   .alpha = 1.0f,
                   .a = x->data,
                   .lda = i,
                   .b = w->data,
                   .ldb = i,
                   .c = args->out[0].data,
                   .ldc = o,
                   .bias = args->n_in > 2 ? args->in[2].data : NULL};
    multiply(args, &g);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(linear_dgrad)
{
    const dram_tensor *dy = &args->in[0], *w = &args->in[1];
    int64_t o = last(dy), i = last(w);
    dram_gemm g = {.m = rows(dy),
                   .n = i,
                   .k = o,
                   .alpha = 1.0f,
                   .a = dy->data,
                   .lda = o,
                   .b = w->data,
                   .ldb = i,
                   .c = args->out[0].data,
                   .ldc = i,
                   .acc = args->n_in > 2 ? args->in[2].data : NULL};
    multiply(args, &g);
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
                   .ldc = i};
    DRAM_CPU(gemm)(args->pool, &g, args->workspace, args->workspace_bytes);
    return DRAM_OK;
}

/* ---- bias_grad: reads each element once, one addition each ---- */

typedef struct {
    const float *dy;
    double *partial; /* [tasks, C] */
    int64_t rows, c, rows_per_task;
} column_sums;

static void sum_columns(void *context, int64_t task, int worker)
{
    enum { BLOCK = 512, SHORT = 32 }; /* fp32 over SHORT rows of BLOCK channels, fp64 over those sums */
    const column_sums *s = context;
    double *total = s->partial + task * s->c;
    int64_t begin = task * s->rows_per_task, end = dram_min(begin + s->rows_per_task, s->rows);
    float sum[BLOCK];
    (void)worker;
    for (int64_t i = 0; i < s->c; i++) total[i] = 0.0;
    for (int64_t r0 = begin; r0 < end; r0 += SHORT) {
        int64_t r1 = dram_min(r0 + SHORT, end);
        for (int64_t c0 = 0; c0 < s->c; c0 += BLOCK) {
            int64_t n = dram_min(BLOCK, s->c - c0);
            memcpy(sum, s->dy + r0 * s->c + c0, (size_t)n * sizeof *sum);
            for (int64_t r = r0 + 1; r < r1; r++) {
                const float *row = s->dy + r * s->c + c0;
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
    column_sums s = {.dy = dy->data, .partial = args->workspace, .rows = rows(dy), .c = last(dy)};
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
