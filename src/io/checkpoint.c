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
#include "base/folder.h"
#include "base/str.h"
#include "io/atomic.h"
#include "io/hash.h"
#include "io/json.h"
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
    *complete = fstatat(dirfd(dir), name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    if (!*complete && errno != ENOENT) return dram_fail(DRAM_ERR_IO, "%s/%s: cannot look at it: %m", folder, name);
    if (!*complete || !S_ISDIR(info.st_mode)) { /* whatever it is, it was not written as a checkpoint */
        *complete = false;
        return DRAM_OK;
    }
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

/* ---- hashes ---- */

static const char sealed_file[] = "checkpoint.json", sealed_config[] = "config.yaml";

static dram_status out_of_memory(const char *path)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its hashes", path);
}

/* Adds the hash of one file. */
static dram_status add_hash(const char *folder, const char *name, cJSON *files)
{
    char hash[DRAM_HASH_SIZE], *path;
    TRY(dram_path_join(folder, name, &path));
    dram_status status = dram_hash_file(path, NULL, hash);
    dram_free(path);
    TRY(status);
    return cJSON_AddStringToObject(files, name, hash) ? DRAM_OK : out_of_memory(folder);
}

dram_status dram_checkpoint_seal(const char *folder, cJSON *root)
{
    const dram_folder_params params = {.path = folder, .what = "a checkpoint"};
    dram_folder_list list;
    char *path = NULL;
    cJSON *files = cJSON_AddObjectToObject(root, "files");
    if (!files) return out_of_memory(folder);
    TRY(dram_folder_list_read(&params, &list)); /* sorted: equal checkpoints have equal bytes */
    dram_status status = DRAM_OK;
    for (int i = 0; i < list.n && status == DRAM_OK; i++)
        if (strcmp(list.files[i].name, sealed_file) != 0) status = add_hash(folder, list.files[i].name, files);
    dram_folder_list_free(&list);
    if (status == DRAM_OK) status = dram_path_join(folder, sealed_file, &path);
    if (status == DRAM_OK) status = dram_json_write_sealed(path, root);
    dram_free(path);
    return status;
}

/* One file against the hash that was saved. A name comes from checkpoint.json, whose own hash was right. */
static dram_status verify_file(const char *folder, const cJSON *item, const volatile sig_atomic_t *stop)
{
    char hash[DRAM_HASH_SIZE], *path;
    const char *saved = cJSON_GetStringValue(item);
    TRY(dram_path_join(folder, item->string, &path));
    dram_status status = dram_hash_file(path, stop, hash);
    if (status == DRAM_ERR_CONFIG) status = DRAM_ERR_FORMAT; /* it cannot be opened: the text says why */
    if (status == DRAM_OK && !(saved && strcmp(saved, hash) == 0))
        status = dram_fail(DRAM_ERR_FORMAT, "%s: damaged: its bytes are not those that were saved", path);
    dram_free(path);
    return status;
}

/* Older drams wrote neither checkpoint.json nor config.yaml into a checkpoint: one with the other alone has lost it. */
static dram_status look_for_seal(const char *folder, const char *path, bool *there)
{
    char *config;
    *there = dram_path_exists(path);
    if (*there) return DRAM_OK;
    TRY(dram_path_join(folder, sealed_config, &config));
    bool newer = dram_path_exists(config);
    dram_free(config);
    if (!newer) return DRAM_OK;
    return dram_fail(DRAM_ERR_FORMAT,
                     "%s: damaged: it is not there, and the files beside it are of a dram that wrote it", path);
}

dram_status dram_checkpoint_verify(const char *folder, const volatile sig_atomic_t *stop, cJSON **root)
{
    char *path;
    const cJSON *item, *files;
    dram_status status;
    bool there;
    *root = NULL;
    TRY(dram_path_join(folder, sealed_file, &path));
    TRY_GOTO(look_for_seal(folder, path, &there), done);
    if (!there) goto done;
    status = dram_json_read_sealed(path, root);
    if (status == DRAM_ERR_CONFIG) status = DRAM_ERR_FORMAT; /* it cannot be opened */
    if (status != DRAM_OK) goto done;
    files = cJSON_GetObjectItemCaseSensitive(*root, "files");
    if (!cJSON_IsObject(files) || !files->child)
        status = dram_fail(DRAM_ERR_FORMAT, "%s: it has no hashes of files", path);
    cJSON_ArrayForEach(item, files)
    {
        if (status == DRAM_OK) status = verify_file(folder, item, stop);
    }
done:
    if (status != DRAM_OK) {
        cJSON_Delete(*root);
        *root = NULL;
    }
    dram_free(path);
    return status;
}

dram_status dram_checkpoint_put_aside(const char *folder, int64_t step, char **aside)
{
    char *path;
    *aside = NULL;
    TRY(dram_checkpoint_path(folder, step, &path));
    dram_status status = dram_path_put_aside(path, aside);
    dram_free(path);
    return status;
}
