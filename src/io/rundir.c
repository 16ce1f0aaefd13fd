#include "io/rundir.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/atomic.h"
#include "io/path.h"

static dram_status exists_already(const char *path)
{
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: this run exists already: add --resume to continue it, or choose another name", path);
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
        status = exists_already(*path);
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
    char *checkpoints = NULL;
    TRY(check(parent, name, resume, path));
    TRY_GOTO(dram_path_join(*path, "checkpoints", &checkpoints), done);
    if (resume) {
        TRY_GOTO(dram_remove_leftovers(*path), done);
        TRY_GOTO(dram_remove_leftovers(checkpoints), done);
        status = dram_make_folders(checkpoints);
        goto done;
    }
    if (*parent) TRY_GOTO(dram_make_folders(parent), done);
    if (mkdir(*path, 0777) != 0) {
        status =
            errno == EEXIST ? exists_already(*path) : dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %m", *path);
        goto done;
    }
    status = dram_make_folders(checkpoints);
    if (status != DRAM_OK) rmdir(*path);
done:
    dram_free(checkpoints);
    if (status != DRAM_OK) {
        dram_free(*path);
        *path = NULL;
    }
    return status;
}
