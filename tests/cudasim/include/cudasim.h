/* cudasim: what a kernel sees of the simulated GPU. C++17; README.md has the whole. */
#ifndef CUDASIM_H
#define CUDASIM_H

#include <cstdint>
#include <cstring>
#include <functional>
#include <math.h>
#include <type_traits>

#include "cuda_runtime_api.h"

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(BYTES) __attribute__((aligned(BYTES)))

/* ---- where a thread is ---- */

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

extern uint3 threadIdx, blockIdx; /* of the thread that runs: set anew at each switch */
extern dim3 blockDim, gridDim;
static constexpr int warpSize = 32;

/* ---- faults ---- */

/* One line on stderr, "cudasim: ...", and the end of the process. Every check of the simulator ends here. */
[[noreturn]] void cudasim_fault(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Faults unless `bytes` divides the address. */
void cudasim_misaligned(const void *at, size_t bytes);
static inline void cudasim_aligned(const void *at, size_t bytes)
{
    if (reinterpret_cast<uintptr_t>(at) % bytes) cudasim_misaligned(at, bytes);
}

/* ---- shared memory ---- */

/* The block's `bytes` named by `key`: taken when first asked for, 0xff until written. */
void *cudasim_shared(const void *key, size_t bytes, size_t align);
/* What the launch asked for, aligned to 128 bytes. */
void *cudasim_shared_dynamic();

/* ---- launching ---- */

/* Queues a kernel whose threads each run a copy of `body`. `code` is the kernel's address, for its name in messages. */
cudaError_t cudasim_launch_body(cudaStream_t stream, dim3 grid, dim3 block, size_t shared, std::function<void()> body,
                                const void *code);
template <typename F>
cudaError_t cudasim_launch(cudaStream_t stream, dim3 grid, dim3 block, size_t shared, F body,
                           const void *code = nullptr)
{
    return cudasim_launch_body(stream, grid, block, shared, std::function<void()>(body), code);
}

/* Queues host code that behaves like a kernel: for simulated libraries. `what` is its name in messages. */
void cudasim_enqueue(cudaStream_t stream, const char *what, std::function<void()> body);

/* Device memory that is taken without an allocation, the first time that `what`, a kernel or a library, is used, and is
 * kept: as much as that setting of the environment says. */
cudaError_t cudasim_occupy(const void *what, const char *setting);

/* ---- barriers ---- */

enum cudasim_barrier { CUDASIM_SYNC, CUDASIM_SYNC_OR, CUDASIM_SYNC_AND, CUDASIM_SYNC_COUNT };
int cudasim_block_wait(cudasim_barrier kind, int value);

static inline void __syncthreads()
{
    cudasim_block_wait(CUDASIM_SYNC, 0);
}
static inline int __syncthreads_or(int value)
{
    return cudasim_block_wait(CUDASIM_SYNC_OR, value);
}
static inline int __syncthreads_and(int value)
{
    return cudasim_block_wait(CUDASIM_SYNC_AND, value);
}
static inline int __syncthreads_count(int value)
{
    return cudasim_block_wait(CUDASIM_SYNC_COUNT, value);
}
static inline void __threadfence()
{
}
static inline void __threadfence_block()
{
}

/* ---- a warp together ---- */

/* Every lane of `mask` must come with the same `what`, `mask` and `bytes`. source >= 0: `out` receives the `bytes` of
 * that lane; else those of all 32, zeros for lanes not in the mask. */
void cudasim_warp_exchange(const char *what, unsigned mask, const void *mine, void *out, size_t bytes, int source);
int cudasim_lane();

template <typename T> void cudasim_warp_gather(const T &mine, T all[32])
{
    static_assert(std::is_trivially_copyable<T>::value, "lanes exchange bytes");
    cudasim_warp_exchange("cudasim_warp_gather", 0xffffffffu, &mine, all, sizeof(T), -1);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    cudasim_warp_exchange("__syncwarp", mask, nullptr, nullptr, 0, 0);
}

template <typename T> static inline T cudasim_shuffle(const char *what, unsigned mask, T value, int source, int width)
{
    static_assert(std::is_arithmetic<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "a shuffle moves 4 or 8 bytes");
    if (width < 1 || width > 32 || (width & (width - 1))) cudasim_fault("%s of width %d", what, width);
    T out;
    cudasim_warp_exchange(what, mask, &value, &out, sizeof(T), source);
    return out;
}
template <typename T> static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32)
{
    int first = cudasim_lane() & ~(width - 1);
    return cudasim_shuffle("__shfl_sync", mask, value, first | (source & (width - 1)), width);
}
template <typename T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned far, int width = 32)
{
    int lane = cudasim_lane(), within = lane & (width - 1);
    return cudasim_shuffle("__shfl_up_sync", mask, value, far > (unsigned)within ? lane : lane - (int)far, width);
}
template <typename T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned far, int width = 32)
{
    int lane = cudasim_lane(), left = width - 1 - (lane & (width - 1));
    return cudasim_shuffle("__shfl_down_sync", mask, value, far > (unsigned)left ? lane : lane + (int)far, width);
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32)
{
    int lane = cudasim_lane(), source = lane ^ with;
    return cudasim_shuffle("__shfl_xor_sync", mask, value, source > (lane | (width - 1)) ? lane : source, width);
}

static inline unsigned cudasim_votes(const char *what, unsigned mask, int predicate)
{
    unsigned mine = predicate != 0, all[32], votes = 0;
    cudasim_warp_exchange(what, mask, &mine, all, sizeof mine, -1);
    for (int lane = 0; lane < 32; lane++) votes |= all[lane] << lane;
    return votes;
}
static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    return cudasim_votes("__ballot_sync", mask, predicate);
}
static inline int __any_sync(unsigned mask, int predicate)
{
    return cudasim_votes("__any_sync", mask, predicate) != 0;
}
static inline int __all_sync(unsigned mask, int predicate)
{
    return cudasim_votes("__all_sync", mask, predicate) == mask;
}

/* ---- device mathematics ---- */

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}
static inline int __popcll(unsigned long long x)
{
    return __builtin_popcountll(x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}
static inline unsigned __umulhi(unsigned x, unsigned y)
{
    return (unsigned)((uint64_t)x * y >> 32);
}
static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline int __float_as_int(float x)
{
    return (int)__float_as_uint(x);
}
static inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static inline float __int_as_float(int bits)
{
    return __uint_as_float((unsigned)bits);
}
static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}
static inline float __fadd_rn(float a, float b)
{
    return a + b;
}
static inline float __fsub_rn(float a, float b)
{
    return a - b;
}
static inline float __fmul_rn(float a, float b)
{
    return a * b;
}
static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}
static inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}
static inline double __dadd_rn(double a, double b)
{
    return a + b;
}
static inline double __dmul_rn(double a, double b)
{
    return a * b;
}
static inline float __fdividef(float a, float b)
{
    return a / b;
}
static inline float cudasim_rsqrtf(float a)
{
    return 1.0f / sqrtf(a);
}
static inline double cudasim_rsqrt(double a)
{
    return 1.0 / sqrt(a);
}
#define rsqrtf(X) cudasim_rsqrtf(X) /* newer C libraries have functions of these names */
#define rsqrt(X) cudasim_rsqrt(X)
#define __expf(X) expf(X) /* the C library declares these two for itself */
#define __logf(X) logf(X)
static inline float __saturatef(float x)
{
    return x > 0.0f ? x < 1.0f ? x : 1.0f : 0.0f;
}
static inline int __float2int_rn(float x)
{
    return (int)rintf(x);
}
template <typename T> static inline T __ldg(const T *from)
{
    return *from;
}

/* min and max as CUDA has them on the device: of a NaN and a number, the number. */
#define CUDASIM_MINMAX(T)                                                                                              \
    static inline T min(T a, T b)                                                                                      \
    {                                                                                                                  \
        return b < a ? b : a;                                                                                          \
    }                                                                                                                  \
    static inline T max(T a, T b)                                                                                      \
    {                                                                                                                  \
        return a < b ? b : a;                                                                                          \
    }
CUDASIM_MINMAX(int)
CUDASIM_MINMAX(unsigned)
CUDASIM_MINMAX(long)
CUDASIM_MINMAX(unsigned long)
CUDASIM_MINMAX(long long)
CUDASIM_MINMAX(unsigned long long)
#undef CUDASIM_MINMAX
static inline float min(float a, float b)
{
    return fminf(a, b);
}
static inline float max(float a, float b)
{
    return fmaxf(a, b);
}
static inline double min(double a, double b)
{
    return fmin(a, b);
}
static inline double max(double a, double b)
{
    return fmax(a, b);
}

/* ---- atomics on integers: threads change places at barriers alone ---- */

template <typename T> static inline T atomicAdd(T *at, T x)
{
    static_assert(std::is_integral<T>::value, "sums of floats have one order");
    T old = *at;
    *at = (T)(old + x);
    return old;
}
template <typename T> static inline T atomicMax(T *at, T x)
{
    static_assert(std::is_integral<T>::value, "on integers");
    T old = *at;
    if (old < x) *at = x;
    return old;
}
template <typename T> static inline T atomicMin(T *at, T x)
{
    static_assert(std::is_integral<T>::value, "on integers");
    T old = *at;
    if (x < old) *at = x;
    return old;
}
template <typename T> static inline T atomicOr(T *at, T x)
{
    static_assert(std::is_integral<T>::value, "on integers");
    T old = *at;
    *at = (T)(old | x);
    return old;
}
template <typename T> static inline T atomicExch(T *at, T x)
{
    static_assert(std::is_integral<T>::value, "on integers");
    T old = *at;
    *at = x;
    return old;
}
template <typename T> static inline T atomicCAS(T *at, T expected, T x)
{
    static_assert(std::is_integral<T>::value, "on integers");
    T old = *at;
    if (old == expected) *at = x;
    return old;
}

#endif
