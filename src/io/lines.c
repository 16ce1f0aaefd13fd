#include "io/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"

enum { MAX_BYTES = 1 << 16 }; /* of a line that is read */

dram_status dram_lines_open(const char *path, dram_lines *lines)
{
    struct stat info;
    *lines = (dram_lines){0};
    const char *why = NULL;
    int fd = dram_file_open_to_write(path, O_WRONLY | O_APPEND | O_NONBLOCK, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open for appending: %s", path, why);
    if (fstat(fd, &info) != 0)
        why = strerror(errno);
    else if (S_ISFIFO(info.st_mode))
        why = dram_file_kind(&info);
    if (why) {
        close(fd);
        return dram_fail(DRAM_ERR_IO, "%s: cannot open for appending: %s", path, why);
    }
    *lines = (dram_lines){.path = path, .fd = fd};
    return DRAM_OK;
}

int dram_lines_write(const dram_lines *lines, const char *text, size_t bytes)
{
    off_t before = lseek(lines->fd, 0, SEEK_END);
    size_t done = 0;
    int reason = 0;
    while (done < bytes && !reason) {
        ssize_t wrote = write(lines->fd, text + done, bytes - done);
        if (wrote > 0)
            done += (size_t)wrote;
        else if (wrote == 0 || errno != EINTR)
            reason = wrote ? errno : EIO;
    }
    while (reason && done && ftruncate(lines->fd, before) != 0 && errno == EINTR) continue;
    return reason;
}

dram_status dram_lines_append(const dram_lines *lines, const char *text, size_t bytes)
{
    int reason = dram_lines_write(lines, text, bytes);
    return reason ? dram_fail(DRAM_ERR_IO, "%s: cannot write: %s", lines->path, strerror(reason)) : DRAM_OK;
}

int dram_lines_close(dram_lines *lines)
{
    int reason = lines->path && close(lines->fd) != 0 && errno != EINTR ? errno : 0; /* EINTR: Linux has closed it */
    *lines = (dram_lines){0};
    return reason;
}

/* ---- mending ---- */

typedef struct {
    int number; /* in the file, from 1; 0: none */
    size_t bytes;
    double step;
    const char *wrong; /* NULL: it is sound */
    char *text;        /* [room], owned */
    int room;
} line;

typedef struct {
    FILE *from;
    dram_atomic *to;
    double step; /* kept are the lines below */
    bool again;
    double last; /* step of the line that was kept last */
    dram_lines_mended found;
    char out[1 << 14]; /* lines that are still to be written */
    size_t waiting;
    line next[2]; /* a line, and the one before it, which is not judged before this one is known */
} mending;

/* Reads a line whole, with its newline, which a last line may not have. A line that is too long keeps its beginning. */
static dram_status read_line(const mending *m, line *l)
{
    int c = 0;
    l->bytes = 0;
    l->wrong = NULL;
    while (c != '\n' && (c = getc_unlocked(m->from)) != EOF) {
        if (!DRAM_GROW(l->text, l->room, (int)l->bytes + 3)) /* with a newline, and a zero after it */
            return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for a line", m->to->path);
        if (c == '\0') l->wrong = "a NUL in it";
        if (l->bytes < MAX_BYTES - 1)
            l->text[l->bytes++] = (char)c;
        else
            l->wrong = "too long";
    }
    if (l->bytes > 0 && c != '\n') l->text[l->bytes++] = '\n';
    if (l->bytes > 0) l->text[l->bytes] = '\0';
    l->number = l->bytes ? l->number + 1 : 0;
    return DRAM_OK;
}

/* Finds the step of a line, which is an object that has one. */
static dram_status judge(const mending *m, line *l)
{
    cJSON *root;
    if (!l->number || l->wrong) return DRAM_OK;
    dram_status status = dram_json_parse(l->text, l->bytes, &root, NULL);
    const cJSON *item = cJSON_IsObject(root) ? cJSON_GetObjectItemCaseSensitive(root, "step") : NULL;
    bool good = cJSON_IsNumber(item) && item->valuedouble >= 0 && item->valuedouble == floor(item->valuedouble);
    if (good)
        l->step = item->valuedouble;
    else
        l->wrong = "not an object with a step";
    cJSON_Delete(root);
    if (status == DRAM_ERR_MEMORY)
        return dram_fail(status, "%s:%d: out of host memory for a line", m->to->path, l->number);
    dram_error_clear();
    return DRAM_OK;
}

static dram_status next_line(const mending *m, line *l, int number)
{
    l->number = number;
    TRY(read_line(m, l));
    return judge(m, l);
}

static dram_status flush(mending *m)
{
    size_t bytes = m->waiting;
    m->waiting = 0;
    return dram_atomic_write(m->to, m->out, bytes);
}

static dram_status keep(mending *m, const line *l)
{
    if (l->bytes > sizeof m->out - m->waiting) TRY(flush(m));
    if (l->bytes > sizeof m->out) return dram_atomic_write(m->to, l->text, l->bytes);
    memcpy(m->out + m->waiting, l->text, l->bytes);
    m->waiting += l->bytes;
    return DRAM_OK;
}

static bool follows(const mending *m, double step, double before)
{
    return m->again ? step >= before : step > before;
}

/* Writes a line or drops it. A line that is sound by itself is wrong if its step does not follow, or if it goes so far
 * ahead that the next one, which follows what was written, does not follow it. */
static dram_status settle(mending *m, const line *l, const line *next)
{
    const char *wrong = l->wrong;
    bool judged = next->number && !next->wrong;
    bool ahead = judged && next->step < l->step && follows(m, next->step, m->last);
    if (!wrong && (ahead || !follows(m, l->step, m->last))) wrong = "its step is out of order";
    dram_lines_mended *found = &m->found;
    if (wrong && !found->first) {
        found->first = l->number;
        found->wrong = wrong;
    } else if (wrong) {
        found->others++;
    }
    if (wrong || l->step >= m->step) return DRAM_OK;
    m->last = l->step;
    found->kept++;
    return keep(m, l);
}

static dram_status mend(mending *m)
{
    int at = 0;
    m->last = -1;
    TRY(next_line(m, &m->next[0], 0));
    for (; m->next[at].number; at = !at) {
        TRY(next_line(m, &m->next[!at], m->next[at].number));
        TRY(settle(m, &m->next[at], &m->next[!at]));
    }
    if (ferror(m->from)) return dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", m->to->path);
    return DRAM_OK;
}

dram_status dram_lines_mend(FILE *from, dram_atomic *to, int64_t step, bool again, dram_lines_mended *found)
{
    mending m;
    m.from = from;
    m.to = to;
    m.step = (double)step;
    m.again = again;
    m.found = (dram_lines_mended){0};
    m.waiting = 0;
    memset(m.next, 0, sizeof m.next);
    dram_status status = mend(&m);
    if (status == DRAM_OK) status = flush(&m);
    for (int i = 0; i < 2; i++) dram_free(m.next[i].text);
    *found = m.found;
    return status;
}

static void tell(const char *path, const dram_lines_mended *found)
{
    char others[64] = "";
    if (found->others) snprintf(others, sizeof others, ", as %d of the lines after it", found->others);
    if (found->first)
        dram_warn("%s:%d: this line is damaged (%s); it is left out%s", path, found->first, found->wrong, others);
}

dram_status dram_lines_open_to_mend(const char *path, FILE **file)
{
    const char *why = dram_file_link(path);
    *file = why ? NULL : dram_file_stream(path, &why);
    return *file ? DRAM_OK : dram_fail(DRAM_ERR_IO, "%s: cannot open: %s", path, why);
}

dram_status dram_lines_truncate(const char *path, int64_t step, bool again, int64_t *kept)
{
    dram_status status;
    dram_atomic file = {0};
    dram_lines_mended found;
    FILE *from;
    if (kept) *kept = 0;
    if (!dram_path_exists(path)) return DRAM_OK;
    TRY(dram_lines_open_to_mend(path, &from));
    TRY_GOTO(dram_atomic_open(&file, path), done);
    TRY_GOTO(dram_lines_mend(from, &file, step, again, &found), done);
    TRY_GOTO(dram_atomic_commit(&file), done);
    tell(path, &found);
    if (kept) *kept = found.kept;
done:
    dram_atomic_abort(&file);
    fclose(from);
    return status;
}
