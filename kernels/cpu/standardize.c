/* channel_stats, standardize, standardize_grad: each channel by the mean and variance of another tensor's valid cells.
 *
 * All are bound by memory: 4 bytes an element (statistics) and 8 (the others), at 2 to 4 FLOPs.
 */
#include "kernels/cpu/cpu.h"

/* Channels of a task of channel_stats: two lines of the first cache a cell. */
enum { STRIP = 32 };

typedef struct {
    const float *x, *mask, *mean, *var;
    float *out, *out_var;
    int64_t cells, channels, cells_per_task;
    float eps;
} job;

/* Sums of x and of x^2 in fp64, where both products and their cancellation are harmless. Without a valid cell: mean 0,
 * variance 1, by which nothing changes. */
static void stats_strip(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t from = task * STRIP, columns = dram_min(STRIP, j->channels - from);
    double sum[STRIP] = {0}, square[STRIP] = {0}, n = 0;
    (void)worker;
    for (int64_t i = 0; i < j->cells; i++) {
        const float *x = j->x + i * j->channels + from;
        if (j->mask[i] == 0) continue;
        n += 1;
#pragma omp simd
        for (int64_t c = 0; c < columns; c++) {
            sum[c] += (double)x[c];
            square[c] += (double)x[c] * (double)x[c];
        }
    }
    for (int64_t c = 0; c < columns; c++) {
        double mean = n > 0 ? sum[c] / n : 0, var = n > 0 ? square[c] / n - mean * mean : 1;
        j->out[from + c] = (float)mean;
        j->out_var[from + c] = var < 0 ? 0.0f : (float)var; /* NaN stays */
    }
}

DRAM_CPU_KERNEL(channel_stats)
{
    job j = {.x = args->in[0].data, .mask = args->in[1].data, .out = args->out[0].data, .out_var = args->out[1].data};
    j.channels = dram_last(&args->in[0].shape, 0);
    j.cells = dram_elements(&args->in[1].shape);
    dram_pool_run(args->pool, dram_ceil_div(j.channels, STRIP), stats_strip, &j);
    return DRAM_OK;
}

/* (x - mean) / sqrt(var + eps); without a mean x / sqrt(var + eps), which is the gradient. out may be x. The root is
 * taken again at each element: it is hidden behind the memory. */
static void standardize_cells(void *context, int64_t task, int worker)
{
    const job *j = context;
    const int64_t end = dram_min(j->cells, (task + 1) * j->cells_per_task);
    const float *mean = j->mean, *var = j->var, eps = j->eps;
    (void)worker;
    for (int64_t i = task * j->cells_per_task; i < end; i++) {
        const float *x = j->x + i * j->channels;
        float *out = j->out + i * j->channels;
        if (mean) {
#pragma omp simd
            for (int64_t c = 0; c < j->channels; c++) out[c] = (x[c] - mean[c]) / sqrtf(var[c] + eps);
        } else {
#pragma omp simd
            for (int64_t c = 0; c < j->channels; c++) out[c] = x[c] / sqrtf(var[c] + eps);
        }
    }
}

static dram_status standardize_all(const dram_kernel_args *args, const float *mean, const float *var)
{
    const dram_shape *x = &args->in[0].shape;
    job j = {.x = args->in[0].data, .mean = mean, .var = var, .out = args->out[0].data, .eps = args->attr->eps};
    j.channels = dram_last(x, 0);
    j.cells = dram_elements(x) / j.channels;
    j.cells_per_task = dram_min(j.cells, DRAM_PIECE / j.channels + 1);
    dram_pool_run(args->pool, dram_ceil_div(j.cells, j.cells_per_task), standardize_cells, &j);
    return DRAM_OK;
}

DRAM_CPU_KERNEL(standardize)
{
    return standardize_all(args, args->in[1].data, args->in[2].data);
}

DRAM_CPU_KERNEL(standardize_grad)
{
    return standardize_all(args, NULL, args->in[1].data);
}
