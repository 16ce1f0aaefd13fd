#include "page/scatter.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "page/axes.h"
#include "page/style.h"
#include "report/markup.h"

enum {
    WIDTH = 980,
    SLENDER = 480,
    HEIGHT = 470,
    LEFT = 84,
    RIGHT = 34,
    TOP = 22,
    BOTTOM = 52,
    HEAD = 46,
    FOOT = 30,
    MOST_RADIUS = 17
};

typedef struct {
    const dram_scatter *scatter;
    int width;
    dram_axes axes;
    const dram_dot **order; /* [n] those that are drawn, the largest first */
    int n;
    double most_seconds, least_seconds;
    double (*taken)[4]; /* [2 n] boxes of dots and of numbers: left, top, right, bottom */
    int n_taken;
    dram_str *out;
} sheet;

static double radius_of(const sheet *s, const dram_dot *d)
{
    if (!isfinite(d->seconds) || s->most_seconds <= 0) return 5;
    return fmax(3, MOST_RADIUS * sqrt(d->seconds / s->most_seconds));
}

/* Slow ones first, so that they cover none; equals by number, so that bytes are the same again. */
static int by_area(const void *a, const void *b)
{
    const dram_dot *x = *(const dram_dot *const *)a, *y = *(const dram_dot *const *)b;
    double p = isfinite(x->seconds) ? x->seconds : 0, q = isfinite(y->seconds) ? y->seconds : 0;
    if (p != q) return p > q ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int by_x(const void *a, const void *b)
{
    const dram_dot *x = *(const dram_dot *const *)a, *y = *(const dram_dot *const *)b;
    if (x->x != y->x) return x->x < y->x ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static void lay(sheet *s, double top)
{
    const dram_scatter *c = s->scatter;
    double x[2] = {INFINITY, -INFINITY}, y[2] = {INFINITY, -INFINITY};
    s->least_seconds = INFINITY;
    for (int i = 0; i < s->n; i++) {
        const dram_dot *d = s->order[i];
        double sd = isfinite(d->sd) ? d->sd : 0;
        x[0] = fmin(x[0], d->x);
        x[1] = fmax(x[1], d->x);
        y[0] = fmin(y[0], d->y - sd);
        y[1] = fmax(y[1], d->y + sd);
        if (!isfinite(d->seconds)) continue;
        s->most_seconds = fmax(s->most_seconds, d->seconds);
        s->least_seconds = fmin(s->least_seconds, d->seconds);
    }
    bool log = x[0] > 0 && x[1] / x[0] >= 6;
    s->axes = (dram_axes){.left = LEFT, .top = top, .width = s->width - LEFT - RIGHT, .height = HEIGHT - TOP - BOTTOM};
    /* A tenth more on either side: dots have a size. */
    double pad = log ? pow(x[1] / x[0], 0.05) : 0, more = log ? 0 : 0.06 * (x[1] - x[0]);
    s->axes.x =
        dram_scale_fit(&(dram_scale_wish){log ? x[0] / pad : fmax(0, x[0] - more), log ? x[1] * pad : x[1] + more,
                                          c->x_unit, .log = log, .tight = x[1] > x[0], .ticks = s->width / 100});
    double rise = 0.06 * (y[1] - y[0]);
    s->axes.y = dram_scale_fit(&(dram_scale_wish){y[0] - rise, y[1] + rise, c->y_unit, .ticks = 6});
}

/* ---- what is drawn ---- */

/* The best quality that so many bytes reach: a stair through the dots of the frontier. */
static dram_status add_frontier(sheet *s)
{
    const dram_dot **at = dram_alloc((size_t)(s->n ? s->n : 1) * sizeof(const dram_dot *));
    int n = 0;
    double best = NAN, sign = s->scatter->less ? -1 : 1;
    if (!at) return dram_fail(DRAM_ERR_MEMORY, "no memory for the frontier");
    for (int i = 0; i < s->n; i++)
        if (s->order[i]->frontier) at[n++] = s->order[i];
    qsort(at, (size_t)n, sizeof *at, by_x);
    if (n) dram_str_add(s->out, "<path class=\"front\" d=\"");
    for (int i = 0; i < n; i++) {
        if (i && !(sign * at[i]->y > sign * best)) continue;
        double x = dram_axes_x(&s->axes, at[i]->x), y = dram_axes_y(&s->axes, at[i]->y);
        dram_str_add(s->out, i ? "H%.1fV%.1f" : "M%.1f %.1f", x, y);
        best = at[i]->y;
    }
    if (n) dram_str_add(s->out, "H%.1f\"/>\n", s->axes.left + s->axes.width);
    dram_free(at);
    return DRAM_OK;
}

static void add_bar(const sheet *s, const dram_dot *d)
{
    double x = dram_axes_x(&s->axes, d->x), y0 = dram_axes_y(&s->axes, d->y - d->sd),
           y1 = dram_axes_y(&s->axes, d->y + d->sd);
    if (isfinite(d->sd) && d->sd > 0)
        dram_str_add(s->out, "<path class=\"bar %s\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\"/>\n",
                     d->frontier ? "c0" : "grey", x, y0, y1, x - 4, y0, x - 4, y1);
}

static void add_dot(sheet *s, const dram_dot *d)
{
    double x = dram_axes_x(&s->axes, d->x), y = dram_axes_y(&s->axes, d->y), r = radius_of(s, d);
    dram_str_add(s->out, "<circle class=\"dot %s%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"><title>",
                 d->frontier ? "c0" : "grey", d->hollow ? " hollow" : "", x, y, r);
    dram_markup_add(s->out, d->text);
    dram_str_add(s->out, "</title></circle>\n");
    double box[4] = {x - r * 0.8, y - r * 0.8, x + r * 0.8, y + r * 0.8};
    for (int k = 0; k < 4; k++) s->taken[s->n_taken][k] = box[k];
    s->n_taken++;
}

static bool is_free(const sheet *s, const double box[4])
{
    const dram_axes *a = &s->axes;
    if (box[0] < a->left || box[2] > a->left + a->width + RIGHT || box[1] < a->top - 12 || box[3] > a->top + a->height)
        return false;
    for (int i = 0; i < s->n_taken; i++) {
        const double *t = s->taken[i];
        if (box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3]) return false;
    }
    return true;
}

/* The number of a dot at the first of eight places around it that is free, or nowhere: it is in the table. */
static void add_number(sheet *s, const dram_dot *d)
{
    static const double way[8][2] = {{1, -1}, {1, 1}, {-1, -1}, {-1, 1}, {0, -1}, {0, 1}, {1, 0}, {-1, 0}};
    double x = dram_axes_x(&s->axes, d->x), y = dram_axes_y(&s->axes, d->y), r = radius_of(s, d);
    double w = d->number < 10 ? 9 : d->number < 100 ? 16 : d->number < 1000 ? 23 : 30, h = 12;
    for (int k = 0; k < 8; k++) {
        double reach = way[k][0] != 0 && way[k][1] != 0 ? 0.75 * r + 1 : r + 2;
        double cx = x + way[k][0] * (reach + w / 2), cy = y + way[k][1] * (reach + h / 2);
        double box[4] = {cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2};
        if (!is_free(s, box)) continue;
        for (int j = 0; j < 4; j++) s->taken[s->n_taken][j] = box[j];
        s->n_taken++;
        dram_str_add(s->out, "<text class=\"mid number%s\" x=\"%.1f\" y=\"%.1f\">%d</text>\n",
                     d->frontier ? " strong" : "", cx, cy + 4, d->number);
        return;
    }
}

static dram_status add_plot(sheet *s)
{
    dram_axes_add(&s->axes, s->scatter->x_name, s->out);
    TRY(add_frontier(s));
    for (int i = 0; i < s->n; i++) add_bar(s, s->order[i]);
    for (int i = 0; i < s->n; i++) add_dot(s, s->order[i]);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < s->n; i++)
            if (s->order[i]->frontier == (pass == 0)) add_number(s, s->order[i]);
    return DRAM_OK;
}

static bool begin(const dram_scatter *scatter, int width, double top, sheet *s, dram_str *out)
{
    size_t n = (size_t)(scatter->n ? scatter->n : 1);
    *s = (sheet){.scatter = scatter, .width = width, .out = out};
    s->order = dram_alloc(n * sizeof(const dram_dot *));
    s->taken = dram_alloc(2 * n * sizeof *s->taken);
    if (!s->order || !s->taken) return false;
    for (int i = 0; i < scatter->n; i++)
        if (isfinite(scatter->dots[i].x) && isfinite(scatter->dots[i].y)) s->order[s->n++] = &scatter->dots[i];
    qsort(s->order, (size_t)s->n, sizeof *s->order, by_area);
    lay(s, top);
    return true;
}

static dram_status end(sheet *s, dram_status status)
{
    dram_free(s->order);
    dram_free(s->taken);
    if (status == DRAM_OK && s->out->failed) status = DRAM_ERR_MEMORY;
    return status == DRAM_ERR_MEMORY ? dram_fail(status, "no memory for the picture of memory against quality")
                                     : status;
}

/* ---- the key ---- */

enum { KEYS = 5 };

/* What looks how, as a marker 26 wide and a text. */
static void key_of(const sheet *s, int k, dram_str *mark, dram_str *text)
{
    char least[32], most[32];
    switch (k) {
    case 0:
        dram_str_add(mark, "<circle class=\"dot c0\" cx=\"13\" cy=\"6\" r=\"5\"/>");
        dram_str_add(text, "on the frontier");
        break;
    case 1:
        dram_str_add(mark, "<circle class=\"dot grey\" cx=\"13\" cy=\"6\" r=\"5\"/>");
        dram_str_add(text, "behind another");
        break;
    case 2:
        dram_str_add(mark, "<circle class=\"dot c0 hollow\" cx=\"13\" cy=\"6\" r=\"4\"/>");
        dram_str_add(text, "one seed");
        break;
    case 3:
        dram_str_add(mark, "<path class=\"bar c0\" d=\"M13 0V12M9 0h8M9 12h8\"/>");
        dram_str_add(text, "standard deviation over seeds");
        break;
    default:
        if (!isfinite(s->least_seconds)) return;
        dram_str_add(mark,
                     "<circle class=\"dot grey\" cx=\"7\" cy=\"6\" r=\"2.5\"/><circle class=\"dot grey\" cx=\"18\" "
                     "cy=\"6\" r=\"5.5\"/>");
        dram_str_add(text, "area: %s to %s an image", dram_format_unit(s->least_seconds, DRAM_UNIT_SECONDS, least, 32),
                     dram_format_unit(s->most_seconds, DRAM_UNIT_SECONDS, most, 32));
    }
}

static void add_keys(const sheet *s)
{
    dram_str_add(s->out, "<div class=\"keys\">");
    for (int k = 0; k < KEYS; k++) {
        dram_str mark = {0}, text = {0};
        key_of(s, k, &mark, &text);
        if (text.text)
            dram_str_add(s->out,
                         "<span class=\"key\"><svg viewBox=\"0 0 26 12\" width=\"26\" height=\"12\">%s</svg>%s</span>",
                         mark.text, text.text);
        dram_str_free(&mark);
        dram_str_free(&text);
    }
    dram_str_add(s->out, "</div>\n");
}

/* Two drawings: a narrow window shows the second. */
static dram_status add_drawing(const dram_scatter *c, bool wide, dram_str *out)
{
    sheet s;
    int width = wide ? WIDTH : SLENDER;
    if (!begin(c, width, TOP, &s, out)) return end(&s, DRAM_ERR_MEMORY);
    if (wide) add_keys(&s);
    dram_str_add(out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart %s\" viewBox=\"0 0 %d %d\" role=\"img\" "
                 "aria-label=\"",
                 wide ? "broad" : "slender", width, HEIGHT);
    dram_markup_add(out, c->title);
    dram_str_add(out, "\">\n");
    dram_status status = add_plot(&s);
    dram_str_add(out, "</svg>\n");
    return end(&s, status);
}

dram_status dram_scatter_figure(const dram_scatter *c, dram_str *out)
{
    int drawn = 0;
    for (int i = 0; i < c->n; i++) drawn += isfinite(c->dots[i].x) && isfinite(c->dots[i].y);
    dram_str_add(out, "<figure class=\"fig all\"><figcaption>");
    dram_markup_add(out, c->title);
    dram_str_add(out, "</figcaption>\n");
    if (drawn) {
        TRY(add_drawing(c, true, out));
        TRY(add_drawing(c, false, out));
    } else {
        dram_str_add(out, "<p class=\"none\">There is no point with a quality yet.</p>\n");
    }
    if (drawn && drawn < c->n)
        dram_str_add(out, "<p class=\"note\">%d %s no quality or no bytes, and %s not drawn.</p>\n", c->n - drawn,
                     c->n - drawn == 1 ? "point has" : "points have", c->n - drawn == 1 ? "is" : "are");
    dram_str_add(out, "</figure>\n");
    return DRAM_OK;
}

dram_status dram_scatter_picture(const dram_scatter *c, dram_str *out)
{
    sheet s;
    dram_status status = DRAM_ERR_MEMORY;
    int height = HEIGHT + HEAD + FOOT;
    if (!begin(c, WIDTH, TOP + HEAD, &s, out)) return end(&s, status);
    dram_str_add(
        out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<style>\n",
        WIDTH, height, WIDTH, height);
    dram_style_picture(out);
    dram_str_add(out,
                 "</style>\n<rect width=\"%d\" height=\"%d\" style=\"fill:var(--paper)\"/>\n"
                 "<text class=\"title strong\" x=\"%d\" y=\"28\">",
                 WIDTH, height, LEFT - 60);
    dram_markup_add(out, c->title);
    dram_str_add(out, "</text>\n<text x=\"%d\" y=\"50\">", LEFT - 60);
    dram_markup_add(out, c->y_name);
    dram_str_add(out, "</text>\n");
    status = add_plot(&s);
    double x = LEFT - 60;
    for (int k = 0; k < KEYS; k++) {
        dram_str mark = {0}, text = {0};
        key_of(&s, k, &mark, &text);
        if (text.text)
            dram_str_add(out, "<g transform=\"translate(%.0f %d)\">%s<text x=\"30\" y=\"10\">%s</text></g>\n", x,
                         height - 22, mark.text, text.text);
        x += 44 + 6.6 * (double)text.length;
        dram_str_free(&mark);
        dram_str_free(&text);
    }
    dram_str_add(out, "</svg>\n");
    return end(&s, status);
}
