/* sumsq, clip_factor, adamw, sgd, accumulate, clear. Bound by memory: bytes an element 4 (sumsq), 28 (adamw), 20 (sgd),
 * 12 (accumulate), 4 (clear), at 2, 15, 7, 1 and 0 FLOPs. adamw with 8-bit moments moves 16 bytes an element, at about
 * 130 FLOPs to find the codes. Products and sums that the CPU rounds apart are not contracted here either, so that both
 * make the same numbers, and the same codes, of the same gradient. Outputs of an update are its inputs' bytes.
 */
extern "C" {
#include "base/state8.h"
}
#include "kernels/cuda/elementwise.cuh"

/* ---- sumsq, clip_factor ---- */

enum { SUM_BLOCK = 256, SUM_PIECE = 8192 }; /* src/ops/optim.c counts the pieces the same way */

static __device__ void finish_sumsq(double sum, const float *acc, float *out)
{
    *out = (float)((acc ? (double)*acc : 0.0) + sum);
}

/* A block for each piece; the sums go to part [pieces], or of the only one to out. */
template <int N>
static __global__ void sumsq_kernel(const float *g, int64_t n, double *part, const float *acc, float *out)
{
    const int64_t from = (int64_t)blockIdx.x * SUM_PIECE;
    const int left = (int)(n - from < SUM_PIECE ? n - from : (int64_t)SUM_PIECE), packs = left / N;
    double some[N] = {}, sum = 0;
    for (int i = (int)threadIdx.x; i < packs; i += SUM_BLOCK) {
        const dram_pack<float, N> x = dram_load<float, N>(g + from + i * N);
        for (int k = 0; k < N; k++) some[k] = fma((double)x.at[k], (double)x.at[k], some[k]);
    }
    if (N > 1 && (int)threadIdx.x < left - packs * N) {
        const double x = (double)g[from + packs * N + threadIdx.x];
        some[0] = fma(x, x, some[0]);
    }
    for (int k = 0; k < N; k++) sum += some[k];
    sum = dram_block_sum<SUM_BLOCK>(sum);
    if (threadIdx.x > 0) return;
    if (part)
        part[blockIdx.x] = sum;
    else
        finish_sumsq(sum, acc, out);
}

static __global__ void sumsq_end_kernel(const double *part, int64_t pieces, const float *acc, float *out)
{
    double sum = 0;
    for (int64_t p = threadIdx.x; p < pieces; p += SUM_BLOCK) sum += part[p];
    sum = dram_block_sum<SUM_BLOCK>(sum);
    if (threadIdx.x == 0) finish_sumsq(sum, acc, out);
}

DRAM_CUDA_KERNEL(sumsq)
{
    const float *g = static_cast<const float *>(args->in[0].data);
    const float *acc = static_cast<const float *>(args->in[1].data);
    float *out = static_cast<float *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape), pieces = dram_blocks(n, SUM_PIECE);
    double *part = pieces > 1 ? static_cast<double *>(args->workspace) : NULL;
    void (*const kernel)(const float *, int64_t, double *, const float *, float *) =
        dram_packable(g) ? sumsq_kernel<dram_vector<float>> : sumsq_kernel<1>;
    TRY(dram_launch(args, kernel, dim3((unsigned)(pieces < 1 ? 1 : pieces)), dim3(SUM_BLOCK), 0, g, n, part, acc, out));
    if (!part) return DRAM_OK;
    return dram_launch(args, sumsq_end_kernel, dim3(1), dim3(SUM_BLOCK), 0, part, pieces, acc, out);
}

static __global__ void clip_factor_kernel(const float *sumsq, const float *scaled, float clip, float *out)
{
    const float unscale = scaled ? *scaled : 1.0f, norm = __fmul_rn(sqrtf(*sumsq), unscale);
    const float factor = clip > 0 ? fminf(1.0f, clip / (norm + 1e-6f)) : 1.0f;
    out[0] = norm;
    out[1] = unscale * (fabsf(norm) < INFINITY ? factor : 0.0f);
}

DRAM_CUDA_KERNEL(clip_factor)
{
    const float *scaled = static_cast<const float *>(args->in[1].data);
    return dram_launch(args, clip_factor_kernel, dim3(1), dim3(1), 0, static_cast<const float *>(args->in[0].data),
                       scaled, args->attr->clip, static_cast<float *>(args->out[0].data));
}

/* ---- adamw ---- */

typedef struct {
    float beta1, beta2, eps, decay;
} adamw_attr;

/* What the step's numbers on the device make of them. */
typedef struct {
    float beta1, beta2, take1, take2, eps;
    float keep;   /* of the weight: 1 - lr decay */
    float factor; /* of the gradient, from clipping */
    float step;   /* lr / (1 - beta1^t) */
    float root;   /* 1 / sqrt(1 - beta2^t) */
} adamw_factors;

static __device__ adamw_factors factors_of(const adamw_attr &a, const float *hyper, const float *clip)
{
    return {a.beta1,        a.beta2,
            1.0f - a.beta1, 1.0f - a.beta2,
            a.eps,          fmaf(-hyper[0], a.decay, 1.0f),
            clip[1],        hyper[0] * hyper[1],
            sqrtf(hyper[2])};
}

/* Loshchilov, Hutter 2019, as torch.optim.AdamW computes it: the decay first, eps after the bias correction. */
static __device__ void adamw_step(const adamw_factors &f, float g, float &w, float &m, float &v)
{
    g *= f.factor;
    m = fmaf(f.beta1, m, f.take1 * g);
    v = fmaf(f.beta2, v, f.take2 * g * g);
    w = __fsub_rn(__fmul_rn(f.keep, w), __fmul_rn(f.step, m / fmaf(sqrtf(v), f.root, f.eps)));
}

template <int N>
static __global__ void adamw_kernel(float *w, const float *g, float *m, float *v, int64_t n, adamw_attr attr,
                                    const float *hyper, const float *clip)
{
    const adamw_factors f = factors_of(attr, hyper, clip);
    if (f.factor == 0) return; /* nothing changes */
    auto update = [=](int64_t i) {
        const dram_pack<float, N> gi = dram_load<float, N>(g + i * N);
        dram_pack<float, N> wi = dram_load<float, N>(w + i * N), mi = dram_load<float, N>(m + i * N);
        dram_pack<float, N> vi = dram_load<float, N>(v + i * N);
        for (int k = 0; k < N; k++) adamw_step(f, gi.at[k], wi.at[k], mi.at[k], vi.at[k]);
        dram_store<float, N>(w + i * N, wi);
        dram_store<float, N>(m + i * N, mi);
        dram_store<float, N>(v + i * N, vi);
    };
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            update(i);
            if (more) update(j);
        },
        [=](int64_t i) { adamw_step(f, g[i], w[i], m[i], v[i]); });
}

/* ---- adamw with moments of 8 bits (base/state8.h) ---- */

/* Number k of `n` spread evenly over the upper nine tenths of a decade. */
static __device__ float spread_number(int k, int n, int decade)
{
    const float top = decade == 0   ? 1e-6f
                      : decade == 1 ? 1e-5f
                      : decade == 2 ? 1e-4f
                      : decade == 3 ? 1e-3f
                      : decade == 4 ? 1e-2f
                      : decade == 5 ? 1e-1f
                                    : 1.0f;
    return (0.1f + 0.9f * ((float)k + 0.5f) / (float)n) * top;
}

/* In the signed codebook 0 is code 127; 127 + a and 127 - a are a number and its negative. */
static __device__ float signed_number(int code)
{
    const int a = code < 127 ? 127 - code : code - 127;
    if (a == 0 || a == 128) return a ? 1.0f : 0.0f;
    const int decade = 31 - __clz(a), n = 1 << decade;
    const float number = spread_number(a - n, n, decade);
    return code < 127 ? -number : number;
}

static __device__ float unsigned_number(int code)
{
    if (code == 0 || code == 255) return code ? 1.0f : 0.0f;
    const int twice = 31 - __clz(code + 1), n = 1 << twice;
    return spread_number(code + 1 - n, n, twice - 1);
}

/* From the midpoint between the decade below, of ITS numbers, and this one on: N numbers, as far apart as 1 / SCALE. */
#define DECADE(TOP, ITS, N)                                                                                            \
    above = x > (TOP) * (0.1f + 0.09f / (ITS));                                                                        \
    n = above ? (N) : n;                                                                                               \
    scale = above ? (N) / (0.9f * (TOP)) : scale

/* Place of the number nearest to 0 <= x <= 1 among those that are not negative: 0 is 0.0, then come the decades, whose
 * first has `per` numbers, then 1.0. */
static __device__ inline int nearest(float x, float per)
{
    float n = per, scale = per / (0.9f * 1e-6f), k;
    bool above;
    DECADE(1e-5f, per, 2 * per);
    DECADE(1e-4f, 2 * per, 4 * per);
    DECADE(1e-3f, 4 * per, 8 * per);
    DECADE(1e-2f, 8 * per, 16 * per);
    DECADE(1e-1f, 16 * per, 32 * per);
    DECADE(1.0f, 32 * per, 64 * per);
    k = __fsub_rn(__fmul_rn(x, scale), __fmul_rn(n, 1.0f / 9.0f));
    k = k > 0.0f ? k : 0.0f;
    k = k < n - 1.0f ? k : n - 1.0f;
    int place = (int)n + (int)k;                                             /* of per = 1; with 2 one less */
    place = x > 1.0f - 0.225f / (64.0f * per) ? 2 * (int)(64 * per) : place; /* 1.0 */
    place = x > 1e-6f * (0.05f + 0.225f / per) ? place : (int)per - 1;       /* 0.0 */
    return place - ((int)per - 1);
}

static __device__ inline uint8_t signed_code(float x)
{
    const int a = nearest(fabsf(x), 1.0f);
    const int below = a < 1 ? 1 : (a > 127 ? 127 : a); /* a negative number keeps its sign, and there is no -1.0 */
    return (uint8_t)(x < 0.0f ? 127 - below : 127 + a);
}

/* A warp has a block of 256, each lane 8 elements of it: in two packs of 4, or apart with those beyond n `pad`. */
enum { LANE = DRAM_STATE8_BLOCK / DRAM_WARP, HALF = DRAM_STATE8_BLOCK / 2, CODE_BLOCK = 256 };

template <typename T> static __device__ inline void load_lane(const T *from, bool packed, int n, T pad, T (&to)[LANE])
{
    const int lane = (int)(threadIdx.x % DRAM_WARP);
    for (int h = 0; packed && h < 2; h++) {
        const dram_pack<T, 4> pack = dram_load<T, 4>(from + h * HALF + lane * 4);
        for (int k = 0; k < 4; k++) to[h * 4 + k] = pack.at[k];
    }
    for (int e = 0; !packed && e < LANE; e++) to[e] = lane + e * DRAM_WARP < n ? from[lane + e * DRAM_WARP] : pad;
}

template <typename T> static __device__ inline void store_lane(T *to, bool packed, int n, const T (&from)[LANE])
{
    const int lane = (int)(threadIdx.x % DRAM_WARP);
    for (int h = 0; packed && h < 2; h++) {
        dram_pack<T, 4> pack;
        for (int k = 0; k < 4; k++) pack.at[k] = from[h * 4 + k];
        dram_store<T, 4>(to + h * HALF + lane * 4, pack);
    }
    for (int e = 0; !packed && e < LANE; e++)
        if (lane + e * DRAM_WARP < n) to[lane + e * DRAM_WARP] = from[e];
}

static __device__ void adamw8_block(const adamw_factors &f, const float *book_m, const float *book_v, float *w,
                                    const float *g, uint8_t *code_m, uint8_t *code_v, float *max_m, float *max_v, int n,
                                    bool packed)
{
    float wi[LANE], gi[LANE], mi[LANE], vi[LANE], most_m = 0, most_v = 0;
    uint8_t cm[LANE], cv[LANE];
    const float old_m = *max_m, old_v = *max_v;
    load_lane(g, packed, n, 0.0f, gi);
    load_lane(w, packed, n, 0.0f, wi);
    load_lane(code_m, packed, n, (uint8_t)127, cm); /* 0 */
    load_lane(code_v, packed, n, (uint8_t)0, cv);
    for (int e = 0; e < LANE; e++) {
        mi[e] = book_m[cm[e]] * old_m;
        vi[e] = book_v[cv[e]] * old_v;
        adamw_step(f, gi[e], wi[e], mi[e], vi[e]);
        most_m = fabsf(mi[e]) > most_m ? fabsf(mi[e]) : most_m;
        most_v = vi[e] > most_v ? vi[e] : most_v;
    }
    store_lane(w, packed, n, wi);
    most_m = dram_warp_max(most_m); /* all lanes have read the old ones by now */
    most_v = dram_warp_max(most_v);
    const float by_m = most_m > 0 ? most_m : 1.0f, by_v = most_v > 0 ? most_v : 1.0f; /* of zeros alone: code of 0 */
    for (int e = 0; e < LANE; e++) {
        cm[e] = signed_code(mi[e] / by_m);
        cv[e] = (uint8_t)nearest(vi[e] / by_v, 2.0f);
    }
    store_lane(code_m, packed, n, cm);
    store_lane(code_v, packed, n, cv);
    if (threadIdx.x % DRAM_WARP > 0) return;
    *max_m = most_m;
    *max_v = most_v;
}

static __global__ void adamw8_kernel(float *w, const float *g, uint8_t *m, uint8_t *v, int64_t n, int64_t maxima,
                                     adamw_attr attr, const float *hyper, const float *clip, bool packed)
{
    DRAM_SHARED(float, book_m, [256]);
    DRAM_SHARED(float, book_v, [256]);
    const adamw_factors f = factors_of(attr, hyper, clip);
    if (f.factor == 0) return;
    for (int code = (int)threadIdx.x; code < 256; code += (int)blockDim.x) {
        book_m[code] = signed_number(code);
        book_v[code] = unsigned_number(code);
    }
    __syncthreads();
    float *max_m = reinterpret_cast<float *>(m + maxima);
    float *max_v = reinterpret_cast<float *>(v + maxima);
    const int64_t warps = blockDim.x / DRAM_WARP, blocks = (n + DRAM_STATE8_BLOCK - 1) / DRAM_STATE8_BLOCK;
    for (int64_t b = blockIdx.x * warps + threadIdx.x / DRAM_WARP; b < blocks; b += gridDim.x * warps) {
        const int64_t from = b * DRAM_STATE8_BLOCK;
        const int left = (int)(n - from < DRAM_STATE8_BLOCK ? n - from : (int64_t)DRAM_STATE8_BLOCK);
        adamw8_block(f, book_m, book_v, w + from, g + from, m + from, v + from, max_m + b, max_v + b, left,
                     packed && left == DRAM_STATE8_BLOCK);
    }
}

static dram_status adamw8(const dram_kernel_args *args, const adamw_attr &attr, const float *hyper, const float *clip)
{
    float *w = static_cast<float *>(args->out[0].data);
    const float *g = static_cast<const float *>(args->in[1].data);
    uint8_t *m = static_cast<uint8_t *>(args->out[1].data), *v = static_cast<uint8_t *>(args->out[2].data);
    const int64_t n = dram_elements(&args->in[0].shape), threads = dram_state8_blocks(n) * DRAM_WARP;
    const unsigned block = dram_map_block(threads);
    if (n <= 0) return DRAM_OK;
    return dram_launch(args, adamw8_kernel, dim3(dram_grid(args, threads, block)), dim3(block), 0, w, g, m, v, n,
                       dram_state8_maxima(n), attr, hyper, clip, dram_packable(w, g, m, v));
}

DRAM_CUDA_KERNEL(adamw)
{
    const adamw_attr attr = {args->attr->beta1, args->attr->beta2, args->attr->eps, args->attr->decay};
    const float *hyper = static_cast<const float *>(args->in[4].data);
    const float *clip = static_cast<const float *>(args->in[5].data);
    if (args->in[2].dtype == DRAM_U8) return adamw8(args, attr, hyper, clip);
    float *w = static_cast<float *>(args->out[0].data), *m = static_cast<float *>(args->out[1].data);
    float *v = static_cast<float *>(args->out[2].data);
    const float *g = static_cast<const float *>(args->in[1].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(w, g, m, v), float, N,
                return dram_launch_map(args, adamw_kernel<N>, n, N, w, g, m, v, n, attr, hyper, clip));
}

/* ---- sgd ---- */

static __device__ void sgd_step(float factor, float momentum, float decay, float step, float g, float &w, float &m)
{
    m = fmaf(momentum, m, fmaf(decay, w, __fmul_rn(g, factor)));
    w = __fsub_rn(w, __fmul_rn(step, m));
}

template <int N>
static __global__ void sgd_kernel(float *w, const float *g, float *m, int64_t n, float momentum, float decay,
                                  const float *hyper, const float *clip)
{
    const float factor = clip[1], step = hyper[0];
    if (factor == 0) return;
    auto update = [=](int64_t i) {
        const dram_pack<float, N> gi = dram_load<float, N>(g + i * N);
        dram_pack<float, N> wi = dram_load<float, N>(w + i * N), mi = dram_load<float, N>(m + i * N);
        for (int k = 0; k < N; k++) sgd_step(factor, momentum, decay, step, gi.at[k], wi.at[k], mi.at[k]);
        dram_store<float, N>(w + i * N, wi);
        dram_store<float, N>(m + i * N, mi);
    };
    dram_each_pack<N>(
        n,
        [=](int64_t i, int64_t j, bool more) {
            update(i);
            if (more) update(j);
        },
        [=](int64_t i) { sgd_step(factor, momentum, decay, step, g[i], w[i], m[i]); });
}

DRAM_CUDA_KERNEL(sgd)
{
    float *w = static_cast<float *>(args->out[0].data), *m = static_cast<float *>(args->out[1].data);
    const float *g = static_cast<const float *>(args->in[1].data);
    const float *hyper = static_cast<const float *>(args->in[3].data);
    const float *clip = static_cast<const float *>(args->in[4].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(w, g, m), float, N,
                return dram_launch_map(args, sgd_kernel<N>, n, N, w, g, m, n, args->attr->momentum, args->attr->decay,
                                       hyper, clip));
}

/* ---- accumulate, clear ---- */

template <int N> static __global__ void accumulate_kernel(const float *g, float *sum, int64_t n)
{
    dram_map<N>(sum, g, sum, n, [](float x, float y) { return x + y; });
}

DRAM_CUDA_KERNEL(accumulate)
{
    const float *g = static_cast<const float *>(args->in[1].data);
    float *sum = static_cast<float *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    DRAM_PACKED(dram_packable(g, sum), float, N, return dram_launch_map(args, accumulate_kernel<N>, n, N, g, sum, n));
}

DRAM_CUDA_KERNEL(clear)
{
    const size_t bytes = (size_t)dram_elements(&args->in[0].shape) * sizeof(float);
    if (bytes == 0) return DRAM_OK;
    return dram_cuda_check(cudaMemsetAsync(args->out[0].data, 0, bytes, dram_context(args)->stream),
                           "zeros cannot be written");
}
