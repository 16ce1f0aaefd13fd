#include "passes/collect.h"

#include <stdlib.h>

#include "base/alloc.h"

/* A sum, and the node that completes what it adds; DRAM_NONE: that is there from the start. */
typedef struct {
    int node, made, behind; /* behind: where it is put */
} sum;

static int by_completion(const void *left, const void *right)
{
    const sum *a = left, *b = right;
    return a->made != b->made ? (a->made < b->made ? -1 : 1) : a->node - b->node;
}

static int find_sums(const dram_graph *g, sum *sums)
{
    int n = 0;
    for (int i = 0; i < g->n_nodes; i++)
        if (dram_is_sum(g->nodes[i])) sums[n++] = (sum){.node = i, .made = g->values[g->nodes[i]->in[0]]->producer};
    qsort(sums, (size_t)n, sizeof *sums, by_completion);
    return n;
}

/* Numbers the buckets and says behind which node each stands. */
static void fill_buckets(const dram_graph *g, sum *sums, int n, int64_t bytes)
{
    int64_t filled = 0;
    for (int i = 0, first = 0, bucket = 1; i < n; i++) {
        g->nodes[sums[i].node]->attr.bucket = bucket;
        filled += dram_value_bytes(g->values[g->nodes[sums[i].node]->in[0]]);
        bool together = i + 1 < n && sums[i].made != DRAM_NONE && sums[i + 1].made == sums[i].made;
        if (i + 1 < n && (filled < bytes || together)) continue;
        for (; first <= i; first++) sums[first].behind = sums[i].made;
        filled = 0;
        bucket++;
    }
}

/* Appends the sums that stand behind that node, from sums[at] on. */
static int put_behind(const dram_graph *g, const sum *sums, int n, int at, int node, int *order, int *placed)
{
    for (; at < n && sums[at].behind == node; at++) {
        g->nodes[sums[at].node]->block = node == DRAM_NONE ? 0 : g->nodes[node]->block;
        order[(*placed)++] = sums[at].node;
    }
    return at;
}

dram_status dram_collect(dram_graph *g, int64_t bytes)
{
    TRY(g->status);
    dram_status status;
    int placed = 0, at = 0;
    sum *sums = dram_alloc(((size_t)g->n_nodes + 1) * sizeof *sums);
    int *order = dram_alloc(((size_t)g->n_nodes + 1) * sizeof *order);
    if (!sums || !order) {
        status = dram_fail(DRAM_ERR_MEMORY, "no memory to order %s", g->name);
        goto done;
    }
    int n = find_sums(g, sums);
    fill_buckets(g, sums, n, bytes);
    at = put_behind(g, sums, n, at, DRAM_NONE, order, &placed);
    for (int i = 0; i < g->n_nodes; i++) {
        if (dram_is_sum(g->nodes[i])) continue;
        order[placed++] = i;
        at = put_behind(g, sums, n, at, i, order, &placed);
    }
    status = dram_graph_order(g, order);
done:
    dram_free(sums);
    dram_free(order);
    return status;
}
