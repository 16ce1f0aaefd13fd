#include "passes/delay.h"

#include <string.h>

#include "base/alloc.h"

typedef struct {
    int *readers; /* of a value: nodes that read it */
    int *first;   /* the first of them, DRAM_NONE */
    int *last;    /* the last of them */
} study;

static void study_readers(const dram_graph *g, study *s)
{
    for (int v = 0; v < g->n_values; v++) s->first[v] = s->last[v] = DRAM_NONE;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            dram_val v = g->nodes[i]->in[k];
            if (v == DRAM_NONE) continue;
            if (s->last[v] != i) s->readers[v]++;
            if (s->first[v] == DRAM_NONE) s->first[v] = i;
            s->last[v] = i;
        }
}

/* Whether node i may run right before `reader`, and is the better for it. Slots are alive anyway, so only an update in
 * between could spoil one: nodes that overwrite something stay, and so do those that read what one overwrites. */
static bool gains(const dram_graph *g, const study *s, int i, int reader)
{
    const dram_node *node = g->nodes[i];
    const dram_value *out = g->values[node->out[0]];
    int64_t held = 0;
    if (out->output || out->slot != DRAM_NONE || node->block != g->nodes[reader]->block) return false;
    for (int j = i; j < reader; j++)
        if (dram_node_updates(g->nodes[j])) return false;
    for (int k = 0; k < node->n_in; k++) {
        dram_val v = node->in[k];
        if (v == DRAM_NONE || g->values[v]->slot != DRAM_NONE) continue;
        if (s->last[v] < reader) held += dram_value_bytes(g->values[v]);
    }
    return held < dram_value_bytes(out);
}

dram_status dram_delay(dram_graph *g)
{
    TRY(g->status);
    dram_status status = DRAM_OK;
    size_t values = (size_t)g->n_values + 1;
    study s = {dram_calloc(values, sizeof(int)), dram_calloc(values, sizeof(int)), dram_calloc(values, sizeof(int))};
    int *order = dram_alloc(((size_t)g->n_nodes + 1) * sizeof *order);
    if (!s.readers || !s.first || !s.last || !order) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
        goto done;
    }
    study_readers(g, &s);
    for (int i = 0; i < g->n_nodes; i++) order[i] = i;
    /* From the last to the first: what has been moved lies behind, so places before `to` are still those of the graph.
     */
    for (int i = g->n_nodes - 1; g->backward_begin && i >= g->backward_begin; i--) {
        const dram_node *node = g->nodes[i];
        dram_val v = node->out[0];
        if (node->n_out != 1 || s.readers[v] != 1 || s.first[v] <= i + 1 || !gains(g, &s, i, s.first[v])) continue;
        int to = i;
        while (order[to + 1] != s.first[v]) to++;
        memmove(&order[i], &order[i + 1], (size_t)(to - i) * sizeof *order);
        order[to] = i;
    }
    status = dram_graph_order(g, order);
done:
    dram_free(s.readers);
    dram_free(s.first);
    dram_free(s.last);
    dram_free(order);
    return status;
}
