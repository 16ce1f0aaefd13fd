/* Runs whose data is bad: what is left out, what ends a run, what is saved then, and how it goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "data/order.h"
#include "support/full_disk.h"
#include "support/runs.h"
#include "support/warnings.h"

/* 24 scenes, two to a step, each seen once; none is looked at before it is drawn. The image that is spoilt stands at
 * position 21, in step 10. */
enum { MANY = 24, STEPS = MANY / 2, LATE = 21, BAD_STEP = LATE / 2 };

static int late; /* its index */

static char *set_of(void **state, const char *more)
{
    static char text[4][9000];
    static int next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof text[0],
             "sam_distill.enabled=false resolution_distill.enabled=false data.val.images=none data.val.labels=none "
             "data.check=none "
             "data.train.images=%.2000s data.train.labels=%.2000s train.steps=12 %.4000s",
             in_dir(state, "many/images"), in_dir(state, "many/labels"), more);
    return out;
}

/* Path of the late image or of its label, and of any. */
static const char *scene(void **state, int index, bool label)
{
    char name[64];
    snprintf(name, sizeof name, label ? "many/labels/%05d.png" : "many/images/%05d.jpg", index);
    return in_dir(state, name);
}

static int setup(void **state)
{
    dram_dataset *d;
    dram_order *order;
    if (runs_setup(state) != 0) return -1;
    const dram_dataset_params params = {.images = in_dir(state, "many/images")};
    if (dram_synth_write(in_dir(state, "many"), MANY, DRAM_SYNTH_PLAIN, 3, SCENE_HEIGHT, SCENE_WIDTH) != DRAM_OK ||
        dram_dataset_open(&params, &d) != DRAM_OK || dram_order_open(d, 1, 0, &order) != DRAM_OK)
        return -1;
    late = dram_order_at(order, LATE);
    char want[64];
    snprintf(want, sizeof want, "%s", strrchr(scene(state, late, false), '/') + 1);
    bool named = strcmp(dram_dataset_name(d, late), want) == 0;
    dram_order_close(order);
    dram_dataset_close(d);
    dram_log_set_sink(keep_warning, NULL);
    return named ? 0 : -1;
}

/* The file as it is, to be put back by restore(). */
typedef struct {
    const char *path;
    char *data;
    size_t bytes;
} kept_file;

static kept_file spoil(const char *path, const void *data, size_t bytes)
{
    kept_file k = {.path = path};
    k.data = get_file(path, &k.bytes);
    put_file(path, data, bytes);
    return k;
}

static void restore(kept_file k)
{
    put_file(k.path, k.data, k.bytes);
    free(k.data);
}

/* A label with the class id 77. */
static kept_file spoil_label(void **state, int index)
{
    uint8_t ids[SCENE_HEIGHT * SCENE_WIDTH] = {77};
    const char *made = in_dir(state, "77.png");
    size_t bytes;
    assert_int_equal(dram_label_write_png(made, ids, SCENE_HEIGHT, SCENE_WIDTH), DRAM_OK);
    char *data = get_file(made, &bytes);
    kept_file k = spoil(scene(state, index, true), data, bytes);
    free(data);
    return k;
}

static void assert_exit(void **state, const char *name, int code)
{
    cJSON *summary = run_summary(state, name);
    assert_true(json_number(summary, "exit") == code);
    cJSON_Delete(summary);
}

/* The names in skipped_images of the checkpoint at a step: their number, and the first of them in `name`. */
static int skipped_in(void **state, const char *run, int step, char name[256])
{
    char path[80];
    cJSON *root;
    snprintf(path, sizeof path, "checkpoints/step-%08d/state.json", step);
    assert_int_equal(dram_json_read(run_file(state, run, path), &root), DRAM_OK);
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "skipped_images"), *first = cJSON_GetArrayItem(list, 0);
    int n = cJSON_GetArraySize(list);
    snprintf(name, 256, "%s", cJSON_IsString(first) ? first->valuestring : "");
    cJSON_Delete(root);
    return n;
}

/* One bad label among 24, drawn late. */
static void stopped_at_a_bad_label(void **state)
{
    char text[100], name[256];
    run_order good = {.name = "good", .set = set_of(state, "")}, o = {.name = "stop"};
    run_ok(state, &good);
    kept_file label = spoil_label(state, late);
    o.set = set_of(state, "data.on_bad=stop");
    snprintf(text, sizeof text, "; %d steps are saved, go on with --resume once that is mended", BAD_STEP);
    run_fails(state, &o, DRAM_ERR_RUN, text);
    assert_int_equal(o.summary.steps, BAD_STEP);
    assert_exit(state, "stop", 1);
    assert_int_equal(skipped_in(state, "stop", BAD_STEP, name), 0);
    o.resume = true; /* not mended */
    run_fails(state, &o, DRAM_ERR_RUN, "(data.on_bad is stop); 10 steps are saved");
    run_fails(state, &o, DRAM_ERR_RUN, strrchr(label.path, '/'));
    assert_int_equal(o.progressed, 0);
    restore(label);
    run_ok(state, &o);
    assert_int_equal(o.progressed, STEPS - BAD_STEP);
    assert_int_equal(o.summary.skipped_images, 0);
    assert_same_run(state, "good", "stop", STEPS);
    run_remove(state, "stop");
}

/* The same with skip, whole, interrupted before and behind it, and after a run that was to stop. */
static void skipped_bad_label(void **state)
{
    char name[256];
    kept_file label = spoil_label(state, late);
    run_order whole = {.name = "whole", .set = set_of(state, "")};
    warnings = 0;
    run_ok(state, &whole);
    assert_int_equal(whole.summary.skipped_images, 1);
    assert_int_equal(whole.summary.steps, STEPS);
    assert_non_null(strstr(last_warning, "skipped: "));
    assert_non_null(strstr(last_warning, strrchr(label.path, '/')));
    assert_exit(state, "whole", 0);
    assert_int_equal(skipped_in(state, "whole", STEPS, name), 1);
    assert_string_equal(name, strrchr(scene(state, late, false), '/') + 1);
    static const int stops[] = {BAD_STEP - 2, BAD_STEP, BAD_STEP + 1};
    for (int i = 0; i < 3; i++) {
        run_order part = {.name = "part", .set = set_of(state, ""), .stop_at = stops[i]};
        run_fails(state, &part, DRAM_INTERRUPTED, "interrupted");
        part.stop_at = 0;
        part.resume = true;
        run_ok(state, &part);
        assert_int_equal(part.summary.skipped_images, 1);
        assert_same_run(state, "whole", "part", STEPS);
        run_remove(state, "part");
    }
    run_order o = {.name = "first", .set = set_of(state, "data.on_bad=stop")};
    run_fails(state, &o, DRAM_ERR_RUN, "10 steps are saved");
    o.set = set_of(state, "");
    o.resume = true;
    run_ok(state, &o);
    assert_same_run(state, "whole", "first", STEPS);
    run_remove(state, "first");
    run_remove(state, "whole");
    restore(label);
}

/* A bad image is what a bad label is. */
static void stopped_at_a_bad_image(void **state)
{
    run_order o = {.name = "image", .set = set_of(state, "data.on_bad=stop run.save_every=4")};
    kept_file image = spoil(scene(state, late, false), "no image", 8);
    run_fails(state, &o, DRAM_ERR_RUN, "(data.on_bad is stop); 10 steps are saved");
    restore(image);
    o.resume = true;
    run_ok(state, &o);
    assert_same_run(state, "good", "image", STEPS);
    run_remove(state, "image");
}

/* A link that leads nowhere, there when the run begins: the image is not of the data set. */
static void a_link_that_leads_nowhere(void **state)
{
    const char *path = scene(state, late, false);
    kept_file image = spoil(path, "", 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("gone.jpg", path), 0);
    run_order o = {.name = "link", .set = set_of(state, "train.steps=2")};
    warnings = 0;
    run_ok(state, &o);
    assert_true(warnings >= 1);
    assert_int_equal(o.summary.skipped_images, 0);
    run_remove(state, "link");
    o.set = set_of(state, "train.steps=2 data.on_bad=stop");
    run_fails(state, &o, DRAM_ERR_CONFIG, "no image can be read here: a link that leads nowhere (data.on_bad is stop)");
    assert_false(is_there(run_file(state, "link", "")));
    assert_int_equal(unlink(path), 0);
    restore(image);
}

/* More than 10 %: three of 24. Some steps are done before the third is drawn. */
static void more_than_a_tenth(void **state)
{
    kept_file labels[3];
    for (int i = 0; i < 3; i++) labels[i] = spoil_label(state, (late + 7 * i) % MANY);
    run_order o = {.name = "tenth", .set = set_of(state, "")};
    run_fails(state, &o, DRAM_ERR_RUN, "3 of 24 images are bad, more than 10 %");
    int64_t done = o.summary.steps;
    assert_in_range(done, 1, STEPS - 1);
    assert_int_equal(o.summary.skipped_images, 3);
    assert_exit(state, "tenth", 1);
    o.resume = true;
    run_fails(state, &o, DRAM_ERR_RUN, " steps are saved, go on with --resume once that is mended");
    assert_int_equal(o.progressed, 0);
    for (int i = 0; i < 3; i++) restore(labels[i]);
    run_ok(state, &o);
    assert_int_equal(o.progressed, STEPS - done);
    run_remove(state, "tenth");
}

static void **folders; /* for the hook */

static void take_images_away(int64_t step)
{
    if (step == 4) assert_int_equal(rename(in_dir(folders, "many/images"), in_dir(folders, "many/away")), 0);
}

/* A folder that goes away under the run, as a share does. */
static void a_folder_that_goes_away(void **state)
{
    run_order o = {.name = "away", .set = set_of(state, ""), .at_step = take_images_away};
    folders = state;
    run_fails(state, &o, DRAM_ERR_IO, "cannot open: No such file or directory; ");
    int64_t done = o.summary.steps;
    assert_in_range(done, 4, STEPS - 1);
    assert_exit(state, "away", 1);
    assert_int_equal(rename(in_dir(state, "many/away"), in_dir(state, "many/images")), 0);
    o.at_step = NULL;
    o.resume = true;
    run_ok(state, &o);
    assert_int_equal(o.progressed, STEPS - done);
    assert_same_run(state, "good", "away", STEPS);
    run_remove(state, "away");
}

static file_limit limit;

static void fill_disk(int64_t step)
{
    if (step == 8) limit = limit_files(1 << 20);
}

/* Nothing can be saved either: both reasons are said, and the checkpoint before is still there. */
static void nothing_can_be_saved(void **state)
{
    run_order o = {.name = "full", .set = set_of(state, "data.on_bad=stop run.save_every=7"), .at_step = fill_disk};
    kept_file label = spoil_label(state, late);
    run_fails(state, &o, DRAM_ERR_RUN, "(data.on_bad is stop); 3 steps cannot be saved: ");
    unlimit_files(limit);
    assert_exit(state, "full", 1);
    restore(label);
    o.resume = true;
    o.at_step = NULL;
    run_ok(state, &o);
    assert_int_equal(o.progressed, STEPS - 7);
    assert_same_run(state, "good", "full", STEPS);
    run_remove(state, "full");
}

/* A label of data.val: left out and counted, or the end of a run that has saved. */
static void a_bad_label_to_evaluate(void **state)
{
    char set[9000];
    snprintf(set, sizeof set,
             "data.val.images=%.2000s data.val.labels=%.2000s train.steps=4 run.eval_every=2 "
             "data.check=none",
             in_dir(state, "many/images"), in_dir(state, "many/labels"));
    char train[9000];
    snprintf(train, sizeof train, "sam_distill.enabled=false resolution_distill.enabled=false %.8000s data.on_bad=stop",
             set);
    run_order sound = {.name = "sound", .set = train};
    warnings = 0;
    run_ok(state, &sound);
    int before = warnings; /* of classes that are in no label */
    kept_file label = spoil_label(state, late);
    run_order o = {.name = "val", .set = train};
    run_fails(state, &o, DRAM_ERR_RUN, "(data.on_bad is stop); 2 steps are saved");
    assert_exit(state, "val", 1);
    restore(label);
    o.resume = true;
    run_ok(state, &o);
    assert_int_equal(o.progressed, 2);
    assert_same_run(state, "sound", "val", 4);
    run_remove(state, "val");

    label = spoil_label(state, late);
    snprintf(train, sizeof train, "sam_distill.enabled=false resolution_distill.enabled=false %.8000s", set);
    run_order skips = {.name = "val", .set = train};
    warnings = 0;
    run_ok(state, &skips);
    assert_int_equal(skips.summary.eval.skipped, 1);
    assert_int_equal(skips.summary.eval.images, MANY - 1);
    assert_int_equal(skips.summary.skipped_images, 0);
    assert_int_equal(warnings, before + 1); /* in training none is bad; two evaluations say it once */
    restore(label);
    run_remove(state, "val");
    run_remove(state, "sound");
}

/* The names of a checkpoint are those of the data set, whatever their bytes, their order and their number. */
static void names_of_all_kinds(void **state)
{
    static const char *const names[] = {"\xff\xfe.jpg", "a\\xFF.jpg", "zzz \"quoted\".jpg", "\xc3\xa4.jpg"};
    enum { N = sizeof names / sizeof names[0], IMAGES = 48 };
    char name[300], set[9000];
    assert_int_equal(dram_synth_write(in_dir(state, "odd"), IMAGES, DRAM_SYNTH_PLAIN, 5, SCENE_HEIGHT, SCENE_WIDTH),
                     DRAM_OK);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "odd/images/%s", names[i]);
        put_file(in_dir(state, name), "no image", 8);
    }
    snprintf(set, sizeof set,
             "task.enabled=false resolution_distill.enabled=false sam_distill.fidelity_images=0 data.val.images=none "
             "data.val.labels=none data.train.images=%.4000s train.batch_size=13 train.steps=8 "
             "data.check=none",
             in_dir(state, "odd/images"));
    run_order whole = {.name = "odd", .set = set}, part = {.name = "part", .set = set, .stop_at = 5};
    run_ok(state, &whole);
    assert_int_equal(whole.summary.skipped_images, N);
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted");
    assert_int_equal(part.summary.skipped_images, N);
    assert_int_equal(skipped_in(state, "part", 5, name), N);
    part.stop_at = 0;
    part.resume = true;
    warnings = 0;
    run_ok(state, &part);
    assert_int_equal(part.summary.skipped_images, N);
    assert_int_equal(warnings, 0); /* none is counted twice */
    assert_same_run(state, "odd", "part", 8);
    run_remove(state, "odd");
    run_remove(state, "part");
}

/* A run that is done goes on with nothing to do. */
static void nothing_left_to_do(void **state)
{
    run_order o = {.name = "good", .set = set_of(state, ""), .resume = true};
    run_ok(state, &o);
    assert_int_equal(o.progressed, 0);
    assert_true(isnan(o.summary.images_per_second) && isnan(o.summary.final_loss));
    run_remove(state, "good");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_at_a_bad_label), cmocka_unit_test(skipped_bad_label),
        cmocka_unit_test(stopped_at_a_bad_image), cmocka_unit_test(a_link_that_leads_nowhere),
        cmocka_unit_test(more_than_a_tenth),      cmocka_unit_test(a_folder_that_goes_away),
        cmocka_unit_test(nothing_can_be_saved),   cmocka_unit_test(a_bad_label_to_evaluate),
        cmocka_unit_test(names_of_all_kinds),     cmocka_unit_test(nothing_left_to_do),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
