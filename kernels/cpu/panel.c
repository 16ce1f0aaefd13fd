#include "kernels/cpu/panel.h"

#ifdef __FMA__
#include <immintrin.h>
#endif

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

/* Macros, for vectors of 32 bytes cannot be passed to functions without AVX. */
#ifdef __FMA__
#define MULTIPLY_ADD(a, b, c) ((v8)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define SPLAT(s) ((v8)_mm256_broadcast_ss(s))
#else
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#define SPLAT(s) ((v8){*(s), *(s), *(s), *(s), *(s), *(s), *(s), *(s)})
#endif
#define UNROLL _Pragma("GCC unroll 8")

/* P rows by V vectors of C in registers: P V sums, V vectors of B and one element of A fit the 16 of AVX2; 8 sums or
 * more hide the latency of the multiply-add. Rows are reached from every third one, as the processor's addresses can
 * add the step once or twice. */
#define BLOCK(NAME, P, V, STEP)                                                                                        \
    static void NAME(const dram_panel *p, const float *a, const float *b, const float *first, int64_t first_step,      \
                     float *c, int64_t c_step)                                                                         \
    {                                                                                                                  \
        const int64_t step = STEP;                                                                                     \
        v8 sum[P][V];                                                                                                  \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < V; v++) sum[i][v] =                              \
            first ? *(const v8 *)(first + i * first_step + 8 * v) : (v8){0};                                           \
        for (int64_t s = 0; s < p->segments; s++, a += p->segment_step) {                                              \
            const float *row[3] = {a, a + 3 * step, a + 6 * step};                                                     \
            for (int64_t k = p->run; k > 0; k--, b += 8 * V) {                                                         \
                v8 w[V];                                                                                               \
                UNROLL for (int v = 0; v < V; v++) w[v] = *(const v8 *)(b + 8 * v);                                    \
                UNROLL for (int i = 0; i < P; i++)                                                                     \
                {                                                                                                      \
                    v8 e = SPLAT(row[i / 3] + i % 3 * step);                                                           \
                    UNROLL for (int v = 0; v < V; v++) sum[i][v] = MULTIPLY_ADD(e, w[v], sum[i][v]);                   \
                }                                                                                                      \
                UNROLL for (int i = 0; i < 3; i++) row[i]++;                                                           \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < V; v++) * (v8 *)(c + i * c_step + 8 * v) =       \
            sum[i][v];                                                                                                 \
    }

BLOCK(block_8x1, 8, 1, p->a_step)
BLOCK(block_4x1, 4, 1, p->a_step)
BLOCK(block_2x1, 2, 1, p->a_step)
BLOCK(block_1x1, 1, 1, p->a_step)
BLOCK(block_6x2, 6, 2, p->a_step)
BLOCK(block_4x2, 4, 2, p->a_step)
BLOCK(block_2x2, 2, 2, p->a_step)
BLOCK(block_1x2, 1, 2, p->a_step)
BLOCK(block_4x3, 4, 3, p->a_step)
BLOCK(block_2x3, 2, 3, p->a_step)
BLOCK(block_1x3, 1, 3, p->a_step)
BLOCK(block_8x1_by_8, 8, 1, 8)   /* groups of 8, stride 1 */
BLOCK(block_8x1_by_16, 8, 1, 16) /* stride 2 */

typedef void (*block)(const dram_panel *p, const float *a, const float *b, const float *first, int64_t first_step,
                      float *c, int64_t c_step);

/* For each width the blocks that fit, largest first. */
static const struct {
    int rows;
    block run;
} blocks[4][4] = {{{0, NULL}},
                  {{8, block_8x1}, {4, block_4x1}, {2, block_2x1}, {1, block_1x1}},
                  {{6, block_6x2}, {4, block_4x2}, {2, block_2x2}, {1, block_1x2}},
                  {{4, block_4x3}, {4, block_4x3}, {2, block_2x3}, {1, block_1x3}}};

/* How many of `vectors` the next panel takes: 3, and 2 where that avoids a panel of one. */
static inline int panel_width(int64_t vectors)
{
    return vectors >= 5 || vectors == 3 ? 3 : vectors >= 2 ? 2 : 1;
}

/* A block of which only n < 8 V columns exist, or which has both bias and acc: through a copy. */
static void ragged_block(const dram_panel *p, block run, int rows, int64_t n, int64_t r, int64_t n0, const float *b)
{
    float first[8 * 24] = {0}, c[8 * 24];
    for (int i = 0; i < rows; i++)
        for (int64_t j = 0; j < n; j++)
            first[i * 24 + j] =
                (p->bias ? p->bias[n0 + j] : 0.0f) + (p->acc ? p->acc[(r + i) * p->ldc + n0 + j] : 0.0f);
    run(p, p->a + r * p->a_step, b, first, 24, c, 24);
    for (int i = 0; i < rows; i++) memcpy(p->c + (r + i) * p->ldc + n0, c + 24 * i, (size_t)n * sizeof *c);
}

void DRAM_CPU(panel)(const dram_panel *p)
{
    const float *b = p->b;
    int64_t k = p->segments * p->run;
    for (int64_t n0 = 0, vectors = dram_ceil_div(p->n, 8); vectors > 0;) {
        int width = panel_width(vectors);
        int64_t n = dram_min(8 * width, p->n - n0);
        bool ragged = n < 8 * width || (p->bias && p->acc);
        for (int64_t r = 0; r < p->m;) {
            int size = 0;
            while (blocks[width][size].rows > p->m - r) size++;
            int rows = blocks[width][size].rows;
            block run = blocks[width][size].run;
            if (rows == 8 && p->a_step == 8) run = block_8x1_by_8;
            if (rows == 8 && p->a_step == 16) run = block_8x1_by_16;
            if (ragged)
                ragged_block(p, run, rows, n, r, n0, b);
            else if (p->acc)
                run(p, p->a + r * p->a_step, b, p->acc + r * p->ldc + n0, p->ldc, p->c + r * p->ldc + n0, p->ldc);
            else
                run(p, p->a + r * p->a_step, b, p->bias ? p->bias + n0 : NULL, 0, p->c + r * p->ldc + n0, p->ldc);
            r += rows;
        }
        b += 8 * width * k;
        n0 += 8 * width;
        vectors -= width;
    }
}

void DRAM_CPU(panel_pack)(const dram_panel_source *from, float *b)
{
    for (int64_t n0 = 0, vectors = dram_ceil_div(from->n, 8); vectors > 0;) {
        int width = panel_width(vectors);
        int64_t n = dram_min(8 * width, from->n - n0);
        for (int64_t s = 0; s < from->segments; s++)
            for (int64_t t = 0; t < from->columns; t++) {
                const float *w = from->w + s * from->seg_step + t * from->col_step + n0 * from->n_step;
                for (int64_t i = 0; i < from->channels; i++, b += 8 * width, w += from->chan_step) {
                    for (int64_t j = 0; j < n; j++) b[j] = w[j * from->n_step];
                    for (int64_t j = n; j < 8 * width; j++) b[j] = 0.0f;
                }
            }
        n0 += 8 * width;
        vectors -= width;
    }
}

/* ---- outer products ---- */

#define OUTER(NAME, P, V)                                                                                              \
    static void NAME(const dram_outer *p, const float *x, const float *dy, float *d)                                   \
    {                                                                                                                  \
        v8 sum[P][V];                                                                                                  \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < V; v++) sum[i][v] = (v8){0};                     \
        for (int64_t r = 0; r < p->rows; r++) {                                                                        \
            const float *xr = x + r * p->x_row, *dr = dy + r * p->dy_row;                                              \
            for (int64_t j = 0; j < p->m; j++, xr += p->x_step, dr += p->dy_step) {                                    \
                v8 w[V];                                                                                               \
                UNROLL for (int v = 0; v < V; v++) w[v] = *(const v8 *)(xr + 8 * v);                                   \
                UNROLL for (int i = 0; i < P; i++)                                                                     \
                {                                                                                                      \
                    v8 e = SPLAT(dr + i);                                                                              \
                    UNROLL for (int v = 0; v < V; v++) sum[i][v] = MULTIPLY_ADD(e, w[v], sum[i][v]);                   \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int i = 0; i < P; i++) UNROLL for (int v = 0; v < V; v++) * (v8 *)(d + i * p->ldd + 8 * v) +=      \
            sum[i][v];                                                                                                 \
    }

OUTER(outer_8x1, 8, 1)
OUTER(outer_4x2, 4, 2)
OUTER(outer_4x3, 4, 3)
OUTER(outer_1x1, 1, 1)
OUTER(outer_1x2, 1, 2)
OUTER(outer_1x3, 1, 3)

void DRAM_CPU(outer)(const dram_outer *p)
{
    typedef void (*outer)(const dram_outer *, const float *, const float *, float *);
    static const int outputs[4] = {0, 8, 4, 4};
    static const outer full[4] = {NULL, outer_8x1, outer_4x2, outer_4x3},
                       one[4] = {NULL, outer_1x1, outer_1x2, outer_1x3};
    for (int64_t v = 0, vectors = p->vectors; vectors > 0;) {
        int width = panel_width(vectors);
        for (int64_t o = 0; o < p->o;) {
            bool fits = o + outputs[width] <= p->o;
            (fits ? full : one)[width](p, p->x + 8 * v, p->dy + o, p->d + o * p->ldd + 8 * v);
            o += fits ? outputs[width] : 1;
        }
        v += width;
        vectors -= width;
    }
}
