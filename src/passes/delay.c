#include "passes/delay.h"

#include <string.h>

#include "base/alloc.h"
#include "ir/op.h"
#include "ir/readers.h"

/* Whether node i may run right before `reader`, and is the better for it. Slots are alive anyway, so only an update in
 * between could spoil one: nodes that overwrite something stay, and so do those that read what one overwrites. */
static bool gains(const dram_graph *g, const dram_readers *r, int i, int reader)
{
    const dram_node *node = g->nodes[i];
    const dram_value *out = g->values[node->out[0]];
    int64_t held = 0;
    if (out->output || out->slot != DRAM_NONE || node->block != g->nodes[reader]->block) return false;
    if (g->nodes[reader]->queue != DRAM_QUEUE_COMPUTE) return false; /* the sooner that begins, the better */
    for (int j = i; j < reader; j++)
        if (dram_node_updates(g->nodes[j])) return false;
    for (int k = 0; k < node->n_in; k++) {
        dram_val v = node->in[k];
        if (v == DRAM_NONE || g->values[v]->slot != DRAM_NONE) continue;
        if (r->last[v] < reader) held += dram_value_bytes(g->values[v]);
    }
    return held < dram_value_bytes(out);
}

dram_status dram_delay(dram_graph *g)
{
    TRY(g->status);
    dram_readers r;
    TRY(dram_readers_find(g, &r));
    dram_status status;
    int *order = dram_alloc(((size_t)g->n_nodes + 1) * sizeof *order);
    if (!order) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
        goto done;
    }
    for (int i = 0; i < g->n_nodes; i++) order[i] = i;
    /* From the last to the first: what has been moved lies behind, so places before `to` are still those of the
     * graph. */
    for (int i = g->n_nodes - 1; g->backward_begin && i >= g->backward_begin; i--) {
        const dram_node *node = g->nodes[i];
        dram_val v = node->out[0];
        if (node->n_out != 1 || r.count[v] != 1 || r.first[v] <= i + 1 || !gains(g, &r, i, r.first[v])) continue;
        int to = i;
        while (order[to + 1] != r.first[v]) to++;
        memmove(&order[i], &order[i + 1], (size_t)(to - i) * sizeof *order);
        order[to] = i;
    }
    status = dram_graph_order(g, order);
done:
    dram_readers_free(&r);
    dram_free(order);
    return status;
}
