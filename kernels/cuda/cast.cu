/* cast between f32, bf16 and f16. Bound by memory: 6 bytes an element between f32 and the others. The bits are those of
 * base/half.h, NaN too: the processor's own conversions make all NaN one, so these go by hand. */
#include <type_traits>

#include "kernels/cuda/elementwise.cuh"

__device__ static inline uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

__device__ static inline float widen(float x)
{
    return x;
}
__device__ static inline float widen(dram_bf16 x)
{
    return dram_float(x);
}
__device__ static inline float widen(dram_f16 x)
{
    const uint32_t fraction = x.bits & 0x3ffu;
    if ((x.bits & 0x7c00u) != 0x7c00u || fraction == 0) return dram_float(x);
    const uint32_t nan = (uint32_t)(x.bits & 0x8000u) << 16 | 0x7fc00000u | fraction << 13;
    float y;
    memcpy(&y, &nan, sizeof y);
    return y;
}

template <typename T> __device__ static inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x)
{
    return x;
}
template <> __device__ inline dram_bf16 narrow<dram_bf16>(float x)
{
    return x == x ? dram_to<dram_bf16>(x) : dram_bf16{(uint16_t)(bits_of(x) >> 16 | 0x40u)};
}
template <> __device__ inline dram_f16 narrow<dram_f16>(float x)
{
    const uint32_t bits = bits_of(x);
    return x == x ? dram_to<dram_f16>(x)
                  : dram_f16{(uint16_t)((bits >> 16 & 0x8000u) | 0x7e00u | (bits >> 13 & 0x1ffu))};
}

template <typename A, typename O, int N> __device__ static inline dram_pack<O, N> cast_pack(const dram_pack<A, N> &x)
{
    dram_pack<O, N> out;
    for (int k = 0; k < N; k++) out.at[k] = narrow<O>(widen(x.at[k]));
    return out;
}

template <typename A, typename O, int N> static __global__ void cast_kernel(const A *x, O *out, int64_t n)
{
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            const dram_pack<A, N> a = dram_load<A, N>(x + i * N), b = more ? dram_load<A, N>(x + j * N) : a;
            dram_store<O, N>(out + i * N, cast_pack<A, O, N>(a));
            if (more) dram_store<O, N>(out + j * N, cast_pack<A, O, N>(b));
        },
        [=](int64_t i) { out[i] = narrow<O>(widen(x[i])); });
}

/* Packs are of 16 bytes of the larger type. */
template <typename A, typename O> static dram_status cast_of(const dram_kernel_args *args)
{
    typedef typename std::conditional<(sizeof(A) > sizeof(O)), A, O>::type larger;
    const A *x = static_cast<const A *>(args->in[0].data);
    O *out = static_cast<O *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(x, out), larger, N, return dram_launch_map(args, cast_kernel<A, O, N>, n, N, x, out, n));
}

template <typename A> static dram_status cast_from(const dram_kernel_args *args)
{
    DRAM_FLOAT_TYPES(args->out[0].dtype, O, return cast_of<A, O>(args));
}

DRAM_CUDA_KERNEL(cast)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, A, return cast_from<A>(args));
}
