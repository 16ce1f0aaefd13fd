/* Mutated files through every decoder: each is decoded or refused, within the memory cap, without harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "data/decode.h"
#include "data/encode.h"
#include "data/mutate.h"

#ifdef DRAM_SANITIZED
enum { ROUNDS = 1500 };
#else
enum { ROUNDS = 6000 };
#endif

/* map: of a label. */
static void fuzz(blob seed, uint64_t number, bool label, const dram_class_map *map)
{
    dram_rng r = dram_rng_make(1, DRAM_RNG_TEST, number);
    dram_image_rules limits = {.max_pixels = 900, .max_bytes = 8 << 20, .range = 4095};
    dram_label_rules rules = {.classes = 4, .ignore_index = 255, .map = map, .max_bytes = 8 << 20};
    int64_t before = dram_alloc_bytes();
    int good = 0, bad = 0;
    for (int k = 0; k < ROUNDS; k++) {
        blob b = k ? mutated(seed, &r) : blob_of(seed.bytes, seed.n);
        dram_image image = {0};
        dram_label ids = {0};
        dram_status status;
        dram_error_clear();
        if (label) {
            dram_source source = {.bytes = b.bytes, .n = b.n, .name = "fuzz", .rules = {.max_bytes = rules.max_bytes}};
            dram_label_values values;
            dram_status looked = dram_label_look(b.bytes, b.n, "fuzz", rules.max_bytes, &values);
            dram_error_clear();
            status = dram_decode_label(&source, &rules, &ids);
            if (status == DRAM_OK) assert_int_equal(looked, DRAM_OK); /* it is a label file at least */
            for (int i = 0; status == DRAM_OK && i < values.n; i++)
                assert_true(dram_label_class(&rules, values.color, values.found[i].value, values.found[i].color) >= 0);
        } else {
            status = dram_image_decode(b.bytes, b.n, "fuzz", &limits, &image);
        }
        if (status == DRAM_OK && !label) {
            assert_in_range((int64_t)image.height * image.width, 1, 900);
            unsigned sum = 0; /* reads every pixel, so that memory that was never written is seen by tools */
            for (int i = 0; i < image.height * image.width * 3; i++) sum += image.pixels[i];
            assert_true(sum <= 900u * 3 * 255);
        }
        if (status == DRAM_OK && label)
            for (int i = 0; i < ids.height * ids.width; i++) assert_true(ids.ids[i] < 4 || ids.ids[i] == 255);
        good += status == DRAM_OK;
        bad += status != DRAM_OK;
        if (status != DRAM_OK && status != DRAM_ERR_FORMAT) fail_msg("round %d: %s", k, dram_error_text());
        if (status != DRAM_OK && !label) assert_null(image.pixels);
        if (k == 0) assert_int_equal(status, DRAM_OK);
        dram_image_free(&image);
        dram_label_free(&ids);
        assert_int_equal(dram_alloc_bytes(), before);
        free(b.bytes);
    }
    assert_true(good > 0 && bad > ROUNDS / 10);
    assert_true(dram_alloc_peak_bytes() <= 16 << 20);
    dram_error_clear();
    free(seed.bytes);
}

enum { H = 24, W = 40 };

static void jpeg(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(H, W), *cmyk = noise_bytes(H * W * 4, 1);
    fuzz(encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_420, 0), 1, false, NULL);
    fuzz(encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_444, TJFLAG_PROGRESSIVE), 2, false, NULL);
    fuzz(jpeg_with_orientation(encode_jpeg(ramp, H, W, 0, TJPF_RGB, TJSAMP_422, 0), 6, false), 3, false, NULL);
    fuzz(encode_jpeg(cmyk, H, W, 0, TJPF_CMYK, TJSAMP_444, 0), 4, false, NULL);
    free(cmyk);
    free(ramp);
}

static void png(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(H, W);
    struct spng_plte palette = {.n_entries = 16};
    fuzz(encode_png(ramp, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), 5, false, NULL);
    fuzz(encode_png(ramp, H * W * 2, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL), 6, false, NULL);
    blob turned = encode_png(ramp, H * W * 2, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE_ALPHA, false, NULL);
    fuzz(png_with_orientation(turned, 6, true, false), 13, false, NULL);
    fuzz(encode_png(ramp, H * W / 2, H, W, 4, SPNG_COLOR_TYPE_INDEXED, false, &palette), 7, false, NULL);
    free(ramp);
}

static void webp(void **state)
{
    (void)state;
    uint8_t *ramp = ramp_image(H, W), *rgba = noise_bytes(H * W * 4, 2);
    fuzz(encode_webp(ramp, H, W, 3, 80), 8, false, NULL);
    fuzz(encode_webp(ramp, H, W, 3, -1), 9, false, NULL);
    fuzz(encode_webp(rgba, H, W, 4, 60), 10, false, NULL);
    free(rgba);
    free(ramp);
}

static void label(void **state)
{
    (void)state;
    uint8_t *ids = noise_bytes(H * W, 3);
    for (int i = 0; i < H * W; i++) ids[i] %= 4;
    fuzz(encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL), 11, true, NULL);
    fuzz(encode_png(ids, H * W / 4, H, W, 2, SPNG_COLOR_TYPE_GRAYSCALE, true, NULL), 12, true, NULL);
    dram_class_map *map = malloc(sizeof *map + 4 * sizeof map->pair[0]);
    assert_non_null(map);
    *map = (dram_class_map){.color = true, .n = 4};
    for (int i = 0; i < 4; i++) map->pair[i] = (dram_class_pair){(uint32_t)i * 0x010101, 3 - i};
    uint8_t rgb[H * W * 3];
    for (int i = 0; i < H * W * 3; i++) rgb[i] = ids[i / 3];
    struct spng_plte palette = {.n_entries = 4};
    for (int i = 0; i < 4; i++) palette.entries[i] = (struct spng_plte_entry){(uint8_t)i, (uint8_t)i, (uint8_t)i, 255};
    fuzz(encode_png(rgb, sizeof rgb, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL), 14, true, map);
    fuzz(encode_png(ids, H * W, H, W, 8, SPNG_COLOR_TYPE_INDEXED, true, &palette), 15, true, map);
    free(map);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jpeg),
        cmocka_unit_test(png),
        cmocka_unit_test(webp),
        cmocka_unit_test(label),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
