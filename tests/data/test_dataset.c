/* Listing folders, and the choice of labels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/datasets.h"
#include "support/folders.h"

static void files_are_sorted_and_chosen_by_extension(void **state)
{
    put(images, "b.jpeg a.jpg a-b.jpg a.b.webp B.PNG notes.txt .hidden.jpg jpg folder.jpg/c.jpg .folder/d.jpg");
    dram_dataset_params params = {.images = images};
    dram_dataset *d = opened(&params);
    const dram_dataset_found *found = dram_dataset_findings(d);
    assert_pairs(d, &params, "B.PNG a-b.jpg a.b.webp a.jpg b.jpeg");
    assert_int_equal(found->images, 5);
    assert_int_equal(found->others, 2);
    assert_string_equal(found->other, in_dir(state, "images/jpg"));
    assert_int_equal(found->folders, 1);
    assert_string_equal(found->folder, in_dir(state, "images/folder.jpg"));
    assert_int_equal(found->labels + found->pairs + found->images_alone + found->labels_alone, 0);
    assert_int_equal(found->unlisted + found->broken, 0);
    assert_null(found->image_alone);
    assert_null(found->hint);
    dram_dataset_close(d);
}

static void labels_have_the_same_stem(void **state)
{
    (void)state;
    put(images, "a.b.jpg c.webp");
    put(labels, "a.b.png");
    dram_dataset_params params = of_both();
    params.labels_where = "run.yaml:3:4: data.train.labels";
    refused(&params, "run.yaml:3:4: data.train.labels: ");
    refused(&params, "labels: 1 of 2 images of ");
    refused(&params, "images have no label (STEM.png) here: c.webp; add the files, or set data.labels_optional");
    params.labels_optional = true;
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "a.b.jpg=a.b.png c.webp");
    assert_int_equal(dram_dataset_findings(d)->images_alone, 1);
    assert_string_equal(dram_dataset_findings(d)->image_alone, "c.webp");
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 0);
    dram_dataset_close(d);
    put(labels, "c.png x.png d.png");
    params.labels_optional = false;
    d = opened(&params);
    assert_pairs(d, &params, "a.b.jpg=a.b.png c.webp=c.png");
    assert_int_equal(dram_dataset_findings(d)->labels, 4);
    assert_int_equal(dram_dataset_findings(d)->pairs, 2);
    assert_int_equal(dram_dataset_findings(d)->images_alone, 0);
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 2);
    assert_string_equal(dram_dataset_findings(d)->label_alone, "d.png");
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
    refused(&params, ", or name those that have one in a list (data.train.list, data.val.list)");
    put(labels, "m16.png");
    put(labels, "m18.png");
    refused(&params, "labels: 8 of 20 images of ");
    refused(&params, "m12.jpg, m14.jpg; add");
    params.labels_optional = true;
    dram_dataset *d = opened(&params);
    assert_int_equal(dram_dataset_labelled(d), 6); /* half of the twelve */
    assert_int_equal(dram_dataset_findings(d)->pairs, 12);
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

/* A folder of labels that ends too early is not one of fewer labels, nor is one inside it. */
static void labels_that_cannot_be_listed_are_an_error(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    params.labels_where = "run.yaml:9:1: data.val.labels";
    params.labels_optional = params.recursive = true;
    put(images, "a.jpg");
    put(labels, "a.png more/b.png");
    for (int whole = 4; whole <= 12; whole++) { /* ends count too: four of images, five of labels, four inside */
        dram_dataset *d;
        entries_left = whole;
        assert_int_equal(dram_dataset_open(&params, &d), DRAM_ERR_IO);
        assert_null(d);
        assert_memory_equal(dram_error_text(), "run.yaml:9:1: data.val.labels: ", 31);
        assert_non_null(strstr(dram_error_text(), "cannot list the folder of labels to its end: Input/output error"));
        assert_int_equal(strstr(dram_error_text(), "labels/more:") != NULL, whole > 8);
        dram_error_clear();
    }
    entries_left = -1;
}

/* A link to a file is an image or a label; one that cannot be followed is neither absent nor left aside. */
static void names_that_lead_to_no_file_are_counted(void **state)
{
    static const struct {
        const char *target, *image, *label; /* target NULL: a pipe; what is said of it as an image, as a label */
    } cases[] = {
        {"gone.jpg", "a link that leads nowhere", "a link that leads nowhere"},
        {"b.jpg", "Too many levels of symbolic links", NULL},
        {"b.png", NULL, "Too many levels of symbolic links"},
        {"/dev/null", "not a file: a device", "not a file: a device"},
        {"../real/file/below", "Not a directory", "Not a directory"},
        {NULL, "not a file: a pipe", "not a file: a pipe"},
    };
    dram_dataset_params params = of_both();
    params.labels_optional = true;
    put(top, "real/file");
    put(images, "a.jpg");
    put(labels, "a.png");
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        bool is_label = i % 2;
        const char *why = is_label ? cases[i / 2].label : cases[i / 2].image;
        if (!why) continue;
        put_link(labels, "b.png", is_label ? cases[i / 2].target : "../real/file");
        put_link(images, "b.jpg", is_label ? "../real/file" : cases[i / 2].target);
        dram_dataset *d = opened(&params);
        const dram_dataset_found *found = dram_dataset_findings(d);
        assert_pairs(d, &params, "a.jpg=a.png");
        assert_int_equal(found->broken, 1);
        assert_int_equal(found->pairs, 1);
        assert_int_equal(found->images_alone + found->labels_alone, 0); /* left out as a pair */
        assert_int_equal(found->broken_is_label, is_label);
        assert_string_equal(found->broken_name, in_dir(state, is_label ? "labels/b.png" : "images/b.jpg"));
        assert_string_equal(found->broken_why, why);
        dram_dataset_close(d);
    }
    put_link(images, "b.jpg", "../real/file");
    put_link(labels, "b.png", "../real/file");
    put_link(images, "notes.txt", "gone.txt"); /* no image by its name, and left aside */
    put_link(labels, "c.png", "gone.png");     /* of no image: a label alone, since nothing is left out */
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "a.jpg=a.png b.jpg=b.png");
    assert_int_equal(dram_dataset_findings(d)->others, 1);
    assert_int_equal(dram_dataset_findings(d)->broken, 0);
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 1);
    dram_dataset_close(d);
}

static void nothing_but_broken_names(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    params.images_where = "run.yaml:1:1: data.train.images";
    params.labels_where = "run.yaml:2:1: data.train.labels";
    put_link(images, "a.jpg", "gone");
    put_link(images, "b.jpg", "gone");
    put(labels, "a.png b.png");
    refused(&params, "run.yaml:1:1: data.train.images: ");
    refused(&params, "images/a.jpg: no image can be read here: a link that leads nowhere");
    put_link(labels, "a.png", NULL);
    unlink(in_dir(state, "images/a.jpg"));
    unlink(in_dir(state, "images/b.jpg"));
    put(images, "a.jpg");
    refused(&params, "run.yaml:2:1: data.train.labels: ");
    refused(&params, "labels/a.png: no label can be read here: not a file: a pipe");
}

static void memory_that_runs_out(void **state)
{
    put(images, "a.jpg b.jpg more/c.jpg");
    put(labels, "a_L.png b_L.png more/c_L.png d_M.png d_M.txt");
    put_link(images, "e.jpg", "gone");
    put_link(images, "more/back", "../more");
    put_file(in_dir(state, "list"), "a\nmore/c.jpg\ne\nf\n", 17);
    put(images, "f.jpg");
    dram_dataset_params params = {.images = images,
                                  .labels = labels,
                                  .label_fraction = 0.5,
                                  .recursive = true,
                                  .labels_optional = true,
                                  .label_pattern = "_L",
                                  .list = in_dir(state, "list")};
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
    assert_true(failures >= 15);
    dram_error_clear();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_sorted_and_chosen_by_extension),
        CASE(labels_have_the_same_stem),
        CASE(missing_labels_are_listed),
        CASE(missing_and_empty_folders),
        CASE(label_fraction),
        CASE(a_listing_that_fails_is_an_error),
        CASE(labels_that_cannot_be_listed_are_an_error),
        CASE(names_that_lead_to_no_file_are_counted),
        CASE(nothing_but_broken_names),
        CASE(memory_that_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
