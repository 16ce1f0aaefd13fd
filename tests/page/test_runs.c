/* The pages of runs: one that is done, one that was broken off, one that went on, and several. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "page/history.h"
#include "page/html.h"
#include "page/page.h"
#include "support/ok.h"
#include "support/tempdir.h"

/* ---- runs of a few lines ---- */

static const char config[] =
    "name: %s\nseed: 3\ndevice: cpu\nthreads: 1\n"
    "data: {size: 64, classes: 3, class_names: [road, \"<script>alert(1)</script>\", \"a&b\"], "
    "train: {images: /nowhere/\"images, labels: /nowhere/labels}}\n"
    "student: {arch: vit_micro}\nsam_distill: {enabled: false}\ntask: {enabled: true}\n"
    "optim: {lr: %s}\ntrain: {steps: 40, batch_size: 2}\n";

static void put_text(void **state, const char *folder, const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    put_file(in_dir(state, path), text, strlen(text));
}

static void begin(void **state, const char *folder, const char *title, const char *lr)
{
    char text[1024];
    assert_int_equal(mkdir(in_dir(state, folder), 0777), 0);
    snprintf(text, sizeof text, config, title, lr);
    put_text(state, folder, "config.yaml", text);
}

static double loss_at(int step)
{
    return 2.5 / (step + 1) + 0.125;
}

/* Lines of steps first..last - 1. */
static void add_metrics(dram_str *text, int first, int last)
{
    for (int i = first; i < last; i++)
        dram_str_add(
            text,
            "{\"step\":%d,\"loss\":%.9g,\"loss_task\":%.9g,\"loss_sam\":null,\"loss_resolution\":null,\"lr\":0.001,"
            "\"grad_norm\":%s,\"loss_scale\":null,\"distilled\":false,\"teacher_ran\":false,"
            "\"images_per_second\":%d,\"planned_peak_bytes\":1234567,\"measured_peak_bytes\":1234567}\n",
            i, loss_at(i), loss_at(i), i == 7 ? "null" : "1.5", 20 + i % 3);
}

static void put_metrics(void **state, const char *folder, int steps, const char *tail)
{
    dram_str text = {0};
    add_metrics(&text, 0, steps);
    dram_str_add(&text, "%s", tail);
    put_text(state, folder, "metrics.jsonl", text.text);
    dram_str_free(&text);
}

static const char evaluations[] =
    "{\"miou\":0.25,\"embedding_cosine\":null,\"embedding_mse\":null,\"pixel_accuracy\":0.5,\"images\":4,"
    "\"class_iou\":[0.5,0.25,0],\"step\":20}\n"
    "{\"miou\":0.3068422839782,\"embedding_cosine\":null,\"embedding_mse\":null,\"pixel_accuracy\":0.625,\"images\":4,"
    "\"class_iou\":[0.75,0.125,null],\"class_names\":[\"road\",\"<script>alert(1)</script>\",\"a&b\"],\"step\":40}\n";

static const char summary[] =
    "{\"steps\":%d,\"planned_peak_bytes\":1234567,\"measured_peak_bytes\":%d,\"process_peak_rss_bytes\":7654321,"
    "\"images_per_second\":21.5,\"skipped_images\":0,\"skipped_steps\":0,\"exit\":%d,\"eval\":{\"miou\":0."
    "3068422839782,"
    "\"pixel_accuracy\":0.625},\"data\":{\"train\":{\"images\":9,\"labels\":8,\"left_out\":1}}}";

static void put_summary(void **state, const char *folder, int steps, int measured, int code)
{
    char text[1024];
    snprintf(text, sizeof text, summary, steps, measured, code);
    put_text(state, folder, "summary.json", text);
}

static const char memory[] =
    "{\"seconds\":0,\"step\":0,\"device_bytes\":1234567,\"process_rss_bytes\":7000000,\"free_bytes\":9}\n"
    "{\"seconds\":9.5,\"step\":20,\"device_bytes\":1234567,\"process_rss_bytes\":7654321,\"free_bytes\":9}\n";
static const char memory_on[] =
    "{\"seconds\":0,\"step\":20,\"device_bytes\":1234567,\"process_rss_bytes\":7000000,\"free_bytes\":9}\n"
    "{\"seconds\":4,\"step\":40,\"device_bytes\":1234567,\"process_rss_bytes\":7100000,\"free_bytes\":9}\n";

/* The page of a run, well-formed. */
static dram_str page_of(void **state, const char *folder)
{
    int notes;
    dram_str page = {0};
    ok(dram_page_run(in_dir(state, folder), &page, &notes));
    assert_true((notes > 0) == (strstr(page.text, "class=\"warnings\"") != NULL));
    assert_well_formed(page.text);
    return page;
}

/* ---- tests ---- */

#define DIFFERS(KEY, VALUE, BASE)                                                                                      \
    "<tr><td class=\"w\"><code>" KEY "</code></td><td class=\"w\"><code>" VALUE                                        \
    "</code></td><td class=\"w\"><code>" BASE "</code></td></tr>\n"

/* The run's own base.yaml, else that of the sweep whose folder it is in; a run with neither says so. */
static void what_differs_from_the_base(void **state)
{
    static const char base[] = "# recipe&.yaml, the base of <mine>.yaml\nname: recipe\nseed: 3\noptim: {lr: 0.004}\n";
    static const char sweeps[] = "# all.yaml, the base of the sweep s.yaml\nseed: 4\noptim: {lr: 0.002}\n";
    begin(state, "based", "based", "0.002");
    dram_str page = page_of(state, "based");
    assert_has(page.text, "What it was made from is not known: there is no base.yaml in its folder.");
    assert_has_not(page.text, "differs from the base");
    dram_str_free(&page);
    put_text(state, ".", "base.yaml", sweeps); /* of nothing, without plan.json */
    page = page_of(state, "based");
    assert_has(page.text, "What it was made from is not known");
    dram_str_free(&page);
    put_text(state, ".", "plan.json", "{}");
    page = page_of(state, "based");
    assert_has(page.text, "Its base is <code>all.yaml, the base of the sweep s.yaml</code>.");
    assert_has(page.text, DIFFERS("seed", "3", "4"));
    assert_has_not(page.text, DIFFERS("optim.lr", "0.002", "0.002"));
    dram_str_free(&page);
    put_text(state, "based", "base.yaml", base);
    page = page_of(state, "based");
    assert_has(page.text, "Its base is <code>recipe&amp;.yaml, the base of &lt;mine&gt;.yaml</code>.");
    assert_has(page.text, "<th>differs from the base</th><th>value</th><th>base</th>");
    assert_has(page.text, DIFFERS("optim.lr", "0.002", "0.004"));
    assert_has(page.text, DIFFERS("optim.lr", "0.002", "0.001")); /* and from the default */
    assert_has(page.text, DIFFERS("seed", "3", "1"));
    assert_int_equal(count_of(page.text, "<code>seed</code>"), 1); /* it is the base's */
    dram_str_free(&page);
    put_text(state, "based", "base.yaml", "no_such_key: <b>\n");
    page = page_of(state, "based");
    assert_has(page.text, "the base of its config cannot be read by this dram: ");
    assert_has_not(page.text, "differs from the base");
    dram_str_free(&page);
    assert_int_equal(unlink(in_dir(state, "plan.json")), 0);
}

static void a_run_that_is_done(void **state)
{
    begin(state, "done", "\"a <b>run & \\u00e9\"", "0.002");
    put_metrics(state, "done", 40, "");
    put_text(state, "done", "evaluations.jsonl", evaluations);
    put_text(state, "done", "memory.jsonl", memory);
    put_summary(state, "done", 40, 1234567, 0);
    dram_str page = page_of(state, "done");
    assert_has(page.text, "done: 40 of 40 steps");
    assert_has(page.text, "<h1>a &lt;b&gt;run &amp; \xc3\xa9</h1>");
    assert_true(number_at(page.text, "miou") == 0.3068422839782);
    assert_true(number_at(page.text, "pixel_accuracy") == 0.625);
    assert_true(number_at(page.text, "planned_peak_bytes") == 1234567);
    assert_true(number_at(page.text, "process_rss_bytes") == 7654321);
    assert_true(number_at(page.text, "images_per_second") == 21.5);
    assert_true(number_at(page.text, "seconds") == 9.5);
    assert_true(fabs(number_at(page.text, "loss") - loss_at(39)) < 1e-8);
    assert_true(number_at(page.text, "evaluation.0.mIoU") == 0.25 && number_at(page.text, "class_iou.1") == 0.125);
    assert_has(page.text, "measured: the same");
    /* The gradient of step 7 was no number. */
    assert_has(page.text, "&#215; 1 not finite");
    assert_has(page.text, "1 of the training images were left out");
    assert_has(page.text, "9 images, 8 labels");
    /* Plan, levers and config are there; what a class or a path is called is text. */
    assert_has(page.text, "The arena of one step");
    assert_has(page.text, "<th scope=\"row\">recompute</th>");
    assert_has(page.text, "student.patch_embed");
    assert_has(page.text,
               "<code>optim.lr</code></td><td class=\"w\"><code>0.002</code></td><td class=\"w\"><code>0.001</code>");
    assert_has(page.text, "&lt;script&gt;alert(1)&lt;/script&gt;</th>");
    assert_has_not(page.text, "<script>alert");
    assert_has_not(page.text, "http-equiv=\"refresh");
    assert_int_equal(count_of(page.text, "http"),
                     count_of(page.text, "http://www.w3.org/2000/svg") + 1); /* http-equiv */
    assert_has(page.text, "the plan that is made here takes");
    dram_str_free(&page);
}

/* Killed: no summary, the last line torn, one damaged, lines missing; its config is of another dram. */
static void a_run_that_was_broken_off(void **state)
{
    dram_str text = {0};
    begin(state, "broken", "broken", "0.002");
    put_text(state, "broken", "config.yaml", "name: broken\nno_such_key: <img src=x>\n");
    add_metrics(&text, 0, 5);
    dram_str_add(&text, "{\"step\":5,\"lo\n");
    add_metrics(&text, 9, 12);
    add_metrics(&text, 3, 4);
    dram_str_add(&text, "{\"step\":12,\"loss\":1");
    put_text(state, "broken", "metrics.jsonl", text.text);
    put_text(state, "broken", "log.txt", "step 1\nwarning: <i>a line\r\nwarning: two\ndram: memory & all is out\n");
    dram_str page = page_of(state, "broken"), again = page_of(state, "broken");
    assert_string_equal(page.text, again.text);
    dram_str_free(&again);
    assert_has(page.text, "broken off, or still running: 12 steps; nothing is saved");
    assert_has(page.text,
               "metrics.jsonl: 2 lines were left out, being damaged or out of order, the first of them line 6");
    assert_has(page.text, "metrics.jsonl: the last line was not written to its end");
    assert_has(page.text, "metrics.jsonl has no line of 4 steps");
    assert_has(page.text, "the config cannot be read by this dram: ");
    assert_has(page.text, "no_such_key");
    assert_has(page.text, "<li>&lt;i&gt;a line</li>\n<li>two</li>\n<li>its last words: memory &amp; all is out</li>");
    assert_has(page.text, "<h1>broken</h1>");
    assert_has_not(page.text, "<img src=x>");
    assert_has_not(page.text, "The arena of one step");
    assert_true(fabs(number_at(page.text, "loss") - loss_at(11)) < 1e-8);
    dram_str_free(&text);
    dram_str_free(&page);
}

/* Nothing but a config: it has not come to its first step. */
static void a_run_of_no_steps(void **state)
{
    begin(state, "empty", "empty", "0.002");
    put_text(state, "empty", "config.yaml", "no_such_key: 1\n");
    put_text(state, "empty", "summary.json", "{\"steps\":");
    put_text(state, "empty", "evaluations.jsonl", "");
    dram_str page = page_of(state, "empty");
    assert_has(page.text, "broken off, or still running: 0 steps");
    assert_has(page.text, "there is no metrics.jsonl: no step was written down");
    assert_has(page.text, "summary.json");
    dram_str_free(&page);
}

static void a_run_that_went_on(void **state)
{
    char both[1024], text[1024];
    dram_history r;
    begin(state, "resumed", "resumed", "0.002");
    snprintf(text, sizeof text, config, "resumed", "0.0005");
    put_text(state, "resumed", "config.step-00000020.yaml", text);
    put_metrics(state, "resumed", 33, "");
    snprintf(both, sizeof both, "%s%s", memory, memory_on);
    put_text(state, "resumed", "memory.jsonl", both);
    put_summary(state, "resumed", 20, 1234567, 130);
    ok(dram_history_read(in_dir(state, "resumed"), &r));
    assert_int_equal(r.state, DRAM_HISTORY_BROKEN_OFF); /* the summary is of the first part */
    assert_int_equal(r.n_starts, 1);
    assert_true(r.starts[0] == 20 && r.started[0] == 9.5 && r.elapsed[3] == 13.5);
    assert_true(dram_history_steps(&r) == 33);
    dram_history_free(&r);
    dram_str page = page_of(state, "resumed");
    assert_has(page.text, "the run went on at 20</title>");
    assert_has(page.text, "the run went on at 9.5</title>");
    assert_has(page.text, "at step 20, after 10 s of training");
    assert_has(page.text,
               "<p>From step 20 on it went on with</p>\n<ul>\n<li><code>optim.lr: 0.002 -&gt; 0.0005</code></li>");
    assert_true(number_at(page.text, "seconds") == 13.5);
    dram_str_free(&page);
}

static void how_a_run_ended_is_said(void **state)
{
    static const struct {
        const char *name, *text;
        int steps, measured, code;
    } run[] = {{"failed", "failed: 40 of 40 steps, exit code 1", 40, 1234567, 1},
               {"stopped", "interrupted: 40 of 40 steps, exit code 130", 40, 1234567, 130},
               {"paused", "ended for now: 40 of 60 steps; nothing is saved", 40, 1234567, 0},
               {"more", "the measured peak, 1234599 bytes, is not the planned one, 1234567", 40, 1234599, 0}};
    for (size_t i = 0; i < sizeof run / sizeof run[0]; i++) {
        dram_history r;
        dram_str text = {0};
        begin(state, run[i].name, run[i].name, "0.002");
        if (i == 2)
            put_text(state, run[i].name, "config.step-00000040.yaml",
                     "name: paused\nstudent: {arch: vit_micro}\n"
                     "sam_distill: {enabled: false}\ntask: {enabled: true}\ndata: {size: 64, "
                     "classes: 3}\ntrain: {steps: 60}\n");
        put_metrics(state, run[i].name, 40, "");
        put_summary(state, run[i].name, run[i].steps, run[i].measured, run[i].code);
        ok(dram_history_read(in_dir(state, run[i].name), &r));
        dram_history_say_state(&r, &text);
        for (int k = 0; k < r.n_warnings; k++) dram_str_add(&text, "\n%s", r.warnings[k]);
        assert_has(text.text, run[i].text);
        dram_str_free(&text);
        dram_history_free(&r);
    }
}

static void several_runs_are_held_against_each_other(void **state)
{
    const char *folders[] = {in_dir(state, "done"), in_dir(state, "resumed"), in_dir(state, "broken")};
    dram_str page = {0};
    int notes;
    ok(dram_page_runs(folders, 3, &page, &notes));
    assert_well_formed(page.text);
    assert_true(number_at(page.text, "run.0.miou") == 0.3068422839782);
    assert_true(number_at(page.text, "run.1.steps") == 33);
    assert_has(page.text,
               "<td><code>optim.lr</code></td><td class=\"w\"><code>0.002</code></td><td class=\"w\"><code>0.0005"
               "</code></td><td class=\"w\"><code>?</code></td>");
    assert_has_not(page.text, "<td><code>train.steps</code></td>");                          /* it is the same */
    assert_int_equal(count_of(page.text, "data-name=\"broken\" data-points=\"1 2.625;"), 2); /* wide and slender */
    dram_str_free(&page);
    const char *twins[] = {folders[0], folders[1], folders[0]};
    dram_str_free(&page);
    ok(dram_page_runs(twins, 3, &page, &notes));
    assert_has(page.text, "/done</th>"); /* two of one name go by their folder */
    assert_has_not(page.text, "/resumed</th>");
    dram_str_free(&page);
    folders[1] = in_dir(state, "nothing");
    assert_int_equal(dram_page_runs(folders, 3, &page, &notes), DRAM_ERR_CONFIG);
    assert_has(dram_error_text(), "nothing: no run's folder: there is no config.yaml in it");
    dram_error_clear();
    dram_str_free(&page);
}

/* A picture is embedded whole, what is none is said, and what is too much as well. */
static void pictures_are_embedded_up_to_a_limit(void **state)
{
    static unsigned char data[700000] = "\x89PNG\r\n\x1a\n";
    begin(state, "pictures", "pictures", "0.002");
    put_text(state, "pictures", "config.yaml", "no_such_key: 1\n");
    assert_int_equal(mkdir(in_dir(state, "pictures/predictions"), 0777), 0);
    put_file(in_dir(state, "pictures/predictions/a \"<b>.png"), data, 11);
    put_file(in_dir(state, "pictures/predictions/b.png"), data, sizeof data);
    put_file(in_dir(state, "pictures/predictions/c.png"), data, sizeof data);
    put_file(in_dir(state, "pictures/predictions/d.png"), data, sizeof data);
    put_text(state, "pictures", "predictions/e.html", "<script>");
    dram_str page = page_of(state, "pictures");
    assert_int_equal(count_of(page.text, "src=\"data:image/png;base64,"), 3);
    assert_has(page.text, "alt=\"a &quot;&lt;b&gt;.png\" src=\"data:image/png;base64,iVBORw0KGgoAAAA=\"");
    assert_has(page.text, "1 more of 683.6 KiB");
    assert_has(page.text, "1 file of <code>predictions</code> cannot be shown");
    assert_has(page.text, "There are no pictures of features");
    dram_str_free(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_is_done),
        cmocka_unit_test(what_differs_from_the_base),
        cmocka_unit_test(a_run_that_was_broken_off),
        cmocka_unit_test(a_run_of_no_steps),
        cmocka_unit_test(a_run_that_went_on),
        cmocka_unit_test(how_a_run_ended_is_said),
        cmocka_unit_test(several_runs_are_held_against_each_other),
        cmocka_unit_test(pictures_are_embedded_up_to_a_limit),
    };
    return cmocka_run_group_tests(tests, tempdir_make, tempdir_remove);
}
