#include "plan/recompute.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

/* Nodes keep their place as a key; a repeated node comes just before its first reader. */
enum { STEP = 4096 };

typedef struct {
    int64_t key;
    int index; /* of the node before sorting */
} place;

static bool is_cheap(const dram_graph *g, const dram_node *node)
{
    switch (node->op) {
    case DRAM_OP_bn_apply:
        return node->n_in < 6 || node->in[5] == DRAM_NONE;
    case DRAM_OP_layernorm:
    case DRAM_OP_gelu:
    case DRAM_OP_scale_channels:
    case DRAM_OP_image_norm:
        return !g->values[node->out[0]]->output;
    default:
        return false;
    }
}

/* The smallest key among the readers of v in the backward, repeated nodes included; -1 if there is none. */
static int64_t first_reader(const dram_graph *g, const place *places, dram_val v)
{
    int64_t first = -1;
    for (int i = g->backward_begin; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] == v && (first < 0 || places[i].key < first)) first = places[i].key;
    return first;
}

static void hand_over(const dram_graph *g, int end, dram_val v, dram_val copy)
{
    for (int i = g->backward_begin; i < end; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k] == v) g->nodes[i]->in[k] = copy;
}

static int compare_places(const void *left, const void *right)
{
    const place *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->index - b->index;
}

static dram_status sort_nodes(dram_graph *g, place *places)
{
    dram_node **sorted = dram_alloc((size_t)g->n_nodes * sizeof *sorted);
    if (!sorted) return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
    qsort(places, (size_t)g->n_nodes, sizeof *places, compare_places);
    for (int i = 0; i < g->n_nodes; i++) sorted[i] = g->nodes[places[i].index];
    for (int i = 0; i < g->n_nodes; i++) {
        g->nodes[i] = sorted[i];
        for (int o = 0; o < sorted[i]->n_out; o++) g->values[sorted[i]->out[o]]->producer = i;
    }
    dram_free(sorted);
    return DRAM_OK;
}

dram_status dram_recompute_norms(dram_graph *g, int64_t *added_flops)
{
    dram_status status = DRAM_OK;
    int n = g->n_nodes, begin = g->backward_begin;
    *added_flops = 0;
    if (g->status != DRAM_OK || begin == 0) return g->status;
    place *places = dram_alloc((size_t)n * 2 * sizeof *places);
    if (!places) return dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
    for (int i = 0; i < n; i++) places[i] = (place){(int64_t)(i + 1) * STEP, i};
    /* Backwards, so that what a repeated node reads is itself repeated before it. */
    for (int i = begin - 1; i >= 0; i--) {
        const dram_node *node = g->nodes[i];
        char name[256];
        dram_val copy[DRAM_MAX_OUT];
        if (!is_cheap(g, node)) continue;
        int64_t first = first_reader(g, places, node->out[0]);
        if (first < 0) continue;
        snprintf(name, sizeof name, "%s.again", node->name);
        dram_graph_add(g, node->op, name, &node->attr, node->in, node->n_in, copy);
        TRY_GOTO(g->status, done);
        places[g->n_nodes - 1] = (place){first - 1, g->n_nodes - 1};
        hand_over(g, g->n_nodes - 1, node->out[0], copy[0]);
        *added_flops += dram_node_flops(g, node);
    }
    status = sort_nodes(g, places);
done:
    dram_free(places);
    return status;
}
