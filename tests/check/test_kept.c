/* What is kept of a look: believed for as long as a file is as it was, and no longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/wait.h>

#include "base/testing.h"
#include "check/kept.h"
#include "check/looks.h"

enum { PAIRS = 6, FILES = 2 * PAIRS };

/* Sets the time of a file, in seconds and nanoseconds. */
static void set_time(const char *path, int64_t seconds, long nanoseconds)
{
    const struct timespec both[2] = {{.tv_sec = seconds, .tv_nsec = nanoseconds},
                                     {.tv_sec = seconds, .tv_nsec = nanoseconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, both, 0), 0);
}

static void put_six(void **state)
{
    char name[64];
    put_pairs(state, "t", 0, PAIRS, 0, 1);
    for (int i = 0; i < PAIRS; i++) {
        snprintf(name, sizeof name, "t/labels/%02d.png", i);
        set_time(with_folders(state, name), 1000, 5);
    }
}

/* The same numbers, whatever was known before. */
static void assert_same_check(const dram_check *a, const dram_check *b)
{
    dram_check x = *a, y = *b;
    x.train.known = y.train.known = x.val.known = y.val.known = 0;
    x.seconds = y.seconds = 0;
    cJSON *one = dram_check_json(&x), *two = dram_check_json(&y);
    assert_true(one && two);
    if (!cJSON_Compare(one, two, true)) fail_msg("%s\n%s", cJSON_Print(one), cJSON_Print(two));
    cJSON_Delete(one);
    cJSON_Delete(two);
}

static void the_second_look_knows(void **state)
{
    put_six(state);
    dram_check first = look(state, ""), second = look(state, "");
    assert_int_equal(first.train.known, 0);
    assert_int_equal(second.train.known, FILES);
    assert_int_equal(second.train.pixels[0], PAIRS * 32);
    assert_same_check(&first, &second);
    assert_string_equal(told, "");
    assert_true(is_there(in_dir(state, "t/images/.dram-check")) && is_there(in_dir(state, "t/labels/.dram-check")));
    assert_int_equal(temporaries(in_dir(state, "t/images")), 0);
    /* What was known is not written again. */
    struct stat before, after;
    assert_int_equal(stat(in_dir(state, "t/labels/.dram-check"), &before), 0);
    look(state, "");
    assert_int_equal(stat(in_dir(state, "t/labels/.dram-check"), &after), 0);
    assert_true(before.st_ino == after.st_ino);
}

/* It holds what is in the files: another config takes it for its own. */
static void another_config_uses_it(void **state)
{
    put_six(state);
    look(state, "");
    dram_check c = look(state, "data.classes=4 data.class_map={0: 3, 1: 2}");
    assert_int_equal(c.train.known, FILES);
    assert_int_equal(c.train.pixels[3], PAIRS * 32);
    assert_int_equal(c.train.pixels[2], PAIRS * 64);
    c = look(state, "data.ignore_index=0");
    assert_int_equal(c.train.known, FILES);
    assert_int_equal(c.train.void_pixels, PAIRS * 32);
    c = look_refused(state, "data.class_map={\"#112233\": 1}", "#000000");
    assert_int_equal(c.train.known, FILES);
}

static void a_changed_file_of_equal_size(void **state)
{
    put_six(state);
    const char *path = in_dir(state, "t/labels/03.png");
    struct stat before, after;
    look(state, "");
    assert_int_equal(stat(path, &before), 0);
    int first = 31; /* another content, which the packing of PNG makes as long */
    do {
        put_label(state, "t/labels/03.png", 8, 12, first, 0, 1);
        assert_int_equal(stat(path, &after), 0);
    } while (before.st_size != after.st_size && --first > 0);
    assert_true(first > 0);
    set_time(path, 1000, 6); /* a nanosecond later */
    dram_check c = look(state, "");
    assert_int_equal(c.train.known, FILES - 1);
    assert_int_equal(c.train.pixels[0], (PAIRS - 1) * 32 + first);
    c = look(state, "");
    assert_int_equal(c.train.known, FILES);
    assert_int_equal(c.train.pixels[0], (PAIRS - 1) * 32 + first);
}

static void a_touched_file(void **state)
{
    put_six(state);
    look(state, "");
    set_time(in_dir(state, "t/images/02.jpg"), 999, 5); /* older is another time too */
    dram_check c = look(state, "");
    assert_int_equal(c.train.known, FILES - 1);
}

static void a_file_of_another_size(void **state)
{
    put_six(state);
    look(state, "");
    put_label(state, "t/labels/03.png", 8, 12, 50, 1, 77);
    set_time(in_dir(state, "t/labels/03.png"), 1000, 5); /* the same time */
    dram_check c = look_refused(state, "", "77");
    assert_int_equal(c.train.known, FILES - 1);
}

/* What is bad is never kept: it is looked at each time, and its reason is of today. */
static void bad_files_are_not_kept(void **state)
{
    put_pairs(state, "t", 0, 24, 0, 1);
    put_file(with_folders(state, "t/images/05.jpg"), "nothing", 7);
    dram_check first = look(state, ""), second = look(state, "");
    assert_int_equal(second.train.known, 47);
    assert_same_check(&first, &second);
    assert_said("t/images/05.jpg");
    /* Bad under a config alone is kept. */
    put_photo(state, "t/images/05.jpg", 8, 12, 5);
    look_refused(state, "data.class_map={\"#112233\": 1}", "#000000");
    assert_int_equal(look(state, "").train.known, 48);
}

/* Headers are kept as headers, and every pixel asks for more. */
static void headers_first(void **state)
{
    put_six(state);
    dram_check c = look(state, "data.check=headers");
    assert_int_equal(c.train.looked_labels, PAIRS);
    assert_int_equal(c.train.read_labels, 0);
    c = look(state, "data.check=headers");
    assert_int_equal(c.train.known, FILES);
    c = look(state, "");
    assert_int_equal(c.train.known, PAIRS);
    assert_int_equal(c.train.read_labels, PAIRS);
    c = look(state, "data.check=headers"); /* who has every pixel has the header, and is asked for no less */
    assert_int_equal(c.train.known, FILES);
    assert_int_equal(c.train.pixels[0], PAIRS * 32);
}

static void none_reads_nothing(void **state)
{
    put_six(state);
    put_file(with_folders(state, "t/images/03.jpg"), "nothing", 7);
    dram_check c = look(state, "data.check=none");
    assert_int_equal(c.train.images, PAIRS);
    assert_int_equal(c.train.pairs, PAIRS);
    assert_int_equal(c.train.looked_images, 0);
    assert_int_equal(c.train.looked_labels, 0);
    assert_int_equal(c.train.bad, 0);
    assert_false(is_there(in_dir(state, "t/images/.dram-check")));
    assert_non_null(strstr(text_of_check(state, "data.check=none", &c, dram_check_summary), "nothing but the names"));
}

/* A few small files take no seconds: auto looks at all of them. */
static void auto_is_full_for_a_few(void **state)
{
    put_six(state);
    dram_check c = look(state, "data.check=auto");
    assert_int_equal(c.train.looked_images, PAIRS);
    assert_int_equal(c.train.read_labels, PAIRS);
    assert_false(c.sampled);
    c = look(state, "data.check=auto");
    assert_int_equal(c.train.known, FILES);
}

/* ---- the file itself ---- */

/* Whatever a byte of it becomes, and wherever it ends, it is taken whole or not at all, and said. */
static void damaged(void **state)
{
    size_t n;
    put_six(state);
    dram_check good = look(state, "");
    const char *path = in_dir(state, "t/labels/.dram-check");
    char *bytes = get_file(path, &n);
    int refused = 0;
    for (size_t i = 0; i < n + n / 7; i++) {
        dram_kept *kept;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, bytes, n);
        if (i < n) copy[i] ^= (char)(1 << i % 8);
        put_file(path, copy, i < n ? n : (i - n) * 7);
        free(copy);
        told[0] = '\0';
        assert_int_equal(dram_kept_open(in_dir(state, "t/labels"), in_dir(state, "runs"), &kept), DRAM_OK);
        dram_facts facts = {.size = 0, .time = 1000000000005};
        assert_false(dram_kept_find(kept, "00.png", true, &facts));
        dram_kept_close(kept);
        if (!strstr(told, "looked at anew")) fail_msg("byte %zu: \"%s\"", i, told);
        refused++;
    }
    assert_true(refused > 500);
    dram_check c = look(state, "");
    assert_int_equal(c.train.known, PAIRS); /* of the images */
    assert_non_null(strstr(told, "t/labels/.dram-check: it is damaged"));
    assert_int_equal(count_lines(told), 1); /* as it is read again to be written, too */
    assert_same_check(&good, &c);
    assert_int_equal(look(state, "").train.known, FILES); /* and it was written anew */
    bytes[strlen("dram-check ")] = '9';
    put_file(path, bytes, n);
    look(state, "");
    assert_non_null(strstr(told, "another version of dram wrote it"));
    free(bytes);
}

/* A hash that is right says nothing of what is under it. */
static void lies_with_a_good_hash(void **state)
{
    size_t n;
    put_six(state);
    look(state, "");
    const char *path = in_dir(state, "t/labels/.dram-check");
    char *bytes = get_file(path, &n);
    enum { HEAD = 40, HASH = 16 };
    for (size_t i = HEAD - 16; i < n; i++) /* bytes and records of the head, and all behind it */
        for (int k = 0; k < 3; k++) {
            dram_kept *kept;
            char *copy = malloc(n);
            assert_non_null(copy);
            memcpy(copy, bytes, n);
            copy[i] = (char)(k == 0 ? 0 : k == 1 ? 0x7f : 0xff);
            uint64_t hash = dram_hash_64(copy + HEAD, n - HEAD);
            memcpy(copy + HASH, &hash, sizeof hash);
            put_file(path, copy, n);
            free(copy);
            assert_int_equal(dram_kept_open(in_dir(state, "t/labels"), in_dir(state, "runs"), &kept), DRAM_OK);
            for (int j = 0; j < PAIRS; j++) {
                char name[16];
                dram_label_values values;
                dram_facts facts;
                snprintf(name, sizeof name, "%02d.png", j);
                assert_true(dram_facts_stat(in_dir(state, "t/labels/00.png"), &facts));
                if (dram_kept_find(kept, name, true, &facts) && facts.packed) dram_facts_values(&facts, &values);
            }
            dram_kept_close(kept);
        }
    free(bytes);
}

/* What is kept of files that are gone goes; of files that another list leaves out, it stays. */
static void files_that_are_gone(void **state)
{
    put_six(state);
    look(state, "");
    put_file(with_folders(state, "some.txt"), "01.jpg\n02.jpg\n", 14);
    unlink(in_dir(state, "t/images/05.jpg"));
    unlink(in_dir(state, "t/labels/05.png"));
    set_time(in_dir(state, "t/images/01.jpg"), 7, 7);
    dram_check c = look(state, "data.train.list=@/some.txt");
    assert_int_equal(c.train.images, 2);
    assert_int_equal(c.train.unlisted, 3);
    assert_int_equal(c.train.known, 3);
    c = look(state, "");
    assert_int_equal(c.train.known, FILES - 2);
    size_t n;
    char *bytes = get_file(in_dir(state, "t/images/.dram-check"), &n);
    assert_null(memmem(bytes, n, "05.jpg", 6));
    assert_non_null(memmem(bytes, n, "04.jpg", 6));
    free(bytes);
}

/* Images and labels in one folder, and val in train's: one file for all of them. */
static void one_folder_for_all(void **state)
{
    char name[64];
    for (int i = 0; i < PAIRS; i++) {
        snprintf(name, sizeof name, "all/%02d.jpg", i);
        put_photo(state, name, 8, 12, i);
        snprintf(name, sizeof name, "all/%02d_L.png", i);
        put_label(state, name, 8, 12, 32, 0, 1);
    }
    static const char set[] = "data.label_pattern=_L data.train.images=@/all data.train.labels=@/all "
                              "data.val.images=@/all data.val.labels=@/all";
    dram_check c = look(state, set);
    assert_int_equal(c.train.pairs, PAIRS);
    assert_int_equal(c.shared.n, PAIRS);
    assert_int_equal(c.between.n, 0);
    c = look(state, set);
    assert_int_equal(c.train.known, FILES);
    assert_int_equal(c.val.known, FILES);
    assert_int_equal(c.val.pixels[1], PAIRS * 64);
}

static void a_folder_that_is_read_only(void **state)
{
    if (geteuid() == 0) skip(); /* root writes everywhere */
    put_six(state);
    assert_int_equal(chmod(in_dir(state, "t/images"), 0555), 0);
    dram_check first = look(state, "");
    assert_non_null(strstr(told, "/runs/dram-check-"));
    assert_false(is_there(in_dir(state, "t/images/.dram-check")));
    dram_check second = look(state, "");
    assert_int_equal(second.train.known, FILES);
    assert_same_check(&first, &second);
    assert_int_equal(chmod(in_dir(state, "t/images"), 0777), 0);
}

/* For root: the folder takes no file, since what stands in its place cannot be replaced. */
static void a_folder_that_takes_no_file(void **state)
{
    put_six(state);
    mkdir(in_dir(state, "t/images/.dram-check"), 0777);
    dram_check first = look(state, "");
    assert_non_null(strstr(told, "/runs/dram-check-"));
    assert_int_equal(look(state, "").train.known, FILES);
    /* And where there is no place at all, the look is the same, and that nothing is kept is said. */
    put_file(with_folders(state, "file"), "x", 1);
    dram_check third = look(state, "run.dir=@/file/runs");
    assert_int_equal(third.train.known, PAIRS);
    assert_non_null(strstr(told, "is not kept"));
    assert_same_check(&first, &third);
}

/* What a slower process found of a file that has changed since does not take the place of what is known of it now. */
static void overtaken(void **state)
{
    dram_kept *kept;
    put_six(state);
    look(state, "");
    assert_int_equal(dram_kept_open(in_dir(state, "t/images"), in_dir(state, "runs"), &kept), DRAM_OK);
    const dram_facts facts = {.size = 1, .time = 5, .height = 1, .width = 1, .depth = DRAM_DEPTH_HEADER};
    assert_int_equal(dram_kept_add(kept, "00.jpg", false, &facts), DRAM_OK);
    assert_int_equal(dram_kept_save(kept), DRAM_OK);
    dram_kept_close(kept);
    assert_int_equal(look(state, "").train.known, FILES);
}

/* Processes that look at one folder at once, some at headers: all end well, and what is kept is whole. */
static void many_at_once(void **state)
{
    enum { PROCESSES = 6, ROUNDS = 8 };
    pid_t child[PROCESSES];
    put_pairs(state, "t", 0, 40, 0, 1);
    for (int p = 0; p < PROCESSES; p++) {
        fflush(NULL);
        child[p] = fork();
        assert_true(child[p] >= 0);
        if (child[p]) continue;
        int bad = 0;
        for (int round = 0; round < ROUNDS; round++) {
            char name[64];
            snprintf(name, sizeof name, "t/images/%02d.jpg", p); /* each has something new to write */
            set_time(with_folders(state, name), 2000 + round, p);
            dram_check c = look(state, p % 2 ? "data.check=headers" : "");
            bad += c.train.looked_images != 40 || c.train.bad;
            bad += strstr(told, "damaged") != NULL || strstr(told, "not kept") != NULL;
        }
        _exit(bad);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int how;
        assert_int_equal(waitpid(child[p], &how, 0), child[p]);
        assert_true(WIFEXITED(how));
        assert_int_equal(WEXITSTATUS(how), 0);
    }
    dram_check c = look(state, "");
    assert_int_equal(c.train.known, 80);
    assert_int_equal(c.train.pixels[0], 40 * 32);
}

static void stopped(void **state)
{
    static volatile sig_atomic_t stop = 1;
    const dram_check_hooks hooks = {.stop = &stop};
    dram_check c;
    put_six(state);
    assert_int_equal(look_with(state, "", &hooks, &c), DRAM_INTERRUPTED);
    assert_int_equal(dram_status_exit(DRAM_INTERRUPTED), 130);
    assert_non_null(strstr(dram_error_text(), "interrupted"));
    dram_error_clear();
    assert_false(is_there(in_dir(state, "t/images/.dram-check")));
}

/* Wherever memory runs out, that is the error, and nothing is lost; what is kept is whole. */
static void memory_runs_out(void **state)
{
    static const char set[] = "data.val.images=@/v/images data.val.labels=@/v/labels";
    static const dram_check_hooks none = {0};
    int failed = 0;
    put_pairs(state, "t", 0, 3, 0, 1);
    put_pairs(state, "v", 3, 6, 0, 1);
    for (int64_t n = 0;; n++) {
        dram_check c;
        dram_config *cfg = looks_config(state, set);
        int64_t before = dram_alloc_bytes();
        if (n % 3 == 0) unlink(in_dir(state, "t/labels/.dram-check"));
        dram_error_clear();
        dram_alloc_fail_after(n);
        dram_status status = dram_check_config(cfg, true, &none, &c);
        dram_alloc_fail_after(-1);
        assert_int_equal(dram_alloc_bytes(), before);
        dram_config_free(cfg);
        if (status == DRAM_OK && n % 3 == 0) break;
        if (status == DRAM_OK) continue;
        if (status != DRAM_ERR_MEMORY) fail_msg("request %lld: %s", (long long)n, dram_error_text());
        failed++;
    }
    dram_error_clear();
    assert_true(failed > 50);
    assert_int_equal(look(state, set).train.pixels[0], 3 * 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOK_CASE(the_second_look_knows),
        LOOK_CASE(another_config_uses_it),
        LOOK_CASE(a_changed_file_of_equal_size),
        LOOK_CASE(a_touched_file),
        LOOK_CASE(a_file_of_another_size),
        LOOK_CASE(bad_files_are_not_kept),
        LOOK_CASE(headers_first),
        LOOK_CASE(none_reads_nothing),
        LOOK_CASE(auto_is_full_for_a_few),
        LOOK_CASE(damaged),
        LOOK_CASE(lies_with_a_good_hash),
        LOOK_CASE(files_that_are_gone),
        LOOK_CASE(one_folder_for_all),
        LOOK_CASE(a_folder_that_is_read_only),
        LOOK_CASE(a_folder_that_takes_no_file),
        LOOK_CASE(overtaken),
        LOOK_CASE(many_at_once),
        LOOK_CASE(stopped),
        LOOK_CASE(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
