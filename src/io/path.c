#include "io/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/file.h"
#include "base/str.h"

static dram_status out_of_memory(const char *path)
{
    return dram_fail(DRAM_ERR_MEMORY, "%s: out of host memory for its name", path);
}

dram_status dram_path_join(const char *folder, const char *name, char **path)
{
    size_t n = strlen(folder), m = strlen(name);
    if (n == 0 || strcmp(folder, ".") == 0 || name[0] == '/') n = 0;
    *path = dram_alloc(n + m + 2);
    if (!*path) return out_of_memory(name);
    memcpy(*path, folder, n);
    if (n > 0 && folder[n - 1] != '/') (*path)[n++] = '/';
    memcpy(*path + n, name, m + 1);
    return DRAM_OK;
}

dram_status dram_path_folder(const char *path, char **folder)
{
    const char *slash = strrchr(path, '/');
    *folder = dram_strdup(slash ? path : ".");
    if (!*folder) return out_of_memory(path);
    if (slash) (*folder)[slash == path ? 1 : slash - path] = '\0';
    return DRAM_OK;
}

const char *dram_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool dram_path_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

bool dram_path_has(const char *folder, const char *name)
{
    char *path;
    if (dram_path_join(folder, name, &path) != DRAM_OK) {
        dram_error_clear();
        return false;
    }
    bool there = dram_path_exists(path);
    dram_free(path);
    return there;
}

dram_status dram_path_free_bytes(const char *path, int64_t *bytes)
{
    struct statvfs info;
    if (statvfs(path, &info) == 0) {
        *bytes = (int64_t)info.f_bavail * (int64_t)info.f_frsize;
        return DRAM_OK;
    }
    if (errno == EINTR) return dram_path_free_bytes(path, bytes);
    if ((errno != ENOENT && errno != ENOTDIR) || strcmp(path, ".") == 0 || strcmp(path, "/") == 0)
        return dram_fail(DRAM_ERR_IO, "%s: cannot ask how much of this disk is free: %m", path);
    char *folder;
    TRY(dram_path_folder(path, &folder));
    dram_status status = dram_path_free_bytes(folder, bytes);
    dram_free(folder);
    return status;
}

/* 0: the name is taken; else an errno, ENOENT where it is not. */
static int look(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 ? 0 : errno;
}

dram_status dram_path_put_aside(const char *path, char **aside)
{
    dram_str name = {0};
    dram_str_add(&name, "%s.before", path);
    int reason = 0;
    for (int i = 2; !name.failed && (reason = look(name.text)) == 0; i++) {
        dram_str_free(&name);
        dram_str_add(&name, "%s.before-%d", path, i);
    }
    *aside = NULL;
    dram_status status = DRAM_OK;
    if (name.failed)
        status = out_of_memory(path);
    else if (reason != ENOENT)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot look at %s: %s", path, name.text, strerror(reason));
    else if (rename(path, name.text) != 0)
        status = dram_fail(DRAM_ERR_IO, "%s: cannot take the name %s: %m", path, name.text);
    else
        *aside = name.text;
    if (status != DRAM_OK) dram_str_free(&name);
    return status;
}

static dram_status make_folder(const char *path)
{
    struct stat info;
    if (mkdir(path, 0777) == 0) return DRAM_OK;
    int reason = errno;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return DRAM_OK;
    return dram_fail(DRAM_ERR_IO, "%s: cannot make this folder: %s", path, strerror(reason));
}

dram_status dram_make_folders(const char *path)
{
    dram_status status = DRAM_OK;
    char *part = dram_strdup(path);
    if (!part) return out_of_memory(path);
    for (char *p = part; *p; p++) {
        if (*p != '/' || p == part) continue;
        *p = '\0';
        TRY_GOTO(make_folder(part), done);
        *p = '/';
    }
    status = make_folder(part);
done:
    dram_free(part);
    return status;
}

dram_status dram_folder_for_output(const char *path)
{
    char *name;
    if (!*path) return dram_fail(DRAM_ERR_CONFIG, "an empty name is no folder to write to");
    dram_status status = dram_make_folders(path);
    if (status == DRAM_ERR_IO) return DRAM_ERR_CONFIG; /* with the same text */
    TRY(status);
    TRY(dram_path_join(path, ".dram-tmp-XXXXXX", &name));
    int file = mkstemp(name);
    if (file < 0) {
        status = dram_fail(DRAM_ERR_CONFIG, "%s: files cannot be written to this folder: %m", path);
    } else {
        close(file);
        unlink(name);
    }
    dram_free(name);
    return status;
}

static dram_status remove_at(int parent, const char *name, const char *shown, int depth);

/* Empties the folder that `fd` is open on; takes fd over. */
static dram_status remove_content(int fd, const char *shown, int depth)
{
    dram_status status = DRAM_OK;
    const struct dirent *entry;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", shown);
    }
    while (status == DRAM_OK && (entry = dram_folder_next(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        status = remove_at(fd, entry->d_name, shown, depth);
    }
    if (status == DRAM_OK && errno != 0) status = dram_fail(DRAM_ERR_IO, "%s: cannot list this folder: %m", shown);
    closedir(dir);
    return status;
}

/* Each level holds one open folder: the depth is bounded well below what a process may open. */
static dram_status remove_at(int parent, const char *name, const char *shown, int depth)
{
    struct stat info;
    if (fstatat(parent, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) return DRAM_OK;
        return dram_fail(DRAM_ERR_IO, "%s: cannot look at %s: %m", shown, name);
    }
    bool folder = S_ISDIR(info.st_mode);
    if (folder) {
        if (depth == 64) return dram_fail(DRAM_ERR_IO, "%s: folders nested too deep to remove", shown);
        int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) return dram_fail(DRAM_ERR_IO, "%s: cannot open %s: %m", shown, name);
        TRY(remove_content(fd, shown, depth + 1));
    }
    if (unlinkat(parent, name, folder ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT)
        return dram_fail(DRAM_ERR_IO, "%s: cannot remove %s: %m", shown, name);
    return DRAM_OK;
}

dram_status dram_remove_tree(const char *path)
{
    return remove_at(AT_FDCWD, path, path, 0);
}
