#include "io/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/path.h"

enum { NAME_SIZE = 32 };

static void step_name(int64_t step, char out[NAME_SIZE])
{
    snprintf(out, NAME_SIZE, "step-%08" PRId64, step);
}

/* The step of a name that step_name makes; -1 for all others. */
static int64_t parse_name(const char *name)
{
    char again[NAME_SIZE];
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9' || strlen(name) >= NAME_SIZE) return -1;
    char *end;
    errno = 0;
    int64_t step = strtoll(name + 5, &end, 10);
    if (errno != 0 || *end) return -1;
    step_name(step, again);
    return strcmp(name, again) == 0 ? step : -1;
}

dram_status dram_checkpoint_path(const char *folder, int64_t step, char **path)
{
    char name[NAME_SIZE];
    if (step < 0) return dram_fail(DRAM_ERR_INTERNAL, "%s: a checkpoint of step %" PRId64, folder, step);
    step_name(step, name);
    return dram_path_join(folder, name, path);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static dram_status look_at(DIR *dir, const char *folder, const char *name, bool *complete)
{
    struct stat info;
    char state[NAME_SIZE + 16];
    snprintf(state, sizeof state, "%s/state.json", name);
    *complete = fstatat(dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(info.st_mode);
    if (!*complete) return DRAM_OK; /* whatever it is, it was not written as a checkpoint */
    const char *why = dram_file_look(dirfd(dir), state, &info, complete);
    *complete = *complete && S_ISREG(info.st_mode);
    return why ? dram_fail(DRAM_ERR_IO, "%s/%s: cannot look at it: %s", folder, state, why) : DRAM_OK;
}

dram_status dram_checkpoint_list(const char *folder, int64_t **steps, int *n)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    bool complete;
    int room = 0;
    *steps = NULL;
    *n = 0;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return DRAM_OK;
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    while ((entry = dram_folder_next(dir)) != NULL) {
        int64_t step = parse_name(entry->d_name);
        if (step < 0) continue;
        TRY_GOTO(look_at(dir, folder, entry->d_name, &complete), done);
        if (!complete) continue;
        if (!DRAM_GROW(*steps, room, *n + 1)) {
            status = dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for the list of checkpoints", folder);
            goto done;
        }
        (*steps)[(*n)++] = step;
    }
    if (errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder);
done:
    closedir(dir);
    if (status != DRAM_OK) {
        dram_free(*steps);
        *steps = NULL;
        *n = 0;
    }
    if (*n > 0) qsort(*steps, (size_t)*n, sizeof **steps, by_value);
    return status;
}

dram_status dram_checkpoint_latest(const char *folder, int64_t *step)
{
    int64_t *steps;
    int n;
    TRY(dram_checkpoint_list(folder, &steps, &n));
    *step = n > 0 ? steps[n - 1] : -1;
    dram_free(steps);
    return DRAM_OK;
}

dram_status dram_checkpoint_prune(const char *folder, int keep, int64_t newest)
{
    dram_status status = DRAM_OK;
    int64_t *steps;
    int n;
    if (keep < 1) return dram_fail(DRAM_ERR_INTERNAL, "%s: asked to keep %d checkpoints", folder, keep);
    TRY(dram_checkpoint_list(folder, &steps, &n));
    int left = n;
    for (int i = 0; i < n && left > keep && status == DRAM_OK; i++) {
        if (steps[i] == newest) continue;
        char *path;
        status = dram_checkpoint_path(folder, steps[i], &path);
        if (status != DRAM_OK) break;
        status = dram_dir_remove(path);
        dram_free(path);
        left--;
    }
    dram_free(steps);
    return status;
}
