/* layernorm and its gradient, over the last dimension: [R,C] whatever the shape before it.
 *
 * Both are bound by memory: 8 bytes an element of f32 forward, 12 to 16 backward; a row stays in L1 between its passes.
 * The about 8 and 17 FLOPs an element take less than a third of that time with AVX2. */
#include "scratch/layernorm.h"
#include "kernels/cpu/lowp.h"

typedef struct {
    const void *x, *dy, *acc;
    const float *gamma, *beta;
    void *out;
    dram_dtype dtype; /* of x, dy, acc and out */
    float *partial;   /* [tasks, 2, C] */
    float *scratch;   /* [workers, 1 or 3, row]: rows as floats; NULL with f32 */
    int64_t rows, c, rows_a_task;
    int64_t row; /* C; 0 with f32 */
    float eps;
} job;

/* Sums in 8 lanes or more, each over C / lanes elements. The variance is taken around the mean, in a second pass. */
static void moments(const float *x, int64_t c, float eps, float *mean, float *rstd)
{
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < c; i++) sum += x[i];
    float m = sum / (float)c;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < c; i++) squares += (x[i] - m) * (x[i] - m);
    *mean = m;
    *rstd = 1.0F / sqrtf(squares / (float)c + eps);
}

static void forward_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t to = dram_min(j->rows, (task + 1) * j->rows_a_task);
    float *row = j->scratch + worker * j->row;
    for (int64_t r = task * j->rows_a_task; r < to; r++) {
        const float *x = dram_lowp_load(j->x, j->dtype, r * j->c, j->c, row), *gamma = j->gamma, *beta = j->beta;
        float *out = dram_lowp_out(j->out, j->dtype, r * j->c, row), mean, rstd;
        moments(x, j->c, j->eps, &mean, &rstd);
#pragma omp simd
        for (int64_t i = 0; i < j->c; i++) out[i] = DRAM_FMA((x[i] - mean) * rstd, gamma[i], beta[i]);
        dram_lowp_store(j->out, j->dtype, r * j->c, out, j->c);
    }
}

DRAM_CPU_KERNEL(layernorm)
{
    job j = {.x = args->in[0].data, .gamma = args->in[1].data, .beta = args->in[2].data, .out = args->out[0].data};
    j.dtype = args->in[0].dtype;
    j.c = dram_last(&args->in[0].shape, 0);
    j.rows = dram_elements(&args->in[0].shape) / j.c;
    j.eps = args->attr->eps;
    if (j.dtype != DRAM_F32) {
        j.row = j.c;
        j.scratch = args->workspace;
    }
    j.rows_a_task = dram_ceil_div(DRAM_PIECE, j.c);
    dram_pool_run(args->pool, dram_ceil_div(j.rows, j.rows_a_task), forward_rows, &j);
    return DRAM_OK;
}

/* With z = (x - mean) rstd and e = dy gamma: dx = rstd (e - mean(e) - z mean(e z)), dgamma += dy z, dbeta += dy. */
static void backward_row(const job *j, int64_t r, float *rows, float *dgamma, float *dbeta)
{
    const float *x = dram_lowp_load(j->x, j->dtype, r * j->c, j->c, rows), *gamma = j->gamma;
    const float *dy = dram_lowp_load(j->dy, j->dtype, r * j->c, j->c, rows + j->row);
    const float *acc = dram_lowp_load(j->acc, j->dtype, r * j->c, j->c, rows + 2 * j->row);
    float *dx = dram_lowp_out(j->out, j->dtype, r * j->c, rows), mean, rstd, e_sum = 0, ez_sum = 0;
    moments(x, j->c, j->eps, &mean, &rstd);
#pragma omp simd reduction(+ : e_sum, ez_sum)
    for (int64_t i = 0; i < j->c; i++) {
        float z = (x[i] - mean) * rstd, e = dy[i] * gamma[i];
        e_sum += e;
        ez_sum += e * z;
        dgamma[i] += dy[i] * z;
        dbeta[i] += dy[i];
    }
    e_sum /= (float)j->c;
    ez_sum /= (float)j->c;
    if (acc) {
#pragma omp simd
        for (int64_t i = 0; i < j->c; i++)
            dx[i] = acc[i] + rstd * (dy[i] * gamma[i] - e_sum - (x[i] - mean) * rstd * ez_sum);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < j->c; i++) dx[i] = rstd * (dy[i] * gamma[i] - e_sum - (x[i] - mean) * rstd * ez_sum);
    }
    dram_lowp_store(j->out, j->dtype, r * j->c, dx, j->c);
}

static void backward_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    float *partial = j->partial + task * 2 * j->c, *rows = j->scratch + worker * DRAM_LAYERNORM_GRAD_ROWS * j->row;
    int64_t to = dram_min(j->rows, (task + 1) * j->rows_a_task);
    memset(partial, 0, (size_t)(2 * j->c) * sizeof *partial);
    for (int64_t r = task * j->rows_a_task; r < to; r++) backward_row(j, r, rows, partial, partial + j->c);
}

/* out [C] = sum over the tasks, in their order. */
static void add_partials(const float *partial, int64_t tasks, int64_t c, float *out)
{
    enum { STRIP = 64 };
    for (int64_t from = 0; from < c; from += STRIP) {
        int64_t n = dram_min(STRIP, c - from);
        double sum[STRIP] = {0};
        for (int64_t t = 0; t < tasks; t++)
            for (int64_t i = 0; i < n; i++) sum[i] += (double)partial[2 * t * c + from + i];
        for (int64_t i = 0; i < n; i++) out[from + i] = (float)sum[i];
    }
}

DRAM_CPU_KERNEL(layernorm_grad)
{
    job j = {.x = args->in[0].data, .gamma = args->in[1].data, .dy = args->in[2].data, .out = args->out[0].data};
    if (args->n_in > 3) j.acc = args->in[3].data;
    j.dtype = args->in[0].dtype;
    j.c = dram_last(&args->in[0].shape, 0);
    j.rows = dram_elements(&args->in[0].shape) / j.c;
    j.eps = args->attr->eps;
    j.partial = args->workspace;
    int64_t floats = args->workspace_bytes / (int64_t)sizeof(float);
    if (j.dtype != DRAM_F32) {
        j.row = j.c;
        floats -= dram_pool_workers(args->pool) * DRAM_LAYERNORM_GRAD_ROWS * j.c;
        j.scratch = j.partial + floats;
    }
    j.rows_a_task = dram_ceil_div(j.rows, floats * (int64_t)sizeof(float) / dram_layernorm_part_bytes(j.c));
    int64_t tasks = dram_ceil_div(j.rows, j.rows_a_task);
    dram_pool_run(args->pool, tasks, backward_rows, &j);
    add_partials(j.partial, tasks, j.c, args->out[1].data);
    add_partials(j.partial + j.c, tasks, j.c, args->out[2].data);
    return DRAM_OK;
}
