/* data.orientation and data.range in what is shown: predictions and features are of the image that training saw. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/encode.h"
#include "data/image.h"
#include "evaluate/features.h"
#include "evaluate/predictions.h"
#include "support/runs.h"

enum { H = 48, W = 64, VOID = 255 };

/* 12 bits as they are, 0 to 4095: a ramp. */
static blob twelve_bits(int orientation)
{
    static uint16_t values[H * W];
    for (int i = 0; i < H * W; i++) values[i] = (uint16_t)(i * 4095 / (H * W - 1));
    blob png = encode_png(values, sizeof values, H, W, 16, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL);
    return png_with_orientation(png, orientation, false, false);
}

/* What the ramp is under the two keys, orientation 6 or none applied. */
static void ramp_as(bool turned, int range, uint8_t *rgb)
{
    for (int i = 0; i < H * W; i++) {
        /* row 0 as stored is the right side of what is seen, column 0 its top */
        int at = turned ? (H - 1 - i % H) * W + i / H : i, v = at * 4095 / (H * W - 1);
        memset(rgb + 3 * i, range == 65535 ? v >> 8 : (int)(v * 255.0 / range + 0.5), 3);
    }
}

static const struct {
    const char *set;
    bool turned;
    int range;
} rows[] = {{"", true, 65535},
            {"data.orientation=stored", false, 65535},
            {"data.range=4095", true, 4095},
            {"data.orientation=stored data.range=4095", false, 4095}};
enum { ROWS = sizeof rows / sizeof rows[0] };

static dram_image load(const char *path)
{
    dram_image image;
    const dram_image_rules rules = {0};
    if (dram_image_load(path, &rules, &image) != DRAM_OK) fail_msg("%s", dram_error_text());
    return image;
}

/* Where all of a label is void, nothing is laid over the image: it is seen as it was read. */
static void predictions(void **state)
{
    static uint8_t nothing[H * W], want[H * W * 3];
    static float logits[4 * 4 * 12];
    memset(nothing, VOID, sizeof nothing);
    assert_int_equal(mkdir(in_dir(state, "p"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "p/images"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "p/labels"), 0777), 0);
    blob file = twelve_bits(6);
    put_file(in_dir(state, "p/images/a.png"), file.bytes, file.n);
    free(file.bytes);
    for (int k = 0; k < ROWS; k++) {
        char set[9000];
        dram_predictions *p;
        dram_dataset *d;
        int h = rows[k].turned ? W : H, w = rows[k].turned ? H : W;
        assert_int_equal(dram_label_write_png(in_dir(state, "p/labels/a.png"), nothing, h, w), DRAM_OK);
        snprintf(set, sizeof set, "data.val.images=%.4000s data.val.labels=%.4000s %s", in_dir(state, "p/images"),
                 in_dir(state, "p/labels"), rows[k].set);
        dram_config *cfg = run_config(state, "none", set);
        const dram_dataset_params params = {
            .images = cfg->data.val.images, .labels = cfg->data.val.labels, .label_fraction = 1};
        assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
        dram_sample sample = {.name = "a.png", .has_label = true, .geometry = dram_geometry_fit(h, w)};
        if (dram_predictions_open(cfg, in_dir(state, "p/out"), d, &p) != DRAM_OK) fail_msg("%s", dram_error_text());
        if (dram_predictions_write(p, cfg, &sample, logits, &DRAM_SHAPE(1, 4, 4, 12)) != DRAM_OK)
            fail_msg("%s", dram_error_text());
        dram_predictions_close(p);
        dram_image out = load(in_dir(state, "p/out/a.png"));
        assert_int_equal(out.height, h);
        assert_int_equal(out.width, w);
        ramp_as(rows[k].turned, rows[k].range, want);
        assert_int_equal(worst_byte(out.pixels, want, sizeof want), 0);
        dram_image_free(&out);
        dram_dataset_close(d);
        dram_config_free(cfg);
    }
}

/* The first panel is the image: its sides and its brightness are those of the keys. */
static void features(void **state)
{
    enum { LONG = 512, SHORT = 384 };
    run_order o = {.name = "net", .set = "train.steps=1 sam_distill.enabled=false"};
    run_ok(state, &o);
    blob file = twelve_bits(6);
    put_file(in_dir(state, "ramp.png"), file.bytes, file.n);
    free(file.bytes);
    const char *images[] = {in_dir(state, "ramp.png")};
    for (int k = 0; k < ROWS; k++) {
        char set[500];
        snprintf(set, sizeof set, "sam_distill.enabled=false %s", rows[k].set);
        dram_config *cfg = run_config(state, "none", set);
        if (dram_features_write(cfg, run_file(state, "net", "student.safetensors"), in_dir(state, "f"), images, 1, NULL,
                                NULL, NULL) != DRAM_OK)
            fail_msg("%s", dram_error_text());
        dram_config_free(cfg);
        dram_image out = load(in_dir(state, "f/ramp.png"));
        int h = rows[k].turned ? LONG : SHORT, w = rows[k].turned ? SHORT : LONG, brightest = 0;
        assert_int_equal(out.height, h);
        assert_int_equal(out.width, 2 * w + 8);
        for (int i = 0; i < h * w; i++) {
            int v = out.pixels[3 * (i / w * out.width + i % w)];
            if (v > brightest) brightest = v;
        }
        assert_in_range(brightest, rows[k].range == 4095 ? 250 : 14, rows[k].range == 4095 ? 255 : 15);
        dram_image_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(predictions),
        cmocka_unit_test(features),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
