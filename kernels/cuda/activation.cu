/* relu, gelu, sigmoid and their gradients. Bound by memory: 8 bytes an element of f32 forward, 12 backward, 4 and 6 of
 * bf16, at 1 to 60 FLOPs. Outputs may lie on any input. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/elementwise.cuh"

/* ---- one element ---- */

namespace
{

/* Written so that NaN stays NaN. */
struct relu_op {
    __device__ static float of(float x)
    {
        return x < 0.0f ? 0.0f : x;
    }
};

struct relu_grad_op {
    __device__ static float of(float y, float dy)
    {
        return y > 0.0f ? dy : 0.0f;
    }
};

struct gelu_op {
    __device__ static float of(float x)
    {
        return dram_gelu(x);
    }
};

/* Phi(x) + x phi(x), phi(x) = exp(-x^2 / 2) / sqrt(2 pi) */
struct gelu_grad_op {
    __device__ static float of(float x, float dy)
    {
        const float phi = 0x1.988454p-2f * expf(-0.5f * x * x);
        return dy * (0.5f * (1.0f + erff(x * 0x1.6a09e6p-1f)) + x * phi);
    }
};

struct sigmoid_op {
    __device__ static float of(float x)
    {
        return 1.0f / (1.0f + expf(-x));
    }
};

struct sigmoid_grad_op {
    __device__ static float of(float y, float dy)
    {
        return dy * y * (1.0f - y);
    }
};

} // namespace

/* ---- all of them ---- */

template <typename OP, typename T, int N> static __global__ void forward_kernel(const T *x, T *y, int64_t n)
{
    dram_map<N>(x, y, n, [](float v) { return OP::of(v); });
}

template <typename OP, typename T, int N> static __global__ void grad_kernel(const T *x, const T *dy, T *dx, int64_t n)
{
    dram_map<N>(x, dy, dx, n, [](float v, float g) { return OP::of(v, g); });
}

template <typename OP, typename T> static dram_status forward_of(const dram_kernel_args *args)
{
    const T *x = static_cast<const T *>(args->in[0].data);
    T *y = static_cast<T *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(x, y), T, N, return dram_launch_map(args, forward_kernel<OP, T, N>, n, N, x, y, n));
}

template <typename OP, typename T> static dram_status grad_of(const dram_kernel_args *args)
{
    const T *x = static_cast<const T *>(args->in[0].data), *dy = static_cast<const T *>(args->in[1].data);
    T *dx = static_cast<T *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(x, dy, dx), T, N,
                return dram_launch_map(args, grad_kernel<OP, T, N>, n, N, x, dy, dx, n));
}

DRAM_CUDA_KERNEL(relu)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return forward_of<relu_op, T>(args));
}

DRAM_CUDA_KERNEL(relu_grad)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return grad_of<relu_grad_op, T>(args));
}

DRAM_CUDA_KERNEL(gelu)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return forward_of<gelu_op, T>(args));
}

DRAM_CUDA_KERNEL(gelu_grad)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return grad_of<gelu_grad_op, T>(args));
}

DRAM_CUDA_KERNEL(sigmoid)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return forward_of<sigmoid_op, T>(args));
}

DRAM_CUDA_KERNEL(sigmoid_grad)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return grad_of<sigmoid_grad_op, T>(args));
}
