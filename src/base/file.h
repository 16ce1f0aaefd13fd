/* file: files and folders whose names a person gave, read so that an error is never taken for an end. */
#ifndef DRAM_BASE_FILE_H
#define DRAM_BASE_FILE_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Opens a file for reading. What is no regular file (a pipe, a device, a socket, a folder) is not waited for. Returns
 * the descriptor, or -1 with the reason in *why: the system's words, or "not a file: a pipe". */
int dram_file_open(const char *path, struct stat *info, const char **why);

/* The same as a stream, to be read by its lines; NULL with the reason in *why. */
FILE *dram_file_stream(const char *path, const char **why);

/* "a link, and dram writes through none" where the name is one, else NULL. */
const char *dram_file_link(const char *path);

/* Opens a file for writing, made if it is not there; `flags` are those of open: how, and what of the content stays. A
 * link in its place is not followed, but for those of /dev and /proc, which lead to what the process has open. Returns
 * the descriptor, or -1 with the reason in *why. */
int dram_file_open_to_write(const char *path, int flags, const char **why);

/* The same, emptied, as a stream; NULL with the reason in *why. */
FILE *dram_file_create(const char *path, const char **why);

/* Reads until `bytes` are there or the file ends. Returns how many were read, or -1 with errno. */
ssize_t dram_file_read(int fd, void *out, size_t bytes);

/* The same from a place on, which leaves the descriptor's own place as it is. */
ssize_t dram_file_read_at(int fd, void *out, size_t bytes, off_t at);

/* Writes all of it to a place. False with errno: there may be a part of it. */
bool dram_file_write_at(int fd, const void *data, size_t bytes, off_t at);

/* Looks at what a name leads to, links followed; folder -1 is the working directory. *there is false where nothing has
 * the name. Returns NULL, or the reason why it cannot be known, a link that leads nowhere among them. */
const char *dram_file_look(int folder, const char *path, struct stat *info, bool *there);

/* "not a file: a folder", for what is not a regular file. */
const char *dram_file_kind(const struct stat *info);

/* The next entry of a folder, or NULL: errno is 0 at the end, and says what failed otherwise. */
const struct dirent *dram_folder_next(DIR *folder);

#endif
