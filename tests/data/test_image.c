/* Decoding of every kind of good file, scaling down while decoding, EXIF orientation, writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "data/encode.h"
#include "data/image.h"
#include "support/tempdir.h"

static const dram_image_rules no_limits = {0};

/* Decodes and frees the file; every field that does not depend on scaling is checked. */
static dram_image decoded(blob file, const dram_image_rules *limits, int full_h, int full_w)
{
    dram_image image;
    dram_error_clear();
    dram_status status = dram_image_decode(file.bytes, file.n, "file", limits, &image);
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
    free(file.bytes);
    assert_int_equal(image.full_height, full_h);
    assert_int_equal(image.full_width, full_w);
    if (limits->max_pixels) assert_true((int64_t)image.height * image.width <= limits->max_pixels);
    return image;
}

static void expect_pixels(blob file, int h, int w, const uint8_t *want, int tolerance)
{
    dram_image image = decoded(file, &no_limits, h, w);
    assert_int_equal(image.height, h);
    assert_int_equal(image.width, w);
    assert_true(image.scale_x == 1 && image.scale_y == 1 && image.origin_x == 0 && image.origin_y == 0);
    int worst = worst_byte(image.pixels, want, (size_t)h * (size_t)w * 3);
    if (worst > tolerance) fail_msg("a byte differs by %d, allowed %d", worst, tolerance);
    dram_image_free(&image);
    assert_null(image.pixels);
}

static void png_of_every_kind(void **state)
{
    (void)state;
    static const struct {
        int type, channels, depth;
    } kinds[] = {{SPNG_COLOR_TYPE_GRAYSCALE, 1, 1},        {SPNG_COLOR_TYPE_GRAYSCALE, 1, 2},
                 {SPNG_COLOR_TYPE_GRAYSCALE, 1, 4},        {SPNG_COLOR_TYPE_GRAYSCALE, 1, 8},
                 {SPNG_COLOR_TYPE_GRAYSCALE, 1, 16},       {SPNG_COLOR_TYPE_TRUECOLOR, 3, 8},
                 {SPNG_COLOR_TYPE_TRUECOLOR, 3, 16},       {SPNG_COLOR_TYPE_INDEXED, 1, 1},
                 {SPNG_COLOR_TYPE_INDEXED, 1, 2},          {SPNG_COLOR_TYPE_INDEXED, 1, 4},
                 {SPNG_COLOR_TYPE_INDEXED, 1, 8},          {SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 2, 8},
                 {SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, 2, 16}, {SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 4, 8},
                 {SPNG_COLOR_TYPE_TRUECOLOR_ALPHA, 4, 16}};
    static const int sizes[][2] = {{1, 1}, {7, 5}, {13, 29}};
    struct spng_plte palette = {.n_entries = 256};
    for (int i = 0; i < 256; i++)
        palette.entries[i] = (struct spng_plte_entry){(uint8_t)(i * 7), (uint8_t)(255 - i), (uint8_t)(i ^ 90), 255};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (int s = 0; s < 6; s++) {
            int h = sizes[s / 2][0], w = sizes[s / 2][1], depth = kinds[k].depth, channels = kinds[k].channels;
            bool indexed = kinds[k].type == SPNG_COLOR_TYPE_INDEXED;
            size_t stride = ((size_t)w * (size_t)(channels * depth) + 7) / 8;
            uint8_t *data = noise_bytes(stride * (size_t)h, k + 1), want[13 * 29 * 3];
            for (int y = 0; y < h; y++) {
                for (int x = 0; x < w; x++) {
                    for (int c = 0; c < 3; c++) {
                        const uint8_t *row = data + (size_t)y * stride;
                        int sample = x * channels + (channels > 2 ? c : 0), value; /* alpha is dropped */
                        if (depth == 16) { /* the encoder takes the machine's byte order: keep the high 8 bits */
                            uint16_t wide;
                            memcpy(&wide, row + 2 * sample, 2);
                            value = wide >> 8;
                        } else {
                            value = row[sample * depth / 8] >> (8 - depth - sample * depth % 8) & ((1 << depth) - 1);
                            if (!indexed) value = value * 255 / ((1 << depth) - 1);
                        }
                        const struct spng_plte_entry *e = &palette.entries[value];
                        if (indexed) value = c == 0 ? e->red : c == 1 ? e->green : e->blue;
                        want[(y * w + x) * 3 + c] = (uint8_t)value;
                    }
                }
            }
            struct spng_plte part = palette;
            if (indexed) part.n_entries = 1u << depth;
            expect_pixels(
                encode_png(data, stride * (size_t)h, h, w, depth, kinds[k].type, s % 2, indexed ? &part : NULL), h, w,
                want, 0);
            free(data);
        }
    }
}

/* Quality 95 of a smooth picture: rounding of the colour conversion and of the coarsest steps, a few levels. Where
 * chroma is stored once for 2 or 4 pixels of a ramp of 4 levels a pixel, twice that. */
enum { JPEG_TOLERANCE = 4 };

static void jpeg_of_every_kind(void **state)
{
    (void)state;
    static const int subsampling[] = {TJSAMP_444, TJSAMP_422, TJSAMP_420, TJSAMP_440, TJSAMP_411};
    int h = 57, w = 83;
    uint8_t *rgb = ramp_image(h, w);
    for (int i = 0; i < 10; i++)
        expect_pixels(encode_jpeg(rgb, h, w, 0, TJPF_RGB, subsampling[i / 2], i % 2 ? TJFLAG_PROGRESSIVE : 0), h, w,
                      rgb, i < 2 ? JPEG_TOLERANCE : 2 * JPEG_TOLERANCE);
    uint8_t *grey = malloc((size_t)h * (size_t)w), *thrice = malloc((size_t)h * (size_t)w * 3);
    for (int i = 0; i < h * w; i++) grey[i] = thrice[3 * i] = thrice[3 * i + 1] = thrice[3 * i + 2] = rgb[3 * i + 2];
    expect_pixels(encode_jpeg(grey, h, w, 0, TJPF_GRAY, TJSAMP_GRAY, 0), h, w, thrice, JPEG_TOLERANCE);
    free(grey);
    free(thrice);
    free(rgb);
}

static void jpeg_cmyk(void **state)
{
    (void)state;
    int h = 40, w = 48;
    uint8_t *rgb = ramp_image(h, w), *cmyk = malloc((size_t)h * (size_t)w * 4),
            *want = malloc((size_t)h * (size_t)w * 3);
    for (int i = 0; i < h * w; i++) {
        cmyk[4 * i + 3] = rgb[3 * i + 2]; /* 255 - black */
        for (int c = 0; c < 3; c++) cmyk[4 * i + c] = rgb[3 * i + (c + 1) % 3];
        for (int c = 0; c < 3; c++) want[3 * i + c] = (uint8_t)(cmyk[4 * i + c] * cmyk[4 * i + 3] / 255);
    }
    expect_pixels(encode_jpeg(cmyk, h, w, 0, TJPF_CMYK, TJSAMP_444, 0), h, w, want, 2 * JPEG_TOLERANCE);
    free(want);
    free(cmyk);
    free(rgb);
}

/* The library writes CMYK as YCCK. Told that its planes are plain CMYK (Adobe's transform 0), they must be read as
 * such: a grey of CMY has Y = 255 - it and chroma 128. */
static void jpeg_plain_cmyk(void **state)
{
    (void)state;
    enum { GREY = 95, K = 200 };
    uint8_t cmyk[16 * 16 * 4], want[16 * 16 * 3];
    for (int i = 0; i < 16 * 16; i++) {
        memset(cmyk + 4 * i, GREY, 3);
        cmyk[4 * i + 3] = K;
        want[3 * i] = (255 - GREY) * K / 255;
        want[3 * i + 1] = want[3 * i + 2] = 128 * K / 255;
    }
    blob file = encode_jpeg(cmyk, 16, 16, 0, TJPF_CMYK, TJSAMP_444, 0);
    uint8_t *adobe = memmem(file.bytes, file.n, "Adobe", 5);
    assert_non_null(adobe);
    assert_int_equal(adobe[11], 2);
    adobe[11] = 0;
    expect_pixels(file, 16, 16, want, 2); /* flat: rounding alone */
}

static void webp_of_every_kind(void **state)
{
    (void)state;
    int h = 33, w = 50;
    uint8_t *rgb = noise_bytes((size_t)h * (size_t)w * 3, 3), *ramp = ramp_image(h, w);
    uint8_t *rgba = malloc((size_t)h * (size_t)w * 4);
    for (int i = 0; i < h * w; i++) {
        memcpy(rgba + 4 * i, rgb + 3 * i, 3);
        rgba[4 * i + 3] = (uint8_t)(1 + i % 255); /* not 0: the encoder may change what is invisible */
    }
    expect_pixels(encode_webp(rgb, h, w, 3, -1), h, w, rgb, 0);
    expect_pixels(encode_webp(rgba, h, w, 4, -1), h, w, rgb, 0);
    expect_pixels(encode_webp(ramp, h, w, 3, 98), h, w, ramp, 6); /* 4:2:0 with studio range: coarser than JPEG at 95 */
    free(rgba);
    free(ramp);
    free(rgb);
}

static void one_pixel(void **state)
{
    (void)state;
    static const uint8_t rgb[3] = {200, 100, 50};
    expect_pixels(encode_jpeg(rgb, 1, 1, 0, TJPF_RGB, TJSAMP_420, 0), 1, 1, rgb, JPEG_TOLERANCE);
    expect_pixels(encode_png(rgb, 3, 1, 1, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), 1, 1, rgb, 0);
    expect_pixels(encode_webp(rgb, 1, 1, 3, -1), 1, 1, rgb, 0);
}

static void format_is_told_by_content(void **state)
{
    uint8_t *rgb = noise_bytes(9 * 8 * 3, 5);
    blob png = encode_png(rgb, 9 * 8 * 3, 9, 8, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    const char *path = in_dir(state, "png.jpg");
    dram_image image;
    put_file(path, png.bytes, png.n);
    assert_int_equal(dram_image_load(path, &no_limits, &image), DRAM_OK);
    assert_memory_equal(image.pixels, rgb, 9 * 8 * 3);
    dram_image_free(&image);
    free(png.bytes);
    free(rgb);
}

/* Where pixel (y, x) of the upright picture lies in the stored one (EXIF 2.3, figure of tag 0x0112). */
static void stored_at(int orientation, int h, int w, int y, int x, int *sy, int *sx)
{
    switch (orientation) {
    case 1:
        *sy = y;
        *sx = x;
        break;
    case 2:
        *sy = y;
        *sx = w - 1 - x;
        break;
    case 3:
        *sy = h - 1 - y;
        *sx = w - 1 - x;
        break;
    case 4:
        *sy = h - 1 - y;
        *sx = x;
        break;
    case 5:
        *sy = x;
        *sx = y;
        break;
    case 6:
        *sy = h - 1 - x;
        *sx = y;
        break;
    case 7:
        *sy = h - 1 - x;
        *sx = w - 1 - y;
        break;
    default:
        *sy = x;
        *sx = w - 1 - y;
        break;
    }
}

static void exif_orientation(void **state)
{
    (void)state;
    enum { H = 6, W = 9 };
    uint8_t *rgb = noise_bytes(H * W * 3, 8), *ramp = ramp_image(48, 72), want[48 * 72 * 3];
    for (int k = 0; k < 8 * 3; k++) {
        int o = k / 3 + 1, kind = k % 3, h = kind == 2 ? H : 48, w = kind == 2 ? W : 72, sy, sx;
        int up_h = o >= 5 ? w : h, up_w = o >= 5 ? h : w;
        for (int i = 0; i < up_h * up_w; i++) {
            stored_at(o, h, w, i / up_w, i % up_w, &sy, &sx);
            memcpy(want + 3 * i, (kind == 2 ? rgb : ramp) + 3 * (sy * w + sx), 3);
        }
        if (kind == 2)
            expect_pixels(webp_with_orientation(encode_webp(rgb, h, w, 3, -1), h, w, o), up_h, up_w, want, 0);
        else
            expect_pixels(jpeg_with_orientation(encode_jpeg(ramp, h, w, 0, TJPF_RGB, TJSAMP_444, 0), o, kind), up_h,
                          up_w, want, JPEG_TOLERANCE);
    }
    free(ramp);
    free(rgb);
}

static void damaged_exif_is_upright(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(16, 24);
    for (int at = 6; at < 4 + 6 + 26; at++) {
        blob jpeg = jpeg_with_orientation(encode_jpeg(ramp, 16, 24, 0, TJPF_RGB, TJSAMP_444, 0), 9, at % 2);
        jpeg.bytes[2 + at] ^= 0xff;
        dram_image image;
        assert_int_equal(dram_image_decode(jpeg.bytes, jpeg.n, "file", &no_limits, &image), DRAM_OK);
        dram_image_free(&image);
        free(jpeg.bytes);
    }
    expect_pixels(jpeg_with_orientation(encode_jpeg(ramp, 16, 24, 0, TJPF_RGB, TJSAMP_444, 0), 0, false), 16, 24, ramp,
                  JPEG_TOLERANCE);
    free(ramp);
}

/* Every decoded pixel shows the place of the original that the scale and the origin say. */
static void expect_ramp(const dram_image *image, int stored_h, int stored_w, int orientation, int tolerance)
{
    for (int y = 0; y < image->height; y++) {
        for (int x = 0; x < image->width; x++) {
            double oy = (y + 0.5 - image->origin_y) / image->scale_y, ox = (x + 0.5 - image->origin_x) / image->scale_x;
            double sx = orientation == 2 ? stored_w - ox : orientation == 6 ? oy : ox;
            double sy = orientation == 6 ? stored_h - ox : oy;
            if (sx > stored_w - 0.5 / image->scale_x || sy > stored_h - 0.5 / image->scale_y)
                continue; /* past the edge */
            for (int c = 0; c < 3; c++) {
                int got = image->pixels[(y * image->width + x) * 3 + c],
                    want = ramp_value(sx, sy, stored_h, stored_w, c);
                if (abs(got - want) > tolerance)
                    fail_msg("%dx%d, pixel %d,%d channel %d: %d, want %d", image->width, image->height, x, y, c, got,
                             want);
            }
        }
    }
}

static void jpeg_scales_by_its_dct(void **state)
{
    (void)state;
    static const struct {
        int64_t max_pixels;
        int h, w; /* the largest n/8 of 307 x 403, sides rounded up; below 1/8 the area filter */
    } cases[] = {{307 * 403, 307, 403},     {307 * 403 - 1, 269, 353}, {62500, 192, 252}, {154 * 202, 154, 202},
                 {154 * 202 - 1, 116, 152}, {39 * 51, 39, 51},         {1000, 27, 36},    {1, 1, 1}};
    uint8_t *ramp = ramp_image(307, 403);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int k = 0; k < 3; k++) {
            int orientation = k == 0 ? 1 : k == 1 ? 2 : 6;
            blob file =
                jpeg_with_orientation(encode_jpeg(ramp, 307, 403, 0, TJPF_RGB, TJSAMP_420, 0), orientation, true);
            dram_image_rules limits = {.max_pixels = cases[i].max_pixels};
            dram_image image = decoded(file, &limits, k == 2 ? 403 : 307, k == 2 ? 307 : 403);
            assert_int_equal(image.height, k == 2 ? cases[i].w : cases[i].h);
            assert_int_equal(image.width, k == 2 ? cases[i].h : cases[i].w);
            /* a pixel spans 224 / 27 levels at most in the small ones, so half a pixel is the room for error */
            if (cases[i].max_pixels > 1) expect_ramp(&image, 307, 403, orientation, JPEG_TOLERANCE + 3);
            dram_image_free(&image);
        }
    }
    free(ramp);
}

/* Mean over the part of the source that the pixel covers, in double. */
static double area_mean(const uint8_t *src, int sh, int sw, int dh, int dw, int y, int x, int c)
{
    double y0 = (double)y * sh / dh, y1 = (double)(y + 1) * sh / dh, x0 = (double)x * sw / dw;
    double x1 = (double)(x + 1) * sw / dw, sum = 0;
    for (int i = (int)y0; i < y1 && i < sh; i++)
        for (int j = (int)x0; j < x1 && j < sw; j++)
            sum += (fmin(i + 1, y1) - fmax(i, y0)) * (fmin(j + 1, x1) - fmax(j, x0)) * src[(i * sw + j) * 3 + c];
    return sum / ((y1 - y0) * (x1 - x0));
}

/* Every byte is the mean over its part of the source. Frees the image. */
static void expect_area(dram_image image, const uint8_t *src, int sh, int sw, int64_t limit, double tolerance)
{
    const int h = image.height, w = image.width;
    assert_true((int64_t)(h + 1) * (w + 1) > limit || h == sh);
    for (int p = 0; p < h * w * 3; p++) {
        double want = area_mean(src, sh, sw, h, w, p / 3 / w, p / 3 % w, p % 3);
        if (fabs(image.pixels[p] - want) > tolerance)
            fail_msg("%dx%d, byte %d: %d, want %f", w, h, p, image.pixels[p], want);
    }
    dram_image_free(&image);
}

static void png_and_webp_scale_while_decoding(void **state)
{
    (void)state;
    enum { H = 61, W = 97 };
    static const int64_t limits[] = {H * W, H * W - 1, 3000, 777, 64, 5, 1};
    uint8_t *rgb = noise_bytes(H * W * 3, 11);
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        dram_image_rules limit = {.max_pixels = limits[i]};
        for (int interlaced = 0; interlaced < 2; interlaced++) {
            blob png = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, interlaced, NULL);
            /* half a level of rounding, and fp32 sums of about 100 terms */
            expect_area(decoded(png, &limit, H, W), rgb, H, W, limits[i], 0.5 + 1e-3);
        }
        /* libwebp rounds rows, then columns */
        expect_area(decoded(encode_webp(rgb, H, W, 3, -1), &limit, H, W), rgb, H, W, limits[i], 1);
    }
    free(rgb);
}

static void long_and_thin(void **state)
{
    (void)state;
    uint8_t *rgb = noise_bytes(20000 * 3, 2);
    dram_image_rules limits = {.max_pixels = 100};
    dram_image tall =
        decoded(encode_png(rgb, 60000, 20000, 1, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), &limits, 20000, 1);
    assert_int_equal(tall.height, 100);
    assert_int_equal(tall.width, 1);
    dram_image_free(&tall);
    dram_image wide =
        decoded(encode_png(rgb, 60000, 1, 20000, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), &limits, 1, 20000);
    assert_int_equal(wide.height, 1);
    assert_int_equal(wide.width, 100);
    dram_image_free(&wide);
    free(rgb);
}

static void written_files_read_back(void **state)
{
    int h = 31, w = 45;
    uint8_t *rgb = noise_bytes((size_t)h * (size_t)w * 3, 4), *ramp = ramp_image(h, w);
    const char *png = in_dir(state, "a.png"), *jpg = in_dir(state, "a.jpg"), *label = in_dir(state, "l.png");
    dram_image image;
    dram_label ids;
    dram_label_rules rules = {.ignore_index = -1};
    assert_int_equal(dram_image_write_png(png, rgb, h, w), DRAM_OK);
    assert_int_equal(dram_image_load(png, &no_limits, &image), DRAM_OK);
    assert_memory_equal(image.pixels, rgb, (size_t)h * (size_t)w * 3);
    dram_image_free(&image);
    assert_int_equal(dram_image_write_jpeg(jpg, ramp, h, w, 95), DRAM_OK);
    assert_int_equal(dram_image_load(jpg, &no_limits, &image), DRAM_OK);
    assert_true(worst_byte(image.pixels, ramp, (size_t)h * (size_t)w * 3) <= 2 * JPEG_TOLERANCE); /* chroma is halved */
    dram_image_free(&image);
    assert_int_equal(dram_label_write_png(label, rgb, h, w), DRAM_OK);
    assert_int_equal(dram_label_load(label, &rules, &ids), DRAM_OK);
    assert_memory_equal(ids.ids, rgb, (size_t)h * (size_t)w);
    dram_label_free(&ids);
    dram_error_clear();
    assert_int_equal(dram_image_write_png(in_dir(state, "no/such/a.png"), rgb, h, w), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "no/such/a.png"));
    dram_error_clear();
    assert_int_equal(dram_image_write_jpeg("/dev/full", ramp, h, w, 95), DRAM_ERR_IO);
    dram_error_clear();
    free(ramp);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_of_every_kind),
        cmocka_unit_test(jpeg_of_every_kind),
        cmocka_unit_test(jpeg_cmyk),
        cmocka_unit_test(jpeg_plain_cmyk),
        cmocka_unit_test(webp_of_every_kind),
        cmocka_unit_test(one_pixel),
        cmocka_unit_test(format_is_told_by_content),
        cmocka_unit_test(exif_orientation),
        cmocka_unit_test(damaged_exif_is_upright),
        cmocka_unit_test(jpeg_scales_by_its_dct),
        cmocka_unit_test(png_and_webp_scale_while_decoding),
        cmocka_unit_test(long_and_thin),
        cmocka_unit_test(written_files_read_back),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
