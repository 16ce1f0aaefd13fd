/* What an image file is without its pixels: no false alarm, no file that was cut taken for a whole one, and other kinds
 * of files by their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "data/encode.h"
#include "data/image.h"
#include "data/look.h"
#include "data/mutate.h"
#include "support/tempdir.h"

enum { H = 24, W = 40 };

static dram_status decode(blob file)
{
    dram_image image;
    const dram_image_rules rules = {0};
    dram_status status = dram_image_decode(file.bytes, file.n, "dir/file.jpg", &rules, &image);
    dram_image_free(&image);
    return status;
}

static dram_status look(blob file, dram_image_header *header)
{
    return dram_image_look(file.bytes, file.n, "dir/file.jpg", header);
}

/* A comment with markers in it. */
static const uint8_t comment[] = {0xff, 0xfe, 0, 10, 0xff, 0xd9, 0xff, 0xda, 'E', 'O', 'I', 0};

enum { FILES = 22 };
static blob files[FILES];
static const char *file_format[FILES];
static int file_bits[FILES], file_orientation[FILES], file_count;

static void add(blob file, const char *format, int bits, int orientation)
{
    assert_true(file_count < FILES);
    files[file_count] = file;
    file_format[file_count] = format;
    file_bits[file_count] = bits;
    file_orientation[file_count++] = orientation;
}

static void add_jpegs(const uint8_t *rgb)
{
    add(encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_420, 0), "JPEG", 8, 1);
    add(encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE), "JPEG", 8, 1);
    add(encode_jpeg(rgb, H, W, 0, TJPF_GRAY, TJSAMP_GRAY, 0), "JPEG", 8, 1);
    add(encode_jpeg(rgb, H, W, 0, TJPF_CMYK, TJSAMP_444, 0), "JPEG", 8, 1);
    add(jpeg_with_orientation(encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_422, 0), 6, true), "JPEG", 8, 6);
    blob noted = encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_420, 0); /* an end inside a segment is none */
    add(blob_insert(noted, 2, comment, sizeof comment), "JPEG", 8, 1);
    noted = encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE);
    noted = blob_insert(noted, noted.n - 2, comment, sizeof comment);
    add(blob_insert(noted, noted.n - 2, "\xff\xff\xff", 3), "JPEG", 8, 1); /* filled up before the end */
}

static void add_pngs(const uint8_t *rgb)
{
    struct spng_plte palette = {.n_entries = 256};
    add(encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), "PNG", 8, 1);
    add(encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL), "PNG", 8, 1);
    add(encode_png(rgb, H * W * 2, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), "PNG", 16, 1);
    add(encode_png(rgb, H * W * 4, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, true, NULL), "PNG", 16, 1);
    add(encode_png(rgb, H * W, H, W, 8, SPNG_COLOR_TYPE_INDEXED, false, &palette), "PNG", 8, 1);
    add(encode_png(rgb, H * W / 8, H, W, 1, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL), "PNG", 1, 1);
    blob png = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    add(png_with_orientation(png, 5, true, false), "PNG", 8, 5);
    png = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    add(png_with_orientation(png, 8, false, true), "PNG", 8, 8);
    png = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL);
    png = png_insert(png, png_back(png), "tEXt", "a\0IEND", 6);
    add(png_insert(png, png_front(), "tEXt", "b\0IEND", 6), "PNG", 8, 1);
    uint8_t zeros[H * W * 3] = {0}; /* whose rows end long before its bytes do */
    add(encode_png(zeros, sizeof zeros, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), "PNG", 8, 1);
}

static int make_files(void **state)
{
    (void)state;
    uint8_t *rgb = noise_bytes(H * W * 4, 31);
    file_count = 0;
    add_jpegs(rgb);
    add_pngs(rgb);
    for (int i = 0; i < H * W; i++) rgb[4 * i + 3] |= 1;
    add(encode_webp(rgb, H, W, 3, 80), "WebP", 8, 1);
    add(encode_webp(rgb, H, W, 3, -1), "WebP", 8, 1);
    add(encode_webp(rgb, H, W, 4, 60), "WebP", 8, 1);
    add(webp_with_orientation(encode_webp(rgb, H, W, 3, -1), H, W, 7), "WebP", 8, 7);
    add(webp_with_orientation(encode_webp(rgb, H, W, 3, 80), H, W, 2), "WebP", 8, 2);
    free(rgb);
    return file_count == FILES ? 0 : -1;
}

static int free_files(void **state)
{
    (void)state;
    for (int i = 0; i < file_count; i++) free(files[i].bytes);
    return 0;
}

static void headers_are_what_the_files_are(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        dram_image_header header;
        dram_error_clear();
        if (look(files[i], &header) != DRAM_OK) fail_msg("file %d: %s", i, dram_error_text());
        assert_int_equal(decode(files[i]), DRAM_OK);
        assert_string_equal(header.format, file_format[i]);
        assert_int_equal(header.height, H);
        assert_int_equal(header.width, W);
        assert_int_equal(header.bits, file_bits[i]);
        assert_int_equal(header.orientation, file_orientation[i]);
    }
}

/* Of a file that ends before its end, the two say the same at every byte; all but a few bytes are needed. */
static void cut_anywhere(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        int taken = 0;
        for (size_t n = 0; n < files[i].n; n++) {
            dram_image_header header;
            blob cut = {malloc(n ? n : 1), n}; /* its own block, so that a read past the end is seen */
            memcpy(cut.bytes, files[i].bytes, n);
            dram_error_clear();
            dram_status looked = look(cut, &header), decoded = decode(cut);
            if (looked != decoded) fail_msg("file %d cut to %zu: %d by its header, decoded %d", i, n, looked, decoded);
            assert_true(looked == DRAM_OK || looked == DRAM_ERR_FORMAT);
            if (looked != DRAM_OK) assert_null(header.format);
            taken += looked == DRAM_OK;
            free(cut.bytes);
        }
        /* a PNG's rows may be whole without its last checksums, and without a text behind them */
        bool png = strcmp(file_format[i], "PNG") == 0;
        if (png ? taken < 12 || taken > 80 : taken != 0) fail_msg("file %d: taken at %d cuts", i, taken);
    }
    dram_error_clear();
}

/* What lies behind the end belongs to no image: thumbnails, a second picture, what a copy has left. */
static void something_behind_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < FILES; i++) {
        dram_image_header header;
        blob more = blob_of(files[i].bytes, files[i].n);
        more = blob_insert(more, more.n, "\xff\xd8\xff\xda\0\0\0 behind", 14);
        assert_int_equal(decode(more), DRAM_OK);
        if (look(more, &header) != DRAM_OK) fail_msg("file %d: %s", i, dram_error_text());
        free(more.bytes);
    }
}

/* Every file that is decoded is taken, however it was damaged. */
static void no_false_alarm(void **state)
{
    (void)state;
#ifdef DRAM_SANITIZED
    enum { ROUNDS = 500 };
#else
    enum { ROUNDS = 4000 };
#endif
    int decoded = 0, refused = 0;
    for (int i = 0; i < FILES; i++) {
        dram_rng r = dram_rng_make(2, DRAM_RNG_TEST, (uint64_t)i);
        for (int k = 0; k < ROUNDS; k++) {
            dram_image_header header;
            blob b = mutated(files[i], &r);
            const dram_image_rules rules = {.max_pixels = 900, .max_bytes = 8 << 20};
            dram_image image;
            dram_error_clear();
            dram_status want = dram_image_decode(b.bytes, b.n, "file", &rules, &image), have = look(b, &header);
            if (have != DRAM_OK && have != DRAM_ERR_FORMAT) fail_msg("%s", dram_error_text());
            if (want == DRAM_OK) {
                if (have != DRAM_OK) fail_msg("file %d round %d: decoded, but: %s", i, k, dram_error_text());
                assert_int_equal(header.orientation, image.orientation);
                bool swapped = image.orientation >= 5;
                assert_int_equal(header.height, swapped ? image.full_width : image.full_height);
                assert_int_equal(header.width, swapped ? image.full_height : image.full_width);
                decoded++;
            }
            refused += have != DRAM_OK;
            dram_image_free(&image);
            free(b.bytes);
        }
    }
    assert_true(decoded > FILES * ROUNDS / 20 && refused > FILES * ROUNDS / 20);
    dram_error_clear();
}

/* ---- what is no image ---- */

static const struct {
    int at, n;
    const char *bytes, *said;
} others[] = {
    {0, 6, "GIF89a", " but a GIF: save it as PNG"},
    {0, 6, "BM\x36\x10\0\0", " but a BMP: save it as PNG"},
    {0, 8, "II*\0\x08\0\0\0", " but a TIFF, or a camera's raw file: save it as PNG"},
    {0, 8, "MM\0*\0\0\0\x08", " but a TIFF, or a camera's raw file: save it as PNG"},
    {0, 16, "II+\0\x08\0\0\0\0\0\0\0\0\0\0\0", " but a BigTIFF: save it as PNG"},
    {0, 12,
     "\0\0\0\x18"
     "ftypheic",
     " but a HEIC photograph: save it as JPEG, or as PNG"},
    {0, 12,
     "\0\0\0\x18"
     "ftypheix",
     " but a HEIC photograph: save it as JPEG, or as PNG"},
    {0, 12,
     "\0\0\0\x1c"
     "ftypavif",
     " but an AVIF: save it as JPEG, or as PNG"},
    {0, 12,
     "\0\0\0\x1c"
     "ftypmif1",
     " but a HEIF (HEIC or AVIF): save it as JPEG, or as PNG"},
    {0, 12,
     "\0\0\0\x20"
     "ftypisom",
     " but a video: save its frames as JPEG"},
    {0, 12, "\0\0\0\x0cJXL \x0d\x0a\x87\x0a", " but a JPEG XL: save it as JPEG, or as PNG"},
    {0, 12, "\0\0\0\x0cjP  \x0d\x0a\x87\x0a", " but a JPEG 2000: save it as PNG"},
    {0, 4, "8BPS", " but a Photoshop file: save it as PNG"},
    {0, 4, "v/1\1", " but an OpenEXR file: save it as PNG"},
    {0, 3, "P6\n", " but a PPM: save it as PNG"},
    {0, 6, "\x93NUMPY", " but a NumPy array: save it as PNG"},
    {128, 4, "DICM", " but a DICOM file: save it as PNG"},
    {0, 5, "%PDF-", " but a PDF: save its pages as PNG"},
    {0, 4, "PK\3\4", " but a zip archive: unpack it"},
    {0, 3, "\x1f\x8b\x08", " but compressed by gzip: unpack it"},
    {0, 43, "version https://git-lfs.github.com/spec/v1\n",
     " but a Git LFS pointer and not the file itself: git lfs pull fetches it"},
    {0, 15, "<!DOCTYPE html>", " but a web page, as a failed download leaves it: download the image itself"},
    {0, 11, "\xef\xbb\xbf\r\n<HTML>", " but a web page, as a failed download leaves it: download the image itself"},
    {0, 40, "<?xml version=\"1.0\"?><Error>AccessDenied<",
     " but XML, as a failed download leaves it: download the image itself"},
    {0, 5, "<svg ", " but an SVG drawing: save it as PNG"},
    {0, 1, "", " but a file that begins with zeros, as one that was never written out: copy it again"},
    {0, 16, "RIFF\x08\0\0\0WAVEfmt ", ""},
    {0, 20, "hello, this is text\n", ""},
};

static void other_files_by_name(void **state)
{
    enum { ROOM = 300 };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        char bytes[ROOM] = {0}, want[4600];
        dram_image_header header;
        dram_image image;
        const dram_image_rules rules = {0};
        const char *path = in_dir(state, "x.jpg");
        memcpy(bytes + others[i].at, others[i].bytes, (size_t)others[i].n);
        snprintf(want, sizeof want, "%.4300s: not a JPEG, PNG or WebP image%s", path, others[i].said);
        put_file(path, bytes, ROOM);
        dram_error_clear();
        assert_int_equal(dram_image_look((uint8_t *)bytes, ROOM, path, &header), DRAM_ERR_FORMAT);
        assert_string_equal(dram_error_text(), want);
        dram_error_clear();
        assert_int_equal(dram_image_load(path, &rules, &image), DRAM_ERR_FORMAT);
        assert_string_equal(dram_error_text(), want);
        dram_error_clear();
        for (size_t n = 0; n < ROOM; n++) { /* nothing is read past the end, and it is never an image */
            uint8_t *cut = malloc(n ? n : 1);
            memcpy(cut, bytes, n);
            assert_int_equal(dram_image_look(cut, n, "x", &header), DRAM_ERR_FORMAT);
            dram_error_clear();
            free(cut);
        }
    }
}

static void refused(blob file, const char *said)
{
    dram_image_header header;
    for (int k = 0; k < 2; k++) {
        dram_error_clear();
        assert_int_equal(k ? decode(file) : look(file, &header), DRAM_ERR_FORMAT);
        if (!strstr(dram_error_text(), said)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), said);
    }
    dram_error_clear();
    free(file.bytes);
}

static void images_of_kinds_that_are_not_read(void **state)
{
    (void)state;
    refused(blob_of("", 0), "dir/file.jpg: the file is empty");
    blob twelve = blob_of(files[0].bytes, files[0].n);
    uint8_t *frame = twelve.bytes + 2;
    while (!(frame[0] == 0xff && frame[1] == 0xc0)) frame++;
    frame[4] = 12;
    refused(twelve, "a JPEG of 12 bits a sample, where 8 are read; save it as PNG");
    blob animated = webp_with_orientation(blob_of(files[17].bytes, files[17].n), H, W, 1);
    animated.bytes[20] |= 2;
    refused(animated, "animated WebP");
    refused(blob_of("\xff\xd8\xff\xe0", 4), "no complete header");
    refused(blob_of("\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", 16), "PNG");
    blob empty = encode_jpeg(files[0].bytes, 8, 8, 0, TJPF_RGB, TJSAMP_444, 0);
    jpeg_set_size(empty, 0, 8);
    refused(empty, "JPEG");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(headers_are_what_the_files_are, make_files, free_files),
        cmocka_unit_test_setup_teardown(cut_anywhere, make_files, free_files),
        cmocka_unit_test_setup_teardown(something_behind_the_end, make_files, free_files),
        cmocka_unit_test_setup_teardown(no_false_alarm, make_files, free_files),
        cmocka_unit_test_setup_teardown(other_files_by_name, tempdir_make, tempdir_remove),
        cmocka_unit_test_setup_teardown(images_of_kinds_that_are_not_read, make_files, free_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
