/* Images of the same content: within a data set and between the two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/looks.h"

#define WITH_VAL "task.enabled=false data.val.images=@/v/images"

static void none(void **state)
{
    put_photo(state, "t/images/a.jpg", 8, 12, 1);
    put_photo(state, "t/images/b.jpg", 8, 12, 2);
    put_photo(state, "v/images/a.jpg", 8, 12, 3);
    dram_check c = look(state, WITH_VAL);
    assert_int_equal(c.train.copies.n + c.val.copies.n + c.between.n + c.shared.n, 0);
    assert_string_equal(said, "");
}

/* Train: 1 2 1 1 2 3. Val: 4 1 4 5. */
static void within_and_between(void **state)
{
    static const int train[] = {1, 2, 1, 1, 2, 3}, val[] = {4, 1, 4, 5};
    char name[64];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "t/images/%c.jpg", 'a' + i);
        put_photo(state, name, 8, 12, train[i]);
    }
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "v/images/%c.jpg", 'p' + i);
        put_photo(state, name, 8, 12, val[i]);
    }
    dram_check c = look(state, WITH_VAL);
    assert_int_equal(c.train.copies.n, 3);
    assert_string_equal(c.train.copies.first, "c.jpg is a.jpg");
    assert_int_equal(c.val.copies.n, 1);
    assert_string_equal(c.val.copies.first, "r.jpg is p.jpg");
    assert_int_equal(c.between.n, 1);
    assert_string_equal(c.between.first, "q.jpg is a.jpg of data.train");
    assert_said("data.train: 3 of 6 images have the content of another (the first: c.jpg is a.jpg)");
    assert_said("1 image of data.val has the content of one of data.train");
}

/* Val's folder is train's: each image is itself, and none is a copy. */
static void one_folder(void **state)
{
    put_photo(state, "t/images/a.jpg", 8, 12, 1);
    put_photo(state, "t/images/b.jpg", 8, 12, 2);
    dram_check c = look(state, "task.enabled=false data.val.images=@/t/images");
    assert_int_equal(c.shared.n, 2);
    assert_int_equal(c.between.n, 0);
    assert_said("2 of 2 images of data.val are of data.train too (the first: a.jpg)");
    assert_int_equal(look(state, "task.enabled=false data.check=none").shared.n, 0);
    c = look(state, "task.enabled=false data.check=none data.val.images=@/t/images");
    assert_int_equal(c.shared.n, 2); /* names are enough */
    assert_int_equal(symlink("t", in_dir(state, "same")), 0);
    c = look(state, "task.enabled=false data.check=none data.val.images=@/same/images/");
    assert_int_equal(c.shared.n, 2); /* whatever it is called */
}

/* One folder that lists split: a copy across the split is between, and a name in both lists is shared. */
static void one_folder_split_by_lists(void **state)
{
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "t/images/%d.jpg", i);
        put_photo(state, name, 8, 12, i == 3 ? 0 : i); /* 3 is 0 again */
    }
    put_file(with_folders(state, "train.txt"), "0.jpg\n1.jpg\n", 12);
    put_file(with_folders(state, "val.txt"), "1.jpg\n2.jpg\n3.jpg\n", 18);
    dram_check c = look(state, "task.enabled=false data.val.images=@/t/images data.train.list=@/train.txt "
                               "data.val.list=@/val.txt");
    assert_int_equal(c.shared.n, 1);
    assert_string_equal(c.shared.first, "1.jpg");
    assert_int_equal(c.between.n, 1);
    assert_string_equal(c.between.first, "3.jpg is 0.jpg of data.train");
}

/* Hundreds of links to one file are one line. */
static void links_to_one_file(void **state)
{
    enum { LINKS = 300 };
    put_photo(state, "one.jpg", 8, 12, 1);
    put_photo(state, "t/images/000.jpg", 8, 12, 2);
    for (int i = 1; i <= LINKS; i++) {
        char name[64];
        snprintf(name, sizeof name, "t/images/%03d.jpg", i);
        assert_int_equal(symlink("../../one.jpg", with_folders(state, name)), 0);
    }
    dram_check c = look(state, "task.enabled=false");
    assert_int_equal(c.train.images, LINKS + 1);
    assert_int_equal(c.train.copies.n, LINKS - 1);
    assert_string_equal(c.train.copies.first, "002.jpg is 001.jpg");
    assert_int_equal(count_lines(said), 1);
    c = look(state, "task.enabled=false");
    assert_int_equal(c.train.known, LINKS + 1);
    assert_int_equal(c.train.copies.n, LINKS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOK_CASE(none),
        LOOK_CASE(within_and_between),
        LOOK_CASE(one_folder),
        LOOK_CASE(one_folder_split_by_lists),
        LOOK_CASE(links_to_one_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
