/* Files that grow by lines: a line is there whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/testing.h"
#include "helpers.h"
#include "io/lines.h"
#include "io/path.h"
#include "support/writes.h"

/* Line i of a file; returns its length. */
static size_t line_of(int i, char line[64])
{
    return (size_t)snprintf(line, 64, "{\"step\":%d,\"text\":\"%.*s\"}\n", i, i, "0123456789");
}

/* The file must be the lines 0 .. count - 1. */
static void expect_lines(const char *path, int count)
{
    char want[1024];
    size_t n = 0;
    for (int i = 0; i < count; i++) n += line_of(i, want + n);
    assert_file_is(path, want, n);
}

static dram_status append(const dram_lines *lines, int i)
{
    char line[64];
    return dram_lines_append(lines, line, line_of(i, line));
}

static void append_lines(const char *path, int from, int to)
{
    dram_lines lines;
    ok(dram_lines_open(path, &lines));
    for (int i = from; i < to; i++) {
        ok(append(&lines, i));
        expect_lines(path, i + 1); /* each line is there at once */
    }
    dram_lines_close(&lines);
    dram_lines_close(&lines); /* as it was before it was opened */
}

static void lines_are_appended_and_cut(void **state)
{
    const char *path = in_dir(state, "run.jsonl");
    ok(dram_lines_truncate(path, 5)); /* no file */
    assert_false(is_there(path));
    append_lines(path, 0, 3);
    append_lines(path, 3, 6);
    ok(dram_lines_truncate(path, 100));
    expect_lines(path, 6);
    ok(dram_lines_truncate(path, 4));
    expect_lines(path, 4);
    append_lines(path, 4, 5);
    assert_false(is_there(in_dir(state, "run.jsonl.tmp")));
}

/* What a killed process leaves. */
static void torn_lines_are_dropped(void **state)
{
    const char *path = in_dir(state, "torn.jsonl");
    size_t bytes;
    append_lines(path, 0, 5);
    char *content = get_file(path, &bytes);
    for (size_t cut = 1; cut < line_of(4, (char[64]){0}); cut++) {
        put_file(path, content, bytes - cut);
        ok(dram_lines_truncate(path, 100));
        expect_lines(path, 4);
    }
    append_lines(path, 4, 5);         /* and the run goes on */
    put_file(path, "{\"step\":0", 9); /* killed at the first line */
    ok(dram_lines_truncate(path, 0));
    expect_lines(path, 0);
    free(content);
}

static void damaged_lines_are_refused(void **state)
{
    static const char *const wrong[] = {"\n", "{}\n", "{\"step\":\"1\"}\n", "{\"step\":1.5}\n", "{\"step\":1\n", "3\n"};
    const char *path = in_dir(state, "bad.jsonl");
    char damaged[5001];
    append_lines(path, 0, 5);
    size_t bytes;
    char *content = get_file(path, &bytes);
    assert_true(bytes < sizeof damaged - 64);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t n = strlen(wrong[i]);
        memcpy(damaged, content, bytes);
        memcpy(damaged + bytes, wrong[i], n);
        put_file(path, damaged, bytes + n);
        fails(dram_lines_truncate(path, 100), DRAM_ERR_FORMAT, "bad.jsonl:6: not an object with a step");
        assert_file_is(path, damaged, bytes + n);
    }
    memset(damaged, 'x', 5000); /* one line, longer than any of ours */
    damaged[5000] = '\n';
    put_file(path, damaged, 5001);
    fails(dram_lines_truncate(path, 100), DRAM_ERR_FORMAT, "bad.jsonl:1: not an object with a step");
    assert_file_is(path, damaged, 5001);
    free(content);
}

static void a_full_disk(void **state)
{
    dram_lines lines;
    ok(dram_lines_open("/dev/full", &lines));
    fails(append(&lines, 0), DRAM_ERR_IO, "/dev/full: cannot write: No space left on device");
    dram_lines_close(&lines);

    const char *path = in_dir(state, "short.jsonl");
    ok(dram_lines_open(path, &lines));
    ok(append(&lines, 0));
    file_limit limit = limit_files(30); /* the second line fits in part */
    dram_status status = append(&lines, 1);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "short.jsonl: cannot write: File too large");
    expect_lines(path, 1); /* no part of it is left */
    ok(append(&lines, 1)); /* there is room again */
    expect_lines(path, 2);
    dram_lines_close(&lines);

    fails(dram_lines_open(in_dir(state, "no/such/file"), &lines), DRAM_ERR_IO,
          "cannot open for appending: No such file or directory");
    assert_null(lines.path);
    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    fails(dram_lines_open(in_dir(state, "pipe"), &(dram_lines){0}), DRAM_ERR_IO,
          "pipe: cannot open for appending: No such device or address");
    fails(dram_lines_truncate(in_dir(state, "pipe"), 0), DRAM_ERR_IO, "pipe: cannot open: not a file: a pipe");
    fails(dram_lines_truncate(*state, 0), DRAM_ERR_IO, ": cannot open: not a file: a folder");
}

static void short_writes_and_signals(void **state)
{
    static const write_order whole[] = {{.reason = EINTR}, {.most = 1}, {.most = 7}, {.reason = EINTR}, {.most = 2}};
    static const write_order torn[] = {{.most = 5}, {.reason = EINTR}, {.most = 3}, {.reason = EDQUOT}};
    static const write_order none[] = {{.reason = EIO}}, nothing[] = {{.most = 0}};
    const char *path = in_dir(state, "signals.jsonl");
    char line[64];
    dram_lines lines;
    ok(dram_lines_open(path, &lines));
    order_writes(whole, 5);
    ok(append(&lines, 0));
    assert_written(3);
    expect_lines(path, 1);
    order_writes(torn, 4);
    fails(append(&lines, 1), DRAM_ERR_IO, "signals.jsonl: cannot write: Disk quota exceeded");
    assert_written(2);
    expect_lines(path, 1);
    order_writes(none, 1);
    errno = 0;
    assert_int_equal(dram_lines_write(&lines, line, line_of(1, line)), EIO);
    order_writes(nothing, 1);
    assert_int_equal(dram_lines_write(&lines, line, line_of(1, line)), EIO); /* not what errno was before */
    assert_string_equal(dram_error_text(), "");
    expect_lines(path, 1);
    assert_int_equal(dram_lines_write(&lines, line, line_of(1, line)), 0);
    expect_lines(path, 2);
    dram_lines_close(&lines);
}

static dram_status try_lines(void **state)
{
    const char *path = in_dir(state, "oom.jsonl");
    dram_lines lines;
    unlink(path); /* or each attempt would need more requests than the one before */
    TRY(dram_lines_open(path, &lines));
    int64_t calls = dram_alloc_calls();
    dram_status status = append(&lines, 3);
    assert_int_equal(dram_alloc_calls(), calls); /* a line takes no memory */
    dram_lines_close(&lines);
    TRY(status);
    return dram_lines_truncate(path, 100);
}

static void out_of_memory_at_every_request(void **state)
{
    out_of_memory_everywhere(try_lines, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_appended_and_cut), cmocka_unit_test(torn_lines_are_dropped),
        cmocka_unit_test(damaged_lines_are_refused),  cmocka_unit_test(a_full_disk),
        cmocka_unit_test(short_writes_and_signals),   cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
