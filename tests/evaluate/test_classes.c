/* Whole runs on labels whose numbers mean something else: masks of 0 and 255, labels that count from 1, colours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/image.h"
#include "evaluate/eval_file.h"
#include "support/runs.h"

enum { IMAGES = 4, HEIGHT = 48, WIDTH = 64 };

static char said[8192]; /* all warnings, a line each */

static void keep_all(void *context, dram_log_level level, const char *message)
{
    (void)context;
    size_t at = strlen(said);
    if (strstr(message, " images of data.val are of data.train too")) return; /* as they are here */
    if (level == DRAM_LOG_WARNING) snprintf(said + at, sizeof said - at, "%s\n", message);
}

/* A pale rectangle on dark ground. */
static bool is_thing(int i, int y, int x)
{
    return x >= 8 * i + 6 && x < 8 * i + 34 && y >= 6 * i + 4 && y < 6 * i + 28;
}

/* Folders of one set of images and of the same labels in several writings. Colours are RGB: class k is (10 k, 20, 200). */
static int data_setup(void **state)
{
    static const struct {
        const char *folder;
        int value[2]; /* of class 0 and 1 */
        bool rgb;
    } sets[] = {
        {"plain", {0, 1}, false}, {"binary", {0, 255}, false}, {"from_1", {1, 2}, false}, {"colours", {0}, true}};
    uint8_t rgb[HEIGHT * WIDTH * 3], ids[HEIGHT * WIDTH];
    char path[600];
    if (runs_setup(state) != 0) return -1;
    dram_log_set_sink(keep_all, NULL);
    const char *dir = *state;
    snprintf(path, sizeof path, "%.400s/images", dir);
    if (mkdir(path, 0777) != 0) return -1;
    for (int i = 0; i < IMAGES; i++) {
        for (int k = 0; k < HEIGHT * WIDTH; k++) {
            bool thing = is_thing(i, k / WIDTH, k % WIDTH);
            for (int c = 0; c < 3; c++) rgb[3 * k + c] = (uint8_t)((thing ? 190 : 40) + (k * 7 + c * 13 + i * 5) % 40);
        }
        snprintf(path, sizeof path, "%.400s/images/%d.png", dir, i);
        if (dram_image_write_png(path, rgb, HEIGHT, WIDTH) != DRAM_OK) return -1;
    }
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        snprintf(path, sizeof path, "%.400s/%s", dir, sets[s].folder);
        if (mkdir(path, 0777) != 0) return -1;
        for (int i = 0; i < IMAGES; i++) {
            for (int k = 0; k < HEIGHT * WIDTH; k++) {
                int class = is_thing(i, k / WIDTH, k % WIDTH);
                ids[k] = (uint8_t)sets[s].value[class];
                const uint8_t color[3] = {(uint8_t)(10 * class), 20, 200};
                memcpy(rgb + 3 * k, color, 3);
            }
            snprintf(path, sizeof path, "%.400s/%s/%d.png", dir, sets[s].folder, i);
            dram_status status = sets[s].rgb ? dram_image_write_png(path, rgb, HEIGHT, WIDTH)
                                             : dram_label_write_png(path, ids, HEIGHT, WIDTH);
            if (status != DRAM_OK) return -1;
        }
    }
    return 0;
}

static const char *on(void **state, const char *labels, const char *more)
{
    static char set[4][4400];
    static int next;
    char *out = set[next++ % 4];
    const char *dir = *state;
    snprintf(out, sizeof set[0],
             "data.train.images=%.400s/images data.train.labels=%.400s/%s data.val.images=%.400s/images "
             "data.val.labels=%.400s/%s data.classes=2 data.augment.crop=false sam_distill.enabled=false "
             "resolution_distill.enabled=false %s",
             dir, dir, labels, dir, dir, labels, more);
    said[0] = '\0';
    return out;
}

/* The same labels, however they are written, give the same run, bit for bit. */
static void the_same_run(void **state)
{
    run_order plain = {.name = "plain", .set = on(state, "plain", "train.steps=2")};
    run_ok(state, &plain);
    assert_string_equal(said, "");
    static const struct {
        const char *name, *set;
    } ways[] = {
        {"binary", "train.steps=2 data.class_map={255: 1}"},
        {"from_1", "train.steps=2 data.reduce_zero_label=true"},
        {"colours", "train.steps=2 data.class_map={\"#0014c8\": 0, \"10,20,200\": 1}"},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        run_order o = {.name = ways[i].name, .set = on(state, ways[i].name, ways[i].set)};
        run_ok(state, &o);
        assert_string_equal(said, "");
        assert_int_equal(o.summary.eval.labelled_pixels, IMAGES * HEIGHT * WIDTH);
        assert_same_run(state, "plain", ways[i].name, 2);
        run_remove(state, ways[i].name);
    }
    run_remove(state, "plain");
}

/* Masks of 0 and 255: without a map there is but one class; with it both are learned. */
static void masks_of_0_and_255(void **state)
{
    static const char more[] = "train.steps=40 train.batch_size=4 data.augment.flip=0 data.augment.color_jitter=0";
    char with[400];
    run_order alone = {.name = "alone", .set = on(state, "binary", "train.steps=1")};
    run_ok(state, &alone);
    assert_non_null(strstr(said, "class 1 of data.classes 2 is in none of the labels of data.train"));
    assert_int_equal(alone.summary.eval.absent, 1);
    snprintf(with, sizeof with, "%s data.class_map={255: 1}", more);
    run_order mapped = {.name = "mapped", .set = on(state, "binary", with)};
    run_ok(state, &mapped);
    assert_string_equal(said, "");
    const dram_eval_result *r = &mapped.summary.eval;
    assert_int_equal(r->absent, 0);
    assert_int_equal(r->void_pixels, 0);
    if (!(r->class_iou[0] > 0.8 && r->class_iou[1] > 0.6))
        fail_msg("IoU %.4f and %.4f", r->class_iou[0], r->class_iou[1]);
    run_remove(state, "alone");
    run_remove(state, "mapped");
}

/* In its error, or in what it has warned of. */
static void fails_and_says(void **state, run_order *o, const char *text)
{
    assert_int_not_equal(run(state, o), DRAM_OK);
    if (!strstr(dram_error_text(), text) && !strstr(said, text))
        fail_msg("\"%s\" is not in \"%s\" nor in \"%s\"", text, dram_error_text(), said);
    dram_error_clear();
}

/* Labels that the rules do not suit end a run with what is to be set. */
static void labels_that_do_not_suit(void **state)
{
    run_order o = {.name = "from_1", .set = on(state, "from_1", "train.steps=2")};
    fails_and_says(state, &o,
                   "is out of range: data.classes is 2, data.ignore_index is 255; ids that count from 1: set "
                   "data.reduce_zero_label to true");
    run_order colours = {.name = "colours", .set = on(state, "colours", "train.steps=2")};
    fails_and_says(state, &colours, "say in data.class_map which colour is which class: #0014c8, #0a14c8");
}

/* Names are in what is said, in the lines of evaluations, and change no number. */
static void names(void **state)
{
    run_order o = {.name = "named", .set = on(state, "binary", "train.steps=1 data.class_names=[ground,thing]")};
    run_ok(state, &o);
    assert_non_null(strstr(said, "class thing of data.classes 2 is in none of the labels of data.train"));
    char *lines = get_file(run_file(state, "named", "evaluations.jsonl"), NULL);
    assert_non_null(strstr(lines, ",null],\"class_names\":[\"ground\",\"thing\"],\"step\":1}\n"));
    free(lines);
    cJSON *summary = run_summary(state, "named");
    const cJSON *list =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(summary, "eval"), "class_names");
    assert_int_equal(cJSON_GetArraySize(list), 2);
    assert_string_equal(cJSON_GetArrayItem(list, 1)->valuestring, "thing");
    cJSON_Delete(summary);
    run_remove(state, "named");
    run_order without = {.name = "nameless", .set = on(state, "binary", "train.steps=1")};
    run_ok(state, &without);
    lines = get_file(run_file(state, "nameless", "evaluations.jsonl"), NULL);
    assert_null(strstr(lines, "class_names"));
    free(lines);
    run_remove(state, "nameless");
}

/* What the head has learned stays what it is; what it is called may change. */
static void resumed(void **state)
{
    static const char first[] = "train.steps=2 data.class_map={255: 1} data.class_names=[a,b]";
    run_order o = {.name = "resumed", .set = on(state, "binary", first), .stop_at = 1};
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted: 1 steps are saved");
    o.stop_at = 0;
    o.resume = true;
    o.set = on(state, "binary", "train.steps=2");
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.class_map: {255: 1} -> ");
    o.set = on(state, "binary", "train.steps=2 data.class_map={255: 0}");
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.class_map: {255: 1} -> ");
    o.set = on(state, "binary", "train.steps=2 data.class_map={254: 1}");
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.class_map: {255: 1} -> ");
    o.set = on(state, "binary", "train.steps=2 data.class_map={255: 1, 7: 0}");
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.class_map: {255: 1} -> ");
    o.set = on(state, "binary", "train.steps=2 data.class_map={255: 1} data.reduce_zero_label=true");
    run_fails(state, &o, DRAM_ERR_CONFIG, "data.reduce_zero_label: false -> true: a run keeps its student, classes");
    o.set = on(state, "binary", "train.steps=2 data.class_map={255: 1} data.class_names=[ground,thing]");
    run_ok(state, &o);
    assert_int_equal(o.summary.steps, 2);
    char *yaml = get_file(run_file(state, "resumed", "config.step-00000001.yaml"), NULL);
    assert_non_null(
        strstr(yaml, "\n  class_map: {255: 1}\n  reduce_zero_label: false\n  class_names: [ground, thing]\n"));
    free(yaml);
    run_remove(state, "resumed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_run),
        cmocka_unit_test(masks_of_0_and_255),
        cmocka_unit_test(labels_that_do_not_suit),
        cmocka_unit_test(names),
        cmocka_unit_test(resumed),
    };
    return cmocka_run_group_tests(tests, data_setup, tempdir_remove);
}
