/* A run that goes on with another number of ranks keeps its effective batch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/runs.h"
#include "train/effective.h"

static void batches_are_kept(void **state)
{
    static const struct {
        dram_effective was;
        int ranks, batch, accumulate; /* now, as the config says */
        int want_batch, want_accumulate;
    } cases[] = {
        {{4, 12, 1}, 2, 3, 1, 6, 2}, /* micro-batches of 3 stay of 3 */
        {{4, 12, 1}, 3, 3, 1, 4, 2}, /* 4 is more than 3 */
        {{4, 12, 1}, 1, 3, 1, 12, 4}, {{4, 12, 3}, 1, 3, 3, 12, 12}, {{2, 12, 1}, 4, 6, 1, 3, 1},
        {{2, 12, 3}, 12, 6, 3, 1, 1}, {{1, 7, 1}, 7, 7, 1, 1, 1},    {{7, 7, 1}, 1, 1, 1, 7, 7},
        {{2, 12, 1}, 2, 2, 1, 6, 1}, /* the file's batch is of when there were more ranks */
        {{2, 12, 2}, 3, 4, 4, 4, 4}, /* the batch is the same: the rest is as the config says */
        {{1, 12, 1}, 1, 5, 1, 5, 1}, /* one rank alone: as the config says */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_config *cfg = run_config(state, "kept", NULL);
        cfg->train.batch_size = cases[i].batch;
        cfg->train.accumulate = cases[i].accumulate;
        if (dram_effective_keep(&cases[i].was, cases[i].ranks, cfg) != DRAM_OK) fail_msg("%s", dram_error_text());
        assert_int_equal(cfg->train.batch_size, cases[i].want_batch);
        assert_int_equal(cfg->train.accumulate, cases[i].want_accumulate);
        dram_config_free(cfg);
    }
}

static void batches_that_cannot_be_shared(void **state)
{
    dram_config *cfg = run_config(state, "kept", NULL);
    assert_int_equal(dram_effective_keep(&(dram_effective){4, 12, 1}, 5, cfg), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "12 images, which 5 ranks cannot share"));
    assert_non_null(strstr(dram_error_text(), "one of 1, 2, 3, 4, 6, 12 ranks"));
    dram_error_clear();
    dram_config_free(cfg);
}

static void the_command_line_wins(void **state)
{
    dram_config *cfg = run_config(state, "kept", "train.batch_size=5");
    assert_int_equal(dram_effective_keep(&(dram_effective){4, 12, 1}, 2, cfg), DRAM_OK);
    assert_int_equal(cfg->train.batch_size, 5);
    dram_config_free(cfg);
    cfg = run_config(state, "kept", "train.accumulate=2");
    assert_int_equal(dram_effective_keep(&(dram_effective){4, 12, 1}, 1, cfg), DRAM_OK);
    assert_int_equal(cfg->train.batch_size, 12);
    assert_int_equal(cfg->train.accumulate, 2);
    dram_config_free(cfg);
}

static void what_a_checkpoint_says(void **state)
{
    static const struct {
        const char *text;
        dram_effective want; /* ranks 0: it is refused */
    } cases[] = {
        {"{\"ranks\": 4, \"effective_batch\": 12, \"accumulate\": 3}", {4, 12, 3}},
        {"{\"step\": 4}", {1, 2, 1}}, /* an older dram: the config's */
        {"{\"ranks\": 4, \"effective_batch\": 10, \"accumulate\": 1}", {0}},
        {"{\"ranks\": 4, \"effective_batch\": 12, \"accumulate\": 2}", {0}},
        {"{\"ranks\": 0, \"effective_batch\": 12, \"accumulate\": 2}", {0}},
        {"{\"ranks\": 4, \"accumulate\": 2}", {0}},
        {"{\"ranks\": 4, \"effective_batch\": \"12\", \"accumulate\": 1}", {0}},
    };
    dram_config *cfg = run_config(state, "kept", NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dram_effective was;
        put_file(in_dir(state, "state.json"), cases[i].text, strlen(cases[i].text));
        dram_status status = dram_effective_read(in_dir(state, ""), cfg, &was);
        assert_int_equal(status, cases[i].want.ranks ? DRAM_OK : DRAM_ERR_FORMAT);
        if (cases[i].want.ranks) assert_memory_equal(&was, &cases[i].want, sizeof was);
        dram_error_clear();
    }
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_kept), cmocka_unit_test(batches_that_cannot_be_shared),
        cmocka_unit_test(the_command_line_wins), cmocka_unit_test(what_a_checkpoint_says)};
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
