/* Listing folders, and the choice of labels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/testing.h"
#include "data/dataset.h"
#include "support/folders.h"
#include "support/tempdir.h"

static char images[4300], labels[4300], last_warning[1024];

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    (void)level;
    snprintf(last_warning, sizeof last_warning, "%s", message);
}

static void put(const char *folder, const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    put_file(path, "x", 1);
}

static int fresh(void **state)
{
    if (tempdir_make(state)) return -1;
    snprintf(images, sizeof images, "%s/images", (const char *)*state);
    snprintf(labels, sizeof labels, "%s/labels", (const char *)*state);
    dram_error_clear();
    return mkdir(images, 0777) || mkdir(labels, 0777);
}

static void refused(const dram_dataset_params *params, const char *reason)
{
    dram_dataset *d;
    int64_t before = dram_alloc_bytes();
    dram_error_clear();
    assert_int_equal(dram_dataset_open(params, &d), DRAM_ERR_CONFIG);
    assert_null(d);
    assert_int_equal(dram_alloc_bytes(), before);
    if (!strstr(dram_error_text(), reason)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), reason);
    dram_error_clear();
}

static void files_are_sorted_and_chosen_by_extension(void **state)
{
    (void)state;
    static const char *const want[] = {"B.PNG", "a-b.jpg", "a.b.webp", "a.jpg", "b.jpeg"};
    put(images, "b.jpeg");
    put(images, "a.jpg");
    put(images, "a-b.jpg");
    put(images, "a.b.webp");
    put(images, "B.PNG");
    put(images, "notes.txt");
    put(images, ".hidden.jpg");
    put(images, "jpg");
    char folder[8192];
    snprintf(folder, sizeof folder, "%s/folder.jpg", images);
    assert_int_equal(mkdir(folder, 0777), 0);
    dram_dataset *d;
    dram_dataset_params params = {.images = images};
    dram_log_set_sink(keep_warning, NULL);
    last_warning[0] = '\0';
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    dram_log_set_sink(NULL, NULL);
    assert_non_null(strstr(last_warning, "2 files left aside"));
    assert_int_equal(dram_dataset_count(d), 5);
    assert_int_equal(dram_dataset_labelled(d), 0);
    for (int i = 0; i < 5; i++) {
        char path[8192], wanted[8192];
        assert_string_equal(dram_dataset_name(d, i), want[i]);
        assert_false(dram_dataset_has_label(d, i));
        snprintf(wanted, sizeof wanted, "%s/%s", images, want[i]);
        assert_true(dram_dataset_path_room(d) <= (int)sizeof path);
        assert_string_equal(dram_dataset_image_path(d, i, path, dram_dataset_path_room(d)), wanted);
    }
    dram_dataset_close(d);
}

static void labels_have_the_same_stem(void **state)
{
    (void)state;
    put(images, "a.b.jpg");
    put(images, "c.webp");
    put(labels, "a.b.png");
    dram_dataset *d;
    dram_dataset_params params = {
        .images = images, .labels = labels, .label_fraction = 1, .labels_where = "run.yaml:3:4: data.train.labels"};
    refused(&params, "run.yaml:3:4: data.train.labels: ");
    refused(&params, "labels: 1 of 2 images of ");
    refused(&params, "images have no label (STEM.png) here: c.webp; add the files, or set data.labels_optional");
    params.labels_optional = true;
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    assert_int_equal(dram_dataset_labelled(d), 1);
    assert_true(dram_dataset_has_label(d, 0));
    assert_false(dram_dataset_has_label(d, 1));
    char path[8192], want[8192];
    snprintf(want, sizeof want, "%s/a.b.png", labels);
    assert_string_equal(dram_dataset_label_path(d, 0, path, dram_dataset_path_room(d)), want);
    dram_dataset_close(d);
    put(labels, "c.png");
    params.labels_optional = false;
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    assert_int_equal(dram_dataset_labelled(d), 2);
    dram_dataset_close(d);
}

/* The first of those without a label are named, and their number. */
static void missing_labels_are_listed(void **state)
{
    (void)state;
    char name[32];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "m%02d.jpg", i);
        put(images, name);
        snprintf(name, sizeof name, "m%02d.png", i);
        if (i % 2) put(labels, name);
    }
    dram_dataset_params params = {.images = images, .labels = labels, .label_fraction = 0.5};
    refused(&params, "labels: 10 of 20 images of ");
    refused(&params, "here: m00.jpg, m02.jpg, m04.jpg, m06.jpg, m08.jpg, m10.jpg, m12.jpg, m14.jpg, ...; add");
    put(labels, "m16.png");
    put(labels, "m18.png");
    refused(&params, "labels: 8 of 20 images of ");
    refused(&params, "m12.jpg, m14.jpg; add");
    params.labels_optional = true;
    dram_dataset *d;
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    assert_int_equal(dram_dataset_labelled(d), 6); /* half of the twelve */
    dram_dataset_close(d);
}

static void missing_and_empty_folders(void **state)
{
    dram_dataset_params params = {
        .images = images, .label_fraction = 1, .images_where = "run.yaml:9:1: data.val.images"};
    refused(&params, "run.yaml:9:1: data.val.images: ");
    refused(&params, "no image in the folder");
    put(images, "notes.txt");
    refused(&params, "no image in the folder");
    params.images = in_dir(state, "none");
    refused(&params, "none: cannot open the folder of images: No such file");
    put(images, "a.jpg");
    params.images = images;
    params.labels = in_dir(state, "nolabels");
    refused(&params, "nolabels: cannot open the folder of labels: No such file");
    params.labels = in_dir(state, "images/a.jpg");
    refused(&params, "cannot open the folder of labels: Not a directory");
}

static dram_dataset *with_fraction(double fraction, uint64_t seed)
{
    dram_dataset *d;
    dram_dataset_params params = {.images = images, .labels = labels, .label_fraction = fraction, .seed = seed};
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    return d;
}

static void label_fraction(void **state)
{
    (void)state;
    enum { N = 57 };
    static const double fractions[] = {0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.999, 1};
    char name[32];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "f%02d.jpg", i);
        put(images, name);
        snprintf(name, sizeof name, "f%02d.png", i);
        put(labels, name);
    }
    bool before[N] = {false}, chosen[N];
    int differs = 0;
    for (size_t f = 0; f < sizeof fractions / sizeof fractions[0]; f++) {
        dram_dataset *d = with_fraction(fractions[f], 5), *again = with_fraction(fractions[f], 5);
        dram_dataset *other = with_fraction(fractions[f], 6);
        int n = 0;
        for (int i = 0; i < N; i++) {
            bool has = dram_dataset_has_label(d, i);
            assert_int_equal(has, dram_dataset_has_label(again, i));
            differs += has != dram_dataset_has_label(other, i);
            assert_true(has || !before[i]); /* a larger fraction contains a smaller one */
            before[i] = has;
            if (f == 4) chosen[i] = has;
            n += has;
        }
        assert_int_equal(n, (int)round(fractions[f] * N));
        assert_int_equal(n, dram_dataset_labelled(d));
        dram_dataset_close(d);
        dram_dataset_close(again);
        dram_dataset_close(other);
    }
    assert_true(differs > 10);
    dram_dataset_params outside = {.images = images, .labels = labels, .label_fraction = 1.01};
    refused(&outside, "label_fraction is 1.01");
    outside.label_fraction = -0.5;
    refused(&outside, "label_fraction is -0.5");
    outside.label_fraction = NAN;
    refused(&outside, "label_fraction is");
    put(images, "e.jpg"); /* another file moves the border by one label at most */
    put(labels, "e.png");
    dram_dataset *d = with_fraction(0.5, 5);
    int moved = 0;
    for (int i = 0; i < N; i++) moved += chosen[i] != dram_dataset_has_label(d, i + 1);
    assert_in_range(moved, 0, 1);
    dram_dataset_close(d);
}

/* Whatever entry it fails at, the folder is not one of fewer images. */
static void a_listing_that_fails_is_an_error(void **state)
{
    (void)state;
    dram_dataset_params params = {.images = images, .images_where = "run.yaml:9:1: data.val.images"};
    put(images, "a.jpg");
    put(images, "b.jpg");
    put(images, "notes.txt");
    for (int whole = 0; whole <= 5; whole++) { /* ".", "..", three files; then the end itself */
        dram_dataset *d;
        int64_t before = dram_alloc_bytes();
        entries_left = whole;
        assert_int_equal(dram_dataset_open(&params, &d), DRAM_ERR_IO);
        assert_null(d);
        assert_int_equal(dram_alloc_bytes(), before);
        assert_memory_equal(dram_error_text(), "run.yaml:9:1: data.val.images: ", 31);
        assert_non_null(strstr(dram_error_text(), "cannot list the folder of images to its end: Input/output error"));
        dram_error_clear();
    }
    assert_int_equal(entries_failed, 6);
    entries_left = -1;
}

static void link_to(const char *folder, const char *name, const char *target)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    if (target)
        assert_int_equal(symlink(target, path), 0);
    else
        assert_int_equal(mkfifo(path, 0666), 0);
}

/* A link to a file is an image or a label; one that cannot be followed is neither absent nor left aside. */
static void names_that_lead_to_no_file_are_errors(void **state)
{
    static const struct {
        const char *target, *image, *label; /* target NULL: a pipe */
    } cases[] = {
        {"gone.jpg", "b.jpg: no image can be read here: a link that leads nowhere",
         "b.png: no label can be read here: a link that leads nowhere"},
        {"b.jpg", "b.jpg: no image can be read here: Too many levels of symbolic links", NULL},
        {"b.png", NULL, "b.png: no label can be read here: Too many levels of symbolic links"},
        {"/dev/null", "b.jpg: no image can be read here: not a file: a device",
         "b.png: no label can be read here: not a file: a device"},
        {"../real/file/below", "b.jpg: no image can be read here: Not a directory",
         "b.png: no label can be read here: Not a directory"},
        {"../real", NULL, "b.png: no label can be read here: not a file: a folder"},
        {NULL, "b.jpg: no image can be read here: not a file: a pipe",
         "b.png: no label can be read here: not a file: a pipe"},
    };
    dram_dataset *d;
    dram_dataset_params params = {.images = images, .labels = labels, .labels_optional = true, .label_fraction = 1};
    assert_int_equal(mkdir(in_dir(state, "real"), 0777), 0);
    put_file(in_dir(state, "real/file"), "x", 1);
    put(images, "a.jpg");
    put(labels, "a.png");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        link_to(labels, "b.png", "../real/file");
        link_to(images, "b.jpg", cases[i].target);
        if (cases[i].image) refused(&params, cases[i].image);
        link_to(images, "b.jpg", "../real/file");
        link_to(labels, "b.png", cases[i].target);
        if (cases[i].label) refused(&params, cases[i].label);
    }
    link_to(labels, "b.png", "../real/file");
    link_to(images, "notes.txt", "gone.txt"); /* no image by its name: left aside, and said */
    dram_log_set_sink(keep_warning, NULL);
    last_warning[0] = '\0';
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    dram_log_set_sink(NULL, NULL);
    assert_non_null(strstr(last_warning, "1 file left aside"));
    assert_int_equal(dram_dataset_count(d), 2);
    assert_int_equal(dram_dataset_labelled(d), 2);
    dram_dataset_close(d);
}

static void memory_that_runs_out(void **state)
{
    (void)state;
    put(images, "a.jpg");
    put(images, "b.jpg");
    put(labels, "a.png");
    put(labels, "b.png");
    dram_dataset_params params = {.images = images, .labels = labels, .label_fraction = 0.5};
    int64_t before = dram_alloc_bytes();
    dram_status status = DRAM_ERR_MEMORY;
    int failures = 0;
    for (int after = 0; status != DRAM_OK; after++) {
        dram_dataset *d;
        dram_error_clear();
        dram_alloc_fail_after(after);
        status = dram_dataset_open(&params, &d);
        dram_alloc_fail_after(-1);
        assert_true(status == DRAM_OK || status == DRAM_ERR_MEMORY);
        failures += status != DRAM_OK;
        dram_dataset_close(d);
        assert_int_equal(dram_alloc_bytes(), before);
    }
    assert_true(failures >= 5);
    dram_error_clear();
}

#define CASE(NAME) cmocka_unit_test_setup_teardown(NAME, fresh, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_sorted_and_chosen_by_extension),
        CASE(labels_have_the_same_stem),
        CASE(missing_labels_are_listed),
        CASE(missing_and_empty_folders),
        CASE(label_fraction),
        CASE(a_listing_that_fails_is_an_error),
        CASE(names_that_lead_to_no_file_are_errors),
        CASE(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
