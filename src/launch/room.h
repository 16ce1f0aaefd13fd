/* room: what this machine has for the runs of a sweep, and what of it is left. */
#ifndef DRAM_LAUNCH_ROOM_H
#define DRAM_LAUNCH_ROOM_H

#include "launch/claim.h"
#include "launch/launch.h"
#include "launch/pack.h"

enum { DRAM_ROOM_CARD_NAME = 64 };

typedef struct {
    dram_pack_room all;                              /* with nothing running */
    char card[DRAM_PACK_CARDS][DRAM_ROOM_CARD_NAME]; /* as CUDA_VISIBLE_DEVICES has them */
    bool gpu;                                        /* a run needs one: they were looked for */
} dram_room;

/* Looks at RAM, cores and, where a run needs one, at cards. What runs of the sweep take here already counts as theirs:
 * claims of n names in a folder. DRAM_ERR_CONFIG: --devices names a card that is not there, or none will do. */
dram_status dram_room_open(const dram_sweep *sweep, const dram_sweep_options *options, const char *claims,
                           dram_room *room);

/* Takes what another process's run has by its claim, if it is one of this machine. */
void dram_room_take_claim(const dram_room *room, const dram_claim_owner *owner, dram_pack_room *left);

/* "0,2" */
void dram_room_card_names(const dram_room *room, const int *cards, int n, char *out, size_t size);

/* What a run of a point takes. */
dram_pack_item dram_room_item(const dram_sweep *sweep, const dram_sweep_run *run);

#endif
