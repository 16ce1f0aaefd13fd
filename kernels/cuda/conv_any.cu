/* conv_any: convolutions of any shape and type, a thread for each number of the result. Limits: 2 FLOPs for each number
 * of y and of a filter; the reads of x and the weight are met by the caches.
 *
 * The gradient of a small filter (a stem's, of 3 x 3 x 3 numbers) has few results and very many pixels: few_wgrad reads
 * each number of dy once. Limits of RegNet's stem at 1024, batch 8, in bf16: 185 MB read, 3.6 GFLOP in fp32. */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/columns.cuh"
#include "kernels/cuda/conv.h"

enum {
    THREADS = 256,
    MOST_PARTS = 512,
    MANY_PARTS = 32,
    SMALL_PIXELS = 4,    /* of a warp at a time, where filters are small, */
    SMALL_DEPTH = 352,   /* which are of so many numbers at most: in shared memory, */
    SMALL_STEP = 32 + 1, /* a lane for each of 32 outputs, and one number that keeps banks apart */
    FEW_EACH = 7,        /* numbers of a filter that a thread sums, for */
    FEW_SIDE = 4,        /* outputs side by side; a warp has 4 times so many numbers of 8 times so many outputs: */
    FEW_FILTER = 4 * FEW_EACH,
    FEW_OUTPUTS = 8 * FEW_SIDE,
    FEW_PIXELS = 64,      /* of a line of y at a time: dy and the lines of x below it are in shared memory, */
    FEW_BYTES = 24 * 1024 /* x in so many bytes at most */
};

/* Where the numbers of image pixel (image, y, x) begin. */
__device__ static inline int64_t pixel_at(int image, int height, int width, int y, int x, int channels)
{
    return (((int64_t)image * height + y) * width + x) * channels;
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    any_forward(dram_cuda_conv v, const T *x, const T *weight, const float *bias, T *y, int64_t n)
{
    int taps = v.kh * v.kw;
    for (int64_t at = blockIdx.x * (int64_t)THREADS + threadIdx.x; at < n; at += (int64_t)gridDim.x * THREADS) {
        int o = (int)(at % v.o), pixel = (int)(at / v.o);
        int ox = pixel % v.ow, oy = pixel / v.ow % v.oh, image = pixel / (v.ow * v.oh);
        const T *filter = weight + (int64_t)o * taps * v.ci;
        float sum = 0.0f;
        for (int ky = 0; ky < v.kh; ky++) {
            int iy = oy * v.stride_y - v.pad + ky;
            if (iy < 0 || iy >= v.h) continue;
            for (int kx = 0; kx < v.kw; kx++) {
                int ix = ox * v.stride_x - v.pad + kx;
                if (ix < 0 || ix >= v.w) continue;
                const T *from = x + pixel_at(image, v.h, v.w, iy, ix, v.c) + o / v.co * v.ci;
                const T *by = filter + (int64_t)(ky * v.kw + kx) * v.ci;
                for (int i = 0; i < v.ci; i++) sum = fmaf(dram_float(from[i]), dram_float(by[i]), sum);
            }
        }
        y[at] = dram_to<T>(dram_end_in<T>(v.act, bias ? sum + bias[o] : sum));
    }
}

/* The filters of 32 outputs stay in shared memory, in fp32; a warp's lanes are these outputs, so that a number of x
 * goes to all of them at once, and one of a filter to SMALL_PIXELS pixels. One group. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    small_forward(dram_cuda_conv v, const T *x, const T *weight, const float *bias, T *y, int pixels)
{
    DRAM_SHARED_DYNAMIC(float, filters);
    int depth = v.kh * v.kw * v.ci, lane = (int)threadIdx.x % 32, o0 = (int)blockIdx.y * 32, o = o0 + lane;
    for (int i = (int)threadIdx.x; i < 32 * depth; i += THREADS) {
        int row = i / depth, k = i - row * depth;
        filters[k * SMALL_STEP + row] = o0 + row < v.o ? dram_float(weight[(int64_t)(o0 + row) * depth + k]) : 0.0f;
    }
    __syncthreads();
    int each = (int)gridDim.x * THREADS / 32 * SMALL_PIXELS;
    for (int first = (int)(blockIdx.x * THREADS + threadIdx.x) / 32 * SMALL_PIXELS; first < pixels; first += each) {
        int iy[SMALL_PIXELS], ix[SMALL_PIXELS];
        int64_t at[SMALL_PIXELS];
        float sum[SMALL_PIXELS] = {};
        for (int q = 0; q < SMALL_PIXELS; q++) {
            int line = (first + q) / v.ow, image = line / v.oh;
            iy[q] = first + q < pixels ? (line - image * v.oh) * v.stride_y - v.pad : -(1 << 28);
            ix[q] = (first + q - line * v.ow) * v.stride_x - v.pad;
            at[q] = pixel_at(image, v.h, v.w, iy[q], ix[q], v.c);
        }
        for (int tap = 0; tap < v.kh * v.kw; tap++) {
            int ky = tap / v.kw, kx = tap - ky * v.kw, shift = (ky * v.w + kx) * v.c;
            bool in[SMALL_PIXELS];
            for (int q = 0; q < SMALL_PIXELS; q++)
                in[q] = (unsigned)(iy[q] + ky) < (unsigned)v.h && (unsigned)(ix[q] + kx) < (unsigned)v.w;
            for (int i = 0; i < v.ci; i++) {
                float by = filters[(tap * v.ci + i) * SMALL_STEP + lane];
                for (int q = 0; q < SMALL_PIXELS; q++)
                    if (in[q]) sum[q] = fmaf(dram_float(x[at[q] + shift + i]), by, sum[q]);
            }
        }
        for (int q = 0; q < SMALL_PIXELS; q++)
            if (o < v.o && first + q < pixels)
                y[(int64_t)(first + q) * v.o + o] = dram_to<T>(dram_end_in<T>(v.act, bias ? sum[q] + bias[o] : sum[q]));
    }
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    any_dgrad(dram_cuda_conv v, const T *dy, const T *weight, const T *acc, T *dx, int64_t n)
{
    int64_t filter = (int64_t)v.kh * v.kw * v.ci;
    for (int64_t at = blockIdx.x * (int64_t)THREADS + threadIdx.x; at < n; at += (int64_t)gridDim.x * THREADS) {
        int c = (int)(at % v.c), pixel = (int)(at / v.c);
        int x = pixel % v.w, y = pixel / v.w % v.h, image = pixel / (v.w * v.h);
        int group = c / v.ci, i = c % v.ci;
        float sum = 0.0f;
        for (int ky = 0; ky < v.kh; ky++) {
            int oy = (y + v.pad - ky) / v.stride_y;
            if (y + v.pad < ky || oy * v.stride_y != y + v.pad - ky || oy >= v.oh) continue;
            for (int kx = 0; kx < v.kw; kx++) {
                int ox = (x + v.pad - kx) / v.stride_x;
                if (x + v.pad < kx || ox * v.stride_x != x + v.pad - kx || ox >= v.ow) continue;
                const T *from = dy + pixel_at(image, v.oh, v.ow, oy, ox, v.o) + group * v.co;
                const T *by = weight + group * v.co * filter + (int64_t)(ky * v.kw + kx) * v.ci + i;
                for (int o = 0; o < v.co; o++) sum = fmaf(dram_float(from[o]), dram_float(by[o * filter]), sum);
            }
        }
        dx[at] = dram_to<T>(acc ? sum + dram_float(acc[at]) : sum);
    }
}

/* Block y sums over its share of the output's lines, a line at a time. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    any_wgrad(dram_cuda_conv v, const T *x, const T *dy, float *part, int lines_each)
{
    int filter = v.kh * v.kw * v.ci, at = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (at >= v.o * filter) return;
    int o = at / filter, tap = at % filter / v.ci, i = at % v.ci;
    int ky = tap / v.kw, kx = tap % v.kw, c = o / v.co * v.ci + i;
    int first = (int)blockIdx.y * lines_each, end = min(first + lines_each, v.n * v.oh);
    /* ox with 0 <= ox stride_x - pad + kx < w */
    int left = kx < v.pad ? (v.pad - kx + v.stride_x - 1) / v.stride_x : 0;
    int right = v.w + v.pad - kx <= 0 ? 0 : min(v.ow, (v.w + v.pad - kx - 1) / v.stride_x + 1);
    float total = 0.0f;
    for (int line = first; line < end; line++) {
        int image = line / v.oh, iy = (line - image * v.oh) * v.stride_y - v.pad + ky;
        if (iy < 0 || iy >= v.h) continue;
        const T *a = dy + (int64_t)line * v.ow * v.o + o;
        const T *b = x + ((int64_t)image * v.h + iy) * v.w * v.c + c;
        float sum = 0.0f;
        for (int ox = left; ox < right; ox++)
            sum = fmaf(dram_float(a[(int64_t)ox * v.o]), dram_float(b[(int64_t)(ox * v.stride_x - v.pad + kx) * v.c]),
                       sum);
        total += sum;
    }
    part[(int64_t)blockIdx.y * v.o * filter + at] = total;
}

/* Floats of a line of x below FEW_PIXELS pixels of y. */
__host__ __device__ static inline int few_row(const dram_cuda_conv &v)
{
    return ((FEW_PIXELS - 1) * v.stride_x + v.kw) * v.c;
}

/* Block y sums over its share of the output's lines, for FEW_OUTPUTS outputs. Its warps take turns with the pixels; their
 * sums are added in the order of the warps. Filters of FEW_FILTER numbers at most, one group. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    few_wgrad(dram_cuda_conv v, const T *x, const T *dy, float *part, int lines_each)
{
    enum { WARPS = THREADS / 32 };
    DRAM_SHARED(float, outputs, [FEW_PIXELS * FEW_OUTPUTS]);
    DRAM_SHARED_DYNAMIC(float, below);
    const int filter = v.kh * v.kw * v.c, row = few_row(v), o0 = (int)blockIdx.x * FEW_OUTPUTS;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, first = lane % 4 * FEW_EACH;
    const int side = lane / 4 * FEW_SIDE, end = min(((int)blockIdx.y + 1) * lines_each, v.n * v.oh);
    int at[FEW_EACH];
    float sum[FEW_EACH][FEW_SIDE] = {};
    for (int e = 0; e < FEW_EACH; e++) {
        const int k = min(first + e, filter - 1), ky = k / (v.kw * v.c); /* beyond the last: not stored */
        at[e] = ky * row + k - ky * v.kw * v.c;
    }
    for (int line = (int)blockIdx.y * lines_each; line < end; line++)
        for (int p0 = 0; p0 < v.ow; p0 += FEW_PIXELS) {
            const int image = line / v.oh, top = (line - image * v.oh) * v.stride_y - v.pad;
            const int left = (p0 * v.stride_x - v.pad) * v.c, pixels = min((int)FEW_PIXELS, v.ow - p0);
            const T *from = dy + ((int64_t)line * v.ow + p0) * v.o + o0;
            __syncthreads();
            for (int i = (int)threadIdx.x; i < v.kh * row; i += THREADS) {
                const int ky = i / row, iy = top + ky, ix = left + i - ky * row;
                const bool in = (unsigned)iy < (unsigned)v.h && (unsigned)ix < (unsigned)(v.w * v.c);
                below[i] = in ? dram_float(x[((int64_t)image * v.h + iy) * v.w * v.c + ix]) : 0.0f;
            }
            for (int i = (int)threadIdx.x; i < pixels * FEW_OUTPUTS; i += THREADS) {
                const int p = i / FEW_OUTPUTS, o = i % FEW_OUTPUTS;
                outputs[i] = o0 + o < v.o ? dram_float(from[(int64_t)p * v.o + o]) : 0.0f;
            }
            __syncthreads();
            for (int p = warp; p < pixels; p += WARPS) {
                const dram_pack<float, FEW_SIDE> g = dram_load<float, FEW_SIDE>(outputs + p * FEW_OUTPUTS + side);
                for (int e = 0; e < FEW_EACH; e++) {
                    const float b = below[p * v.stride_x * v.c + at[e]];
                    for (int q = 0; q < FEW_SIDE; q++) sum[e][q] = fmaf(g.at[q], b, sum[e][q]);
                }
            }
        }
    float *total = outputs;
    for (int w = 0; w < WARPS; w++) {
        __syncthreads();
        for (int e = 0; e < FEW_EACH && warp == w; e++)
            for (int q = 0; q < FEW_SIDE; q++) {
                float *slot = total + (side + q) * FEW_FILTER + first + e;
                *slot = w > 0 ? *slot + sum[e][q] : sum[e][q];
            }
    }
    __syncthreads();
    part += (int64_t)blockIdx.y * v.o * filter + (int64_t)o0 * filter;
    for (int i = (int)threadIdx.x; i < min((int)FEW_OUTPUTS, v.o - o0) * filter; i += THREADS)
        part[i] = total[i / filter * FEW_FILTER + i % filter];
}

__global__ void __launch_bounds__(THREADS) add_few_parts(const float *part, int parts, int n, float *sum)
{
    for (int at = (int)(blockIdx.x * THREADS + threadIdx.x); at < n; at += (int)gridDim.x * THREADS) {
        double total = 0.0;
        for (int p = 0; p < parts; p++) total += (double)part[(int64_t)p * n + at];
        sum[at] = (float)total;
    }
}

__global__ void __launch_bounds__(THREADS) add_many_parts(const float *part, int parts, int n, float *sum)
{
    int64_t at = dram_total_column(n);
    double total = dram_parts_total(part, parts, n, at);
    if (at >= 0 && threadIdx.x < DRAM_TOTAL_COLUMNS) sum[at] = (float)total;
}

template <typename T>
static dram_status forward(const dram_kernel_args *args, const dram_cuda_conv *v, const T *x, const T *weight,
                           const float *bias, T *y)
{
    int pixels = v->n * v->oh * v->ow, depth = v->kh * v->kw * v->ci;
    int64_t n = (int64_t)pixels * v->o;
    if (v->groups > 1 || depth > SMALL_DEPTH)
        return dram_launch(args, any_forward<T>, dram_grid(args, n, THREADS), THREADS, 0, *v, x, weight, bias, y, n);
    dim3 grid(dram_grid(args, pixels, THREADS / 32 * SMALL_PIXELS), (unsigned)dram_ceil_div(v->o, 32));
    return dram_launch(args, small_forward<T>, grid, THREADS, (size_t)depth * SMALL_STEP * sizeof(float), *v, x, weight,
                       bias, y, pixels);
}

dram_status dram_cuda_conv_any_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                       const void *weight, const float *bias, void *y){
    DRAM_FLOAT_TYPES(v->dtype, T, return forward(args, v, (const T *)x, (const T *)weight, bias, (T *)y))}

dram_status dram_cuda_conv_any_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                     const void *weight, const void *acc, void *dx)
{
    int64_t n = (int64_t)v->n * v->h * v->w * v->c;
    DRAM_FLOAT_TYPES(v->dtype, T,
                     return dram_launch(args, any_dgrad<T>, dram_grid(args, n, THREADS), THREADS, 0, *v, (const T *)y,
                                        (const T *)weight, (const T *)acc, (T *)dx, n))
}

template <typename T>
static dram_status wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x, const void *y, float *dw)
{
    int lines = v->n * v->oh, n = v->o * v->kh * v->kw * v->ci;
    int parts = dram_cuda_conv_parts(args, v, lines < MOST_PARTS ? lines : MOST_PARTS);
    int each = (int)dram_ceil_div(lines, parts);
    parts = (int)dram_ceil_div(lines, each);
    float *to = parts > 1 ? (float *)args->workspace : dw;
    const size_t below = (size_t)v->kh * (size_t)few_row(*v) * sizeof(float);
    const bool few = v->groups == 1 && v->kh * v->kw * v->c <= FEW_FILTER && below <= FEW_BYTES;
    dim3 grid((unsigned)dram_ceil_div(few ? v->o : n, few ? (int)FEW_OUTPUTS : (int)THREADS), (unsigned)parts);
    TRY(dram_launch(args, few ? few_wgrad<T> : any_wgrad<T>, grid, THREADS, few ? below : 0, *v, (const T *)x,
                    (const T *)y, to, each));
    return parts > 1 ? dram_cuda_conv_add_parts(args, v, parts, dw) : DRAM_OK;
}

dram_status dram_cuda_conv_any_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                     const void *y,
                                     float *dw){DRAM_FLOAT_TYPES(v->dtype, T, return wgrad<T>(args, v, x, y, dw))}

dram_status dram_cuda_conv_add_parts(const dram_kernel_args *args, const dram_cuda_conv *v, int parts, float *dw)
{
    const float *part = (const float *)args->workspace;
    int n = v->o * v->kh * v->kw * v->ci;
    static_assert(THREADS == DRAM_TOTAL_COLUMNS * DRAM_TOTAL_SLICES, "a thread for each slice of each column");
    if (parts >= MANY_PARTS)
        return dram_launch(args, add_many_parts, (unsigned)dram_ceil_div(n, DRAM_TOTAL_COLUMNS), THREADS, 0, part,
                           parts, n, dw);
    return dram_launch(args, add_few_parts, dram_grid(args, n, THREADS), THREADS, 0, part, parts, n, dw);
}
