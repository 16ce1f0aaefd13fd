/* EXIF's orientation: one rule for JPEG, WebP and PNG, both values of data.orientation, and labels beside turned
 * images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/testing.h"
#include "data/encode.h"
#include "data/image.h"
#include "data/loader.h"
#include "data/look.h"
#include "support/tempdir.h"

/* The stored picture is 2 x 3 squares, A B C over D E F; here is how each orientation shows it, turned by hand from the
 * figure of tag 0x0112 in EXIF 2.3. */
static const char *const stored = "ABC"
                                  "DEF";
static const char *const turned[9] = {"",
                                      "ABC"
                                      "DEF",
                                      "CBA"
                                      "FED",
                                      "FED"
                                      "CBA",
                                      "DEF"
                                      "ABC",
                                      "AD"
                                      "BE"
                                      "CF",
                                      "DA"
                                      "EB"
                                      "FC",
                                      "FC"
                                      "EB"
                                      "DA",
                                      "CF"
                                      "BE"
                                      "AD"};
enum { SQUARE = 16, H = 2 * SQUARE, W = 3 * SQUARE };

static const uint8_t colors[6][3] = {{250, 10, 20},  {20, 240, 30},   {10, 30, 250},
                                     {240, 240, 20}, {128, 128, 128}, {5, 5, 5}};

/* The picture of squares of that many pixels, `across` in a row. */
static uint8_t *picture(const char *letters, int across, int square)
{
    int down = (int)strlen(letters) / across, h = down * square, w = across * square;
    uint8_t *rgb = malloc((size_t)h * (size_t)w * 3);
    assert_non_null(rgb);
    for (int i = 0; i < h * w; i++)
        memcpy(rgb + 3 * i, colors[letters[i / w / square * across + i % w / square] - 'A'], 3);
    return rgb;
}

/* Every sample twice, which is 16 bits with the same high 8. */
static blob encode_wide(const uint8_t *rgb, int h, int w, bool interlaced)
{
    size_t n = (size_t)h * (size_t)w * 3;
    uint8_t *wide = malloc(2 * n);
    assert_non_null(wide);
    for (size_t i = 0; i < n; i++) wide[2 * i] = wide[2 * i + 1] = rgb[i];
    blob png = encode_png(wide, 2 * n, h, w, 16, SPNG_COLOR_TYPE_TRUECOLOR, interlaced, NULL);
    free(wide);
    return png;
}

enum { KINDS = 10 };

/* The stored picture as a file of a kind, with an orientation. */
static blob make(int kind, int orientation)
{
    uint8_t *rgb = picture(stored, 3, SQUARE);
    size_t n = H * W * 3;
    bool big = orientation % 2;
    blob b;
    if (kind < 2)
        b = jpeg_with_orientation(encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_444, kind ? TJFLAG_PROGRESSIVE : 0),
                                  orientation, big);
    else if (kind < 4)
        b = webp_with_orientation(encode_webp(rgb, H, W, 3, kind == 2 ? -1 : 98), H, W, orientation);
    else if (kind < 8)
        b = png_with_orientation(encode_png(rgb, n, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, kind & 1, NULL), orientation,
                                 big, kind & 2);
    else
        b = png_with_orientation(encode_wide(rgb, H, W, kind & 1), orientation, big, false);
    free(rgb);
    return b;
}

/* 4:4:4 at quality 95 of flat squares that are whole blocks; WebP halves chroma, so it is off near the edges of
 * squares, where nothing is compared. */
static const int tolerance[KINDS] = {4, 4, 0, 8, 0, 0, 0, 0, 0, 0};

static void expect_squares(const dram_image *image, const char *letters, int across, int kind)
{
    uint8_t *want = picture(letters, across, SQUARE);
    int compared = 0;
    assert_int_equal(image->width, across * SQUARE);
    assert_int_equal(image->height, (int)strlen(letters) / across * SQUARE);
    for (int i = 0; i < image->height * image->width * 3; i++) {
        int y = i / 3 / image->width % SQUARE, x = i / 3 % image->width % SQUARE;
        bool edge = kind == 3 && (y < 3 || x < 3 || y > SQUARE - 4 || x > SQUARE - 4);
        if (edge) continue;
        compared++;
        if (abs(image->pixels[i] - want[i]) > tolerance[kind])
            fail_msg("kind %d, byte %d: %d, want %d", kind, i, image->pixels[i], want[i]);
    }
    assert_true(compared >= 6 * (SQUARE - 6) * (SQUARE - 6) * 3);
    free(want);
}

static void every_format_and_orientation_under_both_rules(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++)
        for (int o = 1; o <= 8; o++)
            for (int as_stored = 0; as_stored < 2; as_stored++) {
                blob file = make(kind, o);
                dram_image_rules rules = {.stored = as_stored};
                dram_image image;
                dram_image_header header;
                if (dram_image_decode(file.bytes, file.n, "file", &rules, &image) != DRAM_OK)
                    fail_msg("%s", dram_error_text());
                const char *letters = as_stored ? stored : turned[o];
                expect_squares(&image, letters, as_stored || o < 5 ? 3 : 2, kind);
                assert_int_equal(image.full_height, image.height);
                assert_int_equal(image.full_width, image.width);
                assert_true(image.scale_y == 1 && image.scale_x == 1 && image.origin_y == 0 && image.origin_x == 0);
                assert_int_equal(image.orientation, o);
                assert_int_equal(dram_image_look(file.bytes, file.n, "file", &header), DRAM_OK);
                assert_int_equal(header.orientation, o);
                assert_int_equal(header.height, H);
                assert_int_equal(header.width, W);
                dram_image_free(&image);
                free(file.bytes);
            }
}

/* Sides that a turn exchanges are those of the original, scaled down or not; squares become single pixels. */
static void turned_while_scaled_down(void **state)
{
    (void)state;
    for (int kind = 4; kind < KINDS; kind++)
        for (int o = 1; o <= 8; o++) {
            blob file = make(kind, o);
            dram_image_rules rules = {.max_pixels = 6};
            dram_image image;
            assert_int_equal(dram_image_decode(file.bytes, file.n, "file", &rules, &image), DRAM_OK);
            uint8_t *want = picture(turned[o], o < 5 ? 3 : 2, 1);
            assert_int_equal(image.height, o < 5 ? 2 : 3);
            assert_int_equal(image.width, o < 5 ? 3 : 2);
            assert_int_equal(image.full_height, o < 5 ? H : W);
            assert_int_equal(image.full_width, o < 5 ? W : H);
            assert_int_equal(worst_byte(image.pixels, want, 18), 0);
            assert_true(image.scale_y == 1.0 / SQUARE && image.scale_x == 1.0 / SQUARE);
            assert_true(image.origin_y == 0 && image.origin_x == 0);
            free(want);
            dram_image_free(&image);
            free(file.bytes);
        }
}

/* ---- eXIf of a PNG ---- */

static blob plain_png(void)
{
    uint8_t *rgb = picture(stored, 3, SQUARE);
    blob png = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
    free(rgb);
    return png;
}

/* Decodes a PNG and frees it; its squares are as `orientation` shows them. */
static void expect_png(blob png, int orientation)
{
    dram_image image;
    dram_image_header header;
    const dram_image_rules rules = {0};
    if (dram_image_decode(png.bytes, png.n, "file", &rules, &image) != DRAM_OK) fail_msg("%s", dram_error_text());
    expect_squares(&image, turned[orientation], orientation < 5 ? 3 : 2, 4);
    assert_int_equal(image.orientation, orientation);
    assert_int_equal(dram_image_look(png.bytes, png.n, "file", &header), DRAM_OK);
    assert_int_equal(header.orientation, orientation);
    dram_image_free(&image);
    free(png.bytes);
}

/* A chunk with a wrong checksum is as if it were not there. */
static void a_damaged_exif_chunk_is_upright(void **state)
{
    (void)state;
    for (int behind = 0; behind < 2; behind++)
        for (size_t at = 4; at < 4 + 4 + 26 + 4; at++) {
            blob png = plain_png();
            size_t chunk = behind ? png_back(png) : png_front();
            png = png_with_orientation(png, 6, false, behind);
            png.bytes[chunk + at] ^= 1;
            expect_png(png, 1);
        }
}

/* With a right checksum the block itself may be anything: it turns the image only where it says how. */
static void exif_that_says_nothing(void **state)
{
    (void)state;
    static const int values[] = {0, 9, 255};
    for (int k = 0; k < 3; k++) expect_png(png_with_orientation(plain_png(), values[k], k, false), 1);
    uint8_t exif[26];
    tiff_orientation(exif, 6, true);
    for (size_t n = 4; n < 22; n++) /* cut short, before the end of the one entry */
        expect_png(png_insert(plain_png(), png_front(), "eXIf", exif, n), 1);
    exif[11] = 0x13; /* another tag */
    expect_png(png_insert(plain_png(), png_front(), "eXIf", exif, sizeof exif), 1);
}

static void exif_in_odd_places(void **state)
{
    (void)state;
    uint8_t headed[6 + 26] = "Exif\0";
    expect_png(png_with_orientation(png_with_orientation(plain_png(), 8, false, true), 6, true, false), 6); /* two */
    tiff_orientation(headed + 6, 6, false);
    blob late = plain_png();
    expect_png(png_insert(late, png_back(late), "eXIf", headed, sizeof headed), 6);
    late = plain_png(); /* behind the end it is no chunk of the image any more */
    expect_png(png_insert(late, late.n, "eXIf", headed + 6, 26), 1);
    blob text = png_insert(plain_png(), png_front(), "tEXt", "Orientation\0eXIf 6", 18);
    expect_png(text, 1);
}

/* ---- labels ---- */

static char images[4300], labels[4300];

static const char *in_folder(const char *folder, int i, const char *end)
{
    static char path[4400];
    snprintf(path, sizeof path, "%s/%03d%s", folder, i, end);
    return path;
}

static void put_blob(const char *path, blob file)
{
    put_file(path, file.bytes, file.n);
    free(file.bytes);
}

/* A label of the picture as it is stored: the letter's number. */
static blob label_of(const char *letters, int across)
{
    int n = (int)strlen(letters) * SQUARE * SQUARE, w = across * SQUARE;
    uint8_t *ids = malloc((size_t)n);
    for (int i = 0; i < n; i++) ids[i] = (uint8_t)(letters[i / w / SQUARE * across + i % w / SQUARE] - 'A');
    blob png = encode_png(ids, (size_t)n, n / w, w, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    free(ids);
    return png;
}

static int folders(void **state)
{
    if (tempdir_make(state)) return -1;
    snprintf(images, sizeof images, "%s/images", (const char *)*state);
    snprintf(labels, sizeof labels, "%s/labels", (const char *)*state);
    return mkdir(images, 0777) || mkdir(labels, 0777) ? -1 : 0;
}

/* One evaluation of the folder at the side of its images. *agree: pixels whose colour is that of their class. */
static dram_status pass(bool as_stored, int side, int *agree, int *pixels)
{
    dram_dataset *d;
    dram_loader *l;
    dram_batch batch;
    dram_dataset_params dataset = {.images = images, .labels = labels, .label_fraction = 1};
    assert_int_equal(dram_dataset_open(&dataset, &d), DRAM_OK);
    dram_loader_params params = {.dataset = d,
                                 .student_size = side,
                                 .batch_size = 1,
                                 .workers = 2,
                                 .images = {.stored = as_stored},
                                 .labels = {.classes = 6, .ignore_index = 255}};
    *agree = *pixels = 0;
    assert_int_equal(dram_loader_open(&params, &l), DRAM_OK);
    dram_status status;
    while ((status = dram_loader_next(l, &batch)) == DRAM_OK && batch.count) {
        const dram_sample *s = &batch.samples[0];
        assert_true(s->has_label);
        assert_int_equal(s->student_height, side);
        for (int i = 0; i < side * side; i++, ++*pixels)
            *agree += worst_byte(s->student + 3 * i, colors[s->label[i]], 3) <= 16;
    }
    dram_loader_close(l);
    dram_dataset_close(d);
    return status;
}

/* Square photographs of orientations 1, 6 and 3 with labels as stored, in every format: right pairs in all of their
 * pixels under `stored`, in none of the turned ones' under `exif`, where no square stays in its place. */
static void square_images_with_labels_as_stored(void **state)
{
    (void)state;
    static const int orientations[] = {1, 6, 3};
    uint8_t *rgb = picture("ABCD", 2, SQUARE);
    int agree, pixels, side = 2 * SQUARE;
    for (int i = 0; i < 9; i++) {
        int o = orientations[i % 3];
        blob file = i / 3 == 0
                        ? jpeg_with_orientation(encode_jpeg(rgb, side, side, 0, TJPF_RGB, TJSAMP_444, 0), o, false)
                    : i / 3 == 1 ? png_with_orientation(encode_png(rgb, (size_t)(side * side * 3), side, side, 8,
                                                                   SPNG_COLOR_TYPE_TRUECOLOR, false, NULL),
                                                        o, false, false)
                                 : webp_with_orientation(encode_webp(rgb, side, side, 3, -1), side, side, o);
        put_blob(in_folder(images, i, ".jpg"), file);
        put_blob(in_folder(labels, i, ".png"), label_of("ABCD", 2));
    }
    assert_int_equal(pass(true, side, &agree, &pixels), DRAM_OK);
    assert_int_equal(pixels, 9 * side * side);
    assert_int_equal(agree, pixels);
    assert_int_equal(pass(false, side, &agree, &pixels), DRAM_OK);
    assert_int_equal(pixels, 9 * side * side);
    assert_int_equal(agree, 3 * side * side);
    for (int i = 0; i < 9; i++) /* drawn on what is seen: the labels are right under `exif` */
        put_blob(in_folder(labels, i, ".png"), label_of(i % 3 == 0 ? "ABCD" : i % 3 == 1 ? "CADB" : "DCBA", 2));
    assert_int_equal(pass(false, side, &agree, &pixels), DRAM_OK);
    assert_int_equal(agree, 9 * side * side);
    free(rgb);
}

/* The only image is more than 10 %, and the last reason ends the text. */
static void expect_end(bool as_stored, const char *reason)
{
    int agree, pixels;
    char text[400];
    dram_error_clear();
    assert_int_equal(pass(as_stored, 48, &agree, &pixels), DRAM_ERR_RUN);
    int m = snprintf(text, sizeof text, "%s)", reason);
    size_t n = strlen(dram_error_text());
    if (n < (size_t)m || strcmp(dram_error_text() + n - m, text) != 0)
        fail_msg("\"%s\" does not end in \"%s\"", dram_error_text(), text);
    dram_error_clear();
}

static void a_size_that_does_not_match_names_exif(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind += 2) {
        put_blob(in_folder(images, 0, ".png"), make(kind, 6));
        put_blob(in_folder(labels, 0, ".png"), label_of("ABCDEF", 3));
        expect_end(false,
                   "000.png: the label has 48x32 pixels, its image 32x48; they must be equal: the image is turned "
                   "by EXIF's orientation 6, and labels are taken as stored; draw them on the turned image, or "
                   "set data.orientation to stored");
        put_blob(in_folder(labels, 0, ".png"), label_of("DAEBFC", 2));
        expect_end(
            true,
            "000.png: the label has 32x48 pixels, its image 48x32; they must be equal: EXIF's orientation 6 "
            "would turn the image, and data.orientation is stored; set it to exif if the labels are drawn on turned "
            "images");
        put_blob(in_folder(labels, 0, ".png"), label_of("ABCDEF", 1)); /* EXIF has nothing to do with it */
        expect_end(false, "the label has 16x96 pixels, its image 32x48; they must be equal");
        put_blob(in_folder(images, 0, ".png"), make(kind, 3)); /* turned, but not on its side */
        put_blob(in_folder(labels, 0, ".png"), label_of("DAEBFC", 2));
        expect_end(false, "the label has 32x48 pixels, its image 48x32; they must be equal");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_and_orientation_under_both_rules),
        cmocka_unit_test(turned_while_scaled_down),
        cmocka_unit_test(a_damaged_exif_chunk_is_upright),
        cmocka_unit_test(exif_that_says_nothing),
        cmocka_unit_test(exif_in_odd_places),
        cmocka_unit_test_setup_teardown(square_images_with_labels_as_stored, folders, tempdir_remove),
        cmocka_unit_test_setup_teardown(a_size_that_does_not_match_names_exif, folders, tempdir_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
