#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const char *dram_file_kind(const struct stat *info)
{
    return S_ISDIR(info->st_mode)    ? "not a file: a folder"
           : S_ISFIFO(info->st_mode) ? "not a file: a pipe"
           : S_ISSOCK(info->st_mode) ? "not a file: a socket"
                                     : "not a file: a device";
}

int dram_file_open(const char *path, struct stat *info, const char **why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int reason = errno;
    if (fd < 0) {
        bool special =
            reason == ENXIO && stat(path, info) == 0 && !S_ISREG(info->st_mode); /* a socket cannot be opened */
        *why = special ? dram_file_kind(info) : strerror(reason);
        return -1;
    }
    if (fstat(fd, info) != 0)
        *why = strerror(errno);
    else if (S_ISREG(info->st_mode))
        return fd;
    else
        *why = dram_file_kind(info);
    close(fd);
    return -1;
}

FILE *dram_file_stream(const char *path, const char **why)
{
    struct stat info;
    int fd = dram_file_open(path, &info, why);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    if (fd >= 0 && !file) {
        *why = strerror(errno);
        close(fd);
    }
    return file;
}

const char *dram_file_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISLNK(info.st_mode) ? "a link, and dram writes through none" : NULL;
}

int dram_file_open_to_write(const char *path, int flags, const char **why)
{
    bool of_system = strncmp(path, "/dev/", 5) == 0 || strncmp(path, "/proc/", 6) == 0;
    int fd = open(path, flags | O_CREAT | O_CLOEXEC | O_NOCTTY | (of_system ? 0 : O_NOFOLLOW), 0666);
    if (fd >= 0) return fd;
    int reason = errno;
    *why = reason == ELOOP ? dram_file_link(path) : NULL;
    if (!*why) *why = strerror(reason);
    return -1;
}

FILE *dram_file_create(const char *path, const char **why)
{
    int fd = dram_file_open_to_write(path, O_WRONLY | O_TRUNC, why);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    if (fd >= 0 && !file) {
        *why = strerror(errno);
        close(fd);
    }
    return file;
}

ssize_t dram_file_read(int fd, void *out, size_t bytes)
{
    size_t have = 0;
    while (have < bytes) {
        ssize_t n = read(fd, (char *)out + have, bytes - have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

ssize_t dram_file_read_at(int fd, void *out, size_t bytes, off_t at)
{
    size_t have = 0;
    while (have < bytes) {
        ssize_t n = pread(fd, (char *)out + have, bytes - have, at + (off_t)have);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

bool dram_file_write_at(int fd, const void *data, size_t bytes, off_t at)
{
    size_t put = 0;
    while (put < bytes) {
        ssize_t n = pwrite(fd, (const char *)data + put, bytes - put, at + (off_t)put);
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        put += (size_t)n;
    }
    return true;
}

const char *dram_file_look(int folder, const char *path, struct stat *info, bool *there)
{
    int at = folder < 0 ? AT_FDCWD : folder;
    *there = fstatat(at, path, info, 0) == 0;
    if (*there) return NULL;
    if (errno != ENOENT) return strerror(errno);
    if (fstatat(at, path, info, AT_SYMLINK_NOFOLLOW) == 0) return "a link that leads nowhere";
    return errno == ENOENT ? NULL : strerror(errno);
}

const struct dirent *dram_folder_next(DIR *folder)
{
    errno = 0;
    return readdir(folder);
}
