/* Measured times: taken, kept, read again, refused where they are not of this machine. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "device/cpu_kernels.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/calibrate.h"
#include "support/runs.h"

#define SET "data.size=128 student.arch=regnety_002 threads=1 "
#define RARE "sam_distill.distill_interval=4"

/* By the file of times, with these settings. */
static dram_update_time time_of(void **state, const char *file, const char *settings)
{
    char set[9200];
    dram_update_time time;
    dram_session s;
    snprintf(set, sizeof set, SET "memory.profile=%.4300s %s", file, settings);
    dram_config *cfg = run_config(state, "time", set);
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    if (dram_session_time(&s, &time) != DRAM_OK) fail_msg("%s", dram_error_text());
    dram_session_close(&s);
    dram_config_free(cfg);
    return time;
}

static void times_are_taken_and_used(void **state)
{
    char set[9200];
    char *file = strdup(in_dir(state, "times.json"));
    assert_non_null(file);
    dram_calibration found, again;
    dram_times *times;
    dram_times_machine here = {.workers = 1};
    snprintf(here.kernels, sizeof here.kernels, "%s", dram_cpu_isa());
    dram_config *cfg = run_config(state, "calibrate", SET);
    assert_int_equal(dram_calibrate(cfg, file, NULL, &found), DRAM_OK);
    assert_true(found.nodes > 50);
    assert_int_equal(dram_calibrate(cfg, file, NULL, &again), DRAM_OK); /* a second time: the same kinds of nodes */
    assert_int_equal(again.nodes, found.nodes);
    assert_int_equal(again.process.counted, DRAM_COUNTED_NOT);
    assert_int_equal(dram_times_open(file, &here, &times), DRAM_OK);
    dram_session s;
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    const dram_graph *g = s.graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph;
    double *seconds = calloc((size_t)g->n_nodes, sizeof *seconds), sum = 0;
    assert_int_equal(dram_times_of(times, g, seconds), DRAM_OK);
    for (int i = 0; i < g->n_nodes; i++) {
        assert_true(seconds[i] >= 0.0 && seconds[i] < 10.0);
        sum += seconds[i];
    }
    assert_true(sum > 0.0);
    free(seconds);
    int64_t stored = s.plan->arena_bytes;
    dram_update_time time;
    assert_int_equal(dram_session_time(&s, &time), DRAM_OK);
    assert_true(time.seconds == 0.0 && time.timed == 0.0); /* the config names no file */
    dram_session_close(&s);
    dram_times_close(times);
    dram_config_free(cfg);
    time = time_of(state, file, "");
    assert_true(time.timed == 1.0 && fabs(time.seconds - sum) <= 1e-9 * sum);
    /* No step without the teacher was timed, nor a smaller batch. */
    dram_update_time rare = time_of(state, file, RARE), split = time_of(state, file, "train.accumulate=2");
    assert_true(rare.seconds > 0.0 && rare.seconds < time.seconds);
    assert_true(rare.timed > 0.5);
    assert_true(split.timed > 0.0 && split.timed < 0.5);
    cfg = run_config(state, "split", SET "train.accumulate=2");
    assert_int_equal(dram_calibrate(cfg, file, NULL, &found), DRAM_OK); /* the update too */
    split = time_of(state, file, "train.accumulate=2");
    assert_true(split.timed == 1.0);
    assert_true(split.seconds > 0.5 * time.seconds && split.seconds < 3.0 * time.seconds);
    dram_config_free(cfg);
    /* A plan by times meets its budget as one by FLOPs does. */
    snprintf(set, sizeof set, SET "memory.profile=%.4300s memory.budget=%lldB", file,
             (long long)(stored - stored / 12));
    cfg = run_config(state, "calibrate", set);
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    assert_true(s.plan->arena_bytes <= stored - stored / 12);
    assert_true(s.recomputed_flops[DRAM_PROGRAM_DISTIL_STEP] > 0);
    dram_session_close(&s);
    dram_config_free(cfg);
    free(file);
}

static const dram_times_machine two_workers = {.workers = 2, .kernels = "v3"};

static void refuses(void **state, const char *text, dram_status want, const char *says)
{
    dram_times *times;
    put_file(in_dir(state, "bad.json"), text, strlen(text));
    dram_status status = dram_times_open(in_dir(state, "bad.json"), &two_workers, &times);
    if (status != want || !strstr(dram_error_text(), says))
        fail_msg("%s: status %d, \"%s\"", text, (int)status, dram_error_text());
    dram_error_clear();
}

static void bad_files_are_refused(void **state)
{
    dram_times *times;
    assert_int_equal(dram_times_open(in_dir(state, "nowhere.json"), &two_workers, &times), DRAM_ERR_CONFIG);
    dram_error_clear();
    refuses(state, "", DRAM_ERR_FORMAT, "bad.json");
    refuses(state, "[]", DRAM_ERR_FORMAT, "bad.json");
    refuses(state, "{\"device\": \"v3\", \"seconds\": {}}", DRAM_ERR_FORMAT, "workers");
    refuses(state, "{\"device\": \"v3\", \"workers\": 2, \"seconds\": 1}", DRAM_ERR_FORMAT, "seconds");
    refuses(state, "{\"device\": \"v3\", \"workers\": 2, \"seconds\": {\"relu\": -1}}", DRAM_ERR_FORMAT, "relu");
    refuses(state, "{\"device\": \"v3\", \"workers\": 2, \"seconds\": {\"relu\": \"1\"}}", DRAM_ERR_FORMAT, "relu");
    refuses(state, "{\"device\": \"v4\", \"workers\": 2, \"seconds\": {}}", DRAM_ERR_CONFIG, "calibrate again");
    refuses(state, "{\"device\": \"v3\", \"workers\": 4, \"seconds\": {}}", DRAM_ERR_CONFIG, "calibrate again");
    refuses(state, "{\"device\": \"v3\", \"gpu\": true, \"workers\": 2, \"seconds\": {}}", DRAM_ERR_CONFIG,
            "calibrate again");
    refuses(state, "{\"device\": \"v3\", \"workers\": 2, \"process\": {\"context_bytes\": 1}, \"seconds\": {}}",
            DRAM_ERR_FORMAT, "loaded_bytes");
    refuses(state,
            "{\"device\": \"v3\", \"workers\": 2, \"seconds\": {}, \"process\": {\"context_bytes\": 1, "
            "\"loaded_bytes\": 1, \"counted\": \"guessed\"}}",
            DRAM_ERR_FORMAT, "counted");
    /* A good one that knows none of the layers. */
    const char *none = "{\"device\": \"v3\", \"workers\": 2, \"seconds\": {}}";
    put_file(in_dir(state, "none.json"), none, strlen(none));
    assert_int_equal(dram_times_open(in_dir(state, "none.json"), &two_workers, &times), DRAM_OK);
    dram_config *cfg = run_config(state, "none", SET);
    dram_session s;
    double seconds[4096];
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    const dram_graph *g = s.graphs.io[DRAM_PROGRAM_DISTIL_STEP].graph;
    assert_in_range(g->n_nodes, 1, 4096);
    assert_int_equal(dram_times_of(times, g, seconds), DRAM_ERR_CONFIG);
    dram_error_clear();
    dram_times_close(times);
    dram_session_close(&s);
    dram_config_free(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_taken_and_used),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
