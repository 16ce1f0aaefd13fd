/* A list of names: the images of a folder that are taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "data/datasets.h"

static char list[4300];

/* images/ and labels/ of a.jpg, b.jpg, b.png, c.webp and drive/d.jpg; the list is to be written. */
static int with_images(void **state)
{
    if (fresh(state)) return -1;
    snprintf(list, sizeof list, "%s/list.txt", top);
    put(images, "a.jpg b.jpg b.png c.webp drive/d.jpg");
    return 0;
}

static dram_dataset_params listed(const char *text)
{
    put_file(list, text, strlen(text));
    return (dram_dataset_params){
        .images = images, .list = list, .list_where = "run.yaml:8:5: data.val.list", .label_fraction = 1};
}

static void list_gives(const char *text, const char *want)
{
    dram_dataset_params params = listed(text);
    pairs_are(&params, want);
    params.recursive = true;
    pairs_are(&params, want);
}

static void list_fails(const char *text, const char *reason)
{
    dram_dataset_params params = listed(text);
    refused(&params, "run.yaml:8:5: data.val.list: ");
    refused(&params, reason);
}

static void names_are_those_of_files(void **state)
{
    (void)state;
    list_gives("a.jpg\nc.webp\n", "a.jpg c.webp");
    list_gives("c\na\n", "a.jpg c.webp");
    list_gives("b.png\n", "b.png");
    list_gives("b.png\nb.jpg\na", "a.jpg b.jpg b.png");
    list_gives("./a\n./c.webp\n", "a.jpg c.webp");
}

static void lines_as_people_write_them(void **state)
{
    (void)state;
    list_gives("a\r\nc\r\n", "a.jpg c.webp");
    list_gives("a\r\n\r\n\r\nc", "a.jpg c.webp");
    list_gives("# the first split\n\n   \na \t\n#b\nc\n", "a.jpg c.webp");
    list_gives("\xef\xbb\xbf"
               "a\nc\n",
               "a.jpg c.webp");
    put(images, "a.b.jpg #x.jpg");
    list_gives("a.b\n./#x\n", "#x.jpg a.b.jpg");
}

static void what_is_left_out_is_counted(void **state)
{
    (void)state;
    dram_dataset_params params = listed("drive/d\na\n");
    params.recursive = true;
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "a.jpg drive/d.jpg");
    assert_int_equal(dram_dataset_findings(d)->unlisted, 3);
    dram_dataset_close(d);
}

/* One folder is split without copying; a label of the other half is not alone. */
static void labels_of_a_listed_half(void **state)
{
    (void)state;
    dram_dataset_params params = listed("a\nc\n");
    params.labels = labels;
    put(labels, "a.png b.png c.png drive/d.png x.png");
    dram_dataset *d = opened(&params);
    const dram_dataset_found *found = dram_dataset_findings(d);
    assert_pairs(d, &params, "a.jpg=a.png c.webp=c.png");
    assert_int_equal(found->unlisted, 2);
    assert_int_equal(found->labels, 4);
    assert_int_equal(found->pairs, 2);
    assert_int_equal(found->images_alone, 0);
    assert_int_equal(found->labels_alone, 1);
    assert_string_equal(found->label_alone, "x.png");
    dram_dataset_close(d);
    params = listed("a\nb.jpg\n"); /* b.png, which has the same label, is not of the data set */
    params.labels = labels;
    pairs_are(&params, "a.jpg=a.png b.jpg=b.png");
    params = listed("b.png\nb.jpg\n");
    params.labels = labels;
    refused(&params, "labels/b.png: two images have this label, b.jpg and b.png of ");
    put(images, "e.jpg");
    params = listed("e\nc\n");
    params.labels = labels;
    refused(&params, "1 of 2 images of ");
    refused(&params, "here: e.jpg;");
}

/* A photograph that is not listed has no say. */
static void one_folder_and_a_list(void **state)
{
    (void)state;
    put(images, "a.png c.png f.png");
    dram_dataset_params params = listed("a\nc\n");
    params.labels = images;
    pairs_are(&params, "a.jpg=a.png c.webp=c.png");
    params = listed("a\nf\n");
    params.labels = images;
    refused(&params, "images/f.png: images and labels are one folder");
}

static void broken_names_may_be_listed(void **state)
{
    (void)state;
    put_link(images, "e.jpg", "gone");
    put_link(images, "f.jpg", "gone");
    dram_dataset_params params = listed("a\ne\n");
    dram_dataset *d = opened(&params);
    assert_pairs(d, &params, "a.jpg");
    assert_int_equal(dram_dataset_findings(d)->broken, 1); /* f is nobody's */
    assert_int_equal(dram_dataset_findings(d)->unlisted, 4);
    dram_dataset_close(d);
}

static void names_that_are_nowhere(void **state)
{
    (void)state;
    list_fails("a\n\nx.jpg\n", "list.txt:3: \"x.jpg\" is no image of ");
    list_fails("a\nx\n", "is there, and folders inside it are looked into with data.recursive");
    list_fails("# all\na.jpg labels/a.png\n", "list.txt:2: \"a.jpg labels/a.png\" is no image of ");
    list_fails("images/a.jpg\n", "list.txt:1: \"images/a.jpg\" is no image of ");
    list_fails("images/a.jpg\n", "; did you mean a.jpg?");
    list_fails("/home/me/c.png\n", "; did you mean c.webp?");
    list_fails("C:\\data\\a.jpg\r\n", "; did you mean a.jpg?");
    list_fails("A.jpg\n", "list.txt:1: \"A.jpg\" is no image of ");
    list_fails("root:x:0:0::/root:/bin/bash\nbin:x:1:1::/bin:/sbin/nologin\n", "list.txt:1: this is no image of ");
    list_fails("..\n", "list.txt:1: this is no image of ");
    list_fails("a\n..\n", "list.txt:2: \"..\" is no image of ");
    list_fails("a\n\xff\x1b[31m\n", "list.txt:2: \"\\xFF\\x1B[31m\" is no image of ");
    dram_dataset_params params = listed("d\n");
    params.recursive = true;
    refused(&params, "\"d\" is no image of ");
    refused(&params, "; did you mean drive/d.jpg?");
    params = listed("drive\n");
    params.recursive = true;
    refused(&params, "a line is the name of one file as it is there");
}

static void names_that_are_not_one(void **state)
{
    (void)state;
    list_fails("a\nc\na.jpg\n", "list.txt:3: a.jpg is in line 1 already");
    list_fails("a\n\na\n", "list.txt:3: a.jpg is in line 1 already");
    list_fails("./a\na\r\n", "list.txt:2: a.jpg is in line 1 already");
    list_fails("a\nb\n", "list.txt:2: \"b\" may be b.jpg or b.png; name it with its ending");
}

static void files_that_are_no_list(void **state)
{
    list_fails("", "list.txt: it names no image");
    list_fails("\n\r\n# nothing\n  \n", "list.txt: it names no image");
    list_fails("\xef\xbb\xbf", "list.txt: it names no image");
    dram_dataset_params params = listed("");
    put_file(list,
             "\xff\xfe"
             "a\0\n\0",
             6);
    refused(&params, "list.txt: it has zero bytes, as a text in UTF-16 has; save it as UTF-8");
    params.list = images;
    refused(&params, "images: the list of names cannot be read: not a file: a folder");
    put_link(top, "pipe", NULL);
    params.list = in_dir(state, "pipe");
    refused(&params, "pipe: the list of names cannot be read: not a file: a pipe");
    params.list = in_dir(state, "none");
    refused(&params, "none: the list of names cannot be read: No such file");
    params.list = in_dir(state, "images/a.jpg");
    put_file(in_dir(state, "images/a.jpg"), "\xff\xd8\xff\xe0\0\x10JFIF", 10);
    refused(&params, "a.jpg: it has zero bytes");
}

#define LIST(NAME) cmocka_unit_test_setup_teardown(NAME, with_images, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIST(names_are_those_of_files), LIST(lines_as_people_write_them), LIST(what_is_left_out_is_counted),
        LIST(labels_of_a_listed_half),  LIST(one_folder_and_a_list),      LIST(broken_names_may_be_listed),
        LIST(names_that_are_nowhere),   LIST(names_that_are_not_one),     LIST(files_that_are_no_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
