/* The gradient of attention: see attention.cu and attention.cuh.
 *
 * Two kernels make the weights again from the saved log-sum-exp, so that neither needs atomics and every sum has one
 * order (Dao, "FlashAttention-2", 2023, has one with atomics):
 *
 *   dq: a block owns queries and meets all keys. It gives dq; delta = sum over d of dout out, for the other kernel;
 *       what the score gradients sum to by row and by column of the keys, kept in shared memory for a chunk of them,
 *       which is the gradient of the factors and so of the tables, and of q once more; and what the padding receives.
 *       Gradients of tables and bias are sums over all queries: each block takes a run of query tiles and has a partial
 *       sum of its own in the workspace, and a third kernel adds these.
 *   dkv (attention_dkv.cu): a block owns a patch of keys, 2 rows of 8 for each warp, and meets all queries. The factors
 *       are made again for the patch, which is square so that there are few of them.
 *
 * In f16 score gradients are brought near 2^14 by a power of two for each warp and tile before they are rounded, so
 * that they neither vanish nor overflow whatever the loss is scaled by.
 *
 * Limits, for L queries against S keys each and one head of d: 6 L S d FLOPs in dq and 8 L S d in dkv, on tensor cores,
 * 2 L S exponentials; memory moved: k and v once for each 96 queries, q and dout once for each 96 keys, from L2. */
#include "kernels/cuda/attention.cuh"
extern "C" {
#include "scratch/attention.h"
}

using namespace dram_attention;

namespace
{

/* ---- dq ---- */

/* What a query tile keeps in shared memory beside its queries. Of the factors' gradients, [16 warps, ld] as the
 * factors; saved: lse in bits, and delta, of each query; over: see `of_padding`. */
enum { OVER = 8 };
template <typename T> struct query_tile {
    T *tiles, *dout;
    float *dfactor[2], *saved_lse, *delta, *over;
};

/* Of a query and the padding, in shared memory: [OVER] largest, real, over by rows; by columns; weight; gradient. */
enum { OF_WEIGHT = 6, OF_GRADIENT = 7 };

template <typename T, int D>
__device__ DRAM_INLINE void take_saved(const job &j, const region &r, const query_tile<T> &m, int rows)
{
    const T *dout = static_cast<const T *>(j.dout) + r.head * j.d;
    load_rows<T, D>(j, dout, j.dim, m.dout, rows,
                    [&](int i) { return r.from + i < r.queries ? token_of(j, r, r.from + i) : -1; });
    dram_copy_commit();
    dram_copy_wait<0>();
    __syncthreads();
    int t = quarter_of();
    DRAM_UNROLL
    for (int half = 0; half < 2; half++) {
        int i = warp_of() * 16 + group_of() + 8 * half, query = r.from + i;
        int token = query < r.queries ? token_of(j, r, query) : -1;
        const T *out = static_cast<const T *>(j.saved_out) + (int64_t)token * j.dim + r.head * j.d;
        float sum = 0;
        if (token >= 0)
            for (int c = t; c < j.d; c += 4) sum += dram_float(m.dout[i * ROW<D> + c]) * dram_float(out[c]);
        sum = quad_sum(sum);
        if (t) continue;
        m.delta[i] = sum;
        m.saved_lse[i] = token >= 0 ? j.saved_lse[lse_at(j, r, token)] * LOG2E : INFINITY;
        if (token >= 0) j.delta[lse_at(j, r, token)] = sum;
    }
    __syncwarp();
}

/* What the padding has of the queries, into m.over, and its part of dq. */
template <typename T, int D>
__device__ DRAM_INLINE void of_padding(const job &j, const region &r, queries<T> &q, const query_tile<T> &m,
                                       float (&dq)[D / 8][4])
{
    padding p[2];
    find_padding<T, D>(j, r, q, p);
    const float *k = j.bias + j.dim + r.head * j.d, *v = k + j.dim;
    int t = quarter_of();
    DRAM_UNROLL
    for (int half = 0; half < 2; half++) {
        int i = warp_of() * 16 + group_of() + 8 * half;
        float dot = 0, weight = dram_exp2(p[half].score - m.saved_lse[i]);
        for (int c = t; c < j.d; c += 4) dot += dram_float(m.dout[i * ROW<D> + c]) * v[c];
        float gradient = weight * (quad_sum(dot) - m.delta[i]);
        DRAM_UNROLL
        for (int n = 0; n < D / 8; n++) {
            DRAM_UNROLL
            for (int e = 0; e < 2; e++) {
                int c = 8 * n + 2 * t + e;
                if (c < j.d) dq[n][2 * half + e] += j.scale * gradient * k[c];
            }
        }
        float *over = m.over + i * OVER;
        if (t) continue;
        float sum = over_sum(p[half]), each = sum > 0 ? gradient / sum : 0; /* of a key with the largest terms */
        over[0] = p[half].h.largest;
        over[1] = each * p[half].w.over;                    /* of a real row */
        over[2] = each * (p[half].w.real + p[half].w.over); /* of a padding row */
        over[3] = p[half].w.largest;
        over[4] = each * p[half].h.over;
        over[5] = each * (p[half].h.real + p[half].h.over);
        over[OF_WEIGHT] = weight;
        over[OF_GRADIENT] = gradient;
    }
    __syncwarp();
}

/* The warp's gradients of a factor before any real key: nothing, or the padding's. The factor itself must be there. */
template <typename T>
__device__ DRAM_INLINE void begin_factor(const job &j, const region &r, const queries<T> &q, const query_tile<T> &m,
                                         int axis, int key0, bool padding_too)
{
    int t = quarter_of(), ld = axis ? q.ld[1] : q.ld[0], real = (axis ? r.cols : r.rows) - key0;
    int keys = min((int)CHUNK, (axis ? j.sw : j.sh) - key0);
    for (int half = 0; half < 2; half++) {
        int i = warp_of() * 16 + group_of() + 8 * half;
        const float *factor = (axis ? q.factor[1] : q.factor[0]) + i * ld, *over = m.over + i * OVER + 3 * axis;
        float *dfactor = (axis ? m.dfactor[1] : m.dfactor[0]) + i * ld;
        for (int k = t; k < ld; k += 4) {
            float x = 0;
            if (padding_too && k < keys) x = dram_exp2(factor[k] - over[0]) * (k < real ? over[1] : over[2]);
            dfactor[k] = x;
        }
    }
    __syncwarp();
}

/* Score gradients of a tile from the products with k and with v, 0 where there is no key; their sums by row and column
 * are added to the factors' gradients. */
template <typename T>
__device__ DRAM_INLINE void score_gradients(const job &j, const queries<T> &q, const query_tile<T> &m, const chunk &c,
                                            int index, const float (&with_k)[TILE / 8][4],
                                            const float (&with_v)[TILE / 8][4], float (&ds)[TILE / 8][4])
{
    int t = quarter_of(), row = warp_of() * 16 + group_of();
    float scale = j.scale * LOG2E;
    DRAM_UNROLL
    for (int half = 0; half < 2; half++) {
        int i = row + 8 * half, y = 0, x, next;
        const float *by_row = q.factor[0] + i * q.ld[0], *by_column = q.factor[1] + i * q.ld[1] + 2 * t;
        float *drow = m.dfactor[0] + i * q.ld[0], *dcolumn = m.dfactor[1] + i * q.ld[1] + 2 * t;
        float lse = m.saved_lse[i], delta = m.delta[i], sum = 0;
        DRAM_UNROLL
        for (int b = 0; b < TILE / 8; b++) {
            bool in = block_place(c, index * (TILE / 8) + b, &y, &x);
            float rows = by_row[y];
            dram_pack<float, 2> columns = dram_load<float, 2>(by_column + x);
            dram_pack<float, 2> sums = dram_load<float, 2>(dcolumn + x);
            DRAM_UNROLL
            for (int e = 0; e < 2; e++) {
                int at = 2 * half + e;
                float weight = dram_exp2(with_k[b][at] * scale + (rows + columns.at[e]) - lse);
                float gradient = weight * (with_v[b][at] - delta);
                ds[b][at] = in && x + 2 * t + e < c.cols ? gradient : 0;
                sums.at[e] += ds[b][at];
                sum += ds[b][at];
            }
            dram_store<float, 2>(dcolumn + x, sums);
            int ignored;
            bool more = b + 1 < TILE / 8 && block_place(c, index * (TILE / 8) + b + 1, &next, &ignored);
            if (more && next == y) continue; /* the same for all lanes */
            sum = quad_sum(sum);
            if (in && t == 0) drow[y] += sum;
            sum = 0;
        }
    }
    __syncwarp();
}

/* The keys of a chunk. */
template <typename T, int D>
__device__ DRAM_INLINE void meet_chunk(const job &j, const region &r, const queries<T> &q, const query_tile<T> &m,
                                       const chunk &c, float (&dq)[D / 8][4])
{
    constexpr int EACH = 2 * TILE * ROW<D>;
    __syncthreads(); /* nobody reads the tiles of the chunk before */
    if (c.tiles) load_keys<T, D>(j, r, c, 0, m.tiles);
    DRAM_ROLLED
    for (int index = 0; index < c.tiles; index++) {
        const T *keys = m.tiles + index % 2 * EACH;
        dram_copy_wait<0>();
        __syncthreads();
        if (index + 1 < c.tiles) load_keys<T, D>(j, r, c, index + 1, m.tiles + (index + 1) % 2 * EACH);
        float ds[TILE / 8][4];
        {
            float with_k[TILE / 8][4], with_v[TILE / 8][4];
            row_products<T, D>(q.q, warp_of() * 16, keys, with_k);
            row_products<T, D>(m.dout, warp_of() * 16, keys + TILE * ROW<D>, with_v);
            score_gradients<T>(j, q, m, c, index, with_k, with_v, ds);
        }
        float factor = j.scale * lift<T>(ds);
        add_weighted<T, D, traits<T>::GRADS>(ds, keys, 1, 1, factor, dq);
    }
}

/* dq += what the gradient of a factor means for it: dfactor x rows of the table. */
template <typename T, int D>
__device__ DRAM_INLINE void factor_to_queries(const job &j, const region &r, const queries<T> &q,
                                              const query_tile<T> &m, int axis, int key0, float (&dq)[D / 8][4])
{
    constexpr int P = sizeof(T) == 2 ? 2 : 3;
    int first = warp_of() * 16, size = axis ? j.sw : j.sh, keys = min((int)CHUNK, size - key0);
    int ld = axis ? q.ld[1] : q.ld[0];
    const float *table = axis ? j.rel_w : j.rel_h, *dfactor = (axis ? m.dfactor[1] : m.dfactor[0]) + first * ld;
    const int *place = (axis ? q.place[1] : q.place[0]) + first;
    span reach = span_of(r, r.from + first, 16, axis == 0);
    int lowest = reach.low - (key0 + keys - 1) + size - 1, count = reach.high - reach.low + keys;
    DRAM_ROLLED
    for (int r0 = lowest; r0 < lowest + count; r0 += 16) {
        uint32_t a[P][4];
        gather_a(
            [=](int i, int k) {
                int key = place[i] + size - 1 - key0 - (r0 + k);
                return key >= 0 && key < keys ? dfactor[i * ld + key] : 0.0f;
            },
            a);
        DRAM_UNROLL
        for (int n = 0; n < D / 8; n++) {
            float s[4] = {};
            uint32_t b[P][2];
            gather_b(
                [=](int k, int c) {
                    int row = r0 + k;
                    return row < 2 * size - 1 && 8 * n + c < j.d ? table[row * j.d + 8 * n + c] : 0.0f;
                },
                b);
            multiply<dram_bf16>(s, a, b);
            DRAM_UNROLL
            for (int e = 0; e < 4; e++) dq[n][e] += s[e];
        }
    }
}

/* partial [2 size - 1, d] += shifted dfactor, transposed, x the block's queries; 16 rows of the table a warp. */
template <typename T, int D>
__device__ DRAM_INLINE void factor_to_table(const job &j, const region &r, const queries<T> &q, const query_tile<T> &m,
                                            int axis, int key0, int queries_here, float *partial)
{
    constexpr int P = sizeof(T) == 2 ? 2 : 3, E = traits<T>::EXACT;
    int size = axis ? j.sw : j.sh, keys = min((int)CHUNK, size - key0), ld = axis ? q.ld[1] : q.ld[0];
    int g = group_of(), t = quarter_of(), warps = (int)(blockDim.x / 32);
    const float *dfactor = axis ? m.dfactor[1] : m.dfactor[0];
    const int *place = axis ? q.place[1] : q.place[0];
    span reach = span_of(r, r.from, queries_here, axis == 0);
    int lowest = reach.low - (key0 + keys - 1) + size - 1, count = reach.high - reach.low + keys;
    DRAM_ROLLED
    for (int r0 = lowest + 16 * warp_of(); r0 < lowest + count; r0 += 16 * warps) {
        DRAM_ROLLED
        for (int n = 0; n < D; n += 16) {
            float s[2][4] = {};
            DRAM_ROLLED
            for (int q0 = 0; q0 < queries_here; q0 += 16) {
                uint32_t a[P][4], b[2][E][2];
                gather_a(
                    [=](int row, int i) {
                        int key = place[q0 + i] + size - 1 - key0 - (r0 + row);
                        return key >= 0 && key < keys ? dfactor[(q0 + i) * ld + key] : 0.0f;
                    },
                    a);
                if constexpr (E == traits<T>::PIECES) {
                    load_b_transposed<T, D>(q.q, q0, n, b);
                } else {
                    DRAM_UNROLL
                    for (int i = 0; i < 2; i++)
                        gather_b([=](int k, int c) { return dram_float(q.q[(q0 + k) * ROW<D> + n + 8 * i + c]); },
                                 b[i]);
                }
                multiply<dram_bf16>(s[0], a, b[0]);
                multiply<dram_bf16>(s[1], a, b[1]);
            }
            DRAM_UNROLL
            for (int i = 0; i < 2; i++) {
                DRAM_UNROLL
                for (int e = 0; e < 4; e++) {
                    int row = r0 + g + e / 2 * 8, c = n + 8 * i + 2 * t + e % 2;
                    if (row < lowest + count && c < j.d) partial[row * j.d + c] += s[i][e];
                }
            }
        }
    }
}

/* The factor's gradients of a chunk are complete: to dq and the table's partial sum. */
template <typename T, int D>
__device__ DRAM_INLINE void give_factor(const job &j, const region &r, const queries<T> &q, const query_tile<T> &m,
                                        int axis, int key0, float *partial, float (&dq)[D / 8][4])
{
    factor_to_queries<T, D>(j, r, q, m, axis, key0, dq);
    __syncthreads();
    factor_to_table<T, D>(j, r, q, m, axis, key0, (int)blockDim.x / 2, partial + (axis ? (2 * j.sh - 1) * j.d : 0));
    __syncthreads();
}

/* What the padding's k and v receive from the block's queries. */
template <typename T, int D>
__device__ DRAM_INLINE void give_bias(const job &j, const region &r, const queries<T> &q, const query_tile<T> &m,
                                      float *partial)
{
    int rows = (int)blockDim.x / 2;
    __syncthreads();
    for (int c = (int)threadIdx.x; c < 2 * j.d; c += (int)blockDim.x) {
        bool of_k = c < j.d;
        const T *column = of_k ? q.q + c : m.dout + c - j.d;
        const float *over = m.over + (of_k ? OF_GRADIENT : OF_WEIGHT);
        float sum = 0;
        for (int i = 0; i < rows; i++) sum += over[i * OVER] * dram_float(column[i * ROW<D>]);
        partial[(of_k ? 0 : j.dim) + r.head * j.d + c % j.d] += of_k ? j.scale * sum : sum;
    }
}

/* One query tile. */
template <typename T, int D>
__device__ DRAM_INLINE void query_gradients(const job &j, const region &r, queries<T> &q, const query_tile<T> &m,
                                            float *partial)
{
    bool padded = is_padded(j, r);
    float dq[D / 8][4] = {};
    q.at[0] = q.at[1] = -1;
    take_queries<T, D>(j, r, q, (int)blockDim.x / 2);
    take_saved<T, D>(j, r, m, (int)blockDim.x / 2);
    if (padded) {
        of_padding<T, D>(j, r, q, m, dq);
        give_bias<T, D>(j, r, q, m, partial + 2 * (j.sh + j.sw - 1) * j.d);
    }
    /* One round more at the end of each column of chunks, for its columns. */
    int steps = blocks_of(padded ? j.sh : r.rows, CHUNK);
    DRAM_ROLLED
    for (int x0 = 0; x0 < (padded ? j.sw : r.cols); x0 += CHUNK) {
        DRAM_ROLLED
        for (int step = 0; step <= steps; step++) {
            int axis = step == steps;
            if (!axis) {
                int y0 = step * CHUNK;
                DRAM_ROLLED
                for (int other = 0; other < 2; other++) {
                    need_factor<T, D>(j, r, q, other, other ? x0 : y0);
                    if (other == 0 || step == 0)
                        begin_factor<T>(j, r, q, m, other, other ? x0 : y0, padded && (other || x0 == 0));
                }
                meet_chunk<T, D>(j, r, q, m, chunk_of(r, y0, x0), dq);
            }
            give_factor<T, D>(j, r, q, m, axis, axis ? x0 : step * CHUNK, partial, dq);
        }
    }
    T *row[2];
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        int query = r.from + warp_of() * 16 + group_of() + 8 * i;
        row[i] = nullptr;
        if (query < r.queries)
            row[i] = static_cast<T *>(j.dqkv) + (int64_t)token_of(j, r, query) * 3 * j.dim + r.head * j.d;
    }
    store_rows<T, D>(j, dq, 1, 1, row[0], row[1]);
}

template <typename T, int D> __global__ void __launch_bounds__(MOST_WARPS * 32, 1) attention_dq_kernel(job j)
{
    DRAM_SHARED_DYNAMIC(unsigned char, room);
    DRAM_SHARED(region, of_block, [1]);
    int rows = (int)blockDim.x / 2;
    float *partial = j.partial + (int64_t)blockIdx.x * j.partial_floats;
    queries<T> q;
    query_tile<T> m;
    m.tiles = take<T>(room, 4 * TILE * ROW<D>);
    q.q = take<T>(room, rows * ROW<D>);
    m.dout = take<T>(room, rows * ROW<D>);
    for (int axis = 0; axis < 2; axis++) {
        q.ld[axis] = axis ? factor_stride_w(j.sw) : factor_stride_h(j.sh);
        q.factor[axis] = take<float>(room, rows * q.ld[axis]);
        m.dfactor[axis] = take<float>(room, rows * q.ld[axis]);
        q.place[axis] = take<int>(room, rows);
    }
    m.saved_lse = take<float>(room, rows);
    m.delta = take<float>(room, rows);
    m.over = take<float>(room, rows * OVER);
    for (int i = (int)threadIdx.x; i < j.partial_floats; i += (int)blockDim.x) partial[i] = 0;

    int begin = (int)((int64_t)blockIdx.x * j.items / j.groups);
    int end = (int)((int64_t)(blockIdx.x + 1) * j.items / j.groups);
    DRAM_ROLLED
    for (int item = begin; item < end; item++) {
        __syncthreads();
        if (threadIdx.x == 0) of_block[0] = region_of(j, item / j.tiles, item % j.tiles * rows);
        __syncthreads();
        if (of_block[0].from < of_block[0].queries) query_gradients<T, D>(j, of_block[0], q, m, partial);
    }
}

/* ---- sums ---- */

/* The sum over the groups of what lies at the same place of their partial sums, in their order. */
__global__ void attention_sum_kernel(const float *partial, int groups, int partial_floats, int at, int n, float *out)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= n) return;
    double sum = 0;
    for (int g = 0; g < groups; g++) sum += (double)partial[(int64_t)g * partial_floats + at + i];
    out[i] = (float)sum;
}

__global__ void attention_zero_kernel(float *out, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n) out[i] = 0;
}

/* ---- launching ---- */

template <typename T, int D> int dq_bytes(const job &j, int warps)
{
    int rows = warps * 16, factors = factor_stride_h(j.sh) + factor_stride_w(j.sw);
    return (4 * TILE + 2 * rows) * ROW<D> * (int)sizeof(T) + rows * (2 * factors + 4 + OVER) * 4;
}

template <typename T, int D> dram_status launch(const dram_kernel_args *args, job j)
{
    int regions = j.down * j.across * j.heads * (int)args->in[0].shape.dim[0], most = MOST_WARPS;
    while (most > 1 && dq_bytes<T, D>(j, most) > SHARED_BYTES) most--;
    int all = j.most_rows * j.most_cols, warps = warps_for(all, most);
    j.tiles = blocks_of(all, warps * 16);
    j.items = regions * j.tiles;
    j.groups = (int)min((int64_t)j.groups, (int64_t)j.items);
    TRY(dram_launch(args, attention_dq_kernel<T, D>, dim3((unsigned)j.groups), dim3((unsigned)warps * 32),
                    (size_t)dq_bytes<T, D>(j, warps), j));
    TRY(queue_dkv(args, j));

    int h = (2 * j.sh - 1) * j.d, w = (2 * j.sw - 1) * j.d, bias = j.partial_floats - h - w;
    float *dbias = static_cast<float *>(args->out[3].data);
    auto add = [&](int at, int n, void *out) {
        return dram_launch(args, attention_sum_kernel, dim3((unsigned)blocks_of(n, 128)), dim3(128), 0, j.partial,
                           j.groups, j.partial_floats, at, n, static_cast<float *>(out));
    };
    TRY(add(0, h, args->out[1].data));
    TRY(add(h, w, args->out[2].data));
    if (bias > 0) TRY(add(h + w, bias, dbias + j.dim));
    int zeros = 3 * j.dim - bias; /* the padding's q takes no part */
    return dram_launch(args, attention_zero_kernel, dim3((unsigned)blocks_of(zeros, 128)), dim3(128), 0, dbias, zeros);
}

} // namespace

DRAM_CUDA_KERNEL(attention_grad)
{
    job j;
    TRY(job_of(args, &j));
    j.saved_out = args->in[4].data;
    j.saved_lse = static_cast<const float *>(args->in[5].data);
    j.dout = args->in[6].data;
    j.dqkv = args->out[0].data;
    j.vectors = j.vectors && is_aligned(j.dout, 16);
    j.partial_floats = (int)dram_attention_partial(j.sh, j.sw, j.d, j.dim, j.window);
    int64_t deltas = args->in[0].shape.dim[0] * j.heads * j.h * j.w;
    j.delta = static_cast<float *>(args->workspace);
    j.partial = j.delta + deltas;
    j.groups = (int)((args->workspace_bytes / (int64_t)sizeof(float) - deltas) / j.partial_floats);
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, HEAD_SIZES(T, j.d, D, return launch<T, D>(args, j)))
}
