#include "page/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/json.h"
#include "io/path.h"

enum { LINE_MOST = 1 << 20 };

typedef struct {
    const char *path;
    FILE *file;
    char *text; /* [room] */
    int room, length, number;
    bool ended, too_long; /* it has its newline; it has more than LINE_MOST bytes, and the rest was passed over */
} reader;

/* The next line, without its newline; *more is false at the end of the file. */
static dram_status next_line(reader *r, bool *more)
{
    int c = 0;
    r->length = 0;
    r->ended = r->too_long = false;
    while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
        r->too_long = r->too_long || r->length >= LINE_MOST;
        if (r->too_long) continue;
        if (!DRAM_GROW(r->text, r->room, r->length + 2))
            return dram_fail(DRAM_ERR_MEMORY, "%s: no memory for a line", r->path);
        r->text[r->length++] = (char)c;
    }
    if (ferror(r->file)) return dram_fail(DRAM_ERR_IO, "%s cannot be read: %m", r->path);
    r->ended = c == '\n';
    *more = r->ended || r->length > 0;
    if (r->text) r->text[r->length] = '\0';
    r->number++;
    return DRAM_OK;
}

static double number_of(const cJSON *item)
{
    if (cJSON_IsNumber(item)) return item->valuedouble;
    if (cJSON_IsBool(item)) return cJSON_IsTrue(item);
    return cJSON_IsNull(item) ? INFINITY : NAN;
}

static bool make_room(dram_log *log, int n_keys)
{
    int room = log->room;
    if (log->n < room) return true;
    for (int k = 0; k < n_keys; k++) {
        room = log->room;
        if (!DRAM_GROW(log->column[k], room, log->n + 1)) return false;
    }
    log->room = room;
    return true;
}

/* Takes the numbers of a line; false: it is damaged. */
static bool take(dram_log *log, const cJSON *line, const char *const *keys, int n_keys, bool rises)
{
    double first = number_of(cJSON_GetObjectItemCaseSensitive(line, keys[0]));
    double before = log->n ? log->column[0][log->n - 1] : -INFINITY;
    if (!cJSON_IsObject(line) || !(first >= 0 && first <= 0x1p53) || first < before || (rises && first == before))
        return false;
    for (int k = 0; k < n_keys; k++) {
        /* Objects of dram have their keys in one order, but few enough that this needs no use of it. */
        log->column[k][log->n] = number_of(cJSON_GetObjectItemCaseSensitive(line, keys[k]));
    }
    log->n++;
    return true;
}

static dram_status read_lines(reader *r, const char *const *keys, int n_keys, bool rises, dram_log *log)
{
    bool more;
    for (;;) {
        cJSON *line = NULL;
        TRY(next_line(r, &more));
        if (!more) return DRAM_OK;
        if (!make_room(log, n_keys)) return dram_fail(DRAM_ERR_MEMORY, "%s: no memory for its numbers", r->path);
        bool whole = !r->too_long && r->text && strlen(r->text) == (size_t)r->length;
        dram_status status = whole ? dram_json_parse(r->text, (size_t)r->length, &line, NULL) : DRAM_ERR_FORMAT;
        if (status == DRAM_ERR_MEMORY) return dram_fail(status, "%s: no memory for a line", r->path);
        if (status == DRAM_OK && r->ended && take(log, line, keys, n_keys, rises)) {
            cJSON_Delete(log->last);
            log->last = line;
            continue;
        }
        cJSON_Delete(line);
        if (!r->ended) {
            log->torn = true;
            return DRAM_OK;
        }
        if (log->damaged++ == 0) log->first_damaged = r->number;
    }
}

dram_status dram_log_read(const char *path, const char *const *keys, int n_keys, bool rises, dram_log *log)
{
    const char *why;
    reader r = {.path = path};
    *log = (dram_log){0};
    if (n_keys > DRAM_LOG_KEYS) return dram_fail(DRAM_ERR_INTERNAL, "%d keys of a log", n_keys);
    if (!dram_path_exists(path)) return DRAM_OK;
    r.file = dram_file_stream(path, &why);
    if (!r.file) return dram_fail(DRAM_ERR_IO, "%s cannot be read: %s", path, why);
    log->there = true;
    dram_status status = read_lines(&r, keys, n_keys, rises, log);
    fclose(r.file);
    dram_free(r.text);
    if (status != DRAM_OK) dram_log_free(log);
    return status;
}

void dram_log_free(dram_log *log)
{
    for (int k = 0; k < DRAM_LOG_KEYS; k++) dram_free(log->column[k]);
    cJSON_Delete(log->last);
    *log = (dram_log){0};
}

bool dram_log_has(const dram_log *log, int key)
{
    for (int i = 0; i < log->n; i++)
        if (isfinite(log->column[key][i])) return true;
    return false;
}
