#include "ir/readers.h"

#include "base/alloc.h"
#include "ir/op.h"

dram_status dram_readers_find(const dram_graph *g, dram_readers *r)
{
    size_t values = (size_t)g->n_values + 1;
    *r = (dram_readers){.first = dram_alloc(3 * values * sizeof *r->first)};
    if (!r->first) return dram_fail(DRAM_ERR_MEMORY, "no memory to study %s", g->name);
    r->last = r->first + values;
    r->count = r->last + values;
    for (int v = 0; v < g->n_values; v++) {
        r->first[v] = r->last[v] = DRAM_NONE;
        r->count[v] = 0;
    }
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            dram_val v = g->nodes[i]->in[k];
            if (v == DRAM_NONE) continue;
            if (r->last[v] != i) r->count[v]++;
            if (r->first[v] == DRAM_NONE) r->first[v] = i;
            r->last[v] = i;
        }
    return DRAM_OK;
}

void dram_readers_free(dram_readers *r)
{
    dram_free(r->first);
    *r = (dram_readers){0};
}

static const dram_value *value_of(const dram_lives *l, dram_val v)
{
    return l->g->values[l->origin ? l->origin[v] : v];
}

static bool may_take(const dram_lives *l, const dram_node *node, const dram_val *in, int k, const dram_value *to)
{
    if (!(dram_op_rows[node->op].alias >> k & 1)) return false;
    const dram_value *from = value_of(l, in[k]);
    if (from->kind != DRAM_VALUE_TEMP || from->slot != DRAM_NONE || from->output) return false;
    if (from->space != to->space || from->dtype != to->dtype) return false;
    if (dram_elements(&from->shape) != dram_elements(&to->shape)) return false;
    if (l->apart && dram_of_teacher(from) != dram_of_teacher(to)) return false;
    for (int j = 0; j < node->n_in; j++)
        if (j != k && in[j] == in[k]) return false;
    return true;
}

dram_val dram_takes_over(const dram_lives *l, int at, const dram_node *node, const dram_val *in, const dram_val *out)
{
    if (dram_op_updates(node->op, 0) != DRAM_NONE) return DRAM_NONE;
    const dram_value *to = value_of(l, out[0]);
    for (int k = 0; k < node->n_in; k++)
        if (in[k] != DRAM_NONE && l->last[in[k]] == at && may_take(l, node, in, k, to)) return in[k];
    return DRAM_NONE;
}
