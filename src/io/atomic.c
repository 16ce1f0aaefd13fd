#include "io/atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "io/path.h"

static const char PREFIX[] = ".dram-tmp-"; /* io/path.c has it too */

/* path without last slashes; owned by the caller. */
static dram_status take_name(const char *path, char **name)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    *name = dram_alloc(n + 1);
    if (!*name) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", path);
    memcpy(*name, path, n);
    (*name)[n] = '\0';
    return DRAM_OK;
}

/* A temporary name beside `path` that this process has not used; owned by the caller. Another host's process may have
 * it: the one who makes it finds out. */
static dram_status next_temporary(const char *path, char **temporary)
{
    static atomic_uint used;
    char leaf[64], *folder;
    snprintf(leaf, sizeof leaf, "%s%ld-%u", PREFIX, (long)getpid(), atomic_fetch_add(&used, 1));
    TRY(dram_path_folder(path, &folder));
    dram_status status = dram_path_join(folder, leaf, temporary);
    dram_free(folder);
    return status;
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

/* Whether a new file is this process's: not if another took it for a leftover before it was locked. A file system
 * without locks goes without. */
static bool is_kept(int fd)
{
    struct stat info;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return false;
    return fstat(fd, &info) != 0 || info.st_nlink > 0;
}

dram_status dram_atomic_open(dram_atomic *file, const char *path)
{
    dram_status status;
    *file = (dram_atomic){.fd = -1};
    TRY_GOTO(take_name(path, &file->path), fail);
    for (;;) {
        TRY_GOTO(next_temporary(file->path, &file->temporary), fail);
        file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0 && is_kept(file->fd)) return DRAM_OK;
        if (file->fd < 0 && errno != EEXIST) break;
        if (file->fd >= 0) close(file->fd);
        dram_free(file->temporary);
        file->temporary = NULL;
    }
    status = dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %m", file->path);
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
    int lock = fcntl(file->fd, F_DUPFD_CLOEXEC, 0); /* keeps it until the temporary has gone */
    if (close(file->fd) != 0 && status == DRAM_OK) status = dram_fail(DRAM_ERR_IO, "%s: cannot close: %m", file->path);
    if (status == DRAM_OK && rename(file->temporary, file->path) != 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the place of this file: %m", file->path);
    if (status == DRAM_OK)
        status = sync_folder(folder);
    else
        unlink(file->temporary);
    if (lock >= 0) close(lock);
    dram_free(folder);
    release_file(file);
    return status;
}

void dram_atomic_abort(dram_atomic *file)
{
    if (!file->path) return;
    unlink(file->temporary);
    close(file->fd);
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
    if (dir->path && dir->lock >= 0) close(dir->lock);
    dram_free(dir->path);
    dram_free(dir->temporary);
    *dir = (dram_dir){0};
}

/* Makes an empty folder under a temporary name beside `path`; the name is owned by the caller. */
static dram_status make_temporary(const char *path, char **temporary)
{
    for (;;) {
        TRY(next_temporary(path, temporary));
        if (mkdir(*temporary, 0777) == 0) return DRAM_OK;
        int reason = errno;
        dram_free(*temporary);
        *temporary = NULL;
        if (reason != EEXIST) return dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %s", path, strerror(reason));
    }
}

static int lock_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    close(fd);
    return -1;
}

dram_status dram_dir_begin(dram_dir *dir, const char *path)
{
    *dir = (dram_dir){0};
    TRY(take_name(path, &dir->path));
    dir->lock = -1;
    dram_status status = make_temporary(dir->path, &dir->temporary);
    if (status == DRAM_OK) dir->lock = lock_folder(dir->temporary);
    if (status != DRAM_OK) release_dir(dir);
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
    TRY(make_temporary(dir->path, &aside));
    dram_status status = DRAM_OK;
    if (rename(dir->path, aside) != 0) { /* an empty folder gives way */
        status = dram_fail(DRAM_ERR_IO, "%s: cannot put this folder aside: %m", dir->path);
        rmdir(aside);
    }
    if (status == DRAM_OK && rename(dir->temporary, dir->path) != 0) {
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the place of this folder: %m", dir->path);
        if (rename(aside, dir->path) != 0) status = DRAM_ERR_IO; /* it stays where it is; the text is held */
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

dram_status dram_dir_remove(const char *path)
{
    char *aside;
    TRY(make_temporary(path, &aside));
    dram_status status = DRAM_OK;
    if (rename(path, aside) != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot remove this folder: %m", path);
    dram_status removed = dram_remove_tree(aside);
    dram_free(aside);
    return status == DRAM_OK ? removed : status;
}

/* Leftovers --------------------------------------------------------------------------------------------------- */

/* Removes a temporary, unless a process holds the lock of what it writes. What cannot be opened is nothing of a writer
 * that lives, or the removal says why it stays; with `locked` that stays which cannot be locked. */
static dram_status remove_leftover(const char *path, bool locked)
{
    struct stat info;
    bool there = lstat(path, &info) == 0 && (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode));
    int fd = there ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    bool got = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0, held = fd >= 0 && !got && errno == EWOULDBLOCK;
    dram_status status = got || !(held || locked) ? dram_remove_tree(path) : DRAM_OK;
    if (fd >= 0) close(fd);
    return status;
}

/* Whether it is a temporary's name whose process is not among those of this machine. */
static bool is_of_dead(const char *name)
{
    long process;
    unsigned number;
    char again[64];
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0 ||
        sscanf(name + sizeof PREFIX - 1, "%ld-%u", &process, &number) != 2)
        return false;
    snprintf(again, sizeof again, "%s%ld-%u", PREFIX, process, number);
    return strcmp(name, again) == 0 && process > 0 && kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

void dram_remove_leftovers_beside(const char *path)
{
    const struct dirent *entry;
    char *folder = NULL, *name = NULL, *leftover;
    DIR *dir = NULL;
    if (take_name(path, &name) == DRAM_OK && dram_path_folder(name, &folder) == DRAM_OK) dir = opendir(folder);
    while (dir && (entry = dram_folder_next(dir)) != NULL) {
        if (!is_of_dead(entry->d_name) || dram_path_join(folder, entry->d_name, &leftover) != DRAM_OK) continue;
        remove_leftover(leftover, true);
        dram_free(leftover);
    }
    if (dir) closedir(dir);
    dram_free(folder);
    dram_free(name);
    dram_error_clear();
}

dram_status dram_remove_leftovers(const char *folder)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (!dir && errno == ENOENT) return DRAM_OK;
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL) {
        char *path;
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0) continue;
        status = dram_path_join(folder, entry->d_name, &path);
        if (status != DRAM_OK) break;
        status = remove_leftover(path, false);
        dram_free(path);
    }
    if (status == DRAM_OK && errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder);
    closedir(dir);
    return status;
}
