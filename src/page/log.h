/* log: a file of one JSON object a line (metrics.jsonl and its like) as columns of numbers. */
#ifndef DRAM_PAGE_LOG_H
#define DRAM_PAGE_LOG_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/status.h"

enum { DRAM_LOG_KEYS = 24 };

typedef struct {
    bool there; /* the file */
    int n, room;
    double *column[DRAM_LOG_KEYS]; /* [n] each, as the keys that were asked for; owned */
    cJSON *last;                   /* the last good line; NULL: none; owned */
    int damaged, first_damaged;    /* lines that were left out, and the number of the first in the file, from 1 */
    bool torn;                     /* the last line has no end: it was being written. It is not among the damaged */
} dram_log;

/* Reads the numbers of keys[0..n_keys). true is 1, false 0; null is an infinity; a key that a line does not have, or
 * that is none of these, is NAN. keys[0] never falls from line to line, and where `rises` it rises: a line that has
 * none, or a lower one, or one that is no count, is damaged, as is what is no JSON object. A file that is not there is no error: there is false.
 * DRAM_ERR_IO: it cannot be read. *log is to be freed after success, and {0} after a failure. */
dram_status dram_log_read(const char *path, const char *const *keys, int n_keys, bool rises, dram_log *log);
void dram_log_free(dram_log *log); /* leaves {0} */

/* Whether a column has a finite number. */
bool dram_log_has(const dram_log *log, int key);

#endif
