/* data.orientation and data.range: from the config to the decoders, and in the keys of a cache of embeddings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "caches.h"
#include "data/encode.h"
#include "io/hash.h"

#define PHOTOS "data.train.images=%.4000s data.train.labels=none data.val.images=none data.val.labels=none " EMBED

static void rules_are_the_configs(void **state)
{
    static const struct {
        const char *set;
        bool stored;
        int range;
    } rows[] = {{"", false, 65535},
                {"data.orientation=stored", true, 65535},
                {"data.orientation=exif data.range=4095", false, 4095}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char set[200];
        snprintf(set, sizeof set, "data.max_pixels=123456 data.max_decode_bytes=3MiB %s", rows[i].set);
        dram_config *cfg = run_config(state, "r", set);
        dram_image_rules rules = dram_datasets_image_rules(cfg);
        assert_int_equal(rules.max_pixels, 123456);
        assert_int_equal(rules.max_bytes, 3 << 20);
        assert_int_equal(rules.stored, rows[i].stored);
        assert_int_equal(rules.range, rows[i].range);
        dram_config_free(cfg);
    }
}

static void bad_values(void **state)
{
    static const char *const bad[][2] = {{"data.orientation=turned", "it may be: exif, stored"},
                                         {"data.range=0", "data.range"},
                                         {"data.range=65536", "data.range"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        dram_config *cfg = NULL;
        const char *overrides[] = {bad[i][0]};
        assert_int_equal(dram_config_load(in_dir(state, "base.yaml"), overrides, 1, &cfg), DRAM_ERR_CONFIG);
        if (!strstr(dram_error_text(), bad[i][1])) fail_msg("\"%s\"", dram_error_text());
        dram_error_clear();
    }
}

/* ---- keys ---- */

enum { H = 24, W = 32, FILES = 7 };
typedef enum { PLAIN_JPEG, TURNED_JPEG, TURNED_WEBP, PLAIN_PNG, TURNED_PNG, WIDE_PNG, BAD_FILE } kind;

static blob make(kind k)
{
    uint8_t *rgb = noise_bytes(H * W * 3, 5);
    blob b;
    switch (k) {
    case PLAIN_JPEG:
        b = encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_420, 0);
        break;
    case TURNED_JPEG:
        b = jpeg_with_orientation(encode_jpeg(rgb, H, W, 0, TJPF_RGB, TJSAMP_420, 0), 6, false);
        break;
    case TURNED_WEBP:
        b = webp_with_orientation(encode_webp(rgb, H, W, 3, 80), H, W, 3);
        break;
    case PLAIN_PNG:
        b = encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, false, NULL);
        break;
    case TURNED_PNG:
        b = png_with_orientation(encode_png(rgb, H * W * 3, H, W, 8, SPNG_COLOR_TYPE_TRUECOLOR, true, NULL), 6, true,
                                 true);
        break;
    case WIDE_PNG:
        b = encode_png(rgb, H * W * 2, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
        break;
    default:
        b = blob_of("not an image", 12);
    }
    free(rgb);
    return b;
}

/* Before there was data.orientation and data.range, JPEG and WebP were turned, PNG was not, and 16 bits were cut to 8:
 * the key of an image that is still read so is what it was. */
static void a_key_changes_with_the_pixels_alone(void **state)
{
    static const struct {
        const char *set, *more[FILES];
    } rows[] = {
        {"", {"", "", "", "", " turned", "", ""}},
        {"data.orientation=stored", {"", " stored", " stored", "", "", "", ""}},
        {"data.range=4095", {"", "", "", "", " turned", " range 4095", ""}},
        {"data.orientation=stored data.range=255", {"", " stored", " stored", "", "", " range 255", ""}},
    };
    char content[FILES][DRAM_HASH_SIZE];
    assert_int_equal(mkdir(in_dir(state, "photos"), 0777), 0);
    for (int i = 0; i < FILES; i++) {
        char name[40];
        blob b = make((kind)i);
        snprintf(name, sizeof name, "photos/%d.jpg", i);
        put_file(in_dir(state, name), b.bytes, b.n);
        dram_hash_memory(b.bytes, b.n, content[i]);
        free(b.bytes);
    }
    int compared = 0;
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        char set[5000];
        dram_dataset *train;
        dram_targets t;
        snprintf(set, sizeof set, PHOTOS "data.max_pixels=5000 %s", in_dir(state, "photos"), rows[k].set);
        dram_config *cfg = run_config(state, "k", with_cache(state, "keys", set));
        assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
        assert_int_equal(dram_dataset_count(train), FILES);
        if (dram_targets_open(cfg, train, NULL, NULL, &t) != DRAM_OK) fail_msg("%s", dram_error_text());
        for (int i = 0; i < 2 * FILES; i++) {
            char text[200];
            int n = snprintf(text, sizeof text, "image %s flip %d max_pixels 5000%s", content[i / 2], i % 2,
                             rows[k].more[i / 2]);
            dram_hash128 want = dram_hash_128(text, (size_t)n);
            if (t.train[i].low != want.low || t.train[i].high != want.high)
                fail_msg("%s: file %d has not the key of \"%s\"", rows[k].set, i / 2, text);
            compared++;
        }
        dram_targets_close(&t);
        dram_dataset_close(train);
        dram_config_free(cfg);
    }
    assert_int_equal(compared, 4 * 2 * FILES);
    assert_int_equal(remove(in_dir(state, "photos/6.jpg")), 0); /* more than a tenth would be bad */
}

/* What a cache lacks after a change of the keys is what that changed; back again, nothing. */
static void only_what_changed_is_made_again(void **state)
{
    static const struct {
        const char *set;
        int made;
    } rows[] = {{"", 6}, {"data.range=4095", 1}, {"data.orientation=stored", 3}, {"", 0}};
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        char set[5000], text[100];
        dram_dataset *train;
        dram_targets t;
        snprintf(set, sizeof set, PHOTOS "data.augment.flip=0 %s", in_dir(state, "photos"), rows[k].set);
        dram_config *cfg = run_config(state, "m", with_cache(state, "made", set));
        assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
        said[0] = '\0';
        if (open_filled(cfg, train, NULL, &t) != DRAM_OK) fail_msg("%s", dram_error_text());
        if (rows[k].made)
            snprintf(text, sizeof text, "cache: %d of 6 embeddings to make", rows[k].made);
        else
            snprintf(text, sizeof text, "cache: all 6 embeddings are in");
        assert_said(text);
        dram_targets_close(&t);
        dram_dataset_close(train);
        dram_config_free(cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_are_the_configs),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(a_key_changes_with_the_pixels_alone),
        cmocka_unit_test(only_what_changed_is_made_again),
    };
    dram_log_set_sink(hear, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
