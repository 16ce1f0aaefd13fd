/* op: the rules of an op, called by the graph builder, autodiff and the planner. src/ops has them. */
#ifndef DRAM_IR_OP_H
#define DRAM_IR_OP_H

#include "ir/graph.h"
#include "ir/profile.h"

typedef struct dram_backward dram_backward; /* ops/autodiff.h */

/* The rules of an op: one const object `dram_rules_NAME` in src/ops/<family>.c. */
typedef struct {
    /* Checks inputs (dtypes, shapes, attributes; text on failure by dram_graph_fail) and fills dtype and shape of
     * out[0..n_out). Places of in[] beyond the op's minimum may be DRAM_NONE. */
    dram_status (*shape)(dram_graph *g, const dram_node *node, dram_value *const *out);
    /* Appends the nodes of the gradient: see ops/autodiff.h. NULL where the op list says 0. */
    dram_status (*grad)(dram_backward *b, const dram_node *node);
    /* Floating-point operations of a run (a multiply-add is two). NULL: flops_each for each element of input 0, or,
     * where that is 0 too, one for each element of output 0. */
    int64_t (*flops)(const dram_graph *g, const dram_node *node);
    int flops_each;
    /* Bytes of scratch the kernel gets on that device, the same at every run. NULL: none. */
    int64_t (*workspace)(const dram_graph *g, const dram_node *node, const dram_profile *profile);
    /* The same for its kernel on a GPU. */
    int64_t (*workspace_gpu)(const dram_graph *g, const dram_node *node);
    /* Whether it is cuBLASLt's or cuDNN's there, which gets the profile's library_bytes instead. NULL: never. */
    bool (*by_library)(const dram_graph *g, const dram_node *node);
} dram_rules;

/* What a pass may do with a node: the words of the op list's column `trait`, explained there. */
typedef enum { DRAM_TRAIT_PLAIN, DRAM_TRAIT_CHEAP, DRAM_TRAIT_PRODUCT, DRAM_TRAIT_ONCE, DRAM_TRAIT_UPDATE } dram_trait;

/* The words of the column `time`: bits of dram_node_timed's attributes. */
typedef enum {
    DRAM_TIME_SHAPES = 0x00,
    DRAM_TIME_CONV = 0x07,
    DRAM_TIME_HEADS = 0x18,
    DRAM_TIME_ACT = 0x20,
    DRAM_TIME_MODE = 0x40
} dram_time;

/* A row of the op list. */
typedef struct {
    const char *name;
    int min_in, max_in, n_out;
    unsigned saved_in, saved_out, alias;
    const char *updates;
    bool differentiable, many;
    dram_trait trait;
    dram_queue queue;
    dram_time time;
} dram_op_row;

extern const dram_op_row dram_op_rows[DRAM_OP_COUNT];

/* The input whose bytes output o always takes over, DRAM_NONE if it has bytes of its own. */
int dram_op_updates(dram_op op, int o);

/* Whether the node overwrites anything: one of its outputs takes over an input's bytes always. */
bool dram_node_updates(const dram_node *node);

/* stride, pad, groups, heads, window, act, mode: those that the node's time depends on, 0 for the others. */
enum { DRAM_TIMED = 7 };
void dram_node_timed(const dram_node *node, int value[DRAM_TIMED]);

/* src/ops installs its rules here before the first graph is built (dram_ops_init); ir itself knows none of them. */
extern const dram_rules *const *_Atomic dram_op_rules; /* threads that plan side by side set it to the same */

/* Where a node runs and has its workspace. */
static inline dram_space dram_node_space(const dram_graph *g, const dram_node *node)
{
    return g->values[node->out[0]]->space;
}

int64_t dram_node_flops(const dram_graph *g, const dram_node *node);
int64_t dram_node_workspace(const dram_graph *g, const dram_node *node, const dram_profile *profile);

#endif
