/* attention_fragments: products of attention on tensor cores, in every float type.
 *
 * Sums are fp32. An fp32 number goes there as three bf16 pieces, which hold all of its 24 bits, and a product of
 * two takes the six pairs that matter (Henry et al., "Leveraging the bfloat16 artificial intelligence datatype for
 * higher-precision computations", 2019). The relative tables are fp32 in every type, so the factors are made of pieces
 * in every type.
 */
#ifndef DRAM_KERNELS_CUDA_ATTENTION_FRAGMENTS_CUH
#define DRAM_KERNELS_CUDA_ATTENTION_FRAGMENTS_CUH

#include "kernels/cuda/mma.cuh"

namespace dram_attention
{

enum { TILE = 32 }; /* keys (queries in dkv) of a tile */

/* ---- types ---- */

template <typename T> struct traits { /* bf16, f16 */
    typedef T piece;
    static constexpr int PIECES = 1, EXACT = std::is_same<T, dram_bf16>::value ? 1 : 2; /* EXACT: in bf16 pieces */
    static constexpr int WEIGHTS = 2, GRADS = 1; /* pieces of the softmax weights, and of those in the gradient */
    static constexpr int LIFT = std::is_same<T, dram_f16>::value ? 12 : 0; /* weights are 2^LIFT larger */
};
template <> struct traits<float> {
    typedef dram_bf16 piece;
    static constexpr int PIECES = 3, EXACT = 3, WEIGHTS = 3, GRADS = 3, LIFT = 0;
};

/* From one row of a tile in shared memory to the next: no two rows of a fragment in the same banks. */
template <int D> constexpr int ROW = D + 8;

__device__ static inline int lane_of()
{
    return (int)(threadIdx.x % 32);
}
__device__ static inline int group_of() /* g */
{
    return (int)(threadIdx.x % 32 / 4);
}
__device__ static inline int quarter_of() /* t */
{
    return (int)(threadIdx.x % 4);
}
__device__ static inline int warp_of()
{
    return (int)(threadIdx.x / 32);
}

/* Two numbers as P pieces of type T each. */
template <typename T, int P> __device__ DRAM_INLINE void split(float x, float y, uint32_t (&pieces)[P])
{
    DRAM_UNROLL
    for (int p = 0; p < P; p++) {
        pieces[p] = dram_pair<T>(x, y);
        if (p + 1 == P) break;
        x -= dram_low<T>(pieces[p]);
        y -= dram_high<T>(pieces[p]);
    }
}

/* s += a b over the pairs of pieces whose product can show, the smallest first. */
template <typename T, int PA, int PB>
__device__ DRAM_INLINE void multiply(float (&s)[4], const uint32_t (&a)[PA][4], const uint32_t (&b)[PB][2])
{
    constexpr int LAST = (PA > PB ? PA : PB) - 1;
    DRAM_UNROLL
    for (int order = LAST; order >= 0; order--) {
        DRAM_UNROLL
        for (int p = 0; p < PA; p++) {
            if (order - p < 0 || order - p >= PB) continue;
            dram_mma<T>(s, a[p], b[order - p]);
        }
    }
}

/* ---- fragments ---- */

/* Fragments of the numbers at(row, column). */
template <int P, typename F> __device__ DRAM_INLINE void gather_a(F at, uint32_t (&a)[P][4])
{
    int g = group_of(), t = quarter_of();
    DRAM_UNROLL
    for (int i = 0; i < 4; i++) {
        int row = g + i % 2 * 8, column = 2 * t + i / 2 * 8;
        uint32_t pieces[P];
        split<dram_bf16>(at(row, column), at(row, column + 1), pieces);
        DRAM_UNROLL
        for (int p = 0; p < P; p++) a[p][i] = pieces[p];
    }
}
template <int P, typename F> __device__ DRAM_INLINE void gather_b(F at, uint32_t (&b)[P][2])
{
    int g = group_of(), t = quarter_of();
    DRAM_UNROLL
    for (int i = 0; i < 2; i++) {
        uint32_t pieces[P];
        split<dram_bf16>(at(2 * t + 8 * i, g), at(2 * t + 8 * i + 1, g), pieces);
        DRAM_UNROLL
        for (int p = 0; p < P; p++) b[p][i] = pieces[p];
    }
}

/* A: rows `row` .. + 16 and columns `column` .. + 16 of a tile. */
template <typename T, int D>
__device__ DRAM_INLINE void load_a(const T *tile, int row, int column, uint32_t (&a)[traits<T>::PIECES][4])
{
    int lane = lane_of();
    if constexpr (sizeof(T) == 2)
        dram_load_matrices(a[0], tile + (row + lane % 16) * ROW<D> + column + lane / 16 * 8);
    else
        gather_a([=](int i, int k) { return tile[(row + i) * ROW<D> + column + k]; }, a);
}

/* B of two products, b[i][k, n]: the tile's row `row` + 8 i + n and column `column` + k. */
template <typename T, int D>
__device__ DRAM_INLINE void load_b(const T *tile, int row, int column, uint32_t (&b)[2][traits<T>::PIECES][2])
{
    int lane = lane_of();
    if constexpr (sizeof(T) == 2) {
        uint32_t r[4];
        dram_load_matrices(r, tile + (row + lane / 16 * 8 + lane % 8) * ROW<D> + column + lane / 8 % 2 * 8);
        b[0][0][0] = r[0], b[0][0][1] = r[1], b[1][0][0] = r[2], b[1][0][1] = r[3];
    } else {
        DRAM_UNROLL
        for (int i = 0; i < 2; i++)
            gather_b([=](int k, int n) { return tile[(row + 8 * i + n) * ROW<D> + column + k]; }, b[i]);
    }
}

/* B of two products, b[i][k, n]: the tile's row `row` + k and column `column` + 8 i + n. */
template <typename T, int D>
__device__ DRAM_INLINE void load_b_transposed(const T *tile, int row, int column,
                                              uint32_t (&b)[2][traits<T>::PIECES][2])
{
    int lane = lane_of();
    if constexpr (sizeof(T) == 2) {
        uint32_t r[4];
        dram_load_transposed(r, tile + (row + lane % 16) * ROW<D> + column + lane / 16 * 8);
        b[0][0][0] = r[0], b[0][0][1] = r[1], b[1][0][0] = r[2], b[1][0][1] = r[3];
    } else {
        DRAM_UNROLL
        for (int i = 0; i < 2; i++)
            gather_b([=](int k, int n) { return tile[(row + k) * ROW<D> + column + 8 * i + n]; }, b[i]);
    }
}

/* products [16, 8 N] += rows `row` .. + 16 of a x the first 8 N rows of b, transposed. ROUNDS of the loop in a row. */
template <typename T, int D, int ROUNDS, int N>
__device__ DRAM_INLINE void add_row_products(const T *a_tile, int row, const T *b_tile, float (&products)[N][4])
{
    DRAM_UNROLL_BY(ROUNDS)
    for (int k = 0; k < D; k += 16) {
        uint32_t a[traits<T>::PIECES][4];
        load_a<T, D>(a_tile, row, k, a);
        DRAM_UNROLL
        for (int n = 0; n < N; n += 2) {
            uint32_t b[2][traits<T>::PIECES][2];
            load_b<T, D>(b_tile, 8 * n, k, b);
            multiply<typename traits<T>::piece>(products[n], a, b[0]);
            multiply<typename traits<T>::piece>(products[n + 1], a, b[1]);
        }
    }
}

/* products [16, TILE]: the same, and nothing before. */
template <typename T, int D>
__device__ DRAM_INLINE void row_products(const T *a_tile, int row, const T *b_tile, float (&products)[TILE / 8][4])
{
    DRAM_UNROLL
    for (int b = 0; b < TILE / 8; b++) {
        DRAM_UNROLL
        for (int e = 0; e < 4; e++) products[b][e] = 0;
    }
    add_row_products<T, D, sizeof(T) == 2 ? 2 : 1>(a_tile, row, b_tile, products);
}

/* sum [16, D] = keep sum + factor weights [16, 8 N] x the tile's first rows, the weights as P pieces as they come out
 * of products; keep: of rows g and g + 8. What a tile gives is summed apart, so that a long sum is one of fp32
 * additions. */
template <typename T, int D, int P, int N>
__device__ DRAM_INLINE void add_weighted(const float (&x)[N][4], const T *tile, float keep0, float keep1, float factor,
                                         float (&sum)[D / 8][4])
{
    uint32_t a[N / 2][P][4];
    DRAM_UNROLL
    for (int k = 0; k < N / 2; k++) {
        DRAM_UNROLL
        for (int i = 0; i < 4; i++) {
            const float(&four)[4] = x[2 * k + i / 2];
            uint32_t pieces[P];
            split<typename traits<T>::piece>(four[i % 2 * 2], four[i % 2 * 2 + 1], pieces);
            DRAM_UNROLL
            for (int p = 0; p < P; p++) a[k][p][i] = pieces[p];
        }
    }
    DRAM_UNROLL
    for (int n = 0; n < D; n += 16) {
        float s[2][4] = {};
        if (sizeof(T) == 4 || N * D > 512)
            __syncwarp(); /* no loads ahead of it, which would need more registers than there are */
        DRAM_UNROLL
        for (int k = 0; k < N / 2; k++) {
            uint32_t b[2][traits<T>::PIECES][2];
            load_b_transposed<T, D>(tile, 16 * k, n, b);
            multiply<typename traits<T>::piece>(s[0], a[k], b[0]);
            multiply<typename traits<T>::piece>(s[1], a[k], b[1]);
        }
        DRAM_UNROLL
        for (int i = 0; i < 2; i++) {
            DRAM_UNROLL
            for (int e = 0; e < 4; e++) {
                float &y = sum[n / 8 + i][e];
                y = (e < 2 ? keep0 : keep1) * y + factor * s[i][e];
            }
        }
    }
}

/* For score gradients. Numbers up to 2^14 for f16: x times a power of two; returns the inverse of it, the same in the
 * whole warp. */
template <typename T> __device__ DRAM_INLINE float lift(float (&x)[TILE / 8][4])
{
    if constexpr (std::is_same<T, dram_f16>::value) {
        float largest = 0;
        DRAM_UNROLL
        for (int i = 0; i < TILE / 8 * 4; i++) largest = fmaxf(largest, fabsf(x[i / 4][i % 4]));
        largest = dram_warp_max(largest);
        int exponent = (int)(__float_as_uint(largest) >> 23);
        if (exponent == 0 || exponent == 255) return 1;
        int up = min(127 + 14 - (exponent - 127), 253);
        float factor = __uint_as_float((uint32_t)up << 23);
        DRAM_UNROLL
        for (int i = 0; i < TILE / 8 * 4; i++) x[i / 4][i % 4] *= factor;
        return __uint_as_float((uint32_t)(254 - up) << 23);
    }
    return 1;
}

} // namespace dram_attention

#endif
