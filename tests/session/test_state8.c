/* AdamW with moments of 8 bits against a reference in double: weights, maxima and every code, step by step. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/state8.h"
#include "ops/call.h"
#include "support/run_graph.h"

enum { BLOCK = 256 };
static const double beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f, decay = 0.05f;

/* ---- the codebooks, as create_dynamic_map of bitsandbytes makes them ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void make_codebook(bool is_signed, double book[256])
{
    int n = 0;
    for (int i = 0; i < 7; i++) {
        int items = 1 << (is_signed ? i : i + 1);
        for (int k = 0; k < items; k++) {
            double low = 0.1 + 0.9 * k / items, high = 0.1 + 0.9 * (k + 1) / items;
            double middle = (low + high) / 2 * pow(10, i - 6);
            book[n++] = middle;
            if (is_signed) book[n++] = -middle;
        }
    }
    book[n++] = 0;
    book[n++] = 1;
    assert_int_equal(n, 256);
    qsort(book, 256, sizeof *book, ascending);
}

static double distance_to_nearest(const double *book, double x)
{
    double best = INFINITY;
    for (int c = 0; c < 256; c++) best = fmin(best, fabs(book[c] - x));
    return best;
}

/* Where the maxima begin can be told from the bytes: what a shard of a file's tensor goes by. */
static void layout_of_bytes(void **state)
{
    (void)state;
    for (int64_t n = 1; n < 3000; n++)
        assert_int_equal(dram_state8_maxima_in(dram_state8_bytes(n)), dram_state8_maxima(n));
    for (int64_t n = (1 << 30) - 700; n < (1 << 30) + 700; n++)
        assert_int_equal(dram_state8_maxima_in(dram_state8_bytes(n)), dram_state8_maxima(n));
}

/* ---- one weight tensor and its moments ---- */

typedef struct {
    int64_t n, bytes;
    dram_slots slots;
    dram_graph *g;
    run_state run;
    dram_val grad, hyper, clip;
    int w, m, v; /* slots */
    double book_m[256], book_v[256];
    float *gradient;
} subject;

static dram_val slot(subject *s, const char *name, dram_dtype dtype, int64_t n, int *index)
{
    dram_val value = dram_graph_slot(
        s->g, &(dram_slot){.name = (char *)(uintptr_t)name, .dtype = dtype, .shape = DRAM_SHAPE(n), .group = "test"});
    *index = dram_slots_find(&s->slots, "test", name);
    return value;
}

static void subject_open(subject *s, int64_t n, int workers)
{
    *s = (subject){.n = n, .bytes = dram_state8_bytes(n)};
    assert_int_equal(dram_graph_new("state8", &s->slots, &s->g), DRAM_OK);
    dram_val w = slot(s, "w", DRAM_F32, n, &s->w);
    dram_val m = slot(s, "m", DRAM_U8, s->bytes, &s->m), v = slot(s, "v", DRAM_U8, s->bytes, &s->v);
    s->grad = dram_graph_input(s->g, "g", DRAM_F32, DRAM_SHAPE(n));
    s->hyper = dram_graph_input(s->g, "hyper", DRAM_F32, DRAM_SHAPE(4));
    s->clip = dram_graph_input(s->g, "clip", DRAM_F32, DRAM_SHAPE(2));
    DRAM_CALL(s->g, adamw, "adamw",
              DRAM_ATTR(.beta1 = (float)beta1, .beta2 = (float)beta2, .eps = (float)eps, .decay = (float)decay), w,
              s->grad, m, v, s->hyper, s->clip);
    if (s->g->status != DRAM_OK) fail_msg("%s", dram_error_text());
    run_open(&s->run, &s->slots, workers);
    dram_rng rng = dram_rng_make(3, DRAM_RNG_TEST, (uint64_t)n);
    float *weight = run_slot(&s->run, s->w);
    for (int64_t i = 0; i < n; i++) weight[i] = (float)dram_rng_range(&rng, -1, 1);
    memset(run_slot(&s->run, s->m), 0, (size_t)s->bytes);
    memset(run_slot(&s->run, s->v), 0, (size_t)s->bytes);
    s->gradient = run_memory(n * (int64_t)sizeof(float));
    make_codebook(true, s->book_m);
    make_codebook(false, s->book_v);
}

static void subject_close(subject *s)
{
    free(s->gradient);
    run_close(&s->run);
    dram_graph_free(s->g);
    dram_slots_free(&s->slots);
}

static void step(subject *s, const float hyper[4], const float clip[2])
{
    const run_io in[] = {
        {s->grad, s->gradient}, {s->hyper, (void *)(uintptr_t)hyper}, {s->clip, (void *)(uintptr_t)clip}};
    run_graph(&s->run, s->g, in, 3, NULL, 0);
}

static const float *maxima(const uint8_t *state, int64_t n)
{
    return (const float *)(const void *)(state + (n + 3) / 4 * 4);
}

/* A code may be off by the roundings of x alone: its distance is that of the nearest, and a few epsilons. */
static void check_code(const double *book, double x, int code, bool is_signed, int64_t i)
{
    double got = book[code], best = distance_to_nearest(book, x);
    if (is_signed && x < 0 && best == fabs(x - 0)) { /* keeps its sign: the negative number next to 0 */
        assert_true(code == 126);
        return;
    }
    if (!(fabs(got - x) <= best + 8 * FLT_EPSILON * (fabs(x) + 1e-7)))
        fail_msg("element %lld: %.9g became %.9g", (long long)i, x, got);
    if (is_signed && x != 0 && got != 0) assert_true((x < 0) == (got < 0));
}

/* The step on a copy of the state in double, then the state that the kernel left against it. */
static void check_step(subject *s, const float hyper[4], const float clip[2])
{
    size_t bytes = (size_t)s->bytes;
    float *w = run_slot(&s->run, s->w), *old_w = malloc((size_t)s->n * sizeof *w);
    uint8_t *m = run_slot(&s->run, s->m), *v = run_slot(&s->run, s->v), *old_m = malloc(bytes), *old_v = malloc(bytes);
    assert_true(old_w && old_m && old_v);
    memcpy(old_w, w, (size_t)s->n * sizeof *w);
    memcpy(old_m, m, bytes);
    memcpy(old_v, v, bytes);
    step(s, hyper, clip);
    for (int64_t block = 0; block * BLOCK < s->n; block++) {
        int64_t from = block * BLOCK, n = s->n - from < BLOCK ? s->n - from : BLOCK;
        double new_m[BLOCK], new_v[BLOCK], max_m = 0, max_v = 0;
        for (int64_t i = 0; i < n; i++) {
            double g = (double)s->gradient[from + i] * (double)clip[1], lr = (double)hyper[0];
            double was_m = s->book_m[old_m[from + i]] * (double)maxima(old_m, s->n)[block];
            double was_v = s->book_v[old_v[from + i]] * (double)maxima(old_v, s->n)[block];
            new_m[i] = beta1 * was_m + (1 - beta1) * g;
            new_v[i] = beta2 * was_v + (1 - beta2) * g * g;
            max_m = fmax(max_m, fabs(new_m[i]));
            max_v = fmax(max_v, new_v[i]);
            double below = sqrt(new_v[i] * (double)hyper[2]) + eps, move = lr * (double)hyper[1] * new_m[i] / below;
            double want = (1 - lr * decay) * (double)old_w[from + i] - move;
            /* beta1 m and (1 - beta1) g may cancel; all else is relative. 1 - beta in float is off by 1e-4 / 1e-3 of
             * beta2's */
            double cancelled = (fabs(beta1 * was_m) + fabs((1 - beta1) * g)) * lr * (double)hyper[1] / below;
            double allowed = 8 * FLT_EPSILON * (fabs(want) + 1 + cancelled) + 3e-5 * fabs(move);
            if (!(fabs((double)w[from + i] - want) <= allowed))
                fail_msg("weight %lld is %.9g, not %.9g", (long long)(from + i), (double)w[from + i], want);
        }
        double got_m = (double)maxima(m, s->n)[block], got_v = (double)maxima(v, s->n)[block];
        if (!(fabs(got_m - max_m) <= 8 * FLT_EPSILON * max_m)) fail_msg("maximum %.9g, not %.9g", got_m, max_m);
        if (!(fabs(got_v - max_v) <= 6e-5 * max_v)) fail_msg("maximum %.9g, not %.9g", got_v, max_v);
        for (int64_t i = 0; i < n; i++) {
            if (max_m == 0)
                assert_int_equal(m[from + i], 127);
            else if (fabs(new_m[i]) > 1e-9 * max_m || new_m[i] == 0)
                check_code(s->book_m, new_m[i] / max_m, m[from + i], true, from + i);
            if (max_v == 0)
                assert_int_equal(v[from + i], 0);
            else
                check_code(s->book_v, new_v[i] / max_v, v[from + i], false, from + i);
        }
    }
    free(old_w);
    free(old_m);
    free(old_v);
}

static void set_hyper(float hyper[4], int t)
{
    hyper[0] = 0.25f;
    hyper[1] = (float)(1 / (1 - pow(beta1, t)));
    hyper[2] = (float)(1 / (1 - pow(beta2, t)));
    hyper[3] = 0;
}

/* Gradients over ten decades, so that every decade of the codebooks is used; a block of zeros among them. */
static void set_gradient(subject *s, int t)
{
    dram_rng rng = dram_rng_make(4, DRAM_RNG_TEST, (uint64_t)t);
    for (int64_t i = 0; i < s->n; i++) {
        double g = dram_rng_range(&rng, -1, 1) * pow(10, dram_rng_range(&rng, -8, 2));
        s->gradient[i] = i / BLOCK == 3 && t < 3 ? 0 : (float)g;
    }
}

static void follows_the_reference(void **state)
{
    static const int64_t sizes[] = {1, 255, 257, 5003, 70001};
    (void)state;
    for (int k = 0; k < 5; k++)
        for (int workers = 1; workers <= 2; workers++) {
            subject s;
            subject_open(&s, sizes[k], workers);
            for (int t = 1; t <= 4; t++) {
                float hyper[4], clip[2] = {1, t == 2 ? 0.5f : 1};
                set_hyper(hyper, t);
                set_gradient(&s, t);
                check_step(&s, hyper, clip);
            }
            subject_close(&s);
        }
}

/* All 256 codes of either moment as they are read, through a step that adds nothing. */
static void all_codes(void **state)
{
    subject s;
    float hyper[4], clip[2] = {1, 1};
    (void)state;
    subject_open(&s, BLOCK, 1);
    for (int turn = 0; turn < 2; turn++) {
        uint8_t *m = run_slot(&s.run, s.m), *v = run_slot(&s.run, s.v);
        const float most[2] = {0.75f, 3.0f};
        for (int i = 0; i < BLOCK; i++) {
            m[i] = (uint8_t)i;
            v[i] = (uint8_t)(turn ? 255 - i : i);
            s.gradient[i] = 0;
        }
        memcpy(m + BLOCK, &most[0], sizeof most[0]);
        memcpy(v + BLOCK, &most[1], sizeof most[1]);
        set_hyper(hyper, 9);
        check_step(&s, hyper, clip);
        /* Nothing was added, so all shrank alike and every number has its code again. There is no -0.993 / 1.0 to tell
         * from the largest. */
        for (int i = 0; i < BLOCK; i++) {
            assert_int_equal(m[i], i);
            assert_int_equal(v[i], turn ? 255 - i : i);
        }
    }
    subject_close(&s);
}

/* A factor of 0, which clip_factor gives for a norm that is not finite, leaves every byte as it is. */
static void not_finite(void **state)
{
    subject s;
    float hyper[4], clip[2] = {1, 1};
    (void)state;
    subject_open(&s, 5003, 2);
    set_hyper(hyper, 1);
    set_gradient(&s, 1);
    step(&s, hyper, clip);
    int slots[3] = {s.w, s.m, s.v};
    int64_t bytes[3] = {4 * s.n, s.bytes, s.bytes};
    void *copy[3];
    for (int k = 0; k < 3; k++) {
        assert_non_null(copy[k] = malloc((size_t)bytes[k]));
        memcpy(copy[k], run_slot(&s.run, slots[k]), (size_t)bytes[k]);
    }
    for (int64_t i = 0; i < s.n; i++) s.gradient[i] = i % 2 ? NAN : INFINITY;
    clip[0] = NAN;
    clip[1] = 0;
    step(&s, hyper, clip);
    for (int k = 0; k < 3; k++) {
        assert_memory_equal(copy[k], run_slot(&s.run, slots[k]), (size_t)bytes[k]);
        free(copy[k]);
    }
    subject_close(&s);
}

/* The factor itself, with and without the loss scale. */
static void factor_of_what_is_not_finite(void **state)
{
    (void)state;
    for (int scaled = 0; scaled < 2; scaled++)
        for (int clipped = 0; clipped < 2; clipped++) {
            static const float sums[] = {INFINITY, NAN, 4};
            for (int k = 0; k < 3; k++) {
                dram_slots slots = {0};
                dram_graph *g;
                run_state run;
                float sum = sums[k], unscale = 0.25f, got[2];
                assert_int_equal(dram_graph_new("factor", &slots, &g), DRAM_OK);
                dram_val in = dram_graph_input(g, "sum", DRAM_F32, DRAM_SHAPE(1)), by = DRAM_NONE;
                if (scaled) by = dram_graph_input(g, "unscale", DRAM_F32, DRAM_SHAPE(1));
                dram_val out = DRAM_CALL(g, clip_factor, "clip", DRAM_ATTR(.clip = clipped ? 8.0f : 0.0f), in, by);
                run_open(&run, &slots, 1);
                const run_io to[] = {{in, &sum}, {by, &unscale}}, from[] = {{out, got}};
                run_graph(&run, g, to, 1 + scaled, from, 1);
                assert_true(k < 2 ? !isfinite(got[0]) : got[0] == (scaled ? 0.5f : 2.0f));
                assert_true(got[1] == (k < 2 ? 0.0f : scaled ? 0.25f : 1.0f));
                run_close(&run);
                dram_graph_free(g);
                dram_slots_free(&slots);
            }
        }
}

static void sizes_of_a_state(void **state)
{
    (void)state;
    assert_int_equal(dram_state8_bytes(1), 4 + 4);
    assert_int_equal(dram_state8_bytes(256), 256 + 4);
    assert_int_equal(dram_state8_bytes(257), 260 + 8);
    assert_int_equal(dram_state8_bytes(4096), 4096 + 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_of_bytes),
        cmocka_unit_test(follows_the_reference),
        cmocka_unit_test(all_codes),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(factor_of_what_is_not_finite),
        cmocka_unit_test(sizes_of_a_state),
    };
    dram_ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
