/* attention: SAM's, with decomposed relative position, global or in windows. See src/ops/attention.c for the formula,
 * ir/op_list.h for the shapes and attention.cuh for regions and chunks.
 *
 * A block owns up to 96 queries of one region, 16 a warp, and meets the keys tile by tile with an online softmax (Dao
 * et al., "FlashAttention", 2022; the division of work is that of Dao, "FlashAttention-2", 2023). Keys and values of
 * the next tile are copied while one is worked on. The padding of a window is the first "key" of the softmax: its
 * weight is known from the factors, its value is the bias, so that only real keys are met.
 *
 * A tile is rows of a chunk side by side, each with 16 or 32 places. So all tiles of a column of chunks have the same
 * relative terms by columns: they stay in registers, and the products q . k begin with them. A place without a key has
 * VOID there, and nothing else masks it. A row of keys has one relative term, which is added with the scale.
 *
 * Where a gradient comes by, weights go into the product with v as two pieces (three in fp32), because `out` is to be
 * right to its last bit; one piece is right to 8 bits (11 in f16) before it is rounded to as many. It suffices where no
 * gradient comes by (attr.rounded), and leaves registers for tiles of 64 keys instead of 32.
 *
 * Limits, for L queries against S keys each and one head of d: 4 L S d FLOPs on tensor cores (6 with two pieces), L S
 * exponentials of which a multiprocessor makes 16 a clock; memory moved: q and out once, k and v once for each 96
 * queries, mostly from L2: 10 bytes for each 1000 FLOPs with one piece. Before either comes issue: a warp takes
 * 208 slots for 16 queries x 32 keys at d = 64, of which 32 are mma, and 243 for 40 at d = 80 (scripts/sass.sh, sm_90).
 */
#include "kernels/cuda/attention.cuh"

using namespace dram_attention;

namespace
{

/* Keys of a tile, with P pieces of the weights. Half of 64 are a whole number of rows too. */
template <int P> constexpr int KEYS = P == 1 ? 64 : 32;

/* Numbers from one query's factors to the next, of a chunk's rows and one more, and of its columns. */
constexpr int LD_ROWS = CHUNK + 1, LD_COLUMNS = CHUNK + 8;

constexpr float VOID = -1e30f; /* an empty place's score, in units of q . k: 2^(its share) is 0 */

/* The state of a warp's 16 queries: of rows g and g + 8 of it. */
template <int D> struct softmax {
    float out[D / 8][4]; /* weighted sum of values, */
    float largest[2];    /* in units of 2^largest; largest score yet, in bits */
    float sum[2];        /* of the weights in this lane */
};

/* The keys of a chunk as they lie in a tile: rows of the region side by side, each with 16 or 32 places, of which those
 * beyond the chunk's columns are empty. */
struct places {
    int shift, rows; /* places of a row: 1 << shift; rows of a tile */
};

template <int P> __device__ DRAM_INLINE places places_of(const chunk &c)
{
    int shift = c.cols > 16 ? 5 : 4;
    return {shift, KEYS<P> >> shift};
}

/* Keys and values of the tile from the chunk's row y on, to tile [2][KEYS, ROW]. A warp takes 8 keys at a time, their
 * values with them; 4 lanes a row, each packs 4 apart. */
template <typename T, int D, int P>
__device__ DRAM_INLINE void take_keys(const job &j, const region &r, const chunk &c, const places &at, int y, T *tile)
{
    constexpr int V = dram_vector<T>, PACKS = D / V;
    int stride = 3 * j.dim, thread = dram_thread_again(), g = thread % 32 / 4, t = thread % 4;
    auto token = [&](int place, bool *there) {
        int row = y + (place >> at.shift), column = place & ((1 << at.shift) - 1);
        *there = row < c.rows && column < c.cols;
        return *there ? r.first + (c.y0 + row) * j.w + c.x0 + column : r.first;
    };
    if (j.vectors) {
        const T *keys = part_of<T>(j, r, 1) + t * V;
        DRAM_ROLLED
        for (int b = thread / 32; b < KEYS<P> / 8; b += (int)blockDim.x / 32) {
            bool there;
            int place = 8 * b + g;
            const T *from = keys + (int64_t)token(place, &there) * stride;
            T *to = tile + place * ROW<D> + t * V;
            DRAM_UNROLL
            for (int part = 0; part < 2; part++, from += j.dim, to += KEYS<P> * ROW<D>) {
                DRAM_UNROLL
                for (int p = 0; p < PACKS; p += 4) {
                    bool in = p + 4 <= PACKS || t < PACKS - p;
                    if (in) dram_copy16(to + p * V, from + p * V, there && (p + t) * V < j.d);
                }
            }
        }
    } else {
        auto known = [&](int place) {
            bool there;
            int at_token = token(place, &there);
            return there ? at_token : -1;
        };
        load_numbers<T, D>(j, part_of<T>(j, r, 1), stride, tile, KEYS<P>, known);
        load_numbers<T, D>(j, part_of<T>(j, r, 2), stride, tile + KEYS<P> * ROW<D>, KEYS<P>, known);
    }
    dram_copy_commit();
}

/* What the columns of a chunk, 8 b + 2 t + e % 2, mean for the scores of row g + e / 2 * 8, in units of q . k. What
 * follows needs no masks: a place without a key has VOID here. */
template <typename T>
__device__ DRAM_INLINE void take_columns(const job &j, const queries<T> &q, const chunk &c, const places &at,
                                         float (&columns)[4][4])
{
    int thread = dram_thread_again(), row = thread / 32 * 16 + thread % 32 / 4, t = thread % 4;
    float unit = 1 / (j.scale * LOG2E);
    DRAM_UNROLL
    for (int b = 0; b < 4; b++) {
        int x = (8 * b & ((1 << at.shift) - 1)) + 2 * t;
        DRAM_UNROLL
        for (int e = 0; e < 4; e++) {
            bool real = x + e % 2 < c.cols;
            const float *from = q.factor[1] + (row + e / 2 * 8) * LD_COLUMNS + x + e % 2;
            columns[b][e] = real ? *from * unit : VOID;
        }
    }
}

/* A tile's last row may be beyond the chunk, if those are odd in number: its factor is made to be of no key. */
template <typename T> __device__ DRAM_INLINE void end_rows(const queries<T> &q, const chunk &c)
{
    if (c.rows % 2 == 0) return;
    int thread = dram_thread_again();
    __syncwarp();
    if (thread % 32 < 16) q.factor[0][(thread / 32 * 16 + thread % 32) * LD_ROWS + c.rows] = -INFINITY;
    __syncwarp();
}

/* Scores, without their rows' terms, to weights 2^(score - largest + LIFT); `keep`: what the sums before are still
 * worth. by_row: of row g, for the tile's first row of keys. Two blocks of 8 keys are of one row. */
template <typename T, int D, int N>
__device__ DRAM_INLINE void weigh(float scale, const float *by_row, int shift, softmax<D> &s, float (&score)[N][4],
                                  float (&keep)[2])
{
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        float largest = s.largest[i], sum = 0, term[N / 2];
        DRAM_UNROLL
        for (int b = 0; b < N; b += 2) {
            float most =
                fmaxf(fmaxf(score[b][2 * i], score[b][2 * i + 1]), fmaxf(score[b + 1][2 * i], score[b + 1][2 * i + 1]));
            term[b / 2] = by_row[8 * i * LD_ROWS + (8 * b >> shift)];
            largest = fmaxf(largest, most * scale + term[b / 2]);
        }
        largest = quad_max(largest);
        keep[i] = dram_exp2(s.largest[i] - largest);
        s.largest[i] = largest;
        float zero = largest - traits<T>::LIFT;
        DRAM_UNROLL
        for (int b = 0; b < N; b += 2) {
            float offset = term[b / 2] - zero;
            DRAM_UNROLL
            for (int k = 0; k < 4; k++) {
                float &x = score[b + k / 2][2 * i + k % 2];
                x = dram_exp2(x * scale + offset);
                sum += x;
            }
        }
        s.sum[i] = s.sum[i] * keep[i] + sum;
    }
}

/* The first 8 N keys of a tile. */
template <typename T, int D, int P, int N>
__device__ DRAM_INLINE void meet_tile(const job &j, const queries<T> &q, const T *tile, const float *by_row, int shift,
                                      const float (&columns)[4][4], softmax<D> &s)
{
    float score[N][4], keep[2];
    DRAM_UNROLL
    for (int b = 0; b < N; b++) {
        DRAM_UNROLL
        for (int e = 0; e < 4; e++) score[b][e] = columns[b % 4][e];
    }
    add_row_products<T, D, (sizeof(T) == 2 ? D / 16 : 1)>(q.q, warp_of() * 16, tile, score);
    weigh<T, D>(j.scale * LOG2E, by_row, shift, s, score, keep);
    add_weighted<T, D, P>(score, tile + KEYS<P> * ROW<D>, keep[0], keep[1], 1, s.out);
}

/* Before any key: nothing, or the padding. */
template <typename T, int D, int TABLE>
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
    find_padding<T, D, TABLE>(j, r, q, p);
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

/* The keys of a chunk; the tiles may be written. */
template <typename T, int D, int P>
__device__ DRAM_INLINE void meet_chunk(const job &j, const region &r, const queries<T> &q, const chunk &c, T *tiles,
                                       const float (&columns)[4][4], softmax<D> &s)
{
    constexpr int EACH = 2 * KEYS<P> * ROW<D>, N = KEYS<P> / 8;
    places at = places_of<P>(c);
    const float *by_row = q.factor[0] + (warp_of() * 16 + group_of()) * LD_ROWS;
    int idle = dram_held(r.from + 16 * warp_of() >= r.queries); /* a warp without queries copies keys and no more */
    T *now = tiles, *next = tiles + EACH;
    int y = 0;
    auto begin_tile = [&]() {
        dram_copy_wait<0>();
        __syncthreads();
        if (y + at.rows < c.rows) take_keys<T, D, P>(j, r, c, at, y + at.rows, next);
    };
    take_keys<T, D, P>(j, r, c, at, 0, now);
    DRAM_ROLLED
    for (; c.rows - y > (P == 1 ? at.rows / 2 : 0); y += at.rows, by_row += at.rows) {
        begin_tile();
        if (!idle) meet_tile<T, D, P, N>(j, q, now, by_row, at.shift, columns, s);
        T *other = now;
        now = next;
        next = other;
    }
    if (P == 1 && y < c.rows) { /* half a tile suffices */
        begin_tile();
        if (!idle) meet_tile<T, D, P, N / 2>(j, q, now, by_row, at.shift, columns, s);
    }
}

template <typename T, int D> __device__ DRAM_INLINE void finish(const job &j, const region &r, softmax<D> &s)
{
    int thread = dram_thread_again(), first = r.from + thread / 32 * 16 + thread % 32 / 4;
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
        if (thread % 4 == 0) j.lse[lse_at(j, r, token)] = (s.largest[i] - traits<T>::LIFT + log2f(sum)) * LN2;
    }
    store_rows<T, D>(j, s.out, factor[0], factor[1], row[0], row[1]);
}

/* Warps of a block, and blocks that a multiprocessor shall have registers for. Code for every GPU is made of one PTX, so it
 * is one number for all. Two with heads of 80 would spill a few bytes, outside of the loop. */
constexpr int WARPS = 6;
template <typename T, int D> constexpr int BLOCKS = sizeof(T) == 4 || D == MOST_D ? 1 : 2;

/* A block's shared memory, as if it had all warps and a whole chunk, so that every place is known to the compiler. The
 * factors by columns are made where the tiles will be. */
template <typename T, int D, int P> struct shared_room {
    static constexpr int ROWS = 16 * WARPS, TILES = 4 * KEYS<P> * ROW<D>;
    union {
        T tiles[TILES];
        float columns[ROWS * LD_COLUMNS];
    };
    T queries[ROWS * ROW<D>];
    float rows[ROWS * LD_ROWS];
    int place[2][ROWS];
};

/* WHOLE: heads of d = D, whose rows can be moved 16 bytes at a time. */
template <typename T, int D, int P, bool WHOLE>
__global__ void __launch_bounds__(WARPS * 32, BLOCKS<T, D>) attention_kernel(job j)
{
    constexpr int TABLE = P == 1 ? 2 : 3;
    if (WHOLE) {
        j.d = D;
        j.vectors = j.pairs = true;
    }
    typedef shared_room<T, D, P> layout;
    DRAM_SHARED_DYNAMIC(layout, room);
    int rows = (int)blockDim.x / 2;
    DRAM_SHARED(region, of_block, [1]); /* there, and not in registers of every thread */
    if (threadIdx.x == 0) of_block[0] = region_of(j, (int)blockIdx.x / j.tiles, (int)blockIdx.x % j.tiles * rows);
    __syncthreads();
    const region &r = of_block[0];
    queries<T> q;
    if (r.from >= r.queries) return;
    q.q = room->queries;
    q.factor[0] = room->rows;
    q.factor[1] = room->columns;
    q.ld[0] = LD_ROWS;
    q.ld[1] = LD_COLUMNS;
    for (int axis = 0; axis < 2; axis++) {
        q.place[axis] = room->place[axis];
        q.at[axis] = -1;
    }
    take_queries<T, D>(j, r, q, rows);
    dram_copy_wait<0>();
    __syncthreads();

    softmax<D> s;
    begin<T, D, TABLE>(j, r, q, s);
    DRAM_ROLLED
    for (int x0 = 0; x0 < r.cols; x0 += CHUNK) {
        float columns[4][4];
        make_factor<T, D, TABLE>(j, r, q, 1, x0);
        chunk c = chunk_of(r, 0, x0);
        take_columns<T>(j, q, c, places_of<P>(c), columns);
        DRAM_ROLLED
        for (int y0 = 0; y0 < r.rows; y0 += CHUNK) {
            c = chunk_of(r, y0, x0);
            make_factor<T, D, TABLE>(j, r, q, 0, y0);
            end_rows<T>(q, c);
            __syncthreads(); /* nobody reads the tiles' room */
            meet_chunk<T, D, P>(j, r, q, c, room->tiles, columns, s);
        }
        __syncthreads();
    }
    finish<T, D>(j, r, s);
}

template <typename T, int D, int P, bool WHOLE> dram_status launch(const dram_kernel_args *args, job j)
{
    static_assert(sizeof(shared_room<T, D, P>) <= SHARED_BYTES, "a block has room");
    int all = j.most_rows * j.most_cols, warps = warps_for(all, WARPS),
        regions = j.down * j.across * j.heads * (int)args->in[0].shape.dim[0];
    j.tiles = blocks_of(all, warps * 16);
    return dram_launch(args, attention_kernel<T, D, P, WHOLE>, dim3((unsigned)(regions * j.tiles)),
                       dim3((unsigned)warps * 32), sizeof(shared_room<T, D, P>), j);
}

/* 16-bit heads of SAM's sizes have kernels of their own, with one piece of the weights where no gradient comes by. */
template <typename T> dram_status choose(const dram_kernel_args *args, const job &j)
{
    constexpr int P = traits<T>::WEIGHTS;
    bool rounded = args->attr->rounded;
    if constexpr (sizeof(T) == 2) {
        if (j.vectors && j.d == 64) return rounded ? launch<T, 64, 1, true>(args, j) : launch<T, 64, P, true>(args, j);
        if (j.vectors && j.d == 80) return rounded ? launch<T, 80, 1, true>(args, j) : launch<T, 80, P, true>(args, j);
    }
    return j.d <= 16 ? launch<T, 16, P, false>(args, j) : launch<T, MOST_D, P, false>(args, j);
}

} // namespace

DRAM_CUDA_KERNEL(attention)
{
    job j;
    TRY(job_of(args, &j));
    j.out = args->out[0].data;
    j.lse = static_cast<float *>(args->out[1].data);
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, return choose<T>(args, j))
}
