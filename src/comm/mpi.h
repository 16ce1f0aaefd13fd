/* mpi: the transport over MPI, in host memory, by the module dram_mpi.so (mpi_module.h). */
#ifndef DRAM_COMM_MPI_H
#define DRAM_COMM_MPI_H

#include "comm/transport.h"
#include "comm/world.h"

/* Finds the module in the folder DRAM_MODULES where that is set, else beside the program or in ../lib/dram of it, and
 * opens MPI. DRAM_ERR_CONFIG: there is none, it cannot be loaded, or MPI counts the ranks in another way than the
 * environment did. Once a process: MPI cannot be opened again. */
dram_status dram_mpi_open(const dram_world *world, dram_transport **out);

/* What `dram doctor` says of it, without opening MPI: where the module is (path) and its library's version, or why not
 * (path is "" then, and version the reason). */
void dram_mpi_describe(char *path, int path_size, char *version, int version_size);

#endif
