/* conv_group: convolutions of 16-bit images in narrow groups (RegNet's, of 8 to 24 channels), on tensor cores.
 *
 * A block takes a bundle of neighbouring groups, at most 48 channels, and goes from one tile of 16 pixels side by side
 * to the next. The tile of x with the pixels around it lies in shared memory once, and each tap reads it there: a
 * matrix load takes the address of each pixel, so the matrix of x under the taps is nowhere. Packs of 8 channels are
 * the unit of the sum: pack k of a group is tap k / (ci / 8). The next tile comes while one is computed. Pixels are an
 * odd number of packs apart, so that 8 neighbours are in different banks. dgrad with stride 1 is the forward with the
 * taps turned round. Limits: bytes of x and y once each (x 1.4 times for 3x3: what is around a tile); the FLOPs are few
 * for tensor cores. */
#include <type_traits>

#include "kernels/cuda/conv_tile.cuh"
extern "C" {
#include "scratch/conv.h"
}

enum {
    ACROSS = 16,                      /* pixels of a tile's line: the rows of an mma */
    MOST_CHANNELS = DRAM_CONV_BUNDLE, /* of a bundle, of x or y */
    MOST_WIDTH = DRAM_CONV_NARROW,    /* channels of a group */
    MOST_SHARED = 99 << 10,           /* what a block may have on compute capability 8.6 and 8.9 */
    FORWARD_THREADS = 128,
    FORWARD_LINES = 8, /* two for each warp */
    WGRAD_THREADS = 256,
    WGRAD_ITEMS = 4, /* mma tiles of dw that a warp keeps, for each 8 of y's channels */
    QUAD = 4         /* packs of two mma steps */
};

/* From an image [n,h,w,c] to one [n,oh,ow,o]; in a dgrad x is dy. */
template <typename T> struct group_job {
    int n, h, w, c, oh, ow, o, kh, kw, stride, pad_y, pad_x, groups, ci, co;
    int bundle, bundles;                   /* groups of a bundle; bundles */
    int lines;                             /* of a tile, of y */
    int x_lines, x_across, x_step, y_step; /* of a tile of x; numbers from a pixel to the next, of x and y */
    int packs, quads;                      /* of a group's sum */
    int tiles, down, across;               /* in all; of an image */
    int tiles_each;                        /* of a part, in wgrad */
    bool turned; /* dgrad: the weight is that of the forward, [c's group, kh, kw, o's group] */
    const T *x, *y, *weight, *acc;
    const float *bias;
    void *out;
    division by_across, by_down, by_x_across, by_x_packs, by_y_packs, by_ci_packs;
};

template <typename T> struct tile_place {
    int image, y0, x0; /* of y */
};

template <typename T> __device__ static inline tile_place<T> place_of(const group_job<T> &j, int tile)
{
    tile_place<T> p;
    int row = quotient(j.by_across, tile);
    p.x0 = (tile - row * j.across) * ACROSS;
    p.image = quotient(j.by_down, row);
    p.y0 = (row - p.image * j.down) * j.lines;
    return p;
}

/* The tile's pixels of x, `groups` groups from `first` on; zeros outside the image. */
template <int THREADS, typename T>
__device__ static inline void fetch_x(const group_job<T> &j, T *to, const tile_place<T> &p, int first, int groups)
{
    int packs = groups * j.ci / PACK, all = j.x_lines * j.x_across * packs;
    bool whole = groups == j.bundle;
    for (int i = (int)threadIdx.x; i < all; i += THREADS) {
        int pixel = whole ? quotient(j.by_x_packs, i) : i / packs, pack = i - pixel * packs;
        int line = quotient(j.by_x_across, pixel), column = pixel - line * j.x_across;
        int y = p.y0 * j.stride - j.pad_y + line, x = p.x0 * j.stride - j.pad_x + column;
        bool take = (unsigned)y < (unsigned)j.h && (unsigned)x < (unsigned)j.w;
        const T *from = j.x;
        if (take) from += (((int64_t)p.image * j.h + y) * j.w + x) * j.c + first * j.ci + pack * PACK;
        dram_copy16(to + pixel * j.x_step + pack * PACK, from, take);
    }
}

/* Where each pack of a group's sum lies in the tile, from a pixel on; -1: there is none. */
template <int THREADS, typename T> __device__ static inline void fill_table(const group_job<T> &j, int *table)
{
    for (int k = (int)threadIdx.x; k < j.quads * QUAD; k += THREADS) {
        int tap = quotient(j.by_ci_packs, k), pack = k - tap * (j.ci / PACK);
        table[k] = k < j.packs ? (tap / j.kw * j.x_across + tap % j.kw) * j.x_step + pack * PACK : -1;
    }
}

/* ---- forward, and dgrad with stride 1 ---- */

/* Numbers from a filter to the next in shared memory: an odd number of packs. */
template <typename T> __host__ __device__ static inline int filter_step(const group_job<T> &j)
{
    return (j.quads * QUAD + 1) * PACK;
}

/* The bundle's filters, zeros behind each. */
template <typename T> __device__ static inline void fetch_filters(const group_job<T> &j, T *to, int first, int groups)
{
    int step = filter_step(j), taps = j.kh * j.kw;
    for (int i = (int)threadIdx.x; i < groups * j.co * j.quads * QUAD; i += FORWARD_THREADS) {
        int row = i / (j.quads * QUAD), k = i % (j.quads * QUAD);
        if (!j.turned) {
            bool take = k < j.packs;
            dram_copy16(to + row * step + k * PACK,
                        take ? j.weight + ((int64_t)(first * j.co + row) * j.packs + k) * PACK : j.weight, take);
            continue;
        }
        int tap = quotient(j.by_ci_packs, k), group = row / j.co, n = row % j.co;
        for (int e = 0; e < PACK; e++) {
            int c = (first + group) * j.ci + (k - tap * (j.ci / PACK)) * PACK + e;
            T zero = {0};
            to[row * step + k * PACK + e] =
                k < j.packs ? j.weight[((int64_t)c * taps + (taps - 1 - tap)) * j.co + n] : zero;
        }
    }
}

/* 8 WIDE numbers of y of group g for a warp's two lines. */
template <typename T, int WIDE>
__device__ static inline void multiply_group(const group_job<T> &j, float (&c)[2][WIDE][4], const T *x,
                                             const T *filters, const T *zeros, const int *table, int g)
{
    int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32 * 2;
    const T *pixel = x + (line * j.x_across + lane % 16) * j.stride * j.x_step + g * j.ci;
    const T *filter = filters + (g * j.co + lane % 8) * filter_step(j) + lane / 8 * PACK;
    for (int q = 0; q < j.quads; q++) {
        uint32_t b[WIDE][4];
        DRAM_UNROLL
        for (int n = 0; n < WIDE; n++) dram_load_matrices(b[n], filter + n * 8 * filter_step(j) + q * QUAD * PACK);
        DRAM_UNROLL
        for (int half = 0; half < 2; half++) {
            int at = table[q * QUAD + half * 2 + lane / 16];
            DRAM_UNROLL
            for (int l = 0; l < 2; l++) {
                uint32_t a[4];
                dram_load_matrices(a, at < 0 ? zeros : pixel + l * j.x_across * j.stride * j.x_step + at);
                DRAM_UNROLL
                for (int n = 0; n < WIDE; n++) {
                    const uint32_t pair[2] = {b[n][2 * half], b[n][2 * half + 1]};
                    dram_mma<T>(c[l][n], a, pair);
                }
            }
        }
    }
}

template <typename T>
__device__ static inline void put_two(const group_job<T> &j, const tile_place<T> &p, int line, int column, int channel,
                                      float a, float b)
{
    int y = p.y0 + line, x = p.x0 + column;
    if (y >= j.oh || x >= j.ow) return;
    int64_t to = (((int64_t)p.image * j.oh + y) * j.ow + x) * j.o + channel;
    if (j.bias) {
        a += j.bias[channel];
        b += j.bias[channel + 1];
    }
    if (j.acc) {
        dram_pack<T, 2> before = dram_load<T, 2>(j.acc + to);
        a += dram_float(before.at[0]);
        b += dram_float(before.at[1]);
    }
    dram_pack<T, 2> both = {{dram_to<T>(a), dram_to<T>(b)}};
    dram_store((T *)j.out + to, both);
}

template <typename T, int WIDE> __global__ void __launch_bounds__(FORWARD_THREADS, 4) group_forward(group_job<T> j)
{
    DRAM_SHARED_DYNAMIC(T, shared);
    int first = (int)blockIdx.y * j.bundle, groups = min(j.bundle, j.groups - first);
    int x_numbers = j.x_lines * j.x_across * j.x_step;
    T *x = shared, *zeros = shared + 2 * x_numbers, *filters = zeros + PACK;
    int *table = (int *)(void *)(filters + j.bundle * j.co * filter_step(j));
    if (threadIdx.x < PACK) zeros[threadIdx.x] = T{0};
    fill_table<FORWARD_THREADS>(j, table);
    fetch_filters(j, filters, first, groups);
    tile_place<T> here = place_of(j, (int)blockIdx.x);
    fetch_x<FORWARD_THREADS>(j, x, here, first, groups);
    dram_copy_commit();
    int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, line = (int)threadIdx.x / 32 * 2, which = 0;
    for (int tile = (int)blockIdx.x; tile < j.tiles; tile += (int)gridDim.x, which ^= 1) {
        int next = tile + (int)gridDim.x;
        tile_place<T> there = here;
        if (next < j.tiles) {
            there = place_of(j, next);
            fetch_x<FORWARD_THREADS>(j, x + (which ^ 1) * x_numbers, there, first, groups);
        }
        dram_copy_commit();
        dram_copy_wait<1>();
        __syncthreads();
        for (int group = 0; group < groups && here.y0 + line < j.oh; group++) {
            float c[2][WIDE][4] = {};
            multiply_group<T, WIDE>(j, c, x + which * x_numbers, filters, zeros, table, group);
            DRAM_UNROLL
            for (int l = 0; l < 2; l++) DRAM_UNROLL
            for (int n = 0; n < WIDE; n++) {
                int channel = (first + group) * j.co + n * 8 + 2 * t;
                put_two(j, here, line + l, g, channel, c[l][n][0], c[l][n][1]);
                put_two(j, here, line + l, g + 8, channel, c[l][n][2], c[l][n][3]);
            }
        }
        __syncthreads();
        here = there;
    }
}

/* ---- wgrad: a warp keeps up to WGRAD_ITEMS pieces of dw^T, 16 of a group's sum by all of its y's channels ---- */

template <typename T>
__device__ static inline void fetch_y(const group_job<T> &j, T *to, const tile_place<T> &p, int first, int groups)
{
    int packs = groups * j.co / PACK, all = j.lines * ACROSS * packs;
    bool whole = groups == j.bundle;
    for (int i = (int)threadIdx.x; i < all; i += WGRAD_THREADS) {
        int pixel = whole ? quotient(j.by_y_packs, i) : i / packs, pack = i - pixel * packs;
        int y = p.y0 + pixel / ACROSS, x = p.x0 + pixel % ACROSS;
        bool take = y < j.oh && x < j.ow;
        const T *from = j.y;
        if (take) from += (((int64_t)p.image * j.oh + y) * j.ow + x) * j.o + first * j.co + pack * PACK;
        dram_copy16(to + pixel * j.y_step + pack * PACK, from, take);
    }
}

/* Adds a tile's products to the warp's pieces. */
template <typename T, int WIDE>
__device__ static inline void multiply_pieces(const group_job<T> &j, float (&c)[WGRAD_ITEMS][WIDE][4], const T *x,
                                              const T *y, const T *zeros, const int *table, int groups, int lines)
{
    int lane = (int)threadIdx.x % 32, high = (j.packs + 1) / 2, items = groups * high;
    for (int line = 0; line < lines; line++) {
        const T *x_line = x + (line * j.x_across + lane % 8 + lane / 16 * 8) * j.stride * j.x_step;
        const T *y_line = y + (line * ACROSS + lane % 16) * j.y_step;
        DRAM_UNROLL
        for (int i = 0; i < WGRAD_ITEMS; i++) {
            int item = (int)threadIdx.x / 32 * WGRAD_ITEMS + i;
            if (item >= items) continue;
            int group = item / high, at = table[(item - group * high) * 2 + lane / 8 % 2];
            uint32_t a[4];
            dram_load_transposed(a, at < 0 ? zeros : x_line + group * j.ci + at);
            DRAM_UNROLL
            for (int n = 0; n < WIDE; n += 2) {
                uint32_t b[4];
                dram_load_transposed(b, y_line + group * j.co + (n + (n + 1 < WIDE ? lane / 16 : 0)) * PACK);
                const uint32_t one[2] = {b[0], b[1]}, two[2] = {b[2], b[3]};
                dram_mma<T>(c[i][n], a, one);
                if (n + 1 < WIDE) dram_mma<T>(c[i][n + 1 < WIDE ? n + 1 : n], a, two);
            }
        }
    }
}

template <typename T, int WIDE> __global__ void __launch_bounds__(WGRAD_THREADS, 2) group_wgrad(group_job<T> j)
{
    DRAM_SHARED_DYNAMIC(T, shared);
    int first = (int)blockIdx.y * j.bundle, groups = min(j.bundle, j.groups - first);
    int x_numbers = j.x_lines * j.x_across * j.x_step, stage = x_numbers + j.lines * ACROSS * j.y_step;
    T *zeros = shared + 2 * stage;
    int *table = (int *)(void *)(zeros + PACK);
    float c[WGRAD_ITEMS][WIDE][4] = {};
    if (threadIdx.x < PACK) zeros[threadIdx.x] = T{0};
    fill_table<WGRAD_THREADS>(j, table);
    int begin = (int)blockIdx.x * j.tiles_each, end = min(begin + j.tiles_each, j.tiles);
    for (int tile = begin; tile <= end; tile++) { /* fetches a tile, and computes the one before */
        T *to = shared + tile % 2 * stage;
        if (tile < end) {
            tile_place<T> p = place_of(j, tile);
            fetch_x<WGRAD_THREADS>(j, to, p, first, groups);
            fetch_y(j, to + x_numbers, p, first, groups);
        }
        dram_copy_commit();
        if (tile == begin) continue;
        dram_copy_wait<1>();
        __syncthreads();
        const T *x = shared + (tile - 1) % 2 * stage;
        int lines = min(j.lines, j.oh - place_of(j, tile - 1).y0);
        multiply_pieces<T, WIDE>(j, c, x, x + x_numbers, zeros, table, groups, lines);
        __syncthreads();
    }
    int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4, high = (j.packs + 1) / 2, depth = j.packs * PACK;
    DRAM_UNROLL
    for (int i = 0; i < WGRAD_ITEMS; i++) {
        int item = (int)threadIdx.x / 32 * WGRAD_ITEMS + i, group = item / high, m = (item - group * high) * 16 + g;
        if (item >= groups * high) continue;
        DRAM_UNROLL
        for (int n = 0; n < WIDE; n++) {
            int64_t o = (int64_t)blockIdx.x * j.o + (first + group) * j.co + n * 8 + 2 * t;
            float *to = (float *)j.out + o * depth + m;
            to[0] = c[i][n][0];
            to[depth] = c[i][n][1];
            if (m + 8 >= depth) continue;
            to[8] = c[i][n][2];
            to[depth + 8] = c[i][n][3];
        }
    }
}

/* ---- which of them, and the launch ---- */

static int odd_packs(int channels)
{
    return (channels / PACK | 1) * PACK;
}

/* Sets what follows from the shapes and `lines`. */
template <typename T> static void plan(group_job<T> *j, int lines)
{
    int width = j->ci > j->co ? j->ci : j->co, most = MOST_CHANNELS / width;
    j->bundles = (int)dram_ceil_div(j->groups, most);
    j->bundle = (int)dram_ceil_div(j->groups, j->bundles);
    j->lines = lines;
    j->x_lines = (lines - 1) * j->stride + j->kh;
    j->x_across = (ACROSS - 1) * j->stride + j->kw;
    j->x_step = odd_packs(j->bundle * j->ci);
    j->y_step = odd_packs(j->bundle * j->co);
    j->packs = j->kh * j->kw * j->ci / PACK;
    j->quads = (int)dram_ceil_div(j->packs, QUAD);
    j->down = (int)dram_ceil_div(j->oh, lines);
    j->across = (int)dram_ceil_div(j->ow, ACROSS);
    j->tiles = j->n * j->down * j->across;
    j->by_across = division_by(j->across);
    j->by_down = division_by(j->down);
    j->by_x_across = division_by(j->x_across);
    j->by_x_packs = division_by(j->bundle * j->ci / PACK);
    j->by_y_packs = division_by(j->bundle * j->co / PACK);
    j->by_ci_packs = division_by(j->ci / PACK);
}

template <typename T> static size_t forward_bytes(const group_job<T> *j)
{
    size_t numbers =
        2 * (size_t)(j->x_lines * j->x_across * j->x_step) + PACK + (size_t)(j->bundle * j->co * filter_step(*j));
    return numbers * sizeof(T) + (size_t)(j->quads * QUAD) * sizeof(int);
}

template <typename T> static size_t wgrad_bytes(const group_job<T> *j)
{
    size_t stage = (size_t)(j->x_lines * j->x_across * j->x_step + j->lines * ACROSS * j->y_step);
    return (2 * stage + PACK) * sizeof(T) + (size_t)(j->quads * QUAD) * sizeof(int);
}

static bool is_narrow(const dram_cuda_conv *v)
{
    return v->dtype != DRAM_F32 && v->groups > 1 && v->ci % PACK == 0 && v->co % PACK == 0 && v->ci <= MOST_WIDTH &&
           v->co <= MOST_WIDTH;
}

static bool aligned(const void *pointer)
{
    return (uintptr_t)pointer % 16 == 0;
}

template <typename T, int WIDE> static dram_status launch_forward(const dram_kernel_args *args, const group_job<T> &j)
{
    int64_t most = (int64_t)dram_context(args)->multiprocessors * 4, tiles = j.tiles < most ? j.tiles : most;
    return dram_launch(args, group_forward<T, WIDE>, dim3((unsigned)tiles, (unsigned)j.bundles), FORWARD_THREADS,
                       forward_bytes(&j), j);
}

template <typename T> static dram_status run_forward(const dram_kernel_args *args, group_job<T> j, bool *done)
{
    plan(&j, FORWARD_LINES);
    *done = forward_bytes(&j) <= MOST_SHARED;
    if (!*done) return DRAM_OK;
    switch (j.co / 8) {
    case 1:
        return launch_forward<T, 1>(args, j);
    case 2:
        return launch_forward<T, 2>(args, j);
    case 3:
        return launch_forward<T, 3>(args, j);
    default:
        return launch_forward<T, 4>(args, j);
    }
}

template <typename T> static group_job<T> describe(const dram_cuda_conv *v)
{
    group_job<T> j = {};
    j.n = v->n;
    j.h = v->h;
    j.w = v->w;
    j.c = v->c;
    j.oh = v->oh;
    j.ow = v->ow;
    j.o = v->o;
    j.kh = v->kh;
    j.kw = v->kw;
    j.stride = v->stride_y;
    j.pad_y = j.pad_x = v->pad;
    j.groups = v->groups;
    j.ci = v->ci;
    j.co = v->co;
    return j;
}

template <typename T>
static dram_status forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x, const void *weight,
                           const float *bias, void *y, bool *done)
{
    group_job<T> j = describe<T>(v);
    j.x = (const T *)x;
    j.weight = (const T *)weight;
    j.bias = bias;
    j.out = y;
    return run_forward(args, j, done);
}

dram_status dram_cuda_conv_group_forward(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                         const void *weight, const float *bias, void *y, bool *done)
{
    *done = false;
    if (!is_narrow(v) || !aligned(x) || !aligned(weight) || !aligned(y)) return DRAM_OK;
    return v->dtype == DRAM_BF16 ? forward<dram_bf16>(args, v, x, weight, bias, y, done)
                                 : forward<dram_f16>(args, v, x, weight, bias, y, done);
}

template <typename T>
static dram_status dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y, const void *weight,
                         const void *acc, void *dx, bool *done)
{
    group_job<T> j = describe<T>(v);
    j.h = v->oh;
    j.w = v->ow;
    j.c = v->o;
    j.oh = v->h;
    j.ow = v->w;
    j.o = v->c;
    j.ci = v->co;
    j.co = v->ci;
    j.pad_y = v->kh - 1 - v->pad;
    j.pad_x = v->kw - 1 - v->pad;
    j.turned = true;
    j.x = (const T *)y;
    j.weight = (const T *)weight;
    j.acc = (const T *)acc;
    j.out = dx;
    return run_forward(args, j, done);
}

dram_status dram_cuda_conv_group_dgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *y,
                                       const void *weight, const void *acc, void *dx, bool *done)
{
    *done = false;
    if (!is_narrow(v) || v->stride_y != 1 || !aligned(y) || !aligned(weight) || !aligned(acc) || !aligned(dx))
        return DRAM_OK;
    return v->dtype == DRAM_BF16 ? dgrad<dram_bf16>(args, v, y, weight, acc, dx, done)
                                 : dgrad<dram_f16>(args, v, y, weight, acc, dx, done);
}

template <typename T, int WIDE>
static dram_status launch_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, group_job<T> j, float *dw)
{
    int parts = dram_cuda_conv_parts(args, v, j.tiles);
    j.tiles_each = (int)dram_ceil_div(j.tiles, parts);
    parts = (int)dram_ceil_div(j.tiles, j.tiles_each);
    j.out = parts > 1 ? args->workspace : dw;
    TRY(dram_launch(args, group_wgrad<T, WIDE>, dim3((unsigned)parts, (unsigned)j.bundles), WGRAD_THREADS,
                    wgrad_bytes(&j), j));
    return parts > 1 ? dram_cuda_conv_add_parts(args, v, parts, dw) : DRAM_OK;
}

template <typename T>
static dram_status wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x, const void *y, float *dw,
                         bool *done)
{
    group_job<T> j = describe<T>(v);
    j.x = (const T *)x;
    j.y = (const T *)y;
    plan(&j, v->stride_y == 1 ? 8 : 4);
    *done = wgrad_bytes(&j) <= MOST_SHARED && j.bundle * ((j.packs + 1) / 2) <= WGRAD_ITEMS * WGRAD_THREADS / 32;
    if (!*done) return DRAM_OK;
    switch (j.co / 8) {
    case 1:
        return launch_wgrad<T, 1>(args, v, j, dw);
    case 2:
        return launch_wgrad<T, 2>(args, v, j, dw);
    case 3:
        return launch_wgrad<T, 3>(args, v, j, dw);
    default:
        return launch_wgrad<T, 4>(args, v, j, dw);
    }
}

dram_status dram_cuda_conv_group_wgrad(const dram_kernel_args *args, const dram_cuda_conv *v, const void *x,
                                       const void *y, float *dw, bool *done)
{
    *done = false;
    if (!is_narrow(v) || !aligned(x) || !aligned(y)) return DRAM_OK;
    return v->dtype == DRAM_BF16 ? wgrad<dram_bf16>(args, v, x, y, dw, done) : wgrad<dram_f16>(args, v, x, y, dw, done);
}
