#include "comm/job.h"

int dram_comm_rank(const dram_comm *c)
{
    return c ? c->rank : 0;
}

int dram_comm_size(const dram_comm *c)
{
    return c ? c->size : 1;
}

const char *dram_comm_backend(const dram_comm *c)
{
    return c && c->data ? c->data->name : "none";
}

const char *dram_comm_version(const dram_comm *c)
{
    return c && c->data ? c->data->version : "";
}

const char *dram_comm_host(const dram_comm *c, int rank)
{
    return c && c->peers ? c->peers[rank].host : "";
}
