/* The page of a sweep, and its picture, of points that nothing was trained for. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "page/html.h"
#include "page/page.h"
#include "support/full_disk.h"
#include "support/ok.h"
#include "support/tempdir.h"

enum { POINTS = 6, RUNS = 5 };

typedef struct {
    dram_sweep sweep;
    dram_sweep_results results;
    dram_sweep_point points[POINTS];
    dram_sweep_run runs[RUNS];
    dram_sweep_result ran[RUNS];
    dram_sweep_outcome came[POINTS];
} fixture;

static char memory_quality[] = "memory & <quality>", folder[4096], source[] = "sweep.yaml";
static char small[] = "data.size=64", large[] = "data.size=128 name=<img src=x>",
            wrong[] = "expected a number, found \"<script>\"";
static char died[] = "dram: no memory for </td>";

static void open_fixture(fixture *f, const char *directory)
{
    *f = (fixture){
        .sweep = {
            .name = memory_quality, .source = source, .asked = 7, .n_points = POINTS, .n_runs = RUNS, .n_seeds = 2}};
    snprintf(folder, sizeof folder, "%s", directory);
    f->sweep.directory = folder;
    f->sweep.points = f->points;
    f->sweep.runs = f->runs;
    f->results = (dram_sweep_results){.runs = f->ran, .points = f->came};
    for (int i = 0; i < POINTS; i++) {
        f->points[i] = (dram_sweep_point){.index = i + 1,
                                          .differs = i % 2 ? large : small,
                                          .overrides = small,
                                          .planned_bytes = (i + 1) * 50000000LL,
                                          .flops = 2000000000000LL};
        f->came[i] = (dram_sweep_outcome){.mean = NAN, .sd = NAN, .seconds_per_image = NAN};
    }
    f->came[0] = (dram_sweep_outcome){.n = 2,
                                      .mean = 0.25,
                                      .sd = 0.0125,
                                      .measured_bytes = 50000000,
                                      .process_bytes = 90000000,
                                      .seconds_per_image = 0.02,
                                      .known = true,
                                      .pareto = true};
    f->came[1] = (dram_sweep_outcome){.n = 1,
                                      .mean = 0.375,
                                      .sd = NAN,
                                      .measured_bytes = 100000000,
                                      .seconds_per_image = 0.04,
                                      .known = true,
                                      .single = true,
                                      .pareto = true};
    f->came[2] = (dram_sweep_outcome){.n = 2,
                                      .mean = 0.125,
                                      .sd = 0.5,
                                      .seconds_per_image = 0.03,
                                      .known = true,
                                      .n_dominated_by = 2,
                                      .dominated_by = {1, 2}};
    f->points[3].equal_to = 1;
    f->points[4].status = DRAM_POINT_WRONG;
    f->points[4].text = wrong;
    f->points[4].planned_bytes = 0;
    for (int i = 0; i < RUNS; i++) {
        snprintf(f->runs[i].name, sizeof f->runs[i].name, "000%d-00000000-s1", i);
        f->runs[i].point = i % 3;
        f->ran[i] = (dram_sweep_result){
            .state = DRAM_SWEEP_DONE, .steps = 30, .quality = {0.25, 0.5, NAN, NAN}, .images_per_second = 12.5};
    }
    f->ran[2].state = DRAM_SWEEP_FAILED;
    f->ran[2].exit = 1;
    f->ran[2].text = died;
    f->ran[3].state = DRAM_SWEEP_GONE;
    f->ran[3].exit = -1;
    f->ran[4].state = DRAM_SWEEP_WAITING;
}

static void the_page_has_points_runs_and_failures(void **state)
{
    fixture f;
    dram_str page = {0}, again = {0};
    open_fixture(&f, *state);
    put_file(in_dir(state, "sweep.yaml"), "name: \"<b>\"\n", 12);
    ok(dram_page_sweep(&f.sweep, &f.results, &page));
    ok(dram_page_sweep(&f.sweep, &f.results, &again));
    assert_has(page.text, "<pre>name: &quot;&lt;b&gt;&quot;\n</pre>");
    assert_well_formed(page.text);
    assert_string_equal(page.text, again.text);
    assert_has(page.text, "<h1>memory &amp; &lt;quality&gt;</h1>");
    assert_has(page.text, "7 points asked for, 6 different, 2 seeds");
    assert_has(page.text, "of 5 runs done, 2 failed, 1 still to be made");
    assert_true(number_at(page.text, "runs_done") == 2 && number_at(page.text, "best") == 0.375);
    assert_true(number_at(page.text, "frontier") == 2 && number_at(page.text, "known") == 3);
    assert_true(number_at(page.text, "least_bytes") == 50e6 && number_at(page.text, "most_bytes") == 150e6);
    assert_true(number_at(page.text, "point.1.mean") == 0.25 && number_at(page.text, "point.1.sd") == 0.0125);
    assert_true(number_at(page.text, "point.1.measured_process_bytes") == 90e6);
    assert_true(number_at(page.text, "point.2.planned_bytes") == 100e6);
    assert_true(number_at(page.text, "run.0000-00000000-s1.miou") == 0.25);
    assert_has(page.text, ">behind 1, 2</td>");
    assert_has(page.text, "frontier</b> (one seed)");
    assert_has(page.text, ">the same as 1</td>");
    assert_has(page.text, "expected a number, found &quot;&lt;script&gt;&quot;</td>");
    assert_has(page.text, "dram: no memory for &lt;/td&gt;</td>");
    assert_has(page.text, "its folder is no longer there");
    assert_has_not(page.text, "<img src=x>");
    assert_int_equal(count_of(page.text, "<circle class=\"dot c0\"") +
                         count_of(page.text, "<circle class=\"dot c0 hollow\""),
                     2 * 2 + 2); /* two on the frontier, twice, and two of the key */
    assert_has(page.text, "3 points have no quality or no bytes, and are not drawn");
    dram_str_free(&page);
    dram_str_free(&again);
}

static void a_sweep_without_results_has_a_page(void **state)
{
    fixture f;
    dram_str page = {0}, picture = {0};
    open_fixture(&f, *state);
    for (int i = 0; i < POINTS; i++) f.came[i] = (dram_sweep_outcome){.mean = NAN, .sd = NAN, .seconds_per_image = NAN};
    f.sweep.n_runs = 0;
    ok(dram_page_sweep(&f.sweep, &f.results, &page));
    ok(dram_page_sweep_picture(&f.sweep, &f.results, &picture));
    assert_well_formed(page.text);
    assert_well_formed(picture.text);
    assert_has(page.text, "There is no point with a quality yet");
    dram_str_free(&page);
    dram_str_free(&picture);
}

static void both_files_are_written_whole_or_not_at_all(void **state)
{
    fixture f;
    open_fixture(&f, *state);
    ok(dram_page_sweep_save(&f.sweep, &f.results, NULL));
    char *before = get_file(in_dir(state, "report.html"), NULL), *picture = get_file(in_dir(state, "pareto.svg"), NULL);
    assert_well_formed(before);
    assert_well_formed(picture);
    assert_has(picture, "memory &amp; &lt;quality&gt;: memory against mIoU</text>");
    file_limit limit = limit_files(1000);
    dram_status status = dram_page_sweep_save(&f.sweep, &f.results, NULL);
    unlimit_files(limit);
    assert_int_equal(status, DRAM_ERR_IO);
    dram_error_clear();
    assert_file_is(in_dir(state, "report.html"), before, strlen(before));
    assert_file_is(in_dir(state, "pareto.svg"), picture, strlen(picture));
    assert_int_equal(temporaries(*state), 0);
    free(before);
    free(picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_has_points_runs_and_failures),
        cmocka_unit_test(a_sweep_without_results_has_a_page),
        cmocka_unit_test(both_files_are_written_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
