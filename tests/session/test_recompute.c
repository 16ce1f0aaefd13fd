/* Recompute on whole networks: every result keeps its bits under every setting, the numbers it promises are those of
 * the plan, and a budget is met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "passes/recompute.h"
#include "session/budget.h"
#include "session/build.h"
#include "session/levers.h"
#include "support/runs.h"
#include "support/trunk_graph.h"

/* Large enough that early blocks have values of 64 KiB and more: smaller ones are not in a chain's numbers. */
#define LARGE " data.size=128 optim.clip_norm=0 train.steps=3 data.workers=1 task.weight=0.5"

/* The files of two runs hold the same bytes. */
static void same_results(void **state, const char *a, const char *b)
{
    static const char *const file[] = {"student.safetensors", "heads.safetensors",
                                       "checkpoints/step-00000003/optimizer.safetensors"};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++)
        assert_same_file(run_file(state, a, file[i]), run_file(state, b, file[i]));
}

static int64_t least_bytes(void **state, const char *set)
{
    int64_t bytes, again = 0;
    dram_config *cfg = run_config(state, "least", set);
    cfg->memory.checkpoint = DRAM_CHECKPOINT_OPTIMAL;
    dram_session s;
    assert_int_equal(dram_session_build(cfg, (dram_plan_request){.least = true}, &s), DRAM_OK);
    bytes = s.plan->arena_bytes;
    for (int i = 0; i < s.schedule[DRAM_PROGRAM_DISTIL_STEP].n; i++) {
        const dram_chain_op *op = &s.schedule[DRAM_PROGRAM_DISTIL_STEP].op[i];
        again += op->kind < DRAM_CHAIN_SAVE || (op->kind == DRAM_CHAIN_SAVE && op->option > 1);
    }
    assert_true(again > 0); /* more than norms is made again */
    dram_session_close(&s);
    dram_config_free(cfg);
    return bytes;
}

static void same_bits(void **state, const char *student)
{
    static const char *const ways[] = {
        "memory.checkpoint=none memory.recompute_norms=true", "memory.checkpoint=blocks memory.recompute_norms=false",
        "memory.checkpoint=blocks memory.recompute_norms=true", "memory.checkpoint=sqrt memory.recompute_norms=true",
        "memory.checkpoint=optimal memory.budget=%lldB"};
    char base[600], set[900];
    snprintf(base, sizeof base, "%s" LARGE, student);
    int64_t least = least_bytes(state, base);
    snprintf(set, sizeof set, "%s memory.checkpoint=none memory.recompute_norms=false memory.in_place=false", base);
    run_order o = {.name = "stored", .set = set};
    run_ok(state, &o);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        char way[200];
        snprintf(way, sizeof way, ways[i], (long long)least);
        snprintf(set, sizeof set, "%s %s", base, way);
        run_order again = {.name = "again", .set = set};
        run_ok(state, &again);
        assert_int_equal(again.summary.planned_peak_bytes, again.summary.measured_peak_bytes);
        assert_true(again.summary.planned_peak_bytes < o.summary.planned_peak_bytes);
        if (strstr(way, "budget")) assert_true(again.summary.planned_peak_bytes <= least);
        same_results(state, "stored", "again");
        run_remove(state, "again");
    }
    run_remove(state, "stored");
}

static void regnet_fp32(void **state)
{
    same_bits(state, "student.arch=regnety_002");
}

static void regnet_bf16(void **state)
{
    same_bits(state, "student.arch=regnety_002 train.precision=bf16");
}

static void vit_fp32(void **state)
{
    same_bits(state, "student.arch=vit_micro resolution_distill.enabled=false");
}

static void vit_bf16(void **state)
{
    same_bits(state, "student.arch=vit_micro resolution_distill.enabled=false train.precision=bf16");
}

/* What recompute measures of a schedule is what the plan of the rewritten graph finds. */
static void measure_one(void **state, const char *set, int which)
{
    dram_config *cfg = run_config(state, "measure", set);
    dram_graph_set p;
    assert_int_equal(dram_graph_set_build(cfg, DRAM_SET_TRAIN, &p), DRAM_OK);
    dram_profile profile = dram_profile_cpu(2);
    dram_graph *g = p.io[DRAM_PROGRAM_DISTIL_STEP].graph;
    dram_recompute *r;
    dram_plan *plan;
    dram_chain_schedule schedule = {0};
    dram_chain_solution *solution;
    int64_t live, flops, before = 0, floor;
    for (int i = 0; i < g->n_nodes; i++) before += dram_node_flops(g, g->nodes[i]);
    const dram_recompute_options options = {.norms = which != 0, .more = true, .in_place = true};
    assert_int_equal(dram_recompute_open(g, &profile, options, &r), DRAM_OK);
    const dram_chain *chain = dram_recompute_chain(r);
    assert_true(chain->length >= 4);
    if (which == 2) assert_int_equal(dram_chain_blocks(chain, &schedule), DRAM_OK);
    if (which == 3) assert_int_equal(dram_chain_sqrt(chain, &schedule), DRAM_OK);
    if (which == 4) {
        assert_int_equal(dram_chain_floor(chain, &floor), DRAM_OK);
        floor += floor / 50; /* sizes are rounded up to the solver's unit */
        assert_int_equal(dram_chain_solve(chain, floor, 100000, &solution), DRAM_OK);
        assert_int_equal(dram_chain_emit(solution, floor, &schedule), DRAM_OK);
        dram_chain_solution_free(solution);
    }
    assert_int_equal(dram_recompute_measure(r, &schedule, &live, &flops), DRAM_OK);
    if (which > 1) assert_true(flops > 0);
    assert_int_equal(dram_recompute_apply(r, g, &schedule), DRAM_OK);
    dram_recompute_close(r);
    const dram_graph *graphs[] = {g};
    const dram_plan_options all = {.eager_free = true, .in_place = true, .share_teacher = true};
    assert_int_equal(dram_plan_make(graphs, 1, &p.slots, &profile, all, &plan), DRAM_OK);
    assert_int_equal(plan->programs[0].placement.max_live, live);
    assert_int_equal(plan->programs[0].flops, before + flops);
    dram_plan_free(plan);
    dram_chain_schedule_free(&schedule);
    dram_graph_set_free(&p);
    dram_config_free(cfg);
}

static void measured_is_planned(void **state)
{
    for (int which = 0; which < 5; which++) {
        measure_one(state, "student.arch=regnety_004" LARGE, which);
        measure_one(state, "student.arch=vit_micro resolution_distill.enabled=false train.precision=bf16" LARGE, which);
    }
}

/* Between the floor and storing all, every budget is met, and less memory never costs fewer FLOPs. */
static void budgets_are_met(void **state)
{
    const char *set = "student.arch=regnety_004 memory.checkpoint=optimal" LARGE;
    dram_config *cfg = run_config(state, "budget", set);
    dram_session s;
    assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
    int64_t stored = s.plan->arena_bytes, least = least_bytes(state, set), last = -1;
    dram_session_close(&s);
    assert_true(least < stored);
    for (int i = 0; i <= 8; i++) {
        cfg->memory.budget = least + (stored - least) * (8 - i) / 8;
        assert_int_equal(dram_budget_plan(cfg, DRAM_SET_TRAIN, 0, &s), DRAM_OK);
        assert_true(s.plan->arena_bytes <= cfg->memory.budget);
        assert_null(s.pulled.text);
        int64_t added = s.recomputed_flops[DRAM_PROGRAM_DISTIL_STEP];
        assert_true(added >= last - last / 50); /* the search is over the solver's bytes, not over all schedules */
        last = added;
        dram_session_close(&s);
    }
    dram_config_free(cfg);
}

/* RegNetY-1.6GF at 1024, one image, bf16: half of the bytes for 5 % more FLOPs at most, 24 % of them for 16 %. */
static void the_price_of_recompute(void **state)
{
    static const struct {
        int percent;
        double most;
    } want[] = {{50, 0.05}, {24, 0.16}};
    (void)state;
    dram_slots slots = {0};
    dram_graph *g;
    dram_recompute *all, *r;
    dram_profile profile = dram_profile_cpu(2);
    int64_t stored, live, flops, total = 0;
    dram_ops_init();
    assert_int_equal(dram_graph_new("trunk", &slots, &g), DRAM_OK);
    assert_int_equal(trunk_graph(g, dram_arch_find("regnety_016"), 1, 1024), DRAM_OK);
    for (int i = 0; i < g->n_nodes; i++) total += dram_node_flops(g, g->nodes[i]);
    const dram_recompute_options none = {.in_place = true}, more = {.norms = true, .more = true, .in_place = true};
    assert_int_equal(dram_recompute_open(g, &profile, none, &all), DRAM_OK);
    assert_int_equal(dram_recompute_measure(all, NULL, &stored, &flops), DRAM_OK);
    dram_recompute_close(all);
    assert_int_equal(dram_recompute_open(g, &profile, more, &r), DRAM_OK);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        dram_chain_schedule schedule;
        assert_int_equal(dram_recompute_search(r, stored * want[i].percent / 100, &schedule), DRAM_OK);
        assert_int_equal(dram_recompute_measure(r, &schedule, &live, &flops), DRAM_OK);
        assert_true(live * 100 <= stored * want[i].percent);
        print_message("%d %% of %lld bytes: FLOPs + %.2f %%\n", want[i].percent, (long long)stored,
                      100.0 * (double)flops / (double)total);
        assert_true((double)flops <= want[i].most * (double)total);
        dram_chain_schedule_free(&schedule);
    }
    dram_recompute_close(r);
    dram_graph_free(g);
    dram_slots_free(&slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_price_of_recompute),
        cmocka_unit_test(measured_is_planned),
        cmocka_unit_test(budgets_are_met),
        cmocka_unit_test(regnet_fp32),
        cmocka_unit_test(vit_fp32),
        cmocka_unit_test(regnet_bf16),
        cmocka_unit_test(vit_bf16),
    };
    return cmocka_run_group_tests(tests, runs_setup, tempdir_remove);
}
