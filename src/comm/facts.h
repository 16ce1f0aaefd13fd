/* facts: what a job of several ranks has to tell of itself when it is over. */
#ifndef DRAM_COMM_FACTS_H
#define DRAM_COMM_FACTS_H

#include "comm/comm.h"

typedef struct {
    const char *launcher; /* "Open MPI" */
    double seconds;       /* of this rank in collectives of programs so far; NAN: they run in a queue of the device */
    int64_t taken_bytes;  /* of device memory, by the library's own count; 0: it does not tell, or the job has failed */
    int failed_rank;      /* the first of those that said so; -1: none has */
} dram_comm_facts;

/* Not collective. comm NULL or of one rank: nothing was joined, and nothing failed. */
dram_comm_facts dram_comm_tell(const dram_comm *comm);

/* The i-th variable that dram has set for the library in this process, since the user had not; NULL: no more. */
const char *dram_comm_environment(const dram_comm *comm, int i, const char **value);

#endif
