#include "session/session.h"

#include "session/machine.h"
#include "session/weights.h"

void dram_session_close(dram_session *s)
{
    dram_exec_close(s->exec);
    dram_device_close(s->device);
    dram_plan_free(s->plan);
    dram_graph_set_free(&s->graphs);
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) dram_chain_schedule_free(&s->schedule[k]);
    dram_str_free(&s->pulled);
    *s = (dram_session){0};
}

dram_status dram_session_start(dram_session *s)
{
    TRY(dram_machine_open(&s->cfg, &s->plan->profile, &s->device));
    s->rank = dram_comm_rank(s->comm);
    dram_comm_attach(s->comm, s->device);
    TRY(dram_exec_open(s->device, s->plan, &s->exec));
    TRY(dram_weights_draw(s));
    TRY(dram_weights_load_config(s));
    return dram_weights_begin_mean(s);
}
