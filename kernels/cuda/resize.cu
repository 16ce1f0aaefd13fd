/* resize and its transpose. A first kernel makes the weights of both axes, in double as on the CPU; then each output
 * gathers what it is made of, columns outside, rows inside: the gradient of an input pixel gathers over the outputs
 * that read it, so nothing is added into by two threads.
 *
 * Bilinear: PyTorch's upsample_bilinear2d with align_corners=False. Bicubic with antialias: PyTorch's
 * _upsample_bicubic2d_aa (after Pillow's resampling): Keys' kernel with a = -0.5, widened by the scale on downscaled
 * axes; taps outside the image are dropped and the rest normalised to a sum of 1.
 *
 * Limits: at least 4 bytes an element of f32 read and written, 2 taps_y taps_x FLOPs an output element. With few taps
 * every output reads its own, from the caches after the first time; with many (antialiased, or the transpose of an
 * enlargement) a block first combines rows into shared memory: 2 (taps_y span / tile + taps_x) FLOPs. */
#include "kernels/cuda/elementwise.cuh"
extern "C" {
#include "scratch/resize.h"
}

/* Output o is the sum of weight[o][k] times source first[o] + k, k < taps. A weight of 0 may stand for a source that is
 * not there. `first` never falls. */
typedef struct {
    int n, sources, taps;
    int32_t *first; /* [n] */
    float *weight;  /* [n, taps] */
} axis;

/* Of both axes: from `in` to `out` samples, or back. */
typedef struct {
    int mode, in, out;
    bool transposed;
} scaling;

/* ---- weights ---- */

/* Keys, "Cubic convolution interpolation for digital image processing", 1981. */
__device__ static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

/* What output o reads: sources from .. to; and where it is among them. */
typedef struct {
    int from, to;
    double at;
} reach;

__device__ static reach reach_of(const scaling &s, int o)
{
    const double scale = (double)s.in / (double)s.out, centre = scale * ((double)o + 0.5);
    if (s.mode == DRAM_RESIZE_BILINEAR) {
        const double at = fmax(centre - 0.5, 0.0);
        const int from = (int)at < s.in - 1 ? (int)at : s.in - 1;
        return {from, from + 2 < s.in ? from + 2 : s.in, at};
    }
    const double support = 2 * fmax(scale, 1.0);
    const int to = (int)(centre + support + 0.5);
    return {(int)fmax(centre - support + 0.5, 0.0), to < s.in ? to : s.in, centre};
}

/* The weight of source i, one of those that o reads. */
__device__ static float weight_of(const scaling &s, const reach &r, int i)
{
    if (s.mode == DRAM_RESIZE_BILINEAR) {
        const double part = r.from == s.in - 1 ? 0.0 : r.at - (double)r.from;
        return (float)(i == r.from ? 1 - part : part);
    }
    const double widen = fmax((double)s.in / (double)s.out, 1.0);
    double sum = 0;
    for (int k = r.from; k < r.to; k++) sum += cubic(((double)k - r.at + 0.5) / widen);
    return (float)(cubic(((double)i - r.at + 0.5) / widen) / sum);
}

/* The first output that can read source i. */
__device__ static int first_reader(const scaling &s, int i)
{
    const double scale = (double)s.in / (double)s.out;
    const double support = s.mode == DRAM_RESIZE_BILINEAR ? 1.0 : 2 * fmax(scale, 1.0);
    const double before = ((double)i + 0.5 - support) / scale - 0.5; /* whose weight is 0 */
    const int first = before < 0 ? 0 : (int)before + 1;
    return first < s.out - 1 ? first : s.out - 1;
}

/* A thread for each weight of an axis. */
__device__ static void make_weight(const scaling &s, const axis &a, int at)
{
    const int entry = at / a.taps, k = at % a.taps;
    const int first = s.transposed ? first_reader(s, entry) : reach_of(s, entry).from;
    const int o = s.transposed ? first + k : entry, i = s.transposed ? entry : first + k;
    float weight = 0;
    if (o < s.out) {
        const reach r = reach_of(s, o);
        if (i >= r.from && i < r.to) weight = weight_of(s, r, i);
    }
    a.weight[at] = weight;
    if (k == 0) a.first[entry] = first;
}

static __global__ void weights_kernel(scaling scale_rows, axis rows, scaling scale_columns, axis columns)
{
    const int at = (int)(blockIdx.x * blockDim.x + threadIdx.x), n = rows.n * rows.taps;
    if (at < n)
        make_weight(scale_rows, rows, at);
    else if (at - n < columns.n * columns.taps)
        make_weight(scale_columns, columns, at - n);
}

/* ---- gathering ---- */

typedef struct {
    int64_t n, h, w, c; /* x [n,h,w,c] -> [n,rows.n,columns.n,c] */
    axis rows, columns;
} job;

/* A thread for N channels of an output; the grid's y goes from output row to output row. out may be acc. */
template <typename T, int N> static __global__ void direct_kernel(const T *x, const T *acc, T *out, job j)
{
    const axis rows = j.rows, columns = j.columns;
    const unsigned packs = (unsigned)(j.c / N), row_packs = (unsigned)columns.n * packs;
    const unsigned at = blockIdx.x * blockDim.x + threadIdx.x, ox = at / packs;
    const unsigned output_rows = (unsigned)(j.n * rows.n);
    if (at >= row_packs) return;
    for (unsigned row = blockIdx.y; row < output_rows; row += gridDim.y) {
        const int64_t image = row / (unsigned)rows.n, oy = row % (unsigned)rows.n;
        const T *from = x + ((image * j.h + rows.first[oy]) * j.w + columns.first[ox]) * j.c + (at - ox * packs) * N;
        float sum[N] = {};
        for (int kx = 0; kx < columns.taps; kx++) {
            const float wx = columns.weight[ox * columns.taps + kx];
            float column[N] = {};
            if (wx == 0) continue;
            for (int ky = 0; ky < rows.taps; ky++) {
                const float wy = rows.weight[oy * rows.taps + ky];
                if (wy == 0) continue;
                const dram_pack<T, N> pack = dram_load<T, N>(from + (ky * j.w + kx) * j.c);
                for (int k = 0; k < N; k++) column[k] = fmaf(wy, dram_float(pack.at[k]), column[k]);
            }
            for (int k = 0; k < N; k++) sum[k] = fmaf(wx, column[k], sum[k]);
        }
        const int64_t to = ((int64_t)row * row_packs + at) * N;
        dram_pack<T, N> result = {};
        if (acc) result = dram_load<T, N>(acc + to);
        for (int k = 0; k < N; k++) result.at[k] = dram_to<T>(acc ? dram_float(result.at[k]) + sum[k] : sum[k]);
        dram_store<T, N>(out + to, result);
    }
}

/* A block for `tile` outputs of a row, of which there are `chunk` channels: grid: tiles, output rows, chunks. The rows
 * that they are made of are combined into shared memory first. out may be acc. */
template <typename T>
static __global__ void separable_kernel(const T *x, const T *acc, T *out, job j, int tile, int chunk)
{
    DRAM_SHARED_DYNAMIC(float, line); /* [span, chunk] */
    const axis rows = j.rows, columns = j.columns;
    const int ox0 = (int)blockIdx.x * tile, ox1 = ox0 + tile < columns.n ? ox0 + tile : columns.n;
    const int first = columns.first[ox0], last = columns.first[ox1 - 1] + columns.taps;
    const int span = (last < columns.sources ? last : columns.sources) - first;
    const unsigned output_rows = (unsigned)(j.n * rows.n);
    const int64_t c0 = (int64_t)blockIdx.z * chunk;
    const int channels = (int)(j.c - c0 < chunk ? j.c - c0 : chunk);
    for (unsigned row = blockIdx.y; row < output_rows; row += gridDim.y) {
        const int64_t image = row / (unsigned)rows.n, oy = row % (unsigned)rows.n;
        const T *from = x + ((image * j.h + rows.first[oy]) * j.w + first) * j.c + c0;
        for (int e = (int)threadIdx.x; e < span * channels; e += (int)blockDim.x) {
            const int column = e / channels, c = e - column * channels;
            float sum = 0;
            for (int ky = 0; ky < rows.taps; ky++) {
                const float wy = rows.weight[oy * rows.taps + ky];
                if (wy != 0) sum = fmaf(wy, dram_float(from[(ky * j.w + column) * j.c + c]), sum);
            }
            line[e] = sum;
        }
        __syncthreads();
        for (int e = (int)threadIdx.x; e < (ox1 - ox0) * channels; e += (int)blockDim.x) {
            const int ox = ox0 + e / channels, c = e % channels;
            const float *weight = columns.weight + ox * columns.taps;
            const float *column = line + (columns.first[ox] - first) * channels + c;
            const int64_t to = ((int64_t)row * columns.n + ox) * j.c + c0 + c;
            float sum = 0;
            for (int kx = 0; kx < columns.taps; kx++)
                if (weight[kx] != 0) sum = fmaf(weight[kx], column[kx * channels], sum);
            out[to] = dram_to<T>(acc ? dram_float(acc[to]) + sum : sum);
        }
        __syncthreads();
    }
}

/* ---- launching ---- */

enum { TILE = 16, CHUNK = 32, FEW_TAPS = 32, SEPARABLE_BYTES = 32 << 10 };

static unsigned grid_rows(int64_t rows)
{
    return (unsigned)(rows < 65535 ? rows : 65535);
}

template <typename T> static dram_status gather(const dram_kernel_args *args, const void *onto, const job &j)
{
    const T *x = static_cast<const T *>(args->in[0].data), *acc = static_cast<const T *>(onto);
    T *out = static_cast<T *>(args->out[0].data);
    const axis &columns = j.columns;
    const int64_t rows = j.n * j.rows.n, tile = columns.n < TILE ? columns.n : (int64_t)TILE;
    const int64_t chunk = j.c < CHUNK ? j.c : (int64_t)CHUNK;
    int64_t span = dram_ceil_div((tile - 1) * columns.sources, columns.n) + 1 + columns.taps;
    if (span > columns.sources) span = columns.sources;
    const int64_t shared = span * chunk * (int64_t)sizeof(float);
    if (j.rows.taps * columns.taps > FEW_TAPS && shared <= SEPARABLE_BYTES) {
        const dim3 grid((unsigned)dram_ceil_div(columns.n, tile), grid_rows(rows), (unsigned)dram_ceil_div(j.c, chunk));
        return dram_launch(args, separable_kernel<T>, grid, dim3(dram_map_block(span * chunk)), (size_t)shared, x, acc,
                           out, j, (int)tile, (int)chunk);
    }
    DRAM_PACKED(dram_packable(x, acc, out) && j.c % dram_vector<T> == 0, T, N, {
        const int64_t packs = columns.n * (j.c / N);
        const unsigned block = dram_map_block(packs);
        return dram_launch(args, direct_kernel<T, N>, dim3((unsigned)dram_ceil_div(packs, block), grid_rows(rows)),
                           dim3(block), 0, x, acc, out, j);
    });
}

static int most_taps(const scaling &s)
{
    return (int)dram_resize_taps_gpu(s.mode, s.transposed ? s.out : s.in, s.transposed ? s.in : s.out, s.transposed);
}

static axis place_axis(const scaling &s, char **room)
{
    axis a = {s.transposed ? s.in : s.out, s.transposed ? s.out : s.in, most_taps(s), NULL, NULL};
    a.first = reinterpret_cast<int32_t *>(*room);
    a.weight = reinterpret_cast<float *>(a.first + a.n);
    *room = reinterpret_cast<char *>(a.weight + (int64_t)a.n * a.taps);
    return a;
}

static void image_size(const dram_shape *shape, int *h, int *w)
{
    *h = (int)shape->dim[shape->rank == 4 ? 1 : 0];
    *w = shape->rank == 4 ? (int)shape->dim[2] : 1;
}

static dram_status resample(const dram_kernel_args *args, const void *onto, bool transposed)
{
    const dram_shape *x = &args->in[0].shape;
    char *room = static_cast<char *>(args->workspace);
    int h, w, oh, ow;
    image_size(x, &h, &w);
    image_size(&args->out[0].shape, &oh, &ow);
    const int mode = args->attr->mode;
    const scaling rows = {mode, transposed ? oh : h, transposed ? h : oh, transposed};
    const scaling columns = {mode, transposed ? ow : w, transposed ? w : ow, transposed};
    job j = {x->rank == 4 ? x->dim[0] : 1, h, w, dram_last(x, 0), {}, {}};
    j.rows = place_axis(rows, &room);
    j.columns = place_axis(columns, &room);
    const int64_t weights = (int64_t)j.rows.n * j.rows.taps + (int64_t)j.columns.n * j.columns.taps;
    const unsigned block = dram_map_block(weights);
    TRY(dram_launch(args, weights_kernel, dim3((unsigned)dram_ceil_div(weights, block)), dim3(block), 0, rows, j.rows,
                    columns, j.columns));
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return gather<T>(args, onto, j));
}

DRAM_CUDA_KERNEL(resize)
{
    return resample(args, NULL, false);
}

DRAM_CUDA_KERNEL(resize_grad)
{
    return resample(args, args->in[1].data, true);
}
