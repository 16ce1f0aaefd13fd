#include "cli/plan_page.h"

#include "plan/report.h"
#include "train/levers.h"

/* FLOPs spent again over those of the step without recompute, of the first step there is. */
static double recompute_ratio(const dram_session *s)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        if (!s->programs.io[k].graph) continue;
        int64_t flops = s->plan->programs[s->programs.io[k].index].flops - s->recomputed_flops[k];
        return flops > 0 ? (double)s->recomputed_flops[k] / (double)flops : 0.0;
    }
    return 0.0;
}

/* What the schedule of the first step that has one makes again. */
static void describe_recompute(const dram_session *s, dram_str *text)
{
    for (int k = 0; k < DRAM_PROGRAM_COUNT; k++) {
        const dram_chain_schedule *schedule = &s->schedule[k];
        int length = 0, runs = 0, partly = 0;
        for (int i = 0; i < schedule->n; i++) {
            const dram_chain_op *op = &schedule->op[i];
            length += op->kind == DRAM_CHAIN_BACKWARD;
            runs += op->kind < DRAM_CHAIN_LOSS;
            partly += op->kind == DRAM_CHAIN_SAVE && op->option > 1;
        }
        if (!length) continue;
        dram_str_add(text, "recompute: %d of %d blocks in part", partly, length);
        if (runs > length) dram_str_add(text, ", %d forward runs more", runs - length);
        return;
    }
    if (s->cfg->memory.recompute_norms) dram_str_add(text, "recompute: norms and activations only");
}

typedef struct {
    dram_lever levers[DRAM_LEVERS];
    dram_str recompute;
    dram_plan_facts facts;
} page_facts;

static dram_status find_facts(const dram_session *s, page_facts *f)
{
    *f = (page_facts){0};
    f->facts = (dram_plan_facts){.budget_bytes = s->budget,
                                 .recompute_ratio = recompute_ratio(s),
                                 .pulled = s->pulled.text,
                                 .levers = f->levers};
    TRY(dram_levers_floor(s->cfg, &f->facts.floor_bytes));
    TRY(dram_levers(s, f->levers, &f->facts.n_levers));
    describe_recompute(s, &f->recompute);
    f->facts.recompute = f->recompute.text;
    return DRAM_OK;
}

dram_status dram_plan_page(const dram_session *s, FILE *out)
{
    page_facts f;
    dram_str text = {0};
    TRY(find_facts(s, &f));
    dram_status status = dram_plan_text(s->plan, &f.facts, &text);
    if (status == DRAM_OK) {
        fputs(text.text, out);
        fflush(out);
    }
    dram_str_free(&text);
    dram_str_free(&f.recompute);
    return status;
}

cJSON *dram_plan_page_json(const dram_session *s)
{
    page_facts f;
    if (find_facts(s, &f) != DRAM_OK) return NULL;
    cJSON *report = dram_plan_report(s->plan, &f.facts);
    dram_str_free(&f.recompute);
    return report;
}
