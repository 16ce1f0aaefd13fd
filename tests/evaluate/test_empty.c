/* Nothing to compare is no number: masks of 0 and 255, images too thin for a cell, labels that are all void. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/image.h"
#include "evaluate/eval_file.h"
#include "evaluate/features.h"
#include "support/runs.h"

enum { VOID = 255 };

static char said[8192]; /* all warnings, a line each */

static void keep_all(void *context, dram_log_level level, const char *message)
{
    (void)context;
    size_t at = strlen(said);
    if (strstr(message, " images of data.val are of data.train too")) return; /* as they are here */
    if (level == DRAM_LOG_WARNING) snprintf(said + at, sizeof said - at, "%s\n", message);
}

static void assert_said(const char *text)
{
    if (!strstr(said, text)) fail_msg("\"%s\" was not said, but \"%s\"", text, said);
}

static int folder_setup(void **state)
{
    if (runs_setup(state) != 0) return -1;
    dram_log_set_sink(keep_all, NULL);
    return 0;
}

/* NAME/images/II.png, and the label NAME/labels/II.png unless id is NULL: id(i, y, x). Image i is tiles of colour. */
static void put_pair(void **state, const char *name, int i, int height, int width, int (*id)(int i, int y, int x))
{
    char path[600];
    const char *dir = *state; /* in_dir holds no path for each of so many */
    uint8_t *rgb = malloc((size_t)height * (size_t)width * 3), *ids = malloc((size_t)height * (size_t)width);
    assert_true(rgb && ids);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < 3; c++)
                rgb[3 * (y * width + x) + c] = (uint8_t)((x / 8 * 37 + y / 8 * 53 + c * 71 + i * 97) % 256);
            if (id) ids[y * width + x] = (uint8_t)id(i, y, x);
        }
    static const char *const folders[] = {"", "/images", "/labels"};
    for (int k = 0; k < 3; k++) {
        snprintf(path, sizeof path, "%.400s/%s%s", dir, name, folders[k]);
        mkdir(path, 0777);
    }
    snprintf(path, sizeof path, "%.400s/%s/images/%03d.png", dir, name, i);
    assert_int_equal(dram_image_write_png(path, rgb, height, width), DRAM_OK);
    snprintf(path, sizeof path, "%.400s/%s/labels/%03d.png", dir, name, i);
    if (id) assert_int_equal(dram_label_write_png(path, ids, height, width), DRAM_OK);
    free(rgb);
    free(ids);
}

static int halves(int i, int y, int x)
{
    (void)i, (void)y;
    return x >= 32;
}

static int zero_and_255(int i, int y, int x)
{
    (void)i;
    return x >= 24 && x < 40 && y >= 16 && y < 32 ? VOID : 0;
}

static int all_void(int i, int y, int x)
{
    (void)i, (void)y, (void)x;
    return VOID;
}

/* Overrides that train on NAME and evaluate on VAL, whole images, one resolution. */
static const char *on(void **state, const char *name, const char *val, const char *more)
{
    static char set[2][9400];
    static int next;
    char *out = set[next++ % 2];
    char train[600];
    snprintf(train, sizeof train, "%.580s", in_dir(state, name));
    snprintf(out, sizeof set[0],
             "data.train.images=%s/images data.train.labels=%s/labels data.val.images=%.580s/images "
             "data.val.labels=%.580s/labels data.classes=2 data.augment.crop=false %s",
             train, train, in_dir(state, val), in_dir(state, val), more);
    said[0] = '\0';
    return out;
}

/* A number of line `step` of a run's metrics; NAN: null. */
static double metric(void **state, const char *name, int step, const char *key)
{
    char *text = get_file(run_file(state, name, "metrics.jsonl"), NULL), *line = text;
    cJSON *root;
    for (int i = 0; i < step; i++) line = strchr(line, '\n') + 1;
    assert_int_equal(dram_json_parse(line, (size_t)(strchr(line, '\n') - line), &root, NULL), DRAM_OK);
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, key);
    assert_non_null(item);
    assert_true(cJSON_IsNull(item) || cJSON_IsNumber(item));
    double value = cJSON_IsNull(item) ? NAN : item->valuedouble;
    cJSON_Delete(root);
    free(text);
    return value;
}

static bool is_null(const cJSON *object, const char *key)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(object, key));
}

static void masks_of_0_and_255(void **state)
{
    for (int i = 0; i < 4; i++) put_pair(state, "binary", i, 48, 64, zero_and_255);
    run_order o = {.name = "binary", .set = on(state, "binary", "binary", "train.steps=2")};
    run_ok(state, &o);
    assert_said("class 1 of data.classes 2 is in none of the labels of data.train");
    assert_said("one answer to learn");
    assert_said("8 % of the pixels are void (255");
    const dram_eval_result *r = &o.summary.eval;
    assert_int_equal(r->absent, 1);
    assert_int_equal(r->void_pixels, 4 * 16 * 16);
    assert_int_equal(r->labelled_pixels, 4 * (48 * 64 - 16 * 16));
    assert_true(isnan(r->class_iou[1]) && r->miou == r->class_iou[0]);
    cJSON *summary = run_summary(state, "binary");
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval");
    assert_true(json_number(eval, "classes_in_no_label") == 1);
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(eval, "class_iou"), 1)));
    cJSON_Delete(summary);
}

static void strips(void **state)
{
    for (int i = 0; i < 2; i++) put_pair(state, "strips", i, 24, 640, halves);
    run_order o = {.name = "strips", .set = on(state, "strips", "strips", "train.steps=1")};
    run_ok(state, &o);
    assert_said("step 0: 2 of 2 images are so thin at data.size 64");
    assert_true(isnan(metric(state, "strips", 0, "loss_sam")) && isnan(metric(state, "strips", 0, "loss_resolution")));
    assert_true(metric(state, "strips", 0, "sam_images_left_out") == 2);
    assert_true(metric(state, "strips", 0, "resolution_images_left_out") == 2);
    assert_true(metric(state, "strips", 0, "label_pixels") > 0);
    assert_true(metric(state, "strips", 0, "loss") == metric(state, "strips", 0, "loss_task"));
    cJSON *summary = run_summary(state, "strips");
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval");
    assert_true(is_null(eval, "embedding_cosine") && is_null(eval, "embedding_mse"));
    assert_true(json_number(eval, "images_without_cell") == 2 && json_number(eval, "images_compared") == 0);
    assert_true(json_number(eval, "miou") >= 0); /* pixels are compared all the same */
    cJSON_Delete(summary);
}

/* No term compared anything: there is no loss, and that is no error. The update is made all the same. */
static void nothing_at_all(void **state)
{
    static const char *const terms[] = {"sam_distill.enabled=false", "resolution_distill.enabled=false", ""};
    for (int i = 0; i < 3; i++) {
        char set[200];
        snprintf(set, sizeof set, "train.steps=2 task.enabled=false %s", terms[i]);
        run_order o = {.name = "nothing", .set = on(state, "strips", "strips", set)};
        run_ok(state, &o);
        for (int step = 0; step < 2; step++) {
            assert_true(isnan(metric(state, "nothing", step, "loss")));
            assert_true(metric(state, "nothing", step, "grad_norm") == 0);
        }
        assert_true(isnan(o.summary.final_loss));
        cJSON *summary = run_summary(state, "nothing");
        assert_true(is_null(summary, "final_loss") && json_number(summary, "exit") == 0);
        cJSON_Delete(summary);
        run_remove(state, "nothing");
    }
}

/* A step of one image without a label and without a cell, among others: its line alone has no loss. */
static void nothing_in_one_step(void **state)
{
    put_pair(state, "lone", 0, 48, 64, halves);
    put_pair(state, "lone", 1, 24, 640, NULL);
    run_order o = {.name = "lone",
                   .set = on(state, "lone", "lone",
                             "train.steps=2 train.batch_size=1 data.labels_optional=true "
                             "resolution_distill.enabled=false")};
    run_ok(state, &o);
    int with = 0, without = 0;
    for (int step = 0; step < 2; step++) {
        double loss = metric(state, "lone", step, "loss");
        with += loss > 0;
        without += isnan(loss);
    }
    assert_int_equal(with, 1);
    assert_int_equal(without, 1);
}

static void all_labels_void(void **state)
{
    for (int i = 0; i < 3; i++) put_pair(state, "void", i, 48, 64, all_void);
    run_order o = {.name = "void", .set = on(state, "void", "void", "train.steps=1")};
    run_fails(state, &o, DRAM_ERR_CONFIG,
              "data.train.labels: none of the 3 labels has a labelled pixel: all are 255 (data.ignore_index)");
    assert_int_equal(dram_status_exit(DRAM_ERR_CONFIG), 2);
    assert_false(is_there(run_file(state, "void", "metrics.jsonl")));
    /* Without a task nothing is learned from them, and nothing is wrong. */
    run_order off = {.name = "off", .set = on(state, "void", "void", "train.steps=1 task.enabled=false")};
    run_ok(state, &off);
    assert_true(isnan(metric(state, "off", 0, "label_pixels")));
    assert_string_equal(said, "");
}

/* ---- beyond the three ---- */

/* A strip beside an image counts in no mean: the step's term is the image's own, and so is the evaluation. */
static void a_strip_among_images(void **state)
{
    const char *more = "train.steps=1 resolution_distill.enabled=false";
    put_pair(state, "one", 0, 48, 64, halves);
    put_pair(state, "mixed", 0, 48, 64, halves);
    put_pair(state, "mixed", 1, 24, 640, halves);
    run_order o = {.name = "mixed", .set = on(state, "mixed", "mixed", more)};
    run_ok(state, &o);
    assert_said("step 0: 1 of 2 images");
    double sam = metric(state, "mixed", 0, "loss_sam"), task = metric(state, "mixed", 0, "loss_task");
    assert_true(metric(state, "mixed", 0, "sam_images_left_out") == 1);
    assert_true(sam > 0 && fabs(metric(state, "mixed", 0, "loss") - (task + sam / 2)) < 1e-5 * sam);
    assert_int_equal(o.summary.eval.embedded, 1);
    assert_int_equal(o.summary.eval.without_cell, 1);
    dram_eval_result alone;
    dram_config *cfg = run_config(state, "none", on(state, "one", "one", more));
    dram_status status =
        dram_evaluate_file(cfg, run_file(state, "mixed", "student.safetensors"), NULL, NULL, NULL, &alone);
    dram_config_free(cfg);
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_int_equal(alone.embedded, 1);
    assert_int_equal(alone.without_cell, 0);
    assert_true(fabs(alone.embedding_cosine - o.summary.eval.embedding_cosine) < 1e-5);
    assert_true(fabs(alone.embedding_mse - o.summary.eval.embedding_mse) < 1e-5 * (1 + alone.embedding_mse));
}

/* One of two images has a label: each is a step of its own, and the task's loss of the other is none. */
static void a_step_without_labels(void **state)
{
    put_pair(state, "half", 0, 48, 64, halves);
    put_pair(state, "half", 1, 48, 64, NULL);
    run_order o = {.name = "half",
                   .set = on(state, "half", "half", "train.steps=2 train.batch_size=1 data.labels_optional=true")};
    run_ok(state, &o);
    int with = 0, without = 0;
    for (int step = 0; step < 2; step++) {
        double pixels = metric(state, "half", step, "label_pixels"), task = metric(state, "half", step, "loss_task");
        with += pixels > 0 && task > 0;
        without += pixels == 0 && isnan(task);
        assert_true(metric(state, "half", step, "loss_sam") > 0);
    }
    assert_int_equal(with, 1);
    assert_int_equal(without, 1);
    assert_int_equal(o.summary.eval.unlabelled, 1);
    assert_string_equal(said, "");
}

/* Labels of data.val that are all void give no mIoU and no accuracy. */
static void evaluated_on_void(void **state)
{
    put_pair(state, "good", 0, 48, 64, halves);
    put_pair(state, "blank", 0, 48, 64, all_void);
    run_order o = {.name = "blank", .set = on(state, "good", "blank", "train.steps=1")};
    run_ok(state, &o);
    cJSON *summary = run_summary(state, "blank");
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(summary, "eval");
    assert_true(is_null(eval, "miou") && is_null(eval, "pixel_accuracy"));
    assert_true(json_number(eval, "labelled_pixels") == 0 && json_number(eval, "void_pixels") == 48 * 64);
    assert_true(json_number(eval, "images_without_label") == 1 && json_number(eval, "classes_in_no_label") == 2);
    cJSON_Delete(summary);
}

static int mostly_void(int i, int y, int x)
{
    (void)i;
    return y < 36 ? VOID : x >= 32;
}

static int one_is_77(int i, int y, int x)
{
    return i == 2 && y == 0 && x == 0 ? 77 : x >= 32;
}

static void said_before_step_one(void **state)
{
    for (int i = 0; i < 3; i++) put_pair(state, "mostly", i, 48, 64, mostly_void);
    for (int i = 0; i < 3; i++) put_pair(state, "odd", i, 48, 64, one_is_77);
    run_order mostly = {.name = "mostly", .set = on(state, "mostly", "mostly", "train.steps=1")};
    run_ok(state, &mostly);
    assert_said("75 % of the pixels of the labels of data.train are void (255");
    run_order odd = {.name = "odd", .set = on(state, "odd", "odd", "train.steps=1")};
    run_fails(state, &odd, DRAM_ERR_CONFIG, "data.train.labels: 1 of 3 images cannot be used, more than 10 %");
    assert_int_equal(odd.summary.data.train.bad_labels.n, 1);
    assert_int_equal(odd.summary.data.train.pixels[0] + odd.summary.data.train.pixels[1], 2 * 48 * 64);
    assert_false(is_there(run_file(state, "odd", "")));
}

/* 640x4 has no cell at 1024 either. */
static void thin_for_the_teacher(void **state)
{
    dram_fidelity result;
    put_pair(state, "thin", 0, 4, 640, NULL);
    dram_config *cfg = run_config(state, "none", "");
    if (dram_fidelity_folder(cfg, in_dir(state, "thin/images"), NULL, &result) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    assert_int_equal(result.images, 0);
    assert_int_equal(result.without_cell, 1);
    assert_true(isnan(result.cosine) && isnan(result.worst));
    dram_config_free(cfg);
}

static void keep_picture(void *context, const dram_features_picture *picture)
{
    *(dram_features_picture *)context = *picture;
}

static void features_of_a_strip(void **state)
{
    dram_features_picture picture = {0};
    put_pair(state, "ribbon", 0, 24, 640, NULL);
    const char *images[] = {in_dir(state, "ribbon/images/000.png")};
    dram_config *cfg = run_config(state, "none", "data.classes=2 resolution_distill.enabled=false");
    dram_status status = dram_features_write(cfg, run_file(state, "strips", "student.safetensors"),
                                             in_dir(state, "looks"), images, 1, NULL, keep_picture, &picture);
    if (status != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_true(picture.no_cell && isnan(picture.cosine) && isnan(picture.mse) && isnan(picture.explained));
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_of_0_and_255),    cmocka_unit_test(strips),
        cmocka_unit_test(nothing_at_all),        cmocka_unit_test(nothing_in_one_step),
        cmocka_unit_test(all_labels_void),       cmocka_unit_test(a_strip_among_images),
        cmocka_unit_test(a_step_without_labels), cmocka_unit_test(evaluated_on_void),
        cmocka_unit_test(said_before_step_one),  cmocka_unit_test(thin_for_the_teacher),
        cmocka_unit_test(features_of_a_strip),
    };
    return cmocka_run_group_tests(tests, folder_setup, tempdir_remove);
}
