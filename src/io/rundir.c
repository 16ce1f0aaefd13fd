#include "io/rundir.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/path.h"

static dram_status exists_already(const char *path)
{
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: this run exists already: add --resume to continue it, or choose another name", path);
}

/* *whether: nothing is in it but . and .. */
static dram_status is_empty(const char *folder, bool *whether)
{
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    do entry = dram_folder_next(dir);
    while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    *whether = !entry;
    dram_status status =
        !entry && errno != 0 ? dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder) : DRAM_OK;
    closedir(dir);
    return status;
}

/* *whether: a run may begin here, since none has come to its first checkpoint: an empty folder; or checkpoints/ is there
 * without one, and no student is, who would be the result of a run whose checkpoints were removed. */
static dram_status is_unused(const char *run, bool *whether)
{
    int64_t step;
    char *checkpoints = NULL, *student = NULL;
    dram_status status;
    *whether = false;
    TRY_GOTO(dram_path_join(run, "checkpoints", &checkpoints), done);
    TRY_GOTO(dram_path_join(run, "student.safetensors", &student), done);
    if (!dram_path_exists(checkpoints)) {
        status = is_empty(run, whether);
        goto done;
    }
    TRY_GOTO(dram_checkpoint_latest(checkpoints, &step), done);
    *whether = step < 0 && !dram_path_exists(student);
done:
    dram_free(checkpoints);
    dram_free(student);
    return status;
}

static dram_status check_unused(const char *path, const struct stat *info)
{
    bool unused = false;
    if (S_ISDIR(info->st_mode)) TRY(is_unused(path, &unused));
    return unused ? DRAM_OK : exists_already(path);
}

/* Checks name and presence; *path is the caller's. On failure nothing is held. */
static dram_status check(const char *parent, const char *name, bool resume, char **path)
{
    struct stat info;
    bool there;
    dram_status status = DRAM_OK;
    *path = NULL;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return dram_fail(DRAM_ERR_CONFIG, "name: \"%s\" cannot be the name of a folder in %s", name, parent);
    TRY(dram_path_join(parent, name, path));
    const char *why = dram_file_look(-1, *path, &info, &there);
    if (why)
        status = dram_fail(DRAM_ERR_CONFIG, "%s: cannot look at this run: %s", *path, why);
    else if (!resume && there)
        status = check_unused(*path, &info);
    else if (resume && !(there && S_ISDIR(info.st_mode)))
        status = dram_fail(DRAM_ERR_CONFIG, "%s: there is no run to resume: leave --resume out to start it", *path);
    if (status == DRAM_OK) return DRAM_OK;
    dram_free(*path);
    *path = NULL;
    return status;
}

dram_status dram_rundir_check(const char *parent, const char *name, bool resume)
{
    char *path;
    TRY(check(parent, name, resume, &path));
    dram_free(path);
    return DRAM_OK;
}

dram_status dram_rundir_open(const char *parent, const char *name, bool resume, char **path)
{
    dram_status status;
    bool made;
    char *checkpoints = NULL;
    TRY(check(parent, name, resume, path));
    TRY_GOTO(dram_path_join(*path, "checkpoints", &checkpoints), done);
    if (!resume && *parent) TRY_GOTO(dram_make_folders(parent), done);
    made = !resume && mkdir(*path, 0777) == 0;
    if (!resume && !made && errno != EEXIST) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %m", *path);
        goto done;
    }
    if (!made) {
        TRY_GOTO(dram_remove_leftovers(*path), done);
        TRY_GOTO(dram_remove_leftovers(checkpoints), done);
    }
    status = dram_make_folders(checkpoints);
    if (status != DRAM_OK && made) rmdir(*path);
done:
    dram_free(checkpoints);
    if (status != DRAM_OK) {
        dram_free(*path);
        *path = NULL;
    }
    return status;
}
