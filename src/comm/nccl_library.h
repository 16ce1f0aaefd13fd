/* nccl_library: libnccl.so.2, opened while the program runs, and the environment that it reads. */
#ifndef DRAM_COMM_NCCL_LIBRARY_H
#define DRAM_COMM_NCCL_LIBRARY_H

#include "base/status.h"
#include "comm/nccl_list.h"
#include "comm/world.h"

/* Sets the variables that dram wants and the user has not set, before the library is opened. met: the ranks are told
 * where to meet; else NCCL_COMM_ID says it to them. The library stays open. DRAM_ERR_CONFIG: it is missing, or lacks a
 * function; the address cannot be told. */
dram_status dram_nccl_library_open(const dram_world *world, bool met, dram_nccl_functions *functions);

/* "NCCL 2.28.9" */
void dram_nccl_library_version(const dram_nccl_functions *functions, char *text, int size);

#endif
