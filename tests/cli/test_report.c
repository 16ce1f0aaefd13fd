/* dram report: what it writes and where, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "support/full_disk.h"

/* A run of one step whose config this dram cannot read: its page takes no plan. */
static void make_run(void **state, const char *name)
{
    static const char config[] = "no_such_key: 1\n", line[] = "{\"step\":0,\"loss\":1.5,\"grad_norm\":1,\"lr\":0.1}\n";
    char path[200];
    assert_int_equal(mkdir(in_dir(state, name), 0777), 0);
    snprintf(path, sizeof path, "%s/config.yaml", name);
    put_file(in_dir(state, path), config, sizeof config - 1);
    snprintf(path, sizeof path, "%s/metrics.jsonl", name);
    put_file(in_dir(state, path), line, sizeof line - 1);
}

static int setup(void **state)
{
    if (tempdir_make(state) != 0) return -1;
    make_run(state, "one");
    make_run(state, "two");
    assert_int_equal(mkdir(in_dir(state, "none"), 0777), 0);
    assert_int_equal(mkdir(in_dir(state, "runs"), 0777), 0);
    make_run(state, "runs/a");
    make_run(state, "runs/b");
    assert_int_equal(mkdir(in_dir(state, "images"), 0777), 0);
    make_run(state, "images/a");
    make_run(state, "saved");
    put_file(in_dir(state, "saved/state.json"), "{}", 2);
    put_file(in_dir(state, "file"), "x", 1);
    return 0;
}

static void pages_go_where_they_are_said_to_go(void **state)
{
    dram_ok(state, "report one");
    assert_int_equal(strncmp(printed, "one/report.html, ", 17), 0);
    assert_non_null(strstr(printed, ", 1 note of what is odd or left out"));
    assert_true(is_there(in_dir(state, "one/report.html")));
    dram_ok(state, "report one/ --output page.html");
    char *page = get_file(in_dir(state, "page.html"), NULL), *own = get_file(in_dir(state, "one/report.html"), NULL);
    assert_string_equal(page, own);
    dram_ok(state, "report one two");
    assert_true(is_there(in_dir(state, "report.html")));
    dram_ok(state, "report --help");
    assert_non_null(strstr(printed, "--output FILE"));
    free(page);
    free(own);
}

static void what_is_no_run_is_refused_in_one_line(void **state)
{
    static const struct {
        const char *args, *text;
        int code;
    } row[] = {
        {"report", "an argument is missing", 2},
        {"report nowhere", "report: nowhere: there is no such folder", 2},
        {"report file", "report: file: a file, not the folder of a run", 2},
        {"report none", "report: none: neither a run's folder (config.yaml) nor a sweep's (plan.json); it is empty", 2},
        {"report one none", "report: none: neither a run's folder", 2},
        {"report one a=b", "report: what is \"a=b\"? It takes folders", 2},
        {"report one --output none", "none", 1},
        {"report one --output nowhere/page.html", "nowhere", 1},
        {"report one --outpt x", "did you mean --output?", 2},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) dram_fails(state, row[i].args, row[i].code, row[i].text);
    dram_fails(state, "report runs", 2, "; runs in it: runs/");
    dram_fails(state, "report images", 2, "; runs in it: images/a"); /* whatever their names begin with */
    dram_fails(state, "report saved", 2, "report: saved: a checkpoint; name the folder of its run");
    put_file(in_dir(state, "none/plan.json"), "{", 1);
    dram_fails(state, "report none", 2, "plan.json");
    dram_fails(state, "report one none", 2, "report: none: a sweep has a page of its own; give it alone");
}

/* It is neither waited for nor passed over in silence. */
static void a_pipe_in_the_place_of_a_log_is_a_note(void **state)
{
    make_run(state, "piped");
    assert_int_equal(mkfifo(in_dir(state, "piped/log.txt"), 0666), 0);
    dram_ok(state, "report piped");
    char *page = get_file(in_dir(state, "piped/report.html"), NULL);
    assert_non_null(strstr(page, "log.txt cannot be read: not a file: a pipe"));
    free(page);
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    static const char before[] = "what was there";
    put_file(in_dir(state, "two/report.html"), before, sizeof before - 1);
    file_limit limit = limit_files(2000);
    signal(SIGXFSZ, SIG_DFL); /* as a shell leaves it: it would end the command, and a temporary would stay */
    dram_fails(state, "report two", 1, "two/report.html");
    unlimit_files(limit);
    assert_file_is(in_dir(state, "two/report.html"), before, sizeof before - 1);
    assert_int_equal(temporaries(in_dir(state, "two")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_go_where_they_are_said_to_go),
        cmocka_unit_test(what_is_no_run_is_refused_in_one_line),
        cmocka_unit_test(a_pipe_in_the_place_of_a_log_is_a_note),
        cmocka_unit_test(a_full_disk_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, setup, tempdir_remove);
}
