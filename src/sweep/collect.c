/* What is in a sweep's folder, read back: each run by its summary.json and the last line that events.jsonl has of it. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "io/json.h"
#include "io/path.h"
#include "sweep/events.h"
#include "sweep/frontier.h"

typedef struct {
    const dram_sweep *sweep;
    int *first; /* [points + 1]: its runs in sweep->runs */
    dram_events events;
    dram_sweep_results *results;
} collection;

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory for the results of a sweep");
}

/* ---- runs ---- */

static int64_t bytes_of(const cJSON *object, const char *key)
{
    double value = dram_json_number_or_nan(object, key);
    return value > 0 && value < 9e18 ? (int64_t)value : 0;
}

static void take_summary(const cJSON *root, dram_sweep_result *r)
{
    const cJSON *eval = cJSON_GetObjectItemCaseSensitive(root, "eval"),
                *gpu = cJSON_GetObjectItemCaseSensitive(root, "gpu_process");
    for (int q = 0; q < DRAM_QUALITY_COUNT; q++)
        r->quality[q] = dram_json_number_or_nan(eval, dram_quality_name((dram_quality)q));
    r->exit = (int)bytes_of(root, "exit");
    r->steps = bytes_of(root, "steps");
    r->measured_bytes = bytes_of(root, "measured_peak_bytes");
    r->process_bytes =
        bytes_of(cJSON_IsObject(gpu) ? gpu : root, cJSON_IsObject(gpu) ? "measured_bytes" : "process_peak_rss_bytes");
    r->images_per_second = dram_json_number_or_nan(root, "images_per_second");
    r->seconds_per_image = r->images_per_second > 0 ? 1 / r->images_per_second : NAN;
    r->final_loss = dram_json_number_or_nan(root, "final_loss");
}

/* A run that was killed between its last step and its summary goes on with no step, so its summary has no time and no
 * loss. Its metrics.jsonl has those of all steps. */
static dram_status take_steps(const char *directory, dram_sweep_result *r)
{
    const char *why;
    char *path, *line = NULL;
    size_t room = 0;
    ssize_t length;
    double seconds = 0;
    int n = 0;
    TRY(dram_path_join(directory, "metrics.jsonl", &path));
    FILE *file = dram_file_stream(path, &why);
    if (!file) dram_warn("%s: cannot open: %s; this run has no time and no loss", path, why);
    while (file && (length = getline(&line, &room, file)) > 0) {
        cJSON *root = NULL;
        if (dram_json_parse(line, (size_t)length, &root, NULL) != DRAM_OK) dram_error_clear();
        double speed = dram_json_number_or_nan(root, "images_per_second"), loss = dram_json_number_or_nan(root, "loss");
        if (isfinite(loss)) r->final_loss = loss;
        if (speed > 0) seconds += 1 / speed, n++;
        cJSON_Delete(root);
    }
    if (n) {
        r->seconds_per_image = seconds / n;
        r->images_per_second = 1 / r->seconds_per_image;
    }
    if (file) fclose(file);
    free(line); /* getline's own */
    dram_free(path);
    return DRAM_OK;
}

dram_status dram_sweep_read_summary(const dram_sweep *sweep, int run, dram_sweep_result *r)
{
    char *directory, *path = NULL;
    cJSON *root = NULL;
    *r = (dram_sweep_result){.exit = -1, .seconds_per_image = NAN, .images_per_second = NAN, .final_loss = NAN};
    for (int q = 0; q < DRAM_QUALITY_COUNT; q++) r->quality[q] = NAN;
    TRY(dram_path_join(sweep->directory, sweep->runs[run].name, &directory));
    r->state = dram_path_exists(directory) ? DRAM_SWEEP_BEGUN : DRAM_SWEEP_WAITING;
    dram_status status = dram_path_join(directory, "summary.json", &path);
    if (status == DRAM_OK && dram_path_exists(path) && dram_json_read(path, &root) != DRAM_OK) {
        dram_warn("%s; the run counts as not ended", dram_error_text());
        dram_error_clear();
    }
    if (root) take_summary(root, r);
    if (r->exit == 0) {
        const double all = dram_json_number_or_nan(root, "steps_in_all");
        bool whole = (double)r->steps >= (isfinite(all) ? all : sweep->points[sweep->runs[run].point].steps);
        r->state = whole || sweep->runs[run].timed ? DRAM_SWEEP_DONE : DRAM_SWEEP_PAUSED;
    }
    if (status == DRAM_OK && r->exit == 0 && r->steps && !isfinite(r->seconds_per_image))
        status = take_steps(directory, r);
    cJSON_Delete(root);
    dram_free(path);
    dram_free(directory);
    return status;
}

/* What events.jsonl adds to what the summary says. */
static dram_sweep_state judge(const dram_sweep_event_state *e, const dram_sweep_result *r)
{
    const bool summary = r->exit >= 0, begun = e->any && e->last == DRAM_SWEEP_EVENT_STARTED; /* and nothing since */
    const bool failed = e->any && e->last == DRAM_SWEEP_EVENT_FAILED;
    /* It came to something, so that its directory must be there. */
    const bool ended = e->any && (e->last == DRAM_SWEEP_EVENT_DONE || e->last == DRAM_SWEEP_EVENT_PROMOTED ||
                                  e->last == DRAM_SWEEP_EVENT_INTERRUPTED);
    if (summary && r->exit == 0) return begun && r->state == DRAM_SWEEP_PAUSED ? DRAM_SWEEP_BEGUN : r->state;
    if (failed || (summary && r->exit != 130 && !begun)) return DRAM_SWEEP_FAILED;
    if (r->state != DRAM_SWEEP_WAITING) return DRAM_SWEEP_BEGUN;
    return ended ? DRAM_SWEEP_GONE : begun ? DRAM_SWEEP_BEGUN : DRAM_SWEEP_WAITING;
}

static dram_status read_run(collection *c, int i)
{
    dram_sweep_result *r = &c->results->runs[i];
    dram_sweep_event_state *e = &c->events.of[i];
    TRY(dram_sweep_read_summary(c->sweep, i, r));
    r->state = judge(e, r);
    if (r->exit < 0) r->exit = e->any ? e->exit : 0;
    if (r->state == DRAM_SWEEP_FAILED) {
        r->text = e->text;
        e->text = NULL;
    }
    return DRAM_OK;
}

/* ---- points ---- */

/* The point whose runs have its plan, and that whose runs have its quality: places. */
static int plan_of(const dram_sweep *sweep, int i)
{
    return sweep->points[i].equal_to ? sweep->points[i].equal_to - 1 : i;
}

static int quality_of(const dram_sweep *sweep, int i)
{
    i = plan_of(sweep, i);
    return sweep->points[i].timed_with ? sweep->points[i].timed_with - 1 : i;
}

/* Mean and deviation in two passes over runs in their order: the same bits whenever it is done. */
static void take_quality(const collection *c, int point, dram_sweep_outcome *o)
{
    double sum = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = c->first[point]; i < c->first[point + 1]; i++) {
            const dram_sweep_result *r = &c->results->runs[i];
            double value = r->quality[c->sweep->quality];
            if (r->state != DRAM_SWEEP_DONE || c->sweep->runs[i].timed || !isfinite(value)) continue;
            if (pass == 0) {
                sum += value;
                o->n++;
            } else {
                squares += (value - sum / o->n) * (value - sum / o->n);
            }
        }
    o->mean = o->n ? sum / o->n : NAN;
    o->sd = o->n > 1 ? sqrt(squares / (o->n - 1)) : NAN;
}

static void take_own(const collection *c, int point, dram_sweep_outcome *o)
{
    double seconds = 0;
    int timed = 0;
    for (int i = c->first[point]; i < c->first[point + 1]; i++) {
        const dram_sweep_result *r = &c->results->runs[i];
        o->failed += r->state == DRAM_SWEEP_FAILED;
        o->gone += r->state == DRAM_SWEEP_GONE;
        o->waiting += r->state != DRAM_SWEEP_DONE && r->state != DRAM_SWEEP_FAILED;
        if (r->measured_bytes > o->measured_bytes) o->measured_bytes = r->measured_bytes;
        if (r->process_bytes > o->process_bytes) o->process_bytes = r->process_bytes;
        if (r->state != DRAM_SWEEP_DONE || !isfinite(r->seconds_per_image)) continue;
        seconds += r->seconds_per_image;
        timed++;
    }
    o->seconds_per_image = timed ? seconds / timed : NAN;
}

static dram_status collect(collection *c)
{
    const dram_sweep *sweep = c->sweep;
    for (int i = 0, run = 0; i < sweep->n_points; i++) {
        c->first[i] = run;
        while (run < sweep->n_runs && sweep->runs[run].point == i) run++;
        c->first[i + 1] = run;
    }
    TRY(dram_events_look(sweep, &c->events));
    for (int i = 0; i < sweep->n_runs; i++) TRY(read_run(c, i));
    for (int i = 0; i < sweep->n_points; i++) {
        take_quality(c, quality_of(sweep, i), &c->results->points[i]);
        take_own(c, plan_of(sweep, i), &c->results->points[i]);
    }
    dram_sweep_frontier(sweep, c->results->points);
    return DRAM_OK;
}

dram_status dram_sweep_collect(const dram_sweep *sweep, dram_sweep_results *results)
{
    collection c = {.sweep = sweep, .results = results};
    size_t points = (size_t)sweep->n_points, runs = (size_t)sweep->n_runs;
    results->runs = dram_calloc(runs + 1, sizeof *results->runs);
    results->points = dram_calloc(points + 1, sizeof *results->points);
    c.first = dram_calloc(points + 1, sizeof *c.first);
    dram_status status = results->runs && results->points && c.first ? collect(&c) : no_memory();
    dram_events_close(&c.events);
    dram_free(c.first);
    if (status != DRAM_OK) dram_sweep_results_free(sweep, results);
    return status;
}

void dram_sweep_results_free(const dram_sweep *sweep, dram_sweep_results *results)
{
    for (int i = 0; results->runs && i < sweep->n_runs; i++) dram_free(results->runs[i].text);
    dram_free(results->runs);
    dram_free(results->points);
    *results = (dram_sweep_results){0};
}
