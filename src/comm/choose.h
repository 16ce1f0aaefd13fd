/* choose: which transports carry what: MPI or NCCL, by the device, the launcher and the config. For src/comm alone. */
#ifndef DRAM_COMM_CHOOSE_H
#define DRAM_COMM_CHOOSE_H

#include "comm/comm.h"
#include "comm/transport.h"

typedef struct {
    dram_transport *data; /* of collective nodes */
    dram_transport *host; /* of what ranks tell each other; may be the same */
} dram_transports;

/* What was opened before a failure is in *out too. With GPUs, this rank's becomes the process's. DRAM_ERR_CONFIG: backend, rendezvous, device and launcher do not go
 * together, with the values and the way out; else as dram_mpi_open and dram_nccl_open. */
dram_status dram_transports_open(const dram_comm_params *params, dram_transports *out);

#endif
