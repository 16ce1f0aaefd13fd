#include "io/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/path.h"

static const char SUFFIX[] = ".tmp";

/* path without last slashes, and path + ".tmp"; both owned by the caller. On failure neither is held. */
static dram_status take_names(const char *path, char **name, char **temporary)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    *name = dram_alloc(n + 1);
    *temporary = dram_alloc(n + sizeof SUFFIX);
    if (!*name || !*temporary) {
        dram_free(*name);
        dram_free(*temporary);
        *name = *temporary = NULL;
        return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", path);
    }
    memcpy(*name, path, n);
    (*name)[n] = '\0';
    memcpy(*temporary, path, n);
    memcpy(*temporary + n, SUFFIX, sizeof SUFFIX);
    return DRAM_OK;
}

static dram_status sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    /* Some file systems cannot sync a folder and say EINVAL: nothing more can be done there. */
    bool failed = fsync(fd) != 0 && errno != EINVAL && errno != EROFS;
    dram_status status = failed ? dram_fail(DRAM_ERR_IO, "%s: cannot sync this folder: %m", folder) : DRAM_OK;
    close(fd);
    return status;
}

/* Files ------------------------------------------------------------------------------------------------------- */

static void release_file(dram_atomic *file)
{
    dram_free(file->path);
    dram_free(file->temporary);
    *file = (dram_atomic){.fd = -1};
}

dram_status dram_atomic_open(dram_atomic *file, const char *path)
{
    dram_status status;
    *file = (dram_atomic){.fd = -1};
    TRY(take_names(path, &file->path, &file->temporary));
    TRY_GOTO(dram_remove_tree(file->temporary), fail);
    file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->fd >= 0) return DRAM_OK;
    status = dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %m", file->temporary);
fail:
    release_file(file);
    return status;
}

dram_status dram_atomic_write(dram_atomic *file, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes > 0) {
        ssize_t n = write(file->fd, p, bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot write: %m", file->path);
        if (n == 0) return dram_fail(DRAM_ERR_IO, "%s: cannot write: the system takes no more bytes", file->path);
        p += n;
        bytes -= (size_t)n;
    }
    return DRAM_OK;
}

dram_status dram_atomic_commit(dram_atomic *file)
{
    char *folder = NULL;
    dram_status status = dram_path_folder(file->path, &folder); /* before the rename: nothing is refused after it */
    if (status == DRAM_OK && fsync(file->fd) != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot sync: %m", file->path);
    if (close(file->fd) != 0 && status == DRAM_OK) status = dram_fail(DRAM_ERR_IO, "%s: cannot close: %m", file->path);
    if (status == DRAM_OK && rename(file->temporary, file->path) != 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the place of this file: %m", file->path);
    if (status == DRAM_OK)
        status = sync_folder(folder);
    else
        unlink(file->temporary);
    dram_free(folder);
    release_file(file);
    return status;
}

void dram_atomic_abort(dram_atomic *file)
{
    if (!file->path) return;
    close(file->fd);
    unlink(file->temporary);
    release_file(file);
}

dram_status dram_atomic_save(const char *path, const void *data, size_t bytes)
{
    dram_atomic file;
    TRY(dram_atomic_open(&file, path));
    dram_status status = dram_atomic_write(&file, data, bytes);
    if (status == DRAM_OK) return dram_atomic_commit(&file);
    dram_atomic_abort(&file);
    return status;
}

/* Folders ----------------------------------------------------------------------------------------------------- */

static void release_dir(dram_dir *dir)
{
    dram_free(dir->path);
    dram_free(dir->temporary);
    *dir = (dram_dir){0};
}

dram_status dram_dir_begin(dram_dir *dir, const char *path)
{
    dram_status status;
    *dir = (dram_dir){0};
    TRY(take_names(path, &dir->path, &dir->temporary));
    TRY_GOTO(dram_remove_tree(dir->temporary), fail);
    if (mkdir(dir->temporary, 0777) == 0) return DRAM_OK;
    status = dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %m", dir->temporary);
fail:
    release_dir(dir);
    return status;
}

dram_status dram_dir_file(const dram_dir *dir, const char *name, char **path)
{
    return dram_path_join(dir->temporary, name, path);
}

/* Syncs the regular files of a folder (those written by dram_atomic are synced already, which costs nothing), then
 * the folder. */
static dram_status sync_content(const char *folder)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL) {
        struct stat info;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
            status = dram_fail(DRAM_ERR_IO, "%s: cannot look at %s: %m", folder, entry->d_name);
            break;
        }
        if (!S_ISREG(info.st_mode)) continue;
        int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot sync %s: %m", folder, entry->d_name);
        if (fd >= 0) close(fd);
    }
    if (status == DRAM_OK && errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder);
    closedir(dir);
    TRY(status);
    return sync_folder(folder);
}

/* Gives temporary the name path where a folder of that name may be. The two change names in one step where the file
 * system can; elsewhere the old folder goes aside for a moment and comes back if the step fails. */
static dram_status take_place(const dram_dir *dir, const char *folder)
{
    char *aside;
    if (rename(dir->temporary, dir->path) == 0) return DRAM_OK;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return dram_fail(DRAM_ERR_IO, "%s: cannot take the place of this folder: %m", dir->path);
    if (renameat2(AT_FDCWD, dir->temporary, AT_FDCWD, dir->path, RENAME_EXCHANGE) == 0) {
        TRY(sync_folder(folder));
        return dram_remove_tree(dir->temporary); /* now the old one */
    }
    size_t n = strlen(dir->temporary);
    aside = dram_alloc(n + sizeof SUFFIX);
    if (!aside) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", dir->path);
    memcpy(aside, dir->temporary, n);
    memcpy(aside + n, SUFFIX, sizeof SUFFIX);
    dram_status status = dram_remove_tree(aside);
    if (status == DRAM_OK && rename(dir->path, aside) != 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot put this folder aside: %m", dir->path);
    if (status == DRAM_OK && rename(dir->temporary, dir->path) != 0) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the place of this folder: %m", dir->path);
        if (rename(aside, dir->path) != 0) status = DRAM_ERR_IO; /* it stays findable as *.tmp.tmp; the text is held */
    }
    if (status == DRAM_OK) status = dram_remove_tree(aside);
    dram_free(aside);
    return status;
}

dram_status dram_dir_commit(dram_dir *dir)
{
    char *folder = NULL;
    dram_status status = dram_path_folder(dir->path, &folder);
    if (status == DRAM_OK) status = sync_content(dir->temporary);
    if (status == DRAM_OK) status = take_place(dir, folder);
    if (status == DRAM_OK) {
        status = sync_folder(folder);
        release_dir(dir);
    } else {
        dram_dir_abort(dir);
    }
    dram_free(folder);
    return status;
}

void dram_dir_abort(dram_dir *dir)
{
    if (!dir->path) return;
    dram_remove_tree(dir->temporary); /* what failed before is the error to report; a leftover is removed next time */
    release_dir(dir);
}

dram_status dram_remove_leftovers(const char *folder)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return DRAM_OK;
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL) {
        size_t n = strlen(entry->d_name), suffix = sizeof SUFFIX - 1;
        char *path;
        if (n <= suffix || strcmp(entry->d_name + n - suffix, SUFFIX) != 0) continue;
        status = dram_path_join(folder, entry->d_name, &path);
        if (status != DRAM_OK) break;
        status = dram_remove_tree(path);
        dram_free(path);
    }
    if (status == DRAM_OK && errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder);
    closedir(dir);
    return status;
}
