/* The lines of metrics.jsonl and evaluations.jsonl, whole or not there. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "io/helpers.h"
#include "report/metrics.h"
#include "report/summary.h"
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
                          .planned_peak_bytes = 7516192768,
                          .measured_peak_bytes = 7516192768};
}

static const char EVEN[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":1.25,\"loss_resolution\":null,"
                           "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"label_pixels\":4096,"
                           "\"sam_images_left_out\":0,\"resolution_images_left_out\":null,\"distilled\":true,"
                           "\"teacher_ran\":true,\"images_per_second\":12.5,\"planned_peak_bytes\":7516192768,"
                           "\"measured_peak_bytes\":7516192768}\n";
static const char ODD[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":null,\"loss_resolution\":null,"
                          "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"label_pixels\":4096,"
                          "\"sam_images_left_out\":null,\"resolution_images_left_out\":null,\"distilled\":false,"
                          "\"teacher_ran\":false,\"images_per_second\":12.5,\"planned_peak_bytes\":7516192768,"
                          "\"measured_peak_bytes\":7516192768}\n";

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
    dram_lines lines;
    ok(dram_lines_open(path, &lines));
    for (int i = 0; i < 5; i++) {
        dram_metrics m = sample(i);
        ok(dram_metrics_append(&lines, &m));
        expect_lines(path, i + 1);
    }
    dram_lines_close(&lines);
    ok(dram_lines_truncate(path, 4, false, NULL));
    expect_lines(path, 4);
}

static void metrics_on_a_full_disk(void **state)
{
    const char *path = in_dir(state, "full.jsonl");
    dram_lines lines;
    ok(dram_lines_open(path, &lines));
    for (int i = 0; i < 2; i++) {
        dram_metrics m = sample(i);
        order_writes(torn, 3);
        fails(dram_metrics_append(&lines, &m), DRAM_ERR_IO, "full.jsonl: cannot write: No space left on device");
        assert_written(1);
        expect_lines(path, i);
        order_writes(whole, 3);
        ok(dram_metrics_append(&lines, &m));
        assert_written(2);
        expect_lines(path, i + 1);
    }
    file_limit limit = limit_files(700); /* the next line fits in part */
    dram_metrics m = sample(2);
    dram_status status = dram_metrics_append(&lines, &m);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "full.jsonl: cannot write: File too large");
    expect_lines(path, 2);
    dram_lines_close(&lines);
}

/* A line of evaluations.jsonl with as many classes as there can be, cut back as a resumed run does. */
static void long_evaluations(void **state)
{
    const char *path = in_dir(state, "evaluations.jsonl");
    dram_eval_result result = {.miou = 1.0 / 3, .pixel_accuracy = NAN, .embedding_cosine = 0.5, .classes = 256};
    for (int k = 0; k < 256; k++) result.class_iou[k] = 1.0 / (3 + k);
    for (int step = 1; step <= 3; step++) ok(dram_eval_append(path, step, &result));
    size_t before, after;
    char *text = get_file(path, &before), *cut;
    assert_int_equal(before % 3, 0);
    assert_true(before / 3 > 4096);
    ok(dram_lines_truncate(path, 3, false, NULL));
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
    order_writes(whole, 3);
    ok(dram_eval_append(path, 1, &result));
    assert_written(2);
    char *line = get_file(path, &bytes);
    assert_true(bytes > 60 && line[bytes - 1] == '\n');
    order_writes(torn, 3);
    fails(dram_eval_append(path, 2, &result), DRAM_ERR_IO,
          "full_evaluations.jsonl: cannot write: No space left on device");
    assert_written(1);
    assert_file_is(path, line, bytes);
    file_limit limit = limit_files(bytes + 10);
    dram_status status = dram_eval_append(path, 2, &result);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "full_evaluations.jsonl: cannot write: File too large");
    assert_file_is(path, line, bytes);
    put_file(path, line, bytes - 2); /* torn */
    ok(dram_lines_truncate(path, 100, false, NULL));
    assert_file_is(path, line, 0);
    fails(dram_eval_append("/dev/full", 1, &result), DRAM_ERR_IO, "/dev/full: cannot write: No space left on device");
    fails(dram_eval_append(*state, 1, &result), DRAM_ERR_IO, ": cannot open for appending: Is a directory");
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_of_steps),
        cmocka_unit_test(metrics_on_a_full_disk),
        cmocka_unit_test(long_evaluations),
        cmocka_unit_test(evaluations_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
