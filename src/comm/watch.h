/* watch: a thread that ends the process when the main thread has waited too long for other ranks.
 *
 * The main thread says what it waits for, and that it came. The thread looks four times a second, and once a second
 * asks the transport whether something has failed. At the limit it says what was awaited and of whom, and leaves. It
 * takes no memory after it was opened, and calls nothing of MPI or NCCL but `check`.
 */
#ifndef DRAM_COMM_WATCH_H
#define DRAM_COMM_WATCH_H

#include "comm/transport.h"

enum { DRAM_HOST_SIZE = 64 };

/* Where a rank is. */
typedef struct {
    char host[DRAM_HOST_SIZE];
    int process; /* its id there */
} dram_peer;

typedef struct {
    int rank, size;
    double timeout;         /* seconds; 0: 1800 until the first step, then 60 + 20 x the longest step */
    const dram_peer *peers; /* by rank. It must outlive the watch, as the transports must */
    void (*leave)(void *context, dram_status status, const char *text); /* does not return; dram_comm_params */
    void *context;
} dram_watch_params;

typedef struct dram_watch dram_watch;

dram_status dram_watch_open(const dram_watch_params *params, dram_watch **out);

/* Joins the thread. NULL is allowed. */
void dram_watch_close(dram_watch *watch);

/* Waiting begins, for what `what` and `number` say ("all_reduce", 812; shown, copied; number < 0: none). transport:
 * whose `came` tells of whom, and whose check is asked; NULL: neither. */
void dram_watch_begin(dram_watch *watch, const char *what, int64_t number, dram_transport *transport);
void dram_watch_end(dram_watch *watch);

/* A step took that long. */
void dram_watch_step(dram_watch *watch, double seconds);

/* The limit, now. */
double dram_watch_limit(dram_watch *watch);

#endif
