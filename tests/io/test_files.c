/* atomic files and folders, checkpoints, run directories, metrics, JSON, hashes */
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/hash.h"
#include "io/json.h"
#include "io/metrics.h"
#include "io/path.h"
#include "io/rundir.h"
#include "support/tempdir.h"

static void ok(dram_status status)
{
    if (status != DRAM_OK) fail_msg("status %d: %s", (int)status, dram_error_text());
}

/* The status, and a text that ends in `text` (after a folder's name that differs from run to run). */
static void fails(dram_status status, dram_status want, const char *text)
{
    assert_int_equal(status, want);
    size_t n = strlen(dram_error_text()), m = strlen(text);
    assert_true(n >= m);
    assert_string_equal(dram_error_text() + n - m, text);
    assert_null(strchr(dram_error_text(), '\n'));
    dram_error_clear();
}

/* Runs what follows with files of `bytes` at most: beyond, write fails with EFBIG as it would with ENOSPC. */
static struct rlimit size_before;
static void (*handler_before)(int);

static void limit_files(rlim_t bytes)
{
    struct rlimit small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &size_before), 0);
    small = size_before;
    small.rlim_cur = bytes;
    handler_before = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
}

static void unlimit_files(void)
{
    setrlimit(RLIMIT_FSIZE, &size_before);
    signal(SIGXFSZ, handler_before);
}

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
    assert_false(is_there(in_dir(state, "file.tmp")));
    ok(dram_atomic_save(path, "", 0));
    assert_file_is(path, "", 0);
}

static void a_file_survives_a_full_disk(void **state)
{
    static char big[100000];
    const char *path = in_dir(state, "kept");
    ok(dram_atomic_save(path, "old", 3));
    limit_files(5000);
    dram_status status = dram_atomic_save(path, big, sizeof big);
    unlimit_files();
    fails(status, DRAM_ERR_IO, "kept: cannot write: File too large");
    assert_file_is(path, "old", 3);
    assert_false(is_there(in_dir(state, "kept.tmp")));
}

static void a_file_in_no_folder_fails(void **state)
{
    fails(dram_atomic_save(in_dir(state, "no/such/file"), "x", 1), DRAM_ERR_IO,
          "no/such/file.tmp: cannot make this file: No such file or directory");
    ok(dram_make_folders(in_dir(state, "folder/inside")));
    fails(dram_atomic_save(in_dir(state, "folder"), "x", 1), DRAM_ERR_IO,
          "folder: cannot take the place of this file: Is a directory");
    assert_true(is_there(in_dir(state, "folder/inside")));
    assert_false(is_there(in_dir(state, "folder.tmp")));
}

/* A writer that dies half way leaves a temporary; the next one is not disturbed by it. */
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
    assert_file_is(in_dir(state, "killed.tmp"), "half", 4);
    ok(dram_atomic_save(path, "new", 3));
    assert_file_is(path, "new", 3);
    assert_false(is_there(in_dir(state, "killed.tmp")));
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
    assert_true(is_there(in_dir(state, "dir.tmp")));
    dram_dir_abort(&dir);
    dram_dir_abort(&dir);
    assert_false(is_there(in_dir(state, "dir.tmp")));
    assert_true(is_there(in_dir(state, "dir/extra")));
    write_folder(path, "second");
    assert_file_is(in_dir(state, "dir/state.json"), "second", 6);
    assert_false(is_there(in_dir(state, "dir/extra")));
    assert_false(is_there(in_dir(state, "dir.tmp")));
    ok(dram_make_folders(in_dir(state, "left.tmp/deep")));
    write_folder(in_dir(state, "left/"), "three"); /* a leftover in the way, and a slash at the end */
    assert_false(is_there(in_dir(state, "left.tmp")));
    assert_false(is_there(in_dir(state, "left/deep")));
    assert_true(is_there(in_dir(state, "left/state.json")));
}

static void a_folder_that_cannot_take_its_place_goes(void **state)
{
    dram_dir dir = {0};
    put_file(in_dir(state, "plain"), "x", 1);
    ok(dram_dir_begin(&dir, in_dir(state, "plain")));
    fails(dram_dir_commit(&dir), DRAM_ERR_IO, "plain: cannot take the place of this folder: Not a directory");
    assert_null(dir.path);
    assert_false(is_there(in_dir(state, "plain.tmp")));
    assert_file_is(in_dir(state, "plain"), "x", 1);
    fails(dram_dir_begin(&dir, in_dir(state, "no/where")), DRAM_ERR_IO,
          "no/where.tmp: cannot make this folder: No such file or directory");
}

static void leftovers_go_and_the_rest_stays(void **state)
{
    ok(dram_make_folders(in_dir(state, "run/step-00000001.tmp/deep")));
    ok(dram_make_folders(in_dir(state, "run/step-00000002")));
    put_file(in_dir(state, "run/summary.json.tmp"), "x", 1);
    put_file(in_dir(state, "run/summary.json"), "x", 1);
    put_file(in_dir(state, "run/.tmp"), "x", 1); /* no name before it: not ours */
    ok(dram_remove_leftovers(in_dir(state, "run")));
    assert_false(is_there(in_dir(state, "run/step-00000001.tmp")));
    assert_false(is_there(in_dir(state, "run/summary.json.tmp")));
    assert_true(is_there(in_dir(state, "run/step-00000002")));
    assert_true(is_there(in_dir(state, "run/summary.json")));
    assert_true(is_there(in_dir(state, "run/.tmp")));
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
    ok(dram_checkpoint_keep(folder, 9, 500));
    expect_steps(folder, (int64_t[]){100, 200, 300, 400, 500}, 5);
    ok(dram_checkpoint_keep(folder, 3, 500));
    expect_steps(folder, (int64_t[]){300, 400, 500}, 3);
    save_step(folder, 50); /* just written by a run that went back */
    ok(dram_make_folders(in_dir(state, "pruned/step-00000300.tmp/leftover")));
    ok(dram_checkpoint_keep(folder, 2, 50));
    expect_steps(folder, (int64_t[]){50, 500}, 2);
    assert_false(is_there(in_dir(state, "pruned/step-00000300.tmp")));
    ok(dram_checkpoint_keep(folder, 1, 50));
    expect_steps(folder, (int64_t[]){50}, 1);
    ok(dram_checkpoint_keep(folder, 1, 50));
    expect_steps(folder, (int64_t[]){50}, 1);
    fails(dram_checkpoint_keep(folder, 0, 50), DRAM_ERR_INTERNAL, "asked to keep 0 checkpoints");
}

/* Run directories --------------------------------------------------------------------------------------------- */

static void a_run_is_made_once(void **state)
{
    const char *parent = in_dir(state, "a/runs");
    char *path;
    fails(dram_rundir_open(parent, "first", true, &path), DRAM_ERR_CONFIG,
          "a/runs/first: there is no run to resume: leave --resume out to start it");
    assert_false(is_there(in_dir(state, "a")));
    ok(dram_rundir_check(parent, "first", false));
    assert_false(is_there(in_dir(state, "a")));
    ok(dram_rundir_open(parent, "first", false, &path));
    assert_string_equal(path + strlen(path) - 13, "/a/runs/first");
    dram_free(path);
    assert_true(is_there(in_dir(state, "a/runs/first/checkpoints")));

    put_file(in_dir(state, "a/runs/first/config.yaml.tmp"), "x", 1);
    fails(dram_rundir_open(parent, "first", false, &path), DRAM_ERR_CONFIG,
          "a/runs/first: this run exists already: add --resume to continue it, or choose another name");
    assert_null(path);
    fails(dram_rundir_check(parent, "first", false), DRAM_ERR_CONFIG, "or choose another name");
    assert_true(is_there(in_dir(state, "a/runs/first/config.yaml.tmp"))); /* nothing touched */

    ok(dram_make_folders(in_dir(state, "a/runs/first/checkpoints/step-00000500.tmp")));
    ok(dram_rundir_open(parent, "first", true, &path));
    dram_free(path);
    assert_false(is_there(in_dir(state, "a/runs/first/config.yaml.tmp")));
    assert_false(is_there(in_dir(state, "a/runs/first/checkpoints/step-00000500.tmp")));

    put_file(in_dir(state, "a/runs/plain"), "x", 1);
    fails(dram_rundir_open(parent, "plain", true, &path), DRAM_ERR_CONFIG, "leave --resume out to start it");
    fails(dram_rundir_open(parent, "plain", false, &path), DRAM_ERR_CONFIG, "or choose another name");
    static const char *const wrong[] = {"", ".", "..", "a/b", "/"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(dram_rundir_open(parent, wrong[i], false, &path), DRAM_ERR_CONFIG);
        assert_null(path);
        dram_error_clear();
    }
}

/* Metrics ----------------------------------------------------------------------------------------------------- */

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
                          .teacher_ran = step % 2 == 0,
                          .images_per_second = 12.5,
                          .planned_peak_bytes = 7516192768,
                          .measured_peak_bytes = 7516192768};
}

static const char EVEN[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":1.25,\"loss_resolution\":null,"
                           "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"distilled\":true,"
                           "\"teacher_ran\":true,\"images_per_second\":12.5,\"planned_peak_bytes\":7516192768,"
                           "\"measured_peak_bytes\":7516192768}\n";
static const char ODD[] = ",\"loss\":2.5,\"loss_task\":0.100000001,\"loss_sam\":null,\"loss_resolution\":null,"
                          "\"lr\":0.00100000005,\"grad_norm\":null,\"loss_scale\":65536,\"distilled\":false,"
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

static void append_lines(const char *path, int from, int to)
{
    dram_metrics_file *file;
    ok(dram_metrics_open(path, &file));
    for (int i = from; i < to; i++) {
        dram_metrics m = sample(i);
        ok(dram_metrics_append(file, &m));
        expect_lines(path, i + 1); /* each line is there at once */
    }
    dram_metrics_close(file);
}

static void metrics_are_appended_and_cut(void **state)
{
    const char *path = in_dir(state, "metrics.jsonl");
    ok(dram_metrics_truncate(path, 5)); /* no file */
    assert_false(is_there(path));
    append_lines(path, 0, 3);
    append_lines(path, 3, 6);
    ok(dram_metrics_truncate(path, 100));
    expect_lines(path, 6);
    ok(dram_metrics_truncate(path, 4));
    expect_lines(path, 4);
    append_lines(path, 4, 5);

    size_t bytes;
    char *content = get_file(path, &bytes);
    for (size_t cut = 1; cut < 30; cut += 7) { /* torn at the end */
        put_file(path, content, bytes - cut);
        ok(dram_metrics_truncate(path, 100));
        expect_lines(path, 4);
    }
    char *damaged = malloc(bytes + 5000);
    assert_non_null(damaged);
    static const char *const wrong[] = {"\n", "{}\n", "{\"step\":\"1\"}\n", "{\"step\":1.5}\n", "{\"step\":1\n", "3\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        size_t n = strlen(wrong[i]);
        memcpy(damaged, content, bytes);
        memcpy(damaged + bytes, wrong[i], n);
        put_file(path, damaged, bytes + n);
        fails(dram_metrics_truncate(path, 100), DRAM_ERR_FORMAT, "metrics.jsonl:6: not a line of metrics");
        assert_file_is(path, damaged, bytes + n);
    }
    memset(damaged, 'x', 5000); /* one line, longer than any of ours */
    memcpy(damaged + 5000, "\n", 1);
    put_file(path, damaged, 5001);
    fails(dram_metrics_truncate(path, 100), DRAM_ERR_FORMAT, "metrics.jsonl:1: not a line of metrics");
    assert_false(is_there(in_dir(state, "metrics.jsonl.tmp")));
    ok(dram_remove_tree(path));
    put_file(path, "{\"step\":0", 9); /* killed at the first line */
    ok(dram_metrics_truncate(path, 0));
    expect_lines(path, 0);
    free(content);
    free(damaged);
}

static void metrics_on_a_full_disk(void **state)
{
    dram_metrics m = sample(0);
    dram_metrics_file *file;
    ok(dram_metrics_open("/dev/full", &file));
    fails(dram_metrics_append(file, &m), DRAM_ERR_IO, "/dev/full: cannot write: No space left on device");
    dram_metrics_close(file);

    const char *path = in_dir(state, "short.jsonl");
    ok(dram_metrics_open(path, &file));
    ok(dram_metrics_append(file, &m));
    limit_files(400); /* the second line fits in part */
    dram_status status = dram_metrics_append(file, &m);
    unlimit_files();
    fails(status, DRAM_ERR_IO, "short.jsonl: cannot write: File too large");
    expect_lines(path, 1); /* no part of it is left */
    dram_metrics_close(file);
    fails(dram_metrics_open(in_dir(state, "no/such/file"), &file), DRAM_ERR_IO,
          "cannot open for appending: No such file or directory");
}

/* JSON -------------------------------------------------------------------------------------------------------- */

static void json_comes_back_checked(void **state)
{
    const char *path = in_dir(state, "state.json"), *text;
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "step", 500);
    cJSON_AddNumberToObject(root, "bytes", 7516192768.0);
    cJSON_AddNumberToObject(root, "loss", 0.1);
    cJSON_AddNumberToObject(root, "nan", NAN);
    cJSON_AddStringToObject(root, "name", "a \"quoted\" one");
    cJSON_AddBoolToObject(root, "teacher_ran", 1);
    ok(dram_json_write(path, root));
    cJSON_Delete(root);
    int64_t step;
    double x;
    bool flag;
    ok(dram_json_read(path, &root));
    ok(dram_json_int(root, path, "step", 0, 500, &step));
    assert_int_equal(step, 500);
    ok(dram_json_int(root, path, "bytes", 0, INT64_MAX, &step));
    assert_int_equal(step, 7516192768);
    ok(dram_json_number(root, path, "loss", &x));
    assert_true(x == 0.1);
    ok(dram_json_text(root, path, "name", &text));
    assert_string_equal(text, "a \"quoted\" one");
    ok(dram_json_bool(root, path, "teacher_ran", &flag));
    assert_true(flag);
    fails(dram_json_int(root, path, "epoch", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: epoch is missing");
    fails(dram_json_int(root, path, "name", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: name is not a number");
    fails(dram_json_int(root, path, "loss", 0, 1, &step), DRAM_ERR_FORMAT, "state.json: loss is not an integer");
    fails(dram_json_int(root, path, "step", 0, 499, &step), DRAM_ERR_FORMAT,
          "state.json: step is 500, not in 0 .. 499");
    fails(dram_json_number(root, path, "nan", &x), DRAM_ERR_FORMAT, "state.json: nan is not a number");
    fails(dram_json_bool(root, path, "step", &flag), DRAM_ERR_FORMAT, "state.json: step is not true or false");
    fails(dram_json_text(root, path, "step", &text), DRAM_ERR_FORMAT, "state.json: step is not text");
    cJSON_Delete(root);
}

static void bad_json_is_refused(void **state)
{
    static const struct {
        const char *content, *text;
    } bad[] = {{"", "bad.json:1: not JSON"},           {"{\n\"a\": 1,\n}", "bad.json:3: not JSON"},
               {"{}\n x", "bad.json:2: not JSON"},     {"{} {}", "bad.json:1: not JSON"},
               {"[1]", "bad.json: not a JSON object"}, {"null", "bad.json: not a JSON object"}};
    const char *path = in_dir(state, "bad.json");
    cJSON *root;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_file(path, bad[i].content, strlen(bad[i].content));
        fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, bad[i].text);
        assert_null(root);
    }
    put_file(path, "{}\0{", 4);
    fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, "bad.json:1: not JSON");
    put_file(path, " {} \n\t", 6);
    ok(dram_json_read(path, &root));
    cJSON_Delete(root);
    assert_int_equal(truncate(path, (64 << 20) + 1), 0); /* a hole: takes no disk */
    fails(dram_json_read(path, &root), DRAM_ERR_FORMAT, "bad.json: too large for a JSON file (67108865 bytes)");
    fails(dram_json_read(*state, &root), DRAM_ERR_FORMAT, ": not a file");
    fails(dram_json_read(in_dir(state, "absent.json"), &root), DRAM_ERR_CONFIG,
          "absent.json: cannot open: No such file or directory");
}

/* Hash -------------------------------------------------------------------------------------------------------- */

static void hashes_are_those_of_xxh128sum(void **state)
{
    char a[DRAM_HASH_SIZE], b[DRAM_HASH_SIZE];
    dram_hash_memory("", 0, a);
    assert_string_equal(a, "99aa06d3014798d86001c324468d497f");
    const char *path = in_dir(state, "hashed");
    char *data = malloc(200001);
    assert_non_null(data);
    for (int i = 0; i < 200001; i++) data[i] = (char)(i * 7 + i / 251);
    put_file(path, data, 200001);
    dram_hash_memory(data, 200001, a);
    ok(dram_hash_file(path, b));
    assert_string_equal(a, b);
    data[200000] ^= 1;
    dram_hash_memory(data, 200001, b);
    assert_string_not_equal(a, b);
    free(data);
    fails(dram_hash_file(in_dir(state, "absent"), a), DRAM_ERR_CONFIG,
          "absent: cannot open: No such file or directory");
    fails(dram_hash_file(*state, a), DRAM_ERR_IO, ": cannot read: Is a directory");
}

/* Memory ------------------------------------------------------------------------------------------------------ */

typedef dram_status (*attempt)(void **state);

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
    return dram_checkpoint_keep(in_dir(state, "oom/run"), 1, 7);
}

static dram_status try_json(void **state)
{
    cJSON *root;
    TRY(dram_json_read(in_dir(state, "oom/in.json"), &root));
    dram_status status = dram_json_write(in_dir(state, "oom/out.json"), root);
    cJSON_Delete(root);
    return status;
}

static dram_status try_metrics(void **state)
{
    const char *path = in_dir(state, "oom/metrics.jsonl");
    dram_metrics_file *file;
    dram_metrics m = sample(3);
    unlink(path); /* or each attempt would need more requests than the one before */
    TRY(dram_metrics_open(path, &file));
    dram_status status = dram_metrics_append(file, &m);
    dram_metrics_close(file);
    TRY(status);
    return dram_metrics_truncate(path, 100);
}

static dram_status try_rundir(void **state)
{
    char *path;
    TRY(dram_rundir_open(in_dir(state, "oom"), "run", true, &path));
    dram_free(path);
    return DRAM_OK;
}

static dram_status try_new_rundir(void **state)
{
    char *path;
    TRY(dram_rundir_open(in_dir(state, "oom/new"), "run", false, &path));
    dram_free(path);
    return DRAM_OK;
}

static void out_of_memory_at_every_request(void **state)
{
    static const attempt attempts[] = {try_folder, try_keep, try_json, try_metrics, try_rundir, try_new_rundir};
    ok(dram_make_folders(in_dir(state, "oom/run")));
    for (int64_t step = 1; step < 4; step++) save_step(in_dir(state, "oom/run"), step);
    static const char json[] = "{\"a\": [1, {\"b\": \"c\"}]}";
    put_file(in_dir(state, "oom/in.json"), json, sizeof json - 1);
    ok(dram_make_folders(in_dir(state, "oom/run/left.tmp")));
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        int64_t held = dram_alloc_bytes();
        int failures = 0;
        for (int64_t after = 0;; after++) {
            dram_alloc_fail_after(after);
            dram_status status = attempts[i](state);
            dram_alloc_fail_after(-1);
            assert_int_equal(dram_alloc_bytes(), held);
            if (status == DRAM_OK) break;
            assert_int_equal(status, DRAM_ERR_MEMORY);
            assert_non_null(strstr(dram_error_text(), "out of host memory"));
            dram_error_clear();
            failures++;
        }
        assert_true(failures > 0);
    }
    assert_file_is(in_dir(state, "oom/out.json"), "{\n\t\"a\":\t[1, {\n\t\t\t\"b\":\t\"c\"\n\t\t}]\n}\n", 33);
    expect_steps(in_dir(state, "oom/run"), (int64_t[]){7}, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_joined_and_cut),        cmocka_unit_test(folders_are_made_and_removed),
        cmocka_unit_test(a_file_is_replaced_whole),        cmocka_unit_test(a_file_survives_a_full_disk),
        cmocka_unit_test(a_file_in_no_folder_fails),       cmocka_unit_test(a_killed_writer_leaves_the_old_file),
        cmocka_unit_test(a_folder_is_replaced_whole),      cmocka_unit_test(a_folder_that_cannot_take_its_place_goes),
        cmocka_unit_test(leftovers_go_and_the_rest_stays), cmocka_unit_test(only_complete_checkpoints_are_listed),
        cmocka_unit_test(the_oldest_are_deleted),          cmocka_unit_test(a_run_is_made_once),
        cmocka_unit_test(metrics_are_appended_and_cut),    cmocka_unit_test(metrics_on_a_full_disk),
        cmocka_unit_test(json_comes_back_checked),         cmocka_unit_test(bad_json_is_refused),
        cmocka_unit_test(hashes_are_those_of_xxh128sum),   cmocka_unit_test(out_of_memory_at_every_request),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
