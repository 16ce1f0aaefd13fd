/* comm: the ranks of one job, as the rest of dram sees them.
 *
 * With one rank, or with comm NULL, every call returns at once: nothing is opened, no thread is started, the device is
 * left without collectives. All calls but dram_comm_rank and _size are collective and made by the main thread.
 *
 * What fails ends the job. DRAM_ERR_PEER (exit code 4): another rank failed or does not answer; the text names it, its
 * machine and its own error. The rank that failed keeps its own status. A rank that does not answer
 * within the limit is found by a thread (watch.h), which calls `leave`.
 */
#ifndef DRAM_COMM_COMM_H
#define DRAM_COMM_COMM_H

#include <signal.h>

#include "comm/world.h"
#include "config/enums.h"
#include "device/device.h"

typedef struct {
    dram_world world;
    bool gpu;             /* what runs is on GPUs: NCCL carries its collectives, else MPI */
    dram_backend backend; /* auto: by `gpu` */
    /* How ranks on GPUs find one another. auto: by MPI if it can, else env: by an address (dram_world_address). */
    dram_rendezvous rendezvous;
    int channels;   /* of NCCL, at most: at least 1 where `gpu` is */
    double timeout; /* seconds that a rank may be waited for; 0: 1800 to the first step, then 60 + 20 x the longest */
    /* Compared right after opening: all ranks must have the same. config: YAML of a key a line
     * (dram_config_write_yaml); program: its version. NULL: "". */
    const char *config, *program;
    /* Ends the process at once, by _exit, after it has said the text: no clean-up of any kind. Called by another thread
     * while the main thread hangs. Does not return. Needed with more than one rank. */
    void (*leave)(void *context, dram_status status, const char *text);
    void *context;
} dram_comm_params;

typedef struct dram_comm dram_comm;

/* Opens the transport and compares what must be equal. DRAM_ERR_CONFIG, on all ranks: ranks that differ in config or
 * program (with both values), the environment and the launcher disagree, there is no module or no way to meet. Nothing
 * in params is kept but `context`. */
dram_status dram_comm_open(const dram_comm_params *params, dram_comm **out);

/* Says goodbye to the others, who must do the same; with another status than DRAM_OK it waits for nobody, and the
 * process must end soon. The device that was attached has been closed before. NULL is allowed. */
void dram_comm_close(dram_comm *comm, dram_status status);

int dram_comm_rank(const dram_comm *comm);
int dram_comm_size(const dram_comm *comm);
const char *dram_comm_backend(const dram_comm *comm); /* "mpi", "nccl"; "none" with one rank */
const char *dram_comm_version(const dram_comm *comm); /* of its library; "" with one rank. Lives as long as comm */
const char *dram_comm_host(const dram_comm *comm, int rank); /* its machine's name; the same */

/* Gives the device what carries out its plans' collectives (device/collective.h). The comm outlives the device. With
 * one rank nothing is done. */
void dram_comm_attach(dram_comm *comm, dram_device *device);

/* What a rank says once a step, before its update. */
typedef struct {
    int64_t step;
    dram_status status; /* not DRAM_OK: this rank has failed, and its error text is held (base/status.h) */
    bool stop;          /* it was asked to stop */
    int64_t labelled;   /* labelled pixels of its micro-batches */
} dram_agreement;

/* What all of them said. */
typedef struct {
    bool stop;        /* of any */
    int64_t labelled; /* the sum */
    double waited;    /* seconds in the call */
    int last;         /* the rank that the others waited for: the longest busy since the call before */
} dram_agreed;

/* mine->status where it is not DRAM_OK; DRAM_ERR_PEER where another's is not, wherever that rank is; DRAM_ERR_INTERNAL
 * where steps differ. After a failure this, busy, wait, gather and the sums return at once, with the status that they
 * are given or DRAM_ERR_PEER, so that who is on the way out need not know whether it has been said. */
dram_status dram_comm_agree(dram_comm *comm, const dram_agreement *mine, dram_agreed *agreed);

/* Where some ranks work and the others wait for them (a fidelity check, a cache, a save). A rank that works calls
 * dram_comm_busy often, between images or files: at most every 0.25 s it tells the others, so that their patience
 * begins again. A rank that is done, or failed, calls dram_comm_wait with its status, which returns when all have done
 * so. *stop: whether any rank was asked to stop; `asked` is read each time (NULL: never). Errors as agree's. */
dram_status dram_comm_busy(dram_comm *comm, const volatile sig_atomic_t *asked, bool *stop);
dram_status dram_comm_wait(dram_comm *comm, dram_status status, const volatile sig_atomic_t *asked, bool *stop);

/* `all` gets `bytes` of every rank in rank order: size * bytes, host memory. With one rank it is a copy. */
dram_status dram_comm_gather(dram_comm *comm, const void *mine, int64_t bytes, void *all);

/* Sums over the ranks, in place, added in rank order: all get the same bits. With one rank nothing changes. */
dram_status dram_comm_sum(dram_comm *comm, double *values, int n);
dram_status dram_comm_sum_counts(dram_comm *comm, int64_t *counts, int n);

/* What fails inside a program cannot be agreed, since the others are in a collective: says the held error and leaves by
 * params.leave at once. With one rank it returns `status`. */
dram_status dram_comm_fail(dram_comm *comm, dram_status status);

#endif
