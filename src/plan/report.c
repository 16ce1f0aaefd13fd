#include "plan/report.h"

dram_status dram_plan_levers(const dram_graph *const *graphs, int n, const dram_plan *plan, dram_lever *rows,
                             int *n_rows)
{
    static const char *const name[DRAM_PLAN_LEVERS] = {"in_place", "eager_free"};
    *n_rows = 0;
    for (int i = 0; i < DRAM_PLAN_LEVERS; i++) {
        dram_plan_options options = plan->options;
        bool *flag = i == 0 ? &options.in_place : &options.eager_free;
        bool pulled = *flag;
        dram_plan *other;
        *flag = !pulled;
        TRY(dram_plan_make(graphs, n, plan->slots, &plan->profile, options, &other));
        int64_t more = other->arena_bytes - plan->arena_bytes;
        dram_plan_free(other);
        rows[(*n_rows)++] = (dram_lever){.name = name[i],
                                         .setting = pulled ? "on" : "off",
                                         .pulled = pulled,
                                         .saved_bytes = pulled ? more : -more,
                                         .effect = "exact"};
    }
    return DRAM_OK;
}

static bool add_bytes(cJSON *o, const char *key, int64_t value)
{
    return cJSON_AddNumberToObject(o, key, (double)value) != NULL;
}

static bool add_categories(cJSON *root, const dram_plan *plan)
{
    int64_t bytes[DRAM_CATEGORY_COUNT];
    cJSON *o = cJSON_AddObjectToObject(root, "categories");
    dram_plan_account(plan, bytes);
    for (int c = 0; c < DRAM_CATEGORY_COUNT; c++)
        if (!o || !add_bytes(o, dram_category_name((dram_category)c), bytes[c])) return false;
    return true;
}

/* An object at the end of the array, NULL when memory is out. */
static cJSON *add_object(cJSON *array)
{
    cJSON *o = cJSON_CreateObject();
    if (o && cJSON_AddItemToArray(array, o)) return o;
    cJSON_Delete(o);
    return NULL;
}

static bool add_levers(cJSON *root, const dram_lever *levers, int n)
{
    cJSON *array = cJSON_AddArrayToObject(root, "levers");
    if (!array) return false;
    for (int i = 0; i < n; i++) {
        const dram_lever *l = &levers[i];
        cJSON *o = add_object(array);
        if (!o || !cJSON_AddStringToObject(o, "name", l->name) || !cJSON_AddStringToObject(o, "setting", l->setting) ||
            !cJSON_AddBoolToObject(o, "pulled", l->pulled) || !add_bytes(o, "saved_bytes", l->saved_bytes) ||
            !add_bytes(o, "added_flops", l->added_flops) || !cJSON_AddStringToObject(o, "effect", l->effect))
            return false;
    }
    return true;
}

static bool add_programs(cJSON *root, const dram_plan *plan)
{
    cJSON *array = cJSON_AddArrayToObject(root, "programs");
    if (!array) return false;
    for (int i = 0; i < plan->n_programs; i++) {
        const dram_program *p = &plan->programs[i];
        cJSON *o = add_object(array);
        if (!o || !cJSON_AddStringToObject(o, "name", p->graph->name) || !add_bytes(o, "nodes", p->graph->n_nodes) ||
            !add_bytes(o, "flops", p->flops) || !add_bytes(o, "peak_bytes", plan->slots_bytes + p->placement.top) ||
            !cJSON_AddStringToObject(o, "peak_at", dram_program_peak_at(p)))
            return false;
    }
    return true;
}

cJSON *dram_plan_report(const dram_plan *plan, int64_t budget_bytes, double recompute_ratio, const dram_lever *levers,
                        int n_levers)
{
    cJSON *root = cJSON_CreateObject();
    bool fits = !budget_bytes || plan->arena_bytes <= budget_bytes;
    if (root && cJSON_AddBoolToObject(root, "fits", fits) &&
        (budget_bytes ? add_bytes(root, "budget_bytes", budget_bytes)
                      : cJSON_AddNullToObject(root, "budget_bytes") != NULL) &&
        add_bytes(root, "planned_peak_bytes", plan->arena_bytes) && add_bytes(root, "arena_bytes", plan->arena_bytes) &&
        add_bytes(root, "max_live_bytes", plan->max_live_bytes) && add_bytes(root, "floor_bytes", plan->floor_bytes) &&
        cJSON_AddNumberToObject(root, "recompute_ratio", recompute_ratio) && add_categories(root, plan) &&
        add_levers(root, levers, n_levers) && add_programs(root, plan))
        return root;
    cJSON_Delete(root);
    dram_fail(DRAM_ERR_MEMORY, "no memory for the report of the plan");
    return NULL;
}
