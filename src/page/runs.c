/* The page of several runs: curves over each other, what differs between them, and what came out. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "page/curves.h"
#include "page/html.h"
#include "page/page.h"
#include "page/style.h"
#include "report/markup.h"

/* ---- what came out ---- */

typedef struct {
    const char *title, *key;
    dram_unit unit;
    int better; /* 1: more is better, -1: less, 0: neither */
    double (*of)(const dram_history *r);
} column;

static double miou(const dram_history *r)
{
    return dram_history_quality(r, "miou");
}

static double cosine(const dram_history *r)
{
    return dram_history_quality(r, "embedding_cosine");
}

static double mse(const dram_history *r)
{
    return dram_history_quality(r, "embedding_mse");
}

static double last_of(const dram_history *r, int k)
{
    return r->metrics.n ? r->metrics.column[k][r->metrics.n - 1] : NAN;
}

static double planned(const dram_history *r)
{
    return last_of(r, DRAM_METRIC_PLANNED);
}

static double measured(const dram_history *r)
{
    return last_of(r, DRAM_METRIC_MEASURED);
}

static double loss(const dram_history *r)
{
    return last_of(r, DRAM_METRIC_LOSS);
}

static double speed(const dram_history *r)
{
    double all = dram_history_number(r, "images_per_second");
    return isfinite(all) ? all : last_of(r, DRAM_METRIC_IMAGES_PER_SECOND);
}

static double steps(const dram_history *r)
{
    return (double)dram_history_steps(r);
}

static const column columns[] = {{"updates", "steps", DRAM_UNIT_NUMBER, 0, steps},
                                 {"mIoU", "miou", DRAM_UNIT_PERCENT, 1, miou},
                                 {"cosine", "embedding_cosine", DRAM_UNIT_NUMBER, 1, cosine},
                                 {"MSE", "embedding_mse", DRAM_UNIT_NUMBER, -1, mse},
                                 {"last loss", "loss", DRAM_UNIT_NUMBER, 0, loss},
                                 {"planned", "planned_peak_bytes", DRAM_UNIT_BYTES, -1, planned},
                                 {"measured", "measured_peak_bytes", DRAM_UNIT_BYTES, 0, measured},
                                 {"images/s", "images_per_second", DRAM_UNIT_NUMBER, 1, speed},
                                 {"time", "seconds", DRAM_UNIT_SECONDS, 0, dram_history_seconds}};
enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* The best of each column, NAN where there is none. */
static void find_best(const dram_history *r, int n, double best[COLUMNS])
{
    for (int k = 0; k < COLUMNS; k++) {
        int better = columns[k].better;
        best[k] = NAN;
        for (int i = 0; i < n && better; i++) {
            double v = columns[k].of(&r[i]);
            if (isfinite(v) && !(better * best[k] >= better * v)) best[k] = v;
        }
    }
}

static void add_swatch(int style, dram_str *out)
{
    if (style >= DRAM_STYLES) return;
    dram_str_add(out,
                 "<svg viewBox=\"0 0 26 10\" width=\"26\" height=\"10\"><path class=\"line " DRAM_STYLE_CLASSES
                 "\" d=\"M2 5H24\"/></svg> ",
                 DRAM_STYLE_OF(style));
}

static void add_results(const dram_history *r, int n, dram_str *out)
{
    double best[COLUMNS];
    find_best(r, n, best);
    dram_html_heading("What came out", out);
    dram_str_add(out, "<div class=\"scroll\"><table><thead><tr><th>run</th><th>state</th>");
    for (int k = 0; k < COLUMNS; k++) dram_str_add(out, "<th class=\"n\">%s</th>", columns[k].title);
    dram_str_add(out, "</tr></thead><tbody>\n");
    for (int i = 0; i < n; i++) {
        dram_str state = {0};
        dram_history_say_state(&r[i], &state);
        dram_str_add(out, "<tr><th scope=\"row\">");
        add_swatch(i, out);
        dram_markup_add(out, r[i].name);
        dram_str_add(out, "</th><td>");
        if (state.text) state.text[strcspn(state.text, ":")] = '\0';
        dram_markup_add(out, state.text);
        dram_str_add(out, "</td>");
        for (int k = 0; k < COLUMNS; k++) {
            char key[64];
            double v = columns[k].of(&r[i]);
            snprintf(key, sizeof key, "run.%d.%s", i, columns[k].key);
            dram_str_add(out, "<td class=\"n%s\">", isfinite(v) && v == best[k] ? " best" : "");
            dram_html_number(v, columns[k].unit, key, out);
            dram_str_add(out, "</td>");
        }
        dram_str_add(out, "</tr>\n");
        dram_str_free(&state);
    }
    dram_str_add(out, "</tbody></table></div>\n");
}

/* ---- what differs ---- */

/* The values of every key in one run, in the order of the keys. */
typedef struct {
    char **value;
    char **key;
    bool *idle;
    int n, room[3];
    bool failed;
} values;

static dram_status keep_value(void *context, const dram_config_entry *e)
{
    values *v = context;
    if (!DRAM_GROW(v->value, v->room[0], v->n + 1) || !DRAM_GROW(v->key, v->room[1], v->n + 1) ||
        !DRAM_GROW(v->idle, v->room[2], v->n + 1))
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the values of a config");
    v->key[v->n] = dram_strdup(e->key);
    v->value[v->n] = dram_strdup(e->value);
    v->idle[v->n] = e->idle;
    v->n++;
    return v->key[v->n - 1] && v->value[v->n - 1] ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for a value");
}

static void values_free(values *v)
{
    for (int i = 0; i < v->n; i++) {
        dram_free(v->key[i]);
        dram_free(v->value[i]);
    }
    dram_free(v->key);
    dram_free(v->value);
    dram_free(v->idle);
}

/* Whether runs that have a config have other values of a key, where it has an effect in one of them. */
static bool key_differs(const values *v, int n, int key)
{
    const char *first = NULL;
    bool differs = false, counts = false;
    for (int i = 0; i < n; i++) {
        if (key >= v[i].n) continue;
        if (!first) first = v[i].value[key];
        differs = differs || strcmp(first, v[i].value[key]) != 0;
        counts = counts || !v[i].idle[key];
    }
    return differs && counts;
}

static void add_key_row(const values *v, int n, int key, const char *name, dram_str *out)
{
    dram_str_add(out, "<tr><td><code>");
    dram_markup_add(out, name);
    dram_str_add(out, "</code></td>");
    for (int i = 0; i < n; i++) {
        dram_str_add(out, "<td class=\"w\"><code>");
        dram_markup_add(out, key < v[i].n ? v[i].value[key] : "?");
        dram_str_add(out, "</code></td>");
    }
    dram_str_add(out, "</tr>\n");
}

static void add_differences(const dram_history *r, const values *v, int n, dram_str *out)
{
    int keys = 0, with = 0, rows = 0;
    for (int i = 0; i < n; i++)
        if (v[i].n > keys) keys = v[with = i].n;
    dram_html_heading("What differs", out);
    dram_str_add(out, "<div class=\"scroll\"><table><thead><tr><th>key</th>");
    for (int i = 0; i < n; i++) {
        dram_str_add(out, "<th>");
        add_swatch(i, out);
        dram_markup_add(out, r[i].name);
        dram_str_add(out, "</th>");
    }
    dram_str_add(out, "</tr></thead><tbody>\n");
    for (int k = 0; k < keys; k++) {
        if (strcmp(v[with].key[k], "name") == 0 || !key_differs(v, n, k)) continue;
        add_key_row(v, n, k, v[with].key[k], out);
        rows++;
    }
    dram_str_add(out, "</tbody></table></div>\n");
    if (rows == 0) dram_str_add(out, "<p class=\"note\">No key that has an effect: the configs are the same.</p>\n");
}

/* ---- the page ---- */

static void add_warnings(const dram_history *r, int n, dram_str *out)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < r[i].n_warnings; k++) {
            dram_str_add(out, "<li><b>");
            dram_markup_add(out, r[i].name);
            dram_str_add(out, "</b> ");
            dram_markup_add(out, r[i].warnings[k]);
            dram_str_add(out, "</li>\n");
        }
}

static dram_status add_all(const dram_history *r, int n, const values *v, dram_str *out)
{
    char title[64];
    dram_str warnings = {0};
    snprintf(title, sizeof title, "%d runs", n);
    dram_html_begin(title, out);
    dram_str_add(out, "<h1>%s</h1>\n", title);
    add_warnings(r, n, &warnings);
    if (warnings.length) dram_str_add(out, "<div class=\"warnings\"><b>Notes</b><ul>\n%s</ul></div>\n", warnings.text);
    dram_str_free(&warnings);
    add_results(r, n, out);
    add_differences(r, v, n, out);
    dram_html_heading("Curves", out);
    if (n > DRAM_STYLES)
        dram_str_add(out, "<p class=\"note\">Of the first %d runs, which is as many lines as are told apart.</p>\n",
                     DRAM_STYLES);
    dram_str_add(out, "<div class=\"figs\">\n");
    TRY(dram_curves_runs(r, n, out));
    dram_str_add(out, "</div>\n");
    dram_html_end("the files of these runs' folders", out);
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the page of %d runs", n) : DRAM_OK;
}

/* Runs that are called the same go by their folders. */
static dram_status tell_names_apart(dram_history *r, int n)
{
    bool *twin = dram_calloc((size_t)n, sizeof *twin);
    dram_status status = twin ? DRAM_OK : DRAM_ERR_MEMORY;
    for (int i = 0; i < n && status == DRAM_OK; i++)
        for (int k = i + 1; k < n; k++)
            if (strcmp(r[i].name, r[k].name) == 0) twin[i] = twin[k] = true;
    for (int i = 0; i < n && status == DRAM_OK; i++) {
        if (!twin[i]) continue;
        dram_free(r[i].name);
        r[i].name = dram_strdup(r[i].directory);
        if (!r[i].name) status = DRAM_ERR_MEMORY;
    }
    dram_free(twin);
    return status == DRAM_OK ? status : dram_fail(status, "no memory for the names of %d runs", n);
}

dram_status dram_page_runs(const char *const *directories, int n, dram_str *out, int *notes)
{
    dram_status status = DRAM_OK;
    int read = 0;
    dram_history *r = dram_calloc((size_t)n, sizeof *r);
    values *v = dram_calloc((size_t)n, sizeof *v);
    if (!r || !v) status = dram_fail(DRAM_ERR_MEMORY, "no memory for %d runs", n);
    for (; read < n && status == DRAM_OK; read += status == DRAM_OK)
        status = dram_history_read(directories[read], &r[read]);
    for (int i = 0; i < read && status == DRAM_OK; i++)
        if (dram_history_cfg(&r[i])) status = dram_config_each(dram_history_cfg(&r[i]), NULL, keep_value, &v[i]);
    if (status == DRAM_OK) status = tell_names_apart(r, n);
    if (status == DRAM_OK) status = add_all(r, n, v, out);
    *notes = 0;
    for (int i = 0; i < read; i++) {
        *notes += r[i].n_warnings;
        dram_history_free(&r[i]);
    }
    for (int i = 0; v && i < n; i++) values_free(&v[i]);
    dram_free(r);
    dram_free(v);
    return status;
}
