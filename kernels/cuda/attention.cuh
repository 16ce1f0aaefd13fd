/* attention: what the forward (attention.cu) and the gradient (attention_grad.cu and attention_dkv.cu) share. See
 * attention.cu for the method, src/ops/attention.c for the formula.
 *
 * A region is an image, head and window (or the whole image). Its real tokens, rows x cols of them, are its queries and
 * its keys; the padding of a window beyond the edge is one more key, see `padding`. Queries are taken row by row. Keys
 * are taken in blocks of 8 within one row of the region, so that a block of scores has one relative row and successive
 * relative columns; 4 blocks are a tile, and the tiles of at most 32 x 32 keys a chunk, for which a warp keeps the
 * relative terms of its 16 queries in shared memory: two factors, q . rel_h for each row and q . rel_w for each column.
 */
#ifndef DRAM_KERNELS_CUDA_ATTENTION_CUH
#define DRAM_KERNELS_CUDA_ATTENTION_CUH

#include "kernels/cuda/attention_fragments.cuh"

namespace dram_attention
{

enum {
    CHUNK = 32,               /* rows, and columns, of a chunk */
    MOST_WARPS = 6,           /* of a block, 16 rows each */
    MOST_D = 80,              /* of a head */
    SHARED_BYTES = 98 * 1024, /* of 99 KiB that a block may have on compute capability 8.6 and 8.9 */
};
constexpr float LOG2E = 1.44269504088896341f, LN2 = 0.693147180559945309f;

struct job {
    const void *qkv, *saved_out, *dout;
    const float *rel_h, *rel_w, *bias, *saved_lse;
    void *out, *dqkv;
    float *lse, *delta, *partial;
    int h, w, heads, d, dim, window;
    int sh, sw, down, across; /* grid of a window's keys; windows in a column and in a row */
    int most_rows, most_cols; /* real tokens of the largest region */
    int tiles;                /* query (or key) tiles of that, each a block's work */
    int items, groups;        /* tiles of all regions; blocks that share them */
    int partial_floats;
    float scale;
    bool vectors, pairs; /* whether rows of a head can be moved 16 bytes, or two numbers, at a time */
};

struct region {
    int image, head, y0, x0, rows, cols, queries;
    int first; /* token of its corner */
    int from;  /* the first query of whoever asks; here, and not in registers of every thread */
};

__device__ static inline region region_of(const job &j, int index, int from)
{
    region r;
    r.from = from;
    int windows = j.across * j.down, window = index % windows;
    r.head = index / windows % j.heads;
    r.image = index / windows / j.heads;
    r.y0 = window / j.across * j.sh;
    r.x0 = window % j.across * j.sw;
    r.rows = min(j.sh, j.h - r.y0);
    r.cols = min(j.sw, j.w - r.x0);
    r.queries = r.rows * r.cols;
    r.first = (r.image * j.h + r.y0) * j.w + r.x0;
    return r;
}

__device__ static inline int token_of(const job &j, const region &r, int query)
{
    return r.first + query / r.cols * j.w + query % r.cols;
}

__device__ static inline bool is_padded(const job &j, const region &r)
{
    return r.rows < j.sh || r.cols < j.sw;
}

/* Place in lse [N,heads,H,W] of a token. */
__device__ static inline int64_t lse_at(const job &j, const region &r, int token)
{
    int plane = j.h * j.w;
    return ((int64_t)r.image * j.heads + r.head) * plane + (token - r.image * plane);
}

/* ---- moving rows ---- */

/* Rows [rows, D] of a tile from those of a head, `stride` numbers apart; token(row) < 0: zeros. Number by number. */
template <typename T, int D, typename F>
__device__ DRAM_INLINE void load_numbers(const job &j, const T *from, int stride, T *tile, int rows, F token)
{
    for (int i = (int)threadIdx.x; i < rows * D; i += (int)blockDim.x) {
        int row = i / D, c = i % D, at = token(row);
        tile[row * ROW<D> + c] = at >= 0 && c < j.d ? from[(int64_t)at * stride + c] : dram_to<T>(0);
    }
}

/* The same, 16 bytes at a time where that can be. Committed by the caller. */
template <typename T, int D, typename F>
__device__ DRAM_INLINE void load_rows(const job &j, const T *from, int stride, T *tile, int rows, F token)
{
    if (!j.vectors) return load_numbers<T, D>(j, from, stride, tile, rows, token);
    constexpr int V = dram_vector<T>, EACH = D / V;
    for (int i = (int)threadIdx.x; i < rows * EACH; i += (int)blockDim.x) {
        int row = i / EACH, c = i % EACH * V, at = token(row);
        bool take = at >= 0 && c < j.d;
        dram_copy16(tile + row * ROW<D> + c, take ? from + (int64_t)at * stride + c : from, take);
    }
}

/* The rows of a head, part 0 q, 1 k, 2 v, for which the tokens lie 3 D apart. */
template <typename T> __device__ static inline const T *part_of(const job &j, const region &r, int part)
{
    return static_cast<const T *>(j.qkv) + part * j.dim + r.head * j.d;
}

/* A fragment's two rows of [16, D], factor times, to rows of a head. NULL: not that row. */
template <typename T, int D>
__device__ DRAM_INLINE void store_rows(const job &j, const float (&x)[D / 8][4], float factor0, float factor1, T *row0,
                                       T *row1)
{
    int t = quarter_of();
    DRAM_UNROLL
    for (int n = 0; n < D / 8; n++) {
        DRAM_UNROLL
        for (int half = 0; half < 2; half++) {
            T *row = half ? row1 : row0;
            float factor = half ? factor1 : factor0;
            int c = 8 * n + 2 * t;
            if (!row || c >= j.d) continue;
            T a = dram_to<T>(x[n][2 * half] * factor), b = dram_to<T>(x[n][2 * half + 1] * factor);
            if (j.pairs) {
                dram_store<T, 2>(row + c, {{a, b}});
            } else {
                row[c] = a;
                if (c + 1 < j.d) row[c + 1] = b;
            }
        }
    }
}

/* ---- relative position ---- */

/* The positions of some queries that follow each other, along one axis. */
struct span {
    int low, high;
};

__device__ static inline span span_of(const region &r, int from, int n, bool vertical)
{
    int first = min(from, r.queries - 1), last = min(from + n - 1, r.queries - 1);
    int y0 = first / r.cols, y1 = last / r.cols;
    if (vertical) return {y0, y1};
    if (y0 == y1) return {first - y0 * r.cols, last - y0 * r.cols};
    return {0, r.cols - 1};
}

/* For 16 queries i, at positions p_i within `reach`, and keys `key0` .. + keys of `size` along an axis:
 * to[i * by_query + (key - key0) * by_key] = log2(e) q_i . table[p_i - key + size - 1], the table as `TABLE` pieces.
 * q: the first one's row. WHOLE: d = D, and the table's rows are met two numbers at a time, all of a step's before its
 * products. */
template <typename T, int D, int TABLE, bool WHOLE>
__device__ DRAM_INLINE void relative_by(const float *table, int d, int size, const T *q, const int *position,
                                        span reach, int key0, int keys, float *to, int by_query, int by_key)
{
    constexpr int P = traits<T>::EXACT, STEPS = D / 16;
    int lane = dram_thread_again() % 32, g = lane / 4, t = lane % 4;
    int lowest = reach.low - (key0 + keys - 1) + size - 1, count = reach.high - reach.low + keys;
    int place[2] = {position[g] + size - 1 - key0, position[g + 8] + size - 1 - key0};
    auto add_products = [&](int k, const uint32_t(&b)[TABLE][2], float(&s)[4]) {
        uint32_t a[P][4];
        if constexpr (P == traits<T>::PIECES)
            load_a<T, D>(q, 0, k, a);
        else
            gather_a([=](int i, int c) { return dram_float(q[i * ROW<D> + k + c]); }, a);
        multiply<dram_bf16>(s, a, b);
    };
    DRAM_ROLLED
    for (int r0 = 0; r0 < count; r0 += 8) {
        float s[4] = {};
        int row = lowest + r0 + g; /* those beyond the table are no key's */
        if constexpr (WHOLE) {
            const float *from = table + min(row, 2 * size - 2) * D + 2 * t;
            dram_pack<float, 2> pairs[STEPS][2];
            DRAM_UNROLL
            for (int k = 0; k < STEPS; k++) {
                DRAM_UNROLL
                for (int i = 0; i < 2; i++) pairs[k][i] = dram_load<float, 2>(from + 16 * k + 8 * i);
            }
            DRAM_UNROLL
            for (int k = 0; k < STEPS; k++) {
                uint32_t b[TABLE][2];
                DRAM_UNROLL
                for (int i = 0; i < 2; i++) {
                    uint32_t pieces[TABLE];
                    split<dram_bf16>(pairs[k][i].at[0], pairs[k][i].at[1], pieces);
                    DRAM_UNROLL
                    for (int p = 0; p < TABLE; p++) b[p][i] = pieces[p];
                }
                add_products(16 * k, b, s);
            }
        } else {
            DRAM_ROLLED
            for (int k = 0; k < D; k += 16) {
                uint32_t b[TABLE][2];
                gather_b(
                    [=](int c, int n) {
                        int its = lowest + r0 + n;
                        return its < 2 * size - 1 && k + c < d ? table[its * d + k + c] : 0.0f;
                    },
                    b);
                add_products(k, b, s);
            }
        }
        DRAM_UNROLL
        for (int e = 0; e < 4; e++) {
            int key = place[e / 2] - (lowest + r0 + 2 * t + e % 2);
            if (key >= 0 && key < keys) to[(g + e / 2 * 8) * by_query + key * by_key] = s[e] * LOG2E;
        }
    }
}

template <typename T, int D, int TABLE>
__device__ DRAM_INLINE void relative(const float *table, int d, int size, const T *q, const int *position, span reach,
                                     int key0, int keys, float *to, int by_query, int by_key)
{
    if (sizeof(T) == 2 && D > 16 && d == D)
        relative_by<T, D, TABLE, (sizeof(T) == 2 && D > 16)>(table, d, size, q, position, reach, key0, keys, to,
                                                             by_query, by_key);
    else
        relative_by<T, D, TABLE, false>(table, d, size, q, position, reach, key0, keys, to, by_query, by_key);
}

/* Numbers from one query's factors to the next: odd, and an odd number of whole blocks, for the banks' sake. */
__host__ __device__ static inline int factor_stride_h(int sh)
{
    return (sh < CHUNK ? sh : CHUNK) | 1;
}
__host__ __device__ static inline int factor_stride_w(int sw)
{
    return ((sw < CHUNK ? sw : CHUNK) + 7) / 8 * 8 | 8;
}

/* A block's queries, and the factors of its warp for one chunk. [0]: by rows, [1]: by columns. */
template <typename T> struct queries {
    T *q;             /* [16 warps, ROW] */
    int *place[2];    /* [16 warps]: their rows and columns in the region */
    float *factor[2]; /* [16 warps, ld] */
    int ld[2];
    int at[2]; /* the first key that the factors are for, -1: none */
};

/* The factors of the warp's queries for the rows from key0 on (axis 0), or the columns. */
template <typename T, int D, int TABLE>
__device__ DRAM_INLINE void make_factor(const job &j, const region &r, const queries<T> &q, int axis, int key0)
{
    int first = dram_thread_again() / 32 * 16, size = axis ? j.sw : j.sh, ld = axis ? q.ld[1] : q.ld[0];
    const int *place = (axis ? q.place[1] : q.place[0]) + first;
    const float *table = axis ? j.rel_w : j.rel_h;
    float *to = (axis ? q.factor[1] : q.factor[0]) + first * ld;
    span reach = span_of(r, r.from + first, 16, axis == 0);
    __syncwarp();
    relative<T, D, TABLE>(table, j.d, size, q.q + first * ROW<D>, place, reach, key0, min((int)CHUNK, size - key0), to,
                          ld, 1);
    __syncwarp();
}

/* The same, unless they are there. */
template <typename T, int D, int TABLE = 3>
__device__ DRAM_INLINE void need_factor(const job &j, const region &r, queries<T> &q, int axis, int key0)
{
    if ((axis ? q.at[1] : q.at[0]) == key0) return;
    make_factor<T, D, TABLE>(j, r, q, axis, key0);
    if (axis)
        q.at[1] = key0;
    else
        q.at[0] = key0;
}

/* The block's queries into shared memory, and their places; those beyond the end are zeros at the last one's place.
 * Committed. */
template <typename T, int D>
__device__ DRAM_INLINE void take_queries(const job &j, const region &r, const queries<T> &q, int rows)
{
    load_rows<T, D>(j, part_of<T>(j, r, 0), 3 * j.dim, q.q, rows,
                    [&](int i) { return r.from + i < r.queries ? token_of(j, r, r.from + i) : -1; });
    for (int i = (int)threadIdx.x; i < rows; i += (int)blockDim.x) {
        int query = min(r.from + i, r.queries - 1);
        q.place[0][i] = query / r.cols;
        q.place[1][i] = query % r.cols;
    }
    dram_copy_commit();
}

/* Keys of a chunk, in blocks of 8. */
struct chunk {
    int y0, x0, rows, cols;
    int across, inverse; /* blocks in a row; 65536 / across, rounded up */
    int blocks, tiles;
};

__device__ static inline chunk chunk_of(const region &r, int y0, int x0)
{
    chunk c = {y0, x0, min((int)CHUNK, r.rows - y0), min((int)CHUNK, r.cols - x0), 0, 0, 0, 0};
    if (c.rows <= 0 || c.cols <= 0) return c;
    c.across = (c.cols + 7) / 8;
    c.inverse = (65536 + c.across - 1) / c.across;
    c.blocks = c.rows * c.across;
    c.tiles = (c.blocks + TILE / 8 - 1) / (TILE / 8);
    return c;
}

/* Row and first column in the chunk of block b; of a block beyond the end, those of block 0. */
__device__ DRAM_INLINE bool block_place(const chunk &c, int b, int *y, int *x)
{
    bool in = b < c.blocks;
    *y = in ? b * c.inverse >> 16 : 0;
    *x = in ? (b - *y * c.across) * 8 : 0;
    return in;
}

/* Keys and values of a tile of the chunk into tile [2][TILE, ROW]. */
template <typename T, int D>
__device__ DRAM_INLINE void load_keys(const job &j, const region &r, const chunk &c, int index, T *tile)
{
    auto token = [&](int slot) {
        int y, x;
        bool in = block_place(c, index * (TILE / 8) + slot / 8, &y, &x);
        x += slot % 8;
        return in && x < c.cols ? r.first + (c.y0 + y) * j.w + c.x0 + x : -1;
    };
    load_rows<T, D>(j, part_of<T>(j, r, 1), 3 * j.dim, tile, TILE, token);
    load_rows<T, D>(j, part_of<T>(j, r, 2), 3 * j.dim, tile + TILE * ROW<D>, TILE, token);
    dram_copy_commit();
}

/* ---- padding ---- */

/* The padding of a window is many keys with the same k and v, those of the bias, which differ in their relative terms
 * alone. Sums of 2^(term) over real and over padding rows, and columns, tell the weight of all of them together. */
struct axis_sums {
    float largest, real, over; /* sums of 2^(term - largest) */
};

__device__ DRAM_INLINE float quad_sum(float x)
{
    x += __shfl_xor_sync(DRAM_ALL_LANES, x, 1);
    return x + __shfl_xor_sync(DRAM_ALL_LANES, x, 2);
}
__device__ DRAM_INLINE float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(DRAM_ALL_LANES, x, 1));
    return fmaxf(x, __shfl_xor_sync(DRAM_ALL_LANES, x, 2));
}

/* Adds `keys` terms of a query, of which the first `real` are real ones. */
__device__ DRAM_INLINE void add_terms(const float *term, int keys, int real, axis_sums &s)
{
    int t = quarter_of();
    float largest = s.largest, sum = 0, over = 0;
    for (int k = t; k < keys; k += 4) largest = fmaxf(largest, term[k]);
    largest = quad_max(largest);
    for (int k = t; k < keys; k += 4) {
        float x = dram_exp2(term[k] - largest);
        sum += k < real ? x : 0;
        over += k < real ? 0 : x;
    }
    float before = dram_exp2(s.largest - largest);
    s = {largest, s.real * before + quad_sum(sum), s.over * before + quad_sum(over)};
}

/* What a query (row g or g + 8 of the warp) has of the padding. */
struct padding {
    axis_sums h, w;
    float score; /* log2 of the sum of e^logit over all padding keys */
};

/* Sum over keys of the padding of 2^(both terms), in units of 2^(largest of h + largest of w). */
__device__ DRAM_INLINE float over_sum(const padding &p)
{
    return p.h.real * p.w.over + p.h.over * (p.w.real + p.w.over);
}

template <typename T, int D, int TABLE = 3>
__device__ DRAM_INLINE void find_padding(const job &j, const region &r, queries<T> &q, padding (&p)[2])
{
    int g = group_of(), t = quarter_of(), first = warp_of() * 16;
    const float *k = j.bias + j.dim + r.head * j.d;
    DRAM_ROLLED
    for (int axis = 0; axis < 2; axis++) {
        int size = axis ? j.sw : j.sh, real = axis ? r.cols : r.rows, ld = axis ? q.ld[1] : q.ld[0];
        axis_sums s[2] = {{-INFINITY, 0, 0}, {-INFINITY, 0, 0}};
        DRAM_ROLLED
        for (int key0 = (size - 1) / CHUNK * CHUNK; key0 >= 0; key0 -= CHUNK) { /* ends with what comes first later */
            need_factor<T, D, TABLE>(j, r, q, axis, key0);
            const float *terms = (axis ? q.factor[1] : q.factor[0]) + (first + g) * ld;
            add_terms(terms, min((int)CHUNK, size - key0), real - key0, s[0]);
            add_terms(terms + 8 * ld, min((int)CHUNK, size - key0), real - key0, s[1]);
        }
        DRAM_UNROLL
        for (int i = 0; i < 2; i++)
            if (axis)
                p[i].w = s[i];
            else
                p[i].h = s[i];
    }
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        const T *row = q.q + (first + g + 8 * i) * ROW<D>;
        float dot = 0;
        for (int c = t; c < j.d; c += 4) dot += dram_float(row[c]) * k[c];
        p[i].score = quad_sum(dot) * j.scale * LOG2E + p[i].h.largest + p[i].w.largest + log2f(over_sum(p[i]));
    }
}

/* ---- launching ---- */

/* Shared memory, cut into pieces. */
template <typename S> __device__ DRAM_INLINE S *take(unsigned char *&room, int n)
{
    S *piece = reinterpret_cast<S *>(room);
    room += n * (int)sizeof(S);
    return piece;
}

__host__ __device__ static inline int blocks_of(int n, int each)
{
    return (n + each - 1) / each;
}

/* Warps that share n times 16 rows evenly. */
static inline int warps_for(int rows, int most)
{
    int n = blocks_of(rows, 16);
    return blocks_of(n, blocks_of(n, most));
}

static inline bool is_aligned(const void *p, size_t bytes)
{
    return reinterpret_cast<uintptr_t>(p) % bytes == 0;
}

static inline dram_status job_of(const dram_kernel_args *args, job *j)
{
    const int64_t *dim = args->in[0].shape.dim, most = INT32_MAX;
    int size = (int)dram_dtype_bytes(args->in[0].dtype);
    *j = job{};
    j->qkv = args->in[0].data;
    j->rel_h = static_cast<const float *>(args->in[1].data);
    j->rel_w = static_cast<const float *>(args->in[2].data);
    j->bias = static_cast<const float *>(args->in[3].data);
    j->heads = args->attr->heads;
    j->window = args->attr->window;
    int64_t tokens = dim[0] * dim[1] * dim[2], d = dim[3] / 3 / j->heads;
    if (d > MOST_D)
        return dram_fail(DRAM_ERR_CONFIG, "attention on a GPU: a head has %lld channels, at most %d are possible",
                         (long long)d, MOST_D);
    if (tokens > most / 2 || dim[3] > most / 2 || tokens * j->heads > most / 2 || j->window > 1 << 14)
        return dram_fail(DRAM_ERR_CONFIG,
                         "attention on a GPU: a batch with too many tokens, or a window that is too large");
    j->h = (int)dim[1];
    j->w = (int)dim[2];
    j->dim = (int)(dim[3] / 3);
    j->d = (int)d;
    j->sh = j->window ? j->window : j->h;
    j->sw = j->window ? j->window : j->w;
    j->down = blocks_of(j->h, j->sh);
    j->across = blocks_of(j->w, j->sw);
    j->most_rows = min(j->sh, j->h);
    j->most_cols = min(j->sw, j->w);
    j->scale = 1.0f / sqrtf((float)d);
    j->vectors = j->d * size % 16 == 0 && is_aligned(j->qkv, 16);
    j->pairs = j->d % 2 == 0;
    return DRAM_OK;
}

/* The second kernel of the gradient, attention_dkv.cu, which reads what dq wrote to j.delta. */
dram_status queue_dkv(const dram_kernel_args *args, const job &j);

} // namespace dram_attention

/* The D of the kernels for a head of d; fp32 has no 64, a kernel less to compile. HEAD_SIZES(T, j.d, D, return
 * launch<T, D>(...)). */
#define HEAD_SIZES(T, HEAD, D, ...)                                                                                    \
    if ((HEAD) <= 16) {                                                                                                \
        constexpr int D = 16;                                                                                          \
        __VA_ARGS__;                                                                                                   \
    } else if ((HEAD) <= 64) {                                                                                         \
        constexpr int D = sizeof(T) == 2 ? 64 : 80;                                                                    \
        __VA_ARGS__;                                                                                                   \
    } else {                                                                                                           \
        constexpr int D = 80;                                                                                          \
        __VA_ARGS__;                                                                                                   \
    }

#endif
