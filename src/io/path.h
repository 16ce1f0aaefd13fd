/* path: names of files and folders. */
#ifndef DRAM_IO_PATH_H
#define DRAM_IO_PATH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* folder + "/" + name; *path is owned by the caller (dram_free). folder "" or "." gives name; an absolute name gives
 * itself. */
dram_status dram_path_join(const char *folder, const char *name, char **path);

/* The folder that holds path ("." if none is named); owned by the caller. */
dram_status dram_path_folder(const char *path, char **folder);

/* The last part of a path: what follows its last slash. */
const char *dram_path_name(const char *path);

/* Whatever it is, a dangling link too. False only where it is known that nothing is there: what cannot be looked at is
 * for the one who opens it to say. */
bool dram_path_exists(const char *path);

/* The same of folder + "/" + name. False where memory is out, too. */
bool dram_path_has(const char *folder, const char *name);

/* Free bytes, for this user, of the disk that path is on, or would be: what names nothing goes by its folder. */
dram_status dram_path_free_bytes(const char *path, int64_t *bytes);

/* Makes a folder and those above it; it may exist. */
dram_status dram_make_folders(const char *path);

/* Makes a folder for results, and those above it, and finds out by a file that it removes again whether files can be
 * written there: DRAM_ERR_CONFIG if not, before anything has run. */
dram_status dram_folder_for_output(const char *path);

/* Removes a file, or a folder with all that is in it (links are not followed). Nothing there is no error. */
dram_status dram_remove_tree(const char *path);

/* Gives a file or folder the name PATH.before, or .before-2 and so on where that is taken: nothing is written over.
 * *aside, the name, is the caller's. */
dram_status dram_path_put_aside(const char *path, char **aside);

#endif
