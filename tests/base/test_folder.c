/* Listing a folder, and the folders inside it, each once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/folder.h"
#include "base/testing.h"
#include "support/folders.h"
#include "support/tempdir.h"

static char top[4200];

static int fresh(void **state)
{
    if (tempdir_make(state)) return -1;
    snprintf(top, sizeof top, "%s", (const char *)*state);
    dram_error_clear();
    return 0;
}

static void folder(const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", top, name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void file(const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", top, name);
    put_file(path, "x", 1);
}

static void link_to(const char *name, const char *target)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", top, name);
    assert_int_equal(symlink(target, path), 0);
}

static dram_folder_params of(const char *path, bool recursive)
{
    return (dram_folder_params){.path = path, .what = "things", .recursive = recursive};
}

/* The files as "a b/c", those that cannot be read with a ! behind them. */
static void list_is(const dram_folder_params *params, const char *want, int inside, const char *first)
{
    char have[4096] = "";
    dram_folder_list list;
    int64_t before = dram_alloc_bytes();
    if (dram_folder_list_read(params, &list) != DRAM_OK) fail_msg("%s", dram_error_text());
    for (int i = 0; i < list.n; i++) {
        size_t n = strlen(have);
        snprintf(have + n, sizeof have - n, "%s%s%s", i ? " " : "", list.files[i].name, list.files[i].why ? "!" : "");
    }
    assert_string_equal(have, want);
    assert_int_equal(list.inside, inside);
    if (first)
        assert_string_equal(list.folder, first);
    else
        assert_null(list.folder);
    dram_folder_list_free(&list);
    assert_null(list.files);
    assert_int_equal(dram_alloc_bytes(), before);
}

static void files_of_folders(void **state)
{
    (void)state;
    folder("b");
    folder("b/deep");
    folder("a.d");
    folder(".hidden");
    folder("empty");
    file("z");
    file("a-x");
    file(".dot");
    file(".hidden/x");
    file("b/y");
    file("b/.y");
    file("b/deep/w");
    file("a.d/v");
    const dram_folder_params flat = of(top, false), deep = of(top, true);
    list_is(&flat, "a-x z", 3, "a.d");
    list_is(&deep, "a-x a.d/v b/deep/w b/y z", 0, NULL);
}

/* A folder that a link leads back to, or to which two names lead, is looked into once, by its name without a link. */
static void links_that_go_round(void **state)
{
    (void)state;
    folder("b");
    folder("b/c");
    file("b/c/x");
    link_to("b/c/up", "../..");
    link_to("b/c/here", ".");
    link_to("a", "b/c");
    link_to("self", "self");
    const dram_folder_params flat = of(top, false), deep = of(top, true);
    list_is(&flat, "self!", 2, "a");
    list_is(&deep, "b/c/x self!", 3, "a");
}

/* Outside of the folder there is no name without a link: the first by name counts, whatever order the system gives. */
static void links_to_elsewhere(void **state)
{
    folder("in");
    folder("out");
    folder("out/more");
    file("out/x");
    file("out/more/y");
    link_to("in/d", "../out");
    link_to("in/c", "../out/more");
    link_to("in/e", "../out/more");
    const dram_folder_params deep = of(in_dir(state, "in"), true);
    list_is(&deep, "c/y d/x", 2, "d/more");
}

/* Each of these folders leads to the next by two names: 2^40 paths, and forty folders. */
static void doors_upon_doors(void **state)
{
    enum { ROOMS = 40 };
    char name[64], target[64];
    for (int i = 0; i < ROOMS; i++) {
        snprintf(name, sizeof name, "room%d", i);
        folder(name);
        for (int door = 0; door < 2 && i + 1 < ROOMS; door++) {
            snprintf(name, sizeof name, "room%d/door%d", i, door);
            snprintf(target, sizeof target, "../room%d", i + 1);
            link_to(name, target);
        }
    }
    snprintf(name, sizeof name, "room%d/x", ROOMS - 1);
    file(name);
    dram_folder_list list;
    const dram_folder_params deep = of(in_dir(state, "room0"), true);
    assert_int_equal(dram_folder_list_read(&deep, &list), DRAM_OK);
    assert_int_equal(list.n, 1);
    assert_int_equal(list.inside, ROOMS - 1);
    dram_folder_list_free(&list);
}

static void a_folder_apart(void **state)
{
    folder("a");
    folder("b");
    file("a/x");
    file("b/y");
    link_to("c", "a");
    dram_folder_params params = of(top, false);
    params.apart = in_dir(state, "a/");
    list_is(&params, "", 1, "b");
    params.recursive = true;
    list_is(&params, "b/y", 0, NULL);
    params.apart = in_dir(state, "none");
    list_is(&params, "a/x b/y", 1, "c");
}

static void what_is_no_file(void **state)
{
    link_to("gone", "nowhere");
    link_to("device", "/dev/null");
    file("x");
    assert_int_equal(mkfifo(in_dir(state, "pipe"), 0666), 0);
    dram_folder_list list;
    const dram_folder_params params = of(top, true);
    assert_int_equal(dram_folder_list_read(&params, &list), DRAM_OK);
    assert_int_equal(list.n, 4);
    assert_string_equal(list.files[0].why, "not a file: a device");
    assert_string_equal(list.files[1].why, "a link that leads nowhere");
    assert_string_equal(list.files[2].why, "not a file: a pipe");
    assert_null(list.files[3].why);
    dram_folder_list_free(&list);
}

static void fails(const dram_folder_params *params, dram_status want, const char *text)
{
    dram_folder_list list;
    int64_t before = dram_alloc_bytes();
    assert_int_equal(dram_folder_list_read(params, &list), want);
    assert_null(list.files);
    assert_null(list.text);
    assert_int_equal(dram_alloc_bytes(), before);
    if (!strstr(dram_error_text(), text)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), text);
    dram_error_clear();
}

static void folders_that_cannot_be_read(void **state)
{
    dram_folder_params params = of(in_dir(state, "none"), false);
    params.where = "run.yaml:1:2: key";
    fails(&params, DRAM_ERR_CONFIG, "run.yaml:1:2: key: ");
    fails(&params, DRAM_ERR_CONFIG, "none: cannot open the folder of things: No such file");
    file("x");
    params.path = in_dir(state, "x");
    fails(&params, DRAM_ERR_CONFIG, "x: cannot open the folder of things: Not a directory");
    folder("a");
    folder("a/shut");
    params.path = top;
    params.recursive = true;
    assert_int_equal(chmod(in_dir(state, "a/shut"), 0), 0);
    if (geteuid() != 0) fails(&params, DRAM_ERR_CONFIG, "a/shut: cannot open the folder of things: Permission denied");
    assert_int_equal(chmod(in_dir(state, "a/shut"), 0777), 0);
    for (int whole = 0; whole < 5 + 4 + 3; whole++) { /* entries of the three folders, and their ends */
        entries_left = whole;
        fails(&params, DRAM_ERR_IO,
              whole < 5   ? ": cannot list the folder of things to its end: Input/output error"
              : whole < 9 ? "/a: cannot list the folder"
                          : "/a/shut: cannot list the folder");
    }
    entries_left = 12;
    list_is(&params, "x", 0, NULL);
    entries_left = -1;
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    char name[64];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "d%d", i);
        folder(name);
    }
    link_to("back", ".");
    link_to("gone", "nowhere");
    int failures = 0;
    dram_status status = DRAM_ERR_MEMORY;
    for (int after = 0; status != DRAM_OK; after++) {
        dram_folder_list list;
        const dram_folder_params params = of(top, true);
        int64_t before = dram_alloc_bytes();
        dram_error_clear();
        dram_alloc_fail_after(after);
        status = dram_folder_list_read(&params, &list);
        dram_alloc_fail_after(-1);
        assert_true(status == DRAM_OK || status == DRAM_ERR_MEMORY);
        failures += status != DRAM_OK;
        dram_folder_list_free(&list);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    assert_true(failures > 6);
    dram_error_clear();
}

static void texts_that_are_kept(void **state)
{
    (void)state;
    dram_folder_list list = {0};
    char large[100000];
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    const char *a = dram_folder_keep(&list, "a", "b"), *b = dram_folder_keep(&list, large, NULL);
    const char *c = dram_folder_keep(&list, "c", NULL);
    assert_string_equal(a, "a/b");
    assert_string_equal(b, large);
    assert_string_equal(c, "c");
    dram_folder_list_free(&list);
}

static void one_place(void **state)
{
    folder("a");
    link_to("b", "a");
    assert_true(dram_same_place(in_dir(state, "a"), in_dir(state, "b/")));
    assert_false(dram_same_place(in_dir(state, "a"), top));
    assert_false(dram_same_place(in_dir(state, "none"), in_dir(state, "none")));
}

#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, fresh, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_of_folders),
        CASE(links_that_go_round),
        CASE(links_to_elsewhere),
        CASE(doors_upon_doors),
        CASE(a_folder_apart),
        CASE(what_is_no_file),
        CASE(folders_that_cannot_be_read),
        CASE(memory_that_runs_out),
        CASE(texts_that_are_kept),
        CASE(one_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
