/* Caches that cannot be used, are damaged, or are filled from bad images or not to the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "caches.h"

static void refused(void **state)
{
    static const struct {
        const char *set, *text;
    } rows[] = {
        {"sam_distill.teacher.seed=2", "this cache was made with teacher random:1, and this run has random:2"},
        {"sam_distill.teacher.model_type=vit_tiny", "with model_type vit_micro, and this run has vit_tiny"},
        {"sam_distill.sam_input_size=128", "with sam_input_size 64, and this run has 128"},
        {"sam_distill.pad_to=128", "with pad_to 0, and this run has 128"},
        {"sam_distill.teacher.precision=bf16", "with precision fp32, and this run has bf16"},
        {"sam_distill.cache_format=int8", "with format fp16, and this run has int8"},
    };
    size_t n;
    run_order o = {.name = "made", .set = with_cache(state, "refused", EMBED "train.steps=1")};
    run_ok(state, &o);
    char *before = embeddings(state, "refused", &n);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char set[300];
        snprintf(set, sizeof set, EMBED "train.steps=1 %s", rows[i].set);
        run_order other = {.name = "other", .set = with_cache(state, "refused", set)};
        if (i == 0) {
            run_fails(state, &other, DRAM_ERR_CONFIG, rows[i].text);
            assert_false(is_there(run_file(state, "other", "")));
        } else {
            dram_targets t;
            assert_int_equal(open_targets(state, "refused", set, &t), DRAM_ERR_CONFIG);
            assert_non_null(strstr(dram_error_text(), rows[i].text));
            dram_error_clear();
            dram_targets_close(&t);
        }
        size_t m;
        char *after = embeddings(state, "refused", &m);
        assert_int_equal(n, m);
        assert_memory_equal(before, after, n);
        free(after);
    }
    free(before);
    run_remove(state, "made");
}

static void config_errors(void **state)
{
    static const struct {
        const char *set, *text;
    } rows[] = {
        {"data.augment.color_jitter=0", "sam_distill.cache: it keeps one embedding an image, and a random crop"},
        {"data.augment.crop=false", "sam_distill.cache: it keeps one embedding an image, and color jitter"},
        {STILL "sam_distill.cache_format=fp8", "sam_distill.cache_format: unknown value \"fp8\""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char set[300], *rest = set;
        const char *overrides[8] = {"sam_distill.cache=x"};
        int n = 1;
        dram_config *cfg;
        snprintf(set, sizeof set, "%s", rows[i].set);
        for (char *word = strtok_r(set, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) overrides[n++] = word;
        assert_int_equal(dram_config_load(in_dir(state, "base.yaml"), overrides, n, &cfg), DRAM_ERR_CONFIG);
        if (!strstr(dram_error_text(), rows[i].text)) fail_msg("%s", dram_error_text());
        dram_error_clear();
    }
}

static void no_place_for_it(void **state)
{
    put_file(in_dir(state, "a_file"), "x", 1);
    run_order o = {.name = "place", .set = with_cache(state, "a_file", EMBED "train.steps=1")};
    run_fails(state, &o, DRAM_ERR_CONFIG, "command line: sam_distill.cache: ");
    assert_false(is_there(run_file(state, "place", "")));
    if (geteuid() == 0) {
        print_message("a folder that is read-only was left out: root can write it\n");
        return;
    }
    assert_int_equal(mkdir(in_dir(state, "readonly"), 0555), 0);
    o.set = with_cache(state, "readonly", EMBED "train.steps=1");
    run_fails(state, &o, DRAM_ERR_CONFIG, "embeddings.bin: cannot open for writing: Permission denied");
}

/* One damaged record ends the run that meets it, with the image's name, and the run makes it again when it goes on. */
static void damaged_record(void **state)
{
    static const char set[] = EMBED "train.steps=4 data.augment.flip=0";
    size_t n;
    run_order o = {.name = "good", .set = with_cache(state, "damaged", set)}, bad = {.name = "bad"};
    run_ok(state, &o);
    said[0] = '\0';
    char *data = embeddings(state, "damaged", &n);
    data[3 * RECORD + DRAM_CACHE_HEADER + 1000] ^= 1;
    put_embeddings(state, "damaged", data, n);
    bad.set = o.set;
    run_fails(state, &bad, DRAM_ERR_RUN, "embedding 3 is damaged; it is marked bad, and the next run makes it again");
    int64_t done = bad.summary.steps;
    assert_in_range(done, 0, 3);
    said[0] = '\0';
    bad.resume = true; /* what was done before is saved, if anything was */
    run_ok(state, &bad);
    assert_int_equal(bad.progressed, 4 - done);
    assert_said("cache: 1 of 8 embeddings to make, 0 B on disk, ");
    size_t m;
    char *again = embeddings(state, "damaged", &m);
    assert_int_equal(n, m);
    data[3 * RECORD + DRAM_CACHE_HEADER + 1000] ^= 1;
    assert_memory_equal(data, again, n); /* with the very bits it had */
    assert_true(bad.summary.final_loss == o.summary.final_loss);
    free(again);
    free(data);
    run_remove(state, "good");
    run_remove(state, "bad");
}

/* Writes `scenes` of the temporary folder with a last image that is bad. */
static void make_scenes(void **state, const char *name, int count)
{
    char path[300];
    if (dram_synth_write(in_dir(state, name), count, DRAM_SYNTH_PLAIN, 11, SCENE_HEIGHT, SCENE_WIDTH) != DRAM_OK)
        fail_msg("%s", dram_error_text());
    snprintf(path, sizeof path, "%s/images/zzz.jpg", name);
    put_file(in_dir(state, path), "no image", 8);
}

#define ELSEWHERE(DIR)                                                                                                 \
    "data.train.images=%s/" DIR "/images data.train.labels=none data.val.images=none data.val.labels=none "

/* It is skipped while the cache is filled and while it trains; that it is bad costs no teacher the next time. */
static void bad_images(void **state)
{
    char set[5000];
    size_t n;
    make_scenes(state, "some", 11);
    snprintf(set, sizeof set, ELSEWHERE("some") "data.augment.flip=0 " EMBED "train.steps=12", (const char *)*state);
    run_order o = {.name = "skips", .set = with_cache(state, "skips", set)};
    run_ok(state, &o);
    assert_int_equal(o.summary.skipped_images, 1);
    assert_true(strstr(said, "skipped: ") && strstr(said, "zzz.jpg"));
    assert_said("cache: 12 of 12 embeddings to make");
    assert_int_equal(records(state, "skips", RECORD), 11);
    char *before = embeddings(state, "skips", &n);
    run_remove(state, "skips");
    run_ok(state, &o);
    assert_non_null(strstr(said, "cache: 1 of 12 embeddings to make"));
    assert_said("cache: 0 embeddings made");
    size_t m;
    char *after = embeddings(state, "skips", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    /* An image that is good by now has none: training would take it. */
    dram_config *cfg = run_config(state, "skips", o.set);
    dram_dataset *train;
    dram_targets t;
    assert_int_equal(dram_datasets_open(cfg, false, &train), DRAM_OK);
    assert_int_equal(open_filled(cfg, train, NULL, &t), DRAM_OK);
    const dram_sample sample = {.index = 11, .name = dram_dataset_name(train, 11)};
    assert_string_equal(sample.name, "zzz.jpg");
    assert_int_equal(dram_targets_read(&t, false, &sample), DRAM_ERR_RUN);
    assert_non_null(strstr(dram_error_text(), "zzz.jpg has no embedding in "));
    dram_error_clear();
    dram_targets_close(&t);
    dram_dataset_close(train);
    dram_config_free(cfg);
    free(before);
    free(after);
    run_remove(state, "skips");
}

/* Stopped where the bad image is met: exit 130, what was made is kept, and no run directory is there. */
static void interrupted_fill(void **state)
{
    char set[5000], text[100];
    make_scenes(state, "many", 40);
    put_file(in_dir(state, "many/images/00020x.jpg"), "nor this", 8); /* wherever it begins, one is not at the end */
    snprintf(set, sizeof set, ELSEWHERE("many") EMBED "data.check=none train.steps=1", (const char *)*state);
    run_order o = {.name = "stopped", .set = with_cache(state, "stopped", set)};
    stop_at_warning = &o.stop;
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted while the cache was filled: ");
    stop_at_warning = NULL;
    assert_false(is_there(run_file(state, "stopped", "")));
    int made = (int)records(state, "stopped", RECORD);
    assert_true(made < 60);
    said[0] = '\0';
    run_ok(state, &o);
    snprintf(text, sizeof text, "cache: %d of 84 embeddings to make", 84 - made);
    assert_said(text);
    assert_int_equal(records(state, "stopped", RECORD), 80);
    run_remove(state, "stopped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused),        cmocka_unit_test(config_errors), cmocka_unit_test(no_place_for_it),
        cmocka_unit_test(damaged_record), cmocka_unit_test(bad_images),    cmocka_unit_test(interrupted_fill),
    };
    dram_log_set_sink(hear, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
