/* conv_tile: a block's part of a product c [M,N] = a b on tensor cores, operands fetched by whoever knows where they
 * lie.
 *
 * A block computes ROWS x COLUMNS of c, its warps side by side and one below the other, in steps of DEPTH along the
 * sum. The operands of a step come to shared memory by asynchronous copies of 8 numbers, STAGES - 1 steps ahead. An
 * operand lies there as it lies in memory: with the sum's index along a line ("deep": a [m][k], b [n][k]) or across (a
 * [k][m], b [k][n]); the transposing load takes the latter. Within a line of P packs of 8 numbers pack p of line r is
 * at p ^ f(r), so that the 8 lines of a matrix load are in different banks. Limits: 2 M N K FLOPs at the rate of mma,
 * and the operands' bytes from L2 once for each block that needs them. */
#ifndef DRAM_KERNELS_CUDA_CONV_TILE_CUH
#define DRAM_KERNELS_CUDA_CONV_TILE_CUH

#include "kernels/cuda/conv.h"
#include "kernels/cuda/mma.cuh"

enum { DEPTH = 32, STAGES = 4, PACK = 8 };

template <int ROWS_, int COLUMNS_, int DOWN_, int ACROSS_> struct tile_shape {
    static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DOWN = DOWN_, ACROSS = ACROSS_; /* warps down and across */
    static constexpr int THREADS = 32 * DOWN * ACROSS;
    static constexpr int HIGH = ROWS / DOWN / 16, WIDE = COLUMNS / ACROSS / 8; /* mma tiles of a warp */
    static constexpr int A = ROWS * DEPTH, B = COLUMNS * DEPTH;                /* numbers of a stage */
    static constexpr size_t BYTES = (size_t)STAGES * (A + B) * 2;
    static_assert(HIGH > 0 && WIDE > 0 && WIDE % 2 == 0, "two mma tiles side by side");
};

/* Quotients by a number that is known when the kernel is launched: n / by for 0 <= n < 2^31. */
struct division {
    unsigned by, factor;
    int shift;
};
static inline division division_by(int by)
{
    division d = {(unsigned)by, 0, 0};
    while (1u << d.shift < d.by) d.shift++;
    d.factor = (unsigned)((((uint64_t)1 << (31 + d.shift)) + d.by - 1) / d.by);
    return d;
}
__device__ static inline int quotient(const division &d, int n)
{
    return (int)(__umulhi(2u * (unsigned)n, d.factor) >> d.shift);
}

/* Where pack p of line r is. */
template <int PACKS> __device__ static inline int packed(int r, int p)
{
    int turn = PACKS >= 8 ? r % 8 : r / (8 / PACKS) % PACKS;
    return (r * PACKS + (p ^ turn)) * PACK;
}

/* fetch(i, r, p, to) for the packs of a tile that are this thread's; i counts them, p is the same for all. */
template <int LINES, int PACKS, int THREADS, typename T, typename Fetch>
__device__ static inline void fetch_tile(T *tile, Fetch fetch)
{
    constexpr int ALL = LINES * PACKS, EACH = (ALL + THREADS - 1) / THREADS;
    static_assert(THREADS % PACKS == 0, "a thread stays in its column");
    DRAM_UNROLL
    for (int i = 0; i < EACH; i++) {
        int at = i * THREADS + (int)threadIdx.x;
        if (ALL % THREADS == 0 || at < ALL)
            fetch(i, at / PACKS, at % PACKS, tile + packed<PACKS>(at / PACKS, at % PACKS));
    }
}

/* 16 rows of a from row m on, 16 of the sum from k on. */
template <bool DEEP, int ROWS, typename T>
__device__ static inline void fragment_a(uint32_t (&a)[4], const T *tile, int m, int k)
{
    int lane = (int)threadIdx.x % 32;
    if (DEEP)
        dram_load_matrices(a, tile + packed<DEPTH / PACK>(m + lane % 16, k / PACK + lane / 16));
    else
        dram_load_transposed(a, tile + packed<ROWS / PACK>(k + lane % 8 + lane / 16 * 8, m / PACK + lane / 8 % 2));
}

/* 16 columns of b: two fragments. */
template <bool DEEP, int COLUMNS, typename T>
__device__ static inline void fragments_b(uint32_t (&b)[4], const T *tile, int n, int k)
{
    int lane = (int)threadIdx.x % 32;
    if (DEEP)
        dram_load_matrices(b, tile + packed<DEPTH / PACK>(n + lane % 8 + lane / 16 * 8, k / PACK + lane / 8 % 2));
    else
        dram_load_transposed(b, tile + packed<COLUMNS / PACK>(k + lane % 16, n / PACK + lane / 16));
}

/* Adds a step's products to c. */
template <typename T, typename S, bool A_DEEP, bool B_DEEP>
__device__ static inline void multiply_step(float (&c)[S::HIGH][S::WIDE][4], const T *a_tile, const T *b_tile)
{
    int warp = (int)threadIdx.x / 32, m0 = warp / S::ACROSS * S::HIGH * 16, n0 = warp % S::ACROSS * S::WIDE * 8;
    DRAM_UNROLL
    for (int k = 0; k < DEPTH; k += 16) {
        uint32_t a[S::HIGH][4], b[S::WIDE / 2][4];
        DRAM_UNROLL
        for (int i = 0; i < S::HIGH; i++) fragment_a<A_DEEP, S::ROWS>(a[i], a_tile, m0 + 16 * i, k);
        DRAM_UNROLL
        for (int i = 0; i < S::WIDE / 2; i++) fragments_b<B_DEEP, S::COLUMNS>(b[i], b_tile, n0 + 16 * i, k);
        DRAM_UNROLL
        for (int i = 0; i < S::HIGH; i++) DRAM_UNROLL
        for (int l = 0; l < S::WIDE; l++) {
            const uint32_t pair[2] = {b[l / 2][l % 2 * 2], b[l / 2][l % 2 * 2 + 1]};
            dram_mma<T>(c[i][l], a[i], pair);
        }
    }
}

/* The whole of a block's work. Job has A_DEEP and B_DEEP; begin<S>(m0, n0) for this block's tile, false if it has none;
 * steps(); fetch<S>(a, b, step); put(m, n, x, y) for c[m][n] and c[m][n + 1]. */
template <typename T, typename S, typename Job> __device__ static inline void run_tile(Job &job, T *shared)
{
    T *a = shared, *b = shared + STAGES * S::A;
    float c[S::HIGH][S::WIDE][4] = {};
    int steps = job.steps();
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < steps) job.template fetch<S>(a + s * S::A, b + s * S::B, s);
        dram_copy_commit();
    }
    for (int s = 0; s < steps; s++) {
        int ahead = s + STAGES - 1;
        dram_copy_wait<STAGES - 2>();
        __syncthreads();
        if (ahead < steps) job.template fetch<S>(a + ahead % STAGES * S::A, b + ahead % STAGES * S::B, ahead);
        dram_copy_commit();
        multiply_step<T, S, Job::A_DEEP, Job::B_DEEP>(c, a + s % STAGES * S::A, b + s % STAGES * S::B);
    }
    int warp = (int)threadIdx.x / 32, g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    int m0 = warp / S::ACROSS * S::HIGH * 16 + g, n0 = warp % S::ACROSS * S::WIDE * 8 + 2 * t;
    DRAM_UNROLL
    for (int i = 0; i < S::HIGH; i++) DRAM_UNROLL
    for (int l = 0; l < S::WIDE; l++) {
        job.put(m0 + 16 * i, n0 + 8 * l, c[i][l][0], c[i][l][1]);
        job.put(m0 + 16 * i + 8, n0 + 8 * l, c[i][l][2], c[i][l][3]);
    }
}

#endif
