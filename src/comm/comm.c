#include "comm/comm.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "comm/agree.h"
#include "comm/choose.h"
#include "comm/collective.h"
#include "comm/meet.h"

/* What a failure left as it was, until the process ends. Nothing reads it: it keeps a report of leaks quiet. */
static dram_comm *volatile left_behind;

/* Memory for all that is by rank. */
static bool make_room(dram_comm *c)
{
    size_t n = (size_t)c->size;
    c->peers = dram_calloc(n, sizeof *c->peers);
    c->said = dram_calloc(1, dram_said_bytes(c->size));
    c->at = dram_calloc(n + 1, sizeof *c->at);
    return c->peers && c->said && c->at;
}

static dram_status open_ranks(dram_comm *c, const dram_comm_params *params)
{
    if (!make_room(c)) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for %d ranks", c->size);
    const dram_watch_params watched = {.rank = c->rank,
                                       .size = c->size,
                                       .timeout = params->timeout,
                                       .peers = c->peers,
                                       .leave = params->leave,
                                       .context = params->context};
    c->leave = params->leave;
    c->context = params->context;
    TRY(dram_watch_open(&watched, &c->watch));
    dram_transports chosen = {0};
    dram_watch_begin(c->watch, params->gpu ? "the beginning of NCCL" : "the beginning of MPI", -1, NULL);
    dram_status status = dram_transports_open(params, &chosen);
    dram_watch_end(c->watch);
    c->data = chosen.data;
    c->host = chosen.host;
    c->since = dram_clock();
    return status == DRAM_OK ? dram_meet(c, params) : status;
}

dram_status dram_comm_open(const dram_comm_params *params, dram_comm **out)
{
    dram_comm *c = dram_calloc(1, sizeof *c);
    if (!c) return dram_fail(DRAM_ERR_MEMORY, "out of host memory for the ranks of this job");
    c->rank = params->world.rank;
    c->size = params->world.size;
    c->launcher = params->world.launcher;
    c->failed_rank = -1;
    dram_status status = c->size > 1 ? open_ranks(c, params) : DRAM_OK;
    if (status == DRAM_OK)
        *out = c;
    else
        dram_comm_close(c, status);
    return status;
}

void dram_comm_close(dram_comm *c, dram_status status)
{
    if (!c) return;
    dram_transport *each[2] = {c->data, c->host == c->data ? NULL : c->host}; /* the host's side goes last */
    if (c->host && status == DRAM_OK) dram_watch_begin(c->watch, "the end of the job", -1, NULL);
    for (int i = 0; i < 2; i++)
        if (each[i] && status == DRAM_OK) each[i]->ops->close(each[i]);
    dram_watch_close(c->watch);
    for (int i = 0; i < 2; i++)
        if (each[i] && status != DRAM_OK) each[i]->ops->abandon(each[i]);
    if (c->host && status != DRAM_OK) { /* what was begun may still be written into what it was given */
        left_behind = c;
        return;
    }
    dram_free(c->peers);
    dram_free(c->said);
    dram_free(c->at);
    dram_free(c);
}

void dram_comm_attach(dram_comm *c, dram_device *device)
{
    if (dram_comm_size(c) == 1) return;
    c->kernels = device->kernels;
    device->collectives = &dram_rank_collectives;
    device->comm = c;
    device->rank = c->rank;
}

dram_status dram_comm_fail(dram_comm *c, dram_status status)
{
    if (dram_comm_size(c) == 1) return status;
    dram_fail(status, "%s", dram_status_text(status));
    dram_comm_prefix_rank(c, status);
    c->leave(c->context, status, dram_error_text());
    return status;
}
