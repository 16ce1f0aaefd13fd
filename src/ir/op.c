#include "ir/op.h"

#include <stdio.h>

const dram_op_row dram_op_rows[DRAM_OP_COUNT] = {
#define X(NAME, MIN_IN, MAX_IN, N_OUT, SAVED_IN, SAVED_OUT, ALIAS, UPDATES, GRAD)                                      \
    [DRAM_OP_##NAME] = {#NAME, MIN_IN, MAX_IN, N_OUT, SAVED_IN, SAVED_OUT, ALIAS, UPDATES, GRAD},
    DRAM_OP_LIST(X)
#undef X
};

const dram_rules *const *dram_op_rules;

int dram_op_updates(dram_op op, int o)
{
    char digit = dram_op_rows[op].updates[o];
    return digit == '-' ? DRAM_NONE : digit - '0';
}

bool dram_op_may_take(const dram_node *node, const dram_val *in, int k, const dram_value *from, const dram_value *to)
{
    if (!(dram_op_rows[node->op].alias >> k & 1)) return false;
    if (from->kind != DRAM_VALUE_TEMP || from->slot != DRAM_NONE || from->output) return false;
    if (from->space != to->space || from->dtype != to->dtype) return false;
    if (dram_elements(&from->shape) != dram_elements(&to->shape)) return false;
    for (int j = 0; j < node->n_in; j++)
        if (j != k && in[j] == in[k]) return false;
    return true;
}

int64_t dram_node_flops(const dram_graph *g, const dram_node *node)
{
    const dram_rules *rules = dram_op_rules[node->op];
    return rules->flops ? rules->flops(g, node) : dram_elements(dram_shape_of(g, node->out[0]));
}

int64_t dram_node_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile)
{
    const dram_rules *rules = dram_op_rules[node->op];
    bool gpu = profile->gpu && dram_node_space(g, node) == DRAM_SPACE_DEVICE;
    int64_t (*rule)(const dram_graph *, const dram_node *, const dram_profile *) =
        gpu ? rules->workspace_gpu : rules->workspace;
    return rule ? rule(g, node, profile) : 0;
}

dram_profile dram_profile_cpu(int workers)
{
    /* 64: a cache line. 1 MiB of scratch a worker stays within a core's L2 and feeds the matrix product well. */
    return (dram_profile){.name = "cpu", .align = 64, .workers = workers, .scratch_per_worker = 1 << 20};
}

dram_profile dram_profile_cuda(int workers)
{
    /* 256: what cudaMalloc aligns to, and whole lines of L2. 8 MiB for libraries: cuBLASLt's products reach their speed
     * with 4 to 32, and a node's workspace lies beside the largest activations. */
    dram_profile profile = dram_profile_cpu(workers);
    snprintf(profile.name, sizeof profile.name, "cuda");
    profile.gpu = true;
    profile.align = 256;
    profile.library_bytes = 8 << 20;
    /* Together the 0.75 GiB that configs/tiers leave of a card. */
    profile.context_bytes = (int64_t)512 << 20;
    profile.loaded_bytes = (int64_t)256 << 20;
    return profile;
}
