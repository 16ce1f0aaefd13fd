#include "report/plan_dump.h"

#include "base/str.h"
#include "io/json.h"

typedef struct {
    const char *name, *part; /* "name.part", or "name" where part is NULL */
    dram_space space;
    int64_t offset, size;
    int32_t first, last;
    const char *alias; /* NULL: none */
} row;

static bool add_row(cJSON *values, const row *r)
{
    static const char *const space[DRAM_SPACE_COUNT] = {
        [DRAM_SPACE_DEVICE] = "device", [DRAM_SPACE_PINNED] = "pinned", [DRAM_SPACE_HOST] = "host"};
    dram_str name = {0};
    cJSON *o = dram_json_append(values);
    dram_str_add(&name, "%s%s%s", r->name, r->part ? "." : "", r->part ? r->part : "");
    bool named = o && !name.failed && cJSON_AddStringToObject(o, "name", name.text);
    dram_str_free(&name);
    return named && cJSON_AddStringToObject(o, "space", space[r->space]) &&
           cJSON_AddNumberToObject(o, "offset", (double)r->offset) &&
           cJSON_AddNumberToObject(o, "size", (double)r->size) && cJSON_AddNumberToObject(o, "first", r->first) &&
           cJSON_AddNumberToObject(o, "last", r->last) && dram_json_add_text(o, "alias", r->alias);
}

static bool add_values(cJSON *values, const dram_program *p)
{
    const dram_graph *g = p->graph;
    for (int v = 0; v < g->n_values; v++) {
        const dram_place_of_value *at = &p->value[v];
        row r = {g->values[v]->name, NULL, g->values[v]->space, at->offset, at->bytes, at->first, at->last, NULL};
        if (at->alias != DRAM_NONE) r.alias = g->values[at->alias]->name;
        if (!add_row(values, &r)) return false;
    }
    return true;
}

/* The slots that the program does not read: the arena holds them all the same. */
static bool add_idle_slots(cJSON *values, const dram_plan *plan, const dram_program *p)
{
    const dram_graph *g = p->graph;
    int32_t end = g->n_nodes ? g->n_nodes - 1 : 0;
    for (int s = 0; s < plan->slots->n; s++) {
        if (s < g->slot_values && g->slot_value[s] != DRAM_NONE) continue;
        const dram_slot *slot = plan->slots->at[s];
        int64_t bytes = dram_plan_slot_bytes(plan, s);
        row r = {slot->group, slot->name, slot->space, plan->slot_offset[s], bytes, 0, end, NULL};
        if (!add_row(values, &r)) return false;
    }
    return true;
}

static bool add_workspaces(cJSON *values, const dram_program *p)
{
    const dram_graph *g = p->graph;
    for (int i = 0; i < g->n_nodes; i++) {
        if (!p->workspace_bytes[i]) continue;
        dram_space space = dram_node_space(g, g->nodes[i]);
        row r = {g->nodes[i]->name, "workspace", space, p->workspace_offset[i], p->workspace_bytes[i], i, i, NULL};
        if (!add_row(values, &r)) return false;
    }
    return true;
}

static bool add_program(cJSON *programs, const dram_plan *plan, const dram_program *p)
{
    cJSON *o = dram_json_append(programs);
    bool named = o && cJSON_AddStringToObject(o, "name", p->graph->name);
    cJSON *values = named ? cJSON_AddArrayToObject(o, "values") : NULL;
    return values && add_values(values, p) && add_idle_slots(values, plan, p) && add_workspaces(values, p);
}

cJSON *dram_plan_dump(const dram_plan *plan)
{
    cJSON *root = cJSON_CreateObject();
    cJSON *programs = root ? cJSON_AddArrayToObject(root, "programs") : NULL;
    bool good = programs != NULL;
    for (int i = 0; i < plan->n_programs && good; i++) good = add_program(programs, plan, &plan->programs[i]);
    if (good) return root;
    cJSON_Delete(root);
    dram_fail(DRAM_ERR_MEMORY, "no memory for the dump of the plan");
    return NULL;
}
