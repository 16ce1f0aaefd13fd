/* Products of bf16 by the processor's own products of bf16 pairs: AMX tiles, or vectors of AVX512-BF16.
 *
 * A block of B is packed in panels of 16 columns, two rows of K beside each other in each word; A is read where it
 * lies, 32 rows at a time, or packed where it is transposed or ragged. What is packed is filled up with zeros to whole
 * blocks of 32 x 32 by 32, so there is one inner loop. Sums stay fp32 in scratch until all of K is in them.
 *
 * Limits: 2 M N K FLOPs, of which a core does 2048 a cycle with AMX and 128 or 64 with AVX512-BF16; bytes
 * 2 (M K + K N + M N). AMX reads a block of A and one of B (2 KiB each) for 64 cycles of products: A's 32 rows stay in
 * the first-level cache while B's block passes from the second.
 */
#include "kernels/cpu/gemm_low.h"

#include "kernels/cpu/dot.h"
#include "kernels/cpu/lowp.h"

#if defined(DRAM_DOT_AMX) || defined(DRAM_DOT_AVX512)

enum { BLOCK = 32, PANEL = 16, LONG_K = 512, WIDE = 256, BF16 = sizeof(uint16_t), FP32 = sizeof(float) };

typedef struct {
    const dram_gemm *g;
    int64_t mb, nb, kb; /* multiples of BLOCK */
    int64_t a_step;     /* from row to row of packed A: an odd number of cache lines */
    float *sums;        /* [mb,nb], or [BLOCK,nb] when all of K is in one block */
    uint16_t *a;        /* [BLOCK,a_step] */
    uint32_t *b;        /* [nb / PANEL,kb / 2,PANEL] pairs */
} dot_plan;

static int64_t whole(int64_t size)
{
    return dram_ceil_div(size, BLOCK) * BLOCK;
}

static int64_t a_bytes(int64_t kb)
{
    return BLOCK * (kb / BLOCK | 1) * BLOCK * BF16;
}

/* Rows of sums that fit beside A and B. */
static int64_t rows_that_fit(int64_t room, int64_t kb, int64_t nb)
{
    return (room - a_bytes(kb) - kb * nb * BF16) / (nb * FP32) / BLOCK * BLOCK;
}

static dot_plan plan_of(const dram_gemm *g)
{
    int64_t room = g->scratch_bytes;
    dot_plan p = {.g = g, .kb = whole(dram_ceil_div(g->k, dram_ceil_div(g->k, LONG_K)))};
    while (p.kb > BLOCK && a_bytes(p.kb) > room / 4) p.kb = whole(p.kb / 2);
    bool one_pass = p.kb >= g->k;
    p.nb = whole(one_pass ? g->n : dram_min(g->n, WIDE));
    while (p.nb > BLOCK && (p.nb * p.kb * BF16 > room / 2 || rows_that_fit(room, p.kb, p.nb) < BLOCK))
        p.nb = whole(p.nb / 2);
    p.mb = one_pass ? whole(g->m) : dram_min(whole(g->m), rows_that_fit(room, p.kb, p.nb));
    p.a_step = a_bytes(p.kb) / (BLOCK * BF16);
    p.b = g->scratch;
    p.sums = (float *)(void *)(p.b + p.kb / 2 * p.nb);
    p.a = (uint16_t *)(void *)(p.sums + (one_pass ? BLOCK : p.mb) * p.nb);
    return p;
}

/* ---- packing ---- */

static inline uint32_t pair_at(const uint16_t *from)
{
    uint32_t pair; /* little endian: the first is the low half */
    memcpy(&pair, from, sizeof pair);
    return pair;
}

static inline uint32_t pair_of(uint16_t first, uint16_t second)
{
    return (uint32_t)first | (uint32_t)second << 16;
}

/* Rows k and k + 1 of a matrix side by side: `count` pairs, `step` words apart. second: NULL for zeros. */
static void join_rows(const uint16_t *first, const uint16_t *second, int64_t count, uint32_t *to, int64_t step)
{
    if (!second)
        for (int64_t i = 0; i < count; i++) to[i * step] = first[i];
    else if (step == 1)
        for (int64_t i = 0; i < count; i++) to[i] = pair_of(first[i], second[i]);
    else
        for (int64_t i = 0; i < count; i++) to[i * step] = pair_of(first[i], second[i]);
}

/* n <= PANEL columns and k rows of B. */
static void pack_panel(const dram_gemm *g, int64_t k0, int64_t n0, int64_t k, int64_t n, int64_t kb, uint32_t *to)
{
    const uint16_t *b = g->b;
    if (n < PANEL || k < kb) memset(to, 0, (size_t)(kb / 2 * PANEL) * sizeof *to);
    if (g->trans_b) {
        for (int64_t j = 0; j < n; j++) {
            const uint16_t *from = b + (n0 + j) * g->ldb + k0;
            for (int64_t i = 0; i < k / 2; i++) to[i * PANEL + j] = pair_at(from + 2 * i);
            if (k % 2) to[k / 2 * PANEL + j] = from[k - 1];
        }
        return;
    }
    for (int64_t i = 0; i < k; i += 2) {
        const uint16_t *from = b + (k0 + i) * g->ldb + n0;
        join_rows(from, i + 1 < k ? from + g->ldb : NULL, n, to + i / 2 * PANEL, 1);
    }
}

static void pack_b(const dot_plan *p, int64_t k0, int64_t n0, int64_t k, int64_t n)
{
    for (int64_t j = 0; j < whole(n); j += PANEL) {
        uint32_t *to = p->b + p->kb / 2 * j;
        if (j < n)
            pack_panel(p->g, k0, n0 + j, k, dram_min(PANEL, n - j), p->kb, to);
        else
            memset(to, 0, (size_t)(p->kb / 2 * PANEL) * sizeof *to);
    }
}

/* BLOCK rows of A from m0 on, of which m exist, and k of its columns: where they lie if they can be read there, else
 * packed. */
static const uint16_t *rows_of_a(const dot_plan *p, int64_t m0, int64_t k0, int64_t m, int64_t k, int64_t *step)
{
    const dram_gemm *g = p->g;
    const uint16_t *a = g->a;
    *step = g->lda;
    if (!g->trans_a && m == BLOCK && k % BLOCK == 0) return a + m0 * g->lda + k0;
    *step = p->a_step;
    if (m < BLOCK || k % BLOCK) memset(p->a, 0, (size_t)(BLOCK * p->a_step) * sizeof *p->a);
    if (!g->trans_a)
        for (int64_t i = 0; i < m; i++) memcpy(p->a + i * p->a_step, a + (m0 + i) * g->lda + k0, (size_t)k * sizeof *a);
    else
        for (int64_t i = 0; i < k; i += 2) {
            const uint16_t *from = a + (k0 + i) * g->lda + m0;
            join_rows(from, i + 1 < k ? from + g->lda : NULL, m, (uint32_t *)(void *)p->a + i / 2, p->a_step / 2);
        }
    return p->a;
}

/* ---- the product of BLOCK rows and BLOCK columns: k a multiple of BLOCK; b two panels ---- */

#if defined(DRAM_DOT_AMX)

/* Tiles 0 to 3 are sums, 4 and 5 of A, 6 and 7 of B. */
static void multiply_block(const uint16_t *a, int64_t a_step, const uint32_t *b, int64_t panel, int64_t k, float *c,
                           int64_t c_step, bool add)
{
    const size_t a_row = (size_t)a_step * BF16, b_row = PANEL * sizeof *b, c_row = (size_t)c_step * FP32;
    float *low = c + PANEL * c_step;
    dot_tile_fence();
    if (add) {
        dot_tile_load(0, c, c_row);
        dot_tile_load(1, c + PANEL, c_row);
        dot_tile_load(2, low, c_row);
        dot_tile_load(3, low + PANEL, c_row);
    } else {
        dot_tile_zero(0);
        dot_tile_zero(1);
        dot_tile_zero(2);
        dot_tile_zero(3);
    }
    for (int64_t i = 0; i < k; i += BLOCK, a += BLOCK, b += BLOCK / 2 * PANEL) {
        dot_tile_load(4, a, a_row);
        dot_tile_load(6, b, b_row);
        dot_tile_multiply(0, 4, 6);
        dot_tile_load(7, b + panel, b_row);
        dot_tile_multiply(1, 4, 7);
        dot_tile_load(5, a + PANEL * a_step, a_row);
        dot_tile_multiply(2, 5, 6);
        dot_tile_multiply(3, 5, 7);
    }
    dot_tile_store(0, c, c_row);
    dot_tile_store(1, c + PANEL, c_row);
    dot_tile_store(2, low, c_row);
    dot_tile_store(3, low + PANEL, c_row);
}

#else

#define dot_tile_begin() ((void)0)
#define dot_tile_end() ((void)0)

/* ROWS rows in registers: 16 sums hide the latency of a product, and each pair of vectors of B serves 8 rows. */
static void multiply_block(const uint16_t *a, int64_t a_step, const uint32_t *b, int64_t panel, int64_t k, float *c,
                           int64_t c_step, bool add)
{
    enum { ROWS = 8 };
    for (int r = 0; r < BLOCK; r += ROWS, a += ROWS * a_step, c += ROWS * c_step) {
        dot_sums sum[ROWS][2];
        _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)
        {
            sum[i][0] = add ? dot_load(c + i * c_step) : dot_zero();
            sum[i][1] = add ? dot_load(c + i * c_step + PANEL) : dot_zero();
        }
        for (int64_t j = 0; j < k / 2; j++) {
            dot_pairs left = dot_load_pairs(b + j * PANEL), right = dot_load_pairs(b + panel + j * PANEL);
            _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)
            {
                uint32_t pair = pair_at(a + i * a_step + 2 * j);
                sum[i][0] = dot_multiply(sum[i][0], pair, left);
                sum[i][1] = dot_multiply(sum[i][1], pair, right);
            }
        }
        _Pragma("GCC unroll 8") for (int i = 0; i < ROWS; i++)
        {
            dot_store(c + i * c_step, sum[i][0]);
            dot_store(c + i * c_step + PANEL, sum[i][1]);
        }
    }
}

#endif

/* ---- the product ---- */

/* n finished sums, which are changed, to row m of C from column n0 on. */
static void finish_row(const dram_gemm *g, float *sum, int64_t m, int64_t n0, int64_t n)
{
    enum { RUN = 256 };
    float room[RUN];
    int64_t at = m * g->ldc + n0;
    const void *added = g->acc ? g->acc : g->beta != 0.0f ? g->c : NULL;
    float weight = g->acc ? 1.0f : g->beta;
    if (g->alpha != 1.0f)
        for (int64_t i = 0; i < n; i++) sum[i] *= g->alpha;
    if (g->bias)
        for (int64_t i = 0; i < n; i++) sum[i] += g->bias[n0 + i];
    for (int64_t i = 0; added && i < n; i += RUN) {
        int64_t run = dram_min(RUN, n - i);
        const float *there = dram_lowp_load(added, g->c_type, at + i, run, room);
        for (int64_t j = 0; j < run; j++) sum[i + j] += weight * there[j];
    }
    dram_lowp_narrow(g->c, g->c_type, at, sum, n);
}

/* One block of K of m rows from m0 on, whose sums begin at `sums`. */
static void multiply_rows(const dot_plan *p, int64_t m0, int64_t n0, int64_t k0, int64_t m, int64_t n, float *sums)
{
    const dram_gemm *g = p->g;
    int64_t k = dram_min(p->kb, g->k - k0), step, panel = p->kb / 2 * PANEL;
    const uint16_t *a = rows_of_a(p, m0, k0, m, k, &step);
    for (int64_t j = 0; j < n; j += BLOCK)
        multiply_block(a, step, p->b + p->kb / 2 * j, panel, whole(k), sums + j, p->nb, k0 > 0);
    for (int64_t r = 0; k0 + k == g->k && r < m; r++) finish_row(g, sums + r * p->nb, m0 + r, n0, n);
}

bool DRAM_CPU(gemm_dot)(const dram_gemm *g)
{
    if (!dram_gemm_is_dot(g)) return false;
    dot_plan p = plan_of(g);
    dot_tile_begin();
    for (int64_t n0 = 0; n0 < g->n; n0 += p.nb)
        for (int64_t mb = 0; mb < g->m; mb += p.mb)
            for (int64_t k0 = 0; k0 < g->k; k0 += p.kb) {
                int64_t n = dram_min(p.nb, g->n - n0), end = dram_min(mb + p.mb, g->m);
                pack_b(&p, k0, n0, dram_min(p.kb, g->k - k0), n);
                for (int64_t m0 = mb; m0 < end; m0 += BLOCK) {
                    float *sums = p.kb < g->k ? p.sums + (m0 - mb) * p.nb : p.sums;
                    multiply_rows(&p, m0, n0, k0, dram_min(BLOCK, end - m0), n, sums);
                }
            }
    dot_tile_end();
    return true;
}

#else

bool DRAM_CPU(gemm_dot)(const dram_gemm *g)
{
    (void)g;
    return false;
}

#endif
