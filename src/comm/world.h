/* world: who this process is among those that one launcher started, from the environment alone.
 *
 * The first launcher of this list that is there is the one:
 *
 *   torchrun   RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE
 *   Open MPI   OMPI_COMM_WORLD_RANK, _SIZE, _LOCAL_RANK, _LOCAL_SIZE
 *   MPICH      PMI_RANK, PMI_SIZE, MPI_LOCALRANKID, MPI_LOCALNRANKS (Intel's MPI too; with srun --mpi=pmi2, which gives
 *              the first two, the local ones are srun's)
 *   srun       SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, the tasks of this node; only within a step, so that the
 *              script that sbatch runs is one process
 *   none       rank 0 of 1
 *
 * Pure: nothing is opened, asked for, or kept.
 */
#ifndef DRAM_COMM_WORLD_H
#define DRAM_COMM_WORLD_H

#include <stdbool.h>

#include "base/status.h"

typedef enum {
    DRAM_LAUNCHER_NONE,
    DRAM_LAUNCHER_TORCHRUN,
    DRAM_LAUNCHER_OPEN_MPI,
    DRAM_LAUNCHER_MPICH,
    DRAM_LAUNCHER_SRUN
} dram_launcher;
const char *dram_launcher_name(dram_launcher launcher); /* "torchrun", "Open MPI", ...; "none" */

typedef struct {
    dram_launcher launcher;
    int rank, size;             /* 0 <= rank < size */
    int local_rank, local_size; /* the same among the ranks of this machine */
    bool mpi;                   /* the launcher can be met by MPI */
} dram_world;

/* Reads a variable: its value, valid for as long as the call that asked goes on, or NULL where it is not set. */
typedef const char *(*dram_environment)(void *context, const char *name);

/* The process's own environment: getenv. */
const char *dram_process_environment(void *context, const char *name);

/* DRAM_ERR_CONFIG: a number is missing, is none or is out of its range, or two variables contradict each other. The
 * message names both with their values, and what to do. */
dram_status dram_world_read(dram_environment environment, void *context, dram_world *world);

enum { DRAM_ADDRESS_SIZE = 256 };

/* Where the ranks meet without MPI: a host's name or address, and a port on it. MASTER_ADDR and MASTER_PORT, the port
 * plus 1 below torchrun, whose own store has that one. Below srun without MASTER_ADDR: the first host of
 * SLURM_STEP_NODELIST; without MASTER_PORT: 20000 + job id % 20000. DRAM_ERR_CONFIG: it cannot be told from these. */
dram_status dram_world_address(dram_environment environment, void *context, const dram_world *world,
                               char address[DRAM_ADDRESS_SIZE], int *port);

#endif
