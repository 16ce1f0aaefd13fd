/* channel_stats, standardize, standardize_grad: each channel by the mean and variance of another tensor's valid cells.
 *
 * All are bound by memory: 4 bytes an element (statistics) and 8 (the others), at 2 to 4 FLOPs. The statistics' two are
 * in fp64: a card that does one of them for 64 of fp32 takes about as long for them as for the bytes.
 */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/elementwise.cuh"

/* ---- channel_stats ---- */

/* Sums of x and of x^2 in fp64, where both products and their cancellation are harmless, for a part of the cells: part
 * [parts, 2 C + 1] receives the sums, the squares and the number of cells. grid: parts, chunks of channels. */
template <int N>
static __global__ void stats_kernel(const float *x, const float *mask, double *part, dram_columns of,
                                    int64_t cells_per_part)
{
    const dram_column at = dram_column_here(of, N);
    const int64_t begin = (int64_t)blockIdx.x * cells_per_part;
    const int64_t end = begin + cells_per_part < of.rows ? begin + cells_per_part : of.rows;
    double sum[N] = {}, square[N] = {}, count[1] = {};
    for (int64_t i = begin + at.y; i < end && at.in; i += of.high) {
        if (mask[i] == 0) continue;
        const dram_pack<float, N> cell = dram_load<float, N>(x + i * of.channels + at.channel);
        count[0] += 1;
        for (int k = 0; k < N; k++) {
            const double number = (double)cell.at[k];
            sum[k] += number;
            square[k] = fma(number, number, square[k]);
        }
    }
    dram_column_sum<N>(of, at.y, sum);
    dram_column_sum<N>(of, at.y, square);
    dram_column_sum<1>(of, at.y, count);
    if (!at.in || at.y > 0) return;
    double *to = part + blockIdx.x * (2 * of.channels + 1);
    for (int k = 0; k < N; k++) {
        to[at.channel + k] = sum[k];
        to[of.channels + at.channel + k] = square[k];
    }
    if (at.channel == 0) to[2 * of.channels] = count[0];
}

/* Without a valid cell: mean 0, variance 1, by which nothing changes. */
static __global__ void stats_end_kernel(const double *part, int64_t parts, int64_t channels, float *mean, float *var)
{
    const int64_t c = dram_total_column(channels), step = 2 * channels + 1;
    const double sum = dram_parts_total(part, parts, step, c);
    const double square = dram_parts_total(part, parts, step, c < 0 ? c : channels + c);
    const double n = dram_parts_total(part, parts, step, c < 0 ? c : 2 * channels);
    if (c < 0 || threadIdx.x >= DRAM_TOTAL_COLUMNS) return;
    const double middle = n > 0 ? sum / n : 0, spread = n > 0 ? square / n - middle * middle : 1;
    mean[c] = (float)middle;
    var[c] = spread < 0 ? 0.0f : (float)spread; /* NaN stays */
}

DRAM_CUDA_KERNEL(channel_stats)
{
    const float *x = static_cast<const float *>(args->in[0].data), *mask = static_cast<const float *>(args->in[1].data);
    float *mean = static_cast<float *>(args->out[0].data), *var = static_cast<float *>(args->out[1].data);
    double *part = static_cast<double *>(args->workspace);
    const int64_t channels = dram_last(&args->in[0].shape, 0), cells = dram_elements(&args->in[1].shape);
    const int64_t room = args->workspace_bytes / ((2 * channels + 1) * (int64_t)sizeof(double));
    const int64_t cells_per_part = dram_ceil_div(cells, room), parts = dram_ceil_div(cells, cells_per_part);
    DRAM_PACKED(dram_packable(x) && channels % dram_vector<float> == 0, float, N, {
        const dram_columns of = dram_columns_of(cells, channels, N);
        TRY(dram_launch(args, stats_kernel<N>, dim3((unsigned)parts, (unsigned)of.chunks),
                        dim3((unsigned)(of.wide * of.high)), 0, x, mask, part, of, cells_per_part));
        return dram_launch(args, stats_end_kernel, dim3((unsigned)dram_ceil_div(channels, DRAM_TOTAL_COLUMNS)),
                           dim3(DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES), 0, part, parts, channels, mean, var);
    });
}

/* ---- standardize, standardize_grad ---- */

enum { CELLS_A_THREAD = 8 };

/* (x - mean) / sqrt(var + eps); without a mean x / sqrt(var + eps), which is the gradient. out may be x. grid: cells,
 * chunks of channels. */
template <int N>
static __global__ void standardize_kernel(const float *x, const float *mean, const float *var, float *out,
                                          dram_columns of, float eps)
{
    const dram_column here = dram_column_here(of, N);
    if (!here.in) return;
    dram_pack<float, N> middle = {}, root = dram_load<float, N>(var + here.channel);
    if (mean) middle = dram_load<float, N>(mean + here.channel);
    for (int k = 0; k < N; k++) root.at[k] = sqrtf(root.at[k] + eps);
    for (int i = 0; i < CELLS_A_THREAD; i++) {
        const int64_t row = ((int64_t)blockIdx.x * CELLS_A_THREAD + i) * of.high + here.y;
        if (row >= of.rows) return;
        dram_pack<float, N> cell = dram_load<float, N>(x + row * of.channels + here.channel);
        for (int k = 0; k < N; k++) cell.at[k] = (cell.at[k] - middle.at[k]) / root.at[k];
        dram_store<float, N>(out + row * of.channels + here.channel, cell);
    }
}

static dram_status standardize_all(const dram_kernel_args *args, const void *means, const void *variances)
{
    const dram_shape *shape = &args->in[0].shape;
    const float *x = static_cast<const float *>(args->in[0].data);
    const float *mean = static_cast<const float *>(means), *var = static_cast<const float *>(variances);
    float *out = static_cast<float *>(args->out[0].data);
    const int64_t channels = dram_last(shape, 0), cells = dram_elements(shape) / channels;
    DRAM_PACKED(dram_packable(x, mean, var, out) && channels % dram_vector<float> == 0, float, N, {
        const dram_columns of = dram_columns_of(cells, channels, N);
        const int64_t pieces = dram_ceil_div(cells, (int64_t)of.high * CELLS_A_THREAD);
        return dram_launch(args, standardize_kernel<N>, dim3((unsigned)pieces, (unsigned)of.chunks),
                           dim3((unsigned)(of.wide * of.high)), 0, x, mean, var, out, of, args->attr->eps);
    });
}

DRAM_CUDA_KERNEL(standardize)
{
    return standardize_all(args, args->in[1].data, args->in[2].data);
}

DRAM_CUDA_KERNEL(standardize_grad)
{
    return standardize_all(args, NULL, args->in[1].data);
}
