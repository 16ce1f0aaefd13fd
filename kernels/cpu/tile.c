#include "kernels/cpu/tile.h"

#ifdef __FMA__
#include <immintrin.h>
#endif

/* A block of C in registers: ROWS x 16 sums, the vectors of a row of B and one element of A. 12 sums of 8 (AVX2) or 16
 * (AVX-512) hide the latency of two multiply-adds a cycle. Macros, for wide vectors cannot be passed to functions where
 * the processor may lack them. */
#ifdef __AVX512F__
enum { LANES = 16, ROWS = 12 };
#define MULTIPLY_ADD(a, b, c) ((vector)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define SPLAT(s) ((vector)_mm512_set1_ps(*(s)))
#elif defined(__FMA__)
enum { LANES = 8, ROWS = 6 };
#define MULTIPLY_ADD(a, b, c) ((vector)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define SPLAT(s) ((vector)_mm256_broadcast_ss(s))
#else
enum { LANES = 4, ROWS = 3 };
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define SPLAT(s) ((vector){*(s), *(s), *(s), *(s)})
#endif
typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
enum { PARTS = DRAM_TILE_VECTOR / LANES };
#define UNROLL _Pragma("GCC unroll 16")

/* Depth of a pass: 16 columns of B and of a block of A stay in L1. */
enum { DEPTH = 128 };

#define BLOCK(NAME, P)                                                                                                 \
    static void NAME(const dram_tile *t, const float *a, const float *b, float *c, int64_t depth, bool add)            \
    {                                                                                                                  \
        const int64_t a_row = t->a_row, a_column = t->a_column, ldb = t->ldb;                                          \
        vector sum[P][PARTS];                                                                                          \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < PARTS; v++) sum[i][v] = (vector){0};             \
        for (int64_t k = 0; k < depth; k++, a += a_column, b += ldb) {                                                 \
            vector w[PARTS];                                                                                           \
            UNROLL for (int v = 0; v < PARTS; v++) w[v] = *(const vector *)(b + LANES * v);                            \
            UNROLL for (int i = 0; i < P; i++)                                                                         \
            {                                                                                                          \
                vector e = SPLAT(a + i * a_row);                                                                       \
                UNROLL for (int v = 0; v < PARTS; v++) sum[i][v] = MULTIPLY_ADD(e, w[v], sum[i][v]);                   \
            }                                                                                                          \
        }                                                                                                              \
        vector alpha = SPLAT(&t->alpha);                                                                               \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < PARTS; v++)                                      \
        {                                                                                                              \
            vector *to = (vector *)(c + i * t->ldc + LANES * v);                                                       \
            *to = add ? *to + alpha * sum[i][v] : alpha * sum[i][v];                                                   \
        }                                                                                                              \
    }

BLOCK(block_full, ROWS)
BLOCK(block_three, 3)
BLOCK(block_one, 1)

void DRAM_CPU(tile_product)(const dram_tile *t)
{
    for (int64_t k = 0; k < t->k; k += DEPTH) {
        int64_t depth = dram_min(DEPTH, t->k - k);
        bool add = t->add || k > 0;
        for (int64_t n = 0; n < t->n; n += DRAM_TILE_VECTOR) {
            const float *a = t->a + k * t->a_column, *b = t->b + k * t->ldb + n;
            float *c = t->c + n;
            int64_t m = 0;
            for (; m + ROWS <= t->m; m += ROWS) block_full(t, a + m * t->a_row, b, c + m * t->ldc, depth, add);
            for (; m + 3 <= t->m; m += 3) block_three(t, a + m * t->a_row, b, c + m * t->ldc, depth, add);
            for (; m < t->m; m++) block_one(t, a + m * t->a_row, b, c + m * t->ldc, depth, add);
        }
    }
}
