#include "page/history.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/checkpoint.h"
#include "io/json.h"
#include "io/path.h"
#include "train/configs.h"

void dram_history_warn(dram_history *r, const char *format, ...)
{
    char text[1400];
    va_list args;
    if (r->n_warnings == DRAM_HISTORY_WARNINGS) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool last = r->n_warnings == DRAM_HISTORY_WARNINGS - 1;
    r->warnings[r->n_warnings] = dram_strdup(last ? "and there are more warnings" : text);
    if (r->warnings[r->n_warnings]) r->n_warnings++;
}

/* The held error becomes a warning. */
static void warn_of_error(dram_history *r, const char *what)
{
    dram_history_warn(r, "%s%s", what, dram_error_text());
    dram_error_clear();
}

/* ---- files ---- */

static dram_status read_log(dram_history *r, const char *name, const char *const *keys, int n, bool rises,
                            dram_log *log)
{
    char *path;
    TRY(dram_path_join(r->directory, name, &path));
    dram_status status = dram_log_read(path, keys, n, rises, log);
    dram_free(path);
    if (status == DRAM_ERR_IO) {
        warn_of_error(r, "");
        return DRAM_OK;
    }
    TRY(status);
    if (log->damaged)
        dram_history_warn(r, "%s: %d %s left out, being damaged or out of order, the first of them line %d", name,
                          log->damaged, log->damaged == 1 ? "line was" : "lines were", log->first_damaged);
    if (log->torn) dram_history_warn(r, "%s: the last line was not written to its end, and is left out", name);
    return DRAM_OK;
}

static dram_status read_logs(dram_history *r)
{
#define X(ID, KEY) #KEY,
    static const char *const metrics[] = {DRAM_METRIC_LIST(X)}, *const evaluations[] = {DRAM_EVALUATION_LIST(X)},
                             *const memory[] = {DRAM_MEMORY_LIST(X)};
#undef X
    TRY(read_log(r, "metrics.jsonl", metrics, DRAM_METRICS, true, &r->metrics));
    TRY(read_log(r, "evaluations.jsonl", evaluations, DRAM_EVALUATIONS, false, &r->evaluations));
    return read_log(r, "memory.jsonl", memory, DRAM_MEMORIES, false, &r->memory);
}

static dram_status read_summary(dram_history *r)
{
    char *path;
    TRY(dram_path_join(r->directory, "summary.json", &path));
    if (dram_path_exists(path) && dram_json_read(path, &r->summary) != DRAM_OK) warn_of_error(r, "");
    dram_free(path);
    return DRAM_OK;
}

/* log.txt is what the run printed, where a sweep made it, or who started it kept it: its warnings, and why it ended. */
static dram_status read_printed(dram_history *r)
{
    enum { MOST = 24 };
    char line[1200], last[1200] = "", *path;
    const char *why = NULL;
    int warnings = 0;
    TRY(dram_path_join(r->directory, "log.txt", &path));
    FILE *file = dram_path_exists(path) ? dram_file_stream(path, &why) : NULL;
    if (why) dram_history_warn(r, "%s cannot be read: %s", path, why);
    dram_free(path);
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, "dram: ", 6) == 0) snprintf(last, sizeof last, "%s", line + 6);
        if (strncmp(line, "warning: ", 9) == 0 && warnings++ < MOST) dram_history_warn(r, "%s", line + 9);
    }
    if (file) fclose(file);
    if (warnings > MOST) dram_history_warn(r, "log.txt has %d more warnings", warnings - MOST);
    if (*last) dram_history_warn(r, "its last words: %s", last);
    return DRAM_OK;
}

/* checkpoint.json has the version of dram, and on what the run was made. */
static dram_status read_checkpoint(dram_history *r)
{
    char *folder, *step = NULL, *path = NULL;
    dram_status status;
    r->saved_at = -1;
    TRY(dram_path_join(r->directory, "checkpoints", &folder));
    if (dram_checkpoint_latest(folder, &r->saved_at) != DRAM_OK) {
        warn_of_error(r, "");
        r->saved_at = -1;
    }
    status = r->saved_at < 0 ? DRAM_OK : dram_checkpoint_path(folder, r->saved_at, &step);
    if (status == DRAM_OK && step) status = dram_path_join(step, "checkpoint.json", &path);
    if (path && dram_path_exists(path) && dram_json_read(path, &r->saved) != DRAM_OK) warn_of_error(r, "");
    dram_free(path);
    dram_free(step);
    dram_free(folder);
    return status;
}

static int by_step(const void *a, const void *b)
{
    const dram_history_config *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->again - y->again;
}

static dram_history_config *earliest(dram_history *r)
{
    dram_history_config *first = r->configs;
    for (int i = 1; i < r->n_configs; i++)
        if (by_step(&r->configs[i], first) < 0) first = &r->configs[i];
    return first;
}

/* Of too many the last are kept: the one in force is among them. */
static dram_status list_configs(dram_history *r)
{
    int left_out = 0;
    const struct dirent *entry;
    dram_history_config c = {0};
    dram_status status = DRAM_OK;
    DIR *dir = opendir(r->directory);
    if (!dir) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot open this folder: %m", r->directory);
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL) {
        if (!dram_configs_name(entry->d_name, &c.step, &c.again)) continue;
        dram_history_config *at = r->n_configs < DRAM_HISTORY_CONFIGS ? &r->configs[r->n_configs] : earliest(r);
        if (at < &r->configs[r->n_configs]) left_out++;
        if (at < &r->configs[r->n_configs] && by_step(&c, at) < 0) continue;
        char *before = at->path;
        status = dram_path_join(r->directory, entry->d_name, &c.path);
        if (status != DRAM_OK) break;
        dram_free(before);
        *at = c;
        if (at == &r->configs[r->n_configs]) r->n_configs++;
    }
    closedir(dir);
    qsort(r->configs, (size_t)r->n_configs, sizeof r->configs[0], by_step);
    if (left_out) dram_history_warn(r, "only the last %d of its configs are read", DRAM_HISTORY_CONFIGS);
    return status;
}

/* "# pulled by the planner to fit the budget: recompute" stands before the keys. */
static void read_comment(dram_history_config *c)
{
    char line[1024];
    dram_str text = {0};
    const char *why; /* who loads it says so */
    FILE *file = dram_file_stream(c->path, &why);
    while (file && fgets(line, sizeof line, file) && line[0] == '#') {
        line[strcspn(line, "\n")] = '\0';
        dram_str_add(&text, "%s%s", text.length ? "; " : "", line + 1 + strspn(line + 1, " "));
    }
    if (file) fclose(file);
    c->said = text.text; /* dram_str's text is of dram_alloc's kind */
}

static dram_status read_config(dram_history *r, dram_history_config *c, const char *what)
{
    read_comment(c);
    /* A base need not make a run. */
    dram_status status =
        c == &r->base ? dram_config_try(c->path, NULL, 0, &c->cfg) : dram_config_load(c->path, NULL, 0, &c->cfg);
    if (status == DRAM_ERR_MEMORY) return status;
    if (status != DRAM_OK) warn_of_error(r, what);
    return DRAM_OK;
}

/* A sweep's runs have one base, in its folder, which plan.json tells. */
static dram_status find_base(const dram_history *r, char **path)
{
    char *above;
    TRY(dram_path_join(r->directory, DRAM_CONFIGS_BASE, path));
    if (dram_path_exists(*path)) return DRAM_OK;
    dram_free(*path);
    *path = NULL;
    TRY(dram_path_join(r->directory, "..", &above));
    dram_status status = dram_path_has(above, "plan.json") && dram_path_has(above, DRAM_CONFIGS_BASE)
                             ? dram_path_join(above, DRAM_CONFIGS_BASE, path)
                             : DRAM_OK;
    dram_free(above);
    return status;
}

static dram_status read_configs(dram_history *r)
{
    TRY(list_configs(r));
    for (int i = 0; i < r->n_configs; i++)
        TRY(read_config(r, &r->configs[i], "the config cannot be read by this dram: "));
    TRY(find_base(r, &r->base.path));
    return r->base.path ? read_config(r, &r->base, "the base of its config cannot be read by this dram: ") : DRAM_OK;
}

/* ---- what they say ---- */

/* memory.jsonl counts the seconds of each process from 0. A run goes on where they begin again, at the step it has
 * then; where nothing was trained between, once. */
static dram_status find_starts(dram_history *r)
{
    const dram_log *m = &r->memory;
    double before = 0;
    r->elapsed = dram_alloc((size_t)(m->n ? m->n : 1) * sizeof *r->elapsed);
    if (!r->elapsed) return dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its page", r->directory);
    for (int i = 0; i < m->n; i++) {
        double seconds = m->column[DRAM_MEMORY_SECONDS][i], step = m->column[DRAM_MEMORY_STEP][i];
        if (!isfinite(seconds)) seconds = i ? m->column[DRAM_MEMORY_SECONDS][i - 1] : 0;
        m->column[DRAM_MEMORY_SECONDS][i] = seconds;
        if (i && seconds < m->column[DRAM_MEMORY_SECONDS][i - 1]) {
            before = r->elapsed[i - 1];
            if (r->n_starts < DRAM_HISTORY_STARTS) {
                r->starts[r->n_starts] = step;
                r->started[r->n_starts++] = before;
            }
        }
        r->elapsed[i] = before + seconds;
    }
    return DRAM_OK;
}

static void judge(dram_history *r)
{
    double steps = dram_history_number(r, "steps"), code = dram_history_number(r, "exit");
    const dram_config *cfg = dram_history_cfg(r);
    double all = dram_history_number(r, "steps_in_all");
    if (!isfinite(all)) all = cfg ? cfg->train.steps : steps;
    double done = (double)dram_history_steps(r);
    r->exit = fabs(code) <= 255 ? (int)code : 0;
    /* A step that failed may be in the log. */
    if (!r->summary || done > steps + (r->exit != 0))
        r->state = DRAM_HISTORY_BROKEN_OFF;
    else if (r->exit != 0)
        r->state = DRAM_HISTORY_FAILED;
    else
        r->state = steps < all ? DRAM_HISTORY_PAUSED : DRAM_HISTORY_DONE;
}

/* What the summary says that a reader must not miss. */
static void warn_of_summary(dram_history *r)
{
    double skipped = dram_history_number(r, "skipped_images"), steps = dram_history_number(r, "skipped_steps");
    double planned = dram_history_number(r, "planned_peak_bytes"),
           measured = dram_history_number(r, "measured_peak_bytes");
    double left = dram_history_number(r, "data.train.left_out");
    if (skipped > 0) dram_history_warn(r, "%.0f images could not be read and were skipped", skipped);
    if (left > 0) dram_history_warn(r, "%.0f of the training images were left out, being bad", left);
    if (steps > 0) dram_history_warn(r, "%.0f steps were skipped: their gradients were not finite", steps);
    if (isfinite(planned) && isfinite(measured) && planned != measured)
        dram_history_warn(r, "the measured peak, %.0f bytes, is not the planned one, %.0f", measured, planned);
    if (dram_history_number(r, "data.val_in_train_by_content.count") > 0)
        dram_history_warn(r, "%.0f images of data.val have the content of an image of data.train",
                          dram_history_number(r, "data.val_in_train_by_content.count"));
    if (dram_history_number(r, "data.val_in_train_by_name.count") > 0)
        dram_history_warn(r, "%.0f images of data.val are images of data.train",
                          dram_history_number(r, "data.val_in_train_by_name.count"));
}

static void warn_of_metrics(dram_history *r)
{
    const dram_log *m = &r->metrics;
    /* Each step has one line at most, and they rise. */
    double missing = m->n ? m->column[DRAM_METRIC_STEP][m->n - 1] + 1 - m->n : 0;
    if (missing > 0) dram_history_warn(r, "metrics.jsonl has no line of %.0f steps", missing);
    if (!m->there) dram_history_warn(r, "there is no metrics.jsonl: no step was written down");
}

/* The config's name, else that of the folder, whatever it was called by. */
static char *name_of(const dram_history *r)
{
    const dram_config *cfg = dram_history_cfg(r);
    char *path = cfg ? NULL : realpath(r->directory, NULL);
    char *name = dram_strdup(cfg ? cfg->name : dram_path_name(path ? path : r->directory));
    free(path);
    return name;
}

dram_status dram_history_read(const char *directory, dram_history *r)
{
    dram_status status;
    *r = (dram_history){.directory = directory};
    if (!dram_history_is_run(directory))
        return dram_fail(DRAM_ERR_CONFIG, "%s: no run's folder: there is no config.yaml in it", directory);
    TRY_GOTO(read_configs(r), fail);
    TRY_GOTO(read_logs(r), fail);
    TRY_GOTO(read_summary(r), fail);
    TRY_GOTO(read_checkpoint(r), fail);
    TRY_GOTO(read_printed(r), fail);
    TRY_GOTO(find_starts(r), fail);
    judge(r);
    warn_of_metrics(r);
    warn_of_summary(r);
    r->name = name_of(r);
    if (r->name) return DRAM_OK;
    status = dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its page", directory);
fail:
    dram_history_free(r);
    return status;
}

static void free_config(dram_history_config *c)
{
    dram_free(c->path);
    dram_free(c->said);
    dram_config_free(c->cfg);
}

void dram_history_free(dram_history *r)
{
    dram_log_free(&r->metrics);
    dram_log_free(&r->evaluations);
    dram_log_free(&r->memory);
    cJSON_Delete(r->summary);
    cJSON_Delete(r->saved);
    for (int i = 0; i < r->n_configs; i++) free_config(&r->configs[i]);
    free_config(&r->base);
    for (int i = 0; i < r->n_warnings; i++) dram_free(r->warnings[i]);
    dram_free(r->elapsed);
    dram_free(r->name);
    *r = (dram_history){0};
}

bool dram_history_is_run(const char *directory)
{
    return dram_path_has(directory, "config.yaml") && !dram_path_has(directory, "state.json");
}

bool dram_history_is_checkpoint(const char *directory)
{
    return dram_path_has(directory, "config.yaml") && dram_path_has(directory, "state.json");
}

const dram_config *dram_history_cfg(const dram_history *r)
{
    return r->n_configs ? r->configs[r->n_configs - 1].cfg : NULL;
}

int64_t dram_history_steps(const dram_history *r)
{
    const dram_log *m = &r->metrics;
    double steps = dram_history_number(r, "steps");
    int64_t logged = m->n ? (int64_t)m->column[DRAM_METRIC_STEP][m->n - 1] + 1 : 0;
    return isfinite(steps) && (int64_t)steps > logged ? (int64_t)steps : logged;
}

void dram_history_say_state(const dram_history *r, dram_str *out)
{
    const dram_config *cfg = dram_history_cfg(r);
    int64_t steps = dram_history_steps(r);
    static const char *const text[] = {[DRAM_HISTORY_DONE] = "done",
                                       [DRAM_HISTORY_PAUSED] = "ended for now",
                                       [DRAM_HISTORY_FAILED] = "failed",
                                       [DRAM_HISTORY_BROKEN_OFF] = "broken off, or still running"};
    dram_str_add(out, "%s: ", r->state == DRAM_HISTORY_FAILED && r->exit == 130 ? "interrupted" : text[r->state]);
    dram_str_add(out, "%" PRId64, steps);
    if (cfg) dram_str_add(out, " of %d", cfg->train.steps);
    dram_str_add(out, " steps");
    if (r->state == DRAM_HISTORY_FAILED) dram_str_add(out, ", exit code %d", r->exit);
    if (r->state == DRAM_HISTORY_DONE) return;
    if (r->saved_at >= 0)
        dram_str_add(out, "; saved at step %" PRId64, r->saved_at);
    else
        dram_str_add(out, "; nothing is saved");
}

double dram_history_number(const dram_history *r, const char *path)
{
    const cJSON *at = r->summary;
    char part[64];
    for (const char *p = path; at && *p;) {
        size_t n = strcspn(p, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, p);
        at = cJSON_GetObjectItemCaseSensitive(at, part);
        p += n + (p[n] == '.');
    }
    return cJSON_IsNumber(at) && fabs(at->valuedouble) <= 0x1p53 ? at->valuedouble : NAN; /* counts are cast */
}

double dram_history_quality(const dram_history *r, const char *field)
{
    char path[64];
    snprintf(path, sizeof path, "eval.%s", field);
    double value = r->state == DRAM_HISTORY_BROKEN_OFF ? NAN : dram_history_number(r, path);
    const cJSON *last = cJSON_GetObjectItemCaseSensitive(r->evaluations.last, field);
    if (isfinite(value)) return value;
    return cJSON_IsNumber(last) ? last->valuedouble : NAN;
}

double dram_history_seconds(const dram_history *r)
{
    return r->memory.n ? r->elapsed[r->memory.n - 1] : NAN;
}
