/* The synthetic scenes: the same for the same seed, all classes, readable files. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/testing.h"
#include "data/encode.h"
#include "data/image.h"
#include "support/tempdir.h"
#include "synth/synth.h"

enum { H = 96, W = 128 };

static void scenes_depend_on_seed_and_number(void **state)
{
    (void)state;
    uint8_t *a = malloc(H * W * 4), *b = malloc(H * W * 4), *c = malloc(H * W * 4), *d = malloc(H * W * 4);
    assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 1, 5, H, W, a, a + H * W * 3), DRAM_OK);
    assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 2, 5, H, W, c, c + H * W * 3), DRAM_OK);
    assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 1, 6, H, W, d, d + H * W * 3), DRAM_OK);
    assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 1, 5, H, W, b, b + H * W * 3), DRAM_OK);
    assert_memory_equal(a, b, H * W * 4);
    assert_memory_not_equal(a, c, H * W * 3);
    assert_memory_not_equal(a, d, H * W * 3);
    assert_memory_not_equal(a + H * W * 3, d + H * W * 3, H * W);
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Drawn in one order by every compiler: the mean colours, to less than what another draw changes. */
static void scenes_are_those_of_always(void **state)
{
    (void)state;
    static const double want[4][3] = {
        {143.26, 146.83, 129.16}, {148.33, 143.52, 143.27}, {72.31, 66.57, 69.16}, {126.79, 105.50, 98.02}};
    uint8_t *rgb = malloc(H * W * 3), *ids = malloc(H * W);
    assert_true(rgb && ids);
    for (uint64_t scene = 0; scene < 4; scene++) {
        double sum[3] = {0};
        assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 5, scene, H, W, rgb, ids), DRAM_OK);
        for (int i = 0; i < H * W * 3; i++) sum[i % 3] += rgb[i] / (double)(H * W);
        for (int c = 0; c < 3; c++) assert_true(fabs(sum[c] - want[scene][c]) <= 0.1);
    }
    free(ids);
    free(rgb);
}

static void classes_of(dram_synth_style style)
{
    enum { SCENES = 60 };
    uint8_t *rgb = malloc(H * W * 3), *ids = malloc(H * W);
    int scenes_with[DRAM_SYNTH_CLASSES] = {0}, few = 0;
    for (int k = 0; k < SCENES; k++) {
        int count[DRAM_SYNTH_CLASSES] = {0}, kinds = 0;
        double sum = 0, squares = 0;
        assert_int_equal(dram_synth_draw(style, 3, (uint64_t)k, H, W, rgb, ids), DRAM_OK);
        for (int i = 0; i < H * W; i++) {
            assert_in_range(ids[i], 0, DRAM_SYNTH_CLASSES - 1);
            count[ids[i]]++;
            sum += rgb[3 * i + 1];
            squares += rgb[3 * i + 1] * rgb[3 * i + 1];
        }
        double mean = sum / (H * W), deviation = sqrt(squares / (H * W) - mean * mean);
        assert_true(mean > (style == DRAM_SYNTH_PLAIN ? 10 : 3) && mean < 250 &&
                    deviation > (style == DRAM_SYNTH_PLAIN ? 8 : 4));
        for (int c = 0; c < DRAM_SYNTH_CLASSES; c++) {
            scenes_with[c] += count[c] > 0;
            kinds += count[c] > 0;
        }
        few += kinds < 5;
    }
    for (int c = 0; c < DRAM_SYNTH_CLASSES; c++)
        if (scenes_with[c] < SCENES / 10)
            fail_msg("%s: %s is in %d scenes only", dram_synth_style_name(style),
                     dram_synth_class_name((dram_synth_class)c), scenes_with[c]);
    assert_in_range(few, 0, SCENES / 5);
    free(ids);
    free(rgb);
}

static void every_class_appears_and_no_scene_is_flat(void **state)
{
    (void)state;
    for (int style = 0; style < DRAM_SYNTH_STYLES; style++) classes_of((dram_synth_style)style);
}

/* Every style is the same each time, and looks like no other; the varied one draws a palette a scene. */
static void styles(void **state)
{
    (void)state;
    enum { SCENES = 40 };
    uint8_t *rgb = malloc(H * W * 3), *again = malloc(H * W * 3), *ids = malloc(H * W);
    double sky[DRAM_SYNTH_STYLES][SCENES] = {{0}}, spread[DRAM_SYNTH_STYLES] = {0}, mean[DRAM_SYNTH_STYLES] = {0};
    for (int style = 0; style < DRAM_SYNTH_STYLES; style++) {
        for (int k = 0; k < SCENES; k++) {
            int n = 0;
            assert_int_equal(dram_synth_draw((dram_synth_style)style, 8, (uint64_t)k, H, W, rgb, ids), DRAM_OK);
            assert_int_equal(dram_synth_draw((dram_synth_style)style, 8, (uint64_t)k, H, W, again, ids), DRAM_OK);
            assert_memory_equal(rgb, again, H * W * 3);
            for (int i = 0; i < H * W; i++) {
                if (ids[i] != DRAM_SYNTH_SKY) continue;
                sky[style][k] += rgb[3 * i] - rgb[3 * i + 2]; /* red less blue */
                n++;
            }
            if (n) sky[style][k] /= n;
            mean[style] += sky[style][k] / SCENES;
        }
        for (int k = 0; k < SCENES; k++) spread[style] += pow(sky[style][k] - mean[style], 2) / SCENES;
    }
    assert_true(spread[DRAM_SYNTH_VARIED] > 1.2 * spread[DRAM_SYNTH_PLAIN]);
    assert_true(mean[DRAM_SYNTH_DUSK] < mean[DRAM_SYNTH_PLAIN]);
    free(rgb);
    free(again);
    free(ids);
}

static void any_size(void **state)
{
    (void)state;
    static const int sizes[][2] = {{32, 32}, {33, 47}, {200, 40}, {40, 300}};
    for (int s = 0; s < 4; s++) {
        size_t n = (size_t)sizes[s][0] * (size_t)sizes[s][1];
        uint8_t *rgb = malloc(n * 3),
                *ids = malloc(n); /* exact blocks: a write past the end is seen by the sanitiser */
        for (uint64_t k = 0; k < 30; k++) {
            memset(ids, 0xff, n);
            assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 9, k, sizes[s][0], sizes[s][1], rgb, ids), DRAM_OK);
            for (size_t i = 0; i < n; i++) assert_in_range(ids[i], 0, DRAM_SYNTH_CLASSES - 1);
        }
        free(ids);
        free(rgb);
    }
}

static void files(void **state)
{
    char dir[8192], path[9000];
    snprintf(dir, sizeof dir, "%s/scenes", (const char *)*state);
    dram_error_clear();
    assert_int_equal(dram_synth_write(dir, 3, DRAM_SYNTH_PLAIN, 42, H, W), DRAM_OK);
    uint8_t *rgb = malloc(H * W * 3), *ids = malloc(H * W);
    for (int k = 0; k < 3; k++) {
        dram_image_rules limits = {0};
        dram_label_rules rules = {.height = H, .width = W, .classes = DRAM_SYNTH_CLASSES, .ignore_index = 255};
        dram_image image;
        dram_label label;
        double error = 0;
        assert_int_equal(dram_synth_draw(DRAM_SYNTH_PLAIN, 42, (uint64_t)k, H, W, rgb, ids), DRAM_OK);
        snprintf(path, sizeof path, "%s/images/%05d.jpg", dir, k);
        assert_int_equal(dram_image_load(path, &limits, &image), DRAM_OK);
        assert_true(image.height == H && image.width == W);
        for (int i = 0; i < H * W * 3; i++) error += abs(image.pixels[i] - rgb[i]);
        assert_true(error / (H * W * 3) < 8); /* a JPEG of the same scene: grain and halved chroma are lost */
        snprintf(path, sizeof path, "%s/labels/%05d.png", dir, k);
        assert_int_equal(dram_label_load(path, &rules, &label), DRAM_OK);
        assert_memory_equal(label.ids, ids, H * W);
        dram_label_free(&label);
        dram_image_free(&image);
    }
    free(ids);
    free(rgb);
    snprintf(path, sizeof path, "%s/classes.txt", dir);
    char *names = get_file(path, NULL), *line = strtok(names, "\n");
    for (int c = 0; c < DRAM_SYNTH_CLASSES; c++, line = strtok(NULL, "\n"))
        assert_string_equal(line, dram_synth_class_name((dram_synth_class)c));
    assert_null(line);
    free(names);
    assert_int_equal(dram_synth_write(dir, 1, DRAM_SYNTH_PLAIN, 43, H, W), DRAM_OK); /* again into the same folder */
    snprintf(path, sizeof path, "%s/deep/down", (const char *)*state);               /* folders above are made too */
    assert_int_equal(dram_synth_write(path, 1, DRAM_SYNTH_PLAIN, 43, H, W), DRAM_OK);
    snprintf(path, sizeof path, "%s/deep/down/labels/00000.png", (const char *)*state);
    assert_true(is_there(path));
    snprintf(path, sizeof path, "%s/classes.txt/such", dir); /* below a file: cannot be */
    assert_int_equal(dram_synth_write(path, 1, DRAM_SYNTH_PLAIN, 1, H, W), DRAM_ERR_IO);
    assert_non_null(strstr(dram_error_text(), "classes.txt/such"));
    dram_error_clear();
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    uint8_t *rgb = malloc(H * W * 3), *ids = malloc(H * W);
    for (int after = 0; after < 2; after++) {
        int64_t before = dram_alloc_bytes();
        dram_error_clear();
        dram_alloc_fail_after(after);
        dram_status status = dram_synth_draw(DRAM_SYNTH_PLAIN, 1, 1, H, W, rgb, ids);
        dram_alloc_fail_after(-1);
        assert_int_equal(status, DRAM_ERR_MEMORY);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    dram_error_clear();
    free(ids);
    free(rgb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenes_depend_on_seed_and_number),
        cmocka_unit_test(scenes_are_those_of_always),
        cmocka_unit_test(every_class_appears_and_no_scene_is_flat),
        cmocka_unit_test(styles),
        cmocka_unit_test(any_size),
        cmocka_unit_test(files),
        cmocka_unit_test(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
