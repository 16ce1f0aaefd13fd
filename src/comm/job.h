/* job: what a dram_comm holds. For src/comm alone. */
#ifndef DRAM_COMM_JOB_H
#define DRAM_COMM_JOB_H

#include <stdio.h>

#include "comm/comm.h"
#include "comm/transport.h"
#include "comm/watch.h"

struct dram_comm {
    int rank, size;
    dram_launcher launcher;
    dram_transport *data, *host; /* may be the same; NULL: one rank */
    dram_watch *watch;
    dram_peer *peers; /* by rank */
    void (*leave)(void *context, dram_status status, const char *text);
    void *context;

    void *said;      /* what all ranks say in one exchange (agree.c) */
    double since;    /* when the last exchange was over */
    double step;     /* when the last one of a step was over; 0: none was, or others came between */
    bool stop;       /* a rank was asked to stop */
    bool failed;     /* an exchange has failed, or a rank came to one with an error */
    int failed_rank; /* the first that has said so; -1: none */

    const dram_kernel *kernels; /* of the device that is attached */
    int64_t *at;                /* size + 1: of the call that is made (collective.c) */
    int64_t collective;         /* how many calls there were */
    double seconds;             /* in those that were done on return */
};

/* "rank 1 on node3: " before the error's text. */
static inline void dram_comm_prefix_rank(const dram_comm *c, dram_status status)
{
    char where[DRAM_HOST_SIZE + 32];
    snprintf(where, sizeof where, "rank %d on %s: ", c->rank, c->peers[c->rank].host);
    dram_error_prefix(status, where);
}

#endif
