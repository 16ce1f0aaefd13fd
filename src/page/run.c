/* The page of one run. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/path.h"
#include "page/curves.h"
#include "page/html.h"
#include "page/page.h"
#include "page/parts.h"
#include "report/markup.h"

/* ---- the heading ---- */

static void add_state(const dram_history *r, dram_str *out)
{
    static const char *const look[] = {[DRAM_HISTORY_DONE] = "good",
                                       [DRAM_HISTORY_PAUSED] = "warn",
                                       [DRAM_HISTORY_FAILED] = "bad",
                                       [DRAM_HISTORY_BROKEN_OFF] = "warn"};
    dram_str text = {0};
    dram_history_say_state(r, &text);
    dram_str_add(out, "<span class=\"state %s\">", look[r->state]);
    dram_markup_add(out, text.text);
    dram_str_add(out, "</span>\n");
    dram_str_free(&text);
}

/* The last finite number of a column of metrics.jsonl. */
static double last_metric(const dram_history *r, int column)
{
    for (int i = r->metrics.n - 1; i >= 0; i--)
        if (isfinite(r->metrics.column[column][i])) return r->metrics.column[column][i];
    return NAN;
}

static double most_memory(const dram_history *r, int column)
{
    double most = NAN;
    for (int i = 0; i < r->memory.n; i++) most = fmax(most, r->memory.column[column][i]);
    return most;
}

static void add_memory_tiles(const dram_history *r, dram_str *out)
{
    double planned = last_metric(r, DRAM_METRIC_PLANNED), measured = last_metric(r, DRAM_METRIC_MEASURED);
    double resident = dram_history_number(r, "process_peak_rss_bytes");
    double card = most_memory(r, DRAM_MEMORY_CARD);
    if (!isfinite(planned)) planned = dram_history_number(r, "planned_peak_bytes");
    if (!isfinite(measured)) measured = dram_history_number(r, "measured_peak_bytes");
    dram_html_tile("arena, planned", planned, DRAM_UNIT_BYTES, "planned_peak_bytes", out);
    dram_html_tile(planned == measured ? "measured: the same" : "arena, measured", measured, DRAM_UNIT_BYTES,
                   "measured_peak_bytes", out);
    if (card > 0) dram_html_tile("process on the GPU", card, DRAM_UNIT_BYTES, "device_process_bytes", out);
    if (!isfinite(resident)) resident = most_memory(r, DRAM_MEMORY_PROCESS);
    dram_html_tile("process in RAM", resident, DRAM_UNIT_BYTES, "process_rss_bytes", out);
}

static void add_tiles(const dram_history *r, dram_str *out)
{
    double speed = dram_history_number(r, "images_per_second");
    if (!isfinite(speed)) speed = last_metric(r, DRAM_METRIC_IMAGES_PER_SECOND);
    dram_str_add(out, "<div class=\"tiles\">\n");
    dram_html_tile("mIoU", dram_history_quality(r, "miou"), DRAM_UNIT_PERCENT, "miou", out);
    dram_html_tile("pixel accuracy", dram_history_quality(r, "pixel_accuracy"), DRAM_UNIT_PERCENT, "pixel_accuracy",
                   out);
    dram_html_tile("cosine to teacher", dram_history_quality(r, "embedding_cosine"), DRAM_UNIT_NUMBER,
                   "embedding_cosine", out);
    add_memory_tiles(r, out);
    dram_html_tile("images per second", speed, DRAM_UNIT_NUMBER, "images_per_second", out);
    dram_html_tile("time of training", dram_history_seconds(r), DRAM_UNIT_SECONDS, "seconds", out);
    dram_html_tile("last loss", last_metric(r, DRAM_METRIC_LOSS), DRAM_UNIT_NUMBER, "loss", out);
    dram_str_add(out, "</div>\n");
}

/* ---- what it was ---- */

static void add_data(const dram_history *r, const char *set, const char *images, const char *labels, dram_str *out)
{
    char path[64], name[16];
    dram_str text = {0};
    if (!images) return;
    dram_str_add(&text, "%s", images);
    snprintf(path, sizeof path, "data.%s.images", set);
    double n = dram_history_number(r, path);
    snprintf(path, sizeof path, "data.%s.labels", set);
    double n_labels = dram_history_number(r, path);
    if (isfinite(n)) dram_str_add(&text, ", %.0f images", n);
    if (labels && isfinite(n_labels)) dram_str_add(&text, ", %.0f labels", n_labels);
    snprintf(name, sizeof name, "data.%s", set);
    dram_html_fact(name, text.text, out);
    dram_str_free(&text);
}

/* The heading of the plan has a line each: "student  regnety_002 at 256, ...". */
static void add_plan_heading(const dram_page_plan *plan, dram_str *out)
{
    const char *line = plan->there ? plan->facts.heading.text : NULL;
    char name[32], text[400];
    while (line && *line) {
        int length = 0;
        if (sscanf(line, "%31s %n", name, &length) == 1 && length > 0) {
            snprintf(text, sizeof text, "%.*s", (int)strcspn(line + length, "\n"), line + length);
            dram_html_fact(name, text, out);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
}

static void add_plain_heading(const dram_config *cfg, dram_str *out)
{
    dram_html_fact("student", cfg->student.arch, out);
    if (cfg->sam_distill.enabled) dram_html_fact("teacher", cfg->sam_distill.teacher.model_type, out);
}

static void add_where(const dram_history *r, dram_str *out)
{
    const cJSON *depends = cJSON_GetObjectItemCaseSensitive(r->saved, "depends");
    const cJSON *threads = cJSON_GetObjectItemCaseSensitive(depends, "threads");
    const char *version = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(r->saved, "version"));
    double ranks = dram_history_number(r, "distributed.ranks");
    dram_str text = {0};
    if (cJSON_IsNumber(threads))
        dram_str_add(&text, "%s, %.0f %s",
                     cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(depends, "gpu")) ? "a GPU" : "the CPU",
                     threads->valuedouble, threads->valuedouble == 1 ? "thread" : "threads");
    if (isfinite(ranks)) dram_str_add(&text, ", %.0f ranks", ranks);
    dram_html_fact("ran on", text.text, out);
    dram_html_fact("dram", version, out);
    dram_str_free(&text);
}

static void add_what(const dram_history *r, const dram_page_plan *plan, dram_str *out)
{
    const dram_config *cfg = dram_history_cfg(r);
    dram_str text = {0};
    dram_html_heading("What it was", out);
    dram_str_add(out, "<table class=\"facts\"><tbody>\n");
    if (cfg && plan->there)
        add_plan_heading(plan, out);
    else if (cfg)
        add_plain_heading(cfg, out);
    if (cfg) {
        if (cfg->sam_distill.enabled) dram_html_fact("teacher's weights", cfg->sam_distill.teacher.weights, out);
        dram_html_fact("student's weights", cfg->student.weights, out);
        dram_html_fact("heads' weights", cfg->student.heads, out);
        if (cfg->student.trainable == DRAM_TRAINABLE_HEADS)
            dram_html_fact("trained", "neck and task head; the trunk is frozen", out);
        add_data(r, "train", cfg->data.train.images, cfg->data.train.labels, out);
        add_data(r, "val", cfg->data.val.images, cfg->data.val.labels, out);
        dram_str_add(&text, "%d of batch %d, seed %" PRId64, cfg->train.steps, cfg->train.batch_size, cfg->seed);
        dram_html_fact("updates", text.text, out);
        dram_html_fact("planner", r->configs[r->n_configs - 1].said, out);
    }
    add_where(r, out);
    for (int i = 0; i < r->n_starts; i++) {
        char place[96];
        snprintf(place, sizeof place, "at step %.0f, after %.0f s of training", r->starts[i], r->started[i]);
        dram_html_fact("went on", place, out);
    }
    dram_str_add(out, "</tbody></table>\n");
    dram_str_free(&text);
}

/* ---- evaluations ---- */

static void add_evaluation_table(const dram_history *r, dram_str *out)
{
    const dram_log *e = &r->evaluations;
    static const struct {
        int column;
        const char *name;
        dram_unit unit;
    } column[] = {{DRAM_EVALUATION_MIOU, "mIoU", DRAM_UNIT_PERCENT},
                  {DRAM_EVALUATION_ACCURACY, "accuracy", DRAM_UNIT_PERCENT},
                  {DRAM_EVALUATION_COSINE, "cosine", DRAM_UNIT_NUMBER},
                  {DRAM_EVALUATION_MSE, "MSE", DRAM_UNIT_NUMBER},
                  {DRAM_EVALUATION_IMAGES, "images", DRAM_UNIT_NUMBER}};
    enum { COLUMNS = sizeof column / sizeof column[0], MOST = 200 };
    int first = e->n > MOST ? e->n - MOST : 0;
    dram_str_add(out,
                 "<details%s><summary>%d %s in numbers</summary><div class=\"scroll\"><table><thead><tr>"
                 "<th class=\"n\">update</th>",
                 e->n <= 12 ? " open=\"open\"" : "", e->n, e->n == 1 ? "evaluation" : "evaluations");
    for (int k = 0; k < COLUMNS; k++)
        if (dram_log_has(e, column[k].column)) dram_str_add(out, "<th class=\"n\">%s</th>", column[k].name);
    dram_str_add(out, "</tr></thead><tbody>\n");
    for (int i = first; i < e->n; i++) {
        dram_str_add(out, "<tr><td class=\"n\">%.0f</td>", e->column[DRAM_EVALUATION_STEP][i]);
        for (int k = 0; k < COLUMNS; k++) {
            if (!dram_log_has(e, column[k].column)) continue;
            char key[48];
            snprintf(key, sizeof key, "evaluation.%d.%s", i, column[k].name);
            dram_str_add(out, "<td class=\"n\">");
            dram_html_number(e->column[column[k].column][i], column[k].unit, key, out);
            dram_str_add(out, "</td>");
        }
        dram_str_add(out, "</tr>\n");
    }
    dram_str_add(out, "</tbody></table></div>%s</details>\n", first ? "<p class=\"note\">The last 200.</p>" : "");
}

enum { MOST_CLASSES = 256 };

/* The name of a class: that of the evaluation, of the config, or its number. */
static void add_class_name(const dram_history *r, int k, dram_str *out)
{
    const dram_config *cfg = dram_history_cfg(r);
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(r->evaluations.last, "class_names");
    const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(names, k));
    char room[256];
    if (!name && cfg && k < cfg->data.classes) name = dram_class_name(cfg, k, room, sizeof room);
    if (name)
        dram_markup_add(out, name);
    else
        dram_str_add(out, "%d", k);
}

static void add_classes(const dram_history *r, dram_str *out)
{
    const cJSON *classes = cJSON_GetObjectItemCaseSensitive(r->evaluations.last, "class_iou"), *item;
    int n = cJSON_GetArraySize(classes), k = 0;
    if (n == 0) return;
    dram_str_add(out,
                 "<details%s><summary>IoU of each class, last evaluation</summary><div class=\"scroll\"><table><thead>"
                 "<tr><th>class</th><th class=\"n\">IoU</th><th></th></tr></thead><tbody>\n",
                 n <= 20 ? " open=\"open\"" : "");
    cJSON_ArrayForEach(item, classes)
    {
        if (k == MOST_CLASSES) break; /* dram has no more */
        double iou = cJSON_IsNumber(item) ? item->valuedouble : NAN;
        char key[32];
        snprintf(key, sizeof key, "class_iou.%d", k);
        dram_str_add(out, "<tr><th scope=\"row\" class=\"w\">");
        add_class_name(r, k++, out);
        dram_str_add(out, "</th><td class=\"n\">");
        dram_html_number(iou, DRAM_UNIT_PERCENT, key, out);
        dram_str_add(out, "</td><td><span class=\"meter\"><i style=\"width:%.1f%%\"></i></span></td></tr>\n",
                     isfinite(iou) ? 100 * fmin(fmax(iou, 0), 1) : 0);
    }
    dram_str_add(out, "</tbody></table></div></details>\n");
}

/* ---- the page ---- */

static dram_status add_curves(const dram_history *r, dram_str *out)
{
    if (r->metrics.n) {
        dram_html_heading("Training", out);
        dram_str_add(out, "<div class=\"figs\">\n");
        TRY(dram_curves_training(r, out));
        dram_str_add(out, "</div>\n");
    }
    if (r->evaluations.n == 0) return DRAM_OK;
    dram_html_heading("Evaluations", out);
    dram_str_add(out, "<div class=\"figs\">\n");
    TRY(dram_curves_evaluations(r, out));
    dram_str_add(out, "</div>\n<div class=\"figs\">\n<div>");
    add_evaluation_table(r, out);
    dram_str_add(out, "</div><div>\n");
    add_classes(r, out);
    dram_str_add(out, "</div></div>\n");
    return DRAM_OK;
}

static dram_status add_memory(const dram_history *r, const dram_page_plan *plan, dram_str *out)
{
    if (r->memory.n == 0 && !plan->there) return DRAM_OK;
    dram_html_heading("Memory", out);
    if (r->memory.n) {
        dram_str_add(out, "<div class=\"figs\">\n");
        TRY(dram_curves_memory(r, out));
        dram_str_add(out, "</div>\n");
    }
    dram_page_add_categories(plan, out);
    return DRAM_OK;
}

static dram_status add_all(const dram_history *r, const dram_page_plan *plan, dram_str *out)
{
    dram_html_begin(r->name, out);
    dram_str_add(out, "<h1>");
    dram_markup_add(out, r->name);
    dram_str_add(out, "</h1>\n");
    add_state(r, out);
    add_tiles(r, out);
    dram_html_warnings(r->warnings, r->n_warnings, out);
    add_what(r, plan, out);
    TRY(add_curves(r, out));
    TRY(add_memory(r, plan, out));
    TRY(dram_page_add_arena(plan, out));
    dram_page_add_levers(plan, out);
    TRY(dram_page_add_config(r, out));
    TRY(dram_page_add_pictures(r, out));
    dram_html_end("the files of a run's folder", out);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its page", r->directory) : DRAM_OK;
}

dram_status dram_page_run(const char *directory, dram_str *out, int *notes)
{
    dram_history history;
    dram_page_plan plan;
    TRY(dram_history_read(directory, &history));
    dram_status status = dram_page_plan_make(&history, &plan);
    if (status == DRAM_OK) status = add_all(&history, &plan, out);
    *notes = history.n_warnings;
    dram_page_plan_free(&plan);
    dram_history_free(&history);
    return status;
}
