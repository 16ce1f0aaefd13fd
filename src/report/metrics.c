#include "report/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "io/atomic.h"
#include "io/json.h"

struct dram_metrics_file {
    char *path;
    int fd;
};

enum { LINE_MAX_BYTES = 4096, READ_MAX_BYTES = 1 << 16 }; /* of a line that is written, that is read */

dram_status dram_metrics_open(const char *path, dram_metrics_file **file)
{
    dram_status status;
    *file = dram_calloc(1, sizeof **file);
    char *copy = dram_strdup(path);
    if (!*file || !copy) {
        status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory", path);
        goto fail;
    }
    (*file)->path = copy;
    (*file)->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if ((*file)->fd >= 0) return DRAM_OK;
    status = dram_fail(DRAM_ERR_IO, "%s: cannot open for appending: %m", path);
fail:
    dram_free(copy);
    dram_free(*file);
    *file = NULL;
    return status;
}

void dram_metrics_close(dram_metrics_file *file)
{
    if (!file) return;
    close(file->fd);
    dram_free(file->path);
    dram_free(file);
}

/* ,"key":number or ,"key":null */
static int put_number(char *out, size_t size, const char *key, double value)
{
    if (!isfinite(value)) return snprintf(out, size, ",\"%s\":null", key);
    return snprintf(out, size, ",\"%s\":%.9g", key, value);
}

/* The keys in the order of the file. Each is far below the share of the buffer that is its own. */
static size_t format_line(const dram_metrics *m, char out[LINE_MAX_BYTES])
{
    size_t n = (size_t)snprintf(out, LINE_MAX_BYTES, "{\"step\":%" PRId64, m->step);
    const struct {
        const char *key;
        double value;
    } number[] = {{"loss", m->loss},
                  {"loss_task", m->loss_task},
                  {"loss_sam", m->loss_sam},
                  {"loss_resolution", m->loss_resolution},
                  {"lr", m->lr},
                  {"grad_norm", m->grad_norm},
                  {"loss_scale", m->loss_scale}};
    for (size_t i = 0; i < sizeof number / sizeof number[0]; i++)
        n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, number[i].key, number[i].value);
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n, ",\"distilled\":%s,\"teacher_ran\":%s",
                          isfinite(m->loss_sam) ? "true" : "false", m->teacher_ran ? "true" : "false");
    n += (size_t)put_number(out + n, LINE_MAX_BYTES - n, "images_per_second", m->images_per_second);
    n += (size_t)snprintf(out + n, LINE_MAX_BYTES - n,
                          ",\"planned_peak_bytes\":%" PRId64 ",\"measured_peak_bytes\":%" PRId64 "}\n",
                          m->planned_peak_bytes, m->measured_peak_bytes);
    return n;
}

dram_status dram_metrics_append(dram_metrics_file *file, const dram_metrics *metrics)
{
    char line[LINE_MAX_BYTES];
    size_t n = format_line(metrics, line), done = 0;
    off_t before = lseek(file->fd, 0, SEEK_END);
    while (done < n) {
        ssize_t wrote = write(file->fd, line + done, n - done);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) {
            dram_status status = dram_fail(DRAM_ERR_IO, "%s: cannot write: %m", file->path);
            /* If this fails too, a torn line stays at the end, which dram_metrics_truncate drops. */
            if (done > 0 && before >= 0 && ftruncate(file->fd, before) != 0) status = DRAM_ERR_IO;
            return status;
        }
        done += (size_t)wrote;
    }
    return DRAM_OK;
}

/* The step of one line of the file, which is an object that has one. */
static dram_status line_step(const char *path, int number, const char *line, size_t bytes, double *step)
{
    cJSON *root;
    dram_status status = dram_json_parse(line, bytes, &root, NULL);
    const cJSON *item = cJSON_IsObject(root) ? cJSON_GetObjectItemCaseSensitive(root, "step") : NULL;
    if (cJSON_IsNumber(item) && item->valuedouble == floor(item->valuedouble))
        *step = item->valuedouble;
    else if (status == DRAM_ERR_MEMORY)
        dram_fail(status, "%s:%d: out of host memory for a line", path, number);
    else
        status = dram_fail(DRAM_ERR_FORMAT, "%s:%d: not a line of metrics", path, number);
    cJSON_Delete(root);
    return status;
}

/* Copies the lines below `step` from one to the other. */
static dram_status copy_lines(FILE *from, const char *path, int64_t step, dram_atomic *to)
{
    char line[READ_MAX_BYTES];
    double found = 0;
    for (int number = 1; fgets(line, sizeof line, from); number++) {
        size_t n = strlen(line);
        if ((n == 0 || line[n - 1] != '\n') && feof(from)) break; /* torn */
        TRY(line_step(path, number, line, n, &found));
        if (found < (double)step) TRY(dram_atomic_write(to, line, n));
    }
    if (ferror(from)) return dram_fail(DRAM_ERR_IO, "%s: cannot read: %m", path);
    return DRAM_OK;
}

dram_status dram_metrics_truncate(const char *path, int64_t step)
{
    dram_atomic to = {0};
    dram_status status;
    FILE *from = fopen(path, "re");
    if (!from && errno == ENOENT) return DRAM_OK;
    if (!from) return dram_fail(DRAM_ERR_IO, "%s: cannot open: %m", path);
    TRY_GOTO(dram_atomic_open(&to, path), done);
    TRY_GOTO(copy_lines(from, path, step, &to), done);
    status = dram_atomic_commit(&to);
done:
    dram_atomic_abort(&to);
    fclose(from);
    return status;
}
