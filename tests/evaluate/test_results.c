/* What results depend on (seed, data) and what they do not (loader threads, memory levers), and images that are bad. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/image.h"
#include "support/runs.h"
#include "support/warnings.h"

#define TASK_ONLY                                                                                                      \
    "sam_distill.enabled=false resolution_distill.enabled=false data.val.images=none data.val.labels=none "

static void loader_threads(void **state)
{
    run_order one = {.name = "one", .set = "train.steps=3 data.workers=1 data.prefetch=1"};
    run_order four = {.name = "four", .set = "train.steps=3 data.workers=4 data.prefetch=16"};
    run_ok(state, &one);
    run_ok(state, &four);
    assert_same_run(state, "one", "four", 3);
    assert_true(one.summary.eval.miou == four.summary.eval.miou);
    assert_true(one.summary.eval.embedding_cosine == four.summary.eval.embedding_cosine);
    run_remove(state, "four");
}

static void memory_levers(void **state)
{
    run_order plain = {.name = "plain", .set = "train.steps=3 memory.eager_free=false"};
    run_order kept = {.name = "kept", .set = "train.steps=3 memory.recompute_norms=false"};
    run_order best = {.name = "best", .set = "train.steps=3"};
    run_ok(state, &plain);
    run_ok(state, &kept);
    run_ok(state, &best);
    assert_true(plain.summary.planned_peak_bytes > best.summary.planned_peak_bytes);
    assert_true(kept.summary.planned_peak_bytes >= best.summary.planned_peak_bytes);
    assert_int_equal(plain.summary.planned_peak_bytes, plain.summary.measured_peak_bytes);
    assert_same_file(run_file(state, "plain", "student.safetensors"), run_file(state, "best", "student.safetensors"));
    assert_same_file(run_file(state, "kept", "student.safetensors"), run_file(state, "best", "student.safetensors"));
    assert_same_metrics(state, "kept", "best", 3);
    assert_same_metrics(state, "plain", "best", 3);
    /* and with those of the test before */
    assert_same_metrics(state, "one", "best", 3);
    run_remove(state, "plain");
    run_remove(state, "kept");
    run_remove(state, "best");
    run_remove(state, "one");
}

/* First losses: another seed draws other weights, another order and other crops; another teacher seed another target
 * only. */
static void seeds(void **state)
{
    double loss[3], task[3];
    static const char *const set[] = {"train.steps=1", "train.steps=1 seed=2",
                                      "train.steps=1 sam_distill.teacher.seed=2"};
    for (int i = 0; i < 3; i++) {
        run_order o = {.name = "seed", .set = set[i]};
        run_ok(state, &o);
        int lines;
        cJSON *root;
        char *text = run_metrics(state, "seed", &lines);
        assert_int_equal(lines, 1);
        strcpy(strchr(text, '\n'), "}");
        assert_int_equal(dram_json_parse(text, strlen(text), &root, NULL), DRAM_OK);
        loss[i] = json_number(root, "loss_sam");
        task[i] = json_number(root, "loss_task");
        cJSON_Delete(root);
        free(text);
        run_remove(state, "seed");
    }
    assert_true(loss[0] != loss[1] && task[0] != task[1]);
    assert_true(loss[0] != loss[2] && task[0] == task[2]);
}

/* It learns: a few steps over few scenes bring every term down. */
static void losses_fall(void **state)
{
    run_order o = {.name = "learn",
                   .set = "train.steps=12 train.batch_size=4 data.augment.crop=false data.augment.color_jitter=0 "
                          "data.augment.flip=0 optim.schedule=constant"};
    run_ok(state, &o);
    int lines;
    char *text = run_metrics(state, "learn", &lines), *first = text, *last = text;
    assert_int_equal(lines, 12);
    for (char *end = strchr(text, '\n'); end[1]; end = strchr(end + 1, '\n')) last = end + 1;
    static const char *const terms[] = {"\"loss_task\":", "\"loss_sam\":", "\"loss_resolution\":"};
    for (int i = 0; i < 3; i++) {
        double before = atof(strstr(first, terms[i]) + strlen(terms[i]));
        double after = atof(strstr(last, terms[i]) + strlen(terms[i]));
        if (!(after < 0.9 * before)) fail_msg("%s %g to %g", terms[i], before, after);
    }
    free(text);
    run_remove(state, "learn");
}

/* ---- bad images ---- */

/* A folder of n scenes, of which the first `bad` are cut off in the middle. */
static void scenes_with_bad(void **state, const char *name, int n, int bad)
{
    char path[64];
    assert_int_equal(dram_synth_write(in_dir(state, name), n, DRAM_SYNTH_PLAIN, 11, 32, 32), DRAM_OK);
    for (int i = 0; i < bad; i++) {
        size_t bytes;
        snprintf(path, sizeof path, "%s/images/%05d.jpg", name, i);
        char *data = get_file(in_dir(state, path), &bytes);
        put_file(in_dir(state, path), data, bytes / 2);
        free(data);
    }
}

static const char *on_scenes(void **state, const char *name, const char *more)
{
    static char set[9400];
    snprintf(set, sizeof set,
             TASK_ONLY "data.check=none data.train.images=%.4300s/images data.train.labels=%.4300s/labels %s",
             in_dir(state, name), in_dir(state, name), more);
    return set;
}

static void bad_images_are_counted(void **state)
{
    scenes_with_bad(state, "few", 20, 2);
    dram_log_set_sink(keep_warning, NULL);
    run_order o = {.name = "few", .set = on_scenes(state, "few", "train.steps=11")};
    run_ok(state, &o);
    assert_int_equal(o.summary.skipped_images, 2);
    assert_int_equal(warnings, 2);
    assert_non_null(strstr(last_warning, "skipped: "));
    assert_non_null(strstr(last_warning, "few/images/0000"));
    cJSON *summary = run_summary(state, "few");
    assert_true(json_number(summary, "skipped_images") == 2);
    cJSON_Delete(summary);

    /* Resumed, and stopped again: each bad file is still counted once. */
    run_order part = {.name = "part", .set = on_scenes(state, "few", "train.steps=11"), .stop_at = 10};
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted");
    assert_int_equal(part.summary.skipped_images, 2);
    part.resume = true;
    part.stop_at = 0;
    part.set = on_scenes(state, "few", "train.steps=21");
    run_ok(state, &part);
    assert_int_equal(part.summary.skipped_images, 2);
    dram_log_set_sink(NULL, NULL);
    run_remove(state, "few");
    run_remove(state, "part");
}

static void too_many_bad_images(void **state)
{
    scenes_with_bad(state, "many", 10, 2);
    run_order o = {.name = "many", .set = on_scenes(state, "many", "train.steps=20")};
    run_fails(state, &o, DRAM_ERR_RUN, "2 of 10 images are bad, more than 10 %");
    cJSON *summary = run_summary(state, "many");
    assert_true(json_number(summary, "exit") == 1);
    assert_true(json_number(summary, "steps") < 10);
    cJSON_Delete(summary);
    run_remove(state, "many");
}

static void bad_labels(void **state)
{
    scenes_with_bad(state, "labels", 4, 0);
    uint8_t ids[32 * 32] = {0};
    ids[17] = 77;
    assert_int_equal(dram_label_write_png(in_dir(state, "labels/labels/00002.png"), ids, 32, 32), DRAM_OK);
    run_order o = {.name = "labels", .set = on_scenes(state, "labels", "train.steps=4")};
    run_fails(state, &o, DRAM_ERR_RUN, "labels/00002.png");
    cJSON *summary = run_summary(state, "labels");
    assert_true(json_number(summary, "exit") == 1);
    cJSON_Delete(summary);
    run_remove(state, "labels");
    /* ignore_index is no class, but allowed */
    o.set = on_scenes(state, "labels", "train.steps=4 data.ignore_index=77");
    run_ok(state, &o);
    run_remove(state, "labels");
    assert_int_equal(dram_label_write_png(in_dir(state, "labels/labels/00002.png"), ids, 16, 32), DRAM_OK);
    run_fails(state, &o, DRAM_ERR_RUN, "labels/00002.png");
    run_remove(state, "labels");
    assert_int_equal(remove(in_dir(state, "labels/labels/00002.png")), 0);
    run_fails(state, &o, DRAM_ERR_CONFIG, "00002.jpg");
    assert_false(is_there(run_file(state, "labels", "")));
    o.set = on_scenes(state, "labels", "train.steps=2 data.labels_optional=true");
    run_ok(state, &o);
    run_remove(state, "labels");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loader_threads),
        cmocka_unit_test(memory_levers),
        cmocka_unit_test(seeds),
        cmocka_unit_test(losses_fall),
        cmocka_unit_test(bad_images_are_counted),
        cmocka_unit_test(too_many_bad_images),
        cmocka_unit_test(bad_labels),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
