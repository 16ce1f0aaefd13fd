/* lines: a file that grows by one JSON object a line: metrics.jsonl, evaluations.jsonl, memory.jsonl.
 *
 * A line is there whole or not at all: what a failed append has written is taken back. If that fails too, or the
 * process is killed, a torn line without a newline stays at the end. A crash of the machine, a copy or an editor may leave
 * worse. dram_lines_truncate mends the file: a log never keeps its run from going on. One writer at a time. Links are
 * not written through.
 */
#ifndef DRAM_IO_LINES_H
#define DRAM_IO_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"
#include "io/atomic.h"

typedef struct {
    const char *path; /* the caller's, and outlives the file; NULL: not open */
    int fd;
} dram_lines;

/* Opens the file for appending; it is made if it is not there. On failure it is not open. */
dram_status dram_lines_open(const char *path, dram_lines *lines);

/* Appends text[0..bytes), a whole line with its newline. DRAM_ERR_IO names the file and the system's reason. */
dram_status dram_lines_append(const dram_lines *lines, const char *text, size_t bytes);

/* The same for a thread whose error text is not its own: 0, or the system's errno. It records no text. */
int dram_lines_write(const dram_lines *lines, const char *text, size_t bytes);

/* It is closed in any case: 0, or the system's errno, after which the end of what was written may be missing (a full disk
 * behind a network, a quota). {0} is allowed. */
int dram_lines_close(dram_lines *lines);

/* Opens a log for reading, as what is mended is: no link, no pipe. The caller's. */
dram_status dram_lines_open_to_mend(const char *path, FILE **file);

/* Keeps the lines whose "step" is below `step`, and warns once of those among them that are damaged, which are dropped:
 * what is no object with a step, what holds a NUL, and what is out of order. Steps rise from line to line; with `again`
 * lines may have the step of the line before. Atomic. No file is no error; what is no file, or a link, is DRAM_ERR_IO
 * and stays as it is. *kept, which may be NULL, is the number of lines that
 * are there now. */
dram_status dram_lines_truncate(const char *path, int64_t step, bool again, int64_t *kept);

/* How many lines were kept, and which were dropped for what they are. */
typedef struct {
    int64_t kept;
    int first, others; /* number of the first dropped in the file, from 1, 0: none; how many after it */
    const char *wrong; /* with the first */
} dram_lines_mended;

/* What dram_lines_truncate does between two files. Both stay the caller's; `found` is set where it returns DRAM_OK. */
dram_status dram_lines_mend(FILE *from, dram_atomic *to, int64_t step, bool again, dram_lines_mended *found);

#endif
