/* What a config's keys make of the folders that it names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "data/datasets.h"
#include "feed/datasets.h"

static char warned[4][1024];
static int warnings;

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level == DRAM_LOG_WARNING && warnings < 4) snprintf(warned[warnings++], sizeof warned[0], "%s", message);
}

static int with_sink(void **state)
{
    warnings = 0;
    dram_log_set_sink(keep_warning, NULL);
    return fresh(state);
}

static int without_sink(void **state)
{
    dram_log_set_sink(NULL, NULL);
    return tempdir_remove(state);
}

/* run.yaml, of which `data` is what stands below `data:`; paths in it go by its folder. */
static dram_config *config(void **state, const char *data)
{
    dram_config *cfg;
    char text[4096];
    const char *path = in_dir(state, "run.yaml");
    snprintf(text, sizeof text, "task: {enabled: true}\ndata: {classes: 2, %s}\n", data);
    put_file(path, text, strlen(text));
    if (dram_config_load(path, NULL, 0, &cfg) != DRAM_OK) fail_msg("%s", dram_error_text());
    return cfg;
}

static dram_dataset *dataset(const dram_config *cfg, bool val)
{
    dram_dataset *d;
    if (dram_datasets_open(cfg, val, &d) != DRAM_OK) fail_msg("%s", dram_error_text());
    assert_non_null(d);
    return d;
}

static void datasets_are(void **state, const char *data, const char *train, const char *val)
{
    dram_config *cfg = config(state, data);
    for (int k = 0; k < 2; k++) {
        const dram_dataset_params params = {.images = k ? cfg->data.val.images : cfg->data.train.images,
                                            .labels = k ? cfg->data.val.labels : cfg->data.train.labels};
        if (!(k ? val : train)) continue;
        dram_dataset *d = dataset(cfg, k);
        assert_pairs(d, &params, k ? val : train);
        dram_dataset_close(d);
    }
    dram_config_free(cfg);
}

static void fails(void **state, const char *data, bool val, const char *text)
{
    dram_dataset *d;
    dram_config *cfg = config(state, data);
    int64_t before = dram_alloc_bytes();
    assert_int_equal(dram_datasets_open(cfg, val, &d), DRAM_ERR_CONFIG);
    assert_null(d);
    assert_int_equal(dram_alloc_bytes(), before);
    if (!strstr(dram_error_text(), text)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), text);
    dram_error_clear();
    dram_config_free(cfg);
}

static void every_key_is_heard(void **state)
{
    put(images, "0.jpg drive2/1.jpg drive2/2.jpg");
    put(labels, "0_L.png 1_L.png 2_L.png");
    put_file(in_dir(state, "a.txt"), "0\ndrive2/1.jpg\r\n", 16);
    put_file(in_dir(state, "b.txt"), "drive2/2\n", 9);
    datasets_are(state,
                 "recursive: true, label_pattern: _L, train: {images: images, labels: labels, list: a.txt}, "
                 "val: {images: images, labels: labels, list: b.txt}",
                 "0.jpg=0_L.png drive2/1.jpg=1_L.png", "drive2/2.jpg=2_L.png");
    datasets_are(state,
                 "recursive: true, label_pattern: ':_L', train: {images: images, labels: labels, list: a.txt}, "
                 "val: {images: images, labels: labels}",
                 "0.jpg=0_L.png drive2/1.jpg=1_L.png", "0.jpg=0_L.png drive2/1.jpg=1_L.png drive2/2.jpg=2_L.png");
    assert_int_equal(warnings, 0);
    fails(state, "train: {images: images, labels: labels, list: a.txt}", false,
          "a.txt:2: \"drive2/1.jpg\" is no image");
    fails(state, "train: {images: images, labels: labels, list: a.txt}", false, "run.yaml:2:");
    fails(state, "train: {images: images, labels: labels, list: a.txt}", false, ": data.train.list: ");
    fails(state, "train: {images: images}, val: {images: images, labels: labels, list: run.yaml}", true,
          ": data.val.list: ");
    fails(state, "label_pattern: _M, train: {images: images, labels: labels}", false,
          "(STEM_M.png) here: 0.jpg; labels are called like 0_L.png: set data.label_pattern to _L;");
}

/* The labels of one folder are photographs for nobody, whether they are used or not. */
static void one_folder(void **state)
{
    dram_config *cfg;
    put(images, "000.jpg 000.png 001.jpg 001.png");
    datasets_are(state, "train: {images: images, labels: images}, val: {images: images, labels: ./images/}",
                 "000.jpg=000.png 001.jpg=001.png", "000.jpg=000.png 001.jpg=001.png");
    cfg = config(state, "train: {images: images, labels: images}");
    cfg->task.enabled = false;
    dram_dataset *d = dataset(cfg, false);
    assert_int_equal(dram_dataset_count(d), 2);
    assert_int_equal(dram_dataset_labelled(d), 0);
    dram_dataset_close(d);
    dram_config_free(cfg);
}

/* Without the task the folder of labels need not be there. */
static void labels_that_are_not_used(void **state)
{
    put(images, "0.jpg more/1.jpg");
    dram_config *cfg = config(state, "recursive: true, train: {images: images, labels: nowhere}");
    cfg->task.enabled = false;
    dram_dataset *d = dataset(cfg, false);
    assert_int_equal(dram_dataset_count(d), 2);
    dram_dataset_close(d);
    dram_config_free(cfg);
}

static void say_of(void **state, const char *data)
{
    dram_config *cfg = config(state, data);
    dram_dataset *d = dataset(cfg, false);
    dram_datasets_say(d, cfg->data.recursive);
    dram_dataset_close(d);
    dram_config_free(cfg);
}

static void what_is_beside_is_said(void **state)
{
    put(images, "0.jpg drive2/1.jpg notes.txt more.txt");
    put(labels, "0.png drive2/1.png colours.csv");
    put_link(labels, "again", "drive2");
    datasets_are(state, "train: {images: images, labels: labels}", "0.jpg=0.png", NULL);
    assert_int_equal(warnings, 0); /* src/check says it of the folders of a config */
    char want[9000];
    say_of(state, "train: {images: images, labels: labels}");
    assert_int_equal(warnings, 2);
    snprintf(want, sizeof want, "3 files left aside, no image or label by their names (the first: %s/more.txt)",
             images);
    assert_string_equal(warned[0], want);
    snprintf(want, sizeof want, "3 folders not looked into; data.recursive: true does it (the first: %s/drive2)",
             images);
    assert_string_equal(warned[1], want);
    warnings = 0;
    say_of(state, "recursive: true, train: {images: images, labels: labels}");
    assert_int_equal(warnings, 2);
    snprintf(want, sizeof want, "1 folder not looked into, since another name leads there too (the first: %s/again)",
             labels);
    assert_string_equal(warned[1], want);
}

static void what_is_no_file_is_refused(void **state)
{
    put(images, "0.jpg 1.jpg");
    put(labels, "0.png");
    put_link(labels, "1.png", "gone.png");
    fails(state, "train: {images: images, labels: labels}", false, ": data.train.labels: ");
    fails(state, "train: {images: images, labels: labels}", false,
          "labels/1.png: no label can be read here: a link that leads nowhere");
    put_link(images, "2.jpg", NULL);
    put_link(images, "1.jpg", NULL);
    fails(state, "labels_optional: true, val: {images: images, labels: labels}", true, ": data.val.images: ");
    fails(state, "labels_optional: true, val: {images: images, labels: labels}", true,
          "images/1.jpg: no image can be read here: not a file: a pipe; 2 of 3 images are so, more than 10 %");
}

/* One name in twenty that is no file: left out with its partner and said, or refused. */
static void few_that_are_no_file(void **state)
{
    static const char both[] = "train: {images: images, labels: labels}",
                      stop[] = "on_bad: stop, train: {images: images, labels: labels}";
    char name[2][16];
    for (int i = 0; i < 20; i++) {
        snprintf(name[0], sizeof name[0], "%02d.jpg", i);
        snprintf(name[1], sizeof name[1], "%02d.png", i);
        put(images, name[0]);
        put(labels, name[1]);
    }
    for (int way = 0; way < 3; way++) { /* a dangling image, a pipe, a dangling label as well */
        if (way < 2) put_link(images, "07.jpg", way ? NULL : "gone.jpg");
        if (way == 2) put_link(labels, "11.png", "gone.png");
        dram_config *cfg = config(state, both);
        warnings = 0;
        dram_dataset *d = dataset(cfg, false);
        assert_int_equal(dram_dataset_count(d), way < 2 ? 19 : 18);
        assert_int_equal(dram_dataset_labelled(d), way < 2 ? 19 : 18);
        for (int i = 0; i < dram_dataset_count(d); i++) assert_string_not_equal(dram_dataset_name(d, i), "07.jpg");
        assert_int_equal(warnings, 0);
        dram_datasets_say(d, false);
        assert_int_equal(warnings, 1);
        assert_non_null(
            strstr(warned[0], way == 2 ? "2 of 20 images are left out, the first: " : "1 of 20 images is left out: "));
        assert_non_null(strstr(warned[0], way == 0 ? "07.jpg: no image can be read here: a link that leads nowhere"
                                                   : "07.jpg: no image can be read here: not a file: a pipe"));
        dram_dataset_close(d);
        dram_config_free(cfg);
        fails(state, stop, false, "07.jpg: no image can be read here: ");
        fails(state, stop, false, " (data.on_bad is stop)");
    }
    put_link(labels, "12.png", "gone.png");
    fails(state, both, false, "3 of 20 images are so, more than 10 %");
}

/* Labels that all lie elsewhere are no labels, whatever is optional. */
static void no_label_at_all(void **state)
{
    put(images, "000.jpg 001.jpg");
    put(labels, "000_L.png 001_L.png");
    fails(state, "labels_optional: true, train: {images: images, labels: labels}", false,
          "none of the 2 images has a label, and the task learns from labels; name the folder that holds them, or set "
          "task.enabled to false; labels are called like 000_L.png: set data.label_pattern to _L");
    fails(state, "labels_optional: true, train: {images: images, labels: labels, label_fraction: 0.1}", false,
          "none of the 2 images has a label");
    fails(state, "label_pattern: _L, train: {images: images, labels: labels, label_fraction: 0.1}", false,
          "data.train.label_fraction: 0.1 of the labels of 2 images is not one label");
}

static void a_pattern_is_a_pattern(void **state)
{
    static const char *const cases[][2] = {
        {"'*_L'", "data.label_pattern: *_L: the end of a name alone"},
        {"gtFine/_L", "data.label_pattern: gtFine/_L: the end of a name alone"},
        {"_L.png", "data.label_pattern: _L.png: .png is added to it; write _L"},
        {"'_a:_b.PNG'", "write _a:_b"},
        {"'_a:_b:_c'", "one : at most, as in OLD:NEW"},
        {"':'", ": changes nothing"},
        {"'_a:_a'", "_a:_a changes nothing"},
        {"''", "data.label_pattern: must not be empty"},
        {"7", "data.label_pattern: expected text, or none, found a whole number (put it in quotes)"},
        {"{a: b}", "data.label_pattern: expected text, or none"},
    };
    char text[200];
    const char *path = in_dir(state, "run.yaml");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_config *cfg;
        snprintf(text, sizeof text, "data: {label_pattern: %s}\n", cases[i][0]);
        put_file(path, text, strlen(text));
        assert_int_equal(dram_config_load(path, NULL, 0, &cfg), DRAM_ERR_CONFIG);
        if (!strstr(dram_error_text(), cases[i][1]))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i][0], dram_error_text(), cases[i][1]);
        dram_error_clear();
    }
    dram_config *cfg = config(state, "label_pattern: none");
    assert_null(cfg->data.label_pattern);
    dram_config_free(cfg);
    cfg = config(state, "label_pattern: '_b:_ab'");
    assert_string_equal(cfg->data.label_pattern, "_b:_ab");
    dram_config_free(cfg);
}

#define SAID(NAME) cmocka_unit_test_setup_teardown(NAME, with_sink, without_sink)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SAID(every_key_is_heard),
        SAID(one_folder),
        SAID(labels_that_are_not_used),
        SAID(what_is_beside_is_said),
        SAID(what_is_no_file_is_refused),
        SAID(few_that_are_no_file),
        SAID(no_label_at_all),
        SAID(a_pattern_is_a_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
