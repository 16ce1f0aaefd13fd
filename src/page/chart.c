#include "page/chart.h"

#include <math.h>

#include "base/alloc.h"
#include "page/axes.h"
#include "page/style.h"
#include "page/thin.h"
#include "report/markup.h"

enum { NARROW = 480, WIDE = 980, HEIGHT = 262, COLUMNS = 600, SMOOTH = 240 };

/* ---- what the axes span ---- */

typedef struct {
    double x[2], y[2]; /* least and most */
} span;

static span span_of(const dram_chart *c)
{
    span s = {{INFINITY, -INFINITY}, {INFINITY, -INFINITY}};
    for (int k = 0; k < c->n_series; k++)
        for (int i = 0; i < c->series[k].n; i++) {
            double x = c->series[k].x[i], y = c->series[k].y[i];
            s.x[0] = fmin(s.x[0], x);
            s.x[1] = fmax(s.x[1], x);
            if (!isfinite(y)) continue;
            s.y[0] = fmin(s.y[0], y);
            s.y[1] = fmax(s.y[1], y);
        }
    return s;
}

static dram_axes lay(const dram_chart *c, const span *s, bool wide)
{
    double width = wide ? WIDE : NARROW;
    dram_axes a = {.left = 70, .top = 12, .width = width - 70 - 18, .height = HEIGHT - 12 - 46};
    bool log = c->may_log && s->y[0] > 0 && s->y[1] / s->y[0] >= 50;
    a.x =
        dram_scale_fit(&(dram_scale_wish){fmin(s->x[0], 0), s->x[1], c->x_unit, .tight = true, .ticks = wide ? 10 : 5});
    a.y = dram_scale_fit(
        &(dram_scale_wish){s->y[0], s->y[1], c->y_unit, .log = log, .from_zero = c->from_zero, .ticks = 5});
    return a;
}

/* ---- lines ---- */

/* Where a number is drawn. */
typedef struct {
    double x, y;
} point;

static point place(const dram_axes *a, double x, double y)
{
    return (point){dram_axes_x(a, x), dram_axes_y(a, y)};
}

/* The d of a path through the points keep[0..n) of a series (NULL: all). A point alone is a dot, by round ends. */
static void add_path(const dram_axes *a, const double *x, const double *y, const int *keep, int n, dram_line_kind kind,
                     dram_str *out)
{
    bool down = false, alone = false;
    for (int k = 0; k < n; k++) {
        int i = keep ? keep[k] : k;
        if (!isfinite(y[i])) {
            if (alone) dram_str_add(out, "h0");
            down = alone = false;
            continue;
        }
        point p = place(a, x[i], y[i]);
        if (!down)
            dram_str_add(out, "M%.1f %.1f", p.x, p.y);
        else if (kind == DRAM_LINE_STAIRS)
            dram_str_add(out, "H%.1fV%.1f", p.x, p.y);
        else
            dram_str_add(out, "L%.1f %.1f", p.x, p.y);
        alone = !down;
        down = true;
    }
    if (alone) dram_str_add(out, "h0");
}

/* The numbers themselves, for the pointer: "x y;x y". */
static void add_numbers(const dram_series *s, const int *keep, int n, dram_str *out)
{
    dram_str_add(out, " data-name=\"");
    dram_markup_add(out, s->name);
    dram_str_add(out, "\" data-points=\"");
    for (int k = 0; k < n; k++)
        if (isfinite(s->y[keep[k]])) dram_str_add(out, "%.10g %.6g;", s->x[keep[k]], s->y[keep[k]]);
    dram_str_add(out, "\"");
}

/* A cross for each number that was not finite. */
static void add_crosses(const dram_axes *a, const dram_series *s, const int *keep, int n, dram_str *out)
{
    for (int k = 0; k < n; k++) {
        if (!isinf(s->y[keep[k]])) continue;
        dram_str_add(out, "<path class=\"cross c%d\" d=\"M%.1f %.1fl6 6m0 -6l-6 6\"><title>",
                     s->style % DRAM_STYLE_COLOURS, dram_axes_x(a, s->x[keep[k]]) - 3, a->top);
        dram_markup_add(out, s->name);
        dram_str_add(out, " was not finite at %.10g</title></path>\n", s->x[keep[k]]);
    }
}

static void add_smooth(const dram_axes *a, const dram_series *s, dram_str *out)
{
    double at[SMOOTH], mean[SMOOTH];
    double first = s->x[0], last = s->x[s->n - 1];
    int n = s->n < SMOOTH ? s->n : SMOOTH;
    for (int i = 0; i < n; i++) at[i] = n < SMOOTH ? s->x[i] : first + (last - first) * i / (SMOOTH - 1);
    dram_smooth(s->x, s->y, s->n, at, n, s->reach, mean);
    dram_str_add(out, "<path class=\"line " DRAM_STYLE_CLASSES "\" d=\"", DRAM_STYLE_OF(s->style));
    add_path(a, at, mean, NULL, n, DRAM_LINE_PLAIN, out);
    dram_str_add(out, "\"/>\n");
}

static void add_markers(const dram_axes *a, const dram_chart *c, const dram_series *s, dram_str *out)
{
    char x[40], y[40];
    for (int i = 0; i < s->n; i++) {
        if (!isfinite(s->y[i])) continue;
        point p = place(a, s->x[i], s->y[i]);
        dram_style_marker(s->style, p.x, p.y, 7, "", out);
        dram_markup_add(out, s->name);
        dram_str_add(out, " %s at %s", dram_format_unit(s->y[i], c->y_unit, y, sizeof y),
                     dram_format_unit(s->x[i], c->x_unit, x, sizeof x));
        dram_style_marker_end(out);
    }
}

static bool add_series(const dram_axes *a, const dram_chart *c, const dram_series *s, dram_str *out)
{
    int *keep = dram_alloc((size_t)(s->n ? s->n : 1) * sizeof *keep);
    if (!keep) return false;
    int n = dram_thin(s->x, s->y, s->n, COLUMNS, keep);
    bool smooth = s->reach > 0 && s->n > 2;
    dram_str_add(out, "<path class=\"%s " DRAM_STYLE_CLASSES "\"", smooth ? "raw" : "line", DRAM_STYLE_OF(s->style));
    add_numbers(s, keep, n, out);
    dram_str_add(out, " d=\"");
    add_path(a, s->x, s->y, keep, n, s->kind, out);
    dram_str_add(out, "\"/>\n");
    if (smooth) add_smooth(a, s, out);
    if (s->kind == DRAM_LINE_DOTTED && s->n <= COLUMNS) add_markers(a, c, s, out);
    add_crosses(a, s, keep, n, out);
    dram_free(keep);
    return true;
}

/* ---- the key ---- */

static double last_number(const dram_series *s)
{
    for (int i = s->n - 1; i >= 0; i--)
        if (isfinite(s->y[i])) return s->y[i];
    return NAN;
}

static void add_key(const dram_chart *c, dram_str *out)
{
    char last[40];
    dram_str_add(out, "<div class=\"keys\">");
    for (int k = 0; k < c->n_series; k++) {
        const dram_series *s = &c->series[k];
        int wrong = 0;
        for (int i = 0; i < s->n; i++) wrong += isinf(s->y[i]) != 0;
        dram_str_add(out,
                     "<span class=\"key\"><svg viewBox=\"0 0 26 10\" width=\"26\" height=\"10\"><path "
                     "class=\"line " DRAM_STYLE_CLASSES "\" d=\"M2 5H24\"/>",
                     DRAM_STYLE_OF(s->style));
        if (s->kind == DRAM_LINE_DOTTED) {
            dram_style_marker(s->style, 13, 5, 7, "", out);
            dram_markup_add(out, s->name);
            dram_style_marker_end(out);
        }
        dram_str_add(out, "</svg>");
        dram_markup_add(out, s->name);
        dram_str_add(out, " <b>%s</b>", dram_format_unit(last_number(s), c->y_unit, last, sizeof last));
        if (wrong) dram_str_add(out, " <span class=\"bad\">&#215; %d not finite</span>", wrong);
        dram_str_add(out, "</span>");
    }
    if (c->n_marks) {
        dram_str_add(out,
                     "<span class=\"key\"><svg viewBox=\"0 0 26 10\" width=\"26\" height=\"10\"><path class=\"mark\" "
                     "d=\"M13 0V10\"/></svg>");
        dram_markup_add(out, c->marks_name);
        dram_str_add(out, "</span>");
    }
    dram_str_add(out, "</div>\n");
}

/* ---- the figure ---- */

static void add_marks(const dram_axes *a, const dram_chart *c, dram_str *out)
{
    for (int i = 0; i < c->n_marks; i++) {
        if (c->marks[i] < a->x.low || c->marks[i] > a->x.high) continue;
        dram_str_add(out, "<path class=\"mark\" d=\"M%.1f %.1fv%.1f\"><title>", dram_axes_x(a, c->marks[i]), a->top,
                     a->height);
        dram_markup_add(out, c->marks_name);
        dram_str_add(out, " at %.10g</title></path>\n", c->marks[i]);
    }
}

static void add_head(const dram_axes *a, const dram_chart *c, bool wide, dram_str *out)
{
    static const char *const unit[] = {[DRAM_UNIT_NUMBER] = "number",
                                       [DRAM_UNIT_BYTES] = "bytes",
                                       [DRAM_UNIT_SECONDS] = "seconds",
                                       [DRAM_UNIT_PERCENT] = "percent"};
    dram_str_add(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart%s\" viewBox=\"0 0 %d %d\" role=\"img\" "
                 "aria-label=\"",
                 !c->wide ? ""
                 : wide   ? " broad"
                          : " slender",
                 wide ? WIDE : NARROW, HEIGHT);
    dram_markup_add(out, c->title);
    dram_str_add(out, "\" data-axis=\"%.10g %.10g %.1f %.1f %.1f %.1f\" data-x=\"%s\" data-y=\"%s\" data-of=\"",
                 a->x.low, a->x.high, a->left, a->width, a->top, a->height, unit[c->x_unit], unit[c->y_unit]);
    dram_markup_add(out, c->x_name);
    dram_str_add(out, "\">\n");
}

/* The drawing itself. One over the whole page is made twice, and a narrow window shows the second. */
static bool draw(const dram_chart *c, const span *s, bool wide, dram_str *out)
{
    bool good = true;
    dram_axes a = lay(c, s, wide);
    add_head(&a, c, wide, out);
    dram_axes_add(&a, c->x_name, out);
    add_marks(&a, c, out);
    for (int k = 0; k < c->n_series && good; k++) good = add_series(&a, c, &c->series[k], out);
    dram_str_add(out, "</svg>\n");
    return good;
}

dram_status dram_chart_add(const dram_chart *c, dram_str *out)
{
    span s = span_of(c);
    bool good = true;
    if (c->n_series > DRAM_STYLES) return dram_fail(DRAM_ERR_INTERNAL, "%d lines in one chart", c->n_series);
    dram_str_add(out, "<figure class=\"fig%s\"><figcaption>", c->wide ? " all" : "");
    dram_markup_add(out, c->title);
    dram_str_add(out, "%s</figcaption>\n", lay(c, &s, false).y.log ? " <i>log scale</i>" : "");
    if (isfinite(s.x[0])) {
        add_key(c, out);
        good = draw(c, &s, c->wide, out) && (!c->wide || draw(c, &s, false, out));
    } else {
        dram_str_add(out, "<p class=\"none\">There are no numbers.</p>\n");
    }
    if (c->note) {
        dram_str_add(out, "<p class=\"note\">");
        dram_markup_add(out, c->note);
        dram_str_add(out, "</p>\n");
    }
    dram_str_add(out, "</figure>\n");
    return good && !out->failed ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for the chart %s", c->title);
}
