/* mpi_module: what dram_mpi.so gives to mpi.c. No type of MPI crosses this border, since each MPI has its own, and the
 * module links nothing of dram: a cluster's users build it anew against their MPI.
 *
 * A process has one MPI, so there is no handle. All calls are the main thread's. A call returns 0, or an error code of
 * MPI for error_text.
 */
#ifndef DRAM_COMM_MPI_MODULE_H
#define DRAM_COMM_MPI_MODULE_H

#include <stdatomic.h>
#include <stdint.h>

enum { DRAM_MPI_MODULE_ABI = 1 };
#define DRAM_MPI_MODULE_SYMBOL "dram_mpi_module_table"

typedef struct {
    int abi; /* DRAM_MPI_MODULE_ABI of the header it was built with */
    /* The library's own words about its version, at most `size` bytes. Before open as well. */
    void (*version)(char *text, int size);
    void (*error_text)(int code, char *text, int size);
    int (*open)(int *rank, int *size);
    void (*close)(void);

    /* Each begins to move n bytes. Of one kind, what is between two ranks arrives in the order in which it was begun. */
    int (*send)(int kind, int to, const void *bytes, int64_t n);
    int (*receive)(int kind, int from, void *bytes, int64_t n);
    /* Moves on with what was begun. *left: how much of it is not done. came, by rank: 1 where nothing with it is left,
     * else 0. */
    int (*progress)(_Atomic unsigned char *came, int *left);

    /* Both are done on return. in may be out; counts: the elements of each rank's piece. */
    int (*all_reduce)(const float *in, float *out, int64_t n);
    int (*reduce_scatter)(const float *in, float *out, const int *counts);
} dram_mpi_module;

#endif
