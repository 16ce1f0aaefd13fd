/* Runs that fail on the way: a full disk, numbers that are not finite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>

#include "base/testing.h"
#include "support/full_disk.h"
#include "support/runs.h"
#include "train/train.h"

#define TASK_ONLY                                                                                                      \
    "sam_distill.enabled=false resolution_distill.enabled=false data.val.images=none data.val.labels=none "

/* Files of 1 MiB at most: metrics fit, weights do not. */
static file_limit limit;
static int64_t full_after;

static void fill_disk(int64_t step)
{
    if (step == full_after) limit = limit_files(1 << 20);
}

static void full_disk(void **state)
{
    static const char set[] = TASK_ONLY "train.steps=6 run.save_every=2 run.keep=1";
    run_order whole = {.name = "whole", .set = set}, o = {.name = "full", .set = set, .at_step = fill_disk};
    run_ok(state, &whole);

    full_after = 3;
    run_fails(state, &o, DRAM_ERR_IO, "cannot write");
    unlimit_files(limit);
    assert_int_equal(o.summary.steps, 4);
    assert_true(is_there(run_file(state, "full", "checkpoints/step-00000002/state.json")));
    assert_true(is_there(run_file(state, "full", "checkpoints/step-00000002/optimizer.safetensors")));
    assert_false(is_there(run_file(state, "full", "checkpoints/step-00000004")));
    assert_int_equal(temporaries(run_file(state, "full", "checkpoints")), 0);
    cJSON *summary = run_summary(state, "full");
    assert_true(json_number(summary, "exit") == 1);
    cJSON_Delete(summary);

    o.resume = true;
    o.at_step = NULL;
    run_ok(state, &o);
    assert_int_equal(o.progressed, 4);
    assert_same_run(state, "whole", "full", 6);
    run_remove(state, "full");

    /* Full before the first checkpoint: the run begins again. */
    full_after = 1;
    o.resume = false;
    o.at_step = fill_disk;
    run_fails(state, &o, DRAM_ERR_IO, "cannot write");
    unlimit_files(limit);
    o.resume = true;
    o.at_step = NULL;
    run_ok(state, &o);
    assert_int_equal(o.progressed, 6);
    assert_same_run(state, "whole", "full", 6);
    run_remove(state, "whole");
    run_remove(state, "full");
}

/* Full when the result is written: every step is saved, and resuming only writes the result. */
static void full_at_the_end(void **state)
{
    static const char set[] = TASK_ONLY "train.steps=2 optim.type=sgd";
    run_order o = {.name = "end", .set = set};
    run_ok(state, &o);
    const char *file = run_file(state, "end", "student.safetensors");
    size_t bytes;
    char *data = get_file(file, &bytes);
    full_after = 0;
    fill_disk(0);
    o.resume = true;
    run_fails(state, &o, DRAM_ERR_IO, "cannot write");
    unlimit_files(limit);
    assert_file_is(file, data, bytes); /* the old one is whole */
    run_ok(state, &o);
    assert_file_is(file, data, bytes);
    free(data);
    run_remove(state, "end");
}

static const char *full_log;

/* From this step on nothing more can be written to the log that is open. */
static void fill_log(int64_t step)
{
    char link[64], file[4096];
    int found = 0;
    for (int fd = 3; fd < 256 && step == full_after; fd++) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, file, sizeof file - 1);
        size_t m = strlen(full_log);
        if (n < (ssize_t)m || memcmp(file + n - m, full_log, m) != 0) continue;
        int full = open("/dev/full", O_WRONLY);
        assert_true(full >= 0 && dup2(full, fd) == fd);
        close(full);
        found++;
    }
    assert_int_equal(found, step == full_after);
}

static int gaps; /* warnings of lines that a log lacks */

static void count_gaps(void *context, dram_log_level level, const char *message)
{
    (void)context;
    gaps += level == DRAM_LOG_WARNING && strstr(message, "metrics.jsonl: it has no line of 1 of the 3 steps before");
}

/* A log that cannot be written ends a run; its steps are saved. The line that it lacks is spoken of. */
static void full_log_alone(void **state)
{
    static const char set[] = TASK_ONLY "train.steps=5 run.keep=1 optim.type=sgd";
    static const char *const files[] = {"student.safetensors", "heads.safetensors",
                                        "checkpoints/step-00000005/optimizer.safetensors"};
    run_order whole = {.name = "whole", .set = set}, o = {.name = "log", .set = set, .at_step = fill_log};
    run_ok(state, &whole);
    full_log = "/metrics.jsonl";
    full_after = 2;
    run_fails(state, &o, DRAM_ERR_IO,
              "metrics.jsonl: cannot write: No space left on device; 3 steps are saved, go on with");
    assert_true(is_there(run_file(state, "log", "checkpoints/step-00000003/state.json")));
    o.resume = true;
    o.at_step = NULL;
    dram_log_set_sink(count_gaps, NULL);
    run_ok(state, &o);
    dram_log_set_sink(NULL, NULL);
    assert_int_equal(gaps, 1);
    assert_int_equal(o.progressed, 2);
    for (int i = 0; i < 3; i++) assert_same_file(run_file(state, "whole", files[i]), run_file(state, "log", files[i]));
    run_remove(state, "whole");
    run_remove(state, "log");
}

/* A rate that is far too high: the step whose numbers are not finite is neither made nor written down. */
static void not_finite(void **state)
{
    static const char whole[] = "is not finite; this update was not made. Lower optim.lr";
    static const char fused[] = "is not finite; this update was not finished and is not saved. Lower optim.lr";
    static const struct {
        const char *set, *text;
    } cases[] = {
        {TASK_ONLY "train.steps=12 optim.type=sgd optim.lr=1000 optim.clip_norm=0 run.save_every=1", fused},
        {TASK_ONLY "train.steps=12 optim.type=sgd optim.lr=1000 optim.clip_norm=0 optim.fused=off run.save_every=1",
         whole},
        {TASK_ONLY
         "train.steps=12 optim.type=sgd optim.lr=1000 optim.clip_norm=1e9 run.save_every=1 train.accumulate=2 "
         "student.arch=vit_micro",
         whole},
        {"train.steps=12 optim.lr=1000 optim.clip_norm=0 run.save_every=1 sam_distill.loss.weight=1e6 "
         "task.weight=1e6 student.arch=regnety_002 optim.type=sgd",
         fused},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        run_order o = {.name = "wild", .set = cases[i].set};
        run_fails(state, &o, DRAM_ERR_NUMERIC, cases[i].text);
        assert_in_range(o.summary.steps, 1, 11);
        assert_true(isfinite(o.summary.final_loss));
        int lines;
        char *metrics = run_metrics(state, "wild", &lines);
        assert_int_equal(lines, o.summary.steps);
        assert_null(strstr(metrics, "\"loss\":null"));
        free(metrics);
        cJSON *summary = run_summary(state, "wild");
        assert_true(json_number(summary, "exit") == 1);
        cJSON_Delete(summary);
        char path[64];
        snprintf(path, sizeof path, "checkpoints/step-%08d/state.json", (int)o.summary.steps);
        assert_true(is_there(run_file(state, "wild", path)));
        run_remove(state, "wild");
    }
}

/* Host memory runs out at one request after another, from the first on: an error each time, nothing held after it. */
static void out_of_memory(void **state)
{
    run_order o = {.name = "memory", .set = TASK_ONLY "train.steps=1 data.workers=1 optim.type=sgd"};
    const dram_hooks hooks = {.context = &o, .planned = run_planned, .sink = &run_steps, .stop = &o.stop};
    dram_config *cfg = run_config(state, o.name, o.set);
    dram_status status = DRAM_ERR_MEMORY;
    int64_t held = dram_alloc_bytes();
    int failed = 0;
    for (int64_t i = 0; status != DRAM_OK; i += 1 + i / 3, failed += status != DRAM_OK) {
        dram_alloc_fail_after(i);
        status = dram_train(cfg, NULL, (dram_resume){0}, &hooks, &o.summary);
        dram_alloc_fail_after(-1);
        if (status != DRAM_OK && status != DRAM_ERR_MEMORY)
            fail_msg("request %lld: status %d: %s", (long long)i, (int)status, dram_error_text());
        if (status != DRAM_OK) assert_string_not_equal(dram_error_text(), "");
        dram_error_clear();
        assert_int_equal(dram_alloc_bytes(), held);
        run_remove(state, "memory");
    }
    assert_true(failed > 15);
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_disk),  cmocka_unit_test(full_at_the_end), cmocka_unit_test(full_log_alone),
        cmocka_unit_test(not_finite), cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
