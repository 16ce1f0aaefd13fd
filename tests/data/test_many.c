/* Names of 300,000 files where everything went wrong: what is quadratic in them does not end before the test's limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/pairs.h"

enum { MANY = 300000, ROOM = 40 };

typedef struct {
    dram_pair_side side;
    char (*text)[ROOM];
} names;

/* Names by a format of a number, which keeps their order. `listed`: of the data set. */
static names make(const char *folder, void (*name)(int i, char *out), bool listed)
{
    names n = {.side = {.folder = folder, .n = MANY}, .text = malloc(MANY * sizeof *n.text)};
    n.side.files = malloc(MANY * sizeof *n.side.files);
    assert_non_null(n.text);
    assert_non_null(n.side.files);
    for (int i = 0; i < MANY; i++) {
        name(i, n.text[i]);
        n.side.files[i] = dram_pair_file_of(n.text[i], NULL);
        n.side.files[i].is_listed = listed;
    }
    return n;
}

static void drop(names *n)
{
    free(n->text);
    free(n->side.files);
}

static void photo(int i, char *out)
{
    snprintf(out, ROOM, "%06d.jpg", i);
}

static void mask(int i, char *out)
{
    snprintf(out, ROOM, "%06d_mask.png", i);
}

static void deep_photo(int i, char *out)
{
    snprintf(out, ROOM, "shot%06d/a.jpg", i);
}

static void deep_label(int i, char *out)
{
    snprintf(out, ROOM, "truth%06d/a.png", i);
}

/* An even number is a photograph, and the odd one behind it its label. */
static void mixed(int i, char *out)
{
    snprintf(out, ROOM, i % 2 ? "%06d_mask.png" : "%06d.png", i / 2);
}

/* No image has a label, and a pattern would give each one. */
static void none_has_a_label(void **state)
{
    (void)state;
    names images = make("images", photo, true), labels = make("labels", mask, false);
    dram_str hint = {0};
    assert_int_equal(dram_pairs_match(&images.side, &labels.side, NULL, false), DRAM_OK);
    for (int i = 0; i < MANY; i++) assert_true(images.side.files[i].partner < 0 && labels.side.files[i].partner < 0);
    assert_int_equal(dram_pairs_hint(&images.side, &labels.side, NULL, &hint), DRAM_OK);
    assert_string_equal(hint.text, "labels are called like 000000_mask.png: set data.label_pattern to _mask");
    dram_str_free(&hint);
    assert_int_equal(dram_pairs_match(&images.side, &labels.side, "_mask", false), DRAM_OK);
    for (int i = 0; i < MANY; i++) assert_int_equal(images.side.files[i].partner, i);
    drop(&images);
    drop(&labels);
}

/* All have one name, in folders of their own: any image could have any label. */
static void all_have_one_name(void **state)
{
    (void)state;
    names images = make("images", deep_photo, false), labels = make("labels", deep_label, false);
    images.side.files[MANY - 1].is_listed = true; /* the others are left out by a list, and only passed over */
    assert_int_equal(dram_pairs_match(&images.side, &labels.side, NULL, false), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "shot299999/a.jpg: this image could have two labels of labels, "));
    dram_error_clear();
    drop(&images);
    drop(&labels);
}

/* Images and labels are one folder. */
static void all_in_one_folder(void **state)
{
    (void)state;
    names files = make("all", mixed, true);
    bool *is_label = calloc(MANY, sizeof *is_label);
    assert_non_null(is_label);
    assert_int_equal(dram_pairs_split(&files.side, "_mask", is_label), DRAM_OK);
    for (int i = 0; i < MANY; i++) assert_int_equal(is_label[i], i % 2);
    free(is_label);
    drop(&files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_has_a_label),
        cmocka_unit_test(all_have_one_name),
        cmocka_unit_test(all_in_one_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
