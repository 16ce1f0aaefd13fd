/* The gradient of attention, its second kernel: dk and dv. See attention_grad.cu. */
#include "kernels/cuda/attention.cuh"

using namespace dram_attention;

namespace
{

enum { ACROSS = 8, STRIDE = TILE + 8 }; /* columns of a patch; from one key position's factors to the next */

/* Queries of a tile. There are two stages of them, since the next are copied while these are worked on. */
template <typename T> struct stage {
    T *q, *dout;              /* [TILE, ROW] each */
    float *saved_lse, *delta; /* [TILE]; lse in bits */
    int *place[2];
};
template <typename T, int D> constexpr int STAGE_BYTES = 2 * TILE *ROW<D> *(int)sizeof(T) + 4 * TILE * 4;

template <typename T, int D> __device__ DRAM_INLINE stage<T> stage_of(unsigned char *room, int index)
{
    stage<T> s;
    room += index * STAGE_BYTES<T, D>;
    s.q = take<T>(room, TILE * ROW<D>);
    s.dout = take<T>(room, TILE * ROW<D>);
    s.saved_lse = take<float>(room, TILE);
    s.delta = take<float>(room, TILE);
    s.place[0] = take<int>(room, TILE);
    s.place[1] = take<int>(room, TILE);
    return s;
}

/* A block's keys: a patch of 2 rows for each warp and 8 columns. */
template <typename T> struct patch {
    T *keys, *values; /* [16 warps, ROW] */
    float *factor[2]; /* [2 warps, STRIDE], [8, STRIDE]: by key position, then query */
    int y0, x0;       /* in the region */
};

template <typename T, int D>
__device__ DRAM_INLINE void load_queries(const job &j, const region &r, int from, const stage<T> &s)
{
    auto token = [&](int i) { return from + i < r.queries ? token_of(j, r, from + i) : -1; };
    load_rows<T, D>(j, part_of<T>(j, r, 0), 3 * j.dim, s.q, TILE, token);
    load_rows<T, D>(j, static_cast<const T *>(j.dout) + r.head * j.d, j.dim, s.dout, TILE, token);
    dram_copy_commit();
    for (int i = (int)threadIdx.x; i < TILE; i += (int)blockDim.x) {
        int query = min(from + i, r.queries - 1), at = token(i);
        s.place[0][i] = query / r.cols;
        s.place[1][i] = query % r.cols;
        s.saved_lse[i] = at >= 0 ? j.saved_lse[lse_at(j, r, at)] * LOG2E : INFINITY;
        s.delta[i] = at >= 0 ? j.delta[lse_at(j, r, at)] : 0;
    }
}

/* The factors of a tile of queries for the patch; 16 queries and one axis a warp at a time. */
template <typename T, int D>
__device__ DRAM_INLINE void patch_factors(const job &j, const region &r, int from, const stage<T> &s, const patch<T> &p)
{
    int warps = (int)(blockDim.x / 32);
    DRAM_ROLLED
    for (int task = warp_of(); task < 2 * TILE / 16; task += warps) {
        int axis = task % 2, first = task / 2 * 16, size = axis ? j.sw : j.sh, key0 = axis ? p.x0 : p.y0;
        relative<T, D, 3>(axis ? j.rel_w : j.rel_h, j.d, size, s.q + first * ROW<D>,
                          (axis ? s.place[1] : s.place[0]) + first, span_of(r, from + first, 16, axis == 0), key0,
                          min(axis ? ACROSS : 2 * warps, size - key0), (axis ? p.factor[1] : p.factor[0]) + first, 1,
                          STRIDE);
    }
}

/* Products of keys with q to weights, of values with dout to score gradients: 16 keys by a tile of queries. */
template <typename T>
__device__ DRAM_INLINE void key_weights(const job &j, const region &r, const stage<T> &s, const patch<T> &p,
                                        const float (&with_q)[TILE / 8][4], const float (&with_dout)[TILE / 8][4],
                                        float (&weight)[TILE / 8][4], float (&ds)[TILE / 8][4])
{
    int g = group_of(), t = quarter_of();
    float scale = j.scale * LOG2E;
    DRAM_UNROLL
    for (int half = 0; half < 2; half++) {
        int y = 2 * warp_of() + half;
        bool real = p.y0 + y < r.rows && p.x0 + g < r.cols;
        DRAM_UNROLL
        for (int b = 0; b < TILE / 8; b++) {
            int i = 8 * b + 2 * t;
            dram_pack<float, 2> rows = dram_load<float, 2>(p.factor[0] + y * STRIDE + i);
            dram_pack<float, 2> columns = dram_load<float, 2>(p.factor[1] + g * STRIDE + i);
            dram_pack<float, 2> lse = dram_load<float, 2>(s.saved_lse + i);
            dram_pack<float, 2> delta = dram_load<float, 2>(s.delta + i);
            DRAM_UNROLL
            for (int e = 0; e < 2; e++) {
                int at = 2 * half + e;
                float x = with_q[b][at] * scale + (rows.at[e] + columns.at[e]) - lse.at[e];
                float w = real ? dram_exp2(x) : 0;
                ds[b][at] = real ? w * (with_dout[b][at] - delta.at[e]) : 0;
                weight[b][at] = w * (float)(1 << traits<T>::LIFT);
            }
        }
    }
}

template <typename T, int D>
__device__ DRAM_INLINE void key_gradients(const job &j, const region &r, unsigned char *stages, const patch<T> &p)
{
    constexpr int P = traits<T>::GRADS;
    float dk[D / 8][4] = {}, dv[D / 8][4] = {};
    int row = warp_of() * 16;
    load_queries<T, D>(j, r, 0, stage_of<T, D>(stages, 0));
    DRAM_ROLLED
    for (int from = 0; from < r.queries; from += TILE) {
        int odd = from / TILE % 2;
        stage<T> s = stage_of<T, D>(stages, odd);
        dram_copy_wait<0>();
        __syncthreads();
        if (from + TILE < r.queries) load_queries<T, D>(j, r, from + TILE, stage_of<T, D>(stages, 1 - odd));
        patch_factors<T, D>(j, r, from, s, p);
        __syncthreads();
        float weight[TILE / 8][4], ds[TILE / 8][4];
        {
            float with_q[TILE / 8][4], with_dout[TILE / 8][4];
            row_products<T, D>(p.keys, row, s.q, with_q);
            row_products<T, D>(p.values, row, s.dout, with_dout);
            key_weights<T>(j, r, s, p, with_q, with_dout, weight, ds);
        }
        add_weighted<T, D, P>(weight, s.dout, 1, 1, 1.0f / (float)(1 << traits<T>::LIFT), dv);
        float factor = j.scale * lift<T>(ds);
        add_weighted<T, D, P>(ds, s.q, 1, 1, factor, dk);
    }
    T *to[2];
    DRAM_UNROLL
    for (int half = 0; half < 2; half++) {
        int y = p.y0 + 2 * warp_of() + half, x = p.x0 + group_of();
        to[half] = nullptr;
        if (y < r.rows && x < r.cols)
            to[half] = static_cast<T *>(j.dqkv) + (int64_t)(r.first + y * j.w + x) * 3 * j.dim + j.dim + r.head * j.d;
    }
    store_rows<T, D>(j, dk, 1, 1, to[0], to[1]);
    store_rows<T, D>(j, dv, 1, 1, to[0] ? to[0] + j.dim : nullptr, to[1] ? to[1] + j.dim : nullptr);
}

template <typename T, int D> __global__ void __launch_bounds__(MOST_WARPS * 32, 1) attention_dkv_kernel(job j)
{
    DRAM_SHARED_DYNAMIC(unsigned char, room);
    DRAM_SHARED(region, of_block, [1]);
    if (threadIdx.x == 0) of_block[0] = region_of(j, (int)blockIdx.x / j.tiles, 0);
    __syncthreads();
    const region &r = of_block[0];
    int rows = (int)blockDim.x / 2, across = blocks_of(j.most_cols, ACROSS), index = (int)blockIdx.x % j.tiles;
    patch<T> p;
    p.y0 = index / across * (rows / ACROSS);
    p.x0 = index % across * ACROSS;
    if (p.y0 >= r.rows || p.x0 >= r.cols) return;
    p.keys = take<T>(room, rows * ROW<D>);
    p.values = take<T>(room, rows * ROW<D>);
    p.factor[0] = take<float>(room, rows / ACROSS * STRIDE);
    p.factor[1] = take<float>(room, ACROSS * STRIDE);
    auto token = [&](int slot) {
        int y = p.y0 + slot / ACROSS, x = p.x0 + slot % ACROSS;
        return y < r.rows && x < r.cols ? r.first + y * j.w + x : -1;
    };
    load_rows<T, D>(j, part_of<T>(j, r, 1), 3 * j.dim, p.keys, rows, token);
    load_rows<T, D>(j, part_of<T>(j, r, 2), 3 * j.dim, p.values, rows, token);
    key_gradients<T, D>(j, r, room, p);
}

template <typename T, int D> int dkv_bytes(int warps)
{
    int rows = warps * 16;
    return 2 * rows * ROW<D> * (int)sizeof(T) + (2 * warps + ACROSS) * STRIDE * 4 + 2 * STAGE_BYTES<T, D>;
}

template <typename T, int D> dram_status launch(const dram_kernel_args *args, job j)
{
    int regions = j.down * j.across * j.heads * (int)args->in[0].shape.dim[0], most = MOST_WARPS;
    while (most > 1 && dkv_bytes<T, D>(most) > SHARED_BYTES) most--;
    int warps = warps_for(j.most_rows * ACROSS, most);
    j.tiles = blocks_of(j.most_rows, 2 * warps) * blocks_of(j.most_cols, ACROSS);
    return dram_launch(args, attention_dkv_kernel<T, D>, dim3((unsigned)(regions * j.tiles)),
                       dim3((unsigned)warps * 32), (size_t)dkv_bytes<T, D>(warps), j);
}

} // namespace

dram_status dram_attention::queue_dkv(const dram_kernel_args *args, const job &j)
{
    DRAM_FLOAT_TYPES(args->in[0].dtype, T, HEAD_SIZES(T, j.d, D, return launch<T, D>(args, j)))
}
