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
#include "support/warnings.h"
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
    ok(dram_lines_truncate(path, 5, false, NULL)); /* no file */
    assert_false(is_there(path));
    append_lines(path, 0, 3);
    append_lines(path, 3, 6);
    ok(dram_lines_truncate(path, 100, false, NULL));
    expect_lines(path, 6);
    int64_t kept = -1;
    ok(dram_lines_truncate(path, 4, false, &kept));
    assert_int_equal(kept, 4);
    ok(dram_lines_truncate(in_dir(state, "none.jsonl"), 4, false, &kept));
    assert_int_equal(kept, 0);
    expect_lines(path, 4);
    append_lines(path, 4, 5);
}

/* What a killed process leaves. A line of which only the newline is missing is whole. */
static void torn_lines_are_dropped(void **state)
{
    const char *path = in_dir(state, "torn.jsonl");
    size_t bytes;
    append_lines(path, 0, 5);
    char *content = get_file(path, &bytes);
    dram_log_set_sink(keep_warning, NULL);
    for (size_t cut = 1; cut < line_of(4, (char[64]){0}); cut++) {
        put_file(path, content, bytes - cut);
        warnings = 0;
        ok(dram_lines_truncate(path, 100, false, NULL));
        expect_lines(path, cut == 1 ? 5 : 4);
        assert_int_equal(warnings, cut != 1);
    }
    append_lines(path, 4, 5);         /* and the run goes on */
    put_file(path, "{\"step\":0", 9); /* killed at the first line */
    ok(dram_lines_truncate(path, 0, false, NULL));
    expect_lines(path, 0);
    dram_log_set_sink(NULL, NULL);
    free(content);
}

/* Mends `text`, expects `want`, and a warning that ends so; NULL: none. */
static void mend(void **state, const char *text, size_t n, bool again, const char *want, const char *warning)
{
    const char *path = in_dir(state, "mended.jsonl");
    put_file(path, text, n);
    warnings = 0;
    dram_log_set_sink(keep_warning, NULL);
    ok(dram_lines_truncate(path, 100, again, NULL));
    dram_log_set_sink(NULL, NULL);
    assert_file_is(path, want, strlen(want));
    assert_int_equal(warnings, warning != NULL);
    if (!warning) return;
    size_t have = strlen(last_warning), m = strlen(warning);
    assert_true(have > m);
    assert_string_equal(last_warning + have - m, warning);
}

#define A "{\"step\":0}\n"
#define B "{\"step\":1}\n"
#define C "{\"step\":2}\n"
#define D "{\"step\":3}\n"
#define NO_STEP(LINE) "mended.jsonl:" LINE ": this line is damaged (not an object with a step); it is left out"
#define MEND(TEXT, AGAIN, WANT, WARNING) mend(state, TEXT, sizeof TEXT - 1, AGAIN, WANT, WARNING)

static void damaged_lines_are_left_out(void **state)
{
    static const char *const wrong[] = {"\n",
                                        "{}\n",
                                        "{\"step\":\"1\"}\n",
                                        "{\"step\":1.5}\n",
                                        "{\"step\":1\n",
                                        "3\n",
                                        "{\"step\":-1}\n",
                                        "{\"step\":1}{\"step\":2}\n",
                                        "\xff\xfe\n",
                                        "\r\n",
                                        "{\"step\":null}\n",
                                        "[{\"step\":1}]\n"};
    char text[200];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *const at[][2] = {{"", A B C}, {A, B C}, {A B C, ""}}; /* first, in the middle, last */
        const char *const said[] = {NO_STEP("1"), NO_STEP("2"), NO_STEP("4")};
        for (int k = 0; k < 3; k++) {
            int n = snprintf(text, sizeof text, "%s%s%s", at[k][0], wrong[i], at[k][1]);
            mend(state, text, (size_t)n, false, A B C, said[k]);
        }
    }
    MEND(A "x\n" B "y\n" C "z", false, A B C, NO_STEP("2") ", as 2 of the lines after it");
    MEND("x\ny\n", false, "", NO_STEP("1") ", as 1 of the lines after it");
    MEND("", false, "", NULL);
    MEND("\n", false, "", NO_STEP("1"));
    MEND("{\"step\":0}\r\n{\"step\":1}\r\n", false, "{\"step\":0}\r\n{\"step\":1}\r\n", NULL); /* an editor's */
    MEND(A "{\"step\":100}\n", false, A, NULL);
    MEND(A "{\"step\":100}\n{\"step\":101}\nx\n", false, A, NO_STEP("4"));
}

#define WITH_NUL(LINE) "mended.jsonl:" LINE ": this line is damaged (a NUL in it); it is left out"

/* A NUL ends no line, and joins none to the next. */
static void nuls_are_found(void **state)
{
    MEND(A "{\"step\":1\0}\n" C, false, A C, WITH_NUL("2"));
    MEND(A "{\"step\":1}\0\n" C, false, A C, WITH_NUL("2"));
    MEND(A "\0\0\0\0\0\0{\"step\":1}\n" C, false, A C, WITH_NUL("2"));
    MEND("\0" A B, false, B, WITH_NUL("1"));
    MEND(A "\0\0\0\0", false, A, WITH_NUL("2")); /* blocks that were never written */
    MEND("{\0\"\0s\0t\0e\0p\0\"\0:\0"
         "1\0}\0\n\0",
         false, "", WITH_NUL("1") ", as 1 of the lines after it");
}

#define OUT_OF_ORDER(LINE) "mended.jsonl:" LINE ": this line is damaged (its step is out of order); it is left out"

/* Two processes in one run, or a digit that has changed. */
static void steps_that_do_not_rise_are_left_out(void **state)
{
    MEND(A B A C, false, A B C, OUT_OF_ORDER("3"));
    MEND(A C B C D, false, A B C D, OUT_OF_ORDER("2"));
    MEND(A A B B C C, false, A B C, OUT_OF_ORDER("2") ", as 2 of the lines after it");
    MEND(A A B B C C, true, A A B B C C, NULL);
    MEND(A B B A C, true, A B B C, OUT_OF_ORDER("4"));
    MEND(A "{\"step\":91}\n" C D, false, A C D, OUT_OF_ORDER("2"));
    MEND(A "{\"step\":1e300}\n" C D, false, A C D, OUT_OF_ORDER("2"));
    MEND("{\"step\":91}\n" A B, false, A B, OUT_OF_ORDER("1"));
}

static void lines_that_are_too_long(void **state)
{
    enum { LENGTH = 200000 };
    const char *path = in_dir(state, "mended.jsonl");
    char *text = malloc(LENGTH + 40);
    assert_non_null(text);
    memset(text, 'x', LENGTH);
    memcpy(text + LENGTH, "\n" B, 1 + strlen(B));
    mend(state, text, LENGTH + 1 + strlen(B), false, B,
         "mended.jsonl:1: this line is damaged (too long); it is left out");
    mend(state, text, LENGTH, false, "", "mended.jsonl:1: this line is damaged (too long); it is left out");
    for (int room = -2; room < 3; room++) { /* around the longest that is read */
        int n = (1 << 16) + room;
        memset(text, ' ', (size_t)n);
        memcpy(text, "{\"step\":0}", 10);
        text[n - 1] = '\n';
        put_file(path, text, (size_t)n);
        ok(dram_lines_truncate(path, 100, false, NULL));
        assert_file_is(path, text, n < 1 << 16 ? (size_t)n : 0);
    }
    free(text);
}

static void links_are_not_written_through(void **state)
{
    const char *path = in_dir(state, "link.jsonl");
    put_file(in_dir(state, "others"), A, strlen(A));
    for (int dangling = 0; dangling < 2; dangling++) {
        dram_lines lines;
        assert_int_equal(symlink(dangling ? "gone" : "others", path), 0);
        fails(dram_lines_open(path, &lines), DRAM_ERR_IO,
              "link.jsonl: cannot open for appending: a link, and dram writes through none");
        fails(dram_lines_truncate(path, 0, false, NULL), DRAM_ERR_IO,
              "link.jsonl: cannot open: a link, and dram writes through none");
        assert_int_equal(unlink(path), 0);
    }
    assert_file_is(in_dir(state, "others"), A, strlen(A));
    assert_false(is_there(in_dir(state, "gone")));
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
    fails(dram_lines_truncate(in_dir(state, "pipe"), 0, false, NULL), DRAM_ERR_IO,
          "pipe: cannot open: not a file: a pipe");
    fails(dram_lines_truncate(*state, 0, false, NULL), DRAM_ERR_IO, ": cannot open: not a file: a folder");
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
    return dram_lines_truncate(path, 100, false, NULL);
}

static void out_of_memory_at_every_request(void **state)
{
    out_of_memory_everywhere(try_lines, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_appended_and_cut),
        cmocka_unit_test(torn_lines_are_dropped),
        cmocka_unit_test(damaged_lines_are_left_out),
        cmocka_unit_test(nuls_are_found),
        cmocka_unit_test(steps_that_do_not_rise_are_left_out),
        cmocka_unit_test(lines_that_are_too_long),
        cmocka_unit_test(links_are_not_written_through),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(short_writes_and_signals),
        cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
