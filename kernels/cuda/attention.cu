/* attention: SAM's, with decomposed relative position, global or in windows. See src/ops/attention.c for the formula,
 * ir/op_list.h for the shapes and attention.cuh for how queries and keys are laid out.
 *
 * A block owns up to 128 queries of one region, 16 a warp, and meets the keys tile by tile with an online softmax (Dao
 * et al., "FlashAttention", 2022; the division of work is that of Dao, "FlashAttention-2", 2023). Keys and values of
 * the next tile are copied while one is worked on. The relative terms are added to the scores in registers, from two
 * small factors a warp makes for its queries. The padding of a window is the first "key" of the softmax: its weight is
 * known from the factors, its value is the bias, so that only real keys are met.
 *
 * The softmax weights go into the product with v as two pieces (three in fp32), because `out` is to be right to its
 * last bit; one piece would be right to 8 bits (11 in f16) before it is rounded to as many.
 *
 * Limits, for L queries against S keys each and one head of d: 6 L S d FLOPs on tensor cores (4 without the second
 * piece), L S exponentials; memory moved: q and out once, k and v once for each 128 queries, mostly from L2. */
#include "kernels/cuda/attention.cuh"

using namespace dram_attention;

namespace
{

/* The state of a warp's 16 queries: of rows g and g + 8 of it. */
template <int D> struct softmax {
    float out[D / 8][4]; /* weighted sum of values, */
    float largest[2];    /* in units of 2^largest; largest score yet, in bits */
    float sum[2];        /* of the weights in this lane */
};

/* Scores in bits (log2 e times the logits) of a tile, -inf where there is no key. */
template <typename T>
__device__ DRAM_INLINE void finish_scores(const job &j, const queries<T> &q, const chunk &c, int index,
                                          const float (&products)[TILE / 8][4], float (&score)[TILE / 8][4])
{
    int row = warp_of() * 16 + group_of(), t = quarter_of();
    const float *by_row = q.factor[0] + row * q.ld[0], *by_column = q.factor[1] + row * q.ld[1] + 2 * t;
    float scale = j.scale * LOG2E;
    DRAM_UNROLL
    for (int b = 0; b < TILE / 8; b++) {
        int y, x;
        bool in = block_place(c, index * (TILE / 8) + b, &y, &x);
        bool real[2] = {in && x + 2 * t < c.cols, in && x + 2 * t + 1 < c.cols};
        DRAM_UNROLL
        for (int i = 0; i < 2; i++) {
            float rows = by_row[8 * i * q.ld[0] + y];
            dram_pack<float, 2> columns = dram_load<float, 2>(by_column + 8 * i * q.ld[1] + x);
            DRAM_UNROLL
            for (int e = 0; e < 2; e++)
                score[b][2 * i + e] = real[e] ? products[b][2 * i + e] * scale + (rows + columns.at[e]) : -INFINITY;
        }
    }
}

/* Scores to weights 2^(score - largest + LIFT); `keep`: what the sums before are still worth. */
template <typename T, int D>
__device__ DRAM_INLINE void weigh(softmax<D> &s, float (&score)[TILE / 8][4], float (&keep)[2])
{
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        float largest = s.largest[i], sum = 0;
        DRAM_UNROLL
        for (int b = 0; b < TILE / 8; b++) largest = fmaxf(largest, fmaxf(score[b][2 * i], score[b][2 * i + 1]));
        largest = quad_max(largest);
        keep[i] = dram_exp2(s.largest[i] - largest);
        s.largest[i] = largest;
        float zero = largest - traits<T>::LIFT;
        DRAM_UNROLL
        for (int b = 0; b < TILE / 8; b++) {
            DRAM_UNROLL
            for (int e = 2 * i; e < 2 * i + 2; e++) {
                score[b][e] = dram_exp2(score[b][e] - zero);
                sum += score[b][e];
            }
        }
        s.sum[i] = s.sum[i] * keep[i] + sum;
    }
}

/* Before any key: nothing, or the padding. */
template <typename T, int D>
__device__ DRAM_INLINE void begin(const job &j, const region &r, queries<T> &q, softmax<D> &s)
{
    int t = quarter_of();
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        s.largest[i] = -INFINITY;
        s.sum[i] = 0;
    }
    DRAM_UNROLL
    for (int n = 0; n < D / 8; n++) {
        DRAM_UNROLL
        for (int e = 0; e < 4; e++) s.out[n][e] = 0;
    }
    if (!is_padded(j, r)) return;
    padding p[2];
    find_padding<T, D>(j, r, q, p);
    constexpr float ONE = (float)(1 << traits<T>::LIFT);
    const float *v = j.bias + 2 * j.dim + r.head * j.d;
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        s.largest[i] = p[i].score;
        s.sum[i] = t == 0 ? ONE : 0;
    }
    DRAM_UNROLL
    for (int n = 0; n < D / 8; n++) {
        DRAM_UNROLL
        for (int e = 0; e < 2; e++) {
            int c = 8 * n + 2 * t + e;
            s.out[n][e] = s.out[n][2 + e] = c < j.d ? v[c] * ONE : 0;
        }
    }
}

/* The keys of a chunk. */
template <typename T, int D>
__device__ DRAM_INLINE void meet_chunk(const job &j, const region &r, const queries<T> &q, const chunk &c, T *tiles,
                                       softmax<D> &s)
{
    constexpr int EACH = 2 * TILE * ROW<D>;
    __syncthreads(); /* nobody reads the tiles of the chunk before */
    load_keys<T, D>(j, r, c, 0, tiles);
    DRAM_ROLLED
    for (int index = 0; index < c.tiles; index++) {
        const T *keys = tiles + index % 2 * EACH;
        dram_copy_wait<0>();
        __syncthreads();
        if (index + 1 < c.tiles) load_keys<T, D>(j, r, c, index + 1, tiles + (index + 1) % 2 * EACH);
        float score[TILE / 8][4], keep[2];
        float products[TILE / 8][4];
        row_products<T, D>(q.q, warp_of() * 16, keys, products);
        finish_scores<T>(j, q, c, index, products, score);
        weigh<T, D>(s, score, keep);
        add_weighted<T, D, traits<T>::WEIGHTS>(score, keys + TILE * ROW<D>, keep[0], keep[1], 1, s.out);
    }
}

template <typename T, int D>
__device__ DRAM_INLINE void finish(const job &j, const region &r, const queries<T> &q, softmax<D> &s)
{
    int first = q.from + warp_of() * 16 + group_of();
    T *row[2];
    float factor[2];
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        float sum = quad_sum(s.sum[i]);
        int query = first + 8 * i;
        row[i] = nullptr;
        factor[i] = 1 / sum;
        if (query >= r.queries) continue;
        int token = token_of(j, r, query);
        row[i] = static_cast<T *>(j.out) + (int64_t)token * j.dim + r.head * j.d;
        if (quarter_of() == 0) j.lse[lse_at(j, r, token)] = (s.largest[i] - traits<T>::LIFT + log2f(sum)) * LN2;
    }
    store_rows<T, D>(j, s.out, factor[0], factor[1], row[0], row[1]);
}

/* Blocks that a multiprocessor shall have registers for. */
template <typename T, int D> constexpr int BLOCKS = sizeof(T) == 2 && D <= 80 ? 2 : 1;

template <typename T, int D> __global__ void __launch_bounds__(MOST_WARPS * 32, BLOCKS<T, D>) attention_kernel(job j)
{
    DRAM_SHARED_DYNAMIC(unsigned char, room);
    int rows = (int)blockDim.x / 2;
    DRAM_SHARED(region, of_block, [1]); /* there, and not in registers of every thread */
    if (threadIdx.x == 0) of_block[0] = region_of(j, (int)blockIdx.x / j.tiles);
    __syncthreads();
    const region &r = of_block[0];
    queries<T> q;
    q.from = (int)blockIdx.x % j.tiles * rows;
    if (q.from >= r.queries) return;
    T *tiles = take<T>(room, 4 * TILE * ROW<D>);
    q.q = take<T>(room, rows * ROW<D>);
    for (int axis = 0; axis < 2; axis++) {
        q.ld[axis] = axis ? factor_stride_w(j.sw) : factor_stride_h(j.sh);
        q.factor[axis] = take<float>(room, rows * q.ld[axis]);
        q.place[axis] = take<int>(room, rows);
        q.at[axis] = -1;
    }
    take_queries<T, D>(j, r, q, rows);
    dram_copy_wait<0>();
    __syncthreads();

    softmax<D> s;
    begin<T, D>(j, r, q, s);
    DRAM_ROLLED
    for (int x0 = 0; x0 < r.cols; x0 += CHUNK) {
        DRAM_ROLLED
        for (int y0 = 0; y0 < r.rows; y0 += CHUNK) {
            DRAM_ROLLED
            for (int axis = 0; axis < 2; axis++) need_factor<T, D>(j, r, q, axis, axis ? x0 : y0);
            meet_chunk<T, D>(j, r, q, chunk_of(r, y0, x0), tiles, s);
        }
    }
    finish<T, D>(j, r, q, s);
}

template <typename T, int D> int shared_bytes(const job &j, int warps)
{
    int rows = warps * 16, factors = factor_stride_h(j.sh) + factor_stride_w(j.sw);
    return (4 * TILE + rows) * ROW<D> * (int)sizeof(T) + rows * (factors + 2) * 4;
}

template <typename T, int D> dram_status launch(const dram_kernel_args *args, job j)
{
    int all = j.most_rows * j.most_cols, most = MOST_WARPS,
        regions = j.down * j.across * j.heads * (int)args->in[0].shape.dim[0];
    while (most > 1 && shared_bytes<T, D>(j, most) > SHARED_BYTES) most--;
    int warps = warps_for(all, most);
    j.tiles = blocks_of(all, warps * 16);
    return dram_launch(args, attention_kernel<T, D>, dim3((unsigned)(regions * j.tiles)), dim3((unsigned)warps * 32),
                       (size_t)shared_bytes<T, D>(j, warps), j);
}

} // namespace

DRAM_CUDA_KERNEL(attention)
{
    job j;
    TRY(job_of(args, &j));
    j.out = args->out[0].data;
    j.lse = static_cast<float *>(args->out[1].data);
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, HEAD_SIZES(T, j.d, D, return launch<T, D>(args, j)))
}
