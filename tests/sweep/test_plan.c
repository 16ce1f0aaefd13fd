/* Points that are planned: what fits, what has the same results, the folder, and what a run is given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "io/json.h"
#include "sweep/spec_cases.h"

/* 2 MiB is below the floor, 100 TiB above all that there is. */
static const char yaml[] = HEAD "  set: {train.batch_size: 16}\n"
                                "  grid: {memory.budget: [none, 38MiB, 100TiB, 2MiB], optim.state: [fp32, int8]}\n"
                                "  list: [{train.accumulate: 3}, {memory.checkpoint: none}, {run.keep: 7}]\n"
                                "  seeds: [1, 2]\n  halving: {rungs: [10, 20], keep: 0.25}\n";

static void plan(void **state, const char *text, int threads, dram_sweep *s)
{
    ok(read_sweep(state, text, "", s));
    ok(dram_sweep_plan(s, threads, false, NULL));
}

/* Of that file, planned once by the first test, on two threads. */
static dram_sweep s;

static void points_are_judged_before_a_run(void **state)
{
    plan(state, yaml, 2, &s);
    const dram_sweep_point *p = s.points - 1; /* by index */
    assert_int_equal(s.n_points, 11);
    for (int i = 1; i <= 6; i++) {
        assert_int_equal(p[i].status, DRAM_POINT_PLANNED);
        assert_true(p[i].planned_bytes > 0 && p[i].flops > 0 && p[i].reserve_bytes > 64 << 20);
        assert_int_equal(p[i].process_bytes, p[i].planned_bytes + p[i].host_bytes + p[i].reserve_bytes);
        assert_int_equal(p[i].cores, 2 + 2);
        assert_null(p[i].cfg);
        assert_non_null(p[i].settled);
    }
    /* A budget below what all stored takes: the same bits by another plan, so its time alone is asked for. */
    assert_true(p[3].planned_bytes < p[1].planned_bytes && p[3].planned_bytes <= 38 << 20);
    assert_true(p[3].flops > p[1].flops);
    assert_int_equal(p[3].timed_with, 1);
    assert_int_equal(p[3].equal_to, 0);
    /* A budget that asks for nothing, and what is only kept otherwise. */
    assert_int_equal(p[4].equal_to, 2);
    assert_int_equal(p[5].equal_to, 1);
    assert_int_equal(p[6].equal_to, 2);
    assert_int_equal(p[5].timed_with, 0);
    for (int i = 7; i <= 8; i++) {
        assert_int_equal(p[i].status, DRAM_POINT_TOO_BIG);
        assert_true(p[i].floor_bytes > 2 << 20 && p[i].floor_bytes <= p[i].planned_bytes);
        assert_non_null(strstr(p[i].text, "the budget is 2.00 MiB"));
        assert_non_null(p[i].advice);
        assert_null(p[i].settled);
    }
    assert_int_equal(p[9].status, DRAM_POINT_WRONG);
    assert_non_null(strstr(p[9].text, "train.accumulate: 3 does not divide train.batch_size, 16"));
    assert_int_equal(p[10].equal_to, 1);
    assert_int_equal(p[11].timed_with, 1); /* run.keep: the same plan and bits, but another config */
    assert_int_equal(s.n_runs, 2 * 2 + 2);
    assert_int_equal(s.runs[0].seed, 1);
    assert_int_equal(s.runs[1].seed, 2);
    assert_int_equal(s.runs[4].point, 2);
    assert_true(s.runs[4].timed && !s.runs[3].timed);
    char name[48];
    snprintf(name, sizeof name, "0001-%s-s2", p[1].hash);
    assert_string_equal(s.runs[1].name, name);
    snprintf(name, sizeof name, "0003-%s-time", p[3].hash);
    assert_string_equal(s.runs[4].name, name);
}

static void threads_change_nothing(void **state)
{
    dram_sweep one;
    plan(state, yaml, 1, &one);
    cJSON *a = dram_sweep_json(&one), *b = dram_sweep_json(&s);
    char *x = cJSON_Print(a), *y = cJSON_Print(b);
    assert_string_equal(x, y);
    for (int i = 0; i < one.n_points; i++)
        if (one.points[i].settled) assert_string_equal(one.points[i].settled, s.points[i].settled);
    cJSON_free(x);
    cJSON_free(y);
    cJSON_Delete(a);
    cJSON_Delete(b);
    dram_sweep_free(&one);
}

static void a_stop_ends_planning(void **state)
{
    dram_sweep o;
    volatile sig_atomic_t stop = 1;
    ok(read_sweep(state, yaml, "", &o));
    assert_int_equal(dram_sweep_plan(&o, 2, false, &stop), DRAM_INTERRUPTED);
    dram_error_clear();
    dram_sweep_free(&o);
}

/* Before a run its data must be there, and its quality something that is evaluated. */
static void inputs_are_asked_for(void **state)
{
    dram_sweep o;
    ok(read_sweep(state,
                  HEAD "  list: [{}, {data.val.images: none.d, data.train.images: none.d, data.train.labels: "
                       "none.d}]\n  quality: embedding_cosine\n",
                  "", &o));
    ok(dram_sweep_plan(&o, 1, true, NULL));
    assert_int_equal(o.points[0].status, DRAM_POINT_WRONG);
    assert_non_null(
        strstr(o.points[0].text, "sam_distill.enabled: the sweep's quality is embedding_cosine, which needs"));
    dram_sweep_free(&o);
    ok(read_sweep(
        state, HEAD "  list: [{}, {data.val.images: none.d, data.train.images: none.d, data.train.labels: none.d}]\n",
        "", &o));
    ok(dram_sweep_plan(&o, 1, true, NULL));
    assert_non_null(strstr(o.points[0].text, "data.val.images: the sweep's quality is miou, and there is nothing"));
    assert_int_equal(o.points[1].status, DRAM_POINT_WRONG);
    if (!strstr(o.points[1].text, "none.d")) fail_msg("%s", o.points[1].text);
    assert_int_equal(o.n_runs, 0);
    dram_sweep_free(&o);
}

static void compare(const dram_sweep *a, const dram_sweep *b)
{
    cJSON *x = dram_sweep_json(a), *y = dram_sweep_json(b);
    assert_true(cJSON_Compare(x, y, true));
    cJSON_Delete(x);
    cJSON_Delete(y);
}

static void a_folder_is_made_once_and_found_again(void **state)
{
    dram_sweep again, loaded;
    bool is_new;
    assert_false(dram_sweep_is_there(&s));
    ok(dram_sweep_open(&s, &is_new));
    assert_true(is_new);
    assert_file_is("runs/s/sweep.yaml", yaml, sizeof yaml - 1);
    ok(read_sweep(state, yaml, "", &again));
    assert_true(dram_sweep_is_there(&again));
    ok(dram_sweep_open(&again, &is_new)); /* without being planned */
    assert_false(is_new);
    compare(&s, &again);
    assert_int_equal(again.n_runs, s.n_runs);
    for (int i = 0; i < s.n_runs; i++) assert_memory_equal(&s.runs[i], &again.runs[i], sizeof s.runs[i]);
    ok(dram_sweep_load("runs/s", &loaded));
    compare(&s, &loaded);
    dram_sweep_free(&loaded);
    dram_sweep_free(&again);
}

static void large_numbers_are_found_again(void **state)
{
    dram_sweep large, loaded;
    plan(state,
         "sweep:\n  name: large\n  base: base.yaml\n  set: {train.steps: 2000000000, train.batch_size: 64}\n"
         "  seeds: [999999999999999, 1000000000000001, 9007199254740992, 9007199254740993, 9223372036854775807]\n",
         1, &large);
    assert_true(large.points[0].flops > 9.3e18); /* more than 2^63 */
    ok(dram_sweep_open(&large, NULL));
    ok(dram_sweep_load("runs/large", &loaded));
    compare(&large, &loaded);
    assert_true(large.points[0].flops == loaded.points[0].flops);
    assert_int_equal(loaded.n_seeds, 5);
    assert_memory_equal(large.seeds, loaded.seeds, 5 * sizeof *large.seeds);
    dram_sweep_free(&loaded);
    dram_sweep_free(&large);
}

typedef struct {
    const char *yaml, *error;
} other;

static void another_sweep_is_refused_with_the_difference(void **state)
{
    static const other others[] = {
        {HEAD "  grid: {optim.lr: [0.1, 0.2]}\n", "point 1 is train.batch_size=16 memory.budget=none"},
        {HEAD "  set: {train.batch_size: 16}\n"
              "  grid: {memory.budget: [none, 38MiB, 100TiB, 2MiB], optim.state: [fp32, int8]}\n",
         "it has 11 points, and this has 8"},
    };
    for (int i = 0; i < 2; i++) {
        dram_sweep o;
        ok(read_sweep(state, others[i].yaml, "", &o));
        assert_int_equal(dram_sweep_open(&o, NULL), DRAM_ERR_CONFIG);
        assert_non_null(strstr(dram_error_text(), "runs/s holds another sweep: "));
        if (!strstr(dram_error_text(), others[i].error)) fail_msg("%s", dram_error_text());
        dram_error_clear();
        dram_sweep_free(&o);
    }
    char text[sizeof yaml];
    static const char *const changes[][3] = {{"[1, 2]\n", "[1, 3]\n", "its seeds are others"},
                                             {"keep: 0.25", "keep: 0.50", "its halving is another"}};
    for (int i = 0; i < 2; i++) {
        dram_sweep o;
        memcpy(text, yaml, sizeof yaml);
        char *at = strstr(text, changes[i][0]);
        assert_non_null(at);
        memcpy(at, changes[i][1], strlen(changes[i][1]));
        ok(read_sweep(state, text, "", &o));
        assert_int_equal(dram_sweep_open(&o, NULL), DRAM_ERR_CONFIG);
        if (!strstr(dram_error_text(), changes[i][2])) fail_msg("%s", dram_error_text());
        dram_error_clear();
        dram_sweep_free(&o);
    }
}

/* A base that was changed comes to other settings under the same words. */
static void a_changed_base_is_noticed(void **state)
{
    dram_sweep o;
    char text[sizeof base_yaml];
    memcpy(text, base_yaml, sizeof text);
    memcpy(strstr(text, "arch: vit_micro"), "arch: vit_teeny", 15);
    memcpy(text, base_yaml, sizeof text);
    memcpy(strstr(text, "size: 64"), "size: 96", 8);
    memcpy(strstr(text, "warmup_steps: 2"), "warmup_steps: 3", 15);
    put_file("base.yaml", text, sizeof text - 1);
    ok(read_sweep(state, yaml, "", &o));
    assert_int_equal(dram_sweep_open(&o, NULL), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "its base has changed"));
    dram_error_clear();
    dram_sweep_free(&o);
    put_file("base.yaml", base_yaml, sizeof base_yaml - 1);
}

static void a_folder_of_something_else_is_refused(void **state)
{
    dram_sweep o;
    plan(state, HEAD "  grid: {optim.lr: [0.1, 0.2]}\n", 2, &o);
    dram_free(o.directory);
    o.directory = dram_strdup("other");
    ok(mkdir("other", 0777) == 0 ? DRAM_OK : DRAM_ERR_IO);
    put_file("other/notes.txt", "x", 1);
    assert_int_equal(dram_sweep_open(&o, NULL), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "other is there, without a plan.json and with notes.txt in it"));
    dram_error_clear();
    assert_int_equal(unlink("other/notes.txt"), 0);
    put_file("other/sweep.yaml", "half", 4); /* of a process that was killed */
    put_file("other/base.yaml", "half", 4);
    ok(dram_sweep_open(&o, NULL));
    dram_config *base; /* of all points, without what is set or swept */
    ok(dram_config_try("other/base.yaml", NULL, 0, &base));
    assert_true(base->optim.lr != 0.1 && base->optim.lr != 0.2);
    dram_config_free(base);
    char *text = get_file("other/base.yaml", NULL);
    assert_non_null(strstr(text, "# base.yaml, the base of the sweep "));
    free(text);
    dram_sweep_free(&o);
}

static void a_damaged_plan_is_refused(void **state)
{
    dram_sweep o;
    size_t bytes;
    (void)state;
    char *text = get_file("runs/s/plan.json", &bytes), *at = strstr(text, "\"planned_bytes\"");
    at[18] = at[18] == '1' ? '2' : '1';
    put_file("runs/s/plan.json", text, bytes);
    assert_int_equal(dram_sweep_load("runs/s", &o), DRAM_ERR_FORMAT);
    assert_non_null(strstr(dram_error_text(), "runs/s/plan.json: damaged"));
    dram_error_clear();
    put_file("runs/s/plan.json", text, bytes / 2);
    assert_int_equal(dram_sweep_load("runs/s", &o), DRAM_ERR_FORMAT);
    dram_error_clear();
    assert_int_equal(dram_sweep_load("runs", &o), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "runs: there is no plan.json in it"));
    dram_error_clear();
    free(text);
}

/* What a run is given is a whole config with the plan that was made, and nothing left to be chosen. */
static void a_run_has_its_plan_as_its_budget(void **state)
{
    dram_sweep o;
    ok(read_sweep(state, yaml, "", &o));
    ok(dram_sweep_open(&o, NULL));
    for (int i = 0; i < o.n_runs; i++) {
        const dram_sweep_run *run = &o.runs[i];
        const dram_sweep_point *p = &o.points[run->point];
        dram_str text = {0};
        dram_config *cfg;
        ok(dram_sweep_config(&o, run, &text));
        put_file("run.yaml", text.text, text.length);
        ok(dram_config_load("run.yaml", NULL, 0, &cfg));
        assert_string_equal(cfg->name, run->name);
        assert_string_equal(cfg->run.dir, "runs/s");
        assert_int_equal(cfg->seed, run->seed);
        assert_true(cfg->memory.budget >= p->planned_bytes && cfg->memory.budget < (int64_t)1 << 40);
        assert_int_equal(cfg->threads, 2);
        assert_int_equal(cfg->train.steps, 100);
        assert_int_equal(cfg->train.stop_at, run->timed ? DRAM_SWEEP_TIMED_STEPS : 0);
        assert_int_equal(cfg->memory.may_change, 0);
        dram_config_free(cfg);
        dram_str_free(&text);
    }
    assert_true(o.n_runs > 4);
    dram_sweep_free(&o);
}

/* A budget above all that there is would be refused where a run begins. */
static void a_budget_is_never_more_than_the_machine_has(void **state)
{
    dram_sweep o;
    plan(state, HEAD "  grid: {memory.budget: [100TiB, 90TiB]}\n", 1, &o);
    assert_int_equal(o.n_runs, 1);
    dram_config *cfg;
    put_file("settled.yaml", o.points[0].settled, strlen(o.points[0].settled));
    ok(dram_config_load("settled.yaml", NULL, 0, &cfg));
    assert_int_equal(cfg->memory.budget, o.points[0].planned_bytes);
    dram_config_free(cfg);
    dram_sweep_free(&o);
}

static void the_table_says_what_will_be_done(void **state)
{
    dram_str out = {0};
    (void)state;
    ok(dram_sweep_table(&s, &out));
    static const char *const said[] = {"11 asked for, 11 different: 2 trained, 2 timed",
                                       "4 with the plan of another, 1 wrong, 2 too big",
                                       "timed, as 1",
                                       "  as 2 ",
                                       "does not fit",
                                       "exact levers alone reach",
                                       "halving  0.25 go on at 10, 20"};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        if (!strstr(out.text, said[i])) fail_msg("\"%s\" is not in\n%s", said[i], out.text);
    dram_str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_judged_before_a_run),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_stop_ends_planning),
        cmocka_unit_test(inputs_are_asked_for),
        cmocka_unit_test(a_folder_is_made_once_and_found_again),
        cmocka_unit_test(large_numbers_are_found_again),
        cmocka_unit_test(another_sweep_is_refused_with_the_difference),
        cmocka_unit_test(a_changed_base_is_noticed),
        cmocka_unit_test(a_folder_of_something_else_is_refused),
        cmocka_unit_test(a_run_has_its_plan_as_its_budget),
        cmocka_unit_test(a_budget_is_never_more_than_the_machine_has),
        cmocka_unit_test(the_table_says_what_will_be_done),
        cmocka_unit_test(a_damaged_plan_is_refused),
    };
    return cmocka_run_group_tests(tests, sweeps_setup, tempdir_remove);
}
