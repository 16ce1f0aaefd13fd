/* add, sum_batch, scale, scale_by, fill, weighted_sum. All are bound by memory: one FLOP an element at two or three
 * numbers. */
#include "kernels/cpu/lowp.h"

typedef struct {
    const void *a, *b;
    void *out;
    dram_dtype dtype;
    int64_t n, inner; /* elements of a, of b */
    float factor;
} job;

/* 12 bytes an element of f32 (8 where b is of batch 1 and stays in cache). out may be a or b. */
static void add_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * DRAM_PIECE, to = dram_min(j->n, from + DRAM_PIECE);
    float a_buffer[DRAM_LOWP_RUN], b_buffer[DRAM_LOWP_RUN];
    (void)worker;
    while (from < to) {
        int64_t at = from % j->inner, n = dram_lowp_run(j->dtype, dram_min(to - from, j->inner - at));
        const float *a = dram_lowp_load(j->a, j->dtype, from, n, a_buffer);
        const float *b = dram_lowp_load(j->b, j->dtype, at, n, b_buffer);
        float *out = dram_lowp_out(j->out, j->dtype, from, a_buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = a[i] + b[i];
        dram_lowp_store(j->out, j->dtype, from, out, n);
        from += n;
    }
}

DRAM_CPU_KERNEL(add)
{
    job j = {.a = args->in[0].data, .b = args->in[1].data, .out = args->out[0].data, .dtype = args->in[0].dtype};
    j.n = dram_elements(&args->in[0].shape);
    j.inner = dram_elements(&args->in[1].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), add_piece, &j);
    return DRAM_OK;
}

/* A strip of the sum stays in L1 while the images pass by it, so memory sees each element of x once. */
enum { STRIP = 4096 };

static void sum_batch_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t strip = j->dtype == DRAM_F32 ? STRIP : DRAM_LOWP_RUN;
    int64_t from = task * strip, n = dram_min(strip, j->inner - from);
    float *out = (float *)j->out + from, buffer[DRAM_LOWP_RUN];
    (void)worker;
    dram_lowp_widen(j->a, j->dtype, from, n, out);
    for (int64_t at = from + j->inner; at < j->n; at += j->inner) {
        const float *a = dram_lowp_load(j->a, j->dtype, at, n, buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] += a[i];
    }
}

DRAM_CPU_KERNEL(sum_batch)
{
    job j = {.a = args->in[0].data, .out = args->out[0].data, .dtype = args->in[0].dtype};
    j.n = dram_elements(&args->in[0].shape);
    j.inner = dram_elements(&args->out[0].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.inner, j.dtype == DRAM_F32 ? STRIP : DRAM_LOWP_RUN), sum_batch_strip, &j);
    return DRAM_OK;
}

/* 8 bytes an element of f32. out may be a. */
static void scale_piece(void *context, int64_t task, int worker)
{
    const job *j = context;
    int64_t from = task * DRAM_PIECE, to = dram_min(j->n, from + DRAM_PIECE);
    float buffer[DRAM_LOWP_RUN], factor = j->factor;
    (void)worker;
    while (from < to) {
        int64_t n = dram_lowp_run(j->dtype, to - from);
        const float *a = dram_lowp_load(j->a, j->dtype, from, n, buffer);
        float *out = dram_lowp_out(j->out, j->dtype, from, buffer);
#pragma omp simd
        for (int64_t i = 0; i < n; i++) out[i] = a[i] * factor;
        dram_lowp_store(j->out, j->dtype, from, out, n);
        from += n;
    }
}

static dram_status scale_all(const dram_kernel_args *args, float factor)
{
    job j = {.a = args->in[0].data, .out = args->out[0].data, .dtype = args->in[0].dtype, .factor = factor};
    j.n = dram_elements(&args->in[0].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.n, DRAM_PIECE), scale_piece, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(scale)
{
    return scale_all(args, args->attr->scale);
}

DRAM_CPU_KERNEL(scale_by)
{
    return scale_all(args, *(const float *)args->in[1].data);
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
