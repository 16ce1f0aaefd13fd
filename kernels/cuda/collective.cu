/* rank_sum: bound by memory, N + 1 numbers an element at N FLOPs. An element is summed by one thread, rank after rank. */
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
