/* The results of a sweep as files and as text: runs.csv, points.csv, JSON, and the table at the end. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"
#include "sweep/spec.h"

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for the results of a sweep");
}

/* ---- CSV, as RFC 4180 has it, with a newline alone ---- */

static void add_text(dram_str *out, const char *text, size_t length)
{
    bool quoted = length && (*text == ' ' || text[length - 1] == ' ');
    for (size_t i = 0; i < length; i++) quoted |= strchr(",\"\r\n", text[i]) != NULL;
    dram_str_add(out, "%s", quoted ? "\"" : "");
    for (size_t i = 0; i < length; i++) dram_str_add(out, text[i] == '"' ? "\"\"" : "%c", text[i]);
    dram_str_add(out, "%s", quoted ? "\"" : "");
}

static void add_column(dram_str *out, const char *text)
{
    dram_str_add(out, ",");
    if (text) add_text(out, text, strlen(text));
}

/* What is not known is an empty field. */
static void add_number(dram_str *out, double value)
{
    if (isfinite(value))
        dram_str_add(out, ",%.9g", value);
    else
        dram_str_add(out, ",");
}

static void add_bytes(dram_str *out, int64_t bytes)
{
    if (bytes)
        dram_str_add(out, ",%lld", (long long)bytes);
    else
        dram_str_add(out, ",");
}

static void write_runs(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    dram_str_add(out, "run,point,hash,seed,timed,state,exit,text,steps");
    for (int q = 0; q < DRAM_QUALITY_COUNT; q++) dram_str_add(out, ",%s", dram_quality_name((dram_quality)q));
    dram_str_add(out, ",planned_bytes,measured_bytes,process_bytes,seconds_per_image,images_per_second,final_loss,"
                      "overrides\n");
    for (int i = 0; i < sweep->n_runs; i++) {
        const dram_sweep_run *run = &sweep->runs[i];
        const dram_sweep_point *p = &sweep->points[run->point];
        const dram_sweep_result *r = &results->runs[i];
        dram_str_add(out, "%s,%d,%s,%lld,%d,%s", run->name, p->index, p->hash, (long long)run->seed, run->timed,
                     dram_sweep_state_word(r->state));
        add_number(out, r->exit >= 0 ? r->exit : NAN);
        add_column(out, r->text);
        add_bytes(out, r->steps);
        for (int q = 0; q < DRAM_QUALITY_COUNT; q++) add_number(out, run->timed ? NAN : r->quality[q]);
        add_bytes(out, p->planned_bytes);
        add_bytes(out, r->measured_bytes);
        add_bytes(out, r->process_bytes);
        add_number(out, r->seconds_per_image);
        add_number(out, r->images_per_second);
        add_number(out, r->final_loss);
        add_column(out, p->overrides);
        dram_str_add(out, "\n");
    }
}

/* ---- the keys that are swept: a column each ---- */

/* Texts in the points, which outlive it. */
typedef struct {
    const char *key, *value; /* value: of the point that is written, NULL: it has none */
    size_t key_length, value_length;
} swept;

typedef struct {
    swept *key; /* [n] */
    int n, room;
} swept_keys;

static swept *find_key(const swept_keys *s, const char *word, size_t length)
{
    for (int k = 0; k < s->n; k++)
        if (s->key[k].key_length == length && memcmp(s->key[k].key, word, length) == 0) return &s->key[k];
    return NULL;
}

static dram_status add_key(swept_keys *s, const char *word, size_t length)
{
    if (s->n == s->room) {
        swept *larger = dram_realloc(s->key, (size_t)(s->room = 2 * s->room + 16) * sizeof *larger);
        if (!larger) return no_memory();
        s->key = larger;
    }
    s->key[s->n++] = (swept){.key = word, .key_length = length};
    return DRAM_OK;
}

static dram_status find_keys(const dram_sweep *sweep, swept_keys *s)
{
    for (int i = 0; i < sweep->n_points; i++)
        for (const char *word = sweep->points[i].differs; *word;) {
            size_t key = strcspn(word, "=");
            if (!find_key(s, word, key)) TRY(add_key(s, word, key));
            word += dram_sweep_part(word, ' ');
            word += *word == ' ';
        }
    return DRAM_OK;
}

static void add_values(const swept_keys *s, const char *differs, dram_str *out)
{
    for (int k = 0; k < s->n; k++) s->key[k].value = NULL;
    for (const char *word = differs; *word;) {
        size_t length = dram_sweep_part(word, ' '), key = strcspn(word, "=");
        swept *of = find_key(s, word, key);
        of->value = word + key + 1;
        of->value_length = length - key - 1;
        word += length;
        word += *word == ' ';
    }
    for (int k = 0; k < s->n; k++) {
        dram_str_add(out, ",");
        if (s->key[k].value) add_text(out, s->key[k].value, s->key[k].value_length);
    }
}

static const char *role_of(const dram_sweep_point *p)
{
    if (p->status != DRAM_POINT_PLANNED) return dram_point_status_word(p->status);
    return p->equal_to ? "equal" : p->timed_with ? "timed" : "trained";
}

static void add_index(dram_str *out, int index)
{
    add_bytes(out, index);
}

static void write_points(const dram_sweep *sweep, const dram_sweep_results *results, const swept_keys *keys,
                         dram_str *out)
{
    dram_str_add(out,
                 "index,hash,role,overrides,planned_bytes,measured_bytes,process_bytes,seconds_per_image,quality,mean,"
                 "sd,n,flops,pareto,dominated_by,equal_to,timed_with,failed,floor_bytes,pulled,text");
    for (int k = 0; k < keys->n; k++) {
        dram_str_add(out, ",");
        add_text(out, keys->key[k].key, keys->key[k].key_length);
    }
    dram_str_add(out, "\n");
    for (int i = 0; i < sweep->n_points; i++) {
        const dram_sweep_point *p = &sweep->points[i];
        const dram_sweep_outcome *o = &results->points[i];
        dram_str_add(out, "%d,%s,%s", p->index, p->hash, role_of(p));
        add_column(out, p->overrides);
        add_bytes(out, p->planned_bytes);
        add_bytes(out, o->measured_bytes);
        add_bytes(out, p->process_bytes);
        add_number(out, o->seconds_per_image);
        add_column(out, dram_quality_name(sweep->quality));
        add_number(out, o->mean);
        add_number(out, o->sd);
        dram_str_add(out, ",%d", o->n);
        dram_str_add(out, p->flops > 0 ? ",%.0f" : ",", p->flops);
        dram_str_add(out, o->known ? ",%d," : ",,", o->pareto);
        for (int k = 0; k < o->n_dominated_by; k++) dram_str_add(out, "%s%d", k ? " " : "", o->dominated_by[k]);
        add_index(out, p->equal_to);
        add_index(out, p->timed_with);
        dram_str_add(out, ",%d", o->failed);
        add_bytes(out, p->floor_bytes);
        add_column(out, p->pulled);
        add_column(out, p->text);
        add_values(keys, p->differs, out);
        dram_str_add(out, "\n");
    }
}

static dram_status save(const dram_sweep *sweep, const char *name, const dram_str *text)
{
    char *path;
    if (text->failed) return no_memory();
    TRY(dram_path_join(sweep->directory, name, &path));
    dram_status status = dram_atomic_save(path, text->text, text->length);
    dram_free(path);
    return status;
}

dram_status dram_sweep_write_csv(const dram_sweep *sweep, const dram_sweep_results *results)
{
    dram_str runs = {0}, points = {0};
    swept_keys keys = {0};
    dram_status status = find_keys(sweep, &keys);
    write_runs(sweep, results, &runs);
    if (status == DRAM_OK) write_points(sweep, results, &keys, &points);
    if (status == DRAM_OK) status = save(sweep, "runs.csv", &runs);
    if (status == DRAM_OK) status = save(sweep, "points.csv", &points);
    dram_str_free(&runs);
    dram_str_free(&points);
    dram_free(keys.key);
    return status;
}

/* ---- JSON ---- */

static bool add_known(cJSON *object, const char *key, double value)
{
    return (isfinite(value) ? cJSON_AddNumberToObject(object, key, value) : cJSON_AddNullToObject(object, key)) != NULL;
}

static bool add_outcome(cJSON *o, const dram_sweep_outcome *r)
{
    cJSON *by = o ? cJSON_AddArrayToObject(o, "dominated_by") : NULL;
    for (int k = 0; by && k < r->n_dominated_by; k++)
        if (!cJSON_AddItemToArray(by, cJSON_CreateNumber(r->dominated_by[k]))) return false;
    return by && add_known(o, "n", r->n) && add_known(o, "mean", r->mean) && add_known(o, "sd", r->sd) &&
           add_known(o, "measured_bytes", r->measured_bytes ? (double)r->measured_bytes : NAN) &&
           add_known(o, "seconds_per_image", r->seconds_per_image) && add_known(o, "failed", r->failed) &&
           add_known(o, "gone", r->gone) && add_known(o, "waiting", r->waiting) &&
           (r->known ? cJSON_AddBoolToObject(o, "pareto", r->pareto) : cJSON_AddNullToObject(o, "pareto"));
}

static bool add_result(cJSON *o, const dram_sweep_run *run, const dram_sweep_result *r)
{
    bool good = o && dram_json_add_text(o, "run", run->name) &&
                dram_json_add_text(o, "state", dram_sweep_state_word(r->state)) &&
                add_known(o, "exit", r->exit >= 0 ? r->exit : NAN) && dram_json_add_text(o, "text", r->text) &&
                add_known(o, "steps", (double)r->steps) && add_known(o, "seconds_per_image", r->seconds_per_image);
    for (int q = 0; good && q < DRAM_QUALITY_COUNT; q++)
        good = add_known(o, dram_quality_name((dram_quality)q), run->timed ? NAN : r->quality[q]);
    return good;
}

cJSON *dram_sweep_results_json(const dram_sweep *sweep, const dram_sweep_results *results)
{
    cJSON *root = dram_sweep_json(sweep), *points = cJSON_GetObjectItemCaseSensitive(root, "points");
    cJSON *runs = root ? cJSON_AddArrayToObject(root, "results") : NULL;
    bool good = runs != NULL;
    for (int i = 0; good && i < sweep->n_points; i++) {
        cJSON *o = cJSON_AddObjectToObject(cJSON_GetArrayItem(points, i), "outcome");
        good = add_outcome(o, &results->points[i]);
    }
    for (int i = 0; good && i < sweep->n_runs; i++)
        good = add_result(dram_json_append(runs), &sweep->runs[i], &results->runs[i]);
    if (good) return root;
    cJSON_Delete(root);
    no_memory();
    return NULL;
}

/* ---- the table at the end ---- */

typedef struct {
    const dram_sweep *sweep;
    const dram_sweep_results *results;
} both;

static int compare(const void *a, const void *b, void *context)
{
    const both *all = context;
    int x = *(const int *)a, y = *(const int *)b;
    const dram_sweep_point *p = &all->sweep->points[x], *q = &all->sweep->points[y];
    const dram_sweep_outcome *r = &all->results->points[x], *s = &all->results->points[y];
    if (p->planned_bytes != q->planned_bytes) return p->planned_bytes < q->planned_bytes ? -1 : 1;
    if (r->known != s->known) return r->known ? -1 : 1;
    if (r->known && r->mean != s->mean)
        return (r->mean > s->mean) != dram_quality_less_is_better(all->sweep->quality) ? -1 : 1;
    return x - y;
}

void dram_sweep_sort(const dram_sweep *sweep, const dram_sweep_results *results, int *order)
{
    both all = {.sweep = sweep, .results = results};
    for (int i = 0; i < sweep->n_points; i++) order[i] = i;
    qsort_r(order, (size_t)sweep->n_points, sizeof *order, compare, &all);
}

static void add_row(const dram_sweep *sweep, const dram_sweep_results *results, int i, dram_str *out)
{
    const dram_sweep_point *p = &sweep->points[i];
    const dram_sweep_outcome *o = &results->points[i];
    char arena[32] = "-", quality[64] = "-", time[32] = "-";
    if (p->planned_bytes) dram_format_bytes(p->planned_bytes, arena, sizeof arena);
    if (o->n > 1)
        snprintf(quality, sizeof quality, "%.4f +- %.4f (%d)", o->mean, o->sd, o->n);
    else if (o->n)
        snprintf(quality, sizeof quality, "%.4f", o->mean);
    if (isfinite(o->seconds_per_image)) snprintf(time, sizeof time, "%.4g ms", 1e3 * o->seconds_per_image);
    dram_str_add(out, "%5d %s  %11s  %-22s  %11s  %s\n", p->index, o->pareto ? "*" : " ", arena, quality, time,
                 dram_sweep_shown(sweep, p));
    if (p->text) dram_str_add(out, "         %s: %s\n", dram_point_status_word(p->status), p->text);
}

static void add_troubles(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    int left = 0;
    for (int i = 0; i < sweep->n_runs; i++) {
        const dram_sweep_result *r = &results->runs[i];
        left += r->state == DRAM_SWEEP_WAITING || r->state == DRAM_SWEEP_BEGUN;
        if (r->state == DRAM_SWEEP_FAILED)
            dram_str_add(out, "failed   %s, exit %d: %s\n", sweep->runs[i].name, r->exit,
                         r->text ? r->text : "see log.txt in it");
        if (r->state == DRAM_SWEEP_GONE)
            dram_str_add(out, "gone     %s: its directory was there, and is no more; the sweep makes it again\n",
                         sweep->runs[i].name);
    }
    if (left) dram_str_add(out, "to do    %d of %d runs\n", left, sweep->n_runs);
}

dram_status dram_sweep_report(const dram_sweep *sweep, const dram_sweep_results *results, dram_str *out)
{
    int *order = dram_alloc(((size_t)sweep->n_points + 1) * sizeof *order);
    if (!order) return no_memory();
    dram_sweep_sort(sweep, results, order);
    dram_str_add(out, "\n%5s    %11s  %-22s  %11s\n", "point", "arena", dram_quality_name(sweep->quality), "an image");
    for (int i = 0; i < sweep->n_points; i++) add_row(sweep, results, order[i], out);
    dram_str_add(out, "* no other point has at most its bytes and its time and a better %s\n",
                 dram_quality_name(sweep->quality));
    add_troubles(sweep, results, out);
    dram_str_add(out, "%s/runs.csv, points.csv\n", sweep->directory);
    dram_free(order);
    return out->failed ? no_memory() : DRAM_OK;
}
