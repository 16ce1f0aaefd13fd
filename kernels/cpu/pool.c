/* avgpool, avgpool_grad, scale_channels, scale_channels_sgrad over x [N,P,C], P = H W pixels.
 *
 * Bound by memory: bytes an element of f32 4 (avgpool), 4 or 8 (its gradient), 8 (scale_channels, sgrad), at 1 or 2
 * FLOPs.
 */
#include "kernels/cpu/lowp.h"

typedef struct {
    const void *x, *y; /* [N,P,C]; NULL where there is none */
    const void *s;     /* [N,C] */
    void *out;
    dram_dtype dtype; /* of them all */
    double *part;     /* [N,parts,C] */
    int64_t images, pixels, channels;
    int64_t parts, pixels_per_part; /* of an image */
    float factor;
} job;

enum { ROWS_AT_ONCE = 4 };

static job job_of(const dram_tensor *image)
{
    const dram_shape *x = &image->shape;
    job j = {.images = x->dim[0], .pixels = x->dim[1] * x->dim[2], .channels = x->dim[3], .dtype = image->dtype};
    j.pixels_per_part = dram_min(j.pixels, DRAM_PIECE / j.channels + 1);
    j.parts = dram_ceil_div(j.pixels, j.pixels_per_part);
    return j;
}

/* ---- sums over the image ---- */

/* Adds the sum of x, or of x y, over some pixels: four of them in fp32, then into fp64. */
static void sum_block(const float *x, const float *y, int64_t pixels, int64_t columns, double *sum)
{
    for (int64_t p = 0; p < pixels; p += ROWS_AT_ONCE) {
        int64_t rows = dram_min(ROWS_AT_ONCE, pixels - p);
        const float *x0 = x + p * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
        const float *y0 = y ? y + p * columns : NULL;
        if (rows == ROWS_AT_ONCE && y) {
            const float *y1 = y0 + columns, *y2 = y1 + columns, *y3 = y2 + columns;
#pragma omp simd
            for (int64_t c = 0; c < columns; c++)
                sum[c] += (double)(DRAM_FMA(x0[c], y0[c], x1[c] * y1[c]) + DRAM_FMA(x2[c], y2[c], x3[c] * y3[c]));
        } else if (rows == ROWS_AT_ONCE) {
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) sum[c] += (double)((x0[c] + x1[c]) + (x2[c] + x3[c]));
        } else {
            for (int64_t i = 0; i < rows * columns; i++) sum[i % columns] += (double)x0[i] * (y0 ? (double)y0[i] : 1.0);
        }
    }
}

static void sum_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, image = task / j->parts, from = task % j->parts * j->pixels_per_part;
    const int64_t end = dram_min(j->pixels, from + j->pixels_per_part);
    const dram_lowp_block most = dram_lowp_blocks(j->dtype, end - from, channels, ROWS_AT_ONCE);
    double *sum = j->part + task * channels;
    float x_buffer[DRAM_LOWP_RUN], y_buffer[DRAM_LOWP_RUN];
    (void)worker;
    memset(sum, 0, (size_t)channels * sizeof *sum);
    for (int64_t c = 0; c < channels; c += most.columns)
        for (int64_t p = from; p < end; p += most.rows) {
            int64_t at = (image * j->pixels + p) * channels + c, rows = dram_min(most.rows, end - p);
            int64_t columns = dram_min(most.columns, channels - c);
            const float *x = dram_lowp_load_rows(j->x, j->dtype, at, rows, columns, channels, x_buffer);
            const float *y = dram_lowp_load_rows(j->y, j->dtype, at, rows, columns, channels, y_buffer);
            sum_block(x, y, rows, columns, sum + c);
        }
}

/* out [N,C] = factor times the sum over the image. */
static void sum_images(const dram_kernel_args *args, const void *y, float factor)
{
    job j = job_of(&args->in[0]);
    j.x = args->in[0].data;
    j.y = y;
    j.part = args->workspace;
    j.parts = args->workspace_bytes / (j.images * j.channels * (int64_t)sizeof(double));
    j.pixels_per_part = dram_ceil_div(j.pixels, j.parts);
    j.parts = dram_ceil_div(j.pixels, j.pixels_per_part);
    dram_pool_run(args->pool, j.images * j.parts, sum_part, &j);
    for (int64_t i = 0; i < j.images * j.channels; i++) {
        const double *part = j.part + i / j.channels * j.parts * j.channels + i % j.channels;
        double sum = 0;
        for (int64_t p = 0; p < j.parts; p++) sum += part[p * j.channels];
        float mean = (float)(sum * (double)factor);
        dram_lowp_narrow(args->out[0].data, j.dtype, i, &mean, 1);
    }
}

DRAM_CPU_KERNEL(avgpool)
{
    sum_images(args, NULL, 1.0f / (float)(args->in[0].shape.dim[1] * args->in[0].shape.dim[2]));
    return DRAM_OK;
}

DRAM_CPU_KERNEL(scale_channels_sgrad)
{
    sum_images(args, args->in[1].data, 1.0f);
    return DRAM_OK;
}

/* ---- one number a channel, to all pixels ---- */

/* out = s x, s factor + acc, or s factor. */
static void spread_row(const float *s, float factor, const float *x, const float *acc, float *out, int64_t n)
{
    if (x) {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) out[c] = x[c] * s[c];
    } else if (acc) {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) out[c] = DRAM_FMA(s[c], factor, acc[c]);
    } else {
#pragma omp simd
        for (int64_t c = 0; c < n; c++) out[c] = s[c] * factor;
    }
}

static void spread_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, image = task / j->parts, from = task % j->parts * j->pixels_per_part;
    const int64_t end = dram_min(j->pixels, from + j->pixels_per_part);
    const dram_lowp_block most = dram_lowp_blocks(j->dtype, end - from, channels, 1);
    float s_buffer[DRAM_LOWP_RUN], buffer[DRAM_LOWP_RUN];
    (void)worker;
    for (int64_t c = 0; c < channels; c += most.columns) {
        int64_t columns = dram_min(most.columns, channels - c);
        const float *s = dram_lowp_load(j->s, j->dtype, image * channels + c, columns, s_buffer);
        for (int64_t p = from; p < end; p += most.rows) {
            int64_t at = (image * j->pixels + p) * channels + c, rows = dram_min(most.rows, end - p);
            const float *x = dram_lowp_load_rows(j->x, j->dtype, at, rows, columns, channels, buffer);
            const float *acc = dram_lowp_load_rows(j->y, j->dtype, at, rows, columns, channels, buffer);
            float *out = dram_lowp_out(j->out, j->dtype, at, buffer);
            for (int64_t i = 0; i < rows * columns; i += columns)
                spread_row(s, j->factor, x ? x + i : NULL, acc ? acc + i : NULL, out + i, columns);
            dram_lowp_store_rows(j->out, j->dtype, at, out, rows, columns, channels);
        }
    }
}

DRAM_CPU_KERNEL(avgpool_grad)
{
    job j = job_of(&args->out[0]);
    j.s = args->in[0].data;
    j.y = args->n_in > 1 ? args->in[1].data : NULL;
    j.out = args->out[0].data;
    j.factor = 1.0f / (float)j.pixels;
    dram_pool_run(args->pool, j.images * j.parts, spread_part, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(scale_channels)
{
    job j = job_of(&args->in[0]);
    j.x = args->in[0].data;
    j.s = args->in[1].data;
    j.out = args->out[0].data;
    dram_pool_run(args->pool, j.images * j.parts, spread_part, &j);
    return DRAM_OK;
}
