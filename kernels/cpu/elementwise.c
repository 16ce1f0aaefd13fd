/* add, sum_batch, scale, fill, weighted_sum. All are bound by memory: one FLOP an element at 8 to 12 bytes. */
#include "kernels/cpu/cpu.h"

typedef struct {
    const float *a, *b;
    float *out;
    int64_t n, inner; /* elements of a, of b */
    float factor;
} job;

/* 12 bytes an element (8 where b is of batch 1 and stays in cache). out may be a or b. */
static void add_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * DRAM_PIECE, to = dram_min(j->n, from + DRAM_PIECE);
    (void)worker;
    while (from < to) {
        int64_t at = from % j->inner, n = dram_min(to - from, j->inner - at);
        const float *a = j->a + from, *b = j->b + at;
        float *out = j->out + from;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
        from += n;
    }
}

DRAM_CPU_KERNEL(add)
{
    job j = {.a = args->in[0].data, .b = args->in[1].data, .out = args->out[0].data};
    j.n = dram_elements(&args->in[0].shape);
    j.inner = dram_elements(&args->in[1].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), add_piece, &j);
    return DRAM_OK;
}

/* A strip of the sum stays in L1 while the images pass by it, so memory sees 4 bytes an element of x. */
enum { STRIP = 4096 };

static void sum_batch_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * STRIP, n = dram_min(STRIP, j->inner - from);
    float *out = j->out + from;
    (void)worker;
    memcpy(out, j->a + from, (size_t)n * sizeof *out);
    for (int64_t at = from + j->inner; at < j->n; at += j->inner) {
        const float *a = j->a + at;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += a[i];
    }
}

DRAM_CPU_KERNEL(sum_batch)
{
    job j = {.a = args->in[0].data, .out = args->out[0].data};
    j.n = dram_elements(&args->in[0].shape);
    j.inner = dram_elements(&args->out[0].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.inner, STRIP), sum_batch_strip, &j);
    return DRAM_OK;
}

/* 8 bytes an element. out may be a. */
static void scale_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * DRAM_PIECE, n = dram_min(j->n - from, DRAM_PIECE);
    const float *a = j->a + from;
    float *out = j->out + from, factor = j->factor;
    (void)worker;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = a[i] * factor;
}

DRAM_CPU_KERNEL(scale)
{
    job j = {.a = args->in[0].data, .out = args->out[0].data, .factor = args->attr->scale};
    j.n = dram_elements(&args->in[0].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), scale_piece, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(fill)
{
    *(float *)args->out[0].data = args->attr->scale;
    return DRAM_OK;
}

DRAM_CPU_KERNEL(weighted_sum)
{
    double sum = 0;
    for (int i = 0; i < args->n_in; i++) {
        const float *x = args->in[i].data;
        if (x) sum += (double)args->attr->weight[i] * (double)*x;
    }
    *(float *)args->out[0].data = (float)sum;
    return DRAM_OK;
}
