/* rank_sum: bound by memory, N + 1 numbers an element at N FLOPs. */
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
