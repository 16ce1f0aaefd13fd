/* base/half.h. It lives beside io's tests because the files of io are its first user. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/half.h"
#include "base/rng.h"

static double f16_value(int h)
{
    int exponent = h >> 10 & 31, fraction = h & 1023;
    double x = exponent == 31  ? (fraction ? NAN : INFINITY)
               : exponent == 0 ? ldexp(fraction, -24)
                               : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -x : x;
}

static void f16_widening_is_exact_for_all(void **state)
{
    (void)state;
    for (int h = 0; h < 65536; h++) {
        float x = dram_f16_to_f32((uint16_t)h), soft = dram_f16_to_f32_soft((uint16_t)h);
        assert_int_equal(dram_float_bits(x), dram_float_bits(soft));
        double want = f16_value(h);
        if (isnan(want)) {
            assert_true(isnan(x));
        } else {
            assert_true((double)x == want);
            assert_int_equal(!!signbit(x), h >> 15);
        }
    }
}

static void f16_comes_back_for_all(void **state)
{
    (void)state;
    for (int h = 0; h < 65536; h++) {
        float x = dram_f16_to_f32((uint16_t)h);
        int want = isnan(x) ? h | 0x200 : h; /* a NaN comes back quiet */
        assert_int_equal(dram_f32_to_f16(x), want);
        assert_int_equal(dram_f32_to_f16_soft(x), want);
    }
}

/* Between two neighbours: the middle goes to the even one, its float neighbours to the nearer. */
static void f16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (int sign = 0; sign <= 0x8000; sign += 0x8000) {
        for (int h = 0; h < 0x7c00; h++) {
            double low = f16_value(h), high = h + 1 < 0x7c00 ? f16_value(h + 1) : 65536.0;
            float middle = (float)((low + high) / 2);
            float s = sign ? -1.0f : 1.0f;
            assert_true((double)middle == (low + high) / 2);
            assert_int_equal(dram_f32_to_f16_soft(s * middle), sign | (h + (h & 1)));
            assert_int_equal(dram_f32_to_f16_soft(s * nextafterf(middle, 0)), sign | h);
            assert_int_equal(dram_f32_to_f16_soft(s * nextafterf(middle, INFINITY)), sign | (h + 1));
        }
    }
}

static void f16_matches_the_fast_path_on_any_bits(void **state)
{
    (void)state;
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 16);
    for (int i = 0; i < 1000000; i++) {
        float x = dram_bits_float((uint32_t)dram_rng_u64(&r));
        assert_int_equal(dram_f32_to_f16(x), dram_f32_to_f16_soft(x));
    }
}

/* Each number of a row as alone; what fp16 has none for is found where it is, and an infinity is one. */
static void f16_rounds_many(void **state)
{
    (void)state;
    enum { N = 2500 };
    static float x[N];
    static uint16_t half[N];
    const int large[] = {0, 7, 1023, 1024, 2047, 2499};
    dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, 16);
    for (int i = 0; i < N; i++) x[i] = ldexpf(1.0f + 2.0f * (float)i / N, (int)(dram_rng_u64(&r) % 40) - 26);
    x[5] = INFINITY;
    x[6] = NAN;
    for (int n = 0; n <= N; n += 99) {
        memset(half, 0x5a, sizeof half);
        assert_int_equal(dram_floats_to_f16(x, n, half), n);
        for (int i = 0; i < n; i++) assert_int_equal(half[i], dram_f32_to_f16(x[i]));
        for (int i = n; i < N; i++) assert_int_equal(half[i], 0x5a5a);
    }
    for (size_t k = 0; k < sizeof large / sizeof large[0]; k++) {
        float kept = x[large[k]];
        x[large[k]] = -65520.0f;
        assert_int_equal(dram_floats_to_f16(x, N, half), large[k]);
        x[large[k]] = kept;
    }
}

static void f16_ends_of_the_range(void **state)
{
    (void)state;
    static const struct {
        float x;
        uint16_t h;
    } known[] = {{0.0f, 0},
                 {-0.0f, 0x8000},
                 {1.0f, 0x3c00},
                 {65504.0f, 0x7bff},
                 {65519.996f, 0x7bff},
                 {65520.0f, 0x7c00},
                 {1e30f, 0x7c00},
                 {-1e30f, 0xfc00},
                 {INFINITY, 0x7c00},
                 {0x1p-24f, 1},
                 {0x1p-25f, 0},
                 {0x1.000002p-25f, 1},
                 {0x1.8p-24f, 2},
                 {0x1p-14f, 0x0400},
                 {0x1.ff8p-15f, 0x03ff},
                 {0x1.ffcp-15f, 0x400},
                 {0x1p-149f, 0},
                 {-0x1p-26f, 0x8000}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(dram_f32_to_f16(known[i].x), known[i].h);
        assert_int_equal(dram_f32_to_f16_soft(known[i].x), known[i].h);
    }
    assert_true(isnan(dram_f16_to_f32(dram_f32_to_f16(NAN))));
    assert_true(isnan(dram_f16_to_f32(dram_f32_to_f16_soft(dram_bits_float(0x7f800001u)))));
}

static void bf16_widens_and_comes_back_for_all(void **state)
{
    (void)state;
    for (int h = 0; h < 65536; h++) {
        float x = dram_bf16_to_f32((uint16_t)h);
        assert_int_equal(dram_float_bits(x), (uint32_t)h << 16);
        assert_int_equal(dram_f32_to_bf16(x), isnan(x) ? h | 0x40 : h);
    }
}

static void bf16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7f80; h++) {
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            uint32_t u = (sign | h) << 16;
            assert_int_equal(dram_f32_to_bf16(dram_bits_float(u | 0x7fffu)), sign | h);
            assert_int_equal(dram_f32_to_bf16(dram_bits_float(u | 0x8000u)), sign | (h + (h & 1)));
            assert_int_equal(dram_f32_to_bf16(dram_bits_float(u | 0x8001u)), sign | (h + 1));
        }
    }
    for (uint32_t payload = 1; payload < 0x800000u; payload += 997)
        assert_true(isnan(dram_bf16_to_f32(dram_f32_to_bf16(dram_bits_float(0x7f800000u | payload)))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_widening_is_exact_for_all),
        cmocka_unit_test(f16_comes_back_for_all),
        cmocka_unit_test(f16_rounds_to_nearest_even),
        cmocka_unit_test(f16_matches_the_fast_path_on_any_bits),
        cmocka_unit_test(f16_rounds_many),
        cmocka_unit_test(f16_ends_of_the_range),
        cmocka_unit_test(bf16_widens_and_comes_back_for_all),
        cmocka_unit_test(bf16_rounds_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
