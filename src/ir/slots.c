/* The table of what outlives a program, found by group and name. */
#include <string.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "ir/graph.h"

static uint64_t hash_of(const char *group, const char *name)
{
    return dram_hash_name(group) * 31 + dram_hash_name(name);
}

int dram_slots_find(const dram_slots *slots, const char *group, const char *name)
{
    uint64_t hash = hash_of(group, name);
    for (int at = -1, i; (i = dram_index_next(&slots->names, hash, &at)) >= 0;)
        if (strcmp(slots->at[i]->name, name) == 0 && strcmp(slots->at[i]->group, group) == 0) return i;
    return DRAM_NONE;
}

dram_status dram_slots_add(dram_slots *slots, const dram_slot *slot, int *index)
{
    *index = dram_slots_find(slots, slot->group, slot->name);
    if (*index != DRAM_NONE) {
        const dram_slot *old = slots->at[*index];
        if (old->space != slot->space)
            return dram_fail(DRAM_ERR_INTERNAL, "%s %s is asked for in two spaces", slot->group, slot->name);
        if (old->dtype == slot->dtype && dram_shape_equal(&old->shape, &slot->shape)) return DRAM_OK;
        return dram_fail(DRAM_ERR_INTERNAL, "%s %s is asked for in two shapes", slot->group, slot->name);
    }
    if (!DRAM_GROW(slots->at, slots->room, slots->n + 1))
        return dram_fail(DRAM_ERR_MEMORY, "no memory for the weights' table");
    dram_slot *copy = dram_alloc(sizeof *copy);
    char *name = dram_strdup(slot->name);
    if (!copy || !name || !dram_index_add(&slots->names, hash_of(slot->group, slot->name), slots->n)) {
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
    dram_index_free(&slots->names);
    *slots = (dram_slots){0};
}
