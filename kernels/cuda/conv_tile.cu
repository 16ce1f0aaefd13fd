/* conv_tile: convolutions of 16-bit images as products on tensor cores (implicit GEMM: Chetlur et al., "cuDNN:
 * efficient primitives for deep learning", 2014). For each group
 *
 *     forward   y [pixels, co]      = x under each tap [pixels, taps ci]   weight^T [taps ci, co]
 *     dgrad     dx [pixels, ci]     = y over each tap [pixels, taps co]    weight [taps co, ci]
 *     wgrad     dw^T [taps ci, co]  = x under each tap^T [taps ci, pixels] y [pixels, co], in parts of the pixels
 *
 * where the matrix of x under the taps is never made: each pack of 8 channels is fetched from where it lies. The groups
 * of a pixel follow one another in the grid, so that their neighbouring packs meet in L2. With a stride, dgrad takes
 * the pixels of each phase (y mod stride, x mod stride) apart: they see the same taps, and no product is with nothing.
 */
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/conv_tile.cuh"

#include <type_traits>

typedef tile_shape<128, 128, 2, 4> large;
typedef tile_shape<64, 64, 2, 2> square;
typedef tile_shape<128, 32, 4, 1> narrow;

/* What all three are told. */
template <typename T> struct common {
    dram_cuda_conv v;
    const T *x, *weight, *y; /* what is read */
    const T *acc;
    const float *bias;
    void *out;
    bool pairs;        /* two neighbouring results are one access */
    int columns, rows; /* tiles of the product */
    int part_pixels;
    division groups, tiles, by_ci, by_co, by_kw, by_width, by_height; /* of what the rows (or the sum) run over */
};

template <typename T> __device__ static inline void put_pair(T *to, float x, float y, bool both, bool pairs)
{
    if (both && pairs) {
        dram_pack<T, 2> pair = {{dram_to<T>(x), dram_to<T>(y)}};
        dram_store(to, pair);
    } else {
        to[0] = dram_to<T>(x);
        if (both) to[1] = dram_to<T>(y);
    }
}

/* Block x is a tile and a group, the group first; the columns' tiles before the rows'. */
template <typename S, typename T>
__device__ static inline void place_block(const common<T> &j, int *group, int *m0, int *n0)
{
    int tile = quotient(j.groups, (int)blockIdx.x);
    *group = (int)blockIdx.x - tile * (int)j.groups.by;
    int row = quotient(j.tiles, tile);
    *m0 = row * S::ROWS;
    *n0 = (tile - row * (int)j.tiles.by) * S::COLUMNS;
}

constexpr int NOWHERE = -(1 << 28); /* a line or column that no tap brings into an image */

/* ---- forward ---- */

template <typename T, typename S> struct forward_job {
    static constexpr bool A_DEEP = true, B_DEEP = true;
    static constexpr int PACKS = DEPTH / PACK, EACH = S::ROWS * PACKS / S::THREADS;
    const common<T> &j;
    int group, m0, n0, depth;
    int64_t at[EACH]; /* of the first tap's pixel, where it may lie outside */
    int iy[EACH], ix[EACH];

    __device__ explicit forward_job(const common<T> &given) : j(given)
    {
        const dram_cuda_conv &v = j.v;
        place_block<S>(j, &group, &m0, &n0);
        depth = v.kh * v.kw * v.ci;
        for (int i = 0; i < EACH; i++) {
            int m = m0 + (i * S::THREADS + (int)threadIdx.x) / PACKS, line = quotient(j.by_width, m);
            int image = quotient(j.by_height, line);
            iy[i] = m < j.rows ? (line - image * v.oh) * v.stride_y - v.pad : NOWHERE;
            ix[i] = (m - line * v.ow) * v.stride_x - v.pad;
            at[i] = (((int64_t)image * v.h + iy[i]) * v.w + ix[i]) * v.c + group * v.ci;
        }
    }
    __device__ int steps() const
    {
        return (depth + DEPTH - 1) / DEPTH;
    }
    template <typename> __device__ void fetch(T *a, T *b, int step)
    {
        const dram_cuda_conv &v = j.v;
        int k = step * DEPTH + (int)threadIdx.x % PACKS * PACK, tap = quotient(j.by_ci, k);
        int ky = quotient(j.by_kw, tap), kx = tap - ky * v.kw;
        int64_t shift = (int64_t)(ky * v.w + kx) * v.c + k - tap * v.ci;
        fetch_tile<S::ROWS, PACKS, S::THREADS>(a, [&](int i, int, int, T *to) {
            bool take = k < depth && (unsigned)(iy[i] + ky) < (unsigned)v.h && (unsigned)(ix[i] + kx) < (unsigned)v.w;
            dram_copy16(to, take ? j.x + at[i] + shift : j.x, take);
        });
        fetch_tile<S::COLUMNS, PACKS, S::THREADS>(b, [&](int, int r, int, T *to) {
            bool take = k < depth && n0 + r < v.co;
            dram_copy16(to, take ? j.weight + (int64_t)(group * v.co + n0 + r) * depth + k : j.weight, take);
        });
    }
    __device__ void put(int m, int n, float x, float y)
    {
        m += m0;
        n += n0;
        if (m >= j.rows || n >= j.v.co) return;
        int o = group * j.v.co + n;
        bool both = n + 1 < j.v.co;
        if (j.bias) {
            x += j.bias[o];
            if (both) y += j.bias[o + 1];
        }
        if (j.v.act != DRAM_ACT_NONE) {
            x = dram_end_in<T>(j.v.act, x);
            y = dram_end_in<T>(j.v.act, y);
        }
        put_pair((T *)j.out + (int64_t)m * j.v.o + o, x, y, both, j.pairs);
    }
};

/* ---- dgrad: a pixel of phase p, q sees the taps p0, p0 + stride, ... and q0, q0 + stride, ... ---- */

template <typename T, typename S> struct dgrad_job {
    static constexpr bool A_DEEP = true, B_DEEP = false;
    static constexpr int PACKS = DEPTH / PACK, EACH = S::ROWS * PACKS / S::THREADS;
    const common<T> &j;
    int group, m0, n0, depth;
    int p, q, p0, q0, high, wide, taps_x; /* pixels of the phase, and its taps along x */
    int64_t at[EACH];
    int oy[EACH], ox[EACH];

    __device__ void pixel(int m, int *image, int *y, int *x) const
    {
        int line = m / wide;
        *image = line / high;
        *y = p + (line - *image * high) * j.v.stride_y;
        *x = q + (m - line * wide) * j.v.stride_x;
    }
    __device__ explicit dgrad_job(const common<T> &given) : j(given)
    {
        const dram_cuda_conv &v = j.v;
        place_block<S>(j, &group, &m0, &n0);
        p = (int)blockIdx.y / v.stride_x;
        q = (int)blockIdx.y % v.stride_x;
        p0 = (p + v.pad) % v.stride_y;
        q0 = (q + v.pad) % v.stride_x;
        high = (v.h - p + v.stride_y - 1) / v.stride_y;
        wide = (v.w - q + v.stride_x - 1) / v.stride_x;
        taps_x = max(0, (v.kw - q0 + v.stride_x - 1) / v.stride_x);
        depth = max(0, (v.kh - p0 + v.stride_y - 1) / v.stride_y) * taps_x * v.co;
        if (high <= 0 || wide <= 0) return;
        for (int i = 0; i < EACH; i++) {
            int m = m0 + (i * S::THREADS + (int)threadIdx.x) / PACKS, image, y, x;
            pixel(m, &image, &y, &x);
            oy[i] = m < rows() ? (y + v.pad - p0) / v.stride_y : NOWHERE;
            ox[i] = (x + v.pad - q0) / v.stride_x;
            at[i] = (((int64_t)image * v.oh + oy[i]) * v.ow + ox[i]) * v.o + group * v.co;
        }
    }
    __device__ int rows() const
    {
        return high <= 0 || wide <= 0 ? 0 : j.v.n * high * wide;
    }
    __device__ int steps() const
    {
        return m0 < rows() ? (depth + DEPTH - 1) / DEPTH : 0;
    }
    template <typename> __device__ void fetch(T *a, T *b, int step)
    {
        const dram_cuda_conv &v = j.v;
        int k = step * DEPTH + (int)threadIdx.x % PACKS * PACK, tap = quotient(j.by_co, k);
        int up = tap / taps_x, left = tap - up * taps_x;
        int64_t shift = (int64_t)(up * v.ow + left) * v.o - (k - tap * v.co);
        fetch_tile<S::ROWS, PACKS, S::THREADS>(a, [&](int i, int, int, T *to) {
            bool take =
                k < depth && (unsigned)(oy[i] - up) < (unsigned)v.oh && (unsigned)(ox[i] - left) < (unsigned)v.ow;
            dram_copy16(to, take ? j.y + at[i] - shift : j.y, take);
        });
        fetch_tile<DEPTH, S::COLUMNS / PACK, S::THREADS>(b, [&](int, int r, int pack, T *to) {
            int row = step * DEPTH + r, its_tap = quotient(j.by_co, row), n = n0 + pack * PACK;
            int along = its_tap / taps_x, o = group * v.co + row - its_tap * v.co;
            int its = (p0 + along * v.stride_y) * v.kw + q0 + (its_tap - along * taps_x) * v.stride_x;
            bool take = row < depth && n < v.ci;
            dram_copy16(to, take ? j.weight + ((int64_t)o * v.kh * v.kw + its) * v.ci + n : j.weight, take);
        });
    }
    __device__ void put(int m, int n, float x, float y)
    {
        m += m0;
        n += n0;
        if (m >= rows() || n >= j.v.ci) return;
        int image, line, column;
        pixel(m, &image, &line, &column);
        int64_t to = (((int64_t)image * j.v.h + line) * j.v.w + column) * j.v.c + group * j.v.ci + n;
        if (j.acc) {
            dram_pack<T, 2> before = dram_load<T, 2>(j.acc + to); /* ci is even */
            x += dram_float(before.at[0]);
            y += dram_float(before.at[1]);
        }
        put_pair((T *)j.out + to, x, y, true, true);
    }
};

/* ---- wgrad ---- */

template <typename T, typename S> struct wgrad_job {
    static constexpr bool A_DEEP = false, B_DEEP = false;
    const common<T> &j;
    int group, m0, n0, first, end;
    int ky, kx; /* this thread's tap, and where its channel begins in a pixel; NOWHERE: none */
    int64_t channel;

    __device__ explicit wgrad_job(const common<T> &given) : j(given)
    {
        const dram_cuda_conv &v = j.v;
        place_block<S>(j, &group, &m0, &n0);
        first = (int)blockIdx.z * j.part_pixels;
        end = min(first + j.part_pixels, v.n * v.oh * v.ow);
        int m = m0 + (int)threadIdx.x % (S::ROWS / PACK) * PACK, tap = quotient(j.by_ci, m);
        ky = m < j.rows ? quotient(j.by_kw, tap) : NOWHERE;
        kx = tap - quotient(j.by_kw, tap) * v.kw;
        channel = group * v.ci + m - tap * v.ci;
    }
    __device__ int steps() const
    {
        return (end - first + DEPTH - 1) / DEPTH;
    }
    template <typename> __device__ void fetch(T *a, T *b, int step)
    {
        const dram_cuda_conv &v = j.v;
        int from = first + step * DEPTH;
        fetch_tile<DEPTH, S::ROWS / PACK, S::THREADS>(a, [&](int, int r, int, T *to) {
            int pixel = from + r, line = quotient(j.by_width, pixel), image = quotient(j.by_height, line);
            int iy = (line - image * v.oh) * v.stride_y - v.pad + ky,
                ix = (pixel - line * v.ow) * v.stride_x - v.pad + kx;
            bool take = pixel < end && (unsigned)iy < (unsigned)v.h && (unsigned)ix < (unsigned)v.w;
            dram_copy16(to, take ? j.x + (((int64_t)image * v.h + iy) * v.w + ix) * v.c + channel : j.x, take);
        });
        fetch_tile<DEPTH, S::COLUMNS / PACK, S::THREADS>(b, [&](int, int r, int pack, T *to) {
            int pixel = from + r, n = n0 + pack * PACK;
            bool take = pixel < end && n < v.co;
            dram_copy16(to, take ? j.y + (int64_t)pixel * v.o + group * v.co + n : j.y, take);
        });
    }
    __device__ void put(int m, int n, float x, float y)
    {
        m += m0;
        n += n0;
        if (m >= j.rows || n >= j.v.co) return; /* co is even */
        float *to = (float *)j.out + ((int64_t)blockIdx.z * j.v.o + group * j.v.co + n) * j.rows + m;
        to[0] = x;
        to[j.rows] = y;
    }
};

template <typename T, typename S, template <typename, typename> class Job>
__global__ void __launch_bounds__(S::THREADS) tile_kernel(common<T> j)
{
    DRAM_SHARED_DYNAMIC(T, shared);
    Job<T, S> job(j);
    run_tile<T, S>(job, shared);
}

/* ---- which tile, and the launch ---- */

enum { ENOUGH_BLOCKS = 192 };

template <typename T, typename S, template <typename, typename> class Job>
static dram_status launch(const dram_kernel_args *args, common<T> j, unsigned y, unsigned z)
{
    int64_t tiles = dram_ceil_div(j.columns, S::COLUMNS) * dram_ceil_div(j.rows, S::ROWS);
    j.tiles = division_by((int)dram_ceil_div(j.columns, S::COLUMNS));
    return dram_launch(args, tile_kernel<T, S, Job>, dim3((unsigned)(tiles * j.v.groups), y, z), S::THREADS, S::BYTES,
                       j);
}

template <typename T, template <typename, typename> class Job>
static dram_status choose_tile(const dram_kernel_args *args, const common<T> &j, unsigned y, unsigned z)
{
    if (j.columns <= narrow::COLUMNS) return launch<T, narrow, Job>(args, j, y, z);
    int64_t blocks = dram_ceil_div(j.columns, large::COLUMNS) * dram_ceil_div(j.rows, large::ROWS) * j.v.groups * y * z;
    if (j.columns > square::COLUMNS && j.rows > square::ROWS && blocks >= ENOUGH_BLOCKS)
        return launch<T, large, Job>(args, j, y, z);
    return launch<T, square, Job>(args, j, y, z);
}

static bool aligned(const void *pointer)
{
    return (uintptr_t)pointer % 16 == 0;
}

template <typename T> static common<T> describe(const dram_cuda_conv *v)
{
    common<T> j = {};
    j.v = *v;
    j.groups = division_by(v->groups);
    j.by_ci = division_by(v->ci);
    j.by_co = division_by(v->co);
    j.by_kw = division_by(v->kw);
    j.by_width = division_by(v->ow);
    j.by_height = division_by(v->oh);
    return j;
}

template <typename T>
static dram_status forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x, const void *weight,
                           const float *bias, void *y)
{
    common<T> j = describe<T>(v);
    j.x = (const T *)x;
    j.weight = (const T *)weight;
    j.bias = bias;
    j.out = y;
    j.pairs = v->co % 2 == 0 && (uintptr_t)y % 4 == 0;
    j.rows = v->n * v->oh * v->ow;
    j.columns = v->co;
    return choose_tile<T, forward_job>(args, j, 1, 1);
}

dram_status dram_cuda_conv_tile_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                        const void *weight, const float *bias, void *y, bool *done)
{
    *done = v->dtype != DRAM_F32 && v->ci % PACK == 0 && aligned(x) && aligned(weight);
    if (!*done) return DRAM_OK;
    return v->dtype == DRAM_BF16 ? forward<dram_bf16>(args, v, x, weight, bias, y)
                                 : forward<dram_f16>(args, v, x, weight, bias, y);
}

template <typename T>
static dram_status dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y, const void *weight,
                         const void *acc, void *dx)
{
    common<T> j = describe<T>(v);
    j.y = (const T *)y;
    j.weight = (const T *)weight;
    j.acc = (const T *)acc;
    j.out = dx;
    j.rows =
        v->n * (int)dram_ceil_div(v->h, v->stride_y) * (int)dram_ceil_div(v->w, v->stride_x); /* of the largest phase */
    j.columns = v->ci;
    return choose_tile<T, dgrad_job>(args, j, (unsigned)(v->stride_y * v->stride_x), 1);
}

dram_status dram_cuda_conv_tile_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                      const void *weight, const void *acc, void *dx, bool *done)
{
    *done = v->dtype != DRAM_F32 && v->ci % PACK == 0 && v->co % PACK == 0 && aligned(y) && aligned(weight) &&
            aligned(acc) && aligned(dx);
    if (!*done) return DRAM_OK;
    return v->dtype == DRAM_BF16 ? dgrad<dram_bf16>(args, v, y, weight, acc, dx)
                                 : dgrad<dram_f16>(args, v, y, weight, acc, dx);
}

template <typename T>
static dram_status wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x, const void *y, float *dw)
{
    common<T> j = describe<T>(v);
    int pixels = v->n * v->oh * v->ow, parts = dram_cuda_conv_parts(args, v, dram_ceil_div(pixels, DEPTH));
    j.x = (const T *)x;
    j.y = (const T *)y;
    j.rows = v->kh * v->kw * v->ci;
    j.columns = v->co;
    j.part_pixels = (int)dram_ceil_div(dram_ceil_div(pixels, DEPTH), parts) * DEPTH;
    parts = (int)dram_ceil_div(pixels, j.part_pixels);
    j.out = parts > 1 ? args->workspace : dw;
    TRY((choose_tile<T, wgrad_job>(args, j, 1, (unsigned)parts)));
    return parts > 1 ? dram_cuda_conv_add_parts(args, v, parts, dw) : DRAM_OK;
}

dram_status dram_cuda_conv_tile_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                      const void *y, float *dw, bool *done)
{
    *done = v->dtype != DRAM_F32 && v->ci % PACK == 0 && v->co % PACK == 0 && aligned(x) && aligned(y);
    if (!*done) return DRAM_OK;
    return v->dtype == DRAM_BF16 ? wgrad<dram_bf16>(args, v, x, y, dw) : wgrad<dram_f16>(args, v, x, y, dw);
}
