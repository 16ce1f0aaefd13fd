/* memory: guarded memory of one value, and running one node over such values. */
#ifndef TESTS_OPS_MEMORY_H
#define TESTS_OPS_MEMORY_H

#include "ir/op.h"

typedef struct {
    unsigned char *base;
    void *data; /* `bytes` bytes, aligned to 64, between two guards */
    int64_t bytes;
} guarded;

guarded
guarded_new(int64_t bytes); /* filled with 0xff: NaN as float, -1 as i32. Ends the program when memory is out. */
void guarded_free(guarded *m);
bool guarded_intact(const guarded *m); /* nothing was written outside */
void guarded_junk(guarded *m);

typedef struct {
    dram_graph *graph;
    guarded *value; /* of each value of the graph */
    const dram_kernel *kernels;
    dram_pool *pool;
    dram_profile profile;
} memory_run;

/* Runs node k into the memory of its outputs, or with alias >= 0 into other memory with output 0 on the bytes of that
 * input, and compares the two. Returns NULL, or what is wrong. */
const char *memory_run_node(const memory_run *r, const dram_node *node, int alias);

/* Whether the node may be run with output 0 on input i. */
bool memory_may_alias(const dram_graph *g, const dram_node *node, int i);

#endif
