#include "io/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "io/atomic.h"
#include "io/json.h"
#include "io/path.h"

enum { MAX_BYTES = 1 << 16 }; /* of a line that is read */

dram_status dram_lines_open(const char *path, dram_lines *lines)
{
    struct stat info;
    *lines = (dram_lines){0};
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open for appending: %m", path);
    if (fstat(fd, &info) != 0 || S_ISFIFO(info.st_mode)) {
        close(fd);
        return dram_fail(DRAM_ERR_IO, "%s: cannot open for appending: not a file: a pipe", path);
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

void dram_lines_close(dram_lines *lines)
{
    if (lines->path) close(lines->fd);
    *lines = (dram_lines){0};
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
        status = dram_fail(DRAM_ERR_FORMAT, "%s:%d: not an object with a step", path, number);
    cJSON_Delete(root);
    return status;
}

/* Copies the lines below `step` from one to the other. */
static dram_status copy_lines(FILE *from, const char *path, int64_t step, dram_atomic *to)
{
    char line[MAX_BYTES];
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

dram_status dram_lines_truncate(const char *path, int64_t step)
{
    dram_atomic to = {0};
    dram_status status;
    struct stat info;
    const char *why;
    if (!dram_path_exists(path)) return DRAM_OK;
    int fd = dram_file_open(path, &info, &why);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open: %s", path, why);
    FILE *from = fdopen(fd, "r");
    if (!from) {
        close(fd);
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory while reading", path);
    }
    TRY_GOTO(dram_atomic_open(&to, path), done);
    TRY_GOTO(copy_lines(from, path, step, &to), done);
    status = dram_atomic_commit(&to);
done:
    dram_atomic_abort(&to);
    fclose(from);
    return status;
}
