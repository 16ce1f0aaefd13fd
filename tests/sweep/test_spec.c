/* Sweep files and words that are wrong: each is refused with its place, its key and a way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sweep/spec_cases.h"

typedef struct {
    const char *yaml, *words, *error;
} bad;

static const bad cases[] = {
    /* the file */
    {"sweep: {name: s}\n", "", "s.yaml: sweep.base: it is missing"},
    {"sweep: {base: base.yaml, grid: {optim.lr: [1]}}\n", "", "s.yaml: sweep.name: it is missing"},
    {"sweep: {name: s\n", "", "not valid YAML"},
    {"", "", "s.yaml: an empty file"},
    {HEAD "  grid: {optim.lr: [0.1]}\ntrain: {steps: 4}\n", "",
     "s.yaml:5:1: train: a sweep file has nothing beside sweep:"},
    {HEAD "  gird: {optim.lr: [0.1]}\n", "", "s.yaml:4:3: sweep: unknown key gird, did you mean grid?"},
    {HEAD "  name: t\n", "", "s.yaml:4:3: sweep: name is given twice"},
    {HEAD "  grid: &a {optim.lr: [0.1]}\n", "", "anchors and aliases"},
    {HEAD "  grid: {optim.lr: [!x 0.1]}\n", "", "tags (!) are not supported"},
    {"sweep: 5\n", "", "s.yaml:1:8: sweep: expected a mapping"},
    {"sweep:\n  name: a/b\n  base: base.yaml\n", "", "s.yaml:2:9: sweep.name: names a folder inside run.dir"},
    {"sweep:\n  name: ..\n  base: base.yaml\n", "", "s.yaml:2:9: sweep.name: names a folder inside run.dir"},
    /* the base */
    {"sweep: {name: s, base: none.yaml, grid: {optim.lr: [0.1]}}\n", "",
     "s.yaml:1:24: sweep.base: none.yaml: No such file"},
    {"sweep: {name: s, base: s.yaml, grid: {optim.lr: [0.1]}}\n", "",
     "s.yaml:1:24: sweep.base: s.yaml:1:1: sweep: this file is of many configs"},
    /* grid and set */
    {HEAD "  grid: {}\n", "", "s.yaml:4:9: sweep.grid: it is empty"},
    {HEAD "  grid: {optim.lr: []}\n", "", "s.yaml:4:20: optim.lr: there is no value in the list"},
    {HEAD "  grid: {optim.lr: 0.1}\n", "", "s.yaml:4:20: optim.lr: expected a list of values"},
    {HEAD "  grid: {optim.lrr: [0.1]}\n", "", "s.yaml:4:10: optim.lrr: unknown key, did you mean optim.lr?"},
    {HEAD "  grid: {optim: [{lr: 0.1}]}\n", "", "s.yaml:4:10: optim: a section; write its keys with dots"},
    {HEAD "  grid: {optim.lr: [0.1, fast]}\n", "", "s.yaml:4:26: optim.lr: expected"},
    {HEAD "  grid: {train.steps: [-1]}\n", "", "s.yaml:4:24: train.steps: out of range: expected"},
    {HEAD "  grid: {name: [a, b]}\n", "", "s.yaml:4:10: name: a run's name is its point's"},
    {HEAD "  grid: {seed: [1, 2]}\n", "", "s.yaml:4:10: seed: list the seeds as sweep.seeds"},
    {HEAD "  grid: {train.stop_at: [1, 2]}\n", "", "s.yaml:4:10: train.stop_at: a sweep sets it itself"},
    {HEAD "  grid: {run.dir: [a, b]}\n", "", "s.yaml:4:10: run.dir: a sweep has one folder"},
    {HEAD "  set: {optim.lr: 0.1}\n  grid: {optim.lr: [0.1, 0.2]}\n", "",
     "s.yaml:5:10: optim.lr: it is set by s.yaml:4:19 already: a key has one place"},
    {HEAD "  grid: {optim.lr: [0.1]}\n  random: {count: 2, keys: {optim.lr: {low: 1, high: 2}}}\n", "",
     "s.yaml:5:29: optim.lr: it is swept by s.yaml:4:10 already"},
    {HEAD "  grid: {optim.lr: [0.1], optim.lr: [0.2]}\n", "", "s.yaml:4:27: sweep.grid: optim.lr is given twice"},
    {HEAD "  grid: {\"a b\": [1]}\n", "", "s.yaml:4:10: \"a b\" is no key of a config"},
    {HEAD "  grid: {data.class_names: [[[[[[[a]]]]]]]}\n", "", "data.class_names: nested too deep"},
    {HEAD "  set: {}\n", "", "nothing is swept"},
    /* list */
    {HEAD "  list: []\n", "", "s.yaml:4:9: sweep.list: expected a list of points"},
    {HEAD "  list: [{optim.lr: 0.1}, {optim.speed: 2}]\n", "", "s.yaml:4:28: optim.speed: unknown key"},
    {HEAD "  list: [3]\n", "", "s.yaml:4:10: sweep.list: expected a mapping"},
    /* random */
    {HEAD "  random: {keys: {optim.lr: {low: 1, high: 2}}}\n", "", "s.yaml:4:11: sweep.random: it needs a count"},
    {HEAD "  random: {count: 4}\n", "", "s.yaml:4:11: sweep.random: it needs keys"},
    {HEAD "  random: {count: 0, keys: {optim.lr: {low: 1, high: 2}}}\n", "",
     "sweep.random.count: expected a whole number"},
    {HEAD "  random: {count: 2, seed: x, keys: {optim.lr: {low: 1, high: 2}}}\n", "", "sweep.random.seed: expected"},
    {HEAD "  random: {count: 2, keys: {optim.lr: {low: 2, high: 1}}}\n", "", "optim.lr: low, 2, is above high, 1"},
    {HEAD "  random: {count: 2, keys: {optim.lr: {low: 0, high: 1, log: true}}}\n", "",
     "with log: true low must be above 0"},
    {HEAD "  random: {count: 2, keys: {optim.lr: {low: 1}}}\n", "", "optim.lr: expected low and high, or choices"},
    {HEAD "  random: {count: 2, keys: {optim.lr: {low: 1, high: 2, choices: [1]}}}\n", "", "one of the two"},
    {HEAD "  random: {count: 2, keys: {optim.state: {low: 1, high: 2}}}\n", "",
     "its values are no numbers: give choices"},
    {HEAD "  random: {count: 2, keys: {optim.lr: {min: 1, high: 2}}}\n", "", "unknown key min"},
    /* seeds, quality, halving, ranks */
    {HEAD "  seeds: [1, 2, 1]\n", "", "s.yaml:4:10: sweep.seeds: 1 is there twice"},
    {HEAD "  seeds: []\n", "", "s.yaml:4:10: sweep.seeds: expected a list of seeds"},
    {HEAD "  seeds: [1, -2]\n", "", "s.yaml:4:14: sweep.seeds: expected a whole number"},
    {HEAD "  seeds: [1, 99999999999999999999]\n", "", "s.yaml:4:14: sweep.seeds: expected a whole number"},
    {HEAD "  seeds: [1, 2]\n  quality: accuracy\n", "",
     "s.yaml:5:12: sweep.quality: \"accuracy\" is no quality of an evaluation; one of miou"},
    {HEAD "  seeds: [1, 2]\n  quality: images\n", "", "is no quality of an evaluation"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: [50, 20]}\n", "", "sweep.halving.rungs: 20 comes after 50: rungs rise"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: [50, 50]}\n", "", "sweep.halving.rungs: 50 comes after 50: rungs rise"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: [0, 50]}\n", "", "sweep.halving.rungs: expected a whole number"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: []}\n", "", "sweep.halving.rungs: expected a list"},
    {HEAD "  seeds: [1, 2]\n  halving: {keep: 0.5}\n", "", "sweep.halving: it needs rungs"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: [50], keep: 1}\n", "", "sweep.halving.keep: expected the share"},
    {HEAD "  seeds: [1, 2]\n  halving: {rungs: [50, 100]}\n", "",
     "sweep.halving.rungs: 100 is not below train.steps, 100"},
    {HEAD "  seeds: [1, 2]\n  ranks: 0\n", "", "sweep.ranks: expected a whole number from 1 to 4096"},
    {HEAD "  grid: {distributed.ranks: [1, 2]}\n  ranks: 2\n", "", "sweep.ranks: distributed.ranks is swept"},
    /* words */
    {NULL, "", "nothing is swept"},
    {NULL, "optim.lr", "command line: \"optim.lr\" is not of the form key=value"},
    {NULL, "optim.lrr=1,2", "command line: optim.lrr: unknown key, did you mean optim.lr?"},
    {NULL, "optim.lr=1,fast", "command line: optim.lr: expected"},
    {NULL, "optim.lr=0.1", "nothing is swept"},
    {NULL, "optim.lr=1,2 optim.lr=3,4", "command line: optim.lr: it is swept by the command line already"},
    {NULL, "optim.lr=1,2 optim.lr=3", "command line: optim.lr: it is set by the command line already"},
    {NULL, "seed=1,1", "command line: sweep.seeds: 1 is there twice"},
    {NULL, "seed=1,x", "command line: seed: \"x\" is no whole number"},
    {NULL, "name=a/b optim.lr=1,2", "command line: name: names a folder inside run.dir"},
    {NULL, "run.dir=a,b", "command line: run.dir: a sweep has one folder"},
    {HEAD "  grid: {optim.lr: [0.1]}\n", "optim.lr=1,2", "optim.lr: it is swept by s.yaml:4:10 already"},
    {HEAD "  seeds: [1, 2]\n", "seed=3", "command line: seed: sweep.seeds of the file"},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static void each_is_refused(void **state)
{
    int refused = 0;
    for (int i = 0; i < CASES; i++) {
        dram_sweep sweep;
        if (read_sweep(state, cases[i].yaml, cases[i].words, &sweep) != DRAM_ERR_CONFIG)
            fail_msg("case %d is not refused: %s", i, cases[i].error);
        if (!strstr(dram_error_text(), cases[i].error))
            print_error("case %d: \"%s\" instead of \"%s\"\n", i, dram_error_text(), cases[i].error);
        refused += strstr(dram_error_text(), cases[i].error) != NULL;
        assert_null(sweep.points);
        dram_error_clear();
    }
    assert_int_equal(refused, CASES);
}

static void a_million_points_are_refused_at_once(void **state)
{
    dram_sweep sweep;
    char yaml[20000], *at = yaml + sprintf(yaml, HEAD "  grid:\n");
    static const char *const keys[] = {"optim.lr", "optim.weight_decay"};
    for (int k = 0; k < 2; k++) {
        at += sprintf(at, "    %s: [", keys[k]);
        for (int i = 1; i <= 1000; i++) at += sprintf(at, "%s%d", i > 1 ? "," : "", i);
        at += sprintf(at, "]\n");
    }
    assert_int_equal(read_sweep(state, yaml, "", &sweep), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "1000000 points are asked for, and a sweep has 9999 at most"));
    dram_error_clear();
}

static void a_file_that_is_not_there(void **state)
{
    dram_sweep sweep;
    (void)state;
    assert_int_equal(dram_sweep_read("none.yaml", NULL, 0, &sweep), DRAM_ERR_CONFIG);
    assert_non_null(strstr(dram_error_text(), "none.yaml: cannot open"));
    dram_error_clear();
    assert_int_equal(dram_sweep_read(".", NULL, 0, &sweep), DRAM_ERR_CONFIG);
    dram_error_clear();
}

/* Bytes of any kind are refused or read, never worse: every prefix of a good file, and each with a byte changed. */
static void torn_files_do_no_harm(void **state)
{
    static const char good[] = HEAD "  set: {train.steps: 60}\n"
                                    "  grid: {optim.lr: [0.1, 0.2]}\n"
                                    "  list: [{optim.state: int8}]\n"
                                    "  random: {count: 2, keys: {optim.lr: {low: 1, high: 2}}}\n"
                                    "  seeds: [1, 2]\n"
                                    "  halving: {rungs: [10, 20], keep: 0.5}\n";
    int read = 0;
    for (size_t n = 1; n + 1 < sizeof good; n += 3) {
        static const char marks[] = "[]{}&*!:,#\"'-\n\t%x";
        char text[sizeof good];
        dram_sweep sweep;
        snprintf(text, sizeof text, "%.*s", (int)n, good);
        if (read_sweep(state, text, "", &sweep) == DRAM_OK) dram_sweep_free(&sweep);
        dram_error_clear();
        memcpy(text, good, sizeof good);
        text[n] = marks[n % (sizeof marks - 1)];
        if (read_sweep(state, text, "", &sweep) == DRAM_OK) dram_sweep_free(&sweep);
        dram_error_clear();
        read++;
    }
    assert_true(read > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_refused),
        cmocka_unit_test(a_million_points_are_refused_at_once),
        cmocka_unit_test(a_file_that_is_not_there),
        cmocka_unit_test(torn_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, sweeps_setup, tempdir_remove);
}
