#include "page/curves.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"
#include "page/style.h"

/* ---- points ---- */

static dram_status points_new(int room, dram_points *p)
{
    size_t bytes = (size_t)(room ? room : 1) * sizeof(double);
    *p = (dram_points){.x = dram_alloc(bytes), .y = dram_alloc(bytes)};
    if (p->x && p->y) return DRAM_OK;
    dram_points_free(p);
    return dram_fail(DRAM_ERR_MEMORY, "no memory for a line of a chart");
}

void dram_points_free(dram_points *p)
{
    dram_free(p->x);
    dram_free(p->y);
    *p = (dram_points){0};
}

static void add_point(dram_points *p, double x, double y)
{
    p->x[p->n] = x;
    p->y[p->n++] = y;
}

dram_status dram_points_metric(const dram_history *r, int column, dram_points *p)
{
    const dram_log *m = &r->metrics;
    bool always = column == DRAM_METRIC_LOSS || column == DRAM_METRIC_GRAD_NORM;
    TRY(points_new(2 * m->n, p));
    for (int i = 0; i < m->n; i++) {
        double step = m->column[DRAM_METRIC_STEP][i], y = m->column[column][i];
        double before = i ? m->column[DRAM_METRIC_STEP][i - 1] : -1;
        if (step > before + 1 && p->n) add_point(p, before + 2, NAN);
        if (isnan(y) || (isinf(y) && !always)) continue;
        add_point(p, step + 1, y);
    }
    return DRAM_OK;
}

dram_status dram_points_evaluation(const dram_history *r, int column, dram_points *p)
{
    const dram_log *e = &r->evaluations;
    TRY(points_new(e->n, p));
    for (int i = 0; i < e->n; i++)
        if (isfinite(e->column[column][i])) add_point(p, e->column[DRAM_EVALUATION_STEP][i], e->column[column][i]);
    return DRAM_OK;
}

dram_status dram_points_memory(const dram_history *r, int column, dram_points *p)
{
    const dram_log *m = &r->memory;
    TRY(points_new(2 * m->n, p));
    for (int i = 0; i < m->n; i++) {
        const double *seconds = m->column[DRAM_MEMORY_SECONDS];
        if (p->n && seconds[i] < seconds[i - 1]) add_point(p, r->elapsed[i], NAN); /* the process ended in between */
        if (isfinite(m->column[column][i])) add_point(p, r->elapsed[i], m->column[column][i]);
    }
    return DRAM_OK;
}

double dram_points_reach(const dram_points *p)
{
    if (p->n < 40) return 0;
    return (p->x[p->n - 1] - p->x[0]) / (p->n < 1000 ? 20 : 100);
}

/* ---- charts ---- */

/* What a chart's lines are of: points that it owns. */
typedef struct {
    dram_series series[DRAM_STYLES];
    dram_points points[DRAM_STYLES];
    int n;
} lines;

static void lines_free(lines *l)
{
    for (int i = 0; i < DRAM_STYLES; i++) dram_points_free(&l->points[i]);
}

/* Takes points over; those of no number are dropped. */
static void add_line(lines *l, const char *name, dram_points *p, dram_line_kind kind, int style, bool smooth)
{
    if (p->n == 0 || l->n == DRAM_STYLES) {
        dram_points_free(p);
        return;
    }
    l->points[l->n] = *p;
    l->series[l->n++] = (dram_series){.name = name,
                                      .x = p->x,
                                      .y = p->y,
                                      .n = p->n,
                                      .style = style,
                                      .kind = kind,
                                      .reach = smooth ? dram_points_reach(p) : 0};
}

static dram_status add_metric(lines *l, const dram_history *r, int column, const char *name, int style, bool smooth)
{
    dram_points p;
    TRY(dram_points_metric(r, column, &p));
    add_line(l, name, &p, DRAM_LINE_PLAIN, style, smooth);
    return DRAM_OK;
}

static dram_status add_evaluation(lines *l, const dram_history *r, int column, const char *name, int style)
{
    dram_points p;
    TRY(dram_points_evaluation(r, column, &p));
    add_line(l, name, &p, DRAM_LINE_DOTTED, style, false);
    return DRAM_OK;
}

/* Draws the lines, if there are any, and frees them. */
static dram_status draw(lines *l, dram_chart c, const dram_history *r, dram_str *out)
{
    char note[160];
    double reach = 0;
    dram_status status = DRAM_OK;
    for (int i = 0; i < l->n; i++) reach = fmax(reach, l->series[i].reach);
    c.series = l->series;
    c.n_series = l->n;
    c.marks_name = "the run went on";
    if (r && c.x_unit == DRAM_UNIT_NUMBER) c.marks = r->starts;
    if (r && c.x_unit == DRAM_UNIT_SECONDS) c.marks = r->started;
    c.n_marks = r ? r->n_starts : 0;
    if (reach > 0 && !c.note) {
        snprintf(note, sizeof note, "Strong: the mean of %.0f updates around. Pale: every update.", fmax(2 * reach, 1));
        c.note = note;
    }
    if (l->n) status = dram_chart_add(&c, out);
    lines_free(l);
    return status;
}

dram_status dram_curves_training(const dram_history *r, dram_str *out)
{
    static const struct {
        const char *title;
        int column, style;
        bool smooth, from_zero, may_log;
    } single[] = {{"Learning rate", DRAM_METRIC_LR, 4, false, true, false},
                  {"Gradient norm, before clipping", DRAM_METRIC_GRAD_NORM, 8, true, true, true},
                  {"Images per second", DRAM_METRIC_IMAGES_PER_SECOND, 12, true, true, false},
                  {"Loss scale", DRAM_METRIC_LOSS_SCALE, 20, false, false, true}};
    lines l = {0};
    dram_status status;
    TRY_GOTO(add_metric(&l, r, DRAM_METRIC_LOSS, "loss", 0, true), fail);
    TRY_GOTO(add_metric(&l, r, DRAM_METRIC_TASK, "task", 1, true), fail);
    TRY_GOTO(add_metric(&l, r, DRAM_METRIC_SAM, "teacher's embedding", 2, true), fail);
    TRY_GOTO(add_metric(&l, r, DRAM_METRIC_RESOLUTION, "resolution", 3, true), fail);
    TRY(draw(&l,
             (dram_chart){.title = "Loss and its terms, before their weights",
                          .x_name = "update",
                          .wide = true,
                          .from_zero = true,
                          .may_log = true},
             r, out));
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        lines one = {0};
        TRY(add_metric(&one, r, single[i].column, "at the end", single[i].style, single[i].smooth));
        TRY(draw(&one,
                 (dram_chart){.title = single[i].title,
                              .x_name = "update",
                              .from_zero = single[i].from_zero,
                              .may_log = single[i].may_log},
                 r, out));
    }
    return DRAM_OK;
fail:
    lines_free(&l);
    return status;
}

dram_status dram_curves_evaluations(const dram_history *r, dram_str *out)
{
    lines task = {0}, cosine = {0}, mse = {0};
    dram_status status;
    TRY_GOTO(add_evaluation(&task, r, DRAM_EVALUATION_MIOU, "mIoU", 0), fail);
    TRY_GOTO(add_evaluation(&task, r, DRAM_EVALUATION_ACCURACY, "pixel accuracy", 1), fail);
    TRY(draw(&task, (dram_chart){.title = "Task, on held-out images", .x_name = "update", .y_unit = DRAM_UNIT_PERCENT},
             r, out));
    TRY(add_evaluation(&cosine, r, DRAM_EVALUATION_COSINE, "at the end", 16));
    TRY(draw(&cosine,
             (dram_chart){.title = "Cosine to the teacher's embedding, on held-out images", .x_name = "update"}, r,
             out));
    if (dram_log_has(&r->evaluations, DRAM_EVALUATION_MIOU)) return DRAM_OK;
    TRY(add_evaluation(&mse, r, DRAM_EVALUATION_MSE, "at the end", 24));
    return draw(&mse, (dram_chart){.title = "MSE to the teacher's embedding, on held-out images", .x_name = "update"},
                r, out);
fail:
    lines_free(&task);
    return status;
}

/* The planned peak as a line over the whole time. */
static dram_status add_planned(lines *l, const dram_history *r)
{
    dram_points p;
    const dram_log *m = &r->metrics;
    double planned = dram_history_number(r, "planned_peak_bytes");
    if (m->n) planned = m->column[DRAM_METRIC_PLANNED][m->n - 1];
    if (!isfinite(planned) || r->memory.n == 0) return DRAM_OK;
    TRY(points_new(2, &p));
    add_point(&p, 0, planned);
    add_point(&p, r->elapsed[r->memory.n - 1], planned);
    add_line(l, "arena, planned", &p, DRAM_LINE_PLAIN, 1, false);
    return DRAM_OK;
}

dram_status dram_curves_memory(const dram_history *r, dram_str *out)
{
    static const struct {
        const char *name;
        int column, style;
    } line[] = {{"arena, measured", DRAM_MEMORY_DEVICE, 0},
                {"process, resident in RAM", DRAM_MEMORY_PROCESS, 2},
                {"process, on the GPU", DRAM_MEMORY_CARD, 3}};
    lines l = {0};
    dram_status status = DRAM_OK;
    for (size_t i = 0; i < sizeof line / sizeof line[0]; i++) {
        dram_points p;
        TRY_GOTO(dram_points_memory(r, line[i].column, &p), fail);
        add_line(&l, line[i].name, &p, DRAM_LINE_STAIRS, line[i].style, false);
    }
    TRY_GOTO(add_planned(&l, r), fail);
    return draw(&l,
                (dram_chart){.title = "Memory over the time of training",
                             .x_name = "time",
                             .x_unit = DRAM_UNIT_SECONDS,
                             .y_unit = DRAM_UNIT_BYTES,
                             .from_zero = true,
                             .wide = true},
                r, out);
fail:
    lines_free(&l);
    return status;
}

dram_status dram_curves_runs(const dram_history *histories, int n, dram_str *out)
{
    static const struct {
        const char *title;
        bool evaluation, wide, smooth, from_zero, may_log;
        int column;
        dram_unit unit;
    } chart[] = {
        {"Loss", false, true, true, true, true, DRAM_METRIC_LOSS, DRAM_UNIT_NUMBER},
        {"mIoU on held-out images", true, false, false, false, false, DRAM_EVALUATION_MIOU, DRAM_UNIT_PERCENT},
        {"Cosine to the teacher's embedding, on held-out images", true, false, false, false, false,
         DRAM_EVALUATION_COSINE, DRAM_UNIT_NUMBER},
        {"Gradient norm, before clipping", false, false, true, true, true, DRAM_METRIC_GRAD_NORM, DRAM_UNIT_NUMBER},
        {"Images per second", false, false, true, true, false, DRAM_METRIC_IMAGES_PER_SECOND, DRAM_UNIT_NUMBER}};
    for (size_t i = 0; i < sizeof chart / sizeof chart[0]; i++) {
        lines l = {0};
        dram_status status = DRAM_OK;
        for (int k = 0; k < n && k < DRAM_STYLES && status == DRAM_OK; k++)
            status = chart[i].evaluation
                         ? add_evaluation(&l, &histories[k], chart[i].column, histories[k].name, k)
                         : add_metric(&l, &histories[k], chart[i].column, histories[k].name, k, chart[i].smooth);
        if (status != DRAM_OK) {
            lines_free(&l);
            return status;
        }
        TRY(draw(&l,
                 (dram_chart){.title = chart[i].title,
                              .x_name = "update",
                              .y_unit = chart[i].unit,
                              .wide = chart[i].wide,
                              .from_zero = chart[i].from_zero,
                              .may_log = chart[i].may_log},
                 NULL, out));
    }
    return DRAM_OK;
}
