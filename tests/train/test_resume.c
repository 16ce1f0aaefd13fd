/* A run that was interrupted and resumed gives the very bits of one that was not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/runs.h"

#define WITHOUT_SAM "sam_distill.enabled=false "
#define WITHOUT_TASK "task.enabled=false "
#define WITHOUT_RESOLUTION "resolution_distill.enabled=false "

/* `steps` in one go, and stopped after `stop`, then resumed. */
static void compare(void **state, const char *set, int steps, int stop)
{
    run_order whole = {.name = "whole", .set = set}, part = {.name = "part", .set = set, .stop_at = stop};
    run_ok(state, &whole);
    assert_int_equal(whole.summary.steps, steps);
    assert_int_equal(whole.progressed, steps);

    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: ");
    assert_int_equal(part.summary.steps, stop);
    cJSON *summary = run_summary(state, "part");
    assert_true(json_number(summary, "exit") == 130);
    cJSON_Delete(summary);
    assert_false(is_there(run_file(state, "part", "student.safetensors")));

    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_int_equal(part.progressed, steps - stop);
    assert_int_equal(part.summary.steps, steps);
    assert_same_run(state, "whole", "part", steps);
    run_remove(state, "whole");
    run_remove(state, "part");
}

static void all_losses(void **state)
{
    compare(state, "train.steps=10 student.arch=regnety_002 run.eval_every=4", 10, 4);
}

static void task_only(void **state)
{
    compare(state, WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=6", 6, 3);
}

static void teacher_on_every_second_step(void **state)
{
    compare(state, WITHOUT_RESOLUTION "train.steps=7 sam_distill.distill_interval=2", 7, 3);
}

/* Stopped between two runs of the teacher: images and target are those of the step before. */
static void kept_target(void **state)
{
    static const char set[] = WITHOUT_TASK WITHOUT_RESOLUTION
        "train.steps=9 sam_distill.between=reuse sam_distill.distill_interval={0: 3, 6: 2} train.batch_size=4 "
        "train.accumulate=2 train.precision=bf16 sam_distill.teacher.precision=bf16";
    compare(state, set, 9, 7);
    if (test_on_gpu()) return; /* one is enough there, where each takes long */
    compare(state, set, 9, 2);
    compare(state, set, 9, 3);
}

static void vit_student(void **state)
{
    compare(state, WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=6 student.arch=vit_micro", 6, 2);
}

static void sgd(void **state)
{
    compare(state,
            WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=4 optim.type=sgd data.val.labels=none "
                                           "seed=9007199254740993", /* no double holds it */
            4, 1);
}

static void mean_of_weights(void **state)
{
    compare(state, WITHOUT_SAM "train.steps=3 resolution_distill.target=mean resolution_distill.mean_decay=0.15", 3, 1);
}

static void low_precision(void **state)
{
    compare(state, "train.steps=4 train.precision=bf16 sam_distill.teacher.precision=bf16 optim.state=int8", 4, 2);
    compare(state, WITHOUT_RESOLUTION "train.steps=4 train.precision=fp16 student.arch=vit_micro", 4, 2);
}

static void micro_batches(void **state)
{
    compare(state, WITHOUT_RESOLUTION "train.steps=4 train.batch_size=4 train.accumulate=2 train.precision=fp16", 4, 1);
}

static void fused(void **state)
{
    compare(state, WITHOUT_SAM "train.steps=4 train.precision=bf16 optim.clip_norm=0", 4, 2);
}

/* What a crash leaves after the last checkpoint: metrics of steps that are done again, torn lines, half-made files. */
static void killed_run(void **state)
{
    static const char set[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=6 run.save_every=3";
    run_order whole = {.name = "whole", .set = set}, part = {.name = "part", .set = set, .stop_at = 4};
    run_ok(state, &whole);
    run_fails(state, &part, DRAM_INTERRUPTED, "interrupted: 4 steps are saved");
    char command[9400];
    snprintf(command, sizeof command,
             "cd '%s' && mv checkpoints/step-00000004 checkpoints/.dram-tmp-1-4 && "
             "rm checkpoints/.dram-tmp-1-4/state.json && mkdir -p checkpoints/step-00000005 && "
             "printf '{\"step\":4,\"lo' >> metrics.jsonl && echo junk > .dram-tmp-1-5 && "
             "echo mine > mine.tmp && echo mine > checkpoints/mine.tmp && ln -s mine.tmp summary.json.tmp",
             run_file(state, "part", ""));
    assert_int_equal(system(command), 0);
    part.resume = true;
    part.stop_at = 0;
    run_ok(state, &part);
    assert_int_equal(part.progressed, 3);
    assert_same_run(state, "whole", "part", 6);
    assert_int_equal(temporaries(run_file(state, "part", "checkpoints")), 0);
    assert_int_equal(temporaries(run_file(state, "part", "")), 0);
    assert_file_is(run_file(state, "part", "mine.tmp"), "mine\n", 5);
    assert_file_is(run_file(state, "part", "checkpoints/mine.tmp"), "mine\n", 5);
    assert_true(is_there(run_file(state, "part", "summary.json.tmp")));
    assert_false(is_there(run_file(state, "part", "lock")));
    run_remove(state, "whole");
    run_remove(state, "part");
}

/* Resuming a run that is done exports and evaluates again, and trains no step. All else stays to the byte. */
static void finished_run(void **state)
{
    static const char set[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=2";
    run_order o = {.name = "done", .set = set};
    run_ok(state, &o);
    static const char *const files[] = {"metrics.jsonl", "evaluations.jsonl", "memory.jsonl", "summary.json",
                                        "config.yaml"};
    enum { N = sizeof files / sizeof files[0] };
    double miou = o.summary.eval.miou;
    char *before[N];
    size_t bytes[N];
    for (int i = 0; i < N; i++) before[i] = get_file(run_file(state, "done", files[i]), &bytes[i]);
    assert_int_equal(remove(run_file(state, "done", "student.safetensors")), 0);
    o.resume = true;
    o.set = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=2 run.log_every=7";
    run_ok(state, &o);
    assert_int_equal(o.progressed, 0);
    assert_int_equal(o.summary.steps, 2);
    assert_true(o.summary.eval.miou == miou);
    for (int i = 0; i < N; i++) {
        assert_true(bytes[i] > 0);
        assert_file_is(run_file(state, "done", files[i]), before[i], bytes[i]);
        free(before[i]);
    }
    assert_true(is_there(run_file(state, "done", "student.safetensors")));
    run_remove(state, "done");
}

/* A run that was stopped before its first checkpoint begins again. */
static void nothing_saved_yet(void **state)
{
    static const char set[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=2";
    run_order o = {.name = "again", .set = set};
    run_ok(state, &o);
    char command[4700];
    snprintf(command, sizeof command, "rm -r '%s'", run_file(state, "again", "checkpoints"));
    assert_int_equal(system(command), 0);
    o.resume = true;
    run_ok(state, &o);
    assert_int_equal(o.progressed, 2);
    int lines;
    free(run_metrics(state, "again", &lines));
    assert_int_equal(lines, 2);
    run_remove(state, "again");
}

/* Another seed, another student, a damaged state: refused, and everything stays as it was. */
static void what_cannot_be_resumed(void **state)
{
    static const char set[] = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=3";
    run_order first = {.name = "first", .set = set, .stop_at = 1}, o = {.name = "first", .resume = true};
    run_order none = {.name = "none", .set = set, .resume = true};
    run_fails(state, &none, DRAM_ERR_CONFIG, "there is no run to resume");
    assert_false(is_there(run_file(state, "none", "")));
    run_fails(state, &first, DRAM_INTERRUPTED, "interrupted: 1 steps are saved");
    char *metrics = get_file(run_file(state, "first", "metrics.jsonl"), NULL);
    char *config = get_file(run_file(state, "first", "config.yaml"), NULL);
    o.set = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=3 seed=2";
    run_fails(state, &o, DRAM_ERR_CONFIG,
              "command line: seed: 1 -> 2: a run keeps its student, classes, seed, kind of optimiser and ");
    o.set = WITHOUT_SAM WITHOUT_RESOLUTION "train.steps=3 student.arch=regnety_002";
    run_fails(state, &o, DRAM_ERR_CONFIG, "student.arch: regnetx_002 -> regnety_002: a run keeps its student");
    o.set = set;
    const char *path = run_file(state, "first", "checkpoints/step-00000001/state.json");
    char *json = get_file(path, NULL);
    put_file(path, json, strlen(json) / 2);
    run_fails(state, &o, DRAM_ERR_FORMAT, "state.json: damaged: ");
    put_file(path, json, strlen(json));
    assert_file_is(run_file(state, "first", "metrics.jsonl"), metrics, strlen(metrics));
    assert_file_is(run_file(state, "first", "config.yaml"), config, strlen(config));
    run_ok(state, &o);
    assert_int_equal(o.summary.steps, 3);
    free(json);
    free(metrics);
    free(config);
    run_remove(state, "first");
}

int main(void)
{
    const struct CMUnitTest everywhere[] = {
        /* what a device keeps from step to step; train/cuda_graph has the rest */
        cmocka_unit_test(fused),         cmocka_unit_test(micro_batches), cmocka_unit_test(mean_of_weights),
        cmocka_unit_test(low_precision), cmocka_unit_test(kept_target),
    };
    const struct CMUnitTest on_the_cpu[] = {
        cmocka_unit_test(all_losses),
        cmocka_unit_test(task_only),
        cmocka_unit_test(vit_student),
        cmocka_unit_test(teacher_on_every_second_step),
        cmocka_unit_test(sgd),
        cmocka_unit_test(killed_run),
        cmocka_unit_test(finished_run),
        cmocka_unit_test(nothing_saved_yet),
        cmocka_unit_test(what_cannot_be_resumed),
    };
    int failed = cmocka_run_group_tests(everywhere, runs_setup, tempdir_remove);
    if (test_on_gpu()) return failed;
    return failed + cmocka_run_group_tests(on_the_cpu, runs_setup, tempdir_remove);
}
