/* atomic: files and folders that are there whole or not at all.
 *
 * Writing goes to a temporary name in the same folder, `.dram-tmp-` with the process and a number, which no two writers
 * share. What is written there is synced and then renamed: a link in the place of the name is replaced, not followed.
 * At every error the temporary is removed and what was there before stays (only a failure of the last sync comes after
 * the rename). A process that is killed may leave a temporary: dram_remove_leftovers removes those of a folder. A
 * temporary is locked while it is written, so that no other process takes it for a leftover.
 */
#ifndef DRAM_IO_ATOMIC_H
#define DRAM_IO_ATOMIC_H

#include <stddef.h>

#include "base/status.h"

/* A file being written. Start from {0}; open, write.., then commit or abort. */
typedef struct {
    char *path, *temporary;
    int fd;
} dram_atomic;

/* On failure nothing is held. */
dram_status dram_atomic_open(dram_atomic *file, const char *path);

/* On failure (a full disk, say) the file is still to be aborted. */
dram_status dram_atomic_write(dram_atomic *file, const void *data, size_t bytes);

/* Releases the file whatever it returns. */
dram_status dram_atomic_commit(dram_atomic *file);
void dram_atomic_abort(dram_atomic *file); /* after {0} or a commit: does nothing */

/* All three at once. */
dram_status dram_atomic_save(const char *path, const void *data, size_t bytes);

/* A folder being written. Start from {0}; begin, files by dram_dir_file, then commit or abort. */
typedef struct {
    char *path, *temporary;
    int lock; /* -1: the file system has none for folders */
} dram_dir;

dram_status dram_dir_begin(dram_dir *dir, const char *path);

/* Name under which a file of the folder is to be written; *path is owned by the caller. */
dram_status dram_dir_file(const dram_dir *dir, const char *name, char **path);

/* Syncs every file, then the folder, then gives it its name; a folder of that name is replaced. Releases dir. */
dram_status dram_dir_commit(dram_dir *dir);
void dram_dir_abort(dram_dir *dir); /* after {0} or a commit: does nothing */

/* Removes a folder, which is put aside under a temporary name first: a removal that is cut short leaves a leftover. */
dram_status dram_dir_remove(const char *path);

/* Removes the temporaries that nobody writes any more from a folder of dram's own. No such folder is no error. */
dram_status dram_remove_leftovers(const char *folder);

/* The same beside a file or folder that is to be written into a folder of the user's, where other processes may write as
 * well, from other machines too: only what names a process that no longer lives here, and could be locked. What cannot
 * be removed stays, without a word. */
void dram_remove_leftovers_beside(const char *path);

#endif
