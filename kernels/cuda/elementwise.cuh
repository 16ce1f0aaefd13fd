/* elementwise: the shared form of kernels that do one thing to each element.
 *
 * A kernel is written once, with N elements to a pack:
 *
 *     template <typename T, int N> __global__ void relu_kernel(const T *x, T *y, int64_t n)
 *     {
 *         dram_map<N>(x, y, n, [](float v) { return v < 0 ? 0 : v; });
 *     }
 *
 * and launched as DRAM_PACKED(dram_packable(x, y), T, N, return dram_launch_map(args, relu_kernel<T, N>, n, N, x, y,
 * n)); that is with packs of 16 bytes, or of one element where an address is no multiple of 16. What is left behind the
 * last pack is done one by one. Every thread has two packs of each input under way at a time, so that even a device
 * filled by half keeps its memory busy. An output may lie on an input's bytes: an element is read and written by the
 * same thread.
 */
#ifndef DRAM_KERNELS_CUDA_ELEMENTWISE_CUH
#define DRAM_KERNELS_CUDA_ELEMENTWISE_CUH

#include "kernels/cuda/cuda.cuh"

enum { DRAM_MAP_BLOCK = 256, DRAM_MAP_PACKS = 2 };

/* Whether all begin at a multiple of 16 bytes. */
template <typename... P> static inline bool dram_packable(const P *...p)
{
    return (((uintptr_t)p % 16 == 0) && ...);
}

/* The code once with N = what 16 bytes hold of T, once with N = 1. It ends in `return`. */
#define DRAM_PACKED(PACKABLE, T, N, ...)                                                                               \
    if (PACKABLE) {                                                                                                    \
        constexpr int N = dram_vector<T>;                                                                              \
        __VA_ARGS__;                                                                                                   \
    } else {                                                                                                           \
        constexpr int N = 1;                                                                                           \
        __VA_ARGS__;                                                                                                   \
    }

/* A block's threads for `items` of them: whole warps, no more than DRAM_MAP_BLOCK. */
static inline unsigned dram_map_block(int64_t items)
{
    int64_t warps = dram_ceil_div(items, DRAM_WARP), most = DRAM_MAP_BLOCK / DRAM_WARP;
    return (unsigned)((warps < 1 ? 1 : warps < most ? warps : most) * DRAM_WARP);
}

/* Launches a kernel that goes over n elements in packs of `each` by dram_map or dram_each_pack. */
template <typename... P, typename... G>
static dram_status dram_launch_map(const dram_kernel_args *args, void (*kernel)(P...), int64_t n, int each, G... given)
{
    const int64_t packs = dram_ceil_div(n, each);
    const unsigned block = dram_map_block(packs);
    if (n <= 0) return DRAM_OK;
    return dram_launch(args, kernel, dim3(dram_grid(args, packs, (int64_t)block * DRAM_MAP_PACKS)), dim3(block), 0,
                       given...);
}

/* The numbers of the packs as fp32, given to f, and rounded to the type of the result. */
template <typename O, typename A, int N, typename F>
__device__ static inline dram_pack<O, N> dram_apply(const dram_pack<A, N> &a, F f)
{
    dram_pack<O, N> out;
    for (int k = 0; k < N; k++) out.at[k] = dram_to<O>(f(dram_float(a.at[k])));
    return out;
}
template <typename O, typename A, typename B, int N, typename F>
__device__ static inline dram_pack<O, N> dram_apply(const dram_pack<A, N> &a, const dram_pack<B, N> &b, F f)
{
    dram_pack<O, N> out;
    for (int k = 0; k < N; k++) out.at[k] = dram_to<O>(f(dram_float(a.at[k]), dram_float(b.at[k])));
    return out;
}

/* Calls two(i, j, more) for pairs of packs, of which j is there only with `more`, then one(i) for the elements that
 * are left behind the last pack. */
template <int N, typename TWO, typename ONE> __device__ static inline void dram_each_pack(int64_t n, TWO two, ONE one)
{
    const int64_t packs = n / N, round = (int64_t)gridDim.x * blockDim.x * DRAM_MAP_PACKS;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x * DRAM_MAP_PACKS + threadIdx.x; i < packs; i += round)
        two(i, i + blockDim.x, i + blockDim.x < packs);
    if (N > 1 && blockIdx.x == 0 && threadIdx.x < n - packs * N) one(packs * N + threadIdx.x);
}

/* out[i] = f(a[i]) */
template <int N, typename A, typename O, typename F>
__device__ static inline void dram_map(const A *a, O *out, int64_t n, F f)
{
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            dram_pack<A, N> x = dram_load<A, N>(a + i * N), y = more ? dram_load<A, N>(a + j * N) : x;
            dram_store<O, N>(out + i * N, dram_apply<O>(x, f));
            if (more) dram_store<O, N>(out + j * N, dram_apply<O>(y, f));
        },
        [=](int64_t i) { out[i] = dram_to<O>(f(dram_float(a[i]))); });
}

/* out[i] = f(a[i], b[i]) */
template <int N, typename A, typename B, typename O, typename F>
__device__ static inline void dram_map(const A *a, const B *b, O *out, int64_t n, F f)
{
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            dram_pack<A, N> x = dram_load<A, N>(a + i * N), y = more ? dram_load<A, N>(a + j * N) : x;
            dram_pack<B, N> u = dram_load<B, N>(b + i * N), v = more ? dram_load<B, N>(b + j * N) : u;
            dram_store<O, N>(out + i * N, dram_apply<O>(x, u, f));
            if (more) dram_store<O, N>(out + j * N, dram_apply<O>(y, v, f));
        },
        [=](int64_t i) { out[i] = dram_to<O>(f(dram_float(a[i]), dram_float(b[i]))); });
}

#endif
