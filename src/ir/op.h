/* op: the rules of an op, called by the graph builder, autodiff and the planner. src/ops has them. */
#ifndef DRAM_IR_OP_H
#define DRAM_IR_OP_H

#include "ir/graph.h"

/* What the planner knows of a device: plain data, so a plan needs no device. */
typedef struct {
    char name[64];
    bool gpu;                   /* what is in the device's space runs there; what is in host space runs on the CPU */
    int64_t align;              /* bytes; every offset and size is a multiple of it */
    int workers;                /* compute threads of the CPU, each with scratch of its own */
    int64_t scratch_per_worker; /* bytes an op may ask for a worker */
    int64_t library_bytes;      /* of a GPU: what a call of cuBLAS or cuDNN may ask for */
    int64_t memory_bytes;       /* of the device; 0 = not known */
    /* Of a GPU: what of its memory a process takes beside the arena, for the driver's context and for the libraries and
     * kernels as they are loaded. No offset depends on it. */
    int64_t context_bytes, loaded_bytes;
    bool measured; /* those two, on the card; false: assumed */
} dram_profile;

/* Bytes rounded up to the profile's alignment. */
static inline int64_t dram_aligned(const dram_profile *profile, int64_t bytes)
{
    return (bytes + profile->align - 1) / profile->align * profile->align;
}

/* The CPU with `workers` threads. */
dram_profile dram_profile_cpu(int workers);

/* A CUDA GPU, any, beside a CPU with `workers` threads. Nothing that a plan is made of depends on the card, so one
 * holds on all. */
dram_profile dram_profile_cuda(int workers);

typedef struct dram_backward dram_backward; /* ops/autodiff.h */

/* The rules of an op: one const object `dram_rules_NAME` in src/ops/<family>.c. */
typedef struct {
    /* Checks inputs (dtypes, shapes, attributes; text on failure by dram_graph_fail) and fills dtype and shape of
     * out[0..n_out). Places of in[] beyond the op's minimum may be DRAM_NONE. */
    dram_status (*shape)(dram_graph *g, const dram_node *node, dram_value *const *out);
    /* Appends the nodes of the gradient: see ops/autodiff.h. NULL where the op list says 0. */
    dram_status (*grad)(dram_backward *b, const dram_node *node);
    /* Floating-point operations of a run (a multiply-add is two). NULL: one for each element of output 0. */
    int64_t (*flops)(const dram_graph *g, const dram_node *node);
    /* Bytes of scratch the kernel gets on that device, the same at every run. NULL: none. */
    int64_t (*workspace)(const dram_graph *g, const dram_node *node, const dram_profile *profile);
    /* The same for its kernel on a GPU. */
    int64_t (*workspace_gpu)(const dram_graph *g, const dram_node *node, const dram_profile *profile);
} dram_rules;

/* A row of the op list. */
typedef struct {
    const char *name;
    int min_in, max_in, n_out;
    unsigned saved_in, saved_out, alias;
    const char *updates;
    bool differentiable;
} dram_op_row;

extern const dram_op_row dram_op_rows[DRAM_OP_COUNT];

/* The input whose bytes output o always takes over, DRAM_NONE if it has bytes of its own. */
int dram_op_updates(dram_op op, int o);

/* Whether output 0 of the node may take over the bytes of input k, which are those of `from`, for `to`: op, types and
 * sizes allow it, nobody keeps `from`, and no other input is the same value. `in` names the inputs, in whatever
 * numbers; whether this is the last reader is the caller's to know. */
bool dram_op_may_take(const dram_node *node, const dram_val *in, int k, const dram_value *from, const dram_value *to);

/* src/ops installs its rules here before the first graph is built (dram_ops_init); ir itself knows none of them. */
extern const dram_rules *const *dram_op_rules;

/* Where a node runs and has its workspace. */
static inline dram_space dram_node_space(const dram_graph *g, const dram_node *node)
{
    return g->values[node->out[0]]->space;
}

int64_t dram_node_flops(const dram_graph *g, const dram_node *node);
int64_t dram_node_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile);

#endif
