#include "plan/alive.h"

#include <stdio.h>
#include <string.h>

/* Keeps the `most` largest in falling order, the first of equals first. Returns the new count. */
static int keep_largest(dram_living *list, int n, int most, dram_living one)
{
    if (!one.bytes) return n;
    int at = n;
    while (at > 0 && list[at - 1].bytes < one.bytes) at--;
    if (at == most) return n;
    if (n < most) n++;
    memmove(&list[at + 1], &list[at], (size_t)(n - 1 - at) * sizeof *list);
    list[at] = one;
    return n;
}

int dram_plan_largest(const dram_plan *plan, dram_living *list, int most)
{
    const dram_program *program = dram_plan_fullest(plan);
    if (!program) return 0;
    const dram_graph *g = program->graph;
    int32_t at = program->placement.max_live_at;
    int n = 0;
    for (int s = 0; s < plan->slots->n; s++)
        if (plan->slots->at[s]->space == DRAM_SPACE_DEVICE)
            n = keep_largest(list, n, most, (dram_living){DRAM_LIVING_SLOT, s, dram_plan_slot_bytes(plan, s)});
    for (int v = 0; v < g->n_values; v++) {
        const dram_place_of_value *place = &program->value[v];
        bool taken = false;
        if (g->values[v]->slot != DRAM_NONE || place->first > at || place->last < at) continue;
        if (g->values[v]->space != DRAM_SPACE_DEVICE) continue;
        const dram_node *node = g->n_nodes ? g->nodes[at] : NULL;
        for (int o = 0; node && o < node->n_out; o++) taken |= program->value[node->out[o]].alias == v;
        if (!taken) n = keep_largest(list, n, most, (dram_living){DRAM_LIVING_VALUE, v, place->bytes});
    }
    if (g->n_nodes && dram_node_space(g, g->nodes[at]) == DRAM_SPACE_DEVICE)
        n = keep_largest(list, n, most, (dram_living){DRAM_LIVING_WORKSPACE, at, program->workspace_bytes[at]});
    return n;
}

const char *dram_living_name(const dram_plan *plan, const dram_living *l, char *text, size_t size)
{
    const dram_graph *g = dram_plan_fullest(plan)->graph;
    if (l->kind == DRAM_LIVING_VALUE) return g->values[l->index]->name;
    if (l->kind == DRAM_LIVING_SLOT)
        snprintf(text, size, "%s.%s", plan->slots->at[l->index]->group, plan->slots->at[l->index]->name);
    else
        snprintf(text, size, "%s.workspace", g->nodes[l->index]->name);
    return text;
}

dram_status dram_plan_alive(const dram_plan *plan, int most, dram_str *out)
{
    enum { LARGEST = 8 };
    dram_living list[LARGEST];
    char name[320], size[32];
    int n = dram_plan_largest(plan, list, LARGEST);
    for (int i = 0; i < n && i < most; i++)
        dram_str_add(out, "%s%s %s", i ? ", " : "", dram_living_name(plan, &list[i], name, sizeof name),
                     dram_format_bytes(list[i].bytes, size, sizeof size));
    if (!n) dram_str_add(out, "nothing");
    return out->failed ? dram_fail(DRAM_ERR_MEMORY, "no memory for the text of the plan") : DRAM_OK;
}
