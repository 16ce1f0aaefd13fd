#include "comm/machines.h"

#include <sched.h>
#include <string.h>

#include "base/alloc.h"
#include "device/device.h"

static bool is_here(const dram_comm *comm, int rank)
{
    return strcmp(dram_comm_host(comm, rank), dram_comm_host(comm, dram_comm_rank(comm))) == 0;
}

int dram_ranks_here(const dram_comm *comm)
{
    int n = 0;
    if (dram_comm_size(comm) == 1) return 1;
    for (int r = 0; r < dram_comm_size(comm); r++) n += is_here(comm, r);
    return n;
}

int dram_ranks_machines(const dram_comm *comm)
{
    int n = 0;
    for (int r = 0; r < dram_comm_size(comm); r++) {
        int first = 0;
        while (strcmp(dram_comm_host(comm, first), dram_comm_host(comm, r)) != 0) first++;
        n += first == r;
    }
    return n;
}

static dram_status no_memory(void)
{
    return dram_fail(DRAM_ERR_MEMORY, "no memory to compare what the ranks have");
}

/* Ranks here that may use a core of mine. */
static int count_sharers(const dram_comm *comm, const cpu_set_t *all)
{
    int n = 0;
    const cpu_set_t *mine = &all[dram_comm_rank(comm)];
    for (int r = 0; r < dram_comm_size(comm); r++) {
        cpu_set_t both;
        CPU_AND(&both, mine, &all[r]);
        n += is_here(comm, r) && CPU_COUNT(&both) > 0;
    }
    return n > 0 ? n : 1;
}

dram_status dram_ranks_together(dram_comm *comm, dram_status status)
{
    bool asked;
    return dram_comm_size(comm) == 1 ? status : dram_comm_wait(comm, status, NULL, &asked);
}

dram_status dram_ranks_cores(dram_comm *comm, int *cores)
{
    int ranks = dram_comm_size(comm);
    cpu_set_t mine, *all;
    *cores = dram_host_cores();
    if (ranks == 1) return DRAM_OK;
    CPU_ZERO(&mine);
    sched_getaffinity(0, sizeof mine, &mine);
    all = dram_alloc((size_t)ranks * sizeof *all);
    dram_status status = all ? dram_comm_gather(comm, &mine, sizeof mine, all) : no_memory();
    int64_t each = status == DRAM_OK ? *cores / count_sharers(comm, all) : 0;
    dram_free(all);
    TRY(dram_ranks_least(comm, status, &each));
    *cores = each > 1 ? (int)each : 1;
    return DRAM_OK;
}

dram_status dram_ranks_least(dram_comm *comm, dram_status status, int64_t *value)
{
    int ranks = dram_comm_size(comm);
    TRY(dram_ranks_together(comm, status));
    if (ranks == 1) return DRAM_OK;
    int64_t *all = dram_alloc((size_t)ranks * sizeof *all);
    status = all ? dram_comm_gather(comm, value, sizeof *value, all) : no_memory();
    for (int r = 0; r < ranks && status == DRAM_OK; r++) *value = all[r] < *value ? all[r] : *value;
    dram_free(all);
    return status;
}
