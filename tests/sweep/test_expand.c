/* Points from a spec: their order, what is merged, what differs, what is drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sweep/spec_cases.h"

static void good(void **state, const char *yaml, const char *words, dram_sweep *sweep)
{
    ok(read_sweep(state, yaml, words, sweep));
}

static void the_last_key_of_a_grid_changes_fastest(void **state)
{
    dram_sweep s;
    static const char *const differs[] = {"optim.lr=0.1 optim.state=fp32", "optim.lr=0.1 optim.state=int8",
                                          "optim.lr=0.2 optim.state=fp32", "optim.lr=0.2 optim.state=int8",
                                          "train.precision=bf16"};
    good(state,
         HEAD
         "  set: {train.steps: 60}\n  grid: {optim.lr: [0.1, 0.2], optim.state: [fp32, int8], optim.beta1: [0.8]}\n"
         "  list: [{train.precision: bf16, optim.beta1: 0.8}]\n  seeds: [3, 1]\n  ranks: 2\n",
         "", &s);
    assert_int_equal(s.asked, 5);
    assert_int_equal(s.n_points, 5);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(s.points[i].index, i + 1);
        assert_int_equal(s.points[i].status, DRAM_POINT_PLANNED);
        assert_string_equal(s.points[i].differs, differs[i]);
        assert_int_equal(s.points[i].steps, 60);
        assert_int_equal(s.points[i].ranks, 2);
        assert_int_equal(strlen(s.points[i].hash), 8);
    }
    assert_string_equal(s.points[1].overrides, "train.steps=60 optim.lr=0.1 optim.state=int8 optim.beta1=0.8 "
                                               "distributed.ranks=2");
    assert_int_equal(s.points[1].cfg->optim.state, DRAM_OPTIM_STATE_INT8);
    assert_true(s.points[2].cfg->optim.lr == 0.2);
    assert_string_equal(s.name, "s");
    assert_string_equal(s.directory, "runs/s");
    assert_int_equal(s.quality, DRAM_QUALITY_MIOU);
    assert_int_equal(s.n_seeds, 2);
    assert_int_equal(s.seeds[0], 3);
    dram_sweep_free(&s);
}

static void words_alone_are_a_sweep(void **state)
{
    dram_sweep s;
    good(state, NULL, "optim.lr=0.1,0.2 seed=7,8,9 train.steps=50 data.class_names=[a,b,c],[x,y,z]", &s);
    assert_int_equal(s.n_points, 4);
    assert_int_equal(s.n_seeds, 3);
    assert_string_equal(s.directory, "runs/base-sweep");
    assert_string_equal(s.points[3].overrides, "train.steps=50 optim.lr=0.2 data.class_names=[x,y,z]");
    assert_string_equal(s.points[3].cfg->data.class_names->text[1], "y");
    dram_sweep_free(&s);
}

static void equal_configs_are_one_point(void **state)
{
    dram_sweep s;
    /* The momentum of sgd means nothing to adamw, 1e-3 is the default of lr, and 0.001 the same number. */
    good(state, HEAD "  grid: {optim.momentum: [0.5, 0.9], optim.lr: [1e-3, 0.001, 0.002]}\n  list: [{}]\n", "", &s);
    assert_int_equal(s.asked, 7);
    assert_int_equal(s.n_points, 2);
    assert_int_equal(s.points[0].asked, 5);
    assert_int_equal(s.points[1].asked, 2);
    assert_string_equal(s.points[1].overrides, "optim.momentum=0.5 optim.lr=0.002");
    dram_sweep_free(&s);
}

static void a_contradiction_is_its_points_own(void **state)
{
    dram_sweep s;
    good(state, HEAD "  grid: {optim.type: [adamw, sgd], optim.state: [fp32, int8]}\n", "", &s);
    assert_int_equal(s.n_points, 4);
    assert_int_equal(dram_sweep_count(&s, DRAM_POINT_WRONG), 1);
    assert_int_equal(s.points[3].status, DRAM_POINT_WRONG);
    assert_null(s.points[3].cfg);
    assert_string_equal(s.points[3].text,
                        "s.yaml:4:56: optim.state: only adamw has a state of 8 bits; set optim.type to "
                        "adamw, or optim.state to fp32");
    dram_sweep_free(&s);
}

/* The same numbers each time, in the range, and another key beside does not move them. */
static void what_is_drawn_depends_on_seed_point_and_key(void **state)
{
    dram_sweep a, b;
    good(state,
         HEAD "  random: {count: 40, seed: 2, keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}, "
              "data.size: {low: 32, high: 256}, optim.state: {choices: [fp32, int8]}}}\n",
         "", &a);
    good(state, HEAD "  random: {count: 40, seed: 2, keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}}}\n", "", &b);
    int below = 0, bits = 0;
    assert_int_equal(a.n_points, 40);
    assert_int_equal(b.n_points, 40);
    for (int i = 0; i < 40; i++) {
        const dram_config *cfg = a.points[i].cfg;
        assert_non_null(cfg);
        assert_true(cfg->optim.lr >= 1e-4 && cfg->optim.lr <= 1e-2);
        assert_true(cfg->optim.lr == b.points[i].cfg->optim.lr);
        assert_true(cfg->data.size >= 32 && cfg->data.size <= 256 && cfg->data.size % 32 == 0);
        below += cfg->optim.lr < 1e-3;
        bits += cfg->optim.state == DRAM_OPTIM_STATE_INT8;
    }
    assert_in_range(below, 8, 32);
    assert_in_range(bits, 8, 32);
    dram_sweep_free(&a);
    dram_sweep_free(&b);
}

static void the_command_line_wins_over_set(void **state)
{
    dram_sweep s;
    good(state, HEAD "  set: {train.steps: 60, optim.lr: 0.5}\n  grid: {optim.state: [fp32, int8]}\n",
         "train.steps=70 optim.lr=0.1,0.2 name=other run.dir=elsewhere", &s);
    assert_int_equal(s.n_points, 4);
    assert_string_equal(s.directory, "elsewhere/other");
    for (int i = 0; i < 4; i++) {
        assert_int_equal(s.points[i].steps, 70);
        assert_true(s.points[i].cfg->optim.lr == (i % 2 ? 0.2 : 0.1));
    }
    dram_sweep_free(&s);
}

/* Quotes, brackets and paths come through; a path begins at the sweep file's folder. */
static void values_are_what_was_written(void **state)
{
    dram_sweep s;
    char want[5000];
    ok(mkdir("sub", 0777) == 0 ? DRAM_OK : DRAM_ERR_IO);
    static const char yaml[] = "sweep:\n  name: \"a b\"\n  base: ../base.yaml\n"
                               "  set: {data.class_names: [\"x, y\", 'q\"q', \"n\\u00e9\"], data.train.images: im,\n"
                               "        sam_distill.distill_interval: {0: 1, 10: 2}}\n"
                               "  grid: {data.class_map: [{255: 1}, {7: 2, 8: 0}]}\n";
    put_file(in_dir(state, "sub/s.yaml"), yaml, sizeof yaml - 1);
    ok(dram_sweep_read("sub/s.yaml", NULL, 0, &s));
    assert_int_equal(s.n_points, 2);
    const dram_config *cfg = s.points[1].cfg;
    assert_string_equal(cfg->data.class_names->text[0], "x, y");
    assert_string_equal(cfg->data.class_names->text[1], "q\"q");
    assert_string_equal(cfg->data.class_names->text[2], "n\xc3\xa9");
    assert_int_equal(cfg->data.class_map->n, 2);
    char *here = realpath("sub", NULL);
    snprintf(want, sizeof want, "%s/im", here);
    free(here);
    assert_string_equal(cfg->data.train.images, want);
    assert_string_equal(dram_config_where(cfg, "data.train.images"), "sub/s.yaml:4:74");
    assert_string_equal(s.points[1].differs, "data.class_map={7: 2, 8: 0}");
    dram_sweep_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_key_of_a_grid_changes_fastest),
        cmocka_unit_test(words_alone_are_a_sweep),
        cmocka_unit_test(equal_configs_are_one_point),
        cmocka_unit_test(a_contradiction_is_its_points_own),
        cmocka_unit_test(what_is_drawn_depends_on_seed_point_and_key),
        cmocka_unit_test(the_command_line_wins_over_set),
        cmocka_unit_test(values_are_what_was_written),
    };
    return cmocka_run_group_tests(tests, sweeps_setup, tempdir_remove);
}
