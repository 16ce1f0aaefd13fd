/* The recompute planner: memory that is refused, chains that contradict themselves, schedules that cannot run. */
#include "base/testing.h"
#include "chains.h"

/* Every request refused once: an error, nothing kept, and the same result when memory is there again. */
static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    dram_chain_stage stage[5];
    dram_chain chain = uniform(stage, 4);
    int64_t before = dram_alloc_bytes(), floor, peak;
    double time;
    int refused = 0;
    for (int after = 0;; after++) {
        dram_chain_solution *solution = NULL;
        dram_chain_schedule solved = {0}, stored = {0}, blocks = {0}, root = {0};
        dram_alloc_fail_after(after);
        dram_status status = dram_chain_floor(&chain, &floor);
        if (status == DRAM_OK) status = dram_chain_stored(&chain, &stored);
        if (status == DRAM_OK) status = dram_chain_blocks(&chain, &blocks);
        if (status == DRAM_OK) status = dram_chain_sqrt(&chain, &root);
        if (status == DRAM_OK) status = dram_chain_solve(&chain, 8, 1000, &solution);
        if (status == DRAM_OK) status = dram_chain_emit(solution, 8, &solved);
        if (status == DRAM_OK) status = dram_chain_simulate(&chain, &solved, &peak, &time);
        dram_alloc_fail_after(-1);
        if (status == DRAM_OK) assert_true(peak == 8 && time == 14 && floor == 6);
        dram_chain_solution_free(solution);
        dram_chain_schedule_free(&solved);
        dram_chain_schedule_free(&stored);
        dram_chain_schedule_free(&blocks);
        dram_chain_schedule_free(&root);
        assert_int_equal(dram_alloc_bytes(), before);
        if (status == DRAM_OK) break;
        assert_int_equal(status, DRAM_ERR_MEMORY);
        dram_error_clear();
        refused++;
    }
    assert_true(refused >= 11);
}

static void expect_refused(const dram_chain *chain, const char *why)
{
    dram_chain_solution *solution = NULL;
    int64_t bytes = dram_alloc_bytes(), floor = -1;
    assert_int_equal(dram_chain_solve(chain, 100, 1000, &solution), DRAM_ERR_INTERNAL);
    assert_null(solution);
    if (!strstr(dram_error_text(), why)) fail_msg("'%s' does not say '%s'", dram_error_text(), why);
    dram_error_clear();
    assert_int_equal(dram_chain_floor(chain, &floor), DRAM_ERR_INTERNAL);
    dram_error_clear();
    assert_int_equal(dram_alloc_bytes(), bytes);
}

/* One number of an otherwise good chain is wrong. */
static void bad_chains_are_refused(void **state)
{
    (void)state;
    dram_chain_stage stage[5];
    dram_chain chain = uniform(stage, 4);
#define REFUSED(field, value, why)                                                                                     \
    do {                                                                                                               \
        chain = uniform(stage, 4);                                                                                     \
        field = value;                                                                                                 \
        expect_refused(&chain, why);                                                                                   \
    } while (0)
    REFUSED(chain.length, -1, "-1 stages");
    REFUSED(chain.length, DRAM_CHAIN_MAX_LENGTH + 1, "1025 stages");
    REFUSED(chain.input, -1, "input");
    REFUSED(chain.input, DRAM_CHAIN_MAX_BYTES + 1, "input");
    REFUSED(chain.loss_peak, -1, "loss");
    REFUSED(stage[2].x, -1, "stage 2: a size");
    REFUSED(stage[3].d, INT64_MAX, "stage 3: a size");
    REFUSED(stage[1].held, -1, "stage 1: a size");
    REFUSED(stage[1].plain_peak, -1, "stage 1: a size");
    REFUSED(stage[1].plain_peak, 0, "less than its output");
    REFUSED(stage[4].forward, -1, "forward time");
    REFUSED(stage[4].forward, NAN, "forward time");
    REFUSED(stage[4].pinned, true, "pinned");
    REFUSED(stage[4].n_options, 0, "options");
    REFUSED(stage[4].n_options, DRAM_CHAIN_OPTIONS + 1, "options");
    REFUSED(stage[4].option[0].kept, -1, "stage 4: a size of an option");
    REFUSED(stage[4].option[0].forward_peak, -1, "stage 4: a size of an option");
    REFUSED(stage[4].option[0].backward_peak, -1, "stage 4: a size of an option");
    REFUSED(stage[4].option[0].forward, -1, "time of an option");
    REFUSED(stage[4].option[0].backward, INFINITY, "time of an option");
    REFUSED(stage[4].option[0].kept, 0, "keeps less than its output");
    REFUSED(stage[4].option[0].forward_peak, 1, "forward peak");
    REFUSED(stage[4].option[0].backward_peak, 2, "backward peak");
#undef REFUSED
    dram_chain_solution *solution = NULL;
    chain = uniform(stage, 4);
    assert_int_equal(dram_chain_solve(&chain, 100, 0, &solution), DRAM_ERR_INTERNAL);
    dram_error_clear();
    assert_int_equal(dram_chain_solve(&chain, -5, 1000, &solution), DRAM_OK); /* no bytes: nothing fits */
    assert_true(isinf(dram_chain_time(solution, -5)) && isinf(dram_chain_time(solution, 1000)));
    dram_chain_solution_free(solution);
    dram_chain_solution_free(NULL);
}

static void bad_schedules_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *why;
    } bad[] = {
        {"", "ends at the gradient of stage 3"},
        {"S1 S2 L B2", "ends at the gradient of stage 1"},
        {"S2", "input is not there"},
        {"K1 K1", "still there"},
        {"E1 S2 L B2 S1 B1", "input is not there"},
        {"S1 L", "input is not there"},
        {"S1 S1", "still there"},
        {"K1 S1", "still there"},
        {"S1 E1", "still there"},
        {"S1 S2 L L", "before"},
        {"S1 S2 B2", "gradient is not there"},
        {"S1 S2 L B1", "gradient is not there"},
        {"S1 E2 L B2", "not saved"},
        {"S1 S2 L B2.1", "not saved"},
        {"K1 E2 L S2", "input is not there"},
        {"S1.2", "no such option"},
        {"S0", "no such stage"},
        {"S3", "no such stage"},
    };
    dram_chain_stage stage[3];
    dram_chain chain = uniform(stage, 2);
    dram_chain_schedule schedule;
    int64_t peak;
    double time;
    for (int s = 1; s <= 2; s++) {
        stage[s].n_options = 2;
        stage[s].option[1] = stage[s].option[0];
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        parse_schedule(bad[i].schedule, &schedule);
        assert_int_equal(dram_chain_simulate(&chain, &schedule, &peak, &time), DRAM_ERR_INTERNAL);
        if (!strstr(dram_error_text(), bad[i].why)) fail_msg("%s: '%s'", bad[i].schedule, dram_error_text());
        dram_error_clear();
        dram_chain_schedule_free(&schedule);
    }
    parse_schedule("S1.1 S2 L B2 B1.1", &schedule);
    assert_int_equal(dram_chain_simulate(&chain, &schedule, &peak, &time), DRAM_OK);
    schedule.op[2].kind = (dram_chain_kind)7;
    assert_int_equal(dram_chain_simulate(&chain, &schedule, &peak, &time), DRAM_ERR_INTERNAL);
    assert_non_null(strstr(dram_error_text(), "no such operation"));
    dram_error_clear();
    dram_chain_schedule_free(&schedule);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(bad_chains_are_refused),
        cmocka_unit_test(bad_schedules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
