#include <string.h>

#include "base/alloc.h"
#include "ir/graph.h"

int dram_slots_find(const dram_slots *slots, const char *group, const char *name)
{
    for (int i = 0; i < slots->n; i++)
        if (strcmp(slots->at[i]->name, name) == 0 && strcmp(slots->at[i]->group, group) == 0) return i;
    return DRAM_NONE;
}

dram_status dram_slots_add(dram_slots *slots, const dram_slot *slot, int *index)
{
    *index = dram_slots_find(slots, slot->group, slot->name);
    if (*index != DRAM_NONE) {
        const dram_slot *old = slots->at[*index];
        if (old->dtype == slot->dtype && dram_shape_equal(&old->shape, &slot->shape)) return DRAM_OK;
        return dram_fail(DRAM_ERR_INTERNAL, "%s %s is asked for in two shapes", slot->group, slot->name);
    }
    void *at = slots->at;
    if (!dram_grow(&at, &slots->room, slots->n + 1, sizeof *slots->at))
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the weights' table");
    slots->at = at;
    dram_slot *copy = dram_alloc(sizeof *copy);
    char *name = dram_strdup(slot->name);
    if (!copy || !name) {
        dram_free(copy);
        dram_free(name);
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the weights' table");
    }
    *copy = *slot;
    copy->name = name;
    *index = slots->n;
    slots->at[slots->n++] = copy;
    return DRAM_OK;
}

void dram_slots_free(dram_slots *slots)
{
    for (int i = 0; i < slots->n; i++) {
        dram_free(slots->at[i]->name);
        dram_free(slots->at[i]);
    }
    dram_free(slots->at);
    *slots = (dram_slots){0};
}
