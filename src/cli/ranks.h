/* ranks: a command that several processes carry out together. For src/cli. */
#ifndef DRAM_CLI_RANKS_H
#define DRAM_CLI_RANKS_H

#include "comm/comm.h"
#include "config/config.h"

/* DRAM_ERR_CONFIG where a launcher started several processes of a command that is for one. */
dram_status dram_one_process(const char *command);

/* Who this process is, and the way to the others; *comm is NULL where it is alone. From here on what the first rank
 * says too is said by it alone: the others print nothing on standard output and say nothing of the log, until
 * dram_ranks_speak. */
dram_status dram_ranks_open(const dram_config *cfg, dram_comm **comm);

/* From now on warnings of this rank are its own; the log has them behind "rank 1: ". */
void dram_ranks_speak(void);

/* Ends it with the status that the command came to; NULL is allowed. */
void dram_ranks_close(dram_comm *comm, dram_status status);

#endif
