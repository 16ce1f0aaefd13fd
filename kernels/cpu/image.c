/* image_norm: u8 to normalised f32, zero outside the valid part. Bound by memory: 5 bytes an element at 2 FLOPs. */
#include "kernels/cpu/cpu.h"

enum { RUN = 48 }; /* 16 pixels: the period of three channels in whole vectors */

typedef struct {
    const uint8_t *x;
    const int32_t *valid;
    float *out;
    int64_t height, width;
    float mean[RUN], std[RUN];
} job;

/* One row of an image. */
static void norm_row(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t image = task / j->height, row = task % j->height, n = 3 * j->width;
    const int32_t *valid = j->valid + 2 * image;
    const uint8_t *x = j->x + task * n;
    float *out = j->out + task * n;
    int64_t filled = row < valid[0] && valid[1] > 0 ? 3 * dram_min(j->width, valid[1]) : 0, i = 0;
    (void)worker;
    for (; i + RUN <= filled; i += RUN) {
#pragma omp simd
        for (int k = 0; k < RUN; k++) out[i + k] = ((float)x[i + k] - j->mean[k]) / j->std[k];
    }
    for (int64_t k = i; k < filled; k++) out[k] = ((float)x[k] - j->mean[k - i]) / j->std[k - i];
    memset(out + filled, 0, (size_t)(n - filled) * sizeof *out);
}

DRAM_CPU_KERNEL(image_norm)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.x = args->in[0].data, .valid = args->in[1].data, .out = args->out[0].data};
    j.height = x->dim[1];
    j.width = x->dim[2];
    for (int k = 0; k < RUN; k++) {
        j.mean[k] = args->attr->mean[k % 3];
        j.std[k] = args->attr->std[k % 3];
    }
    dram_pool_run(args->pool, x->dim[0] * j.height, norm_row, &j);
    return DRAM_OK;
}
