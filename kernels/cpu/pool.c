/* avgpool, avgpool_grad, scale_channels, scale_channels_sgrad over x [N,P,C], P = H W pixels.
 *
 * Bound by memory: bytes an element 4 (avgpool), 4 or 8 (its gradient), 8 (scale_channels, sgrad), at 1 or 2 FLOPs.
 */
#include "kernels/cpu/cpu.h"

typedef struct {
    const float *x, *y; /* [N,P,C]; y NULL where there is none */
    const float *s;     /* [N,C] */
    float *out;
    double *part; /* [N,parts,C] */
    int64_t images, pixels, channels;
    int64_t parts, pixels_per_part; /* of an image */
    float factor;
} job;

enum { ROWS_AT_ONCE = 4 };

static job job_of(const dram_shape *x)
{
    job j = {.images = x->dim[0], .pixels = x->dim[1] * x->dim[2], .channels = x->dim[3]};
    j.pixels_per_part = dram_min(j.pixels, DRAM_PIECE / j.channels + 1);
    j.parts = dram_ceil_div(j.pixels, j.pixels_per_part);
    return j;
}

/* ---- sums over the image ---- */

/* The sum of x, or of x y, over a part of an image: four pixels in fp32, then into fp64. */
static void sum_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, image = task / j->parts, part = task % j->parts;
    const int64_t end = dram_min(j->pixels, (part + 1) * j->pixels_per_part);
    double *sum = j->part + task * channels;
    (void)worker;
    memset(sum, 0, (size_t)channels * sizeof *sum);
    for (int64_t p = part * j->pixels_per_part; p < end; p += ROWS_AT_ONCE) {
        int64_t rows = dram_min(ROWS_AT_ONCE, end - p);
        const float *x0 = j->x + (image * j->pixels + p) * channels, *x1 = x0 + channels, *x2 = x1 + channels,
                    *x3 = x2 + channels;
        const float *y0 = j->y ? j->y + (x0 - j->x) : NULL;
        if (rows == ROWS_AT_ONCE && j->y) {
            const float *y1 = y0 + channels, *y2 = y1 + channels, *y3 = y2 + channels;
#pragma omp simd
            for (int64_t c = 0; c < channels; c++)
                sum[c] += (double)(DRAM_FMA(x0[c], y0[c], x1[c] * y1[c]) + DRAM_FMA(x2[c], y2[c], x3[c] * y3[c]));
        } else if (rows == ROWS_AT_ONCE) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) sum[c] += (double)((x0[c] + x1[c]) + (x2[c] + x3[c]));
        } else {
            for (int64_t i = 0; i < rows * channels; i++)
                sum[i % channels] += (double)x0[i] * (y0 ? (double)y0[i] : 1.0);
        }
    }
}

/* out [N,C] = factor times the sum over the image. */
static void sum_images(const dram_kernel_args *args, const float *y, float factor)
{
    job j = job_of(&args->in[0].shape);
    float *out = args->out[0].data;
    j.x = args->in[0].data;
    j.y = y;
    j.part = args->workspace;
    j.parts = args->workspace_bytes / (j.images * j.channels * (int64_t)sizeof(double));
    j.pixels_per_part = dram_ceil_div(j.pixels, j.parts);
    j.parts = dram_ceil_div(j.pixels, j.pixels_per_part);
    dram_pool_run(args->pool, j.images * j.parts, sum_part, &j);
    for (int64_t n = 0; n < j.images; n++)
        for (int64_t c = 0; c < j.channels; c++) {
            double sum = 0;
            for (int64_t p = 0; p < j.parts; p++) sum += j.part[(n * j.parts + p) * j.channels + c];
            out[n * j.channels + c] = (float)(sum * (double)factor);
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

static void spread_part(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t channels = j->channels, image = task / j->parts, part = task % j->parts;
    const int64_t end = dram_min(j->pixels, (part + 1) * j->pixels_per_part);
    const float *s = j->s + image * channels, factor = j->factor;
    (void)worker;
    for (int64_t p = part * j->pixels_per_part; p < end; p++) {
        int64_t at = (image * j->pixels + p) * channels;
        const float *x = j->x ? j->x + at : NULL, *acc = j->y ? j->y + at : NULL;
        float *out = j->out + at;
        if (x) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) out[c] = x[c] * s[c];
        } else if (acc) {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) out[c] = DRAM_FMA(s[c], factor, acc[c]);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < channels; c++) out[c] = s[c] * factor;
        }
    }
}

DRAM_CPU_KERNEL(avgpool_grad)
{
    job j = job_of(&args->out[0].shape);
    j.s = args->in[0].data;
    j.y = args->n_in > 1 ? args->in[1].data : NULL;
    j.out = args->out[0].data;
    j.factor = 1.0f / (float)j.pixels;
    dram_pool_run(args->pool, j.images * j.parts, spread_part, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(scale_channels)
{
    job j = job_of(&args->in[0].shape);
    j.x = args->in[0].data;
    j.s = args->in[1].data;
    j.out = args->out[0].data;
    dram_pool_run(args->pool, j.images * j.parts, spread_part, &j);
    return DRAM_OK;
}
