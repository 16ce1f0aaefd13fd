/* cuda: what the CUDA kernels share.
 *
 * A file of kernels/cuda holds the __global__ functions of an op family and, for each op, one host function,
 *
 *     DRAM_CUDA_KERNEL(relu) { ... return dram_launch(args, relu_kernel<T>, grid, block, 0, x, y, n); }
 *
 * The same files are compiled by nvcc for a GPU and by the host's C++ compiler for the simulated one (tests/cudasim,
 * DRAM_CUDA_SIM), which runs each block's threads as fibers. So: C++17, no CUDA syntax beyond __global__, __device__,
 * __shared__ by DRAM_SHARED, threadIdx and its like, __syncthreads, __syncwarp, the __shfl_*_sync family, __ballot_sync
 * and what is defined here; launches by dram_launch; tensor cores and asynchronous copies by mma.cuh alone. No atomics
 * on floats: sums have one order. Accumulation in fp32 at least; long sums in fp64 or in pieces.
 */
#ifndef DRAM_KERNELS_CUDA_CUH
#define DRAM_KERNELS_CUDA_CUH

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef DRAM_CUDA_SIM
#include "cudasim.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif
#include "kernels/cuda/context.h"
extern "C" {
#include "base/half.h"
#include "base/kernel.h"
}

#define DRAM_CUDA_KERNEL(name) extern "C" dram_status dram_cuda_##name(const dram_kernel_args *args)
#define DRAM_CUDA_KERNEL_MANY(name)                                                                                    \
    extern "C" dram_status dram_cuda_many_##name(const dram_kernel_args *const *args, int n)

/* Shared memory of a block: DRAM_SHARED(float, tile, [16][17]); and what the launch asked for, aligned to 16 bytes:
 * DRAM_SHARED_DYNAMIC(float, rows). Undefined until written. */
#ifdef DRAM_CUDA_SIM
#define DRAM_SHARED(TYPE, NAME, DIMS)                                                                                  \
    typedef TYPE NAME##_shared DIMS;                                                                                   \
    static const char NAME##_key = 0;                                                                                  \
    NAME##_shared &NAME = *static_cast<NAME##_shared *>(                                                               \
        cudasim_shared(&NAME##_key, sizeof(NAME##_shared), alignof(NAME##_shared) < 16 ? 16 : alignof(NAME##_shared)))
#define DRAM_SHARED_DYNAMIC(TYPE, NAME) TYPE *NAME = static_cast<TYPE *>(cudasim_shared_dynamic())
#else
#define DRAM_SHARED(TYPE, NAME, DIMS) __shared__ __align__(16) TYPE NAME DIMS
#define DRAM_SHARED_DYNAMIC(TYPE, NAME)                                                                                \
    extern __shared__ __align__(16) unsigned char dram_dynamic_shared[];                                               \
    TYPE *NAME = reinterpret_cast<TYPE *>(dram_dynamic_shared)
#endif

/* ---- numbers ---- */

struct dram_bf16 {
    uint16_t bits;
};
struct dram_f16 {
    uint16_t bits;
};

__host__ __device__ static inline float dram_float(float x)
{
    return x;
}
__device__ static inline float dram_float(dram_bf16 x)
{
#ifdef DRAM_CUDA_SIM
    return dram_bf16_to_f32(x.bits);
#else
    return __uint_as_float((uint32_t)x.bits << 16);
#endif
}
__device__ static inline float dram_float(dram_f16 x)
{
#ifdef DRAM_CUDA_SIM
    return dram_f16_to_f32(x.bits);
#else
    return __half2float(__ushort_as_half(x.bits));
#endif
}

/* dram_to<T>(x): x as T, rounded to nearest even. */
template <typename T> __device__ static inline T dram_to(float x);
template <> __device__ inline float dram_to<float>(float x)
{
    return x;
}
template <> __device__ inline dram_bf16 dram_to<dram_bf16>(float x)
{
#ifdef DRAM_CUDA_SIM
    return dram_bf16{dram_f32_to_bf16(x)};
#else
    return dram_bf16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#endif
}
template <> __device__ inline dram_f16 dram_to<dram_f16>(float x)
{
#ifdef DRAM_CUDA_SIM
    return dram_f16{dram_f32_to_f16(x)};
#else
    return dram_f16{__half_as_ushort(__float2half_rn(x))};
#endif
}

/* DRAM_FLOAT_TYPES(args->in[0].dtype, T, return dram_launch(args, relu_kernel<T>, ...)): the code once for each float
 * type; a type that is none is a bug of the caller. The code ends in `return`. */
#define DRAM_FLOAT_TYPES(DTYPE, T, ...)                                                                                \
    switch (DTYPE) {                                                                                                   \
    case DRAM_F32: {                                                                                                   \
        typedef float T;                                                                                               \
        __VA_ARGS__;                                                                                                   \
    }                                                                                                                  \
    case DRAM_BF16: {                                                                                                  \
        typedef dram_bf16 T;                                                                                           \
        __VA_ARGS__;                                                                                                   \
    }                                                                                                                  \
    case DRAM_F16: {                                                                                                   \
        typedef dram_f16 T;                                                                                            \
        __VA_ARGS__;                                                                                                   \
    }                                                                                                                  \
    default:                                                                                                           \
        return dram_fail(DRAM_ERR_INTERNAL, "a kernel was given a type that is no float");                             \
    }

/* ---- vectors: N numbers in one access ---- */

template <typename T, int N> struct alignas(sizeof(T) * N) dram_pack {
    T at[N];
};

/* The address must be a multiple of N numbers. */
template <typename T, int N> __device__ static inline dram_pack<T, N> dram_load(const T *from)
{
#ifdef DRAM_CUDA_SIM
    cudasim_aligned(from, sizeof(T) * N);
#endif
    return *reinterpret_cast<const dram_pack<T, N> *>(from);
}
template <typename T, int N> __device__ static inline void dram_store(T *to, const dram_pack<T, N> &numbers)
{
#ifdef DRAM_CUDA_SIM
    cudasim_aligned(to, sizeof(T) * N);
#endif
    *reinterpret_cast<dram_pack<T, N> *>(to) = numbers;
}

/* Numbers of T in 16 bytes: 4 of f32, 8 of bf16 and f16. */
template <typename T> constexpr int dram_vector = 16 / (int)sizeof(T);

/* ---- sums over a warp and a block, in one order ---- */

enum { DRAM_WARP = 32 };
#define DRAM_ALL_LANES 0xffffffffu

/* The sum of a value of each lane, the same in all of them. */
template <typename S> __device__ static inline S dram_warp_sum(S x)
{
    for (int far = DRAM_WARP / 2; far; far /= 2) x += __shfl_xor_sync(DRAM_ALL_LANES, x, far);
    return x;
}
template <typename S> __device__ static inline S dram_warp_max(S x)
{
    for (int far = DRAM_WARP / 2; far; far /= 2) {
        S other = __shfl_xor_sync(DRAM_ALL_LANES, x, far);
        x = other > x ? other : x;
    }
    return x;
}

/* The sum over all BLOCK threads of a one-dimensional block, the same in all; every thread must come. It begins and
 * ends with a barrier's worth of order, so it can be called again at once. */
template <int BLOCK, typename S> __device__ static inline S dram_block_sum(S x)
{
    static_assert(BLOCK % DRAM_WARP == 0 && BLOCK <= 1024, "whole warps");
    DRAM_SHARED(S, part, [BLOCK / DRAM_WARP]);
    x = dram_warp_sum(x);
    if (BLOCK == DRAM_WARP) return x;
    __syncthreads();
    if (threadIdx.x % DRAM_WARP == 0) part[threadIdx.x / DRAM_WARP] = x;
    __syncthreads();
    S sum = 0;
    for (int i = 0; i < BLOCK / DRAM_WARP; i++) sum += part[i];
    return sum;
}

/* ---- launching ---- */

static inline const dram_cuda_context *dram_context(const dram_kernel_args *args)
{
    return static_cast<const dram_cuda_context *>(args->device);
}

/* Blocks of a grid-stride loop over n items, `each` for a block in one round: as many as keep the device full and no
 * more. Results must not depend on it. */
static inline unsigned dram_grid(const dram_kernel_args *args, int64_t n, int64_t each)
{
    int64_t blocks = dram_ceil_div(n, each), full = (int64_t)dram_context(args)->multiprocessors * 16;
    return (unsigned)(blocks < 1 ? 1 : blocks < full ? blocks : full);
}

/* A failing call of the runtime as a status. */
static inline dram_status dram_cuda_check(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) return DRAM_OK;
    return dram_fail(DRAM_ERR_RUN, "%s: CUDA says: %s", what, cudaGetErrorString(error));
}

/* Lets a kernel have `shared` bytes for DRAM_SHARED_DYNAMIC. What it may have belongs to the kernel and not to a launch,
 * and graphs may look at it again: it is set once, to the most that a block can have beside the kernel's own. */
static inline dram_status dram_allow_shared(const dram_cuda_context *context, const void *kernel, size_t shared)
{
    enum { WITHOUT_ASKING = 48 * 1024 };
    struct cudaFuncAttributes has;
    if (!shared) return DRAM_OK;
    TRY(dram_cuda_check(cudaFuncGetAttributes(&has, kernel), "a kernel does not say what it takes"));
    size_t most = (size_t)context->shared_bytes - has.sharedSizeBytes;
    if (shared + has.sharedSizeBytes > (size_t)context->shared_bytes)
        return dram_fail(DRAM_ERR_RUN, "a kernel needs %zu bytes of shared memory; a block of this GPU has %d",
                         shared + has.sharedSizeBytes, context->shared_bytes);
    if (shared + has.sharedSizeBytes <= WITHOUT_ASKING || has.maxDynamicSharedSizeBytes >= (int)most) return DRAM_OK;
    return dram_cuda_check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)most),
                           "a kernel cannot have its shared memory");
}

/* kernel<<<grid, block, shared>>>(given...) on the context's stream; `shared` bytes for DRAM_SHARED_DYNAMIC. */
template <typename... P, typename... G>
static dram_status dram_launch(const dram_kernel_args *args, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                               G... given)
{
    static_assert(sizeof...(P) == sizeof...(G), "a kernel is given what it takes");
    const dram_cuda_context *context = dram_context(args);
    TRY(dram_allow_shared(context, (const void *)kernel, shared));
#ifdef DRAM_CUDA_SIM
    return dram_cuda_check(
        cudasim_launch(
            context->stream, grid, block, shared, [=] { kernel(static_cast<P>(given)...); }, (const void *)kernel),
        "a kernel cannot be launched");
#else
    kernel<<<grid, block, shared, context->stream>>>(static_cast<P>(given)...);
    return dram_cuda_check(cudaGetLastError(), "a kernel cannot be launched");
#endif
}

#endif
