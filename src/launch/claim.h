/* claim: which process of a sweep makes a run. Several, on several machines, may work on one folder.
 *
 * A claim is a file that one process alone can make (O_EXCL) and holds a lock on; its children inherit the lock, so that
 * it holds for as long as one of them lives, whatever became of the sweep that started them. The claim of dead ones is
 * free, whatever the file says, and who gets its lock has it: one alone. The file stays. Where a file system has no
 * locks the file alone counts, and who is dead is told by process number, on its own host.
 */
#ifndef DRAM_LAUNCH_CLAIM_H
#define DRAM_LAUNCH_CLAIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

/* Who has a claim, and what the run takes of the machine. */
typedef struct {
    char host[256];
    int64_t pid, start; /* of the sweep; start: when the system started it, in ticks, since numbers come again */
    char job[64];       /* Slurm's; "": none */
    int64_t child, child_start; /* 0: none was started yet */
    int64_t bytes;              /* of the host's RAM */
    int cores;
    int64_t card_bytes; /* of each of its cards */
    char cards[256];    /* "0,1"; "": none */
} dram_claim_owner;

/* What the lock is held by. */
typedef struct {
    int fd; /* -1: none */
} dram_claim;

/* This process, with nothing that it takes. */
dram_claim_owner dram_claim_self(void);

/* Makes the claim of a run, FOLDER/NAME, or takes over that of a dead one. *taken false: another has it. `before`, which
 * may be NULL, is who had it or has it; its pid is 0 where that is not known. A warning says which file is to be removed
 * where a dead one's cannot be taken over. */
dram_status dram_claim_take(const char *folder, const char *name, const dram_claim_owner *me, dram_claim *claim,
                            bool *taken, dram_claim_owner *before);

/* Says something else of what is claimed. */
dram_status dram_claim_say(const dram_claim *claim, const dram_claim_owner *me);

/* Lets go of it. Children that have it go on to hold it. */
void dram_claim_close(dram_claim *claim);

/* Whether a run is claimed by a process that lives, and by whom. Nothing is made. */
bool dram_claim_look(const char *folder, const char *name, dram_claim_owner *owner);

/* When the system started a process, in its ticks; 0: there is none. */
int64_t dram_process_start(int64_t pid);

#endif
