/* Whether a run has the memory it was planned for: refused before anything is written, or planned again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "device/blas.h"
#include "device/testing.h"
#include "session/budget.h"
#include "session/choose.h"
#include "session/headroom.h"
#include "support/runs.h"

static const int64_t mib = 1 << 20, gib = (int64_t)1 << 30;

/* A student without batch norm, large enough that recompute saves a fifth of its arena. */
#define VIT                                                                                                            \
    "student.arch=vit_micro data.size=128 train.batch_size=8 sam_distill.enabled=false "                               \
    "resolution_distill.enabled=false train.steps=2 "

static char last_warning[1024];

static void keep_warning(void *context, dram_log_level level, const char *message)
{
    (void)context;
    if (level == DRAM_LOG_WARNING) snprintf(last_warning, sizeof last_warning, "%s", message);
}

/* Arena of VIT, all stored and with as much recompute as there is. */
static int64_t whole, least;

static int64_t arena_of(void **state, int64_t budget)
{
    dram_session s;
    dram_config *cfg = run_config(state, "arena", VIT);
    cfg->memory.budget = budget;
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    int64_t bytes = s.plan->arena_bytes;
    dram_session_close(&s);
    dram_config_free(cfg);
    return bytes;
}

static void arenas(void **state)
{
    whole = arena_of(state, DRAM_BYTES_NONE);
    least = arena_of(state, 1);
    assert_true(least < whole - 4 * mib);
}

static void tiers(void **state)
{
    (void)state;
    const int64_t gb = 1000000000;
    static const int cards[] = {6, 8, 12, 16, 24, 40, 80};
    assert_int_equal(dram_headroom_tier(0), 0);
    assert_int_equal(dram_headroom_tier(6 * gb - 1), 0);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(dram_headroom_tier(cards[i] * gb), cards[i]);
        assert_int_equal(dram_headroom_tier(cards[i] * gb - 1), i ? cards[i - 1] : 0);
    }
    assert_int_equal(dram_headroom_tier(1000 * gb), 80);
}

static void reserve(void **state)
{
    dram_config *cfg = run_config(state, "reserve", "data.max_decode_bytes=10MiB data.workers=3 data.prefetch=5");
    int64_t sample = 3 * 64 * 64 + 3 * 64 * 64 + 64 * 64;
    assert_int_equal(dram_sample_bytes(cfg), sample);
    assert_int_equal(dram_headroom_reserve(cfg), 64 * mib + 2 * 5 * sample + 30 * mib);
    cfg->train.batch_size = 9;
    assert_int_equal(dram_headroom_reserve(cfg), 64 * mib + 2 * 9 * sample + 30 * mib);
    cfg->sam_distill.pad_to = 128; /* the canvas is what is held */
    assert_int_equal(dram_sample_bytes(cfg), 3 * 64 * 64 + 3 * 128 * 128 + 64 * 64);
    cfg->sam_distill.cache = cfg->name; /* of two loaders, one after the other, the larger */
    assert_int_equal(dram_sample_bytes(cfg), 3 * 128 * 128);
    cfg->sam_distill.pad_to = 0;
    assert_int_equal(dram_sample_bytes(cfg), 3 * 64 * 64 + 64 * 64);
    cfg->sam_distill.cache = NULL;
    cfg->sam_distill.enabled = cfg->task.enabled = false;
    assert_int_equal(dram_sample_bytes(cfg), 3 * 64 * 64);
    dram_config_free(cfg);
}

static void loader_by_itself(void **state)
{
    static const struct {
        int cores;
        int64_t free_bytes;
        int workers, prefetch;
    } cases[] = {
        {1, 64, 1, 8},   {2, 64, 2, 8}, {7, 64, 2, 8}, {8, 64, 2, 8}, {16, 64, 4, 8},
        {256, 64, 8, 8}, {16, 8, 4, 8}, {16, 4, 2, 8}, {16, 1, 1, 8}, {16, 0, 1, 2},
    };
    dram_config *cfg = run_config(state, "auto", "data.workers=0 data.prefetch=0"), own;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        own = *cfg;
        dram_choose_loader(&own, cases[i].cores, cases[i].free_bytes * gib);
        assert_int_equal(own.data.workers, cases[i].workers);
        assert_int_equal(own.data.prefetch, cases[i].prefetch);
    }
    own = *cfg;
    own.train.batch_size = 100;
    dram_choose_loader(&own, 2, 64 * gib);
    assert_int_equal(own.data.prefetch, 200);
    own = *cfg;
    own.data.workers = 5;
    own.data.prefetch = 3;
    dram_choose_loader(&own, 2, 64 * gib);
    assert_int_equal(own.data.workers, 5);
    assert_int_equal(own.data.prefetch, 3);
    dram_config_free(cfg);
    run_order o = {.name = "auto", .set = "train.steps=1 data.workers=0 data.prefetch=0 task.enabled=false"};
    run_ok(state, &o);
    char *yaml = get_file(run_file(state, "auto", "config.yaml"), NULL);
    assert_null(strstr(yaml, "workers: 0"));
    assert_null(strstr(yaml, "prefetch: 0"));
    free(yaml);
    run_remove(state, "auto");
}

static void refused(void **state, const char *set, const char *text)
{
    run_order o = {.name = "refused", .set = set};
    run_fails(state, &o, DRAM_ERR_FIT, text);
    assert_false(is_there(run_file(state, "refused", "")));
}

/* Numbers, exit code 3, and nothing written. */
static void refusals(void **state)
{
    dram_host_pretend(gib, 4 * gib);
    refused(state, VIT "memory.budget=5GiB", "memory.budget: 5.00 GiB is more than the 4.00 GiB that this machine has");
    refused(state, VIT "memory.budget=1MiB", "the budget is 1.00 MiB; the floor of this config is ");
    refused(state, VIT "memory.budget=auto", "auto leaves nothing for the arena: 1.00 GiB are free, and the loader");
    dram_host_pretend(88 * mib, 4 * gib);
    refused(state, VIT "memory.budget=auto data.max_decode_bytes=1MiB",
            "the budget, what is free but for 67.0 MiB of the loader and the process, is 21.0 MiB");
    dram_host_pretend((whole + least) / 2 + 16 * mib, 4 * gib); /* 16 of them for the process */
    refused(state, VIT, "set memory.budget, to auto for example: recompute brings it down to ");
    dram_host_pretend(least - 1, 4 * gib);
    refused(state, VIT, "the machine has free ");
    refused(state, VIT "memory.checkpoint=none", "the machine has free ");
    dram_host_pretend(-1, -1);
}

/* What is mapped besides: a buffer of OpenBLAS for each compute thread, and stacks. */
static void mapped(void **state)
{
    dram_config *cfg = run_config(state, "mapped", "data.workers=3");
    dram_profile cpu = dram_profile_cpu(4), gpu = dram_profile_cuda(4);
    dram_mapped m = dram_headroom_mapped(cfg, &cpu);
    assert_int_equal(m.blas_bytes, 4 * 128 * mib);
    assert_int_equal(m.stack_bytes, (3 + 2 * 3 + 1) * 8 * mib);
    m = dram_headroom_mapped(cfg, &gpu);
    assert_int_equal(m.blas_bytes + m.stack_bytes, 0);
    cfg->data.val.images = NULL;
    assert_int_equal(dram_headroom_mapped(cfg, &cpu).stack_bytes, (3 + 3 + 1) * 8 * mib);
    dram_config_free(cfg);
}

/* A limit on what may be mapped refuses a plan before anything runs, and bounds `auto`. 64 threads want more buffers than
 * OpenBLAS has from the tests before. */
static void mapping_limited(void **state)
{
    static const char many[] = VIT "threads=64 data.workers=2 data.max_decode_bytes=1MiB ";
    char set[1024], text[256], buffers[32];
    dram_host_pretend_to_map(gib);
    snprintf(set, sizeof set, "%smemory.budget=none", many);
    snprintf(text, sizeof text,
             "%s for OpenBLAS's buffers, 560.0 MiB for stacks of threads and the heap; a test lets the process map "
             "1.00 GiB more: raise it, lower threads, or set memory.budget",
             dram_format_bytes(dram_blas_missing(64), buffers, sizeof buffers));
    refused(state, set, text);
    snprintf(set, sizeof set, "%smemory.budget=auto", many);
    refused(state, set,
            "memory.budget: auto leaves nothing for the arena: 1.00 GiB may still be mapped (a test), and "
            "OpenBLAS, threads, the loader and the process may take ");

    /* Just enough for OpenBLAS and all else but the arena. */
    dram_config *cfg = run_config(state, "limited", many);
    dram_profile cpu = dram_profile_cpu(64);
    dram_mapped m = dram_headroom_mapped(cfg, &cpu);
    int64_t others = dram_blas_missing(64) + m.stack_bytes + dram_headroom_reserve(cfg);
    dram_config_free(cfg);
    dram_host_pretend_to_map(others + 3 * mib);
    refused(state, set, "the budget, what may be mapped under a test but for ");
    refused(state, set, "is 3.00 MiB; the floor of this config is ");

    /* With the machine's own memory less than that, it is the machine's that is told. */
    dram_host_pretend(88 * mib, 4 * gib);
    dram_host_pretend_to_map(100 * gib);
    refused(state, set, "what is free but for ");
    dram_host_pretend(-1, -1);
    dram_host_pretend_to_map(-1);
}

/* `auto` is what is free but for the reserve. */
static void automatic(void **state)
{
    static const char set[] = VIT "data.max_decode_bytes=1MiB memory.budget=auto";
    int64_t room = (whole + least) / 2;
    run_order o = {.name = "plenty", .set = VIT}, tight = {.name = "tight", .set = set};
    run_ok(state, &o);
    assert_int_equal(o.summary.planned_peak_bytes, whole);
    dram_config *cfg = run_config(state, "tight", set);
    dram_host_pretend(room + dram_headroom_reserve(cfg), 4 * gib);
    dram_config_free(cfg);
    run_ok(state, &tight);
    dram_host_pretend(-1, -1);
    assert_true(tight.summary.planned_peak_bytes <= room);
    assert_int_equal(tight.summary.planned_peak_bytes, tight.summary.measured_peak_bytes);
    assert_same_run(state, "plenty", "tight", 2); /* but for the peaks, behind what is compared */
    char *yaml = get_file(run_file(state, "tight", "config.yaml"), NULL);
    assert_non_null(strstr(yaml, "budget: auto"));
    free(yaml);
    run_remove(state, "plenty");
    run_remove(state, "tight");
}

/* The device turns out to have less than it said. */
static void planned_again(void **state)
{
    int64_t room = (whole + least) / 2;
    run_order o = {.name = "plenty", .set = VIT}, less = {.name = "less", .set = VIT};
    run_ok(state, &o);
    dram_device_limit(room);
    last_warning[0] = '\0';
    run_ok(state, &less);
    assert_int_equal(less.planned, 2);
    assert_memory_equal(last_warning, "the device has ", 15);
    assert_non_null(strstr(last_warning, " of the plan; planned again in "));
    assert_true(less.summary.planned_peak_bytes <= room && less.summary.planned_peak_bytes >= least);
    assert_int_equal(less.summary.planned_peak_bytes, less.summary.measured_peak_bytes);
    assert_same_run(state, "plenty", "less", 2);
    run_remove(state, "less");

    dram_device_limit(least - mib);
    refused(state, VIT, "the machine really gives ");
    less.set = VIT "memory.may_change=[optim_state]"; /* allowed: this lever changes results */
    run_ok(state, &less);
    assert_non_null(strstr(last_warning, ", pulled: optim_state=int8"));
    assert_true(less.summary.planned_peak_bytes <= least - mib);
    char *yaml = get_file(run_file(state, "less", "config.yaml"), NULL);
    assert_non_null(strstr(yaml, "# pulled by the planner to fit the budget: optim_state=int8\n"));
    assert_non_null(strstr(yaml, "state: int8"));
    assert_non_null(strstr(yaml, "budget: none"));
    free(yaml);
    dram_device_limit(-1);
    run_remove(state, "plenty");
    run_remove(state, "less");
}

/* What was pulled when a run began stays pulled when it goes on, whatever is free then. */
static void resumed(void **state)
{
    static const char once[] = VIT "train.steps=4 optim.state=int8";
    static const char may[] = VIT "train.steps=4 memory.may_change=[optim_state]";
    char set[1024];
    run_order one = {.name = "whole", .set = once}, o = {.name = "part", .set = set, .stop_at = 2};
    run_ok(state, &one);
    snprintf(set, sizeof set, "%s memory.budget=%lld", may, (long long)least - 1);
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted");
    char *yaml = get_file(run_file(state, "part", "config.yaml"), NULL);
    assert_non_null(strstr(yaml, "state: int8"));
    assert_non_null(strstr(yaml, "may_change: [optim_state]"));
    free(yaml);
    o.resume = true;
    o.stop_at = 3;
    snprintf(set, sizeof set, "%s", may); /* no budget: by itself this would keep fp32 */
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted");
    o.stop_at = 0;
    run_ok(state, &o);
    assert_same_run(state, "whole", "part", 4);
    yaml = get_file(run_file(state, "part", "config.step-00000002.yaml"), NULL);
    assert_memory_equal(yaml, "# as this run began, pulled then: optim_state\n", 46);
    free(yaml);

    /* A checkpoint keeps its own. Of one without, as older drams saved them, the run's file says what was pulled. A
     * damaged one is refused; without it nothing is kept, and what was saved is of another kind. */
    put_file(run_file(state, "part", "config.yaml"), "train: {steps: -1}\n", 19);
    run_ok(state, &o);
    assert_int_equal(remove(run_file(state, "part", "checkpoints/step-00000004/config.yaml")), 0);
    assert_int_equal(remove(run_file(state, "part", "checkpoints/step-00000004/checkpoint.json")), 0);
    run_fails(state, &o, DRAM_ERR_CONFIG, "memory.may_change needs what this run had, and that cannot be read: ");
    assert_int_equal(remove(run_file(state, "part", "config.yaml")), 0);
    run_fails(state, &o, DRAM_ERR_CONFIG, "memory.may_change needs what this run had, and that cannot be read: ");
    snprintf(set, sizeof set, "%s train.steps=4", VIT);
    run_fails(state, &o, DRAM_ERR_FORMAT, "optimizer.safetensors does not hold the weights of ");
    run_remove(state, "part");
    run_remove(state, "whole");
}

/* Every lever is taken over, but for those that either part does not name. */
static void levers_kept(void **state)
{
    dram_chosen s;
    dram_config *before = run_config(state, "before",
                                     "task.enabled=true memory.may_change=[precision,accumulate,"
                                     "optim_state,sam_input_size,distill_interval,teacher_group]");
    dram_config *cfg = run_config(state, "before",
                                  "task.enabled=true memory.may_change=[precision,accumulate,"
                                  "optim_state,sam_input_size,distill_interval,sr_target_scale]");
    before->train.precision = DRAM_PRECISION_BF16;
    before->train.accumulate = 2;
    before->sam_distill.sam_input_size = 32;
    before->sam_distill.distill_interval = dram_steps_always(2);
    before->resolution_distill.sr_target_scale = 1.0;
    before->optim.state = DRAM_OPTIM_STATE_INT8;
    assert_int_equal(dram_choose(cfg, before, NULL, &s), DRAM_OK);
    assert_int_equal(s.cfg.train.precision, DRAM_PRECISION_BF16);
    assert_int_equal(s.cfg.train.accumulate, 2);
    assert_int_equal(s.cfg.sam_distill.sam_input_size, 32);
    assert_true(dram_steps_equal(&s.cfg.sam_distill.distill_interval, &before->sam_distill.distill_interval));
    assert_int_equal(s.cfg.optim.state, DRAM_OPTIM_STATE_INT8);
    assert_true(s.cfg.resolution_distill.sr_target_scale == cfg->resolution_distill.sr_target_scale);
    assert_int_equal(s.cfg.memory.may_change, 1u << DRAM_MAY_CHANGE_SR_TARGET_SCALE);
    assert_string_equal(s.kept.text, "precision, accumulate, optim_state, sam_input_size, distill_interval");
    dram_chosen_free(&s);
    cfg->train.batch_size = 3;
    assert_int_equal(dram_choose(cfg, before, NULL, &s), DRAM_ERR_CONFIG);
    assert_non_null(
        strstr(dram_error_text(), "train.batch_size: this run began with train.accumulate 2, which does not "));
    dram_error_clear();
    dram_chosen_free(&s);
    assert_int_equal(dram_choose(cfg, NULL, NULL, &s), DRAM_OK);
    assert_int_equal(s.cfg.memory.may_change, cfg->memory.may_change);
    assert_int_equal(s.cfg.train.accumulate, 1);
    dram_chosen_free(&s);
    dram_config_free(before);
    dram_config_free(cfg);
}

/* The file beside the metrics: the run's steps, and after an interruption no step twice. */
static void readings_of_a_run(void **state)
{
    run_order o = {.name = "watched", .set = "train.steps=4 sam_distill.enabled=false", .stop_at = 2};
    run_fails(state, &o, DRAM_INTERRUPTED, "interrupted");
    for (int part = 0; part < 2; part++) {
        char *text = get_file(run_file(state, "watched", "memory.jsonl"), NULL);
        assert_memory_equal(text, "{\"seconds\":0.0", 14);
        assert_non_null(strstr(text, "\"step\":0,\"device_bytes\":"));
        assert_non_null(strstr(text, part ? "\"step\":4,\"device_bytes\":" : "\"step\":2,\"device_bytes\":"));
        free(text);
        o.resume = true;
        o.stop_at = 0;
        if (!part) run_ok(state, &o);
    }
    assert_true(o.summary.process_peak_rss_bytes > o.summary.measured_peak_bytes / 2);
    run_remove(state, "watched");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arenas),           cmocka_unit_test(tiers),       cmocka_unit_test(reserve),
        cmocka_unit_test(loader_by_itself), cmocka_unit_test(refusals),    cmocka_unit_test(mapped),
        cmocka_unit_test(mapping_limited),  cmocka_unit_test(automatic),   cmocka_unit_test(planned_again),
        cmocka_unit_test(resumed),          cmocka_unit_test(levers_kept), cmocka_unit_test(readings_of_a_run),
    };
    dram_log_set_sink(keep_warning, NULL);
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
