/* bn_stats, bn_running, bn_apply, bn_reduce, bn_dgrad over x [R,C], R = all dimensions but the channels.
 *
 * All are bound by memory, x passes once: bytes an element of f32 4 (stats), 8 to 12 (apply), 8 (reduce), 12 (dgrad),
 * at 3 to 7 FLOPs. The activation's mask is the sign of `normal` in the forward and, recomputed from the same numbers
 * by the same function, in the backward.
 */
#include "scratch/batchnorm.h"
#include "kernels/cpu/lowp.h"

enum { ROWS_AT_ONCE = 4 };

typedef struct {
    const void *x, *dy, *residual;
    void *out;
    dram_dtype dtype; /* of these four */
    const float *mean, *var, *gamma, *beta;
    const float *factor;  /* [C]: gamma / sqrt(var + eps) */
    const float *k0, *k1; /* [C]: what the gradient through the statistics takes away, see bn_dgrad */
    double *part;         /* [parts,2,C] */
    int64_t rows, channels, rows_per_task;
    bool relu;
} job;

/* Rows r .. r + rows, channels c .. c + columns, in the order in which a task passes them. */
typedef struct {
    int64_t r, c, rows, columns;
    int64_t at;    /* element */
    int64_t group; /* rows at least, but for the last */
} block;

/* The block after b of the task's rows; the first when b holds nothing but its group. False after the last. */
static inline bool next_block(const job *j, int64_t task, block *b)
{
    const int64_t from = task * j->rows_per_task, end = dram_min(j->rows, from + j->rows_per_task);
    const dram_lowp_block most = dram_lowp_blocks(j->dtype, end - from, j->channels, b->group);
    b->c += b->columns;
    if (b->rows == 0 || b->c == j->channels) {
        b->r = b->rows == 0 ? from : b->r + b->rows;
        b->c = 0;
    }
    b->rows = dram_min(most.rows, end - b->r);
    b->columns = dram_min(most.columns, j->channels - b->c);
    b->at = b->r * j->channels + b->c;
    return b->rows > 0;
}

static inline const float *load(const job *j, const void *base, const block *b, float *buffer)
{
    return dram_lowp_load_rows(base, j->dtype, b->at, b->rows, b->columns, j->channels, buffer);
}

static inline void store(const job *j, const block *b, const float *from)
{
    dram_lowp_store_rows(j->out, j->dtype, b->at, from, b->rows, b->columns, j->channels);
}

static inline float normal(float x, float mean, float factor, float beta)
{
    return DRAM_FMA(x - mean, factor, beta);
}

/* dy where the activation let y through. */
static inline float masked(float dy, float y)
{
    return y > 0.0f ? dy : 0.0f;
}

static inline float reciprocal_deviation(float var, float eps)
{
    return 1.0f / sqrtf(var + eps);
}

static job job_of(const dram_kernel_args *args)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.x = args->in[0].data, .dtype = args->in[0].dtype, .channels = dram_last(x, 0)};
    j.rows = dram_elements(x) / j.channels;
    j.rows_per_task = dram_min(j.rows, DRAM_PIECE / j.channels + 1);
    if (args->n_in < 5) return j;
    j.mean = args->in[1].data;
    j.var = args->in[2].data;
    j.gamma = args->in[3].data;
    j.beta = args->in[4].data;
    j.relu = args->attr->act == DRAM_ACT_RELU;
    return j;
}

static void set_factor(job *j, float *factor, float eps)
{
    for (int64_t c = 0; c < j->channels; c++) factor[c] = j->gamma[c] * reciprocal_deviation(j->var[c], eps);
    j->factor = factor;
}

static void run_rows(const dram_kernel_args *args, job *j, dram_task task)
{
    dram_pool_run(args->pool, dram_ceil_div(j->rows, j->rows_per_task), task, j);
}

/* Sums over rows, in parts, added in the order of the parts into those of part 0. */
static void run_parts(const dram_kernel_args *args, job *j, dram_task task)
{
    int64_t parts = dram_batchnorm_parts(j->rows, j->channels);
    j->rows_per_task = dram_ceil_div(j->rows, parts);
    parts = dram_ceil_div(j->rows, j->rows_per_task);
    j->part = args->workspace;
    dram_pool_run(args->pool, parts, task, j);
    for (int64_t p = 1; p < parts; p++)
        for (int64_t c = 0; c < 2 * j->channels; c++) j->part[c] += j->part[p * 2 * j->channels + c];
}

/* ---- bn_stats ---- */

/* Sums of x and of x^2 in fp64, where both products and their cancellation are harmless. Four rows at a time, so that
 * the sums pass through the first cache a quarter as often. */
static void stats_block(const float *x, int64_t rows, int64_t columns, double *sum, double *square)
{
    int64_t r = 0;
    for (; r + ROWS_AT_ONCE <= rows; r += ROWS_AT_ONCE) {
        const float *x0 = x + r * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            double a = (double)x0[c], b = (double)x1[c], d = (double)x2[c], e = (double)x3[c];
            sum[c] += (a + b) + (d + e);
            square[c] += (a * a + b * b) + (d * d + e * e);
        }
    }
    for (; r < rows; r++) {
        const float *x0 = x + r * columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            sum[c] += (double)x0[c];
            square[c] += (double)x0[c] * (double)x0[c];
        }
    }
}

static void stats_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    double *sum = j->part + task * 2 * j->channels, *square = sum + j->channels;
    float buffer[DRAM_LOWP_RUN];
    (void)worker;
    memset(sum, 0, (size_t)(2 * j->channels) * sizeof *sum);
    for (block b = {.group = ROWS_AT_ONCE}; next_block(j, task, &b);)
        stats_block(load(j, j->x, &b, buffer), b.rows, b.columns, sum + b.c, square + b.c);
}

DRAM_CPU_KERNEL(bn_stats)
{
    job j = job_of(args);
    float *mean = args->out[0].data, *var = args->out[1].data;
    run_parts(args, &j, stats_part);
    for (int64_t c = 0; c < j.channels; c++) {
        double m = j.part[c] / (double)j.rows, v = j.part[j.channels + c] / (double)j.rows - m * m;
        mean[c] = (float)m;
        var[c] = v < 0 ? 0.0f : (float)v; /* NaN stays */
    }
    return DRAM_OK;
}

/* ---- bn_running ---- */

/* A batch that is not finite, of activations too large for f16 say, leaves what is there as it is. */
DRAM_CPU_KERNEL(bn_running)
{
    const float *mean = args->in[0].data, *var = args->in[1].data;
    const float *old_mean = args->in[2].data, *old_var = args->in[3].data;
    float *new_mean = args->out[0].data, *new_var = args->out[1].data;
    const float take = args->attr->momentum, keep = 1.0f - take, unbiased = args->attr->scale;
    for (int64_t c = 0; c < args->in[0].shape.dim[0]; c++) {
        bool finite = isfinite(mean[c]) && isfinite(var[c]);
        new_mean[c] = finite ? keep * old_mean[c] + take * mean[c] : old_mean[c];
        new_var[c] = finite ? keep * old_var[c] + take * (var[c] * unbiased) : old_var[c];
    }
    return DRAM_OK;
}

/* ---- bn_apply ---- */

static void apply_block(const job *j, const block *b, const float *x, const float *residual, float *out)
{
    const int64_t columns = b->columns;
    const float *mean = j->mean + b->c, *factor = j->factor + b->c, *beta = j->beta + b->c;
    const float low = j->relu ? 0.0f : -INFINITY;
    for (int64_t r = 0; r < b->rows; r++, x += columns, out += columns) {
        if (residual) {
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) {
                float y = normal(x[c], mean[c], factor[c], beta[c]) + residual[c];
                out[c] = y < low ? low : y; /* NaN stays */
            }
            residual += columns;
        } else {
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) {
                float y = normal(x[c], mean[c], factor[c], beta[c]);
                out[c] = y < low ? low : y;
            }
        }
    }
}

static void apply_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    float x_buffer[DRAM_LOWP_RUN], residual_buffer[DRAM_LOWP_RUN];
    (void)worker;
    for (block b = {.group = 1}; next_block(j, task, &b);) {
        const float *x = load(j, j->x, &b, x_buffer), *residual = load(j, j->residual, &b, residual_buffer);
        float *out = dram_lowp_out(j->out, j->dtype, b.at, x_buffer);
        apply_block(j, &b, x, residual, out);
        store(j, &b, out);
    }
}

DRAM_CPU_KERNEL(bn_apply)
{
    job j = job_of(args);
    j.residual = args->n_in > 5 ? args->in[5].data : NULL;
    j.out = args->out[0].data;
    set_factor(&j, args->workspace, args->attr->eps);
    run_rows(args, &j, apply_rows);
    return DRAM_OK;
}

/* ---- bn_reduce ---- */

/* Sums of g and of g (x - mean): four rows in fp32, then into fp64. */
static inline void reduce_block(const job *j, const block *at, const float *x, const float *dy, double *sum,
                                double *dot, bool relu)
{
    const int64_t columns = at->columns;
    const float *mean = j->mean + at->c, *factor = j->factor + at->c, *beta = j->beta + at->c;
    int64_t r = 0;
    for (; r + ROWS_AT_ONCE <= at->rows; r += ROWS_AT_ONCE) {
        const float *x0 = x + r * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
        const float *y0 = dy + r * columns, *y1 = y0 + columns, *y2 = y1 + columns, *y3 = y2 + columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            float m = mean[c], f = factor[c], b = beta[c];
            float g0 = relu ? masked(y0[c], normal(x0[c], m, f, b)) : y0[c];
            float g1 = relu ? masked(y1[c], normal(x1[c], m, f, b)) : y1[c];
            float g2 = relu ? masked(y2[c], normal(x2[c], m, f, b)) : y2[c];
            float g3 = relu ? masked(y3[c], normal(x3[c], m, f, b)) : y3[c];
            float d = DRAM_FMA(g0, x0[c] - m, g1 * (x1[c] - m)), e = DRAM_FMA(g2, x2[c] - m, g3 * (x3[c] - m));
            sum[c] += (double)((g0 + g1) + (g2 + g3));
            dot[c] += (double)(d + e);
        }
    }
    for (; r < at->rows; r++) {
        const float *x0 = x + r * columns, *y0 = dy + r * columns;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            float g = relu ? masked(y0[c], normal(x0[c], mean[c], factor[c], beta[c])) : y0[c];
            sum[c] += (double)g;
            dot[c] += (double)(g * (x0[c] - mean[c]));
        }
    }
}

static void reduce_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    double *sum = j->part + task * 2 * j->channels, *dot = sum + j->channels;
    float x_buffer[DRAM_LOWP_RUN], dy_buffer[DRAM_LOWP_RUN];
    (void)worker;
    memset(sum, 0, (size_t)(2 * j->channels) * sizeof *sum);
    for (block b = {.group = ROWS_AT_ONCE}; next_block(j, task, &b);) {
        const float *x = load(j, j->x, &b, x_buffer), *dy = load(j, j->dy, &b, dy_buffer);
        if (j->relu)
            reduce_block(j, &b, x, dy, sum + b.c, dot + b.c, true);
        else
            reduce_block(j, &b, x, dy, sum + b.c, dot + b.c, false);
    }
}

DRAM_CPU_KERNEL(bn_reduce)
{
    job j = job_of(args);
    float *dgamma = args->out[0].data, *dbeta = args->out[1].data;
    float *factor = (float *)((char *)args->workspace + args->workspace_bytes) - j.channels; /* behind the parts */
    j.dy = args->in[5].data;
    set_factor(&j, factor, args->attr->eps);
    run_parts(args, &j, reduce_part);
    for (int64_t c = 0; c < j.channels; c++) {
        dbeta[c] = (float)j.part[c];
        dgamma[c] = (float)(j.part[j.channels + c] * (double)reciprocal_deviation(j.var[c], args->attr->eps));
    }
    return DRAM_OK;
}

/* ---- bn_dgrad ---- */

/* dx = factor (g - k0 - (x - mean) k1), k0 = dbeta / R, k1 = dgamma / sqrt(var + eps) / R; both 0 with fixed
 * statistics. */
static inline void dgrad_block(const job *j, const block *b, const float *x, const float *dy, float *out, bool relu)
{
    const int64_t columns = b->columns;
    const float *mean = j->mean + b->c, *factor = j->factor + b->c, *beta = j->beta + b->c;
    const float *k0 = j->k0 + b->c, *k1 = j->k1 + b->c;
    for (int64_t r = 0; r < b->rows; r++, x += columns, dy += columns, out += columns) {
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            float g = relu ? masked(dy[c], normal(x[c], mean[c], factor[c], beta[c])) : dy[c];
            out[c] = factor[c] * DRAM_FMA(mean[c] - x[c], k1[c], g - k0[c]);
        }
    }
}

static void dgrad_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    float x_buffer[DRAM_LOWP_RUN], dy_buffer[DRAM_LOWP_RUN];
    (void)worker;
    for (block b = {.group = 1}; next_block(j, task, &b);) {
        const float *x = load(j, j->x, &b, x_buffer), *dy = load(j, j->dy, &b, dy_buffer);
        float *out = dram_lowp_out(j->out, j->dtype, b.at, x_buffer);
        if (j->relu)
            dgrad_block(j, &b, x, dy, out, true);
        else
            dgrad_block(j, &b, x, dy, out, false);
        store(j, &b, out);
    }
}

DRAM_CPU_KERNEL(bn_dgrad)
{
    job j = job_of(args);
    float *factor = args->workspace, *k0 = factor + j.channels, *k1 = k0 + j.channels;
    j.dy = args->in[5].data;
    j.out = args->out[0].data;
    set_factor(&j, factor, args->attr->eps);
    memset(k0, 0, (size_t)(2 * j.channels) * sizeof *k0);
    if (args->attr->batch_stats) {
        const float *dgamma = args->in[6].data, *dbeta = args->in[7].data;
        for (int64_t c = 0; c < j.channels; c++) {
            k0[c] = dbeta[c] / (float)j.rows;
            k1[c] = dgamma[c] * reciprocal_deviation(j.var[c], args->attr->eps) / (float)j.rows;
        }
    }
    j.k0 = k0;
    j.k1 = k1;
    run_rows(args, &j, dgrad_rows);
    return DRAM_OK;
}
