/* dot_cases: what a gemm_dot must give, for whichever instructions it is built on. A test program defines DRAM_DOT_AMX
 * or DRAM_DOT_AVX512 and REAL_DOT, the kernels' own function, and includes this. */
#ifndef TESTS_DEVICE_DOT_CASES_H
#define TESTS_DEVICE_DOT_CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>
#include <cmocka.h>

#include "device/dot_emulation.h"

#define DRAM_CPU_VARIANT emulated
#include "kernels/cpu/gemm_dot.c"

#include "base/rng.h"
#include "device/cpu_kernels.h"

void dram_cpu_base_gemm_widened(const dram_gemm *g);
#ifdef DRAM_CPU_X86
bool REAL_DOT(const dram_gemm *g);
#endif

typedef bool (*dot_product)(const dram_gemm *g);

static bool widened(const dram_gemm *g)
{
    dram_cpu_base_gemm_widened(g);
    return true;
}

typedef struct {
    int64_t m, n, k;
    bool trans_a, trans_b, bias, acc, apart; /* apart: acc is not C */
    float alpha, beta;
    dram_dtype c_type;
    int64_t scratch;
} dot_case;

/* The operands of a case. Stored rows are a little longer than they need be; what is between them must not be used. */
typedef struct {
    dram_gemm g;
    uint16_t *a, *b;
    float *bias;
    void *c, *acc;
    double *want, *size; /* the exact result, and the sum of the absolute values in it */
    int64_t c_elements;
} dot_data;

enum { GAP = 3, CANARY = 64 };

static void *need(int64_t bytes)
{
    void *p = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    if (!p) abort();
    return p;
}

static float c_value(dram_dtype type, const void *from, int64_t i)
{
    float x;
    dram_lowp_widen(from, type, i, 1, &x);
    return x;
}

/* Rows of numbers of about 1 with a gap of NaN behind each; exactly as long as it is used. */
static uint16_t *random_rows(dram_rng *rng, int64_t rows, int64_t columns)
{
    int64_t ld = columns + GAP, n = (rows - 1) * ld + columns;
    uint16_t *x = malloc((size_t)n * sizeof *x);
    if (!x) abort();
    for (int64_t i = 0; i < n; i++)
        x[i] = i % ld < columns ? dram_f32_to_bf16((float)dram_rng_range(rng, -1, 1)) : 0x7fc0;
    return x;
}

static void *random_c(dram_rng *rng, dram_dtype type, int64_t n)
{
    void *c = need(n * 4);
    for (int64_t i = 0; i < n; i++) {
        float x = (float)dram_rng_range(rng, -1, 1);
        dram_lowp_narrow(c, type, i, &x, 1);
    }
    return c;
}

static void expect(dot_data *d)
{
    const dram_gemm *g = &d->g;
    for (int64_t m = 0; m < g->m; m++)
        for (int64_t n = 0; n < g->n; n++) {
            double sum = 0, size = 0;
            for (int64_t k = 0; k < g->k; k++) {
                double p = (double)dram_bf16_to_f32(d->a[g->trans_a ? k * g->lda + m : m * g->lda + k]) *
                           (double)dram_bf16_to_f32(d->b[g->trans_b ? n * g->ldb + k : k * g->ldb + n]);
                sum += g->alpha * p;
                size += fabs(g->alpha * p);
            }
            double there = 0;
            if (g->acc) there = c_value(g->c_type, g->acc, m * g->ldc + n);
            if (g->beta != 0) there = g->beta * c_value(g->c_type, g->c, m * g->ldc + n);
            if (g->bias) sum += g->bias[n];
            d->want[m * g->n + n] = sum + there;
            d->size[m * g->n + n] = size + fabs(there) + (g->bias ? fabs(g->bias[n]) : 0);
        }
}

static dot_data make(const dot_case *c)
{
    dot_data d = {0};
    dram_rng rng = dram_rng_make(1, DRAM_RNG_TEST, (uint64_t)(c->m * 1000003 + c->n * 1009 + c->k));
    dram_gemm *g = &d.g;
    *g = (dram_gemm){.trans_a = c->trans_a,
                     .trans_b = c->trans_b,
                     .m = c->m,
                     .n = c->n,
                     .k = c->k,
                     .alpha = c->alpha,
                     .beta = c->beta,
                     .lda = (c->trans_a ? c->m : c->k) + GAP,
                     .ldb = (c->trans_b ? c->k : c->n) + GAP,
                     .ldc = c->n + GAP,
                     .a_type = DRAM_BF16,
                     .b_type = DRAM_BF16,
                     .c_type = c->c_type,
                     .scratch_bytes = c->scratch};
    g->a = d.a = c->trans_a ? random_rows(&rng, c->k, c->m) : random_rows(&rng, c->m, c->k);
    g->b = d.b = c->trans_b ? random_rows(&rng, c->n, c->k) : random_rows(&rng, c->k, c->n);
    d.c_elements = c->m * g->ldc;
    g->c = d.c = random_c(&rng, c->c_type, d.c_elements);
    d.acc = random_c(&rng, c->c_type, d.c_elements);
    g->acc = !c->acc ? NULL : c->apart ? d.acc : d.c;
    d.bias = need(c->n * (int64_t)sizeof *d.bias);
    for (int64_t i = 0; i < c->n; i++) d.bias[i] = (float)dram_rng_range(&rng, -1, 1);
    g->bias = c->bias ? d.bias : NULL;
    d.want = need(c->m * c->n * (int64_t)sizeof(double));
    d.size = need(c->m * c->n * (int64_t)sizeof(double));
    expect(&d);
    return d;
}

static void drop(dot_data *d)
{
    free(d->a);
    free(d->b);
    free(d->bias);
    free(d->c);
    free(d->acc);
    free(d->want);
    free(d->size);
}

/* The bound of gemm_low.h for one result: K + 2 roundings to fp32 of sums no larger than `size`, and what the
 * instructions take for zero; then the rounding to C's type (half a unit of 8 or 11 bits). */
static double allowed(const dot_data *d, int64_t i)
{
    static const double unit[] = {[DRAM_F32] = 0, [DRAM_BF16] = 0x1p-8, [DRAM_F16] = 0x1p-11};
    double k = (double)d->g.k + 2, sum = k * (0x1p-24 * d->size[i] + 0x1p-126);
    double half = d->g.c_type == DRAM_F16 ? 0x1p-25 : 0;
    return sum + unit[d->g.c_type] * (fabs(d->want[i]) + sum) + half;
}

/* Runs a product in guarded scratch and gives C, apart from the case's own. */
static void *run(const dot_data *d, dot_product product)
{
    dram_gemm g = d->g;
    int64_t bytes = d->c_elements * 4;
    unsigned char *scratch = need(g.scratch_bytes + CANARY);
    memset(scratch, 0xff, (size_t)(g.scratch_bytes + CANARY));
    g.scratch = scratch;
    g.c = need(bytes);
    memcpy(g.c, d->c, (size_t)bytes);
    if (g.acc == d->c) g.acc = g.c;
    assert_true(product(&g));
    for (int i = 0; i < CANARY; i++) assert_int_equal(scratch[g.scratch_bytes + i], 0xff);
    for (int64_t i = 0; i < d->c_elements; i++)
        if (i % g.ldc >= g.n) assert_true(c_value(g.c_type, g.c, i) == c_value(g.c_type, d->c, i));
    free(scratch);
    return g.c;
}

/* How many elements are further from `want` than allowed, times `share`. */
static int64_t wrong(const dot_data *d, const void *c, const double *want, double share)
{
    int64_t bad = 0;
    for (int64_t i = 0; i < d->g.m * d->g.n; i++) {
        double got = c_value(d->g.c_type, c, i / d->g.n * d->g.ldc + i % d->g.n);
        bad += !(fabs(got - want[i]) <= share * allowed(d, i));
    }
    return bad;
}

static void check(const dot_case *c, dot_product product)
{
    dot_data d = make(c);
    void *got = run(&d, product), *portable = run(&d, widened);
    int64_t n = c->m * c->n;
    if (wrong(&d, got, d.want, 1) || wrong(&d, portable, d.want, 1))
        fail_msg("%lld x %lld x %lld, scratch %lld: %lld elements are wrong, %lld of the portable product",
                 (long long)c->m, (long long)c->n, (long long)c->k, (long long)c->scratch,
                 (long long)wrong(&d, got, d.want, 1), (long long)wrong(&d, portable, d.want, 1));
    /* The two, which is what is promised; and the check sees a result that lacks its last term. */
    double *other = need(n * (int64_t)sizeof(double));
    for (int64_t i = 0; i < n; i++) other[i] = c_value(c->c_type, portable, i / c->n * d.g.ldc + i % c->n);
    assert_int_equal(wrong(&d, got, other, 2), 0);
    d.a[c->trans_a ? (c->k - 1) * d.g.lda : c->k - 1] = dram_f32_to_bf16(4);
    expect(&d);
    assert_int_not_equal(wrong(&d, got, d.want, 1), 0);
    free(other);
    free(got);
    free(portable);
    drop(&d);
}

static void check_all(dot_product product)
{
    static const int64_t sides[] = {1, 2, 15, 16, 17, 31, 32, 33, 65, 100};
    static const int64_t depths[] = {1, 2, 3, 31, 32, 33, 64, 100, 511, 513, 1100};
    static const int64_t scratches[] = {DRAM_GEMM_SCRATCH, 24 << 10, 100000 / 64 * 64, DRAM_GEMM_SCRATCH_BEST};
    enum { SIDES = sizeof sides / sizeof *sides, DEPTHS = sizeof depths / sizeof *depths, RUNS = 160 };
    for (int64_t i = 0; i < RUNS; i++) {
        dot_case c = {.m = sides[i % SIDES],
                      .n = sides[i * 7 % SIDES + (i / SIDES % 2 && i * 7 % SIDES < SIDES - 1)],
                      .k = depths[i * 3 % DEPTHS],
                      .trans_a = i / 2 % 2,
                      .trans_b = i / 3 % 2,
                      .bias = i % 5 < 2,
                      .acc = i % 4 == 1,
                      .apart = i % 8 == 1,
                      .alpha = i % 7 == 0 ? 0.5f : 1.0f,
                      .beta = i % 4 == 3 && i % 5 >= 2 ? 0.75f : 0.0f,
                      .c_type = i % 3 == 0   ? DRAM_F32
                                : i % 3 == 1 ? DRAM_BF16
                                             : DRAM_F16,
                      .scratch = scratches[i / 5 % 4]};
        check(&c, product);
    }
    /* Whole blocks, read where they lie; more columns than a block of B has; long K and many rows in little room. */
    check(&(dot_case){.m = 96, .n = 64, .k = 128, .alpha = 1, .scratch = DRAM_GEMM_SCRATCH_BEST}, product);
    check(&(dot_case){.m = 40, .n = 700, .k = 600, .trans_b = true, .alpha = 1, .scratch = 200 << 10}, product);
    check(&(dot_case){.m = 300, .n = 70, .k = 1500, .trans_a = true, .alpha = 1, .scratch = DRAM_GEMM_SCRATCH},
          product);
}

/* An infinity, a NaN or a denormal stays in the row and column it belongs to; padding brings none. */
static void check_special(dot_product product)
{
    for (int trans = 0; trans < 2; trans++) {
        dot_case c = {.m = 19, .n = 21, .k = 35, .trans_a = trans, .trans_b = trans, .alpha = 1, .scratch = 1 << 16};
        dot_data d = make(&c);
        d.a[trans ? 34 * d.g.lda + 18 : 18 * d.g.lda + 34] = 0x7f80; /* A(18, 34) = inf */
        d.b[trans ? 20 * d.g.ldb + 34 : 34 * d.g.ldb + 20] = 0x7fc0; /* B(34, 20) = NaN */
        float *got = run(&d, product);
        for (int64_t m = 0; m < 19; m++)
            for (int64_t n = 0; n < 21; n++) {
                int64_t i = m * 21 + n;
                bool good = n == 20   ? isnan(got[m * d.g.ldc + n])
                            : m == 18 ? isinf(got[m * d.g.ldc + n])
                                      : fabs(got[m * d.g.ldc + n] - d.want[i]) <= allowed(&d, i);
                if (!good) fail_msg("element %lld, %lld is %g", (long long)m, (long long)n, got[m * d.g.ldc + n]);
            }
        free(got);
        drop(&d);
    }
    /* 2^-100 times 2^-30 is taken for zero, where the portable product keeps it: within the bound. */
    uint16_t a = dram_f32_to_bf16(0x1p-100f), b = dram_f32_to_bf16(0x1p-30f);
    float small = 1, kept = 1;
    dram_gemm g = {.m = 1, .n = 1, .k = 1, .alpha = 1, .a = &a, .b = &b, .c = &small, .lda = 1, .ldb = 1, .ldc = 1};
    g.a_type = g.b_type = DRAM_BF16;
    g.scratch = need(g.scratch_bytes = DRAM_GEMM_SCRATCH);
    assert_true(product(&g));
    g.c = &kept;
    widened(&g);
    assert_true(small == 0.0f);
    assert_true(kept == 0x1p-130f);
    free(g.scratch);
}

static void emulated(void **state)
{
    (void)state;
    check_all(dram_cpu_emulated_gemm_dot);
    check_special(dram_cpu_emulated_gemm_dot);
#ifdef DRAM_DOT_AMX
    assert_false(dot_configured);
    assert_false(dot_misuse);
#endif
}

static void other_types_are_left(void **state)
{
    (void)state;
    static const dram_dtype types[][2] = {{DRAM_F32, DRAM_BF16}, {DRAM_BF16, DRAM_F32}, {DRAM_F16, DRAM_F16}};
    for (int i = 0; i < 3; i++) {
        dram_gemm g = {.m = 1, .n = 1, .k = 1, .a_type = types[i][0], .b_type = types[i][1]};
        assert_false(dram_cpu_emulated_gemm_dot(&g));
    }
}

static void of_the_processor(void **state)
{
    (void)state;
#ifdef DRAM_CPU_WIDE
    const char *isa = dram_cpu_isa();
    if (strcmp(isa, REAL_ISA) == 0 || strcmp(isa, "amx") == 0) {
        check_all(REAL_DOT);
        check_special(REAL_DOT);
        return;
    }
    printf("skipped: the kernels are those of %s, not %s\n", isa, REAL_ISA);
#else
    printf("skipped: this build has no kernels for it\n");
#endif
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emulated),
        cmocka_unit_test(other_types_are_left),
        cmocka_unit_test(of_the_processor),
    };
    openblas_set_num_threads(1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
