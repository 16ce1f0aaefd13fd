/* Pictures take the place of nothing but pictures, and are there whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/testing.h"
#include "data/image.h"
#include "evaluate/picture.h"
#include "evaluate/predictions.h"
#include "support/full_disk.h"
#include "support/runs.h"
#include "support/writes.h"

enum { H = 40, W = 56 };
static uint8_t noise[H * W * 3]; /* which PNG cannot make small */

static void refused(const char *path, const char *text)
{
    int64_t held = dram_alloc_bytes();
    assert_int_equal(dram_picture_check(path), DRAM_ERR_CONFIG);
    if (!strstr(dram_error_text(), text)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), text);
    dram_error_clear();
    assert_int_equal(dram_picture_write(path, noise, H, W), DRAM_ERR_CONFIG);
    dram_error_clear();
    assert_int_equal(dram_alloc_bytes(), held);
}

static void holds(const char *path, uint8_t first)
{
    dram_image image;
    assert_int_equal(dram_image_load(path, &(dram_image_rules){0}, &image), DRAM_OK);
    assert_true(image.height == H && image.width == W);
    assert_int_equal(image.pixels[0], first);
    assert_memory_equal(image.pixels + 1, noise + 1, sizeof noise - 1);
    dram_image_free(&image);
}

static void only_pictures_are_replaced(void **state)
{
    const char *path = in_dir(state, "a.png");
    const char *beside = in_dir(state, "a.png.tmp");
    const char *others = in_dir(state, "others.png");
    assert_int_equal(dram_image_write_png(others, noise, H, W), DRAM_OK);
    size_t bytes;
    char *before = get_file(others, &bytes);

    assert_int_equal(link(others, path), 0); /* a PNG of another's: no mark */
    refused(path, "a.png: a picture would take the place of what is no picture of dram's; name another folder");
    assert_int_equal(unlink(path), 0);
    for (int dangling = 0; dangling < 2; dangling++) {
        assert_int_equal(symlink(dangling ? "gone.png" : "others.png", path), 0);
        refused(path, "no picture of dram's: a link;");
        assert_int_equal(unlink(path), 0);
    }
    assert_false(is_there(in_dir(state, "gone.png")));
    put_file(path, "", 0);
    refused(path, "a.png: a picture would take the place");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    refused(path, "not a file: a pipe");
    assert_int_equal(unlink(path), 0);
    put_file(beside, "mine", 4);
    assert_file_is(others, before, bytes);
    free(before);

    for (int round = 0; round < 2; round++) {
        noise[0] = (uint8_t)round;
        assert_int_equal(dram_picture_write(path, noise, H, W), DRAM_OK);
        holds(path, noise[0]);
        assert_file_is(beside, "mine", 4);
    }
}

static void a_full_disk_leaves_what_was_there(void **state)
{
    const char *path = in_dir(state, "full.png");
    static const write_order full[] = {{100, 0}, {0, ENOSPC}}; /* a part is taken, then no more */
    for (int there = 0; there < 2; there++) {
        noise[0] = 7;
        if (there) assert_int_equal(dram_picture_write(path, noise, H, W), DRAM_OK);
        noise[0] = 8;
        order_writes(full, 2);
        assert_int_equal(dram_picture_write(path, noise, H, W), DRAM_ERR_IO);
        assert_written(1);
        assert_non_null(strstr(dram_error_text(), "full.png: cannot write: No space left on device"));
        dram_error_clear();
        file_limit limit = limit_files(1000);
        dram_status status = dram_picture_write(path, noise, H, W);
        unlimit_files(limit);
        assert_int_equal(status, DRAM_ERR_IO);
        dram_error_clear();
        assert_int_equal(temporaries(*state), 0);
        assert_int_equal(is_there(path), there);
        if (there) holds(path, 7);
    }
}

/* Found before anything runs, whichever image's picture it is. */
static void predictions_replace_no_other_file(void **state)
{
    dram_dataset *d;
    dram_predictions *p;
    dram_config *cfg = run_config(state, "none", "");
    const dram_dataset_params params = {.images = cfg->data.val.images};
    const char *folder = in_dir(state, "predicted"), *path = in_dir(state, "predicted/00004.png");
    assert_int_equal(dram_dataset_open(&params, &d), DRAM_OK);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(symlink("../scenes/images/00004.jpg", path), 0);
    assert_int_equal(dram_predictions_open(cfg, folder, d, &p), DRAM_ERR_CONFIG);
    assert_null(p);
    assert_non_null(strstr(dram_error_text(), "predicted/00004.png: a picture would take the place of"));
    dram_error_clear();
    assert_int_equal(unlink(path), 0);
    assert_int_equal(dram_predictions_open(cfg, folder, d, &p), DRAM_OK);
    dram_predictions_close(p);
    dram_dataset_close(d);
    dram_config_free(cfg);
}

static void folder_fails(const char *path, size_t top, const char *text)
{
    assert_int_equal(dram_picture_folders(path, top), DRAM_ERR_CONFIG);
    if (!strstr(dram_error_text(), text)) fail_msg("\"%s\" does not say \"%s\"", dram_error_text(), text);
    dram_error_clear();
}

/* Pictures of images in folders lie in folders, which no link leads out of. */
static void folders_of_pictures(void **state)
{
    const char *top = in_dir(state, "top"), *path = in_dir(state, "top/a/b/c.png");
    size_t length = strlen(top);
    assert_int_equal(mkdir(top, 0777), 0);
    assert_int_equal(dram_picture_folders(in_dir(state, "top/c.png"), length), DRAM_OK);
    assert_int_equal(dram_picture_folders(path, length), DRAM_OK);
    assert_int_equal(dram_picture_folders(path, length), DRAM_OK);
    assert_int_equal(rmdir(in_dir(state, "top/a/b")), 0);
    assert_int_equal(symlink("..", in_dir(state, "top/a/b")), 0);
    folder_fails(path, length, "top/a/b: a folder of pictures would have this name, and a link has it");
    assert_int_equal(unlink(in_dir(state, "top/a/b")), 0);
    assert_int_equal(symlink("gone", in_dir(state, "top/a/b")), 0);
    folder_fails(path, length, "and a link has it");
    assert_int_equal(unlink(in_dir(state, "top/a/b")), 0);
    put_file(in_dir(state, "top/a/b"), "x", 1);
    folder_fails(path, length, "top/a/b: a folder of pictures would have this name, and a file has it");
    folder_fails("/proc/none/x.png", 5, "/proc/none: cannot make this folder: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_pictures_are_replaced),
        cmocka_unit_test(a_full_disk_leaves_what_was_there),
        cmocka_unit_test(predictions_replace_no_other_file),
        cmocka_unit_test(folders_of_pictures),
    };
    dram_rng r = dram_rng_make(1, DRAM_RNG_LABELS, 0);
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)dram_rng_u64(&r);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
