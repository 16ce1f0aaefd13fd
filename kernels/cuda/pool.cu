/* avgpool, avgpool_grad, scale_channels, scale_channels_sgrad over x [N,P,C], P = H W pixels.
 *
 * Bound by memory: bytes an element of f32 4 (avgpool), 4 or 8 (its gradient), 8 (scale_channels, sgrad), at 1 or 2
 * FLOPs. Sums are of four pixels in fp32, those in fp64: a quarter of a double's addition an element, which also the
 * cards that are slow in fp64 do in the time of the memory.
 */
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/elementwise.cuh"

/* ---- sums over the image ---- */

enum { PIXELS_AT_ONCE = 4 };

/* The thread's sums of x, or of x y, over pixels begin, begin + step, ... below end; x and y point to its channels. */
template <typename T, int N, bool PRODUCT>
__device__ static inline void sum_pixels(const T *x, const T *y, int begin, int end, int step, int64_t channels,
                                         double (&sum)[N])
{
    int p = begin;
    for (; p + (PIXELS_AT_ONCE - 1) * step < end; p += PIXELS_AT_ONCE * step) {
        dram_pack<T, N> a[PIXELS_AT_ONCE], b[PIXELS_AT_ONCE];
        for (int i = 0; i < PIXELS_AT_ONCE; i++) {
            a[i] = dram_load<T, N>(x + (int64_t)(p + i * step) * channels);
            if (PRODUCT) b[i] = dram_load<T, N>(y + (int64_t)(p + i * step) * channels);
        }
        for (int k = 0; k < N; k++) {
            const float x0 = dram_float(a[0].at[k]), x1 = dram_float(a[1].at[k]);
            const float x2 = dram_float(a[2].at[k]), x3 = dram_float(a[3].at[k]);
            if (PRODUCT)
                sum[k] += (double)(fmaf(x0, dram_float(b[0].at[k]), x1 * dram_float(b[1].at[k])) +
                                   fmaf(x2, dram_float(b[2].at[k]), x3 * dram_float(b[3].at[k])));
            else
                sum[k] += (double)((x0 + x1) + (x2 + x3));
        }
    }
    for (; p < end; p += step) {
        const dram_pack<T, N> a = dram_load<T, N>(x + (int64_t)p * channels);
        dram_pack<T, N> b = a;
        if (PRODUCT) b = dram_load<T, N>(y + (int64_t)p * channels);
        for (int k = 0; k < N; k++)
            sum[k] += (double)dram_float(a.at[k]) * (PRODUCT ? (double)dram_float(b.at[k]) : 1.0);
    }
}

typedef struct {
    int pixels, pixels_per_part, parts;
    float factor;
} sum_job;

/* grid: parts, chunks of channels, images. The sums go to part [images,parts,C], or with one part to out. */
template <typename T, int N, bool PRODUCT>
static __global__ void sum_kernel(const T *x, const T *y, dram_columns of, sum_job j, double *part, T *out)
{
    const dram_column at = dram_column_here(of, N);
    const int64_t image = (int64_t)blockIdx.z * j.pixels * of.channels + at.channel;
    const int begin = (int)blockIdx.x * j.pixels_per_part;
    const int end = begin + j.pixels_per_part < j.pixels ? begin + j.pixels_per_part : j.pixels;
    double sum[N] = {};
    if (at.in)
        sum_pixels<T, N, PRODUCT>(x + image, PRODUCT ? y + image : NULL, begin + at.y, end, of.high, of.channels, sum);
    dram_column_sum<N>(of, at.y, sum);
    if (!at.in || at.y > 0) return;
    const int64_t to = ((int64_t)blockIdx.z * j.parts + blockIdx.x) * of.channels + at.channel;
    for (int k = 0; k < N; k++)
        if (part)
            part[to + k] = sum[k];
        else
            out[to + k] = dram_to<T>((float)(sum[k] * (double)j.factor));
}

/* n = images times C: the parts' sums. */
template <typename T>
static __global__ void sum_parts_kernel(const double *part, T *out, int64_t n, int64_t channels, sum_job j)
{
    const int64_t i = dram_total_column(n), from = i / channels * j.parts * channels + i % channels;
    const double sum = dram_parts_total(part, j.parts, channels, i < 0 ? i : from);
    if (i < 0 || threadIdx.x >= DRAM_TOTAL_COLUMNS) return;
    out[i] = dram_to<T>((float)(sum * (double)j.factor));
}

template <typename T, bool PRODUCT>
static dram_status sum_images(const dram_kernel_args *args, const void *other, float factor)
{
    const dram_shape *shape = &args->in[0].shape;
    const T *x = static_cast<const T *>(args->in[0].data), *y = static_cast<const T *>(other);
    T *out = static_cast<T *>(args->out[0].data);
    const int64_t images = shape->dim[0], channels = shape->dim[3];
    const int64_t room = args->workspace_bytes / (images * channels * (int64_t)sizeof(double));
    sum_job j = {(int)(shape->dim[1] * shape->dim[2]), 0, 0, factor};
    j.pixels_per_part = (int)dram_ceil_div(j.pixels, room > 1 ? room : 1);
    j.parts = (int)dram_ceil_div(j.pixels, j.pixels_per_part);
    double *part = j.parts > 1 ? static_cast<double *>(args->workspace) : NULL;
    DRAM_PACKED(dram_packable(x, y) && channels % dram_vector<T> == 0, T, N, {
        const dram_columns of = dram_columns_of(j.pixels_per_part, channels, N);
        TRY(dram_launch(args, sum_kernel<T, N, PRODUCT>, dim3((unsigned)j.parts, (unsigned)of.chunks, (unsigned)images),
                        dim3((unsigned)(of.wide * of.high)), 0, x, y, of, j, part, out));
        if (!part) return DRAM_OK;
        const int64_t n = images * channels;
        return dram_launch(args, sum_parts_kernel<T>, dim3((unsigned)dram_ceil_div(n, DRAM_TOTAL_COLUMNS)),
                           dim3(DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES), 0, part, out, n, channels, j);
    });
}

DRAM_CUDA_KERNEL(avgpool)
{
    const float factor = 1.0f / (float)(args->in[0].shape.dim[1] * args->in[0].shape.dim[2]);
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return sum_images<T, false>(args, NULL, factor));
}

DRAM_CUDA_KERNEL(scale_channels_sgrad)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return sum_images<T, true>(args, args->in[1].data, 1.0f));
}

/* ---- one number a channel, to all pixels ---- */

enum { PIXELS_A_THREAD = 8 };

/* out = s x, s factor + acc, or s factor. out may be x or acc. grid: pixels, chunks of channels, images. */
template <typename T, int N>
static __global__ void spread_kernel(const T *s, float factor, const T *x, const T *acc, T *out, dram_columns of)
{
    const dram_column here = dram_column_here(of, N);
    const int64_t image = (int64_t)blockIdx.z * of.rows;
    if (!here.in) return;
    const dram_pack<T, N> number = dram_load<T, N>(s + blockIdx.z * of.channels + here.channel);
    for (int i = 0; i < PIXELS_A_THREAD; i++) {
        const int64_t p = ((int64_t)blockIdx.x * PIXELS_A_THREAD + i) * of.high + here.y;
        if (p >= of.rows) return;
        const int64_t at = (image + p) * of.channels + here.channel;
        dram_pack<T, N> to;
        if (x) {
            const dram_pack<T, N> from = dram_load<T, N>(x + at);
            for (int k = 0; k < N; k++) to.at[k] = dram_to<T>(dram_float(from.at[k]) * dram_float(number.at[k]));
        } else if (acc) {
            const dram_pack<T, N> from = dram_load<T, N>(acc + at);
            for (int k = 0; k < N; k++)
                to.at[k] = dram_to<T>(fmaf(dram_float(number.at[k]), factor, dram_float(from.at[k])));
        } else {
            for (int k = 0; k < N; k++) to.at[k] = dram_to<T>(dram_float(number.at[k]) * factor);
        }
        dram_store<T, N>(out + at, to);
    }
}

/* image [N,H,W,C] is the shape of out. */
template <typename T>
static dram_status spread(const dram_kernel_args *args, const void *numbers, float factor, const void *times,
                          const void *onto)
{
    const dram_shape *shape = &args->out[0].shape;
    const int64_t pixels = shape->dim[1] * shape->dim[2], channels = shape->dim[3];
    const T *s = static_cast<const T *>(numbers), *x = static_cast<const T *>(times),
            *acc = static_cast<const T *>(onto);
    T *out = static_cast<T *>(args->out[0].data);
    DRAM_PACKED(dram_packable(s, x, acc, out) && channels % dram_vector<T> == 0, T, N, {
        const dram_columns of = dram_columns_of(pixels, channels, N);
        const int64_t pieces = dram_ceil_div(pixels, (int64_t)of.high * PIXELS_A_THREAD);
        return dram_launch(args, spread_kernel<T, N>,
                           dim3((unsigned)pieces, (unsigned)of.chunks, (unsigned)shape->dim[0]),
                           dim3((unsigned)(of.wide * of.high)), 0, s, factor, x, acc, out, of);
    });
}

DRAM_CUDA_KERNEL(avgpool_grad)
{
    const float factor = 1.0f / (float)(args->out[0].shape.dim[1] * args->out[0].shape.dim[2]);
    const void *acc = args->in[1].data;
    DRAM_FLOAT_TYPES(args->out[0].dtype, T, return spread<T>(args, args->in[0].data, factor, NULL, acc));
}

DRAM_CUDA_KERNEL(scale_channels)
{
    DRAM_FLOAT_TYPES(args->out[0].dtype, T, return spread<T>(args, args->in[1].data, 1.0f, args->in[0].data, NULL));
}
