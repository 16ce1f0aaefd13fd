/* image_norm: u8 to normalised floats, zero outside the valid part. Bound by memory: 5 bytes an element of f32 at 2
 * FLOPs. */
#include "kernels/cpu/lowp.h"

enum {
    PERIOD = 48, /* 16 pixels: three channels in whole vectors */
    RUN = DRAM_LOWP_RUN / PERIOD * PERIOD
};

typedef struct {
    const uint8_t *x;
    const int32_t *valid;
    void *out;
    dram_dtype dtype;
    int64_t height, width;
    float mean[PERIOD], std[PERIOD];
} job;

/* n numbers that begin with a pixel. */
static void norm(const job *j, const uint8_t *x, float *out, int64_t n)
{
    int64_t i = 0;
    for (; i + PERIOD <= n; i += PERIOD) {
#pragma omp simd
        for (int k = 0; k < PERIOD; k++) out[i + k] = ((float)x[i + k] - j->mean[k]) / j->std[k];
    }
    for (int64_t k = i; k < n; k++) out[k] = ((float)x[k] - j->mean[k - i]) / j->std[k - i];
}

/* One row of an image. */
static void norm_row(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t image = task / j->height, row = task % j->height, n = 3 * j->width, at = task * n;
    const int32_t *valid = j->valid + 2 * image;
    const int64_t filled = row < valid[0] && valid[1] > 0 ? 3 * dram_min(j->width, valid[1]) : 0;
    const int64_t size = j->dtype == DRAM_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(uint16_t);
    float buffer[RUN];
    (void)worker;
    for (int64_t i = 0, part; i < filled; i += part) {
        part = j->dtype == DRAM_F32 ? filled : dram_min(RUN, filled - i);
        float *out = dram_lowp_out(j->out, j->dtype, at + i, buffer);
        norm(j, j->x + at + i, out, part);
        dram_lowp_store(j->out, j->dtype, at + i, out, part);
    }
    memset((char *)j->out + (at + filled) * size, 0, (size_t)((n - filled) * size));
}

DRAM_CPU_KERNEL(image_norm)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.x = args->in[0].data, .valid = args->in[1].data, .out = args->out[0].data};
    j.dtype = args->out[0].dtype;
    j.height = x->dim[1];
    j.width = x->dim[2];
    for (int k = 0; k < PERIOD; k++) {
        j.mean[k] = args->attr->mean[k % 3];
        j.std[k] = args->attr->std[k % 3];
    }
    dram_pool_run(args->pool, x->dim[0] * j.height, norm_row, &j);
    return DRAM_OK;
}
