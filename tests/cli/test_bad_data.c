/* What the program says and how it ends where data is bad, nothing was compared, or a key has no effect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "data/image.h"

#define EVAL "eval run.yaml device=cpu data.val.images=scenes/images data.val.labels=scenes/labels"

enum { SCENES = 12, HEIGHT = 48, WIDTH = 64 };

static int setup(void **state)
{
    return dram_setup(state, SCENES);
}

/* As dram_ok and dram_fails, for programs that say other things too. */
static void expect(void **state, const char *args, int want, const char *out, const char *err)
{
    int code = dram(state, args);
    if (code != want || !strstr(printed, out) || !strstr(complained, err))
        fail_msg("dram %s: exit code %d instead of %d\n%s\n%s", args, code, want, printed, complained);
}

/* A label of the class id 77 among 12. */
static void one_bad_label(void **state)
{
    static uint8_t ids[480 * 640];
    const char *path = in_dir(state, "scenes/labels/00005.png");
    size_t bytes;
    dram_label label;
    char *good = get_file(path, &bytes);
    const dram_label_rules rules = {.ignore_index = -1};
    assert_int_equal(dram_label_load(path, &rules, &label), DRAM_OK);
    assert_true(label.height * label.width <= (int)sizeof ids);
    ids[0] = 77;
    assert_int_equal(dram_label_write_png(path, ids, label.height, label.width), DRAM_OK);
    dram_label_free(&label);
    expect(state, "train run.yaml device=cpu train.steps=7 data.on_bad=stop data.check=none name=stop", 1, "",
           "00005.png");
    assert_non_null(strstr(complained, "dram: "));
    assert_non_null(strstr(complained, " (data.on_bad is stop)"));
    /* 8 % are bad: too few to give up */
    expect(state, "train run.yaml device=cpu train.steps=7 name=skip", 0, "skipped images: 1 (named in the warnings)",
           "data.train: 1 label cannot be used and is left out with the image (");
    const char *named = strstr(complained, "00005.png");
    assert_non_null(named);
    assert_null(strstr(named + 1, "00005.png")); /* the loader does not say it again */
    expect(state, "train run.yaml device=cpu train.steps=7 name=unseen data.check=none", 0, "skipped images: 1 ",
           "warning: skipped: ");
    expect(state, EVAL " --weights runs/skip/student.safetensors", 0,
           "11 images (some were skipped, see the warnings)\n", "warning: skipped: ");
    expect(state, EVAL " --weights runs/skip/student.safetensors data.on_bad=stop data.check=none", 1, "", "00005.png");
    put_file(path, good, bytes);
    free(good);
    dram_ok(state, "train run.yaml device=cpu train.steps=7 data.on_bad=stop name=stop --resume");
    dram_fails(state, "train run.yaml data.on_bad=ignore", 2,
               "data.on_bad: unknown value \"ignore\"; it may be: skip, stop");
}

/* The run of skip is done: it says so, without a rate of nothing. */
static void a_finished_run(void **state)
{
    dram_ok(state, "train run.yaml device=cpu train.steps=7 data.on_bad=stop name=stop --resume");
    assert_non_null(strstr(printed, "\n7 steps done before, and none was left to do\nmemory: "));
    assert_null(strstr(printed, "nan"));
    expect(state, "train run.yaml device=cpu train.steps=7 data.on_bad=stop name=stop --resume --json", 0,
           "\"images_per_second\":\tnull", "");
}

/* Strips without a cell: "-" for a loss of which no term compared anything. */
static void no_loss(void **state)
{
    static uint8_t rgb[24 * 640 * 3];
    assert_int_equal(mkdir(in_dir(state, "strips"), 0777), 0);
    for (int i = 0; i < 2; i++) {
        char name[64];
        for (size_t k = 0; k < sizeof rgb; k++) rgb[k] = (uint8_t)(k * (size_t)(3 + i));
        snprintf(name, sizeof name, "strips/%d.png", i);
        assert_int_equal(dram_image_write_png(in_dir(state, name), rgb, 24, 640), DRAM_OK);
    }
    dram_ok(state, "train run.yaml device=cpu name=strips task.enabled=false data.train.images=strips");
    assert_non_null(strstr(printed, "\nstep 1/3  loss - (sam -)  lr "));
    assert_null(strstr(printed, "last loss"));
    assert_null(strstr(printed, "nan"));
}

static void keys_without_effect(void **state)
{
    static const char yaml[] = "base: run.yaml\n"
                               "data: {augment: {crop: false, scale_min: 0.8}}\n"
                               "sam_distill: {cache_format: int8}\n";
    static const char crop[] = "idle.yaml:2:42: data.augment.scale_min has no effect: data.augment.crop is false\n";
    put_file(in_dir(state, "idle.yaml"), yaml, sizeof yaml - 1);
    for (int i = 0; i < 2; i++) {
        expect(state, i ? "train idle.yaml device=cpu name=idle train.steps=1" : "plan idle.yaml device=cpu", 0, "",
               crop);
        const char *once = strstr(complained, crop);
        assert_null(strstr(once + 1, crop));
        assert_non_null(strstr(complained, "sam_distill.cache_format has no effect: sam_distill.cache is none\n"));
        assert_null(strstr(complained, "warning: idle"));
    }
    expect(state, "plan run.yaml device=cpu sam_distill.enabled=false", 0, "", ""); /* switched off on purpose */
    assert_null(strstr(complained, "effect"));
    dram_fails(state, "train run.yaml device=cpu name=idle2 sam_distill.teacher.weights=randon", 2,
               "/randon: No such file or directory; did you mean random?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_label),
        cmocka_unit_test(a_finished_run),
        cmocka_unit_test(no_loss),
        cmocka_unit_test(keys_without_effect),
    };
    return cmocka_run_group_tests(tests, setup, dram_teardown);
}
