/* The page of a sweep. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/path.h"
#include "page/html.h"
#include "page/page.h"
#include "page/scatter.h"
#include "report/markup.h"

typedef struct {
    const dram_sweep *sweep;
    const dram_sweep_results *results;
    const char *quality; /* "mIoU" */
    dram_unit unit;      /* of the quality */
    dram_str *out;
} sheet;

static const char *title_of(dram_quality quality)
{
    static const char *const title[] = {[DRAM_QUALITY_MIOU] = "mIoU",
                                        [DRAM_QUALITY_PIXEL_ACCURACY] = "pixel accuracy",
                                        [DRAM_QUALITY_EMBEDDING_COSINE] = "embedding cosine",
                                        [DRAM_QUALITY_EMBEDDING_MSE] = "embedding MSE"};
    return title[quality];
}

static dram_unit unit_of(dram_quality quality)
{
    bool share = quality == DRAM_QUALITY_MIOU || quality == DRAM_QUALITY_PIXEL_ACCURACY;
    return share ? DRAM_UNIT_PERCENT : DRAM_UNIT_NUMBER;
}

static sheet sheet_of(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    return (sheet){.sweep = sweep,
                   .results = results,
                   .quality = title_of(sweep->quality),
                   .unit = unit_of(sweep->quality),
                   .out = out};
}

/* What is said of a point beside its number; all of what was asked for where it differs in nothing. */
static const char *name_of(const dram_sweep_point *p)
{
    if (p->differs && *p->differs) return p->differs;
    return p->overrides && *p->overrides ? p->overrides : "as the base";
}

/* ---- the picture ---- */

static void tell_point(const sheet *s, int i, dram_str *text)
{
    char bytes[32], quality[32], sd[32], seconds[32];
    const dram_sweep_point *p = &s->sweep->points[i];
    const dram_sweep_outcome *o = &s->results->points[i];
    dram_str_add(text, "%d: %s\n%s planned, %s %s", p->index, name_of(p),
                 dram_format_bytes(p->planned_bytes, bytes, 32), s->quality,
                 dram_format_unit(o->mean, s->unit, quality, 32));
    if (isfinite(o->sd)) dram_str_add(text, " ± %s", dram_format_unit(o->sd, s->unit, sd, 32));
    dram_str_add(text, ", %d %s\n%s an image\n%s", o->n, o->n == 1 ? "seed" : "seeds",
                 dram_format_unit(o->seconds_per_image, DRAM_UNIT_SECONDS, seconds, 32),
                 o->pareto ? "on the frontier" : "not on the frontier");
}

static dram_status draw(const sheet *s, bool alone)
{
    int n = s->sweep->n_points;
    char title[300], y_name[80];
    dram_status status = DRAM_OK;
    dram_dot *dots = dram_calloc((size_t)n + 1, sizeof *dots);
    dram_str *texts = dram_calloc((size_t)n + 1, sizeof *texts);
    if (!dots || !texts) status = dram_fail(DRAM_ERR_MEMORY, "no memory for the picture of %d points", n);
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        const dram_sweep_point *p = &s->sweep->points[i];
        const dram_sweep_outcome *o = &s->results->points[i];
        tell_point(s, i, &texts[i]);
        dots[i] = (dram_dot){.x = p->planned_bytes ? (double)p->planned_bytes : NAN,
                             .y = p->equal_to || o->n == 0 ? NAN : o->mean,
                             .sd = o->sd,
                             .seconds = o->seconds_per_image,
                             .hollow = o->n == 1,
                             .frontier = o->pareto,
                             .number = p->index,
                             .text = texts[i].text};
    }
    snprintf(y_name, sizeof y_name, "%s%s", s->quality,
             dram_quality_less_is_better(s->sweep->quality) ? ", less is better" : "");
    if (alone)
        snprintf(title, sizeof title, "%.200s: memory against %s", s->sweep->name, s->quality);
    else
        snprintf(title, sizeof title, "Memory against %s", s->quality);
    dram_scatter scatter = {.title = title,
                            .x_name = "planned bytes of the arena",
                            .y_name = y_name,
                            .x_unit = DRAM_UNIT_BYTES,
                            .y_unit = s->unit,
                            .less = dram_quality_less_is_better(s->sweep->quality),
                            .dots = dots,
                            .n = n};
    if (status == DRAM_OK)
        status = alone ? dram_scatter_picture(&scatter, s->out) : dram_scatter_figure(&scatter, s->out);
    for (int i = 0; texts && i < n; i++) dram_str_free(&texts[i]);
    dram_free(dots);
    dram_free(texts);
    return status;
}

dram_status dram_page_sweep_picture(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    sheet s = sheet_of(sweep, results, out);
    return draw(&s, true);
}

/* ---- the heading ---- */

static int count_state(const sheet *s, dram_sweep_state state)
{
    int n = 0;
    for (int i = 0; i < s->sweep->n_runs; i++) n += s->results->runs[i].state == state;
    return n;
}

static void add_state(const sheet *s)
{
    int done = count_state(s, DRAM_SWEEP_DONE),
        failed = count_state(s, DRAM_SWEEP_FAILED) + count_state(s, DRAM_SWEEP_GONE);
    int left = s->sweep->n_runs - done - failed;
    const char *look = failed ? "bad" : left ? "warn" : "good";
    dram_str_add(s->out, "<span class=\"state %s\">", look);
    dram_html_number(done, DRAM_UNIT_NUMBER, "runs_done", s->out);
    dram_str_add(s->out, " of %d %s done", s->sweep->n_runs, s->sweep->n_runs == 1 ? "run" : "runs");
    if (failed) dram_str_add(s->out, ", %d failed", failed);
    if (left) dram_str_add(s->out, ", %d still to be made or to be ended", left);
    dram_str_add(s->out, "</span>\n");
}

/* The best point, and the range of bytes of those that have a quality. */
static void add_tiles(const sheet *s)
{
    double best = NAN, least = NAN, most = NAN, sign = dram_quality_less_is_better(s->sweep->quality) ? -1 : 1;
    int known = 0, frontier = 0;
    char label[64];
    for (int i = 0; i < s->sweep->n_points; i++) {
        const dram_sweep_outcome *o = &s->results->points[i];
        double bytes = (double)s->sweep->points[i].planned_bytes;
        if (!isfinite(o->mean) || o->n == 0 || s->sweep->points[i].equal_to) continue;
        known++;
        frontier += o->pareto;
        if (!(sign * o->mean <= sign * best)) best = o->mean;
        least = fmin(least, bytes);
        most = fmax(most, bytes);
    }
    snprintf(label, sizeof label, "best %s", s->quality);
    dram_str_add(s->out, "<div class=\"tiles\">\n");
    dram_html_tile(label, best, s->unit, "best", s->out);
    dram_html_tile("least arena", least, DRAM_UNIT_BYTES, "least_bytes", s->out);
    dram_html_tile("largest arena", most, DRAM_UNIT_BYTES, "most_bytes", s->out);
    dram_html_tile("points with a quality", known, DRAM_UNIT_NUMBER, "known", s->out);
    dram_html_tile("on the frontier", frontier, DRAM_UNIT_NUMBER, "frontier", s->out);
    dram_str_add(s->out, "</div>\n");
}

static void add_subtitle(const sheet *s)
{
    const dram_sweep *w = s->sweep;
    dram_str_add(s->out, "<p class=\"sub\">");
    if (w->source) {
        dram_markup_add(s->out, w->source);
        dram_str_add(s->out, ": ");
    }
    dram_str_add(s->out, "%d %s asked for, %d different, %d %s", w->asked, w->asked == 1 ? "point" : "points",
                 w->n_points, w->n_seeds, w->n_seeds == 1 ? "seed" : "seeds");
    if (w->n_rungs) dram_str_add(s->out, ", halved at %d %s", w->n_rungs, w->n_rungs == 1 ? "rung" : "rungs");
    dram_str_add(s->out, ".</p>\n");
}

/* ---- tables ---- */

static void add_number(const sheet *s, int index, const char *what, double value, dram_unit unit)
{
    char key[64];
    snprintf(key, sizeof key, "point.%d.%s", index, what);
    dram_str_add(s->out, "<td class=\"n\">");
    dram_html_number(value, unit, key, s->out);
    dram_str_add(s->out, "</td>");
}

static void add_verdict(const sheet *s, int i)
{
    const dram_sweep_point *p = &s->sweep->points[i];
    const dram_sweep_outcome *o = &s->results->points[i];
    dram_str_add(s->out, "<td class=\"v\">");
    if (p->equal_to)
        dram_str_add(s->out, "the same as %d", p->equal_to);
    else if (o->pareto)
        dram_str_add(s->out, "<b class=\"on\">frontier</b>%s", o->single ? " (one seed)" : "");
    else if (o->n_dominated_by) {
        dram_str_add(s->out, "behind ");
        for (int k = 0; k < o->n_dominated_by && k < 4; k++)
            dram_str_add(s->out, "%s%d", k ? ", " : "", o->dominated_by[k]);
        if (o->n_dominated_by > 4) dram_str_add(s->out, ", ...");
        if (o->single) dram_str_add(s->out, " (one seed)");
    } else
        dram_str_add(s->out, "-");
    if (p->timed_with) dram_str_add(s->out, ", quality of %d", p->timed_with);
    dram_str_add(s->out, "</td>");
}

static void add_point(const sheet *s, int i)
{
    const dram_sweep_point *p = &s->sweep->points[i];
    const dram_sweep_outcome *o = &s->results->points[i];
    double measured = o->measured_bytes ? (double)o->measured_bytes : NAN;
    double process = o->process_bytes ? (double)o->process_bytes : NAN;
    dram_str_add(s->out, "<tr%s><td class=\"n\">%d</td><td class=\"w\"><code>", o->pareto ? "" : " class=\"off\"",
                 p->index);
    dram_markup_add(s->out, name_of(p));
    dram_str_add(s->out, "</code></td>");
    add_number(s, p->index, "planned_bytes", (double)p->planned_bytes, DRAM_UNIT_BYTES);
    add_number(s, p->index, "measured_bytes", measured, DRAM_UNIT_BYTES);
    add_number(s, p->index, "measured_process_bytes", process, DRAM_UNIT_BYTES);
    add_number(s, p->index, "seconds_per_image", o->seconds_per_image, DRAM_UNIT_SECONDS);
    add_number(s, p->index, "mean", o->n ? o->mean : NAN, s->unit);
    add_number(s, p->index, "sd", o->n ? o->sd : NAN, s->unit);
    dram_str_add(s->out, "<td class=\"n\">%d</td>", o->n);
    add_number(s, p->index, "tflop", p->flops * 1e-12, DRAM_UNIT_NUMBER);
    add_verdict(s, i);
    dram_str_add(s->out, "</tr>\n");
}

static dram_status add_points(const sheet *s)
{
    int *order = dram_alloc(((size_t)s->sweep->n_points + 1) * sizeof *order);
    if (!order) return dram_fail(DRAM_ERR_MEMORY, "no memory for the table of points");
    dram_sweep_sort(s->sweep, s->results, order);
    dram_html_heading("Points, by planned bytes", s->out);
    dram_str_add(s->out, "<div class=\"scroll\"><table><thead><tr><th class=\"n\">point</th><th>what differs</th>"
                         "<th class=\"n\">planned</th><th class=\"n\">measured</th><th class=\"n\">process</th>"
                         "<th class=\"n\">an image</th><th class=\"n\">");
    dram_markup_add(s->out, s->quality);
    dram_str_add(
        s->out,
        "</th><th class=\"n\">&#177; sd</th><th class=\"n\">seeds</th><th class=\"n\">TFLOP</th><th>verdict</th>"
        "</tr></thead><tbody>\n");
    for (int k = 0; k < s->sweep->n_points; k++)
        if (s->sweep->points[order[k]].status == DRAM_POINT_PLANNED) add_point(s, order[k]);
    dram_str_add(
        s->out, "</tbody></table></div>\n<p class=\"note\">On the frontier: no other point takes at most its bytes and "
                "its time (5 %% more is the same) and has a better quality, by Welch&#8217;s one-sided test at 5 %%; "
                "points of one seed are "
                "compared as they are. Process: all that a run took of RAM, or of its GPU.</p>\n");
    dram_free(order);
    return DRAM_OK;
}

/* Points that cannot run. */
static void add_refused(const sheet *s)
{
    const dram_sweep *w = s->sweep;
    int n = dram_sweep_count(w, DRAM_POINT_WRONG) + dram_sweep_count(w, DRAM_POINT_TOO_BIG);
    if (n == 0) return;
    dram_html_heading("Points that cannot run", s->out);
    dram_str_add(s->out,
                 "<div class=\"scroll\"><table><thead><tr><th class=\"n\">point</th><th>what differs</th><th>why</th>"
                 "<th class=\"n\">planned</th><th class=\"n\">floor</th></tr></thead><tbody>\n");
    for (int i = 0; i < w->n_points; i++) {
        const dram_sweep_point *p = &w->points[i];
        if (p->status == DRAM_POINT_PLANNED) continue;
        dram_str_add(s->out, "<tr><td class=\"n\">%d</td><td class=\"w\"><code>", p->index);
        dram_markup_add(s->out, name_of(p));
        dram_str_add(s->out, "</code></td><td class=\"w\">");
        dram_markup_add(s->out, p->text);
        if (p->advice) {
            dram_str_add(s->out, "; ");
            dram_markup_add(s->out, p->advice);
        }
        dram_str_add(s->out, "</td>");
        add_number(s, p->index, "planned_bytes", p->planned_bytes ? (double)p->planned_bytes : NAN, DRAM_UNIT_BYTES);
        add_number(s, p->index, "floor_bytes", p->floor_bytes ? (double)p->floor_bytes : NAN, DRAM_UNIT_BYTES);
        dram_str_add(s->out, "</tr>\n");
    }
    dram_str_add(s->out, "</tbody></table></div>\n");
}

static void add_failures(const sheet *s)
{
    if (count_state(s, DRAM_SWEEP_FAILED) + count_state(s, DRAM_SWEEP_GONE) == 0) return;
    dram_html_heading("Failures", s->out);
    dram_str_add(s->out,
                 "<div class=\"scroll\"><table><thead><tr><th>run</th><th>state</th><th class=\"n\">exit code</th>"
                 "<th class=\"n\">updates</th><th>last words</th></tr></thead><tbody>\n");
    for (int i = 0; i < s->sweep->n_runs; i++) {
        const dram_sweep_result *r = &s->results->runs[i];
        if (r->state != DRAM_SWEEP_FAILED && r->state != DRAM_SWEEP_GONE) continue;
        dram_str_add(s->out, "<tr><th scope=\"row\">");
        dram_markup_add(s->out, s->sweep->runs[i].name);
        dram_str_add(s->out, "</th><td>%s</td><td class=\"n\">", dram_sweep_state_word(r->state));
        if (r->exit >= 0) dram_str_add(s->out, "%d", r->exit);
        dram_str_add(s->out, "</td><td class=\"n\">%" PRId64 "</td><td class=\"w\">", r->steps);
        dram_markup_add(s->out, r->state == DRAM_SWEEP_GONE ? "its folder is no longer there" : r->text);
        dram_str_add(s->out, "</td></tr>\n");
    }
    dram_str_add(s->out, "</tbody></table></div>\n");
}

static void add_run(const sheet *s, int i)
{
    const dram_sweep_run *run = &s->sweep->runs[i];
    const dram_sweep_result *r = &s->results->runs[i];
    char key[96];
    dram_str_add(s->out, "<tr><th scope=\"row\">");
    dram_markup_add(s->out, run->name);
    dram_str_add(s->out, "</th><td>%s%s</td><td class=\"n\">%" PRId64 "</td><td class=\"n\">%" PRId64 "</td>",
                 dram_sweep_state_word(r->state), run->timed ? ", for its time alone" : "", run->seed, r->steps);
    for (int q = 0; q < DRAM_QUALITY_COUNT; q++) {
        snprintf(key, sizeof key, "run.%s.%s", run->name, dram_quality_name((dram_quality)q));
        dram_str_add(s->out, "<td class=\"n\">");
        dram_html_number(r->quality[q], unit_of((dram_quality)q), key, s->out);
        dram_str_add(s->out, "</td>");
    }
    dram_str_add(s->out, "<td class=\"n\">");
    snprintf(key, sizeof key, "run.%s.images_per_second", run->name);
    dram_html_number(r->images_per_second, DRAM_UNIT_NUMBER, key, s->out);
    dram_str_add(s->out, "</td></tr>\n");
}

static void add_runs(const sheet *s)
{
    if (s->sweep->n_runs == 0) return;
    dram_str_add(
        s->out,
        "<details><summary>All %d runs</summary><div class=\"scroll\"><table><thead><tr><th>run</th><th>state</th>"
        "<th class=\"n\">seed</th><th class=\"n\">updates</th>",
        s->sweep->n_runs);
    for (int q = 0; q < DRAM_QUALITY_COUNT; q++)
        dram_str_add(s->out, "<th class=\"n\">%s</th>", title_of((dram_quality)q));
    dram_str_add(s->out, "<th class=\"n\">images/s</th></tr></thead><tbody>\n");
    for (int i = 0; i < s->sweep->n_runs; i++) add_run(s, i);
    dram_str_add(s->out, "</tbody></table></div></details>\n");
}

/* What was asked for, as the folder has it. */
static dram_status add_yaml(const sheet *s)
{
    enum { MOST = 1 << 16 };
    struct stat info;
    char *path, *text = dram_alloc(MOST + 1);
    const char *why;
    dram_status status = text ? dram_path_join(s->sweep->directory, "sweep.yaml", &path) : DRAM_ERR_MEMORY;
    if (status == DRAM_OK) {
        int fd = dram_file_open(path, &info, &why);
        ssize_t n = fd >= 0 ? dram_file_read(fd, text, MOST) : -1;
        if (fd >= 0) close(fd);
        dram_free(path);
        if (n > 0) {
            text[n] = '\0';
            dram_html_heading("The sweep", s->out);
            dram_str_add(s->out, "<pre>");
            dram_markup_add(s->out, text);
            dram_str_add(s->out, "%s</pre>\n", n == MOST ? "..." : "");
        }
    }
    dram_free(text);
    return status == DRAM_ERR_MEMORY ? dram_fail(status, "%s: no memory for its page", s->sweep->name) : status;
}

dram_status dram_page_sweep(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    sheet s = sheet_of(sweep, results, out);
    dram_html_begin(sweep->name, out);
    dram_str_add(out, "<h1>");
    dram_markup_add(out, sweep->name);
    dram_str_add(out, "</h1>\n");
    add_subtitle(&s);
    add_state(&s);
    add_tiles(&s);
    dram_html_heading("What quality costs in memory", out);
    TRY(draw(&s, false));
    TRY(add_points(&s));
    add_refused(&s);
    add_failures(&s);
    TRY(add_yaml(&s));
    add_runs(&s);
    dram_html_end("the files of a sweep's folder; points.csv and runs.csv have its numbers, pareto.svg the picture",
                  out);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its page", sweep->name) : DRAM_OK;
}

static dram_status save(const char *folder, const char *name, const char *path, const dram_str *text)
{
    char *own = NULL;
    if (!path) TRY(dram_path_join(folder, name, &own));
    dram_status status = dram_atomic_save(path ? path : own, text->text, text->length);
    dram_free(own);
    return status;
}

dram_status dram_page_sweep_save(const dram_sweep *sweep, const dram_sweep_results *results, const char *path)
{
    dram_str page = {0}, picture = {0};
    dram_status status = dram_page_sweep(sweep, results, &page);
    if (status == DRAM_OK) status = dram_page_sweep_picture(sweep, results, &picture);
    if (status == DRAM_OK) status = save(sweep->directory, "pareto.svg", NULL, &picture);
    if (status == DRAM_OK) status = save(sweep->directory, "report.html", path, &page);
    dram_str_free(&page);
    dram_str_free(&picture);
    return status;
}
