#include "comm/choose.h"

#include "base/log.h"
#include "comm/mpi.h"
#include "comm/nccl.h"

/* On CPUs there is MPI alone. */
static dram_status open_mpi(const dram_comm_params *p, dram_transports *out)
{
    const dram_world *world = &p->world;
    const char *launcher = dram_launcher_name(world->launcher);
    if (p->rendezvous == DRAM_RENDEZVOUS_ENV)
        return dram_fail(DRAM_ERR_CONFIG,
                         "distributed.rendezvous is env, by which ranks on GPUs meet, and these are on "
                         "CPUs: set it to auto");
    if (!world->mpi)
        return dram_fail(
            DRAM_ERR_CONFIG,
            "%d processes started by %s cannot meet on CPUs, which takes MPI: start them with `mpirun -n %d "
            "dram ...`%s",
            world->size, launcher, world->size,
            world->launcher == DRAM_LAUNCHER_SRUN ? ", or srun --mpi=pmix or --mpi=pmi2 with an MPI that has it" : "");
    TRY(dram_mpi_open(world, &out->host));
    out->data = out->host;
    return DRAM_OK;
}

/* GPUs meet by MPI where the launcher has it, for its host side; else by an address. Who has no module but an address
 * is told, and needs none. */
static dram_status open_host_side(const dram_comm_params *p, dram_transports *out)
{
    const dram_world *world = &p->world;
    char address[DRAM_ADDRESS_SIZE];
    int port;
    if (p->rendezvous == DRAM_RENDEZVOUS_ENV || (p->rendezvous == DRAM_RENDEZVOUS_AUTO && !world->mpi)) return DRAM_OK;
    if (!world->mpi)
        return dram_fail(DRAM_ERR_CONFIG,
                         "distributed.rendezvous is mpi, and %s does not start processes for MPI: set it to auto, or "
                         "start them with `mpirun -n %d dram ...`",
                         dram_launcher_name(world->launcher), world->size);
    dram_status status = dram_mpi_open(world, &out->host);
    if (status == DRAM_OK || p->rendezvous == DRAM_RENDEZVOUS_MPI) return status;
    if (dram_world_address(dram_process_environment, NULL, world, address, &port) != DRAM_OK) return status;
    dram_info("the ranks meet at %s:%d, without MPI: %s", address, port, dram_error_text());
    dram_error_clear();
    return DRAM_OK;
}

static dram_status open_nccl(const dram_comm_params *p, dram_transports *out)
{
    int gpu;
    TRY(dram_nccl_gpu(&p->world, &gpu));
    dram_device_cuda_choose(gpu);
    TRY(open_host_side(p, out));
    const dram_nccl_params params = {.world = &p->world, .gpu = gpu, .host = out->host, .channels = p->channels};
    TRY(dram_nccl_open(&params, &out->data));
    if (!out->host) out->host = out->data;
    return DRAM_OK;
}

dram_status dram_transports_open(const dram_comm_params *p, dram_transports *out)
{
    if (p->backend == DRAM_BACKEND_NCCL && !p->gpu)
        return dram_fail(DRAM_ERR_CONFIG, "distributed.backend is nccl, which carries GPU memory, and this run is on "
                                          "CPUs: set it to auto, or device to cuda");
    if (p->backend == DRAM_BACKEND_MPI && p->gpu)
        return dram_fail(DRAM_ERR_CONFIG, "distributed.backend is mpi, which carries host memory, and this run is on "
                                          "GPUs: set it to auto, or device to cpu");
    return p->gpu ? open_nccl(p, out) : open_mpi(p, out);
}
