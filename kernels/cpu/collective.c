/* rank_sum: bound by memory, N + 1 numbers an element at N FLOPs. bn_merge: small. */
#include "kernels/cpu/cpu.h"

typedef struct {
    const float *x;
    float *out;
    int64_t ranks, n;
} job;

/* A strip of the sum stays in L1 while the ranks' pass by it. */
enum { STRIP = 4096 };

static void rank_sum_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * STRIP, n = dram_min(STRIP, j->n - from);
    float *out = j->out + from;
    (void)worker;
    for (int64_t i = 0; i < n; i++) out[i] = 0.0f;
    for (int64_t r = 0; r < j->ranks; r++) {
        const float *x = j->x + r * j->n + from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += x[i];
    }
}

DRAM_CPU_KERNEL(rank_sum)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.x = args->in[0].data, .out = args->out[0].data, .ranks = x->dim[0]};
    j.n = dram_elements(&args->out[0].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.n, STRIP), rank_sum_strip, &j);
    return DRAM_OK;
}

/* Parts of a batch with their own mean and variance are merged as Chan, Golub and LeVeque do it (1979). */
DRAM_CPU_KERNEL(bn_merge)
{
    const float *means = args->in[0].data, *vars = args->in[1].data;
    const float *counts = args->n_in > 2 ? args->in[2].data : NULL;
    const int64_t ranks = args->in[0].shape.dim[0], channels = args->in[0].shape.dim[1];
    float *mean = args->out[0].data, *var = args->out[1].data;
    for (int64_t c = 0; c < channels; c++) {
        double all = 0, sum = 0, squares = 0;
        for (int64_t r = 0; r < ranks; r++) {
            const double n = counts ? (double)counts[r] : 1.0;
            all += n;
            sum += n * (double)means[r * channels + c];
        }
        const double middle = all > 0 ? sum / all : 0;
        for (int64_t r = 0; r < ranks; r++) {
            const double n = counts ? (double)counts[r] : 1.0, off = (double)means[r * channels + c] - middle;
            squares += n * ((double)vars[r * channels + c] + off * off);
        }
        mean[c] = (float)middle;
        var[c] = (float)(all > 0 ? squares / all : 1.0);
    }
    return DRAM_OK;
}
