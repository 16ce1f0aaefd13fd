#include "train/train.h"

#include "plan/recompute.h"
#include "train/weights.h"

dram_status dram_session_plan(const dram_config *cfg, dram_session *s)
{
    const dram_graph *graphs[DRAM_PROGRAM_COUNT];
    int n = 0;
    dram_status status;
    *s = (dram_session){.cfg = cfg};
    TRY(dram_programs_build(cfg, &s->programs));
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        int64_t added = 0;
        if (!s->programs.io[k].graph) continue;
        graphs[n++] = s->programs.io[k].graph;
        if (cfg->memory.recompute_norms) TRY_GOTO(dram_recompute_norms(s->programs.io[k].graph, &added), failed);
        if (n == 1) s->recomputed_flops = added; /* the first program is a step */
    }
    dram_profile profile = dram_profile_cpu(cfg->threads ? cfg->threads : dram_host_cores());
    TRY_GOTO(dram_plan_make(graphs, n, &s->programs.slots, &profile,
                            (dram_plan_options){.eager_free = cfg->memory.eager_free, .in_place = true}, &s->plan),
             failed);
    return DRAM_OK;
failed:
    dram_session_close(s);
    return status;
}

void dram_session_close(dram_session *s)
{
    dram_exec_close(s->exec);
    dram_device_close(s->device);
    dram_plan_free(s->plan);
    dram_programs_free(&s->programs);
    *s = (dram_session){0};
}

int64_t dram_session_budget(const dram_session *s, int64_t free_bytes)
{
    int64_t budget = s->cfg->memory.budget;
    if (budget == DRAM_BYTES_AUTO) return free_bytes;
    return budget == DRAM_BYTES_NONE ? 0 : budget;
}

dram_status dram_session_check_fit(const dram_session *s, int64_t free_bytes)
{
    char need[32], have[32], floor[32], part[32];
    int64_t bytes[DRAM_CATEGORY_COUNT], budget = dram_session_budget(s, free_bytes);
    int64_t limit = budget && budget < free_bytes ? budget : free_bytes;
    int largest = 0;
    if (s->plan->arena_bytes <= limit) return DRAM_OK;
    dram_plan_account(s->plan, bytes);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        if (bytes[c] > bytes[largest]) largest = c;
    return dram_fail(DRAM_ERR_FIT,
                     "the plan needs %s, %s %s; no order of this step needs less than %s; the largest part is %s with "
                     "%s: lower train.batch_size, data.size or sam_distill.sam_input_size",
                     dram_format_bytes(s->plan->arena_bytes, need, sizeof need),
                     limit == budget ? "the budget is" : "the machine has free",
                     dram_format_bytes(limit, have, sizeof have),
                     dram_format_bytes(s->plan->floor_bytes, floor, sizeof floor),
                     dram_category_name((dram_category)largest), dram_format_bytes(bytes[largest], part, sizeof part));
}

dram_status dram_session_start(dram_session *s)
{
    TRY(dram_device_open_cpu(s->plan->profile.workers, &s->device));
    TRY(dram_exec_open(s->device, s->plan, &s->exec));
    TRY(dram_weights_draw(s));
    return dram_weights_load_config(s);
}
