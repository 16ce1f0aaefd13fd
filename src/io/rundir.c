#include "io/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "io/atomic.h"
#include "io/checkpoint.h"
#include "io/path.h"

struct dram_rundir {
    char *path, *lock_path, *checkpoints;
    bool resume, made;
    bool follows; /* another process writes in it */
    bool empty;   /* made, and nothing is in it yet but the lock */
    int lock;     /* -1: not locked */
};

enum { OWNER_BYTES = 400, PATIENCE = 10 };
static const char MARK[] = "dram lock: "; /* begins the file, and the owner follows */

/* ---- the lock ---- */

/* What the file says of the owner; false: it is no lock of ours, or (errno, else 0) it cannot be read. A lock that is just
 * being made may be empty. */
static bool read_owner(int fd, char owner[OWNER_BYTES])
{
    errno = 0;
    ssize_t n = dram_file_read_at(fd, owner, OWNER_BYTES - 1, 0);
    owner[n > 0 ? n : 0] = '\0';
    size_t mark = strlen(MARK), have = strlen(owner);
    if (n < 0 || strncmp(owner, MARK, have < mark ? have : mark) != 0 || (have == 0 && n > 0)) return false;
    memmove(owner, owner + (have < mark ? have : mark), have < mark ? 1 : have - mark + 1);
    owner[strcspn(owner, "\n")] = '\0';
    return true;
}

static dram_status write_owner(const dram_rundir *run)
{
    char text[OWNER_BYTES], host[200] = "?", when[40] = "?";
    time_t now = time(NULL);
    struct tm utc;
    gethostname(host, sizeof host - 1);
    if (gmtime_r(&now, &utc)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &utc);
    int n = snprintf(text, sizeof text, "%sprocess %ld on host %s, since %s\n", MARK, (long)getpid(), host, when);
    int cut;
    while ((cut = ftruncate(run->lock, 0)) != 0 && errno == EINTR) continue;
    if (cut == 0 && dram_file_write_at(run->lock, text, (size_t)n, 0)) return DRAM_OK;
    return dram_fail(DRAM_ERR_IO, "%s: cannot write: %m", run->lock_path);
}

static dram_status owned(const char *path, const char *owner)
{
    return dram_fail(DRAM_ERR_CONFIG, "%s: %s is training in this run: wait until it has ended, or choose another name",
                     path, *owner ? owner : "another process");
}

static int lock_once(int fd)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0)
        if (errno != EINTR) return errno;
    return 0;
}

/* Whether the name still leads to the open file. Returns 0, or an errno: it cannot be known. */
static int look_whether_same(int fd, const char *path, bool *same)
{
    struct stat mine, its;
    *same = false;
    if (fstat(fd, &mine) != 0) return errno;
    if (lstat(path, &its) != 0) return errno == ENOENT ? 0 : errno;
    *same = mine.st_ino == its.st_ino && mine.st_dev == its.st_dev;
    return 0;
}

static dram_status refuse_link(const char *path)
{
    const char *link = dram_file_link(path);
    return link ? dram_fail(DRAM_ERR_CONFIG, "%s: %s within a run; run.dir may be one", path, link) : DRAM_OK;
}

/* Opens and locks the file; *fd is -1 on failure. A process that only looks whether the lock is free holds it for a
 * moment, and the one before removes the file as it goes: both are waited for. */
static dram_status take_file(const dram_rundir *run, int *fd)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
    char owner[OWNER_BYTES] = "";
    const char *why;
    TRY(refuse_link(run->lock_path));
    for (int i = 0; i < PATIENCE; i++) {
        *fd = dram_file_open_to_write(run->lock_path, O_RDWR | O_NONBLOCK, &why);
        if (*fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot make this file: %s", run->lock_path, why);
        bool same = false;
        int reason = lock_once(*fd);
        if (!reason) reason = look_whether_same(*fd, run->lock_path, &same);
        if (same) return DRAM_OK;
        if (reason == ENOLCK || reason == EOPNOTSUPP || reason == ENOSYS) {
            dram_warn("%s: this file system has no locks (%s): a second process that trains in this run would not be "
                      "noticed",
                      run->path, strerror(reason));
            return DRAM_OK;
        }
        if (reason == EWOULDBLOCK) read_owner(*fd, owner);
        close(*fd);
        *fd = -1;
        if (reason && reason != EWOULDBLOCK)
            return dram_fail(DRAM_ERR_IO, "%s: cannot lock this file: %s", run->lock_path, strerror(reason));
        nanosleep(&moment, NULL);
    }
    return owned(run->path, owner);
}

const char *dram_mount_keeps_locks(const char *line)
{
    char type[32] = "", options[400] = "";
    const char *rest = strstr(line, " - ");
    if (!rest || sscanf(rest, " - %31s %*s %399s", type, options) < 1) return NULL;
    if (strstr(options, "local_lock=all") || strstr(options, "local_lock=flock"))
        return "it is mounted with local_lock";
    if (strstr(options, "localflock")) return "it is mounted with localflock";
    if (strstr(options, "nobrl")) return "it is mounted with nobrl";
    if (strncmp(type, "fuse.", 5) == 0 || strcmp(type, "fuse") == 0) return "it is a FUSE file system";
    return strcmp(type, "9p") == 0 || strcmp(type, "virtiofs") == 0 ? "it is another machine's" : NULL;
}

/* Says where a lock may not hold against a process on another host. Where nothing can be found out, nothing is said. */
static void tell_reach(const dram_rundir *run)
{
    struct stat info;
    char *line = NULL;
    size_t room = 0;
    unsigned major, minor;
    const char *why = NULL;
    FILE *mounts = fstat(run->lock, &info) == 0 ? fopen("/proc/self/mountinfo", "re") : NULL;
    while (mounts && getline(&line, &room, mounts) > 0)
        if (sscanf(line, "%*u %*u %u:%u", &major, &minor) == 2 && makedev(major, minor) == info.st_dev)
            why = dram_mount_keeps_locks(line);
    if (why)
        dram_info("%s: this file system may keep locks to one host (%s): a process on another host that trains in this "
                  "run would not be noticed",
                  run->path, why);
    free(line);
    if (mounts) fclose(mounts);
}

static dram_status take_lock(dram_rundir *run)
{
    char owner[OWNER_BYTES];
    int fd;
    TRY(take_file(run, &fd));
    if (!read_owner(fd, owner)) {
        int reason = errno;
        close(fd);
        if (reason) return dram_fail(DRAM_ERR_IO, "%s: cannot read: %s", run->lock_path, strerror(reason));
        return dram_fail(DRAM_ERR_CONFIG, "%s: the lock of this run would take the place of what is no lock of dram's",
                         run->lock_path);
    }
    run->lock = fd;
    tell_reach(run);
    return write_owner(run);
}

/* ---- the directory ---- */

/* A run that is there, where none may be. The one who trains in it is named, if there is one. */
static dram_status exists_already(const dram_rundir *run)
{
    char owner[OWNER_BYTES] = "";
    int fd = open(run->lock_path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool busy = fd >= 0 && lock_once(fd) == EWOULDBLOCK && read_owner(fd, owner);
    if (fd >= 0) close(fd);
    if (busy) return owned(run->path, owner);
    return dram_fail(DRAM_ERR_CONFIG,
                     "%s: this run exists already: add --resume to continue it, or choose another name", run->path);
}

/* *whether: nothing is in it but . and .. and what is dram's own: the lock that is held. */
static dram_status is_empty(const char *folder, bool *whether)
{
    const struct dirent *entry;
    DIR *dir = opendir(folder);
    if (!dir) return dram_fail(DRAM_ERR_IO, "%s: cannot open this folder: %m", folder);
    do entry = dram_folder_next(dir);
    while (entry &&
           (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || strcmp(entry->d_name, "lock") == 0));
    *whether = !entry;
    dram_status status =
        !entry && errno != 0 ? dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", folder) : DRAM_OK;
    closedir(dir);
    return status;
}

/* *whether: a run may begin here, since none has come to its first checkpoint: an empty folder; or checkpoints/ is there
 * without one, and no student is, who would be the result of a run whose checkpoints were removed. */
static dram_status is_unused(const dram_rundir *run, bool *whether)
{
    int64_t step;
    char *student;
    *whether = false;
    if (!dram_path_exists(run->checkpoints)) return is_empty(run->path, whether);
    TRY(dram_path_join(run->path, "student.safetensors", &student));
    dram_status status = dram_checkpoint_latest(run->checkpoints, &step);
    *whether = status == DRAM_OK && step < 0 && !dram_path_exists(student);
    dram_free(student);
    return status;
}

static dram_status check_unused(const dram_rundir *run)
{
    struct stat info;
    bool there, unused = false;
    const char *why = dram_file_look(-1, run->path, &info, &there);
    if (why) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot look at this run: %s", run->path, why);
    if (there && S_ISDIR(info.st_mode)) TRY(is_unused(run, &unused));
    return unused ? DRAM_OK : exists_already(run);
}

/* Hours may go by before the first file is written to a folder. What can be told of that is told at once. */
static dram_status check_writable(const char *folder)
{
    struct stat info;
    if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || access(folder, W_OK | X_OK) == 0) return DRAM_OK;
    return dram_fail(DRAM_ERR_CONFIG, "%s: files cannot be written to this folder: %m", folder);
}

/* Locks a folder that is there, where a run may begin or go on. Whether it is unused is known under the lock alone:
 * before, a process may train there that has come to no checkpoint yet. What is used is not even locked. */
static dram_status take_over(dram_rundir *run)
{
    if (!run->resume) TRY(check_unused(run));
    TRY(take_lock(run));
    TRY(check_writable(run->checkpoints));
    return run->resume ? DRAM_OK : check_unused(run);
}

/* The folder that is there, in which those of `path` will be made. */
static dram_status check_above(const char *path)
{
    char *folder;
    TRY(dram_path_folder(path, &folder));
    bool last = dram_path_exists(folder) || strcmp(folder, path) == 0;
    dram_status status = last ? check_writable(folder) : check_above(folder);
    dram_free(folder);
    return status;
}

static dram_status find(dram_rundir *run)
{
    struct stat info;
    bool there;
    const char *why = dram_file_look(-1, run->path, &info, &there);
    if (why) return dram_fail(DRAM_ERR_CONFIG, "%s: cannot look at this run: %s", run->path, why);
    if (run->resume && !(there && S_ISDIR(info.st_mode)))
        return dram_fail(DRAM_ERR_CONFIG, "%s: there is no run to resume: leave --resume out to start it", run->path);
    return there ? take_over(run) : check_above(run->path);
}

/* What is only a name so far. */
static dram_status name_run(const char *parent, const char *name, dram_rundir **out)
{
    dram_status status;
    *out = NULL;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
        return dram_fail(DRAM_ERR_CONFIG, "name: \"%s\" cannot be the name of a folder in %s", name, parent);
    dram_rundir *run = dram_calloc(1, sizeof *run);
    if (!run) return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", name);
    run->lock = -1;
    TRY_GOTO(dram_path_join(parent, name, &run->path), failed);
    TRY_GOTO(dram_path_join(run->path, "lock", &run->lock_path), failed);
    TRY_GOTO(dram_path_join(run->path, "checkpoints", &run->checkpoints), failed);
    *out = run;
    return DRAM_OK;
failed:
    dram_rundir_close(run);
    return status;
}

dram_status dram_rundir_find(const char *parent, const char *name, bool resume, dram_rundir **out)
{
    TRY(name_run(parent, name, out));
    (*out)->resume = resume;
    dram_status status = find(*out);
    if (status == DRAM_OK) return DRAM_OK;
    dram_rundir_close(*out);
    *out = NULL;
    return status;
}

dram_status dram_rundir_follow(const char *parent, const char *name, dram_rundir **out)
{
    TRY(name_run(parent, name, out));
    (*out)->follows = true;
    return DRAM_OK;
}

/* Makes the folder and locks it. One that has come since it was found is as one that was there. */
static dram_status make(dram_rundir *run)
{
    char *parent;
    TRY(dram_path_folder(run->path, &parent));
    dram_status status = dram_make_folders(parent);
    dram_free(parent);
    TRY(status);
    run->made = run->empty = mkdir(run->path, 0777) == 0;
    if (run->made) return take_lock(run);
    if (errno != EEXIST) return dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %m", run->path);
    return take_over(run);
}

dram_status dram_rundir_open(dram_rundir *run)
{
    if (run->follows) return DRAM_OK;
    if (run->lock < 0) TRY(make(run));
    TRY(refuse_link(run->checkpoints));
    if (!run->made) {
        TRY(dram_remove_leftovers(run->path));
        TRY(dram_remove_leftovers(run->checkpoints));
    }
    TRY(dram_make_folders(run->checkpoints));
    run->empty = false;
    return DRAM_OK;
}

bool dram_rundir_is_new(const dram_rundir *run)
{
    return run->made;
}

const char *dram_rundir_path(const dram_rundir *run)
{
    return run->path;
}

/* The file goes while the lock is held: who opened it before finds that it is another's, and opens it again. */
void dram_rundir_close(dram_rundir *run)
{
    if (!run) return;
    if (run->lock >= 0) {
        bool same;
        int reason = look_whether_same(run->lock, run->lock_path, &same);
        if (same && unlink(run->lock_path) != 0) reason = errno;
        if (reason)
            dram_warn("%s: this file cannot be removed: %s; it holds no one up", run->lock_path, strerror(reason));
        close(run->lock);
    }
    if (run->empty) rmdir(run->path);
    dram_free(run->checkpoints);
    dram_free(run->lock_path);
    dram_free(run->path);
    dram_free(run);
}
