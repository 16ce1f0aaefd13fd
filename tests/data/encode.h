/* encode: image files of every kind, made in memory, for the tests of src/data. Include after cmocka.h. */
#ifndef DRAM_TESTS_DATA_ENCODE_H
#define DRAM_TESTS_DATA_ENCODE_H

#include <math.h>
#include <spng.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>
#include <webp/encode.h>

typedef struct {
    uint8_t *bytes; /* malloc */
    size_t n;
} blob;

static inline blob blob_of(const void *bytes, size_t n)
{
    blob b = {malloc(n + 1), n};
    assert_non_null(b.bytes);
    memcpy(b.bytes, bytes, n);
    return b;
}

/* b with `more` put in at `at`; b is freed. */
static inline blob blob_insert(blob b, size_t at, const void *more, size_t n)
{
    blob out = {malloc(b.n + n), b.n + n};
    assert_non_null(out.bytes);
    memcpy(out.bytes, b.bytes, at);
    memcpy(out.bytes + at, more, n);
    memcpy(out.bytes + at + n, b.bytes + at, b.n - at);
    free(b.bytes);
    return out;
}

/* pitch 0: rows follow each other; 1: every row is the same constant, one byte further on. */
static inline blob encode_jpeg(const void *pixels, int h, int w, int pitch, int format, int subsampling, int flags)
{
    tjhandle handle = tjInitCompress();
    unsigned char *bytes = NULL;
    unsigned long n = 0;
    assert_non_null(handle);
    assert_int_equal(tjCompress2(handle, pixels, w, pitch, h, format, &bytes, &n, subsampling, 95, flags), 0);
    blob b = blob_of(bytes, n);
    tjFree(bytes);
    tjDestroy(handle);
    return b;
}

static inline blob encode_png(const void *pixels, size_t n, int h, int w, int depth, int type, bool interlaced,
                              const struct spng_plte *palette)
{
    struct spng_ihdr header = {.width = (uint32_t)w,
                               .height = (uint32_t)h,
                               .bit_depth = (uint8_t)depth,
                               .color_type = (uint8_t)type,
                               .interlace_method = interlaced};
    int error = 0;
    size_t size = 0;
    spng_ctx *png = spng_ctx_new(SPNG_CTX_ENCODER);
    assert_non_null(png);
    spng_set_option(png, SPNG_ENCODE_TO_BUFFER, 1);
    assert_int_equal(spng_set_ihdr(png, &header), 0);
    if (palette) {
        struct spng_plte copy = *palette;
        assert_int_equal(spng_set_plte(png, &copy), 0);
    }
    assert_int_equal(spng_encode_image(png, pixels, n, SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE), 0);
    blob b = {spng_get_png_buffer(png, &size, &error), 0};
    assert_non_null(b.bytes);
    b.n = size;
    spng_ctx_free(png);
    return b;
}

/* quality below 0: lossless. channels 3 or 4. */
static inline blob encode_webp(const uint8_t *pixels, int h, int w, int channels, float quality)
{
    uint8_t *bytes = NULL;
    size_t n;
    if (channels == 4)
        n = quality < 0 ? WebPEncodeLosslessRGBA(pixels, w, h, w * 4, &bytes)
                        : WebPEncodeRGBA(pixels, w, h, w * 4, quality, &bytes);
    else
        n = quality < 0 ? WebPEncodeLosslessRGB(pixels, w, h, w * 3, &bytes)
                        : WebPEncodeRGB(pixels, w, h, w * 3, quality, &bytes);
    assert_true(n > 0);
    blob b = blob_of(bytes, n);
    WebPFree(bytes);
    return b;
}

/* A TIFF block whose only tag is the orientation; 26 bytes. */
static inline void tiff_orientation(uint8_t *out, int orientation, bool big_endian)
{
    static const uint8_t big[26] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1};
    static const uint8_t little[26] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1};
    memcpy(out, big_endian ? big : little, 26);
    out[big_endian ? 19 : 18] = (uint8_t)orientation;
}

/* Puts an APP1 segment with an orientation behind the SOI; the JPEG is freed. */
static inline blob jpeg_with_orientation(blob jpeg, int orientation, bool big_endian)
{
    uint8_t segment[4 + 6 + 26] = {0xff, 0xe1, 0, 2 + 6 + 26, 'E', 'x', 'i', 'f', 0, 0};
    tiff_orientation(segment + 10, orientation, big_endian);
    return blob_insert(jpeg, 2, segment, sizeof segment);
}

/* A WebP container of the image, which has at most 256 pixels a side, with an EXIF block behind it. */
static inline blob webp_with_orientation(blob webp, int h, int w, int orientation)
{
    uint8_t extended[18] = {'V', 'P', '8', 'X', 10, 0, 0, 0, 8}, chunk[8 + 26] = {'E', 'X', 'I', 'F', 26};
    extended[12] = (uint8_t)(w - 1);
    extended[15] = (uint8_t)(h - 1);
    tiff_orientation(chunk + 8, orientation, false);
    webp = blob_insert(webp, 12, extended, sizeof extended);
    webp = blob_insert(webp, webp.n, chunk, sizeof chunk);
    webp.bytes[4] = (uint8_t)(webp.n - 8);
    webp.bytes[5] = (uint8_t)((webp.n - 8) >> 8);
    return webp;
}

/* Puts a chunk of a PNG at `at`, with its checksum. */
static inline blob png_insert(blob png, size_t at, const char *type, const void *data, size_t n)
{
    uint8_t *chunk = malloc(12 + n);
    uint32_t crc = 0xffffffff;
    assert_non_null(chunk);
    memcpy(chunk + 4, type, 4);
    memcpy(chunk + 8, data, n);
    for (size_t i = 4; i < 8 + n; i++) {
        crc ^= chunk[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    for (int i = 0; i < 4; i++) {
        chunk[i] = (uint8_t)(n >> (24 - 8 * i));
        chunk[8 + n + (size_t)i] = (uint8_t)(~crc >> (24 - 8 * i));
    }
    png = blob_insert(png, at, chunk, 12 + n);
    free(chunk);
    return png;
}

/* Where chunks may be put in: behind IHDR, and before IEND. */
static inline size_t png_front(void)
{
    return 33;
}

static inline size_t png_back(blob png)
{
    return png.n - 12;
}

static inline blob png_with_orientation(blob png, int orientation, bool big_endian, bool behind)
{
    uint8_t exif[26];
    tiff_orientation(exif, orientation, big_endian);
    return png_insert(png, behind ? png_back(png) : png_front(), "eXIf", exif, sizeof exif);
}

/* Sets the size in the frame header (SOF) of a JPEG. */
static inline void jpeg_set_size(blob jpeg, int h, int w)
{
    for (size_t i = 2; i + 9 < jpeg.n;) {
        int marker = jpeg.bytes[i + 1];
        if (marker == 0xc0 || marker == 0xc2) {
            jpeg.bytes[i + 5] = (uint8_t)(h >> 8);
            jpeg.bytes[i + 6] = (uint8_t)h;
            jpeg.bytes[i + 7] = (uint8_t)(w >> 8);
            jpeg.bytes[i + 8] = (uint8_t)w;
            return;
        }
        i += 2 + (size_t)(jpeg.bytes[i + 2] << 8 | jpeg.bytes[i + 3]);
    }
    fail_msg("no frame header");
}

/* Smooth in every channel, so that JPEG keeps it: R follows x, G follows y, B their sum; 16..240. */
static inline int ramp_value(double x, double y, int h, int w, int channel)
{
    double u = x / w, v = y / h;
    return (int)(16.5 + 224 * (channel == 0 ? u : channel == 1 ? v : (u + v) / 2));
}

static inline uint8_t *ramp_image(int h, int w)
{
    uint8_t *out = malloc((size_t)h * (size_t)w * 3), *p = out;
    assert_non_null(out);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) *p++ = (uint8_t)ramp_value(x + 0.5, y + 0.5, h, w, c);
    return out;
}

/* Random bytes, the same on every run. */
static inline uint8_t *noise_bytes(size_t n, uint64_t seed)
{
    uint8_t *out = malloc(n ? n : 1);
    uint64_t state = seed * 2654435761u + 88172645463325252u;
    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out[i] = (uint8_t)(state >> 24);
    }
    return out;
}

/* Largest difference of n bytes; n = 0 fails. */
static inline int worst_byte(const uint8_t *got, const uint8_t *want, size_t n)
{
    int worst = 0;
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        if (abs(got[i] - want[i]) > worst) worst = abs(got[i] - want[i]);
    return worst;
}

#endif
