/* Products of bf16 and f16 through fp32. Limits: 2 M N K FLOPs at the speed of the fp32 product; bytes 2 (M K + K N + M
 * N) from memory. Widening costs a pass over A for each block of columns and over B for each block of rows: with blocks
 * of about 300 that is 1/150 of the multiply-adds, and it stays within the second-level cache. */
#include "kernels/cpu/gemm_low.h"

#include "kernels/cpu/lowp.h"

/* The blocks of a product, in scratch: those of operands that are f32 already are not copied. */
typedef struct {
    const dram_gemm *g;
    int64_t mb, nb, kb;
    float *a, *b, *c;
} blocks;

static int64_t half_of(int64_t size)
{
    enum { STEP = 16 };
    int64_t half = dram_ceil_div(size, 2);
    return half > STEP ? dram_ceil_div(half, STEP) * STEP : half;
}

static blocks cut(const dram_gemm *g)
{
    int64_t room = g->scratch_bytes / (int64_t)sizeof(float);
    bool low_a = g->a_type != DRAM_F32, low_b = g->b_type != DRAM_F32, low_c = g->c_type != DRAM_F32;
    blocks s = {.g = g, .mb = g->m, .nb = g->n, .kb = g->k};
    while (low_a * s.mb * s.kb + low_b * s.kb * s.nb + low_c * s.mb * s.nb > room) {
        int64_t *largest = s.mb > s.nb ? &s.mb : &s.nb;
        if (s.kb > *largest) largest = &s.kb;
        *largest = half_of(*largest);
    }
    s.a = g->scratch;
    s.b = s.a + low_a * s.mb * s.kb;
    s.c = s.b + low_b * s.kb * s.nb;
    return s;
}

/* Rows of a stored matrix, widened; a step of `step` floats from row to row of `to`. */
static void widen(const void *from, dram_dtype type, int64_t at, int64_t ld, int64_t rows, int64_t columns, float *to)
{
    for (int64_t r = 0; r < rows; r++) dram_lowp_widen(from, type, at + r * ld, columns, to + r * columns);
}

/* A (or B) as the fp32 product reads it: block [rows, columns] of the stored matrix, from element `at` on. */
static const void *operand(const void *from, dram_dtype type, int64_t at, int64_t *ld, int64_t rows, int64_t columns,
                           float *room, bool fresh)
{
    if (type == DRAM_F32) return (const float *)from + at;
    if (fresh) widen(from, type, at, *ld, rows, columns, room);
    *ld = columns;
    return room;
}

static void one_block(const blocks *s, int64_t m0, int64_t n0, int64_t k0)
{
    const dram_gemm *g = s->g;
    int64_t at = m0 * g->ldc + n0;
    dram_gemm p = *g;
    p.m = dram_min(s->mb, g->m - m0);
    p.n = dram_min(s->nb, g->n - n0);
    p.k = dram_min(s->kb, g->k - k0);
    p.a_type = p.b_type = p.c_type = DRAM_F32;
    /* Blocks come in the order n, m, k: with all of K in one, that of B serves all m; one that is all of A serves all
     * n. */
    bool new_a = s->kb < g->k || s->mb < g->m || n0 == 0, new_b = s->kb < g->k || m0 == 0;
    int64_t a_at = g->trans_a ? k0 * g->lda + m0 : m0 * g->lda + k0;
    int64_t b_at = g->trans_b ? n0 * g->ldb + k0 : k0 * g->ldb + n0;
    p.a = operand(g->a, g->a_type, a_at, &p.lda, g->trans_a ? p.k : p.m, g->trans_a ? p.m : p.k, s->a, new_a);
    p.b = operand(g->b, g->b_type, b_at, &p.ldb, g->trans_b ? p.n : p.k, g->trans_b ? p.k : p.n, s->b, new_b);
    p.bias = g->bias ? g->bias + n0 : NULL;
    p.acc = g->acc ? dram_gemm_at(g->acc, g->c_type, at) : NULL;
    p.c = g->c_type == DRAM_F32 ? (float *)g->c + at : s->c;
    if (k0 > 0) {
        p.bias = p.acc = NULL;
        p.beta = 1.0f;
    }
    if (g->c_type == DRAM_F32) {
        DRAM_CPU(gemm_one)(&p);
        return;
    }
    p.ldc = p.n;
    if (p.acc) {
        widen(g->acc, g->c_type, at, g->ldc, p.m, p.n, s->c);
        p.acc = s->c;
    } else if (k0 == 0 && p.beta != 0.0f) {
        widen(g->c, g->c_type, at, g->ldc, p.m, p.n, s->c);
    }
    DRAM_CPU(gemm_one)(&p);
    if (k0 + p.k < g->k) return;
    for (int64_t r = 0; r < p.m; r++) dram_lowp_narrow(g->c, g->c_type, at + r * g->ldc, s->c + r * p.n, p.n);
}

void DRAM_CPU(gemm_widened)(const dram_gemm *g)
{
    blocks s = cut(g);
    for (int64_t n0 = 0; n0 < g->n; n0 += s.nb)
        for (int64_t m0 = 0; m0 < g->m; m0 += s.mb)
            for (int64_t k0 = 0; k0 < g->k; k0 += s.kb) one_block(&s, m0, n0, k0);
}
