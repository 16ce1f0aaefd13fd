/* rank_sum: bound by memory, N + 1 numbers an element at N FLOPs. An element is summed by one thread, rank after rank.
 * bn_merge: small, a thread a channel. */
#include "kernels/cuda/cuda.cuh"

enum { SUM_BLOCK = 256 };

static __global__ void rank_sum_kernel(const float *x, int64_t ranks, int64_t n, float *out)
{
    const int64_t round = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += round) {
        float sum = 0.0f;
        for (int64_t r = 0; r < ranks; r++) sum += x[r * n + i];
        out[i] = sum;
    }
}

DRAM_CUDA_KERNEL(rank_sum)
{
    const int64_t n = dram_elements(&args->out[0].shape);
    if (n <= 0) return DRAM_OK;
    return dram_launch(args, rank_sum_kernel, dim3(dram_grid(args, n, SUM_BLOCK)), dim3(SUM_BLOCK), 0,
                       static_cast<const float *>(args->in[0].data), args->in[0].shape.dim[0], n,
                       static_cast<float *>(args->out[0].data));
}

static __global__ void bn_merge_kernel(const float *means, const float *vars, const float *counts, int64_t ranks,
                                       int64_t channels, float *mean, float *var)
{
    const int64_t c = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    double all = 0, sum = 0, squares = 0;
    if (c >= channels) return;
    for (int64_t r = 0; r < ranks; r++) {
        const double n = counts ? (double)counts[r] : 1.0;
        all += n;
        sum += n * (double)means[r * channels + c];
    }
    const double middle = all > 0 ? sum / all : 0.0;
    for (int64_t r = 0; r < ranks; r++) {
        const double n = counts ? (double)counts[r] : 1.0, off = (double)means[r * channels + c] - middle;
        squares += n * ((double)vars[r * channels + c] + off * off);
    }
    mean[c] = (float)middle;
    var[c] = (float)(all > 0 ? squares / all : 1.0);
}

DRAM_CUDA_KERNEL(bn_merge)
{
    enum { BLOCK = 128 };
    const int64_t channels = args->in[0].shape.dim[1];
    return dram_launch(args, bn_merge_kernel, dim3((unsigned)dram_ceil_div(channels, BLOCK)), dim3(BLOCK), 0,
                       static_cast<const float *>(args->in[0].data), static_cast<const float *>(args->in[1].data),
                       static_cast<const float *>(args->in[2].data), args->in[0].shape.dim[0], channels,
                       static_cast<float *>(args->out[0].data), static_cast<float *>(args->out[1].data));
}
