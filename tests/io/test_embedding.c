/* An embedding as the cache keeps it: F16 is the float rounded, int8 within half a step of its channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/half.h"
#include "base/rng.h"
#include "helpers.h"
#include "io/embedding.h"

static void fp16_is_the_float_rounded(void **state)
{
    (void)state;
    enum { CELLS = 37, CHANNELS = 5, N = CELLS * CHANNELS };
    float x[N];
    uint16_t packed[N], half[N];
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, 0);
    for (int i = 0; i < N; i++) x[i] = (float)(dram_rng_normal(&r) * pow(2.0, dram_rng_range(&r, -20, 11)));
    x[0] = 0.0f, x[1] = -0.0f, x[2] = 65504.0f, x[3] = -65519.0f, x[4] = 1e-30f;
    assert_int_equal(dram_embedding_bytes(DRAM_EMBEDDING_FP16, CELLS, CHANNELS), sizeof packed);
    ok(dram_embedding_pack(DRAM_EMBEDDING_FP16, CELLS, CHANNELS, x, packed));
    dram_embedding_unpack(DRAM_EMBEDDING_FP16, CELLS, CHANNELS, packed, half);
    for (int i = 0; i < N; i++) assert_int_equal(half[i], dram_f32_to_f16_soft(x[i]));
}

static void int8_is_within_half_a_step(void **state)
{
    (void)state;
    enum { CELLS = 50, CHANNELS = 7, N = CELLS * CHANNELS };
    float x[N];
    char packed[4 * CHANNELS + N];
    uint16_t half[N];
    dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, 0);
    _Alignas(16) char aligned[sizeof packed];
    for (int i = 0; i < N; i++) {
        int c = i % CHANNELS; /* channels of very different size, the last one of nothing */
        x[i] = c == CHANNELS - 1 ? 0.0f : (float)(dram_rng_normal(&r) * pow(10.0, c - 3));
    }
    assert_int_equal(dram_embedding_bytes(DRAM_EMBEDDING_INT8, CELLS, CHANNELS), sizeof packed);
    ok(dram_embedding_pack(DRAM_EMBEDDING_INT8, CELLS, CHANNELS, x, aligned));
    dram_embedding_unpack(DRAM_EMBEDDING_INT8, CELLS, CHANNELS, aligned, half);
    for (int c = 0; c < CHANNELS; c++) {
        double most = 0;
        for (int i = c; i < N; i += CHANNELS) most = fmax(most, fabs((double)x[i]));
        double step = most / 127, worst = 0;
        for (int i = c; i < N; i += CHANNELS) {
            double off = fabs((double)dram_f16_to_f32(half[i]) - (double)x[i]);
            /* half a step; what the float scale rounds, 127 * 2^-24 of a step and less; the rounding to F16, half of
             * 2^-10 of the number, or of 2^-24 where it is subnormal */
            double allowed = step * (0.5 + 1e-4) + fabs((double)x[i]) * 0x1p-11 + 0x1p-25 + step * 0x1p-12;
            if (!(off <= allowed)) fail_msg("channel %d: %g is off by %g, allowed %g", c, (double)x[i], off, allowed);
            worst = fmax(worst, off);
        }
        if (c < CHANNELS - 1) assert_true(worst > step / 4); /* it is of 8 bits, not finer */
    }
}

static void numbers_that_no_half_holds(void **state)
{
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY, 65520.0f, -1e6f};
    float x[4] = {1, 2, 3, 4}, packed[8];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        x[2] = bad[i];
        for (int f = DRAM_EMBEDDING_FP16; f <= DRAM_EMBEDDING_INT8; f++)
            fails(dram_embedding_pack((dram_embedding_format)f, 2, 2, x, packed), DRAM_ERR_NUMERIC,
                  "which fp16 cannot hold");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp16_is_the_float_rounded),
        cmocka_unit_test(int8_is_within_half_a_step),
        cmocka_unit_test(numbers_that_no_half_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
