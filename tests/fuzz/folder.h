/* folder: a folder of a target's own for what takes the names of files, in memory where there is /dev/shm. It is removed
 * at the end. */
#ifndef DRAM_TESTS_FUZZ_FOLDER_H
#define DRAM_TESTS_FUZZ_FOLDER_H

#include <dirent.h>
#include <fcntl.h>

#include "fuzz.h"

static char folder_name[64];

static void folder_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder_name);
    (void)!system(command);
}

/* Made at the first call. */
static inline const char *folder(void)
{
    if (folder_name[0]) return folder_name;
    snprintf(folder_name, sizeof folder_name, "%s/dram-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    must(mkdtemp(folder_name) && atexit(folder_remove) == 0);
    return folder_name;
}

/* The path of a file in it: one of the 4 asked for last. */
static inline const char *path_in_folder(const char *name)
{
    static char path[4][128];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", folder(), name);
    return path[next];
}

/* A file becomes these bytes. */
static inline void put_in_folder(const char *name, const void *bytes, size_t n)
{
    int fd = open(path_in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && close(fd) == 0);
}

/* The bytes of a file, which are fewer than `room`. */
static inline size_t get_from_folder(const char *name, void *bytes, size_t room)
{
    int fd = open(path_in_folder(name), O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, room);
    must(n >= 0 && (size_t)n < room && close(fd) == 0);
    return (size_t)n;
}

/* How many files the folder has. */
static inline int files_in_folder(void)
{
    int n = 0;
    DIR *dir = opendir(folder());
    must(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return n;
}

#endif
