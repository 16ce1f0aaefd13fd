/* Every shipped config plans, without data and without weights, and loses at most 0.5 % of its arena between buffers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>

#include "train/train.h"

static void plan_one(const char *file)
{
    dram_config *cfg;
    dram_session session;
    dram_status status = dram_config_load(file, NULL, 0, &cfg);
    if (status == DRAM_OK) status = dram_session_plan(cfg, 0, &session);
    if (status != DRAM_OK) print_error("%s: %s\n", file, dram_error_text());
    assert_int_equal(status, DRAM_OK);
    double waste = (double)session.plan->arena_bytes / (double)session.plan->max_live_bytes - 1.0;
    print_message("%s: arena %lld bytes, %.3f %% above max live\n", file, (long long)session.plan->arena_bytes,
                  100.0 * waste);
    assert_true(session.plan->max_live_bytes > 0);
    assert_true(waste >= 0.0 && waste <= 0.005);
    dram_session_close(&session);
    dram_config_free(cfg);
}

static void plan_all(const char *pattern)
{
    glob_t found;
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) plan_one(found.gl_pathv[i]);
    globfree(&found);
}

static void shipped_configs(void **state)
{
    (void)state;
    plan_all(DRAM_SOURCE_DIR "/configs/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/configs/*/*.yaml");
    plan_all(DRAM_SOURCE_DIR "/bench/*.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shipped_configs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
