/* `dram sweep` as it is typed: the table, exit codes, JSON, what is wrong; no model is run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/commands.h"
#include "sweep/base.h"

static void put(void **state, const char *name, const char *text)
{
    put_file(in_dir(state, name), text, strlen(text));
}

static void the_table_comes_first(void **state)
{
    dram_ok(state, "sweep base.yaml optim.state=fp32,int8 optim.type=adamw,sgd seed=1,2 --plan");
    assert_non_null(strstr(printed, "points   4 asked for, 4 different: 3 trained, 1 wrong"));
    assert_non_null(strstr(printed, "command line: optim.state: only adamw has a state of 8 bits"));
    assert_non_null(strstr(printed, "runs     6: 2 seeds a trained point"));
    assert_false(is_there(in_dir(state, "runs"))); /* nothing is made */
}

static void json_is_the_plan(void **state)
{
    dram_ok(state, "sweep base.yaml optim.state=fp32,int8 --plan --json");
    cJSON *root = printed_json();
    const cJSON *points = cJSON_GetObjectItem(root, "points");
    assert_int_equal(cJSON_GetArraySize(points), 2);
    for (int i = 0; i < 2; i++) {
        const cJSON *p = cJSON_GetArrayItem(points, i);
        assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(p, "status")), "planned");
        assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(p, "planned_bytes")) > 1e6);
    }
    cJSON_Delete(root);
    assert_non_null(strstr(complained, "points   2 asked for"));
}

static void exit_codes(void **state)
{
    put(state, "wrong.yaml", HEAD "  grid: {optim.type: [sgd], optim.state: [int8]}\n");
    assert_int_equal(dram(state, "sweep wrong.yaml --plan"), 2);
    assert_non_null(strstr(complained, "every point is wrong"));
    put(state, "big.yaml", HEAD "  grid: {memory.budget: [1MiB, 2MiB]}\n");
    assert_int_equal(dram(state, "sweep big.yaml --plan"), 3);
    assert_non_null(strstr(complained, "no point fits: 2 of 2 are too big"));
    assert_non_null(strstr(printed, "exact levers alone reach"));
    dram_ok(state, "sweep --help");
    assert_non_null(strstr(printed, "dram sweep FILE|CONFIG [key=a,b,c ...]"));
    assert_non_null(strstr(printed, "--plan"));
}

static void what_is_typed_wrongly(void **state)
{
    dram_fails(state, "sweep", 2, "sweep: an argument is missing");
    dram_fails(state, "sweep none.yaml", 2, "none.yaml: cannot open");
    dram_fails(state, "sweep base.yaml optim.lrr=1,2", 2, "optim.lrr: unknown key, did you mean optim.lr?");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --plan --report", 2, "give one");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --jobs 0", 2, "--jobs: \"0\" is no whole number of 1 or more");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --index x", 2, "--index: \"x\"");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --memory much", 2, "--memory: \"much\" is no size");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --memory 0", 2, "--memory: \"0\" is no size");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --plan --jobs 2", 2, "--plan makes no run");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --report --failed", 2, "--report makes no run");
    dram_fails(state, "sweep .", 2, ". is a folder, which is for --report");
    dram_fails(state, "sweep . optim.lr=1 --report", 2, ". is a folder, which is for --report");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --share never", 2, "--share: \"never\" is not always");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --plna", 2, "did you mean --plan?");
    dram_fails(state, "sweep base.yaml optim.lr=1,2 --report", 2, "runs/base-sweep: this sweep has not begun");
    dram_fails(state, "sweep . --report", 2, "there is no plan.json in it");
}

/* Without data there is nothing that a run could do, and it is said of each point before a folder is made. */
static void inputs_are_asked_for_before_a_run(void **state)
{
    assert_int_equal(dram(state, "sweep base.yaml optim.lr=0.1,0.2"), 2);
    assert_non_null(
        strstr(printed, "data.val.images: the sweep's quality is miou, and there is nothing to evaluate on"));
    assert_non_null(strstr(complained, "every point is wrong"));
    assert_false(is_there(in_dir(state, "runs")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_comes_first),
        cmocka_unit_test(json_is_the_plan),
        cmocka_unit_test(exit_codes),
        cmocka_unit_test(what_is_typed_wrongly),
        cmocka_unit_test(inputs_are_asked_for_before_a_run),
    };
    return cmocka_run_group_tests(tests, sweeps_setup, tempdir_remove);
}
