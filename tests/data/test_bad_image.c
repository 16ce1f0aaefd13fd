/* Files that must be refused: damaged, foreign, too large; and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/testing.h"
#include "data/decode.h"
#include "data/encode.h"
#include "support/tempdir.h"

static const dram_image_rules no_limits = {0};

static void refused(const uint8_t *bytes, size_t n, const dram_image_rules *limits, const char *reason)
{
    dram_image image;
    int64_t before = dram_alloc_bytes();
    dram_error_clear();
    dram_status status = dram_image_decode(bytes, n, "dir/file.jpg", limits, &image);
    if (status != DRAM_ERR_FORMAT) fail_msg("%zu bytes: status %d, %s", n, status, dram_error_text());
    assert_null(image.pixels);
    assert_int_equal(dram_alloc_bytes(), before);
    assert_int_equal(strncmp(dram_error_text(), "dir/file.jpg: ", 14), 0);
    if (!strstr(dram_error_text(), reason)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), reason);
    dram_error_clear();
}

static void truncated_anywhere(void **state)
{
    (void)state;
    uint8_t *rgb = noise_bytes(16 * 24 * 3, 1);
    blob files[] = {encode_jpeg(rgb, 16, 24, 0, TJPF_RGB, TJSAMP_420, 0),
                    encode_jpeg(rgb, 16, 24, 0, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE),
                    encode_png(rgb, 16 * 24 * 3, 16, 24, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL),
                    encode_png(rgb, 16 * 24 * 3, 16, 24, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL),
                    encode_webp(rgb, 16, 24, 3, 80),
                    encode_webp(rgb, 16, 24, 3, -1)};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        /* a PNG is complete without IEND (12 bytes) and the last checksum */
        size_t end = f == 2 || f == 3 ? files[f].n - 17 : files[f].n;
        for (size_t n = 0; n < end; n++) {
            uint8_t *exact = malloc(n ? n : 1); /* its own block, so that a read past the end is seen */
            memcpy(exact, files[f].bytes, n);
            refused(exact, n, &no_limits, "");
            free(exact);
        }
        free(files[f].bytes);
    }
    free(rgb);
}

static void not_images(void **state)
{
    (void)state;
    static const char gif[] = "GIF89a\1\0\1\0\0\0\0", text[] = "hello, this is a text file\n";
    uint8_t zeros[1000] = {0}, *noise = noise_bytes(1000, 77);
    refused(zeros, 0, &no_limits, "empty");
    refused(zeros, 1, &no_limits, "not a JPEG, PNG or WebP");
    refused(zeros, sizeof zeros, &no_limits, "not a JPEG, PNG or WebP");
    refused(noise, 1000, &no_limits, "not a JPEG, PNG or WebP");
    refused((const uint8_t *)text, sizeof text, &no_limits, "not a JPEG, PNG or WebP");
    refused((const uint8_t *)gif, sizeof gif, &no_limits, "not a JPEG, PNG or WebP");
    free(noise);
}

static void damaged_inside(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(64, 64);
    blob png = encode_png(ramp, 64 * 64 * 3, 64, 64, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    png.bytes[png.n / 2] ^= 0x55;
    refused(png.bytes, png.n, &no_limits, "PNG");
    free(png.bytes);
    blob jpeg = encode_jpeg(ramp, 64, 64, 0, TJPF_RGB, TJSAMP_420, 0);
    memset(jpeg.bytes + jpeg.n / 2 + 100, 0xff, 40); /* libjpeg only warns */
    refused(jpeg.bytes, jpeg.n, &no_limits, "JPEG");
    free(jpeg.bytes);
    blob lies = encode_jpeg(ramp, 64, 64, 0, TJPF_RGB, TJSAMP_420, 0);
    jpeg_set_size(lies, 0, 64);
    refused(lies.bytes, lies.n, &no_limits, "JPEG");
    jpeg_set_size(lies, 640, 64); /* ten times the rows that the data has */
    refused(lies.bytes, lies.n, &no_limits, "JPEG");
    free(lies.bytes);
    free(ramp);
}

/* Two frame headers: what is estimated must not be another one than what libjpeg decodes. */
static void two_frames(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(64, 64);
    blob jpeg = encode_jpeg(ramp, 64, 64, 0, TJPF_RGB, TJSAMP_444, 0);
    static const uint8_t frame[] = {0xff, 0xc0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0};
    jpeg = blob_insert(jpeg, 2, frame, sizeof frame);
    refused(jpeg.bytes, jpeg.n, &no_limits, "JPEG");
    free(jpeg.bytes);
    free(ramp);
}

static void files_that_cannot_be_read(void **state)
{
    dram_image image;
    dram_error_clear();
    assert_int_equal(dram_image_load(in_dir(state, "missing.jpg"), &no_limits, &image), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "missing.jpg: cannot open"));
    dram_error_clear();
    assert_int_equal(dram_image_load((const char *)*state, &no_limits, &image), DRAM_ERR_IO);
    dram_error_clear();
    put_file(in_dir(state, "empty.jpg"), "", 0);
    assert_int_equal(dram_image_load(in_dir(state, "empty.jpg"), &no_limits, &image), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "empty.jpg: the file is empty"));
    dram_error_clear();
    put_file(in_dir(state, "large.jpg"), "123456789", 9);
    dram_image_rules tight = {.max_bytes = 8};
    assert_int_equal(dram_image_load(in_dir(state, "large.jpg"), &tight, &image), DRAM_ERR_FORMAT);
    dram_error_clear();
}

/* The process's peak of counted bytes rises by no more than this during the call. */
static dram_status decode_within(const blob *file, const dram_image_rules *limits, dram_image *image)
{
    int64_t before = dram_alloc_bytes();
    dram_status status = dram_image_decode(file->bytes, file->n, "file", limits, image);
    assert_true(dram_alloc_peak_bytes() - before <= limits->max_bytes);
    return status;
}

static void huge_baseline_jpeg_is_scaled(void **state)
{
    (void)state;
    enum { SIDE = 20000 };
    uint8_t *flat = malloc(2 * SIDE);
    memset(flat, 77, 2 * SIDE);
    blob file = encode_jpeg(flat, SIDE, SIDE, 1, TJPF_GRAY, TJSAMP_GRAY, 0);
    dram_image_rules limits = {.max_pixels = 1 << 20, .max_bytes = 64 << 20};
    dram_image image;
    assert_int_equal(decode_within(&file, &limits, &image), DRAM_OK);
    assert_int_equal(image.full_height, SIDE);
    assert_int_equal(image.height, 1024);
    assert_int_equal(image.width, 1024);
    int wrong = 0;
    for (int i = 0; i < 1024 * 1024 * 3; i++) wrong += image.pixels[i] < 76 || image.pixels[i] > 78;
    assert_int_equal(wrong, 0);
    dram_image_free(&image);
    free(file.bytes);
    free(flat);
}

static void huge_progressive_jpeg_is_refused(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(64, 64);
    blob file = encode_jpeg(ramp, 64, 64, 0, TJPF_RGB, TJSAMP_420, TJFLAG_PROGRESSIVE);
    jpeg_set_size(file, 20000, 20000);
    /* 20000 x 20000 samples of 2 bytes, half as many again for the chroma: 1.2e9 bytes whatever the output's size */
    dram_image_rules limits = {.max_pixels = 1 << 20, .max_bytes = 1100 << 20};
    refused(file.bytes, file.n, &limits, "needs");
    free(file.bytes);
    blob small = encode_jpeg(ramp, 64, 64, 0, TJPF_RGB, TJSAMP_420, TJFLAG_PROGRESSIVE);
    limits.max_bytes = 1 << 20;
    dram_image image;
    assert_int_equal(decode_within(&small, &limits, &image), DRAM_OK);
    dram_image_free(&image);
    free(small.bytes);
    free(ramp);
}

static void huge_png_is_scaled_row_by_row(void **state)
{
    (void)state;
#ifdef DRAM_SANITIZED
    enum { ROWS = 2000 }; /* a sanitiser takes minutes for all of them */
#else
    enum { ROWS = 20000 };
#endif
    enum { COLUMNS = 20000, H = ROWS / 20, W = COLUMNS / 20 };
    size_t n = (size_t)ROWS * (COLUMNS / 8);
    uint8_t *bits = malloc(n);
    memset(bits, 0xf0, n); /* black and white, four columns each */
    blob file = encode_png(bits, n, ROWS, COLUMNS, 1, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    free(bits);
    dram_image_rules limits = {.max_pixels = H * W, .max_bytes = 16 << 20};
    dram_image image;
    assert_int_equal(decode_within(&file, &limits, &image), DRAM_OK);
    assert_int_equal(image.height, H);
    assert_int_equal(image.width, W);
    int wrong = 0; /* 20 columns a pixel: 12 of one colour, 8 of the other */
    for (int i = 0; i < 3 * H * W; i++) wrong += image.pixels[i] != (i / 3 % 2 ? 102 : 153);
    assert_int_equal(wrong, 0);
    dram_image_free(&image);
    free(file.bytes);
}

static void memory_cap(void **state)
{
    (void)state;
    uint8_t *rgb = noise_bytes(256 * 256 * 3, 6);
    dram_image_rules limits = {.max_bytes = 400 * 1024};
    blob plain = encode_png(rgb, 256 * 256 * 3, 256, 256, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    refused(plain.bytes, plain.n, &limits, "needs 1 MiB"); /* 192 KiB of file, 192 KiB of pixels, rows and window */
    limits.max_bytes = 3 << 20;
    dram_image image;
    assert_int_equal(decode_within(&plain, &limits, &image), DRAM_OK);
    dram_image_free(&image);
    free(plain.bytes);
    blob lossless = encode_webp(rgb, 256, 256, 3, -1);
    /* small output, but the ARGB of the whole image is held */
    limits = (dram_image_rules){.max_pixels = 1000, .max_bytes = 1 << 20};
    refused(lossless.bytes, lossless.n, &limits, "needs");
    free(lossless.bytes);
    blob interlaced = encode_png(rgb, 256 * 256 * 3, 256, 256, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL);
    limits = (dram_image_rules){.max_pixels = 1000, .max_bytes = 512 << 10};
    refused(interlaced.bytes, interlaced.n, &limits, "needs");
    free(interlaced.bytes);
    free(rgb);
}

/* What libspng keeps of a file beside its pixels counts too. */
static void texts_count_against_the_cap(void **state)
{
    (void)state;
    enum { TEXT = 300000 };
    uint8_t *grey = noise_bytes(16 * 16, 7);
    char *text = calloc(1, TEXT);
    assert_non_null(text);
    memset(text, 'a', TEXT);
    memcpy(text, "Comment", 8);
    blob png = encode_png(grey, 16 * 16, 16, 16, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    png = png_insert(png, png_front(), "tEXt", text, TEXT);
    dram_image_rules limits = {.max_bytes = 700 << 10};
    refused(png.bytes, png.n, &limits, "texts or profiles in it take more host memory");
    dram_label label = {0};
    dram_source source = {.bytes = png.bytes, .n = png.n, .name = "label", .rules = limits};
    const dram_label_rules rules = {.ignore_index = 255, .max_bytes = 700 << 10};
    assert_int_equal(dram_decode_label(&source, &rules, &label), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "texts or profiles"));
    dram_label_free(&label);
    dram_error_clear();
    dram_image image;
    limits.max_bytes = 2 << 20;
    assert_int_equal(decode_within(&png, &limits, &image), DRAM_OK);
    dram_image_free(&image);
    free(png.bytes);
    free(text);
    free(grey);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    uint8_t *rgb = noise_bytes(40 * 40 * 4, 9);
    blob files[] = {
        jpeg_with_orientation(encode_jpeg(rgb, 40, 40, 0, TJPF_RGB, TJSAMP_420, 0), 6, false),
        encode_jpeg(rgb, 40, 40, 0, TJPF_CMYK, TJSAMP_444, 0),
        encode_png(rgb, 40 * 40 * 3, 40, 40, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL),
        encode_png(rgb, 40 * 40 * 3, 40, 40, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL),
        png_with_orientation(encode_png(rgb, 40 * 40 * 2, 40, 40, 16, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL), 6, false,
                             false),
        encode_webp(rgb, 40, 40, 3, 80)};
    dram_image_rules limits = {.max_pixels = 20};
    for (size_t f = 0; f < sizeof files / sizeof files[0]; f++) {
        int64_t before = dram_alloc_bytes();
        dram_status status = DRAM_ERR_MEMORY;
        int failures = 0;
        for (int64_t after = 0; after < 1000 && (status != DRAM_OK || after < 8); after++) {
            dram_image image;
            dram_error_clear();
            dram_alloc_fail_after(after);
            status = dram_image_decode(files[f].bytes, files[f].n, "file", &limits, &image);
            dram_alloc_fail_after(-1);
            failures += status == DRAM_ERR_MEMORY;
            if (status != DRAM_OK && status != DRAM_ERR_MEMORY) fail_msg("file %zu: %s", f, dram_error_text());
            dram_image_free(&image);
            assert_int_equal(dram_alloc_bytes(), before);
        }
        assert_int_equal(status, DRAM_OK);
        assert_true(failures > 0);
        free(files[f].bytes);
    }
    dram_error_clear();
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* first those that look at the process's peak, the smallest before the larger ones */
        cmocka_unit_test(memory_cap),
        cmocka_unit_test(texts_count_against_the_cap),
        cmocka_unit_test(huge_progressive_jpeg_is_refused),
        cmocka_unit_test(huge_png_is_scaled_row_by_row),
        cmocka_unit_test(huge_baseline_jpeg_is_scaled),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(not_images),
        cmocka_unit_test(damaged_inside),
        cmocka_unit_test(two_frames),
        cmocka_unit_test(files_that_cannot_be_read),
        cmocka_unit_test(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
