/* The stream of facts, and the lines of metrics.jsonl and evaluations.jsonl, whole or not there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "io/helpers.h"
#include "io/path.h"
#include "record/record.h"
#include "support/writes.h"

static dram_metrics sample(int64_t step)
{
    return (dram_metrics){.step = step,
                          .loss = 2.5,
                          .loss_task = 0.1f,
                          .loss_sam = step % 2 ? NAN : 1.25,
                          .loss_resolution = NAN,
                          .lr = 1e-3f,
                          .grad_norm = INFINITY,
                          .loss_scale = 65536,
                          .label_pixels = 4096,
                          .sam_images_left_out = step % 2 ? NAN : 0,
                          .resolution_images_left_out = NAN,
                          .teacher_ran = step % 2 == 0,
                          .images_per_second = 12.5,
                          .device_utilization = 0.75,
                          .planned_peak_bytes = 7516192768,
                          .measured_peak_bytes = 7516192768};
}

static const char EVEN[] =
    ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":1.25,\"loss_resolution\":null,"
    "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"label_pixels\":4096,"
    "\"sam_images_left_out\":0,\"resolution_images_left_out\":null,\"distilled\":true,"
    "\"teacher_ran\":true,\"images_per_second\":12.5,\"device_utilization\":0.75,\"planned_peak_bytes\":7516192768,"
    "\"measured_peak_bytes\":7516192768}\n";
static const char ODD[] =
    ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":null,\"loss_resolution\":null,"
    "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"label_pixels\":4096,"
    "\"sam_images_left_out\":null,\"resolution_images_left_out\":null,\"distilled\":false,"
    "\"teacher_ran\":false,\"images_per_second\":12.5,\"device_utilization\":0.75,\"planned_peak_bytes\":7516192768,"
    "\"measured_peak_bytes\":7516192768}\n";

/* A record of one sink. */
static dram_record *record_of(const dram_sink *sink, const char *path)
{
    dram_record *record;
    ok(dram_record_open(0, &record));
    ok(dram_record_add(record, sink, path));
    return record;
}

static dram_status tell_step(dram_record *record, int64_t step)
{
    const dram_progress progress = {.done = step + 1, .metrics = sample(step)};
    return dram_record_tell(record, &(dram_fact){DRAM_FACT_STEP, step + 1, {.progress = &progress}});
}

static dram_status tell_evaluation(dram_record *record, int64_t step, const dram_eval_result *result)
{
    return dram_record_tell(record, &(dram_fact){DRAM_FACT_EVALUATION, step, {.evaluation = result}});
}

/* The file must be the lines 0 .. count - 1. */
static void expect_lines(const char *path, int count)
{
    char want[16384];
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += (size_t)snprintf(want + n, sizeof want - n, "{\"step\":%d%s", i, i % 2 ? ODD : EVEN);
    assert_file_is(path, want, n);
}

/* The first call takes a part, the second is interrupted, the third gets no further. */
static const write_order torn[] = {{.most = 50}, {.reason = EINTR}, {.reason = ENOSPC}};
static const write_order whole[] = {{.most = 50}, {.reason = EINTR}, {.most = 3}};

static void metrics_of_steps(void **state)
{
    const char *path = in_dir(state, "metrics.jsonl");
    dram_record *record = record_of(&dram_metrics_sink, path);
    for (int i = 0; i < 5; i++) {
        ok(tell_step(record, i));
        expect_lines(path, i + 1);
    }
    ok(dram_record_close(record, false));
    ok(dram_metrics_sink.cut(path, 4));
    expect_lines(path, 4);
}

static void metrics_on_a_full_disk(void **state)
{
    const char *path = in_dir(state, "full.jsonl");
    dram_record *record = record_of(&dram_metrics_sink, path);
    for (int i = 0; i < 2; i++) {
        order_writes(torn, 3);
        fails(tell_step(record, i), DRAM_ERR_IO, "full.jsonl: cannot write: No space left on device");
        assert_written(1);
        expect_lines(path, i);
        order_writes(whole, 3);
        ok(tell_step(record, i));
        assert_written(2);
        expect_lines(path, i + 1);
    }
    file_limit limit = limit_files(700); /* the next line fits in part */
    dram_status status = tell_step(record, 2);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "full.jsonl: cannot write: File too large");
    expect_lines(path, 2);
    ok(dram_record_close(record, false));
}

/* A line of evaluations.jsonl with as many classes as there can be, cut back as a resumed run does. */
static void long_evaluations(void **state)
{
    const char *path = in_dir(state, "evaluations.jsonl");
    dram_eval_result result = {.miou = 1.0 / 3, .pixel_accuracy = NAN, .embedding_cosine = 0.5, .classes = 256};
    for (int k = 0; k < 256; k++) result.class_iou[k] = 1.0 / (3 + k);
    dram_record *record = record_of(&dram_evaluations_sink, path);
    for (int step = 1; step <= 3; step++) ok(tell_evaluation(record, step, &result));
    ok(dram_record_close(record, false));
    size_t before, after;
    char *text = get_file(path, &before), *cut;
    assert_int_equal(before % 3, 0);
    assert_true(before / 3 > 4096);
    ok(dram_evaluations_sink.cut(path, 3));
    cut = get_file(path, &after);
    assert_int_equal(after, before / 3 * 2);
    assert_memory_equal(text, cut, after);
    free(text);
    free(cut);
}

static void evaluations_on_a_full_disk(void **state)
{
    const char *path = in_dir(state, "full_evaluations.jsonl");
    const dram_eval_result result = {.miou = 0.5, .pixel_accuracy = 0.5, .embedding_cosine = NAN, .embedding_mse = NAN};
    size_t bytes;
    dram_record *record = record_of(&dram_evaluations_sink, path);
    assert_false(dram_path_exists(path)); /* it is made with its first line */
    order_writes(whole, 3);
    ok(tell_evaluation(record, 1, &result));
    assert_written(2);
    char *line = get_file(path, &bytes);
    assert_true(bytes > 60 && line[bytes - 1] == '\n');
    order_writes(torn, 3);
    fails(tell_evaluation(record, 2, &result), DRAM_ERR_IO,
          "full_evaluations.jsonl: cannot write: No space left on device");
    assert_written(1);
    assert_file_is(path, line, bytes);
    file_limit limit = limit_files(bytes + 10);
    dram_status status = tell_evaluation(record, 2, &result);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "full_evaluations.jsonl: cannot write: File too large");
    assert_file_is(path, line, bytes);
    put_file(path, line, bytes - 2); /* torn */
    ok(dram_evaluations_sink.cut(path, 100));
    assert_file_is(path, line, 0);
    close_reason = EDQUOT;
    fails(tell_evaluation(record, 2, &result), DRAM_ERR_IO,
          "full_evaluations.jsonl: cannot write: Disk quota exceeded");
    ok(dram_record_close(record, false));
    record = record_of(&dram_evaluations_sink, "/dev/full");
    fails(tell_evaluation(record, 1, &result), DRAM_ERR_IO, "/dev/full: cannot write: No space left on device");
    ok(dram_record_close(record, false));
    record = record_of(&dram_evaluations_sink, *state);
    fails(tell_evaluation(record, 1, &result), DRAM_ERR_IO, ": cannot open for appending: Is a directory");
    ok(dram_record_close(record, false));
    free(line);
}

static int warnings;
static char warned[512];

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level != DRAM_LOG_WARNING) return;
    warnings++;
    snprintf(warned, sizeof warned, "%s", message);
}

/* A network's disk may say only at the end that it did not take what was written. */
static void a_file_that_cannot_be_closed(void **state)
{
    static const dram_sink *const sinks[] = {&dram_metrics_sink, &dram_memory_sink};
    dram_log_set_sink(keep_warning, NULL);
    for (int i = 0; i < 2; i++) {
        dram_record *record = record_of(sinks[i], in_dir(state, sinks[i]->file));
        close_reason = EIO;
        fails(dram_record_close(record, false), DRAM_ERR_IO,
              ".jsonl cannot be closed: Input/output error; it may lack its end");
        assert_int_equal(close_reason, 0);
        assert_int_equal(warnings, i);
        record = record_of(sinks[i], in_dir(state, sinks[i]->file));
        close_reason = EIO;
        ok(dram_record_close(record, true)); /* its error is another */
        assert_int_equal(close_reason, 0);
        assert_int_equal(warnings, i + 1);
        assert_non_null(strstr(warned, sinks[i]->file));
    }
    dram_log_set_sink(NULL, NULL);
    ok(dram_record_close(NULL, false));
}

/* A fact goes to those that take it, in their order, up to the first that fails. */
typedef struct {
    int heard;
    dram_status status;
} listener;

static dram_status hear(void *context, const dram_fact *fact)
{
    listener *l = context;
    assert_int_equal(fact->kind, DRAM_FACT_STEP);
    l->heard++;
    return l->status;
}

static void facts_go_to_who_takes_them(void **state)
{
    static const dram_sink sink = {.facts = 1u << DRAM_FACT_STEP, .fact = hear};
    const dram_memory_reading reading = {.seconds = 1.25, .device_bytes = 7, .process_bytes = 8, .free_bytes = 9};
    static const char line[] = "{\"seconds\":1.250,\"step\":3,\"device_bytes\":7,\"process_rss_bytes\":8,"
                               "\"free_bytes\":9,\"cpu_utilization\":0.000}\n";
    const char *directory = in_dir(state, "files");
    const dram_config cfg = {0};
    listener first = {0};
    dram_record *record;
    const char *path;
    assert_int_equal(mkdir(directory, 0700), 0);
    for (int rank = 0; rank < 2; rank++) {
        ok(dram_record_open(0, &record));
        ok(dram_record_add_files(record, &cfg, directory, rank));
        ok(dram_record_listen(record, &sink, &first));
        ok(tell_step(record, 0));
        ok(dram_record_tell(record, &(dram_fact){DRAM_FACT_MEMORY, 3, {.memory = &reading}}));
        assert_int_equal(first.heard, rank + 1);
        ok(dram_record_close(record, false));
    }
    path = in_dir(state, "files/metrics.jsonl");
    expect_lines(path, 1); /* the first rank's alone */
    path = in_dir(state, "files/memory.jsonl");
    assert_file_is(path, line, sizeof line - 1);
    path = in_dir(state, "files/memory.rank-0001.jsonl");
    assert_file_is(path, line, sizeof line - 1);
    path = in_dir(state, "files/evaluations.jsonl");
    assert_false(dram_path_exists(path));

    listener fails_it = {.status = DRAM_ERR_RUN}, last = {0};
    ok(dram_record_open(0, &record));
    ok(dram_record_listen(record, &sink, &fails_it));
    ok(dram_record_listen(record, &sink, &last));
    assert_int_equal(tell_step(record, 0), DRAM_ERR_RUN);
    assert_true(fails_it.heard == 1 && last.heard == 0);
    ok(dram_record_close(record, false));
    ok(dram_record_tell(NULL, &(dram_fact){DRAM_FACT_MEMORY, 3, {.memory = &reading}}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_of_steps),
        cmocka_unit_test(metrics_on_a_full_disk),
        cmocka_unit_test(long_evaluations),
        cmocka_unit_test(evaluations_on_a_full_disk),
        cmocka_unit_test(a_file_that_cannot_be_closed),
        cmocka_unit_test(facts_go_to_who_takes_them),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
