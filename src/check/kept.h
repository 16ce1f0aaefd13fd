/* kept: what was found in the files of a folder, kept for the next look.
 *
 * It lies in the folder, as .dram-check, or beside the runs, as dram-check-HASH of the folder's path, where the folder
 * cannot be written to. It holds facts of files alone: another config may use it. A fact is believed while name, size
 * and time of its file are what they were. Private to src/check.
 */
#ifndef DRAM_CHECK_KEPT_H
#define DRAM_CHECK_KEPT_H

#include "check/facts.h"

typedef struct dram_kept dram_kept;

/* Reads what is kept of a folder (run_dir: the folder of runs). Where nothing is, it is empty; where it is damaged, of
 * another version or cannot be read, too, and that is said. Both strings outlive it. DRAM_ERR_MEMORY. */
dram_status dram_kept_open(const char *folder, const char *run_dir, dram_kept **out);
void dram_kept_close(dram_kept *kept); /* NULL is allowed */

/* Facts that are kept of a file with this name below the folder, with the size and time that facts have: fills the rest
 * and returns true. Any thread. The values that they hold live as long as `kept`. */
bool dram_kept_find(const dram_kept *kept, const char *name, bool label, dram_facts *facts);

/* Adds facts that dram_kept_save is to write. The name is copied, the values are borrowed until then. DRAM_ERR_MEMORY. */
dram_status dram_kept_add(dram_kept *kept, const char *name, bool label, const dram_facts *facts);

/* Writes what was added, and what else is kept of files that are still there, by this process or by another. That it
 * cannot be written is said, and is no error. DRAM_ERR_MEMORY. */
dram_status dram_kept_save(dram_kept *kept);

#endif
