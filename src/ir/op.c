#include "ir/op.h"

const dram_op_row dram_op_rows[DRAM_OP_COUNT] = {
#define X(NAME, MIN_IN, MAX_IN, N_OUT, SAVED_IN, SAVED_OUT, ALIAS, UPDATES, GRAD, TRAIT, QUEUE, MANY, TIME)            \
    [DRAM_OP_##NAME] = {#NAME,           MIN_IN,  MAX_IN, N_OUT, SAVED_IN,           SAVED_OUT,                        \
                        ALIAS,           UPDATES, GRAD,   MANY,  DRAM_TRAIT_##TRAIT, DRAM_QUEUE_##QUEUE,               \
                        DRAM_TIME_##TIME},
    DRAM_OP_LIST(X) DRAM_COLLECTIVE_LIST(X)
#undef X
};

const dram_rules *const *_Atomic dram_op_rules;

int dram_op_updates(dram_op op, int o)
{
    char digit = dram_op_rows[op].updates[o];
    return digit == '-' ? DRAM_NONE : digit - '0';
}

bool dram_node_updates(const dram_node *node)
{
    for (int o = 0; o < node->n_out; o++)
        if (dram_op_updates(node->op, o) != DRAM_NONE) return true;
    return false;
}

void dram_node_timed(const dram_node *node, int value[DRAM_TIMED])
{
    const dram_attr *a = &node->attr;
    const int all[DRAM_TIMED] = {a->stride, a->pad, a->groups, a->heads, a->window, a->act, a->mode};
    for (int i = 0; i < DRAM_TIMED; i++) value[i] = dram_op_rows[node->op].time >> i & 1 ? all[i] : 0;
}

int64_t dram_node_flops(const dram_graph *g, const dram_node *node)
{
    const dram_rules *rules = dram_op_rules[node->op];
    if (rules->flops) return rules->flops(g, node);
    if (rules->flops_each) return rules->flops_each * dram_elements(dram_shape_of(g, node->in[0]));
    return dram_elements(dram_shape_of(g, node->out[0]));
}

int64_t dram_node_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_rules *rules = dram_op_rules[node->op];
    if (!profile->gpu || dram_node_space(g, node) != DRAM_SPACE_DEVICE)
        return rules->workspace ? rules->workspace(g, node, profile) : 0;
    if (rules->by_library && rules->by_library(g, node)) return profile->library_bytes;
    return rules->workspace_gpu ? rules->workspace_gpu(g, node) : 0;
}
