/* activation: GELU for the kernels that end in it. */
#ifndef DRAM_KERNELS_CUDA_ACTIVATION_CUH
#define DRAM_KERNELS_CUDA_ACTIVATION_CUH

#include "kernels/cuda/cuda.cuh"

/* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2. No product of it may be contracted with what surrounds it: the bits are
 * the same wherever it is used. */
__device__ static inline float dram_gelu(float x)
{
    return __fmul_rn(__fmul_rn(0.5f, x), 1.0f + erff(__fmul_rn(x, 0x1.6a09e6p-1f)));
}

/* What act makes of a result of type T, to be rounded to T: that of the result as it would be stored without it. */
template <typename T> __device__ static inline float dram_end_in(int act, float x)
{
    return act == DRAM_ACT_GELU ? dram_gelu(dram_float(dram_to<T>(x))) : x;
}

#endif
