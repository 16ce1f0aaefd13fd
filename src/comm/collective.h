/* collective: the collective nodes of a program, on any transport. For src/comm alone: a device gets it by
 * dram_comm_attach. */
#ifndef DRAM_COMM_COLLECTIVE_H
#define DRAM_COMM_COLLECTIVE_H

#include "device/collective.h"

/* `comm` of its calls is a dram_comm * of several ranks with a device attached. */
extern const dram_collectives dram_rank_collectives;

#endif
