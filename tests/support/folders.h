/* folders: this program's own readdir(), which a test lets fail after some entries. Include after cmocka.h, in one file
 * of a program. */
#ifndef DRAM_TESTS_FOLDERS_H
#define DRAM_TESTS_FOLDERS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>

static int entries_left = -1; /* -1: folders are read to their end */
static int entries_failed;

struct dirent *readdir(DIR *folder)
{
    static struct dirent *(*system_readdir)(DIR *);
    if (!system_readdir) *(void **)&system_readdir = dlsym(RTLD_NEXT, "readdir");
    if (entries_left == 0) {
        entries_failed++;
        errno = EIO;
        return NULL;
    }
    if (entries_left > 0) entries_left--;
    return system_readdir(folder);
}

#endif
