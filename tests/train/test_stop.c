/* A stop that is asked for at any moment: heard within a batch, saved, nothing half made, and the same bits after
 * --resume. And what a run leaves that came to no checkpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "evaluate/eval_file.h"
#include "evaluate/features.h"
#include "feed/datasets.h"
#include "feed/targets.h"
#include "session/calibrate.h"
#include "support/runs.h"

#define WITHOUT_SAM "sam_distill.enabled=false "
#define WITHOUT_RESOLUTION "resolution_distill.enabled=false "

/* Data whose 7th image is bad: to read it is to be warned, which is where a stop is asked for. */
enum { HELD = 12, BAD_AT = 6 };

static sig_atomic_t *stop_at_warning;
static int warned;

static void hear(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING || !strstr(message, "bad.jpg")) return;
    warned++;
    if (stop_at_warning) *stop_at_warning = 1;
}

static int setup(void **state)
{
    char bad[64];
    if (runs_setup(state) != 0) return -1;
    if (dram_synth_write(in_dir(state, "held"), HELD, DRAM_SYNTH_PLAIN, 5, SCENE_HEIGHT, SCENE_WIDTH) != DRAM_OK)
        return -1;
    snprintf(bad, sizeof bad, "held/images/%05dbad.jpg", BAD_AT - 1); /* behind 00005.jpg */
    put_file(in_dir(state, bad), "no image", 8);
    dram_log_set_sink(hear, NULL);
    return 0;
}

/* The overrides for runs that are evaluated on held/. */
static const char *on_held(void **state, const char *more)
{
    static char set[9400];
    snprintf(set, sizeof set,
             "data.check=none data.val.images=%.4000s/held/images data.val.labels=none data.labels_optional=true %s",
             (const char *)*state, more);
    return set;
}

static int lines_of(void **state, const char *name, const char *file)
{
    int n = 0;
    if (!is_there(run_file(state, name, file))) return 0;
    char *text = get_file(run_file(state, name, file), NULL);
    for (char *at = text; (at = strchr(at, '\n')); at++) n++;
    free(text);
    return n;
}

static double exit_of(void **state, const char *name)
{
    cJSON *summary = run_summary(state, name);
    double code = json_number(summary, "exit");
    cJSON_Delete(summary);
    return code;
}

/* In the middle of an evaluation, in that of the resumed run again, then to the end. */
static void while_it_evaluates(void **state)
{
    const char *set = on_held(state, WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=4 run.eval_every=2");
    run_order whole = {.name = "whole", .set = set}, part = {.name = "part", .set = set};
    run_ok(state, &whole);
    for (int again = 0; again < 2; again++) {
        part.resume = again > 0;
        stop_at_warning = &part.stop;
        warned = 0;
        run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: 2 steps are saved, go on with --resume");
        stop_at_warning = NULL;
        assert_int_equal(warned, 1);
        assert_int_equal(part.progressed, again ? 0 : 2);
        assert_int_equal(lines_of(state, "part", "evaluations.jsonl"), 0);
        assert_int_equal(lines_of(state, "part", "metrics.jsonl"), 2);
        cJSON *summary = run_summary(state, "part");
        assert_true(json_number(summary, "exit") == 130);
        assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(summary, "eval")));
        cJSON_Delete(summary);
        assert_true(is_there(run_file(state, "part", "checkpoints/step-00000002/state.json")));
    }
    run_ok(state, &part);
    assert_int_equal(part.progressed, 2);
    assert_int_equal(lines_of(state, "part", "evaluations.jsonl"), 2);
    assert_same_run(state, "whole", "part", 4);
    run_remove(state, "whole");
    run_remove(state, "part");
}

/* In the last evaluation all steps are done and exported: what summary.json says of them is not lost when it is made. */
static void while_it_evaluates_last(void **state)
{
    const char *set = on_held(state, WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=3 run.eval_every=2");
    run_order whole = {.name = "whole", .set = set}, part = {.name = "part", .set = set, .stop_at = 3};
    run_ok(state, &whole);
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: 3 steps are saved, go on with --resume");
    assert_int_equal(lines_of(state, "part", "evaluations.jsonl"), 1); /* that of step 2 */
    cJSON *before = run_summary(state, "part");
    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_int_equal(part.progressed, 0);
    assert_same_run(state, "whole", "part", 3);
    cJSON *after = run_summary(state, "part");
    static const char *const kept[] = {"final_loss", "images_per_second", "device_utilization"};
    for (int i = 0; i < 3; i++) assert_true(json_number(after, kept[i]) == json_number(before, kept[i]));
    assert_true(json_number(before, "exit") == 130 && json_number(after, "exit") == 0);
    cJSON *expected = run_summary(state, "whole");
    assert_true(cJSON_Compare(cJSON_GetObjectItemCaseSensitive(after, "eval"),
                              cJSON_GetObjectItemCaseSensitive(expected, "eval"), true));
    cJSON_Delete(expected);
    cJSON_Delete(before);
    cJSON_Delete(after);
    run_remove(state, "whole");
    run_remove(state, "part");
}

/* Ends for now by train.stop_at, in the midst of an interval whose target is kept: the same run as one that was never
 * stopped, evaluations and all. */
static void at_a_step_that_was_set(void **state)
{
#define ENDS                                                                                                           \
    "sam_distill.fidelity_images=0 sam_distill.distill_interval=2 sam_distill.between=reuse " WITHOUT_RESOLUTION
    static const struct {
        const char *set;
        int done, progressed;
    } parts[] = {
        {ENDS "train.steps=5 run.eval_every=2 train.stop_at=2", 2, 2},
        {ENDS "train.steps=5 run.eval_every=2 train.stop_at=2", 2, 0},
        {ENDS "train.steps=5 run.eval_every=2 train.stop_at=3", 3, 1},
        {ENDS "train.steps=5 run.eval_every=2 train.stop_at=1", 3, 0},
        {ENDS "train.steps=5 run.eval_every=2 train.stop_at=9", 5, 2},
    };
    run_order whole = {.name = "whole", .set = ENDS "train.steps=5 run.eval_every=2"}, part = {.name = "part"};
    run_ok(state, &whole);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        part.set = parts[i].set;
        part.resume = i > 0;
        run_ok(state, &part);
        assert_int_equal(part.progressed, parts[i].progressed);
        assert_true(part.summary.steps == parts[i].done && part.summary.evaluated);
        cJSON *summary = run_summary(state, "part");
        assert_true(json_number(summary, "exit") == 0 && json_number(summary, "steps") == parts[i].done);
        assert_true(json_number(summary, "steps_in_all") == 5);
        assert_false(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(summary, "eval")));
        cJSON_Delete(summary);
        assert_int_equal(lines_of(state, "part", "metrics.jsonl"), parts[i].done);
    }
    assert_same_run(state, "whole", "part", 5);
    run_remove(state, "whole");
    run_remove(state, "part");
}

static void ask(void *context, const dram_session *session)
{
    (void)session;
    *(sig_atomic_t *)context = 1;
}

static void never(void *context, const dram_fidelity *fidelity)
{
    (void)context;
    fail_msg("compared %d images", fidelity->images);
}

/* Before the first step nothing is written. */
static void before_the_first_step(void **state)
{
    static const struct {
        const char *set, *said;
    } cases[] = {
        {"sam_distill.fidelity_images=0 data.check=full", "interrupted while looking at the data"},
        {"sam_distill.fidelity_images=0 data.check=none", "interrupted before the first step"},
        {"sam_distill.fidelity_images=2 data.check=none", "fidelity was looked at on 0 of 2 images"},
    };
    for (int i = 0; i < 3; i++) {
        sig_atomic_t stop = 0;
        dram_summary summary;
        dram_config *cfg = run_config(state, "early", cases[i].set);
        const dram_hooks hooks = {.context = &stop, .planned = ask, .fidelity = never, .stop = &stop};
        assert_int_equal(dram_train(cfg, NULL, (dram_resume){0}, &hooks, &summary), DRAM_INTERRUPTED);
        if (!strstr(dram_error_text(), cases[i].said)) fail_msg("%s", dram_error_text());
        dram_error_clear();
        dram_config_free(cfg);
        assert_false(is_there(run_file(state, "early", "")));
    }
}

static void at_an_image_of_fidelity(void **state)
{
    sig_atomic_t stop = 0;
    char text[100], images[4600];
    dram_fidelity result;
    dram_config *cfg = run_config(state, "fidelity", "sam_distill.sam_input_size=32");
    snprintf(images, sizeof images, "%.4500s", in_dir(state, "held/images"));
    stop_at_warning = &stop;
    assert_int_equal(dram_fidelity_folder(cfg, images, &stop, &result), DRAM_INTERRUPTED);
    stop_at_warning = NULL;
    snprintf(text, sizeof text, "was looked at on %d of %d images", BAD_AT + 1, HELD + 1);
    if (!strstr(dram_error_text(), text)) fail_msg("%s", dram_error_text());
    dram_error_clear();
    dram_config_free(cfg);
}

/* While the images are read that a cache's embeddings go by. */
static void at_the_keys_of_a_cache(void **state)
{
    static const volatile sig_atomic_t stop = 1;
    char set[4600];
    dram_targets targets;
    dram_dataset *train;
    snprintf(set, sizeof set, "data.augment.crop=false data.augment.color_jitter=0 sam_distill.cache=%.4400s",
             in_dir(state, "cache"));
    dram_config *cfg = run_config(state, "keys", set);
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    assert_int_equal(dram_targets_open(cfg, train, NULL, &stop, &targets), DRAM_INTERRUPTED);
    assert_non_null(strstr(dram_error_text(), "interrupted before the first step, while the images were read"));
    dram_error_clear();
    dram_targets_close(&targets);
    dram_dataset_close(train);
    dram_config_free(cfg);
}

static void at_a_batch_of_an_evaluation_alone(void **state)
{
    run_order o = {.name = "net", .set = WITHOUT_RESOLUTION "train.steps=1 sam_distill.fidelity_images=0"};
    sig_atomic_t stop = 0;
    char student[4600], text[100];
    dram_eval_result result;
    run_ok(state, &o);
    snprintf(student, sizeof student, "%.4500s", run_file(state, "net", "student.safetensors"));
    dram_config *cfg = run_config(state, "net", on_held(state, WITHOUT_RESOLUTION));
    stop_at_warning = &stop;
    assert_int_equal(dram_evaluate_file(cfg, student, NULL, NULL, &stop, &result), DRAM_INTERRUPTED);
    stop_at_warning = NULL;
    snprintf(text, sizeof text, "interrupted: %d of %d images were evaluated", BAD_AT, HELD + 1);
    if (!strstr(dram_error_text(), text)) fail_msg("%s", dram_error_text());
    dram_error_clear();
    stop = 0;
    assert_int_equal(dram_evaluate_file(cfg, student, NULL, NULL, &stop, &result), DRAM_OK);
    assert_int_equal(result.images, HELD);
    dram_config_free(cfg);
}

typedef struct {
    int pictures;
    sig_atomic_t stop;
} painted;

static void see(void *context, const dram_features_picture *picture)
{
    painted *p = context;
    assert_true(is_there(picture->path));
    if (++p->pictures == 2) p->stop = 1;
}

static void at_an_image_of_features(void **state)
{
    enum { N = 4 };
    painted p = {0};
    char image[N][4600], student[4600], folder[4600];
    const char *images[N];
    for (int i = 0; i < N; i++) {
        char name[40];
        snprintf(name, sizeof name, "scenes/images/%05d.jpg", i);
        snprintf(image[i], sizeof image[i], "%.4500s", in_dir(state, name));
        images[i] = image[i];
    }
    snprintf(student, sizeof student, "%.4500s", run_file(state, "net", "student.safetensors"));
    snprintf(folder, sizeof folder, "%.4500s", in_dir(state, "pictures"));
    dram_config *cfg = run_config(state, "net", WITHOUT_RESOLUTION);
    assert_int_equal(dram_features_write(cfg, student, folder, images, N, &p.stop, see, &p), DRAM_INTERRUPTED);
    if (!strstr(dram_error_text(), "interrupted: 2 of 4 pictures are in ")) fail_msg("%s", dram_error_text());
    dram_error_clear();
    assert_int_equal(p.pictures, 2);
    assert_true(is_there(in_dir(state, "pictures/00001.png")));
    assert_false(is_there(in_dir(state, "pictures/00002.png")));
    dram_config_free(cfg);
    run_remove(state, "net");
}

/* The file of times stays as it was. */
static void while_nodes_are_timed(void **state)
{
    static const volatile sig_atomic_t stop = 1;
    dram_calibration found;
    char *file = strdup(in_dir(state, "times.json"));
    assert_non_null(file);
    dram_config *cfg = run_config(state, "timed", WITHOUT_SAM WITHOUT_RESOLUTION);
    for (int there = 0; there < 2; there++) {
        size_t bytes = 0;
        char *before = there ? get_file(file, &bytes) : NULL;
        assert_int_equal(dram_calibrate(cfg, file, &stop, &found), DRAM_INTERRUPTED);
        dram_error_clear();
        assert_int_equal(is_there(file), there);
        if (there)
            assert_file_is(file, before, bytes);
        else
            assert_int_equal(dram_calibrate(cfg, file, NULL, &found), DRAM_OK);
        free(before);
    }
    dram_config_free(cfg);
    free(file);
}

/* ---- a run that came to no checkpoint ---- */

/* The loss is not finite after some steps: the corrected command is not refused, and makes what it makes elsewhere. */
static void a_corrected_command(void **state)
{
    static const char bad[] =
        WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=12 optim.type=sgd optim.lr=1000 optim.clip_norm=0";
    static const char good[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=4";
    run_order wrong = {.name = "tried", .set = bad}, right = {.name = "tried", .set = good},
              fresh = {.name = "fresh", .set = good};
    run_fails(state, &wrong, DRAM_ERR_NUMERIC, "is not finite");
    int lines = lines_of(state, "tried", "metrics.jsonl");
    assert_true(lines > 0 && exit_of(state, "tried") == 1);
    put_file(run_file(state, "tried", "notes.txt"), "mine", 4);
    run_ok(state, &right);
    run_ok(state, &fresh);
    assert_int_equal(right.progressed, 4);
    assert_same_run(state, "fresh", "tried", 4);
    assert_int_equal(lines_of(state, "tried", "metrics.jsonl"), 4);
    assert_int_equal(lines_of(state, "tried", "metrics.jsonl.before"), lines);
    assert_file_is(run_file(state, "tried", "notes.txt"), "mine", 4);
    assert_true(exit_of(state, "tried") == 0);
    run_fails(state, &right, DRAM_ERR_CONFIG, "this run exists already");
    run_remove(state, "tried");
    run_remove(state, "fresh");
}

/* An empty folder, and what a kill leaves before the first step. */
static void a_folder_without_a_step(void **state)
{
    static const char set[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=1";
    run_order o = {.name = "empty", .set = set};
    assert_int_equal(mkdir(in_dir(state, "runs/empty"), 0777), 0);
    run_ok(state, &o);
    run_fails(state, &o, DRAM_ERR_CONFIG, "this run exists already");
    run_remove(state, "empty");
    assert_int_equal(mkdir(in_dir(state, "runs/empty"), 0777), 0);
    assert_int_equal(mkdir(run_file(state, "empty", "checkpoints"), 0777), 0);
    put_file(run_file(state, "empty", "config.yaml"), "name: half", 10);
    put_file(run_file(state, "empty", "metrics.jsonl"), "", 0);
    run_ok(state, &o);
    assert_false(is_there(run_file(state, "empty", "metrics.jsonl.before")));
    assert_int_equal(lines_of(state, "empty", "metrics.jsonl"), 1);
    run_remove(state, "empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(while_it_evaluates),
        cmocka_unit_test(while_it_evaluates_last),
        cmocka_unit_test(at_a_step_that_was_set),
        cmocka_unit_test(before_the_first_step),
        cmocka_unit_test(at_an_image_of_fidelity),
        cmocka_unit_test(at_the_keys_of_a_cache),
        cmocka_unit_test(at_a_batch_of_an_evaluation_alone),
        cmocka_unit_test(at_an_image_of_features),
        cmocka_unit_test(while_nodes_are_timed),
        cmocka_unit_test(a_corrected_command),
        cmocka_unit_test(a_folder_without_a_step),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
