#include "plan/traffic.h"

#include "base/ranks.h"
#include "base/rng.h"

static double sent(const dram_graph *g, const dram_node *node)
{
    const dram_value *x = g->values[node->in[0]];
    const int ranks = node->attr.ranks;
    const double n = (double)dram_elements(&x->shape), each = (double)dram_dtype_bytes(x->dtype);
    const bool gathers = node->attr.mode == DRAM_REDUCE_ORDERED && dram_rank_gathers((int64_t)n);
    switch (node->op) {
    case DRAM_OP_all_reduce:
    case DRAM_OP_all_reduce_into:
        return gathers ? (ranks - 1) * n * each : 2 * (ranks - 1) * n * each / ranks;
    case DRAM_OP_reduce_scatter:
    case DRAM_OP_all_gather_into:
        return (ranks - 1) * n * each / ranks;
    default: /* gathers of what each rank has */
        return (ranks - 1) * n * each;
    }
}

void dram_program_traffic(const dram_program *program, dram_traffic *traffic)
{
    const dram_graph *g = program->graph;
    *traffic = (dram_traffic){0};
    for (int i = 0; i < g->n_nodes; i++) {
        const dram_node *node = g->nodes[i];
        if (dram_op_rows[node->op].queue != DRAM_QUEUE_COMM) continue;
        traffic->bytes[node->op] += sent(g, node);
        traffic->calls[node->op] += i == 0 || g->nodes[i - 1]->op != node->op;
    }
}

bool dram_program_joins(const dram_program *program)
{
    const dram_graph *g = program->graph;
    for (int i = 0; i < g->n_nodes; i++)
        if (dram_op_rows[g->nodes[i]->op].queue == DRAM_QUEUE_COMM) return true;
    return false;
}

static void mix(uint64_t *hash, uint64_t number)
{
    *hash = (*hash ^ number) * 0x9e3779b97f4a7c15u;
    *hash ^= *hash >> 32;
}

static void mix_program(uint64_t *hash, const dram_program *p)
{
    const dram_graph *g = p->graph;
    mix(hash, dram_hash_name(g->name));
    for (int v = 0; v < g->n_values; v++) {
        const dram_place_of_value *at = &p->value[v];
        const int64_t numbers[] = {g->values[v]->space, g->values[v]->dtype, at->offset,
                                   at->bytes,           at->first,           at->last};
        mix(hash, dram_hash_name(g->values[v]->name));
        for (size_t k = 0; k < sizeof numbers / sizeof numbers[0]; k++) mix(hash, (uint64_t)numbers[k]);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        mix(hash, dram_hash_name(g->nodes[i]->name));
        mix(hash, (uint64_t)g->nodes[i]->op);
        mix(hash, (uint64_t)p->workspace_offset[i]);
        mix(hash, (uint64_t)p->workspace_bytes[i]);
    }
}

uint64_t dram_plan_hash(const dram_plan *plan)
{
    uint64_t hash = 0;
    for (int s = 0; s < plan->slots->n; s++) {
        const dram_slot *slot = plan->slots->at[s];
        mix(&hash, dram_hash_name(slot->group));
        mix(&hash, dram_hash_name(slot->name));
        mix(&hash, (uint64_t)plan->slot_offset[s]);
        mix(&hash, (uint64_t)dram_plan_slot_bytes(plan, s));
    }
    for (int i = 0; i < plan->n_programs; i++) mix_program(&hash, &plan->programs[i]);
    return hash;
}
