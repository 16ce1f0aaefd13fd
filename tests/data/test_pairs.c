/* Which label is an image's: subfolders, patterns, one folder for both, what is refused, and what is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/datasets.h"

static dram_dataset_params recursive(void)
{
    dram_dataset_params params = of_both();
    params.recursive = true;
    return params;
}

static dram_dataset_params one_folder(void)
{
    dram_dataset_params params = of_both();
    params.labels = images;
    return params;
}

/* ---- subfolders ---- */

/* Two images at the top, six in drive2/, labels of all eight at the top. */
static void images_in_a_subfolder(void **state)
{
    dram_dataset_params params = of_both();
    put(images, "000.jpg 001.jpg drive2/002.jpg drive2/003.jpg drive2/004.jpg drive2/005.jpg drive2/006.jpg "
                "drive2/007.jpg");
    put(labels, "000.png 001.png 002.png 003.png 004.png 005.png 006.png 007.png");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "000.jpg=000.png 001.jpg=001.png");
    assert_int_equal(dram_dataset_findings(d)->folders, 1);
    assert_string_equal(dram_dataset_findings(d)->folder, in_dir(state, "images/drive2"));
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 6);
    dram_dataset_close(d);
    params.recursive = true;
    d = opened(&params);
    assert_pairs(d, &params,
                 "000.jpg=000.png 001.jpg=001.png drive2/002.jpg=002.png drive2/003.jpg=003.png "
                 "drive2/004.jpg=004.png drive2/005.jpg=005.png drive2/006.jpg=006.png drive2/007.jpg=007.png");
    assert_int_equal(dram_dataset_findings(d)->folders, 0);
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 0);
    dram_dataset_close(d);
}

/* The same path comes first: a label that has its own image there is no other's. */
static void the_same_path_comes_first(void **state)
{
    (void)state;
    dram_dataset_params params = recursive();
    put(images, "a/0.jpg b/0.jpg c/1.jpg 2.jpg");
    put(labels, "a/0.png b/0.png 1.png deep/er/2.png");
    pairs_are(&params, "2.jpg=deep/er/2.png a/0.jpg=a/0.png b/0.jpg=b/0.png c/1.jpg=1.png");
    put(images, "d/0.jpg");
    refused(&params, "1 of 5 images of ");
    refused(&params, "here: d/0.jpg");
    params.labels_optional = true;
    pairs_are(&params, "2.jpg=deep/er/2.png a/0.jpg=a/0.png b/0.jpg=b/0.png c/1.jpg=1.png d/0.jpg");
    put(labels, "e/0.png"); /* its stem is not unique: nothing says that it is d/0.jpg's */
    pairs_are(&params, "2.jpg=deep/er/2.png a/0.jpg=a/0.png b/0.jpg=b/0.png c/1.jpg=1.png d/0.jpg");
    put(labels, "f/0.png"); /* and now there are two that could be */
    refused(&params, "images/d/0.jpg: this image could have two labels of ");
    refused(&params, ", e/0.png and f/0.png; leave one of them");
}

/* Endings are no part of a stem, and dots in folders are none of an ending. */
static void dots_in_folders(void **state)
{
    (void)state;
    dram_dataset_params params = recursive();
    put(images, "v1.0/a.b.jpg v1.0/readme v1.jpg/c.webp");
    put(labels, "v1.0/a.b.png v1.jpg/c.png v1.png/readme");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "v1.0/a.b.jpg=v1.0/a.b.png v1.jpg/c.webp=v1.jpg/c.png");
    assert_int_equal(dram_dataset_findings(d)->others, 2);
    dram_dataset_close(d);
}

/* data/ holds the images, data/labels/ their labels, which are no photographs; and the other way round. */
static void one_folder_inside_the_other(void **state)
{
    dram_dataset_params params = {.images = top, .labels = labels, .label_fraction = 1, .recursive = true};
    assert_int_equal(rmdir(images), 0);
    put(top, "0.jpg drive/1.png labels/0.png labels/drive/1.png");
    pairs_are(&params, "0.jpg=0.png drive/1.png=drive/1.png");
    params.labels_aside = true;
    pairs_are(&params, "0.jpg drive/1.png");
    params.recursive = params.labels_aside = false;
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "0.jpg=0.png");
    assert_int_equal(dram_dataset_findings(d)->folders, 2); /* drive, and labels/drive; labels is looked into */
    assert_string_equal(dram_dataset_findings(d)->folder, in_dir(state, "drive"));
    dram_dataset_close(d);
    put_link(top, "also", "labels/"); /* whatever name leads there */
    params.recursive = true;
    pairs_are(&params, "0.jpg=0.png drive/1.png=drive/1.png");
    params.labels = in_dir(state, "also");
    pairs_are(&params, "0.jpg=0.png drive/1.png=drive/1.png");
}

static void images_inside_the_labels(void **state)
{
    (void)state;
    dram_dataset_params params = {.images = images, .labels = top, .label_fraction = 1, .recursive = true};
    assert_int_equal(rmdir(labels), 0);
    put(top, "0.png a/1.png images/0.png images/a/1.png");
    pairs_are(&params, "0.png=0.png a/1.png=a/1.png");
}

/* ---- which labels ---- */

static void endings_in_upper_case(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "a.JPG b.jpg c.Jpeg");
    put(labels, "a.PNG b.Png c.png C.png");
    pairs_are(&params, "a.JPG=a.PNG b.jpg=b.Png c.Jpeg=c.png");
    put(labels, "b.png");
    refused(&params, "images/b.jpg: this image could have two labels of ");
    refused(&params, "b.Png and b.png; leave one of them");
    params.images_where = "run.yaml:5:3: data.train.images";
    refused(&params, "run.yaml:5:3: data.train.images: ");
}

static void two_images_on_one_label(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "a.jpg a.png");
    put(labels, "a.png");
    params.labels_where = "run.yaml:6:3: data.train.labels";
    refused(&params, "run.yaml:6:3: data.train.labels: ");
    refused(&params, "labels/a.png: two images have this label, a.jpg and a.png of ");
    params.labels_optional = true;
    refused(&params, "two images have this label");
    params.labels_aside = true; /* nobody asks for labels, so they are two images */
    pairs_are(&params, "a.jpg a.png");
}

/* By their stems, from two folders. */
static void two_folders_on_one_label(void **state)
{
    (void)state;
    dram_dataset_params params = recursive();
    put(images, "drive1/7.jpg drive2/7.jpg");
    put(labels, "7.png");
    refused(&params, "labels/7.png: two images have this label, drive1/7.jpg and drive2/7.jpg of ");
    put(labels, "drive2/7.png"); /* its image has it; the other's stem is not unique */
    refused(&params, "1 of 2 images of ");
    put(labels, "drive1/7.png");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "drive1/7.jpg=drive1/7.png drive2/7.jpg=drive2/7.png");
    assert_string_equal(dram_dataset_findings(d)->label_alone, "7.png");
    dram_dataset_close(d);
}

/* A link that is broken is left out with its partner; two on one label are refused all the same. */
static void broken_and_ambiguous(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "a.jpg b.jpg");
    put_link(images, "a.webp", "gone");
    put(labels, "a.png b.png");
    refused(&params, "labels/a.png: two images have this label, a.jpg and a.webp");
}

/* ---- patterns ---- */

static void an_end_of_the_stem(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "000.jpg 001.jpg 002.jpg 003.jpg 004.jpg 005.jpg");
    put(labels, "000_L.png 001_L.png 002_L.png 003_L.png 004_L.png 005_L.PNG");
    refused(&params, "6 of 6 images of ");
    refused(&params, "; labels are called like 000_L.png: set data.label_pattern to _L; add the files, or");
    params.labels_optional = true;
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "000.jpg 001.jpg 002.jpg 003.jpg 004.jpg 005.jpg");
    assert_string_equal(dram_dataset_findings(d)->hint,
                        "labels are called like 000_L.png: set data.label_pattern to _L");
    dram_dataset_close(d);
    params.labels_optional = false;
    params.label_pattern = "_L";
    pairs_are(&params, "000.jpg=000_L.png 001.jpg=001_L.png 002.jpg=002_L.png 003.jpg=003_L.png 004.jpg=004_L.png "
                       "005.jpg=005_L.PNG");
}

static void an_end_that_is_replaced(void **state)
{
    (void)state;
    dram_dataset_params params = recursive();
    put(images, "aachen/aachen_0_leftImg8bit.png aachen/aachen_1_leftImg8bit.png bonn/bonn_0_leftImg8bit.png");
    put(labels,
        "aachen/aachen_0_gtFine_color.png aachen/aachen_0_gtFine_labelIds.png aachen/aachen_0_gtFine_polygons.json "
        "aachen/aachen_1_gtFine_color.png aachen/aachen_1_gtFine_labelIds.png "
        "bonn/bonn_0_gtFine_color.png bonn/bonn_0_gtFine_labelIds.png");
    refused(&params, "3 of 3 images of ");
    refused(&params, "; labels are called like aachen/aachen_0_gtFine_color.png: set data.label_pattern to "
                     "_leftImg8bit:_gtFine_color, or _leftImg8bit:_gtFine_labelIds; add");
    params.label_pattern = "_leftImg8bit:_gtFine_labelIds";
    pairs_are(&params, "aachen/aachen_0_leftImg8bit.png=aachen/aachen_0_gtFine_labelIds.png "
                       "aachen/aachen_1_leftImg8bit.png=aachen/aachen_1_gtFine_labelIds.png "
                       "bonn/bonn_0_leftImg8bit.png=bonn/bonn_0_gtFine_labelIds.png");
    put(images, "bonn/notes.png"); /* without the end that is replaced there is no label */
    refused(&params, "1 of 4 images of ");
    refused(&params, "have no label (STEM with _leftImg8bit:_gtFine_labelIds.png) here: bonn/notes.png;");
}

static void an_end_that_falls_away(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "1_rgb.jpg 2_rgb.jpg");
    put(labels, "1.png 2.png");
    refused(&params, "labels are called like 1.png: set data.label_pattern to _rgb:;");
    params.label_pattern = "_rgb:";
    pairs_are(&params, "1_rgb.jpg=1.png 2_rgb.jpg=2.png");
    params.label_pattern = ":_L"; /* nothing is replaced: an end of the stem */
    refused(&params, "2 of 2 images of ");
    put(labels, "1_rgb_L.png 2_rgb_L.png");
    pairs_are(&params, "1_rgb.jpg=1_rgb_L.png 2_rgb.jpg=2_rgb_L.png");
}

static void a_pattern_that_fits_nothing(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "a.jpg b.jpg");
    put(labels, "a_L.png b_L.png");
    params.label_pattern = "_M";
    refused(&params, "2 of 2 images of ");
    refused(&params, "have no label (STEM_M.png) here: a.jpg, b.jpg; labels are called like a_L.png: set "
                     "data.label_pattern to _L; add");
    put(labels, "a.png b.png");
    refused(&params, "labels are called like a.png: leave data.label_pattern out, or _L;");
    params.label_pattern = "{}_L";
    refused(&params, "leave data.label_pattern out");
}

/* By the stem alone too. */
static void a_pattern_and_subfolders(void **state)
{
    (void)state;
    dram_dataset_params params = recursive();
    params.label_pattern = "_L";
    put(images, "a/0.jpg b/1.jpg");
    put(labels, "a/0_L.png 1_L.png 0.png");
    pairs_are(&params, "a/0.jpg=a/0_L.png b/1.jpg=1_L.png");
}

static void no_pattern_fits(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "img_1.jpg img_2.jpg img_3.jpg img_4.jpg");
    put(labels, "mask_1.png mask_2.png");
    refused(&params, "img_4.jpg; labels are called like mask_1.png; add the files");
    put(labels, "img_1_M.png"); /* one of four is no rule */
    refused(&params, "; labels are called like img_1_M.png; add the files");
    put(labels, "img_3_M.png");
    refused(&params, "; labels are called like img_1_M.png: set data.label_pattern to _M; add the files");
}

/* Where they may be, when there are none. */
static void labels_that_are_elsewhere(void **state)
{
    (void)state;
    dram_dataset_params params = of_both();
    put(images, "a.jpg");
    refused(&params, "here: a.jpg; add the files");
    put(labels, "a.jpg a.txt");
    refused(&params, "here: a.jpg; labels are PNG files, and there is none, but a.jpg; add");
    put(labels, "more/a.png even/a.png");
    refused(&params, "here: a.jpg; folders inside it (the first: even) are looked into with data.recursive; add");
}

/* ---- one folder ---- */

static void a_png_beside_a_jpeg_is_its_label(void **state)
{
    dram_dataset_params params = one_folder();
    put(images, "000.jpg 000.png 001.jpg 001.png 002.jpeg 002.PNG 003.webp 003.png");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "000.jpg=000.png 001.jpg=001.png 002.jpeg=002.PNG 003.webp=003.png");
    assert_int_equal(dram_dataset_findings(d)->labels, 4);
    assert_int_equal(dram_dataset_findings(d)->others, 0);
    dram_dataset_close(d);
    params.labels_aside = true; /* without the task as well they are no photographs */
    pairs_are(&params, "000.jpg 001.jpg 002.jpeg 003.webp");
    params.labels_aside = false;
    put_link(top, "again", "images");
    params.labels = in_dir(state, "again");
    pairs_are(&params, "000.jpg=000.png 001.jpg=001.png 002.jpeg=002.PNG 003.webp=003.png");
    put(images, "000.webp");
    refused(&params, "000.png: two images have this label, 000.jpg and 000.webp of ");
}

static void an_image_that_is_its_own_label(void **state)
{
    (void)state;
    dram_dataset_params params = one_folder();
    params.labels_optional = true;
    put(images, "a.png b.png");
    refused(&params, "images/a.png: images and labels are one folder, and this image would be its own label");
    put(images, "a.jpg b.jpg c.jpg");
    pairs_are(&params, "a.jpg=a.png b.jpg=b.png c.jpg");
    put(images, "d.png");
    refused(&params, "images/d.png: images and labels are one folder");
}

static void one_folder_and_a_pattern(void **state)
{
    (void)state;
    dram_dataset_params params = one_folder();
    params.label_pattern = "_L";
    put(images, "0.png 0_L.png 1.jpg 1_L.png 2_L.png hall_L.jpg hall_L_L.png");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "0.png=0_L.png 1.jpg=1_L.png hall_L.jpg=hall_L_L.png");
    assert_int_equal(dram_dataset_findings(d)->labels, 4);
    assert_int_equal(dram_dataset_findings(d)->labels_alone, 1);
    assert_string_equal(dram_dataset_findings(d)->label_alone, "2_L.png");
    dram_dataset_close(d);
    params.label_pattern = "_rgb:";
    put(images, "z_rgb.png z.png");
    params.labels_optional = true;
    pairs_are(&params, "0.png 0_L.png 1.jpg 1_L.png 2_L.png hall_L.jpg hall_L_L.png z_rgb.png=z.png");
}

static void one_folder_of_folders(void **state)
{
    (void)state;
    dram_dataset_params params = one_folder();
    params.recursive = true;
    put(images, "0.jpg 0.png a/0.jpg a/0.png a/1.jpg a/1.png");
    pairs_are(&params, "0.jpg=0.png a/0.jpg=a/0.png a/1.jpg=a/1.png");
    put(images, "photos/2.jpg masks/2.png"); /* in one folder, only a path says whose label it is */
    refused(&params, "images/masks/2.png: images and labels are one folder");
}

static void nothing_but_labels(void **state)
{
    (void)state;
    dram_dataset_params params = one_folder();
    params.label_pattern = "_L";
    put(images, "0_L.png 1_L.png");
    refused(&params, "no image in the folder (files *.jpg, *.jpeg, *.png, *.webp); its 2 PNG files are labels");
}

/* Where no folder of labels is known, dram cannot know; it counts. */
static void images_of_one_stem(void **state)
{
    (void)state;
    dram_dataset_params params = {.images = images};
    put(images, "a.jpg b.jpg b.jpg.png a.png c.png");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "a.jpg a.png b.jpg b.jpg.png c.png");
    assert_int_equal(dram_dataset_findings(d)->twins, 1);
    assert_string_equal(dram_dataset_findings(d)->twin, "a.png");
    dram_dataset_close(d);
    params.labels = labels;
    params.label_fraction = 1;
    params.labels_aside = true;
    d = opened(&params);
    assert_int_equal(dram_dataset_findings(d)->twins, 0);
    dram_dataset_close(d);
}

/* ---- the share of the labels ---- */

/* As it has been since label_fraction is there. */
static void the_choice_does_not_move(void **state)
{
    (void)state;
    static const int chosen[] = {1, 4, 7, 9, 18, 21, 23, 25, 28, 30, 34, 39};
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "s%02d.x.jpg", i);
        put(images, name);
        snprintf(name, sizeof name, "s%02d.x%s.png", i, i % 2 ? "_L" : "");
        put(labels, name);
        snprintf(name, sizeof name, "s%02d.x.png", i);
        put(labels, name);
    }
    dram_dataset_params params = of_both();
    params.label_fraction = 0.3;
    params.seed = 7;
    for (int recurse = 0; recurse < 2; recurse++) {
        params.recursive = recurse;
        dram_dataset *d = opened(&params);
        assert_int_equal(dram_dataset_labelled(d), 12);
        for (int i = 0, k = 0; i < 40; i++) {
            assert_int_equal(dram_dataset_has_label(d, i), k < 12 && chosen[k] == i);
            k += k < 12 && chosen[k] == i;
        }
        dram_dataset_close(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(images_in_a_subfolder),
        CASE(the_same_path_comes_first),
        CASE(dots_in_folders),
        CASE(one_folder_inside_the_other),
        CASE(images_inside_the_labels),
        CASE(endings_in_upper_case),
        CASE(two_images_on_one_label),
        CASE(two_folders_on_one_label),
        CASE(broken_and_ambiguous),
        CASE(an_end_of_the_stem),
        CASE(an_end_that_is_replaced),
        CASE(an_end_that_falls_away),
        CASE(a_pattern_that_fits_nothing),
        CASE(a_pattern_and_subfolders),
        CASE(no_pattern_fits),
        CASE(labels_that_are_elsewhere),
        CASE(a_png_beside_a_jpeg_is_its_label),
        CASE(an_image_that_is_its_own_label),
        CASE(one_folder_and_a_pattern),
        CASE(one_folder_of_folders),
        CASE(nothing_but_labels),
        CASE(images_of_one_stem),
        CASE(the_choice_does_not_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
