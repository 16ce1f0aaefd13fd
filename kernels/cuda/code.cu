/* code: whether this build's kernels run on the GPU at hand. */
#include "kernels/cuda/cuda.cuh"

static __global__ void nothing()
{
}

/* A build has machine code for some GPUs, and PTX that the driver compiles for newer ones. */
extern "C" cudaError_t dram_cuda_code(void)
{
    struct cudaFuncAttributes has;
    return cudaFuncGetAttributes(&has, (const void *)nothing);
}
