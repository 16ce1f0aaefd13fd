/* add, sum_batch, scale, scale_by, fill, weighted_sum. All are bound by memory: one FLOP an element at two or three
 * numbers. */
#include "kernels/cuda/elementwise.cuh"

/* ---- add ---- */

/* 12 bytes an element of f32. out may be a or b. */
template <typename T, int N> static __global__ void add_kernel(const T *a, const T *b, T *out, int64_t n)
{
    dram_map<N>(a, b, out, n, [](float x, float y) { return x + y; });
}

/* b is one image of n elements and goes to all `images` of a: it is read once, so 8 bytes an element. out may be a. */
template <typename T, int N>
static __global__ void add_to_each_kernel(const T *a, const T *b, T *out, int64_t n, int images)
{
    auto sum = [](float x, float y) { return x + y; };
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            const dram_pack<T, N> u = dram_load<T, N>(b + i * N), v = more ? dram_load<T, N>(b + j * N) : u;
            int64_t at = 0;
            for (int image = 0; image < images; image++, at += n) {
                dram_pack<T, N> x = dram_load<T, N>(a + at + i * N), y = more ? dram_load<T, N>(a + at + j * N) : x;
                dram_store<T, N>(out + at + i * N, dram_apply<T>(x, u, sum));
                if (more) dram_store<T, N>(out + at + j * N, dram_apply<T>(y, v, sum));
            }
        },
        [](int64_t) {});
}

template <typename T> static dram_status add_of(const dram_kernel_args *args)
{
    const T *a = static_cast<const T *>(args->in[0].data), *b = static_cast<const T *>(args->in[1].data);
    T *out = static_cast<T *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape), inner = dram_elements(&args->in[1].shape);
    if (n == inner) {
        DRAM_PACKED(dram_packable(a, b, out), T, N, return dram_launch_map(args, add_kernel<T, N>, n, N, a, b, out, n));
    }
    DRAM_PACKED(dram_packable(a, b, out) && inner % dram_vector<T> == 0, T, N,
                return dram_launch_map(args, add_to_each_kernel<T, N>, inner, N, a, b, out, inner, (int)(n / inner)));
}

DRAM_CUDA_KERNEL(add)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return add_of<T>(args));
}

/* ---- sum_batch ---- */

/* out [1,...] = the sum of `images` of n elements each, one after the other: 4 bytes an element of f32. */
template <typename T, int N> static __global__ void sum_batch_kernel(const T *x, float *out, int64_t n, int images)
{
    auto sum_pack = [=](int64_t i) {
        dram_pack<float, N> sum = {};
        const T *from = x + i * N;
        for (int image = 0; image < images; image++, from += n) {
            const dram_pack<T, N> more = dram_load<T, N>(from);
            for (int k = 0; k < N; k++) sum.at[k] += dram_float(more.at[k]);
        }
        for (int k = 0; k < N; k += dram_vector<float>) { /* 16 bytes at a time */
            constexpr int M = N < dram_vector<float> ? N : dram_vector<float>;
            dram_pack<float, M> part;
            for (int m = 0; m < M; m++) part.at[m] = sum.at[k + m];
            dram_store<float, M>(out + i * N + k, part);
        }
    };
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            sum_pack(i);
            if (more) sum_pack(j);
        },
        [](int64_t) {});
}

template <typename T> static dram_status sum_batch_of(const dram_kernel_args *args)
{
    const T *x = static_cast<const T *>(args->in[0].data);
    float *out = static_cast<float *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape), inner = dram_elements(&args->out[0].shape);
    DRAM_PACKED(dram_packable(x, out) && inner % dram_vector<T> == 0, T, N,
                return dram_launch_map(args, sum_batch_kernel<T, N>, inner, N, x, out, inner, (int)(n / inner)));
}

DRAM_CUDA_KERNEL(sum_batch)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return sum_batch_of<T>(args));
}

/* ---- scale, scale_by ---- */

/* 8 bytes an element of f32. `by` holds the factor if it is not NULL. out may be x. */
template <typename T, int N>
static __global__ void scale_kernel(const T *x, const float *by, float given, T *out, int64_t n)
{
    const float factor = by ? *by : given;
    dram_map<N>(x, out, n, [=](float v) { return v * factor; });
}

template <typename T> static dram_status scale_of(const dram_kernel_args *args, const float *by)
{
    const T *x = static_cast<const T *>(args->in[0].data);
    T *out = static_cast<T *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(x, out), T, N,
                return dram_launch_map(args, scale_kernel<T, N>, n, N, x, by, args->attr->scale, out, n));
}

DRAM_CUDA_KERNEL(scale)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return scale_of<T>(args, NULL));
}

DRAM_CUDA_KERNEL(scale_by)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return scale_of<T>(args, static_cast<const float *>(args->in[1].data)));
}

/* ---- scalars ---- */

static __global__ void fill_kernel(float *out, float number)
{
    *out = number;
}

DRAM_CUDA_KERNEL(fill)
{
    return dram_launch(args, fill_kernel, dim3(1), dim3(1), 0, static_cast<float *>(args->out[0].data),
                       args->attr->scale);
}

struct scalars {
    const float *x[DRAM_MAX_IN]; /* NULL where there is none */
    float weight[DRAM_MAX_IN];
};

static __global__ void weighted_sum_kernel(scalars in, float *out)
{
    double sum = 0;
    for (int i = 0; i < DRAM_MAX_IN; i++)
        if (in.x[i]) sum += (double)in.weight[i] * (double)*in.x[i];
    *out = (float)sum;
}

DRAM_CUDA_KERNEL(weighted_sum)
{
    scalars in = {};
    for (int i = 0; i < args->n_in; i++) {
        in.x[i] = static_cast<const float *>(args->in[i].data);
        in.weight[i] = args->attr->weight[i];
    }
    return dram_launch(args, weighted_sum_kernel, dim3(1), dim3(1), 0, in, static_cast<float *>(args->out[0].data));
}
