/* sumsq, clip_factor, adamw, sgd, accumulate, weight_mean, clear, rank_shard. Bound by memory: bytes an element 4 (sumsq), 28
 * (adamw), 20 (sgd), 12 (accumulate, weight_mean), 4 (clear), at 2, 15, 7, 1, 3 and 0 FLOPs. adamw with 8-bit moments moves 16 bytes an element, at about
 * 130 FLOPs to find the codes. Products and sums that the CPU rounds apart are not contracted here either, so that both
 * make the same numbers, and the same codes, of the same gradient. Outputs of an update are its inputs' bytes.
 */
extern "C" {
#include "base/ranks.h"
#include "base/state8.h"
#include "scratch/optim.h"
}
#include "kernels/cuda/elementwise.cuh"

/* ---- sumsq, clip_factor ---- */

enum { SUM_BLOCK = 256, SUM_PIECE = DRAM_SQUARES_PIECE_GPU };

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

static dram_status launch_sumsq(const dram_kernel_args *args, double *part, const float *acc, float *out)
{
    const float *g = static_cast<const float *>(args->in[0].data);
    const int64_t n = dram_elements(&args->in[0].shape), pieces = dram_ceil_div(n, SUM_PIECE);
    void (*const kernel)(const float *, int64_t, double *, const float *, float *) =
        dram_packable(g) ? sumsq_kernel<dram_vector<float>> : sumsq_kernel<1>;
    return dram_launch(args, kernel, dim3((unsigned)(pieces < 1 ? 1 : pieces)), dim3(SUM_BLOCK), 0, g, n, part, acc,
                       out);
}

DRAM_CUDA_KERNEL(sumsq)
{
    const bool squares = args->in[0].dtype == DRAM_U8;
    const float *acc = static_cast<const float *>(args->in[1].data);
    float *out = static_cast<float *>(args->out[0].data);
    const int64_t n = dram_elements(&args->in[0].shape);
    const int64_t pieces = squares ? n / (int64_t)sizeof(double) : dram_ceil_div(n, SUM_PIECE);
    double *part = static_cast<double *>(squares ? args->in[0].data : pieces > 1 ? args->workspace : NULL);
    if (!squares) TRY(launch_sumsq(args, part, acc, out));
    if (!part) return DRAM_OK;
    return dram_launch(args, sumsq_end_kernel, dim3(1), dim3(SUM_BLOCK), 0, part, pieces, acc, out);
}

/* out [kept]: the n elements of a shard, and zeros. */
static __global__ void shard_kernel(const float *x, int64_t n, int64_t kept, float *out)
{
    const int64_t round = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < kept; i += round) out[i] = i < n ? x[i] : 0.0f;
}

DRAM_CUDA_KERNEL(rank_shard)
{
    const int64_t n = dram_elements(&args->in[0].shape), kept = dram_elements(&args->out[0].shape);
    const float *x = static_cast<const float *>(args->in[0].data);
    TRY(launch_sumsq(args, static_cast<double *>(args->out[1].data), NULL, NULL));
    return dram_launch(args, shard_kernel, dim3(dram_grid(args, kept, SUM_BLOCK)), dim3(SUM_BLOCK), 0,
                       x + dram_rank_first(n, args->attr->ranks, args->rank),
                       dram_rank_count(n, args->attr->ranks, args->rank), kept,
                       static_cast<float *>(args->out[0].data));
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

/* ---- updates: one launch for many tensors ----
 *
 * As PyTorch's multi_tensor_apply does it: addresses and sizes of the tensors are the kernel's parameters, by value, so
 * that a recorded launch keeps them, and a block has one piece of one tensor. An element (with 8-bit moments a block of
 * them) is done by itself, so the bits are the same in whatever company. */

enum { UPDATE_BLOCK = 256, UPDATE_PIECE = 4096, PARAMETER_BYTES = 4096 }; /* the last: what every driver takes */
static_assert(UPDATE_PIECE % DRAM_STATE8_BLOCK == 0, "pieces of whole blocks");

struct update_common {
    float beta1, beta2, eps, momentum;
    const float *hyper, *clip;
};

struct update_tensor {
    void *at[4];  /* adamw: w, g, m, v; sgd: w, g, m; accumulate: acc, g; clear: x; the rest NULL */
    int64_t n;    /* elements */
    int64_t kept; /* adamw: elements that its state is laid out for: n, or those of a shard */
    int first;    /* of its blocks */
    float decay;
};

enum { UPDATE_TENSORS = (PARAMETER_BYTES - sizeof(update_common) - sizeof(int64_t)) / sizeof(update_tensor) };

struct update_table {
    update_common common;
    int64_t tensors;
    update_tensor tensor[UPDATE_TENSORS];
};
static_assert(sizeof(update_table) <= PARAMETER_BYTES, "a kernel's parameters");

/* The tensor that this block has a piece of: the last one whose blocks begin no later. */
static __device__ inline int update_place(const update_table &t)
{
    int low = 0, high = (int)t.tensors;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (t.tensor[middle].first <= (int)blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static __device__ inline bool update_packable(const update_tensor &x)
{
    return ((uintptr_t)x.at[0] | (uintptr_t)x.at[1] | (uintptr_t)x.at[2] | (uintptr_t)x.at[3]) % 16 == 0;
}

template <int N> static __device__ inline dram_pack<float, N> update_load(const update_tensor &x, int which, int64_t i)
{
    return dram_load<float, N>(static_cast<const float *>(x.at[which]) + i);
}
template <int N>
static __device__ inline void update_store(const update_tensor &x, int which, int64_t i, const dram_pack<float, N> &to)
{
    dram_store<float, N>(static_cast<float *>(x.at[which]) + i, to);
}

/* OP is made of the common numbers and the tensor; idle(): nothing changes; run<N>(x, i) does the N elements from i
 * on. */
template <typename OP>
static __global__ void __launch_bounds__(UPDATE_BLOCK) update_kernel(const __grid_constant__ update_table t)
{
    const update_tensor &x = t.tensor[update_place(t)];
    const OP op(t.common, x);
    if (op.idle()) return;
    const int64_t from = ((int64_t)blockIdx.x - x.first) * UPDATE_PIECE;
    const int n = (int)(x.n - from < UPDATE_PIECE ? x.n - from : (int64_t)UPDATE_PIECE);
    constexpr int N = dram_vector<float>;
    const int packed = update_packable(x) ? n / N * N : 0;
    for (int i = (int)threadIdx.x * N; i < packed; i += UPDATE_BLOCK * N) op.template run<N>(x, from + i);
    for (int i = packed + (int)threadIdx.x; i < n; i += UPDATE_BLOCK) op.template run<1>(x, from + i);
}

/* Launches `kernel` on the tensors of those nodes for which describe(args, &common, &tensor) is true: together as long
 * as what is common stays the same and the table has room. */
template <typename D>
static dram_status run_updates(const dram_kernel_args *const *args, int n, void (*kernel)(update_table), D describe)
{
    update_table t;
    int64_t blocks = 0;
    t.common = {};
    t.tensors = 0;
    auto launch = [&]() -> dram_status {
        if (t.tensors > 0) TRY(dram_launch(args[0], kernel, dim3((unsigned)blocks), dim3(UPDATE_BLOCK), 0, t));
        t.tensors = blocks = 0;
        return DRAM_OK;
    };
    for (int i = 0; i < n; i++) {
        update_common common = {};
        update_tensor x = {};
        if (!describe(args[i], &common, &x) || x.n <= 0) continue;
        if (t.tensors == UPDATE_TENSORS || memcmp(&common, &t.common, sizeof common) != 0) TRY(launch());
        t.common = common;
        x.first = (int)blocks;
        blocks += dram_ceil_div(x.n, UPDATE_PIECE);
        t.tensor[t.tensors++] = x;
    }
    return launch();
}

/* ---- adamw ---- */

/* What the step's numbers on the device make of them. */
typedef struct {
    float beta1, beta2, take1, take2, eps;
    float keep;   /* of the weight: 1 - lr decay */
    float factor; /* of the gradient, from clipping */
    float step;   /* lr / (1 - beta1^t) */
    float root;   /* 1 / sqrt(1 - beta2^t) */
} adamw_factors;

static __device__ adamw_factors factors_of(const update_common &c, float decay)
{
    return {c.beta1,
            c.beta2,
            1.0f - c.beta1,
            1.0f - c.beta2,
            c.eps,
            fmaf(-c.hyper[0], decay, 1.0f),
            c.clip[1],
            c.hyper[0] * c.hyper[1],
            sqrtf(c.hyper[2])};
}

/* Loshchilov, Hutter 2019, as torch.optim.AdamW computes it: the decay first, eps after the bias correction. */
static __device__ void adamw_step(const adamw_factors &f, float g, float &w, float &m, float &v)
{
    g *= f.factor;
    m = fmaf(f.beta1, m, f.take1 * g);
    v = fmaf(f.beta2, v, f.take2 * g * g);
    w = __fsub_rn(__fmul_rn(f.keep, w), __fmul_rn(f.step, m / fmaf(sqrtf(v), f.root, f.eps)));
}

namespace
{

struct adamw_op {
    adamw_factors f;
    __device__ adamw_op(const update_common &c, const update_tensor &x) : f(factors_of(c, x.decay))
    {
    }
    __device__ bool idle() const
    {
        return f.factor == 0;
    }
    template <int N> __device__ void run(const update_tensor &x, int64_t i) const
    {
        const dram_pack<float, N> g = update_load<N>(x, 1, i);
        dram_pack<float, N> w = update_load<N>(x, 0, i), m = update_load<N>(x, 2, i), v = update_load<N>(x, 3, i);
        for (int k = 0; k < N; k++) adamw_step(f, g.at[k], w.at[k], m.at[k], v.at[k]);
        update_store<N>(x, 0, i, w);
        update_store<N>(x, 2, i, m);
        update_store<N>(x, 3, i, v);
    }
};

} // namespace

/* ---- adamw with moments of 8 bits (base/state8.h) ---- */

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
        const float x = mi[e] / by_m;
        cm[e] = dram_state8_signed_code(fabsf(x), x < 0);
        cv[e] = dram_state8_unsigned_code(vi[e] / by_v);
    }
    store_lane(code_m, packed, n, cm);
    store_lane(code_v, packed, n, cv);
    if (threadIdx.x % DRAM_WARP > 0) return;
    *max_m = most_m;
    *max_v = most_v;
}

static __global__ void __launch_bounds__(UPDATE_BLOCK) adamw8_kernel(const __grid_constant__ update_table t)
{
    DRAM_SHARED(float, book_m, [256]);
    DRAM_SHARED(float, book_v, [256]);
    const update_tensor &x = t.tensor[update_place(t)];
    const adamw_factors f = factors_of(t.common, x.decay);
    if (f.factor == 0) return;
    for (int code = (int)threadIdx.x; code < 256; code += UPDATE_BLOCK) {
        book_m[code] = dram_state8_signed_number(code);
        book_v[code] = dram_state8_unsigned_number(code);
    }
    __syncthreads();
    float *w = static_cast<float *>(x.at[0]);
    const float *g = static_cast<const float *>(x.at[1]);
    uint8_t *m = static_cast<uint8_t *>(x.at[2]), *v = static_cast<uint8_t *>(x.at[3]);
    const int64_t maxima = dram_state8_maxima(x.kept);
    float *max_m = reinterpret_cast<float *>(m + maxima), *max_v = reinterpret_cast<float *>(v + maxima);
    const bool packed = update_packable(x);
    const int64_t piece = ((int64_t)blockIdx.x - x.first) * UPDATE_PIECE;
    const int64_t end = x.n < piece + UPDATE_PIECE ? x.n : piece + UPDATE_PIECE;
    for (int64_t from = piece + threadIdx.x / DRAM_WARP * DRAM_STATE8_BLOCK; from < end;
         from += UPDATE_BLOCK / DRAM_WARP * DRAM_STATE8_BLOCK) {
        const int left = (int)(end - from < DRAM_STATE8_BLOCK ? end - from : (int64_t)DRAM_STATE8_BLOCK);
        const int64_t b = from / DRAM_STATE8_BLOCK;
        adamw8_block(f, book_m, book_v, w + from, g + from, m + from, v + from, max_m + b, max_v + b, left,
                     packed && left == DRAM_STATE8_BLOCK);
    }
}

/* What adamw and sgd move: all of the weight, or this rank's shard. */
static update_tensor updated(const dram_kernel_args *args)
{
    const int64_t n = dram_elements(&args->in[0].shape);
    const int ranks = args->attr->ranks;
    float *w = static_cast<float *>(args->out[0].data), *g = static_cast<float *>(args->in[1].data);
    update_tensor x = {{w, g, args->out[1].data}, n, n, 0, args->attr->decay};
    if (ranks < 2) return x;
    const int64_t first = dram_rank_first(n, ranks, args->rank);
    x.n = dram_rank_count(n, ranks, args->rank);
    x.kept = dram_rank_shard(n, ranks);
    x.at[0] = w + first;
    if (dram_elements(&args->in[1].shape) == n) x.at[1] = g + first;
    return x;
}

/* Those with 8-bit moments apart from the others. */
static bool describe_adamw(const dram_kernel_args *args, bool state8, update_common *c, update_tensor *x)
{
    if ((args->in[2].dtype == DRAM_U8) != state8) return false;
    *c = {args->attr->beta1,
          args->attr->beta2,
          args->attr->eps,
          0,
          static_cast<const float *>(args->in[4].data),
          static_cast<const float *>(args->in[5].data)};
    *x = updated(args);
    x->at[3] = args->out[2].data;
    return true;
}

DRAM_CUDA_KERNEL_MANY(adamw)
{
    TRY(run_updates(
        args, n, update_kernel<adamw_op>,
        [](const dram_kernel_args *a, update_common *c, update_tensor *x) { return describe_adamw(a, false, c, x); }));
    return run_updates(args, n, adamw8_kernel, [](const dram_kernel_args *a, update_common *c, update_tensor *x) {
        return describe_adamw(a, true, c, x);
    });
}

DRAM_CUDA_KERNEL(adamw)
{
    return dram_cuda_many_adamw(&args, 1);
}

/* ---- sgd ---- */

namespace
{

struct sgd_op {
    float factor, momentum, decay, step;
    __device__ sgd_op(const update_common &c, const update_tensor &x)
        : factor(c.clip[1]), momentum(c.momentum), decay(x.decay), step(c.hyper[0])
    {
    }
    __device__ bool idle() const
    {
        return factor == 0;
    }
    template <int N> __device__ void run(const update_tensor &x, int64_t i) const
    {
        const dram_pack<float, N> g = update_load<N>(x, 1, i);
        dram_pack<float, N> w = update_load<N>(x, 0, i), m = update_load<N>(x, 2, i);
        for (int k = 0; k < N; k++) {
            m.at[k] = fmaf(momentum, m.at[k], fmaf(decay, w.at[k], __fmul_rn(g.at[k], factor)));
            w.at[k] = __fsub_rn(w.at[k], __fmul_rn(step, m.at[k]));
        }
        update_store<N>(x, 0, i, w);
        update_store<N>(x, 2, i, m);
    }
};

} // namespace

DRAM_CUDA_KERNEL_MANY(sgd)
{
    return run_updates(args, n, update_kernel<sgd_op>,
                       [](const dram_kernel_args *a, update_common *c, update_tensor *x) {
                           *c = {0,
                                 0,
                                 0,
                                 a->attr->momentum,
                                 static_cast<const float *>(a->in[3].data),
                                 static_cast<const float *>(a->in[4].data)};
                           *x = updated(a);
                           return true;
                       });
}

DRAM_CUDA_KERNEL(sgd)
{
    return dram_cuda_many_sgd(&args, 1);
}

/* ---- accumulate, weight_mean, clear ---- */

namespace
{

struct unconditional_op {
    __device__ unconditional_op(const update_common &, const update_tensor &)
    {
    }
    __device__ bool idle() const
    {
        return false;
    }
};

struct accumulate_op : unconditional_op {
    using unconditional_op::unconditional_op;
    template <int N> __device__ void run(const update_tensor &x, int64_t i) const
    {
        const dram_pack<float, N> g = update_load<N>(x, 1, i);
        dram_pack<float, N> sum = update_load<N>(x, 0, i);
        for (int k = 0; k < N; k++) sum.at[k] = g.at[k] + sum.at[k];
        update_store<N>(x, 0, i, sum);
    }
};

struct weight_mean_op {
    float take, factor;
    __device__ weight_mean_op(const update_common &c, const update_tensor &) : take(c.hyper[3]), factor(c.clip[1])
    {
    }
    __device__ bool idle() const
    {
        return factor == 0;
    }
    template <int N> __device__ void run(const update_tensor &x, int64_t i) const
    {
        const dram_pack<float, N> w = update_load<N>(x, 1, i);
        dram_pack<float, N> mean = update_load<N>(x, 0, i);
        for (int k = 0; k < N; k++)
            mean.at[k] = take == 1.0f ? w.at[k] : fmaf(take, __fsub_rn(w.at[k], mean.at[k]), mean.at[k]);
        update_store<N>(x, 0, i, mean);
    }
};

struct clear_op : unconditional_op {
    using unconditional_op::unconditional_op;
    template <int N> __device__ void run(const update_tensor &x, int64_t i) const
    {
        update_store<N>(x, 0, i, dram_pack<float, N>{});
    }
};

} // namespace

DRAM_CUDA_KERNEL_MANY(accumulate)
{
    return run_updates(args, n, update_kernel<accumulate_op>,
                       [](const dram_kernel_args *a, update_common *, update_tensor *x) {
                           *x = {{a->out[0].data, a->in[1].data}, dram_elements(&a->in[0].shape), 0, 0, 0};
                           return true;
                       });
}

DRAM_CUDA_KERNEL(accumulate)
{
    return dram_cuda_many_accumulate(&args, 1);
}

DRAM_CUDA_KERNEL_MANY(weight_mean)
{
    return run_updates(
        args, n, update_kernel<weight_mean_op>, [](const dram_kernel_args *a, update_common *c, update_tensor *x) {
            *c = {0, 0, 0, 0, static_cast<const float *>(a->in[2].data), static_cast<const float *>(a->in[3].data)};
            *x = {{a->out[0].data, a->in[1].data}, dram_elements(&a->in[0].shape), 0, 0, 0};
            return true;
        });
}

DRAM_CUDA_KERNEL(weight_mean)
{
    return dram_cuda_many_weight_mean(&args, 1);
}

DRAM_CUDA_KERNEL_MANY(clear)
{
    return run_updates(args, n, update_kernel<clear_op>,
                       [](const dram_kernel_args *a, update_common *, update_tensor *x) {
                           *x = {{a->out[0].data}, dram_elements(&a->in[0].shape), 0, 0, 0};
                           return true;
                       });
}

DRAM_CUDA_KERNEL(clear)
{
    return dram_cuda_many_clear(&args, 1);
}
