/* paths, atomic files and folders, checkpoints, run directories */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/helpers.h"
#include "io/path.h"
#include "io/rundir.h"
#include "support/folders.h"

/* Paths ------------------------------------------------------------------------------------------------------- */

static void paths_are_joined_and_cut(void **state)
{
    (void)state;
    static const char *const joined[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"},
                                            {".", "b", "b"},   {"a", "/b", "/b"},  {"/", "b", "/b"}};
    static const char *const folder[][2] = {{"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"/a/b", "/a"}};
    char *path;
    for (size_t i = 0; i < sizeof joined / sizeof joined[0]; i++) {
        ok(dram_path_join(joined[i][0], joined[i][1], &path));
        assert_string_equal(path, joined[i][2]);
        dram_free(path);
    }
    for (size_t i = 0; i < sizeof folder / sizeof folder[0]; i++) {
        ok(dram_path_folder(folder[i][0], &path));
        assert_string_equal(path, folder[i][1]);
        dram_free(path);
    }
}

static void folders_are_made_and_removed(void **state)
{
    ok(dram_make_folders(in_dir(state, "one/two/three")));
    ok(dram_make_folders(in_dir(state, "one/two/three")));
    put_file(in_dir(state, "one/two/file"), "x", 1);
    put_file(in_dir(state, "outside"), "x", 1);
    assert_int_equal(symlink(in_dir(state, "outside"), in_dir(state, "one/link")), 0);
    assert_int_equal(symlink("/nowhere/at/all", in_dir(state, "one/dangling")), 0);
    assert_true(dram_path_exists(in_dir(state, "one/dangling")));
    fails(dram_make_folders(in_dir(state, "one/two/file/four")), DRAM_ERR_IO,
          "one/two/file: cannot make this folder: File exists");
    ok(dram_remove_tree(in_dir(state, "one")));
    ok(dram_remove_tree(in_dir(state, "one")));
    assert_false(is_there(in_dir(state, "one")));
    assert_true(is_there(in_dir(state, "outside")));
    ok(dram_remove_tree(in_dir(state, "outside")));
}

/* Atomic files ------------------------------------------------------------------------------------------------ */

static void a_file_is_replaced_whole(void **state)
{
    const char *path = in_dir(state, "file");
    ok(dram_atomic_save(path, "one", 3));
    assert_file_is(path, "one", 3);
    dram_atomic file = {0};
    ok(dram_atomic_open(&file, path));
    ok(dram_atomic_write(&file, "second", 6));
    assert_file_is(path, "one", 3); /* not before the commit */
    ok(dram_atomic_commit(&file));
    assert_file_is(path, "second", 6);
    dram_atomic_abort(&file); /* nothing */
    ok(dram_atomic_open(&file, path));
    ok(dram_atomic_write(&file, "third", 5));
    dram_atomic_abort(&file);
    assert_file_is(path, "second", 6);
    assert_int_equal(temporaries(*state), 0);
    ok(dram_atomic_save(path, "", 0));
    assert_file_is(path, "", 0);
}

static void a_file_survives_a_full_disk(void **state)
{
    static char big[100000];
    const char *path = in_dir(state, "kept");
    ok(dram_atomic_save(path, "old", 3));
    file_limit limit = limit_files(5000);
    dram_status status = dram_atomic_save(path, big, sizeof big);
    unlimit_files(limit);
    fails(status, DRAM_ERR_IO, "kept: cannot write: File too large");
    assert_file_is(path, "old", 3);
    assert_int_equal(temporaries(*state), 0);
}

static void a_file_in_no_folder_fails(void **state)
{
    fails(dram_atomic_save(in_dir(state, "no/such/file"), "x", 1), DRAM_ERR_IO,
          "no/such/file: cannot make this file: No such file or directory");
    ok(dram_make_folders(in_dir(state, "folder/inside")));
    fails(dram_atomic_save(in_dir(state, "folder"), "x", 1), DRAM_ERR_IO,
          "folder: cannot take the place of this file: Is a directory");
    assert_true(is_there(in_dir(state, "folder/inside")));
    assert_int_equal(temporaries(*state), 0);
}

/* A writer that dies half way leaves a temporary, which disturbs nobody and is removed by its name. */
static void a_killed_writer_leaves_the_old_file(void **state)
{
    const char *path = in_dir(state, "killed");
    ok(dram_atomic_save(path, "old", 3));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dram_atomic file = {0};
        if (dram_atomic_open(&file, path) == DRAM_OK && dram_atomic_write(&file, "half", 4) == DRAM_OK) _exit(42);
        _exit(1);
    }
    int rc;
    assert_int_equal(waitpid(child, &rc, 0), child);
    assert_true(WIFEXITED(rc) && WEXITSTATUS(rc) == 42);
    assert_file_is(path, "old", 3);
    assert_int_equal(temporaries(*state), 1);
    ok(dram_atomic_save(path, "new", 3));
    assert_file_is(path, "new", 3);
    assert_int_equal(temporaries(*state), 1);
    ok(dram_remove_leftovers(*state));
    assert_int_equal(temporaries(*state), 0);
}

/* Atomic folders ---------------------------------------------------------------------------------------------- */

static void write_folder(const char *path, const char *content)
{
    dram_dir dir = {0};
    char *file;
    ok(dram_dir_begin(&dir, path));
    ok(dram_dir_file(&dir, "state.json", &file));
    ok(dram_atomic_save(file, content, strlen(content)));
    dram_free(file);
    ok(dram_dir_commit(&dir));
}

static void a_folder_is_replaced_whole(void **state)
{
    const char *path = in_dir(state, "dir");
    write_folder(path, "one");
    assert_file_is(in_dir(state, "dir/state.json"), "one", 3);
    put_file(in_dir(state, "dir/extra"), "x", 1);
    dram_dir dir = {0};
    ok(dram_dir_begin(&dir, path));
    assert_int_equal(temporaries(*state), 1);
    dram_dir_abort(&dir);
    dram_dir_abort(&dir);
    assert_int_equal(temporaries(*state), 0);
    assert_true(is_there(in_dir(state, "dir/extra")));
    write_folder(path, "second");
    assert_file_is(in_dir(state, "dir/state.json"), "second", 6);
    assert_false(is_there(in_dir(state, "dir/extra")));
    assert_int_equal(temporaries(*state), 0);
    write_folder(in_dir(state, "left/"), "three"); /* a slash at the end */
    assert_int_equal(temporaries(*state), 0);
    assert_true(is_there(in_dir(state, "left/state.json")));
}

static void a_folder_that_cannot_take_its_place_goes(void **state)
{
    dram_dir dir = {0};
    put_file(in_dir(state, "plain"), "x", 1);
    ok(dram_dir_begin(&dir, in_dir(state, "plain")));
    fails(dram_dir_commit(&dir), DRAM_ERR_IO, "plain: cannot take the place of this folder: Not a directory");
    assert_null(dir.path);
    assert_int_equal(temporaries(*state), 0);
    assert_file_is(in_dir(state, "plain"), "x", 1);
    fails(dram_dir_begin(&dir, in_dir(state, "no/where")), DRAM_ERR_IO,
          "no/where: cannot make this folder: No such file or directory");
}

/* In a folder of the user's that goes which a dead process of this machine left, and nobody has locked. */
static void leftovers_beside_a_target(void **state)
{
    static const char *const stay[] = {"theirs/.dram-tmp-notes", "theirs/.dram-tmp-0-1",
                                       "theirs/.dram-tmp-999999999-1x", "theirs/.dram-tmp-0999999999-1",
                                       "theirs/mine.tmp"};
    char own[64];
    int how;
    dram_dir dir;
    dram_atomic file;
    ok(dram_make_folders(in_dir(state, "theirs/.dram-tmp-999999999-0/in")));
    put_file(in_dir(state, "theirs/.dram-tmp-999999999-1"), "half", 4);
    put_file(in_dir(state, "theirs/.dram-tmp-999999999-2"), "half", 4); /* held, by another machine's process, say */
    ok(dram_make_folders(in_dir(state, "theirs/.dram-tmp-999999999-3")));
    for (int i = 0; i < 5; i++) put_file(in_dir(state, stay[i]), "", 0);
    snprintf(own, sizeof own, "theirs/.dram-tmp-%ld-99", (long)getpid());
    put_file(in_dir(state, own), "", 0);
    ok(dram_dir_begin(&dir, in_dir(state, "theirs/folder"))); /* of a process that lives */
    ok(dram_atomic_open(&file, in_dir(state, "theirs/file")));
    pid_t child = fork(); /* whose locks are its own */
    if (child == 0) {
        int held = open(in_dir(state, "theirs/.dram-tmp-999999999-2"), O_RDONLY),
            folder = open(in_dir(state, "theirs/.dram-tmp-999999999-3"), O_RDONLY | O_DIRECTORY);
        bool locked = flock(held, LOCK_EX) == 0 && flock(folder, LOCK_EX) == 0;
        dram_remove_leftovers_beside(in_dir(state, "theirs/file"));
        dram_remove_leftovers_beside(in_dir(state, "theirs/folder/")); /* that which is in it */
        _exit(locked && is_there(in_dir(state, "theirs/.dram-tmp-999999999-2")) &&
                      is_there(in_dir(state, "theirs/.dram-tmp-999999999-3"))
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_false(is_there(in_dir(state, "theirs/.dram-tmp-999999999-0")));
    assert_false(is_there(in_dir(state, "theirs/.dram-tmp-999999999-1")));
    for (int i = 0; i < 5; i++) assert_true(is_there(in_dir(state, stay[i])));
    assert_true(is_there(in_dir(state, own)));
    ok(dram_dir_commit(&dir));
    ok(dram_atomic_commit(&file));
    dram_remove_leftovers_beside(in_dir(state, "theirs/file"));
    assert_false(is_there(in_dir(state, "theirs/.dram-tmp-999999999-2"))); /* its holder has ended */
    assert_false(is_there(in_dir(state, "theirs/.dram-tmp-999999999-3")));
    assert_true(is_there(in_dir(state, "theirs/file")) && is_there(in_dir(state, "theirs/folder")));
    dram_remove_leftovers_beside(in_dir(state, "there/is/none")); /* no error */
    assert_string_equal(dram_error_text(), "");
}

static void leftovers_go_and_the_rest_stays(void **state)
{
    ok(dram_make_folders(in_dir(state, "run/.dram-tmp-7-0/deep")));
    ok(dram_make_folders(in_dir(state, "run/mine.tmp/deep")));
    put_file(in_dir(state, "run/outside"), "x", 1);
    assert_int_equal(symlink("outside", in_dir(state, "run/.dram-tmp-7-2")), 0);
    ok(dram_make_folders(in_dir(state, "run/step-00000002")));
    put_file(in_dir(state, "run/.dram-tmp-7-1"), "x", 1);
    put_file(in_dir(state, "run/summary.json.tmp"), "x", 1);
    put_file(in_dir(state, "run/summary.json"), "x", 1);
    put_file(in_dir(state, "run/dram-tmp-7-1"), "x", 1);
    ok(dram_remove_leftovers(in_dir(state, "run")));
    assert_int_equal(temporaries(in_dir(state, "run")), 0);
    assert_true(is_there(in_dir(state, "run/outside")));
    assert_true(is_there(in_dir(state, "run/mine.tmp/deep")));
    assert_true(is_there(in_dir(state, "run/summary.json.tmp")));
    assert_true(is_there(in_dir(state, "run/step-00000002")));
    assert_true(is_there(in_dir(state, "run/summary.json")));
    assert_true(is_there(in_dir(state, "run/dram-tmp-7-1")));
    ok(dram_remove_leftovers(in_dir(state, "no such folder")));
}

/* Checkpoints ------------------------------------------------------------------------------------------------- */

static void save_step(const char *folder, int64_t step)
{
    char *path;
    ok(dram_checkpoint_path(folder, step, &path));
    write_folder(path, "{}");
    dram_free(path);
}

static void expect_steps(const char *folder, const int64_t *want, int count)
{
    int64_t *steps, latest;
    int n;
    ok(dram_checkpoint_list(folder, &steps, &n));
    assert_int_equal(n, count);
    for (int i = 0; i < n; i++) assert_int_equal(steps[i], want[i]);
    dram_free(steps);
    ok(dram_checkpoint_latest(folder, &latest));
    assert_int_equal(latest, count ? want[count - 1] : -1);
}

static void only_complete_checkpoints_are_listed(void **state)
{
    const char *folder = in_dir(state, "listed");
    expect_steps(folder, NULL, 0); /* no such folder */
    ok(dram_make_folders(folder));
    expect_steps(folder, NULL, 0);
    char *path;
    ok(dram_checkpoint_path(folder, 500, &path));
    assert_string_equal(path + strlen(path) - 14, "/step-00000500");
    dram_free(path);
    fails(dram_checkpoint_path(folder, -1, &path), DRAM_ERR_INTERNAL, "a checkpoint of step -1");
    save_step(folder, 500);
    save_step(folder, 0);
    save_step(folder, 1234567890123);
    ok(dram_make_folders(in_dir(state, "listed/step-00009000"))); /* no state.json */
    static const char *const wrong[] = {
        "listed/step-00009001.tmp", "listed/step-9002", "listed/step-0000009003",           "listed/step-0009004x",
        "listed/step--0009005",     "listed/step-",     "listed/step-99999999999999999999", "listed/Step-00009006"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char file[PATH_MAX];
        ok(dram_make_folders(in_dir(state, wrong[i])));
        snprintf(file, sizeof file, "%s/state.json", wrong[i]);
        put_file(in_dir(state, file), "{}", 2);
    }
    put_file(in_dir(state, "listed/step-00009007"), "{}", 2); /* a file */
    expect_steps(folder, (int64_t[]){0, 500, 1234567890123}, 3);
}

static void the_oldest_are_deleted(void **state)
{
    const char *folder = in_dir(state, "pruned");
    ok(dram_make_folders(folder));
    for (int64_t step = 100; step <= 500; step += 100) save_step(folder, step);
    ok(dram_checkpoint_prune(folder, 9, 500));
    expect_steps(folder, (int64_t[]){100, 200, 300, 400, 500}, 5);
    ok(dram_checkpoint_prune(folder, 3, 500));
    expect_steps(folder, (int64_t[]){300, 400, 500}, 3);
    save_step(folder, 50); /* just written by a run that went back */
    ok(dram_make_folders(in_dir(state, "pruned/.dram-tmp-7-3/leftover")));
    ok(dram_checkpoint_prune(folder, 2, 50));
    expect_steps(folder, (int64_t[]){50, 500}, 2);
    assert_true(is_there(in_dir(state, "pruned/.dram-tmp-7-3/leftover"))); /* not its to remove */
    ok(dram_checkpoint_prune(folder, 1, 50));
    expect_steps(folder, (int64_t[]){50}, 1);
    ok(dram_checkpoint_prune(folder, 1, 50));
    expect_steps(folder, (int64_t[]){50}, 1);
    fails(dram_checkpoint_prune(folder, 0, 50), DRAM_ERR_INTERNAL, "asked to keep 0 checkpoints");
}

/* Run directories --------------------------------------------------------------------------------------------- */

static dram_status open_run(const char *parent, const char *name, bool resume)
{
    dram_rundir *run;
    TRY(dram_rundir_find(parent, name, resume, &run));
    dram_status status = dram_rundir_open(run);
    dram_rundir_close(run);
    return status;
}

static void a_run_is_made_once(void **state)
{
    const char *parent = in_dir(state, "a/runs");
    dram_rundir *run;
    fails(dram_rundir_find(parent, "first", true, &run), DRAM_ERR_CONFIG,
          "a/runs/first: there is no run to resume: leave --resume out to start it");
    assert_null(run);
    ok(dram_rundir_find(parent, "first", false, &run));
    const char *path = dram_rundir_path(run);
    assert_string_equal(path + strlen(path) - 13, "/a/runs/first");
    assert_false(is_there(in_dir(state, "a")));
    ok(dram_rundir_open(run));
    assert_true(is_there(in_dir(state, "a/runs/first/checkpoints")));
    dram_rundir_close(run);
    assert_false(is_there(in_dir(state, "a/runs/first/lock")));

    put_file(in_dir(state, "a/runs/first/.dram-tmp-1-1"), "x", 1);
    put_file(in_dir(state, "a/runs/first/mine.tmp"), "x", 1);
    save_step(in_dir(state, "a/runs/first/checkpoints"), 3);
    fails(dram_rundir_find(parent, "first", false, &run), DRAM_ERR_CONFIG,
          "a/runs/first: this run exists already: add --resume to continue it, or choose another name");
    assert_null(run);
    assert_true(is_there(in_dir(state, "a/runs/first/.dram-tmp-1-1"))); /* nothing touched */

    ok(dram_make_folders(in_dir(state, "a/runs/first/checkpoints/.dram-tmp-1-2")));
    ok(dram_make_folders(in_dir(state, "a/runs/first/checkpoints/mine.tmp")));
    ok(dram_rundir_find(parent, "first", true, &run));
    assert_true(is_there(in_dir(state, "a/runs/first/.dram-tmp-1-1"))); /* not yet */
    ok(dram_rundir_open(run));
    dram_rundir_close(run);
    assert_int_equal(temporaries(in_dir(state, "a/runs/first")), 0);
    assert_int_equal(temporaries(in_dir(state, "a/runs/first/checkpoints")), 0);
    assert_true(is_there(in_dir(state, "a/runs/first/mine.tmp")));
    assert_true(is_there(in_dir(state, "a/runs/first/checkpoints/mine.tmp")));

    put_file(in_dir(state, "a/runs/plain"), "x", 1);
    fails(dram_rundir_find(parent, "plain", true, &run), DRAM_ERR_CONFIG,
          "a/runs/plain: there is no run to resume: leave --resume out to start it");
    fails(dram_rundir_find(parent, "plain", false, &run), DRAM_ERR_CONFIG,
          "a/runs/plain: this run exists already: add --resume to continue it, or choose another name");
    static const char *const wrong[] = {"", ".", "..", "a/b", "/"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(dram_rundir_find(parent, wrong[i], false, &run), DRAM_ERR_CONFIG);
        assert_null(run);
        dram_error_clear();
    }
}

/* Where no run came to a checkpoint another begins; nothing else is touched. */
static void a_run_begins_where_none_was_saved(void **state)
{
    const char *parent = in_dir(state, "begun");
    dram_rundir *run;
    ok(dram_make_folders(in_dir(state, "begun/empty")));
    ok(dram_make_folders(in_dir(state, "begun/died/checkpoints/step-00000004"))); /* without state.json */
    put_file(in_dir(state, "begun/died/metrics.jsonl"), "{}\n", 3);
    put_file(in_dir(state, "begun/died/notes.txt"), "mine", 4);
    static const char *const taken[] = {"empty", "died"};
    for (int i = 0; i < 2; i++) ok(open_run(parent, taken[i], false));
    assert_true(is_there(in_dir(state, "begun/empty/checkpoints")));
    assert_file_is(in_dir(state, "begun/died/notes.txt"), "mine", 4);
    assert_file_is(in_dir(state, "begun/died/metrics.jsonl"), "{}\n", 3);

    ok(dram_make_folders(in_dir(state, "begun/mine"))); /* no run's */
    put_file(in_dir(state, "begun/mine/config.yaml"), "mine", 4);
    ok(dram_make_folders(in_dir(state, "begun/kept/checkpoints"))); /* a result whose checkpoints were removed */
    put_file(in_dir(state, "begun/kept/student.safetensors"), "mine", 4);
    ok(dram_make_folders(in_dir(state, "begun/linked"))); /* what is in it leads nowhere */
    assert_int_equal(symlink("nowhere", in_dir(state, "begun/linked/student.safetensors")), 0);
    static const char *const refused[] = {"mine", "kept", "linked"};
    for (int i = 0; i < 3; i++) {
        fails(dram_rundir_find(parent, refused[i], false, &run), DRAM_ERR_CONFIG, "or choose another name");
    }
    assert_file_is(in_dir(state, "begun/mine/config.yaml"), "mine", 4);
    assert_false(is_there(in_dir(state, "begun/mine/checkpoints")));
    put_file(in_dir(state, "begun/empty/checkpoints/x"), "", 0); /* a file in it is no checkpoint */
    ok(open_run(parent, "empty", false));
}

/* The disk of a name that is not there yet is that of the folder it would be in. */
static void free_bytes_of_a_disk(void **state)
{
    int64_t here, there;
    ok(dram_path_free_bytes(*state, &here));
    ok(dram_path_free_bytes(in_dir(state, "not/yet/there"), &there));
    assert_true(here > 0 && there > 0);
    ok(dram_path_free_bytes("not-yet-there", &there));
    ok(dram_path_free_bytes("", &there));
    ok(dram_path_free_bytes("/not-yet-there", &there));
    put_file(in_dir(state, "file"), "", 0);
    ok(dram_path_free_bytes(in_dir(state, "file/below"), &there));
    assert_int_equal(symlink("knot", in_dir(state, "knot")), 0);
    fails(dram_path_free_bytes(in_dir(state, "knot/below"), &there), DRAM_ERR_IO,
          "knot/below: cannot ask how much of this disk is free: Too many levels of symbolic links");
}

/* Memory ------------------------------------------------------------------------------------------------------ */

static dram_status try_folder(void **state)
{
    dram_dir dir = {0};
    char *file;
    dram_status status;
    TRY(dram_dir_begin(&dir, in_dir(state, "oom/run/step-00000007")));
    TRY_GOTO(dram_dir_file(&dir, "state.json", &file), fail);
    status = dram_atomic_save(file, "{}", 2);
    dram_free(file);
    if (status == DRAM_OK) return dram_dir_commit(&dir);
fail:
    dram_dir_abort(&dir);
    return status;
}

static dram_status try_keep(void **state)
{
    return dram_checkpoint_prune(in_dir(state, "oom/run"), 1, 7);
}

static dram_status try_rundir(void **state)
{
    return open_run(in_dir(state, "oom"), "run", true);
}

static dram_status try_new_rundir(void **state)
{
    dram_status status = open_run(in_dir(state, "oom/new"), "run", false);
    if (status != DRAM_OK) assert_false(is_there(in_dir(state, "oom/new/run"))); /* nothing that refuses the next */
    return status;
}

/* A folder of which only a part can be listed is not one of fewer files. */
static void a_listing_that_fails_is_an_error(void **state)
{
    const char *run = in_dir(state, "partial");
    int64_t *steps;
    int n;
    ok(dram_make_folders(run));
    for (int64_t step = 1; step < 4; step++) save_step(run, step);
    ok(dram_make_folders(in_dir(state, "partial/.dram-tmp-7-4/in")));
    for (int whole = 0; whole < 6; whole++) { /* ".", "..", three checkpoints, what is left over */
        dram_status (*const calls[])(const char *) = {dram_remove_tree, dram_remove_leftovers};
        entries_left = whole;
        fails(dram_checkpoint_list(run, &steps, &n), DRAM_ERR_IO,
              "partial: cannot list this folder: Input/output error");
        assert_true(!steps && n == 0);
        for (int i = 0; i < 2; i++) {
            entries_left = 0;
            fails(calls[i](run), DRAM_ERR_IO, "partial: cannot list this folder: Input/output error");
        }
    }
    assert_int_equal(entries_failed, 18);
    entries_left = -1;
    expect_steps(run, (int64_t[]){1, 2, 3}, 3);
}

/* A checkpoint that cannot be looked into is not one that was never finished, nor a run one that is not there. */
static void what_cannot_be_looked_at_is_an_error(void **state)
{
    int64_t *steps;
    int n;
    const char *run = in_dir(state, "looped");
    ok(dram_make_folders(in_dir(state, "looped/step-00000009")));
    assert_int_equal(symlink("state.json", in_dir(state, "looped/step-00000009/state.json")), 0);
    fails(dram_checkpoint_list(run, &steps, &n), DRAM_ERR_IO,
          "step-00000009/state.json: cannot look at it: Too many levels of symbolic links");
    assert_int_equal(symlink("knot", in_dir(state, "looped/knot")), 0);
    for (int resume = 0; resume < 2; resume++)
        fails(dram_rundir_find(run, "knot", resume, &(dram_rundir *){0}), DRAM_ERR_CONFIG,
              "knot: cannot look at this run: Too many levels of symbolic links");
    put_file(in_dir(state, "looped/file"), "", 0);
    assert_true(dram_path_exists(in_dir(state, "looped/knot")));
    assert_false(dram_path_exists(in_dir(state, "looped/file/below")));
}

static void out_of_memory_at_every_request(void **state)
{
    static const attempt attempts[] = {try_folder, try_keep, try_rundir, try_new_rundir};
    ok(dram_make_folders(in_dir(state, "oom/run")));
    for (int64_t step = 1; step < 4; step++) save_step(in_dir(state, "oom/run"), step);
    ok(dram_make_folders(in_dir(state, "oom/run/.dram-tmp-7-5")));
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) out_of_memory_everywhere(attempts[i], state);
    expect_steps(in_dir(state, "oom/run"), (int64_t[]){7}, 1);
}

static void nothing_is_put_aside_over_another(void **state)
{
    static const char *const names[] = {"log.before", "log.before-2", "log.before-3"};
    char *aside;
    for (int i = 0; i < 3; i++) {
        put_file(in_dir(state, "log"), names[i], strlen(names[i]));
        ok(dram_path_put_aside(in_dir(state, "log"), &aside));
        assert_string_equal(aside, in_dir(state, names[i]));
        dram_free(aside);
        assert_false(is_there(in_dir(state, "log")));
    }
    for (int i = 0; i < 3; i++) assert_file_is(in_dir(state, names[i]), names[i], strlen(names[i]));
    aside = (char *)1;
    fails(dram_path_put_aside(in_dir(state, "log"), &aside), DRAM_ERR_IO, "log.before-4: No such file or directory");
    /* A name that can never be looked at is not one that is taken. */
    char name[256] = {0};
    memset(name, 'n', 251);
    put_file(in_dir(state, name), "", 0);
    fails(dram_path_put_aside(in_dir(state, name), &aside), DRAM_ERR_IO, ".before: File name too long");
    assert_null(aside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_and_cut),
        cmocka_unit_test(folders_are_made_and_removed),
        cmocka_unit_test(a_file_is_replaced_whole),
        cmocka_unit_test(a_file_survives_a_full_disk),
        cmocka_unit_test(a_run_begins_where_none_was_saved),
        cmocka_unit_test(free_bytes_of_a_disk),
        cmocka_unit_test(a_file_in_no_folder_fails),
        cmocka_unit_test(a_killed_writer_leaves_the_old_file),
        cmocka_unit_test(a_folder_is_replaced_whole),
        cmocka_unit_test(a_folder_that_cannot_take_its_place_goes),
        cmocka_unit_test(leftovers_beside_a_target),
        cmocka_unit_test(leftovers_go_and_the_rest_stays),
        cmocka_unit_test(only_complete_checkpoints_are_listed),
        cmocka_unit_test(the_oldest_are_deleted),
        cmocka_unit_test(a_run_is_made_once),
        cmocka_unit_test(a_listing_that_fails_is_an_error),
        cmocka_unit_test(what_cannot_be_looked_at_is_an_error),
        cmocka_unit_test(out_of_memory_at_every_request),
        cmocka_unit_test(nothing_is_put_aside_over_another),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
