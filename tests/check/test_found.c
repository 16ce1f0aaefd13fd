/* What a look at data finds, from folders that newcomers have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/looks.h"
#include "data/look.h"

/* ---- classes ---- */

static void masks_of_0_and_255(void **state)
{
    put_pairs(state, "t", 0, 6, 0, 255);
    dram_check c = look(state, "");
    assert_int_equal(c.train.pixels[0], 6 * 32);
    assert_int_equal(c.train.pixels[1], 0);
    assert_int_equal(c.train.void_pixels, 6 * 64);
    assert_int_equal(c.train.labelled_pixels, 6 * 32);
    assert_said("class 1 of data.classes 2 is in none of the labels of data.train");
    assert_said("one answer to learn");
    assert_said("67 % of the pixels of the labels of data.train are void (255");
    assert_said("{255: 1}");
    c = look(state, "data.class_map={255: 1}");
    assert_int_equal(c.train.pixels[0], 6 * 32);
    assert_int_equal(c.train.pixels[1], 6 * 64);
    assert_int_equal(c.train.void_pixels, 0);
    assert_string_equal(said, "");
}

static void all_labels_void(void **state)
{
    put_pairs(state, "t", 0, 3, VOID, VOID);
    dram_check c = look(state, "data.check=headers"); /* they say nothing of it */
    assert_int_equal(c.train.read_labels, 0);
    look(state, "data.check=none");
    look(state, "task.enabled=false");
    c = look_refused(state, "", "data.train.labels: none of the 3 labels has a labelled pixel");
    assert_string_equal(said, ""); /* once is enough */
    assert_int_equal(c.train.void_pixels, 3 * 96);
    assert_int_equal(c.train.labelled_pixels, 0);
}

/* One label of three has something to learn from. */
static void nearly_all_void(void **state)
{
    put_pairs(state, "t", 0, 2, VOID, VOID);
    put_pairs(state, "t", 2, 3, 0, 1);
    dram_check c = look(state, "");
    assert_int_equal(c.train.labelled_pixels, 96);
    assert_said("67 % of the pixels");
    assert_not_said("is in none of");
}

static void classes_by_name(void **state)
{
    put_pairs(state, "t", 0, 4, 0, 2);
    put_pairs(state, "v", 4, 6, 0, 1);
    static const char paths[] = "data.classes=3 data.class_names=[sky,car,tree] data.val.images=@/v/images "
                                "data.val.labels=@/v/labels";
    dram_check c = look(state, paths);
    assert_said("class car of data.classes 3 is in none of the labels of data.train");
    assert_said("class car is in the labels of data.val and in none of the labels of data.train");
    assert_int_equal(c.val.pixels[1], 2 * 64);
    const char *page = text_of_check(state, paths, &c, dram_check_page);
    assert_non_null(strstr(page, "class 0 sky         33.33 %"));
    assert_non_null(strstr(page, "class 1 car        in no label"));
    assert_non_null(strstr(page, "class 2 tree        66.67 %"));
    assert_non_null(strstr(text_of_check(state, paths, &c, dram_check_summary),
                           "2 of 3 classes: tree 66.7 %, sky 33.3 %; void 0.0 %"));
}

/* An ignore_index that is a class: CamVid's 11. */
static void void_below_the_classes(void **state)
{
    put_pairs(state, "t", 0, 4, 0, 1);
    dram_check c = look(state, "data.ignore_index=1");
    assert_int_equal(c.train.void_pixels, 4 * 64);
    assert_int_equal(c.train.pixels[0], 4 * 32);
    assert_int_equal(c.train.pixels[1], 0);
    assert_said("67 % of the pixels");
    assert_not_said("is in none of"); /* class 1 is void by the config, and not missing */
}

static void labels_from_one(void **state)
{
    put_pairs(state, "t", 0, 4, 1, 2);
    dram_check c = look(state, "data.reduce_zero_label=true");
    assert_int_equal(c.train.pixels[0], 4 * 32);
    assert_int_equal(c.train.pixels[1], 4 * 64);
    assert_string_equal(said, "");
    look_refused(state, "", "4 of 4 images cannot be used, more than 10 %");
}

/* ---- bad files ---- */

static void one_bad_label(void **state)
{
    put_pairs(state, "t", 0, 7, 0, 1);
    put_pairs(state, "t", 7, 8, 0, 77);
    dram_check c = look(state, "data.check=headers"); /* a header has no ids */
    assert_int_equal(c.train.bad, 0);
    c = look_refused(state, "", "1 of 8 images cannot be used, more than 10 %; the first: ");
    assert_int_equal(c.train.bad_labels.n, 1);
    assert_non_null(strstr(c.train.bad_labels.first, "t/labels/07.png"));
    assert_non_null(strstr(c.train.bad_labels.first, "77"));
    assert_int_equal(c.train.pixels[0], 7 * 32);
    put_pairs(state, "t", 8, 24, 1, 0);
    c = look(state, "");
    assert_int_equal(c.train.bad, 1);
    assert_said("1 label cannot be used and is left out with the image (");
    assert_said("t/labels/07.png");
    look_refused(state, "data.on_bad=stop", "1 of 24 images cannot be used, and data.on_bad is stop: ");
}

static void bad_files_of_every_kind(void **state)
{
    put_pairs(state, "t", 0, 60, 0, 1);
    put_file(with_folders(state, "t/images/10.jpg"), "", 0);
    put_file(with_folders(state, "t/images/11.jpg"), "<!DOCTYPE html><html>", 21);
    blob cut = jpeg_of(8, 12, 12);
    cut.n /= 2;
    put_blob(state, "t/images/12.jpg", cut);
    put_label(state, "t/labels/13.png", 8, 11, 4, 0, 1);      /* another size */
    put_photo(state, "t/labels/14.png", 8, 12, 14);           /* a JPEG by its first bytes */
    put_file(with_folders(state, "t/labels/10.png"), "x", 1); /* beside a bad image: left out once */
    dram_check c = look(state, "");
    assert_int_equal(c.train.bad_images.n, 3);
    assert_int_equal(c.train.bad_labels.n, 3);
    assert_int_equal(c.train.bad, 5);
    assert_int_equal(c.train.looked_images, 60);
    assert_int_equal(c.train.read_labels, 60);
    assert_int_equal(c.train.pixels[0], 55 * 32); /* a label beside a bad image is not used */
    assert_non_null(strstr(c.train.bad_images.first, "t/images/10.jpg: the file is empty"));
    dram_check h = look(state, "data.check=headers");
    assert_int_equal(h.train.bad_images.n, 3);
    assert_int_equal(h.train.bad_labels.n, 3);
    assert_int_equal(h.train.bad, 5);
}

/* A photograph in the place of a label has colours, and more of them than a label may. */
static void photographs_as_labels(void **state)
{
    put_pairs(state, "t", 0, 12, 0, 1);
    uint8_t *rgb = noise_bytes(8 * 12 * 3, 5);
    assert_int_equal(dram_image_write_png(with_folders(state, "t/labels/05.png"), rgb, 8, 12), DRAM_OK);
    free(rgb);
    dram_check c = look(state, "");
    assert_int_equal(c.train.bad_labels.n, 1);
    assert_said("t/labels/05.png");
}

/* More colours than a look counts, and all of them in the map: a run takes such a label, and so does the look. */
static void more_colours_than_are_counted(void **state)
{
    enum { W = 300, H = 2 };
    uint8_t rgb[H * W * 3];
    char path[4400], *map = malloc(W * 32);
    size_t n = 0;
    assert_non_null(map);
    for (int i = 0; i < W; i++) {
        n += (size_t)sprintf(map + n, "%s\"#%02x%02x40\": %d", i ? ", " : "data:\n  class_map: {", i / 256, i % 256,
                             i % 2);
        for (int y = 0; y < H; y++) memcpy(rgb + 3 * (y * W + i), (uint8_t[]){(uint8_t)(i / 256), (uint8_t)i, 0x40}, 3);
    }
    n += (size_t)sprintf(map + n, "}\n");
    snprintf(path, sizeof path, "%s/base.yaml", (const char *)*state);
    size_t bytes;
    char *base = get_file(path, &bytes), *whole = malloc(bytes + n);
    assert_non_null(whole);
    memcpy(whole, map, n); /* the section that base.yaml begins with goes on */
    memcpy(whole + n, base + 6, bytes - 6);
    put_file(path, whole, n + bytes - 6);
    put_photo(state, "t/images/a.jpg", H, W, 1);
    assert_int_equal(dram_image_write_png(with_folders(state, "t/labels/a.png"), rgb, H, W), DRAM_OK);
    dram_check c = look(state, "");
    assert_int_equal(c.train.bad, 0);
    assert_int_equal(c.train.pixels[0], H * W / 2);
    assert_int_equal(c.train.pixels[1], H * W / 2);
    free(whole);
    free(base);
    free(map);
}

/* ---- images ---- */

static void strips(void **state)
{
    put_photo(state, "t/images/a.jpg", 24, 640, 1);
    put_photo(state, "t/images/b.jpg", 640, 24, 2);
    put_photo(state, "t/images/c.jpg", 480, 640, 3);
    dram_check c = look(state, "task.enabled=false");
    assert_int_equal(c.train.thin.n, 2);
    assert_said("2 of 3 images are so thin at data.size 64 that they have no cell to compare");
    assert_said("the first: a.jpg");
    assert_int_equal(c.train.smallest[0] * c.train.smallest[1], 24 * 640);
    assert_int_equal(c.train.largest[0], 480);
    assert_int_equal(c.train.largest[1], 640);
    /* At 1024 a strip of 24 of 640 has cells, and a task without a teacher has none to compare. */
    c = look(state, "task.enabled=false data.size=1024");
    assert_int_equal(c.train.thin.n, 0);
}

static void put_turned(void **state, const char *name, int height, int width, int orientation)
{
    put_blob(state, name, jpeg_with_orientation(jpeg_of(height, width, orientation), orientation, true));
}

static void exif_with_labels_as_stored(void **state)
{
    static const int orientation[] = {1, 6, 3};
    char name[64];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "t/images/%d.jpg", i);
        put_turned(state, name, 16, 16, orientation[i]);
        snprintf(name, sizeof name, "t/labels/%d.png", i);
        put_label(state, name, 16, 16, 40, 0, 1);
    }
    dram_check c = look(state, "");
    assert_int_equal(c.train.turned.n, 2);
    assert_int_equal(c.train.unsure.n, 2);
    assert_said("2 images are turned by EXIF, and the label is not (the first: 1.jpg)");
    assert_said("set data.orientation to stored");
    c = look(state, "data.orientation=stored");
    assert_int_equal(c.train.turned.n, 0);
    assert_string_equal(said, "");
    c = look(state, "task.enabled=false"); /* without labels nothing can be apart */
    assert_int_equal(c.train.turned.n, 0);
    assert_string_equal(said, "");
}

/* The size of a label tells whether it was drawn on the turned image. */
static void exif_that_the_size_tells(void **state)
{
    put_pairs(state, "t", 0, 19, 0, 1);
    put_turned(state, "t/images/a.jpg", 8, 12, 6);
    put_label(state, "t/labels/a.png", 12, 8, 40, 0, 1);
    dram_check c = look(state, "");
    assert_int_equal(c.train.turned.n, 1);
    assert_int_equal(c.train.unsure.n, 0);
    assert_string_equal(said, "");
    put_label(state, "t/labels/a.png", 8, 12, 40, 0, 1);
    c = look(state, "");
    assert_int_equal(c.train.bad_labels.n, 1);
    assert_said("EXIF");
    look(state, "data.orientation=stored");
    assert_string_equal(said, "");
}

static void put_deep(void **state, const char *name, int peak)
{
    uint16_t values[8 * 8];
    for (int i = 0; i < 64; i++) values[i] = (uint16_t)(peak * i / 63);
    put_blob(state, name, encode_png(values, sizeof values, 8, 8, 16, SPNG_COLOR_TYPE_GRAYSCALE, false, NULL));
}

static void twelve_bits(void **state)
{
    char name[64];
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "t/images/%02d.png", i);
        put_deep(state, name, 4000 + i);
    }
    put_photo(state, "t/images/x.jpg", 8, 8, 1);
    dram_check c = look(state, "task.enabled=false");
    assert_int_equal(c.train.deep, 20);
    assert_int_equal(c.train.deep_looked, 8);
    assert_in_range(c.train.peak, 4000, 4019);
    assert_said("the images of 16 bits are nearly black");
    assert_said("if they hold 12 bits, set data.range to 4095");
    assert_false(dram_range_is_news(false)); /* the loader does not say it again */
    look(state, "task.enabled=false data.range=4095");
    assert_string_equal(said, "");
    look(state, "task.enabled=false data.range=1023");
    assert_said("what is above data.range, 1023, is all white");
}

static void all_sixteen_bits(void **state)
{
    put_deep(state, "t/images/a.png", 65535);
    put_deep(state, "t/images/b.png", 800); /* one dark picture */
    dram_check c = look(state, "task.enabled=false");
    assert_int_equal(c.train.deep_looked, 2);
    assert_int_equal(c.train.peak, 65535);
    assert_string_equal(said, "");
}

/* ---- names ---- */

static void subfolders(void **state)
{
    put_pairs(state, "t", 0, 2, 0, 1);
    for (int i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "t/images/drive2/%d.jpg", i);
        put_photo(state, name, 8, 12, 10 + i);
        snprintf(name, sizeof name, "t/labels/drive2/%d.png", i);
        put_label(state, name, 8, 12, 32, 0, 1);
    }
    dram_check c = look(state, "");
    assert_int_equal(c.train.images, 2);
    assert_int_equal(c.train.pairs, 2);
    assert_int_equal(c.train.folders.n, 2);
    assert_said("2 folders inside are not looked into");
    assert_said("drive2");
    assert_said("data.recursive");
    c = look(state, "data.recursive=true");
    assert_int_equal(c.train.images, 8);
    assert_int_equal(c.train.pairs, 8);
    assert_int_equal(c.train.pixels[0], 8 * 32);
    assert_string_equal(said, "");
    c = look(state, "data.recursive=true"); /* what is kept has the names of subfolders */
    assert_int_equal(c.train.known, 16);
}

static void alone_on_both_sides(void **state)
{
    put_pairs(state, "t", 0, 4, 0, 1);
    put_photo(state, "t/images/x.jpg", 8, 12, 50);
    put_label(state, "t/labels/y.png", 8, 12, 40, 0, 1);
    put_file(with_folders(state, "t/images/Thumbs.db"), "x", 1);
    look_refused(state, "", "x.jpg");
    dram_check c = look(state, "data.labels_optional=true");
    assert_int_equal(c.train.images, 5);
    assert_int_equal(c.train.labels, 5);
    assert_int_equal(c.train.pairs, 4);
    assert_int_equal(c.train.images_alone.n, 1);
    assert_string_equal(c.train.images_alone.first, "x.jpg");
    assert_int_equal(c.train.labels_alone.n, 1);
    assert_string_equal(c.train.labels_alone.first, "y.png");
    assert_said("1 of 5 labels has no image (y.png)");
    assert_said("Thumbs.db");
    const char *page = text_of_check(state, "data.labels_optional=true", &c, dram_check_page);
    assert_non_null(strstr(page, "train: 5 images, 5 labels, 4 pairs\n"));
    assert_non_null(strstr(page, "without a label    1 image (x.jpg)\n"));
}

/* Both data sets are refused, and both are told. */
static void refused_on_both_sides(void **state)
{
    static const char set[] = "data.val.images=@/nowhere";
    put_photo(state, "t/images/a.jpg", 8, 12, 1);
    put_label(state, "t/labels/b.png", 8, 12, 40, 0, 1);
    dram_check c = look_refused(state, set, "a.jpg");
    assert_string_equal(c.refused, ""); /* once is enough */
    assert_non_null(strstr(c.train.refused, "a.jpg"));
    assert_non_null(strstr(c.val.refused, "nowhere"));
    const char *page = text_of_check(state, set, &c, dram_check_page);
    assert_non_null(strstr(page, "train: refused: "));
    assert_non_null(strstr(page, "val: refused: "));
    assert_string_equal(text_of_check(state, set, &c, dram_check_summary), "");
}

static void weights_that_are_none(void **state)
{
    put_pairs(state, "t", 0, 4, 0, 1);
    put_file(with_folders(state, "sam.pth"), "version https://git-lfs.github.com/spec/v1\n", 43);
    dram_check c = look_refused(state, "sam_distill.teacher.weights=@/sam.pth", "sam_distill.teacher.weights: ");
    assert_non_null(strstr(c.refused, "Git LFS"));
    assert_int_equal(c.train.pairs, 4); /* the data is looked at all the same */
    look_refused(state, "student.weights=@/absent.safetensors", "absent.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOK_CASE(masks_of_0_and_255),
        LOOK_CASE(all_labels_void),
        LOOK_CASE(nearly_all_void),
        LOOK_CASE(classes_by_name),
        LOOK_CASE(void_below_the_classes),
        LOOK_CASE(labels_from_one),
        LOOK_CASE(one_bad_label),
        LOOK_CASE(bad_files_of_every_kind),
        LOOK_CASE(photographs_as_labels),
        LOOK_CASE(more_colours_than_are_counted),
        LOOK_CASE(strips),
        LOOK_CASE(exif_with_labels_as_stored),
        LOOK_CASE(exif_that_the_size_tells),
        LOOK_CASE(twelve_bits),
        LOOK_CASE(all_sixteen_bits),
        LOOK_CASE(subfolders),
        LOOK_CASE(alone_on_both_sides),
        LOOK_CASE(refused_on_both_sides),
        LOOK_CASE(weights_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
