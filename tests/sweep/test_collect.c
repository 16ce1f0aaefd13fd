/* A folder of runs read back: states, means, CSV to the byte.
 * The sweep is made by hand: no config, no plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "base/alloc.h"
#include "support/ok.h"
#include "support/tempdir.h"
#include "sweep/plan_file.h"

static dram_sweep_point points[5];
static int64_t seeds[] = {1, 2};
static char name[] = "s", directory[4096];

/* 1 trained, 2 timed as 1, 3 equal to 2, 4 too big, 5 trained with text that CSV quotes. */
static dram_sweep make(void **state)
{
    static char *const overrides[] = {
        (char *)"optim.lr=0.1", (char *)"optim.lr=0.1 memory.budget=1MiB", (char *)"optim.lr=0.1 memory.budget=2MiB",
        (char *)"optim.lr=0.1 memory.budget=3B", (char *)"data.class_names=[\"a, b\", c] optim.lr=0.2"};
    snprintf(directory, sizeof directory, "%s", (char *)*state);
    for (int i = 0; i < 5; i++)
        points[i] = (dram_sweep_point){.index = i + 1,
                                       .hash = "0123abcd",
                                       .overrides = overrides[i],
                                       .differs = overrides[i],
                                       .asked = 1,
                                       .planned_bytes = 1000 - 100 * i,
                                       .process_bytes = 2000,
                                       .flops = 5,
                                       .steps = 40,
                                       .ranks = 1};
    points[1].timed_with = 1;
    points[2].equal_to = 2;
    points[3].status = DRAM_POINT_TOO_BIG;
    points[3].floor_bytes = 77;
    points[3].text = (char *)"the plan needs \"much\"";
    dram_sweep s = {.name = name,
                    .directory = directory,
                    .quality = DRAM_QUALITY_MIOU,
                    .seeds = seeds,
                    .n_seeds = 2,
                    .asked = 5,
                    .points = points,
                    .n_points = 5};
    ok(dram_sweep_list_runs(&s));
    assert_int_equal(s.n_runs, 5);
    return s;
}

static const char *path_of(const dram_sweep *s, int run, const char *file)
{
    static char path[8400];
    snprintf(path, sizeof path, "%s/%s%s%s", s->directory, s->runs[run].name, *file ? "/" : "", file);
    return path;
}

static void put_summary(const dram_sweep *s, int run, int exit, int steps, int all, double miou)
{
    char text[1000];
    mkdir(path_of(s, run, ""), 0777);
    snprintf(text, sizeof text,
             "{\"steps\": %d, \"steps_in_all\": %d, \"exit\": %d, \"measured_peak_bytes\": %d, "
             "\"process_peak_rss_bytes\": 9000, "
             "\"images_per_second\": 4, \"final_loss\": 0.5, \"gpu_process\": null, \"eval\": {\"miou\": %g, "
             "\"pixel_accuracy\": null}}",
             steps, all, exit, 900 + run, miou);
    put_file(path_of(s, run, "summary.json"), text, strlen(text));
}

static void put_events(const dram_sweep *s, const char *const *lines, int n)
{
    char path[5000], text[4000] = "";
    snprintf(path, sizeof path, "%s/events.jsonl", s->directory);
    for (int i = 0; i < n; i++) strcat(text, lines[i]);
    put_file(path, text, strlen(text));
}

static void assert_state(const dram_sweep_results *r, int run, dram_sweep_state state)
{
    if (r->runs[run].state != state)
        fail_msg("run %d is %s instead of %s", run, dram_sweep_state_word(r->runs[run].state),
                 dram_sweep_state_word(state));
}

static void nothing_yet(void **state)
{
    dram_sweep s = make(state);
    dram_sweep_results r;
    ok(dram_sweep_collect(&s, &r));
    for (int i = 0; i < 5; i++) assert_state(&r, i, DRAM_SWEEP_WAITING);
    assert_int_equal(r.points[0].n, 0);
    assert_int_equal(r.points[0].waiting, 2);
    assert_true(isnan(r.points[0].mean));
    assert_false(r.points[0].known || r.points[0].pareto);
    dram_sweep_results_free(&s, &r);
    dram_free(s.runs);
}

static void states(void **state)
{
    dram_sweep s = make(state);
    dram_sweep_results r;
    const char *const none[] = {""};
    mkdir(path_of(&s, 0, ""), 0777);     /* begun */
    put_summary(&s, 1, 0, 20, 40, 0.5);  /* to a rung */
    put_summary(&s, 2, 0, 20, 40, 0.5);  /* timed: that is all of it */
    put_summary(&s, 3, 130, 7, 40, 0.5); /* interrupted */
    put_summary(&s, 4, 1, 7, 40, 0.5);
    put_events(&s, none, 1);
    ok(dram_sweep_collect(&s, &r));
    assert_state(&r, 0, DRAM_SWEEP_BEGUN);
    assert_state(&r, 1, DRAM_SWEEP_PAUSED);
    assert_state(&r, 2, DRAM_SWEEP_DONE);
    assert_state(&r, 3, DRAM_SWEEP_BEGUN);
    assert_state(&r, 4, DRAM_SWEEP_FAILED);
    assert_int_equal(r.runs[4].exit, 1);
    assert_int_equal(r.points[0].n, 0); /* at a rung is not done */
    dram_sweep_results_free(&s, &r);
    char lines[4][200];
    snprintf(lines[0], 200, "{\"event\": \"failed\", \"run\": \"%s\", \"exit\": 3, \"text\": \"old\"}\n",
             s.runs[4].name);
    snprintf(lines[1], 200, "{\"event\": \"started\", \"run\": \"%s\", \"exit\": null}\nno json\n", s.runs[4].name);
    snprintf(lines[2], 200, "{\"event\": \"failed\", \"run\": \"%s\", \"exit\": 9, \"text\": \"its, last\"}\n",
             s.runs[0].name);
    snprintf(lines[3], 200, "{\"event\": \"done\", \"run\": \"%s\", \"exit\": 0}\n{\"event\": \"fai", s.runs[3].name);
    const char *const all[] = {lines[0], lines[1], lines[2], lines[3]};
    put_events(&s, all, 4);
    char command[8500];
    snprintf(command, sizeof command, "rm -r '%s'", path_of(&s, 3, ""));
    assert_int_equal(system(command), 0);
    ok(dram_sweep_collect(&s, &r));
    assert_state(&r, 4, DRAM_SWEEP_BEGUN); /* it is being made again */
    assert_state(&r, 0, DRAM_SWEEP_FAILED);
    assert_string_equal(r.runs[0].text, "its, last");
    assert_int_equal(r.runs[0].exit, 9);
    assert_state(&r, 3, DRAM_SWEEP_GONE);
    assert_int_equal(r.points[4].gone, 1);
    dram_str out = {0};
    ok(dram_sweep_report(&s, &r, &out));
    assert_non_null(strstr(out.text, "exit 9: its, last"));
    assert_non_null(strstr(out.text, "its directory was there, and is no more"));
    dram_str_free(&out);
    dram_sweep_results_free(&s, &r);
    dram_free(s.runs);
}

/* Killed between its last step and its summary, it went on with none: the summary has no time. */
static void a_time_is_that_of_all_steps(void **state)
{
    dram_sweep s = make(state);
    dram_sweep_results r;
    static const char summary[] = "{\"steps\": 40, \"steps_in_all\": 40, \"exit\": 0, \"images_per_second\": null, "
                                  "\"final_loss\": null, \"eval\": {\"miou\": 0.5}}";
    static const char metrics[] = "{\"step\": 0, \"loss\": 3, \"images_per_second\": 2}\n"
                                  "{\"step\": 1, \"loss\": 0.25, \"images_per_second\": 4}\n"
                                  "{\"step\": 2, \"loss\": null, \"images_per_second\": null}\n{\"st";
    put_summary(&s, 0, 0, 40, 40, 0.5);
    put_file(path_of(&s, 0, "summary.json"), summary, sizeof summary - 1);
    ok(dram_sweep_collect(&s, &r));
    assert_true(isnan(r.runs[0].seconds_per_image)); /* there is no file of metrics */
    dram_sweep_results_free(&s, &r);
    put_file(path_of(&s, 0, "metrics.jsonl"), metrics, sizeof metrics - 1);
    ok(dram_sweep_collect(&s, &r));
    assert_true(r.runs[0].seconds_per_image == 0.375 && r.runs[0].final_loss == 0.25);
    assert_true(r.points[0].known && r.points[0].pareto);
    dram_sweep_results_free(&s, &r);
    assert_int_equal(unlink(path_of(&s, 0, "metrics.jsonl")), 0); /* a pipe is not waited for */
    assert_int_equal(mkfifo(path_of(&s, 0, "metrics.jsonl"), 0666), 0);
    ok(dram_sweep_collect(&s, &r));
    assert_state(&r, 0, DRAM_SWEEP_DONE);
    assert_true(isnan(r.runs[0].seconds_per_image) && r.runs[0].quality[DRAM_QUALITY_MIOU] == 0.5);
    dram_sweep_results_free(&s, &r);
    assert_int_equal(unlink(path_of(&s, 0, "metrics.jsonl")), 0);
    dram_free(s.runs);
}

/* What a summary alone says, which is what a sweep goes by while it makes its runs. */
static void a_summary_alone(void **state)
{
    static const struct {
        const char *text;
        int run, exit;
        dram_sweep_state want;
        int64_t steps;
    } cases[] = {
        {"{\"steps\": 40, \"steps_in_all\": 40, \"exit\": 0}", 0, 0, DRAM_SWEEP_DONE, 40},
        {"{\"steps\": 20, \"steps_in_all\": 40, \"exit\": 0}", 0, 0, DRAM_SWEEP_PAUSED, 20},
        {"{\"steps\": 20, \"steps_in_all\": 40, \"exit\": 0}", 2, 0, DRAM_SWEEP_DONE, 20}, /* for its time */
        {"{\"steps\": 40, \"exit\": 0}", 0, 0, DRAM_SWEEP_DONE, 40}, /* of so many steps is the point */
        {"{\"steps\": 39, \"exit\": 0}", 0, 0, DRAM_SWEEP_PAUSED, 39},
        {"{\"steps\": 40, \"steps_in_all\": 40, \"exit\": 130}", 0, 130, DRAM_SWEEP_BEGUN, 40},
        {"{\"steps\": 40, \"ste", 0, -1, DRAM_SWEEP_BEGUN, 0},
    };
    dram_sweep s = make(state);
    dram_sweep_result r;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mkdir(path_of(&s, cases[i].run, ""), 0777);
        put_file(path_of(&s, cases[i].run, "summary.json"), cases[i].text, strlen(cases[i].text));
        ok(dram_sweep_read_summary(&s, cases[i].run, &r));
        if (r.state != cases[i].want || r.exit != cases[i].exit || r.steps != cases[i].steps)
            fail_msg("case %zu: %s, exit %d, %lld steps", i, dram_sweep_state_word(r.state), r.exit,
                     (long long)r.steps);
    }
    assert_int_equal(unlink(path_of(&s, 0, "summary.json")), 0);
    ok(dram_sweep_read_summary(&s, 0, &r));
    assert_true(r.state == DRAM_SWEEP_BEGUN && r.exit == -1 && isnan(r.final_loss));
    dram_free(s.runs);
}

/* As many columns as keys are swept, and values of any length. */
static void a_column_for_each_key(void **state)
{
    enum { KEYS = 100, LONG = 5000 };
    static char differs[2][KEYS * 24 + LONG], value[LONG + 1];
    dram_sweep s = make(state);
    dram_sweep_results r;
    memset(value, 'v', LONG);
    s.n_points = 2;
    s.n_runs = 0;
    for (int p = 0; p < 2; p++) {
        points[p].differs = differs[p];
        points[p].timed_with = 0;
        for (int k = p; k < KEYS; k++) /* the second has one less */
            sprintf(differs[p] + strlen(differs[p]), "%skey.%d=%d", k > p ? " " : "", k, 1000 * p + k);
    }
    sprintf(differs[1] + strlen(differs[1]), " last=%s", value);
    ok(dram_sweep_collect(&s, &r));
    ok(dram_sweep_write_csv(&s, &r));
    char *csv = get_file(in_dir(state, "points.csv"), NULL), *line = strstr(csv, ",text,") + 5;
    for (int k = 0; k < KEYS; k++) {
        char want[32];
        int n = snprintf(want, sizeof want, ",key.%d", k);
        assert_memory_equal(line, want, n);
        line += n;
    }
    assert_memory_equal(line, ",last\n1,", 8);
    line = strchr(line, '\n') + 1;
    assert_non_null(strstr(line, ",0,1,2,3,"));
    assert_non_null(strstr(line, ",98,99,\n2,"));
    line = strchr(line, '\n') + 1;
    assert_non_null(strstr(line, ",,1001,1002,"));
    assert_non_null(strstr(line, ",1098,1099,v"));
    assert_memory_equal(strrchr(line, ',') + 1, value, LONG);
    assert_string_equal(strrchr(line, ',') + 1 + LONG, "\n");
    free(csv);
    dram_sweep_results_free(&s, &r);
    dram_free(s.runs);
}

static const char runs_csv[] =
    "run,point,hash,seed,timed,state,exit,text,steps,miou,pixel_accuracy,embedding_cosine,embedding_mse,planned_bytes,"
    "measured_bytes,process_bytes,seconds_per_image,images_per_second,final_loss,overrides\n"
    "0001-0123abcd-s1,1,0123abcd,1,0,done,0,,40,0.5,,,,1000,900,9000,0.25,4,0.5,optim.lr=0.1\n"
    "0001-0123abcd-s2,1,0123abcd,2,0,done,0,,40,0.7,,,,1000,901,9000,0.25,4,0.5,optim.lr=0.1\n"
    "0002-0123abcd-time,2,0123abcd,1,1,done,0,,20,,,,,900,902,9000,0.25,4,0.5,optim.lr=0.1 memory.budget=1MiB\n"
    "0005-0123abcd-s1,5,0123abcd,1,0,done,0,,40,0.25,,,,600,903,9000,0.25,4,0.5,\"data.class_names=[\"\"a, b\"\", c] "
    "optim.lr=0.2\"\n"
    "0005-0123abcd-s2,5,0123abcd,2,0,failed,1,\"its, \"\"last\"\"\",7,0.5,,,,600,904,9000,0.25,4,0.5,"
    "\"data.class_names=[\"\"a, b\"\", c] optim.lr=0.2\"\n";

static const char points_csv[] =
    "index,hash,role,overrides,planned_bytes,measured_bytes,process_bytes,seconds_per_image,quality,mean,sd,n,flops,"
    "pareto,"
    "dominated_by,equal_to,timed_with,failed,floor_bytes,pulled,text,optim.lr,memory.budget,data.class_names\n"
    "1,0123abcd,trained,optim.lr=0.1,1000,901,2000,0.25,miou,0.6,0.141421356,2,5,1,,,,0,,,,0.1,,\n"
    "2,0123abcd,timed,optim.lr=0.1 memory.budget=1MiB,900,902,2000,0.25,miou,0.6,0.141421356,2,5,1,,,1,0,,,,0.1,1MiB,\n"
    "3,0123abcd,equal,optim.lr=0.1 memory.budget=2MiB,800,902,2000,0.25,miou,0.6,0.141421356,2,5,1,,2,,0,,,,0.1,2MiB,\n"
    "4,0123abcd,too_big,optim.lr=0.1 memory.budget=3B,700,,2000,,miou,,,0,5,,,,,0,77,,\"the plan needs "
    "\"\"much\"\"\",0.1,3B,\n"
    "5,0123abcd,trained,\"data.class_names=[\"\"a, b\"\", c] "
    "optim.lr=0.2\",600,904,2000,0.25,miou,0.25,,1,5,1,,,,1,,,,0.2,,"
    "\"[\"\"a, b\"\", c]\"\n";

/* The quality of the timed one is that of the trained, its time its own; a failed run counts in no mean. */
static void files_to_the_byte(void **state)
{
    dram_sweep s = make(state);
    dram_sweep_results r;
    char line[300];
    const char *const lines[] = {line};
    put_summary(&s, 0, 0, 40, 40, 0.5);
    put_summary(&s, 1, 0, 40, 40, 0.7);
    put_summary(&s, 2, 0, 20, 40, 0.1);
    put_summary(&s, 3, 0, 40, 40, 0.25);
    put_summary(&s, 4, 1, 7, 40, 0.5);
    snprintf(line, sizeof line,
             "{\"event\": \"failed\", \"run\": \"%s\", \"exit\": 1, \"text\": \"its, \\\"last\\\"\"}\n",
             s.runs[4].name);
    put_events(&s, lines, 1);
    for (int again = 0; again < 2; again++) {
        ok(dram_sweep_collect(&s, &r));
        ok(dram_sweep_write_csv(&s, &r));
        assert_file_is(in_dir(state, "runs.csv"), runs_csv, sizeof runs_csv - 1);
        assert_file_is(in_dir(state, "points.csv"), points_csv, sizeof points_csv - 1);
        int order[5];
        static const int want[] = {4, 3, 2, 1, 0};
        dram_sweep_sort(&s, &r, order);
        assert_memory_equal(order, want, sizeof want);
        cJSON *json = dram_sweep_results_json(&s, &r);
        assert_non_null(json);
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "results")), 5);
        cJSON_Delete(json);
        dram_sweep_results_free(&s, &r);
    }
    dram_free(s.runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(states),
        cmocka_unit_test(a_time_is_that_of_all_steps),
        cmocka_unit_test(a_summary_alone),
        cmocka_unit_test(files_to_the_byte),
        cmocka_unit_test(a_column_for_each_key),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
