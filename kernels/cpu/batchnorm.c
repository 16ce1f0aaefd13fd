/* bn_stats, bn_running, bn_apply, bn_reduce, bn_dgrad over x [R,C], R = all dimensions but the channels.
 *
 * All are bound by memory, x passes once: bytes an element 4 (stats), 8 to 12 (apply), 8 (reduce), 12 (dgrad), at 3 to
 * 7 FLOPs. The activation's mask is the sign of `normal` in the forward and, recomputed from the same numbers by the
 * same function, in the backward.
 */
#include "kernels/cpu/cpu.h"

/* Tasks whose sums are kept apart: as the workspace rule in src/ops/batchnorm.c counts them. */
enum { MAX_PARTS = 32, ROWS_AT_ONCE = 4 };

typedef struct {
    const float *x, *mean, *var, *gamma, *beta, *dy, *residual;
    const float *factor;  /* [C]: gamma / sqrt(var + eps) */
    const float *k0, *k1; /* [C]: what the gradient through the statistics takes away, see bn_dgrad */
    float *out;
    double *part; /* [parts,2,C] */
    int64_t rows, channels, rows_per_task;
    bool relu;
} job;

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
    job j = {.x = args->in[0].data, .channels = dram_last(x, 0)};
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
    int64_t parts = dram_min(dram_min(MAX_PARTS, j->rows), dram_ceil_div(j->rows * j->channels, DRAM_PIECE));
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
static void stats_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, end = dram_min(j->rows, (task + 1) * j->rows_per_task);
    double *sum = j->part + task * 2 * channels, *square = sum + channels;
    int64_t r = task * j->rows_per_task;
    (void)worker;
    memset(sum, 0, (size_t)(2 * channels) * sizeof *sum);
    for (; r + ROWS_AT_ONCE <= end; r += ROWS_AT_ONCE) {
        const float *x0 = j->x + r * channels, *x1 = x0 + channels, *x2 = x1 + channels, *x3 = x2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            double a = (double)x0[c], b = (double)x1[c], d = (double)x2[c], e = (double)x3[c];
            sum[c] += (a + b) + (d + e);
            square[c] += (a * a + b * b) + (d * d + e * e);
        }
    }
    for (; r < end; r++) {
        const float *x = j->x + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            sum[c] += (double)x[c];
            square[c] += (double)x[c] * (double)x[c];
        }
    }
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

DRAM_CPU_KERNEL(bn_running)
{
    const float *mean = args->in[0].data, *var = args->in[1].data;
    const float *old_mean = args->in[2].data, *old_var = args->in[3].data;
    float *new_mean = args->out[0].data, *new_var = args->out[1].data;
    const float take = args->attr->momentum, keep = 1.0f - take, unbiased = args->attr->scale;
    for (int64_t c = 0; c < args->in[0].shape.dim[0]; c++) {
        new_mean[c] = keep * old_mean[c] + take * mean[c];
        new_var[c] = keep * old_var[c] + take * (var[c] * unbiased);
    }
    return DRAM_OK;
}

/* ---- bn_apply ---- */

static void apply_rows(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, end = dram_min(j->rows, (task + 1) * j->rows_per_task);
    const float *mean = j->mean, *factor = j->factor, *beta = j->beta, low = j->relu ? 0.0f : -INFINITY;
    (void)worker;
    for (int64_t r = task * j->rows_per_task; r < end; r++) {
        const float *x = j->x + r * channels;
        float *out = j->out + r * channels;
        if (j->residual) {
            const float *residual = j->residual + r * channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float y = normal(x[c], mean[c], factor[c], beta[c]) + residual[c];
                out[c] = y < low ? low : y; /* NaN stays */
            }
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) {
                float y = normal(x[c], mean[c], factor[c], beta[c]);
                out[c] = y < low ? low : y;
            }
        }
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
static inline void reduce_rows(const job *j, int64_t task, bool relu)
{
    const int64_t channels = j->channels, end = dram_min(j->rows, (task + 1) * j->rows_per_task);
    const float *mean = j->mean, *factor = j->factor, *beta = j->beta;
    double *sum = j->part + task * 2 * channels, *dot = sum + channels;
    int64_t r = task * j->rows_per_task;
    memset(sum, 0, (size_t)(2 * channels) * sizeof *sum);
    for (; r + ROWS_AT_ONCE <= end; r += ROWS_AT_ONCE) {
        const float *x0 = j->x + r * channels, *x1 = x0 + channels, *x2 = x1 + channels, *x3 = x2 + channels;
        const float *y0 = j->dy + r * channels, *y1 = y0 + channels, *y2 = y1 + channels, *y3 = y2 + channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
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
    for (; r < end; r++) {
        const float *x = j->x + r * channels, *y = j->dy + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float g = relu ? masked(y[c], normal(x[c], mean[c], factor[c], beta[c])) : y[c];
            sum[c] += (double)g;
            dot[c] += (double)(g * (x[c] - mean[c]));
        }
    }
}

static void reduce_part(void *context, int64_t task, int worker)
{
    (void)worker;
    reduce_rows(context, task, false);
}

static void reduce_masked_part(void *context, int64_t task, int worker)
{
    (void)worker;
    reduce_rows(context, task, true);
}

DRAM_CPU_KERNEL(bn_reduce)
{
    job j = job_of(args);
    float *dgamma = args->out[0].data, *dbeta = args->out[1].data;
    float *factor = (float *)((char *)args->workspace + args->workspace_bytes) - j.channels; /* behind the parts */
    j.dy = args->in[5].data;
    set_factor(&j, factor, args->attr->eps);
    run_parts(args, &j, j.relu ? reduce_masked_part : reduce_part);
    for (int64_t c = 0; c < j.channels; c++) {
        dbeta[c] = (float)j.part[c];
        dgamma[c] = (float)(j.part[j.channels + c] * (double)reciprocal_deviation(j.var[c], args->attr->eps));
    }
    return DRAM_OK;
}

/* ---- bn_dgrad ---- */

/* dx = factor (g - k0 - (x - mean) k1), k0 = dbeta / R, k1 = dgamma / sqrt(var + eps) / R; both 0 with fixed
 * statistics. */
static inline void dgrad(const job *j, int64_t task, bool relu)
{
    const int64_t channels = j->channels, end = dram_min(j->rows, (task + 1) * j->rows_per_task);
    const float *mean = j->mean, *factor = j->factor, *beta = j->beta, *k0 = j->k0, *k1 = j->k1;
    for (int64_t r = task * j->rows_per_task; r < end; r++) {
        const float *x = j->x + r * channels, *dy = j->dy + r * channels;
        float *out = j->out + r * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++) {
            float g = relu ? masked(dy[c], normal(x[c], mean[c], factor[c], beta[c])) : dy[c];
            out[c] = factor[c] * DRAM_FMA(mean[c] - x[c], k1[c], g - k0[c]);
        }
    }
}

static void dgrad_rows(void *context, int64_t task, int worker)
{
    (void)worker;
    dgrad(context, task, false);
}

static void dgrad_masked_rows(void *context, int64_t task, int worker)
{
    (void)worker;
    dgrad(context, task, true);
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
    run_rows(args, &j, j.relu ? dgrad_masked_rows : dgrad_rows);
    return DRAM_OK;
}
