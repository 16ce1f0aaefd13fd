#include "sweep/events.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "io/json.h"
#include "io/path.h"

static const char *const words[] = {
#define X(ID, WORD) [DRAM_SWEEP_EVENT_##ID] = #WORD,
    DRAM_SWEEP_EVENT_LIST(X)
#undef X
};

/* ---- runs by their names ---- */

static int compare_names(const void *a, const void *b, void *context)
{
    const dram_sweep *sweep = context;
    return strcmp(sweep->runs[*(const int *)a].name, sweep->runs[*(const int *)b].name);
}

static int find_run(const dram_events *e, const char *name)
{
    int low = 0, high = e->sweep->n_runs;
    while (low < high) {
        int middle = (low + high) / 2;
        int order = strcmp(name, e->sweep->runs[e->by_name[middle]].name);
        if (order == 0) return e->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

/* ---- reading ---- */

static int event_of(const cJSON *item)
{
    for (int i = 0; cJSON_IsString(item) && i < DRAM_SWEEP_EVENT_COUNT; i++)
        if (strcmp(item->valuestring, words[i]) == 0) return i;
    return -1;
}

/* "step 250: miou 0.5" */
void dram_events_rung_text(const dram_sweep *sweep, int rung, double quality, dram_str *text)
{
    dram_str_add(text, "step %lld: %s %.17g", (long long)sweep->rungs[rung], dram_quality_name(sweep->quality),
                 quality);
}

static void take_rung(const dram_sweep *sweep, const cJSON *text, dram_sweep_event_state *s)
{
    long long step;
    int at = 0;
    char *end;
    if (!cJSON_IsString(text) || sscanf(text->valuestring, "step %lld: %*s %n", &step, &at) < 1 || !at) return;
    double quality = strtod(text->valuestring + at, &end);
    for (int i = 0; i < sweep->n_rungs && end > text->valuestring + at; i++)
        if (sweep->rungs[i] == step) s->rung[i] = quality;
}

/* Events of runs that are not of this sweep are nothing to it. */
static dram_status take_line(dram_events *e, const char *line, size_t bytes, bool *good)
{
    cJSON *root;
    *good = false;
    if (dram_json_parse(line, bytes, &root, NULL) != DRAM_OK) {
        dram_error_clear();
        return DRAM_OK;
    }
    dram_status status = DRAM_OK;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(root, "run");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(root, "exit");
    const cJSON *text = cJSON_GetObjectItemCaseSensitive(root, "text");
    int event = event_of(cJSON_GetObjectItemCaseSensitive(root, "event"));
    int run = cJSON_IsString(name) ? find_run(e, name->valuestring) : -1;
    *good = event >= 0 && cJSON_IsString(name);
    if (*good && run >= 0) {
        dram_sweep_event_state *s = &e->of[run];
        s->any = true;
        s->begun = s->begun || event == DRAM_SWEEP_EVENT_STARTED;
        s->last = (dram_sweep_event)event;
        s->exit = cJSON_IsNumber(code) ? code->valueint : -1;
        s->promoted += event == DRAM_SWEEP_EVENT_PROMOTED;
        if (event == DRAM_SWEEP_EVENT_DONE) take_rung(e->sweep, text, s);
        dram_free(s->text);
        s->text = event == DRAM_SWEEP_EVENT_FAILED && cJSON_IsString(text) ? dram_strdup(text->valuestring) : NULL;
        if (event == DRAM_SWEEP_EVENT_FAILED && cJSON_IsString(text) && !s->text)
            status = dram_fail(DRAM_ERR_MEMORY, "%s: no memory for a line", e->path);
    }
    cJSON_Delete(root);
    return status;
}

static dram_status take_lines(dram_events *e, char *text, size_t bytes)
{
    char *line = text, *end;
    while ((end = memchr(line, '\n', bytes - (size_t)(line - text)))) {
        bool good = true;
        *end = '\0';
        if (end > line) TRY(take_line(e, line, (size_t)(end - line), &good));
        if (!good && !e->warned) {
            dram_warn("%s: a damaged line in it is left out", e->path);
            e->warned = true;
        }
        e->place += end + 1 - line;
        line = end + 1;
    }
    return DRAM_OK;
}

dram_status dram_events_read(dram_events *e)
{
    struct stat info;
    const char *why;
    dram_status status = DRAM_OK;
    int fd = dram_file_open(e->path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open: %s", e->path, why);
    size_t bytes = info.st_size > e->place ? (size_t)(info.st_size - e->place) : 0;
    char *text = bytes ? dram_alloc(bytes + 1) : NULL;
    ssize_t n = text ? dram_file_read_at(fd, text, bytes, e->place) : 0;
    if (bytes && !text) status = dram_fail(DRAM_ERR_MEMORY, "%s: no memory to read it", e->path);
    if (n < 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", e->path);
    close(fd);
    if (n > 0) {
        text[n] = '\0';
        status = take_lines(e, text, (size_t)n);
    }
    dram_free(text);
    return status;
}

/* ---- writing ---- */

/* A process that was killed as it wrote, or a disk that was full, may have left a line without its end. */
static bool ends_torn(const char *path)
{
    struct stat info;
    const char *why;
    char last = '\n';
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return false;
    if (info.st_size > 0 && dram_file_read_at(fd, &last, 1, info.st_size - 1) != 1) last = '\n';
    close(fd);
    return last != '\n';
}

static char *write_line(const dram_events *e, int run, dram_sweep_event event, int code, const char *text)
{
    struct timespec now;
    char *line = NULL;
    const dram_sweep_run *r = &e->sweep->runs[run];
    clock_gettime(CLOCK_REALTIME, &now);
    double time = (double)now.tv_sec + (double)(now.tv_nsec / 1000000) / 1000;
    cJSON *root = cJSON_CreateObject();
    if (root && cJSON_AddNumberToObject(root, "time", time) && cJSON_AddStringToObject(root, "event", words[event]) &&
        cJSON_AddStringToObject(root, "run", r->name) &&
        cJSON_AddNumberToObject(root, "index", e->sweep->points[r->point].index) &&
        cJSON_AddNumberToObject(root, "seed", (double)r->seed) &&
        (code < 0 ? cJSON_AddNullToObject(root, "exit") : cJSON_AddNumberToObject(root, "exit", code)) &&
        dram_json_add_text(root, "text", text))
        line = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return line;
}

/* Several processes may write; where the file system has no locks, an append of one line is still mostly whole. */
dram_status dram_events_add(dram_events *e, int run, dram_sweep_event event, int code, const char *text)
{
    dram_str out = {0};
    dram_status status;
    char *line = write_line(e, run, event, code, text);
    while (flock(e->lines.fd, LOCK_EX) != 0 && errno == EINTR) continue;
    if (line) dram_str_add(&out, "%s%s\n", ends_torn(e->path) ? "\n" : "", line);
    if (line && !out.failed)
        status = dram_lines_append(&e->lines, out.text, out.length);
    else
        status = dram_fail(DRAM_ERR_MEMORY, "%s: no memory for a line", e->path);
    flock(e->lines.fd, LOCK_UN);
    cJSON_free(line);
    dram_str_free(&out);
    return status == DRAM_OK ? dram_events_read(e) : status;
}

static dram_status prepare(const dram_sweep *sweep, dram_events *e)
{
    dram_status status;
    *e = (dram_events){.sweep = sweep};
    TRY(dram_path_join(sweep->directory, "events.jsonl", &e->path));
    e->of = dram_calloc((size_t)sweep->n_runs, sizeof *e->of);
    e->by_name = dram_alloc((size_t)sweep->n_runs * sizeof *e->by_name);
    status = e->of && e->by_name ? DRAM_OK : dram_fail(DRAM_ERR_MEMORY, "no memory for the events of a sweep");
    for (int i = 0; status == DRAM_OK && i < sweep->n_runs; i++) {
        e->by_name[i] = i;
        for (int k = 0; k < DRAM_SWEEP_RUNGS; k++) e->of[i].rung[k] = NAN;
    }
    if (status == DRAM_OK) qsort_r(e->by_name, (size_t)sweep->n_runs, sizeof *e->by_name, compare_names, (void *)sweep);
    return status;
}

dram_status dram_events_open(const dram_sweep *sweep, dram_events *e)
{
    dram_status status = prepare(sweep, e);
    if (status == DRAM_OK) status = dram_lines_open(e->path, &e->lines);
    if (status == DRAM_OK) status = dram_events_read(e);
    if (status != DRAM_OK) dram_events_close(e);
    return status;
}

dram_status dram_events_look(const dram_sweep *sweep, dram_events *e)
{
    dram_status status = prepare(sweep, e);
    e->warned = true; /* who runs the sweep has said it */
    if (status == DRAM_OK && dram_path_exists(e->path)) status = dram_events_read(e);
    if (status != DRAM_OK) dram_events_close(e);
    return status;
}

void dram_events_close(dram_events *e)
{
    dram_lines_close(&e->lines);
    for (int i = 0; e->of && i < e->sweep->n_runs; i++) dram_free(e->of[i].text);
    dram_free(e->path);
    dram_free(e->of);
    dram_free(e->by_name);
    *e = (dram_events){0};
}
