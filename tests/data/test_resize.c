/* Resizing against the definition in double precision. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/testing.h"
#include "data/encode.h"
#include "data/resize.h"

/* The filter in two dimensions at once, from its definition: triangle of half-width max(scale, 1), taps outside the
 * image dropped, the rest normalised. */
static double reference(const uint8_t *src, int sh, int sw, dram_box box, int dh, int dw, int y, int x, int c)
{
    double sy = (box.y1 - box.y0) / dh, sx = (box.x1 - box.x0) / dw, sum = 0, norm = 0;
    double ry = sy > 1 ? sy : 1, rx = sx > 1 ? sx : 1, cy = box.y0 + (y + 0.5) * sy, cx = box.x0 + (x + 0.5) * sx;
    for (int i = 0; i < sh; i++) {
        double wy = 1 - fabs(i + 0.5 - cy) / ry;
        if (wy <= 0) continue;
        for (int j = 0; j < sw; j++) {
            double w = wy * (1 - fabs(j + 0.5 - cx) / rx);
            if (w <= 0 || fabs(j + 0.5 - cx) >= rx) continue;
            sum += w * src[(i * sw + j) * 3 + c];
            norm += w;
        }
    }
    return sum / norm;
}

enum { H = 37, W = 53 };

static void expect_resized(const uint8_t *src, dram_box box, bool flip, int dh, int dw)
{
    enum { GUARD = 7 };
    size_t stride = (size_t)dw * 3 + GUARD;
    uint8_t *got = malloc(stride * (size_t)dh);
    memset(got, 0xa5, stride * (size_t)dh);
    assert_int_equal(dram_resize_rgb(src, H, W, box, flip, got, (int64_t)stride, dh, dw), DRAM_OK);
    for (int y = 0; y < dh; y++) {
        for (int x = 0; x < dw; x++) {
            for (int c = 0; c < 3; c++) {
                double want = reference(src, H, W, box, dh, dw, y, flip ? dw - 1 - x : x, c);
                double have = got[(size_t)y * stride + (size_t)x * 3 + (size_t)c];
                /* half a level of rounding; fp32 sums of up to (2 * 53)^2 terms below 256: 256 * 106 * 2^-24 < 2e-3 */
                if (!(fabs(have - want) <= 0.5 + 2e-3))
                    fail_msg("%dx%d at %d,%d,%d: %g, want %g", dw, dh, x, y, c, have, want);
            }
        }
        for (int i = 0; i < GUARD; i++) assert_int_equal(got[(size_t)y * stride + (size_t)dw * 3 + (size_t)i], 0xa5);
    }
    free(got);
}

static void bilinear_agrees_with_its_definition(void **state)
{
    (void)state;
    static const dram_box boxes[] = {{0, 0, W, H},         {3.25, 1.5, 41.75, 30.125}, {20, 10, 21, 11},
                                     {0, 0, 0.5, 0.5},     {52.7, 36.2, 53, 37},       {-0.4, -0.3, 53.2, 37.1},
                                     {10.1, 5, 10.2, 36.9}};
    static const int sizes[][2] = {{H, W}, {1, 1}, {2, 100}, {16, 16}, {64, 90}, {5, 7}, {36, 54}, {80, 3}};
    uint8_t *src = noise_bytes(H * W * 3, 21);
    for (size_t b = 0; b < sizeof boxes / sizeof boxes[0]; b++)
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
            expect_resized(src, boxes[b], (b + s) % 2, sizes[s][0], sizes[s][1]);
    free(src);
}

static void same_size_is_the_same(void **state)
{
    (void)state;
    uint8_t *src = noise_bytes(H * W * 3, 22), *got = malloc(H * W * 3);
    assert_int_equal(dram_resize_rgb(src, H, W, (dram_box){0, 0, W, H}, false, got, W * 3, H, W), DRAM_OK);
    assert_memory_equal(got, src, H * W * 3);
    assert_int_equal(dram_resize_rgb(src, H, W, (dram_box){5, 7, 25, 17}, false, got, 60, 10, 20), DRAM_OK);
    for (int y = 0; y < 10; y++) assert_memory_equal(got + y * 60, src + ((y + 7) * W + 5) * 3, 60);
    free(got);
    free(src);
}

/* By hand: scale 8/3, so the weights are 1 - 3/8 |i + 0.5 - centre| around 4/3, 4 and 20/3. They sum to 2.375, 2.625
 * and 2.375, and give 47.8 / 2.375 = 20.13, 414.4 / 2.625 = 157.86 and 116.6 / 2.375 = 49.08. */
static void widened_filter(void **state)
{
    (void)state;
    static const uint8_t row[8] = {0, 0, 0, 255, 255, 0, 0, 100}, want[3] = {20, 158, 49};
    uint8_t src[8 * 3], got[3 * 3];
    for (int i = 0; i < 24; i++) src[i] = row[i / 3];
    assert_int_equal(dram_resize_rgb(src, 1, 8, (dram_box){0, 0, 8, 1}, false, got, 9, 1, 3), DRAM_OK);
    for (int i = 0; i < 9; i++) assert_int_equal(got[i], want[i / 3]);
}

static void nearest_takes_the_pixel_under_the_centre(void **state)
{
    (void)state;
    static const dram_box boxes[] = {{0, 0, W, H}, {3.25, 1.5, 41.75, 30.125}, {0, 0, 0.5, 0.5}, {-1, -1, 54, 38}};
    uint8_t *src = noise_bytes(H * W, 23), got[20 * 30];
    for (size_t b = 0; b < 8; b++) {
        dram_box box = boxes[b / 2];
        bool flip = b % 2;
        assert_int_equal(dram_resize_nearest(src, H, W, box, flip, got, 30, 20, 30), DRAM_OK);
        for (int i = 0; i < 20 * 30; i++) {
            int x = flip ? 29 - i % 30 : i % 30;
            double sy = floor(box.y0 + (i / 30 + 0.5) * ((box.y1 - box.y0) / 20));
            double sx = floor(box.x0 + (x + 0.5) * ((box.x1 - box.x0) / 30));
            int at_y = (int)fmin(fmax(sy, 0), H - 1), at_x = (int)fmin(fmax(sx, 0), W - 1);
            assert_int_equal(got[i], src[at_y * W + at_x]);
        }
    }
    assert_int_equal(dram_resize_nearest(src, H, W, (dram_box){0, 0, W, H}, false, got, 7, 3, 5), DRAM_OK);
    assert_int_equal(got[0], src[(int)(0.5 * H / 3) * W + (int)(0.5 * W / 5)]);
    free(src);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    uint8_t *src = noise_bytes(H * W * 3, 24), got[300];
    int64_t before = dram_alloc_bytes();
    int failures = 0;
    for (int after = 0; after < 10; after++) {
        dram_error_clear();
        dram_alloc_fail_after(after);
        dram_status status = dram_resize_rgb(src, H, W, (dram_box){0, 0, W, H}, false, got, 30, 10, 10);
        dram_alloc_fail_after(-1);
        assert_true(status == DRAM_OK || status == DRAM_ERR_MEMORY);
        failures += status != DRAM_OK;
        assert_int_equal(dram_alloc_bytes(), before);
    }
    assert_in_range(failures, 1, 9);
    dram_error_clear();
    free(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bilinear_agrees_with_its_definition),
        cmocka_unit_test(same_size_is_the_same),
        cmocka_unit_test(widened_filter),
        cmocka_unit_test(nearest_takes_the_pixel_under_the_centre),
        cmocka_unit_test(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
