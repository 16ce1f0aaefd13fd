/* blocks: what recompute knows of a graph: its chain of blocks, and what each value is to them.
 *
 * Internal to src/passes. */
#ifndef DRAM_PASSES_BLOCKS_H
#define DRAM_PASSES_BLOCKS_H

#include "ir/op.h"
#include "ir/readers.h"
#include "passes/chain.h"

enum { DRAM_BLOCK_NODES = 64 }; /* of a block's forward that may be made again, as bits of a mask */

/* A stage of the chain: nodes [forward, forward_end) and [backward, backward_end) of the graph. */
typedef struct {
    int forward, forward_end;
    int backward, backward_end;
    int n_options;
    /* Of each option, bit i: node forward + i is made again under it. The last is the one that is being tried. */
    uint64_t remade[DRAM_CHAIN_OPTIONS + 1];
} dram_block_stage;

typedef struct {
    const dram_graph *g;
    int length;
    dram_block_stage *stage; /* [1..length] */
    int *of_node;            /* stage of a node, forward or backward; 0: of none */
    int *of_value;           /* stage in whose forward a value is made; 0: of none */
    bool *is_next;           /* read by the next stage's forward: (a part of) x[s] */
    bool *is_pinned;         /* made in a stage and read beyond the next one */
    dram_readers readers;
    int *last_outsider; /* the last reader among the nodes of no stage, DRAM_NONE */
} dram_blocks;

dram_status dram_blocks_open(const dram_graph *g, dram_blocks *blocks);
void dram_blocks_close(dram_blocks *blocks);

/* A node that runs once in a step: it updates something, or makes batch statistics. */
bool dram_runs_once(const dram_graph *g, int node);
/* A low-precision copy of a weight. */
bool dram_is_weight_cast(const dram_graph *g, int node);
/* A norm, activation or gate whose output is cheaply made again from what is kept anyway. */
bool dram_is_cheap(const dram_graph *g, int node);

#endif
