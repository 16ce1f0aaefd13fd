/* What data.check does to a run: nothing but what is said of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "check/check.h"
#include "support/runs.h"

#define SET "train.steps=3 sam_distill.fidelity_images=0 data.check="

static void weights_do_not_depend_on_it(void **state)
{
    static const char *const how[] = {"none", "headers", "full", "auto", "auto"}; /* the last knows all from before */
    static const char *const names[] = {"none", "headers", "full", "auto", "again"};
    char set[200];
    for (int i = 0; i < 5; i++) {
        snprintf(set, sizeof set, SET "%s", how[i]);
        run_order o = {.name = names[i], .set = set};
        run_ok(state, &o);
        assert_string_equal(dram_data_check_word(o.summary.data.how), how[i]);
        assert_int_equal(o.summary.data.train.looked_images, i ? o.summary.data.train.images : 0);
        assert_int_equal(o.summary.data.train.read_labels, i < 2 ? 0 : o.summary.data.train.images);
        if (!i) continue;
        assert_same_run(state, names[0], names[i], 3);
        run_remove(state, names[i]);
    }
    run_remove(state, names[0]);
}

/* A signal that is there from the beginning: exit 130, and nothing was made. */
static void stopped_before_the_first_step(void **state)
{
    static const volatile sig_atomic_t stop = 1;
    dram_summary summary;
    dram_config *cfg = run_config(state, "stopped", SET "full sam_distill.enabled=false");
    const dram_hooks hooks = {.stop = &stop};
    assert_int_equal(dram_train(cfg, NULL, (dram_resume){0}, &hooks, &summary), DRAM_INTERRUPTED);
    assert_non_null(strstr(dram_error_text(), "interrupted before the first step"));
    dram_error_clear();
    dram_config_free(cfg);
    assert_false(is_there(run_file(state, "stopped", "")));
    assert_false(summary.data.train.there);
    cJSON *json = dram_summary_json(&summary, DRAM_INTERRUPTED);
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(json, "data")));
    cJSON_Delete(json);
}

/* A run that goes on looks again, and takes a file that has gone bad since as it is now. */
static void looked_at_again_on_resume(void **state)
{
    size_t bytes;
    run_order o = {.name = "on", .set = SET "full", .stop_at = 1};
    run_fails(state, &o, DRAM_INTERRUPTED, "1 steps are saved");
    const char *path = in_dir(state, "scenes/labels/00002.png");
    char *good = get_file(path, &bytes);
    put_file(path, "no label", 8);
    o.resume = true;
    o.stop_at = 0;
    run_fails(state, &o, DRAM_ERR_CONFIG, "labels/00002.png");
    put_file(path, good, bytes);
    free(good);
    run_ok(state, &o);
    assert_int_equal(o.progressed, 2);
    run_remove(state, "on");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_do_not_depend_on_it),
        cmocka_unit_test(stopped_before_the_first_step),
        cmocka_unit_test(looked_at_again_on_resume),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
